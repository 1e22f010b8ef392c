// Server-sent events: findings that open, change and close, rows of the matrix, changes of the ledger, agents that come and go. Who was away is told what was missed.
import { randomBytes } from 'node:crypto';
import type { FastifyReply } from 'fastify';
import { limits } from '../../shared/limits.ts';
import type { CollectorState, LiveEvent } from '../state/state.ts';
import type { Freshness } from './freshness.ts';
import type { VerdictBook, VerdictEvent } from './verdict-book.ts';

/** Bytes that may wait for a slow reader before it is cut off; it reconnects and asks anew. */
const waitingBytesMax = 1024 * 1024;
const heartbeatMs = 15_000;

/** The names of events. `reset`: what was missed is not known any more, everything is to be asked anew. `nodeports`: a row of the matrix. */
export const eventNames = [
  'finding-opened',
  'finding-changed',
  'finding-closed',
  'change',
  'node',
  'nodeports',
  'columns',
  'services',
  'heartbeat',
  'reset',
] as const;
export type EventName = (typeof eventNames)[number];

interface Told {
  readonly number: number;
  readonly name: EventName;
  /** Empty: of no node. */
  readonly node: string;
  readonly data: string;
}

export interface Listening {
  /** Absent: all. */
  readonly events?: ReadonlySet<string>;
  readonly node?: string;
  /** Id of the last event that was seen. */
  readonly after?: string;
}

export interface LiveOptions {
  readonly state: CollectorState;
  readonly book: VerdictBook;
  readonly freshness: () => Freshness;
}

/** Streams until the reader goes away or `closeAll` is called. */
export class LiveStreams {
  readonly #options: LiveOptions;
  readonly #open = new Set<() => void>();
  readonly #readers = new Set<(told: Told) => void>();
  /** The newest events, for readers that come back. */
  readonly #kept: Told[] = [];
  /** Another run has other numbers. */
  readonly #run = randomBytes(4).toString('hex');
  readonly #unsubscribe: readonly (() => void)[];
  #number = 0;

  constructor(options: LiveOptions) {
    this.#options = options;
    this.#unsubscribe = [options.state.subscribe((event) => this.#take(partsOf(event))), options.book.subscribe((event) => this.#take(partsOfRow(event)))];
  }

  get readers(): number {
    return this.#readers.size;
  }

  begin(reply: FastifyReply, { events, node, after }: Listening = {}): void {
    reply.hijack();
    const { raw } = reply;
    raw.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' });
    raw.write('retry: 2000\n\n');
    const write = (text: string): void => {
      raw.write(text);
      if (raw.writableLength > waitingBytesMax) raw.destroy();
    };
    const reader = (told: Told): void => {
      if (events !== undefined && !events.has(told.name) && told.name !== 'reset') return;
      if (node === undefined || told.node === '' || told.node === node) write(this.#textOf(told));
    };
    for (const told of this.#missed(after)) reader(told);
    this.#readers.add(reader);
    const beat = (): void => write(`event: heartbeat\ndata: ${JSON.stringify({ at: Date.now(), view: this.#options.freshness() })}\n\n`);
    const heartbeat = setInterval(beat, heartbeatMs);
    const end = (): void => {
      this.#readers.delete(reader);
      clearInterval(heartbeat);
      this.#open.delete(end);
      raw.end();
    };
    this.#open.add(end);
    raw.on('close', end);
    raw.on('error', end);
  }

  closeAll(): void {
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    for (const end of [...this.#open]) end();
  }

  #take(parts: Omit<Told, 'number'> | undefined): void {
    if (parts === undefined) return;
    const told = { number: ++this.#number, ...parts };
    this.#kept.push(told);
    if (this.#kept.length > limits.liveEventsKept * 1.25) this.#kept.splice(0, this.#kept.length - limits.liveEventsKept);
    for (const reader of [...this.#readers]) reader(told);
  }

  #missed(after: string | undefined): readonly Told[] {
    if (after === undefined) return [];
    const [run, text] = after.split('-');
    const number = Number(text);
    const first = this.#kept[0]?.number ?? this.#number + 1;
    if (run !== this.#run || !Number.isInteger(number) || number < first - 1 || number > this.#number)
      return [{ number: this.#number, name: 'reset', node: '', data: JSON.stringify({ at: Date.now() }) }];
    return this.#kept.slice(number - first + 1);
  }

  #textOf({ number, name, data }: Told): string {
    return `id: ${this.#run}-${number}\nevent: ${name}\ndata: ${data}\n\n`;
  }
}

function partsOf(event: LiveEvent): Omit<Told, 'number'> | undefined {
  switch (event.kind) {
    case 'finding-opened':
    case 'finding-changed':
    case 'finding-closed':
      return { name: event.kind, node: event.finding.node, data: JSON.stringify({ at: event.at, finding: event.finding }) };
    case 'change':
      return { name: 'change', node: event.change.node, data: JSON.stringify(event.change) };
    case 'node':
      return { name: 'node', node: event.node, data: JSON.stringify({ at: event.at, node: event.node, connected: event.connected }) };
    case 'objects':
      return event.touched.kinds.has('Service') || event.touched.kinds.has('EndpointSlice') || event.touched.all
        ? { name: 'services', node: '', data: JSON.stringify({ at: Date.now(), services: [...event.touched.services].slice(0, namesMax) }) }
        : undefined;
    case 'judged':
    case 'pending':
    case 'failed':
      return undefined;
  }
}

/** Names of Services in one event; who is told of so many asks for all. */
const namesMax = 100;

function partsOfRow(event: VerdictEvent): Omit<Told, 'number'> {
  if (event.kind === 'columns') return { name: 'columns', node: '', data: JSON.stringify({ at: event.at, columnsId: event.columns }) };
  return { name: 'nodeports', node: event.row.node, data: JSON.stringify({ at: event.at, columnsId: event.columns, ...event.row }) };
}
