// Network address translation of a packet set: DNAT, REDIRECT, SNAT, MASQUERADE, NETMAP, with nft's maps, as the NAT core of the kernel does them.
import { type Family, formatAddress, type IntervalSet, isSameSet, single, size } from '../model/address.ts';
import { deciderOf } from '../model/outcome.ts';
import type { Ended, Run } from './chains.ts';
import { type Host, interfaceOfAddress } from './host.ts';
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
export function natAddress(host: Host, state: Pick<State, 'nat' | 'oif' | 'family'>): IntervalSet | undefined {
  if (state.nat === undefined) return undefined;
  if (state.nat.kind === 'snat') return state.nat.address === undefined ? undefined : single(state.nat.address);
  // Loopback has no address of the right scope to lend: the first other interface does.
  const devices = state.oif === 'lo' ? host.interfaces.filter((device) => !device.loopback) : host.interfaces.filter((device) => device.name === state.oif);
  const own = devices.flatMap((device) => device.addresses).find((address) => address.family === state.family);
  return own === undefined ? undefined : single(own.value);
}

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
