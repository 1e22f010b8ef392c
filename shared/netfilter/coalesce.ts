// Joins branches of a walk that went different ways and are the same again, so that their number follows the differences that matter and not the rules visited.
import { limits } from '../limits.ts';
import { type IntervalSet, intersect, isSameSet, size, union } from '../model/address.ts';
import type { Decider } from '../model/outcome.ts';
import type { Ended } from './chains.ts';
import type { Assumption, Nat, State } from './packet.ts';

/** Weights of the same sources add up, sources of the same weight unite, and an assumption that made no difference is forgotten. The list itself if none joins. */
export function coalesce(states: readonly State[]): readonly State[] {
  if (states.length < 2 || goApart(states)) return states;
  const groups: State[][] = [];
  const byAddress = new Map<bigint | undefined, State[][]>();
  for (const state of states) {
    const address = state.destination[0]?.lo;
    const near = byAddress.get(address) ?? [];
    const group = near.find((each) => wentTheSameWay(each[0] as State, state));
    if (group !== undefined) group.push(state);
    else {
      near.push([state]);
      groups.push(near.at(-1) as State[]);
      if (near.length === 1) byAddress.set(address, near);
    }
  }
  return groups.length === states.length ? states : groups.flatMap((group) => (group.length === 1 ? group : joinGroup(group)));
}

/** Joins the ends of branches that came to the same end, where there are so many that what each assumes can hardly be of use. */
export function coalesceEnds(ends: readonly Ended[]): readonly Ended[] {
  if (ends.length <= limits.walkBranchesApartMax) return ends;
  const groups = Map.groupBy(ends, ({ verdict, rejectWith, decider }) => `${verdict} ${rejectWith} ${decider.by} ${placeText(decider)}`);
  return [...groups.values()].flatMap((group) => {
    const joined = coalesce(group.map(({ state }) => state));
    return joined.length === group.length ? group : joined.map((state): Ended => ({ ...withoutKept(group[0] as Ended), state }));
  });
}

/**
 * Ends that rules of one chain bring to the same for different clients become one, decided by the first of those rules, where there are so many that nobody would read
 * each: a list of banned addresses has a rule for each of them, and each endpoint of a NodePort would have an end for each rule.
 */
export function coalesceAlike(ends: readonly Ended[]): readonly Ended[] {
  if (ends.length <= limits.walkEndsApartMax) return ends;
  const groups = Map.groupBy(ends, alikeKey);
  return [...groups.values()].flatMap((group) => joinAlike(group) ?? group);
}

/** What ends have in common that are joined, as far as text can say. */
function alikeKey({ verdict, rejectWith, decider, state }: Ended, index: number): string {
  // What depends on rules that cannot be judged stays apart.
  if (decider.by !== 'rule' || state.assumptions.length > 0 || state.clouded !== undefined) return String(index);
  return `${state.destination[0]?.lo} ${state.destinationPort} ${state.weight} ${verdict} ${rejectWith} ${chainText(decider)}`;
}

/** One end for all; undefined where they are one already, went different ways, or have clients in common, of whom some connections would be forgotten. */
function joinAlike(group: readonly Ended[]): readonly Ended[] | undefined {
  const [first] = group;
  if (first === undefined || group.length === 1 || !group.every(({ state }) => wentTheSameWay(first.state, state))) return undefined;
  // Of masqueraded clients all have one source; where some are translated and some not, they went different ways.
  const isKept = group.every(({ state }) => state.source === state.original.source);
  if (!isKept && !group.every(({ state }) => isSameSet(state.source, first.state.source))) return undefined;
  const clients = disjointUnion(group.map(({ state }) => state.original.source));
  if (clients === undefined) return undefined;
  const others = new Set(group.map(({ decider }) => decider.rule)).size - 1;
  const state = { ...first.state, source: isKept ? clients : first.state.source, original: { ...first.state.original, source: clients } };
  return [{ ...withoutKept(first), state, ...(others === 0 ? {} : { decider: { ...first.decider, others } }) }];
}

/** All values of sets that have none in common; undefined where some have. */
function disjointUnion(sets: readonly IntervalSet[]): IntervalSet | undefined {
  const all = union(...sets);
  return size(all) === sets.reduce((sum, set) => sum + size(set), 0n) ? all : undefined;
}

const withoutKept = ({ kept: _, ...end }: Ended): Ended => end;

/** Whether a few branches all go to addresses of their own, as those of a Service's endpoints do: the usual case, told without a map. */
function goApart(states: readonly State[]): boolean {
  if (states.length > fewStates) return false;
  for (let i = 1; i < states.length; i++) {
    const address = (states[i] as State).destination[0]?.lo;
    for (let j = 0; j < i; j++) if ((states[j] as State).destination[0]?.lo === address) return false;
  }
  return true;
}

const fewStates = 24;

/** All that decides about a branch from here on, but for its sources, its weight and what it assumes. */
const wentTheSameWay = (a: State, b: State): boolean =>
  isSameSet(a.destination, b.destination) &&
  a.destinationPort === b.destinationPort &&
  a.mark === b.mark &&
  a.routedBy === b.routedBy &&
  a.connmark === b.connmark &&
  a.conntrack === b.conntrack &&
  a.dnat === b.dnat &&
  a.settledDestination === b.settledDestination &&
  a.settledSource === b.settledSource &&
  isSameNat(a.nat, b.nat) &&
  a.iif === b.iif &&
  a.oif === b.oif &&
  a.ipvs?.server.line === b.ipvs?.server.line &&
  isSamePlace(a.clouded, b.clouded);

const isSameNat = (a: Nat | undefined, b: Nat | undefined): boolean =>
  a === b || (a?.kind === b?.kind && (a?.kind !== 'snat' || b?.kind !== 'snat' || a.address === b.address));

const isSamePlace = (a: Decider | undefined, b: Decider | undefined): boolean =>
  a === b || (a !== undefined && b !== undefined && placeText(a) === placeText(b));

function joinGroup(group: readonly State[]): readonly State[] {
  const joined: State[] = [];
  for (const state of group) {
    let both: State | undefined;
    const at = joined.findIndex((other) => (both = join(other, state)) !== undefined);
    if (both === undefined) joined.push(state);
    else joined[at] = both;
  }
  if (joined.length < group.length) return joinGroup(joined);
  return joined.length > limits.walkBranchesApartMax ? joinLoosely(joined) : joined;
}

/**
 * Many branches that differ in nothing but in what they assume of which rules become one that depends on all of those rules: what it comes to is as uncertain as
 * before, and the number of branches no longer doubles with every rule.
 */
function joinLoosely(group: readonly State[]): readonly State[] {
  const joined: State[] = [];
  for (const state of group) {
    const at = joined.findIndex((other) => haveSamePackets(other, state));
    const other = joined[at];
    if (other === undefined) joined.push(state);
    else joined[at] = { ...other, assumptions: eitherOf(other.assumptions, state.assumptions) };
  }
  return joined;
}

const haveSamePackets = (a: State, b: State): boolean =>
  Math.abs(a.weight - b.weight) < 1e-12 && isSameSet(a.source, b.source) && isSameSet(a.original.source, b.original.source);

/** What both assume, then each other rule that one of them assumes something of. */
function eitherOf(a: readonly Assumption[], b: readonly Assumption[]): readonly Assumption[] {
  let same = 0;
  while (same < a.length && same < b.length && a[same]?.matched === b[same]?.matched && isAbout(a[same], b[same])) same++;
  const either: Assumption[] = [];
  for (const { decider } of [...a.slice(same), ...b.slice(same)]) {
    if (!either.some((each) => isSamePlace(each.decider, decider))) either.push({ decider, matched: 'either' });
  }
  return [...a.slice(0, same), ...either];
}

const isAbout = (a: Assumption | undefined, b: Assumption | undefined): boolean => isSamePlace(a?.decider, b?.decider);

function join(a: State, b: State): State | undefined {
  const sameSource = isSameSet(a.source, b.source) && isSameSet(a.original.source, b.original.source);
  const sameAssumptions = assumeTheSame(a, b);
  if (sameSource && sameAssumptions) return { ...a, weight: Math.min(1, a.weight + b.weight) };
  const sameWeight = Math.abs(a.weight - b.weight) < 1e-12;
  // Of unequal weights more branches are to come together first, or the assumption makes a difference after all: in how many connections go this way.
  if (sameSource && sameWeight && isComplement(a.assumptions, b.assumptions)) return { ...a, assumptions: a.assumptions.slice(0, -1) };
  if (sameAssumptions && sameWeight && (a.weight === 0 || !haveCommonSources(a, b))) {
    const source = union(a.source, b.source);
    const isOriginal = a.source === a.original.source && b.source === b.original.source;
    return { ...a, source, original: { ...a.original, source: isOriginal ? source : union(a.original.source, b.original.source) } };
  }
  return undefined;
}

/** Whether some packets of a client are on both branches: united they would count once. */
const haveCommonSources = (a: State, b: State): boolean =>
  intersect(a.source, b.source).length > 0 && intersect(a.original.source, b.original.source).length > 0;

const assumeTheSame = (a: State, b: State): boolean => a.assumptions === b.assumptions || assumptionText(a) === assumptionText(b);
const assumptionText = (state: State): string => state.assumptions.map((each) => `${signOf(each)}${placeText(each.decider)}`).join();
/** `+` where a rule is assumed to match, `-` where not, `?` where one of both. */
export const signOf = ({ matched }: Assumption): string => (matched === 'either' ? '?' : matched ? '+' : '-');
function placeText(decider: Decider): string {
  let text = places.get(decider);
  if (text === undefined) places.set(decider, (text = `${chainText(decider)} ${decider.rule} ${decider.text}`));
  return text;
}
const places = new WeakMap<Decider, string>();

function chainText(decider: Decider): string {
  let text = chains.get(decider);
  if (text === undefined) chains.set(decider, (text = `${decider.backend} ${decider.family} ${decider.table} ${decider.chain}`));
  return text;
}
const chains = new WeakMap<Decider, string>();

function isComplement(a: readonly Assumption[], b: readonly Assumption[]): boolean {
  if (a.length === 0 || a.length !== b.length) return false;
  const x = a.at(-1) as Assumption;
  const y = b.at(-1) as Assumption;
  const same = a
    .slice(0, -1)
    .every((each, index) => each.matched === b[index]?.matched && placeText(each.decider) === placeText((b[index] as Assumption).decider));
  return same && x.matched === !y.matched && placeText(x.decider) === placeText(y.decider);
}
