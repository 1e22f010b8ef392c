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
  /** The deletion that it undoes, where that was told already, and its own coming not yet. */
  readonly undoes?: Told;
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
 * Two entries for each rule that came and went: who added it and when, who deleted it and when; and for each that went and was put back where it stood. What
 * kube-proxy wrote and replaced again is one entry. One that was told to come, and went while nobody heard, is one entry as well.
 */
export function settle(unsettled: Unsettled, reading: SettledReading): { readonly unsettled: Unsettled; readonly changes: readonly Change[] } {
  const rest = new Map<string, readonly Told[]>();
  const passing: Passing[] = [];
  const restored: Restored[] = [];
  const vanished: Told[] = [];
  for (const [chain, told] of unsettled) {
    if (!reading.hasRead(chain)) {
      rest.set(chain, told);
      continue;
    }
    const { startedAt, linesOf } = reading;
    const own = reading.differences.filter((each) => isOfChain(each, chain));
    const settled = settleChain(told, { lines: linesOn('after', own), removed: linesOn('before', own).length, whole: () => linesOf(chain), startedAt });
    passing.push(...settled.passing);
    restored.push(...settled.restored);
    vanished.push(...settled.vanished);
    if (settled.rest.length > 0) rest.set(chain, settled.rest);
  }
  const gone = vanished.slice(0, passingMax).map((told) => vanishedChange(told, reading.node));
  const more = vanished.length <= passingMax ? [] : [countedChange(vanished.slice(passingMax), reading.node, 'came, and went while nobody heard')];
  return {
    unsettled: rest,
    changes: [...changesOf(passing, reading.node, wordsOfPassing), ...changesOf(restored, reading.node, wordsOfRestored), ...gone, ...more],
  };
}

/** A rule that was added by one transaction and deleted by a later one. */
interface Passing {
  readonly added: Told;
  readonly deleted: Told;
}

/** A rule that was deleted by one transaction and put back by a later one; `tells` are the ends that nothing else tells of. */
interface Restored {
  readonly deleted: Told;
  readonly added: Told;
  readonly tells: 'both' | 'deleted' | 'added';
  /** Whether it is known which deletion it was. */
  readonly isCertain: boolean;
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
  /** How many lines it does not show any more. */
  readonly removed: number;
  /** All lines of the chain. */
  readonly whole: () => readonly string[];
  readonly startedAt: number;
}

interface SettledChain {
  readonly passing: readonly Passing[];
  readonly restored: readonly Restored[];
  /** Told to have come before the reading, which does not show them. */
  readonly vanished: readonly Told[];
  readonly rest: readonly Told[];
}

/**
 * What came and went without being seen. A reading shows the chain as it was after one of the events: after all that were told before it began, and any of those
 * that were told since. Where it is not certain after which, a rule may be told twice, by the comparison and from its events, but never not at all.
 */
function settleChain(events: readonly Told[], read: ReadChain): SettledChain {
  const { lives, deletions } = livesOf(events);
  const [first, last] = momentsOf(events, lives, read);
  const isSeen = ({ from, to }: Life): boolean => from < first && to >= last;
  const [seen, unseen] = [lives.filter(isSeen), lives.filter((life) => !isSeen(life))];
  const fits = fitting(read.lines);
  const missing = seen.filter(({ added }) => !fits(added.event));
  // A rule that was put back where it stood is no line that was added, but stands there.
  const stands = missing.length === 0 ? fits : fitting(read.whole());
  const [back, gone] = [missing.filter(({ added }) => stands(added.event)), missing.filter(({ added }) => !stands(added.event))];
  const passing = [...unseen, ...gone].flatMap(({ added, deleted }) => (deleted === undefined ? [] : [{ added, deleted }]));
  const waiting = unseen.filter(({ deleted }) => deleted === undefined).map(({ added }) => added);
  const before = new Set(events.slice(0, first));
  const certain = deletions.filter((deleted) => before.has(deleted));
  const restored = restoredBy(events, { back: back.map(({ added }) => added), waiting, passing, deletions: certain, untold: certain.length - read.removed });
  const passed = new Set(passing.map(({ deleted }) => deleted));
  // One that was deleted while the reading went on may be put back before the next.
  const later = [
    ...deletions.slice(Math.max(certain.length, read.removed)),
    ...seen.flatMap(({ deleted }) => (deleted === undefined || passed.has(deleted) ? [] : [deleted])),
  ];
  const rest = new Map([...waiting, ...later].map((told) => [told, told]));
  for (const { added, deleted } of restored) if (rest.has(added)) rest.set(added, { ...added, undoes: deleted });
  return {
    vanished: gone.filter(({ deleted }) => deleted === undefined).map(({ added }) => added),
    passing,
    restored: restored.filter(({ added, tells }) => tells !== 'added' || !rest.has(added)),
    rest: events.flatMap((told) => rest.get(told) ?? []),
  };
}

interface PutBack {
  /** Rules that stand where they stood, and were told to have come. */
  readonly back: readonly Told[];
  /** Those that the reading may not have seen. */
  readonly waiting: readonly Told[];
  readonly passing: readonly Passing[];
  /** Of rules that had stood before. */
  readonly deletions: readonly Told[];
  /** Of so many of these the comparison does not tell. */
  readonly untold: number;
}

/**
 * Which rule each deletion was of that the comparison does not tell of: one that came later. Who writes a chain anew in one transaction takes no rule away: between
 * its two halves nobody sees the chain. What a reload of firewalld takes down for a moment, it says itself.
 */
function restoredBy(events: readonly Told[], { back, waiting, passing, deletions, untold }: PutBack): readonly Restored[] {
  const rewriting = new Set(events.filter(({ event }) => event.op === 'delete').map(({ by }) => by));
  const places = new Map(events.map((told, index) => [told, index]));
  const placeOf = (told: Told): number => places.get(told) as number;
  const byPlace = (one: Told, other: Told): number => placeOf(one) - placeOf(other);
  const [isBack, isWaiting, isOrphan] = [new Set(back), new Set(waiting), new Set(deletions)];
  const free = [...deletions, ...passing.map(({ deleted }) => deleted)].sort(byPlace);
  const restored: Restored[] = [];
  let left = untold;
  // Those that stand come first: what went again is told in any case.
  for (const added of [back, waiting, passing.map((each) => each.added)].flatMap((some) => some.toSorted(byPlace))) {
    if (rewriting.has(added.by) || added.by.actor.comm === 'firewalld') continue;
    if (left <= 0 && !isBack.has(added) && !isWaiting.has(added)) continue;
    const before = free.filter((each) => each.by !== added.by && placeOf(each) < placeOf(added) && (left > 0 || !isOrphan.has(each)));
    const deleted = before.findLast((each) => isOrphan.has(each)) ?? before.at(-1) ?? added.undoes;
    if (deleted === undefined) continue;
    if (before.length > 0) free.splice(free.indexOf(deleted), 1);
    if (isOrphan.has(deleted)) left--;
    const tells = !isOrphan.has(deleted) ? 'added' : isBack.has(added) ? 'both' : 'deleted';
    // Of several deletions by several hands, whose was of this rule is not known.
    const isCertain = before.every(({ by }) => by.actor.pid === deleted.by.actor.pid || by.actor.comm === deleted.by.actor.comm);
    restored.push({ deleted, added, tells, isCertain });
  }
  return restored.filter(({ added, tells }) => tells !== 'added' || isBack.has(added) || isWaiting.has(added));
}

interface Lives {
  readonly lives: readonly Life[];
  /** Of rules that stood before all of the events. */
  readonly deletions: readonly Told[];
}

function livesOf(events: readonly Told[]): Lives {
  const lives: Life[] = [];
  const deletions: Told[] = [];
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
    if (life === undefined) {
      deletions.push(told);
      continue;
    }
    standing.delete(key);
    life.deleted = told;
    life.to = index;
  }
  return { lives, deletions };
}

/** After how many of the events the reading may have been made, at least and at most. */
function momentsOf(events: readonly Told[], lives: readonly Life[], { lines, removed, whole, startedAt }: ReadChain): readonly [number, number] {
  const found = events.findIndex(({ by }) => by.at >= startedAt);
  const certain = found < 0 ? events.length : found;
  if (certain === events.length) return [certain, certain];
  const fits = fitting(lines);
  const [standing, absent] = [new Int32Array(events.length + 2), new Int32Array(events.length + 2)];
  let stands: typeof fits | undefined;
  for (const life of lives) {
    countLife(standing, life);
    const isShown = life.from < certain || fits(life.added.event) || (stands ??= fitting(whole()))(life.added.event);
    if (!isShown) countLife(absent, life);
  }
  const [grown, sameNumber]: [number[], number[]] = [[], []];
  let [rules, come, missing] = [0, 0, 0];
  for (let moment = 0; moment <= events.length; moment++) {
    if (moment > 0) rules += events[moment - 1]?.event.op === 'add' ? 1 : -1;
    come += standing[moment] as number;
    missing += absent[moment] as number;
    // One that the reading does not show stands at no moment that comes into question.
    if (moment < certain || missing > 0) continue;
    if (rules === lines.length - removed) grown.push(moment);
    if (come === lines.length) sameNumber.push(moment);
  }
  // What went while nobody heard makes the chain shorter than it was told to be.
  const possible = grown.length > 0 ? grown : sameNumber;
  return [possible[0] ?? certain, possible.at(-1) ?? events.length];
}

/** Counts a rule at the moments (numbers of events that have been) at which it stands. */
function countLife(moments: Int32Array, { from, to }: Life): void {
  moments[from + 1] = (moments[from + 1] as number) + 1;
  if (to < moments.length - 1) moments[to + 1] = (moments[to + 1] as number) - 1;
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

const isOfChain = ({ kind, ...each }: RuleChange, chain: string): boolean =>
  each.backend !== 'legacy' && (kind === 'rule' || kind === 'chain') && `${each.family} ${each.table} ${each.object}` === chain;

const linesOn = (side: 'before' | 'after', differences: readonly RuleChange[]): readonly string[] =>
  // The first line of a chain that came or went is its own.
  differences.flatMap(({ kind, ...each }) => each[side]?.slice(kind === 'chain' ? 1 : 0) ?? []);

/** Rules that are told one by one in one round; more are counted. */
const passingMax = 50;

/** What is said of rules that no reading has shown as they were for a while. */
interface Words<Pair> {
  readonly ends: (pair: Pair, node: string) => Change[];
  readonly counted: string;
  readonly last: (pair: Pair) => Told;
}

const wordsOfPassing: Words<Passing> = { ends: bothEnds, counted: 'came and went again before their chains were read', last: ({ deleted }) => deleted };
const wordsOfRestored: Words<Restored> = { ends: goneAndBack, counted: 'went and were put back before their chains were read', last: ({ added }) => added };

function changesOf<Pair extends Passing>(pairs: readonly Pair[], node: string, { ends, counted, last }: Words<Pair>): Change[] {
  const sync = pairs.filter(({ added, deleted }) => isSync(added) && isSync(deleted));
  const others = pairs.filter((each) => !sync.includes(each));
  const countedOf = (some: readonly Pair[]): Change[] => (some.length === 0 ? [] : [countedChange(some.map(last), node, counted)]);
  return [...others.slice(0, passingMax).flatMap((each) => ends(each, node)), ...countedOf(others.slice(passingMax)), ...countedOf(sync)];
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

function goneAndBack({ deleted, added, tells, isCertain }: Restored, node: string): Change[] {
  const { text, handle, change } = bareChange(added, node);
  const seconds = ((added.by.at - deleted.by.at) / 1000).toFixed(1);
  const [went, came]: [Change, Change] = [
    { ...change, at: deleted.by.at, ...(isCertain ? { actor: deleted.by.actor } : {}), before: text, after: null },
    { ...change, at: added.by.at, actor: added.by.actor, before: null, after: `${text}  # put back after ${seconds} s, before the chain was read${handle}` },
  ];
  return tells === 'both' ? [went, came] : tells === 'deleted' ? [went] : [came];
}

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
