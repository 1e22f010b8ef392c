// A connection between agent and collector as a test moves it: frames wait until they are delivered, and can be repeated, reordered or lost.
import { EventEmitter } from 'node:events';

export type Packet =
  | { readonly kind: 'frame'; readonly content: string | Buffer }
  | { readonly kind: 'ping'; readonly asked: string }
  | { readonly kind: 'pong'; readonly answer: string }
  | { readonly kind: 'close'; readonly code: number };

/** The collector's end, with what `AgentSession` uses of a WebSocket. */
class CollectorEnd extends EventEmitter {
  readonly #link: Link;
  readyState = 1;
  isPaused = false;
  bufferedAmount = 0;

  constructor(link: Link) {
    super();
    this.#link = link;
  }

  send(content: string | Buffer): void {
    if (this.readyState === 1) this.#link.toAgent.push({ kind: 'frame', content });
  }

  ping(asked: string): void {
    if (this.readyState === 1) this.#link.toAgent.push({ kind: 'ping', asked });
  }

  pong(): void {}

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
  }

  close(code: number): void {
    if (this.readyState !== 1) return;
    this.#link.toAgent.push({ kind: 'close', code });
    this.end(code);
  }

  terminate(): void {
    this.close(1006);
  }

  end(code: number): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.emit('close', code);
  }
}

export class Link {
  readonly toCollector: Packet[] = [];
  readonly toAgent: Packet[] = [];
  readonly collector = new CollectorEnd(this);

  /** Whether the collector's side is still there. */
  get isHeld(): boolean {
    return this.collector.readyState === 1;
  }

  /** Hands the collector what came first; false when there is nothing, or it does not read. */
  deliverToCollector(): boolean {
    if (this.collector.isPaused || !this.isHeld) return false;
    const packet = this.toCollector.shift();
    if (packet === undefined) return false;
    if (packet.kind === 'close') this.collector.end(packet.code);
    else if (packet.kind === 'pong') this.collector.emit('pong', Buffer.from(packet.answer));
    else if (packet.kind === 'frame') this.collector.emit('message', Buffer.from(packet.content), typeof packet.content !== 'string');
    return true;
  }
}

/** Repeats, swaps or loses one of the frames that are under way. False when there are too few. */
export function misdeliver(packets: Packet[], how: 'repeat' | 'swap' | 'lose', place: number): boolean {
  const frames = packets.flatMap(({ kind }, index) => (kind === 'frame' ? [index] : []));
  if (frames.length < (how === 'swap' ? 2 : 1)) return false;
  const at = frames[place % frames.length] as number;
  if (how === 'repeat') packets.splice(at, 0, packets[at] as Packet);
  else if (how === 'lose') packets.splice(at, 1);
  else {
    const other = frames[(place + 1) % frames.length] as number;
    [packets[at], packets[other]] = [packets[other] as Packet, packets[at] as Packet];
  }
  return true;
}
