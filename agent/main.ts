// The agent: observes the node and tells the collector. Everything that is started here is closed here, in reverse order, when the signal says so.
import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import { bootId, describeHost } from './host/describe.ts';
import { hostname } from './host/files.ts';
import { thisMachine } from './host/machine.ts';
import { Spool } from './host/spool.ts';
import { Observer } from './observer.ts';
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
      onTrace: (trace) => traceLive(observer.node, trace.packet, observer.wanted),
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
    log.info({ node, collector: options.collector }, 'agent started');
    await Promise.race([observer.start(), aborted(signal)]);
    await aborted(signal);
  } finally {
    for (const close of closers.reverse()) await close();
    log.info('agent stopped');
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
