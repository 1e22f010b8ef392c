// One round of reading: of rules what transactions touched, as far as that is cheaper than everything; of all else whole sources.
import type { Machine } from './host/machine.ts';
import type { Touched } from './monitors/touched.ts';
import { concerns, type Part, type Plan, planIptables, planNative } from './plan.ts';
import { type Readings, readAgain, readMetered } from './reader.ts';
import { incompatibleTables, saveBackend, smallTables } from './sources/iptables.parse.ts';
import { listWords, type PartsReading, readChains, readNative } from './sources/parts.ts';
import type { LegacyTable, LegacyTables, Source } from './sources/source.ts';
import type { State } from './state.ts';

export interface RoundInput {
  readonly machine: Machine;
  readonly sources: readonly Source[];
  /** Names of sources to read whole. */
  readonly whole: ReadonlySet<string>;
  /** What transactions touched since the last round. */
  readonly touched: Touched;
  readonly legacy: LegacyTables;
  readonly readings: Readings;
  /** Undefined before the first round. */
  readonly state: State | undefined;
  /** Milliseconds that reading one part has cost lately. */
  readonly partMs: number;
  /** A clock of what reading costs, in milliseconds. */
  readonly meter: () => number;
}

export interface RoundReading {
  readonly readings: Readings;
  /** Names of sources that were read whole. */
  readonly whole: ReadonlySet<string>;
  readonly parts: readonly { readonly part: Part; readonly text: string | null }[];
  readonly partMs: number;
  /** Why more was read than was touched; for the log. */
  readonly why: readonly string[];
  /** Legacy tables that are still to be read: what was found already is told first. */
  readonly left: LegacyTables;
}

type RuleSource = 'iptables' | 'ip6tables' | 'nftables';
const ruleSources: readonly RuleSource[] = ['iptables', 'ip6tables', 'nftables'];

export async function readRound(input: RoundInput): Promise<RoundReading> {
  const whole = new Set(input.whole);
  const why: string[] = [];
  const parts: { readonly part: Part; readonly text: string | null }[] = [];
  let { partMs } = input;
  for (const name of ruleSources) {
    if (whole.has(name) || !input.sources.some((source) => source.name === name)) continue;
    if (!concerns(name, { touched: input.touched, tables: input.state?.node.tables ?? [] })) continue;
    const plan = planOf(name, input, partMs);
    const start = input.meter();
    const read = plan.kind === 'everything' ? unreadable(plan.why) : await readParts(name, plan.parts, input);
    if (read.kind === 'unreadable') {
      whole.add(name);
      why.push(`${name}: ${read.why}`);
      continue;
    }
    parts.push(...read.parts);
    const commands = read.parts.filter(({ part }) => !part.gone).length;
    if (commands > 0) partMs = partMs * 0.8 + ((input.meter() - start) / commands) * 0.2;
  }
  const legacy = await readLegacy(input, whole);
  const before = legacy.readings;
  const due = input.sources.filter(({ name }) => whole.has(name));
  const readings = due.length === 0 ? before : await readMetered(input.machine, due, { before, meter: input.meter });
  return { readings: await readGivenUp(input, readings, whole), whole, parts, partMs, why, left: legacy.left };
}

/** What iptables says that it no longer shows (or shows again), nft shows (or no longer does): then native tables are read too. */
async function readGivenUp({ machine, sources, readings: before, meter }: RoundInput, after: Readings, whole: Set<string>): Promise<Readings> {
  const nftables = sources.find(({ name }) => name === 'nftables');
  const isSame = dumps.every((file) => {
    const [was, is] = [before.files.get(file), after.files.get(file)];
    return was === is || incompatibleTables(was).join() === incompatibleTables(is).join();
  });
  if (nftables === undefined || whole.has('nftables') || isSame) return after;
  whole.add('nftables');
  return await readMetered(machine, [nftables], { before: after, meter });
}

const dumps = ['iptables-save.txt', 'iptables-nft-save.txt', 'ip6tables-save.txt', 'ip6tables-nft-save.txt'] as const;

/**
 * Dumps legacy tables again, without those of the other backend beside them. Where there were none, and are now, their source is read whole. Where any may have
 * changed, the small ones are dumped first: if one has, kube-proxy's large one, which takes a hundred times as long, is left for the next round.
 */
async function readLegacy({ machine, sources, readings, legacy }: RoundInput, whole: Set<string>): Promise<Pick<RoundReading, 'readings' | 'left'>> {
  let after = readings;
  let left: LegacyTables = new Set();
  for (const source of sources) {
    if ((source.name !== 'iptables' && source.name !== 'ip6tables') || whole.has(source.name)) continue;
    const tables = legacy === 'any' ? undefined : tablesIn(source.name === 'iptables' ? 'ip' : 'ip6', legacy);
    if (tables?.length === 0) continue;
    const file = [`${source.name}-save.txt`, `${source.name}-legacy-save.txt`].find((each) => saveBackend(readings.files.get(each)) === 'legacy');
    const small = tables === undefined && file !== undefined ? smallTables(readings.files.get(file)) : [];
    const first = file === undefined || small.length === 0 ? undefined : await readAgain(machine, after, { file, tables: small });
    // The same object says that nothing has changed.
    const isChanged = first !== undefined && first !== after;
    if (isChanged) left = 'any';
    const again = file === undefined || isChanged ? first : await readAgain(machine, after, { file, tables });
    if (again !== undefined) after = again;
    else if (file !== undefined || (await source.appeared?.(machine, readings.files)) === true) whole.add(source.name);
  }
  return { readings: after, left };
}

const tablesIn = (family: 'ip' | 'ip6', tables: ReadonlySet<LegacyTable>): readonly string[] =>
  [...tables].filter((table) => table.startsWith(`${family} `)).map((table) => table.slice(family.length + 1));

const unreadable = (why: string): PartsReading => ({ kind: 'unreadable', why });

function planOf(name: RuleSource, input: RoundInput, partMs: number): Plan {
  const outcome = input.readings.outcomes.get(name);
  // What was not read well as a whole is not patched.
  if (input.state === undefined || outcome === undefined || outcome.failures > 0) return { kind: 'everything', why: 'it was not read well before' };
  const context = { tables: input.state.node.tables, touched: input.touched, partMs, everythingMs: outcome.costMs };
  return name === 'nftables' ? planNative(context) : planIptables(name === 'iptables' ? 'ip' : 'ip6', context);
}

async function readParts(name: RuleSource, parts: readonly Part[], { machine, readings }: RoundInput): Promise<PartsReading> {
  if (parts.every(({ gone }) => gone)) return { kind: 'read', parts: parts.map((part) => ({ part, text: null })) };
  if (name === 'nftables') return await readNative(machine, parts);
  const words = chainLister(name, readings);
  return words === undefined ? unreadable('no program is known that dumped its tables') : await readChains(machine, words, parts);
}

/** The program that dumped the tables of iptables-nft in one family, as it lists chains. */
function chainLister(name: 'iptables' | 'ip6tables', { files, commands }: Readings): readonly [string, ...string[]] | undefined {
  const file = [`${name}-save.txt`, `${name}-nft-save.txt`].find((each) => saveBackend(files.get(each)) === 'nf_tables');
  return file === undefined ? undefined : listWords(commands[file] ?? '');
}

/** Rules of nf_tables in a state. */
export function ruleCount(state: State | undefined): number {
  let count = 0;
  for (const { backend, chains } of state?.node.tables ?? []) {
    if (backend === 'legacy') continue;
    if ('ruleCount' in chains) count += chains.ruleCount as number;
    else for (const { length } of chains.values()) count += length;
  }
  return count;
}
