// Says which chains of a table differ from those that were read before, by what they do: counters are no difference.
import { withoutCounters } from './diff.ts';
import { TableChains } from './iptables.chain.ts';
import { ReplacedChains } from './iptables.replace.ts';
import type { Chain, Table } from './ruleset.ts';

/** Names of chains that differ, have come or are gone. */
export function differentChains(before: Table, after: Table): ReadonlySet<string> {
  if (before === after) return new Set();
  return new Set(namesToCompare(before.chains, after.chains).filter((name) => !sameChain(before.chains.get(name), after.chains.get(name))));
}

/** All that may differ. */
function namesToCompare(before: Table['chains'], after: Table['chains']): readonly string[] {
  const earlier = before instanceof ReplacedChains ? before.original : before;
  if (!(earlier instanceof TableChains && after instanceof TableChains)) return [...new Set([...after.keys(), ...before.keys()])];
  const changed = after.changedSince(earlier);
  return before instanceof ReplacedChains ? [...new Set([...changed, ...before.overlay.keys()])] : changed;
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
