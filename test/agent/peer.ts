// A collector for tests: a real WebSocket server that speaks the protocol and keeps what agents send.
import type { AddressInfo } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';
import { limits } from '../../shared/limits.ts';
import { decodeFromAgent, encode } from '../../shared/wire/codec.ts';
import { type AgentMessage, type ChangesMessage, type CollectorMessage, type Hello, subprotocol } from '../../shared/wire/messages.ts';

export type ReceivedChange = ChangesMessage['changes'][number];

export interface PeerOptions {
  readonly port?: number;
  /** Changes are stored and acknowledged; false: stored, and never acknowledged. */
  readonly acknowledges?: boolean;
  /** Sent after each welcome. */
  readonly afterWelcome?: readonly CollectorMessage[];
  readonly onHello?: (hello: Hello, socket: WebSocket) => void;
}

/** Milliseconds that something may take on a busy machine, whatever it usually takes. */
const patienceMs = 20_000;

export class Peer {
  readonly #server: WebSocketServer;
  readonly #options: PeerOptions;
  readonly #waiting = new Set<() => void>();
  /** Highest stored seq of each stream: outlives connections, as a store does. */
  readonly stored: Map<string, number>;
  readonly changes: ReceivedChange[] = [];
  readonly hellos: Hello[] = [];
  readonly messages: AgentMessage[] = [];
  /** Facts as a collector would have them now. */
  readonly facts = new Map<string, { readonly kind: string; readonly key: string }>();
  readonly malformed: string[] = [];
  /** Kept after it is closed, for the next one to take. */
  readonly port: number;
  #socket: WebSocket | undefined;
  #connection: { readonly bytesRead: number } | undefined;

  private constructor(server: WebSocketServer, options: PeerOptions, stored: Map<string, number>) {
    this.#server = server;
    this.#options = options;
    this.stored = stored;
    this.port = (server.address() as AddressInfo).port;
    server.on('connection', (socket, request) => {
      this.#connection = request.socket;
      this.#connected(socket);
    });
  }

  /** Starts one; `stored` carries over what an earlier one had committed. */
  static async start(options: PeerOptions = {}, stored = new Map<string, number>()): Promise<Peer> {
    const server = new WebSocketServer({
      host: '127.0.0.1',
      port: options.port ?? 0,
      maxPayload: limits.frameBytesMax,
      handleProtocols: (offered) => (offered.has(subprotocol) ? subprotocol : false),
    });
    await new Promise((resolve, reject) => server.once('listening', resolve).once('error', reject));
    return new Peer(server, options, stored);
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}`;
  }

  /** Bytes that came over the present connection, those of WebSocket itself included. */
  get bytesRead(): number {
    return this.#connection?.bytesRead ?? 0;
  }

  /** Called with the Authorization header of each connection from now on. */
  onRequest(see: (authorization: string | undefined) => void): void {
    this.#server.on('connection', (_socket, request) => see(request.headers.authorization));
  }

  send(message: CollectorMessage): void {
    this.#socket?.send(encode(message));
  }

  sendRaw(text: string): void {
    this.#socket?.send(text);
  }

  /** Cuts the connection without a word. */
  cut(): void {
    this.#socket?.terminate();
  }

  /** Resolves with what `find` finds among all that arrives; rejects after the time. */
  async wait<Found>(find: () => Found | undefined, timeoutMs = 5_000): Promise<Found> {
    // What usually takes so long may take longer on a machine that is busy.
    const deadline = performance.now() + Math.max(timeoutMs, patienceMs);
    for (;;) {
      const found = find();
      if (found !== undefined && found !== false) return found;
      const left = deadline - performance.now();
      if (left <= 0)
        throw new Error(`not seen within ${Math.max(timeoutMs, patienceMs)} ms: ${find.toString()}; changes: ${JSON.stringify(this.changes.slice(-5))}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(left, 200));
        this.#waiting.add(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  async close(): Promise<void> {
    for (const client of this.#server.clients) client.terminate();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #connected(socket: WebSocket): void {
    this.#socket = socket;
    socket.on('error', () => {});
    socket.on('message', (data: Buffer) => {
      const decoded = decodeFromAgent(data);
      if (decoded.kind === 'malformed') this.malformed.push(decoded.error.message);
      else this.#received(socket, decoded.message);
      for (const wake of this.#waiting) wake();
      this.#waiting.clear();
    });
  }

  #received(socket: WebSocket, message: AgentMessage): void {
    this.messages.push(message);
    if (message.type === 'hello') return this.#welcome(socket, message);
    if (message.type === 'state') {
      if (message.full && !this.#inFull) this.facts.clear();
      this.#inFull = message.full && message.more;
      for (const fact of message.put) this.facts.set(fact.key, fact);
      for (const key of message.delete) this.facts.delete(key);
    }
    if (message.type === 'changes') this.#store(socket, message);
  }

  #inFull = false;

  #welcome(socket: WebSocket, hello: Hello): void {
    this.hellos.push(hello);
    if (this.#options.onHello !== undefined) return this.#options.onHello(hello, socket);
    const resumeAfter = this.stored.get(hello.stream) ?? 0;
    socket.send(
      encode({
        type: 'welcome',
        session: `s${this.hellos.length}`,
        resumeAfter,
        earlier: (hello.earlier ?? []).map(({ stream }) => ({ stream, resumeAfter: this.stored.get(stream) ?? 0 })),
        limits: { frameBytesMax: limits.frameBytesMax, heartbeatMs: limits.heartbeatMs },
      }),
    );
    for (const each of this.#options.afterWelcome ?? []) socket.send(encode(each));
  }

  #store(socket: WebSocket, message: ChangesMessage): void {
    for (const change of message.changes) {
      this.changes.push(change);
      this.stored.set(change.stream, change.seq);
    }
    const last = message.changes.at(-1) as ReceivedChange;
    if (this.#options.acknowledges !== false) socket.send(encode({ type: 'ack', stream: last.stream, changes: last.seq, state: 0 }));
  }
}
