// Counts what a dump has that the decoder does not know, without decoding every rule: the answer to "how far is this ruleset understood?".
import { ruleText } from './iptables.chain.ts';
import { decodeRule, type UnknownName } from './iptables.decode.ts';
import type { DecodeContext } from './iptables.options.ts';
import type { IptablesParsed, IptablesTable } from './iptables.parse.ts';

export interface UnknownCount {
  readonly kind: UnknownName['kind'];
  /** `foo` of `-m foo` or `-j foo`, `--foo` of an option. */
  readonly name: string;
  /** Rules that have it. */
  readonly rules: number;
  /** Line of the first of them. */
  readonly line: number;
}

/** Unknown matches, targets and options by name, the most frequent first. Values that cannot be read are only counted in rules that also have one of these. */
export function unknownOptions({ dump, tables }: IptablesParsed): readonly UnknownCount[] {
  const counts = new Map<string, UnknownCount>();
  const { chains } = dump;
  for (const line of dump.look.doubtfulLines()) {
    const chain = chains.chainOf(line);
    const table = tables[chains.names.tableOf(chain)] as IptablesTable;
    const context: DecodeContext = { family: table.family === 'ip' ? 4 : 6, isChain: (name) => table.chains.has(name) };
    for (const unknown of decodeRule(ruleText(dump, line, chains.names.text(chain)), context).unknown) count(counts, unknown, line + 1);
  }
  return [...counts.values()].sort((a, b) => b.rules - a.rules || a.line - b.line);
}

function count(counts: Map<string, UnknownCount>, { kind, name }: UnknownName, line: number): void {
  const key = `${kind} ${name}`;
  const known = counts.get(key);
  counts.set(key, { kind, name, rules: (known?.rules ?? 0) + 1, line: Math.min(known?.line ?? line, line) });
}
