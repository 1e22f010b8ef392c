// Reads what `iptables-save`, `ip6tables-save` or `iptables -S` printed: scans the text once, groups rules by chain, and decodes a rule when it is asked for.
import { carriageReturn, lineFeed } from './iptables.bytes.ts';
import { cutReason, decodedRulesMax, type IptablesChain, type IptablesDump, TableChains } from './iptables.chain.ts';
import { lineKind } from './iptables.lines.ts';
import type { Machine } from './iptables.machine.ts';
import type { DecodeContext } from './iptables.options.ts';
import { DumpedChains } from './iptables.order.ts';
import { type IptablesOptions, Scan, scanLines, type TableScan } from './iptables.scan.ts';
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
  return new IptablesReader(typeof text === 'string' ? Buffer.from(text, 'utf8') : text, options).finish();
}

/** Reads a dump while its bytes arrive: the result is that of `parseIptables`, and most of the work is done when the last of them are there. */
export class IptablesReader {
  readonly #scan: Scan;

  /** A buffer of the size of the dump, yet to be filled from its start on; a machine's, if there is one. */
  constructor(bytes: Buffer, options: IptablesOptions = {}, machine?: Machine) {
    this.#scan = new Scan(bytes, options, machine);
  }

  /** Reads the whole lines among the first `length` bytes, which have arrived. */
  advance(length: number): void {
    const { bytes, text, at } = this.#scan;
    const end = bytes.subarray(at, length).lastIndexOf(text.newline) + 1;
    if (end > 0) scanLines(this.#scan, at + end);
  }

  /** All bytes have arrived: reads the rest. `isChain` says which chains there are; absent: those of the dump. */
  finish(isChain?: DecodeContext['isChain']): IptablesParsed {
    const { bytes, text, at } = this.#scan;
    if (at === 0 && !bytes.includes(lineFeed)) text.newline = carriageReturn;
    scanLines(this.#scan, bytes.length);
    return parsedOf(this.#scan, isChain);
  }
}

/**
 * Reads what `iptables -t TABLE -S CHAIN` printed of a table that was read before; `isChain` says which chains the table has. Yields the chains named in the
 * text; lines of rules are those of the text.
 */
export function parseListing(text: Buffer | string, table: IptablesTable, isChain: DecodeContext['isChain']): IptablesParsed {
  const { backend, family, name } = table;
  return new IptablesReader(unpooled(text), { backend, family, table: name }).finish(isChain);
}

/** Small buffers are cut from one of 8 KiB, which a chain that is kept would keep. */
function unpooled(text: Buffer | string): Buffer {
  const bytes = Buffer.allocUnsafeSlow(Buffer.byteLength(text));
  if (typeof text === 'string') bytes.write(text);
  else text.copy(bytes);
  return bytes;
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

function parsedOf(scan: Scan, isChain?: DecodeContext['isChain']): IptablesParsed {
  const { bytes, lines, names, builtin, inserted } = scan;
  const lineCount = lines.length;
  const truncated = scan.table !== undefined && !scan.implicit ? scan.table : undefined;
  if (truncated !== undefined) scan.issue(`table ${truncated.name} has no COMMIT: the dump is truncated`, truncated.line);
  const cutLine = truncated !== undefined && bytes.at(-1) !== scan.text.newline ? lineCount : 0;
  if (cutLine > 0) scan.issue(cutReason, cutLine);
  scan.beginLine(bytes.length);
  const lineStarts = lines.starts.subarray(0, lineCount + 1);
  const lineKinds = lines.kinds.subarray(0, lineCount);
  const chains = new DumpedChains({ bytes, lineStarts, lineKinds, lineChains: lines.chains, names, builtin, inserted });
  const dump: IptablesDump = { bytes, lineCount, lineStarts, lineKinds, cutLine, chains, look: scan.look, decoded: new Recent(lineCount, decodedRulesMax) };
  return { tables: scan.tables.map((table) => tableOf(dump, table, isChain)), issues: scan.issues, dump };
}

function tableOf(dump: IptablesDump, table: TableScan, isChain?: DecodeContext['isChain']): IptablesTable {
  const { backend, family, name } = table;
  const context: DecodeContext = {
    family: family === 'ip' ? 4 : 6,
    isChain: isChain ?? ((chain, at) => (at === undefined ? chains.has(chain) : chains.hasAt(chain, at))),
  };
  const chains = new TableChains(dump, { backend, family, name, decoder: new ShapedDecoder(context) }, table);
  return {
    backend,
    family,
    name,
    chains,
    get baseChains() {
      return chains.base;
    },
    sets: noSets,
    flags: [],
  };
}

export type { IptablesChain, IptablesDump } from './iptables.chain.ts';
export { lineKind } from './iptables.lines.ts';
export type { IptablesOptions } from './iptables.scan.ts';
