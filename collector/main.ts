// Runs a collector: store, state, cluster objects, the agents' connections and the API, started in order and closed in reverse.
import { readFileSync } from 'node:fs';
import { type FileHandle, open, readFile, writeFile } from 'node:fs/promises';
import type { RequestListener, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { hostname } from 'node:os';
import { type Logger, pino } from 'pino';
import { failure, PortreeveError, reasonOf } from '../shared/errors.ts';
import { limits } from '../shared/limits.ts';
import { isLoopback } from './api/loopback.ts';
import { type Api, createApi } from './api/server.ts';
import { Access, firstToken } from './identity/access.ts';
import { admit } from './identity/admission.ts';
import { Authority } from './identity/authority.ts';
import { Connections } from './identity/connections.ts';
import { plainServer, TlsListener } from './identity/listener.ts';
import { Refusals } from './identity/refusals.ts';
import { ServiceAccounts } from './identity/service-accounts.ts';
import { Ingest } from './ingest/ingest.ts';
import { watchFiles } from './kubernetes/files.ts';
import type { ObjectIssue } from './kubernetes/objects.ts';
import type { ObjectSource, ObjectsUpdate } from './kubernetes/source.ts';
import { alertmanagerChannel } from './notify/alertmanager.ts';
import { eventChannel } from './notify/kubernetes-events.ts';
import { type Channel, Notifier } from './notify/notifier.ts';
import { receiverUrl } from './notify/post.ts';
import { webhookChannel } from './notify/webhook.ts';
import { joinTeam, type Team } from './replicas/team.ts';
import { keepRetention, retentionOf } from './retention.ts';
import { FindingWriter, isOwnFinding } from './state/finding-writer.ts';
import { CollectorState, type LiveEvent } from './state/state.ts';
import { openStore } from './store/open.ts';
import type { AuditRecord, Gap, NodeRecord, Salvaged, Store } from './store/store.ts';
import { version } from './version.ts';

export interface CollectorOptions {
  /** `HOST:PORT`; port 0 lets the system choose. */
  readonly listen: string;
  /** Directory of the store. */
  readonly data: string;
  /** Directory of manifest files; without it and `kubeconfig` the in-cluster configuration is used. */
  readonly cluster?: string;
  readonly kubeconfig?: string;
  readonly databaseUrl?: string;
  /** PEM files of the server's certificate and key; without them the collector's own authority signs one. */
  readonly tlsCertificate?: string;
  readonly tlsKey?: string;
  /** PEM file of an authority of the operator's own whose client certificates speak for nodes. */
  readonly agentAuthority?: string;
  /** ServiceAccounts of agents, `NAMESPACE/NAME` or `NAMESPACE/*`; when absent all of the collector's own namespace (`portreeve` outside a cluster). */
  readonly agentServiceAccounts?: readonly string[];
  /** Names and addresses that clients know the collector by, for a certificate of its own. */
  readonly names?: readonly string[];
  /** TLS on loopback too; anywhere else it is always there. */
  readonly tls?: boolean;
  /** Accepts everybody; on loopback addresses only. */
  readonly noAuth?: boolean;
  /** File that the administrator's token of the first start is written to, instead of standard output. */
  readonly adminTokenFile?: string;
  /** Milliseconds that a difference must last before it is a finding; absent: learned from what kube-proxy is measured to need. */
  readonly graceMs?: number;
  readonly heartbeatMs?: number;
  /** Kubernetes Events on Services whose state changes; where the objects come from the API, unless this is false. */
  readonly events?: boolean;
  /** URL of an Alertmanager that is told of findings. */
  readonly alertmanager?: string;
  /** URL that findings are posted to. */
  readonly webhook?: string;
  /** File with the secret that signs what is posted there. */
  readonly webhookSecretFile?: string;
  /** Series for each node in the metrics. */
  readonly metricsPerNode?: boolean;
  /** Days that the ledger, closed findings, gaps and the audit log are kept; `limits.retentionDays` when absent. */
  readonly retentionDays?: number;
  /** Bytes over which the oldest changes are forgotten as well; `limits.retentionBytes` when absent. */
  readonly retentionBytes?: number;
  /** Level of the log on stderr; `info` when absent. */
  readonly logLevel?: 'silent' | 'error' | 'warn' | 'info' | 'debug';
}

export interface Collector {
  /** `http://HOST:PORT` with the port that is bound. */
  readonly address: string;
  /** Resolves when everything is closed. */
  readonly closed: Promise<void>;
  /** Takes certificates and keys anew from their files; connections that stand keep theirs. */
  reload(): Promise<void>;
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
  const isEncrypted = options.tls === true || options.tlsCertificate !== undefined || !isLoopback(host);
  const log: Log = pino<string>({ name: 'collector', level: options.logLevel ?? 'info' }, pino.destination({ dest: 2, sync: true }));
  const closers: (() => unknown)[] = [];
  const reloaders: (() => Promise<void>)[] = [];
  try {
    const { api, team, fingerprint } = await start({ ...options, host, isEncrypted, reloaders }, log, closers);
    await api.app.listen({ host, port });
    const bound = api.app.server.address() as AddressInfo;
    const address = `${isEncrypted ? 'https' : 'http'}://${bound.family === 'IPv6' ? `[${bound.address}]` : bound.address}:${bound.port}`;
    team.setAddress(isWildcard(host) ? `${options.names?.[0] ?? hostname()}:${bound.port}` : address.replace(/^https?:\/\//, ''));
    log.info({ address, ...(isEncrypted ? { fingerprint } : {}) }, 'the collector listens');
    return { ...running({ address, closers, log, signal }), reload: async () => void (await Promise.all(reloaders.map((reload) => reload()))) };
  } catch (error) {
    await closeAll(closers, log);
    throw listenError(error, options.listen);
  }
}

type Log = Logger<string>;

interface Started extends CollectorOptions {
  readonly host: string;
  readonly isEncrypted: boolean;
  /** What is to be done when the operator asks to take files anew. */
  readonly reloaders: (() => Promise<void>)[];
}

async function start(options: Started, log: Log, closers: (() => unknown)[]): Promise<StartedApi> {
  const { store: opened, salvaged } = await openStore(options);
  closers.push(() => opened.close());
  if (salvaged !== undefined) {
    log.error({ ...salvaged }, 'the store was damaged: its file is set aside, and what could be read of it goes on in a new one');
    await opened.recordGaps(gapsOfDamage(await opened.nodes(), { ...salvaged, now: Date.now() }));
  }
  const state = await stateOf(opened, options);
  closers.push(() => state.close());
  let ingest: Ingest | undefined;
  const team = await joinTeam({ store: opened, state, log, session: (node) => ingest?.session(node) });
  closers.push(() => team.close());
  const { store } = team;
  const onFailure = (error: unknown): void => log.error({ reason: reasonOf(error) }, 'a finding could not be stored yet');
  const findings = new FindingWriter({ state, store, ownership: team.ownership, onFailure });
  closers.push(() => findings.close());
  state.subscribe((event) => report(event, log));
  let issues: readonly ObjectIssue[] = [];
  const source = await objectSource(options, (update) => {
    issues = takeObjects(update, issues, { state, log });
    team.recordOfCluster(update.changes).catch((error: unknown) => log.error({ reason: reasonOf(error) }, 'changes of the cluster could not be stored'));
  });
  closers.push(() => source.close());
  const retention = keepRetention({ team, log, ...retentionOf(options) });
  closers.push(() => retention.close());
  const authority = await Authority.open(options.data, Date.now(), { authority: opened.sharedAuthority, isCommon: opened.news !== undefined });
  const isOpen = options.noAuth === true;
  const audit = auditLog(store, log);
  const listener = await listenerOf(options, { authority, log, closers });
  const serviceAccounts = await serviceAccountsOf(options);
  const reviewed = serviceAccounts === undefined ? {} : { serviceAccounts };
  if (!isOpen) await tellFirstToken(store, { authority, file: options.adminTokenFile });
  const notifier = new Notifier({ state, log, channels: await channelsOf(options, state, log), speaks: () => team.isLeader() });
  closers.push(() => notifier.close());
  const api = await createApi({
    access: new Access({ store, isOpen, ...reviewed }),
    resources: { store, authority, audit, endSession: (node, reason) => team.session(node)?.refuse('IDENTITY_REVOKED', reason) },
    listener,
    isEncrypted: options.isEncrypted,
    state,
    store,
    log,
    session: (node) => team.session(node),
    issues: () => issues,
    view: () => source.view(),
    notReady: () => notReady(state) ?? team.notReady(),
    replicas: () => team.replicas(),
    keeps: (node) => team.keeps(node),
    version,
    metricsPerNode: options.metricsPerNode === true,
    told: () => ({ samples: notifier.samples, waiting: notifier.waiting }),
  });
  closers.push(() => api.close());
  const connections = new Connections();
  connections.watch(api.app.server);
  const agentAccounts = options.agentServiceAccounts ?? [`${await ownNamespace()}/*`];
  const admission = { store, isOpen, agentAccounts, trustsForeignAuthority: options.agentAuthority !== undefined, ...reviewed };
  ingest = new Ingest(api.app.server, {
    state,
    store,
    log,
    record: team.record,
    ownership: team.ownership,
    audit,
    connections,
    admit: (request) => admit(request, admission, Date.now()),
    ...(options.heartbeatMs === undefined ? {} : { heartbeatMs: options.heartbeatMs }),
  });
  const agents = ingest;
  closers.push(() => agents.close());
  return { api, team, fingerprint: authority.fingerprint };
}

interface StartedApi {
  readonly api: Api;
  readonly team: Team;
  /** Of the collector's own authority. */
  readonly fingerprint: string;
}

/** The state as it was when the collector stopped; replicas read it from each other instead. */
async function stateOf(store: Store, { graceMs }: CollectorOptions): Promise<CollectorState> {
  const isShared = store.news !== undefined;
  const [{ items: changes }, open] = await Promise.all([
    store.changes({ node: '', limit: limits.apiItemsMax }),
    isShared ? [] : store.findings({ open: true, limit: 100_000 }),
  ]);
  const state = new CollectorState({ ...(graceMs === undefined ? {} : { graceMs }), open, isShared });
  state.recall('', changes);
  return state;
}

/** Those who are told of findings. */
async function channelsOf(options: CollectorOptions, state: CollectorState, log: Log): Promise<Channel[]> {
  const { alertmanager, webhook, webhookSecretFile, kubeconfig } = options;
  const channels: Channel[] = [];
  const open = state.nodes.flatMap(({ findings }) => findings);
  if (alertmanager !== undefined) channels.push(alertmanagerChannel({ url: receiverUrl('alertmanager', alertmanager), open }));
  if (webhook !== undefined) {
    const secret = webhookSecretFile === undefined ? {} : { secret: secretOf(webhookSecretFile) };
    channels.push(webhookChannel({ url: receiverUrl('webhook', webhook), ...secret }));
  }
  if (options.cluster !== undefined || options.events === false) return channels;
  try {
    const { eventApi } = await import('./kubernetes/reviews.ts');
    const { create, close } = await eventApi(kubeconfig === undefined ? {} : { kubeconfig });
    channels.push(eventChannel({ create, close, open, uidOf: (service) => state.objects.services.get(service)?.uid }));
  } catch (error) {
    log.warn({ reason: reasonOf(error) }, 'Services get no events of what is found');
  }
  return channels;
}

function secretOf(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw failure('INPUT_UNREADABLE', [file, reasonOf(error)], error);
  }
}

/** Of each node that is still known, and of the cluster: which records were lost with the file cannot be said. */
function gapsOfDamage(nodes: readonly NodeRecord[], { setAside, records, now }: Salvaged & { readonly now: number }): readonly Gap[] {
  const detail = `the store was damaged: ${records} records could be read back, others may be lost; the damaged file is ${setAside}`;
  const begin = Math.min(now, ...nodes.map(({ firstSeenAt }) => firstSeenAt));
  const cluster = { node: '', reason: 'lost' as const, from: begin, to: now, detail };
  return [cluster, ...nodes.map(({ name, firstSeenAt }) => ({ ...cluster, node: name, from: firstSeenAt }))];
}

/** Writes of the audit log are not waited for; one that fails is told of. */
function auditLog(store: Store, log: Log): (record: Omit<AuditRecord, 'at'>) => void {
  const refusals = new Refusals();
  return (asked) => {
    const record = asked.outcome === 'refused' ? refusals.toTell(asked, Date.now()) : asked;
    if (record === undefined) return;
    store
      .appendAudit([{ at: Date.now(), ...record }])
      .catch((error: unknown) => log.error({ reason: reasonOf(error), ...record }, 'the audit log could not be written'));
  };
}

async function listenerOf(
  options: Started,
  { authority, log, closers }: { readonly authority: Authority; readonly log: Log; readonly closers: (() => unknown)[] },
): Promise<(handler: RequestListener) => Server> {
  if (!options.isEncrypted) return plainServer;
  const { tlsCertificate: certificate, tlsKey: key, agentAuthority } = options;
  const files = {
    ...(certificate === undefined ? {} : { certificate }),
    ...(key === undefined ? {} : { key }),
    ...(agentAuthority === undefined ? {} : { agentAuthority }),
  };
  const own = isWildcard(options.host) ? [] : [options.host];
  const names = [...new Set([...(options.names ?? []), ...own, hostname(), 'localhost', '127.0.0.1', '::1'])];
  const listener = await TlsListener.open({ authority, files, names, now: Date.now, onNotice: (text, details) => log.info(details, text) });
  closers.push(() => listener.close());
  options.reloaders.push(() => listener.renew());
  return listener.server;
}

const isWildcard = (host: string): boolean => host === '0.0.0.0' || host === '::';

/** Told once, on standard output or in a file and not in the log: there is no default password, and nobody else can make the first token. */
async function tellFirstToken(store: Store, { authority, file }: { readonly authority: Authority; readonly file: string | undefined }): Promise<void> {
  // The file comes before the token: one that nobody could be told would let nobody in.
  const written = file === undefined ? undefined : await openSecret(file);
  const token = await firstToken(store, Date.now()).finally(async () => await written?.close());
  if (token === undefined) return;
  if (file !== undefined) return await writeFile(file, `${token}\n`);
  process.stdout.write(`administrator's token (shown once): ${token}\nfingerprint of the authority: ${authority.fingerprint}\n`);
}

async function openSecret(file: string): Promise<FileHandle> {
  try {
    return await open(file, 'a', 0o600);
  } catch (error) {
    throw failure('INPUT_UNREADABLE', [file, reasonOf(error)], error);
  }
}

async function serviceAccountsOf(options: CollectorOptions): Promise<ServiceAccounts | undefined> {
  if (options.cluster !== undefined || options.noAuth === true) return undefined;
  const { reviewApi } = await import('./kubernetes/reviews.ts');
  return new ServiceAccounts(await reviewApi(options.kubeconfig === undefined ? {} : { kubeconfig: options.kubeconfig }));
}

/** The namespace of this pod; `portreeve` outside a cluster. */
async function ownNamespace(): Promise<string> {
  const text = await readFile('/var/run/secrets/kubernetes.io/serviceaccount/namespace', 'utf8').catch(() => '');
  return text.trim() || 'portreeve';
}

function notReady({ objects: { readAt, unread } }: CollectorState): string | undefined {
  if (readAt === 0) return 'the cluster objects have not been read yet';
  const [missing] = (['Service', 'EndpointSlice'] as const).filter((kind) => unread.has(kind));
  return missing === undefined ? undefined : `${missing} objects cannot be read: ${unread.get(missing) ?? ''}`;
}

function running({
  address,
  closers,
  log,
  signal,
}: {
  address: string;
  closers: (() => unknown)[];
  log: Log;
  signal: AbortSignal | undefined;
}): Omit<Collector, 'reload'> {
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
  if (options.cluster !== undefined && options.kubeconfig !== undefined) throw failure('USAGE', ['--cluster and --kubeconfig exclude each other']);
  const host = (found[1] as string).replace(/^\[|\]$/g, '');
  if (!isLoopback(host) && options.noAuth === true) throw failure('LISTEN_NEEDS_LOOPBACK', [host]);
  if ((options.tlsCertificate === undefined) !== (options.tlsKey === undefined)) throw failure('USAGE', ['--tls-cert and --tls-key go together']);
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

function report(event: LiveEvent, log: Log): void {
  if ((event.kind === 'finding-opened' || event.kind === 'finding-closed') && isOwnFinding(event)) {
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
