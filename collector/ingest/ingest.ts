// Takes the agents' WebSocket connections: one session each, one live session per node.
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import { reasonOf } from '../../shared/errors.ts';
import { limits } from '../../shared/limits.ts';
import type { SequencedChange } from '../../shared/model/change.ts';
import { subprotocol } from '../../shared/wire/messages.ts';
import type { Admission, Admitted } from '../identity/admission.ts';
import type { Ownership, Taken } from '../replicas/ownership.ts';
import { cloneMs } from '../replicas/replicas.ts';
import type { CollectorState } from '../state/state.ts';
import type { AuditRecord, Store } from '../store/store.ts';
import { AgentSession } from './session.ts';

/** The part of a pino logger that is used. */
export interface Log {
  info(details: object, text: string): void;
  warn(details: object, text: string): void;
  error(details: object, text: string): void;
}

export interface IngestOptions {
  readonly state: CollectorState;
  readonly store: Store;
  readonly log: Log;
  /** Appends changes of the collector's own stream: holes in an agent's. */
  readonly record: (changes: readonly Omit<SequencedChange, 'seq' | 'stream'>[]) => Promise<void>;
  readonly heartbeatMs?: number;
  /** Milliseconds for the first message of a connection. */
  readonly helloTimeoutMs?: number;
  /** Says for which node a connection may speak. */
  readonly admit: (request: IncomingMessage) => Promise<Admission>;
  /** Who may write of which node. */
  readonly ownership: Ownership;
  /** Keeps what an auditor wants to know. */
  readonly audit: (record: Omit<AuditRecord, 'at'>) => void;
}

/** Requests for a connection whose admission is being decided; more are asked to come back. */
const decidingMax = 512;

/** Seconds that an agent is asked to stay away: where there is room for no more, and where too many come at once. */
const retryAfterSeconds = 30;
const retryAfterRushSeconds = 3;

/** Owns all sessions; `close()` ends them with code 1001, so that agents come back later. */
export class Ingest {
  readonly #options: IngestOptions;
  readonly #server: Server;
  readonly #sockets: WebSocketServer;
  readonly #sessions = new Set<AgentSession>();
  readonly #byNode = new Map<string, AgentSession>();
  /** The run that was replaced last, of nodes that had two. */
  readonly #replaced = new Map<string, { readonly stream: string | undefined; readonly at: number }>();
  #deciding = 0;
  #isClosing = false;
  readonly #unsubscribe: () => void;
  readonly #upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => this.#admit(request, socket, head);

  constructor(server: Server, options: IngestOptions) {
    this.#options = options;
    this.#server = server;
    this.#sockets = new WebSocketServer({
      noServer: true,
      perMessageDeflate: false,
      maxPayload: limits.frameBytesMax,
      handleProtocols: (offered) => offered.has(subprotocol) && subprotocol,
    });
    this.#unsubscribe = options.state.subscribe((event) => {
      // What agents are asked to judge hangs on Services and Nodes alone.
      if (event.kind !== 'objects' || !(event.touched.all || event.touched.kinds.has('Service') || event.touched.kinds.has('Node'))) return;
      for (const session of this.#byNode.values()) session.sendWant();
    });
    server.on('upgrade', this.#upgrade);
  }

  /** The live session of a node; undefined when its agent is not connected. */
  session(node: string): AgentSession | undefined {
    return this.#byNode.get(node);
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    this.#server.off('upgrade', this.#upgrade);
    this.#unsubscribe();
    await Promise.all([...this.#sessions].map((session) => session.close(1001, 'the collector stops')));
    await new Promise<void>((resolve) => this.#sockets.close(() => resolve()));
  }

  #admit(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const path = (request.url ?? '').split('?')[0];
    if (path !== '/agent') return refuse(socket, '404 Not Found');
    // Agents send no Origin; a page in a browser does, and has no business here.
    if (request.headers.origin !== undefined) return refuse(socket, '403 Forbidden');
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((each) => each.trim());
    if (!offered.includes(subprotocol)) return refuse(socket, '400 Bad Request');
    if (this.#sessions.size + this.#deciding >= limits.agentsMax) return refuse(socket, '503 Service Unavailable', `Retry-After: ${retryAfterSeconds}\r\n`);
    if (this.#deciding >= decidingMax) return refuse(socket, '503 Service Unavailable', `Retry-After: ${retryAfterRushSeconds}\r\n`);
    void this.#decide(request, socket, head);
  }

  async #decide(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const address = request.socket.remoteAddress ?? '';
    const gone = (): void => void socket.destroy();
    socket.on('error', gone);
    this.#deciding++;
    const admission = await this.#options.admit(request).catch((error: unknown): Admission => ({ kind: 'refused', status: 503, reason: reasonOf(error) }));
    this.#deciding--;
    if (admission.kind === 'refused') {
      this.#options.log.warn({ address, reason: admission.reason }, 'an agent is turned away');
      this.#options.audit({ who: 'agent', action: 'connect', subject: admission.reason.slice(0, 200), outcome: 'refused', address });
      return refuse(socket, `${admission.status} ${statusText[admission.status]}`, admission.status === 503 ? `Retry-After: ${retryAfterSeconds}\r\n` : '');
    }
    if (socket.destroyed || this.#isClosing) return gone();
    socket.off('error', gone);
    this.#sockets.handleUpgrade(request, socket, head, (webSocket) => this.#begin(webSocket, address, admission));
  }

  #begin(webSocket: WebSocket, address: string, admitted: Admitted): void {
    const session = new AgentSession(webSocket, {
      ...this.#options,
      address,
      admitted,
      onHello: (node, taken) => this.#take(node, { session, taken }),
      onEnd: () => this.#drop(session),
    });
    this.#sessions.add(session);
  }

  #take(node: string, { session, taken }: { readonly session: AgentSession; readonly taken: Taken }): void {
    const older = this.#byNode.get(node);
    this.#byNode.set(node, session);
    const from = older?.address ?? taken.elsewhere?.address;
    if (from !== undefined) {
      const there = taken.elsewhere === undefined ? '' : ` at the replica ${taken.elsewhere.replica}`;
      this.#options.log.warn({ node, from: `${from}${there}`, to: session.address }, 'a newer connection of the same node replaces the older one');
      this.#options.audit({ who: `node:${node}`, action: 'take over session', subject: `from ${from}${there}`, outcome: 'done', address: session.address });
    }
    if (taken.isClone ?? this.#isClone(node, { older, session })) this.#noteClone(node, from ?? 'elsewhere', session.address);
    older?.refuse('SESSION_REPLACED', `another agent has said hello for ${node}`);
  }

  /** One agent that connects again is of the same run, or its former run has ended. A run that was replaced by another and comes back says that both live. */
  #isClone(node: string, { older, session }: { readonly older: AgentSession | undefined; readonly session: AgentSession }): boolean {
    if (older === undefined || older.stream === session.stream) return false;
    const now = Date.now();
    const before = this.#replaced.get(node);
    this.#replaced.set(node, { stream: older.stream, at: now });
    return before !== undefined && before.stream === session.stream && now - before.at <= cloneMs;
  }

  #noteClone(node: string, from: string, to: string): void {
    const after = `two agents speak for ${node} at once, from ${from} and ${to}: its key or token was copied, or two agents run on it`;
    this.#options.log.error({ node, addresses: [from, to] }, 'two agents speak for one node at once');
    this.#options.audit({ who: `node:${node}`, action: 'two agents at once', subject: from, outcome: 'refused', address: to });
    this.#options
      .record([{ at: Date.now(), node, kind: 'agent', subject: `identity of ${node}`, before: null, after }])
      .catch((error: unknown) => this.#options.log.error({ node, reason: reasonOf(error) }, 'a copied identity could not be recorded'));
  }

  #drop(session: AgentSession): void {
    this.#sessions.delete(session);
    if (session.node !== undefined && this.#byNode.get(session.node) === session) this.#byNode.delete(session.node);
  }
}

const statusText = { 401: 'Unauthorized', 403: 'Forbidden', 503: 'Service Unavailable' } as const;

function refuse(socket: Duplex, status: string, headers = ''): void {
  socket.on('error', () => socket.destroy());
  socket.end(`HTTP/1.1 ${status}\r\n${headers}Connection: close\r\nContent-Length: 0\r\n\r\n`);
}
