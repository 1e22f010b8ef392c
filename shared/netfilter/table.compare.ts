// Says which chains of a table differ from those that were read before, by what they do: counters are no difference.
import { withoutCounters } from './diff.ts';
import { IptablesChain } from './iptables.chain.ts';
import type { Chain, Table } from './ruleset.ts';

/** Names of chains that differ, have come or are gone. */
export function differentChains(before: Table, after: Table): ReadonlySet<string> {
  const names = new Set<string>();
  if (before === after) return names;
  for (const [name, chain] of after.chains) if (!sameChain(before.chains.get(name), chain)) names.add(name);
  for (const name of before.chains.keys()) if (!after.chains.has(name)) names.add(name);
  return names;
}

function sameChain(before: Chain | undefined, after: Chain): boolean {
  if (before === after) return true;
  if (before === undefined || before.length !== after.length) return false;
  if (before.base !== after.base && JSON.stringify(before.base) !== JSON.stringify(after.base)) return false;
  if (before instanceof IptablesChain && after instanceof IptablesChain && after.hasLinesOf(before)) return true;
  for (let index = 0; index < after.length; index++) {
    const [was, is] = [before.text(index), after.text(index)];
    if (was !== is && withoutCounters(was) !== withoutCounters(is)) return false;
  }
  return true;
}
