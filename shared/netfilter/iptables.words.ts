// A fixed set of words that bytes of a text are looked up in: whether an option, a match or a target is known, without making a string of it.

export class Words {
  /** All words, one after another. */
  readonly #bytes: Buffer;
  /** Where each word starts, and one more for the end. */
  readonly #starts: Uint16Array;
  /** Open addressing: the place of a word and one, 0 for a free slot. A power of two, at most a quarter full. */
  readonly #slots: Uint16Array;

  constructor(words: Iterable<string>) {
    const all = [...new Set(words)];
    this.#bytes = Buffer.from(all.join(''));
    this.#starts = new Uint16Array(all.length + 1);
    this.#slots = new Uint16Array(2 ** Math.ceil(Math.log2(all.length * 4 + 1)));
    let start = 0;
    for (let place = 0; place < all.length; place++) {
      const end = start + (all[place] as string).length;
      let slot = this.#slotOf(this.#bytes, start, end);
      while (this.#slots[slot] !== 0) slot = this.#after(slot);
      this.#slots[slot] = place + 1;
      this.#starts[place + 1] = start = end;
    }
  }

  /** Whether the bytes between two offsets are a word of the set. */
  has(bytes: Buffer, start: number, end: number): boolean {
    const length = end - start;
    for (let slot = this.#slotOf(bytes, start, end); ; slot = this.#after(slot)) {
      const place = this.#slots[slot] as number;
      if (place === 0) return false;
      const known = this.#starts[place - 1] as number;
      if ((this.#starts[place] as number) - known !== length) continue;
      let same = 0;
      while (same < length && this.#bytes[known + same] === bytes[start + same]) same++;
      if (same === length) return true;
    }
  }

  /** Length and three letters tell nearly all options apart: a loop over all letters would cost as much as the comparison that follows. */
  #slotOf(bytes: Buffer, start: number, end: number): number {
    const length = end - start;
    const letters = ((bytes[start] ?? 0) * 31 + (bytes[start + (length >> 1)] ?? 0)) * 31 + (bytes[end - 1] ?? 0);
    return (letters * 31 + length) & (this.#slots.length - 1);
  }

  #after(slot: number): number {
    return (slot + 1) & (this.#slots.length - 1);
  }
}
