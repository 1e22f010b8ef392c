// Takes the agents' WebSocket connections: one session each, one live session per node.
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import { limits } from '../../shared/limits.ts';
import type { SequencedChange } from '../../shared/model/change.ts';
import { subprotocol } from '../../shared/wire/messages.ts';
import type { CollectorState } from '../state/state.ts';
import type { Store } from '../store/store.ts';
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
}

const retryAfterSeconds = 30;

/** Owns all sessions; `close()` ends them with code 1001, so that agents come back later. */
export class Ingest {
  readonly #options: IngestOptions;
  readonly #server: Server;
  readonly #sockets: WebSocketServer;
  readonly #sessions = new Set<AgentSession>();
  readonly #byNode = new Map<string, AgentSession>();
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
    if (this.#sessions.size >= limits.agentsMax) return refuse(socket, '503 Service Unavailable', `Retry-After: ${retryAfterSeconds}\r\n`);
    this.#sockets.handleUpgrade(request, socket, head, (webSocket) => this.#begin(webSocket, request.socket.remoteAddress ?? ''));
  }

  #begin(webSocket: WebSocket, address: string): void {
    const session = new AgentSession(webSocket, {
      ...this.#options,
      address,
      onHello: (node) => this.#take(node, session),
      onEnd: () => this.#drop(session),
    });
    this.#sessions.add(session);
  }

  #take(node: string, session: AgentSession): void {
    const older = this.#byNode.get(node);
    this.#byNode.set(node, session);
    if (older === undefined) return;
    this.#options.log.warn({ node, from: older.address, to: session.address }, 'a newer connection of the same node replaces the older one');
    older.refuse('SESSION_REPLACED', `another agent has said hello for ${node}`);
  }

  #drop(session: AgentSession): void {
    this.#sessions.delete(session);
    if (session.node !== undefined && this.#byNode.get(session.node) === session) this.#byNode.delete(session.node);
  }
}

function refuse(socket: Duplex, status: string, headers = ''): void {
  socket.on('error', () => socket.destroy());
  socket.end(`HTTP/1.1 ${status}\r\n${headers}Connection: close\r\nContent-Length: 0\r\n\r\n`);
}
