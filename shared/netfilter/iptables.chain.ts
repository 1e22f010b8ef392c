// The chains of an iptables dump: places in the text, made and decoded when they are asked for.
import { bracket, letterI, ruleSpan, skipBlanks } from './iptables.bytes.ts';
import type { DecodedRule } from './iptables.decode.ts';
import type { QuickLook } from './iptables.look.ts';
import type { ChainNames } from './iptables.names.ts';
import type { ShapedDecoder } from './iptables.shape.ts';
import type { Backend, Counter, Rule, RulePlace } from './rule.ts';
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
  readonly decoded: DecodedRules;
}

/** All chains of a dump by number, whatever their table: names and places only. */
export interface DumpedChains {
  readonly names: ChainNames;
  /** Line of each declaration, from 1; 0 for a chain that only its rules name. */
  readonly lines: Uint32Array;
  /** What only built-in chains have. */
  readonly builtin: ReadonlyMap<number, Builtin>;
  /** Lines (from 0) of all rules, chain by chain; those of chain `id` stand from `firstRules[id]` up to `firstRules[id + 1]`. */
  readonly ruleLines: Uint32Array;
  readonly firstRules: Uint32Array;
}

export interface Builtin {
  readonly base: BaseChain;
  readonly counter?: Counter;
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
  readonly #ids: Uint32Array;
  readonly #made = new Map<number, IptablesChain>();

  constructor(dump: IptablesDump, table: DumpTable & { readonly number: number; readonly ids: Uint32Array }) {
    this.#dump = dump;
    this.#table = table;
    this.#number = table.number;
    this.#ids = table.ids;
  }

  get size(): number {
    return this.#ids.length;
  }

  has(name: string): boolean {
    return this.#dump.chains.names.named(this.#number, name) >= 0;
  }

  get(name: string): IptablesChain | undefined {
    const id = this.#dump.chains.names.named(this.#number, name);
    return id < 0 ? undefined : this.#chain(id);
  }

  *keys(): MapIterator<string> {
    for (const id of this.#ids) yield this.#dump.chains.names.text(id);
  }

  *values(): MapIterator<IptablesChain> {
    for (const id of this.#ids) yield this.#chain(id);
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
  baseChains(): readonly IptablesChain[] {
    const { builtin, names } = this.#dump.chains;
    return [...builtin.keys()].filter((id) => names.tableOf(id) === this.#number).map((id) => this.#chain(id));
  }

  /** Number of rules in all chains, without making one. */
  get ruleCount(): number {
    const { firstRules } = this.#dump.chains;
    let count = 0;
    for (const id of this.#ids) count += (firstRules[id + 1] as number) - (firstRules[id] as number);
    return count;
  }

  #chain(id: number): IptablesChain {
    let chain = this.#made.get(id);
    if (chain === undefined) this.#made.set(id, (chain = new IptablesChain(this.#dump, this.#table, id)));
    return chain;
  }
}

/** The rules that were decoded lately: a walk to every NodePort comes through hundreds of thousands, most of them once. */
export class DecodedRules {
  /** Each line has one slot, which it shares with the lines that are a multiple of their number away. */
  readonly #slots: (IptablesRule | undefined)[] = Array.from({ length: slotCount });

  /** The rule of a line (from 1). */
  get(line: number): IptablesRule | undefined {
    const rule = this.#slots[line & (slotCount - 1)];
    return rule?.line === line ? rule : undefined;
  }

  keep(rule: IptablesRule): void {
    this.#slots[rule.line & (slotCount - 1)] = rule;
  }
}

/** A power of two; rules have about half a kilobyte each. */
const slotCount = 4096;

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

  constructor(dump: IptablesDump, table: DumpTable, id: number) {
    const { names, lines, builtin, firstRules } = dump.chains;
    this.#dump = dump;
    this.#table = table;
    this.name = names.text(id);
    this.line = lines[id] as number;
    this.#first = firstRules[id] as number;
    this.length = (firstRules[id + 1] as number) - this.#first;
    const own = builtin.get(id);
    if (own !== undefined) this.base = own.base;
    if (own?.counter !== undefined) this.counter = own.counter;
  }

  /** The line, from 1, of the rule at an index. */
  lineOf(index: number): number {
    const line = index >= 0 && index < this.length ? this.#dump.chains.ruleLines[this.#first + index] : undefined;
    if (line === undefined) throw new RangeError(`Chain ${this.name} has ${this.length} rules, there is no index ${index}.`);
    return line + 1;
  }

  text(index: number): string {
    return ruleText(this.#dump, this.lineOf(index) - 1, this.name);
  }

  rule(index: number): Rule {
    const { decoded } = this.#dump;
    const line = this.lineOf(index);
    const kept = decoded.get(line);
    if (kept !== undefined) return kept;
    const rule = new IptablesRule(this.#dump, { table: this.#table, chain: this.name, number: index + 1 }, line);
    decoded.keep(rule);
    return rule;
  }
}

/** A rule of a dump: its steps are decoded at once, the rest when it is asked for. */
class IptablesRule implements Rule {
  /** From 1. */
  readonly line: number;
  readonly steps: Rule['steps'];
  readonly #dump: IptablesDump;
  readonly #at: RuleAt;
  readonly #decoded: Pick<DecodedRule, 'comment' | 'counter'>;
  #text: string | undefined;
  #place: RulePlace | undefined;

  constructor(dump: IptablesDump, at: RuleAt, line: number) {
    this.line = line;
    this.#dump = dump;
    this.#at = at;
    const decoded = line === dump.cutLine ? cutRule : decode(dump, at, line);
    this.steps = decoded.steps;
    this.#decoded = decoded;
  }

  get place(): RulePlace {
    const { table, chain, number } = this.#at;
    this.#place ??= { backend: table.backend, family: table.family, table: table.name, chain, number, line: this.line };
    return this.#place;
  }

  get text(): string {
    this.#text ??= ruleText(this.#dump, this.line - 1, this.#at.chain);
    return this.#text;
  }

  get comment(): string | undefined {
    return this.#decoded.comment;
  }

  get counter(): Counter | undefined {
    if (this.line === this.#dump.cutLine) return undefined;
    return counterAt(this.#dump.bytes, this.#dump.lineStarts[this.line - 1] as number) ?? this.#decoded.counter;
  }
}

/** Where a rule stands; `number` counts from 1 within the chain. */
interface RuleAt {
  readonly table: DumpTable;
  readonly chain: string;
  readonly number: number;
}

function decode(dump: IptablesDump, { table, chain }: RuleAt, line: number): DecodedRule {
  const { bytes, lineStarts } = dump;
  const [start, stop] = ruleSpan(bytes, lineStarts[line - 1] as number, lineStarts[line] as number);
  if (bytes[start + 1] !== letterI) return table.decoder.decode(bytes, start, stop);
  const text = Buffer.from(ruleText(dump, line - 1, chain));
  return table.decoder.decode(text, 0, text.length);
}

/** The rule of a line (from 0) as `-A` writes it, without counters. */
export function ruleText({ bytes, lineStarts }: IptablesDump, line: number, chain: string): string {
  const [start, stop] = ruleSpan(bytes, lineStarts[line] as number, lineStarts[line + 1] as number);
  const text = bytes.toString('utf8', start, stop);
  return text.startsWith('-I') ? `-A ${chain}${text.replace(/^-I\s+\S+(\s+\d+(?=\s|$))?/, '')}` : text;
}

/** Why a line is not believed. */
export const cutReason = 'the dump ends in the middle of this line';
const cutRule: Pick<DecodedRule, 'steps' | 'comment' | 'counter'> = {
  steps: [
    { kind: 'may', module: 'truncated', reason: cutReason },
    { kind: 'unknown', name: 'truncated', reason: cutReason },
  ],
  comment: undefined,
  counter: undefined,
};

function counterAt(bytes: Buffer, lineStart: number): Counter | undefined {
  const at = skipBlanks(bytes, lineStart, bytes.length);
  if (bytes[at] !== bracket) return undefined;
  const found = /^\[(\d+):(\d+)\]/.exec(bytes.toString('latin1', at, at + 64));
  return found === null ? undefined : { packets: BigInt(found[1] as string), bytes: BigInt(found[2] as string) };
}
