// Walks a set of first packets through the node as the kernel would: hooks in order, NAT, the routing decision, local delivery or forwarding, and the answer
// back. Every outcome says certain or "unless rule R matches"; what was not read is never taken for healthy.
import { limits } from '../limits.ts';
import { single, size } from '../model/address.ts';
import type { Outcome } from '../model/outcome.ts';
import { waysOf } from './alike.ts';
import type { Ended } from './chains.ts';
import { coalesceAlike, coalesceEnds } from './coalesce.ts';
import { hasTies, type TieOrder } from './hooks.ts';
import { interfaceOfAddress, routeTo } from './host.ts';
import type { NodeState } from './node.ts';
import { eitherWay, outcomesOf, sameOutcomes } from './outcomes.ts';
import type { Assumption, Packet, State, Station } from './packet.ts';
import { sequelOf } from './walk.answers.ts';
import { beforeRouting, fromRouting } from './walk.course.ts';
import type { Walker } from './walker.ts';

export interface WalkOptions {
  /** Keep every station of every branch. */
  readonly traced: boolean;
  /** Also walk the answer back to the client. */
  readonly reply: boolean;
  /** Where first packets of untraced walks were at the routing decision; absent: they are walked there, and nobody keeps it. */
  readonly starts?: Starts;
}

/**
 * Where the first packets of some walks were at the routing decision, to go on from there while nothing has changed that they met before, and nothing of the host. Filled by
 * the walks that find nothing in it, by the order of chains whose order is not known.
 */
export type Starts = Map<TieOrder, Start>;

export interface Start {
  readonly states: readonly State[];
  /** Branches that came to their end before. */
  readonly ended: readonly Ended[];
  readonly budget: { readonly rules: number; readonly branches: number };
}

export interface Walk {
  readonly outcomes: readonly Outcome[];
  /** The branches, when traced; in the order of the outcomes' discovery. */
  readonly branches: readonly Branch[];
}

/** One way through the hooks. Branches that came to the same again on the way are one, with the stations of the first. */
export interface Branch {
  readonly stations: readonly Station[];
  readonly outcome: Outcome;
  /** What it takes of rules that cannot be judged, in the order in which they were met. */
  readonly assumptions: readonly Assumption[];
  /** How many of them were made by each station. */
  readonly assumed: readonly number[];
}

/** Walks first packets of connections. Pure: the same node and packet give the same answer. */
export function walk(node: NodeState, packet: Packet, options: WalkOptions): Walk {
  const walked = walkOnce(node, packet, { ...options, ties: 'dumped' });
  if (!hasTies(node, packet.family)) return walked;
  const otherwise = walkOnce(node, packet, { ...options, ties: 'reversed' });
  return sameOutcomes(walked, otherwise) ? walked : eitherWay(walked, otherwise);
}

function walkOnce(node: NodeState, packet: Packet, { ties, traced, reply, starts }: WalkOptions & { readonly ties: TieOrder }): Walk {
  const walker: Walker = {
    node,
    packet,
    ties,
    options: { traced, reply },
    ways: traced ? undefined : waysOf(node, `${packet.vantage} ${ties}`),
    ended: [],
    budget: { rules: limits.walkRulesMax, branches: limits.walkBranchesMax },
  };
  const known = traced ? undefined : starts?.get(ties);
  if (known === undefined) {
    const states = beforeRouting(walker, firstState(node, packet));
    starts?.set(ties, { states, ended: [...walker.ended], budget: { ...walker.budget } });
    fromRouting(walker, states);
  } else {
    walker.ended.push(...known.ended);
    Object.assign(walker.budget, known.budget);
    fromRouting(walker, known.states);
  }
  const ended = coalesceEnds(walker.ended);
  return outcomesOf({ ...walker, ended: traced ? ended : coalesceAlike(ended) }, reply ? (branch) => sequelOf(walker, branch) : undefined);
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
    routedBy: undefined,
    conntrack: 'new',
    direction: 'original',
    icmp: undefined,
    errorOf: undefined,
    tcpFlags: undefined,
    sctpChunk: undefined,
    attached: false,
    ipvs: undefined,
    undo: undefined,
    clouded: undefined,
    settledDestination: false,
    settledSource: false,
    dnat: false,
    dnatBy: undefined,
    nat: undefined,
    original: { source: packet.sources, destination, destinationPort: packet.destinationPort, sourcePort: packet.sourcePort },
    weight: 1,
    assumptions: noAssumptions,
    path: undefined,
  };
}

const noAssumptions: State['assumptions'] = [];

/** The interface that packets from outside come in by: the one towards the client, else that of the address they are sent to. */
function incomingInterface(node: NodeState, packet: Packet): string | undefined {
  const [first] = packet.sources;
  if (first !== undefined && (size(packet.sources) === 1n || packet.vantage === 'pod')) {
    const back = routeTo(node.host, first.lo, { family: packet.family, mark: 0 });
    if (back.kind === 'route' && back.route.device !== undefined && back.route.type === 'unicast') return back.route.device;
  }
  const own = interfaceOfAddress(node.host, packet.family, packet.destination);
  if (own !== undefined && !own.loopback && own.kind !== 'dummy') return own.name;
  const out = node.host.routes.find((route) => route.family === packet.family && route.length === 0 && route.type === 'unicast' && route.table === 'main');
  return out?.device ?? node.host.interfaces.find((device) => !device.loopback && device.up)?.name;
}
