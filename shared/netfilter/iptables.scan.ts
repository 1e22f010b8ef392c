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
  skipBlanks,
  wordEnd,
  zero,
} from './iptables.bytes.ts';
import { builtinChain } from './iptables.hooks.ts';
import { Lines, lineKind } from './iptables.lines.ts';
import { QuickLook } from './iptables.look.ts';
import type { Machine } from './iptables.machine.ts';
import { ChainNames, Name, nameAt } from './iptables.names.ts';
import type { Builtin, IdRange } from './iptables.order.ts';
import { builtinNameMax, skim, skimMargin } from './iptables.skim.ts';
import { Stencils } from './iptables.stencil.ts';
import { DumpText } from './iptables.text.ts';
import type { Backend, Counter } from './rule.ts';
import type { Issue } from './ruleset.ts';

/** Scans lines from where the last scan ended up to an offset: the end of the text, or the beginning of a line. */
export function scanLines(scan: Scan, until: number): void {
  const { bytes, text } = scan;
  const skimUntil = until + skimMargin <= bytes.length ? until : bytes.lastIndexOf(text.newline, -1 - skimMargin) + 1;
  while (scan.at < until) {
    if (scan.machine?.skim(scan, skimUntil) ?? skim(scan, skimUntil)) continue;
    const start = scan.at;
    const end = scan.lineEnd(start);
    scan.beginLine(start);
    readLine(scan, start, end);
    scan.at = end + 1;
  }
}

export interface IptablesOptions {
  /** Overrides the header; without header and option `ip`. */
  readonly family?: 'ip' | 'ip6';
  /** For dumps without a header that tells; without both `legacy`. */
  readonly backend?: Backend;
  /** Table of the rules that stand before any `*table` line, as `iptables -t nat -S` prints them; `filter` if absent. */
  readonly table?: string;
}

/** A table while the text is scanned. */
export interface TableScan {
  readonly backend: Backend;
  readonly family: 'ip' | 'ip6';
  readonly name: string;
  readonly line: number;
  /** Its place in `Scan.tables`. */
  readonly number: number;
  /** Its chains in `Scan.names`. The last range grows while the table is open. */
  readonly ranges: IdRange[];
  readonly stencils: Stencils;
  ruleCount: number;
}

/** What the scan knows at a line. */
export class Scan {
  readonly bytes: Buffer;
  readonly text: DumpText;
  /** Where the next line begins. */
  at = 0;
  readonly lines: Lines;
  readonly issues: Issue[] = [];
  readonly tables: TableScan[] = [];
  /** Numbers of all chains. */
  readonly names: ChainNames;
  readonly builtin = new Map<number, Builtin>();
  readonly look: QuickLook;
  /** Chain ids that `-I` lines name. */
  readonly inserted = new Set<number>();
  /** For the name that is read just now. */
  readonly name = new Name();
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
  /** Whose memory holds the text, if it is one's. */
  readonly machine: Machine | undefined;

  constructor(bytes: Buffer, options: IptablesOptions, machine?: Machine) {
    this.bytes = bytes;
    this.machine = machine;
    this.text = new DumpText(bytes);
    this.lines = new Lines(Math.ceil(bytes.length / lineBytes), machine);
    this.names = new ChainNames(this.text, Math.ceil(bytes.length / bytesPerChain), machine);
    this.look = new QuickLook(this.text, this.names, machine);
    this.fixedFamily = options.family;
    this.family = options.family ?? 'ip';
    this.backend = options.backend ?? 'legacy';
    this.defaultTable = options.table ?? 'filter';
  }

  beginLine(start: number): void {
    const { lines } = this;
    if (lines.length === lines.capacity) lines.grow();
    lines.starts[lines.length++] = start;
  }

  /** The current line, from 1. */
  get line(): number {
    return this.lines.length;
  }

  mark(kind: number): void {
    this.lines.kinds[this.lines.length - 1] = kind;
  }

  /** Text between two offsets. */
  slice(start: number, stop: number): string {
    return this.bytes.toString('utf8', start, stop);
  }

  /** Where the line ends that an offset is in. */
  lineEnd(at: number): number {
    const end = this.bytes.indexOf(this.text.newline, at);
    return end < 0 ? this.bytes.length : end;
  }

  issue(reason: string, line = this.line): void {
    const start = this.lines.starts[line - 1] as number;
    const end = Math.min(this.lineEnd(start), start + issueTextMax);
    const stop = end > start && this.bytes[end - 1] === carriageReturn ? end - 1 : end;
    this.issues.push({ line, text: this.slice(start, stop), reason });
  }

  reject(reason: string): void {
    this.mark(lineKind.issue);
    this.issue(reason);
  }
}

/** What kube-proxy's rules take in bytes, and for how many of a dump there is a chain. A guess: with more lines or chains arrays grow. */
const lineBytes = 96;
const bytesPerChain = 512;

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
      return readTable(scan, scan.slice(at + 1, stop).trim());
    case hash:
      return readComment(scan, scan.slice(at, Math.min(stop, at + issueTextMax)));
    default:
      return readOther(scan, at, stop);
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
  const { lines, names, look } = scan;
  const table = scan.table ?? openImplicit(scan);
  const id = chainAt(scan, table, { start: nameStart, stop });
  const line = scan.line - 1;
  lines.chains[line] = id;
  scan.lastId = id;
  scan.mark(lineKind.rule);
  table.ruleCount++;
  const start = nameStart + names.lengthOf(id);
  const isKnown = look.at(start, stop, { line, table: table.number });
  const end = scan.lineEnd(stop) + 1;
  if (isKnown && end <= scan.bytes.length)
    table.stencils.learn(start, end, { isTarget: look.isTarget, isChain: (name) => names.named(table.number, name) >= 0 });
}

interface Span {
  readonly start: number;
  readonly stop: number;
}

/** Rules stand together by chain, in the order of the chains: the names of the last chain and the next are compared in place before one is looked up. */
function chainAt(scan: Scan, table: TableScan, { start, stop }: Span): number {
  const { names, lastId } = scan;
  if (lastId >= 0) {
    if (names.isWordAt(lastId, start, stop)) return lastId;
    const next = lastId + 1;
    if (next < names.length && names.tableOf(next) === table.number && names.isWordAt(next, start, stop)) return next;
  }
  const end = wordEnd(scan.bytes, start, stop);
  const known = names.find(table.number, start, end);
  return known >= 0 ? known : addUndeclared(scan, table, { start, stop: end });
}

function addUndeclared(scan: Scan, table: TableScan, span: Span): number {
  const name = scan.slice(span.start, span.stop);
  const base = builtinChain(table.name, name, 'accept');
  scan.issue(`chain ${name} of table ${table.name} is not declared${base === undefined ? '' : ': its policy is not in the dump, ACCEPT is assumed'}`);
  const id = addChain(scan, table, { ...span, line: 0 });
  if (base !== undefined) scan.builtin.set(id, { base });
  return id;
}

interface NewChain extends Span {
  readonly line: number;
}

/** The chain's number; -1 if the table has it already. */
function addChain(scan: Scan, table: TableScan, { start, stop, line }: NewChain): number {
  const id = scan.names.add(table.number, nameAt(scan.text, start, stop), line);
  if (id >= 0) (table.ranges.at(-1) as IdRange).end = id + 1;
  return id;
}

function readDeclaration(scan: Scan, at: number, stop: number): void {
  const { bytes } = scan;
  if (scan.table === undefined || scan.implicit) return scan.reject('a chain is declared before any *table line');
  const end = wordEnd(bytes, at + 1, stop);
  const name = { start: at + 1, stop: end };
  const policy = skipBlanks(bytes, end, stop);
  if (isUserPolicy(bytes, policy, stop)) return declare(scan, name, {});
  const found = /^(\S+)(?:\s+\[(\d+):(\d+)\])?\s*$/.exec(scan.slice(policy, stop));
  if (found === null) return scan.reject('a chain declaration has the form :CHAIN POLICY [packets:bytes]');
  declare(scan, name, policyOf(found[1] as string, found[2], found[3]));
}

/** `-` or `- [0:0]`, by far the most frequent policy. */
function isUserPolicy(bytes: Buffer, at: number, stop: number): boolean {
  if (at >= stop || bytes[at] !== dash) return false;
  return at + 1 === stop || (stop === at + 7 && bytes[at + 3] === zero && bytes[at + 5] === zero && bytes[at + 6] === closingBracket);
}

function readNewChain(scan: Scan, start: number, stop: number): void {
  const end = wordEnd(scan.bytes, start, stop);
  if (skipBlanks(scan.bytes, end, stop) !== stop) return scan.reject('a new chain has the form -N CHAIN');
  declare(scan, { start, stop: end }, {});
}

function readPolicy(scan: Scan, start: number, stop: number): void {
  const found = /^(\S+)\s+(\S+)(?:\s+-c\s+(\d+)\s+(\d+))?\s*$/.exec(scan.slice(start, stop));
  if (found === null) return scan.reject('a policy has the form -P CHAIN POLICY');
  declare(scan, { start, stop: wordEnd(scan.bytes, start, stop) }, policyOf(found[2] as string, found[3], found[4]));
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

function declare(scan: Scan, { start, stop }: Span, policy: Policy): void {
  const table = scan.table ?? openImplicit(scan);
  if (start === stop) return scan.reject('a chain declaration without a chain name');
  const id = addChain(scan, table, { start, stop, line: scan.line });
  if (id < 0) return scan.reject(`chain ${scan.slice(start, stop)} of table ${table.name} is declared a second time; the first declaration is kept`);
  scan.mark(lineKind.chain);
  scan.lastId = -1;
  if (stop - start <= builtinNameMax || policy.word !== undefined) declarePolicy(scan, { table, id, name: scan.slice(start, stop) }, policy);
}

function declarePolicy(scan: Scan, chain: { readonly table: TableScan; readonly id: number; readonly name: string }, { word, counter }: Policy): void {
  const { table, id, name } = chain;
  const base = builtinChain(table.name, name, word === 'DROP' ? 'drop' : 'accept');
  if (base !== undefined) scan.builtin.set(id, counter === undefined ? { base } : { base, counter });
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
  const range = { first: scan.names.length, end: scan.names.length };
  scan.lastId = -1;
  const known = scan.tables.find((table) => table.name === name && table.backend === backend && table.family === family);
  if (known !== undefined) {
    scan.issue(`table ${name} appears a second time: its rules are added to the first`);
    known.ranges.push(range);
    scan.table = known;
    return known;
  }
  scan.table = { backend, family, name, line, number: scan.tables.length, ranges: [range], stencils: new Stencils(scan.text, scan.machine), ruleCount: 0 };
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

/** A text may have as many of these as bytes, so that nothing is done that need not be. */
function readOther(scan: Scan, start: number, stop: number): void {
  const length = stop - start;
  const text = length < 'COMMIT'.length ? '' : scan.slice(start, Math.min(stop, start + issueTextMax)).trim();
  if (text !== 'COMMIT') {
    if (length >= 'tables -S'.length) readListing(scan, text);
    return scan.reject('not a line of iptables-save or iptables -S');
  }
  if (scan.table === undefined || scan.implicit) return scan.reject('COMMIT without a *table line');
  scan.table = undefined;
  scan.lastId = -1;
  scan.mark(lineKind.ignorable);
}
