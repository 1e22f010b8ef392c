// A small Kubernetes API server for tests: real HTTP, list with pages and watch with versions, and the faults that real ones have.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface ApiObject {
  readonly kind: 'Service' | 'EndpointSlice' | 'Node' | 'Pod';
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly resourceVersion?: string };
}

const kinds: Readonly<Record<string, ApiObject['kind']>> = {
  '/api/v1/services': 'Service',
  '/apis/discovery.k8s.io/v1/endpointslices': 'EndpointSlice',
  '/api/v1/nodes': 'Node',
  '/api/v1/pods': 'Pod',
};

interface Event {
  readonly version: number;
  readonly kind: ApiObject['kind'];
  readonly line: string;
}

/** Objects with versions, as etcd keeps them. Faults are put in by the test through the methods. */
export class ApiServer {
  readonly #server: Server = createServer((request, response) => this.#answer(request, response));
  readonly #objects = new Map<string, ApiObject>();
  #events: Event[] = [];
  #version = 100;
  #oldest = 100;
  readonly #watches = new Set<{ readonly kind: ApiObject['kind']; readonly response: ServerResponse }>();
  readonly #refusals: { readonly status: number; readonly headers: Record<string, string> }[] = [];
  /** Paths with queries, in order. */
  readonly requests: string[] = [];

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  put(object: ApiObject): void {
    const key = keyOf(object);
    const type = this.#objects.has(key) ? 'MODIFIED' : 'ADDED';
    const stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(++this.#version) } };
    this.#objects.set(key, stored);
    this.#emit(type, stored);
  }

  remove(object: ApiObject): void {
    this.#objects.delete(keyOf(object));
    this.#emit('DELETED', { ...object, metadata: { ...object.metadata, resourceVersion: String(++this.#version) } });
  }

  /** Forgets all events until now, as etcd's compaction does, and tells the open watches so in their streams. */
  compact(): void {
    this.#oldest = this.#version;
    this.#events = [];
    const status = { kind: 'Status', status: 'Failure', message: 'too old resource version', reason: 'Expired', code: 410 };
    this.#endWatches((response) => response.end(`${JSON.stringify({ type: 'ERROR', object: status })}\n`));
  }

  /** Changes objects while no watch is told, with the history lost: only a new list can tell. */
  changeUnseen(change: () => void): void {
    const watches = [...this.#watches];
    this.#watches.clear();
    change();
    for (const watch of watches) this.#watches.add(watch);
    this.compact();
  }

  /** Sends half of an event to the watches and cuts their connections. */
  sendHalfALine(): void {
    this.#endWatches((response) => {
      response.write('{"type":"MODIFIED","object":{"kind":"Serv');
      setTimeout(() => response.destroy(), 20);
    });
  }

  reset(): void {
    this.#endWatches((response) => response.socket?.resetAndDestroy());
  }

  /** Leaves the watches open and never tells them anything again. */
  hang(): void {
    this.#watches.clear();
  }

  bookmark(): void {
    for (const { kind, response } of this.#watches)
      response.write(`${JSON.stringify({ type: 'BOOKMARK', object: { kind, metadata: { resourceVersion: String(this.#version) } } })}\n`);
  }

  /** Answers the next request with an error. */
  refuseNext(status: number, headers: Record<string, string> = {}): void {
    this.#refusals.push({ status, headers });
  }

  #endWatches(end: (response: ServerResponse) => void): void {
    const watches = [...this.#watches];
    this.#watches.clear();
    for (const { response } of watches) end(response);
  }

  #emit(type: string, object: ApiObject): void {
    const event = { version: this.#version, kind: object.kind, line: `${JSON.stringify({ type, object })}\n` };
    this.#events.push(event);
    for (const { kind, response } of this.#watches) if (kind === object.kind) response.write(event.line);
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', 'http://localhost');
    this.requests.push(`${url.pathname}${url.search}`);
    const refusal = this.#refusals.shift();
    if (refusal !== undefined) return void response.writeHead(refusal.status, refusal.headers).end('{}');
    const kind = kinds[url.pathname];
    if (kind === undefined) return void response.writeHead(404).end('{}');
    if (url.searchParams.get('watch') === '1') this.#watch(kind, Number(url.searchParams.get('resourceVersion')), response);
    else this.#list(kind, url.searchParams, response);
  }

  #list(kind: ApiObject['kind'], query: URLSearchParams, response: ServerResponse): void {
    const all = [...this.#objects.values()].filter((object) => object.kind === kind);
    const start = Number(query.get('continue') ?? 0);
    const end = start + Number(query.get('limit') ?? all.length);
    // Items of a list do not say their kind, as those of the real API do not.
    const items = all.slice(start, end).map(({ kind: _, ...item }) => item);
    const metadata = { resourceVersion: String(this.#version), ...(end < all.length ? { continue: String(end) } : {}) };
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ kind: `${kind}List`, metadata, items }));
  }

  #watch(kind: ApiObject['kind'], version: number, response: ServerResponse): void {
    if (version < this.#oldest) return void response.writeHead(410).end('{}');
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    for (const event of this.#events) if (event.kind === kind && event.version > version) response.write(event.line);
    const watch = { kind, response };
    this.#watches.add(watch);
    response.on('close', () => this.#watches.delete(watch));
    response.on('error', () => this.#watches.delete(watch));
  }
}

const keyOf = ({ kind, metadata }: ApiObject): string => `${kind} ${metadata.namespace ?? ''}/${metadata.name}`;
