// A rule as the walk reads it, whichever tool wrote it: steps from left to right, conditions first failing ends the rule. Both `iptables.decode.ts` and
// `nft.parse.ts` end here, so that there is one evaluator for all backends. Every kind here is either judged by the walk or says that it may match.
import type { Family, IntervalSet } from '../model/address.ts';
import type { Decider } from '../model/outcome.ts';

/** Which program's tables: the legacy x_tables of the kernel, iptables over nf_tables, or nf_tables written natively. */
export type Backend = 'legacy' | 'iptables-nft' | 'nft';

/** The family of a table as the kernel names it. iptables tables are `ip` or `ip6`. */
export type TableFamily = 'ip' | 'ip6' | 'inet' | 'arp' | 'bridge' | 'netdev';

export type Hook = 'ingress' | 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting' | 'egress';

/** Where a rule stands; `number` counts from 1 within the chain, as `iptables -L --line-numbers` does. */
export interface RulePlace {
  readonly backend: Backend;
  readonly family: TableFamily;
  readonly table: string;
  readonly chain: string;
  readonly number: number;
  /** Line in the dump it was read from, from 1; 0 where the dump has no lines (JSON). */
  readonly line: number;
  /** nftables rule handle, for `nft delete rule … handle N`. */
  readonly handle?: number;
}

export interface Counter {
  readonly packets: bigint;
  readonly bytes: bigint;
}

export interface Rule {
  readonly place: RulePlace;
  /** As the tool prints it: `-A FORWARD -p tcp …` or nft's `tcp dport 8080 drop`. */
  readonly text: string;
  readonly steps: readonly Step[];
  readonly comment?: string | undefined;
  readonly counter?: Counter | undefined;
  /** The rule as one that decides, where its reader keeps that: walks from several vantages then share it. */
  readonly decider?: Decider;
}

export type Step = Condition | Action | Verdict;

/** Side of the packet that an address, port or set dimension is taken from. */
export type Side = 'source' | 'destination';

/** Values of the packet that are plain numbers. `tcpFlags` of a first packet are SYN only, its `sctpChunk` is INIT; `length`, `ttl`, `dscp` and such are not known before the packet: may match. */
export type NumberField =
  | 'protocol'
  | 'sourcePort'
  | 'destinationPort'
  | 'mark'
  | 'connmark'
  | 'tcpFlags'
  | 'sctpChunk'
  | 'icmpType'
  | 'icmpCode'
  | 'family'
  | 'originalSourcePort'
  | 'originalDestinationPort'
  | 'originalProtocol'
  | 'packetType'
  | 'length'
  | 'ttl'
  | 'dscp';

export type AddressField = Side | 'originalSource' | 'originalDestination' | 'replySource' | 'replyDestination';
export type InterfaceField = 'in' | 'out' | 'physicalIn' | 'physicalOut';

/** Address types of addrtype and fib (RTN_* of the kernel). */
export type AddressType =
  | 'unspec'
  | 'unicast'
  | 'local'
  | 'broadcast'
  | 'anycast'
  | 'multicast'
  | 'blackhole'
  | 'unreachable'
  | 'prohibit'
  | 'throw'
  | 'nat'
  | 'xresolve';

/** `cali+` of iptables or `cali*` of nft is `{ name: 'cali', prefix: true }`; the empty prefix matches every interface. */
export interface InterfacePattern {
  readonly name: string;
  readonly prefix: boolean;
}

export type Condition =
  | { readonly kind: 'address'; readonly field: AddressField; readonly family: Family; readonly set: IntervalSet; readonly negate: boolean }
  /** `(value & mask) in set`; without `mask` the value itself. */
  | { readonly kind: 'number'; readonly field: NumberField; readonly mask?: bigint; readonly set: IntervalSet; readonly negate: boolean }
  | { readonly kind: 'interface'; readonly field: InterfaceField; readonly patterns: readonly InterfacePattern[]; readonly negate: boolean }
  /** Any of the names holds: new, established, related, invalid, untracked, and (as in `--ctstate`) dnat, snat. */
  | { readonly kind: 'conntrackState'; readonly anyOf: readonly ConntrackState[]; readonly negate: boolean }
  /** Any of the status bits is set (nft `ct status`, iptables `--ctstatus`). */
  | { readonly kind: 'conntrackStatus'; readonly anyOf: readonly ConntrackStatus[]; readonly negate: boolean }
  | { readonly kind: 'conntrackDirection'; readonly direction: 'original' | 'reply'; readonly negate: boolean }
  /** Type of an address by the node's routing tables; `limit` restricts the look-up to the packet's in- or out-interface (`--limit-iface-in`, fib … iif). */
  | { readonly kind: 'addressType'; readonly side: Side; readonly anyOf: readonly AddressType[]; readonly limit?: 'in' | 'out'; readonly negate: boolean }
  /** Reverse path test: iptables `-m rpfilter` (matches when the reverse path is right, unless inverted) and nft `fib saddr . iif oif` forms. */
  | { readonly kind: 'reversePath'; readonly loose: boolean; readonly validMark: boolean; readonly negate: boolean }
  /** `-m set --match-set NAME src,dst`: one side for each dimension of the ipset. */
  | { readonly kind: 'ipset'; readonly set: string; readonly sides: readonly Side[]; readonly negate: boolean }
  /** nft `KEY @set` or `KEY { … }`: a key of one or several fields against a named or anonymous set. */
  | { readonly kind: 'lookup'; readonly key: readonly KeyPart[]; readonly set: NftSetReference; readonly negate: boolean }
  /** Matches with a fixed chance in 0…1 (statistic random/nth, nft numgen compared with a value). */
  | { readonly kind: 'random'; readonly probability: number; readonly negate: boolean }
  /** `-m recent`: a list of source addresses kept by the kernel. A client not seen before is in no list. */
  | {
      readonly kind: 'recent';
      readonly operation: 'set' | 'rcheck' | 'update' | 'remove';
      readonly list: string;
      readonly side: Side;
      readonly negate: boolean;
    }
  /** Understood, but it depends on what is not in rules or packet (rate, time, payload …), or not understood at all: it may match or not. */
  | { readonly kind: 'may'; readonly module: string; readonly reason: string }
  | { readonly kind: 'never'; readonly reason: string };

export type ConntrackState = 'new' | 'established' | 'related' | 'invalid' | 'untracked' | 'dnat' | 'snat';
export type ConntrackStatus = 'expected' | 'seen-reply' | 'assured' | 'confirmed' | 'snat' | 'dnat' | 'dying';

/** One field of an nft key. `random` yields 0…modulus−1 evenly (numgen, jhash, symhash: each value is a branch); `unknown` is a field that we cannot read. */
export type KeyPart =
  | { readonly kind: 'address'; readonly field: AddressField }
  | { readonly kind: 'number'; readonly field: NumberField }
  | { readonly kind: 'interface'; readonly field: InterfaceField }
  | { readonly kind: 'conntrackState' }
  | { readonly kind: 'addressType'; readonly side: Side; readonly limit?: 'in' | 'out' }
  | { readonly kind: 'random'; readonly modulus: number; readonly offset: number }
  | { readonly kind: 'unknown'; readonly text: string };

/** A named set or map of the rule's own table, or the elements written in the rule. */
export type NftSetReference = { readonly kind: 'named'; readonly name: string } | { readonly kind: 'inline'; readonly elements: readonly NftElement[] };

/** One part of an element's key: an interval of numbers (addresses, ports, protocols …), an interface name, or a word (ct state, address type). */
export type ElementPart =
  | { readonly kind: 'interval'; readonly lo: bigint; readonly hi: bigint }
  | { readonly kind: 'interface'; readonly pattern: InterfacePattern }
  | { readonly kind: 'word'; readonly word: string };

export interface NftElement {
  readonly key: readonly ElementPart[];
  /** For verdict maps. */
  readonly verdict?: Verdict;
  /** For data maps: the parts of the value, in order. */
  readonly value?: readonly ElementPart[];
  readonly comment?: string;
  /** Seconds; absent for elements without timeout. */
  readonly expiresSeconds?: number;
}

export type Action =
  /** mark = (mark & and) ^ xor. */
  | { readonly kind: 'setMark'; readonly and: number; readonly xor: number }
  | { readonly kind: 'setConnmark'; readonly and: number; readonly xor: number }
  /** connmark = mark under masks (save) or mark = connmark under masks (restore). */
  | { readonly kind: 'saveMark'; readonly connmarkMask: number; readonly markMask: number }
  | { readonly kind: 'restoreMark'; readonly connmarkMask: number; readonly markMask: number }
  /** The connection of this packet is not tracked: no NAT, ctstate UNTRACKED. */
  | { readonly kind: 'notrack' }
  /** Changes nothing that decides: LOG, NFLOG, TRACE, counter, TCPMSS, CHECKSUM, adding to a set … `name` for the trace. */
  | { readonly kind: 'effectless'; readonly name: string }
  /** Takes an unknown effect on the packet (e.g. nft payload mangling): later answers are not certain. */
  | { readonly kind: 'unknownEffect'; readonly name: string; readonly reason: string };

/** ICMP answer of a reject: the word that iptables uses, or of nft the type and word with a hyphen: `icmp-port-unreachable`, `tcp-reset`, `icmpx-admin-prohibited`. */
export type RejectWith = string;

export type Verdict =
  | { readonly kind: 'accept' }
  | { readonly kind: 'drop' }
  | { readonly kind: 'reject'; readonly with: RejectWith }
  | { readonly kind: 'return' }
  | { readonly kind: 'continue' }
  | { readonly kind: 'jump'; readonly chain: string }
  | { readonly kind: 'goto'; readonly chain: string }
  /** Handed to a program in user space; `bypass` accepts when none listens. The walk cannot know its verdict. */
  | { readonly kind: 'queue'; readonly bypass: boolean }
  /** Destination NAT; absent `addresses` keep the address, absent `ports` the port. A range with more than one value is a free choice of the kernel. */
  | { readonly kind: 'dnat'; readonly family?: Family; readonly addresses?: IntervalSet; readonly ports?: PortRange; readonly map?: NatMap }
  | { readonly kind: 'snat'; readonly family?: Family; readonly addresses?: IntervalSet; readonly ports?: PortRange; readonly map?: NatMap }
  | { readonly kind: 'masquerade'; readonly ports?: PortRange }
  /** DNAT to the address of the incoming interface (127.0.0.1/::1 from the node itself). */
  | { readonly kind: 'redirect'; readonly ports?: PortRange }
  /** Maps the destination (prerouting, output) or source (postrouting, input) network 1:1 onto `to`. */
  | { readonly kind: 'netmap'; readonly to: { readonly family: Family; readonly lo: bigint; readonly hi: bigint } }
  | { readonly kind: 'tproxy'; readonly address?: bigint; readonly port?: number; readonly markAnd: number; readonly markXor: number }
  /** Verdict by key (nft vmap). */
  | { readonly kind: 'verdictMap'; readonly key: readonly KeyPart[]; readonly map: NftSetReference }
  /** A target that we do not know: it may end the walk in any way or go on. */
  | { readonly kind: 'unknown'; readonly name: string; readonly reason: string };

export interface PortRange {
  readonly lo: number;
  readonly hi: number;
}

/** nft `dnat to KEY map @m`: the address and port come from a data map. */
export interface NatMap {
  readonly key: readonly KeyPart[];
  readonly map: NftSetReference;
  /** What the map's value holds, in order. */
  readonly holds: readonly ('address' | 'port')[];
}

/** Whether a step is one that must hold for the rule to go on. Asked for every step of every rule: the frequent kinds come first. */
export function isCondition(step: Step): step is Condition {
  switch (step.kind) {
    case 'address':
    case 'number':
    case 'random':
    case 'interface':
    case 'conntrackState':
    case 'conntrackStatus':
    case 'conntrackDirection':
    case 'addressType':
    case 'reversePath':
    case 'ipset':
    case 'lookup':
    case 'recent':
    case 'may':
    case 'never':
      return true;
    default:
      return false;
  }
}

/** Whether a step is a verdict. A rule's last step is one, or the rule goes on to the next. */
export const isVerdict = (step: Step): step is Verdict => !actionKinds.has(step.kind) && !isCondition(step);

const actionKinds: ReadonlySet<Step['kind']> = new Set<Action['kind']>([
  'setMark',
  'setConnmark',
  'saveMark',
  'restoreMark',
  'notrack',
  'effectless',
  'unknownEffect',
]);
