// The agent: observes the node and tells the collector. Everything that is started here is closed here, in reverse order, when the signal says so.
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { pino } from 'pino';
import { failure, reasonOf } from '../shared/errors.ts';
import type { Fact } from '../shared/model/fact.ts';
import { captureCapability } from '../shared/wire/messages.ts';
import { KernelWatch, type KernelWatchOptions } from './bpf/watch.ts';
import { CaptureRequests, type PackedCapture } from './capture.request.ts';
import { readersText } from './host/cgroup.ts';
import { watchClock } from './host/clock.ts';
import { bootId, describeHost } from './host/describe.ts';
import { openDisk } from './host/disk.ts';
import { fitEngine } from './host/engine.ts';
import { hostname, readSecret } from './host/files.ts';
import { hasIdentity } from './host/identity.ts';
import { type Machine, thisMachine } from './host/machine.ts';
import { Observer } from './observer.ts';
import { OwnIdentity } from './own-identity.ts';
import { newRun, type Run, timeOfRun } from './run.ts';
import { damageOf } from './spool/damage.ts';
import { type OpenedSpool, Spool } from './spool/spool.ts';
import { type AgentStatus, rungText, type StatusOptions, serveStatus, withCapabilityGaps } from './status.ts';
import { traceLive } from './trace.ts';
import { collectorUrls, Uplink } from './uplink.ts';
import { version } from './version.ts';

export interface AgentOptions {
  /** `wss://HOST:PORT`, or `ws://` on a loopback address; several for the replicas of a collector. */
  readonly collector: string | readonly string[];
  /** Name of the Kubernetes node; the host name if absent. */
  readonly node?: string;
  /** Directory for changes that wait while no collector takes them (in `spool/NODE`); without it they wait in memory alone. */
  readonly state?: string;
  /** Bytes that they may take there; `limits.spoolBytesMax` if absent. */
  readonly spoolBytes?: number;
  /** Path of the Unix socket for `portreeve agent status`; none if absent. */
  readonly socket?: string;
  /** `HOST:PORT` where the agent's metrics are; none if absent. */
  readonly metrics?: string;
  /** File with the bearer token for the collector: a ServiceAccount's, with the audience `portreeve`. */
  readonly tokenFile?: string;
  /** File with a join token, for the first start on a machine without Kubernetes' tokens. Needs `state`. */
  readonly joinTokenFile?: string;
  /** PEM files of a client certificate and its key that the operator has made, read anew at each connection. */
  readonly certificateFile?: string;
  readonly keyFile?: string;
  /** PEM file of authorities that the collector's certificate may come from, besides those of the system. */
  readonly authorityFile?: string;
  /** Watch the resets that clients are sent, too: each short packet of the node pays about 0.1 µs for it. */
  readonly watchResets?: boolean;
  readonly logLevel?: 'debug' | 'info' | 'warn' | 'error';
  /** Called once everything has been read for the first time, with a sentence on what the agent does. */
  readonly onReady?: (status: string) => void;
  /** Is given what reads everything anew, and connects anew with the tokens that are there now. */
  readonly onReload?: (act: () => Promise<void>) => void;
}

/**
 * Runs until `signal` aborts, then closes everything and resolves. A collector that is away, a tool that is missing and a source that fails end nothing.
 * Throws USAGE or LISTEN_NEEDS_LOOPBACK for a URL that it may not connect to, STORE_FAILED for a state directory that cannot be made.
 */
export async function runAgent(options: AgentOptions, signal: AbortSignal): Promise<void> {
  fitEngine(0);
  collectorUrls(options.collector);
  const log = pino({ name: 'agent', level: options.logLevel ?? 'info' }, pino.destination({ fd: 2, sync: true }));
  const node = options.node ?? hostname();
  const notice = (text: string, details: Readonly<Record<string, unknown>>) => log.info(details, text);
  const run = newRun();
  const identity = await openIdentity(options, { node, signal, notice });
  const spool = await openSpool(options, { node, run, notice });
  const commands = new AbortController();
  const closers: (() => unknown)[] = [() => commands.abort(), () => identity?.close()];
  try {
    const [host, boot] = await Promise.all([describeHost(signal), bootId()]);
    if (signal.aborted) return;
    const uplink = new Uplink({
      collector: options.collector,
      identity: { node, version, bootId: boot, stream: run.stream, startedAt: run.startedAt, capabilities: ['trace', captureCapability] },
      begunAt: run.begunAt,
      ...(spool === undefined ? {} : { spool }),
      ...(options.tokenFile === undefined ? {} : { tokenFile: options.tokenFile }),
      ...(identity === undefined ? {} : { secrets: () => identity.secrets }),
      onWant: (want) => observer.want(want),
      onTrace: (trace) => traceLive(observer.node, trace.packet, observer.wanted),
      onCapture: capturesOf(node, commands.signal),
      onNotice: notice,
    });
    const clock = watchClock((byMs) => uplink.clockJumped(byMs));
    closers.push(() => uplink.close(), clock.close);
    const machine = thisMachine(commands.signal);
    let seen: { readonly facts: ReadonlyMap<string, Fact>; readonly at: number } | undefined;
    const tell = () => {
      if (seen === undefined) return;
      fitEngine(seen.facts.size);
      const facts = new Map([...seen.facts, ...kernel.facts().map((fact) => [fact.key, fact] as const)]);
      uplink.take({ kind: 'facts', facts, at: seen.at });
    };
    const kernel = new KernelWatch({
      machine,
      ...wakes(() => observer),
      onFacts: tell,
      onNotice: notice,
      ...(options.watchResets === undefined ? {} : { resets: options.watchResets }),
    });
    const looking = afterwards(() => kernel.look(seen?.facts ?? new Map()));
    const observer = new Observer({
      node,
      host,
      machine,
      kernel,
      onFacts: (facts, at) => {
        seen = { facts, at };
        tell();
        looking.soon();
      },
      onChanges: (changes) => uplink.take({ kind: 'changes', changes }),
      onNotice: notice,
    });
    closers.push(() => kernel.close(), looking.close);
    closers.push(() => observer.close());
    // A command that runs when the agent stops is ended, or the observer would wait for it.
    closers.push(() => commands.abort());
    const status = () => statusOf({ node, options, machine, kernel, observer, uplink });
    if (options.socket !== undefined) await answerStatus({ path: options.socket, machine, status }, { closers, notice });
    if (options.metrics !== undefined) closers.push(await tellPrometheus(options.metrics, { status, uplink, notice }));
    log.info({ node, collector: options.collector }, 'agent started');
    if (spool !== undefined && spool.damaged > 0) uplink.take({ kind: 'changes', changes: [damageOf(node, { ...spool, at: run.startedAt })] });
    await kernel.start();
    options.onReload?.(() => {
      uplink.reconnect('asked to reload');
      return observer.readAll();
    });
    await Promise.race([observer.start(), aborted(signal)]);
    if (!signal.aborted) options.onReady?.(`watching ${node} for ${[options.collector].flat().join(', ')}`);
    await aborted(signal);
  } finally {
    for (const close of closers.reverse()) await close();
    log.info('agent stopped');
  }
}

/** What the kernel says is read again. */
const wakes = (observer: () => Observer): Pick<KernelWatchOptions, 'onWake' | 'onReplaced' | 'onTold'> => ({
  onWake: (which) => observer().wake(which),
  onReplaced: (table) => observer().replaced(table),
  onTold: (which, how) => observer().told(which, how),
});

/** Does something once all that goes on now is done: of where packets get lost the agent can tell a moment after the collector has the facts, and what changed. */
function afterwards(act: () => void): { soon(): void; close(): void } {
  let waiting: NodeJS.Immediate | undefined;
  const run = () => {
    waiting = undefined;
    act();
  };
  return { soon: () => void (waiting ??= setImmediate(run)), close: () => clearImmediate(waiting) };
}

/** What makes captures is loaded when somebody wants one. */
function capturesOf(node: string, signal: AbortSignal): () => Promise<PackedCapture> {
  const requests = new CaptureRequests(async () => (await import('./capture.ts')).readCapture(node, signal));
  return () => requests.make();
}

/** Serves the metrics; the returned function ends that. */
async function tellPrometheus(
  address: string,
  { status, uplink, notice }: { readonly status: () => Promise<AgentStatus>; readonly uplink: Uplink; readonly notice: Started['notice'] },
): Promise<() => unknown> {
  const { serveMetrics } = await import('./host/metrics.ts');
  const { agentMetrics } = await import('./metrics.ts');
  const served = await serveMetrics(address, async () => agentMetrics(await status(), { ...uplink.delivery, now: Date.now() }));
  notice('metrics are served', { address: served.address });
  return () => served.close();
}

interface Started {
  readonly node: string;
  readonly run: Run;
  readonly notice: (text: string, details: Readonly<Record<string, unknown>>) => void;
}

/** Each node name has a directory of its own: an agent that was started with a wrong name neither sends nor clears what another has left. */
async function openSpool(options: AgentOptions, { node, run, notice }: Started): Promise<OpenedSpool | undefined> {
  if (options.state === undefined) return undefined;
  const disk = await openDisk(join(options.state, 'spool', encodeURIComponent(node)));
  const bytes = options.spoolBytes === undefined ? {} : { bytesMax: options.spoolBytes };
  return await Spool.open(disk, { ...bytes, run: { stream: run.stream, startedAt: run.startedAt }, node, now: () => timeOfRun(run), onNotice: notice });
}

interface Secrets {
  readonly ca: string[];
  readonly key?: string;
  readonly cert?: string;
}

/** The certificate of this machine, where it enrols by a join token or has done so; the authorities of a file, where one is given. */
async function openIdentity(
  options: AgentOptions,
  started: { readonly node: string; readonly signal: AbortSignal; readonly notice: Started['notice'] },
): Promise<{ readonly secrets: Secrets; close(): void } | undefined> {
  const collectors = collectorUrls(options.collector).map(({ href }) => new URL(href.replace(/^ws/, 'http')));
  if (collectors[0]?.protocol !== 'https:') return undefined;
  const authorities = options.authorityFile === undefined ? [] : [readSecret(options.authorityFile)];
  const fixed = authorities.length === 0 ? undefined : { secrets: { ca: [...authorities, ...rootCertificates] }, close: () => {} };
  const { certificateFile, keyFile } = options;
  if (certificateFile !== undefined && keyFile !== undefined) {
    const read = (): Secrets => ({ ca: [...authorities, ...rootCertificates], cert: readSecret(certificateFile), key: readSecret(keyFile) });
    return operatorsOwn(read, started.notice);
  }
  if (options.tokenFile !== undefined || options.state === undefined) return fixed;
  const directory = join(options.state, 'identity', encodeURIComponent(started.node));
  if (options.joinTokenFile === undefined && !hasIdentity(directory)) return fixed;
  const joinToken = joinTokenOf(options.joinTokenFile, hasIdentity(directory));
  return await OwnIdentity.open({ collectors, node: started.node, directory, authorities, ...joinToken }, started);
}

/** Files of the operator, read anew each time; while they cannot be read, those of before go on. */
function operatorsOwn(read: () => Secrets, notice: Notice): { readonly secrets: Secrets; close(): void } {
  let last = read();
  return {
    get secrets() {
      try {
        last = read();
      } catch (error) {
        notice('the client certificate cannot be read', { reason: reasonOf(error) });
      }
      return last;
    },
    close: () => {},
  };
}

// A join token is good for once, so that who has enrolled may have thrown it away; one that is there lets a node in again whose certificate has ended.
function joinTokenOf(file: string | undefined, isEnrolled: boolean): { readonly joinToken?: string } {
  if (file === undefined) return {};
  try {
    return { joinToken: readSecret(file) };
  } catch (error) {
    if (isEnrolled) return {};
    throw failure('INPUT_UNREADABLE', [file, reasonOf(error)], error);
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

interface Parts {
  readonly kernel: KernelWatch;
  readonly observer: Observer;
  readonly uplink: Uplink;
}

interface Answering extends Parts {
  readonly node: string;
  readonly options: AgentOptions;
  readonly machine: Machine;
}

async function statusOf({ node, options, machine, ...parts }: Answering): Promise<AgentStatus> {
  const sources = await withCapabilityGaps(machine, parts.observer.status());
  const spool = options.state === undefined ? {} : { spool: options.state };
  const agent = { ...ownUse(), collector: parts.uplink.status, ...spool, parts: { ...partsOf(parts), readers: await readersText() } };
  return { apiVersion: 'portreeve/v1', kind: 'AgentStatus', node, version, agent, sources };
}

/** What the parts say of themselves, by name. */
function partsOf({ kernel, observer, uplink }: Parts): Record<string, string> {
  const { inMemory, onDiskAlone, spoolBytes } = uplink.delivery;
  return {
    eBPF: rungText(kernel.sourceFact()),
    reading: observer.reading,
    delivery: `${inMemory} unacknowledged in memory, ${onDiskAlone ? 'more on disk' : 'none on disk alone'}, ${spoolBytes} bytes of spool`,
  };
}

function ownUse(): { readonly pid: number; readonly startedAt: number; readonly rssBytes: number; readonly cpuMs: number } {
  const { user, system } = process.cpuUsage();
  return { pid: process.pid, startedAt: Math.round(performance.timeOrigin), rssBytes: process.memoryUsage.rss(), cpuMs: Math.round((user + system) / 1000) };
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
