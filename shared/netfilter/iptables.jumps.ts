// Finds where the rules of a chain jump to, all at once. The chains that a Service's chain jumps to lie scattered over the dump, and the processor waits for each:
// asked one after another it waits as often as there are chains, asked together it fetches them while it goes on.
import { space } from './iptables.bytes.ts';
import type { IptablesDump } from './iptables.chain.ts';

/** The jumps of the chain that was looked at last. */
export class JumpTargets {
  readonly #dump: IptablesDump;
  /** The table's number within the dump. */
  readonly #table: number;
  /** Where the last word of each rule stands, and the number of the chain of that name; -1 for none. */
  readonly #starts = new Int32Array(rulesLookedAtMax);
  readonly #ids = new Int32Array(rulesLookedAtMax);
  #count = 0;
  /** The rule that is asked for next, as they are asked for in order. */
  #next = 0;
  readonly #lines = new Int32Array(rulesLookedAtMax);
  /** What was read for the sake of reading it: it is kept so that no compiler leaves the reading out. */
  fetched = 0;

  constructor(dump: IptablesDump, table: number) {
    this.#dump = dump;
    this.#table = table;
  }

  /** Looks at a chain whose rules stand between two places of `ruleLines`. */
  lookAt(first: number, last: number): void {
    const { bytes, lineStarts, chains } = this.#dump;
    const count = last - first;
    this.#next = 0;
    this.#count = count;
    for (let i = 0; i < count; i++) {
      const line = chains.rules.lines[first + i] as number;
      const start = lineStarts[line] as number;
      let stop = lineStarts[line + 1] as number;
      while (stop > start && (bytes[stop - 1] as number) <= space) stop--;
      let at = stop;
      while (at > start && (bytes[at - 1] as number) > space) at--;
      this.#starts[i] = at;
      this.#ids[i] = chains.names.find(this.#table, at, stop);
    }
    this.#fetch();
  }

  /** The number of the chain whose name stands at an offset, -1 for none; undefined where that was not looked at. */
  at(start: number): number | undefined {
    for (let i = this.#next; i < this.#count; i++) {
      if (this.#starts[i] !== start) continue;
      this.#next = i + 1;
      return this.#ids[i];
    }
    return undefined;
  }

  /** Reads a little of each chain that is jumped to, place after place, so that none is waited for when it is walked. */
  #fetch(): void {
    const { bytes, lineStarts, chains } = this.#dump;
    const [lines, ids] = [this.#lines, this.#ids];
    for (let i = 0; i < this.#count; i++) lines[i] = chains.rules.lines[chains.rules.first[Math.max(0, ids[i] as number)] as number] ?? 0;
    for (let i = 0; i < this.#count; i++) lines[i] = lineStarts[lines[i] as number] as number;
    let read = 0;
    for (let i = 0; i < this.#count; i++) {
      const at = lines[i] as number;
      for (let near = at; near < at + nearBytes; near += cacheLine) read += bytes[near] ?? 0;
    }
    this.fetched = read;
  }
}

/** Rules of a chain that is looked at; those of longer chains are seldom all walked. */
export const rulesLookedAtMax = 64;
/** A rule or two. */
const nearBytes = 256;
const cacheLine = 64;
