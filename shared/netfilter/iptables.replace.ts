// Takes one changed chain into a table that was read before, without reading the rest again: what an agent does when an event names a chain.
import type { IptablesChain } from './iptables.chain.ts';
import { type IptablesChains, type IptablesTable, parseListing } from './iptables.parse.ts';
import type { Issue } from './ruleset.ts';

/** A table with another chain in it, and what could not be read of that chain. */
export interface Replacement {
  readonly table: IptablesTable;
  readonly issues: readonly Issue[];
}

/**
 * Replaces a chain by the text that `iptables -t TABLE -S CHAIN` printed; a chain that the table does not have is added. Pure: the table that is given stays as
 * it is, and the new one shares all other chains, with their decoded rules and indexes. Rules of the new chain have the line numbers of the text.
 */
export function replaceChain(table: IptablesTable, chainText: Buffer | string): Replacement {
  const replaced = new Map(table.chains instanceof ChainsWithReplaced ? table.chains.replaced : []);
  const read = parseListing(chainText, table, (name) => replaced.has(name) || table.chains.has(name));
  for (const { chains } of read.tables) for (const chain of chains.values()) replaced.set(chain.name, chain);
  const original = table.chains instanceof ChainsWithReplaced ? table.chains.original : table.chains;
  const chains = new ChainsWithReplaced(original, replaced);
  const bases = new Set([...table.baseChains, ...replaced.values()].map(({ name }) => chains.get(name)).filter((chain) => chain?.base !== undefined));
  return { table: { ...table, chains, baseChains: [...bases] as IptablesChain[] }, issues: read.issues };
}

/** The chains of a table, some of them replaced in their places, new ones at the end. */
class ChainsWithReplaced implements IptablesChains {
  readonly original: IptablesChains;
  readonly replaced: ReadonlyMap<string, IptablesChain>;

  constructor(original: IptablesChains, replaced: ReadonlyMap<string, IptablesChain>) {
    this.original = original;
    this.replaced = replaced;
  }

  get size(): number {
    return this.original.size + this.#added().length;
  }

  get ruleCount(): number {
    let count = this.original.ruleCount;
    for (const chain of this.replaced.values()) count += chain.length - (this.original.get(chain.name)?.length ?? 0);
    return count;
  }

  has(name: string): boolean {
    return this.replaced.has(name) || this.original.has(name);
  }

  get(name: string): IptablesChain | undefined {
    return this.replaced.get(name) ?? this.original.get(name);
  }

  *keys(): MapIterator<string> {
    yield* this.original.keys();
    for (const { name } of this.#added()) yield name;
  }

  *values(): MapIterator<IptablesChain> {
    for (const chain of this.original.values()) yield this.replaced.get(chain.name) ?? chain;
    yield* this.#added();
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

  #added(): readonly IptablesChain[] {
    return [...this.replaced.values()].filter(({ name }) => !this.original.has(name));
  }
}
