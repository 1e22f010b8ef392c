// `portreeve get`: lists what a collector knows, once or as it changes.

import { setTimeout as pause } from 'node:timers/promises';
import { stringify } from 'yaml';
import type { OperationName } from '../../collector/api/client.ts';
import { gapReasons } from '../../collector/api/models.ts';
import { failure, PortreeveError } from '../../shared/errors.ts';
import { ask, askForAll, isAway, listen, type Server, serverOf } from '../ask.ts';
import {
  accessOptions,
  type Command,
  flagOf,
  type Io,
  listOutputOption,
  namespaceOf,
  namespaceOptions,
  numberOf,
  type Option,
  type Parsed,
  requiredText,
  serverOption,
  textOf,
  timeOf,
} from '../command.ts';
import { type Listing, type ListName, listings, listNameOf, listText } from '../listings.ts';
import { exitCodeFor } from '../process.ts';

const filterOptions: readonly Option[] = [
  { name: 'node', value: 'NAME', summary: 'only of this node (nodeports, findings, changes, incidents, gaps, coverage)', names: 'node' },
  { name: 'cause', value: 'ID', summary: 'only of this cause (findings)', names: 'cause' },
  { name: 'service', value: 'NS/NAME', summary: 'only of this Service (nodeports, findings, incidents)', names: 'service' },
  { name: 'state', value: 'STATE', summary: 'what lasts, or what is over (findings, incidents)', choices: ['open', 'closed', 'all'] },
  { name: 'kind', value: 'KIND', summary: 'only of this kind: rule, chain, sysctl, service … (changes)' },
  { name: 'subject', value: 'TEXT', summary: 'only with this text in the subject (changes)' },
  { name: 'text', value: 'TEXT', summary: 'only with this text anywhere, also in rules and by whom (changes)' },
  { name: 'reason', value: 'REASON', summary: 'only for this reason (gaps)', choices: gapReasons },
  { name: 'since', value: 'TIME', summary: 'only from this time on, or within so long: 30m, 2h (changes, incidents, gaps, coverage)' },
  { name: 'at', value: 'TIME', summary: 'as it was believed then: 2026-01-31T14:03:22Z, or 10m for ten minutes ago' },
  { name: 'limit', value: 'N', summary: 'at most so many items' },
];

export const command: Command = {
  name: 'get',
  summary: 'list nodes, nodeports, findings, changes, services, incidents, the register, gaps, coverage or replicas of a collector',
  usage: 'nodes|nodeports|findings|changes|services|incidents|register|gaps|coverage|replicas',
  description:
    'With --watch the list is printed, and then every item that is new or says something else than before.\n' +
    'Exit code 0: nothing is wrong; 1: there are findings of severity error or warning; 5: nothing is known to be wrong, but what is known of the cluster is old.',
  options: [
    listOutputOption,
    ...namespaceOptions,
    { name: 'watch', short: 'w', summary: 'go on and print what changes' },
    serverOption,
    ...accessOptions,
    ...filterOptions,
  ],
  places: [Object.keys(listings)],
  examples: [
    'portreeve get nodeports -n shop',
    'portreeve get findings --node node1 -o json',
    'portreeve get changes --node node1 --kind rule --since 1h',
    'portreeve get nodeports --at 2026-01-31T14:03:22Z',
    'portreeve get findings --watch',
  ],
  run: (parsed, io) => get(parsed, io),
};

/** Runs a question to a collector; when nobody answers, says so and gives exit code 3, and 4 when it does not let us ask. */
export async function reachable(io: Io, question: () => Promise<number>): Promise<number> {
  try {
    return await question();
  } catch (error) {
    const code = exitCodeFor(error);
    if (code === 2) throw error;
    io.stderr.write(`portreeve: ${(error as Error).message}\n`);
    return code;
  }
}

/** Prints a value as JSON or YAML. */
export const dataText = (form: string, value: unknown): string => (form === 'yaml' ? stringify(value) : `${JSON.stringify(value, undefined, 2)}\n`);

/** 5 in place of 0 where what was answered rests on an old view of the cluster. */
export function codeOf(answer: { readonly view?: unknown }, code: 0 | 1, io: Pick<Io, 'stderr'>): number {
  const { stale, doubts } = (answer.view ?? {}) as { readonly stale?: boolean; readonly doubts?: readonly string[] };
  if (stale !== true) return code;
  io.stderr.write(`portreeve: what the collector knows of the cluster is old${doubts === undefined || doubts.length === 0 ? '' : `: ${doubts.join('; ')}`}\n`);
  return code === 0 ? 5 : code;
}

interface Asking {
  readonly what: ListName;
  readonly server: Server;
  readonly query: Readonly<Record<string, string | undefined>>;
  readonly most: number | undefined;
}

async function get(parsed: Parsed, io: Io): Promise<number> {
  const [word = '', ...rest] = parsed.positionals;
  const what = listNameOf(word);
  if (what === undefined || rest.length > 0)
    throw failure('USAGE', [`get ${parsed.positionals.join(' ')}: one of ${Object.keys(listings).join(', ')} is wanted`]);
  const { filters } = listings[what];
  const stray = filterOptions.find(({ name }) => textOf(parsed, name) !== undefined && !filters.includes(name));
  if (stray !== undefined) throw failure('USAGE', [`--${stray.name} does not apply to get ${what}`]);
  const [now, most] = [Date.now(), numberOf(parsed, 'limit', { min: 1, max: 1_000_000 })];
  const [at, since] = [timeOf(parsed, 'at', now), timeOf(parsed, 'since', now)];
  const own = Object.fromEntries(filters.filter((name) => !['at', 'since', 'limit', 'namespace'].includes(name)).map((name) => [name, textOf(parsed, name)]));
  const query = {
    ...own,
    ...(filters.includes('namespace') ? { namespace: namespaceOf(parsed) } : {}),
    ...(at === undefined ? {} : { at: String(at) }),
    ...(since === undefined ? {} : { from: String(since) }),
  };
  const asking: Asking = { what, server: serverOf(parsed), query, most };
  if (flagOf(parsed, 'watch')) return await watch(parsed, io, asking);
  const answer = await answered(asking);
  const items = answer.items as readonly unknown[];
  const listing = listings[what] as Listing<unknown>;
  io.stdout.write(printed(listing, answer, { what, form: requiredText(parsed, 'output') }));
  return codeOf(answer, items.some(listing.faulty) ? 1 : 0, io);
}

async function answered({ what, server, query, most }: Asking): Promise<{ readonly items: readonly unknown[]; readonly view?: unknown }> {
  if (what === 'register' || what === 'replicas') return (await ask(server, what, { query })) as { items: readonly unknown[] };
  // The ledger may hold millions: unless more is asked for, the newest page is meant.
  const limit = most ?? (what === 'changes' || what === 'incidents' || what === 'gaps' ? 100 : undefined);
  const page = Math.min(limit ?? 1_000, 1_000);
  return await askForAll(server, `GET /${what}` as Extract<OperationName, 'GET /nodes'>, {
    query: { ...query, limit: page } as never,
    ...(limit === undefined ? {} : { most: limit }),
  });
}

function printed(
  listing: Listing<unknown>,
  answer: { readonly items: readonly unknown[] },
  { what, form }: { readonly what: string; readonly form: string },
): string {
  const { next: _, ...whole } = answer as { readonly next?: unknown; readonly items: readonly unknown[] };
  if (form === 'json' || form === 'yaml') return dataText(form, whole);
  if (form === 'name') return listText(listing, answer.items, { form, now: Date.now() });
  return answer.items.length === 0 ? `no ${what}\n` : listText(listing, answer.items, { form, now: Date.now() });
}

/** Events after which a list may be another. */
const eventsOf: Readonly<Record<ListName, string>> = {
  nodes: 'node,nodeports,finding-opened,finding-closed',
  nodeports: 'nodeports,columns,finding-opened,finding-changed,finding-closed',
  findings: 'finding-opened,finding-changed,finding-closed',
  changes: 'change',
  services: 'services,finding-opened,finding-closed',
  incidents: 'finding-opened,change',
  register: 'services',
  gaps: 'node,change',
  coverage: 'node,change',
  replicas: 'node',
};
const settleMs = 200;

// An item is printed when it is new or when its row is another: times that run on are left out of that comparison.
async function watch(parsed: Parsed, io: Io, asking: Asking): Promise<number> {
  if (textOf(parsed, 'at') !== undefined) throw failure('USAGE', ['--watch follows what happens now, and --at asks for the past: give one of them']);
  const listing = listings[asking.what] as Listing<unknown>;
  const form = requiredText(parsed, 'output');
  const seen = new Map<string, string>();
  let isFirst = true;
  const show = async (): Promise<void> => {
    const { items } = await answered(asking);
    // What went and comes back is new.
    const there = new Set(items.map((item) => listing.nameOf(item)));
    for (const name of seen.keys()) if (!there.has(name)) seen.delete(name);
    const fresh = items.filter((item) => seen.get(listing.nameOf(item)) !== stable(listing, item));
    for (const item of fresh) seen.set(listing.nameOf(item), stable(listing, item));
    const ordered = asking.what === 'changes' ? [...fresh].reverse() : fresh;
    if (form === 'json') for (const item of ordered) io.stdout.write(`${JSON.stringify(item)}\n`);
    else if (form === 'yaml') for (const item of ordered) io.stdout.write(`---\n${stringify(item)}`);
    else if (ordered.length > 0 || isFirst) io.stdout.write(rowsText(listing, ordered, { form, hasHead: isFirst }));
    isFirst = false;
  };
  const stream = newsOf(asking, io);
  await show();
  let waiting: NodeJS.Timeout | undefined;
  let failed: unknown;
  for await (const { event } of stream) {
    if (failed !== undefined) throw failed;
    // Replicas come and go without a word.
    if (event === 'heartbeat' && asking.what !== 'replicas') continue;
    waiting ??= setTimeout(() => {
      waiting = undefined;
      show().catch((error: unknown) => {
        if (!isAway(error)) failed = error;
      });
    }, settleMs);
  }
  clearTimeout(waiting);
  return 0;
}

/** Says when to ask again: what the collector tells or, to who may not see all and hence not the stream, the clock. */
async function* newsOf({ server, what }: Asking, { signal }: Pick<Io, 'signal'>): AsyncGenerator<{ readonly event: string }> {
  try {
    yield* listen(server, `live?events=${eventsOf[what]},heartbeat,reset`, signal);
  } catch (error) {
    if (!(error instanceof PortreeveError) || error.code !== 'COLLECTOR_DENIED') throw error;
    while (!signal.aborted) {
      await pause(pollMs, undefined, { signal }).catch(() => undefined);
      yield { event: 'clock' };
    }
  }
}

const pollMs = 2_000;

const stable = (listing: Listing<unknown>, item: unknown): string =>
  JSON.stringify([listing.row(item, 0), (item as { nodes?: unknown }).nodes]).replaceAll(/"\d+[smhd]( ago)?"/g, '""');

function rowsText(listing: Listing<unknown>, items: readonly unknown[], { form, hasHead }: { readonly form: string; readonly hasHead: boolean }): string {
  const text = listText(listing, items, { form, now: Date.now() });
  return hasHead || form === 'name' ? text : text.slice(text.indexOf('\n') + 1);
}
