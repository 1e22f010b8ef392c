// Cluster objects from the Kubernetes API: list, then watch, for each kind; whatever breaks a watch ends in a new one without losing a change.
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest, type RequestOptions } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { failure, reasonOf } from '../../shared/errors.ts';
import { objectChanges } from './changes.ts';
import {
  type ClusterObjects,
  clusterObjects,
  type KeyedObject,
  noObjects,
  type ObjectIssue,
  type ObjectKind,
  objectKey,
  objectKinds,
  readObject,
} from './objects.ts';
import type { ObjectSource, ObjectsUpdate } from './source.ts';
import { readWatchLine, type WatchEvent } from './watch.parse.ts';

export interface ApiSourceOptions {
  /** File; absent: the in-cluster configuration. */
  readonly kubeconfig?: string;
  readonly onUpdate: (update: ObjectsUpdate) => void;
  /** Milliseconds to collect events before they are reported together. */
  readonly debounceMs?: number;
  /** Milliseconds that a watch may be silent; bookmarks come about once a minute, so a longer silence means that it is dead. */
  readonly idleMs?: number;
  /** The largest pause between tries, in milliseconds. */
  readonly pauseMaxMs?: number;
}

/** Starts to watch. Resolves once the configuration is read, not once the API has answered: an outage is an issue, and is waited out. Throws INPUT_INVALID. */
export async function watchApi(options: ApiSourceOptions): Promise<ObjectSource> {
  return new ApiSource(options, await connectionOf(options.kubeconfig));
}

/** Where the API is, and what each request needs; made anew for each, because tokens expire. */
interface Connection {
  readonly server: URL;
  readonly options: () => Promise<RequestOptions>;
}

const paths: { readonly [K in ObjectKind]: string } = {
  Service: '/api/v1/services',
  EndpointSlice: '/apis/discovery.k8s.io/v1/endpointslices',
  Node: '/api/v1/nodes',
  Pod: '/api/v1/pods',
};
const pageItems = 500;
const listTimeoutMs = 60_000;
const lineBytesMax = 8 * 1024 * 1024;
const bodyBytesMax = 512 * 1024 * 1024;

async function connectionOf(kubeconfig: string | undefined): Promise<Connection> {
  const { KubeConfig } = await import('@kubernetes/client-node');
  const config = new KubeConfig();
  try {
    if (kubeconfig === undefined) config.loadFromCluster();
    else config.loadFromFile(kubeconfig);
  } catch (error) {
    throw failure('INPUT_INVALID', [kubeconfig ?? 'in-cluster configuration', reasonOf(error)], error);
  }
  const server = URL.parse(config.getCurrentCluster()?.server ?? '');
  if (server === null || !/^https?:$/.test(server.protocol) || server.hostname === 'undefined') {
    throw failure('INPUT_INVALID', [kubeconfig ?? 'in-cluster configuration', 'it names no cluster: give --cluster DIR or --kubeconfig FILE']);
  }
  return {
    server,
    async options() {
      const options: RequestOptions = {};
      await config.applyToHTTPSOptions(options);
      return options;
    },
  };
}

class ApiSource implements ObjectSource {
  readonly #options: ApiSourceOptions;
  readonly #connection: Connection;
  readonly #stop = new AbortController();
  readonly #loops: Promise<unknown>;
  readonly #known = new Map<ObjectKind, Map<string, KeyedObject>>();
  readonly #issues = new Map<string, readonly ObjectIssue[]>();
  #reported: ClusterObjects = noObjects;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ApiSourceOptions, connection: Connection) {
    this.#options = options;
    this.#connection = connection;
    this.#loops = Promise.all(objectKinds.map((kind) => this.#follow(kind)));
  }

  async close(): Promise<void> {
    this.#stop.abort();
    clearTimeout(this.#timer);
    await this.#loops;
  }

  async #follow(kind: ObjectKind): Promise<void> {
    const { pauseMaxMs = 30_000 } = this.#options;
    const { signal } = this.#stop;
    let version: string | undefined;
    let failures = 0;
    while (!signal.aborted) {
      try {
        version ??= await this.#list(kind);
        const since = Date.now();
        version = await this.#watch(kind, version);
        // A watch that ends at once, again and again, is no success: it would be a loop at full speed.
        failures = Date.now() - since > 1_000 ? 0 : failures + 1;
      } catch (error) {
        if (signal.aborted) return;
        failures++;
        if (error instanceof Expired) version = undefined;
        else this.#setIssue(`loop ${kind}`, { where: `${this.#connection.server.origin}${paths[kind]}`, reason: `${reasonOf(error)}: tried again` });
        const least = error instanceof Refused ? error.retryAfterMs : 0;
        await this.#pause(least, Math.min(pauseMaxMs, 250 * 2 ** Math.min(failures, 12)));
        continue;
      }
      if (failures > 1) await this.#pause(0, Math.min(pauseMaxMs, 250 * 2 ** Math.min(failures, 12)));
    }
  }

  async #pause(leastMs: number, jitterMs: number): Promise<void> {
    await sleep(leastMs + Math.random() * jitterMs, undefined, { signal: this.#stop.signal }).catch(() => undefined);
  }

  /** Reads all objects of a kind page by page; what is no longer there is thereby deleted. Gives the version to watch from. */
  async #list(kind: ObjectKind): Promise<string> {
    const found = new Map<string, KeyedObject>();
    let next: string | undefined;
    let version = '';
    do {
      const query = new URLSearchParams({ limit: String(pageItems), ...(next === undefined ? {} : { continue: next }) });
      const page = await this.#getJson(`${paths[kind]}?${query}`);
      for (const item of Array.isArray(page.items) ? page.items : []) this.#read(kind, item, found);
      const metadata = (page.metadata ?? {}) as { continue?: string; resourceVersion?: string };
      next = metadata.continue || undefined;
      version = metadata.resourceVersion ?? '';
    } while (next !== undefined);
    this.#known.set(kind, found);
    this.#setIssue(`loop ${kind}`, undefined);
    this.#soon();
    return version;
  }

  /** Follows events until the server ends the stream. Gives the version to go on from; throws Expired when only a new list helps. */
  async #watch(kind: ObjectKind, from: string): Promise<string> {
    let version = from;
    const query = new URLSearchParams({
      watch: '1',
      resourceVersion: from,
      allowWatchBookmarks: 'true',
      timeoutSeconds: String(240 + Math.floor(Math.random() * 120)),
    });
    const response = await this.#open(`${paths[kind]}?${query}`, this.#options.idleMs ?? 120_000);
    this.#setIssue(`loop ${kind}`, undefined);
    try {
      for await (const line of linesOf(response)) version = this.#take(kind, readWatchLine(line)) ?? version;
    } catch (error) {
      // The stream broke after some events: those are taken over, so the next watch goes on behind them and loses nothing.
      if (error instanceof Expired || version === from) throw error;
    }
    return version;
  }

  #take(kind: ObjectKind, event: WatchEvent): string | undefined {
    const objects = this.#known.get(kind) ?? new Map<string, KeyedObject>();
    switch (event.kind) {
      case 'put':
        this.#read(kind, event.object, objects);
        break;
      case 'delete':
        this.#forget(kind, event.object, objects);
        break;
      case 'bookmark':
        return event.version;
      case 'error':
        if (event.code === 410) throw new Expired(event.reason);
        throw new Error(`the API reports ${event.code}: ${event.reason}`);
      case 'broken':
        throw new Error(`a line of the watch is broken: ${event.reason}`);
    }
    this.#soon();
    return event.version;
  }

  #read(kind: ObjectKind, raw: unknown, objects: Map<string, KeyedObject>): void {
    const { object, issues } = readObject(kind, raw, this.#connection.server.origin);
    if (object === undefined) return;
    const key = objectKey(object);
    objects.set(key, { kind, key, object } as KeyedObject);
    if (issues.length > 0) this.#issues.set(`${kind} ${key}`, issues);
    else this.#issues.delete(`${kind} ${key}`);
  }

  #forget(kind: ObjectKind, raw: unknown, objects: Map<string, KeyedObject>): void {
    const { object } = readObject(kind, raw, this.#connection.server.origin);
    if (object === undefined) return;
    objects.delete(objectKey(object));
    this.#issues.delete(`${kind} ${objectKey(object)}`);
  }

  #setIssue(name: string, issue: ObjectIssue | undefined): void {
    if (issue === undefined ? !this.#issues.delete(name) : JSON.stringify(this.#issues.get(name)) === JSON.stringify([issue])) return;
    if (issue !== undefined) this.#issues.set(name, [issue]);
    this.#soon();
  }

  #soon(): void {
    if (this.#stop.signal.aborted || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#report();
    }, this.#options.debounceMs ?? 100);
  }

  // Until every kind was listed once, Services without their endpoints would look like faults: only issues are told before.
  #report(): void {
    const issues = [...this.#issues.values()].flat();
    if (objectKinds.some((kind) => !this.#known.has(kind))) {
      this.#options.onUpdate({ objects: noObjects, changes: [], issues });
      return;
    }
    const at = Date.now();
    const before = this.#reported;
    this.#reported = clusterObjects(
      [...this.#known.values()].flatMap((objects) => [...objects.values()]),
      at,
    );
    const changes = before.readAt === 0 ? [] : objectChanges(before, this.#reported, { at, actorOf: () => ({ how: 'unknown' }) });
    this.#options.onUpdate({ objects: this.#reported, changes, issues });
  }

  async #getJson(path: string): Promise<Record<string, unknown>> {
    const response = await this.#open(path, listTimeoutMs);
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of response) {
      chunks.push(chunk as Buffer);
      bytes += (chunk as Buffer).length;
      if (bytes > bodyBytesMax) throw new Error(`the answer has more than ${bodyBytesMax} bytes`);
    }
    const value: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  }

  /** Sends a GET; resolves with an answer of status 200 and throws for any other. A silence of `idleMs` breaks it. */
  async #open(path: string, idleMs: number): Promise<IncomingMessage> {
    const { server, options } = this.#connection;
    const secure = server.protocol === 'https:';
    const request = secure ? httpsRequest : httpRequest;
    const settings = await options();
    const agent = secure ? (settings.agent ?? new HttpsAgent()) : new HttpAgent();
    const target = new URL(`${server.pathname.replace(/\/$/, '')}${path}`, server);
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const sent = request(target, { ...settings, agent, signal: this.#stop.signal, headers: { ...settings.headers, accept: 'application/json' } }, resolve);
    sent.setTimeout(idleMs, () => sent.destroy(new Error(`nothing came for ${Math.round(idleMs / 1_000)} s`)));
    sent.on('error', reject);
    sent.end();
    const response = await promise;
    // A request that is destroyed later tells so through the response, which whoever reads it sees.
    sent.on('error', (error) => response.destroy(error));
    if (response.statusCode === 200) return response;
    response.resume();
    throw refusal(response);
  }
}

/** The version to go on from is too old: everything must be listed again. */
class Expired extends Error {}

/** The API answered with an error. */
class Refused extends Error {
  readonly retryAfterMs: number;
  constructor(message: string, retryAfterMs: number) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}

function refusal(response: IncomingMessage): Error {
  const { statusCode, headers } = response;
  if (statusCode === 410) return new Expired('the version is too old');
  const seconds = Number(headers['retry-after']);
  const hint =
    statusCode === 401
      ? ' (the credentials are not accepted)'
      : statusCode === 403
        ? ' (list and watch on services, endpointslices, nodes and pods must be allowed)'
        : '';
  return new Refused(`the API answered ${statusCode ?? 'nothing'}${hint}`, Number.isFinite(seconds) ? Math.min(seconds, 300) * 1_000 : 0);
}

/** Lines of a stream; a last line that is cut off is dropped, its event comes again with the next watch. */
async function* linesOf(stream: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of stream) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      const line = rest.subarray(0, end).toString('utf8');
      rest = rest.subarray(end + 1);
      if (line.trim() !== '') yield line;
    }
    if (rest.length > lineBytesMax) throw new Error(`a line of the watch has more than ${lineBytesMax} bytes`);
  }
}
