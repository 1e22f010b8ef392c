// What came and went again between two readings, which no comparison of readings shows: from what the monitor told of single rules. Pure.
import type { Change } from '../shared/model/change.ts';
import { type RuleChange, withoutCounters } from '../shared/netfilter/diff.ts';
import { ownerOf } from '../shared/netfilter/owners.ts';
import type { RuleEvent, Transaction } from './ledger.ts';

/** What was told of single rules and has not been seen in a reading yet, by chain (`ip filter FORWARD`), in order. */
export type Unsettled = ReadonlyMap<string, readonly Told[]>;

export interface Told {
  readonly event: RuleEvent;
  readonly by: Transaction;
}

export const nothingUnsettled: Unsettled = new Map();

/** Rules that wait for their chain to be read; of a chain that has more, the oldest are forgotten. */
const toldMax = 5_000;

export function addTold(unsettled: Unsettled, by: Transaction): Unsettled {
  if (by.rules === undefined || by.rules.length === 0) return unsettled;
  const next = new Map(unsettled);
  for (const [chain, events] of Map.groupBy(by.rules, (event) => event.chain)) {
    next.set(chain, [...(next.get(chain) ?? []), ...events.map((event) => ({ event, by }))].slice(-toldMax));
  }
  return next;
}

/** A reading that is to be settled. */
export interface SettledReading {
  readonly node: string;
  /** Milliseconds since 1970 when it began: what was told before is in it. What was told later may be, too. */
  readonly startedAt: number;
  /** Whether it read this chain. */
  readonly hasRead: (chain: string) => boolean;
  /** What it shows to have changed. */
  readonly differences: readonly RuleChange[];
}

/** Two entries for each rule that came and went: who added it and when, who deleted it and when. What kube-proxy wrote and replaced again is one entry. */
export function settle(unsettled: Unsettled, reading: SettledReading): { readonly unsettled: Unsettled; readonly changes: readonly Change[] } {
  const rest = new Map<string, readonly Told[]>();
  const passing: Passing[] = [];
  for (const [chain, told] of unsettled) {
    if (!reading.hasRead(chain)) {
      rest.set(chain, told);
      continue;
    }
    const settled = settleChain(told, linesAdded(reading.differences, chain), reading.startedAt);
    passing.push(...settled.passing);
    if (settled.rest.length > 0) rest.set(chain, settled.rest);
  }
  return { unsettled: rest, changes: changesOf(passing, reading.node) };
}

/** A rule that was added by one transaction and deleted by a later one. */
interface Passing {
  readonly added: Told;
  readonly deleted: Told;
}

/**
 * Pairs of an addition and the deletion of the same rule. A reading that was made between the two shows the rule as added: as many additions as it shows
 * besides those that it must show are taken to be those that it may, the earliest first, and are not told again.
 */
function settleChain(events: readonly Told[], addedLines: number, startedAt: number): { readonly passing: readonly Passing[]; readonly rest: readonly Told[] } {
  const standing = new Map<string, Told>();
  const pairs: Passing[] = [];
  for (const told of events) {
    const key = told.event.handle === undefined ? (told.event.text ?? '') : String(told.event.handle);
    const added = standing.get(key);
    if (told.event.op === 'add') standing.set(key, told);
    else if (added !== undefined) {
      standing.delete(key);
      pairs.push({ added, deleted: told });
    }
  }
  const open = [...standing.values()].filter(({ by }) => by.at >= startedAt);
  let shown = Math.max(0, addedLines - (standing.size - open.length));
  const rest = open.slice(shown);
  shown = Math.max(0, shown - open.length);
  return { passing: shown === 0 ? pairs : pairs.slice(0, -shown), rest };
}

const linesAdded = (differences: readonly RuleChange[], chain: string): number =>
  differences
    .filter((each) => each.backend !== 'legacy' && `${each.family} ${each.table} ${each.object}` === chain)
    .reduce((sum, { kind, after }) => sum + (after?.length ?? 0) - (kind === 'chain' && after !== null ? 1 : 0), 0);

/** Rules that are told one by one in one round; more are counted. */
const passingMax = 50;

function changesOf(passing: readonly Passing[], node: string): Change[] {
  const sync = passing.filter(({ added, deleted }) => isSync(added) && isSync(deleted));
  const others = passing.filter((each) => !sync.includes(each));
  return [
    ...others.slice(0, passingMax).flatMap((each) => bothEnds(each, node)),
    ...(others.length <= passingMax ? [] : [counted(others.slice(passingMax), node)]),
    ...(sync.length === 0 ? [] : [counted(sync, node)]),
  ];
}

/** iptables-restore (or nft) on a chain of kube-proxy is a sync. */
function isSync({ event, by }: Told): boolean {
  const [family = '', table = '', chain = ''] = event.chain.split(' ');
  return ownerOf({ family, table, chain }) === 'kube-proxy' && /rest|-re$|kube-proxy|k3s|^nft$|-mul/.test(by.actor.comm ?? '');
}

function bothEnds({ added, deleted }: Passing, node: string): Change[] {
  const [family = '', table = '', chain = ''] = added.event.chain.split(' ');
  const text = added.event.text === undefined ? `a rule of ${chain}` : withoutCounters(added.event.text);
  const owner = ownerOf({ family, table, chain, rule: text });
  const change = { node, kind: 'rule' as const, subject: added.event.chain, owner };
  const seconds = ((deleted.by.at - added.by.at) / 1000).toFixed(1);
  const line = `${text}  # gone again after ${seconds} s, before the chain was read${added.event.handle === undefined ? '' : `; handle ${added.event.handle}`}`;
  return [
    { ...change, at: added.by.at, actor: added.by.actor, before: null, after: line },
    { ...change, at: deleted.by.at, actor: deleted.by.actor, before: line, after: null },
  ];
}

function counted(passing: readonly Passing[], node: string): Change {
  const last = passing.at(-1) as Passing;
  const [family = '', table = '', chain = ''] = last.added.event.chain.split(' ');
  const owner = ownerOf({ family, table, chain });
  const chains = [...new Set(passing.map(({ added }) => added.event.chain.split(' ')[2] ?? ''))];
  const named = `${chains.slice(0, 20).join(', ')}${chains.length > 20 ? ` and ${chains.length - 20} more` : ''}`;
  return {
    node,
    at: last.deleted.by.at,
    kind: 'chain',
    subject: owner === 'kube-proxy' ? `${family} kube-proxy` : `${family} ${table}`,
    owner,
    before: null,
    after: `${passing.length} rules came and went again before their chains were read: ${named}`,
    actor: last.deleted.by.actor,
  };
}
