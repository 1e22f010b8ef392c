// The packet, or the set of packets, that a walk carries through the hooks, and how it splits where rules tell its members apart.
import type { Family, IntervalSet } from '../model/address.ts';
import type { Decider, Vantage } from '../model/outcome.ts';
import type { IpvsConnection } from './ipvs.balance.ts';

/** What a caller asks about: first packets of connections from a set of sources to one address and port. */
export interface Packet {
  readonly vantage: Vantage;
  readonly family: Family;
  /** IP protocol number: 6, 17, 132 … */
  readonly protocol: number;
  readonly sources: IntervalSet;
  /** Absent: any ephemeral port, 32768 to 65535. */
  readonly sourcePort?: number;
  readonly destination: bigint;
  readonly destinationPort: number;
  /** Absent: chosen by the vantage and the routes back to the sources. */
  readonly iif?: string;
}

/** An assumption about a rule that cannot be judged: that it matched, or that it did not, or one of both in a way that is no longer told apart. */
export interface Assumption {
  readonly decider: Decider;
  readonly matched: boolean | 'either';
}

export type Nat = { readonly kind: 'masquerade' } | { readonly kind: 'snat'; readonly address?: bigint };

/**
 * The packets on one branch of the walk. Immutable: a branch that differs is a new value. Every field is always there, so that all states are of one shape to
 * the machine that runs this: states are what a walk makes most of.
 */
export interface State {
  readonly family: Family;
  readonly protocol: number;
  readonly source: IntervalSet;
  readonly destination: IntervalSet;
  readonly sourcePort: number | undefined;
  readonly destinationPort: number | undefined;
  readonly iif: string | undefined;
  readonly oif: string | undefined;
  readonly mark: number;
  readonly connmark: number;
  /** The mark that a packet of the node was routed by when it was routed last; undefined: none. */
  readonly routedBy: number | undefined;
  /** Set for an ICMP error that answers a packet. */
  readonly icmp: { readonly type: number; readonly code: number } | undefined;
  /** Protocol of the connection that an ICMP error belongs to. */
  readonly errorOf: number | undefined;
  /** TCP flags where they are not those of a first packet (SYN) or its answer (SYN, ACK). */
  readonly tcpFlags: number | undefined;
  /** Chunk of SCTP where it is not that of a first packet (INIT) or its answer (INIT ACK). */
  readonly sctpChunk: number | undefined;
  /** The packet belongs to its connection from its making (ICMP errors, resets of REJECT): raw sees its state, and NOTRACK does nothing. */
  readonly attached: boolean;
  /** The IPVS connection that it belongs to. */
  readonly ipvs: IpvsConnection | undefined;
  readonly conntrack: 'related' | 'new' | 'established' | 'invalid' | 'untracked';
  readonly direction: 'original' | 'reply';
  /** The NAT core has decided about destination or source of this connection: it asks no further NAT chain, even if nothing was changed in fact. */
  readonly settledDestination: boolean;
  readonly settledSource: boolean;
  /** Set by a DNAT or REDIRECT that changed something (IPS_DST_NAT); what the client addressed is in `original`. */
  readonly dnat: boolean;
  /** The rule that translated the destination. */
  readonly dnatBy: Decider | undefined;
  readonly nat: Nat | undefined;
  /**
   * Translations that the NAT core makes for packets after the first, without asking rules: the destination in prerouting or output, the source in
   * postrouting. For answers they are the first packet's undone, for later packets of the client the same again.
   */
  readonly undo: Undo | undefined;
  /** Addresses and ports of the connection's first packet before any NAT. */
  readonly original: {
    readonly source: IntervalSet;
    readonly destination: IntervalSet;
    readonly destinationPort: number | undefined;
    readonly sourcePort: number | undefined;
  };
  /** Share of connections, 0…1. */
  readonly weight: number;
  readonly assumptions: readonly Assumption[];
  /** A rule has changed the packet in a way that we cannot follow: whatever comes after is unknown. */
  readonly clouded: Decider | undefined;
  /** Where the walk has been; undefined unless it is traced. */
  readonly path: PathNode | undefined;
}

/** A side that is absent is not translated. */
export interface Undo {
  readonly destination?: { readonly address: IntervalSet; readonly port: number | undefined };
  readonly source?: { readonly address: IntervalSet; readonly port: number | undefined };
}

/** One station of a walk, newest first; `parent` is shared between branches. */
export interface PathNode {
  readonly parent: PathNode | undefined;
  readonly station: Station;
  /** What was assumed by then. */
  readonly assumptions: readonly Assumption[];
}

/** What a person sees of one step of the walk. */
export type Station =
  | { readonly kind: 'hook'; readonly hook: string; readonly text: string }
  | {
      readonly kind: 'chain';
      readonly hook: string;
      readonly priority: number;
      readonly backend: string;
      readonly family: string;
      readonly table: string;
      readonly chain: string;
    }
  | { readonly kind: 'rule'; readonly decider: Decider; readonly effect: string; readonly certain: boolean }
  | { readonly kind: 'policy'; readonly decider: Decider }
  | { readonly kind: 'route'; readonly text: string };

/** What a condition says of a packet set. `split` divides it, `may` leaves it open, `chance` holds for a share of connections. */
export type Judgement =
  | { readonly kind: 'yes' }
  | { readonly kind: 'no' }
  /** `memory`: it depends on earlier packets of the same client (recent, dynamic sets), so that a new client is a certain no. */
  | { readonly kind: 'may'; readonly reason: string; readonly memory?: true }
  | { readonly kind: 'chance'; readonly probability: number }
  | { readonly kind: 'split'; readonly yes: State; readonly no: State };

export const yes: Judgement = { kind: 'yes' };
export const no: Judgement = { kind: 'no' };
export const may = (reason: string): Judgement => ({ kind: 'may', reason });
export const remembers = (reason: string): Judgement => ({ kind: 'may', reason, memory: true });
export const holds = (condition: boolean): Judgement => (condition ? yes : no);

/** The other way round: what a negated condition says. */
export function negated(judgement: Judgement): Judgement {
  switch (judgement.kind) {
    case 'yes':
      return no;
    case 'no':
      return yes;
    case 'may':
      return judgement;
    case 'chance':
      return { kind: 'chance', probability: 1 - judgement.probability };
    case 'split':
      return { kind: 'split', yes: judgement.no, no: judgement.yes };
  }
}

/** Whether the packet goes to another address or port than it was sent to: by a rule, or by IPVS as masquerading does it. */
export const isTranslated = ({ dnat, ipvs }: State): boolean => dnat || (ipvs?.pending === false && ipvs.server.method === 'masquerade');

/** The same branch with one more station on its path, if paths are kept. */
export function visited(state: State, station: Station, traced: { readonly traced: boolean }): State {
  return traced.traced ? { ...state, path: { parent: state.path, station, assumptions: state.assumptions } } : state;
}

/** The steps of a branch from first to last. */
export function pathOf(path: PathNode | undefined): readonly PathNode[] {
  const nodes: PathNode[] = [];
  for (let node = path; node !== undefined; node = node.parent) nodes.push(node);
  return nodes.reverse();
}
