// The connection to the collector: carries the session's messages over a WebSocket, keeps it alive, and comes back after every end.
import WebSocket from 'ws';
import { failure, type PortreeveError, reasonOf } from '../shared/errors.ts';
import { limits } from '../shared/limits.ts';
import { decodeFromCollector, encode, type FrameForm, zstdCapability } from '../shared/wire/codec.ts';
import { type AgentMessage, subprotocol, type Trace, type Traced, type Want, type Welcome } from '../shared/wire/messages.ts';
import { pongText } from '../shared/wire/pong.ts';
import { type EarlierRun, type Identity, newSession, type Session, type SessionEffect, type SessionInput, step } from '../shared/wire/session.ts';
import type { PackedCapture } from './capture.request.ts';
import { readSecret } from './host/files.ts';
import { Keeper } from './spool/keeper.ts';
import type { Spool } from './spool/spool.ts';

export interface UplinkOptions {
  /**
   * `ws://` on loopback addresses, `wss://` anywhere; `/agent` is added where the URL has no path. Of several, which are replicas of one collector, each agent
   * begins with another and goes on in their order.
   */
  readonly collector: string | readonly string[];
  readonly identity: Identity;
  /** What performance.now() said at `identity.startedAt`. */
  readonly begunAt: number;
  /** File with a bearer token; read at each connection, because tokens of service accounts are renewed in place. */
  readonly tokenFile?: string;
  /** What a connection by TLS needs; asked at each connection, because certificates are renewed. Absent: the authorities of the system, and no certificate. */
  readonly secrets?: () => { readonly ca: string[]; readonly key?: string; readonly cert?: string };
  readonly onWant: (want: Want) => void;
  readonly onTrace: (trace: Trace) => Omit<Traced, 'type' | 'id'>;
  /** Makes a capture of the node. Never rejects. Absent: it makes none. */
  readonly onCapture?: () => Promise<PackedCapture>;
  readonly onNotice: (text: string, details: Readonly<Record<string, unknown>>) => void;
  readonly heartbeatMs?: number;
  /** How often the collector is asked whether it has the node's state. */
  readonly checkMs?: number;
  /** Where changes wait while no collector takes them, and the runs that it held changes of at the start. */
  readonly spool?: { readonly spool: Spool; readonly earlier: readonly EarlierRun[] };
}

/** Without a connection, the spool notes this often that the agent is alive: what it holds is complete up to then. */
const aliveMs = 60_000;

/** Pauses before the next try, in milliseconds: full jitter below a bound that doubles. On loopback the bound stays low: nobody else is kept busy by trying. */
const pauseMinMs = 250;
const pauseMaxMs = 30_000;
const pauseLoopbackMaxMs = 1_000;
/** Below this the first pause after a connection that had stood lies, where there are several collectors: the agents of one that died do not come all at once. */
const moveMs = 4_000;
const handshakeTimeoutMs = 10_000;
/** Time for the collector's welcome. */
const welcomeTimeoutMs = 10_000;

/** The URLs of `--collector`, each given alone or several with commas. Throws as `collectorUrl`, and USAGE where some are of loopback addresses and some are not. */
export function collectorUrls(given: string | readonly string[]): readonly URL[] {
  const urls = [given]
    .flat()
    .flatMap((text) => text.split(','))
    .map((text) => collectorUrl(text.trim()));
  if (urls.some(({ protocol }) => protocol !== urls[0]?.protocol)) throw failure('USAGE', ['--collector: the URLs are all ws: or all wss:']);
  return urls;
}

/** Where a node begins among several collectors: spread evenly, and the same after each start. */
export function firstOf(node: string, count: number): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < node.length; at++) hash = Math.imul(hash ^ node.charCodeAt(at), 0x01000193);
  return ((hash ^ (hash >>> 15)) >>> 0) % count;
}

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
  readonly #urls: readonly URL[];
  /** Which of them is tried, or connected to. */
  #at: number;
  readonly #keeper: Keeper | undefined;
  #session: Session;
  #socket: WebSocket | undefined;
  #retry: NodeJS.Timeout | undefined;
  #heartbeat: NodeJS.Timeout | undefined;
  #welcome: NodeJS.Timeout | undefined;
  #alive: NodeJS.Timeout | undefined;
  readonly #check: NodeJS.Timeout;
  /** What the collector understands, while it is connected. */
  #peer: readonly string[] = [];
  /** Sent on this connection. */
  #frames = 0;
  #tries = 0;
  /** Not before then, as the collectors say, each for itself; milliseconds of performance.now(). */
  readonly #notBefore: number[];
  #closed = false;

  /** Connects at once. Throws as `collectorUrl` does. */
  constructor(options: UplinkOptions) {
    this.#options = options;
    this.#urls = collectorUrls(options.collector);
    this.#at = firstOf(options.identity.node, this.#urls.length);
    this.#notBefore = this.#urls.map(() => 0);
    this.#session = newSession({ ...options.identity, capabilities: [...options.identity.capabilities, zstdCapability] }, options.spool?.earlier ?? []);
    this.#keeper = options.spool === undefined ? undefined : new Keeper(options.spool.spool, (input) => this.#step(input));
    this.#alive = setInterval(() => this.#keeper?.sign(this.#session), aliveMs);
    // Not all agents at the same moment, whenever they were started.
    this.#check = setInterval(() => this.#step({ kind: 'check' }), (options.checkMs ?? limits.stateCheckMs) * (0.9 + Math.random() / 5));
    this.#connect();
  }

  get #url(): URL {
    return this.#urls[this.#at] as URL;
  }

  /** Gives the session facts or changes; they are sent when the connection allows. */
  take(input: Extract<SessionInput, { kind: 'facts' | 'changes' }>): void {
    this.#step(input);
  }

  /** Changes in memory that no collector has acknowledged yet; those that are on disk alone are not counted. */
  get unacknowledged(): number {
    return this.#session.outbox.queue.length + this.#session.outbox.loaded.length;
  }

  /** What waits, and where; for the agent's status. */
  get delivery(): { readonly phase: string; readonly inMemory: number; readonly onDiskAlone: boolean; readonly spoolBytes: number } {
    const { phase, outbox } = this.#session;
    return { phase, inMemory: this.unacknowledged, onDiskAlone: outbox.backlog, spoolBytes: this.#options.spool?.spool.bytes ?? 0 };
  }

  /** Where it connects to, whether the collector has welcomed it, and how many changes wait. */
  get status(): { readonly url: string; readonly connected: boolean; readonly unacknowledged: number } {
    return { url: this.#url.href, connected: this.#session.phase === 'open', unacknowledged: this.unacknowledged };
  }

  /** The clock was set: the collector learns by how much it differs from its own when it is greeted anew. */
  clockJumped(byMs: number): void {
    this.#options.onNotice('the clock was set', { byMs });
    if (this.#session.phase === 'open') this.#reconnect('the clock of the node was set');
  }

  /** Ends the connection, if there is one, and makes another: with the tokens and certificates that are there now. */
  reconnect(reason: string): void {
    this.#reconnect(reason);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    clearInterval(this.#alive);
    clearInterval(this.#check);
    const socket = this.#socket;
    this.#stopTimers();
    if (socket !== undefined && socket.readyState !== WebSocket.CLOSED) await this.#leave(socket);
    await this.#keeper?.close(() => this.#session);
  }

  async #leave(socket: WebSocket): Promise<void> {
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
      autoPong: false,
      maxPayload: limits.frameBytesMax,
      handshakeTimeout: handshakeTimeoutMs,
      followRedirects: false,
      ...this.#options.secrets?.(),
      headers: this.#headers(),
    });
    this.#socket = socket;
    socket.on('open', () => this.#opened(socket));
    socket.on('message', (data: Buffer, isBinary) => this.#frame(socket, data, isBinary ? 'binary' : 'text'));
    socket.on('error', (error) => this.#failed(error));
    socket.on('close', (code) => this.#ended(socket, code));
    socket.on('unexpected-response', (_request, response) => {
      const seconds = Number(response.headers['retry-after']);
      if (Number.isFinite(seconds)) this.#stayAway(seconds * 1_000);
      socket.removeAllListeners('error').on('error', () => {});
      this.#failed(new Error(`the collector answered ${response.statusCode} ${response.statusMessage ?? ''}`.trimEnd()));
      socket.terminate();
    });
  }

  #stayAway(ms: number): void {
    this.#notBefore[this.#at] = performance.now() + Math.min(ms, limits.retryAfterMsMax);
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
    this.#frames = 0;
    this.#step({ kind: 'connected', clock: Date.now(), ranMs: performance.now() - this.#options.begunAt });
    this.#welcome = setTimeout(() => this.#cut(socket, 'no welcome came'), welcomeTimeoutMs);
    socket.on('ping', (asked: Buffer) => socket.pong(pongText(this.#session, { asked: asked.toString('latin1'), frames: this.#frames })));
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

  #frame(socket: WebSocket, data: Buffer, form: FrameForm): void {
    if (socket !== this.#socket) return;
    const decoded = decodeFromCollector(data, form);
    this.#step(decoded.kind === 'message' ? { kind: 'message', message: decoded.message } : { kind: 'malformed', error: decoded.error });
  }

  // The first failure of a series is worth a line in the log; the others say the same.
  #failed(error: Error): void {
    if (this.#tries === 0) this.#options.onNotice('no connection to the collector', { collector: this.#url.href, reason: reasonOf(error) });
  }

  #ended(socket: WebSocket, code: number): void {
    if (socket !== this.#socket) return;
    const stood = this.#session.phase === 'open';
    if (stood) this.#options.onNotice('the connection to the collector ended', { code, unacknowledged: this.unacknowledged });
    this.#stopTimers();
    this.#socket = undefined;
    this.#peer = [];
    this.#step({ kind: 'disconnected' });
    if (this.#closed) return;
    this.#retry = setTimeout(() => this.#connect(), this.#pauseMs(stood));
  }

  /** Goes on to the next collector, and says how long to wait for it: as long as it asked for, else with full jitter below a bound that doubles with each round. */
  #pauseMs(stood: boolean): number {
    const now = performance.now();
    const [count, last] = [this.#urls.length, this.#at];
    // The next in order that has not asked to be left alone; where all have, the one that may be asked first.
    const order = Array.from({ length: count }, (_, i) => (last + 1 + i) % count);
    const free = order.find((at) => (this.#notBefore[at] ?? 0) <= now);
    this.#at = free ?? order.reduce((best, at) => ((this.#notBefore[at] ?? 0) < (this.#notBefore[best] ?? 0) ? at : best));
    const rounds = Math.floor(this.#tries++ / count);
    const doubled = Math.min(isLoopback(this.#url.hostname) ? pauseLoopbackMaxMs : pauseMaxMs, pauseMinMs * 2 ** Math.min(rounds, 16));
    const bound = stood && count > 1 && !isLoopback(this.#url.hostname) ? Math.max(moveMs, doubled) : doubled;
    // Asked to stay away, agents come back spread over as long again: all at once would be turned away once more.
    const away = Math.max(0, (this.#notBefore[this.#at] ?? 0) - now);
    return away + Math.random() * Math.max(bound, away);
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
    const { state, effects } = step(this.#session, input);
    this.#session = state;
    for (const effect of effects) this.#act(effect);
  }

  #act(effect: SessionEffect): void {
    switch (effect.kind) {
      case 'send':
        return this.#send(effect.message);
      case 'want':
        return this.#options.onWant(effect.want);
      case 'trace':
        return this.#answer(effect.trace);
      case 'capture':
        return void this.#capture(effect.id);
      case 'open':
        return this.#welcomed(effect.welcome);
      case 'reconnect':
        if (effect.afterMs !== undefined) this.#stayAway(effect.afterMs);
        return this.#reconnect(effect.reason);
      default:
        // What concerns the disk; without one changes wait in memory alone.
        return this.#keeper?.keep(effect);
    }
  }

  #welcomed({ capabilities }: Welcome): void {
    this.#peer = capabilities ?? [];
    this.#tries = 0;
    clearTimeout(this.#welcome);
    this.#options.onNotice('connected', { collector: this.#url.href, unacknowledged: this.unacknowledged });
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

  /** Sends a capture in parts, each when the one before has gone out, so that news of the node are not kept waiting. */
  async #capture(id: string): Promise<void> {
    const socket = this.#socket;
    const made = (await this.#options.onCapture?.()) ?? { error: 'this agent makes no captures' };
    // Who asked has gone away with the connection.
    if (socket === undefined || socket !== this.#socket) return;
    if ('error' in made) return this.#send({ type: 'captured', id, part: 0, last: true, error: made.error.slice(0, 4096) });
    const { archive } = made;
    const count = Math.ceil(archive.length / limits.capturePartBytes);
    for (let part = 0; part < count && socket.readyState === WebSocket.OPEN; part++) {
      const content = archive.toString('base64', part * limits.capturePartBytes, (part + 1) * limits.capturePartBytes);
      this.#send({ type: 'captured', id, part, last: part === count - 1, content });
      await drained(socket);
    }
  }

  #send(message: AgentMessage, instead?: (reason: PortreeveError) => AgentMessage): void {
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.OPEN) return;
    try {
      socket.send(encode(message, this.#peer));
      this.#frames++;
    } catch (error) {
      if (instead !== undefined) return this.#send(instead(error as PortreeveError));
      this.#options.onNotice('a message cannot be sent', { type: message.type, reason: reasonOf(error) });
    }
  }
}

/** Resolves when little of what was sent waits in this process, or when the connection ends. */
async function drained(socket: WebSocket): Promise<void> {
  while (socket.readyState === WebSocket.OPEN && socket.bufferedAmount > limits.capturePartBytes) await new Promise((resolve) => setTimeout(resolve, 20));
}
