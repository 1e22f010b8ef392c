// Reads the fields of a packet set: what is known of them at a hook, and what stays open.
import { everything, type Family, type IntervalSet, intersect, isSameSet, single, subtract, union } from '../model/address.ts';
import { addressesOfType, routeDestinations } from './host.ts';
import type { NodeState } from './node.ts';
import type { State } from './packet.ts';
import type { AddressType, InterfacePattern, NumberField, Side } from './rule.ts';
import type { Table } from './ruleset.ts';
import { chunk } from './sctp.ts';

/** What a condition may look at besides the packet. */
export interface Surroundings {
  readonly node: NodeState;
  /** The table of the rule, for its named sets. */
  readonly table: Table;
  /** The hook decides which interfaces are known yet. */
  readonly hook: string;
  /** Set before conntrack has seen the packet (raw), where every state reads INVALID. */
  readonly beforeConntrack: boolean;
}

/** The same packets with one side narrowed; the connection's original addresses follow as long as no NAT came between. */
export function narrowed(state: State, side: Side, set: IntervalSet): State {
  if (state.direction === 'original' && side === 'source') return { ...state, source: set, original: { ...state.original, source: set } };
  if (state.direction === 'reply' && side === 'destination') return { ...state, destination: set, original: { ...state.original, source: set } };
  return { ...state, [side]: set };
}

/** The same packets, of some of the clients of their connections only; the packet's own address follows where it is still the client's. */
export function ofClients(state: State, clients: IntervalSet): State {
  const side = state.direction === 'original' ? 'source' : 'destination';
  const isOwn = isSameSet(state[side], state.original.source);
  return { ...state, ...(isOwn ? { [side]: clients } : {}), original: { ...state.original, source: clients } };
}

/** The addresses in a field, as far as the walk knows them. */
export function addressValue(state: State, field: string): IntervalSet | undefined {
  switch (field) {
    case 'source':
      return state.source;
    case 'destination':
      return state.destination;
    case 'originalSource':
      return state.original.source;
    case 'originalDestination':
      return state.original.destination;
    case 'replySource':
      return replySource(state);
    case 'replyDestination':
      return state.nat === undefined ? state.original.source : undefined;
    default:
      return undefined;
  }
}

/** Where answers of the connection come from: an ICMP error about it comes from anywhere, and a translation back may have been made already. */
function replySource({ direction, destination, source, dnat, original, icmp, undo, ipvs }: State): IntervalSet | undefined {
  if (direction === 'original') return destination;
  if (ipvs !== undefined) return source;
  if (!dnat) return original.destination;
  return icmp === undefined && undo?.source !== undefined ? source : undefined;
}

/** The number in a field; undefined when it is not known before the packet is. */
export function numberValue(state: State, field: NumberField): number | undefined {
  switch (field) {
    case 'protocol':
      return state.protocol;
    case 'originalProtocol':
      return state.errorOf ?? state.protocol;
    case 'sourcePort':
      // Where other protocols have their ports an ICMP error has type and code, and its checksum.
      return state.icmp === undefined ? state.sourcePort : icmpPort(state.icmp);
    case 'destinationPort':
      return state.icmp === undefined ? state.destinationPort : undefined;
    case 'mark':
      return state.mark;
    case 'connmark':
      return state.connmark;
    case 'tcpFlags':
      return state.protocol === 6 ? (state.tcpFlags ?? (state.direction === 'original' ? 0x02 : 0x12)) : undefined;
    case 'sctpChunk':
      return state.protocol === 132 ? chunkOf(state) : undefined;
    case 'icmpType':
      return state.icmp?.type;
    case 'icmpCode':
      return state.icmp?.code;
    case 'family':
      return state.family === 4 ? 2 : 10;
    case 'originalDestinationPort':
      return state.original.destinationPort;
    case 'originalSourcePort':
      return state.original.sourcePort;
    case 'packetType':
      return 0; // PACKET_HOST: addressed to this machine, as unicast packets of clients are.
    default:
      return undefined;
  }
}

/** The client's next packet may hold data beside the cookie. */
function chunkOf({ sctpChunk, direction }: State): number | undefined {
  if (sctpChunk === chunk.cookieEcho) return undefined;
  return sctpChunk ?? (direction === 'original' ? chunk.init : chunk.initAck);
}

/** What an ICMP error has in place of a source port, and ipset of any port. */
export const icmpPort = ({ type, code }: NonNullable<State['icmp']>): number => type * 256 + code;

export const interfaceMatches = (name: string, pattern: InterfacePattern): boolean => (pattern.prefix ? name.startsWith(pattern.name) : name === pattern.name);

/** Whether a word of `--ctstate` or `ct state` holds. Before conntrack has seen the packet every state but INVALID is absent. */
export function conntrackWord(state: State, word: string, around: Pick<Surroundings, 'beforeConntrack'>): boolean {
  if (state.conntrack === 'untracked') return word === 'untracked';
  if (around.beforeConntrack) return word === 'invalid';
  if (word === 'dnat') return state.dnat;
  if (word === 'snat') return state.nat !== undefined;
  return word === state.conntrack;
}

/**
 * Addresses of a type as addrtype and fib see them. IPv4 goes by the local routing table alone (inet_addr_type): whatever is not listed there is unicast.
 * IPv6 asks for a route (nft_fib6_eval_type): without one the address is unreachable.
 */
export function typeSet(family: Family, type: AddressType, context: { readonly around: Surroundings; readonly device: string | undefined }): IntervalSet {
  const { host } = context.around.node;
  if (type === 'local' || type === 'anycast') return addressesOfType(host, { family, type, device: context.device });
  const multicast = family === 4 ? multicast4 : multicast6;
  if (type === 'multicast') return multicast;
  const local = union(
    addressesOfType(host, { family, type: 'local', device: context.device }),
    addressesOfType(host, { family, type: 'anycast', device: context.device }),
    multicast,
  );
  if (family === 4) {
    const broadcast = union([{ lo: 0n, hi: 0xffffffn }], single(0xffffffffn), addressesOfType(host, { family: 4, type: 'broadcast', device: context.device }));
    if (type === 'broadcast') return broadcast;
    return type === 'unicast' ? subtract(everything(4), union(local, broadcast)) : [];
  }
  const others = subtract(everything(6), local);
  // The look-up is for the address alone: rules for sources do not apply.
  const parts = routeDestinations(host, others, { family: 6, mark: 0, source: single(0n) });
  const reached = union(...parts.filter(({ answer }) => answer.kind === 'route' && answer.route.type === 'unicast').map(({ set }) => set));
  if (type === 'unicast') return reached;
  return type === 'unreachable' ? subtract(others, reached) : [];
}

/** Addresses that match `-m addrtype` of ip6tables: all the types named must hold (match_type6), and UNICAST includes the node's own addresses. */
export function typeSet6(types: readonly AddressType[], context: { readonly around: Surroundings; readonly device: string | undefined }): IntervalSet {
  let set = everything(6);
  if (types.includes('multicast')) set = intersect(set, multicast6);
  if (types.includes('unicast')) set = subtract(set, union(multicast6, single(0n), mapped6));
  if (types.includes('unspec')) set = intersect(set, single(0n));
  const looked = types.filter((type) => type === 'local' || type === 'anycast' || type === 'unreachable');
  return looked.length === 0 ? set : intersect(set, union(...looked.map((type) => typeSet(6, type, context))));
}

const multicast4: IntervalSet = [{ lo: 0xe0000000n, hi: 0xefffffffn }];
const multicast6: IntervalSet = [{ lo: 0xffn << 120n, hi: (1n << 128n) - 1n }];
const mapped6: IntervalSet = [{ lo: 0xffff00000000n, hi: 0xffffffffffffn }];
