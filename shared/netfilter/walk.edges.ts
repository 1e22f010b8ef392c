// Weighs the steps of a drawing: what share of one client's connections takes each, which clients, and what is assumed of rules that cannot be judged.
import { limits } from '../limits.ts';
import { size } from '../model/address.ts';
import { signOf } from './coalesce.ts';
import type { Assumption } from './packet.ts';
import { type EdgeDoubt, type GraphEdge, listed } from './walk.graph.model.ts';
import { assumptionKey, type ClientClass, largest, type Shares } from './walk.shares.ts';
import type { Branch } from './walk.ts';

/** A step between two nodes. */
export interface BareEdge {
  readonly from: string;
  readonly to: string;
  /** The branches that take it, and how many of their assumptions they have made at its end. */
  readonly taken: ReadonlyMap<number, number>;
}

export interface EdgeContext {
  readonly branches: readonly Branch[];
  readonly shares: Shares;
  /** Rules that are drawn as one, by the keys of their assumptions: the same is assumed of them. */
  readonly aliases: ReadonlyMap<string, string>;
}

/**
 * The edges in the order of the nodes, from each node the heaviest first. For any one client, and any one saying of the rules that cannot be judged, the
 * weights of the edges out of a node add up to 1 at most.
 */
export function edgesOf(bare: readonly BareEdge[], context: EdgeContext): readonly GraphEdge[] {
  return [...Map.groupBy(bare, ({ from }) => from).values()].flatMap((fork) => forkEdges(fork, context));
}

function forkEdges(fork: readonly BareEdge[], context: EdgeContext): readonly GraphEdge[] {
  const [only] = fork;
  // Without a fork the shares of some clients tell nothing that the nodes do not tell.
  if (only !== undefined && fork.length === 1) return [{ from: only.from, to: only.to, weight: context.shares.of(only.taken.keys()) }];
  const apart = new Set(rulesOf(fork, context).filter((rule) => tellsApart(rule, fork, context)));
  const parts = partsOf(fork, apart, context);
  if (isSound(parts, context)) return weighedParts(parts, context).sort(heaviestFirst);
  // Branches that came to the same again are one, with the way of the first: then all that is assumed of them, earlier or later, tells the shares apart.
  const whole = fork.map(({ from, to, taken }) => ({ from, to, taken: new Map([...taken.keys()].map((index) => [index, Number.POSITIVE_INFINITY])) }));
  return weighedParts(partsOf(whole, new Set(rulesOf(whole, context)), context), context).sort(heaviestFirst);
}

const heaviestFirst = (a: GraphEdge, b: GraphEdge): number => b.weight - a.weight;

const rulesOf = (fork: readonly BareEdge[], context: EdgeContext): readonly string[] =>
  fork.flatMap(({ taken }) => [...taken].flatMap(([index, count]) => madeBy(context, index, count).map((each) => keyOf(context, each))));

/** The assumptions of a branch until somewhere. */
const madeBy = ({ branches }: EdgeContext, index: number, count: number): readonly Assumption[] => (branches[index] as Branch).assumptions.slice(0, count);

const keyOf = ({ aliases }: EdgeContext, assumption: Assumption): string => aliases.get(assumptionKey(assumption)) ?? assumptionKey(assumption);

/** Whether packets go another way where a rule is assumed to match than where not. Those of clients that a rule remembers alone do not tell. */
function tellsApart(rule: string, fork: readonly BareEdge[], context: EdgeContext): boolean {
  const ways = fork.map(({ taken }) => {
    const weighty = [...taken].filter(([index]) => (context.branches[index] as Branch).outcome.weight > 0);
    const own = (weighty.length > 0 ? weighty : [...taken]).flatMap(([index, count]) =>
      madeBy(context, index, count).filter((each) => keyOf(context, each) === rule),
    );
    return `${own.some(({ matched }) => matched !== false)} ${own.some(({ matched }) => matched !== true)}`;
  });
  return new Set(ways).size > 1;
}

/** Some of the branches of an edge: those that assume the same. */
interface Part {
  readonly from: string;
  readonly to: string;
  readonly branches: ReadonlySet<number>;
  /** By rule; several where rules are drawn as one. */
  readonly assumptions: readonly (readonly Assumption[])[];
}

function partsOf(fork: readonly BareEdge[], rules: ReadonlySet<string>, context: EdgeContext): readonly Part[] {
  const all = fork.flatMap(({ from, to, taken }) => {
    const made = [...taken].map(([index, count]) => ({ index, assumptions: madeBy(context, index, count).filter((each) => rules.has(keyOf(context, each))) }));
    const groups = Map.groupBy(made, ({ assumptions }) => JSON.stringify([...new Set(assumptions.map((each) => signed(context, each)))].sort()));
    return [...groups.values()].map((group): Part => {
      const assumptions = Map.groupBy(
        group.flatMap((each) => each.assumptions),
        (each) => keyOf(context, each),
      );
      return { from, to, branches: new Set(group.map(({ index }) => index)), assumptions: [...assumptions.values()] };
    });
  });
  const isTaken = ({ branches }: Part): boolean => context.shares.of(branches) > 0;
  return all.filter((part) => isTaken(part) || !all.some((other) => other.to === part.to && isTaken(other)));
}

/** `+RULE` where it is assumed to match, `-RULE` where not, `?RULE` where one of both. */
const signed = (context: EdgeContext, assumption: Assumption): string => `${signOf(assumption)}${keyOf(context, assumption)}`;

/** Whether no client takes the parts of a fork with more than all of its connections. */
function isSound(parts: readonly Part[], { shares }: EdgeContext): boolean {
  const all = new Set(parts.flatMap(({ branches }) => [...branches]));
  return shares.classes.every((each) => {
    const weighed = parts.map(({ branches, assumptions }) => ({
      weight: shares.within(each, branches),
      assumptions: assumptions.flatMap(([first]) => first ?? []),
    }));
    return largest(weighed) <= shares.within(each, all) + 1e-5;
  });
}

function weighedParts(parts: readonly Part[], { shares }: EdgeContext): GraphEdge[] {
  const classes = shares.classes.filter((each) => parts.some(({ branches }) => meet(each.branches, branches)));
  return parts.flatMap(({ from, to, branches, assumptions }) => {
    const unless = assumptions.slice(0, limits.drawingListMax).map((alike): EdgeDoubt => {
      const [{ decider, matched }] = alike as [Assumption, ...Assumption[]];
      return { decider, matched, more: new Set(alike.map(assumptionKey)).size - 1 };
    });
    return weighed({ from, to, branches }, classes, shares).map((edge) => (unless.length === 0 ? edge : { ...edge, unless }));
  });
}

function meet(a: ReadonlySet<number>, b: ReadonlySet<number>): boolean {
  for (const each of a) if (b.has(each)) return true;
  return false;
}

/** One edge for all clients that take it in the same share; the least of too many are left out. */
function weighed({ from, to, branches }: Omit<Part, 'assumptions'>, classes: readonly ClientClass[], shares: Shares): readonly GraphEdge[] {
  const taken = classes.filter((each) => meet(each.branches, branches));
  const edges = [...Map.groupBy(taken, (each) => shares.within(each, branches))].map(([weight, own]) => {
    const edge = { from, to, weight };
    if (own.length === classes.length) return edge;
    return { ...edge, sources: listed(shares.prefixesOf(own)), ...(addresses(own) * 2n > addresses(classes) ? { most: true as const } : {}) };
  });
  return edges.sort((a, b) => b.weight - a.weight).slice(0, limits.drawingListMax);
}

const addresses = (classes: readonly ClientClass[]): bigint => classes.reduce((sum, { sources = [] }) => sum + size(sources), 0n);
