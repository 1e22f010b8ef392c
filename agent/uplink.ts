// The connection to the collector: carries the session's messages over a WebSocket, keeps it alive, and comes back after every end.
import WebSocket from 'ws';
import { failure, type PortreeveError, reasonOf } from '../shared/errors.ts';
import { limits } from '../shared/limits.ts';
import type { SequencedChange } from '../shared/model/change.ts';
import { decodeFromCollector, encode } from '../shared/wire/codec.ts';
import { type AgentMessage, subprotocol, type Trace, type Traced, type Want } from '../shared/wire/messages.ts';
import { type Identity, newSession, type Session, type SessionInput, step } from '../shared/wire/session.ts';
import { readSecret } from './host/files.ts';
import type { Spool } from './host/spool.ts';

export interface UplinkOptions {
  /** `ws://` on loopback addresses, `wss://` anywhere; `/agent` is added where the URL has no path. */
  readonly collector: string;
  readonly identity: Identity;
  /** File with a bearer token; read at each connection, because tokens of service accounts are renewed in place. */
  readonly tokenFile?: string;
  readonly onWant: (want: Want) => void;
  readonly onTrace: (trace: Trace) => Omit<Traced, 'type' | 'id'>;
  readonly onNotice: (text: string, details: Readonly<Record<string, unknown>>) => void;
  readonly heartbeatMs?: number;
  /** Where changes wait while no collector takes them, and those that it held at the start. */
  readonly spool?: { readonly spool: Spool; readonly left: readonly SequencedChange[] };
}

/** Pauses before the next try, in milliseconds: full jitter below a bound that doubles. On loopback the bound stays low: nobody else is kept busy by trying. */
const pauseMinMs = 250;
const pauseMaxMs = 30_000;
const pauseLoopbackMaxMs = 1_000;
const handshakeTimeoutMs = 10_000;
/** Time for the collector's welcome. */
const welcomeTimeoutMs = 10_000;

/** The URL that an agent connects to. Throws USAGE for what is no WebSocket URL and LISTEN_NEEDS_LOOPBACK for plain ws: to another machine. */
export function collectorUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^wss?:$/.test(url.protocol)) throw failure('USAGE', [`--collector ${text}: a URL ws://HOST:PORT or wss://HOST:PORT is wanted`]);
  if (url.protocol === 'ws:' && !isLoopback(url.hostname)) throw failure('LISTEN_NEEDS_LOOPBACK', [url.hostname]);
  if (url.pathname === '/') url.pathname = '/agent';
  return url;
}

const isLoopback = (host: string): boolean => host === 'localhost' || host === '[::1]' || /^127(?:\.\d{1,3}){3}$/.test(host);

export class Uplink {
  readonly #options: UplinkOptions;
  readonly #url: URL;
  #session: Session;
  #socket: WebSocket | undefined;
  #retry: NodeJS.Timeout | undefined;
  #heartbeat: NodeJS.Timeout | undefined;
  #welcome: NodeJS.Timeout | undefined;
  #tries = 0;
  #closed = false;

  /** Connects at once. Throws as `collectorUrl` does. */
  constructor(options: UplinkOptions) {
    this.#options = options;
    this.#url = collectorUrl(options.collector);
    this.#session = newSession(options.identity, options.spool?.left ?? []);
    this.#connect();
  }

  /** Gives the session facts or changes; they are sent when the connection allows. */
  take(input: Extract<SessionInput, { kind: 'facts' | 'changes' }>): void {
    this.#step(input);
  }

  /** Changes that no collector has acknowledged yet. */
  get unacknowledged(): number {
    return this.#session.queue.length;
  }

  /** Where it connects to, whether the collector has welcomed it, and how many changes wait. */
  get status(): { readonly url: string; readonly connected: boolean; readonly unacknowledged: number } {
    return { url: this.#url.href, connected: this.#session.phase === 'open', unacknowledged: this.unacknowledged };
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    const socket = this.#socket;
    this.#stopTimers();
    if (socket === undefined || socket.readyState === WebSocket.CLOSED) return;
    await new Promise<void>((resolve) => {
      const force = setTimeout(() => socket.terminate(), 1_000);
      socket.once('close', () => {
        clearTimeout(force);
        resolve();
      });
      if (socket.readyState === WebSocket.OPEN) socket.close(1001, 'agent stops');
      else socket.terminate();
    });
  }

  #connect(): void {
    const socket = new WebSocket(this.#url, subprotocol, {
      perMessageDeflate: false,
      maxPayload: limits.frameBytesMax,
      handshakeTimeout: handshakeTimeoutMs,
      followRedirects: false,
      headers: this.#headers(),
    });
    this.#socket = socket;
    socket.on('open', () => this.#opened(socket));
    socket.on('message', (data: Buffer) => this.#frame(socket, data));
    socket.on('error', (error) => this.#failed(error));
    socket.on('close', (code) => this.#ended(socket, code));
  }

  #headers(): Record<string, string> {
    if (this.#options.tokenFile === undefined) return {};
    try {
      return { authorization: `Bearer ${readSecret(this.#options.tokenFile)}` };
    } catch (error) {
      this.#options.onNotice('the token cannot be read', { file: this.#options.tokenFile, reason: reasonOf(error) });
      return {};
    }
  }

  #opened(socket: WebSocket): void {
    this.#step({ kind: 'connected', clock: Date.now() });
    this.#welcome = setTimeout(() => this.#cut(socket, 'no welcome came'), welcomeTimeoutMs);
    let answered = true;
    socket.on('pong', () => {
      answered = true;
    });
    this.#heartbeat = setInterval(() => {
      if (!answered) return this.#cut(socket, 'a heartbeat was not answered');
      answered = false;
      socket.ping();
    }, this.#options.heartbeatMs ?? limits.heartbeatMs);
  }

  #frame(socket: WebSocket, data: Buffer): void {
    if (socket !== this.#socket) return;
    const decoded = decodeFromCollector(data);
    this.#step(decoded.kind === 'message' ? { kind: 'message', message: decoded.message } : { kind: 'malformed', error: decoded.error });
  }

  // The first failure of a series is worth a line in the log; the others say the same.
  #failed(error: Error): void {
    if (this.#tries === 0) this.#options.onNotice('no connection to the collector', { collector: this.#url.href, reason: reasonOf(error) });
  }

  #ended(socket: WebSocket, code: number): void {
    if (socket !== this.#socket) return;
    if (this.#session.phase === 'open') this.#options.onNotice('the connection to the collector ended', { code, unacknowledged: this.#session.queue.length });
    this.#stopTimers();
    this.#socket = undefined;
    this.#step({ kind: 'disconnected' });
    if (this.#closed) return;
    const bound = Math.min(isLoopback(this.#url.hostname) ? pauseLoopbackMaxMs : pauseMaxMs, pauseMinMs * 2 ** Math.min(this.#tries++, 16));
    this.#retry = setTimeout(() => this.#connect(), Math.random() * bound);
  }

  #cut(socket: WebSocket, reason: string): void {
    this.#options.onNotice('cutting the connection', { reason });
    socket.terminate();
  }

  #stopTimers(): void {
    clearTimeout(this.#welcome);
    clearInterval(this.#heartbeat);
  }

  #step(input: SessionInput): void {
    const before = this.#session;
    const { state, effects } = step(before, input);
    this.#session = state;
    if (this.#options.spool !== undefined) this.#keep(before, this.#options.spool.spool);
    for (const effect of effects) {
      if (effect.kind === 'send') this.#send(effect.message);
      else if (effect.kind === 'want') this.#options.onWant(effect.want);
      else if (effect.kind === 'trace') this.#answer(effect.trace);
      else if (effect.kind === 'open') this.#welcomed();
      else this.#reconnect(effect.reason);
    }
  }

  /** What waits is written while there is no connection, and when one ends; the file goes when all of it is acknowledged. */
  #keep(before: Session, spool: Spool): void {
    const { phase, queue, acknowledged, nextSeq } = this.#session;
    const changes = queue.map(({ change }) => change);
    try {
      if (phase === 'open' && before.phase !== 'open' && nextSeq !== before.nextSeq) spool.replace(changes);
      if (phase !== 'open' && (queue !== before.queue || before.phase === 'open')) spool.keep(changes);
      if (acknowledged > before.acknowledged) spool.settle(acknowledged);
    } catch (error) {
      this.#options.onNotice('changes cannot be kept on disk', { reason: reasonOf(error) });
    }
  }

  #welcomed(): void {
    this.#tries = 0;
    clearTimeout(this.#welcome);
    this.#options.onNotice('connected', { collector: this.#url.href, unacknowledged: this.#session.queue.length });
  }

  #reconnect(reason: string): void {
    this.#options.onNotice('connecting again', { reason });
    const socket = this.#socket;
    socket?.close(1008, reason.slice(0, 100));
    // A collector that does not answer the close must not keep the agent waiting.
    const timer = setTimeout(() => socket?.terminate(), 1_000);
    socket?.once('close', () => clearTimeout(timer));
  }

  #answer(trace: Trace): void {
    const { result, error } = this.#options.onTrace(trace);
    const answer: AgentMessage = {
      type: 'traced',
      id: trace.id,
      ...(result === undefined ? {} : { result }),
      ...(error === undefined ? {} : { error: error.slice(0, 4096) }),
    };
    this.#send(answer, (reason) => ({ type: 'traced', id: trace.id, error: reason.message }));
  }

  #send(message: AgentMessage, instead?: (reason: PortreeveError) => AgentMessage): void {
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.OPEN) return;
    try {
      socket.send(encode(message));
    } catch (error) {
      if (instead !== undefined) return this.#send(instead(error as PortreeveError));
      this.#options.onNotice('a message cannot be sent', { type: message.type, reason: reasonOf(error) });
    }
  }
}
