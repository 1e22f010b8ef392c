// Reads what `iptables-save`, `ip6tables-save` or `iptables -S` printed: scans the text once, groups rules by chain, and decodes a rule when it is asked for.
import { ruleSpan } from './iptables.bytes.ts';
import { cutReason, type IptablesChain, type IptablesDump } from './iptables.chain.ts';
import { type IptablesOptions, lineKind, type Scan, scanIptables } from './iptables.scan.ts';
import type { NftSet, Parsed, Table } from './ruleset.ts';

/** A parsed dump; `dump` holds the text and what became of each line. */
export interface IptablesParsed extends Parsed {
  readonly tables: readonly IptablesTable[];
  readonly dump: IptablesDump;
}

export interface IptablesTable extends Table {
  readonly chains: ReadonlyMap<string, IptablesChain>;
}

/**
 * Reads a dump; never throws. Scales to hundreds of megabytes: no object is made for a rule before it is asked for.
 * A header comment names backend and family, and a dump with several headers (both backends, both families one after another) yields the tables of each.
 */
export function parseIptables(text: Buffer | string, options: IptablesOptions = {}): IptablesParsed {
  return finish(scanIptables(typeof text === 'string' ? Buffer.from(text, 'utf8') : text, options));
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

function finish(scan: Scan): IptablesParsed {
  const { bytes, starts, kinds } = scan;
  const lineCount = starts.length;
  const truncated = scan.table !== undefined && !scan.implicit ? scan.table : undefined;
  if (truncated !== undefined) scan.issue(`table ${truncated.name} has no COMMIT: the dump is truncated`, truncated.line);
  const cutLine = truncated !== undefined && bytes.at(-1) !== scan.newline ? lineCount : 0;
  if (cutLine > 0) scan.issue(cutReason, cutLine);
  starts.push(bytes.length);
  const dump: IptablesDump = {
    bytes,
    lineCount,
    lineStarts: starts.values.subarray(0, lineCount + 1),
    lineKinds: Uint8Array.from(kinds.values.subarray(0, lineCount)),
    cutLine,
  };
  attachRules(scan, dump);
  const tables = scan.tables.map(({ backend, family, name, chains }): IptablesTable => ({ backend, family, name, chains, sets: noSets, flags: [] }));
  return { tables, issues: scan.issues, dump };
}

/** Counting sort of the rules by chain; each chain gets its part of one array. */
function attachRules(scan: Scan, dump: IptablesDump): void {
  const { ruleChains, ruleLines, chains } = scan;
  const ends = new Uint32Array(chains.length + 1);
  for (let i = 0; i < ruleChains.length; i++) {
    const next = (ruleChains.values[i] as number) + 1;
    ends[next] = (ends[next] as number) + 1;
  }
  for (let id = 1; id <= chains.length; id++) ends[id] = (ends[id] as number) + (ends[id - 1] as number);
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

export type { IptablesChain, IptablesDump } from './iptables.chain.ts';
export { type IptablesOptions, lineKind } from './iptables.scan.ts';
