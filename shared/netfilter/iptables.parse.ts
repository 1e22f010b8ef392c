// Reads what `iptables-save`, `ip6tables-save` or `iptables -S` printed: scans the text once, groups rules by chain, and decodes a rule when it is asked for.
import { decodeRule } from './iptables.decode.ts';
import { builtinChain } from './iptables.hooks.ts';
import type { DecodeContext } from './iptables.options.ts';
import type { Backend, Counter, Rule } from './rule.ts';
import type { BaseChain, Chain, Issue, NftSet, Parsed, Table } from './ruleset.ts';

export interface IptablesOptions {
  /** Overrides the header; without header and option `ip`. */
  readonly family?: 'ip' | 'ip6';
  /** For dumps without a header that tells; without both `legacy`. */
  readonly backend?: Backend;
  /** Table of the rules that stand before any `*table` line, as `iptables -t nat -S` prints them; `filter` if absent. */
  readonly table?: string;
}

/** A parsed dump; `dump` holds the text and what became of each line. */
export interface IptablesParsed extends Parsed {
  readonly tables: readonly IptablesTable[];
  readonly dump: IptablesDump;
}

export interface IptablesTable extends Table {
  readonly chains: ReadonlyMap<string, IptablesChain>;
}

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

/** Every line is one of these; 0 would be a line that nobody accounts for. */
export const lineKind = { ignorable: 1, table: 2, chain: 3, rule: 4, issue: 5 } as const;

/**
 * Reads a dump; never throws. Scales to hundreds of megabytes: no object is made for a rule before it is asked for.
 * A header comment names backend and family, and a dump with several headers (both backends, both families one after another) yields the tables of each.
 */
export function parseIptables(text: Buffer | string, options: IptablesOptions = {}): IptablesParsed {
  const scan = new Scan(typeof text === 'string' ? Buffer.from(text, 'utf8') : text, options);
  const { bytes, newline } = scan;
  for (let start = 0; start < bytes.length; ) {
    let end = start;
    while (end < bytes.length && bytes[end] !== newline) end++;
    scan.beginLine(start);
    readLine(scan, start, end);
    start = end + 1;
  }
  return finish(scan);
}

/** Prints a parsed dump, byte for byte what was read: the lines that tables, chains, rules, issues and ignorable lines account for, in order. */
export function printIptables(parsed: IptablesParsed): Buffer {
  const { bytes, lineStarts, lineKinds, lineCount } = parsed.dump;
  const claimed = new Uint8Array(lineCount);
  for (let line = 0; line < lineCount; line++) if (lineKinds[line] !== 0 && lineKinds[line] !== lineKind.rule) claimed[line] = 1;
  for (const table of parsed.tables) for (const chain of table.chains.values()) for (let i = 0; i < chain.length; i++) claimed[chain.lineOf(i) - 1] = 1;
  const out = Buffer.allocUnsafe(bytes.length);
  let size = 0;
  for (let line = 0; line < lineCount; ) {
    let next = line;
    while (next < lineCount && claimed[next] === 1) next++;
    if (next > line) size += bytes.copy(out, size, lineStarts[line], lineStarts[next]);
    line = next + 1;
  }
  return out.subarray(0, size);
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
    return { place, text, steps, ...(comment === undefined ? {} : { comment }), ...(counter === undefined ? {} : { counter }) };
  }
}

const noLines = new Uint32Array(0);
const noSets: ReadonlyMap<string, NftSet> = new Map();
const cutReason = 'the dump ends in the middle of this line';
const cutSteps: Rule['steps'] = [
  { kind: 'may', module: 'truncated', reason: cutReason },
  { kind: 'unknown', name: 'truncated', reason: cutReason },
];

/** A table while the text is scanned. */
interface TableScan {
  readonly backend: Backend;
  readonly family: 'ip' | 'ip6';
  readonly name: string;
  readonly line: number;
  readonly chains: Map<string, IptablesChain>;
  readonly context: DecodeContext;
}

/** Numbers that grow without an object for each. */
class Numbers {
  values: Uint32Array;
  length = 0;

  constructor(capacity: number) {
    this.values = new Uint32Array(capacity);
  }

  push(value: number): void {
    if (this.length === this.values.length) {
      const larger = new Uint32Array(this.length * 2);
      larger.set(this.values);
      this.values = larger;
    }
    this.values[this.length++] = value;
  }
}

/** What the scan knows at a line. */
class Scan {
  readonly bytes: Buffer;
  /** Line feed; carriage return in a text that has no line feed, as some terminals and editors leave it. */
  readonly newline: number;
  readonly issues: Issue[] = [];
  readonly tables: TableScan[] = [];
  readonly chains: IptablesChain[] = [];
  /** Where the text first names each chain. */
  readonly nameStarts: Numbers;
  readonly starts: Numbers;
  readonly kinds: Numbers;
  readonly ruleChains: Numbers;
  readonly ruleLines: Numbers;
  /** Chain ids that `-I` lines name. */
  readonly inserted = new Set<number>();
  readonly defaultTable: string;
  readonly fixedFamily: 'ip' | 'ip6' | undefined;
  family: 'ip' | 'ip6';
  backend: Backend;
  table: TableScan | undefined;
  /** The open table comes from no `*table` line, so that no COMMIT is due. */
  implicit = false;
  /** Chain of the rule before, -1 at the start of a table. */
  lastId = -1;

  constructor(bytes: Buffer, options: IptablesOptions) {
    this.bytes = bytes;
    this.newline = bytes.includes(lineFeed) ? lineFeed : carriageReturn;
    const capacity = Math.max(64, bytes.length >>> 6);
    this.nameStarts = new Numbers(64);
    this.starts = new Numbers(capacity);
    this.kinds = new Numbers(capacity);
    this.ruleChains = new Numbers(capacity);
    this.ruleLines = new Numbers(capacity);
    this.fixedFamily = options.family;
    this.family = options.family ?? 'ip';
    this.backend = options.backend ?? 'legacy';
    this.defaultTable = options.table ?? 'filter';
  }

  beginLine(start: number): void {
    this.starts.push(start);
    this.kinds.push(0);
  }

  /** The current line, from 1. */
  get line(): number {
    return this.starts.length;
  }

  mark(kind: number): void {
    this.kinds.values[this.kinds.length - 1] = kind;
  }

  text(start: number, stop: number): string {
    return this.bytes.toString('utf8', start, stop);
  }

  issue(reason: string, line = this.line): void {
    const start = this.starts.values[line - 1] as number;
    const end = this.bytes.indexOf(this.newline, start);
    const stop = Math.min(end < 0 ? this.bytes.length : end, start + issueTextMax);
    this.issues.push({ line, text: this.text(start, stop).replace(/\r$/, ''), reason });
  }

  reject(reason: string): void {
    this.mark(lineKind.issue);
    this.issue(reason);
  }
}

/** Bytes of a line that an issue repeats. */
const issueTextMax = 500;

const tab = 9;
const lineFeed = 10;
const carriageReturn = 13;
const space = 32;
const hash = 35;
const asterisk = 42;
const dash = 45;
const colon = 58;
const zero = 48;
const letterA = 65;
const letterI = 73;
const letterN = 78;
const letterP = 80;
const bracket = 91;
const closingBracket = 93;

function readLine(scan: Scan, start: number, end: number): void {
  const { bytes } = scan;
  const stop = end > start && bytes[end - 1] === carriageReturn ? end - 1 : end;
  const at = skipBlanks(bytes, start, stop);
  if (at === stop) return scan.mark(lineKind.ignorable);
  switch (bytes[at]) {
    case dash:
      return readCommand(scan, at, stop);
    case bracket:
      return readCounted(scan, at, stop);
    case colon:
      return readDeclaration(scan, at, stop);
    case asterisk:
      return readTable(scan, scan.text(at + 1, stop).trim());
    case hash:
      return readComment(scan, scan.text(at, Math.min(stop, at + issueTextMax)));
    default:
      return readOther(scan, scan.text(at, Math.min(stop, at + issueTextMax)).trim());
  }
}

function readCommand(scan: Scan, at: number, stop: number): void {
  const { bytes } = scan;
  const name = skipBlanks(bytes, at + 2, stop);
  if (name <= at + 2 || name >= stop) return scan.reject('not a line of iptables-save or iptables -S');
  switch (bytes[at + 1]) {
    case letterA:
      return addRule(scan, name, stop);
    case letterI:
      addRule(scan, name, stop);
      scan.inserted.add(scan.lastId);
      return;
    case letterN:
      return readNewChain(scan, name, stop);
    case letterP:
      return readPolicy(scan, name, stop);
    default:
      return scan.reject('commands that change rules are no part of a dump: it consists of -A, -I, -N and -P');
  }
}

function readCounted(scan: Scan, at: number, stop: number): void {
  const after = afterCounter(scan.bytes, at, stop);
  if (after === undefined) return scan.reject('not a line of iptables-save: counters [packets:bytes] are followed by -A');
  readCommand(scan, after, stop);
}

/** Where the rule begins behind `[12:345] `. */
function afterCounter(bytes: Buffer, at: number, stop: number): number | undefined {
  let next = at + 1;
  for (let colons = 0; next < stop; next++) {
    const code = bytes[next] as number;
    if (code === colon && colons++ === 0) continue;
    if (code < 48 || code > 57) break;
  }
  if (next >= stop || bytes[next] !== closingBracket) return undefined;
  const command = skipBlanks(bytes, next + 1, stop);
  return command > next + 1 && bytes[command] === dash ? command : undefined;
}

function counterAt(bytes: Buffer, lineStart: number): Counter | undefined {
  const at = skipBlanks(bytes, lineStart, bytes.length);
  if (bytes[at] !== bracket) return undefined;
  const found = /^\[(\d+):(\d+)\]/.exec(bytes.toString('latin1', at, at + 64));
  return found === null ? undefined : { packets: BigInt(found[1] as string), bytes: BigInt(found[2] as string) };
}

/** The rule's own text in a line: without counters, blanks around it and line end. */
function ruleSpan(bytes: Buffer, start: number, nextStart: number): [number, number] {
  let stop = nextStart;
  while (stop > start && (bytes[stop - 1] as number) <= space) stop--;
  const at = skipBlanks(bytes, start, stop);
  return [bytes[at] === bracket ? (afterCounter(bytes, at, stop) ?? at) : at, stop];
}

/** End of the word that begins at an offset. */
function wordEnd(bytes: Buffer, at: number, stop: number): number {
  let end = at;
  while (end < stop && (bytes[end] as number) > space) end++;
  return end;
}

function addRule(scan: Scan, nameStart: number, stop: number): void {
  const table = scan.table ?? openImplicit(scan);
  const id = chainAt(scan, table, { start: nameStart, stop });
  scan.lastId = id;
  scan.ruleChains.push(id);
  scan.ruleLines.push(scan.line - 1);
  scan.mark(lineKind.rule);
}

interface Span {
  readonly start: number;
  readonly stop: number;
}

/** Rules stand together by chain, in the order of the chains: the names of the last chain and the next are compared in place before one is looked up. */
function chainAt(scan: Scan, table: TableScan, { start, stop }: Span): number {
  const last = scan.lastId;
  if (last >= 0) {
    if (namesChain(scan, last, { start, stop })) return last;
    const next = last + 1;
    if (scan.chains[next]?.isOf(table) === true && namesChain(scan, next, { start, stop })) return next;
  }
  const name = scan.text(start, wordEnd(scan.bytes, start, stop));
  return table.chains.get(name)?.id ?? addUndeclared(scan, name, start);
}

/** Whether the word at an offset is the name of a chain, by the place where the text first has it. */
function namesChain(scan: Scan, id: number, { start, stop }: Span): boolean {
  const { bytes } = scan;
  let known = scan.nameStarts.values[id] as number;
  let at = start;
  for (; at < stop; at++, known++) {
    const code = bytes[at] as number;
    if (code <= space) break;
    if (code !== bytes[known]) return false;
  }
  return known >= bytes.length || (bytes[known] as number) <= space;
}

function addUndeclared(scan: Scan, name: string, nameStart: number): number {
  const table = scan.table as TableScan;
  const base = builtinChain(table.name, name, 'accept');
  scan.issue(`chain ${name} of table ${table.name} is not declared${base === undefined ? '' : ': its policy is not in the dump, ACCEPT is assumed'}`);
  return addChain(scan, { name, nameStart, line: 0 }, base).id;
}

interface NewChain {
  readonly name: string;
  readonly nameStart: number;
  readonly line: number;
}

function addChain(scan: Scan, { name, nameStart, line }: NewChain, base: BaseChain | undefined): IptablesChain {
  const table = scan.table as TableScan;
  const chain = new IptablesChain(table, name, { id: scan.chains.length, line });
  if (base !== undefined) chain.base = base;
  scan.chains.push(chain);
  scan.nameStarts.push(nameStart);
  table.chains.set(name, chain);
  return chain;
}

function readDeclaration(scan: Scan, at: number, stop: number): void {
  const { bytes } = scan;
  if (scan.table === undefined || scan.implicit) return scan.reject('a chain is declared before any *table line');
  const end = wordEnd(bytes, at + 1, stop);
  const name = scan.text(at + 1, end);
  const policy = skipBlanks(bytes, end, stop);
  if (isUserPolicy(bytes, policy, stop)) return declare(scan, { name, nameStart: at + 1, line: scan.line }, {});
  const found = /^(\S+)(?:\s+\[(\d+):(\d+)\])?\s*$/.exec(scan.text(policy, stop));
  if (found === null) return scan.reject('a chain declaration has the form :CHAIN POLICY [packets:bytes]');
  declare(scan, { name, nameStart: at + 1, line: scan.line }, policyOf(found[1] as string, found[2], found[3]));
}

/** `-` or `- [0:0]`, by far the most frequent policy. */
function isUserPolicy(bytes: Buffer, at: number, stop: number): boolean {
  if (at >= stop || bytes[at] !== dash) return false;
  return at + 1 === stop || (stop === at + 7 && bytes[at + 3] === zero && bytes[at + 5] === zero && bytes[at + 6] === closingBracket);
}

function readNewChain(scan: Scan, start: number, stop: number): void {
  const end = wordEnd(scan.bytes, start, stop);
  if (skipBlanks(scan.bytes, end, stop) !== stop) return scan.reject('a new chain has the form -N CHAIN');
  if (scan.table === undefined) openImplicit(scan);
  declare(scan, { name: scan.text(start, end), nameStart: start, line: scan.line }, {});
}

function readPolicy(scan: Scan, start: number, stop: number): void {
  const found = /^(\S+)\s+(\S+)(?:\s+-c\s+(\d+)\s+(\d+))?\s*$/.exec(scan.text(start, stop));
  if (found === null) return scan.reject('a policy has the form -P CHAIN POLICY');
  if (scan.table === undefined) openImplicit(scan);
  declare(scan, { name: found[1] as string, nameStart: start, line: scan.line }, policyOf(found[2] as string, found[3], found[4]));
}

interface Policy {
  /** Absent for chains that are only jumped to. */
  readonly word?: string;
  readonly counter?: Counter;
}

function policyOf(word: string, packets: string | undefined, bytes: string | undefined): Policy {
  const policy = word === '-' ? {} : { word };
  return packets === undefined || bytes === undefined ? policy : { ...policy, counter: { packets: BigInt(packets), bytes: BigInt(bytes) } };
}

/** The longest name of a built-in chain: longer ones need not be looked up. */
const builtinNameMax = 'POSTROUTING'.length;

function declare(scan: Scan, chain: NewChain, { word, counter }: Policy): void {
  const table = scan.table as TableScan;
  const { name } = chain;
  if (name === '') return scan.reject('a chain declaration without a chain name');
  if (table.chains.has(name)) return scan.reject(`chain ${name} of table ${table.name} is declared a second time; the first declaration is kept`);
  const base = name.length > builtinNameMax ? undefined : builtinChain(table.name, name, word === 'DROP' ? 'drop' : 'accept');
  const added = addChain(scan, chain, base);
  if (base !== undefined && counter !== undefined) added.counter = counter;
  scan.mark(lineKind.chain);
  scan.lastId = -1;
  if (word === undefined) return;
  if (base === undefined) scan.issue(`chain ${name} is no built-in chain of table ${table.name}, its policy is ignored`);
  else if (word !== 'ACCEPT' && word !== 'DROP') scan.issue(`policy ${word} of chain ${name} is not known, ACCEPT is assumed`);
}

function readTable(scan: Scan, name: string): void {
  if (!/^\S+$/.test(name)) return scan.reject('a table line has the form *TABLE');
  scan.mark(lineKind.table);
  if (scan.table !== undefined && scan.implicit) scan.issue(`rules stand before the first *table line: they are read as table ${scan.table.name}`, scan.table.line);
  else if (scan.table !== undefined) scan.issue(`table ${scan.table.name} has no COMMIT: the dump is truncated`, scan.table.line);
  if (!knownTables.has(name)) scan.issue(`table ${name} is not a table of iptables: its chains are read, no hook runs them`);
  scan.implicit = false;
  openTable(scan, name);
}

const knownTables: ReadonlySet<string> = new Set(['raw', 'mangle', 'nat', 'filter', 'security']);

function openImplicit(scan: Scan): TableScan {
  scan.implicit = true;
  return openTable(scan, scan.defaultTable);
}

function openTable(scan: Scan, name: string): TableScan {
  const { backend, family, line } = scan;
  scan.lastId = -1;
  const known = scan.tables.find((table) => table.name === name && table.backend === backend && table.family === family);
  if (known !== undefined) {
    scan.issue(`table ${name} appears a second time: its rules are added to the first`);
    scan.table = known;
    return known;
  }
  const chains = new Map<string, IptablesChain>();
  const context: DecodeContext = { family: family === 'ip' ? 4 : 6, isChain: (chain) => chains.has(chain) };
  scan.table = { backend, family, name, line, chains, context };
  scan.tables.push(scan.table);
  return scan.table;
}

function readComment(scan: Scan, text: string): void {
  const header = /^#\s*Generated by (ip6?tables(?:-nft|-legacy)?|xtables)-save v?[\d.]+(.*)/.exec(text);
  if (header !== null) readHeader(scan, header[1] as string, header[2] as string);
  if (/^# Table `[^']*' is incompatible/.test(text)) return scan.reject('this table was written with nft and is missing in the dump');
  scan.mark(lineKind.ignorable);
}

/** A header within a table is a comment only: no program prints one there. */
function readHeader(scan: Scan, program: string, rest: string): void {
  if (scan.table !== undefined && !scan.implicit) return;
  scan.family = scan.fixedFamily ?? (program.startsWith('ip6') ? 'ip6' : 'ip');
  scan.backend = rest.includes('(nf_tables)') || program === 'xtables' ? 'iptables-nft' : 'legacy';
}

function readOther(scan: Scan, text: string): void {
  if (text !== 'COMMIT') return scan.reject('not a line of iptables-save or iptables -S');
  if (scan.table === undefined || scan.implicit) return scan.reject('COMMIT without a *table line');
  scan.table = undefined;
  scan.lastId = -1;
  scan.mark(lineKind.ignorable);
}

function skipBlanks(bytes: Buffer, at: number, stop: number): number {
  let next = at;
  while (next < stop && (bytes[next] === space || bytes[next] === tab)) next++;
  return next;
}

function finish(scan: Scan): IptablesParsed {
  const { bytes, starts, kinds } = scan;
  const lineCount = starts.length;
  const truncated = scan.table !== undefined && !scan.implicit ? scan.table : undefined;
  if (truncated !== undefined) scan.issue(`table ${truncated.name} has no COMMIT: the dump is truncated`, truncated.line);
  const cutLine = truncated !== undefined && bytes.at(-1) !== scan.newline ? lineCount : 0;
  if (cutLine > 0) scan.issue(cutReason, cutLine);
  starts.push(bytes.length);
  const dump: IptablesDump = { bytes, lineCount, lineStarts: starts.values.subarray(0, lineCount + 1), lineKinds: Uint8Array.from(kinds.values.subarray(0, lineCount)), cutLine };
  attachRules(scan, dump);
  const tables = scan.tables.map(({ backend, family, name, chains }): IptablesTable => ({ backend, family, name, chains, sets: noSets, flags: [] }));
  return { tables, issues: scan.issues, dump };
}

/** Counting sort of the rules by chain; each chain gets its part of one array. */
function attachRules(scan: Scan, dump: IptablesDump): void {
  const { ruleChains, ruleLines, chains } = scan;
  const ends = new Uint32Array(chains.length + 1);
  for (let i = 0; i < ruleChains.length; i++) (ends as Record<number, number>)[(ruleChains.values[i] as number) + 1]! += 1;
  for (let id = 1; id <= chains.length; id++) (ends as Record<number, number>)[id]! += ends[id - 1] as number;
  const offsets = ends.slice();
  const order = new Uint32Array(ruleChains.length);
  for (let i = 0; i < ruleChains.length; i++) {
    const id = ruleChains.values[i] as number;
    const place = offsets[id] as number;
    order[place] = ruleLines.values[i] as number;
    offsets[id] = place + 1;
  }
  for (const chain of chains) {
    const first = ends[chain.id] as number;
    const length = (ends[chain.id + 1] as number) - first;
    if (scan.inserted.has(chain.id)) chain.attach(dump, withInsertions(dump, order.subarray(first, first + length)), { first: 0, length });
    else chain.attach(dump, order, { first, length });
  }
}

/** `-I CHAIN [NUMBER]` puts a rule before others, as the commands would one after another. */
function withInsertions({ bytes, lineStarts }: IptablesDump, lines: Uint32Array): Uint32Array {
  const placed: number[] = [];
  for (const line of lines) {
    const [start, stop] = ruleSpan(bytes, lineStarts[line] as number, lineStarts[line + 1] as number);
    const found = /^-I\s+\S+(?:\s+(\d+)(?=\s|$))?/.exec(bytes.toString('utf8', start, stop));
    if (found === null) placed.push(line);
    else placed.splice(Number(found[1] ?? 1) - 1, 0, line);
  }
  return Uint32Array.from(placed);
}
