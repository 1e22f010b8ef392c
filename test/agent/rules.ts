// For tests that compare the rules that the agent knows with those of the kernel.
import { withoutCounters } from '../../shared/netfilter/diff.ts';
import type { Table } from '../../shared/netfilter/ruleset.ts';

/** Everything that decides, as text; the order of chains is no part of it. */
export function textOf(tables: readonly Table[]): string {
  return tables
    .flatMap((table) => {
      const place = `${table.backend} ${table.family} ${table.name}`;
      const chains = [...table.chains.values()].flatMap((chain) => [
        `${place} chain ${chain.name} ${JSON.stringify(chain.base)}`,
        ...Array.from(
          { length: chain.length },
          (_, index) =>
            `${place} ${chain.name} ${index} ${withoutCounters(chain.text(index))} ${JSON.stringify(chain.rule(index).steps.map(({ kind }) => kind))}`,
        ),
      ]);
      const sets = [...table.sets.values()].map(
        (set) =>
          `${place} ${set.kind} ${set.name} ${JSON.stringify(
            set.elements.map(({ key }) => key),
            (_key, each: unknown) => (typeof each === 'bigint' ? `${each}` : each),
          )}`,
      );
      return [place, ...chains, ...sets];
    })
    .sort()
    .join('\n');
}

/** A small generator of numbers that repeats itself: 0 ≤ number < bound. */
export function generator(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((state / 2 ** 31) * bound);
  };
}
