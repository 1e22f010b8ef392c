// Walks packets through IPVS: those for a virtual service are given a real server, and leave the hook for it unless the server is on the node itself.
import { formatAddress, intersect, single } from '../model/address.ts';
import type { Decider } from '../model/outcome.ts';
import { type RouteAnswer, routeTo } from './host.ts';
import { choicesOf, type IpvsConnection, ipvsDecider, keepsConntrack, serverPort, virtualServiceFor } from './ipvs.balance.ts';
import type { IpvsServer } from './ipvs.parse.ts';
import { aloneText } from './ipvs.text.ts';
import type { NodeState } from './node.ts';
import { type State, visited } from './packet.ts';
import type { Hook } from './rule.ts';
import { isLocal, loopback, type WayOut } from './walk.routing.ts';
import { dropSources, end, type Walker } from './walker.ts';

/** A branch after IPVS. With a way out: it has left the hook for a server of another machine, and meets output and postrouting next. */
export interface Balanced {
  readonly state: State;
  readonly out?: WayOut;
}

/** Packets for a virtual service, one branch for each server that may get them; others as they were. Branches without a server end here. */
export function* balanced(walker: Walker, hook: Hook, state: State): Iterable<Balanced> {
  if (state.direction === 'reply' || state.ipvs?.pending === false) return yield { state };
  if (state.ipvs !== undefined) {
    const { ipvs } = state;
    return yield* sendToServer(walker, hook, { ...state, ...(ipvs.untracked ? { conntrack: 'untracked' } : {}), ipvs: { ...ipvs, pending: false } });
  }
  const service = state.tcpFlags === undefined && state.sctpChunk === undefined ? virtualServiceFor(walker.node, state) : undefined;
  if (service === undefined) return yield { state };
  const virtual = { destination: state.destination, destinationPort: state.destinationPort };
  for (const choice of choicesOf(service, walker.node)) {
    const decider = ipvsDecider(service, choice.kind === 'server' ? choice.server : undefined);
    const assumptions = choice.certain ? state.assumptions : [...state.assumptions, { decider, matched: true }];
    const chosen = { ...state, assumptions, weight: state.weight * choice.weight };
    if (choice.kind === 'nobody') {
      end(walker, chosen, { verdict: 'reject', rejectWith: state.family === 4 ? 'icmp-port-unreachable' : 'icmp6-port-unreachable', decider });
    } else {
      for (const each of tracked(walker, chosen, { service, server: choice.server, virtual })) yield* sendToServer(walker, hook, each);
    }
  }
}

/** A packet that belongs to an IPVS connection. */
type BalancedState = State & { readonly ipvs: IpvsConnection };

/** The packet as a member of an IPVS connection. Without net.ipv4.vs.conntrack it is not tracked from here on. */
function tracked(walker: Walker, state: State, connection: Omit<IpvsConnection, 'pending' | 'untracked'>): readonly BalancedState[] {
  const kept = keepsConntrack(walker.node);
  const setting: Decider = { by: 'sysctl', text: 'net.ipv4.vs.conntrack, which was not read' };
  return (kept === undefined ? [true, false] : [kept]).map((keeps) => ({
    ...state,
    ...(keeps ? {} : { conntrack: 'untracked' }),
    ipvs: { ...connection, untracked: !keeps, pending: false },
    assumptions: kept === undefined ? [...state.assumptions, { decider: setting, matched: keeps }] : state.assumptions,
  }));
}

/** Sends a packet to its real server: through output and postrouting, never through forward. A server on the node itself takes it at once. */
function* sendToServer(walker: Walker, hook: Hook, state: BalancedState): Iterable<Balanced> {
  const { service, server } = state.ipvs;
  const decider = ipvsDecider(service, server);
  const effect = server.method === 'masquerade' ? 'to the real server' : `to the real server, destination unchanged (${server.method})`;
  const chosen = visited({ ...state, dnatBy: decider }, { kind: 'rule', decider, effect, certain: true }, walker.options);
  if (server.family !== state.family) return end(walker, chosen, { verdict: 'unknown', decider });
  const answer = routeTo(walker.node.host, server.address, { family: server.family, mark: 0 });
  const translated = server.method === 'masquerade' ? { ...chosen, destination: single(server.address), destinationPort: serverPort(state.ipvs) } : chosen;
  if (isLocal(answer)) {
    if (hook === 'input' && isLoopback(translated, server)) {
      return end(walker, translated, { verdict: 'drop', decider: { by: 'ipvs', text: `${decider.text}: a loopback address` } });
    }
    return yield { state: translated };
  }
  // A connection of the node itself that comes to IPVS only around loopback is in the kernel's tables already, and its answers are not recognised.
  if (hook === 'input' && state.iif === 'lo') return end(walker, translated, { verdict: 'unknown', decider });
  const out = serverRoute(walker, translated, { server, answer });
  if (out === undefined) return;
  const remote: Decider = { by: 'ipvs', text: `${decider.text}: packets with a loopback source cannot be sent to another machine` };
  for (const valid of dropSources(walker, translated, { set: loopback(state.family), decider: remote })) {
    yield { state: server.method === 'tunnel' ? encapsulated(walker.node, valid, { device: out.device, server }) : valid, out };
  }
}

/** Clients of other machines are never sent to a loopback address. */
const isLoopback = (state: State, server: IpvsServer): boolean =>
  server.method === 'masquerade' && intersect(state.destination, loopback(state.family)).length > 0;

/** The device towards a server. IPVS asks for the route of the address alone; without one the client is told that the host cannot be reached. */
function serverRoute(walker: Walker, state: State, to: { readonly server: IpvsServer; readonly answer: RouteAnswer }): WayOut | undefined {
  const { answer } = to;
  if (answer.kind === 'unknown') return end(walker, state, { verdict: 'unknown', decider: { by: 'route', text: answer.reason } });
  if (answer.kind === 'route' && answer.route.type === 'unicast' && answer.route.device !== undefined) {
    return { device: answer.route.device, text: answer.route.text };
  }
  const alone = !walker.node.host.routes.some(({ family, gateway }) => family === state.family && gateway !== undefined);
  const nowhere = `no route to ${formatAddress(state.family, to.server.address)}${alone ? `: ${aloneText}` : ''}`;
  const text = answer.kind === 'none' ? nowhere : answer.kind === 'rule' ? `ip rule ${answer.rule.text}` : answer.route.text;
  const rejectWith = state.family === 4 ? 'icmp-host-unreachable' : 'icmp6-addr-unreachable';
  return end(walker, state, { verdict: 'reject', rejectWith, decider: { by: 'route', text } });
}

/** A packet inside a packet from the node to the server: rules see the outer one. */
function encapsulated(node: NodeState, state: State, to: { readonly device: string; readonly server: IpvsServer }): State {
  const own = node.host.interfaces.find(({ name }) => name === to.device)?.addresses.find(({ family }) => family === state.family);
  const outer = { protocol: state.family === 4 ? 4 : 41, sourcePort: undefined, destinationPort: undefined, destination: single(to.server.address) };
  return { ...state, ...outer, source: own === undefined ? state.source : single(own.value) };
}

/** Where IPVS gives the answer of a masqueraded real server the address of the virtual service again, by hook. */
const replyPriorities: Readonly<Partial<Record<Hook, number>>> = { input: 98, output: -99, forward: 100 };

/** An answer of a masqueraded real server, as it is from a priority of a hook on. */
export function fromVirtual(state: State, hook: Hook, priority: number): State {
  const { ipvs } = state;
  const from = replyPriorities[hook];
  if (state.direction === 'original' || ipvs?.pending !== true || from === undefined || priority < from) return state;
  return { ...state, source: ipvs.virtual.destination, sourcePort: ipvs.virtual.destinationPort, ipvs: { ...ipvs, pending: false } };
}
