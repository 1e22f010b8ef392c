// One agent's connection: hello, welcome, want; then state into memory and changes into the store, acknowledged after the commit.
import { randomUUID } from 'node:crypto';
import { WebSocket } from 'ws';
import { failure, PortreeveError, reasonOf } from '../../shared/errors.ts';
import { limits } from '../../shared/limits.ts';
import type { SequencedChange } from '../../shared/model/change.ts';
import { digestOf, kindsThatDiffer } from '../../shared/model/fact.digest.ts';
import type { Fact } from '../../shared/model/fact.ts';
import { decodeFromAgent, encode, type FrameForm, zstdCapability } from '../../shared/wire/codec.ts';
import {
  type AgentMessage,
  type ChangesMessage,
  type CollectorMessage,
  captureCapability,
  type Digest,
  digestCapability,
  type Hello,
  type StateMessage,
  type Trace,
  type Traced,
  type Want,
} from '../../shared/wire/messages.ts';
import { readPong } from '../../shared/wire/pong.ts';
import type { Admitted } from '../identity/admission.ts';
import type { Taken } from '../replicas/ownership.ts';
import type { Gap } from '../store/store.ts';
import { Parts } from './capture.ts';
import { laterMs, pieceOf, storingMs } from './costs.ts';
import { beginOf, type ClockOffset, gapsTold, timesNotCovered } from './coverage.ts';
import { isKnownKind, readFact } from './facts.ts';
import type { IngestOptions } from './ingest.ts';
import type { Turns } from './turns.ts';
import { wantOf } from './want.ts';

export interface SessionOptions extends IngestOptions {
  /** The peer's IP address, for the log. */
  readonly address: string;
  /** When the connection was granted, before which the agent said nothing; milliseconds since 1970. */
  readonly acceptedAt: number;
  /** For which node it may speak, and until when. */
  readonly admitted: Admitted;
  readonly turns: Turns;
  /** Called when the node that the agent speaks for was taken for it, with what was found then. */
  readonly onTaken: (node: string, taken: Taken) => void;
  /** Called when it is about to be welcomed. `isClone` as in `Taken`. */
  readonly onHello: (node: string, isClone: boolean | undefined) => void;
  readonly onEnd: () => void;
}

/** Facts that one node may hold: 60,000 NodePorts with room for everything else. */
const factsMax = 250_000;
/** Messages that wait for the store before the socket is no longer read. */
const waitingMax = 16;
/** Signs of life in the time of a heartbeat, to an agent whose pings are not read: one that hears none for so long cuts the connection. */
const signsPerHeartbeat = 4;
const traceTimeoutMs = 10_000;
/** How often the store is told that a node was heard of. */
const saveEveryMs = 60_000;
/** What setTimeout takes. */
const timerMsMax = 2 ** 31 - 1;
/** Times that an agent is asked to send its state again on one connection. */
const resendsMax = 3;
const closeTimeoutMs = 1_000;
const helloTimeoutMs = 10_000;
/** Close codes in the private range of RFC 6455: the agent reads the reason in the error message before. */
const refusedCode = 4_400;

/** Owns one socket and its timers. Frames are handled strictly in order; whatever goes wrong ends this session and no other. */
export class AgentSession {
  readonly id = randomUUID();
  readonly address: string;
  readonly #socket: WebSocket;
  readonly #options: SessionOptions;
  readonly #traces = new Map<string, (answer: Traced) => void>();
  readonly #heartbeat: NodeJS.Timeout;
  readonly #helloTimer: NodeJS.Timeout;
  #expiry: NodeJS.Timeout | undefined;
  #hello: Hello | undefined;
  #answered = true;
  #frames = 0;
  /** The last ping: its number and when it was sent. */
  #ping = { number: 0, at: 0 };
  /** Until when all that the agent has told is stored; milliseconds since 1970. */
  #coveredUntil = 0;
  /** Whether a full state has come. */
  #reported = false;
  #parts: Map<string, Fact> | undefined;
  #stateSeq = 0;
  #resends = 0;
  /** The highest seq committed, or being committed, per stream. */
  readonly #lastSeqs = new Map<string, number>();
  #clock: ClockOffset = { clockOffsetMs: 0, transitMs: 0 };
  #savedAt = 0;
  #waiting = 0;
  /** Tells an agent whose frames are not read that it is not forgotten. */
  #signs: NodeJS.Timeout | undefined;
  #queue: Promise<void> = Promise.resolve();
  #lastWant: { readonly nodePorts: Want['nodePorts']; readonly others: string } | undefined;
  #refused = false;
  #hasComplained = false;
  /** Pings since the last second that any came in. */
  #pings = { since: 0, count: 0 };
  #ended = false;

  constructor(socket: WebSocket, options: SessionOptions) {
    this.#socket = socket;
    this.#options = options;
    this.address = options.address;
    this.#helloTimer = setTimeout(() => this.refuse('HELLO_MISSING', 'no hello came'), options.helloTimeoutMs ?? helloTimeoutMs);
    this.#heartbeat = setInterval(() => this.beat(), options.heartbeatMs ?? limits.heartbeatMs);
    const { validUntil } = options.admitted;
    if (validUntil !== undefined) this.#expiry = setTimeout(() => this.#expire(), Math.min(validUntil - Date.now(), timerMsMax));
    socket.on('message', (data: Buffer, isBinary) => this.#frame(data, isBinary ? 'binary' : 'text'));
    socket.on('pong', (data: Buffer) => this.#ponged(data));
    socket.on('ping', (data: Buffer) => this.#pinged(data));
    socket.on('error', (error) => this.#options.log.warn({ node: this.node, reason: error.message }, 'the connection of an agent failed'));
    socket.on('close', (code) => this.#end(code));
  }

  /** The run of the agent; undefined before hello. */
  get stream(): string | undefined {
    return this.#hello?.stream;
  }

  /** The node that it was let in for; undefined where everybody is let in. */
  get admittedNode(): string | undefined {
    return this.#options.admitted.node;
  }

  /** The node it speaks for; undefined before hello. */
  get node(): string | undefined {
    return this.#hello?.node;
  }

  /** Tells the agent what to judge, when that differs from what it was told before. */
  sendWant(): void {
    if (this.#hello === undefined) return;
    const { want, left } = wantOf(this.#hello.node, this.#options.state.objects);
    const { nodePorts, ...rest } = want;
    const others = JSON.stringify(rest);
    // The list is the same one for all nodes while nothing in it changes, and long.
    if (nodePorts === this.#lastWant?.nodePorts && others === this.#lastWant.others) return;
    this.#lastWant = { nodePorts, others };
    if (left > 0)
      this.#options.log.warn({ node: this.#hello.node, left }, 'some NodePorts do not fit in one message: the agent judges those it finds in rules');
    this.#send(want);
  }

  /** Asks the agent to walk a packet. Rejects when it does not answer in time or goes away. */
  trace(packet: Trace['packet']): Promise<Traced> {
    const id = randomUUID();
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void): void => {
        clearTimeout(timer);
        this.#traces.delete(id);
        settle();
      };
      const timer = setTimeout(() => finish(() => reject(new Error(`the agent did not answer within ${traceTimeoutMs / 1_000} s`))), traceTimeoutMs);
      this.#traces.set(id, (answer) => finish(() => resolve(answer)));
      this.#send({ type: 'trace', id, packet });
    });
  }

  /** Asks the agent for a capture of its node: a tar archive packed by gzip, in base64. An error in the answer says why there is none. */
  async capture(): Promise<{ readonly result?: { readonly archive: string }; readonly error?: string }> {
    if (this.#hello?.capabilities.includes(captureCapability) !== true) return { error: 'this agent makes no captures: it is older than this collector' };
    const id = randomUUID();
    const { promise, resolve } = Promise.withResolvers<Buffer | string>();
    const timer = setTimeout(() => resolve(`no capture came within ${limits.captureMs / 1_000} s`), limits.captureMs);
    this.#captures.set(id, new Parts(resolve));
    this.#send({ type: 'capture', id });
    const made = await promise;
    clearTimeout(timer);
    this.#captures.delete(id);
    return typeof made === 'string' ? { error: made } : { result: { archive: made.toString('base64') } };
  }
  readonly #captures = new Map<string, Parts>();

  /** Says what is wrong, and closes. */
  refuse(code: string, message: string): void {
    if (this.#refused) return;
    this.#refused = true;
    this.#send({ type: 'error', code, message: message.slice(0, 4_096) });
    void this.close(refusedCode, code);
  }

  /** Closes and waits for the end; a peer that does not answer is cut off. */
  close(code: number, reason: string): Promise<void> {
    if (this.#socket.readyState === WebSocket.CLOSED) return Promise.resolve();
    return new Promise((resolve) => {
      const force = setTimeout(() => this.#socket.terminate(), closeTimeoutMs);
      this.#socket.once('close', () => {
        clearTimeout(force);
        resolve();
      });
      this.#socket.close(code, reason);
    });
  }

  #heard(): void {
    this.#answered = true;
    if (this.#hello === undefined) return;
    this.#options.state.heard(this.#hello.node);
  }

  /** Answers by hand: who only asks and never reads would have the answers pile up here. */
  #pinged(data: Buffer): void {
    const now = performance.now();
    this.#pings = now - this.#pings.since > 1_000 ? { since: now, count: 1 } : { ...this.#pings, count: this.#pings.count + 1 };
    if (this.#pings.count > limits.pingsPerSecondMax) return this.refuse('PINGS_TOO_MANY', `more than ${limits.pingsPerSecondMax} pings came in a second`);
    this.#heard();
    if (this.#hasRoom()) this.#socket.pong(data);
  }

  /** Cuts off an agent that does not read what it is sent. */
  #hasRoom(): boolean {
    if (this.#socket.bufferedAmount <= limits.sendBufferBytesMax) return true;
    this.#options.log.warn(
      { node: this.node, address: this.address, bytes: this.#socket.bufferedAmount },
      'an agent does not read what it is sent: the connection is cut',
    );
    this.#socket.terminate();
    return false;
  }

  /**
   * An agent that answers with the number of the ping had nothing unsent when it did. What it sent before came before, and is stored once its turn is over: then
   * nothing is missing until the ping was sent. Every other moment is only a guess, by a clock that may be set.
   */
  #ponged(data: Buffer): void {
    this.#heard();
    const { number, at } = this.#ping;
    const { complete, frames } = readPong(data.toString('latin1'));
    if (frames !== undefined && frames !== this.#frames)
      this.#reject(failure('FRAME_INVALID', ['pong', `${frames} frames were sent, and ${this.#frames} came`]));
    if (complete !== number) return;
    this.#queue = this.#queue.then(() => {
      if (this.#hello === undefined || this.#ended || this.#refused) return;
      this.#coveredUntil = Math.max(this.#coveredUntil, at);
      if (Date.now() - this.#savedAt >= saveEveryMs) this.#saveSeen(this.#hello);
    });
  }

  /** Until when the node's ledger is whole outlives this process: what happens after it is covered by the agent's next run, or it is a gap. */
  #saveSeen({ node, version, bootId, stream }: Hello): void {
    this.#savedAt = Date.now();
    const save = async (): Promise<void> =>
      await this.#options.store.saveNode({ name: node, version, bootId, stream, lastSeenAt: this.#coveredUntil }, this.#options.ownership.fence(node));
    save().catch((error: unknown) => {
      // Where another replica owns the node, that one hears of it.
      if (!(error instanceof PortreeveError) || error.code !== 'LEASE_LOST')
        this.#options.log.error({ node, reason: reasonOf(error) }, 'when a node was heard of could not be stored');
    });
  }

  /** Asks whether the agent is still there, and cuts off one that has not answered the last time; its own timer calls it. */
  beat(): void {
    // While we do not read, an answer cannot reach us.
    if (this.#socket.isPaused) return;
    if (!this.#answered) {
      this.#options.log.warn({ node: this.node }, 'a heartbeat was not answered: the connection is cut');
      return this.#socket.terminate();
    }
    this.#answered = false;
    this.#askForSign();
  }

  #askForSign(): void {
    this.#ping = { number: this.#ping.number + 1, at: Date.now() };
    this.#socket.ping(String(this.#ping.number));
  }

  #end(code: number): void {
    this.#ended = true;
    this.#stopSigns();
    clearInterval(this.#heartbeat);
    clearTimeout(this.#helloTimer);
    clearTimeout(this.#expiry);
    for (const [id, settle] of this.#traces) settle({ type: 'traced', id, error: 'the agent went away' });
    for (const parts of this.#captures.values()) parts.end('the agent went away');
    if (this.#hello !== undefined) {
      this.#saveSeen(this.#hello);
      this.#options.state.disconnect(this.#hello.node, this.id);
      this.#options.log.info({ node: this.#hello.node, code }, 'agent disconnected');
    }
    this.#options.onEnd();
  }

  #frame(data: Buffer, form: FrameForm): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    this.#heard();
    this.#frames++;
    if (++this.#waiting >= (this.#options.turns.isLight(this.#who) ? waitingMax : 1)) this.#pause();
    // One after the other: a state or a batch that comes right behind the hello waits until the store has said where the stream stands.
    this.#queue = this.#queue
      .then(() => this.#read(data, form))
      .catch((error: unknown) => this.#reject(error))
      .finally(() => this.#done());
  }

  /** Reads no more for now. The agent's pings are not read either: that we live it hears all the same. */
  #pause(): void {
    this.#socket.pause();
    this.#signs ??= setInterval(() => this.#hasRoom() && this.#socket.pong(), (this.#options.heartbeatMs ?? limits.heartbeatMs) / signsPerHeartbeat);
  }

  #done(): void {
    this.#waiting--;
    if (!this.#socket.isPaused || (this.#waiting > 0 && !(this.#waiting < waitingMax / 2 && this.#options.turns.isLight(this.#who)))) return;
    this.#stopSigns();
    this.#socket.resume();
  }

  #stopSigns(): void {
    clearInterval(this.#signs);
    this.#signs = undefined;
  }

  #reject(error: unknown): void {
    if (this.#ended) return;
    const code = error instanceof PortreeveError ? error.code : 'INTERNAL';
    const level = code === 'FRAME_INVALID' || code === 'FRAME_TOO_LARGE' || code === 'NODE_FOREIGN' || code === 'LEASE_LOST' ? 'warn' : 'error';
    this.#options.log[level]({ node: this.node, address: this.address, code, reason: reasonOf(error) }, 'the session of an agent is ended');
    this.refuse(code, reasonOf(error));
  }

  /** Who uses more time than its share waits for its turn, before anything is made of the frame. */
  async #read(data: Buffer, form: FrameForm): Promise<void> {
    const end = await this.#options.turns.begin(this.#who);
    if (this.#refused) return end({ blocksMs: 0 });
    const begun = performance.now();
    const decoded = decodeFromAgent(data, form);
    const size = decoded.kind === 'message' ? decoded.size : data.length;
    const handled = decoded.kind === 'message' ? this.#handle(decoded.message) : this.#reject(decoded.error);
    // Until here it is this thread's time; storing is another's.
    end({ blocksMs: performance.now() - begun, laterMs: laterMs(size) });
    await handled;
  }

  /** Whose share of the time it is. */
  get #who(): string {
    return this.#options.admitted.node ?? this.#hello?.node ?? this.address;
  }

  async #handle(message: AgentMessage): Promise<void> {
    // Of a connection that has ended, changes that came before are stored all the same: who sent them may be gone for good.
    if (this.#refused || (this.#ended && message.type !== 'changes')) return;
    if (this.#hello === undefined && message.type !== 'hello') throw failure('FRAME_INVALID', [message.type, 'the first message must be hello']);
    switch (message.type) {
      case 'hello':
        return this.#greet(message);
      case 'state':
        return this.#takeState(message);
      case 'changes':
        return this.#takeChanges(message);
      case 'digest':
        return this.#compare(message);
      case 'traced':
        return this.#traces.get(message.id)?.(message);
      case 'captured':
        return this.#captures.get(message.id)?.take(message);
      case 'error':
        // One says why it closes; more of them are only noise.
        if (!this.#hasComplained) this.#options.log.warn({ node: this.node, code: message.code, reason: message.message }, 'an agent reports an error');
        this.#hasComplained = true;
        return;
    }
  }

  async #greet(hello: Hello): Promise<void> {
    if (this.#hello !== undefined) throw failure('FRAME_INVALID', ['hello', 'it came twice']);
    clearTimeout(this.#helloTimer);
    this.#checkNode(hello.node);
    this.#checkUid(hello.node);
    const { state, store, log, ownership } = this.#options;
    const { node, stream, version, bootId, capabilities } = hello;
    const now = Date.now();
    const clockOffsetMs = Math.round(hello.clock - now);
    // First: whoever spoke for the node elsewhere writes nothing more, so that what is read from here on stays true.
    const taken = await ownership.take({ node, stream, address: this.address });
    // At once: an agent that does not wait for its welcome has taken the node all the same, and is not asked for it again.
    this.#options.onTaken(node, taken);
    const clock = { clockOffsetMs, transitMs: Math.max(0, now - this.#options.acceptedAt) };
    const known = (await store.node(node))?.lastSeenAt;
    // A clock that was set back makes the last time lie ahead.
    const heardAt = known === undefined ? undefined : Math.min(known, now);
    const [stored, earlier] = await Promise.all([
      store.lastSeq(node, stream),
      Promise.all((hello.earlier ?? []).map(async (run) => ({ stream: run.stream, resumeAfter: await store.lastSeq(node, run.stream) }))),
    ]);
    // What was acknowledged was stored, though it may have been forgotten since.
    const resumeAfter = Math.max(stored, hello.acknowledged);
    await store.recordGaps(timesNotCovered(hello, { node, heardAt, ...clock }), ownership.fence(node));
    this.#coveredUntil = heardAt ?? Math.min(now, beginOf(hello) - clockOffsetMs - clock.transitMs);
    await store.saveNode({ name: node, version, bootId, stream, lastSeenAt: this.#coveredUntil }, ownership.fence(node));
    if (state.needsRecall(node)) state.recall(node, (await store.changes({ node, limit: limits.apiItemsMax })).items);
    if (this.#ended) return;
    this.#hello = hello;
    this.#lastSeqs.set(stream, resumeAfter);
    for (const each of earlier) this.#lastSeqs.set(each.stream, each.resumeAfter);
    this.#clock = clock;
    this.#options.onHello(node, taken.isClone);
    state.connect(node, { session: this.id, version, bootId, stream, capabilities, clockOffsetMs });
    log.info({ node, version, address: this.address, clockOffsetMs, resumeAfter }, 'agent connected');
    this.#send({
      type: 'welcome',
      session: this.id,
      resumeAfter,
      ...(earlier.length === 0 ? {} : { earlier }),
      capabilities: [zstdCapability, digestCapability],
      limits: { frameBytesMax: limits.frameBytesMax, heartbeatMs: this.#options.heartbeatMs ?? limits.heartbeatMs },
    });
    this.sendWant();
    this.#askForSign();
  }

  /** A frame that names another node than the one admitted ends the session: what an agent says of itself proves nothing. */
  #checkNode(named: string): void {
    const { admitted, audit, address } = this.#options;
    if (admitted.node === undefined || named === admitted.node) return;
    audit({ who: `node:${admitted.node}`, action: 'speak for another node', subject: named.slice(0, 253), outcome: 'refused', address });
    const after = `the agent of ${admitted.node} (${address}) spoke for ${named.slice(0, 253)}`;
    const entry = { at: Date.now(), node: admitted.node, kind: 'agent' as const, subject: `identity of ${admitted.node}`, before: null, after };
    this.#options.record([entry]).catch((error: unknown) => this.#options.log.error({ reason: reasonOf(error) }, 'a foreign name could not be recorded'));
    throw failure('NODE_FOREIGN', [named.slice(0, 253), admitted.node]);
  }

  /**
   * A node that was removed and made anew under its name has another UID: the token of a pod that was on the old one does not speak for the new. Compared is what the
   * API server vouches for in the token with what the cluster shows; where it shows no such node, the name has to do. No finding: the cluster may be seen late, and
   * then the agent is let in when it tries again.
   */
  #checkUid(node: string): void {
    const { admitted, state, audit, address } = this.#options;
    const shown = state.objects.nodes.get(node)?.uid ?? '';
    if (admitted.nodeUid === undefined || shown === '' || shown === admitted.nodeUid) return;
    const named = `${node} with the UID ${shown}`;
    audit({ who: `node:${node}`, action: 'speak for another node', subject: named, outcome: 'refused', address });
    throw failure('NODE_FOREIGN', [named, `${node} with the UID ${admitted.nodeUid}`]);
  }

  /** Tokens and certificates end while connections last: the agent comes back with newer ones. */
  #expire(): void {
    if ((this.#options.admitted.validUntil ?? 0) > Date.now()) {
      this.#expiry = setTimeout(() => this.#expire(), Math.min((this.#options.admitted.validUntil ?? 0) - Date.now(), timerMsMax));
      return;
    }
    this.refuse('CREDENTIAL_EXPIRED', 'the token or certificate of this connection has expired: connect again with a newer one');
  }

  #takeState(message: StateMessage): void {
    const node = this.#hello?.node as string;
    const { state } = this.#options;
    if (message.seq !== this.#stateSeq + 1) throw failure('FRAME_INVALID', ['state', `it has the number ${message.seq} and comes behind ${this.#stateSeq}`]);
    this.#stateSeq = message.seq;
    if (message.full) this.#parts ??= new Map();
    else if (this.#parts === undefined && !this.#reported) throw failure('FRAME_INVALID', ['state', 'the first state of a session must be full']);
    const put = message.put.flatMap((raw) => this.#readFact(raw));
    const size = this.#parts === undefined ? state.node(node)?.facts.size : this.#parts.size;
    if ((size ?? 0) + put.length > factsMax) throw failure('FRAME_INVALID', ['state', `more than ${factsMax} facts of one node`]);
    if (this.#parts === undefined) {
      state.changeFacts(node, { put, delete: message.delete }, message.at);
      this.#options.ownership.factsChanged(node, [...put.map(({ key }) => key), ...message.delete]);
    } else this.#takePart(this.#parts, put, message);
    this.#acknowledge();
  }

  /** What the agent says that we must hold, against what we hold. A difference is a fault of one of us: it is told, and the state is asked for whole. */
  #compare({ kinds }: Digest): void {
    if (!this.#reported || this.#parts !== undefined) return;
    const node = this.#hello?.node as string;
    const ours = digestOf(this.#options.state.node(node)?.facts.values() ?? []);
    const differing = kindsThatDiffer(kinds, ours, isKnownKind);
    if (differing.length === 0) return;
    this.#options.log.error({ node, kinds: differing }, 'the state of a node is not what its agent has sent: it is sent whole again');
    // What does not help twice is not tried for ever.
    if (++this.#resends > resendsMax) return;
    this.#send({ type: 'resend', reason: `what is held of ${differing.slice(0, 10).join(', ')} differs` });
  }

  // Parts of a full state stay aside until the last: half a state would look like faults.
  #takePart(parts: Map<string, Fact>, put: readonly Fact[], message: StateMessage): void {
    const { state } = this.#options;
    for (const key of message.delete) parts.delete(key);
    for (const fact of put) parts.set(fact.key, state.sharedFact(fact));
    if (!message.full || message.more) return;
    this.#parts = undefined;
    this.#reported = true;
    const node = this.#hello?.node as string;
    state.setFacts(node, parts, message.at);
    this.#options.ownership.factsChanged(node, 'all');
  }

  // A kind that this collector does not know may come from a newer agent and is left out; a known kind of a wrong shape ends the session.
  #readFact(raw: StateMessage['put'][number]): readonly Fact[] {
    const { fact, reason } = readFact(raw);
    if (fact === undefined && reason?.startsWith('fact ')) throw failure('FRAME_INVALID', ['state', reason]);
    return fact === undefined ? [] : [fact];
  }

  async #takeChanges(message: ChangesMessage): Promise<void> {
    const { stream } = message.changes[0] as SequencedChange;
    await this.#commit(message.changes as readonly SequencedChange[], message.after);
    this.#acknowledge(stream);
  }

  async #commit(changes: readonly SequencedChange[], after: number | undefined): Promise<void> {
    const hello = this.#hello as Hello;
    const { store } = this.#options;
    const foreign = changes.find(({ node }) => node !== hello.node);
    if (foreign !== undefined) this.#checkNode(foreign.node);
    if (foreign !== undefined) throw failure('FRAME_INVALID', ['changes', `a change of node ${JSON.stringify(foreign.node)} from the agent of ${hello.node}`]);
    const mixed = changes.find(({ stream }) => stream !== changes[0]?.stream);
    if (mixed !== undefined) throw failure('FRAME_INVALID', ['changes', 'changes of two streams in one message']);
    const { stream } = changes[0] as SequencedChange;
    if (!this.#lastSeqs.has(stream) && this.#lastSeqs.size >= limits.streamsOfSessionMax)
      throw failure('FRAME_INVALID', ['changes', `they are of more than ${limits.streamsOfSessionMax} streams`]);
    const last = this.#lastSeqs.get(stream) ?? (await store.lastSeq(hello.node, stream));
    // A frame between that one and this was lost or comes later: the agent sends all of it again.
    if (after !== undefined && after !== last)
      throw failure('FRAME_INVALID', ['changes', `they follow ${after} of ${stream}, and ${last} is the last that came`]);
    const holes = holesIn(changes, last);
    // Before the changes: if this process ends between the two, the agent sends them again. The other way round nobody would know of the gap.
    await this.#recordGaps(
      holes,
      changes.filter(({ seq }) => seq > last),
    );
    for (let at = 0; at < changes.length; ) at += await this.#append(changes, at);
    await this.#recordHoles(holes);
  }

  /** Stores changes from a place on: all of an agent within its share; of others a piece, so that nobody waits long for the commit. Resolves to how many. */
  async #append(changes: readonly SequencedChange[], from: number): Promise<number> {
    const { store, state, ownership, turns } = this.#options;
    const piece = turns.isLight(this.#who) ? changes.slice(from) : pieceOf(changes, from);
    const end = await turns.begin(this.#who);
    try {
      const fresh = await store.appendChanges(piece, ownership.fence(this.node as string));
      const { stream } = piece[0] as SequencedChange;
      this.#lastSeqs.set(stream, Math.max(this.#lastSeqs.get(stream) ?? 0, ...piece.map(({ seq }) => seq)));
      state.addChanges(fresh);
    } finally {
      end({ blocksMs: piece.reduce((sum, change) => sum + storingMs(change), 0) });
    }
    return piece.length;
  }

  async #recordGaps(holes: readonly Hole[], changes: readonly SequencedChange[]): Promise<void> {
    const gaps = [...holes.map((hole) => this.#gapOf(hole)), ...changes.flatMap((change) => gapsTold(change, this.#clock))];
    if (gaps.length > 0) await this.#options.store.recordGaps(gaps, this.#options.ownership.fence(this.node as string));
  }

  /** The ledger tells of them too. */
  async #recordHoles(holes: readonly Hole[]): Promise<void> {
    const node = this.node as string;
    const entries = holes.map((hole) => {
      const { from, detail } = this.#gapOf(hole);
      return { at: from, node, kind: 'gap' as const, subject: `ledger of ${node}`, before: null, after: detail };
    });
    if (entries.length > 0) await this.#options.record(entries);
  }

  #gapOf({ stream, from, to, at }: Hole): Gap {
    const time = at - this.#clock.clockOffsetMs;
    const detail = `changes ${from} to ${to} never arrived: what they were is not known`;
    return { node: this.node as string, reason: 'lost', from: time, to: time, detail, seqs: { stream, from, to } };
  }

  #acknowledge(stream = this.#hello?.stream ?? ''): void {
    const own = stream === this.#hello?.stream;
    this.#send({ type: 'ack', ...(own ? {} : { stream }), changes: this.#lastSeqs.get(stream) ?? 0, state: this.#stateSeq });
  }

  #send(message: CollectorMessage): void {
    if (this.#socket.readyState === WebSocket.OPEN && this.#hasRoom()) this.#socket.send(encode(message, this.#hello?.capabilities));
  }
}

interface Hole {
  readonly stream: string;
  readonly from: number;
  readonly to: number;
  /** When the change behind it was made, by the agent's clock. */
  readonly at: number;
}

/** Seqs of a stream that are skipped without any record that covers them. */
function holesIn(changes: readonly SequencedChange[], last: number): readonly Hole[] {
  const holes: Hole[] = [];
  let end = last;
  for (const { stream, seq, covers, at } of changes) {
    const first = seq - (covers ?? 0);
    if (first > end + 1) holes.push({ stream, from: end + 1, to: first - 1, at });
    end = Math.max(end, seq);
  }
  return holes;
}
