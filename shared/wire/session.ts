// The agent's side of the protocol as a pure state machine: what was sent, what is acknowledged, what must be sent again. Sockets and clocks are the caller's.
import type { PortreeveError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Change, SequencedChange } from '../model/change.ts';
import { sameFact } from '../model/fact.same.ts';
import type { Fact } from '../model/fact.ts';
import type { Ack, AgentMessage, ChangesMessage, CollectorMessage, StateMessage, Trace, Want, Welcome } from './messages.ts';

/** Who the agent is; the same for its whole run. */
export interface Identity {
  readonly node: string;
  readonly version: string;
  readonly bootId: string;
  /** Names this run of the agent: sequence numbers count within it. */
  readonly stream: string;
  readonly capabilities: readonly string[];
}

export type SessionInput =
  /** A connection stands; `clock` is the agent's time in milliseconds since 1970. */
  | { readonly kind: 'connected'; readonly clock: number }
  | { readonly kind: 'message'; readonly message: CollectorMessage }
  | { readonly kind: 'malformed'; readonly error: PortreeveError }
  | { readonly kind: 'disconnected' }
  /** All facts of the node as they are now; what differs from what was sent is sent. `at` is when they were read. */
  | { readonly kind: 'facts'; readonly facts: ReadonlyMap<string, Fact>; readonly at: number }
  | { readonly kind: 'changes'; readonly changes: readonly Change[] };

export type SessionEffect =
  | { readonly kind: 'send'; readonly message: AgentMessage }
  /** Close the connection and, after a pause, connect again. */
  | { readonly kind: 'reconnect'; readonly reason: string }
  /** The collector says which NodePorts to judge: evaluate again, then give `facts`. */
  | { readonly kind: 'want'; readonly want: Want }
  | { readonly kind: 'trace'; readonly trace: Trace }
  /** The handshake is done: the way to this collector works. */
  | { readonly kind: 'open'; readonly welcome: Welcome };

/** `closed`: no connection. `greeting`: hello is sent, nothing else may be. `open`: facts and changes flow. */
export type Phase = 'closed' | 'greeting' | 'open';

export interface Session {
  readonly identity: Identity;
  readonly phase: Phase;
  /** The next change gets this number. */
  readonly nextSeq: number;
  /** Unacknowledged changes in order of seq, with their size as text; the queue and not the wire holds them until the collector has committed them. */
  readonly queue: readonly Queued[];
  readonly queueBytes: number;
  /** Everything up to here is committed by a collector. */
  readonly acknowledged: number;
  /** Highest seq that was sent on this connection. */
  readonly sentUpTo: number;
  /** Highest seq that a collector can have of us: sent by this run on any connection, or left over from the run before. */
  readonly toldUpTo: number;
  /** Facts as they are; undefined until the first reading is done. */
  readonly facts: ReadonlyMap<string, Fact> | undefined;
  readonly factsAt: number;
  /** Facts as the collector has them on this connection; undefined: a full state is due. */
  readonly shared: ReadonlyMap<string, Fact> | undefined;
  readonly stateSeq: number;
}

export interface Queued {
  readonly change: SequencedChange;
  readonly bytes: number;
}

export interface Stepped {
  readonly state: Session;
  readonly effects: readonly SessionEffect[];
}

/** Bytes of changes that wait for acknowledgement; like `limits.unacknowledgedChangesMax` for changes that are large. */
export const unacknowledgedBytesMax = 16 * 1024 * 1024;

/** Batches of changes on the wire that are not acknowledged; more wait in the queue, so that a slow collector is not flooded. */
const batchesInFlightMax = 4;

/** Room in a frame for what surrounds facts and changes. */
const frameBytesUsable = limits.frameBytesMax - 4 * 1024;

/** A session before its first connection. `left` are unacknowledged changes of an earlier run; they are of the stream that `identity` names, and it goes on. */
export function newSession(identity: Identity, left: readonly SequencedChange[] = []): Session {
  const queue = left.map((change) => ({ change, bytes: sizeOf(change) }));
  const last = left.at(-1)?.seq ?? 0;
  const acknowledged = (left[0]?.seq ?? 1) - 1;
  return {
    identity,
    phase: 'closed',
    nextSeq: last + 1,
    queue,
    queueBytes: sum(queue),
    acknowledged,
    sentUpTo: acknowledged,
    toldUpTo: last,
    facts: undefined,
    factsAt: 0,
    shared: undefined,
    stateSeq: 0,
  };
}

/** One step. Never throws; the state given is not changed. */
export function step(state: Session, input: SessionInput): Stepped {
  switch (input.kind) {
    case 'connected':
      return {
        state: { ...state, phase: 'greeting', shared: undefined, sentUpTo: state.acknowledged },
        effects: [{ kind: 'send', message: helloOf(state, input.clock) }],
      };
    case 'disconnected':
      return { state: { ...state, phase: 'closed', shared: undefined }, effects: [] };
    case 'malformed':
      return refuse(state, input.error.code, input.error.message);
    case 'facts':
      return flush({ ...state, facts: input.facts, factsAt: input.at });
    case 'changes':
      return flush(bound(enqueue(state, input.changes)));
    case 'message':
      return receive(state, input.message);
  }
}

function receive(state: Session, message: CollectorMessage): Stepped {
  if (state.phase === 'closed') return { state, effects: [] };
  if (message.type === 'error')
    return {
      state: { ...state, phase: 'closed', shared: undefined },
      effects: [{ kind: 'reconnect', reason: `the collector says ${message.code}: ${message.message}` }],
    };
  if (message.type === 'welcome')
    return state.phase === 'greeting' ? welcomed(state, message) : refuse(state, 'FRAME_INVALID', `welcome in phase ${state.phase}`);
  if (state.phase !== 'open') return refuse(state, 'FRAME_INVALID', `${message.type} before welcome`);
  switch (message.type) {
    case 'want':
      return { state, effects: [{ kind: 'want', want: message }] };
    case 'trace':
      return { state, effects: [{ kind: 'trace', trace: message }] };
    case 'ack':
      return acknowledge(state, message);
  }
}

const helloOf = (state: Session, clock: number): AgentMessage => ({
  type: 'hello',
  node: state.identity.node,
  version: state.identity.version,
  bootId: state.identity.bootId,
  stream: state.identity.stream,
  acknowledged: state.acknowledged,
  clock,
  capabilities: [...state.identity.capabilities],
});

// What the collector still sends on a connection that is being given up is not read.
function refuse(state: Session, code: string, message: string): Stepped {
  if (state.phase === 'closed') return { state, effects: [] };
  return {
    state: { ...state, phase: 'closed', shared: undefined },
    effects: [
      { kind: 'send', message: { type: 'error', code, message: message.slice(0, 4096) } },
      { kind: 'reconnect', reason: message },
    ],
  };
}

function welcomed(state: Session, welcome: Welcome): Stepped {
  const resumed = drop(renumber(state, welcome.resumeAfter), welcome.resumeAfter);
  const flushed = flush({ ...resumed, phase: 'open', sentUpTo: resumed.acknowledged });
  return { state: flushed.state, effects: [{ kind: 'open', welcome }, ...flushed.effects] };
}

/**
 * A collector that has more of this stream than this run knows of was told by an earlier run that was killed before it could note the acknowledgement. What
 * is new then takes the numbers after those, or it would be taken for what the collector has.
 */
function renumber(state: Session, resumeAfter: number): Session {
  const shift = resumeAfter - state.toldUpTo;
  if (shift <= 0) return state;
  const queue = state.queue.map((queued) =>
    queued.change.seq > state.toldUpTo ? { ...queued, change: { ...queued.change, seq: queued.change.seq + shift } } : queued,
  );
  return { ...state, queue, nextSeq: state.nextSeq + shift, toldUpTo: resumeAfter };
}

function acknowledge(state: Session, ack: Ack): Stepped {
  if (ack.changes > state.sentUpTo) return refuse(state, 'FRAME_INVALID', `ack of change ${ack.changes}, but only ${state.sentUpTo} was sent`);
  return flush(drop(state, ack.changes));
}

function drop(state: Session, upTo: number): Session {
  const kept = state.queue.filter(({ change }) => change.seq > upTo);
  return { ...state, queue: kept, queueBytes: sum(kept), acknowledged: Math.max(state.acknowledged, upTo) };
}

const sizeOf = (change: SequencedChange): number => Buffer.byteLength(JSON.stringify(change));
const sum = (queue: readonly Queued[]): number => queue.reduce((total, { bytes }) => total + bytes, 0);

function enqueue(state: Session, changes: readonly Change[]): Session {
  const { stream } = state.identity;
  const added = changes.map((each, i): Queued => {
    const change = { ...each, before: cut(each.before), after: cut(each.after), stream, seq: state.nextSeq + i };
    return { change, bytes: sizeOf(change) };
  });
  return { ...state, nextSeq: state.nextSeq + added.length, queue: [...state.queue, ...added], queueBytes: state.queueBytes + sum(added) };
}

function cut(text: string | null): string | null {
  if (text === null || Buffer.byteLength(text) <= limits.changeTextBytesMax) return text;
  const lines = text.split('\n');
  const kept: string[] = [];
  let room = limits.changeTextBytesMax - 80;
  for (const line of lines) {
    room -= Buffer.byteLength(line) + 1;
    if (room < 0) break;
    kept.push(line);
  }
  // A single line over the limit is cut where a character ends.
  if (kept.length === 0)
    return `${Buffer.from(text)
      .subarray(0, limits.changeTextBytesMax - 80)
      .toString('utf8')
      .replace(/\uFFFD+$/, '')}\n… cut`;
  return [...kept, `… and ${lines.length - kept.length} more of ${lines.length} lines`].join('\n');
}

/** Over the limits the oldest changes become one gap record, which takes the seq of the last of them: numbers stay in order and say how many are lost. */
function bound(state: Session): Session {
  if (state.queue.length <= limits.unacknowledgedChangesMax && state.queueBytes <= unacknowledgedBytesMax) return state;
  let lost = 1;
  let bytes = state.queueBytes - (state.queue[0]?.bytes ?? 0);
  // One record takes the place of all that is lost. Losing somewhat more than needed saves doing this again at every change.
  while (lost < state.queue.length && (state.queue.length - lost + 1 > limits.unacknowledgedChangesMax * 0.9 || bytes > unacknowledgedBytesMax * 0.9)) {
    bytes -= state.queue[lost]?.bytes ?? 0;
    lost++;
  }
  const gap = gapOf(
    state,
    state.queue.slice(0, lost).map(({ change }) => change),
  );
  const queue = [{ change: gap, bytes: sizeOf(gap) }, ...state.queue.slice(lost)];
  return { ...state, queue, queueBytes: sum(queue) };
}

function gapOf(state: Session, lost: readonly SequencedChange[]): SequencedChange {
  const last = lost.at(-1) as SequencedChange;
  const from = state.acknowledged + 1;
  const count = last.seq - from + 1;
  return {
    stream: last.stream,
    seq: last.seq,
    at: last.at,
    node: last.node,
    kind: 'gap',
    subject: `changes ${from} to ${last.seq}`,
    before: null,
    after: `${count} changes were not kept: the collector was away too long`,
  };
}

/** Sends what the connection is behind with: facts first, so that a change's consequence is never older than the change. */
function flush(state: Session): Stepped {
  if (state.phase !== 'open') return { state, effects: [] };
  const facts = flushFacts(state);
  const changes = flushChanges(facts.state);
  return { state: changes.state, effects: [...facts.effects, ...changes.effects] };
}

function flushFacts(state: Session): Stepped {
  if (state.facts === undefined || state.facts === state.shared) return { state, effects: [] };
  const full = state.shared === undefined;
  const put = [...state.facts.values()].filter((fact) => !sameFact(state.shared?.get(fact.key), fact));
  const deleted = [...(state.shared?.keys() ?? [])].filter((key) => !state.facts?.has(key));
  const next = { ...state, shared: sharedAfter(state, put, deleted) };
  if (!full && put.length + deleted.length === 0) return { state: next, effects: [] };
  const parts = stateParts(put, deleted);
  const effects = parts.map((part, i): SessionEffect => {
    const message: StateMessage = {
      type: 'state',
      seq: state.stateSeq + 1 + i,
      full,
      more: i < parts.length - 1,
      at: state.factsAt,
      put: part.put as StateMessage['put'],
      delete: part.delete,
    };
    return { kind: 'send', message };
  });
  return { state: { ...next, stateSeq: state.stateSeq + parts.length }, effects };
}

// A fact whose counters alone have moved is not sent; the one that the collector has stays the one to compare with.
function sharedAfter(state: Session, put: readonly Fact[], deleted: readonly string[]): ReadonlyMap<string, Fact> {
  if (state.shared === undefined) return state.facts as ReadonlyMap<string, Fact>;
  if (put.length + deleted.length === 0) return state.shared;
  const shared = new Map(state.shared);
  for (const key of deleted) shared.delete(key);
  for (const fact of put) shared.set(fact.key, fact);
  return shared;
}

interface StatePart {
  readonly put: Fact[];
  readonly delete: string[];
}

function stateParts(put: readonly Fact[], deleted: readonly string[]): readonly StatePart[] {
  const parts: StatePart[] = [{ put: [], delete: [] }];
  let bytes = 0;
  const room = (size: number, list: 'put' | 'delete'): StatePart => {
    const last = parts.at(-1) as StatePart;
    if (last[list].length < limits.stateFactsMax && bytes + size <= frameBytesUsable) {
      bytes += size;
      return last;
    }
    const next: StatePart = { put: [], delete: [] };
    parts.push(next);
    bytes = size;
    return next;
  };
  for (const each of put) {
    const { fact, bytes: size } = withinFrame(each);
    room(size + 1, 'put').put.push(fact);
  }
  for (const key of deleted) room(Buffer.byteLength(key) + 3, 'delete').delete.push(key);
  return parts;
}

/** A fact and its size as text. One that no frame can hold (a node with tens of thousands of Services) is sent as what it is: too large to be known. */
function withinFrame(fact: Fact): { readonly fact: Fact; readonly bytes: number } {
  const bytes = Buffer.byteLength(JSON.stringify(fact));
  if (bytes <= frameBytesUsable || (fact.kind !== 'chains' && fact.kind !== 'nodeport')) return { fact, bytes };
  return withinFrame(fact.kind === 'chains' ? { ...fact, services: {} } : { ...fact, outcomes: {} });
}

function flushChanges(state: Session): Stepped {
  const effects: SessionEffect[] = [];
  let sentUpTo = state.sentUpTo;
  const unsent = state.queue.filter(({ change }) => change.seq > sentUpTo);
  let inFlight = Math.ceil((state.queue.length - unsent.length) / limits.changesBatchMax);
  for (let at = 0; at < unsent.length && inFlight < batchesInFlightMax; inFlight++) {
    const batch = batchFrom(unsent, at);
    at += batch.length;
    sentUpTo = (batch.at(-1) as SequencedChange).seq;
    effects.push({ kind: 'send', message: { type: 'changes', changes: batch as ChangesMessage['changes'] } });
  }
  return { state: { ...state, sentUpTo, toldUpTo: Math.max(state.toldUpTo, sentUpTo) }, effects };
}

function batchFrom(queue: readonly Queued[], at: number): SequencedChange[] {
  const batch: SequencedChange[] = [];
  let bytes = 0;
  for (const { change, bytes: size } of queue.slice(at, at + limits.changesBatchMax)) {
    bytes += size + 1;
    if (batch.length > 0 && bytes > frameBytesUsable) break;
    batch.push(change);
  }
  return batch;
}

export { sameFact } from '../model/fact.same.ts';
