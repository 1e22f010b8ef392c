// `portreeve parse` for dumps that are not iptables-save's: nft's listings as JSON and text, `ipset save`, and `ipvsadm -Sn`.
import { ipsetClaims, ipvsClaims, printLines } from '../../shared/netfilter/dump.print.ts';
import { parseIpset } from '../../shared/netfilter/ipset.parse.ts';
import { parseIpvs } from '../../shared/netfilter/ipvs.parse.ts';
import { parseNft } from '../../shared/netfilter/nft.parse.ts';
import { parseNftText } from '../../shared/netfilter/nft.text.parse.ts';
import type { Rule, Step } from '../../shared/netfilter/rule.ts';
import type { Issue, Table } from '../../shared/netfilter/ruleset.ts';

/** The programs whose dumps are known beside iptables-save's. */
export type DumpKind = 'nft -j list ruleset' | 'nft list ruleset' | 'ipset save' | 'ipvsadm -Sn';

/** What `-o json` prints of such a dump. `objects` counts what the dump holds by kind; `parts` is a line for each of its larger parts. */
export interface OtherSummary {
  readonly file: string;
  readonly kind: DumpKind;
  readonly lines: number;
  readonly bytes: number;
  readonly objects: Readonly<Record<string, number>>;
  readonly parts: readonly string[];
  readonly unknown: readonly UnknownStep[];
  readonly issues: readonly Issue[];
}

/** A statement or expression that is not judged: in how many rules it stands, and where first (0 in JSON). */
export interface UnknownStep {
  readonly name: string;
  readonly rules: number;
  readonly line: number;
}

/** A parsed dump: what to print back, and what to say of it. */
export interface OtherDump {
  /** The dump again, from what was accounted for. */
  readonly printed: Buffer;
  readonly summary: OtherSummary;
  /** The summary as text. */
  readonly text: string;
}

/** Reads a dump whose content tells which program wrote it; undefined when it is none of these. */
export function parseOther(file: string, bytes: Buffer): OtherDump | undefined {
  const kind = kindOf(bytes.toString('utf8', 0, headBytes));
  if (kind === undefined) return undefined;
  const read = readers[kind](bytes, bytes.toString('utf8'));
  const { objects, parts, unknown } = read;
  const issues = read.issues.map((issue) => ({ ...issue, file }));
  const summary = { file, kind, lines: countLines(bytes), bytes: bytes.length, objects, parts, unknown, issues };
  return { printed: read.printed, summary, text: textOf(summary) };
}

/** The beginning of a file tells its kind. */
const headBytes = 65_536;

/** Which program wrote a text, by its first lines. */
export function kindOf(head: string): DumpKind | undefined {
  return marks.find(([pattern]) => pattern.test(head))?.[1];
}

const marks: readonly (readonly [RegExp, DumpKind])[] = [
  [/^\s*\{\s*"nftables"\s*:/, 'nft -j list ruleset'],
  [/^table (?:(?:ip|ip6|inet|arp|bridge|netdev) )?[^\s{]+ \{/m, 'nft list ruleset'],
  [/^(?:create|-N) \S+ (?:hash|bitmap|list):\S+/m, 'ipset save'],
  [/^(?:-A|--add-service) (?:-t|-u|-f|--(?:tcp|udp|sctp|fwmark)-service) \S/m, 'ipvsadm -Sn'],
];

type Read = Pick<OtherSummary, 'objects' | 'parts' | 'unknown' | 'issues'> & { readonly printed: Buffer };

const readers: Readonly<Record<DumpKind, (bytes: Buffer, text: string) => Read>> = {
  'nft -j list ruleset': readJson,
  'nft list ruleset': (bytes, text) => {
    const parsed = parseNftText(text, { skipIptablesTables: false });
    return { printed: printLines(bytes, parsed.kinds), ...tablesRead(parsed) };
  },
  'ipset save': (bytes, text) => {
    const parsed = parseIpset(text);
    const entries = parsed.sets.reduce((sum, set) => sum + set.entries.length, 0);
    const parts = parsed.sets.map(({ name, type, entries: own }) => `${name} (${type}): ${count(own.length, 'entry', 'entries')}`);
    return { printed: printLines(bytes, ipsetClaims(text, parsed)), objects: { sets: parsed.sets.length, entries }, parts, unknown: [], issues: parsed.issues };
  },
  'ipvsadm -Sn': (bytes, text) => {
    const parsed = parseIpvs(text);
    const servers = parsed.services.reduce((sum, service) => sum + service.servers.length, 0);
    const objects = { services: parsed.services.length, servers };
    return { printed: printLines(bytes, ipvsClaims(text, parsed)), objects, parts: [], unknown: [], issues: parsed.issues };
  },
};

/** JSON has no lines to claim: it is written back whole when each of its objects was read, or said to be unread. */
function readJson(bytes: Buffer, text: string): Read {
  const parsed = parseNft(text, { skipIptablesTables: false });
  const read = tablesRead(parsed);
  const { chains = 0, sets = 0, rules = 0 } = read.objects;
  const lost = countObjects(text) - chains - sets - rules - read.issues.length;
  if (lost <= 0) return { printed: bytes, ...read };
  const issue: Issue = { line: 0, text: '', reason: `${lost} objects of the listing are neither read nor reported; it is not printed` };
  return { printed: Buffer.alloc(0), ...read, issues: [...read.issues, issue] };
}

const counted: ReadonlySet<string> = new Set(['chain', 'rule', 'set', 'map']);

/** Chains, rules, sets and maps of a listing; 0 of one that is broken, which an issue says. */
function countObjects(text: string): number {
  try {
    const { nftables } = JSON.parse(text) as { nftables?: unknown };
    const objects: readonly unknown[] = Array.isArray(nftables) ? nftables : [];
    return objects.filter((object) => typeof object === 'object' && object !== null && Object.keys(object).some((key) => counted.has(key))).length;
  } catch {
    return 0;
  }
}

function tablesRead({ tables, issues }: { readonly tables: readonly Table[]; readonly issues: readonly Issue[] }): Omit<Read, 'printed'> {
  const unknown = new Map<string, UnknownStep>();
  const parts: string[] = [];
  let [chains, sets, rules] = [0, 0, 0];
  for (const table of tables) {
    let own = 0;
    for (const chain of table.chains.values()) {
      for (let at = 0; at < chain.length; at++) for (const name of unknownOf(chain.rule(at))) add(unknown, name, chain.rule(at).place.line);
      own += chain.length;
    }
    parts.push(
      `${table.family} ${table.name}: ${count(table.chains.size, 'chain')}, ${count(table.sets.size, 'set or map', 'sets and maps')}, ${count(own, 'rule')}`,
    );
    chains += table.chains.size;
    sets += table.sets.size;
    rules += own;
  }
  const byCount = [...unknown.values()].sort((a, b) => b.rules - a.rules || a.line - b.line);
  return { objects: { tables: tables.length, chains, sets, rules }, parts, unknown: byCount, issues };
}

/** The names of what a rule holds that the walk cannot judge for not knowing it; what depends on rates or times is known. */
function unknownOf({ steps }: Rule): ReadonlySet<string> {
  return new Set(steps.flatMap(unknownName));
}

function unknownName(step: Step): string[] {
  if (step.kind === 'unknown') return [`statement ${/^(?:xt (?:match |target )?)?\S+/.exec(step.name)?.[0] ?? step.name}`];
  return step.kind === 'may' && step.reason.includes('not among the values') ? [`expression ${step.module}`] : [];
}

function add(unknown: Map<string, UnknownStep>, name: string, line: number): void {
  const known = unknown.get(name);
  unknown.set(name, { name, rules: (known?.rules ?? 0) + 1, line: known?.line ?? line });
}

function textOf({ file, kind, lines, objects, parts, unknown, issues }: OtherSummary): string {
  const totals = Object.entries(objects).map(([name, number]) => `${number} ${name}`);
  const byName = unknown.map(({ name, rules, line }) => `  unknown ${name}: ${count(rules, 'rule')}${line === 0 ? '' : `, first in line ${line}`}`);
  const doubts = issues.map(({ line, text, reason }) => `${file}:${line}: ${reason}: ${text}`);
  return `${[`${file}: output of ${kind}: ${count(lines, 'line')}, ${totals.join(', ')}`, ...parts.map((part) => `  ${part}`), ...byName, ...doubts].join('\n')}\n`;
}

const count = (number: number, one: string, many = `${one}s`): string => `${number} ${number === 1 ? one : many}`;

function countLines(bytes: Buffer): number {
  let lines = bytes.length === 0 || bytes.at(-1) === 10 ? 0 : 1;
  for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) lines++;
  return lines;
}
