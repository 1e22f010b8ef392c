// Scans an iptables dump line by line: what each line is, which chain a rule belongs to, and what is wrong.
import {
  afterCounter,
  asterisk,
  bracket,
  carriageReturn,
  closingBracket,
  colon,
  dash,
  hash,
  letterA,
  letterI,
  letterN,
  letterP,
  lineFeed,
  skipBlanks,
  space,
  wordEnd,
  zero,
} from './iptables.bytes.ts';
import { IptablesChain, type TableScan } from './iptables.chain.ts';
import { builtinChain } from './iptables.hooks.ts';
import type { DecodeContext } from './iptables.options.ts';
import type { Backend, Counter } from './rule.ts';
import type { BaseChain, Issue } from './ruleset.ts';

/** Scans a whole text. */
export function scanIptables(input: Buffer, options: IptablesOptions): Scan {
  const scan = new Scan(input, options);
  const { bytes, newline } = scan;
  for (let start = 0; start < bytes.length; ) {
    let end = start;
    while (end < bytes.length && bytes[end] !== newline) end++;
    scan.beginLine(start);
    readLine(scan, start, end);
    start = end + 1;
  }
  return scan;
}

export interface IptablesOptions {
  /** Overrides the header; without header and option `ip`. */
  readonly family?: 'ip' | 'ip6';
  /** For dumps without a header that tells; without both `legacy`. */
  readonly backend?: Backend;
  /** Table of the rules that stand before any `*table` line, as `iptables -t nat -S` prints them; `filter` if absent. */
  readonly table?: string;
}

/** Every line is one of these; 0 would be a line that nobody accounts for. */
export const lineKind = { ignorable: 1, table: 2, chain: 3, rule: 4, issue: 5 } as const;

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
export class Scan {
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
  /** Table of rules without a `*table` line. */
  defaultTable: string;
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
  if (scan.table !== undefined && scan.implicit)
    scan.issue(`rules stand before the first *table line: they are read as table ${scan.table.name}`, scan.table.line);
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

/** The command that printed what follows, as people leave it in the text: `# iptables -t nat -S`. */
function readListing(scan: Scan, text: string): void {
  const found = /\b(ip6)?(?:ip)?tables(?:-nft|-legacy)?\s(?:.*\s)?-S\b/.exec(text);
  if (found === null || (scan.table !== undefined && !scan.implicit)) return;
  scan.family = scan.fixedFamily ?? (found[1] === undefined ? 'ip' : 'ip6');
  scan.defaultTable = /\s-t\s+(\w+)/.exec(text)?.[1] ?? 'filter';
  scan.table = undefined;
  scan.implicit = false;
}

function readComment(scan: Scan, text: string): void {
  readListing(scan, text);
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
  if (text !== 'COMMIT') {
    readListing(scan, text);
    return scan.reject('not a line of iptables-save or iptables -S');
  }
  if (scan.table === undefined || scan.implicit) return scan.reject('COMMIT without a *table line');
  scan.table = undefined;
  scan.lastId = -1;
  scan.mark(lineKind.ignorable);
}
