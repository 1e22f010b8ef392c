// `portreeve parse` for dumps of iptables-save: reads one while it arrives, and says what is in it.
import { type IptablesParsed, IptablesReader, parseIptables, printIptables } from '../../shared/netfilter/iptables.parse.ts';
import { type UnknownCount, unknownOptions } from '../../shared/netfilter/iptables.unknown.ts';
import type { Arrival } from '../arrival.ts';

/** What `-o json` prints. */
export interface ParseSummary {
  readonly file: string;
  readonly lines: number;
  readonly bytes: number;
  readonly tables: readonly { readonly backend: string; readonly family: string; readonly name: string; readonly chains: number; readonly rules: number }[];
  readonly unknown: readonly UnknownCount[];
  readonly issues: IptablesParsed['issues'];
}

/** The whole text; and what it holds, if it begins as those of iptables-save do: that is read while the text arrives. Rejects if it cannot be read on. */
export async function readArriving({ bytes, lengths, machine }: Arrival): Promise<{ readonly bytes: Buffer; readonly parsed: IptablesParsed | undefined }> {
  let reader: IptablesReader | undefined;
  let arrived = 0;
  for await (arrived of lengths) {
    if (dumpStarts.has(bytes[0])) reader ??= new IptablesReader(bytes, {}, machine);
    reader?.advance(arrived);
  }
  if (arrived === bytes.length) return { bytes, parsed: reader?.finish() };
  const whole = bytes.subarray(0, arrived);
  return { bytes: whole, parsed: reader === undefined ? undefined : parseIptables(whole) };
}

/** What iptables-save begins with: `#` or `*`. */
const dumpStarts: ReadonlySet<number | undefined> = new Set([35, 42]);

/** What a dump holds, what of it is not understood, and what could not be read. */
export function summarise(file: string, parsed: IptablesParsed): ParseSummary {
  const tables = parsed.tables.map(({ backend, family, name, chains }) => ({ backend, family, name, chains: chains.size, rules: chains.ruleCount }));
  const issues = parsed.issues.map((issue) => ({ file, ...issue }));
  return { file, lines: parsed.dump.lineCount, bytes: parsed.dump.bytes.length, tables, unknown: unknownOptions(parsed), issues };
}

/** The summary as text. */
export function textOf({ file, lines, tables, unknown, issues }: ParseSummary): string {
  const sum = (pick: (table: ParseSummary['tables'][number]) => number): number => tables.reduce((total, table) => total + pick(table), 0);
  const total = `${file}: ${lines} lines, ${tables.length} ${tables.length === 1 ? 'table' : 'tables'}, ${sum(({ chains }) => chains)} chains, ${sum(({ rules }) => rules)} rules`;
  const byTable = tables.map(({ backend, family, name, chains, rules }) => `  ${family} ${name} (${backend}): ${chains} chains, ${rules} rules`);
  const byName = unknown.map(({ kind, name, rules, line }) => `  unknown ${kind} ${name}: ${rules} ${rules === 1 ? 'rule' : 'rules'}, first in line ${line}`);
  const doubts = issues.map(({ line, text, reason }) => `${file}:${line}: ${reason}: ${text}`);
  return `${[total, ...byTable, ...byName, ...doubts].join('\n')}\n`;
}

export { parseIptables, printIptables };
