// What changed between two readings of a node's tables: rules by position and text, policies, chains, tables, elements of sets. Counters are not changes.
import type { ChangeKind, Owner } from '../model/change.ts';
import { harmlessMoves } from './diff.moves.ts';
import { elementText } from './element.text.ts';
import { type OwnedObject, ownerOf } from './owners.ts';
import type { Backend, TableFamily } from './rule.ts';
import type { BaseChain, Chain, NftSet, Table } from './ruleset.ts';

/** One difference of a chain, set or table. */
export interface RuleChange {
  readonly kind: Extract<ChangeKind, 'rule' | 'chain' | 'policy' | 'set' | 'table'>;
  readonly backend: Backend;
  readonly family: TableFamily;
  readonly table: string;
  /** Chain, set or map; absent for a table as a whole. */
  readonly object?: string;
  /** `ip filter FORWARD`; where a node has this table in both backends, the legacy one is `ip filter FORWARD (legacy)`. */
  readonly subject: string;
  /** Lines that were there and are not; null when nothing was. */
  readonly before: readonly string[] | null;
  /** Lines that are there and were not; null when nothing is. */
  readonly after: readonly string[] | null;
  /** For rules of a chain that was there before: where each line of `after` stands; undefined for those at the end of the chain. */
  readonly places?: readonly (RulePosition | undefined)[];
  /** Of kube-proxy's chains: lines of `before` and `after` that stand at another place and do the same there. */
  readonly moves?: ReadonlySet<string>;
  readonly owner: Owner;
}

export interface RulePosition {
  /** From 1. */
  readonly number: number;
  /** Rules that the chain has. */
  readonly of: number;
}

/** All differences from one reading to the next, in order of the later reading's tables. A table that comes or goes yields also what its chains held. */
export function diffTables(before: readonly Table[], after: readonly Table[]): RuleChange[] {
  const earlier = new Map(before.map((table) => [tableKey(table), table]));
  const later = new Set(after.map(tableKey));
  const gone = before.filter((table) => !later.has(tableKey(table)));
  const changes = [...after.flatMap((table) => diffTable(earlier.get(tableKey(table)), table)), ...gone.flatMap((table) => diffTable(table, undefined))];
  const keys = new Set([...earlier.keys(), ...later]);
  const twice = ({ backend, family, table }: RuleChange) => backend === 'legacy' && keys.has(`iptables-nft ${family} ${table}`);
  // A table of iptables that gets its first native base chain, or loses the last, is the table that it was.
  const stays = ({ kind, backend, family, table }: RuleChange) =>
    kind === 'table' && backend === 'nft' && earlier.has(`iptables-nft ${family} ${table}`) && later.has(`iptables-nft ${family} ${table}`);
  return changes.flatMap((change) => (stays(change) ? [] : [twice(change) ? { ...change, subject: `${change.subject} (legacy)` } : change]));
}

/** A place where lines of a list were replaced: `at` counts in the list before. */
export interface Hunk {
  readonly at: number;
  readonly removed: readonly string[];
  readonly added: readonly string[];
}

/**
 * The hunks that turn one list of lines into the other, in order. Lines that are unique in both lists anchor the comparison (their longest common
 * subsequence, n log n), so that a chain of a hundred thousand rules costs no more than reading it.
 */
export function diffLines(before: readonly string[], after: readonly string[]): Hunk[] {
  const hunks: Hunk[] = [];
  let i = 0;
  let j = 0;
  for (const [nextI, nextJ] of [...anchors(before, after), [before.length, after.length] as const]) {
    pushHunk(hunks, { before, after, from: i, to: nextI, fromAfter: j, toAfter: nextJ });
    i = nextI + 1;
    j = nextJ + 1;
  }
  return hunks;
}

/** Applies hunks: `applyHunks(a, diffLines(a, b))` is `b`. */
export function applyHunks(lines: readonly string[], hunks: readonly Hunk[]): string[] {
  const result: string[] = [];
  let at = 0;
  for (const hunk of hunks) {
    result.push(...lines.slice(at, hunk.at), ...hunk.added);
    at = hunk.at + hunk.removed.length;
  }
  return [...result, ...lines.slice(at)];
}

const tableKey = ({ backend, family, name }: Table): string => `${backend} ${family} ${name}`;

function diffTable(before: Table | undefined, after: Table | undefined): RuleChange[] {
  if (before === after) return [];
  const table = (after ?? before) as Table;
  const changes: RuleChange[] = [];
  if (before === undefined || after === undefined || before.flags.join() !== after.flags.join()) {
    changes.push(change(table, 'table', { before: before && [tableLine(before)], after: after && [tableLine(after)] }));
  }
  for (const name of names(before?.chains, after?.chains)) changes.push(...diffChain(table, before?.chains.get(name), after?.chains.get(name)));
  for (const name of names(before?.sets, after?.sets)) changes.push(...diffSet(table, before?.sets.get(name), after?.sets.get(name)));
  return changes;
}

const names = (before: ReadonlyMap<string, unknown> | undefined, after: ReadonlyMap<string, unknown> | undefined): ReadonlySet<string> =>
  new Set([...(after?.keys() ?? []), ...(before?.keys() ?? [])]);

const tableLine = (table: Table): string => `table ${table.family} ${table.name}${table.flags.length === 0 ? '' : ` { flags ${table.flags.join(',')}; }`}`;

function diffChain(table: Table, before: Chain | undefined, after: Chain | undefined): RuleChange[] {
  const chain = (after ?? before) as Chain;
  const rules = diffRules(before, after);
  const object = chain.name;
  // iptables' built-in chains come with their table; only a chain that somebody made is news as a chain.
  const builtin = table.backend !== 'nft' && chain.base !== undefined;
  if ((before === undefined || after === undefined) && !builtin) {
    const lines = (each: Chain | undefined, texts: readonly string[]) => each && [chainLine(table, each), ...texts];
    return [change(table, 'chain', { object, before: lines(before, rules?.removed ?? []), after: lines(after, rules?.added ?? []) })];
  }
  const changes: RuleChange[] = [];
  if (policyDiffers(before, after)) {
    changes.push(change(table, 'policy', { object, before: before && [chainLine(table, before)], after: after && [chainLine(table, after)] }));
  }
  if (rules !== undefined) {
    const found = change(table, 'rule', { object, before: orNothing(rules.removed), after: orNothing(rules.added) });
    const places = before !== undefined && rules.places.some((place) => place !== undefined) ? { places: rules.places } : {};
    const mayHaveMoves = found.owner === 'kube-proxy' && found.before !== null && found.after !== null;
    changes.push({ ...found, ...places, ...(mayHaveMoves ? { moves: harmlessMoves(ruleLines(before), ruleLines(after)) } : {}) });
  }
  return changes;
}

function policyDiffers(before: Chain | undefined, after: Chain | undefined): boolean {
  if (before === undefined || after === undefined) return (before ?? after)?.base?.policy === 'drop';
  return baseText(before.base) !== baseText(after.base);
}

const baseText = (base: BaseChain | undefined): string =>
  base === undefined
    ? ''
    : `type ${base.type} hook ${base.hook}${base.devices === undefined ? '' : ` devices = { ${base.devices.join(', ')} }`} priority ${base.priority}; policy ${base.policy};`;

function chainLine(table: Table, chain: Chain): string {
  if (table.backend === 'nft') return chain.base === undefined ? `chain ${chain.name}` : `chain ${chain.name} { ${baseText(chain.base)} }`;
  return chain.base === undefined ? `-N ${chain.name}` : `-P ${chain.name} ${chain.base.policy.toUpperCase()}`;
}

// Most chains are as they were: those cost one comparison of texts for each rule and no list.
function diffRules(before: Chain | undefined, after: Chain | undefined): RuleDifference | undefined {
  if (before?.length === after?.length && before !== undefined && after !== undefined) {
    let i = 0;
    while (i < before.length && (before.text(i) === after.text(i) || ruleLine(before, i) === ruleLine(after, i))) i++;
    if (i === before.length) return undefined;
  }
  const [was, is] = [ruleLines(before), ruleLines(after)];
  const hunks = diffLines(was, is);
  if (hunks.length === 0) return undefined;
  return { removed: hunks.flatMap(({ removed }) => removed), added: hunks.flatMap(({ added }) => added), places: placesOf(hunks, was.length, is.length) };
}

interface RuleDifference {
  readonly removed: readonly string[];
  readonly added: readonly string[];
  /** Of each added line; undefined where nothing that was there before follows. */
  readonly places: readonly (RulePosition | undefined)[];
}

function placesOf(hunks: readonly Hunk[], before: number, after: number): (RulePosition | undefined)[] {
  let shift = 0;
  return hunks.flatMap(({ at, removed, added }) => {
    const first = at + shift + 1;
    shift += added.length - removed.length;
    const isLast = at + removed.length === before;
    return added.map((_, index) => (isLast ? undefined : { number: first + index, of: after }));
  });
}

const ruleLines = (chain: Chain | undefined): string[] => (chain === undefined ? [] : Array.from({ length: chain.length }, (_, i) => ruleLine(chain, i)));
const ruleLine = (chain: Chain, index: number): string => withoutCounters(chain.text(index));

/** A rule's text with its counters taken out: the packets so far are no part of what the rule says. */
export function withoutCounters(text: string): string {
  const unprefixed = text.startsWith('[') ? text.replace(/^\[\d+:\d+\] /, '') : text;
  return unprefixed.includes('counter packets ') ? unprefixed.replace(/counter packets \d+ bytes \d+/g, 'counter') : unprefixed;
}

function diffSet(table: Table, before: NftSet | undefined, after: NftSet | undefined): RuleChange[] {
  const set = (after ?? before) as NftSet;
  // Sets that packets fill change all the time by themselves.
  if (before !== undefined && after !== undefined && [before, after].some(({ flags }) => flags.includes('dynamic'))) return [];
  const was = new Set(before === undefined ? [] : setLines(before));
  const is = new Set(after === undefined ? [] : setLines(after));
  const removed = [...was].filter((line) => !is.has(line));
  const added = [...is].filter((line) => !was.has(line));
  const declared = (each: NftSet | undefined, lines: readonly string[]) => each && [setLine(each), ...lines];
  if (before === undefined || after === undefined)
    return [change(table, 'set', { object: set.name, before: declared(before, removed), after: declared(after, added) })];
  return removed.length + added.length === 0 ? [] : [change(table, 'set', { object: set.name, before: orNothing(removed), after: orNothing(added) })];
}

const setLine = (set: NftSet): string => `${set.kind === 'set' ? 'set' : 'map'} ${set.name} { type ${set.type.join(' . ')}; }`;
const setLines = (set: NftSet): string[] => set.elements.map((element) => elementText(element, set.type));
/** Lines as a side of a change. */
export const orNothing = (lines: readonly string[]): readonly string[] | null => (lines.length === 0 ? null : lines);

interface Sides {
  readonly object?: string;
  readonly before: readonly string[] | undefined | null;
  readonly after: readonly string[] | undefined | null;
}

function change(table: Table, kind: RuleChange['kind'], { object, before, after }: Sides): RuleChange {
  const { backend, family, name } = table;
  const lines = kind === 'rule' ? [...(after ?? []), ...(before ?? [])] : [];
  const subject = `${family} ${name}${object === undefined ? '' : ` ${object}`}`;
  const owner = ownerOfLines({ family, table: name, ...(object === undefined ? {} : { chain: object }) }, lines);
  return { kind, backend, family, table: name, ...(object === undefined ? {} : { object }), subject, before: before ?? null, after: after ?? null, owner };
}

/** One owner for several rules of a built-in chain; where a rule of an administrator is among them, the change is the administrator's. */
function ownerOfLines(place: OwnedObject, lines: readonly string[]): Owner {
  if (lines.length === 0) return ownerOf(place);
  const owners = new Set(lines.slice(0, ownerLinesMax).map((rule) => ownerOf({ ...place, rule })));
  return owners.has('admin') ? 'admin' : ([...owners][0] as Owner);
}

const ownerLinesMax = 1_000;

interface Span {
  readonly before: readonly string[];
  readonly after: readonly string[];
  readonly from: number;
  readonly to: number;
  readonly fromAfter: number;
  readonly toAfter: number;
}

function pushHunk(hunks: Hunk[], span: Span): void {
  const { before, after } = span;
  let { from, to, fromAfter, toAfter } = span;
  for (; from < to && fromAfter < toAfter && before[from] === after[fromAfter]; from++) fromAfter++;
  for (; from < to && fromAfter < toAfter && before[to - 1] === after[toAfter - 1]; to--) toAfter--;
  if (from < to || fromAfter < toAfter) hunks.push({ at: from, removed: before.slice(from, to), added: after.slice(fromAfter, toAfter) });
}

/** Pairs of positions of lines that are unique on both sides, the longest run that is in order on both. */
function anchors(before: readonly string[], after: readonly string[]): [number, number][] {
  const unique = uniquePositions(after);
  const pairs = [...uniquePositions(before)].flatMap(([line, i]): [number, number][] => {
    const j = unique.get(line);
    return j === undefined || j < 0 || i < 0 ? [] : [[i, j]];
  });
  return longestIncreasing(pairs);
}

/** Position of each line; −1 for those that occur more than once. */
function uniquePositions(lines: readonly string[]): Map<string, number> {
  const positions = new Map<string, number>();
  for (const [i, line] of lines.entries()) positions.set(line, positions.has(line) ? -1 : i);
  return positions;
}

function longestIncreasing(pairs: readonly [number, number][]): [number, number][] {
  const tails: number[] = [];
  const previous = new Int32Array(pairs.length).fill(-1);
  pairs.forEach(([, j], index) => {
    let lo = 0;
    let hi = tails.length;
    while (lo < hi) {
      const middle = (lo + hi) >> 1;
      if ((pairs[tails[middle] as number] as [number, number])[1] < j) lo = middle + 1;
      else hi = middle;
    }
    if (lo > 0) previous[index] = tails[lo - 1] as number;
    tails[lo] = index;
  });
  const result: [number, number][] = [];
  for (let index = tails.at(-1) ?? -1; index >= 0; index = previous[index] as number) result.push(pairs[index] as [number, number]);
  return result.reverse();
}
