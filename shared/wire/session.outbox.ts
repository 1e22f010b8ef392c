// The part of the session that owes the collector changes: the newest wait in memory, older ones on disk, and each stays until a collector has committed it. Pure.
import { limits } from '../limits.ts';
import { type GivenUp, gapOf, giveUp } from '../model/change.given-up.ts';
import type { Change, SequencedChange } from '../model/change.ts';
import type { ChangesMessage } from './messages.ts';
import { frameBytesUsable } from './session.state.ts';
import type { SessionEffect } from './session.ts';

/** A change in a stream. */
export interface Place {
  readonly stream: string;
  readonly seq: number;
}

/** In order: what is on disk alone (`backlog`), what of it was read back (`loaded`), what is in memory (`queue`). */
export interface Outbox {
  readonly stream: string;
  /** The next change gets this number. */
  readonly nextSeq: number;
  readonly queue: readonly Queued[];
  readonly queueBytes: number;
  /** How many of the queue's head are safely on disk as well … */
  readonly durable: number;
  /** … and how many were given to the spool to be written. */
  readonly handed: number;
  /** A writing was asked for and has not ended; what it writes may all be acknowledged meanwhile. */
  readonly writing: boolean;
  /** How many of the queue's head were sent on this connection. */
  readonly sent: number;
  /** Read back from disk and sent on this connection. */
  readonly loaded: readonly Queued[];
  /** Whether the disk holds changes that are older than the queue and not in `loaded`. */
  readonly backlog: boolean;
  /** Number of the reading that is under way; 0: none. */
  readonly loading: number;
  readonly loads: number;
  /** Something was left to the disk while a reading was under way: its `done` does not count. */
  readonly staleLoad: boolean;
  /** Highest seq that was sent on this connection, by stream. */
  readonly sentUpTo: ReadonlyMap<string, number>;
}

export interface Queued {
  readonly change: SequencedChange;
  readonly bytes: number;
}

interface Acted {
  readonly outbox: Outbox;
  readonly effects: readonly SessionEffect[];
}

/** Bytes of changes that wait in memory; like `limits.unacknowledgedChangesMax` for changes that are large. */
export const unacknowledgedBytesMax = 16 * 1024 * 1024;
/** Bytes that stay in memory of what is on disk as well. */
const durableBytesMax = 1024 * 1024;
/** Changes on the wire that are not acknowledged; more wait, so that a slow collector is not flooded. */
const inFlightMax = 4 * limits.changesBatchMax;

/** Nothing waits in memory; `backlog`: something does on disk. */
export function emptyOutbox(stream: string, backlog: boolean): Outbox {
  return {
    stream,
    nextSeq: 1,
    queue: [],
    queueBytes: 0,
    durable: 0,
    handed: 0,
    writing: false,
    sent: 0,
    loaded: [],
    backlog,
    loading: 0,
    loads: 0,
    staleLoad: false,
    sentUpTo: new Map(),
  };
}

/** With new changes behind those that wait. Over the bound the oldest become one gap record. */
export function enqueued(outbox: Outbox, changes: readonly Change[]): Outbox {
  const { stream, nextSeq } = outbox;
  const added = changes.map((each, i): Queued => {
    const change = { ...each, before: cut(each.before), after: cut(each.after), stream, seq: nextSeq + i };
    return { change, bytes: sizeOf(change) };
  });
  return bounded({ ...outbox, nextSeq: nextSeq + added.length, queue: [...outbox.queue, ...added], queueBytes: outbox.queueBytes + sum(added) });
}

/** After the spool has written all up to a place: what is on disk need not all be in memory. */
export function spooled(outbox: Outbox, place: Place): Outbox {
  const durable = Math.max(outbox.durable, outbox.queue.findIndex(({ change }) => change.stream === place.stream && change.seq === place.seq) + 1);
  return shed({ ...outbox, durable, handed: Math.max(outbox.handed, durable), writing: false });
}

/** After the spool has failed: what it was given is given again. */
export const unspooled = (outbox: Outbox): Outbox => ({ ...outbox, handed: outbox.durable, writing: false });

/** After a connection has ended: all that is not acknowledged is to be sent again. */
export const interrupted = (outbox: Outbox): Outbox => ({
  ...outbox,
  sent: 0,
  loaded: [],
  backlog: outbox.backlog || outbox.loaded.length > 0,
  loading: 0,
  sentUpTo: new Map(),
});

/** What the collector has of a stream when it says welcome. */
export function resumed(outbox: Outbox, place: Place): Outbox {
  const after = acknowledged(outbox, place);
  return { ...after, sentUpTo: new Map([...after.sentUpTo, [place.stream, place.seq]]) };
}

/** Without what a collector has committed. */
export function acknowledged(outbox: Outbox, { stream, seq }: Place): Outbox {
  const waits = ({ change }: Queued): boolean => change.stream !== stream || change.seq > seq;
  const queue = outbox.queue.filter(waits);
  const gone = outbox.queue.length - queue.length;
  if (gone === 0 && outbox.loaded.every(waits)) return outbox;
  const less = (count: number): number => Math.max(0, count - gone);
  return {
    ...outbox,
    queue,
    queueBytes: sum(queue),
    durable: less(outbox.durable),
    handed: less(outbox.handed),
    sent: less(outbox.sent),
    loaded: outbox.loaded.filter(waits),
  };
}

/** What the disk yielded; an answer to a reading of an earlier connection is not taken. */
export function tookBack(outbox: Outbox, answer: { readonly load: number; readonly changes: readonly SequencedChange[]; readonly done: boolean }): Outbox {
  if (answer.load !== outbox.loading) return outbox;
  const loaded = [...outbox.loaded, ...answer.changes.map((change) => ({ change, bytes: sizeOf(change) }))];
  return { ...outbox, loaded, loading: 0, backlog: !answer.done || outbox.staleLoad, staleLoad: false };
}

/** Sends what may be on the wire: what is on disk comes first. */
export function sendable(outbox: Outbox): Acted {
  const effects: SessionEffect[] = [];
  const upTo = new Map(outbox.sentUpTo);
  const isUnsent = ({ change }: Queued): boolean => change.seq > (upTo.get(change.stream) ?? 0);
  const fromDisk = outbox.loaded.filter(isUnsent);
  for (const batch of batchesOf(fromDisk)) effects.push(sending(batch, upTo));
  if (outbox.backlog) {
    const next = { ...outbox, sentUpTo: upTo };
    return outbox.loading > 0 || outbox.loaded.length >= inFlightMax ? { outbox: next, effects } : loadNext(next, effects);
  }
  const room = Math.max(0, inFlightMax - outbox.loaded.length - outbox.sent);
  const batches = batchesOf(outbox.queue.slice(outbox.sent, outbox.sent + room));
  for (const batch of batches) effects.push(sending(batch, upTo));
  return { outbox: { ...outbox, sent: outbox.sent + batches.flat().length, sentUpTo: upTo }, effects };
}

function loadNext(outbox: Outbox, effects: readonly SessionEffect[]): Acted {
  const load = outbox.loads + 1;
  const after = outbox.loaded.at(-1)?.change;
  const before = outbox.queue[0]?.change;
  const effect: SessionEffect = {
    kind: 'load',
    load,
    ...(after === undefined ? {} : { after: { stream: after.stream, seq: after.seq } }),
    ...(before === undefined ? {} : { before: { stream: before.stream, seq: before.seq } }),
  };
  return { outbox: { ...outbox, loading: load, loads: load, staleLoad: false }, effects: [...effects, effect] };
}

function sending(batch: readonly SequencedChange[], upTo: Map<string, number>): SessionEffect {
  const last = batch.at(-1) as SequencedChange;
  const after = upTo.get(last.stream);
  upTo.set(last.stream, last.seq);
  return { kind: 'send', message: { type: 'changes', ...(after === undefined ? {} : { after }), changes: [...batch] as ChangesMessage['changes'] } };
}

/** Whether nothing waits that was not sent on this connection. */
export const isAllSent = (outbox: Outbox): boolean => !outbox.backlog && outbox.loading === 0 && outbox.sent === outbox.queue.length;

/** One stream a batch, as many as a frame holds. */
function batchesOf(queue: readonly Queued[]): readonly (readonly SequencedChange[])[] {
  const batches: SequencedChange[][] = [];
  let bytes = 0;
  for (const { change, bytes: size } of queue) {
    const open = batches.at(-1);
    bytes += size + 1;
    if (open !== undefined && open[0]?.stream === change.stream && open.length < limits.changesBatchMax && bytes <= frameBytesUsable) open.push(change);
    else {
      batches.push([change]);
      bytes = size + 1;
    }
  }
  return batches;
}

/**
 * Gives the spool what it does not have: everything without a connection, and with one only what a slow collector lets pile up. One writing at a time: what comes
 * meanwhile goes with the next, and a disk that hangs holds no more than that.
 */
export function toSpool(outbox: Outbox, isOpen: boolean): Acted {
  const waiting = outbox.queue.slice(outbox.handed);
  const isEnough = isOpen && outbox.queue.length <= limits.queueInMemoryMax;
  if (waiting.length === 0 || isEnough || outbox.writing) return { outbox, effects: [] };
  return {
    outbox: { ...outbox, handed: outbox.queue.length, writing: true },
    effects: [{ kind: 'spool', changes: waiting.map(({ change }) => change), heldFrom: placeOf(outbox.queue[0] as Queued) }],
  };
}

const placeOf = ({ change: { stream, seq } }: Queued): Place => ({ stream, seq });

/** Leaves to the disk what is safe there, once memory holds more than it should. What is on the wire stays. */
function shed(outbox: Outbox): Outbox {
  const { queue, durable, sent } = outbox;
  if (durable === 0 || sent > 0 || (queue.length <= limits.queueInMemoryMax && outbox.queueBytes <= durableBytesMax)) return outbox;
  const left = queue.slice(durable);
  return {
    ...outbox,
    queue: left,
    queueBytes: sum(left),
    durable: 0,
    handed: outbox.handed - durable,
    backlog: true,
    staleLoad: outbox.loading > 0,
  };
}

/** Over the limits the oldest changes become one gap record, which takes the seq of the last of them and covers the others. What the disk holds stays as it is. */
function bounded(outbox: Outbox): Outbox {
  const { queue } = outbox;
  if (queue.length <= limits.unacknowledgedChangesMax && outbox.queueBytes <= unacknowledgedBytesMax) return outbox;
  const first = Math.max(outbox.handed, outbox.sent);
  let end = first + 1;
  let bytes = outbox.queueBytes - (queue[first]?.bytes ?? 0);
  // One record takes the place of all that is lost. Losing somewhat more than needed saves doing this again at every change.
  const isOver = (): boolean => queue.length - (end - first) + 1 > limits.unacknowledgedChangesMax * 0.9 || bytes > unacknowledgedBytesMax * 0.9;
  for (; end < queue.length - 1 && isOver(); end++) bytes -= queue[end]?.bytes ?? 0;
  const lost = queue.slice(first, end).reduce((given: GivenUp | undefined, { change }) => giveUp(given, change), undefined);
  if (lost === undefined) return outbox;
  const gap = gapOf(lost, 'there was no room for more');
  const kept = [...queue.slice(0, first), { change: gap, bytes: sizeOf(gap) }, ...queue.slice(end)];
  return { ...outbox, queue: kept, queueBytes: sum(kept) };
}

const sizeOf = (change: SequencedChange): number => Buffer.byteLength(JSON.stringify(change));
const sum = (queue: readonly Queued[]): number => queue.reduce((total, { bytes }) => total + bytes, 0);

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
