// The routing decision of a walk and the kernel's own checks around it: martian sources, the reverse path, and the device that a route leaves by.
import { type Family, formatAddress, type IntervalSet, intersect, single, union } from '../model/address.ts';
import type { Decider } from '../model/outcome.ts';
import { interfaceSetting, type RouteAnswer, routeDestinations, routesTo, routeTo } from './host.ts';
import { isTranslated, type State } from './packet.ts';
import { dropSources, end, type Walker } from './walker.ts';

/** The packets of a branch that routing treats alike. */
export interface Routed {
  readonly state: State;
  readonly answer: RouteAnswer;
}

/** The device that a packet leaves by, and the route in words. */
export interface WayOut {
  readonly device: string;
  readonly text: string;
}

/** Divides a branch by what routing does with its destinations; by the packet's own mark where none is given. */
export function routed(walker: Walker, state: State, mark = state.mark): readonly Routed[] {
  const query = { family: state.family, mark, source: state.source, ...(state.iif === undefined ? {} : { iif: state.iif }) };
  const [only] = state.destination;
  if (only !== undefined && state.destination.length === 1 && only.lo === only.hi) {
    return [{ state, answer: routeTo(walker.node.host, only.lo, query) }];
  }
  return routeDestinations(walker.node.host, state.destination, query).map(({ set, answer }) => ({
    state: state.direction === 'reply' ? { ...state, destination: set, original: { ...state.original, source: set } } : { ...state, destination: set },
    answer,
  }));
}

/** Whether the node takes the packet itself. */
export const isLocal = (answer: RouteAnswer): boolean => answer.kind === 'route' && localTypes.has(answer.route.type);
const localTypes: ReadonlySet<string> = new Set(['local', 'broadcast', 'anycast']);

/** Addresses that stay on the machine. */
export const loopback = (family: Family): IntervalSet => (family === 4 ? loopback4 : single(1n));
const loopback4: IntervalSet = [{ lo: 0x7f000000n, hi: 0x7fffffffn }];

/** Sources that no packet may have, and loopback addresses that came from outside: dropped before anything else. */
export function withoutMartians(walker: Walker, state: State): readonly State[] {
  if (state.iif === 'lo') return [state];
  if (state.family === 6) return withoutLoopback6(walker, state);
  const localnet = interfaceSetting(walker.node.host, 'route_localnet', { family: 4, device: state.iif }) === 1;
  if (!localnet && intersect(state.destination, loopback4).length > 0) {
    end(walker, state, { verdict: 'drop', decider: { by: 'sysctl', text: 'net.ipv4.conf.all.route_localnet = 0 and the destination is a loopback address' } });
    return [];
  }
  const set = localnet ? neverSources : union(neverSources, loopback4);
  return dropSources(walker, state, { set, decider: { by: 'route', text: 'a source address that no packet may have (martian source)' } });
}

/** IPv6 has no setting that lets loopback addresses in: an answer whose translation back gives ::1 is lost as well. */
function withoutLoopback6(walker: Walker, state: State): readonly State[] {
  if (intersect(state.destination, loopback(6)).length === 0) return [state];
  end(walker, state, { verdict: 'drop', decider: { by: 'route', text: 'nothing that comes from another machine is delivered to ::1' } });
  return [];
}

/** None, multicast and broadcast. */
const neverSources: IntervalSet = [
  { lo: 0n, hi: 0xffffffn },
  { lo: 0xe0000000n, hi: 0xefffffffn },
  { lo: 0xffffffffn, hi: 0xffffffffn },
];

/** rp_filter: strict (1) wants the route back to the client to leave by the interface it came in by, loose (2) wants any route. The larger of all and interface. */
export function reversePathFilter(walker: Walker, state: State): readonly State[] {
  if (state.family !== 4 || state.iif === undefined || state.iif === 'lo') return [state];
  const { host } = walker.node;
  const own = routesTo(host, state.source, { family: 4 }).filter(({ answer }) => answer.kind === 'route' && answer.route.type === 'local');
  const acceptLocal = interfaceSetting(host, 'accept_local', { family: 4, device: state.iif }) === 1;
  const isForeign = acceptLocal || own.length === 0;
  const foreign = isForeign
    ? [state]
    : dropSources(walker, state, {
        set: union(...own.map((part) => part.set)),
        decider: { by: 'route', text: 'the source is an address of this node (martian source)' },
      });
  const setting = interfaceSetting(host, 'rp_filter', { family: 4, device: state.iif }) ?? 0;
  return setting === 0 ? foreign : foreign.flatMap((each) => withRightPath(walker, each, setting));
}

function withRightPath(walker: Walker, state: State, setting: number): readonly State[] {
  const { host } = walker.node;
  const parts = routesTo(host, state.source, { family: 4, source: state.destination });
  for (const { answer } of parts) {
    if (answer.kind !== 'unknown') continue;
    end(walker, state, { verdict: 'unknown', decider: { by: 'route', text: answer.reason } });
    return [];
  }
  const leads = (answer: RouteAnswer): boolean => answer.kind === 'route' && (answer.route.type === 'unicast' || answer.route.type === 'local');
  const wrong = parts.filter(({ answer }) => !leads(answer) || (setting === 1 && answer.kind === 'route' && answer.route.device !== state.iif));
  const own = `net.ipv4.conf.${state.iif}.rp_filter`;
  const name = host.sysctls.get(own) === String(setting) ? own : 'net.ipv4.conf.all.rp_filter';
  const text = `${name} = ${setting} and the route back to the client ${setting === 1 ? `does not leave by ${state.iif}` : 'does not exist'}`;
  return dropSources(walker, state, { set: union(...wrong.map((part) => part.set)), decider: { by: 'sysctl', text } });
}

/** The device that a route leaves by; a route that leads nowhere ends the branch with the error that the kernel answers. */
export function outDevice(walker: Walker, { state, answer }: Routed): WayOut | undefined {
  const to = state.destination[0] === undefined ? '' : formatAddress(state.family, state.destination[0].lo);
  const six = state.family === 6;
  const reject = (rejectWith: string, text: string): undefined => end(walker, state, { verdict: 'reject', rejectWith, decider: { by: 'route', text } });
  if (answer.kind === 'unknown') return end(walker, state, { verdict: 'unknown', decider: { by: 'route', text: answer.reason } });
  if (answer.kind === 'none') return reject(six ? 'icmp6-no-route' : 'icmp-net-unreachable', `no route to ${to}`);
  const type = answer.kind === 'rule' ? answer.rule.action : answer.route.type;
  const text = answer.kind === 'rule' ? `ip rule ${answer.rule.text}` : answer.route.text;
  if (type === 'blackhole') return end(walker, state, { verdict: 'drop', decider: { by: 'route', text } });
  // IPv6 answers for an unreachable route what it answers without one (ip6_pkt_discard).
  if (type === 'unreachable') return reject(six ? 'icmp6-no-route' : 'icmp-host-unreachable', text);
  if (type === 'prohibit') return reject(six ? 'icmp6-adm-prohibited' : 'icmp-admin-prohibited', text);
  const device = answer.kind === 'route' ? answer.route.device : undefined;
  if (device === undefined) return end(walker, state, { verdict: 'unknown', decider: { by: 'route', text: `${text}: it names no device` } });
  if (device !== 'lo' && leavesLoopback(walker, state, device)) {
    return end(walker, state, {
      verdict: 'drop',
      decider: { by: 'sysctl', text: 'net.ipv4.conf.all.route_localnet = 0 and the client uses a loopback address' },
    });
  }
  return { device, text };
}

const leavesLoopback = (walker: Walker, state: State, device: string): boolean =>
  state.family === 4 && intersect(state.source, loopback4).length > 0 && interfaceSetting(walker.node.host, 'route_localnet', { family: 4, device }) !== 1;

/** The end of a packet that leaves the node. A client that is its own endpoint drops a packet from its own address, unless the node has replaced the address. */
export function sendOn(walker: Walker, state: State, route: string): void {
  const isHairpin = isTranslated(state) && state.nat === undefined && state.direction === 'original';
  const others = isHairpin ? dropSources(walker, state, { set: state.destination, decider: hairpin }) : [state];
  for (const each of others) end(walker, each, { verdict: 'forward', decider: each.dnatBy ?? { by: 'route', text: route } });
}

const hairpin: Decider = { by: 'route', text: 'the endpoint is the client itself and its address is not replaced (hairpin)' };

/** The end of a packet of the node itself that goes to another machine, which drops it if it comes from a loopback address. */
export function sendAway(walker: Walker, state: State, route: string): void {
  const keepsSource = state.nat === undefined && state.direction === 'original';
  const valid = keepsSource ? dropSources(walker, state, { set: loopback(state.family), decider: fromLoopback }) : [state];
  for (const each of valid) end(walker, each, { verdict: 'forward', decider: each.dnatBy ?? { by: 'route', text: route } });
}

const fromLoopback: Decider = { by: 'route', text: 'the source is a loopback address and is not replaced, so that the endpoint drops it' };
