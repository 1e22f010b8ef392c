// Takes chains and sets that changed, came or went into a native table that was read before, without reading the rest again.
import { parseNft } from './nft.parse.ts';
import type { Chain, Issue, NftSet, Table } from './ruleset.ts';

/** What was read again of one table, and what of it is gone. */
export interface NftReadAgain {
  /** What `nft -j list chain FAMILY TABLE CHAIN` (or `list set`, `list map`) printed. */
  readonly listings: readonly string[];
  readonly goneChains?: readonly string[];
  readonly goneSets?: readonly string[];
}

export interface NftReplacement {
  readonly table: Table;
  readonly issues: readonly Issue[];
}

/**
 * The table with these chains and sets in the places of the old ones, new ones at the end, and without those that are gone. All others are shared with the
 * table given, which stays as it is; where no set is among them the sets are the very same.
 */
export function replaceNftObjects(table: Table, { listings, goneChains = [], goneSets = [] }: NftReadAgain): NftReplacement {
  const issues: Issue[] = [];
  const chains = new Map<string, Chain>(table.chains);
  const sets = new Map<string, NftSet>(table.sets);
  for (const name of goneChains) chains.delete(name);
  for (const name of goneSets) sets.delete(name);
  let setsRead = goneSets.length;
  for (const listing of listings) {
    const parsed = parseNft(listing, { skipIptablesTables: false, within: () => after });
    issues.push(...parsed.issues);
    for (const found of parsed.tables) {
      if (found.family !== table.family || found.name !== table.name) continue;
      for (const [name, chain] of found.chains) chains.set(name, chain);
      for (const [name, set] of found.sets) sets.set(name, set);
      setsRead += found.sets.size;
    }
  }
  const after: Table = { ...table, chains, sets: setsRead === 0 ? table.sets : sets };
  return { table: after, issues };
}
