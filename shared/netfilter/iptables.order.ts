// Sorts the rules of a dump by chain. A dump has them in the order of chains, but nothing asks it to, and `-I` puts rules before others.
import { ruleSpan } from './iptables.bytes.ts';
import { lineKind } from './iptables.lines.ts';
import type { ChainNames } from './iptables.names.ts';
import type { Counter } from './rule.ts';
import type { BaseChain } from './ruleset.ts';

/** What is known of chains and rules when a dump has been scanned. */
export interface ScannedRules {
  readonly bytes: Buffer;
  /** For each line, and one more for the end of the text, where it begins. */
  readonly lineStarts: Uint32Array;
  /** A value of `lineKind` for each line. */
  readonly lineKinds: Uint8Array;
  /** For lines that are rules, the number of the chain. */
  readonly lineChains: Uint32Array;
  readonly names: ChainNames;
  /** What only built-in chains have. */
  readonly builtin: ReadonlyMap<number, Builtin>;
  /** Chains that `-I` lines name. */
  readonly inserted: ReadonlySet<number>;
}

export interface Builtin {
  readonly base: BaseChain;
  readonly counter?: Counter;
}

/** Chains of a table that were named one after another: numbers from `first` up to `end`. */
export interface IdRange {
  readonly first: number;
  end: number;
}

/** All chains of a dump by number, whatever their table: names and places only. */
export class DumpedChains {
  readonly names: ChainNames;
  readonly builtin: ReadonlyMap<number, Builtin>;
  readonly #scanned: ScannedRules;
  #rules: OrderedRules | undefined;

  constructor(scanned: ScannedRules) {
    this.#scanned = scanned;
    this.names = scanned.names;
    this.builtin = scanned.builtin;
  }

  /** Rules by chain, sorted when they are first asked for. */
  get rules(): OrderedRules {
    return (this.#rules ??= orderedRules(this.#scanned));
  }

  /** The chain of the rule in a line (from 0). */
  chainOf(line: number): number {
    return this.#scanned.lineChains[line] as number;
  }
}

export interface OrderedRules {
  /** Lines (from 0) of all rules, chain by chain; those of chain `id` stand from `first[id]` up to `first[id + 1]`. */
  readonly lines: Uint32Array;
  readonly first: Uint32Array;
}

/** Counting sort of the rules by chain. */
function orderedRules(scanned: ScannedRules): OrderedRules {
  const { lineKinds, lineChains, inserted } = scanned;
  const first = firstRules(scanned);
  const places = first.slice();
  const lines = new Uint32Array(first.at(-1) as number);
  for (let line = 0; line < lineKinds.length; line++) {
    if (lineKinds[line] !== lineKind.rule) continue;
    const id = lineChains[line] as number;
    const place = places[id] as number;
    lines[place] = line;
    places[id] = place + 1;
  }
  for (const id of inserted) insertRules(scanned, lines.subarray(first[id], first[id + 1]));
  return { lines, first };
}

function firstRules({ lineKinds, lineChains, names }: ScannedRules): Uint32Array {
  const first = new Uint32Array(names.length + 1);
  for (let line = 0; line < lineKinds.length; line++) {
    if (lineKinds[line] !== lineKind.rule) continue;
    const next = (lineChains[line] as number) + 1;
    first[next] = (first[next] as number) + 1;
  }
  for (let id = 1; id < first.length; id++) first[id] = (first[id] as number) + (first[id - 1] as number);
  return first;
}

/** Puts the rules of a chain into the order that `-I CHAIN [NUMBER]` asks for, as the commands would one after another. */
function insertRules({ bytes, lineStarts }: ScannedRules, lines: Uint32Array): void {
  const placed: number[] = [];
  for (const line of lines) {
    const [start, stop] = ruleSpan(bytes, lineStarts[line] as number, lineStarts[line + 1] as number);
    const found = /^-I\s+\S+(?:\s+(\d+)(?=\s|$))?/.exec(bytes.toString('utf8', start, stop));
    if (found === null) placed.push(line);
    else placed.splice(Number(found[1] ?? 1) - 1, 0, line);
  }
  lines.set(placed);
}
