// Makes a small graph of a traced walk, for a drawing: hooks as lanes, steps as nodes, each drawn once however many branches pass it.
import { limits } from '../limits.ts';
import type { Decider } from '../model/outcome.ts';
import { verdictOf } from './outcomes.ts';
import { ownerOf } from './owners.ts';
import type { Station } from './packet.ts';
import { edgesOf } from './walk.edges.ts';
import { type EndNode, type GraphNode, type GraphRule, type Lane, type LossNode, listed, type RuleNode, type WalkGraph } from './walk.graph.model.ts';
import { hookOfLane, type Net, netOf, type Point } from './walk.points.ts';
import { assumptionKey, Shares } from './walk.shares.ts';
import type { Branch, Walk } from './walk.ts';
import { decidingStation, jumpOf, placeKey, translationOf, type Way, waysOf } from './walk.ways.ts';
import { withShortComment } from './walk.words.ts';

/**
 * Draws a traced walk as data; `packet` are the words for the packet, `only` the number of the one way to draw, from 1. Bounded in size whatever rules and
 * comments hold.
 */
export function graphOf({ outcomes, branches }: Walk, packet: string, only?: number): WalkGraph {
  const all = waysOf(branches);
  const ways = only === undefined ? all : all.slice(only - 1, only);
  const { net, drawn } = netOfSome(ways, branches);
  const context: Context = { branches, shares: new Shares(branches), packet };
  const ids = new Map(net.points.map((point, index) => [point, `n${index}`]));
  const idOf = (point: Point): string => ids.get(point) as string;
  const used = new Set(net.points.map(({ lane }) => lane));
  return bounded({
    packet,
    verdict: verdictOf(outcomes).verdict,
    lanes: net.lanes.filter((lane) => used.has(lane)).map(laneOf),
    nodes: net.points.map((point) => nodeOf(context, point, idOf(point))),
    edges: edgesOf(
      net.steps.map(({ from, to, taken }) => ({ from: idOf(from), to: idOf(to), taken })),
      { ...context, aliases: aliasesOf(net.points, branches) },
    ),
    more: ways.length - drawn,
  });
}

/** The nodes of one way alone, in order and with nothing left out. */
export function nodesOfWay(way: Way, branches: readonly Branch[], shares: Shares): readonly GraphNode[] {
  const context: Context = { branches, shares, packet: '' };
  return netOf([way], branches, Number.POSITIVE_INFINITY).points.map((point, index) => nodeOf(context, point, `n${index}`));
}

/** As many ways as a drawing holds: of too many those that come to an end of their own, then the most taken. */
function netOfSome(ways: readonly Way[], branches: readonly Branch[]): { readonly net: Net; readonly drawn: number } {
  const ends = new Set<string>();
  const first = ways.filter(({ end }) => !ends.has(end) && ends.add(end));
  const wanted = [...new Set([...first, ...ways])].slice(0, limits.drawingWaysMax);
  for (;;) {
    const chosen = new Set(wanted);
    const net = netOf(
      ways.filter((way) => chosen.has(way)),
      branches,
      limits.drawingStepsMax,
    );
    if (net.points.length <= limits.drawingNodesMax || wanted.length <= 1) return { net, drawn: wanted.length };
    wanted.pop();
  }
}

interface Context {
  readonly branches: readonly Branch[];
  readonly shares: Shares;
  readonly packet: string;
}

const laneOf = (id: string): Lane => ({ id, kind: hookOfLane(id), title: laneTitle(id) });

/** A lane in words: a hook by its name. */
export const laneTitle = (id: string): string => laneTitles[hookOfLane(id)] ?? hookOfLane(id).toUpperCase();

const laneTitles: Readonly<Record<string, string>> = { client: 'CLIENT', routing: 'ROUTING', end: 'VERDICT', reply: 'ANSWER', later: 'LATER PACKETS' };

/** Doubtful rules that are drawn as one, unless one branch assumes something of several of them. */
function aliasesOf(points: readonly Point[], branches: readonly Branch[]): ReadonlyMap<string, string> {
  const doubtful = points.flatMap(({ key, visits }) =>
    visits.flatMap(({ met: [station] }) =>
      station?.kind === 'rule' && !station.certain ? [[assumptionKey({ decider: station.decider, matched: true }), key] as const] : [],
    ),
  );
  const aliases = new Map(doubtful);
  for (const { assumptions } of branches) {
    const rules = new Map<string, string>();
    for (const assumption of assumptions) {
      const [rule, alias] = [assumptionKey(assumption), aliases.get(assumptionKey(assumption)) ?? ''];
      if (alias !== '' && (rules.get(alias) ?? rule) !== rule) for (const [each, other] of doubtful) if (other === alias) aliases.delete(each);
      rules.set(alias, rule);
    }
  }
  return aliases;
}

function nodeOf(context: Context, point: Point, id: string): GraphNode {
  const placed = { id, lane: point.lane, share: context.shares.of(point.visits.map(({ branch }) => branch)) };
  switch (point.what) {
    case 'client':
      return { ...placed, kind: 'client', text: context.packet };
    case 'gap':
      return { ...placed, kind: 'gap', steps: point.steps };
    case 'end':
      return { ...placed, kind: 'end', ...endOf(context, point) };
    case 'loss':
      return { ...placed, kind: 'loss', ...lossOf(context, point) };
    case 'passed':
      return { ...placed, kind: 'passed', jumps: listed(rulesOf(context, point)) };
    case 'station':
      return { ...placed, ...stationOf(context, point) };
  }
}

type Content<Node> = Node extends GraphNode ? Omit<Node, 'id' | 'lane' | 'share'> : never;

function stationOf(context: Context, point: Point): Content<GraphNode> {
  const station = point.visits[0]?.met[0];
  switch (station?.kind) {
    case 'chain': {
      const { hook, priority, backend, family, table, chain } = station;
      return { kind: 'chain', hook, priority, backend, family, table, chain };
    }
    case 'policy':
      return { kind: 'policy', decider: station.decider, decides: decides(context, point) };
    case 'rule':
      return ruleOf(context, point, station);
    default: {
      const texts = point.visits.flatMap(({ met: [each] }) => (each?.kind === 'route' || each?.kind === 'hook' ? each.text : []));
      return { kind: 'route', routes: listed([...new Set(texts)]) };
    }
  }
}

function ruleOf(context: Context, point: Point, { decider, effect, certain }: Station & { readonly kind: 'rule' }): Content<RuleNode> {
  const { family = '', table = '', chain, text } = decider;
  return {
    kind: 'rule',
    rules: listed(rulesOf(context, point)),
    does: translationOf(effect, decider) !== undefined ? 'translates' : jumpOf(effect) !== undefined ? 'jumps' : 'other',
    certain,
    decides: decides(context, point),
    owner: chain === undefined ? 'unknown' : ownerOf({ family, table, chain, rule: text }),
  };
}

/** The rules of a point, each once. */
function rulesOf({ shares }: Context, { visits }: Point): readonly GraphRule[] {
  const met = visits.flatMap(({ branch, met }) => met.flatMap((station) => (station.kind === 'rule' ? [{ branch, station }] : [])));
  const alike = Map.groupBy(met, ({ station: { decider, effect } }) => JSON.stringify([placeKey(decider), effect]));
  return [...alike.values()].map((same) => {
    const [{ station }] = same as [(typeof met)[number]];
    return { decider: station.decider, effect: station.effect, share: shares.of(same.map(({ branch }) => branch)) };
  });
}

const decides = ({ branches }: Context, { visits }: Point): boolean =>
  visits.some(({ branch, met: [station] }) => station !== undefined && station === decidingStation(branches[branch] as Branch));

function endOf({ branches, shares }: Context, { visits }: Point): Omit<Content<EndNode>, 'kind'> {
  const ended = visits.map(({ branch }) => ({ branch, outcome: (branches[branch] as Branch).outcome }));
  const [{ outcome }] = ended as [(typeof ended)[number]];
  const targets = Map.groupBy(
    ended.filter(({ outcome: { dnat } }) => dnat !== null),
    ({ outcome: { dnat } }) => dnat as string,
  );
  return {
    verdict: outcome.verdict,
    ...(outcome.rejectWith === undefined ? {} : { rejectWith: outcome.rejectWith }),
    masquerade: outcome.masquerade,
    targets: listed([...targets].map(([address, own]) => ({ address, share: shares.of(own.map(({ branch }) => branch)) }))),
    deciders: listed(distinct(ended.flatMap(({ outcome: { decidedBy } }) => decidedBy ?? []))),
    unless: listed(inAll(ended.map((each) => each.outcome.unless ?? []))),
  };
}

function lossOf({ branches }: Context, { visits, lane }: Point): Omit<Content<LossNode>, 'kind'> {
  const lost = lane === 'later' ? 'later' : 'reply';
  const losses = visits.flatMap(({ branch }) => (branches[branch] as Branch).outcome[lost] ?? []);
  const verdict = losses[0]?.verdict ?? 'unknown';
  return { lost, verdict, deciders: listed(distinct(losses.flatMap(({ decidedBy }) => decidedBy ?? []))) };
}

const distinct = (deciders: readonly Decider[]): readonly Decider[] => [...new Map(deciders.map((decider) => [placeKey(decider), decider])).values()];

/** What stands in every list. */
function inAll(lists: readonly (readonly Decider[])[]): readonly Decider[] {
  const [first = [], ...rest] = lists.map(distinct);
  const keys = rest.map((list) => new Set(list.map(placeKey)));
  return first.filter((decider) => keys.every((set) => set.has(placeKey(decider))));
}

/** Cuts texts: each on its own, and more where all together are too many. */
function bounded(graph: WalkGraph): WalkGraph {
  const lengths: number[] = [];
  mapTexts(graph, (text) => {
    if (text.length > shortText) lengths.push(Math.min(text.length, limits.drawingTextMax));
    return text;
  });
  const total = lengths.reduce((sum, length) => sum + length, 0);
  const most = total <= limits.drawingCharactersMax ? limits.drawingTextMax : Math.max(shortText, Math.floor(limits.drawingCharactersMax / lengths.length));
  return mapTexts(graph, (text) => cut(withShortComment(most, text), most));
}

/** A text that ends in an ellipsis, if need be, and never in half of a character. */
const cut = (text: string, most: number): string => (text.length <= most ? text : `${text.slice(0, most - 1).replace(/[\ud800-\udbff]$/, '')}…`);

/** Texts that are not worth cutting. */
const shortText = 100;

function mapTexts<Value>(value: Value, map: (text: string) => string): Value {
  if (typeof value === 'string') return map(value) as Value;
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((each) => mapTexts(each, map)) as Value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, mapTexts(each, map)])) as Value;
}
