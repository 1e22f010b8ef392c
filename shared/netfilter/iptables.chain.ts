// The chains of an iptables dump: places in the text, made and decoded when they are asked for.
import { bracket, ruleSpan, skipBlanks } from './iptables.bytes.ts';
import type { QuickLook } from './iptables.look.ts';
import type { DumpedChains, IdRange } from './iptables.order.ts';
import type { ShapedDecoder } from './iptables.shape.ts';
import type { Backend, Counter, Rule } from './rule.ts';
import type { BaseChain, Chain } from './ruleset.ts';

/** The text as bytes, its lines, and what each line is. */
export interface IptablesDump {
  /** The buffer that was given: it must not be changed afterwards. */
  readonly bytes: Buffer;
  readonly lineCount: number;
  /** Offset of each line, and one more: the end of the text. */
  readonly lineStarts: Uint32Array;
  /** A value of `lineKind` for each line. */
  readonly lineKinds: Uint8Array;
  /** The line (from 1) at which a truncated dump ends in the middle; 0 if there is none. Its rule is not to be trusted. */
  readonly cutLine: number;
  readonly chains: DumpedChains;
  /** What a quick look at the rules found. */
  readonly look: QuickLook;
  readonly decoded: DecodedChains;
}

/** Which chains and rules a table has. */
export interface TableContent {
  /** Its number within the dump. */
  readonly number: number;
  readonly ranges: readonly IdRange[];
  readonly ruleCount: number;
}

/** What a chain knows of its table. */
export interface DumpTable {
  readonly backend: Backend;
  readonly family: 'ip' | 'ip6';
  readonly name: string;
  readonly decoder: ShapedDecoder;
}

/** The chains of a table in the order of their declaration. A chain is made when it is first asked for: of a large dump most never are. */
export class TableChains implements ReadonlyMap<string, IptablesChain> {
  readonly #dump: IptablesDump;
  readonly #table: DumpTable;
  /** The table's number within the dump. */
  readonly #number: number;
  readonly #ranges: readonly IdRange[];
  /** Number of rules in all chains. */
  readonly ruleCount: number;
  readonly #made = new Map<number, IptablesChain>();
  #base: readonly IptablesChain[] | undefined;

  constructor(dump: IptablesDump, table: DumpTable, { number, ranges, ruleCount }: TableContent) {
    this.#dump = dump;
    this.#table = table;
    this.#number = number;
    this.#ranges = ranges;
    this.ruleCount = ruleCount;
  }

  get size(): number {
    return this.#ranges.reduce((size, { first, end }) => size + end - first, 0);
  }

  has(name: string): boolean {
    return this.#dump.chains.names.named(this.#number, name) >= 0;
  }

  get(name: string): IptablesChain | undefined {
    const id = this.#dump.chains.names.named(this.#number, name);
    return id < 0 ? undefined : this.#chain(id);
  }

  *keys(): MapIterator<string> {
    for (const id of this.#ids()) yield this.#dump.chains.names.text(id);
  }

  *values(): MapIterator<IptablesChain> {
    for (const id of this.#ids()) yield this.#chain(id);
  }

  *entries(): MapIterator<[string, IptablesChain]> {
    for (const chain of this.values()) yield [chain.name, chain];
  }

  [Symbol.iterator](): MapIterator<[string, IptablesChain]> {
    return this.entries();
  }

  forEach(act: (chain: IptablesChain, name: string, chains: ReadonlyMap<string, IptablesChain>) => void): void {
    for (const chain of this.values()) act(chain, chain.name, this);
  }

  /** The built-in chains. */
  get base(): readonly IptablesChain[] {
    const { builtin, names } = this.#dump.chains;
    return (this.#base ??= [...builtin.keys()].filter((id) => names.tableOf(id) === this.#number).map((id) => this.#chain(id)));
  }

  *#ids(): Generator<number> {
    for (const { first, end } of this.#ranges) for (let id = first; id < end; id++) yield id;
  }

  #chain(id: number): IptablesChain {
    let chain = this.#made.get(id);
    if (chain === undefined) this.#made.set(id, (chain = new IptablesChain(this.#dump, this.#table, id)));
    return chain;
  }
}

/** Keeps the number of decoded rules within bounds: a walk to every NodePort comes through hundreds of thousands, most of them once. */
export class DecodedChains {
  #chains: IptablesChain[] = [];
  #rules = 0;

  /** A chain begins to keep decoded rules. */
  add(chain: IptablesChain): void {
    this.#chains.push(chain);
  }

  /** One more rule is kept. */
  count(): void {
    if (++this.#rules <= decodedRulesMax) return;
    for (const chain of this.#chains) chain.forget();
    this.#chains = [];
    this.#rules = 0;
  }
}

/** At about half a kilobyte each. */
const decodedRulesMax = 32_768;

/** A chain of a dump. Rules are kept as places in the text; a decoded rule is kept for a while. */
export class IptablesChain implements Chain {
  readonly name: string;
  readonly line: number;
  readonly base?: BaseChain;
  readonly counter?: Counter;
  readonly length: number;
  readonly #dump: IptablesDump;
  readonly #table: DumpTable;
  /** Where its rules begin among those of all chains. */
  readonly #first: number;
  #rules: (Rule | undefined)[] | undefined;

  constructor(dump: IptablesDump, table: DumpTable, id: number) {
    const { names, builtin, rules } = dump.chains;
    this.#dump = dump;
    this.#table = table;
    this.name = names.text(id);
    this.line = names.lineOf(id);
    this.#first = rules.first[id] as number;
    this.length = (rules.first[id + 1] as number) - this.#first;
    const own = builtin.get(id);
    if (own !== undefined) this.base = own.base;
    if (own?.counter !== undefined) this.counter = own.counter;
  }

  /** The line, from 1, of the rule at an index. */
  lineOf(index: number): number {
    const line = index >= 0 && index < this.length ? this.#dump.chains.rules.lines[this.#first + index] : undefined;
    if (line === undefined) throw new RangeError(`Chain ${this.name} has ${this.length} rules, there is no index ${index}.`);
    return line + 1;
  }

  text(index: number): string {
    return ruleText(this.#dump, this.lineOf(index) - 1, this.name);
  }

  rule(index: number): Rule {
    const kept = this.#rules?.[index];
    if (kept !== undefined) return kept;
    const { decoded } = this.#dump;
    const rule = this.#decode(index);
    decoded.count();
    if (this.#rules === undefined) {
      this.#rules = [];
      decoded.add(this);
    }
    this.#rules[index] = rule;
    return rule;
  }

  /** Lets go of its decoded rules. */
  forget(): void {
    this.#rules = undefined;
  }

  #decode(index: number): Rule {
    const { bytes, lineStarts, cutLine } = this.#dump;
    const line = this.lineOf(index);
    const text = ruleText(this.#dump, line - 1, this.name);
    const { backend, family, name: table, decoder } = this.#table;
    const place = { backend, family, table, chain: this.name, number: index + 1, line };
    if (line === cutLine) return { place, text, steps: cutSteps };
    const { steps, comment, counter: given } = decoder.decode(text);
    const counter = counterAt(bytes, lineStarts[line - 1] as number) ?? given;
    if (counter === undefined) return comment === undefined ? { place, text, steps } : { place, text, steps, comment };
    return comment === undefined ? { place, text, steps, counter } : { place, text, steps, comment, counter };
  }
}

/** The rule of a line (from 0) as `-A` writes it, without counters. */
export function ruleText({ bytes, lineStarts }: IptablesDump, line: number, chain: string): string {
  const [start, stop] = ruleSpan(bytes, lineStarts[line] as number, lineStarts[line + 1] as number);
  const text = bytes.toString('utf8', start, stop);
  return text.startsWith('-I') ? `-A ${chain}${text.replace(/^-I\s+\S+(\s+\d+(?=\s|$))?/, '')}` : text;
}

/** Why a line is not believed. */
export const cutReason = 'the dump ends in the middle of this line';
const cutSteps: Rule['steps'] = [
  { kind: 'may', module: 'truncated', reason: cutReason },
  { kind: 'unknown', name: 'truncated', reason: cutReason },
];

function counterAt(bytes: Buffer, lineStart: number): Counter | undefined {
  const at = skipBlanks(bytes, lineStart, bytes.length);
  if (bytes[at] !== bracket) return undefined;
  const found = /^\[(\d+):(\d+)\]/.exec(bytes.toString('latin1', at, at + 64));
  return found === null ? undefined : { packets: BigInt(found[1] as string), bytes: BigInt(found[2] as string) };
}
