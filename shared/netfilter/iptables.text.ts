// The bytes of a dump, four at a time: what is done for each of fifty million bytes is what parsing costs, so it is done for four of them at once.
import { lineFeed } from './iptables.bytes.ts';

/** A text of which four bytes are read as one number, a quad: signed, the first byte its lowest. */
export class DumpText {
  readonly bytes: Buffer;
  /** For loops that know that they stay within the text. */
  readonly view: DataView;
  /** What ends a line. Carriage return in a text that has no line feed, as some terminals and editors leave it. */
  newline = lineFeed;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /** The quad at any offset; bytes beyond the end read as 0. */
  quad(at: number): number {
    return at + 4 <= this.bytes.length ? this.view.getInt32(at, true) : this.#lastQuad(at);
  }

  /** Whether the same bytes stand at two offsets. */
  isSame(one: number, other: number, length: number): boolean {
    const whole = length & ~3;
    for (let at = 0; at < whole; at += 4) if (this.quad(one + at) !== this.quad(other + at)) return false;
    return ((this.quad(one + whole) ^ this.quad(other + whole)) & lowBytes(length & 3)) === 0;
  }

  /** The hash of the bytes between two offsets. */
  hash(start: number, end: number): number {
    let hash = 0;
    let at = start;
    for (; at + 4 <= end; at += 4) hash = mixed(hash, this.quad(at));
    return mixed(hash, this.quad(at) & lowBytes(end - at));
  }

  #lastQuad(at: number): number {
    let quad = 0;
    for (let i = 3; i >= 0; i--) quad = (quad << 8) | (this.bytes[at + i] ?? 0);
    return quad;
  }
}

/** The hash of an ASCII string: that of its bytes. */
export function hashOf(ascii: string): number {
  let hash = 0;
  let quad = 0;
  for (let i = 0; i < ascii.length; i++) {
    quad |= ascii.charCodeAt(i) << ((i & 3) << 3);
    if ((i & 3) !== 3) continue;
    hash = mixed(hash, quad);
    quad = 0;
  }
  return mixed(hash, quad);
}

/** One step of a hash over quads, the last of which is filled up with zeros. It stays a signed 32 bit number: V8 makes an object of a larger one. */
export function mixed(hash: number, quad: number): number {
  const both = hash ^ quad;
  return Math.imul((both << 15) | (both >>> 17), 0x2c1b3c6d);
}

/** Finds bytes in a quad that are less than one up to 128, which is given four times: the high bit of the first of them is the lowest bit set. 0 if there is none. */
export const lessIn = (quad: number, least: number): number => (quad - least) & ~quad & highBits;

/** Four blanks: less are control characters. */
export const blanks = 0x20202020;
/** Four of the first character that prints: less are blanks and control characters. */
export const printables = 0x21212121;

/** Finds quotes and backslashes in the same way. */
export function quotesIn(quad: number): number {
  const quotes = quad ^ 0x22222222;
  const backslashes = quad ^ 0x5c5c5c5c;
  return (((quotes - 0x01010101) & ~quotes) | ((backslashes - 0x01010101) & ~backslashes)) & highBits;
}

const highBits = 0x80808080 | 0;

/** Which byte of a quad, 0 to 3, is the first that was found. */
export const firstOf = (found: number): number => (31 - Math.clz32(found & -found)) >> 3;

/** A mask of the first 0 to 3 bytes of a quad. */
export const lowBytes = (count: number): number => (1 << (count << 3)) - 1;
