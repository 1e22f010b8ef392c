// The answer to a list, cut into its items while it comes in: a list of 150,000 pods is never in memory as a whole, neither as text nor as values.

/** What stands around the items. */
export interface ListEnvelope {
  readonly kind: string;
  readonly resourceVersion: string;
  /** Where the next page begins; absent on the last. */
  readonly next?: string;
}

const quote = 0x22;
const backslash = 0x5c;
const [openBrace, closeBrace, openBracket, closeBracket] = [0x7b, 0x7d, 0x5b, 0x5d];
const [comma, colon] = [0x2c, 0x3a];
const envelopeBytesMax = 1024 * 1024;

/** Takes chunks of a JSON object and gives the text of each element of its `items`; `end` gives the rest. */
export class ListSplitter {
  readonly #itemBytesMax: number;
  #depth = 0;
  /** Inside a text, and whether an odd number of backslashes stands before the next byte. */
  #inText = false;
  #escaped = false;
  /** At depth 1: the key that was read last, and whether its value is next. */
  #key = '';
  #keyAhead = false;
  /** Inside the array of items. */
  #inItems = false;
  /** Where the item that is being read begins in this chunk; -1 between items. */
  #itemStart = -1;
  #itemParts: Buffer[] = [];
  #itemBytes = 0;
  readonly #envelope: Buffer[] = [];
  #envelopeBytes = 0;

  /** `itemBytesMax`: a longer item makes `push` throw. */
  constructor(itemBytesMax: number) {
    this.#itemBytesMax = itemBytesMax;
  }

  /** The items that the chunk completes. Throws when an item is too long or the rest of the answer is. */
  push(chunk: Buffer): string[] {
    const items: string[] = [];
    let envelopeStart = this.#inItems ? -1 : 0;
    if (this.#itemStart >= 0) this.#itemStart = 0;
    for (let at = 0; at < chunk.length; at++) {
      if (this.#inText) {
        at = this.#skipText(chunk, at);
        continue;
      }
      const byte = chunk[at] as number;
      if (byte === quote) this.#beginText();
      else if (byte === openBrace || byte === openBracket) {
        if (this.#inItems && this.#depth === 2) this.#itemStart = at;
        this.#depth++;
        if (byte === openBracket && this.#depth === 2 && this.#keyAhead && this.#key === 'items') {
          this.#inItems = true;
          if (envelopeStart >= 0) this.#keepEnvelope(chunk.subarray(envelopeStart, at + 1));
          envelopeStart = -1;
        }
        this.#keyAhead = false;
      } else if (byte === closeBrace || byte === closeBracket) {
        this.#depth--;
        if (this.#inItems && this.#depth === 2 && this.#itemStart >= 0) items.push(this.#finish(chunk, at + 1));
        else if (this.#inItems && this.#depth === 1) {
          this.#inItems = false;
          envelopeStart = at;
        }
      } else if (byte === colon && this.#depth === 1) this.#keyAhead = true;
      else if (byte === comma && this.#depth === 1) this.#keyAhead = false;
    }
    if (this.#itemStart >= 0) this.#keepItem(chunk.subarray(this.#itemStart));
    else if (envelopeStart >= 0) this.#keepEnvelope(chunk.subarray(envelopeStart));
    return items;
  }

  /** What stood around the items. Throws when the answer was cut off, or is no list. */
  end(): ListEnvelope {
    if (this.#depth !== 0 || this.#inText) throw new Error('the list ended in the middle');
    const value: unknown = JSON.parse(Buffer.concat(this.#envelope).toString('utf8'));
    const { kind, metadata } = (value ?? {}) as { kind?: unknown; metadata?: { continue?: unknown; resourceVersion?: unknown } };
    const next = metadata?.continue;
    return {
      kind: typeof kind === 'string' ? kind : '',
      resourceVersion: typeof metadata?.resourceVersion === 'string' ? metadata.resourceVersion : '',
      ...(typeof next === 'string' && next !== '' ? { next } : {}),
    };
  }

  #beginText(): void {
    this.#inText = true;
    this.#escaped = false;
    if (this.#depth === 1 && !this.#keyAhead) this.#key = '';
  }

  /** Goes to the end of a text; gives the last position that was looked at. */
  #skipText(chunk: Buffer, from: number): number {
    for (let at = from; at < chunk.length; at++) {
      const byte = chunk[at] as number;
      if (this.#escaped) this.#escaped = false;
      else if (byte === backslash) this.#escaped = true;
      else if (byte === quote) {
        this.#inText = false;
        return at;
      }
      if (this.#depth === 1 && !this.#keyAhead && this.#key.length < 16) this.#key += String.fromCharCode(byte);
    }
    return chunk.length;
  }

  #finish(chunk: Buffer, end: number): string {
    const last = chunk.subarray(this.#itemStart, end);
    this.#itemStart = -1;
    if (this.#itemParts.length === 0) return last.toString('utf8');
    const item = Buffer.concat([...this.#itemParts, last]).toString('utf8');
    this.#itemParts = [];
    this.#itemBytes = 0;
    return item;
  }

  #keepItem(part: Buffer): void {
    this.#itemBytes += part.length;
    if (this.#itemBytes > this.#itemBytesMax) throw new Error(`an object of the list has more than ${this.#itemBytesMax} bytes`);
    this.#itemParts.push(part);
  }

  #keepEnvelope(part: Buffer): void {
    this.#envelopeBytes += part.length;
    if (this.#envelopeBytes > envelopeBytesMax) throw new Error('the answer is no list of objects');
    this.#envelope.push(part);
  }
}
