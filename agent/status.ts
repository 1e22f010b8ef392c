// What an agent says of itself: each source with its outcome, what it lacks, how it is watched and what it costs; the collector; what waits. And the same
// without a running agent, by reading each source once.
import type { NodePortKey, SourceFact } from '../shared/model/fact.ts';
import { KernelWatch } from './bpf/watch.ts';
import { answerAt, type LocalSocket } from './host/local-socket.ts';
import { type Machine, thisMachine } from './host/machine.ts';
import { nothingRead, readSources, type SourceOutcome } from './reader.ts';
import { lackingCapabilities } from './sources/capability.ts';
import { connectionsOf } from './sources/flows.ts';
import { sources as everySource } from './sources/index.ts';
import type { Source } from './sources/source.ts';

/** One source as it stands. */
export interface SourceStatus {
  readonly name: string;
  readonly outcome: SourceOutcome['outcome'];
  /** Why it is absent or failed. */
  readonly reason?: string;
  /** What its facts leave out, and what would give it. */
  readonly lacks?: string;
  /** Capabilities that it needs, or could use, and the agent does not hold. */
  readonly missingCapabilities: readonly string[];
  /** `events`: the kernel or a program tells of changes; `poll`: it is read every so often. */
  readonly watch: 'events' | 'poll';
  /** Milliseconds between two readings by the clock. */
  readonly periodMs: number;
  /** Milliseconds since 1970 of the last reading; null: not read yet. */
  readonly readAt: number | null;
  /** Milliseconds that a reading takes: of a processor where an agent runs, else by the clock. */
  readonly costMs: number;
}

/** What `portreeve agent status -o json` prints. */
export interface AgentStatus {
  readonly apiVersion: 'portreeve/v1';
  readonly kind: 'AgentStatus';
  readonly node: string;
  readonly version: string;
  /** Absent when no agent runs and the sources were read for the question alone. */
  readonly agent?: {
    readonly pid: number;
    /** Milliseconds since 1970. */
    readonly startedAt: number;
    readonly rssBytes: number;
    /** Processor time used since its start, its children's left out. */
    readonly cpuMs: number;
    readonly collector: { readonly url: string; readonly connected: boolean; readonly unacknowledged: number };
    /** Directory where changes wait while no collector takes them; absent: they wait in memory alone. */
    readonly spool?: string;
    /** What else the agent has to say of its parts (eBPF, the governor of costs), by name. */
    readonly parts: Readonly<Record<string, string>>;
  };
  /** How much eBPF sees here, where no agent was asked that would have said so among its parts. */
  readonly ebpf?: string;
  readonly sources: readonly SourceStatus[];
}

export interface StatusOptions {
  readonly path: string;
  readonly machine: Machine;
  readonly status: () => Promise<AgentStatus>;
}

/** Answers `{"ask":"status"}` and `{"ask":"connections","protocol":…,"family":…,"port":…}` on a Unix socket. Rejects when the path cannot be used. */
export async function serveStatus({ path, machine, status }: StatusOptions): Promise<LocalSocket> {
  return await answerAt(path, async (question) => {
    if (question['ask'] === 'status') return await status();
    if (question['ask'] === 'connections') return await answerConnections(machine, nodePortOf(question));
    throw new Error(`${JSON.stringify(question['ask'])} is no question to an agent: status, connections`);
  });
}

async function answerConnections(machine: Machine, nodePort: NodePortKey): Promise<object> {
  const found = await connectionsOf(machine, nodePort);
  if ('error' in found) throw new Error(found.error);
  return found;
}

function nodePortOf({ protocol, family, port }: Readonly<Record<string, unknown>>): NodePortKey {
  if (protocol !== 'tcp' && protocol !== 'udp' && protocol !== 'sctp') throw new Error('protocol: tcp, udp or sctp is wanted');
  if (family !== 4 && family !== 6) throw new Error('family: 4 or 6 is wanted');
  if (typeof port !== 'number' || !Number.isInteger(port) || port < 1 || port > 65_535) throw new Error('port: a number from 1 to 65535 is wanted');
  return { protocol, family, port };
}

/** Adds to each source what of its needs is not held. */
export const withCapabilityGaps = async (
  machine: Machine,
  statuses: readonly Omit<SourceStatus, 'missingCapabilities'>[],
  sources: readonly Source[] = everySource,
): Promise<readonly SourceStatus[]> =>
  await Promise.all(
    statuses.map(async (status) => {
      const needs = sources.find(({ name }) => name === status.name)?.needs;
      return { ...status, missingCapabilities: needs === undefined ? [] : await lackingCapabilities(machine, needs) };
    }),
  );

/** Reads every source once, one after the other. */
export async function probeSources(signal: AbortSignal, sources: readonly Source[] = everySource): Promise<readonly SourceStatus[]> {
  const machine = thisMachine(signal);
  const statuses: Omit<SourceStatus, 'missingCapabilities'>[] = [];
  let readings = nothingRead;
  for (const source of sources) {
    const start = performance.now();
    readings = await readSources(machine, [source], readings);
    const costMs = performance.now() - start;
    const outcome = readings.outcomes.get(source.name);
    const period = source.pollMs(readings.files);
    statuses.push({
      name: source.name,
      outcome: outcome?.outcome ?? 'failed',
      ...(outcome?.reason === undefined ? {} : { reason: outcome.reason }),
      ...(outcome?.lacks === undefined ? {} : { lacks: outcome.lacks }),
      watch: source.wakes.length > 0 && period === undefined ? 'events' : 'poll',
      periodMs: period ?? fullReadMs,
      readAt: Date.now(),
      costMs,
    });
  }
  return await withCapabilityGaps(machine, statuses, sources);
}

/** Loads what eBPF programs may be loaded, for a moment, and says which rung of the ladder that gives. */
export async function probeEbpf(signal: AbortSignal): Promise<string> {
  const kernel = new KernelWatch({ machine: thisMachine(signal), onWake: () => {}, onFacts: () => {}, onNotice: () => {} });
  try {
    await kernel.start();
    for (const deadline = performance.now() + ladderMs; isOpen(kernel) && performance.now() < deadline && !signal.aborted; )
      await new Promise((resolve) => setTimeout(resolve, 20));
    return rungText(kernel.sourceFact());
  } finally {
    await kernel.close();
  }
}

/** Verifying and loading takes a fraction of a second. */
const ladderMs = 5_000;
const isOpen = (kernel: KernelWatch): boolean => kernel.sourceFact().reason?.includes('has not answered yet') === true;

/** The rung that holds, and what is missing above it. */
export const rungText = ({ rung, reason }: SourceFact): string => `${rung}${reason === undefined ? '' : `: ${reason}`}`;

/** Everything is read so often as a check on events. */
const fullReadMs = 600_000;
