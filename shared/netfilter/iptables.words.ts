// A fixed set of words that bytes of a text are looked up in: whether an option, a match or a target is known, without making a string of it.

export class Words {
  readonly #words: readonly Buffer[];
  /** Open addressing: the place of a word and one, 0 for a free slot. A power of two, at most a quarter full. */
  readonly #slots: Uint16Array;

  constructor(words: Iterable<string>) {
    this.#words = [...new Set(words)].map((word) => Buffer.from(word));
    this.#slots = new Uint16Array(2 ** Math.ceil(Math.log2(this.#words.length * 4 + 1)));
    for (const [place, word] of this.#words.entries()) {
      let slot = this.#slotOf(word, 0, word.length);
      while (this.#slots[slot] !== 0) slot = this.#after(slot);
      this.#slots[slot] = place + 1;
    }
  }

  /** Whether the bytes between two offsets are a word of the set. */
  has(bytes: Buffer, start: number, end: number): boolean {
    for (let slot = this.#slotOf(bytes, start, end); ; slot = this.#after(slot)) {
      const place = this.#slots[slot] as number;
      if (place === 0) return false;
      const word = this.#words[place - 1] as Buffer;
      let same = word.length === end - start ? 0 : -1;
      while (same >= 0 && same < word.length) same = word[same] === bytes[start + same] ? same + 1 : -1;
      if (same >= 0) return true;
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
