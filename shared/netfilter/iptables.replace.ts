// Takes chains that changed, came or went into a table that was read before, without reading the rest again: what an agent does when events name chains.
import { dumpOfListing } from './iptables.listing.ts';
import { type IptablesChain, type IptablesChains, type IptablesTable, parseListing } from './iptables.parse.ts';
import type { Issue } from './ruleset.ts';

/** By chain: what `iptables -t TABLE -S CHAIN -v` printed of it, or null when it is gone. */
export type ChainListings = ReadonlyMap<string, string | null>;

export interface Replacement {
  readonly table: IptablesTable;
  readonly issues: readonly Issue[];
}

/**
 * The table with these chains in the places of the old ones, new ones at the end, and without those that are gone. All other chains are shared with the table
 * given, with their decoded rules and indexes. A listing that declares no chain of its name is an issue and changes nothing.
 */
export const replaceChains = (table: IptablesTable, listings: ChainListings): Replacement =>
  replaceDumped(table, new Map([...listings].map(([name, listing]) => [name, listing === null ? null : dumpOfListing(table.name, listing)])));

/**
 * The same, of dumps that hold one chain each, as `iptables-save` would print it. A chain that is as it was in the dump that the table was read from first may be
 * given itself.
 */
export function replaceDumped(table: IptablesTable, dumps: ReadonlyMap<string, string | IptablesChain | null>): Replacement {
  const present = new Set([...dumps].flatMap(([name, dump]) => (dump === null ? [] : [name])));
  const isChain = (name: string): boolean => present.has(name) || (!dumps.has(name) && table.chains.has(name));
  const issues: Issue[] = [];
  const overlay = new Map(replacedChains(table));
  for (const [name, dump] of dumps) {
    if (typeof dump !== 'string') {
      overlay.set(name, dump);
      continue;
    }
    const read = parseListing(dump, table, chainsNamed(dump, isChain));
    const chain = read.tables[0]?.chains.get(name);
    issues.push(...read.issues);
    if (chain === undefined) issues.push({ line: 0, text: name, reason: `the listing of chain ${name} does not declare it` });
    else overlay.set(name, chain);
  }
  const chains = new ReplacedChains(table.chains instanceof ReplacedChains ? table.chains.original : table.chains, overlay);
  return { table: { ...table, chains, baseChains: baseChainsAfter(table, chains, dumps) }, issues };
}

/**
 * Says of the names that a dump jumps to whether they are chains, as it was when it was read. Rules are decoded when they are asked for, and one that asked the
 * table would keep it, with all chains that it had and that were replaced since: each version of a table would hold the one before.
 */
function chainsNamed(dump: string, isChain: (name: string) => boolean): (name: string) => boolean {
  const names = new Set<string>();
  for (const [, name = ''] of dump.matchAll(/ -[jg] "?([^\s"]+)/g)) {
    // A copy: a part of a string keeps all of it.
    if (!names.has(name) && isChain(name)) names.add(Buffer.from(name).toString());
  }
  return (name) => names.has(name);
}

/** The chains of a table that are not from the dump that it was read from; null: gone. */
export const replacedChains = (table: IptablesTable): ReadonlyMap<string, IptablesChain | null> =>
  table.chains instanceof ReplacedChains ? table.chains.overlay : new Map();

/** How many chains of a table are not from the dump that it was read from: each of them keeps a text of its own. */
export const replacedCount = (table: IptablesTable): number => replacedChains(table).size;

function baseChainsAfter(table: IptablesTable, chains: ReplacedChains, listings: ReadonlyMap<string, unknown>): readonly IptablesChain[] {
  const kept = table.baseChains.flatMap(({ name }) => chains.get(name) ?? []);
  const known = new Set(kept.map(({ name }) => name));
  const added = [...listings.keys()].flatMap((name) => chains.get(name) ?? []).filter((chain) => chain.base !== undefined && !known.has(chain.name));
  return [...kept, ...added];
}

/** The chains of a dump, some of them replaced in their places, some gone, new ones at the end. */
export class ReplacedChains implements IptablesChains {
  readonly original: IptablesChains;
  /** What stands in the place of a chain of the original, or comes after all; null: nothing. */
  readonly overlay: ReadonlyMap<string, IptablesChain | null>;
  readonly #added: readonly IptablesChain[];

  constructor(original: IptablesChains, overlay: ReadonlyMap<string, IptablesChain | null>) {
    this.original = original;
    this.overlay = overlay;
    this.#added = [...overlay.values()].filter((chain) => chain !== null && !original.has(chain.name)) as IptablesChain[];
  }

  get size(): number {
    let size = this.original.size + this.#added.length;
    for (const [name, chain] of this.overlay) if (chain === null && this.original.has(name)) size--;
    return size;
  }

  get ruleCount(): number {
    let count = this.original.ruleCount;
    for (const [name, chain] of this.overlay) count += (chain?.length ?? 0) - (this.original.get(name)?.length ?? 0);
    return count;
  }

  has(name: string): boolean {
    const chain = this.overlay.get(name);
    return chain === undefined ? this.original.has(name) : chain !== null;
  }

  get(name: string): IptablesChain | undefined {
    const chain = this.overlay.get(name);
    return chain === undefined ? this.original.get(name) : (chain ?? undefined);
  }

  *keys(): MapIterator<string> {
    for (const name of this.original.keys()) if (this.overlay.get(name) !== null) yield name;
    for (const { name } of this.#added) yield name;
  }

  *values(): MapIterator<IptablesChain> {
    for (const name of this.keys()) yield this.get(name) as IptablesChain;
  }

  *entries(): MapIterator<[string, IptablesChain]> {
    for (const chain of this.values()) yield [chain.name, chain];
  }

  [Symbol.iterator](): MapIterator<[string, IptablesChain]> {
    return this.entries();
  }

  forEach(act: (chain: IptablesChain, name: string, chains: ReadonlyMap<string, IptablesChain>) => void): void {
    for (const chain of this.values()) act(chain, chain.name, this);
  }
}
