// A small Kubernetes API server for tests: real HTTP or TLS, list with pages and watch with versions over given objects, and the faults that real ones have.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';

const paths = {
  Service: '/api/v1/services',
  EndpointSlice: '/apis/discovery.k8s.io/v1/endpointslices',
  Node: '/api/v1/nodes',
  Pod: '/api/v1/pods',
  NetworkPolicy: '/apis/networking.k8s.io/v1/networkpolicies',
  ConfigMap: '/api/v1/namespaces/kube-system/configmaps',
  Event: '/api/v1/events',
} as const;
type Kind = keyof typeof paths;

export interface ApiObject {
  readonly kind: Kind;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly resourceVersion?: string };
}

export interface ApiServerOptions {
  /** With these the server speaks TLS, and asks for a client certificate of `ca` where that is given. */
  readonly tls?: { readonly key: string; readonly cert: string; readonly ca?: string };
  /** Only requests with this bearer token are answered; absent: all are. May be exchanged by `setToken`. */
  readonly token?: string;
}

interface Event {
  readonly version: number;
  readonly kind: Kind;
  readonly line: string;
}

interface Watch {
  readonly kind: Kind;
  readonly fits: (object: ApiObject) => boolean;
  readonly response: ServerResponse;
}

/** Objects with versions, as etcd keeps them. Faults are put in by the test through the methods. */
export class ApiServer {
  readonly #server: Server;
  readonly #secure: boolean;
  readonly #objects = new Map<string, ApiObject>();
  #events: Event[] = [];
  #version = 100;
  #oldest = 100;
  readonly #watches = new Set<Watch>();
  readonly #sockets = new Set<Socket>();
  readonly #refusals: { readonly status: number; readonly message: string; readonly headers: Record<string, string> }[] = [];
  readonly #forbidden = new Map<Kind, 'list' | 'watch'>();
  readonly #absent = new Set<Kind>();
  #token: string | undefined;
  #expireContinues = 0;
  #cutPages = 0;
  #delayMs = 0;
  #firstWatchLine: string | undefined;
  #told = true;
  /** Paths with queries, in order. */
  readonly requests: string[] = [];
  /** Names of clients by their certificates, in the order of requests. */
  readonly clients: string[] = [];
  /** Events that were created, with the namespace of the path. */
  readonly created: { readonly namespace: string; readonly event: Readonly<Record<string, unknown>> }[] = [];

  constructor({ tls, token }: ApiServerOptions = {}) {
    const answer = (request: IncomingMessage, response: ServerResponse): void => void this.#answer(request, response);
    this.#secure = tls !== undefined;
    this.#server = tls === undefined ? createServer(answer) : createTlsServer({ ...tls, requestCert: tls.ca !== undefined }, answer);
    this.#token = token;
    // Those in the middle of a TLS handshake, which closeAllConnections does not know, are among them.
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  async start(port = 0): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(port, '127.0.0.1', resolve));
    return `${this.#secure ? 'https' : 'http'}://127.0.0.1:${this.port}`;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
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
    this.#endWatches((response) => response.end(errorLine(410, 'too old resource version')));
  }

  /** Changes objects while no watch is told, with the history lost: only a new list can tell. */
  changeUnseen(change: () => void): void {
    this.changeUntold(change);
    this.compact();
  }

  /** Changes objects of which no watch is ever told, now or later, as if the events had been lost. */
  changeUntold(change: () => void): void {
    this.#told = false;
    change();
    this.#told = true;
  }

  /** Goes back to an earlier state of the objects and counts on from a lower version, as a restored etcd does. */
  restore(version: number, change: () => void): void {
    this.#events = [];
    this.#version = version;
    this.#oldest = version;
    this.changeUntold(change);
    this.#events = [];
  }

  /** Sends half of an event to the watches and cuts their connections. */
  sendHalfALine(): void {
    this.#endWatches((response) => {
      response.write('{"type":"MODIFIED","object":{"kind":"Serv');
      setTimeout(() => response.destroy(), 20);
    });
  }

  /** Sends something that is no event. */
  sendGarbage(text: string): void {
    for (const { response } of this.#watches) response.write(text);
  }

  /** Begins every watch from now on with a line. */
  beginWatchesWith(line: string | undefined): void {
    this.#firstWatchLine = line;
  }

  reset(): void {
    // A socket of TLS knows no reset.
    this.#endWatches(({ socket }) => (this.#secure ? socket?.destroy() : socket?.resetAndDestroy()));
  }

  /** Leaves the watches open and never tells them anything again. */
  hang(): void {
    this.#watches.clear();
  }

  bookmark(version = this.#version): void {
    for (const { kind, response } of this.#watches)
      response.write(`${JSON.stringify({ type: 'BOOKMARK', object: { kind, metadata: { resourceVersion: String(version) } } })}\n`);
  }

  /** Answers the next request with an error. */
  refuseNext(status: number, headers: Record<string, string> = {}): void {
    this.#refusals.push({ status, message: 'refused by the test', headers });
  }

  /** Refuses a kind, as a role that lacks it does: `list` refuses everything, `watch` the watch alone. */
  forbid(kind: Kind, verb: 'list' | 'watch' = 'list'): void {
    this.#forbidden.set(kind, verb);
  }

  allow(kind: Kind): void {
    this.#forbidden.delete(kind);
  }

  /** Does not know a kind, as a server without that API group. */
  withhold(kind: Kind): void {
    this.#absent.add(kind);
  }

  setToken(token: string): void {
    this.#token = token;
  }

  /** Lets the next continuations of lists expire. */
  expireContinues(count: number): void {
    this.#expireContinues = count;
  }

  /** Cuts the next pages of lists off in the middle. */
  cutPages(count: number): void {
    this.#cutPages = count;
  }

  /** Waits before each answer, and sends lists in small pieces. */
  slow(delayMs: number): void {
    this.#delayMs = delayMs;
  }

  #endWatches(end: (response: ServerResponse) => void): void {
    const watches = [...this.#watches];
    this.#watches.clear();
    for (const { response } of watches) end(response);
  }

  #emit(type: string, object: ApiObject): void {
    if (!this.#told) return;
    const event = { version: this.#version, kind: object.kind, line: `${JSON.stringify({ type, object })}\n` };
    this.#events.push(event);
    for (const { kind, fits, response } of this.#watches) if (kind === object.kind && fits(object)) response.write(event.line);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://localhost');
    this.requests.push(`${url.pathname}${url.search}`);
    this.clients.push(String((request.socket as TLSSocket).getPeerCertificate?.()?.subject?.CN ?? ''));
    if (this.#delayMs > 0) await new Promise((resolve) => setTimeout(resolve, this.#delayMs));
    const refusal = this.#refusals.shift();
    if (refusal !== undefined) return refuse(response, refusal.status, refusal);
    if (this.#token !== undefined && request.headers.authorization !== `Bearer ${this.#token}`) return refuse(response, 401, 'Unauthorized');
    if (request.method === 'POST') return await this.#create(url.pathname, request, response);
    const kind = (Object.keys(paths) as Kind[]).find((each) => paths[each] === url.pathname);
    if (kind === undefined || this.#absent.has(kind)) return refuse(response, 404, 'the server could not find the requested resource');
    const verb = url.searchParams.get('watch') === '1' ? 'watch' : 'list';
    const forbidden = this.#forbidden.get(kind);
    if (forbidden === 'list' || forbidden === verb) return refuse(response, 403, `${kind} is forbidden: User "portreeve" cannot ${verb} resource`);
    if (verb === 'watch') this.#watch(kind, url.searchParams, response);
    else this.#list(kind, url.searchParams, response);
  }

  async #create(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const namespace = /^\/api\/v1\/namespaces\/([^/]+)\/events$/.exec(path)?.[1];
    if (namespace === undefined) return refuse(response, 404, 'the server could not find the requested resource');
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const event = JSON.parse(Buffer.concat(chunks).toString('utf8')) as { readonly involvedObject?: { readonly namespace?: string } };
    // As the real one: an Event stands in the namespace of what it is about.
    if (event.involvedObject?.namespace !== namespace)
      return refuse(response, 422, 'Event is invalid: involvedObject.namespace does not match event.namespace');
    this.created.push({ namespace, event: event as Readonly<Record<string, unknown>> });
    response.writeHead(201, { 'content-type': 'application/json' }).end(JSON.stringify(event));
  }

  #list(kind: Kind, query: URLSearchParams, response: ServerResponse): void {
    const start = Number(query.get('continue') ?? 0);
    if (start > 0 && this.#expireContinues-- > 0) return refuse(response, 410, 'The provided continue parameter is too old');
    const all = [...this.#objects.values()].filter((object) => object.kind === kind && selected(query)(object));
    const end = start + Number(query.get('limit') ?? all.length);
    // Items of a list do not say their kind, as those of the real API do not.
    const items = all.slice(start, end).map(({ kind: _, ...item }) => item);
    const metadata = { resourceVersion: String(this.#version), ...(end < all.length ? { continue: String(end) } : {}) };
    response.writeHead(200, { 'content-type': 'application/json' });
    const text = JSON.stringify({ kind: `${kind}List`, apiVersion: 'v1', metadata, items });
    if (this.#cutPages-- > 0) {
      response.write(text.slice(0, text.length / 2));
      return void setTimeout(() => response.destroy(), 20);
    }
    if (this.#delayMs === 0) return void response.end(text);
    for (let at = 0; at < text.length; at += 7) response.write(text.slice(at, at + 7));
    response.end();
  }

  #watch(kind: Kind, query: URLSearchParams, response: ServerResponse): void {
    const version = Number(query.get('resourceVersion'));
    if (version < this.#oldest) return refuse(response, 410, 'too old resource version');
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    if (this.#firstWatchLine !== undefined) return void response.end(this.#firstWatchLine);
    const fits = selected(query);
    for (const event of this.#events) if (event.kind === kind && event.version > version) response.write(event.line);
    const watch = { kind, fits, response };
    this.#watches.add(watch);
    response.on('close', () => this.#watches.delete(watch));
    response.on('error', () => this.#watches.delete(watch));
  }
}

/** An ERROR event, as a watch ends with. */
export const errorLine = (code: number, message: string): string =>
  `${JSON.stringify({ type: 'ERROR', object: { kind: 'Status', status: 'Failure', message, code } })}\n`;

interface Refusal {
  readonly message: string;
  readonly headers?: Record<string, string>;
}

function refuse(response: ServerResponse, status: number, why: string | Refusal): void {
  const { message, headers = {} }: Refusal = typeof why === 'string' ? { message: why } : why;
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify({ kind: 'Status', apiVersion: 'v1', status: 'Failure', message, code: status }));
}

/** The field selectors that are asked with: `metadata.name=NAME`, `type!=TYPE`. */
function selected(query: URLSearchParams): (object: ApiObject) => boolean {
  const [, field, operator, value] = /^([\w.]+)(!?=)(.*)$/.exec(query.get('fieldSelector') ?? '') ?? [];
  if (field === undefined) return () => true;
  const read = (object: ApiObject): unknown => field.split('.').reduce<unknown>((each, part) => (each as Record<string, unknown> | undefined)?.[part], object);
  return (object) => (read(object) === value) === (operator === '=');
}

const keyOf = ({ kind, metadata }: ApiObject): string => `${kind} ${metadata.namespace ?? ''}/${metadata.name}`;
