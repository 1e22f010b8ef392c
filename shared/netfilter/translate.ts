// Network address translation of a packet set: DNAT, REDIRECT, SNAT, MASQUERADE, NETMAP, with nft's maps, as the NAT core of the kernel does them.
import { type Family, formatAddress, type IntervalSet, isSameSet, type Prefix, parseAddress, single, size } from '../model/address.ts';
import { deciderOf } from '../model/outcome.ts';
import type { Ended, Run } from './chains.ts';
import { type Host, interfaceOfAddress, isLinkLocal, routeTo } from './host.ts';
import { divideByMap } from './lookup.ts';
import { type State, visited } from './packet.ts';
import type { NftElement, PortRange, Rule, Verdict } from './rule.ts';

/** Translated branches leave the chain; `untouched` ones go on with the next rule (a map without an entry for them). */
export interface Translation {
  readonly states: readonly State[];
  readonly untouched: readonly State[];
  readonly ended: readonly Ended[];
}

/** Free choices of the kernel up to this many become branches; more are left open. */
const choicesMax = 64n;

/** Applies a NAT verdict to a state. Untracked packets are not translated at all. */
export function translate(run: Run, state: State, given: { readonly verdict: Verdict; readonly rule: Rule }): Translation {
  const { verdict } = given;
  if (state.conntrack === 'untracked') return { states: [state], untouched: [], ended: [] };
  switch (verdict.kind) {
    case 'dnat':
      if (verdict.family !== undefined && verdict.family !== state.family) return { states: [], untouched: [state], ended: [] };
      if (verdict.map !== undefined) return byMap(run, state, { ...given, map: verdict.map });
      return done(destinations(state, verdict.addresses, { ports: verdict.ports, run, rule: given.rule }));
    case 'redirect':
      if (lacksAddress(run, state)) return dropped(run, state, given.rule);
      return done(redirected(run, state, { ports: verdict.ports, rule: given.rule }));
    case 'snat':
      if (verdict.family !== undefined && verdict.family !== state.family) return { states: [], untouched: [state], ended: [] };
      return done([sourced(run, state, { nat: snatOf(verdict.addresses), rule: given.rule })]);
    case 'masquerade':
      return done([sourced(run, state, { nat: { kind: 'masquerade' }, rule: given.rule })]);
    case 'netmap':
      return done(netmapped(run, state, { to: verdict.to, rule: given.rule }));
    default:
      return { states: [], untouched: [], ended: [{ state, verdict: 'unknown', decider: deciderOf(given.rule) }] };
  }
}

const done = (states: readonly State[]): Translation => ({ states, untouched: nothing, ended: nothing });
const nothing: readonly never[] = [];
const snatOf = (addresses: IntervalSet | undefined): State['nat'] =>
  addresses !== undefined && size(addresses) === 1n ? { kind: 'snat', address: (addresses[0] as { lo: bigint }).lo } : { kind: 'snat' };

interface Target {
  readonly ports: PortRange | undefined;
  readonly run: Run;
  readonly rule: Rule;
}

function destinations(state: State, addresses: IntervalSet | undefined, target: Target): readonly State[] {
  if (addresses === undefined) return [translated(state, state.destination, target)];
  if (isOne(addresses)) return [translated(state, addresses, target)];
  const choices = size(addresses);
  if (choices > choicesMax) return [translated(state, addresses, target)];
  const each = addresses.flatMap(({ lo, hi }) => Array.from({ length: Number(hi - lo) + 1 }, (_, index) => lo + BigInt(index)));
  return each.map((address) => translated({ ...state, weight: state.weight / each.length }, single(address), target));
}

const isOne = (addresses: IntervalSet): boolean => addresses.length === 1 && addresses[0]?.lo === addresses[0]?.hi;

function translated(state: State, destination: IntervalSet, { ports, rule, run }: Target): State {
  const port = ports === undefined ? state.destinationPort : ports.lo === ports.hi ? ports.lo : undefined;
  // A translation to what was there already leaves no trace in the connection (nf_nat_setup_info compares the tuples).
  const changed = port !== state.destinationPort || !isSameSet(destination, state.destination);
  const decider = deciderOf(rule);
  const next: State = {
    ...state,
    destination,
    destinationPort: port,
    dnat: changed || state.dnat,
    dnatBy: changed ? decider : state.dnatBy,
    settledDestination: true,
  };
  if (!run.traced) return next;
  const [first] = destination;
  const address = first === undefined ? '' : formatAddress(state.family, first.lo);
  const bare = state.family === 6 && port !== undefined ? `[${address}]` : address;
  return visited(next, { kind: 'rule', decider, effect: `DNAT to ${bare}${port === undefined ? '' : `:${port}`}`, certain: true }, run);
}

function byMap(
  run: Run,
  state: State,
  given: { readonly verdict: Verdict; readonly rule: Rule; readonly map: NonNullable<(Verdict & { kind: 'dnat' })['map']> },
): Translation {
  const answer = divideByMap(state, given.map, run);
  if (answer.kind === 'unreadable') return { states: [], untouched: [], ended: [{ state, verdict: 'unknown', decider: deciderOf(given.rule) }] };
  const fixed = (given.verdict as Verdict & { kind: 'dnat' }).ports;
  const states = answer.hits.flatMap((hit) => {
    const value = valueOf(hit.element, given.map.holds);
    return destinations(hit.state, value.address, { ports: value.port ?? fixed, run, rule: given.rule });
  });
  return { states, untouched: answer.rest, ended: [] };
}

function valueOf(element: NftElement, holds: readonly ('address' | 'port')[]): { readonly address?: IntervalSet; readonly port?: PortRange } {
  const result: { address?: IntervalSet; port?: PortRange } = {};
  for (const [index, part] of (element.value ?? []).entries()) {
    if (part.kind !== 'interval') continue;
    if (holds[index] === 'port') result.port = { lo: Number(part.lo), hi: Number(part.hi) };
    else result.address = [{ lo: part.lo, hi: part.hi }];
  }
  return result;
}

function dropped(run: Run, state: State, rule: Rule): Translation {
  const decider = deciderOf(rule);
  const effect = 'drop: the incoming interface has no address to redirect to';
  return { states: [], untouched: [], ended: [{ state: visited(state, { kind: 'rule', decider, effect, certain: true }, run), verdict: 'drop', decider }] };
}

/** What came in by an interface without an address cannot be redirected to it, and is dropped (nf_nat_redirect). */
function lacksAddress(run: Run, state: State): boolean {
  const device = run.node.host.interfaces.find(({ name }) => name === state.iif);
  return run.hook !== 'output' && device?.addresses.every(({ family }) => family !== state.family) === true;
}

/** In prerouting the destination becomes the address of the incoming interface, in output the loopback address. */
function redirected(run: Run, state: State, given: { readonly ports: PortRange | undefined; readonly rule: Rule }): readonly State[] {
  const target = { ports: given.ports, run, rule: given.rule };
  if (run.hook === 'output') return destinations(state, single(state.family === 4 ? 0x7f000001n : 1n), target);
  const own = run.node.host.interfaces.find((device) => device.name === state.iif)?.addresses.find((address) => address.family === state.family);
  const [asked] = state.destination;
  const onDevice = asked !== undefined && interfaceOfAddress(run.node.host, state.family, asked.lo)?.name === state.iif ? asked.lo : undefined;
  const address = own?.value ?? onDevice;
  return destinations(state, address === undefined ? undefined : single(address), target);
}

/** A source that is replaced by itself is not replaced. */
function sourced(run: Run, state: State, given: { readonly nat: State['nat']; readonly rule: Rule }): State {
  const effect = given.nat?.kind === 'masquerade' ? 'masquerade' : 'SNAT';
  const address = given.nat === undefined ? undefined : natAddress(run.node.host, { ...state, nat: given.nat });
  const nat = address !== undefined && isSameSet(address, state.source) ? undefined : given.nat;
  const translated = { ...state, nat, settledSource: true };
  return visited(translated, { kind: 'rule', decider: deciderOf(given.rule), effect, certain: true }, run);
}

/** The address that stands in for the client's after SNAT or MASQUERADE; undefined where the kernel is free to choose, or nothing is replaced. */
export function natAddress(host: Host, state: Pick<State, 'nat' | 'oif' | 'family' | 'destination'>): IntervalSet | undefined {
  if (state.nat === undefined) return undefined;
  if (state.nat.kind === 'snat') return state.nat.address === undefined ? undefined : single(state.nat.address);
  const [only] = state.destination;
  const own = state.family === 4 ? masquerade4(host, state.oif, only?.lo) : masquerade6(host, state.oif, only?.lo);
  return own === undefined ? undefined : single(own.value);
}

/** The first address in the network of the next hop, else the first of the interface, else of any other: loopback has none of the right scope (inet_select_addr). */
function masquerade4(host: Host, device: string | undefined, destination: bigint | undefined): Prefix | undefined {
  const own = device === 'lo' ? [] : addressesOf(host, 4, device);
  if (own.length === 1) return own[0];
  const hop = destination === undefined ? undefined : nextHop(host, destination);
  const near = own.find(({ interval }) => hop !== undefined && interval.lo <= hop && hop <= interval.hi);
  return near ?? own[0] ?? host.interfaces.filter(({ loopback }) => !loopback).flatMap((each) => addressesOf(host, 4, each.name))[0];
}

function nextHop(host: Host, destination: bigint): bigint {
  const answer = routeTo(host, destination, { family: 4, mark: 0 });
  const gateway = answer.kind === 'route' && answer.route.gateway !== undefined ? parseAddress(answer.route.gateway) : undefined;
  return gateway?.family === 4 ? gateway.value : destination;
}

/** The destination itself where it is the node's, else an address of the interface that is not the link's own, else the one most like the destination (RFC 6724). */
function masquerade6(host: Host, device: string | undefined, destination = 0n): Prefix | undefined {
  const own = device === 'lo' ? [] : addressesOf(host, 6, device).filter(({ value }) => !isLinkLocal(6, value));
  if (own.length === 1) return own[0];
  const nearest = (list: readonly Prefix[]): Prefix | undefined => list.toSorted((a, b) => compareBigints(a.value ^ destination, b.value ^ destination))[0];
  if (own.length > 0) return nearest(own);
  const all = host.interfaces.flatMap(({ name }) => addressesOf(host, 6, name)).filter(({ value }) => !isLinkLocal(6, value));
  return all.find(({ value }) => value === destination) ?? nearest(all.filter(({ value }) => value !== 1n));
}

const addressesOf = (host: Host, family: Family, device: string | undefined): readonly Prefix[] =>
  host.interfaces.find(({ name }) => name === device)?.addresses.filter((address) => address.family === family) ?? [];

const compareBigints = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0);

function netmapped(
  run: Run,
  state: State,
  given: { readonly to: { readonly family: Family; readonly lo: bigint; readonly hi: bigint }; readonly rule: Rule },
): readonly State[] {
  const { to, rule } = given;
  const [only] = state.destination;
  if (to.family !== state.family) return [state];
  const onDestination = run.hook === 'prerouting' || run.hook === 'output';
  if (!onDestination) return [sourced(run, state, { nat: { kind: 'snat' }, rule })];
  if (only === undefined || only.lo !== only.hi) return destinations(state, [{ lo: to.lo, hi: to.hi }], { ports: undefined, run, rule });
  const mask = to.hi - to.lo;
  return destinations(state, single(to.lo | (only.lo & mask)), { ports: undefined, run, rule });
}
