// What a scan notes of the lines of a dump: numbers in arrays, as half a million lines are too many to make an object of each.
import { type Arrays, heapArrays } from './iptables.arrays.ts';

/** Something of each line. */
export class Lines {
  length = 0;
  /** Offset of each line. */
  starts: Uint32Array;
  /** A value of `lineKind` for each; 0 would be a line that nobody accounts for. */
  kinds: Uint8Array;
  /** The number of the chain whose rule it is; of no meaning for other lines. */
  chains: Uint32Array;
  readonly #arrays: Arrays;

  constructor(expected: number, arrays = heapArrays) {
    const capacity = Math.max(64, expected);
    this.#arrays = arrays;
    this.starts = arrays.uint32(capacity);
    this.kinds = arrays.uint8(capacity);
    this.chains = arrays.uint32(capacity);
  }

  /** How many lines there may be before `grow` is due. */
  get capacity(): number {
    return this.kinds.length;
  }

  /** Makes room for as many lines again. */
  grow(): void {
    const capacity = this.capacity * 2;
    this.starts = copied(this.starts, this.#arrays.uint32(capacity));
    this.kinds = copied(this.kinds, this.#arrays.uint8(capacity));
    this.chains = copied(this.chains, this.#arrays.uint32(capacity));
  }
}

/** Every line is one of these. */
export const lineKind = { ignorable: 1, table: 2, chain: 3, rule: 4, issue: 5 } as const;

/** A list of unsigned 32 bit numbers. */
export class Numbers {
  length = 0;
  #values = new Uint32Array(16);

  at(index: number): number {
    return this.#values[index] as number;
  }

  push(value: number): void {
    if (this.length === this.#values.length) this.#values = copied(this.#values, new Uint32Array(this.length * 2));
    this.#values[this.length++] = value;
  }

  *[Symbol.iterator](): Generator<number> {
    yield* this.#values.subarray(0, this.length);
  }
}

function copied<Values extends Uint8Array | Uint32Array>(values: Values, larger: Values): Values {
  larger.set(values);
  return larger;
}
