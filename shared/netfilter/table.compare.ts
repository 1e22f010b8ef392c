// Says which chains of a table differ from those that were read before, by what they do: counters are no difference.
import { withoutCounters } from './diff.ts';
import { TableChains } from './iptables.chain.ts';
import type { Chain, Table } from './ruleset.ts';

/** Names of chains that differ, have come or are gone. */
export function differentChains(before: Table, after: Table): ReadonlySet<string> {
  if (before === after) return new Set();
  const names =
    before.chains instanceof TableChains && after.chains instanceof TableChains
      ? after.chains.changedSince(before.chains)
      : [...after.chains.keys(), ...[...before.chains.keys()].filter((name) => !after.chains.has(name))];
  return new Set(names.filter((name) => !sameChain(before.chains.get(name), after.chains.get(name))));
}

function sameChain(before: Chain | undefined, after: Chain | undefined): boolean {
  if (before === after) return true;
  if (before === undefined || after === undefined || before.length !== after.length) return false;
  if (before.base !== after.base && JSON.stringify(before.base) !== JSON.stringify(after.base)) return false;
  for (let index = 0; index < after.length; index++) {
    const [was, is] = [before.text(index), after.text(index)];
    if (was !== is && withoutCounters(was) !== withoutCounters(is)) return false;
  }
  return true;
}
