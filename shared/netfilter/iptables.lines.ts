// What a scan notes of each line of a dump: arrays that are made for the lines expected, as half a million lines are too many to make an object of each.

export class Lines {
  length = 0;
  /** Offset of each line. */
  starts: Uint32Array;
  /** A value of `lineKind` for each; 0 would be a line that nobody accounts for. */
  kinds: Uint8Array;
  /** The number of the chain whose rule it is; of no meaning for other lines. */
  chains: Uint32Array;

  constructor(expected: number) {
    const capacity = Math.max(64, expected);
    this.starts = new Uint32Array(capacity);
    this.kinds = new Uint8Array(capacity);
    this.chains = new Uint32Array(capacity);
  }

  /** How many lines there may be before `grow` is due. */
  get capacity(): number {
    return this.kinds.length;
  }

  /** Makes room for as many lines again. */
  grow(): void {
    const capacity = this.capacity * 2;
    const { starts, kinds, chains } = this;
    this.starts = new Uint32Array(capacity);
    this.starts.set(starts);
    this.kinds = new Uint8Array(capacity);
    this.kinds.set(kinds);
    this.chains = new Uint32Array(capacity);
    this.chains.set(chains);
  }
}

/** Every line is one of these. */
export const lineKind = { ignorable: 1, table: 2, chain: 3, rule: 4, issue: 5 } as const;
