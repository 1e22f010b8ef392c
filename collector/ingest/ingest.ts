// Takes the agents' WebSocket connections: one session each, one live session per node.
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import { reasonOf } from '../../shared/errors.ts';
import { limits } from '../../shared/limits.ts';
import type { SequencedChange } from '../../shared/model/change.ts';
import { subprotocol } from '../../shared/wire/messages.ts';
import type { Admission, Admitted } from '../identity/admission.ts';
import type { Connections, Peer } from '../identity/connections.ts';
import { Refusals } from '../identity/refusals.ts';
import type { Ownership, Taken } from '../replicas/ownership.ts';
import { cloneMs } from '../replicas/replicas.ts';
import type { CollectorState } from '../state/state.ts';
import type { AuditRecord, Store } from '../store/store.ts';
import { AgentSession } from './session.ts';
import { Turns } from './turns.ts';

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
  /** Connections that are nobody's yet; absent: they are not limited. */
  readonly connections?: Connections;
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
/** Milliseconds that a refused connection may take to end by itself. */
const lingerMs = 1_000;

/** Owns all sessions; `close()` ends them with code 1001, so that agents come back later. */
export class Ingest {
  readonly #options: IngestOptions;
  readonly #server: Server;
  readonly #sockets: WebSocketServer;
  readonly #sessions = new Set<AgentSession>();
  readonly #byNode = new Map<string, AgentSession>();
  /** The run that was replaced last, of nodes that had two. */
  readonly #replaced = new Map<string, { readonly stream: string | undefined; readonly at: number }>();
  readonly #turns = new Turns();
  readonly #refusals = new Refusals();
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
      autoPong: false,
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
    this.#turns.close();
    await Promise.all([...this.#sessions].map((session) => session.close(1001, 'the collector stops')));
    await new Promise<void>((resolve) => this.#sockets.close(() => resolve()));
  }

  #admit(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const path = (request.url ?? '').split('?')[0];
    if (path !== '/agent') return refuse(socket, { status: '404 Not Found', code: 'NOT_FOUND', message: 'agents connect to /agent' });
    // Agents send no Origin; a page in a browser does, and has no business here.
    if (request.headers.origin !== undefined)
      return refuse(socket, { status: '403 Forbidden', code: 'ORIGIN_FOREIGN', message: 'pages in browsers do not connect here' });
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((each) => each.trim());
    if (!offered.includes(subprotocol))
      return refuse(socket, { status: '400 Bad Request', code: 'SUBPROTOCOL_UNKNOWN', message: `${subprotocol} is spoken here` });
    const busy = { status: '503 Service Unavailable', code: 'BUSY', message: 'there is no room for another agent now' };
    if (this.#sessions.size + this.#deciding >= limits.agentsMax) return refuse(socket, busy);
    if (this.#deciding >= decidingMax) return refuse(socket, { ...busy, message: 'too many agents come at once', afterSeconds: retryAfterRushSeconds });
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
      const refusal = { who: 'agent', action: 'connect', subject: admission.reason.slice(0, 200), outcome: 'refused', address } as const;
      const told = this.#refusals.toTell(refusal, Date.now());
      if (told !== undefined) {
        this.#options.log.warn({ address, reason: told.subject }, 'an agent is turned away');
        this.#options.audit(told);
      }
      const code = admission.status === 503 ? 'BUSY' : 'CREDENTIAL_REFUSED';
      return refuse(socket, { status: `${admission.status} ${statusText[admission.status]}`, code, message: admission.reason });
    }
    if (socket.destroyed || this.#isClosing) return gone();
    socket.off('error', gone);
    const acceptedAt = Date.now();
    const { remoteAddress, remotePort } = request.socket;
    const peer = { remoteAddress, remotePort };
    this.#sockets.handleUpgrade(request, socket, head, (webSocket) => this.#begin(webSocket, { address, peer, acceptedAt, admitted: admission }));
  }

  #begin(webSocket: WebSocket, granted: { readonly address: string; readonly peer: Peer; readonly acceptedAt: number; readonly admitted: Admitted }): void {
    this.#makeRoom(granted.admitted.node);
    const session = new AgentSession(webSocket, {
      ...this.#options,
      turns: this.#turns,
      ...granted,
      onTaken: (node, taken) => this.#noteTaken(node, { session, taken }),
      onHello: (node, isClone) => {
        this.#options.connections?.know(granted.peer);
        this.#take(node, { session, isClone });
      },
      onEnd: () => this.#drop(session),
    });
    this.#sessions.add(session);
  }

  /** One identity opens a connection or two before it says hello, not thousands. */
  #makeRoom(node: string | undefined): void {
    if (node === undefined) return;
    const silent = [...this.#sessions].filter((session) => session.node === undefined && session.admittedNode === node);
    if (silent.length >= limits.greetingsOfNodeMax)
      silent[0]?.refuse('CONNECTIONS_TOO_MANY', `more than ${limits.greetingsOfNodeMax} connections of ${node} have not said hello`);
  }

  #noteTaken(node: string, { session, taken: { elsewhere, isClone } }: { readonly session: AgentSession; readonly taken: Taken }): void {
    if (elsewhere !== undefined) this.#noteTakeover(node, `${elsewhere.address} at the replica ${elsewhere.replica}`, session.address);
    if (isClone === true) this.#noteClone(node, elsewhere?.address ?? this.#byNode.get(node)?.address ?? 'elsewhere', session.address);
  }

  #take(node: string, { session, isClone }: { readonly session: AgentSession; readonly isClone: boolean | undefined }): void {
    const older = this.#byNode.get(node);
    this.#byNode.set(node, session);
    if (older === undefined) return;
    this.#noteTakeover(node, older.address, session.address);
    if (isClone === undefined && this.#isClone(node, { older, session })) this.#noteClone(node, older.address, session.address);
    older.refuse('SESSION_REPLACED', `another agent has said hello for ${node}`);
  }

  #noteTakeover(node: string, from: string, to: string): void {
    this.#options.log.warn({ node, from, to }, 'a newer connection of the same node replaces the older one');
    this.#options.audit({ who: `node:${node}`, action: 'take over session', subject: `from ${from}`, outcome: 'done', address: to });
  }

  /** One agent that connects again is of the same run, or its former run has ended. A run that was replaced by another and comes back says that both live. */
  #isClone(node: string, { older, session }: { readonly older: AgentSession; readonly session: AgentSession }): boolean {
    if (older.stream === session.stream) return false;
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

interface Refusal {
  readonly status: string;
  readonly code: string;
  readonly message: string;
  /** For 503: when to come back. */
  readonly afterSeconds?: number;
}

/** Says why, as the API does, and does not wait for ever until the other side has read it. */
function refuse(socket: Duplex, { status, code, message, afterSeconds = retryAfterSeconds }: Refusal): void {
  const body = JSON.stringify({ title: status.slice(4), status: Number(status.slice(0, 3)), code, detail: message });
  const later = status.startsWith('503') ? `Retry-After: ${afterSeconds}\r\n` : '';
  socket.on('error', () => socket.destroy());
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), lingerMs);
  socket.once('close', () => clearTimeout(timer));
  socket.end(
    `HTTP/1.1 ${status}\r\n${later}Connection: close\r\nContent-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
