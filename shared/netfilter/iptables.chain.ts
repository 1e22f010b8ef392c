// The chains of an iptables dump and their rules: places in the text, made and decoded when they are asked for.
import { type Decider, newDecider } from '../model/outcome.ts';
import { bracket, letterI, ruleSpan, skipBlanks } from './iptables.bytes.ts';
import type { DecodedRule } from './iptables.decode.ts';
import { JumpTargets, rulesLookedAtMax } from './iptables.jumps.ts';
import type { QuickLook } from './iptables.look.ts';
import type { DumpedChains, IdRange } from './iptables.order.ts';
import { Place } from './iptables.places.ts';
import type { ShapedDecoder } from './iptables.shape.ts';
import { Recent } from './recent.ts';
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
  /** Rules that were decoded lately, by line from 1: a walk to every NodePort comes through hundreds of thousands, most of them once. */
  readonly decoded: Recent<Rule>;
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
  readonly jumps: JumpTargets;
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
  #base: readonly IptablesChain[] | undefined;
  readonly #long = new Map<number, IptablesChain>();
  readonly #short: Recent<IptablesChain>;
  /** The name that was looked up last, and its chain: a jump is asked for twice, when it is decoded and when it is walked. */
  #lastName = '';
  #lastId = -1;

  constructor(dump: IptablesDump, table: Omit<DumpTable, 'jumps'>, { number, ranges, ruleCount }: TableContent) {
    this.#dump = dump;
    this.#table = { ...table, jumps: new JumpTargets(dump, number) };
    this.#number = number;
    this.#ranges = ranges;
    this.ruleCount = ruleCount;
    this.#short = new Recent(dump.chains.names.length, shortChains);
  }

  get size(): number {
    return this.#ranges.reduce((size, { first, end }) => size + end - first, 0);
  }

  has(name: string): boolean {
    return this.#named(name) >= 0;
  }

  /** As `has`, for a name that stands at a place of some text. */
  hasAt(name: string, { bytes, start }: Place): boolean {
    const id = bytes === this.#dump.bytes ? this.#table.jumps.at(start) : undefined;
    if (id === undefined) return this.has(name);
    this.#lastName = name;
    this.#lastId = id;
    return id >= 0;
  }

  get(name: string): IptablesChain | undefined {
    const id = this.#named(name);
    return id < 0 ? undefined : this.#chain(id, name);
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

  /**
   * Names of the chains that may differ from those of an earlier reading, and of those that are gone. All others have the same lines, counters included: of a
   * hundred thousand chains nearly all, so that no chain is made, nor a text.
   */
  changedSince(before: TableChains): readonly string[] {
    const [names, earlier] = [this.#dump.chains.names, before.#dump.chains.names];
    const changed: string[] = [];
    const found = new Uint8Array(earlier.length);
    let next = before.#ranges[0]?.first ?? 0;
    for (const id of this.#ids()) {
      const other = this.#isNamed(id, before, next) ? next : before.#named(names.text(id));
      if (other >= 0) {
        found[other] = 1;
        next = other + 1;
      }
      if (other < 0 || !this.#hasLinesOf(id, before, other)) changed.push(names.text(id));
    }
    for (const id of before.#ids()) if (found[id] === 0) changed.push(earlier.text(id));
    return changed;
  }

  /** Whether a chain has the name of one of another reading. */
  #isNamed(id: number, before: TableChains, other: number): boolean {
    const [names, earlier] = [this.#dump.chains.names, before.#dump.chains.names];
    if (other >= earlier.length || earlier.tableOf(other) !== before.#number) return false;
    return this.#dump.bytes.compare(before.#dump.bytes, earlier.startOf(other), earlier.endOf(other), names.startOf(id), names.endOf(id)) === 0;
  }

  /** Whether both have the same rules, as far as bytes can say it: false may be wrong. Built-in chains have a policy as well. */
  #hasLinesOf(id: number, before: TableChains, other: number): boolean {
    const [dump, earlier] = [this.#dump, before.#dump];
    if (dump.chains.builtin.has(id) || earlier.chains.builtin.has(other)) return false;
    const [start, otherStart] = [startOf(dump, id), startOf(earlier, other)];
    if (start < 0 || otherStart < 0) return false;
    return dump.bytes.compare(earlier.bytes, otherStart, endOf(earlier, other), start, endOf(dump, id)) === 0;
  }

  *#ids(): Generator<number> {
    for (const { first, end } of this.#ranges) for (let id = first; id < end; id++) yield id;
  }

  #named(name: string): number {
    if (name === this.#lastName) return this.#lastId;
    this.#lastName = name;
    this.#lastId = this.#dump.chains.names.named(this.#number, name);
    return this.#lastId;
  }

  #chain(id: number, name?: string): IptablesChain {
    const { rules, names } = this.#dump.chains;
    const isShort = (rules.first[id + 1] as number) - (rules.first[id] as number) <= shortChain;
    const known = isShort ? this.#short.get(id + 1) : this.#long.get(id);
    if (known !== undefined) return known;
    const chain = new IptablesChain(this.#dump, this.#table, { id, name: name ?? names.text(id) });
    if (isShort) this.#short.keep(id + 1, chain);
    else this.#long.set(id, chain);
    return chain;
  }
}

/** Where the rules of a chain begin in the text; -1 if they do not stand together. */
function startOf({ chains, lineStarts }: IptablesDump, id: number): number {
  const { lines, first } = chains.rules;
  const [from, end] = [first[id] as number, first[id + 1] as number];
  if (from === end) return 0;
  const line = lines[from] as number;
  return (lines[end - 1] as number) - line === end - 1 - from ? (lineStarts[line] as number) : -1;
}

/** Where they end, with the end of the last line. */
function endOf({ chains, lineStarts }: IptablesDump, id: number): number {
  const { lines, first } = chains.rules;
  const [from, end] = [first[id] as number, first[id + 1] as number];
  return from === end ? 0 : (lineStarts[(lines[end - 1] as number) + 1] as number);
}

/** Rules of a chain that is made anew when it was not asked for lately. Others are kept, with what is found out about them. */
const shortChain = 16;
const shortChains = 256;

/** A chain of a dump: its rules are kept as places in the text. */
export class IptablesChain implements Chain {
  readonly name: string;
  readonly length: number;
  readonly dump: IptablesDump;
  readonly table: DumpTable;
  readonly #id: number;
  /** Where its rules begin among those of all chains. */
  readonly #first: number;

  constructor(dump: IptablesDump, table: DumpTable, { id, name }: { readonly id: number; readonly name: string }) {
    const { first } = dump.chains.rules;
    this.dump = dump;
    this.table = table;
    this.name = name;
    this.#id = id;
    this.#first = first[id] as number;
    this.length = (first[id + 1] as number) - this.#first;
  }

  get line(): number {
    return this.dump.chains.names.lineOf(this.#id);
  }

  get base(): BaseChain | undefined {
    return this.dump.chains.builtin.get(this.#id)?.base;
  }

  get counter(): Counter | undefined {
    return this.dump.chains.builtin.get(this.#id)?.counter;
  }

  /** The line, from 1, of the rule at an index. */
  lineOf(index: number): number {
    const line = index >= 0 && index < this.length ? this.dump.chains.rules.lines[this.#first + index] : undefined;
    if (line === undefined) throw new RangeError(`Chain ${this.name} has ${this.length} rules, there is no index ${index}.`);
    return line + 1;
  }

  text(index: number): string {
    return ruleText(this.dump, this.lineOf(index) - 1, this.name);
  }

  rule(index: number): Rule {
    const { decoded } = this.dump;
    const line = this.lineOf(index);
    const kept = decoded.get(line);
    if (kept !== undefined) return kept;
    if (index === 0 && this.length > 2 && this.length <= rulesLookedAtMax) this.table.jumps.lookAt(this.#first, this.#first + this.length);
    const rule = new IptablesRule(this, index, line);
    decoded.keep(line, rule);
    return rule;
  }
}

/**
 * As many as are decoded on the way to a NodePort of a hundred endpoints, whose walks from other vantages come next. The collector of garbage copies what is
 * kept: a trace that it interrupts takes a millisecond longer for every four thousand.
 */
export const decodedRulesMax = 512;

/** A rule of a dump: its steps are decoded at once, the rest when it is asked for. */
class IptablesRule implements Rule {
  readonly steps: Rule['steps'];
  readonly #chain: IptablesChain;
  readonly #index: number;
  /** From 1. */
  readonly #line: number;
  /** Absent for a rule of a known shape. */
  readonly #whole: DecodedPart | undefined;
  #decider: Decider | undefined;

  constructor(chain: IptablesChain, index: number, line: number) {
    const decoded = decode(chain, line);
    this.steps = 'steps' in decoded ? decoded.steps : decoded;
    this.#chain = chain;
    this.#index = index;
    this.#line = line;
    this.#whole = 'steps' in decoded ? decoded : undefined;
  }

  get place(): RulePlace {
    const { backend, family, name: table } = this.#chain.table;
    return { backend, family, table, chain: this.#chain.name, number: this.#index + 1, line: this.#line };
  }

  get text(): string {
    return this.#decider?.text ?? this.#chain.text(this.#index);
  }

  get decider(): Decider {
    this.#decider ??= newDecider(this);
    return this.#decider;
  }

  get comment(): string | undefined {
    if (this.#whole !== undefined) return this.#whole.comment;
    const { bytes, start, end } = placeOf(this.#chain, this.#line);
    return this.#chain.table.decoder.commentAt(bytes, start, end);
  }

  get counter(): Counter | undefined {
    const { bytes, lineStarts, cutLine } = this.#chain.dump;
    return this.#line === cutLine ? undefined : (counterAt(bytes, lineStarts[this.#line - 1] as number) ?? this.#whole?.counter);
  }
}

type DecodedPart = Pick<DecodedRule, 'steps' | 'comment' | 'counter'>;

function decode(chain: IptablesChain, line: number): DecodedPart | Rule['steps'] {
  const { bytes, lineStarts, cutLine } = chain.dump;
  if (line === cutLine) return cutRule;
  const [start, stop] = ruleSpan(bytes, lineStarts[line - 1] as number, lineStarts[line] as number);
  if (bytes[start + 1] !== letterI) return chain.table.decoder.decode(bytes, start, stop);
  const place = placeOf(chain, line);
  return chain.table.decoder.decode(place.bytes, place.start, place.end);
}

/** Where the rule of a line (from 1) stands as `-A` writes it. */
function placeOf({ dump, name }: IptablesChain, line: number): Place {
  const { bytes, lineStarts } = dump;
  const [start, stop] = ruleSpan(bytes, lineStarts[line - 1] as number, lineStarts[line] as number);
  if (bytes[start + 1] !== letterI) return new Place(bytes, start, stop);
  const text = Buffer.from(ruleText(dump, line - 1, name));
  return new Place(text, 0, text.length);
}

/** The rule of a line (from 0) as `-A` writes it, without counters. */
export function ruleText({ bytes, lineStarts }: IptablesDump, line: number, chain: string): string {
  const [start, stop] = ruleSpan(bytes, lineStarts[line] as number, lineStarts[line + 1] as number);
  const text = bytes.toString('utf8', start, stop);
  return text.startsWith('-I') ? `-A ${chain}${text.replace(/^-I\s+\S+(\s+\d+(?=\s|$))?/, '')}` : text;
}

/** Why a line is not believed. */
export const cutReason = 'the dump ends in the middle of this line';
const cutRule: DecodedPart = {
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
