// Runs a collector: store, state, cluster objects, the agents' connections and the API, started in order and closed in reverse.
import type { AddressInfo } from 'node:net';
import { type Logger, pino } from 'pino';
import { failure, PortreeveError, reasonOf } from '../shared/errors.ts';
import { limits } from '../shared/limits.ts';
import { isLoopback } from './api/loopback.ts';
import { type Api, createApi } from './api/server.ts';
import { Ingest } from './ingest/ingest.ts';
import { watchFiles } from './kubernetes/files.ts';
import type { ObjectIssue } from './kubernetes/objects.ts';
import type { ObjectSource, ObjectsUpdate } from './kubernetes/source.ts';
import { ownStream } from './state/own-stream.ts';
import { CollectorState, type LiveEvent } from './state/state.ts';
import { openStore, type Store } from './store/store.ts';

export interface CollectorOptions {
  /** `HOST:PORT`; port 0 lets the system choose. */
  readonly listen: string;
  /** Directory of the store. */
  readonly data: string;
  /** Directory of manifest files; without it and `kubeconfig` the in-cluster configuration is used. */
  readonly cluster?: string;
  readonly kubeconfig?: string;
  readonly databaseUrl?: string;
  /** Accepts everybody; on loopback addresses only. */
  readonly noAuth?: boolean;
  /** Milliseconds that a difference must last before it is a finding; absent: learned from what kube-proxy is measured to need. */
  readonly graceMs?: number;
  readonly heartbeatMs?: number;
  /** Level of the log on stderr; `info` when absent. */
  readonly logLevel?: 'silent' | 'error' | 'warn' | 'info' | 'debug';
}

export interface Collector {
  /** `http://HOST:PORT` with the port that is bound. */
  readonly address: string;
  /** Resolves when everything is closed. */
  readonly closed: Promise<void>;
  close(): Promise<void>;
}

/** Milliseconds for an orderly end, then what is left is abandoned: committed changes are safe anyway. */
const closeTimeoutMs = 1_800;

/**
 * Starts a collector and resolves once it listens; it runs until the signal or `close()`. Throws USAGE, LISTEN_NEEDS_LOOPBACK, STORE_FAILED or
 * INPUT_UNREADABLE; whatever was started by then is closed again.
 */
export async function runCollector(options: CollectorOptions, signal?: AbortSignal): Promise<Collector> {
  const { host, port } = listenAddress(options);
  const log: Log = pino<string>({ name: 'collector', level: options.logLevel ?? 'info' }, pino.destination({ dest: 2, sync: true }));
  const closers: (() => unknown)[] = [];
  try {
    const api = await start(options, log, closers);
    await api.app.listen({ host, port });
    const bound = api.app.server.address() as AddressInfo;
    const address = `http://${bound.family === 'IPv6' ? `[${bound.address}]` : bound.address}:${bound.port}`;
    log.info({ address }, 'the collector listens');
    return running({ address, closers, log, signal });
  } catch (error) {
    await closeAll(closers, log);
    throw listenError(error, options.listen);
  }
}

type Log = Logger<string>;

async function start(options: CollectorOptions, log: Log, closers: (() => unknown)[]): Promise<Api> {
  const { store, setAside } = await openStore(options.data);
  closers.push(() => store.close());
  if (setAside !== undefined)
    log.error({ setAside }, 'the store was damaged: its file is set aside and a new one begun; history before now is in that file only');
  const [{ items: changes }, open] = await Promise.all([
    store.changes({ node: '', limit: limits.apiItemsMax }),
    store.findings({ open: true, limit: 100_000 }),
  ]);
  const state = new CollectorState({ ...(options.graceMs === undefined ? {} : { graceMs: options.graceMs }), open });
  state.recall('', changes);
  closers.push(() => state.close());
  const keeping = keepFindings(state, store, log);
  closers.push(() => keeping());
  const record = ownStream(store, state);
  let issues: readonly ObjectIssue[] = [];
  const source = await objectSource(options, (update) => {
    issues = takeObjects(update, issues, { state, log });
    record(update.changes).catch((error: unknown) => log.error({ reason: reasonOf(error) }, 'changes of the cluster could not be stored'));
  });
  closers.push(() => source.close());
  let ingest: Ingest | undefined;
  const api = await createApi({
    state,
    store,
    log,
    session: (node) => ingest?.session(node),
    issues: () => issues,
    view: () => source.view(),
    notReady: () => notReady(state),
  });
  closers.push(() => api.close());
  const agents = new Ingest(api.app.server, { state, store, log, record, ...(options.heartbeatMs === undefined ? {} : { heartbeatMs: options.heartbeatMs }) });
  ingest = agents;
  closers.push(() => agents.close());
  return api;
}

function notReady({ objects: { readAt, unread } }: CollectorState): string | undefined {
  if (readAt === 0) return 'the cluster objects have not been read yet';
  const [missing] = (['Service', 'EndpointSlice'] as const).filter((kind) => unread.has(kind));
  return missing === undefined ? undefined : `${missing} objects cannot be read: ${unread.get(missing) ?? ''}`;
}

function running({ address, closers, log, signal }: { address: string; closers: (() => unknown)[]; log: Log; signal: AbortSignal | undefined }): Collector {
  const { promise: closed, resolve } = Promise.withResolvers<void>();
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closing ??= closeAll(closers, log).then(() => {
      signal?.removeEventListener('abort', close);
      log.info({}, 'the collector has ended');
      resolve();
    });
    return closing;
  };
  signal?.addEventListener('abort', close);
  if (signal?.aborted === true) void close();
  return { address, closed, close };
}

async function closeAll(closers: readonly (() => unknown)[], log: Log): Promise<void> {
  const ordered = async (): Promise<void> => {
    for (const close of [...closers].reverse())
      await (async () => close())().catch((error: unknown) => log.error({ reason: reasonOf(error) }, 'a part did not close'));
  };
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, closeTimeoutMs);
  });
  await Promise.race([ordered(), late]);
  clearTimeout(timer);
}

/** Reads HOST:PORT; refuses what this version cannot do safely. */
function listenAddress(options: CollectorOptions): { readonly host: string; readonly port: number } {
  const found = /^(\[[0-9a-f:.]+\]|[^:[\]]+):(\d{1,5})$/i.exec(options.listen);
  const port = Number(found?.[2]);
  if (found === null || port > 65_535) throw failure('USAGE', [`--listen ${options.listen}: HOST:PORT is wanted, e.g. 127.0.0.1:7300 or [::1]:7300`]);
  if (options.databaseUrl !== undefined) throw failure('USAGE', ['--database-url: SQLite in the --data directory is the only store of this version']);
  if (options.cluster !== undefined && options.kubeconfig !== undefined) throw failure('USAGE', ['--cluster and --kubeconfig exclude each other']);
  const host = (found[1] as string).replace(/^\[|\]$/g, '');
  if (!isLoopback(host)) throw failure('LISTEN_NEEDS_LOOPBACK', [`${host} (this version has no authentication)`]);
  return { host, port };
}

async function objectSource(options: CollectorOptions, onUpdate: (update: ObjectsUpdate) => void): Promise<ObjectSource> {
  if (options.cluster !== undefined) return watchFiles({ directory: options.cluster, onUpdate });
  // The Kubernetes client takes 60 MB of memory, which a collector that reads files need not pay.
  const { watchApi } = await import('./kubernetes/api.ts');
  return watchApi({ ...(options.kubeconfig === undefined ? {} : { kubeconfig: options.kubeconfig }), onUpdate });
}

function takeObjects(
  { objects, issues, touched }: ObjectsUpdate,
  before: readonly ObjectIssue[],
  { state, log }: { readonly state: CollectorState; readonly log: Log },
): readonly ObjectIssue[] {
  const known = new Set(before.map((issue) => JSON.stringify(issue)));
  for (const issue of issues) if (!known.has(JSON.stringify(issue))) log.warn({ ...issue }, 'a fault in the cluster objects');
  if (objects.readAt === 0) return issues;
  const { services, endpointSlices, nodes, pods } = objects;
  const level = touched.all ? 'info' : 'debug';
  log[level]({ services: services.size, endpointSlices: endpointSlices.size, nodes: nodes.size, pods: pods.size }, 'cluster objects read');
  if (touched.all || touched.kinds.size > 0) state.setObjects(objects, touched);
  return issues;
}

/** Writes what the state says of findings into the store, in order. The returned function waits for the last write. */
function keepFindings(state: CollectorState, store: Store, log: Log): () => Promise<void> {
  let writing: Promise<void> = Promise.resolve();
  const failed = (error: unknown): void => log.error({ reason: reasonOf(error) }, 'a finding could not be stored');
  state.subscribe((event) => {
    // The store keeps the order of its calls and commits those that wait together: waiting for each would cost one commit a finding.
    writing = Promise.all([writing, keep(event, store).catch(failed)]).then(() => undefined);
    report(event, log);
  });
  return async () => {
    await writing;
  };
}

async function keep(event: LiveEvent, store: Store): Promise<void> {
  if (event.kind === 'finding-opened' || event.kind === 'finding-changed')
    await store.upsertFindings([{ finding: event.finding, openedAt: event.finding.since ?? event.at }]);
  if (event.kind === 'finding-closed') await store.closeFindings([event.finding.id], event.at);
}

function report(event: LiveEvent, log: Log): void {
  if (event.kind === 'finding-opened' || event.kind === 'finding-closed') {
    const { node, cause, service, port, summary } = event.finding;
    log.info({ node, cause, service, port, summary }, event.kind === 'finding-opened' ? 'finding opened' : 'finding closed');
  }
  if (event.kind === 'failed') log.error({ node: event.node, err: event.error }, 'a node could not be diagnosed: its findings stay as they were');
}

function listenError(error: unknown, listen: string): unknown {
  if (error instanceof PortreeveError) return error;
  const { code } = error as NodeJS.ErrnoException;
  return code?.startsWith('EADDR') === true || code === 'EACCES' || code === 'ENOTFOUND'
    ? failure('USAGE', [`--listen ${listen}: ${reasonOf(error)}`], error)
    : error;
}
