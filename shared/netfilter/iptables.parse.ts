// Reads what `iptables-save`, `ip6tables-save` or `iptables -S` printed: scans the text once, groups rules by chain, and decodes a rule when it is asked for.
import { ruleSpan } from './iptables.bytes.ts';
import { cutReason, type DumpedChains, decodedRulesMax, type IptablesChain, type IptablesDump, TableChains } from './iptables.chain.ts';
import type { DecodeContext } from './iptables.options.ts';
import { type IptablesOptions, lineKind, type Scan, scanIptables, type TableScan } from './iptables.scan.ts';
import { ShapedDecoder } from './iptables.shape.ts';
import { Recent } from './recent.ts';
import type { NftSet, Parsed, Table } from './ruleset.ts';

/** A parsed dump; `dump` holds the text and what became of each line. */
export interface IptablesParsed extends Parsed {
  readonly tables: readonly IptablesTable[];
  readonly dump: IptablesDump;
}

export interface IptablesTable extends Table {
  readonly family: 'ip' | 'ip6';
  readonly chains: IptablesChains;
  readonly baseChains: readonly IptablesChain[];
}

export interface IptablesChains extends ReadonlyMap<string, IptablesChain> {
  /** Number of rules in all chains, counted without making one. */
  readonly ruleCount: number;
}

/**
 * Reads a dump; never throws. Scales to hundreds of megabytes: no object is made for a rule before it is asked for.
 * A header comment names backend and family, and a dump with several headers (both backends, both families one after another) yields the tables of each.
 */
export function parseIptables(text: Buffer | string, options: IptablesOptions = {}): IptablesParsed {
  return finish(scanIptables(typeof text === 'string' ? Buffer.from(text, 'utf8') : text, options));
}

/**
 * Reads what `iptables -t TABLE -S CHAIN` printed of a table that was read before; `isChain` says which chains the table has. Yields the chains named in the
 * text; lines of rules are those of the text.
 */
export function parseListing(text: Buffer | string, table: IptablesTable, isChain: DecodeContext['isChain']): IptablesParsed {
  const { backend, family, name } = table;
  return finish(scanIptables(Buffer.from(text), { backend, family, table: name }), isChain);
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

const noSets: ReadonlyMap<string, NftSet> = new Map();

function finish(scan: Scan, isChain?: DecodeContext['isChain']): IptablesParsed {
  const { bytes, starts, kinds } = scan;
  const lineCount = starts.length;
  const truncated = scan.table !== undefined && !scan.implicit ? scan.table : undefined;
  if (truncated !== undefined) scan.issue(`table ${truncated.name} has no COMMIT: the dump is truncated`, truncated.line);
  const cutLine = truncated !== undefined && bytes.at(-1) !== scan.newline ? lineCount : 0;
  if (cutLine > 0) scan.issue(cutReason, cutLine);
  starts.push(bytes.length);
  const lineStarts = starts.values.subarray(0, lineCount + 1);
  const chains = chainsOf(scan, lineStarts);
  const lineKinds = kinds.subarray(0, lineCount);
  const dump: IptablesDump = { bytes, lineCount, lineStarts, lineKinds, cutLine, chains, look: scan.look, decoded: new Recent(lineCount, decodedRulesMax) };
  return { tables: scan.tables.map((table) => tableOf(dump, table, isChain)), issues: scan.issues, dump };
}

function tableOf(dump: IptablesDump, { backend, family, name, number, ids }: TableScan, isChain?: DecodeContext['isChain']): IptablesTable {
  const context: DecodeContext = {
    family: family === 'ip' ? 4 : 6,
    isChain: isChain ?? ((chain, at) => (at === undefined ? chains.has(chain) : chains.hasAt(chain, at))),
  };
  const decoder = new ShapedDecoder(context);
  const chains = new TableChains(dump, { backend, family, name, decoder, number, ids: ids.values.subarray(0, ids.length) });
  return { backend, family, name, chains, baseChains: chains.baseChains(), sets: noSets, flags: [] };
}

/** Counting sort of the rules by chain. */
function chainsOf(scan: Scan, lineStarts: Uint32Array): DumpedChains {
  const { ruleChains, ruleLines: unsorted, names, chainLines, builtin } = scan;
  const firstRules = new Uint32Array(names.length + 1);
  for (let i = 0; i < ruleChains.length; i++) {
    const next = ruleChains.at(i) + 1;
    firstRules[next] = (firstRules[next] as number) + 1;
  }
  for (let id = 1; id <= names.length; id++) firstRules[id] = (firstRules[id] as number) + (firstRules[id - 1] as number);
  const places = firstRules.slice();
  const ruleLines = new Uint32Array(ruleChains.length);
  for (let i = 0; i < ruleChains.length; i++) {
    const id = ruleChains.at(i);
    const place = places[id] as number;
    ruleLines[place] = unsorted.at(i);
    places[id] = place + 1;
  }
  for (const id of scan.inserted) insertRules(scan.bytes, lineStarts, ruleLines.subarray(firstRules[id], firstRules[id + 1]));
  return { names, lines: chainLines.values.subarray(0, names.length), builtin, ruleLines, firstRules };
}

/** Puts the rules of a chain into the order that `-I CHAIN [NUMBER]` asks for, as the commands would one after another. */
function insertRules(bytes: Buffer, lineStarts: Uint32Array, lines: Uint32Array): void {
  const placed: number[] = [];
  for (const line of lines) {
    const [start, stop] = ruleSpan(bytes, lineStarts[line] as number, lineStarts[line + 1] as number);
    const found = /^-I\s+\S+(?:\s+(\d+)(?=\s|$))?/.exec(bytes.toString('utf8', start, stop));
    if (found === null) placed.push(line);
    else placed.splice(Number(found[1] ?? 1) - 1, 0, line);
  }
  lines.set(placed);
}

export type { IptablesChain, IptablesDump } from './iptables.chain.ts';
export { type IptablesOptions, lineKind } from './iptables.scan.ts';
