// A chain of an iptables dump: places in the text, decoded when asked for.
import { bracket, ruleSpan, skipBlanks } from './iptables.bytes.ts';
import { decodeRule } from './iptables.decode.ts';
import type { DecodeContext } from './iptables.options.ts';
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
}

/** A table while the text is scanned. */
export interface TableScan {
  readonly backend: Backend;
  readonly family: 'ip' | 'ip6';
  readonly name: string;
  readonly line: number;
  readonly chains: Map<string, IptablesChain>;
  readonly context: DecodeContext;
}

/** A chain of a dump. Rules are kept as places in the text; a decoded rule is kept. */
export class IptablesChain implements Chain {
  readonly name: string;
  readonly line: number;
  base?: BaseChain;
  counter?: Counter;
  length = 0;
  /** Its place among all chains of the dump. */
  readonly id: number;
  readonly #table: TableScan;
  /** Lines (from 0) of its rules: `length` of them from `#first` on. */
  #lines: Uint32Array = noLines;
  #first = 0;
  #rules: (Rule | undefined)[] | undefined;
  #dump: IptablesDump | undefined;

  constructor(table: TableScan, name: string, place: { readonly id: number; readonly line: number }) {
    this.#table = table;
    this.name = name;
    this.id = place.id;
    this.line = place.line;
  }

  /** Gives the chain its rules once the whole text is scanned. */
  attach(dump: IptablesDump, lines: Uint32Array, span: { readonly first: number; readonly length: number }): void {
    this.#dump = dump;
    this.#lines = lines;
    this.#first = span.first;
    this.length = span.length;
  }

  isOf(table: object): boolean {
    return this.#table === table;
  }

  /** The line, from 1, of the rule at an index. */
  lineOf(index: number): number {
    const line = index >= 0 && index < this.length ? this.#lines[this.#first + index] : undefined;
    if (line === undefined) throw new RangeError(`Chain ${this.name} has ${this.length} rules, there is no index ${index}.`);
    return line + 1;
  }

  text(index: number): string {
    const { bytes, lineStarts } = this.#dump as IptablesDump;
    const line = this.lineOf(index) - 1;
    const [start, stop] = ruleSpan(bytes, lineStarts[line] as number, lineStarts[line + 1] as number);
    const text = bytes.toString('utf8', start, stop);
    return text.startsWith('-I') ? `-A ${this.name}${text.replace(/^-I\s+\S+(\s+\d+(?=\s|$))?/, '')}` : text;
  }

  rule(index: number): Rule {
    const kept = this.#rules?.[index];
    if (kept !== undefined) return kept;
    const rule = this.#decode(index);
    this.#rules ??= new Array<Rule | undefined>(this.length);
    this.#rules[index] = rule;
    return rule;
  }

  #decode(index: number): Rule {
    const { bytes, lineStarts, cutLine } = this.#dump as IptablesDump;
    const line = this.lineOf(index);
    const text = this.text(index);
    const { backend, family, name: table, context } = this.#table;
    const place = { backend, family, table, chain: this.name, number: index + 1, line };
    if (line === cutLine) return { place, text, steps: cutSteps };
    const { steps, comment, counter: given } = decodeRule(text, context);
    const counter = counterAt(bytes, lineStarts[line - 1] as number) ?? given;
    if (counter === undefined) return comment === undefined ? { place, text, steps } : { place, text, steps, comment };
    return comment === undefined ? { place, text, steps, counter } : { place, text, steps, comment, counter };
  }
}

const noLines = new Uint32Array(0);

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
