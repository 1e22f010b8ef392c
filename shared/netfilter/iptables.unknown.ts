// Counts what a dump has that the decoder does not know, without decoding every rule: the answer to "how far is this ruleset understood?".
import { type DecodedRule, decodeRule, genericOptions, type UnknownName } from './iptables.decode.ts';
import { matchModules } from './iptables.matches.ts';
import type { IptablesParsed, IptablesTable } from './iptables.parse.ts';
import { targets } from './iptables.targets.ts';

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
export function unknownOptions(parsed: IptablesParsed): readonly UnknownCount[] {
  const counts = new Map<string, UnknownCount>();
  for (const table of parsed.tables) {
    for (const chain of table.chains.values()) {
      for (let i = 0; i < chain.length; i++) {
        const text = chain.text(i);
        if (isFamiliar(text, table)) continue;
        for (const unknown of unknownOf(text, table)) count(counts, unknown, chain.lineOf(i));
      }
    }
  }
  return [...counts.values()].sort((a, b) => b.rules - a.rules || a.line - b.line);
}

/** Every option name of every match, target and the rule itself: whether it stands at the right place is the decoder's question. */
const knownOptions: ReadonlySet<string> = new Set([
  ...genericOptions,
  ...[...matchModules.values()].flatMap(({ options }) => [...options.keys()]),
  ...[...targets.values()].flatMap(({ options }) => [...options.keys()]),
]);

/** A quick look at the words that begin with a dash. False may be a false alarm (a comment with dashes): the decoder then says what is unknown. */
function isFamiliar(text: string, table: IptablesTable): boolean {
  if (text.includes('[unsupported') || text.includes('\\') || !hasQuotesInPairs(text)) return false;
  for (let at = text.indexOf(' -'); at >= 0; at = text.indexOf(' -', at + 1)) {
    const code = text.charCodeAt(at + 2);
    if (code === 62 || code === 32) continue;
    const option = wordAt(text, at + 1);
    if (!knownOptions.has(option)) return false;
    if (option.length === 2 && !isFamiliarName(option, wordAt(text, at + 4), table)) return false;
  }
  return true;
}

function hasQuotesInPairs(text: string): boolean {
  let quotes = 0;
  for (let at = text.indexOf('"'); at >= 0; at = text.indexOf('"', at + 1)) quotes++;
  return quotes % 2 === 0;
}

function wordAt(text: string, at: number): string {
  const end = text.indexOf(' ', at);
  return end < 0 ? text.slice(at) : text.slice(at, end);
}

function isFamiliarName(option: string, name: string, table: IptablesTable): boolean {
  if (option === '-m') return matchModules.has(name);
  if (option === '-j') return targets.has(name) || table.chains.has(name);
  return option !== '-g' || table.chains.has(name);
}

function unknownOf(text: string, table: IptablesTable): DecodedRule['unknown'] {
  return decodeRule(text, { family: table.family === 'ip' ? 4 : 6, isChain: (name) => table.chains.has(name) }).unknown;
}

function count(counts: Map<string, UnknownCount>, { kind, name }: UnknownName, line: number): void {
  const key = `${kind} ${name}`;
  const known = counts.get(key);
  counts.set(key, { kind, name, rules: (known?.rules ?? 0) + 1, line: Math.min(known?.line ?? line, line) });
}
