// The agent's side of the protocol as a pure state machine: what was sent, what is acknowledged, what must be sent again. Sockets, clocks and disks are the caller's.
import type { PortreeveError } from '../errors.ts';
import type { Change, SequencedChange } from '../model/change.ts';
import { digestOf } from '../model/fact.digest.ts';
import type { Fact } from '../model/fact.ts';
import { type Ack, type AgentMessage, type CollectorMessage, digestCapability, type Trace, type Want, type Welcome } from './messages.ts';
import {
  acknowledged,
  emptyOutbox,
  enqueued,
  interrupted,
  type Outbox,
  type Place,
  resumed,
  sendable,
  spooled,
  tookBack,
  toSpool,
  unspooled,
} from './session.outbox.ts';
import { asSent, type StateBook, stateMessages } from './session.state.ts';

/** Who the agent is; the same for its whole run. */
export interface Identity {
  readonly node: string;
  readonly version: string;
  readonly bootId: string;
  /** Names this run of the agent: sequence numbers count within it. */
  readonly stream: string;
  /** When it began; milliseconds since 1970. */
  readonly startedAt: number;
  readonly capabilities: readonly string[];
}

/** An earlier run of the agent that the spool still holds changes of. */
export interface EarlierRun {
  readonly stream: string;
  readonly startedAt: number;
  /** Until when it was surely alive. */
  readonly aliveAt: number;
}

export type SessionInput =
  /** A connection stands; `clock` is the agent's time in milliseconds since 1970, `ranMs` for how long it has run by a clock that nobody sets. */
  | { readonly kind: 'connected'; readonly clock: number; readonly ranMs?: number }
  | { readonly kind: 'message'; readonly message: CollectorMessage }
  | { readonly kind: 'malformed'; readonly error: PortreeveError }
  | { readonly kind: 'disconnected' }
  /** All facts of the node as they are now; what differs from what was sent is sent. `at` is when they were read. */
  | { readonly kind: 'facts'; readonly facts: ReadonlyMap<string, Fact>; readonly at: number }
  | { readonly kind: 'changes'; readonly changes: readonly Change[] }
  /** It is time to check that the collector has the node's state. */
  | { readonly kind: 'check' }
  /** The spool has all changes of the queue up to this one safely on disk. */
  | { readonly kind: 'spooled'; readonly place: Place }
  /** The spool could not write what it was given last; it is given again with the next change. */
  | { readonly kind: 'unspooled' }
  /** What `load` asked for. `done`: nothing older than the queue is left on disk. */
  | { readonly kind: 'loaded'; readonly load: number; readonly changes: readonly SequencedChange[]; readonly done: boolean };

export type SessionEffect =
  | { readonly kind: 'send'; readonly message: AgentMessage }
  /** Close the connection and, after a pause, connect again; not before `afterMs` where the collector says so. */
  | { readonly kind: 'reconnect'; readonly reason: string; readonly afterMs?: number }
  /** The collector says which NodePorts to judge: evaluate again, then give `facts`. */
  | { readonly kind: 'want'; readonly want: Want }
  | { readonly kind: 'trace'; readonly trace: Trace }
  | { readonly kind: 'capture'; readonly id: string }
  /** The handshake is done: the way to this collector works. */
  | { readonly kind: 'open'; readonly welcome: Welcome }
  /** Write these behind what the spool holds, then say `spooled` or `unspooled`. From `heldFrom` on, what the spool holds is in memory too, and is sent from there. */
  | { readonly kind: 'spool'; readonly changes: readonly SequencedChange[]; readonly heldFrom: Place }
  /** Read from the spool what comes after a place (from its start where there is none) and before another, then say `loaded`. */
  | { readonly kind: 'load'; readonly load: number; readonly after?: Place; readonly before?: Place }
  /** Everything of this stream up to here is committed by a collector: the spool may forget it. */
  | { readonly kind: 'settled'; readonly place: Place };

/** `closed`: no connection. `greeting`: hello is sent, nothing else may be. `open`: facts and changes flow. */
export type Phase = 'closed' | 'greeting' | 'open';

export interface Session extends StateBook {
  readonly identity: Identity;
  readonly earlier: readonly EarlierRun[];
  readonly phase: Phase;
  /** Everything of the own stream up to here is committed by a collector. */
  readonly acknowledged: number;
  readonly outbox: Outbox;
  /** Whether the collector of this connection compares digests. */
  readonly comparesDigests: boolean;
}

export interface Stepped {
  readonly state: Session;
  readonly effects: readonly SessionEffect[];
}

/** A session before its first connection. `earlier`: the runs that the spool holds changes of; absent where there is no spool or nothing in it. */
export function newSession(identity: Identity, earlier: readonly EarlierRun[] = []): Session {
  return {
    identity,
    earlier,
    phase: 'closed',
    acknowledged: 0,
    outbox: emptyOutbox(identity.stream, earlier.length > 0),
    facts: undefined,
    factsAt: 0,
    shared: undefined,
    stateSeq: 0,
    comparesDigests: false,
  };
}

/** One step. Never throws; the state given is not changed. */
export function step(state: Session, input: SessionInput): Stepped {
  switch (input.kind) {
    case 'connected':
      return { state: closed({ ...state, phase: 'greeting' }), effects: [{ kind: 'send', message: helloOf(state, input) }] };
    case 'disconnected':
      return flush(closed({ ...state, phase: 'closed' }));
    case 'malformed':
      return refuse(state, input.error.code, input.error.message);
    case 'facts':
      return flush({ ...state, facts: input.facts, factsAt: input.at });
    case 'check':
      return checked(state);
    case 'changes':
      return flush({ ...state, outbox: enqueued(state.outbox, input.changes) });
    case 'spooled':
      return flush({ ...state, outbox: spooled(state.outbox, input.place) });
    case 'unspooled':
      return { state: { ...state, outbox: unspooled(state.outbox) }, effects: [] };
    case 'loaded':
      return flush({ ...state, outbox: tookBack(state.outbox, input) });
    case 'message':
      return receive(state, input.message);
  }
}

const closed = (state: Session): Session => ({ ...state, shared: undefined, stateSeq: 0, outbox: interrupted(state.outbox) });

function receive(state: Session, message: CollectorMessage): Stepped {
  if (state.phase === 'closed') return { state, effects: [] };
  if (message.type === 'error') {
    const reason = `the collector says ${message.code}: ${message.message}`;
    return reconnected(state, { kind: 'reconnect', reason, ...(message.retryAfterMs === undefined ? {} : { afterMs: message.retryAfterMs }) });
  }
  if (message.type === 'welcome')
    return state.phase === 'greeting' ? welcomed(state, message) : refuse(state, 'FRAME_INVALID', `welcome in phase ${state.phase}`);
  if (state.phase !== 'open') return refuse(state, 'FRAME_INVALID', `${message.type} before welcome`);
  switch (message.type) {
    case 'want':
      return { state, effects: [{ kind: 'want', want: message }] };
    case 'trace':
      return { state, effects: [{ kind: 'trace', trace: message }] };
    case 'capture':
      return { state, effects: [{ kind: 'capture', id: message.id }] };
    case 'ack':
      return acknowledge(state, message);
    case 'resend':
      return flush({ ...state, shared: undefined });
  }
}

/** What the collector must hold: the facts as they were sent on this connection. */
function checked(state: Session): Stepped {
  if (state.phase !== 'open' || !state.comparesDigests || state.shared === undefined) return { state, effects: [] };
  return { state, effects: [{ kind: 'send', message: { type: 'digest', kinds: { ...digestOf(asSent(state.shared)) } } }] };
}

const helloOf = ({ identity, acknowledged, earlier }: Session, { clock, ranMs }: Extract<SessionInput, { kind: 'connected' }>): AgentMessage => ({
  type: 'hello',
  node: identity.node,
  version: identity.version,
  bootId: identity.bootId,
  stream: identity.stream,
  acknowledged,
  clock,
  startedAt: identity.startedAt,
  ...(ranMs === undefined ? {} : { ranMs }),
  ...(earlier.length === 0 ? {} : { earlier: [...earlier] }),
  capabilities: [...identity.capabilities],
});

// What the collector still sends on a connection that is being given up is not read.
function refuse(state: Session, code: string, message: string): Stepped {
  if (state.phase === 'closed') return { state, effects: [] };
  const ended = reconnected(state, { kind: 'reconnect', reason: message });
  return { state: ended.state, effects: [{ kind: 'send', message: { type: 'error', code, message: message.slice(0, 4096) } }, ...ended.effects] };
}

function reconnected(state: Session, effect: SessionEffect): Stepped {
  const flushed = flush(closed({ ...state, phase: 'closed' }));
  return { state: flushed.state, effects: [effect, ...flushed.effects] };
}

function welcomed(state: Session, welcome: Welcome): Stepped {
  const { stream } = state.identity;
  const places: readonly Place[] = [
    ...(welcome.earlier ?? [])
      .filter((each) => state.earlier.some((run) => run.stream === each.stream))
      .map((each) => ({ stream: each.stream, seq: each.resumeAfter })),
    { stream, seq: welcome.resumeAfter },
  ];
  const outbox = places.reduce(resumed, state.outbox);
  const comparesDigests = welcome.capabilities?.includes(digestCapability) === true;
  const next = { ...state, phase: 'open' as const, comparesDigests, outbox, acknowledged: Math.max(state.acknowledged, welcome.resumeAfter) };
  const flushed = flush(next);
  // The own stream is named even where nothing of it is stored: the collector knows of the run now, and its signs of life may go.
  const settled = places.filter((place) => place.seq > 0 || place.stream === stream).map((place): SessionEffect => ({ kind: 'settled', place }));
  return { state: flushed.state, effects: [{ kind: 'open', welcome }, ...settled, ...flushed.effects] };
}

function acknowledge(state: Session, ack: Ack): Stepped {
  const { stream: own } = state.identity;
  const place: Place = { stream: ack.stream ?? own, seq: ack.changes };
  const sent = state.outbox.sentUpTo.get(place.stream) ?? 0;
  if (place.seq > sent) return refuse(state, 'FRAME_INVALID', `ack of change ${place.seq} of stream ${place.stream}, but only ${sent} was sent`);
  const isNews = place.stream !== own || place.seq > state.acknowledged;
  const { stream, seq } = place;
  const outbox = acknowledged(state.outbox, place);
  const next = {
    ...state,
    outbox,
    acknowledged: stream === own ? Math.max(state.acknowledged, seq) : state.acknowledged,
    // Nothing of earlier runs waits any longer.
    earlier: outbox.backlog || outbox.loaded.length > 0 ? state.earlier : [],
  };
  const flushed = flush(next);
  return isNews && seq > 0 ? { state: flushed.state, effects: [{ kind: 'settled', place }, ...flushed.effects] } : flushed;
}

/** Sends what the connection is behind with: facts first, so that a change's consequence is never older than the change. Without one, what waits goes to disk. */
function flush(state: Session): Stepped {
  const facts = state.phase === 'open' ? stateMessages(state) : { book: state, messages: [] };
  const sent = state.phase === 'open' ? sendable(state.outbox) : { outbox: state.outbox, effects: [] };
  const kept = toSpool(sent.outbox, state.phase === 'open');
  return {
    state: { ...state, ...facts.book, outbox: kept.outbox },
    effects: [...facts.messages.map((message): SessionEffect => ({ kind: 'send', message })), ...sent.effects, ...kept.effects],
  };
}
