// Rules that a transaction brought without telling of each: they may go before they are read, and nobody would know of them. Pure.
import { isProxyChain, isSyncer, oldestForgotten, type Unsettled } from './ledger.passing.ts';
import { anything, type Transaction } from './ledger.ts';

/** Transactions that did not tell all of their rules, and that no reading has shown yet; the earliest first. */
export type Untold = readonly Transaction[];

/** Of more than this the earliest stand for all. */
const untoldMax = 100;

/** What is not told yet with a transaction more. A sync of kube-proxy is one act, and not told rule by rule in any case. */
export function addUntold(untold: Untold, by: Transaction): Untold {
  return (by.more ?? 0) === 0 || untold.length === untoldMax || isSync(by) ? untold : [...untold, by];
}

/** Since when rules may have come and gone unknown, now that a transaction has followed: milliseconds since 1970; undefined if none can. */
export function unknownSince(untold: Untold, unsettled: Unsettled, by: Transaction): number | undefined {
  const since = [untold.find((before) => touchSame(before, by))?.at, oldestForgotten(unsettled, by)].filter((at) => at !== undefined);
  return since.length === 0 ? undefined : Math.min(...since);
}

function touchSame({ touched: some }: Transaction, { touched: others }: Transaction): boolean {
  if (some.has(anything) || others.has(anything)) return true;
  // A table that came or went is named without its chains.
  const tables = (names: ReadonlySet<string>): ReadonlySet<string> => new Set([...names].filter((name) => name.split(' ').length === 2));
  const holds = (whole: ReadonlySet<string>, names: ReadonlySet<string>): boolean =>
    whole.size > 0 && [...names].some((name) => whole.has(name.split(' ').slice(0, 2).join(' ')));
  return [...others].some((name) => some.has(name)) || holds(tables(some), others) || holds(tables(others), some);
}

/** iptables-restore (or nft) on nothing but chains of kube-proxy. */
const isSync = ({ touched, actor }: Transaction): boolean => isSyncer(actor.comm) && [...touched].every(isProxyChain);
