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

/** When the first rule was told that is forgotten with a transaction more, in milliseconds since 1970; undefined if none is. */
export function oldestForgotten(unsettled: Unsettled, { rules = [] }: Transaction): number | undefined {
  if (rules.length === 0) return undefined;
  const full = [...Map.groupBy(rules, ({ chain }) => chain)].flatMap(([chain, events]) => {
    const told = unsettled.get(chain) ?? [];
    return told.length + events.length > toldMax ? told.slice(0, 1) : [];
  });
  return full.length === 0 ? undefined : Math.min(...full.map(({ by }) => by.at));
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
  /** A chain as it was read, line by line. */
  readonly linesOf: (chain: string) => readonly string[];
}

/**
 * Two entries for each rule that came and went: who added it and when, who deleted it and when. What kube-proxy wrote and replaced again is one entry. One that
 * was told to come, and went while nobody heard, is one entry as well.
 */
export function settle(unsettled: Unsettled, reading: SettledReading): { readonly unsettled: Unsettled; readonly changes: readonly Change[] } {
  const rest = new Map<string, readonly Told[]>();
  const passing: Passing[] = [];
  const vanished: Told[] = [];
  for (const [chain, told] of unsettled) {
    if (!reading.hasRead(chain)) {
      rest.set(chain, told);
      continue;
    }
    const { startedAt, linesOf } = reading;
    const settled = settleChain(told, { lines: linesAdded(reading.differences, chain), whole: () => linesOf(chain), startedAt });
    passing.push(...settled.passing);
    vanished.push(...settled.vanished);
    if (settled.rest.length > 0) rest.set(chain, settled.rest);
  }
  const gone = vanished.slice(0, passingMax).map((told) => vanishedChange(told, reading.node));
  const more = vanished.length <= passingMax ? [] : [countedChange(vanished.slice(passingMax), reading.node, 'came, and went while nobody heard')];
  return { unsettled: rest, changes: [...changesOf(passing, reading.node), ...gone, ...more] };
}

/** A rule that was added by one transaction and deleted by a later one. */
interface Passing {
  readonly added: Told;
  readonly deleted: Told;
}

/** A rule between two events of its chain, which are counted from 0; `to` is infinite while it stands. */
interface Life {
  readonly added: Told;
  readonly from: number;
  deleted?: Told;
  to: number;
}

interface ReadChain {
  /** Lines that the reading shows and the one before did not. */
  readonly lines: readonly string[];
  /** All lines of the chain. */
  readonly whole: () => readonly string[];
  readonly startedAt: number;
}

interface SettledChain {
  readonly passing: readonly Passing[];
  /** Told to have come before the reading, which does not show them. */
  readonly vanished: readonly Told[];
  readonly rest: readonly Told[];
}

/**
 * What came and went without being seen. A reading shows the chain as it was after one of the events: after all that were told before it began, and any of those
 * that were told since. Where it is not certain after which, a rule may be told twice, by the comparison and from its events, but never not at all.
 */
function settleChain(events: readonly Told[], read: ReadChain): SettledChain {
  const lives = livesOf(events);
  const [first, last] = momentsOf(events, lives, read);
  const isSeen = ({ from, to }: Life): boolean => from < first && to >= last;
  const [seen, unseen] = [lives.filter(isSeen), lives.filter((life) => !isSeen(life))];
  const fits = fitting(read.lines);
  const missing = seen.filter(({ added }) => !fits(added.event));
  // A rule that was put back where it stood is no line that was added, but stands there.
  const stands = missing.length === 0 ? fits : fitting(read.whole());
  return {
    vanished: missing.filter(({ added }) => !stands(added.event)).map(({ added }) => added),
    passing: unseen.flatMap(({ added, deleted }) => (deleted === undefined ? [] : [{ added, deleted }])),
    rest: unseen.filter(({ deleted }) => deleted === undefined).map(({ added }) => added),
  };
}

function livesOf(events: readonly Told[]): readonly Life[] {
  const lives: Life[] = [];
  const standing = new Map<string, Life>();
  for (const [index, told] of events.entries()) {
    const key = told.event.handle === undefined ? (told.event.text ?? '') : String(told.event.handle);
    if (told.event.op === 'add') {
      const life = { added: told, from: index, to: Number.POSITIVE_INFINITY };
      lives.push(life);
      standing.set(key, life);
      continue;
    }
    const life = standing.get(key);
    if (life === undefined) continue;
    standing.delete(key);
    life.deleted = told;
    life.to = index;
  }
  return lives;
}

/** After how many of the events the reading may have been made, at least and at most. */
function momentsOf(events: readonly Told[], lives: readonly Life[], { lines, startedAt }: ReadChain): readonly [number, number] {
  const found = events.findIndex(({ by }) => by.at >= startedAt);
  const certain = found < 0 ? events.length : found;
  if (certain === events.length) return [certain, certain];
  const differences = new Float64Array(events.length + 2);
  const fits = fitting(lines);
  for (const { added, from, to } of lives) {
    // One that is in none of its lines stands at no moment that comes into question.
    const weight = from >= certain && !fits(added.event) ? lines.length + 1 : 1;
    differences[from + 1] = (differences[from + 1] as number) + weight;
    if (to < events.length) differences[to + 1] = (differences[to + 1] as number) - weight;
  }
  const possible: number[] = [];
  let count = 0;
  for (let moment = 0; moment <= events.length; moment++) {
    count += differences[moment] as number;
    if (moment >= certain && count === lines.length) possible.push(moment);
  }
  return [possible[0] ?? certain, possible.at(-1) ?? events.length];
}

/** Lines that rules are looked for in: more say by their number alone at which moment they were read. */
const comparedMax = 2_000;

/** Whether a rule that a monitor told of, whose words are others and may be fewer, may be one of the lines: one of the two holds all numbers of the other. */
function fitting(lines: readonly string[]): (event: RuleEvent) => boolean {
  if (lines.length > comparedMax) return () => true;
  const numbers = lines.map(numbersOf);
  return ({ text }) => {
    if (text === undefined) return true;
    const own = numbersOf(text);
    return numbers.some((line) => isPart(own, line) || isPart(line, own));
  };
}

const isPart = (some: ReadonlySet<string>, all: ReadonlySet<string>): boolean => [...some].every((each) => all.has(each));

// Marks are written in several ways, and whole addresses with a length or without.
const numbersOf = (text: string): ReadonlySet<string> =>
  new Set(
    withoutCounters(text)
      .match(/(?<![\w])0x[\da-f]+|\/(?:32|128)\b|\d+/g)
      ?.filter((word) => /^\d+$/.test(word)),
  );

const linesAdded = (differences: readonly RuleChange[], chain: string): readonly string[] =>
  differences
    .filter(
      ({ kind, ...each }) => each.backend !== 'legacy' && (kind === 'rule' || kind === 'chain') && `${each.family} ${each.table} ${each.object}` === chain,
    )
    // The first line of a chain that came is its own.
    .flatMap(({ kind, after }) => after?.slice(kind === 'chain' ? 1 : 0) ?? []);

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
const isSync = ({ event, by }: Told): boolean => isProxyChain(event.chain) && isSyncer(by.actor.comm);

/** Whether a name as `touched` has it (`ip nat KUBE-SERVICES`) is that of a chain of kube-proxy; false for one that names a whole table. */
export function isProxyChain(name: string): boolean {
  const [family = '', table = '', chain] = name.split(' ');
  return chain !== undefined && ownerOf({ family, table, chain }) === 'kube-proxy';
}

/** Whether kube-proxy may be behind a program of this name. */
export const isSyncer = (comm = ''): boolean => /rest|-re$|kube-proxy|k3s|^nft$|-mul/.test(comm);

/** What a rule says, and where it stood. */
function bareChange(
  { event }: Told,
  node: string,
): { readonly text: string; readonly handle: string; readonly change: Omit<Change, 'at' | 'before' | 'after'> } {
  const [family = '', table = '', chain = ''] = event.chain.split(' ');
  const text = event.text === undefined ? `a rule of ${chain}` : withoutCounters(event.text);
  const handle = event.handle === undefined ? '' : `; handle ${event.handle}`;
  return { text, handle, change: { node, kind: 'rule', subject: event.chain, owner: ownerOf({ family, table, chain, rule: text }) } };
}

function vanishedChange(told: Told, node: string): Change {
  const { text, handle, change } = bareChange(told, node);
  const after = `${text}  # gone again before the chain was read, and nobody heard when${handle}`;
  return { ...change, at: told.by.at, actor: told.by.actor, before: null, after };
}

function bothEnds({ added, deleted }: Passing, node: string): Change[] {
  const { text, handle, change } = bareChange(added, node);
  const seconds = ((deleted.by.at - added.by.at) / 1000).toFixed(1);
  const line = `${text}  # gone again after ${seconds} s, before the chain was read${handle}`;
  return [
    { ...change, at: added.by.at, actor: added.by.actor, before: null, after: line },
    { ...change, at: deleted.by.at, actor: deleted.by.actor, before: line, after: null },
  ];
}

const counted = (passing: readonly Passing[], node: string): Change =>
  countedChange(
    passing.map(({ deleted }) => deleted),
    node,
    'came and went again before their chains were read',
  );

function countedChange(rules: readonly Told[], node: string, what: string): Change {
  const last = rules.at(-1) as Told;
  const [family = '', table = '', chain = ''] = last.event.chain.split(' ');
  const owner = ownerOf({ family, table, chain });
  const chains = [...new Set(rules.map(({ event }) => event.chain.split(' ')[2] ?? ''))];
  const named = `${chains.slice(0, 20).join(', ')}${chains.length > 20 ? ` and ${chains.length - 20} more` : ''}`;
  return {
    node,
    at: last.by.at,
    kind: 'chain',
    subject: owner === 'kube-proxy' ? `${family} kube-proxy` : `${family} ${table}`,
    owner,
    before: null,
    after: `${rules.length} rules ${what}: ${named}`,
    actor: last.by.actor,
  };
}
