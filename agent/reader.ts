// Reads sources into the files of a capture and keeps what each said last. One that fails keeps the files of its last good reading, and says that it failed.
import { reasonOf } from '../shared/errors.ts';
import type { SourceFact } from '../shared/model/fact.ts';
import { sameRules } from '../shared/netfilter/dump.same.ts';
import type { CaptureFiles } from '../shared/netfilter/node.ts';
import { parseCounters, parseFlows, parseProxyMetrics, roundedCounter, roundedCounters } from '../shared/netfilter/surroundings.parse.ts';
import type { Machine } from './host/machine.ts';
import { dumpFault, withTable } from './sources/iptables.parse.ts';
import type { Reading, Source } from './sources/source.ts';

/** Everything that was read, as of the last time that each source was. */
export interface Readings {
  readonly files: CaptureFiles;
  /** The command (or path) that each file came from. */
  readonly commands: Readonly<Record<string, string>>;
  readonly outcomes: ReadonlyMap<string, SourceOutcome>;
}

export interface SourceOutcome {
  readonly outcome: SourceFact['outcome'];
  readonly reason?: string;
  /** What its facts leave out, and what would give it. */
  readonly lacks?: string;
  /** Whether it was ever read (or found absent) since the agent runs: only then can a later reading show a change. */
  readonly known: boolean;
  /** Readings in a row that were failures or blind in part. */
  readonly failures: number;
  /** Milliseconds that a reading costs, as the meter that was given measures it. */
  readonly costMs: number;
  /** What `glance` showed when it was read. */
  readonly glance?: string;
  /** Milliseconds that such a look costs, by the same meter. */
  readonly glanceCostMs?: number;
}

export const nothingRead: Readings = { files: new Map(), commands: {}, outcomes: new Map() };

/** Reads the sources given, one after the other in their order, and lays their files over what was read before. */
export const readSources = (machine: Machine, sources: readonly Source[], before: Readings): Promise<Readings> =>
  readMetered(machine, sources, { before, meter: () => performance.now() });

/** The same; `meter` is the clock that their costs are measured by, in milliseconds. */
export async function readMetered(
  machine: Machine,
  sources: readonly Source[],
  { before, meter }: { readonly before: Readings; readonly meter: () => number },
): Promise<Readings> {
  let readings = before;
  for (const source of sources) {
    const start = meter();
    // What changes between the look and the reading is seen by the next look.
    const glance = await glanceSafely(machine, source);
    const glanceCostMs = meter() - start;
    const reading = await readSafely(machine, source, readings.files);
    readings = take(readings, { source, reading, costMs: meter() - start, ...(glance === undefined ? {} : { glance, glanceCostMs }) });
  }
  return readings;
}

interface DumpAgain {
  readonly file: string;
  /** The only ones that may have changed; undefined: any. */
  readonly tables?: readonly string[] | undefined;
}

/** Makes one dump of iptables anew, or some of its tables, by the command that made it; undefined when that fails. */
export async function readAgain(machine: Machine, before: Readings, { file, tables }: DumpAgain): Promise<Readings | undefined> {
  const [command, ...args] = before.commands[file]?.split(' ') ?? [];
  const known = before.files.get(file);
  if (command === undefined) return undefined;
  const parted = known === undefined || tables === undefined ? undefined : await dumpTables(machine, [command, ...args], { known, tables });
  const dump = parted ?? (await dumpOf(machine, command, args));
  if (dump === undefined) return undefined;
  if (known !== undefined && sameDump(file, known, dump)) return before;
  return { ...before, files: new Map(before.files).set(file, dump) };
}

/** A dump with these tables as they are now; undefined where one cannot be put in. */
async function dumpTables(
  machine: Machine,
  [command, ...args]: readonly [string, ...string[]],
  { known, tables }: { readonly known: Buffer; readonly tables: readonly string[] },
): Promise<Buffer | undefined> {
  let dump: Buffer | undefined = known;
  for (const table of tables) {
    const part = await dumpOf(machine, command, [...args, '-t', table]);
    dump = part === undefined || dump === undefined ? undefined : withTable(dump, table, part);
    if (dump === undefined) return undefined;
  }
  return dump;
}

async function dumpOf(machine: Machine, command: string, args: readonly string[]): Promise<Buffer | undefined> {
  const outcome = await machine.run(command, args);
  return outcome.kind === 'done' && dumpFault(outcome.stdout) === undefined ? outcome.stdout : undefined;
}

/**
 * Whether a cheap look shows a source as it was when it was read last: not so for those that have no such look. What the look has cost is taken into the readings:
 * the first of all, which compiles code and starts on a busy machine, must not say for long how often there is one.
 */
export async function look(
  machine: Machine,
  source: Source,
  { before, meter }: { readonly before: Readings; readonly meter: () => number },
): Promise<{ readonly isSame: boolean; readonly readings: Readings }> {
  const known = before.outcomes.get(source.name);
  if (known?.glance === undefined || known.failures > 0) return { isSame: false, readings: before };
  const start = meter();
  const isSame = (await glanceSafely(machine, source)) === known.glance;
  const outcome = { ...known, glanceCostMs: smoothed(known.glanceCostMs, meter() - start) };
  return { isSame, readings: { ...before, outcomes: new Map(before.outcomes).set(source.name, outcome) } };
}

async function glanceSafely(machine: Machine, source: Source): Promise<string | undefined> {
  try {
    return await source.glance?.(machine);
  } catch {
    return undefined;
  }
}

async function readSafely(machine: Machine, source: Source, known: CaptureFiles): Promise<Reading> {
  try {
    return await source.read(machine, known);
  } catch (error) {
    return { outcome: 'failed', reason: reasonOf(error) };
  }
}

interface Taken {
  readonly source: Source;
  readonly reading: Reading;
  readonly costMs: number;
  readonly glance?: string;
  readonly glanceCostMs?: number;
}

function take(before: Readings, { source, reading, costMs, glance, glanceCostMs }: Taken): Readings {
  const earlier = before.outcomes.get(source.name);
  const reason = reading.outcome === 'facts' ? reading.unread : reading.reason;
  const outcome: SourceOutcome = {
    outcome: reading.outcome === 'facts' && reading.unread !== undefined ? 'failed' : reading.outcome,
    ...(reason === undefined ? {} : { reason: reason.slice(0, 2_000) }),
    ...(reading.outcome !== 'facts' || reading.lacks === undefined ? {} : { lacks: reading.lacks.slice(0, 2_000) }),
    known: reading.outcome !== 'failed' || earlier?.known === true,
    failures: reason === undefined || reading.outcome === 'absent' ? 0 : (earlier?.failures ?? 0) + 1,
    costMs: smoothed(earlier?.costMs, costMs),
    ...(glance === undefined ? {} : { glance }),
    ...(glanceCostMs === undefined ? {} : { glanceCostMs: smoothed(earlier?.glanceCostMs, glanceCostMs) }),
  };
  const outcomes = new Map(before.outcomes).set(source.name, outcome);
  if (reading.outcome === 'failed') return { ...before, outcomes };
  const files = new Map(before.files);
  // What could not be read this time stays as it was; what was read and is no more goes.
  if (reading.outcome === 'absent' || reading.unread === undefined) for (const file of source.files) files.delete(file);
  if (reading.outcome === 'absent') return { ...before, files, outcomes };
  for (const [file, content] of reading.files) files.set(file, sameDump(file, before.files.get(file), content) ? (before.files.get(file) as Buffer) : content);
  return { files, commands: { ...before.commands, ...reading.commands }, outcomes };
}

/**
 * The kernel shows processor time in steps of ten milliseconds, which single readings cost less than; over many it comes out right. The first reading of all,
 * which loads programs and modules and compiles code, says little of what the next ones cost.
 */
const smoothed = (earlierMs: number | undefined, nowMs: number): number => (earlierMs === undefined ? nowMs / 4 : earlierMs * 0.7 + nowMs * 0.3);

/** Whether two dumps differ in counters and dates at most, or two lists of counters by less than is told of them: then the earlier one is kept, and everything made from it stays as it is. */
export function sameDump(file: string, before: Buffer | undefined, after: Buffer): boolean {
  if (before === undefined) return false;
  if (before.equals(after)) return true;
  if (/^ip6?tables/.test(file)) return sameRules(before, after);
  if (file === 'counters.txt' || file === 'conntrack-count.txt') return plainCounters(before) === plainCounters(after);
  if (file === 'kube-proxy-metrics.txt') return plainMetrics(before) === plainMetrics(after);
  if (file === 'conntrack.txt') return plainFlows(before) === plainFlows(after);
  return file === 'nft.json' && plainNft(before) === plainNft(after);
}

const plainCounters = (file: Buffer): string => JSON.stringify([...roundedCounters(parseCounters(file.toString('latin1')).values)]);

// Of each sync only that it was the last is new; that it is late or has failed is what counts.
function plainMetrics(file: Buffer): string {
  const sync = parseProxyMetrics(file.toString('latin1'));
  return sync === undefined ? '' : [sync.queuedAt - sync.lastAt > 30_000, sync.restoreFailures, sync.partialRestoreFailures].join(' ');
}

// Clients come and go; where they are sent, and about how many, is what counts.
function plainFlows(file: Buffer): string {
  const { items } = parseFlows(file.toString('latin1'));
  const ways = Map.groupBy(items, (flow) =>
    [flow.protocol, flow.destination, flow.destinationPort, flow.replySource, flow.replySourcePort, flow.unanswered].join(' '),
  );
  return [...ways]
    .map(([way, all]) => `${way} ${roundedCounter(all.length)}`)
    .sort()
    .join('\n');
}

const plainNft = (list: Buffer): string => list.toString('latin1').replace(/"(packets|bytes|expires)": ?\d+/g, '"$1":0');
