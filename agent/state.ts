// The node as it was read: whole files, and over them the chains and sets that were read again one by one. Pure.

import { type TouchedChains, tableKey } from '../shared/netfilter/facts.incremental.ts';
import type { IptablesTable } from '../shared/netfilter/iptables.parse.ts';
import { replaceChains } from '../shared/netfilter/iptables.replace.ts';
import { replaceNftObjects } from '../shared/netfilter/nft.replace.ts';
import { readNode } from '../shared/netfilter/node.read.ts';
import type { CaptureFiles, NodeState } from '../shared/netfilter/node.ts';
import type { Issue, Table } from '../shared/netfilter/ruleset.ts';
import { differentChains } from '../shared/netfilter/table.compare.ts';
import type { Part } from './plan.ts';

export interface State {
  readonly files: CaptureFiles;
  /** What could not be read and may hold rules. */
  readonly unread: readonly string[];
  /** As the files have it. */
  readonly base: NodeState;
  /** Tables of `base` of which parts were read again since, as they are now. */
  readonly overlay: ReadonlyMap<Table, Table>;
  /** As it is now. */
  readonly node: NodeState;
}

/** What a round of reading brought. */
export interface Brought {
  readonly name: string;
  readonly files: CaptureFiles;
  readonly unread: readonly string[];
  /** Sources of rules that were read whole: what was read again of their tables before is in it. */
  readonly whole: ReadonlySet<string>;
  readonly parts: readonly { readonly part: Part; readonly text: string | null }[];
}

export interface Advanced {
  readonly state: State;
  /** Chains that may differ, by table. */
  readonly touched: TouchedChains;
  /** What could not be read of the parts. */
  readonly issues: readonly Issue[];
}

export function advance(before: State | undefined, brought: Brought): Advanced {
  const { files, unread } = brought;
  const isSame = before !== undefined && sameFiles(before.files, files) && sameList(before.unread, unread);
  const base = isSame ? before.base : readNode(files, { node: brought.name, unread });
  const overlay = new Map<Table, Table>();
  // A table may be another object although its source was not read: what is left out of a native one hangs on what iptables shows of it.
  const kept = new Map([...(before?.overlay ?? [])].map(([table, now]) => [tableKey(table), now]));
  for (const table of base.tables) {
    const now = kept.get(tableKey(table));
    if (now !== undefined && !brought.whole.has(sourceOf(table))) overlay.set(table, now);
  }
  const issues = replaceParts(base, overlay, brought.parts);
  const tables = base.tables.map((table) => overlay.get(table) ?? table);
  const unchanged = isSame && sameList(before.node.tables, tables);
  const node = unchanged ? before.node : overlay.size === 0 ? base : { ...base, tables };
  return { state: { files, unread, base, overlay, node }, touched: touchedBetween(before?.node, node, brought.parts), issues };
}

/** The source that reads a table. */
export const sourceOf = ({ backend, family }: Table): 'iptables' | 'ip6tables' | 'nftables' =>
  backend === 'nft' ? 'nftables' : family === 'ip6' ? 'ip6tables' : 'iptables';

/** Takes the parts into the overlay. */
function replaceParts(base: NodeState, overlay: Map<Table, Table>, parts: Brought['parts']): readonly Issue[] {
  const issues: Issue[] = [];
  for (const [key, own] of Map.groupBy(parts, ({ part }) => `${part.family} ${part.table}`)) {
    const found = base.tables.find((table) => table.backend !== 'legacy' && `${table.family} ${table.name}` === key);
    if (found === undefined) continue;
    const table = overlay.get(found) ?? found;
    const replaced = table.backend === 'nft' ? replaceNative(table, own) : replaceChains(table as IptablesTable, new Map(own.map(nameAndText)));
    overlay.set(found, replaced.table);
    issues.push(...replaced.issues);
  }
  return issues;
}

const nameAndText = ({ part, text }: Brought['parts'][number]): [string, string | null] => [part.object, text];

function replaceNative(table: Table, parts: Brought['parts']): ReturnType<typeof replaceNftObjects> {
  const gone = parts.filter(({ text }) => text === null).map(({ part }) => part);
  return replaceNftObjects(table, {
    listings: parts.flatMap(({ text }) => (text === null ? [] : [text])),
    goneChains: gone.filter(({ kind }) => kind === 'chain').map(({ object }) => object),
    goneSets: gone.filter(({ kind }) => kind !== 'chain').map(({ object }) => object),
  });
}

/** Of tables whose parts alone were read, those parts; of others, the chains that differ. */
function touchedBetween(before: NodeState | undefined, after: NodeState, parts: Brought['parts']): TouchedChains {
  const touched = new Map<string, ReadonlySet<string>>();
  if (before === undefined || before === after) return touched;
  const known = new Map(before.tables.map((table) => [tableKey(table), table]));
  const read = Map.groupBy(parts, ({ part }) => `${part.family} ${part.table}`);
  for (const table of after.tables) {
    const earlier = known.get(tableKey(table));
    if (earlier === undefined || earlier === table) continue;
    const own = table.backend === 'legacy' ? undefined : read.get(`${table.family} ${table.name}`);
    // Where parts were read, everything else is shared with the table before.
    touched.set(tableKey(table), own === undefined ? differentChains(earlier, table) : new Set(own.map(({ part }) => part.object)));
  }
  return touched;
}

const sameFiles = (before: CaptureFiles, after: CaptureFiles): boolean =>
  before === after || (before.size === after.size && [...after].every(([file, content]) => before.get(file) === content));

const sameList = (before: readonly unknown[], after: readonly unknown[]): boolean =>
  before.length === after.length && after.every((each, index) => each === before[index]);

/** The tables of two readings with no more than the chains that were touched, for comparing them. A table that came or went is whole. */
export function touchedTables(
  before: NodeState,
  after: NodeState,
  touched: TouchedChains,
): { readonly before: readonly Table[]; readonly after: readonly Table[] } {
  const [was, is] = [before, after].map(({ tables }) => new Map(tables.map((table) => [tableKey(table), table]))) as [Map<string, Table>, Map<string, Table>];
  const reduce = (table: Table, other: Table | undefined): Table => {
    if (other === undefined) return table;
    const names = table === other ? new Set<string>() : touched.get(tableKey(table));
    const chains = names === undefined ? table.chains : new Map([...names].flatMap((name) => chainEntry(table, name)));
    return { ...table, chains, sets: table.sets === other.sets ? new Map() : table.sets };
  };
  return {
    before: before.tables.map((table) => reduce(table, is.get(tableKey(table)))),
    after: after.tables.map((table) => reduce(table, was.get(tableKey(table)))),
  };
}

function chainEntry(table: Table, name: string): [string, NonNullable<ReturnType<Table['chains']['get']>>][] {
  const chain = table.chains.get(name);
  return chain === undefined ? [] : [[name, chain]];
}
