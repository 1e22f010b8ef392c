// Walks a set of first packets through the node as the kernel would: hooks in order, NAT, the routing decision, local delivery or forwarding, and the answer
// back. Every outcome says certain or "unless rule R matches"; what was not read is never taken for healthy.
import { limits } from '../limits.ts';
import { everything, type Family, formatAddress, type IntervalSet, intersect, single, size, subtract, union } from '../model/address.ts';
import { type Protocol, protocolNumbers } from '../model/fact.ts';
import type { Decider, Outcome } from '../model/outcome.ts';
import { goesToEndpoint, speaksForAll, transferred, waysOf } from './alike.ts';
import { type ChainRun, coalesce, type Ended, type Run, runChain } from './chains.ts';
import { conntrackPriority, hasTies, ingressChains, type Stop, stopsOf, type TieOrder } from './hooks.ts';
import {
  forwardingSetting,
  type Host,
  interfaceOfAddress,
  interfaceSetting,
  isFilteredBridge,
  knowsSctp,
  listenersFor,
  type RouteAnswer,
  routeDestinations,
  routeTo,
} from './host.ts';
import { choicesOf, type IpvsConnection, ipvsDecider, keepsConntrack, serverPort, virtualServiceFor } from './ipvs.balance.ts';
import type { IpvsServer } from './ipvs.parse.ts';
import { aloneText } from './ipvs.text.ts';
import type { NodeState } from './node.ts';
import { eitherWay, outcomesOf, sameOutcomes } from './outcomes.ts';
import { isTranslated, type Packet, type State, type Station, visited } from './packet.ts';
import type { Hook } from './rule.ts';
import type { BaseChain, Chain, Table } from './ruleset.ts';
import { chunk } from './sctp.ts';
import { natAddress } from './translate.ts';

export interface WalkOptions {
  /** Keep every station of every branch. */
  readonly traced: boolean;
  /** Also walk the answer back to the client. */
  readonly reply: boolean;
}

export interface Walk {
  readonly outcomes: readonly Outcome[];
  /** The branches with their stations, when traced; in the order of the outcomes' discovery. */
  readonly branches: readonly { readonly stations: readonly Station[]; readonly outcome: Outcome }[];
}

/** Walks first packets of connections. Pure: the same node and packet give the same answer. */
export function walk(node: NodeState, packet: Packet, options: WalkOptions): Walk {
  const walked = walkOnce(node, packet, { ...options, ties: 'dumped' });
  if (!hasTies(node, packet.family)) return walked;
  const otherwise = walkOnce(node, packet, { ...options, ties: 'reversed' });
  return sameOutcomes(walked, otherwise) ? walked : eitherWay(walked, otherwise);
}

function walkOnce(node: NodeState, packet: Packet, options: WalkOptions & { readonly ties: TieOrder }): Walk {
  const { ties, ...shown } = options;
  const walker: Walker = { node, packet, options: shown, ties, ended: [], budget: { rules: limits.walkRulesMax, branches: limits.walkBranchesMax } };
  const start = firstState(node, packet);
  if (packet.vantage === 'node') leave(walker, start);
  else arrive(walker, start);
  return outcomesOf(walker.ended, { packet, node, options: shown, sequels: options.reply ? sequelsOf(walker) : undefined });
}

/** One walk in progress; branches that came to their end gather in `ended`. */
interface Walker {
  readonly node: NodeState;
  readonly packet: Packet;
  readonly options: WalkOptions;
  readonly ties: TieOrder;
  readonly ended: Ended[];
  readonly budget: { rules: number; branches: number };
}

function firstState(node: NodeState, packet: Packet): State {
  const destination = single(packet.destination);
  return {
    family: packet.family,
    protocol: packet.protocol,
    source: packet.sources,
    destination,
    sourcePort: packet.sourcePort,
    destinationPort: packet.destinationPort,
    iif: packet.vantage === 'node' ? undefined : (packet.iif ?? incomingInterface(node, packet)),
    oif: undefined,
    mark: 0,
    connmark: 0,
    conntrack: 'new',
    direction: 'original',
    settled: { destination: false, source: false },
    dnat: false,
    dnatBy: undefined,
    nat: undefined,
    original: { source: packet.sources, destination, destinationPort: packet.destinationPort, sourcePort: packet.sourcePort },
    weight: 1,
    assumptions: [],
    path: undefined,
  };
}

/** The interface that packets from outside come in by: the one towards the client, else that of the address they are sent to. */
function incomingInterface(node: NodeState, packet: Packet): string | undefined {
  const [first] = packet.sources;
  if (first !== undefined && (size(packet.sources) === 1n || packet.vantage === 'pod')) {
    const back = routeTo(node.host, packet.family, first.lo, { mark: 0 });
    if (back.kind === 'route' && back.route.device !== undefined && back.route.type === 'unicast') return back.route.device;
  }
  const own = interfaceOfAddress(node.host, packet.family, packet.destination);
  if (own !== undefined && !own.loopback && own.kind !== 'dummy') return own.name;
  const out = node.host.routes.find((route) => route.family === packet.family && route.length === 0 && route.type === 'unicast' && route.table === 'main');
  return out?.device ?? node.host.interfaces.find((device) => !device.loopback && device.up)?.name;
}

/** A packet from outside: ingress, prerouting, the routing decision, then in or through. */
function arrive(walker: Walker, start: State): void {
  let states: readonly State[] = [start];
  for (const { isCertain, ...chain } of ingressChains(walker.node, start.iif)) {
    const decider: Decider = { by: 'rule', text: `the chain ${chain.chain.name}, of which the listing does not tell the interface` };
    const assumed = (state: State, matched: boolean): State => (isCertain ? state : { ...state, assumptions: [...state.assumptions, { decider, matched }] });
    const through = states.flatMap((state) => throughChain(walker, 'ingress', { ...chain, state: assumed(state, true) }));
    states = isCertain ? through : coalesce([...through, ...states.map((state) => assumed(state, false))]);
  }
  for (const state of atHook(walker, 'prerouting', states)) routeAsBefore(walker, state);
}

/** Branches that nothing tells apart from one that was walked before end as it did. */
function routeAsBefore(walker: Walker, state: State): void {
  const { node, packet, ties, options, budget, ended } = walker;
  const ways = options.traced || !goesToEndpoint(state) ? undefined : waysOf(node, `${packet.vantage} ${ties}`);
  if (ways === undefined) return routeIn(walker, state);
  const known = ways.find(state);
  if (known !== undefined && known.rules < budget.rules) {
    budget.rules -= known.rules;
    for (const model of known.ended) {
      const copy = transferred(model, known, state);
      models.set(copy, model);
      ended.push(copy);
    }
    return;
  }
  const [first, rules] = [ended.length, budget.rules];
  routeIn(walker, state);
  const way = { start: state, ended: ended.slice(first), rules: rules - budget.rules };
  for (const end of way.ended) models.set(end, end);
  ways.keep(way);
}

/** The end of an alike branch that an end was made from. */
const models = new WeakMap<Ended, Ended>();

/** The routing decision for a packet that came in. */
function routeIn(walker: Walker, state: State): void {
  for (const valid of withoutMartians(walker, state)) {
    for (const part of routed(walker, valid)) {
      if (part.answer.kind === 'route' && isLocalType(part.answer.route.type)) {
        for (const checked of reversePathFilter(walker, part.state)) deliver(walker, checked);
      } else forward(walker, part.state, part.answer);
    }
  }
}

const isLocalType = (type: string): boolean => type === 'local' || type === 'broadcast' || type === 'anycast';

function routed(walker: Walker, state: State, mark = state.mark): readonly { readonly state: State; readonly answer: RouteAnswer }[] {
  const query = { mark, source: state.source, ...(state.iif === undefined ? {} : { iif: state.iif }) };
  const [only] = state.destination;
  if (only !== undefined && state.destination.length === 1 && only.lo === only.hi) {
    return [{ state, answer: routeTo(walker.node.host, state.family, only.lo, query) }];
  }
  return routeDestinations(walker.node.host, state.family, state.destination, query).map(({ set, answer }) => ({
    state: state.direction === 'reply' ? { ...state, destination: set, original: { ...state.original, source: set } } : { ...state, destination: set },
    answer,
  }));
}

/** Sources that no packet may have, and loopback addresses that came from outside: dropped before anything else. */
function withoutMartians(walker: Walker, state: State): readonly State[] {
  if (state.iif === 'lo') return [state];
  if (state.family === 6) return withoutLoopback6(walker, state);
  const { host } = walker.node;
  const localnet = interfaceSetting(host, 4, state.iif, 'route_localnet') === 1;
  const loopback: IntervalSet = [{ lo: 0x7f000000n, hi: 0x7fffffffn }];
  if (!localnet && intersect(state.destination, loopback).length > 0) {
    end(walker, state, { verdict: 'drop', decider: { by: 'sysctl', text: 'net.ipv4.conf.all.route_localnet = 0 and the destination is a loopback address' } });
    return [];
  }
  const never = union(
    [
      { lo: 0n, hi: 0xffffffn },
      { lo: 0xe0000000n, hi: 0xefffffffn },
      { lo: 0xffffffffn, hi: 0xffffffffn },
    ],
    localnet ? [] : loopback,
  );
  return split(walker, state, { set: never, decider: { by: 'route', text: 'a source address that no packet may have (martian source)' } });
}

/** IPv6 has no setting that lets loopback addresses in: an answer whose translation back gives ::1 is lost as well. */
function withoutLoopback6(walker: Walker, state: State): readonly State[] {
  if (intersect(state.destination, single(1n)).length === 0) return [state];
  end(walker, state, { verdict: 'drop', decider: { by: 'route', text: 'nothing that comes from another machine is delivered to ::1' } });
  return [];
}

/** Drops the packets of some sources and goes on with the others. */
function split(walker: Walker, state: State, away: { readonly set: IntervalSet; readonly decider: Decider }): readonly State[] {
  const dropped = intersect(state.source, away.set);
  if (dropped.length === 0) return [state];
  end(walker, withSource(state, dropped), { verdict: 'drop', decider: away.decider });
  const kept = subtract(state.source, away.set);
  return kept.length === 0 ? [] : [withSource(state, kept)];
}

const withSource = (state: State, source: IntervalSet): State =>
  state.direction === 'original' ? { ...state, source, original: { ...state.original, source } } : { ...state, source };

/** rp_filter: strict (1) wants the route back to the client to leave by the interface it came in by, loose (2) wants any route. The larger of all and interface. */
function reversePathFilter(walker: Walker, state: State): readonly State[] {
  if (state.family !== 4 || state.iif === undefined || state.iif === 'lo') return [state];
  const { host } = walker.node;
  const own = routeDestinations(host, 4, state.source, { mark: 0 }).filter(({ answer }) => answer.kind === 'route' && answer.route.type === 'local');
  const acceptLocal = interfaceSetting(host, 4, state.iif, 'accept_local') === 1;
  const foreign = acceptLocal
    ? [state]
    : split(walker, state, {
        set: union(...own.map((part) => part.set)),
        decider: { by: 'route', text: 'the source is an address of this node (martian source)' },
      });
  const setting = interfaceSetting(host, 4, state.iif, 'rp_filter') ?? 0;
  if (setting === 0) return foreign;
  return foreign.flatMap((each) => {
    const parts = routeDestinations(host, 4, each.source, { mark: 0, source: each.destination });
    for (const { answer } of parts)
      if (answer.kind === 'unknown') return end(walker, each, { verdict: 'unknown', decider: { by: 'route', text: answer.reason } }) ?? [];
    const leads = (answer: RouteAnswer): boolean => answer.kind === 'route' && (answer.route.type === 'unicast' || answer.route.type === 'local');
    const wrong = parts.filter(({ answer }) => !leads(answer) || (setting === 1 && answer.kind === 'route' && answer.route.device !== each.iif));
    return split(walker, each, { set: union(...wrong.map((part) => part.set)), decider: { by: 'sysctl', text: reversePathText(host, each.iif, setting) } });
  });
}

function reversePathText(host: Host, device: string | undefined, setting: number): string {
  const own = `net.ipv4.conf.${device}.rp_filter`;
  const name = host.sysctls.get(own) === String(setting) ? own : 'net.ipv4.conf.all.rp_filter';
  return `${name} = ${setting} and the route back to the client ${setting === 1 ? `does not leave by ${device}` : 'does not exist'}`;
}

/** Local delivery: input, then a socket or a refusal. */
function deliver(walker: Walker, state: State): void {
  for (const accepted of atHook(walker, 'input', [visited(state, { kind: 'route', text: 'to the node itself' }, walker.options)])) toSocket(walker, accepted);
}

function toSocket(walker: Walker, state: State): void {
  const { host } = walker.node;
  const protocol = protocolName(state.protocol);
  const [address] = state.destination;
  if (state.direction === 'reply') {
    end(walker, state, { verdict: 'local', decider: { by: 'socket', text: 'the socket of the client' } });
    return;
  }
  if (protocol === undefined || address === undefined || state.destinationPort === undefined) {
    end(walker, state, { verdict: 'local', decider: { by: 'socket', text: `IP protocol ${state.protocol} of the node itself` } });
    return;
  }
  const place = `${endpointText(state.family, address.lo, state.destinationPort)}/${protocol}`;
  if (!host.known.listeners) {
    end(walker, state, {
      verdict: 'unknown',
      decider: { by: 'socket', text: `the packet reaches the node's own stack at ${place}, and its sockets were not read` },
    });
    return;
  }
  const sockets = listenersFor(host, protocol, state.family, address.lo, state.destinationPort);
  const names = sockets.flatMap((socket) => socket.processes.map((process) => `${process.comm}, pid ${process.pid}`)).join('; ');
  const text =
    sockets.length > 0
      ? `a process listens on ${place}${names === '' ? '' : `: ${names}`}`
      : `nothing listens on ${place}${protocol === 'sctp' && !knowsSctp(host) ? ', and the kernel has no SCTP' : ''}`;
  end(walker, state, { verdict: sockets.length > 0 ? 'local' : 'refused', decider: { by: 'socket', text } });
}

const protocolName = (number: number): Protocol | undefined => (Object.keys(protocolNumbers) as Protocol[]).find((name) => protocolNumbers[name] === number);

/** `ADDRESS:PORT`, IPv6 in brackets. */
export function endpointText(family: Family, address: bigint, port: number | undefined): string {
  const text = formatAddress(family, address);
  return `${family === 6 ? `[${text}]` : text}:${port ?? '*'}`;
}

/** What is translated to an address behind the bridge that it came through stays on the bridge (br_netfilter), where IPv6 does not ask for the setting. */
const isBridgedBack = (host: Host, { dnat, iif, family }: State, answer: RouteAnswer): boolean =>
  family === 6 && dnat && iif !== undefined && answer.kind === 'route' && answer.route.device === iif && isFilteredBridge(host, family, iif);

/** Forwarding: the setting of the incoming interface, the route out, forward, postrouting. */
function forward(walker: Walker, state: State, answer: RouteAnswer): void {
  const setting = forwardingSetting(walker.node.host, state.family, state.iif);
  const isOff = (): boolean => {
    if (isBridgedBack(walker.node.host, state, answer)) return false;
    if (setting?.on === false) end(walker, state, { verdict: 'drop', decider: { by: 'sysctl', text: `${setting.name} = 0` } });
    return setting?.on === false;
  };
  // IPv6 looks at the setting when it has a way out only.
  if (state.family === 4 && isOff()) return;
  const out = outDevice(walker, state, answer);
  if (out === undefined || (state.family === 6 && isOff())) return;
  for (const checked of reversePathFilter(walker, state)) {
    const leaving = visited({ ...checked, oif: out.device }, { kind: 'route', text: `forwarded by ${out.text}` }, walker.options);
    for (const forwarded of atHook(walker, 'forward', [leaving])) {
      for (const sent of atHook(walker, 'postrouting', [forwarded])) sendOn(walker, sent, out.text);
    }
  }
}

/** A client that is its own endpoint sees a packet from its own address, and drops it, unless the node has replaced the address. */
function sendOn(walker: Walker, state: State, route: string): void {
  const decider: Decider = { by: 'route', text: 'the endpoint is the client itself and its address is not replaced (hairpin)' };
  const others =
    isTranslated(state) && state.nat === undefined && state.direction === 'original' ? split(walker, state, { set: state.destination, decider }) : [state];
  for (const each of others) end(walker, each, { verdict: 'forward', decider: each.dnatBy ?? { by: 'route', text: route } });
}

/** The device that a route leaves by; a route that leads nowhere ends the branch with the error that the kernel answers. */
function outDevice(walker: Walker, state: State, answer: RouteAnswer): { readonly device: string; readonly text: string } | undefined {
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
  const loopbackSource = state.family === 4 && intersect(state.source, [{ lo: 0x7f000000n, hi: 0x7fffffffn }]).length > 0;
  if (loopbackSource && device !== 'lo' && interfaceSetting(walker.node.host, 4, device, 'route_localnet') !== 1) {
    return end(walker, state, {
      verdict: 'drop',
      decider: { by: 'sysctl', text: 'net.ipv4.conf.all.route_localnet = 0 and the client uses a loopback address' },
    });
  }
  return { device, text };
}

/** A packet of a process on the node: output, the routing decision again, postrouting, and perhaps back in over loopback. */
function leave(walker: Walker, start: State): void {
  for (const part of routed(walker, start)) {
    const local = part.answer.kind === 'route' && isLocalType(part.answer.route.type);
    const out = local ? { device: 'lo', text: 'the node itself' } : outDevice(walker, part.state, part.answer);
    if (out === undefined) continue;
    for (const sent of atHook(walker, 'output', [{ ...part.state, oif: out.device }])) routeOut(walker, sent);
  }
}

function routeOut(walker: Walker, state: State): void {
  for (const part of routed(walker, state, state.routedBy ?? 0)) {
    const local = part.answer.kind === 'route' && isLocalType(part.answer.route.type);
    const out = local ? { device: 'lo', text: 'to the node itself' } : outDevice(walker, part.state, part.answer);
    if (out === undefined) continue;
    const leaving = visited({ ...part.state, oif: out.device }, { kind: 'route', text: out.text }, walker.options);
    for (const sent of atHook(walker, 'postrouting', [leaving])) {
      if (!local) sendAway(walker, sent, out.text);
      else for (const back of atHook(walker, 'prerouting', [{ ...sent, iif: 'lo', oif: undefined }])) deliver(walker, back);
    }
  }
}

/** A packet of the node on its way to another machine, which drops it if it comes from a loopback address. */
function sendAway(walker: Walker, state: State, route: string): void {
  const decider: Decider = { by: 'route', text: 'the source is a loopback address and is not replaced, so that the endpoint drops it' };
  const keepsSource = state.nat === undefined && state.direction === 'original';
  const valid = keepsSource ? split(walker, state, { set: loopbackSources(state.family), decider }) : [state];
  for (const each of valid) end(walker, each, { verdict: 'forward', decider: each.dnatBy ?? { by: 'route', text: route } });
}

/** Runs states through all stops of a hook in order. */
function atHook(walker: Walker, hook: Hook, states: readonly State[]): readonly State[] {
  let live = states;
  let beforeConntrack = hook === 'prerouting' || hook === 'output';
  for (const stop of stopsOf(walker.node, walker.packet.family, { hook, ties: walker.ties })) {
    if (live.length === 0) break;
    if (isIdle(stop) && !walker.options.traced) continue;
    live = live.map((state) => undone(state, hook, stop.priority));
    if (stop.kind === 'conntrack') beforeConntrack = false;
    else
      live = coalesce(
        live.flatMap((state) =>
          atStop(walker, hook, {
            stop,
            state,
            beforeConntrack:
              beforeConntrack && state.iif !== 'lo' && state.attached !== true && state.ipvs?.pending !== false && stop.priority < conntrackPriority,
          }),
        ),
      );
  }
  return live.map((state) => undone(state, hook, Number.POSITIVE_INFINITY)).filter((state) => !isOrphaned(walker, state));
}

/** A chain that lets everything pass: most tables of a node have nothing in theirs. */
const isIdle = (stop: Stop): boolean => stop.kind === 'chain' && stop.chain.length === 0 && stop.base.policy === 'accept';

/** An answer that a rule has taken out of tracking keeps its translated addresses: nobody knows it at the other end. */
function isOrphaned(walker: Walker, state: State): boolean {
  if (state.direction === 'original' || state.conntrack !== 'untracked' || state.undo === undefined) return false;
  end(walker, state, { verdict: 'drop', decider: { by: 'rule', text: 'the answer is not tracked (NOTRACK), so that its translation is not undone' } });
  return true;
}

/** An answer as it is after the NAT core has undone a translation, from that core's priority on. */
function undone(translated: State, hook: Hook, priority: number): State {
  const state = fromVirtual(translated, hook, priority);
  if (state.undo === undefined || state.conntrack === 'untracked') return state;
  const { undo, ...rest } = state;
  if (undo.destination !== undefined && (hook === 'prerouting' || hook === 'output') && priority >= natPriorities[hook]) {
    const { destination, destinationPort, ...left } = undo;
    return { ...rest, destination, ...('destinationPort' in undo ? { destinationPort } : {}), ...('source' in left ? { undo: left } : {}) };
  }
  if (undo.source !== undefined && hook === 'postrouting' && priority >= natPriorities[hook])
    return { ...rest, source: undo.source, sourcePort: undo.sourcePort };
  return state;
}

/** An answer of a masqueraded real server, from where IPVS gives it the address of the virtual service again. */
function fromVirtual(state: State, hook: Hook, priority: number): State {
  const { ipvs } = state;
  const from = ipvsReplyPriorities[hook];
  if (state.direction === 'original' || ipvs?.pending !== true || from === undefined || priority < from) return state;
  return { ...state, source: ipvs.virtual.destination, sourcePort: ipvs.virtual.destinationPort, ipvs: { ...ipvs, pending: false } };
}

const ipvsReplyPriorities: Readonly<Partial<Record<Hook, number>>> = { input: 98, output: -99, forward: 100 };

const natPriorities = { prerouting: -100, output: -100, postrouting: 100 } as const;

function atStop(walker: Walker, hook: Hook, at: { readonly stop: Stop; readonly state: State; readonly beforeConntrack: boolean }): readonly State[] {
  const { stop, state } = at;
  if (stop.kind === 'chain') {
    const through = throughChain(walker, hook, { ...stop, state, beforeConntrack: at.beforeConntrack });
    return hook === 'output' && stop.base.type === 'route' ? through.flatMap((each) => (each.mark === state.mark ? [each] : rerouted(walker, each))) : through;
  }
  if (stop.kind === 'ipvs') return balanced(walker, hook, state);
  if (stop.kind !== 'nat') return [state];
  if (state.conntrack !== 'new') return [state];
  // What IPVS sends has been through the destination's translation before IPVS took it.
  if (hook === 'output' && state.ipvs !== undefined) return [state];
  const translated = (each: State): boolean => (hook === 'prerouting' || hook === 'output' ? each.settled.destination : each.settled.source);
  // A packet that came around over loopback has its translations already, if only to what it was; each kind is set up once for a connection.
  if (state.iif === 'lo' && (hook === 'prerouting' || hook === 'input')) return [state];
  let live: readonly State[] = [state];
  for (const chain of stop.chains) live = live.flatMap((each) => (translated(each) ? [each] : throughChain(walker, hook, { ...chain, state: each })));
  if (hook === 'output') return live.flatMap((each) => (each.dnat ? rerouted(walker, each) : [each]));
  return hook === 'prerouting' ? live : live.map((each) => withNatSource(walker.node, each));
}

/** Once its source is replaced a packet shows the new one, from a port that the kernel chose. */
function withNatSource(node: NodeState, state: State): State {
  const source = state.nat === undefined || state.direction === 'reply' ? undefined : natAddress(node.host, state);
  return source === undefined ? state : { ...state, source, sourcePort: undefined };
}

/** A packet of the node that was translated, or marked in a chain of type route, is routed anew at once: one that has no way now ends here. */
function rerouted(walker: Walker, state: State): readonly State[] {
  const hasWay = (part: { readonly state: State; readonly answer: RouteAnswer }): boolean =>
    (part.answer.kind === 'route' && isLocalType(part.answer.route.type)) || outDevice(walker, part.state, part.answer) !== undefined;
  return routed(walker, state).flatMap((part) => (hasWay(part) ? [{ ...part.state, routedBy: part.state.mark }] : []));
}

interface ChainEntry {
  readonly table: Table;
  readonly chain: Chain;
  readonly base: BaseChain;
  readonly state: State;
  readonly beforeConntrack?: boolean;
}

/** A packet that belongs to an IPVS connection. */
type BalancedState = State & { readonly ipvs: IpvsConnection };

/** IPVS: packets for a virtual service go to a real server; those that stay on the node go on in the hook. */
function balanced(walker: Walker, hook: Hook, state: State): readonly State[] {
  if (state.direction === 'reply' || state.ipvs?.pending === false) return [state];
  if (state.ipvs !== undefined) {
    const { ipvs } = state;
    return sendToServer(walker, hook, { ...state, ...(ipvs.untracked ? { conntrack: 'untracked' } : {}), ipvs: { ...ipvs, pending: false } });
  }
  const service = state.tcpFlags === undefined && state.sctpChunk === undefined ? virtualServiceFor(walker.node, state) : undefined;
  if (service === undefined) return [state];
  const virtual = { destination: state.destination, destinationPort: state.destinationPort };
  return choicesOf(service, walker.node).flatMap((choice) => {
    const decider = ipvsDecider(service, choice.kind === 'server' ? choice.server : undefined);
    const assumptions = choice.certain ? state.assumptions : [...state.assumptions, { decider, matched: true }];
    const chosen = { ...state, assumptions, weight: state.weight * choice.weight };
    if (choice.kind === 'nobody') {
      const rejectWith = state.family === 4 ? 'icmp-port-unreachable' : 'icmp6-port-unreachable';
      return end(walker, chosen, { verdict: 'reject', rejectWith, decider }) ?? [];
    }
    return tracked(walker, chosen, { service, server: choice.server, virtual }).flatMap((each) => sendToServer(walker, hook, each));
  });
}

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
function sendToServer(walker: Walker, hook: Hook, state: BalancedState): readonly State[] {
  const { service, server } = state.ipvs;
  const decider = ipvsDecider(service, server);
  const effect = server.method === 'masquerade' ? 'to the real server' : `to the real server, destination unchanged (${server.method})`;
  const chosen = visited({ ...state, dnatBy: decider }, { kind: 'rule', decider, effect, certain: true }, walker.options);
  if (server.family !== state.family) return end(walker, chosen, { verdict: 'unknown', decider }) ?? [];
  const answer = routeTo(walker.node.host, server.family, server.address, { mark: 0 });
  const local = answer.kind === 'route' && isLocalType(answer.route.type);
  const translated = server.method === 'masquerade' ? { ...chosen, destination: single(server.address), destinationPort: serverPort(state.ipvs) } : chosen;
  if (local) return hook === 'input' ? notToLoopback(walker, translated, state.ipvs) : [translated];
  // A connection of the node itself that comes to IPVS only around loopback is in the kernel's tables already, and its answers are not recognised.
  if (hook === 'input' && state.iif === 'lo') return end(walker, translated, { verdict: 'unknown', decider }) ?? [];
  const out = serverRoute(walker, translated, { connection: state.ipvs, answer });
  if (out === undefined) return [];
  const remote: Decider = { by: 'ipvs', text: `${decider.text}: packets with a loopback source cannot be sent to another machine` };
  for (const valid of split(walker, translated, { set: loopbackSources(state.family), decider: remote })) sendOut(walker, valid, { ...out, server });
  return [];
}

const loopbackSources = (family: Family): IntervalSet => (family === 4 ? [{ lo: 0x7f000000n, hi: 0x7fffffffn }] : single(1n));

/** Clients of other machines are never sent to a loopback address. */
function notToLoopback(walker: Walker, state: State, { service, server }: IpvsConnection): readonly State[] {
  if (server.method !== 'masquerade' || intersect(state.destination, loopbackSources(state.family)).length === 0) return [state];
  return end(walker, state, { verdict: 'drop', decider: { by: 'ipvs', text: `${ipvsDecider(service, server).text}: a loopback address` } }) ?? [];
}

/** The device that a packet leaves by, and the route in words. */
interface Way {
  readonly device: string;
  readonly text: string;
}

/** The device towards a server. IPVS asks for the route of the address alone; without one the client is told that the host cannot be reached. */
function serverRoute(walker: Walker, state: State, to: { readonly connection: IpvsConnection; readonly answer: RouteAnswer }): Way | undefined {
  const { answer } = to;
  if (answer.kind === 'unknown') return end(walker, state, { verdict: 'unknown', decider: { by: 'route', text: answer.reason } });
  if (answer.kind === 'route' && answer.route.type === 'unicast' && answer.route.device !== undefined) {
    return { device: answer.route.device, text: answer.route.text };
  }
  const alone = !walker.node.host.routes.some(({ family, gateway }) => family === state.family && gateway !== undefined);
  const nowhere = `no route to ${formatAddress(state.family, to.connection.server.address)}${alone ? `: ${aloneText}` : ''}`;
  const text = answer.kind === 'none' ? nowhere : answer.kind === 'rule' ? `ip rule ${answer.rule.text}` : answer.route.text;
  const rejectWith = state.family === 4 ? 'icmp-host-unreachable' : 'icmp6-addr-unreachable';
  return end(walker, state, { verdict: 'reject', rejectWith, decider: { by: 'route', text } });
}

function sendOut(walker: Walker, state: State, to: Way & { readonly server: IpvsServer }): void {
  const packet = to.server.method === 'tunnel' ? encapsulated(walker.node, state, to) : state;
  const leaving = visited({ ...packet, iif: undefined, oif: to.device }, { kind: 'route', text: to.text }, walker.options);
  for (const sent of atHook(walker, 'output', [leaving])) {
    for (const last of atHook(walker, 'postrouting', [sent])) sendOn(walker, last, to.text);
  }
}

/** A packet inside a packet from the node to the server: rules see the outer one. */
function encapsulated(node: NodeState, state: State, to: { readonly device: string; readonly server: IpvsServer }): State {
  const own = node.host.interfaces.find(({ name }) => name === to.device)?.addresses.find(({ family }) => family === state.family);
  const outer = { protocol: state.family === 4 ? 4 : 41, sourcePort: undefined, destinationPort: undefined, destination: single(to.server.address) };
  return { ...state, ...outer, source: own === undefined ? state.source : single(own.value) };
}

function throughChain(walker: Walker, hook: Hook, entry: ChainEntry): readonly State[] {
  const { table, chain, base } = entry;
  const run: Run = {
    node: walker.node,
    table,
    hook,
    beforeConntrack: entry.beforeConntrack === true || hook === 'ingress',
    traced: walker.options.traced,
    budget: walker.budget,
  };
  const station: Station = { kind: 'chain', hook, priority: base.priority, backend: table.backend, family: table.family, table: table.name, chain: chain.name };
  const result: ChainRun = runChain(run, chain, visited(entry.state, station, run));
  walker.ended.push(...result.ended);
  if (result.through.length === 0) return result.accepted;
  const decider: Decider = {
    by: 'policy',
    family: table.family,
    table: table.name,
    chain: chain.name,
    backend: table.backend,
    text: `policy ${base.policy.toUpperCase()}`,
    ...(chain.counter === undefined ? {} : { packets: chain.counter.packets.toString() }),
  };
  if (base.policy === 'accept') return [...result.accepted, ...result.through];
  for (const state of result.through) end(walker, visited(state, { kind: 'policy', decider }, run), { verdict: 'drop', decider });
  return result.accepted;
}

/** Ends a branch. Returns undefined so that callers can end and leave in one statement. */
function end(walker: Walker, state: State, how: Omit<Ended, 'state'>): undefined {
  walker.ended.push({ state, ...how });
  return undefined;
}

/** What follows the first packet of a branch: the ends of its answers, and of the client's next packet. */
export interface Sequel {
  readonly answers: readonly Ended[];
  readonly later: readonly Ended[];
}

/** The sequels of all branches that are answered at all. */
function sequelsOf(walker: Walker): ReadonlyMap<Ended, Sequel> {
  const sequels = new Map<Ended, Sequel>();
  for (const branch of walker.ended) {
    if (branch.verdict === 'drop' || branch.verdict === 'unknown') continue;
    sequels.set(branch, sequelAsBefore(walker, branch));
  }
  return sequels;
}

/** Alike branches are answered alike, as long as nothing names an address on the way. */
function sequelAsBefore(walker: Walker, branch: Ended): Sequel {
  const model = models.get(branch);
  const known = model === undefined ? undefined : knownSequels.get(model);
  if (known !== undefined) return known;
  const sequel = sequelOf(walker, branch);
  const ends = [...sequel.answers, ...sequel.later];
  const isShared = ends.every(({ verdict, decider }) => verdict === 'forward' || verdict === 'local' || speaksForAll(decider));
  if (model !== undefined && isShared) knownSequels.set(model, sequel);
  return sequel;
}
const knownSequels = new WeakMap<Ended, Sequel>();

function sequelOf(walker: Walker, branch: Ended): Sequel {
  const back = successor(walker);
  const { verdict, state } = branch;
  if (isToldAtOnce(walker, branch)) return { answers: [], later: [] };
  if (isResetByBridge(walker.node, branch)) resetByBridge(back, branch);
  else if (verdict === 'reject' || verdict === 'refused') for (const answer of refusals(walker.node, branch)) leave(back, answer);
  else if (verdict === 'local') leave(back, { ...replyState(walker.node, state), iif: undefined });
  // Servers that IPVS only passes packets on to answer the client themselves.
  else if (!isPassedOn(branch)) arrive(back, replyState(walker.node, state));
  const later = laterPackets(walker, branch);
  if (state.conntrack !== 'untracked' || state.ipvs !== undefined) return { answers: back.ended, later };
  return { answers: back.ended.map(strayed), later: [...later, ...laterAnswers(walker, branch)].map(strayed) };
}

/** A process of the node that has no route is told so by the call that would send, without a packet. */
const isToldAtOnce = ({ packet }: Walker, { verdict, decider, state }: Ended): boolean =>
  packet.vantage === 'node' && verdict === 'reject' && decider.by === 'route' && state.ipvs === undefined;

const isPassedOn = ({ verdict, state: { ipvs } }: Ended): boolean => verdict === 'forward' && ipvs !== undefined && ipvs.server.method !== 'masquerade';

const successor = (walker: Walker): Walker => ({
  ...walker,
  options: { traced: false, reply: false },
  ended: [],
  budget: { ...walker.budget },
});

/** The client's next packet on a TCP connection that stands, or its COOKIE ECHO of SCTP: ESTABLISHED, translated as the first was. */
function laterPackets(walker: Walker, branch: Ended): readonly Ended[] {
  const { state } = branch;
  if ((state.protocol !== 6 && state.protocol !== 132) || (branch.verdict !== 'forward' && branch.verdict !== 'local')) return [];
  const next = successor(walker);
  const { undo: _, ...base } = state;
  const undo = {
    ...(state.dnat ? { destination: state.destination, destinationPort: state.destinationPort, ...state.ipvs?.virtual } : {}),
    ...(state.nat === undefined || state.source === state.original.source ? {} : { source: state.source, sourcePort: state.sourcePort }),
  };
  const packet: State = {
    ...base,
    // Without an entry of its own a later packet begins one, which the kernel takes for a connection that stands already.
    conntrack: isUntracked(state) ? 'new' : state.conntrack === 'new' ? 'established' : state.conntrack,
    ...(state.protocol === 6 ? { tcpFlags: 0x10 } : { sctpChunk: chunk.cookieEcho }),
    mark: 0,
    oif: undefined,
    path: undefined,
    source: state.original.source,
    destination: state.original.destination,
    destinationPort: state.original.destinationPort,
    sourcePort: state.original.sourcePort,
    ...(Object.keys(undo).length === 0 ? {} : { undo }),
    ...(state.ipvs === undefined ? {} : { ipvs: { ...state.ipvs, pending: true }, source: state.original.source }),
  };
  if (walker.packet.vantage === 'node') leave(next, { ...packet, iif: undefined });
  else arrive(next, packet);
  return next.ended;
}

/** Packets of a connection that was not tracked from its start may be translated for themselves: then nobody knows them where they come to. */
function strayed(end: Ended): Ended {
  if (!end.state.dnat && end.state.nat === undefined) return end;
  return { ...end, verdict: 'drop', decider: { by: 'rule', text: 'the connection is not tracked from its start, so that a later packet alone is translated' } };
}

/** What the other side sends next on a TCP connection that was not tracked: it begins an entry of its own. */
function laterAnswers(walker: Walker, branch: Ended): readonly Ended[] {
  const { state, verdict } = branch;
  if (state.protocol !== 6 || (verdict !== 'forward' && verdict !== 'local')) return [];
  const next = successor(walker);
  const packet: State = { ...replyState(walker.node, state), conntrack: 'new', tcpFlags: 0x10 };
  if (verdict === 'local') leave(next, { ...packet, iif: undefined });
  else if (!isPassedOn(branch)) arrive(next, packet);
  return next.ended;
}

/** The answer to a packet that got through, as whoever took it sends it: translations are undone on its way. */
function replyState(node: NodeState, state: State): State {
  const undo = {
    ...(state.nat === undefined ? {} : { destination: state.original.source, destinationPort: state.original.sourcePort }),
    ...(state.dnat ? { source: state.original.destination, sourcePort: state.original.destinationPort } : {}),
  };
  const { undo: _, ...base } = state;
  return {
    ...base,
    direction: 'reply',
    conntrack: answerTracking(state),
    ...(state.ipvs?.server.method === 'masquerade' ? { ipvs: { ...state.ipvs, pending: true } } : {}),
    source: state.destination,
    sourcePort: state.destinationPort,
    destination: state.nat === undefined ? state.original.source : (natAddress(node.host, state) ?? state.original.source),
    destinationPort: state.nat === undefined ? state.original.sourcePort : undefined,
    iif: state.oif,
    oif: undefined,
    mark: 0,
    path: undefined,
    dnatBy: undefined,
    ...(Object.keys(undo).length === 0 ? {} : { undo }),
  };
}

/** An answer to a connection that was not tracked begins one of its own, unless it is taken out of tracking too: SYN, ACK of TCP is no beginning. */
function answerTracking(state: State): State['conntrack'] {
  if (isUntracked(state)) return state.protocol === 6 ? 'invalid' : 'new';
  return state.conntrack === 'new' ? 'established' : state.conntrack;
}

/** Whether the first packet left no entry behind: a rule said so, or IPVS did. */
const isUntracked = (state: State): boolean => state.conntrack === 'untracked' || state.ipvs?.untracked === true;

/** The refusals of a branch: the address that they come from depends on the route back, so clients are divided by it. */
function refusals(node: NodeState, branch: Ended): readonly State[] {
  const parts = routeDestinations(node.host, branch.state.family, branch.state.original.source, { mark: 0 });
  return parts.map(({ set }) => refusal(node, { ...branch, state: withSource({ ...branch.state, direction: 'original' }, set) }));
}

/** What the node itself answers to a packet that it refuses: a TCP reset, an abort of SCTP, or an ICMP error, which belongs to the connection as RELATED. */
function refusal(node: NodeState, branch: Ended): State {
  const { state, verdict, rejectWith } = branch;
  const reply = { ...replyState(node, state), iif: undefined };
  const isRefused = verdict === 'refused';
  if (isRefused && state.protocol === 6) return { ...reply, tcpFlags: 0x14 };
  if (isRefused && state.protocol === 132 && knowsSctp(node.host)) return { ...reply, sctpChunk: chunk.abort };
  const tracked = state.conntrack === 'untracked' ? 'invalid' : 'related';
  if (rejectWith === 'tcp-reset') return { ...reply, tcpFlags: 0x14, conntrack: tracked, attached: true };
  const icmp = isRefused && state.protocol === 132 ? unknownProtocol[state.family] : icmpAnswer(state.family, rejectWith);
  // The UDP layer lets go of the connection before it refuses (nf_reset_ct), so that error is looked up anew; others belong to it from their making.
  const attached = isRefused && state.protocol === 17 ? {} : { attached: true as const };
  return {
    ...reply,
    ...attached,
    ...(icmp === undefined ? {} : { icmp }),
    protocol: state.family === 4 ? 1 : 58,
    errorOf: state.protocol,
    conntrack: tracked,
    source: icmpSource(node, state),
  };
}

/** REJECT answers what came through a bridge with a reset that leaves by the bridge at once: it meets no rule, and no translation is undone (nf_send_reset). */
function isResetByBridge(node: NodeState, { rejectWith, state }: Ended): boolean {
  return rejectWith === 'tcp-reset' && state.iif !== undefined && isFilteredBridge(node.host, state.family, state.iif);
}

function resetByBridge(back: Walker, { state }: Ended): void {
  const decider: Decider = { by: 'rule', text: 'the reset leaves by the bridge as it is, so that the client does not know the address that it comes from' };
  end(back, replyState(back.node, state), { verdict: state.dnat ? 'drop' : 'forward', decider });
}

/** ICMP errors come from the address that was asked, if it is the node's, else from the one that the route back to the client gives (icmp_send). */
function icmpSource(node: NodeState, state: State): IntervalSet {
  const [asked] = state.destination;
  if (asked !== undefined && interfaceOfAddress(node.host, state.family, asked.lo) !== undefined) return state.destination;
  const [client] = state.original.source;
  const back = client === undefined ? undefined : routeTo(node.host, state.family, client.lo, { mark: 0 });
  if (back?.kind !== 'route') return state.destination;
  if (isLocalType(back.route.type)) return state.original.source;
  const own = node.host.interfaces.find((device) => device.name === back.route.device)?.addresses.find((address) => address.family === state.family);
  return own === undefined ? state.destination : single(own.value);
}

/** Type and code of an ICMP error by the word of the reject; undefined where the word is not known. */
function icmpAnswer(family: Family, word = 'port-unreach'): { readonly type: number; readonly code: number } | undefined {
  const codes = family === 4 ? icmpCodes : icmp6Codes;
  const found = Object.entries(codes).find(([name]) => word.includes(name));
  return found === undefined ? undefined : { type: family === 4 ? 3 : 1, code: found[1] };
}

/** What a kernel answers that does not know the protocol: protocol unreachable, or in IPv6 a parameter problem, next header not recognised. */
const unknownProtocol = { 4: { type: 3, code: 2 }, 6: { type: 4, code: 1 } } as const;

const icmpCodes: Readonly<Record<string, number>> = {
  'net-prohib': 9,
  'host-prohib': 10,
  'admin-prohib': 13,
  'no-route': 0,
  'net-unreach': 0,
  'host-unreach': 1,
  prot: 2,
  'port-unreach': 3,
};
const icmp6Codes: Readonly<Record<string, number>> = {
  'no-route': 0,
  adm: 1,
  'addr-unreach': 3,
  'host-unreach': 3,
  'port-unreach': 4,
  'policy-fail': 5,
  'reject-route': 6,
};

/**
 * All unicast sources of a family except the node's own addresses: the whole outside world. A node without a default route has no clients but those that it
 * has a route to: others could never be answered.
 */
export function outsideSources(node: NodeState, family: Family): IntervalSet {
  const never: IntervalSet =
    family === 4
      ? [
          { lo: 0n, hi: 0xffffffn },
          { lo: 0x7f000000n, hi: 0x7fffffffn },
          { lo: 0xe0000000n, hi: 0xffffffffn },
        ]
      : [
          { lo: 0n, hi: 1n },
          { lo: 0xffn << 120n, hi: (1n << 128n) - 1n },
        ];
  const own = node.host.interfaces.flatMap((device) => device.addresses).filter((address) => address.family === family);
  const world = subtract(everything(family), union(never, ...own.map((address) => single(address.value))));
  const routed = routeDestinations(node.host, family, world, { mark: 0 }).filter(({ answer }) => answer.kind !== 'none');
  return routed.length === 0 ? world : union(...routed.map(({ set }) => set));
}
