// A map that is never changed in place and still cheap to follow: a base, and above it what differs. One change of 150,000 pods copies a few entries, not all.

/** How many entries may lie above the base before a new base is made: a share of the base, and no less than this. */
const aboveMin = 256;
const aboveShare = 1 / 16;

/** Keys keep the order of the base; those that came later follow. */
export class LayeredMap<Value> implements ReadonlyMap<string, Value> {
  readonly #base: ReadonlyMap<string, Value>;
  /** Undefined: the key is not there (any more). */
  readonly #above: ReadonlyMap<string, Value | undefined>;
  readonly size: number;

  constructor(base: ReadonlyMap<string, Value> = new Map(), above: ReadonlyMap<string, Value | undefined> = new Map()) {
    this.#base = base;
    this.#above = above;
    let size = base.size;
    for (const [key, value] of above) size += (value === undefined ? 0 : 1) - (base.has(key) ? 1 : 0);
    this.size = size;
  }

  /** The map with some entries put (a value) or deleted (undefined). */
  with(changes: ReadonlyMap<string, Value | undefined>): LayeredMap<Value> {
    if (changes.size === 0) return this;
    const above = new Map(this.#above);
    for (const [key, value] of changes) above.set(key, value);
    const next = new LayeredMap(this.#base, above);
    return above.size > Math.max(aboveMin, this.#base.size * aboveShare) ? new LayeredMap(new Map(next)) : next;
  }

  get(key: string): Value | undefined {
    const value = this.#above.get(key);
    return value !== undefined || this.#above.has(key) ? value : this.#base.get(key);
  }

  has(key: string): boolean {
    return this.get(key) !== undefined;
  }

  *entries(): MapIterator<[string, Value]> {
    for (const [key, value] of this.#base) {
      if (!this.#above.has(key)) yield [key, value];
      else {
        const newer = this.#above.get(key);
        if (newer !== undefined) yield [key, newer];
      }
    }
    for (const [key, value] of this.#above) if (value !== undefined && !this.#base.has(key)) yield [key, value];
  }

  *keys(): MapIterator<string> {
    for (const [key] of this.entries()) yield key;
  }

  *values(): MapIterator<Value> {
    for (const [, value] of this.entries()) yield value;
  }

  [Symbol.iterator](): MapIterator<[string, Value]> {
    return this.entries();
  }

  forEach(callback: (value: Value, key: string, map: ReadonlyMap<string, Value>) => void): void {
    for (const [key, value] of this.entries()) callback(value, key, this);
  }
}
