// Reads the fields of a packet set: what is known of them at a hook, and what stays open.
import { type Family, type IntervalSet, subtract, union } from '../model/address.ts';
import { addressesOfType } from './host.ts';
import type { NodeState } from './node.ts';
import type { State } from './packet.ts';
import type { AddressType, InterfacePattern, NumberField, Side } from './rule.ts';
import type { Table } from './ruleset.ts';

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
      return state.direction === 'original' ? state.destination : state.source;
    case 'replyDestination':
      return state.nat === undefined ? state.original.source : undefined;
    default:
      return undefined;
  }
}

/** The number in a field; undefined when it is not known before the packet is. */
export function numberValue(state: State, field: NumberField): bigint | undefined {
  switch (field) {
    case 'protocol':
    case 'originalProtocol':
      return BigInt(state.protocol);
    case 'sourcePort':
      return state.sourcePort === undefined ? undefined : BigInt(state.sourcePort);
    case 'destinationPort':
      return state.destinationPort === undefined ? undefined : BigInt(state.destinationPort);
    case 'mark':
      return BigInt(state.mark);
    case 'connmark':
      return BigInt(state.connmark);
    case 'tcpFlags':
      return state.protocol === 6 ? (state.direction === 'original' ? 0x02n : 0x12n) : undefined;
    case 'family':
      return state.family === 4 ? 2n : 10n;
    case 'originalDestinationPort':
      return state.original.destinationPort === undefined ? undefined : BigInt(state.original.destinationPort);
    case 'originalSourcePort':
      return state.original.sourcePort === undefined ? undefined : BigInt(state.original.sourcePort);
    case 'packetType':
      return 0n; // PACKET_HOST: addressed to this machine, as unicast packets of clients are.
    default:
      return undefined;
  }
}

export const interfaceMatches = (name: string, pattern: InterfacePattern): boolean =>
  pattern.prefix ? name.startsWith(pattern.name) : name === pattern.name;

/** Whether a word of `--ctstate` or `ct state` holds. Before conntrack has seen the packet every state but INVALID is absent. */
export function conntrackWord(state: State, word: string, around: Pick<Surroundings, 'beforeConntrack'>): boolean {
  if (around.beforeConntrack) return word === 'invalid';
  if (word === 'dnat') return state.dnat && state.conntrack !== 'untracked';
  if (word === 'snat') return state.nat !== undefined && state.conntrack !== 'untracked';
  return word === state.conntrack;
}

/** Addresses of a type as addrtype and fib see them: by the local table alone in IPv4, where all that is not listed is unicast. */
export function typeSet(family: Family, type: AddressType, context: { readonly around: Surroundings; readonly device: string | undefined }): IntervalSet {
  const { host } = context.around.node;
  const everything: IntervalSet = [{ lo: 0n, hi: family === 4 ? 0xffffffffn : (1n << 128n) - 1n }];
  const multicast: IntervalSet = family === 4 ? [{ lo: 0xe0000000n, hi: 0xefffffffn }] : [{ lo: 0xffn << 120n, hi: (1n << 128n) - 1n }];
  const broadcast = (): IntervalSet =>
    family === 6 ? [] : union([{ lo: 0n, hi: 0xffffffn }], [{ lo: 0xffffffffn, hi: 0xffffffffn }], addressesOfType(host, family, 'broadcast', context.device));
  switch (type) {
    case 'local':
    case 'anycast':
      return addressesOfType(host, family, type, context.device);
    case 'multicast':
      return multicast;
    case 'broadcast':
      return broadcast();
    case 'unicast': {
      const others = union(addressesOfType(host, family, 'local', context.device), addressesOfType(host, family, 'anycast', context.device), multicast, broadcast());
      return subtract(everything, others);
    }
    default:
      return [];
  }
}
