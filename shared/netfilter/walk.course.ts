// The course of packets from hook to hook: into the node, through it and out of it, as far as a socket, another machine or a refusal.
import { formatAddress, formatEndpoint } from '../model/address.ts';
import { type Protocol, protocolNumbers } from '../model/fact.ts';
import type { Decider } from '../model/outcome.ts';
import { goesToEndpoint, transferred } from './alike.ts';
import { forwardingSetting, isBridgedBack, isFilteredBridge, knowsSctp, listenersFor } from './host.ts';
import type { NodeState } from './node.ts';
import { type State, visited } from './packet.ts';
import { noteSocket } from './visits.ts';
import { atHook, atIngress } from './walk.hooks.ts';
import { isLocal, outDevice, type Routed, reversePathFilter, routed, sendAway, sendOn, type WayOut, withoutMartians } from './walk.routing.ts';
import { end, type Walker } from './walker.ts';

/** A packet from outside: ingress, prerouting, the routing decision, then in or through. */
export function arrive(walker: Walker, start: State): void {
  for (const state of arrived(walker, start)) asBefore(walker, state, routeIn);
}

/** A packet of a process on the node: output, the routing decision again, postrouting, and perhaps back in over loopback. */
export function leave(walker: Walker, start: State): void {
  for (const sent of left(walker, start)) asBefore(walker, sent, routeOut);
}

/** The branches of a connection's first packet at the routing decision; those that came to their end before are among the walker's. */
export const beforeRouting = (walker: Walker, start: State): readonly State[] =>
  walker.packet.vantage === 'node' ? left(walker, start) : arrived(walker, start);

/** The rest of the way of such branches. */
export function fromRouting(walker: Walker, states: readonly State[]): void {
  for (const state of states) asBefore(walker, state, walker.packet.vantage === 'node' ? routeOut : routeIn);
}

const arrived = (walker: Walker, start: State): readonly State[] => atHook(walker, 'prerouting', atIngress(walker, start));

function left(walker: Walker, start: State): readonly State[] {
  const states: State[] = [];
  for (const part of routed(walker, start)) {
    const out = isLocal(part.answer) ? { device: 'lo' } : outDevice(walker, part);
    if (out === undefined) continue;
    for (const sent of atHook(walker, 'output', [{ ...part.state, oif: out.device }])) states.push(sent);
  }
  return states;
}

/** Branches that nothing tells apart from one that was walked before end as it did. */
function asBefore(walker: Walker, state: State, route: (walker: Walker, state: State) => void): void {
  const { ways, budget, ended } = walker;
  if (ways === undefined || !goesToEndpoint(state)) return route(walker, state);
  const known = ways.find(state);
  if (known !== undefined && known.rules < budget.rules) {
    budget.rules -= known.rules;
    for (const model of known.ended) ended.push(transferred(model, known, state));
    return;
  }
  const [first, rules] = [ended.length, budget.rules];
  route(walker, state);
  ways.keep({ start: state, ended: ended.slice(first), rules: rules - budget.rules });
}

/** The routing decision for a packet that came in. */
function routeIn(walker: Walker, state: State): void {
  for (const valid of withoutMartians(walker, state)) {
    for (const part of routed(walker, valid)) {
      if (isLocal(part.answer)) for (const checked of reversePathFilter(walker, part.state)) deliver(walker, checked);
      else forward(walker, part);
    }
  }
}

/** Local delivery: input, then a socket or a refusal. */
function deliver(walker: Walker, state: State): void {
  const here = walker.options.traced ? visited(state, { kind: 'route', text: 'to the node itself' }, walker.options) : state;
  for (const accepted of atHook(walker, 'input', [here])) toSocket(walker, accepted);
}

function toSocket(walker: Walker, state: State): void {
  const { host } = walker.node;
  const protocol = protocolName(state.protocol);
  const [address] = state.destination;
  if (state.direction === 'reply') return end(walker, state, { verdict: 'local', decider: { by: 'socket', text: 'the socket of the client' } });
  if (protocol === undefined || address === undefined || state.destinationPort === undefined) {
    return end(walker, state, { verdict: 'local', decider: { by: 'socket', text: `IP protocol ${state.protocol} of the node itself` } });
  }
  const place = `${formatEndpoint(state.family, address.lo, state.destinationPort)}/${protocol}`;
  if (!host.known.listeners) {
    const text = `the packet reaches the node's own stack at ${place}, and its sockets were not read`;
    return end(walker, state, { verdict: 'unknown', decider: { by: 'socket', text } });
  }
  noteSocket(protocol, state.destinationPort);
  const sockets = listenersFor(host, { protocol, family: state.family, address: address.lo, port: state.destinationPort });
  const names = sockets.flatMap((socket) => socket.processes.map((process) => `${process.comm}, pid ${process.pid}`)).join('; ');
  const lacksProtocol = protocol === 'sctp' && !knowsSctp(host);
  const text =
    sockets.length > 0
      ? `a process listens on ${place}${names === '' ? '' : `: ${names}`}`
      : `nothing listens on ${place}${lacksProtocol ? ', and the kernel has no SCTP' : ''}`;
  end(walker, state, { verdict: sockets.length > 0 ? 'local' : 'refused', decider: { by: 'socket', text } });
}

const protocolName = (number: number): Protocol | undefined => (Object.keys(protocolNumbers) as Protocol[]).find((name) => protocolNumbers[name] === number);

/** Forwarding: the setting of the incoming interface, the route out, forward, postrouting. */
function forward(walker: Walker, part: Routed): void {
  const { state } = part;
  const setting = forwardingSetting(walker.node.host, state.family, state.iif);
  const off: Decider | undefined = setting?.on === false && !staysOnBridge(walker.node, part) ? { by: 'sysctl', text: `${setting.name} = 0` } : undefined;
  const lost = lostOnBridge(walker.node, part);
  if (lost !== undefined) return end(walker, state, { verdict: 'drop', decider: { by: 'route', text: lost } });
  // IPv6 looks at the setting when it has a way out only.
  if (off !== undefined && state.family === 4) return end(walker, state, { verdict: 'drop', decider: off });
  const out = outDevice(walker, part);
  if (out === undefined) return;
  if (off !== undefined) return end(walker, state, { verdict: 'drop', decider: off });
  for (const checked of reversePathFilter(walker, state)) {
    const leaving = routedBy(walker, { ...checked, oif: out.device }, out);
    for (const forwarded of atHook(walker, 'forward', [leaving])) {
      for (const sent of atHook(walker, 'postrouting', [forwarded])) sendOn(walker, sent, out.text);
    }
  }
}

/** On the bridge IPv6 does not ask for the setting of forwarding. */
const staysOnBridge = ({ host }: NodeState, { state, answer }: Routed): boolean =>
  state.family === 6 && answer.kind === 'route' && isBridgedBack(host, state, answer.route.device);

/** What came through a bridge and is translated to an IPv6 address that no route leads to is gone without a word (br_nf_pre_routing_finish_ipv6). */
function lostOnBridge({ host }: NodeState, { state: { family, dnat, iif, destination }, answer }: Routed): string | undefined {
  const leads = answer.kind === 'unknown' || (answer.kind === 'route' && answer.route.type === 'unicast');
  if (family === 4 || !dnat || iif === undefined || leads || !isFilteredBridge(host, family, iif)) return undefined;
  return `no route to ${destination[0] === undefined ? 'the destination' : formatAddress(family, destination[0].lo)}, which the bridge ${iif} tells nobody`;
}

const routedBy = (walker: Walker, state: State, out: WayOut): State =>
  walker.options.traced ? visited(state, { kind: 'route', text: `forwarded by ${out.text}` }, walker.options) : state;

function routeOut(walker: Walker, state: State): void {
  for (const part of routed(walker, state, state.routedBy ?? 0)) {
    const local = isLocal(part.answer);
    const out = local ? { device: 'lo', text: 'to the node itself' } : outDevice(walker, part);
    if (out === undefined) continue;
    const leaving = visited({ ...part.state, oif: out.device }, { kind: 'route', text: out.text }, walker.options);
    for (const sent of atHook(walker, 'postrouting', [leaving])) {
      if (!local) sendAway(walker, sent, out.text);
      else for (const back of atHook(walker, 'prerouting', [{ ...sent, iif: 'lo', oif: undefined }])) deliver(walker, back);
    }
  }
}
