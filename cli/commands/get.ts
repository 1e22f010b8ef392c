// `portreeve get`: lists what a collector knows.
import { stringify } from 'yaml';
import type { FindingItem } from '../../collector/api/answers.ts';
import type { NodeItem, NodePortItem, ServiceItem } from '../../collector/api/views.ts';
import { failure, PortreeveError } from '../../shared/errors.ts';
import { actorText, type SequencedChange } from '../../shared/model/change.ts';
import { ask, serverOf } from '../ask.ts';
import { accessOptions, type Command, type Io, numberOf, outputOption, type Parsed, requiredText, serverOption, textOf } from '../command.ts';
import { printable, spanText, tableText } from '../table.ts';
import { coverage, gaps, replicas } from './get.fleet.ts';

const filterOptions = [
  { name: 'node', value: 'NAME', summary: 'only of this node (findings, changes, gaps, coverage)' },
  { name: 'cause', value: 'ID', summary: 'only of this cause (findings)' },
  { name: 'service', value: 'NS/NAME', summary: 'only of this Service (findings)' },
  { name: 'state', value: 'STATE', summary: 'open findings, or those of the past', choices: ['open', 'closed', 'all'] },
  { name: 'kind', value: 'KIND', summary: 'only of this kind: rule, chain, sysctl, service … (changes)' },
  { name: 'subject', value: 'TEXT', summary: 'only with this text in the subject (changes)' },
  { name: 'reason', value: 'REASON', summary: 'only for this reason: agent-down, spool-full, lost … (gaps)' },
  { name: 'limit', value: 'N', summary: 'at most so many items (findings, changes, gaps)' },
] as const;

export const command: Command = {
  name: 'get',
  summary: 'list nodes, nodeports, findings, changes, services, gaps, coverage or replicas',
  usage: 'nodes|nodeports|findings|changes|services|gaps|coverage|replicas',
  description: 'Exit code 0: nothing is wrong; 1: there are findings of severity error or warning; 3: no collector answers.',
  options: [outputOption, serverOption, ...accessOptions, ...filterOptions],
  examples: ['portreeve get nodeports', 'portreeve get findings --node node1 -o json', 'portreeve get changes --node node1 --kind rule'],
  run: (parsed, io) => reachable(io, () => get(parsed, io)),
};

/** Runs a question to a collector; when nobody answers, says so and gives exit code 3, and 4 when it does not let us ask. */
export async function reachable(io: Io, question: () => Promise<number>): Promise<number> {
  try {
    return await question();
  } catch (error) {
    if (!(error instanceof PortreeveError) || (error.code !== 'COLLECTOR_UNREACHABLE' && error.code !== 'COLLECTOR_DENIED')) throw error;
    io.stderr.write(`portreeve: ${error.message}\n`);
    return error.code === 'COLLECTOR_DENIED' ? 4 : 3;
  }
}

/** Prints a value as JSON or YAML. */
export const dataText = (form: string, value: unknown): string => (form === 'yaml' ? stringify(value) : `${JSON.stringify(value, undefined, 2)}\n`);

export interface Listing<Item> {
  readonly filters: readonly string[];
  readonly head: readonly string[];
  readonly wideHead: readonly string[];
  readonly row: (item: Item, now: number) => readonly string[];
  readonly wide: (item: Item, now: number) => readonly string[];
  readonly faulty: (item: Item) => boolean;
}

async function get(parsed: Parsed, io: Io): Promise<number> {
  const [what = '', ...rest] = parsed.positionals;
  const listing = Object.hasOwn(listings, what) ? listings[what as keyof typeof listings] : undefined;
  if (listing === undefined || rest.length > 0)
    throw failure('USAGE', [`get ${parsed.positionals.join(' ')}: one of ${Object.keys(listings).join(', ')} is wanted`]);
  return list(what, listing as Listing<unknown>, { parsed, io });
}

async function list<Item>(what: string, listing: Listing<Item>, { parsed, io }: { readonly parsed: Parsed; readonly io: Io }): Promise<number> {
  const stray = filterOptions.find(({ name }) => textOf(parsed, name) !== undefined && !listing.filters.includes(name));
  if (stray !== undefined) throw failure('USAGE', [`--${stray.name} does not apply to get ${what}`]);
  numberOf(parsed, 'limit', { min: 1, max: 1_000 });
  const query = Object.fromEntries(listing.filters.map((name) => [name, textOf(parsed, name)]));
  const answer = await ask(serverOf(parsed), what, { query });
  const items = (answer.items ?? []) as readonly Item[];
  const form = requiredText(parsed, 'output');
  if (form === 'json' || form === 'yaml') io.stdout.write(dataText(form, answer));
  else io.stdout.write(items.length === 0 ? `no ${what}\n` : listText(listing, items, form));
  return items.some(listing.faulty) ? 1 : 0;
}

function listText<Item>(listing: Listing<Item>, items: readonly Item[], form: string): string {
  const now = Date.now();
  if (form !== 'wide')
    return tableText(
      listing.head,
      items.map((item) => listing.row(item, now)),
    );
  return tableText(
    [...listing.head, ...listing.wideHead],
    items.map((item) => [...listing.row(item, now), ...listing.wide(item, now)]),
  );
}

const nodes: Listing<NodeItem> = {
  filters: [],
  head: ['NODE', 'AGENT', 'SINCE', 'PROXY', 'OK', 'FAULT', 'BY DESIGN', 'PENDING', 'UNKNOWN', 'FINDINGS'],
  wideHead: ['ADDRESSES', 'VERSION', 'HEARD', 'READY', 'FAILED SOURCES'],
  row: ({ name, agent, since, proxy, nodePorts, findings }, now) => [
    name,
    agent,
    since === null ? '-' : spanText(now - since),
    proxy,
    ...[nodePorts.ok, nodePorts.fault, nodePorts['by-design'], nodePorts.pending, nodePorts.unknown].map(String),
    String(findings.error + findings.warning),
  ],
  wide: ({ addresses, version, viewAgeMs, ready, failedSources }) => [
    addresses.join(',') || '-',
    version ?? '-',
    viewAgeMs === null ? '-' : spanText(viewAgeMs),
    ready === null ? '-' : ready ? 'yes' : 'no',
    failedSources.map(({ source }) => source).join(',') || '-',
  ],
  faulty: ({ findings }) => findings.error + findings.warning > 0,
};

const nodeports: Listing<NodePortItem> = {
  filters: [],
  head: ['NODEPORT', 'SERVICE', 'STATE', 'NODES OK', 'NOT OK', 'CAUSES'],
  wideHead: ['NODES'],
  row: ({ port, protocol, service, state, nodes: cells }) => {
    const well = cells.filter((cell) => cell.state === 'ok').length;
    const wrong = [...new Set(cells.filter((cell) => cell.state !== 'ok').map(({ node }) => node))];
    const causes = [...new Set(cells.flatMap((cell) => cell.causes))];
    return [`${port}/${protocol}`, service, state, `${well}/${cells.length}`, shortList(wrong) || '-', causes.join(',') || '-'];
  },
  wide: ({ nodes: cells }) => [
    cells.map(({ node, family, state, symptom }) => `${node}/${family}:${state}${state === 'fault' ? `(${symptom})` : ''}`).join(' '),
  ],
  faulty: ({ state }) => state === 'fault',
};

const findings: Listing<FindingItem> = {
  filters: ['node', 'cause', 'service', 'state', 'limit'],
  head: ['NODE', 'NODEPORT', 'SERVICE', 'CAUSE', 'SEVERITY', 'SINCE', 'SUMMARY'],
  wideHead: ['WHO', 'FIX'],
  row: ({ node, port, protocol, service, cause, severity, since, closedAt, summary }, now) => [
    node,
    port === 0 ? '-' : `${port}/${protocol}`,
    service || '-',
    cause,
    severity,
    since === undefined ? '-' : spanText(now - since),
    `${closedAt === null ? '' : '(over) '}${summary}`,
  ],
  wide: ({ actor, remedy }) => [actorText(actor), remedy[0] ?? '-'],
  faulty: ({ severity, closedAt }) => closedAt === null && severity !== 'info',
};

const changes: Listing<SequencedChange> = {
  filters: ['node', 'kind', 'subject', 'limit'],
  head: ['TIME', 'NODE', 'KIND', 'SUBJECT', 'WHO', 'CHANGE'],
  wideHead: ['OWNER', 'STREAM', 'SEQ'],
  row: ({ at, node, kind, subject, actor, before, after }) => [
    new Date(at).toISOString(),
    node || '(cluster)',
    kind,
    subject,
    actorText(actor),
    differenceText(before, after),
  ],
  wide: ({ owner, stream, seq }) => [owner ?? '-', stream, String(seq)],
  faulty: () => false,
};

const services: Listing<ServiceItem> = {
  filters: [],
  head: ['SERVICE', 'TYPE', 'NODEPORTS', 'ENDPOINTS', 'POLICY', 'FINDINGS'],
  wideHead: ['TARGETS'],
  row: ({ namespace, name, type, ports, endpoints, externalTrafficPolicy, findings: counts }) => [
    `${namespace}/${name}`,
    type,
    ports.flatMap(({ nodePort, protocol }) => (nodePort === undefined ? [] : [`${nodePort}/${protocol}`])).join(','),
    `${endpoints.ready}/${endpoints.total}`,
    externalTrafficPolicy,
    String(counts.error + counts.warning),
  ],
  wide: ({ ports }) => [ports.map(({ port, targetPort }) => `${port}→${targetPort}`).join(',')],
  faulty: ({ findings: counts }) => counts.error + counts.warning > 0,
};

const listings = { nodes, nodeports, findings, changes, services, gaps, coverage, replicas };

const shortList = (names: readonly string[]): string => (names.length > 3 ? `${names.slice(0, 3).join(',')} +${names.length - 3}` : names.join(','));

/** The first line that came and the first that went, as a diff marks them. */
function differenceText(before: string | null, after: string | null): string {
  const was = (before ?? '').split('\n').filter((line) => line !== '');
  const is = (after ?? '').split('\n').filter((line) => line !== '');
  const gone = was.filter((line) => !is.includes(line));
  const come = is.filter((line) => !was.includes(line));
  const more = gone.length + come.length - Math.min(1, gone.length) - Math.min(1, come.length);
  const parts = [gone[0] === undefined ? '' : `- ${gone[0]}`, come[0] === undefined ? '' : `+ ${come[0]}`].filter((part) => part !== '');
  return printable(`${parts.join('  ') || 'order only'}${more > 0 ? `  (${more} more)` : ''}`);
}
