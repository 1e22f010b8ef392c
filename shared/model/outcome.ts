// What becomes of a packet: the answer of a walk, in the form that facts, the API and the command line share.
import type { RulePlace } from '../netfilter/rule.ts';

/**
 * `forward`: sent on to another machine or pod. `local`: taken by a listening socket of the node. `refused`: reached the node's own stack and nothing listens
 * (RST or port unreachable). `drop`: vanishes. `reject`: answered with the error in `rejectWith`. `unknown`: depends on the rules in `unless`.
 */
export type VerdictWord = 'forward' | 'local' | 'refused' | 'drop' | 'reject' | 'unknown';

/** Where the client stands: outside the cluster, a process on the node, a pod, or another node of the cluster. */
export type Vantage = 'external' | 'node' | 'pod' | 'peer';
export const vantages: readonly Vantage[] = ['external', 'peer', 'pod', 'node'];

/** The rule (or policy, route, sysctl) that decided, named so that a person finds it. */
export interface Decider {
  /** What sort of thing decided: a rule, a chain's policy, the routing decision, a sysctl, the sockets of the node, IPVS, or a service map of an eBPF data plane. */
  readonly by: 'rule' | 'policy' | 'route' | 'sysctl' | 'socket' | 'ipvs' | 'map';
  /** `ip`, `ip6`, `inet` for rules and policies. */
  readonly family?: string;
  readonly table?: string;
  readonly chain?: string;
  /** From 1; absent for a policy. */
  readonly rule?: number;
  /** The rule as its tool prints it, `policy DROP`, `net.ipv4.ip_forward = 0`, `no route to 10.244.2.3` … */
  readonly text: string;
  readonly backend?: RulePlace['backend'];
  readonly line?: number;
  readonly handle?: number;
  /** Packets that the rule or policy has counted, where the dump says so (decimal, as JSON has no large integers). */
  readonly packets?: string;
  /** How many more rules of the chain do the same to other clients, where there are too many to name each (a list of banned addresses). */
  readonly others?: number;
}

/** ` and 99 more like it for other clients`; empty for a rule that stands for itself alone. */
export const othersText = ({ others }: Decider): string => (others === undefined ? '' : ` and ${others} more like it for other clients`);

/** A packet that is lost, although the first one arrived: an answer on its way back, or a later packet of the client. */
export interface ReplyProblem {
  readonly verdict: 'drop' | 'reject' | 'unknown';
  readonly decidedBy?: Decider;
}

export interface Outcome {
  readonly verdict: VerdictWord;
  /** `ADDRESS:PORT` (IPv6 in brackets) after destination NAT; null when the destination was not changed. */
  readonly dnat: string | null;
  /** Whether the source address is replaced on the way out (MASQUERADE or SNAT). */
  readonly masquerade: boolean;
  /** Share of new connections that take this way, 0…1: what statistic rules give. With uncertain rules: the largest share possible. */
  readonly weight: number;
  /** For `reject`: what the client is answered, e.g. `icmp-port-unreachable`. */
  readonly rejectWith?: string;
  readonly decidedBy?: Decider;
  /** Sources it holds for, as the shortest list of prefixes; absent when it holds for every source asked about. */
  readonly sources?: readonly string[];
  /** How many more and smaller prefixes there are, where a fact does not list all. */
  readonly sourcesLeft?: number;
  /** Rules that we cannot judge and on which this outcome depends. Empty or absent: certain. */
  readonly unless?: readonly Decider[];
  readonly reply?: ReplyProblem;
  /** A later packet of the client that is lost although the first got through: the handshake goes well and data hangs. */
  readonly later?: ReplyProblem;
}

/** What the client sees of an outcome, in the words of the traffic records: connection works, refused, times out, or is told it is unreachable. */
export type Symptom = 'ok' | 'refused' | 'timeout' | 'unreachable' | 'unknown';

/** The loss that follows on a first packet that got through: of the answer, else of a later packet; undefined when neither is known. */
export const lossOf = (outcome: Outcome): ReplyProblem | undefined => outcome.reply ?? outcome.later;

/** The symptom that a client meets at this outcome, provided that the endpoint itself answers. An answer that gets lost looks like silence, whatever it said. */
export function symptomOf(outcome: Outcome): Symptom {
  const lost = lossOf(outcome);
  if (lost !== undefined) return lost.verdict === 'unknown' ? 'unknown' : 'timeout';
  switch (outcome.verdict) {
    case 'forward':
    case 'local':
      return 'ok';
    case 'refused':
      return 'refused';
    case 'drop':
      return 'timeout';
    case 'reject':
      return rejectSymptom(outcome.rejectWith ?? '');
    case 'unknown':
      return 'unknown';
  }
}

function rejectSymptom(word: string): Symptom {
  return /tcp-reset|port-unreach|^icmpx?6?-?port/.test(word) ? 'refused' : 'unreachable';
}

/** What of a rule makes it a decider. */
interface DecidingRule {
  readonly place: RulePlace;
  readonly text: string;
  readonly counter?: { readonly packets: bigint } | undefined;
}

/** A rule as one that decides; the one that is kept with it, if there is one. */
export const deciderOf = (rule: DecidingRule & { readonly decider?: Decider }): Decider => rule.decider ?? newDecider(rule);

/** A rule as one that decides. */
export function newDecider(rule: DecidingRule): Decider {
  const { backend, family, table, chain, number, line, handle } = rule.place;
  const decider: { -readonly [Field in keyof Decider]: Decider[Field] } = { by: 'rule', family, table, chain, rule: number, text: rule.text, backend, line };
  if (handle !== undefined) decider.handle = handle;
  if (rule.counter !== undefined) decider.packets = rule.counter.packets.toString();
  return decider;
}
