// Recognises branches of walks that the rest of the way cannot tell apart: the endpoints of a cluster differ in address and port, and seldom in what happens to
// them after the routing decision, so that it is walked once for all of them.
import { contains, type Interval, isSameSet } from '../model/address.ts';
import type { Decider } from '../model/outcome.ts';
import type { Ended } from './chains.ts';
import type { NodeState } from './node.ts';
import type { State } from './packet.ts';
import type { KeyPart, NftElement, NftSetReference, Step } from './rule.ts';
import { baseChainsOf, type Chain, type Table } from './ruleset.ts';

/** A way that one packet went from the routing decision on, and what it left. */
export interface Way {
  readonly start: State;
  readonly ended: readonly Ended[];
  /** Rules visited on it. */
  readonly rules: number;
}

interface KeptWay extends Way {
  /** It holds for endpoints that are not among the clients: an endpoint that is its own client (hairpin) meets something else, unless its address is replaced. */
  readonly isForeign: boolean;
}

/** The ways that packets of one node went so far. */
export class Ways {
  readonly #boundaries: Boundaries;
  /** By weight, as Services of different numbers of endpoints differ in the weights of their branches; the latest last. */
  readonly #ways = new Map<number, KeptWay[]>();

  constructor(boundaries: Boundaries) {
    this.#boundaries = boundaries;
  }

  /** A way that an alike packet went. */
  find(start: State): Way | undefined {
    const near = this.#ways.get(start.weight);
    if (near === undefined) return undefined;
    for (const way of near) if (areAlike(way.start, start, this.#boundaries) && !(way.isForeign && isOwnClient(start))) return way;
    return undefined;
  }

  /** Keeps a way, unless its ends tell of the packet's own address. */
  keep(way: Way): void {
    const isForeign = way.ended.some(({ verdict, state }) => verdict === 'forward' && state.nat === undefined);
    if ((isForeign && isOwnClient(way.start)) || !way.ended.every((end) => isTransferable(end, way.start))) return;
    for (const end of way.ended) end.kept = {};
    const near = this.#ways.get(way.start.weight) ?? [];
    if (near.push({ ...way, isForeign }) > nearMax) near.shift();
    if (this.#ways.size >= weightsMax) this.#ways.clear();
    this.#ways.set(way.start.weight, near);
  }
}

/** Weights that ways are kept for, and ways of each: at two or three kilobytes a way, and none is looked for longer than it would take to walk. */
const weightsMax = 512;
const nearMax = 8;

/** Whether a packet is one that ways are kept for: a connection's first, translated to one IPv4 address. */
export function goesToEndpoint({ destination, dnat, family, direction, conntrack, nat, ipvs }: State): boolean {
  const [only] = destination;
  const isFirst = direction === 'original' && conntrack === 'new' && nat === undefined && ipvs === undefined;
  return isFirst && dnat && family === 4 && destination.length === 1 && only?.lo === only?.hi;
}

/** The end of a branch as an alike packet meets it. */
export function transferred(end: Ended, way: Way, start: State): Ended {
  const { destination, destinationPort, dnatBy } = start;
  const own = way.start;
  const original =
    end.state.original.source === own.original.source ? start.original : { ...end.state.original, destinationPort: start.original.destinationPort };
  const assumptions =
    end.state.assumptions === own.assumptions ? start.assumptions : [...start.assumptions, ...end.state.assumptions.slice(own.assumptions.length)];
  const state: State = { ...end.state, destination, destinationPort, dnatBy, original, assumptions };
  return { ...end, state, decider: end.decider === own.dnatBy && dnatBy !== undefined ? dnatBy : end.decider };
}

/** Rules and policies speak for all alike packets; sockets and routes are named with the address. */
function isTransferable({ state, decider, verdict }: Ended, start: State): boolean {
  const isKept = state.destination === start.destination && state.destinationPort === start.destinationPort && state.conntrack === 'new';
  const stillAssumes = start.assumptions.every((assumption, index) => assumption === state.assumptions[index]);
  return isKept && stillAssumes && (verdict === 'forward' ? decider === start.dnatBy : speaksForAll(decider));
}

/** Whether the endpoint that a packet goes to is one of the clients that it comes from. */
const isOwnClient = ({ source, destination }: State): boolean => contains(source, (destination[0] as Interval).lo);

/** Whether a decider is the same for alike packets. */
export const speaksForAll = ({ by }: Decider): boolean => by === 'rule' || by === 'policy' || by === 'sysctl';

/** Where conditions, routes and the kernel's own checks divide addresses and ports: within one part nothing tells two values apart. Ascending. */
interface Boundaries {
  readonly addresses: readonly number[];
  readonly ports: readonly number[];
}

/** The ways of a node's packets; undefined where rules look at packets in a manner that this does not follow. `group`: what else decides how packets go on. */
export function waysOf(node: NodeState, group: string): Ways | undefined {
  let known = knownWays.get(node);
  if (known === undefined) knownWays.set(node, (known = { boundaries: boundariesOf(node), groups: new Map() }));
  if (known.boundaries === undefined) return undefined;
  let own = known.groups.get(group);
  if (own === undefined) known.groups.set(group, (own = new Ways(known.boundaries)));
  return own;
}
const knownWays = new WeakMap<NodeState, { readonly boundaries: Boundaries | undefined; readonly groups: Map<string, Ways> }>();

function boundariesOf(node: NodeState): Boundaries | undefined {
  if (node.ipvs.length > 0) return undefined;
  const divided: Divided = { addresses: [...special, ...hostIntervals(node)], ports: [...ephemeral] };
  for (const table of node.tables) {
    if (table.family === 'netdev') return undefined;
    if (table.family !== 'ip' && table.family !== 'inet') continue;
    for (const step of stepsAfterRouting(table)) if (!divide(step, table, divided)) return undefined;
  }
  return { addresses: ascending(divided.addresses), ports: ascending(divided.ports) };
}

interface Divided {
  readonly addresses: Interval[];
  readonly ports: Interval[];
}

/** Addresses that the kernel treats in a way of their own: none, loopback, multicast, broadcast. */
const special: readonly Interval[] = [
  { lo: 0n, hi: 0xffffffn },
  { lo: 0x7f000000n, hi: 0x7fffffffn },
  { lo: 0xe0000000n, hi: 0xefffffffn },
  { lo: 0xffffffffn, hi: 0xffffffffn },
];

/** Ports that a client's system chooses. */
const ephemeral: readonly Interval[] = [{ lo: 32768n, hi: 65535n }];

function hostIntervals({ host }: NodeState): readonly Interval[] {
  const routes = host.routes.filter(({ family }) => family === 4).map(({ destination }) => destination);
  const rules = host.rules
    .filter(({ family }) => family === 4)
    .flatMap(({ source, destination }) => [source, destination].filter((part) => part !== undefined));
  const addresses = host.interfaces.flatMap((device) => device.addresses.filter(({ family }) => family === 4));
  const own = addresses.flatMap(({ value, interval }) => [{ lo: value, hi: value }, interval]);
  return [...routes, ...rules, ...own];
}

/** Whether rules that answers can meet tell packets of one connection apart by their TCP flags. */
export function asksForFlags(node: NodeState): boolean {
  let known = flagsAsked.get(node);
  if (known === undefined) flagsAsked.set(node, (known = node.tables.some(hasFlagsAsked)));
  return known;
}
const flagsAsked = new WeakMap<NodeState, boolean>();

function hasFlagsAsked(table: Table): boolean {
  for (const step of stepsAfterRouting(table)) if (looksAtFlags(step)) return true;
  return false;
}

function looksAtFlags(step: Step): boolean {
  if (step.kind === 'number') return step.field === 'tcpFlags';
  const key = step.kind === 'lookup' || step.kind === 'verdictMap' ? step.key : [];
  return key.some((part) => part.kind === 'number' && part.field === 'tcpFlags');
}

/** The steps that packets after the first routing decision, answers and later packets can meet: all but those that only a connection's first packet meets. */
function* stepsAfterRouting(table: Table): Iterable<Step> {
  const first = baseChainsOf(table).filter(({ base }) => base?.type !== 'nat' || (base.hook !== 'prerouting' && base.hook !== 'output'));
  const reached = new Set(first.map(({ name }) => name));
  for (const name of reached) {
    const chain = table.chains.get(name);
    for (let index = 0; index < (chain?.length ?? 0); index++) {
      for (const step of (chain as Chain).rule(index).steps) {
        yield step;
        for (const next of chainsBehind(step, table)) reached.add(next);
      }
    }
  }
}

function chainsBehind(step: Step, table: Table): readonly string[] {
  if (step.kind === 'jump' || step.kind === 'goto') return [step.chain];
  if (step.kind !== 'verdictMap') return [];
  return elementsOf(step.map, table).flatMap(({ verdict }) => (verdict?.kind === 'jump' || verdict?.kind === 'goto' ? [verdict.chain] : []));
}

const elementsOf = (set: NftSetReference, table: Table): readonly NftElement[] =>
  set.kind === 'inline' ? set.elements : (table.sets.get(set.name)?.elements ?? []);

/** Notes where a step divides addresses and ports. False for steps that look at them in another manner. */
function divide(step: Step, table: Table, { addresses, ports }: Divided): boolean {
  switch (step.kind) {
    case 'address':
      addresses.push(...(step.family === 4 ? step.set : []));
      return true;
    case 'number':
      if (!step.field.endsWith('Port')) return true;
      ports.push(...step.set);
      return step.mask === undefined;
    case 'lookup':
      return divideByKey(step.key, elementsOf(step.set, table), { addresses, ports });
    case 'verdictMap':
      return divideByKey(step.key, elementsOf(step.map, table), { addresses, ports });
    case 'reversePath':
    case 'ipset':
    case 'recent':
    case 'dnat':
    case 'redirect':
    case 'netmap':
    case 'tproxy':
      return false;
    case 'snat':
      return step.map === undefined;
    default:
      return true;
  }
}

/** Each element divides by its own parts, whatever the others of its key are. */
function divideByKey(key: readonly KeyPart[], elements: readonly NftElement[], { addresses, ports }: Divided): boolean {
  for (const [index, part] of key.entries()) {
    const into = part.kind === 'address' ? addresses : part.kind === 'number' && part.field.endsWith('Port') ? ports : undefined;
    if (into === undefined) continue;
    for (const { key: values } of elements) {
      const value = values[index];
      // Other parts of an element are words that hold for every value, or that are not understood and may hold for any.
      if (value?.kind === 'interval' && value.hi <= highestAddress) into.push(value);
    }
  }
  return true;
}

const highestAddress = 0xffffffffn;

const ascending = (intervals: readonly Interval[]): readonly number[] =>
  [...new Set(intervals.flatMap(({ lo, hi }) => [Number(lo), Number(hi) + 1]))].sort((a, b) => a - b);

/** The part that a value is in: how many boundaries are at or below it. */
function partOf(boundaries: readonly number[], value: number): number {
  let low = 0;
  let high = boundaries.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((boundaries[middle] as number) <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Whether two packets differ in nothing but addresses and ports of one part, in the rule that translated them, and in what was assumed of rules before: that is
 * asked of no rule that follows, but only whether anything was.
 */
const areAlike = (a: State, b: State, { addresses, ports }: Boundaries): boolean =>
  isSameBefore(a, b) &&
  isSamePart(ports, a.destinationPort, b.destinationPort) &&
  isSamePart(ports, a.original.destinationPort, b.original.destinationPort) &&
  isSamePart(addresses, Number(a.destination[0]?.lo), Number(b.destination[0]?.lo));

const isSamePart = (boundaries: readonly number[], a: number | undefined, b: number | undefined): boolean =>
  a === b || (a !== undefined && b !== undefined && partOf(boundaries, a) === partOf(boundaries, b));

/** Equality of all fields but those that alike packets differ in. Field by field, as it is asked for every endpoint. */
const isSameBefore = (a: State, b: State): boolean =>
  a.family === b.family &&
  a.protocol === b.protocol &&
  a.sourcePort === b.sourcePort &&
  a.iif === b.iif &&
  a.oif === b.oif &&
  a.mark === b.mark &&
  a.connmark === b.connmark &&
  a.routedBy === b.routedBy &&
  isSame(a.icmp, b.icmp) &&
  a.errorOf === b.errorOf &&
  a.tcpFlags === b.tcpFlags &&
  a.sctpChunk === b.sctpChunk &&
  a.attached === b.attached &&
  isSame(a.ipvs, b.ipvs) &&
  a.conntrack === b.conntrack &&
  a.direction === b.direction &&
  a.settledDestination === b.settledDestination &&
  a.settledSource === b.settledSource &&
  a.dnat === b.dnat &&
  isSame(a.nat, b.nat) &&
  isSame(a.undo, b.undo) &&
  a.weight === b.weight &&
  a.assumptions.length === b.assumptions.length &&
  isSame(a.clouded, b.clouded) &&
  a.path === b.path &&
  a.original.sourcePort === b.original.sourcePort &&
  isSameSet(a.original.destination, b.original.destination) &&
  isSameSet(a.source, b.source) &&
  isSameSet(a.original.source, b.original.source);

/** Deep equality. */
function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a)) return Array.isArray(b) && a.length === b.length && a.every((each, index) => isSame(each, b[index]));
  const [left, right] = [a, b] as [Record<string, unknown>, Record<string, unknown>];
  const names = Object.keys(left);
  return names.length === Object.keys(right).length && names.every((name) => name in right && isSame(left[name], right[name]));
}
