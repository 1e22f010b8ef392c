// The node as it was read: whole files, and over them the chains and sets that were read again one by one. Pure.

import { changesOfDump, type DumpChanges } from '../shared/netfilter/dump.changes.ts';
import { sameRules } from '../shared/netfilter/dump.same.ts';
import { type TouchedChains, tableKey } from '../shared/netfilter/facts.incremental.ts';
import type { IptablesChain, IptablesTable } from '../shared/netfilter/iptables.parse.ts';
import { replaceChains, replaceDumped, replacedChains } from '../shared/netfilter/iptables.replace.ts';
import { replaceNftObjects } from '../shared/netfilter/nft.replace.ts';
import { iptablesFiles, parsedDump, readNode } from '../shared/netfilter/node.read.ts';
import type { CaptureFiles, NodeState } from '../shared/netfilter/node.ts';
import type { Issue, Table } from '../shared/netfilter/ruleset.ts';
import { differentChains } from '../shared/netfilter/table.compare.ts';
import { type Part, replacedMax } from './plan.ts';

export interface State {
  readonly files: CaptureFiles;
  /** What could not be read and may hold rules. */
  readonly unread: readonly string[];
  /** The files that `base` was read from: those above, but for dumps of legacy tables that have changed a little since. */
  readonly baseFiles: CaptureFiles;
  /** As these files have it. */
  readonly base: NodeState;
  /** Tables of `base` of which parts were read again or have changed since, as they are now. */
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
  const legacy = before === undefined ? nothingLegacy : legacySince(before, files);
  const baseFiles = legacy.kept.size === 0 ? files : new Map([...files].map(([file, content]) => [file, legacy.kept.get(file) ?? content]));
  const isSame = before !== undefined && sameFiles(before.baseFiles, baseFiles) && sameList(before.unread, unread);
  const base = isSame ? before.base : readNode(baseFiles, { node: brought.name, unread });
  const overlay = new Map<Table, Table>();
  // A table may be another object although its source was not read: what is left out of a native one hangs on what iptables shows of it.
  const kept = new Map([...(before?.overlay ?? [])].map(([table, now]) => [tableKey(table), now]));
  for (const table of base.tables) {
    const now = table.backend === 'legacy' ? legacy.tables.get(table) : kept.get(tableKey(table));
    if (now !== undefined && (table.backend === 'legacy' || !brought.whole.has(sourceOf(table)))) overlay.set(table, now);
  }
  const issues = replaceParts(base, overlay, brought.parts);
  const tables = base.tables.map((table) => overlay.get(table) ?? table);
  const unchanged = isSame && sameList(before.node.tables, tables);
  const node = unchanged ? before.node : overlay.size === 0 ? base : { ...base, tables };
  const touched = touchedBetween(before?.node, node, { parts: brought.parts, legacy: legacy.touched });
  return { state: { files, unread, baseFiles, base, overlay, node }, touched, issues };
}

/** The source that reads a table. */
export const sourceOf = ({ backend, family }: Table): 'iptables' | 'ip6tables' | 'nftables' =>
  backend === 'nft' ? 'nftables' : family === 'ip6' ? 'ip6tables' : 'iptables';

/** What has become of the dumps of legacy tables. */
interface LegacyChanges {
  /** The earlier dump, by file, where the one that was read now differs from it in few chains. */
  readonly kept: CaptureFiles;
  /** Tables of these dumps as they are now, where they have changed since. */
  readonly tables: ReadonlyMap<Table, Table>;
  readonly touched: TouchedChains;
}

const nothingLegacy: LegacyChanges = { kept: new Map(), tables: new Map(), touched: new Map() };

/** Nobody says which chains of a legacy table have changed: the dumps are compared, and only those that differ are parsed. */
function legacySince(before: State, files: CaptureFiles): LegacyChanges {
  const found = { kept: new Map<string, Buffer>(), tables: new Map<Table, Table>(), touched: new Map<string, ReadonlySet<string>>() };
  for (const { name } of iptablesFiles) {
    const [base, content] = [before.baseFiles.get(name), files.get(name)];
    const parsed = base === undefined ? undefined : parsedDump(base);
    if (base === undefined || content === undefined || parsed === undefined || parsed.tables.some(({ backend }) => backend !== 'legacy')) continue;
    const isAsBefore = content === before.files.get(name);
    const changes = isAsBefore ? undefined : content === base ? noChanges : changesOfDump(parsed, content, replacedMax(parsed.dump.chains.names.length));
    if (!isAsBefore && changes === undefined) continue;
    const tables = parsed.tables.map((table) => {
      const known = (before.overlay.get(table) ?? table) as IptablesTable;
      const dumps = changes === undefined ? new Map() : newDumps(table, known, changes.get(table) ?? new Map());
      const { table: now, issues } = dumps.size === 0 ? { table: known, issues: [] } : replaceDumped(known, dumps);
      return { table, now, dumps, issues };
    });
    // What is wrong with lines is said of the file that they stand in, which then is parsed whole.
    if (tables.some(({ issues }) => issues.length > 0)) continue;
    found.kept.set(name, base);
    for (const { table, dumps, now } of tables) {
      if (now !== table) found.tables.set(table, now);
      if (dumps.size > 0) found.touched.set(tableKey(table), new Set(dumps.keys()));
    }
  }
  return found;
}

const noChanges: DumpChanges = new Map();

/** The chains that are others than now, when the dump that a table was read from has changed so: some may be as they were in it. */
function newDumps(table: IptablesTable, now: IptablesTable, changes: ReadonlyMap<string, string | null>): Map<string, string | IptablesChain | null> {
  const dumps = new Map<string, string | IptablesChain | null>();
  const replaced = replacedChains(now);
  for (const [name, dump] of changes) {
    const known = replaced.get(name);
    const isSame = known === undefined ? false : known === null || dump === null ? known === dump : sameRules(known.dump.bytes, Buffer.from(dump));
    if (!isSame) dumps.set(name, dump);
  }
  for (const [name, chain] of replaced) {
    const original = table.chains.get(name) ?? null;
    if (!changes.has(name) && chain?.dump !== original?.dump) dumps.set(name, original);
  }
  return dumps;
}

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

/** What is known to be touched. */
interface Known {
  readonly parts: Brought['parts'];
  readonly legacy: TouchedChains;
}

/** Of tables whose parts alone were read, those parts; of others, the chains that differ. */
function touchedBetween(before: NodeState | undefined, after: NodeState, { parts, legacy }: Known): TouchedChains {
  const touched = new Map<string, ReadonlySet<string>>();
  if (before === undefined || before === after) return touched;
  const known = new Map(before.tables.map((table) => [tableKey(table), table]));
  const read = Map.groupBy(parts, ({ part }) => `${part.family} ${part.table}`);
  for (const table of after.tables) {
    const earlier = known.get(tableKey(table));
    if (earlier === undefined || earlier === table) continue;
    const own = table.backend === 'legacy' ? undefined : read.get(`${table.family} ${table.name}`);
    // Where parts were read, everything else is shared with the table before.
    const parted = own === undefined ? legacy.get(tableKey(table)) : new Set(own.map(({ part }) => part.object));
    touched.set(tableKey(table), parted ?? differentChains(earlier, table));
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
