// The agent: observes the node and tells the collector. Everything that is started here is closed here, in reverse order, when the signal says so.
import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import { reasonOf } from '../shared/errors.ts';
import { bootId, describeHost } from './host/describe.ts';
import { hostname } from './host/files.ts';
import { thisMachine } from './host/machine.ts';
import { Spool } from './host/spool.ts';
import { Observer } from './observer.ts';
import { type AgentStatus, type StatusOptions, serveStatus, withCapabilityGaps } from './status.ts';
import { traceLive } from './trace.ts';
import { collectorUrl, Uplink } from './uplink.ts';
import { version } from './version.ts';

export interface AgentOptions {
  /** `wss://HOST:PORT`, or `ws://` on a loopback address. */
  readonly collector: string;
  /** Name of the Kubernetes node; the host name if absent. */
  readonly node?: string;
  /** Directory for changes that wait while no collector takes them; without it they wait in memory alone. */
  readonly state?: string;
  /** Path of the Unix socket for `portreeve agent status`; none if absent. */
  readonly socket?: string;
  /** File with the bearer token for the collector. */
  readonly tokenFile?: string;
  readonly logLevel?: 'debug' | 'info' | 'warn' | 'error';
}

/**
 * Runs until `signal` aborts, then closes everything and resolves. A collector that is away, a tool that is missing and a source that fails end nothing.
 * Throws USAGE or LISTEN_NEEDS_LOOPBACK for a URL that it may not connect to, STORE_FAILED for a state directory that cannot be made.
 */
export async function runAgent(options: AgentOptions, signal: AbortSignal): Promise<void> {
  collectorUrl(options.collector);
  const log = pino({ name: 'agent', level: options.logLevel ?? 'info' }, pino.destination({ fd: 2, sync: true }));
  const node = options.node ?? hostname();
  const spool = options.state === undefined ? undefined : new Spool(options.state);
  const left = spool?.load() ?? [];
  const notice = (text: string, details: Readonly<Record<string, unknown>>) => log.info(details, text);
  const commands = new AbortController();
  const closers: (() => unknown)[] = [() => commands.abort()];
  try {
    const [host, boot] = await Promise.all([describeHost(signal), bootId()]);
    if (signal.aborted) return;
    const uplink = new Uplink({
      collector: options.collector,
      identity: { node, version, bootId: boot, stream: left[0]?.stream ?? randomUUID(), capabilities: ['trace'] },
      ...(spool === undefined ? {} : { spool: { spool, left } }),
      ...(options.tokenFile === undefined ? {} : { tokenFile: options.tokenFile }),
      onWant: (want) => observer.want(want),
      onTrace: (trace) => traceLive(observer.node, trace.packet),
      onNotice: notice,
    });
    closers.push(() => uplink.close());
    const observer = new Observer({
      node,
      host,
      machine: thisMachine(commands.signal),
      onFacts: (facts, at) => uplink.take({ kind: 'facts', facts, at }),
      onChanges: (changes) => uplink.take({ kind: 'changes', changes }),
      onNotice: notice,
    });
    closers.push(() => observer.close());
    // A command that runs when the agent stops is ended, or the observer would wait for it.
    closers.push(() => commands.abort());
    if (options.socket !== undefined) {
      const machine = thisMachine(commands.signal);
      const status = async (): Promise<AgentStatus> => ({
        apiVersion: 'portreeve/v1',
        kind: 'AgentStatus',
        node,
        version,
        agent: { ...ownUse(), collector: uplink.status, ...(options.state === undefined ? {} : { spool: options.state }), parts: {} },
        sources: await withCapabilityGaps(machine, observer.status()),
      });
      await answerStatus({ path: options.socket, machine, status }, { closers, notice });
    }
    log.info({ node, collector: options.collector }, 'agent started');
    await Promise.race([observer.start(), aborted(signal)]);
    await aborted(signal);
  } finally {
    for (const close of closers.reverse()) await close();
    log.info('agent stopped');
  }
}

// Without its socket an agent does all but answer questions on its own node: that is worth a line, not an end.
async function answerStatus(options: StatusOptions, { closers, notice }: { readonly closers: (() => unknown)[]; readonly notice: Notice }): Promise<void> {
  try {
    const socket = await serveStatus(options);
    closers.push(() => socket.close());
  } catch (error) {
    notice('questions about this agent are not answered', { socket: options.path, reason: reasonOf(error) });
  }
}

type Notice = (text: string, details: Readonly<Record<string, unknown>>) => void;

function ownUse(): { readonly pid: number; readonly startedAt: number; readonly rssBytes: number; readonly cpuMs: number } {
  const { user, system } = process.cpuUsage();
  return { pid: process.pid, startedAt: Math.round(performance.timeOrigin), rssBytes: process.memoryUsage.rss(), cpuMs: Math.round((user + system) / 1000) };
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
