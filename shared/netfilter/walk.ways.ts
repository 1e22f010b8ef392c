// Gathers the branches of a traced walk that are alike: those that differ only in the endpoint that they lead to are told, and drawn, once.
import { type Address, formatAddress, type IntervalSet, parseAddress, parsePrefix, single, size, union } from '../model/address.ts';
import type { Decider, Outcome } from '../model/outcome.ts';
import type { Station } from './packet.ts';
import { Shares } from './walk.shares.ts';
import type { Branch } from './walk.ts';

/** One way through the hooks, taken by one branch or by several alike ones. */
export interface Way {
  /** The branches, as positions in the walk's list. */
  readonly branches: readonly number[];
  readonly steps: readonly WayStep[];
  /** Equal for ways that come to the same end. */
  readonly end: string;
  /** Largest share of one client's new connections, 0…1. */
  readonly share: number;
}

export interface WayStep {
  /** Equal for steps that are the same thing to a reader. */
  readonly key: string;
  /** `prerouting`, `forward` …, or `routing`. */
  readonly hook: string;
  /** What each branch of the way met, in their order: one station, or the jumps in a row that came back from chains where nothing matched. */
  readonly met: readonly (readonly Station[])[];
  readonly passed: boolean;
  /** How many of its assumptions each branch had made by then. */
  readonly assumed: readonly number[];
}

/** The ways of a traced walk, the most taken first. */
export function waysOf(branches: readonly Branch[]): readonly Way[] {
  const shares = new Shares(branches);
  const reader = readerOf(branches);
  const groups = Map.groupBy(branches.keys(), (index) => wayKey(reader, branches[index] as Branch));
  const ways = [...groups.values()].map((group) => ({ way: wayOf(reader, group, shares), clients: shares.clientsOf(group) }));
  return ways.sort((a, b) => b.way.share - a.way.share || (a.clients < b.clients ? 1 : a.clients > b.clients ? -1 : 0)).map(({ way }) => way);
}

/** What tells shared chains from those of one endpoint. */
interface Reader {
  readonly branches: readonly Branch[];
  /** Chains that only packets for one endpoint see, when there are several endpoints. */
  readonly ofOneEndpoint: ReadonlySet<string>;
  readonly targets: IntervalSet;
  /** Jumps to chains where nothing matches, whatever branch takes them. */
  readonly idle: ReadonlySet<string>;
}

function readerOf(branches: readonly Branch[]): Reader {
  const targets = new Map<string, Set<string | null>>();
  for (const { stations, outcome } of branches) {
    for (const station of stations) {
      if (station.kind !== 'rule' || station.decider.chain === undefined) continue;
      const chain = chainKey(station.decider);
      const seen = targets.get(chain) ?? new Set();
      targets.set(chain, seen.add(outcome.dnat));
    }
  }
  const base = new Set(branches.flatMap(({ stations }) => stations.filter((station) => station.kind === 'chain').map(chainKey)));
  const all = new Set(branches.flatMap(({ outcome }) => outcome.dnat ?? []));
  const isOwn = ([chain, seen]: readonly [string, ReadonlySet<string | null>]): boolean => seen.size === 1 && !seen.has(null) && !base.has(chain);
  return {
    branches,
    ofOneEndpoint: new Set(all.size < 2 ? [] : [...targets].filter(isOwn).map(([chain]) => chain)),
    idle: idleJumps(branches),
    targets: union(...[...all].flatMap((target) => addressOf(target) ?? []).map(({ value }) => single(value))),
  };
}

const chainKey = ({ family, table, chain }: Pick<Decider, 'family' | 'table' | 'chain'>): string => `${family} ${table} ${chain}`;

function wayKey(reader: Reader, branch: Branch): string {
  const steps = stepsOf(reader, branch).map(({ hook, key }) => `${hook} ${key}`);
  return [...steps, endKey(reader, branch.outcome), clientsKey(reader, branch.outcome)].join('\n');
}

function wayOf(reader: Reader, group: readonly number[], shares: Shares): Way {
  const paths = group.map((index) => stepsOf(reader, reader.branches[index] as Branch));
  const [first = []] = paths;
  const steps = first.map(({ key, hook, passed }, at): WayStep => {
    const own = paths.map((path) => path[at] as BranchStep);
    return { key, hook, passed, met: own.map(({ met }) => met), assumed: own.map(({ assumed }) => assumed) };
  });
  const { outcome } = reader.branches[group[0] as number] as Branch;
  return { branches: group, steps, end: endKey(reader, outcome), share: shares.of(group) };
}

interface BranchStep {
  readonly key: string;
  readonly hook: string;
  readonly met: readonly Station[];
  readonly passed: boolean;
  readonly assumed: number;
}

function stepsOf(reader: Reader, { stations, assumed: counts }: Branch): readonly BranchStep[] {
  const steps: BranchStep[] = [];
  let hook = 'routing';
  for (const [index, station] of stations.entries()) {
    hook = hookOf(station, hook);
    const key = stationKey(reader, station);
    const assumed = counts[index] as number;
    const last = steps.at(-1);
    if (station.kind !== 'rule' || !reader.idle.has(jumpKey(station))) steps.push({ key, hook, met: [station], passed: false, assumed });
    else if (last?.passed === true) steps[steps.length - 1] = { ...last, key: `${last.key}\n${key}`, met: [...last.met, station], assumed };
    else steps.push({ key: `passed ${key}`, hook, met: [station], passed: true, assumed });
  }
  return steps;
}

const jumpKey = ({ decider, effect }: Station & { readonly kind: 'rule' }): string => `${placeKey(decider)} ${effect}`;

/** Jumps to chains where nothing matches but such jumps, in all branches that take them. */
function idleJumps(branches: readonly Branch[]): ReadonlySet<string> {
  const idle = new Set<string>();
  const busy = new Set<string>();
  for (const { stations } of branches) {
    const quiet = quietJumps(stations);
    for (const [index, station] of stations.entries()) if (station.kind === 'rule') (quiet.has(index) ? idle : busy).add(jumpKey(station));
  }
  return new Set([...idle].filter((key) => !busy.has(key)));
}

/** The jumps of one branch, as positions, that lead to nothing. */
function quietJumps(stations: readonly Station[]): ReadonlySet<number> {
  const quiet = new Set<number>();
  const open: { readonly at: number; readonly chain: string; isQuiet: boolean }[] = [];
  const close = (): void => {
    const { at, isQuiet } = open.pop() as (typeof open)[number];
    if (isQuiet) quiet.add(at);
    else for (const outer of open) outer.isQuiet = false;
  };
  for (const [at, station] of stations.entries()) {
    while (open.length > 0 && !(station.kind === 'rule' && station.decider.chain === open.at(-1)?.chain)) close();
    const target = station.kind === 'rule' && station.certain ? jumpOf(station.effect) : undefined;
    if (target !== undefined) open.push({ at, chain: target, isQuiet: true });
    else for (const outer of open) outer.isQuiet = false;
  }
  // What ended the branch may have happened in the chain that was entered last.
  return quiet;
}

/** Rules belong to the hook of the base chain before them; IPVS stands in a hook even where that has no chain. */
function hookOf(station: Station, before: string): string {
  if (station.kind === 'chain' || station.kind === 'hook') return station.hook;
  if (station.kind === 'route') return 'routing';
  return station.kind === 'rule' && station.decider.by === 'ipvs' && before === 'routing' ? 'input' : before;
}

function stationKey(reader: Reader, station: Station): string {
  switch (station.kind) {
    case 'hook':
      return station.text;
    case 'chain':
      return `chain ${chainKey(station)} ${station.priority}`;
    case 'policy':
      return `policy ${chainKey(station.decider)}`;
    case 'route':
      return station.text === ownText ? ownText : 'route';
    case 'rule':
      return ruleKey(reader, station);
  }
}

/** What the walk says of a packet that the routing decision keeps on the node. */
const ownText = 'to the node itself';

function ruleKey({ ofOneEndpoint, targets }: Reader, { decider, effect, certain }: Station & { readonly kind: 'rule' }): string {
  const ofSeveral = size(targets) > 1n;
  const own = ofOneEndpoint.has(chainKey(decider));
  const target = jumpOf(effect);
  const toOwn = target !== undefined && ofOneEndpoint.has(chainKey({ ...decider, chain: target }));
  const translates = ofSeveral && translationOf(effect, decider) !== undefined;
  const place = decider.by === 'ipvs' ? 'ipvs' : own ? 'endpoint' : chainKey(decider);
  // Which rule of a shared chain chooses the endpoint, and the chain that it jumps to, differ from endpoint to endpoint.
  const rule = decider.by === 'ipvs' || (!own && (toOwn || translates)) ? '#' : `${decider.rule} ${decider.chain === undefined ? decider.text : ''}`;
  return ['rule', place, rule, toOwn ? '→ endpoint' : translates ? 'translates' : effect, certain ? '' : '?'].join(' ');
}

/** The rule or policy on a branch's way that brings it to a bad end; undefined where it is sent on or taken in, or where no rule decides. */
export function decidingStation({ stations, outcome: { verdict, decidedBy } }: Branch): Station | undefined {
  if (verdict === 'forward' || verdict === 'local' || decidedBy === undefined) return undefined;
  const key = placeKey(decidedBy);
  return stations.findLast((station) => (station.kind === 'rule' || station.kind === 'policy') && placeKey(station.decider) === key);
}

/** Equal for deciders that are the same rule, policy, route or socket. */
export const placeKey = ({ by, family, table, chain, rule, text }: Decider): string => JSON.stringify([by, family, table, chain, rule, text]);

/** The chain that a step of a walk jumped to. */
export const jumpOf = (effect: string): string | undefined => (effect.startsWith('→ ') ? effect.slice(2) : undefined);

/** What a step of a walk made of the destination: `DNAT to 10.0.0.1:80`, `to the real server`. */
export const translationOf = (effect: string, decider: Decider): string | undefined =>
  effect.startsWith('DNAT to ') || decider.by === 'ipvs' ? effect : undefined;

function endKey(reader: Reader, { verdict, rejectWith, masquerade, decidedBy, reply, later }: Outcome): string {
  const key = (decider: Decider | undefined): string => deciderKey(reader, decider, verdict);
  const losses = [reply, later].map((loss) => (loss === undefined ? '' : `${loss.verdict} ${key(loss.decidedBy)}`));
  return ['end', verdict, rejectWith, masquerade, key(decidedBy), ...losses].join('|');
}

/** Routes and sockets are named with the endpoint's address; a rule that translated is in the way itself. */
function deciderKey({ ofOneEndpoint }: Reader, decider: Decider | undefined, verdict: Outcome['verdict']): string {
  if (decider === undefined) return '';
  if (decider.by === 'sysctl') return decider.text;
  if (decider.by === 'route' || decider.by === 'socket' || decider.by === 'ipvs') return decider.by;
  if (verdict === 'forward' || verdict === 'local' || ofOneEndpoint.has(chainKey(decider))) return 'rule';
  return `${chainKey(decider)} ${decider.rule} ${decider.text}`;
}

/** The clients of a branch with endpoints left out of account: an endpoint that is its own client is alike for all endpoints. */
function clientsKey({ targets }: Reader, { sources, dnat }: Outcome): string {
  if (sources === undefined) return '';
  const own = addressOf(dnat ?? '');
  if (own !== undefined && sources.length === 1 && sources[0]?.split('/')[0] === formatAddress(own.family, own.value)) return 'the endpoint itself';
  const sets = sources.flatMap((text) => parsePrefix(text)?.interval ?? []).map((interval) => [interval]);
  return union(...sets, targets)
    .map(({ lo, hi }) => `${lo}-${hi}`)
    .join();
}

/** The address of `ADDRESS:PORT`, IPv6 in brackets. */
const addressOf = (endpoint: string): Address | undefined => parseAddress(endpoint.replace(/:(?:\d+|\*)$/, '').replace(/^\[|\]$/g, ''));
