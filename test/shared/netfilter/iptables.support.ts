// Small things that the tests of the iptables reader share.
import { type Family, type IntervalSet, parsePrefix, union } from '../../../shared/model/address.ts';

/** A comma list of prefixes as a set. */
export function parseAddresses(text: string): IntervalSet {
  return union(
    text.split(',').map((part) => {
      const prefix = parsePrefix(part);
      if (prefix === undefined) throw new Error(`${part} is no prefix`);
      return prefix.interval;
    }),
  );
}

export type { Step } from '../../../shared/netfilter/rule.ts';
export type { Family };
