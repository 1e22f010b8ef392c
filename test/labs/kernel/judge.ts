// Compares what the walk predicts for a packet with what the kernel did to it: whether and how it left the node, what was answered, and what its sender was told.
import { formatAddress, parseAddress, single } from '../../../shared/model/address.ts';
import { type Decider, type Outcome, symptomOf } from '../../../shared/model/outcome.ts';
import { knowsSctp } from '../../../shared/netfilter/host.ts';
import type { NodeState } from '../../../shared/netfilter/node.ts';
import { verdictOf } from '../../../shared/netfilter/outcomes.ts';
import type { Packet } from '../../../shared/netfilter/packet.ts';
import { natAddress } from '../../../shared/netfilter/translate.ts';
import { placed } from '../../../shared/netfilter/walk.text.ts';
import { type Walk, walk } from '../../../shared/netfilter/walk.ts';
import type { Round } from './arena.ts';
import type { Meeting, Probe, Protocol, SeenPacket } from './host.ts';
import { serves } from './ports.ts';
import { addresses, hostOf, type Place, standing } from './topology.ts';

/** A packet to be sent, by where it starts. */
export interface Asked {
  readonly place: Place;
  readonly protocol: Protocol;
  readonly from: string;
  readonly fromPort: number;
  readonly to: string;
  readonly port: number;
}

export interface Prediction {
  readonly outcomes: readonly Outcome[];
  readonly branches: Walk['branches'];
  /** False when rules that cannot be judged make a difference. */
  readonly certain: boolean;
  /** What leaves it open. */
  readonly doubts: readonly Decider[];
  /** Whether the node's kernel has SCTP: it then aborts what nothing listens for, and processes of the node can ask. */
  readonly knowsSctp: boolean;
  /** The address that masquerading gives to what leaves by an interface for a destination. */
  readonly masquerade: (device: string, destination: string) => string | undefined;
}

const numbers: Readonly<Record<Protocol, number>> = { tcp: 6, udp: 17, sctp: 132 };

export function predict(node: NodeState, asked: Asked): Prediction {
  const source = parseAddress(asked.from);
  const destination = parseAddress(asked.to);
  if (source === undefined || destination === undefined) throw new Error(`${asked.from} → ${asked.to}`);
  const packet: Packet = {
    ...standing[asked.place],
    family: destination.family,
    protocol: numbers[asked.protocol],
    sources: single(source.value),
    sourcePort: asked.fromPort,
    destination: destination.value,
    destinationPort: asked.port,
  };
  const { outcomes, branches } = walk(node, packet, { traced: true, reply: true });
  const losses = outcomes.flatMap((outcome) => [outcome.reply, outcome.later].filter((loss) => loss?.verdict === 'unknown'));
  const { verdict, unknown } = verdictOf(outcomes);
  return {
    outcomes,
    branches,
    certain: verdict !== 'unknown' && losses.length === 0,
    doubts: [...unknown, ...losses.flatMap((loss) => (loss?.decidedBy === undefined ? [] : [loss.decidedBy]))],
    knowsSctp: knowsSctp(node.host),
    masquerade: (device, to) => {
      const { family, value } = parseAddress(to) as { family: 4 | 6; value: bigint };
      const own = natAddress(node.host, { nat: { kind: 'masquerade' }, oif: device, family, destination: single(value) })?.[0]?.lo;
      return own === undefined ? undefined : formatAddress(family, own);
    },
  };
}

/** What was seen of one probe. */
export interface Observation {
  /** The first packet, as it left the node for another host. */
  readonly left: readonly SeenPacket[];
  /** Packets of whom was asked to whom asked, as they left the node. */
  readonly answers: readonly SeenPacket[];
  /** ICMP errors about the first packet, as they left the node, or on its loopback interface. */
  readonly errors: readonly SeenPacket[];
  /** The last that the sender was told. */
  readonly told: Meeting | undefined;
}

/** Picks from a round what belongs to one probe. */
export function observe(round: Round, asked: Asked, probe: Probe): Observation {
  const out = round.packets.filter(({ direction, protocol }) => direction === 'out' && (protocol === asked.protocol || protocol === 'icmp'));
  const isAsked = (packet: { source: string; sourcePort: number; destination: string; destinationPort: number }): boolean =>
    packet.source === asked.from && packet.sourcePort === asked.fromPort && packet.destination === asked.to && packet.destinationPort === asked.port;
  return {
    left: out.filter((packet) => packet.device !== 'lo' && isFrom(probe, packet) && packet.what === firstOf[asked.protocol]),
    answers: out.filter(
      (packet) =>
        packet.about === undefined &&
        isAsked({ source: packet.destination, sourcePort: packet.destinationPort, destination: packet.source, destinationPort: packet.sourcePort }),
    ),
    errors: out.filter(({ about }) => about?.protocol === asked.protocol && isAsked(about)),
    told: round.meetings.get(probe.id)?.at(-1),
  };
}

/** A router takes one off the TTL, a bridge and a sender do not: packets of the remote pod have met two routers. */
const isFrom = ({ ttl }: Probe, packet: SeenPacket): boolean => packet.ttl <= ttl && packet.ttl > ttl - ttlStep;
/** How far apart the TTLs of the probes of one round must be. */
export const ttlStep = 3;

const firstOf: Readonly<Record<Protocol, string>> = { tcp: 'S', udp: 'data', sctp: 'INIT' };

/** What is wrong with a prediction after the fact; undefined when the kernel did one of the predicted things. */
export function disagreement(asked: Asked, prediction: Prediction, observation: Observation): string | undefined {
  const { told } = observation;
  if (told?.word === 'error' || told?.word === 'ended') return `the probe itself failed: ${told.word} ${told.number}`;
  if (prediction.outcomes.some(isOpen)) return undefined;
  const reasons = prediction.outcomes.map(
    (outcome) => mismatch({ ...asked, knowsSctp: prediction.knowsSctp }, outcome, observation) ?? wrongAddress(prediction, outcome, observation),
  );
  return reasons.includes(undefined) ? undefined : `kernel: ${observationText(observation)}; walk: ${[...new Set(reasons)].join('; or ')}`;
}

/** Whether an outcome says nothing that could be wrong. */
const isOpen = (outcome: Outcome): boolean => outcome.verdict === 'unknown' || outcome.reply?.verdict === 'unknown' || outcome.later?.verdict === 'unknown';

function observationText({ left, answers, errors, told }: Observation): string {
  const parts = [
    ...left.map(
      ({ device, source, sourcePort, destination, destinationPort }) => `left by ${device} ${source}:${sourcePort} → ${destination}:${destinationPort}`,
    ),
    ...answers.map(({ what }) => `answered ${what}`),
    ...errors.map(({ what, source }) => `ICMP error ${what} from ${source}`),
    ...(told === undefined
      ? []
      : [`told ${told.word}${told.answer === undefined ? '' : ` by ${told.answer.who}:${told.answer.port}, which saw ${told.answer.source}`}`]),
  ];
  return parts.length === 0 ? 'nothing came of it' : parts.join(', ');
}

/** What was asked, of a node whose kernel has SCTP or not. */
type AskedOf = Asked & Pick<Prediction, 'knowsSctp'>;

function mismatch(asked: AskedOf, outcome: Outcome, seen: Observation): string | undefined {
  const wrong = wrongWay(asked, outcome, seen) ?? wrongAnswer(asked, outcome, seen);
  if (wrong === undefined) return undefined;
  const lost = outcome.reply ?? outcome.later;
  const after = lost === undefined ? '' : `, then ${outcome.reply === undefined ? 'a later packet' : 'the answer'} lost by ${placed(lost.decidedBy ?? nobody)}`;
  return `${wrong} (${outcome.verdict}${outcome.dnat === null ? '' : ` ${outcome.dnat}`}${outcome.masquerade ? ', masqueraded' : ''} by ${placed(outcome.decidedBy ?? nobody)}${after})`;
}

const nobody: Decider = { by: 'rule', text: '?' };

/** The endpoint drops it itself, its own address or a loopback address being the source: it has left the node all the same. */
const isDroppedThere = ({ verdict, decidedBy }: Outcome): boolean =>
  verdict === 'drop' && decidedBy?.by === 'route' && /hairpin|the endpoint drops it/.test(decidedBy.text);

/** Whether it left the node, where to and whose. */
function wrongWay(asked: Asked, outcome: Outcome, { left }: Observation): string | undefined {
  if (outcome.verdict !== 'forward' && !isDroppedThere(outcome)) return left.length > 0 ? 'it does not leave the node' : undefined;
  const end = endpointOf(asked, outcome);
  // Where nobody has the address the packet waits for a neighbour to answer.
  if (end.host === undefined) return undefined;
  const [first] = left;
  if (first === undefined) return 'it leaves the node';
  const astray = left.find(({ destination, destinationPort }) => destination !== end.address || destinationPort !== end.port);
  if (astray !== undefined) return `it goes to ${end.address}:${end.port}`;
  const isReplaced = (packet: SeenPacket): boolean => packet.source !== asked.from;
  return left.some((packet) => isReplaced(packet) !== outcome.masquerade) ? `its source is ${outcome.masquerade ? 'replaced' : 'kept'}` : undefined;
}

/** Whether the source is replaced by another address than the walk takes for the answer's destination: that of the interface, or one that a rule names. */
function wrongAddress({ masquerade }: Prediction, outcome: Outcome, { left }: Observation): string | undefined {
  if (!outcome.masquerade || outcome.verdict !== 'forward') return undefined;
  const named = ['10.9.0.21', 'fd09::21', '10.244.1.1'];
  const astray = left.find(
    ({ device, source, destination }) => !named.includes(source) && source !== masquerade(device === 'pod0' ? 'cni0' : device, destination),
  );
  return astray === undefined ? undefined : `what leaves by ${astray.device} has the source ${masquerade(astray.device, astray.destination)}`;
}

/** What is answered, and what the sender is told. */
function wrongAnswer(asked: AskedOf, outcome: Outcome, seen: Observation): string | undefined {
  // What is answered to an address of the node's own does not leave it.
  if (asked.place === 'client' && (addresses.nodeTowardsPods as readonly string[]).includes(asked.from)) return undefined;
  switch (outcome.verdict) {
    case 'drop':
      if (isDroppedThere(outcome)) return undefined;
      return isSilent(asked, seen) ? undefined : 'nothing is answered';
    case 'refused':
    case 'reject':
      return wrongRefusal(asked, outcome, seen);
    default:
      return wrongService(asked, outcome, seen);
  }
}

/** On the node itself an answer is on the loopback interface before it meets rules again: there the sender knows. */
const isSilent = ({ place }: Asked, { answers, errors, told }: Observation): boolean =>
  (place === 'node' || (answers.length === 0 && errors.length === 0)) && (told === undefined || told.word === 'forbidden');

/** An answer that is rejected is answered itself, to either side: that is not followed. */
const isLost = (asked: Asked, outcome: Outcome, seen: Observation): boolean =>
  outcome.reply?.verdict === 'reject' ? seen.told?.word !== 'ok' && seen.told?.word !== 'connected' : isSilent(asked, seen);

/** A refusal by the node: a reset, an abort, or an ICMP error of just that type. */
function wrongRefusal(asked: AskedOf, outcome: Outcome, seen: Observation): string | undefined {
  // Without a way out no packet is made that an error could be about: the sender is told at once.
  if (asked.place === 'node' && outcome.decidedBy?.by === 'route' && outcome.verdict === 'reject')
    return seen.told === undefined || isRefusalWord(seen.told.word) ? undefined : 'its sender is told';
  if (outcome.reply !== undefined) return isLost(asked, outcome, seen) ? undefined : 'the refusal is lost';
  const expected = refusalOf(asked, outcome);
  const actual = new Set([...seen.answers, ...seen.errors].map(({ what }) => what));
  // What a bridge passes back to its own port is refused by the bridge, without a route and without rules.
  if (isBridged(asked, outcome)) return undefined;
  if (!actual.has(expected) || actual.size > 1) return `it is refused by ${expected}`;
  if (asked.place !== 'node' || (asked.protocol === 'sctp' && !asked.knowsSctp)) return undefined;
  // An error that comes back while connect() still holds the socket is only noted.
  const symptom = symptomOf(outcome);
  const allowed = [symptom, ...(outcome.verdict === 'reject' ? ['forbidden', undefined] : [])];
  return allowed.includes(seen.told?.word) ? undefined : `its sender is told "${symptom}"`;
}

const isRefusalWord = (word: Meeting['word']): boolean => word === 'unreachable' || word === 'refused' || word === 'forbidden';

/** The pod on the bridge is its own endpoint. */
const isBridged = (asked: Asked, outcome: Outcome): boolean => asked.place === 'pod' && endpointOf(asked, outcome).host === 'pod';

function refusalOf(asked: AskedOf, outcome: Outcome): string {
  const six = asked.to.includes(':');
  if (outcome.verdict === 'reject') return errorTypes[outcome.rejectWith ?? '']?.[six ? 1 : 0] ?? `an unknown word: ${outcome.rejectWith}`;
  if (asked.protocol === 'tcp') return 'RA';
  // A kernel without SCTP does not know the protocol at all.
  if (asked.protocol === 'sctp') return asked.knowsSctp ? 'ABORT' : six ? '4/1' : '3/2';
  return six ? '1/4' : '3/3';
}

/** By the words of iptables and nft, what goes over the wire in IPv4 and IPv6. */
const errorTypes: Readonly<Record<string, readonly [string, string]>> = {
  'tcp-reset': ['RA', 'RA'],
  'icmp-net-unreachable': ['3/0', '-'],
  'icmp-host-unreachable': ['3/1', '-'],
  'icmp-proto-unreachable': ['3/2', '-'],
  'icmp-prot-unreachable': ['3/2', '-'],
  'icmp-port-unreachable': ['3/3', '-'],
  'icmp-net-prohibited': ['3/9', '-'],
  'icmp-host-prohibited': ['3/10', '-'],
  'icmp-admin-prohibited': ['3/13', '-'],
  'icmp6-no-route': ['-', '1/0'],
  'icmp6-adm-prohibited': ['-', '1/1'],
  'icmp6-addr-unreachable': ['-', '1/3'],
  'icmp6-port-unreachable': ['-', '1/4'],
  'icmp6-policy-fail': ['-', '1/5'],
  'icmp6-reject-route': ['-', '1/6'],
  'icmpv6-no-route': ['-', '1/0'],
  'icmpv6-admin-prohibited': ['-', '1/1'],
  'icmpv6-addr-unreachable': ['-', '1/3'],
  'icmpv6-port-unreachable': ['-', '1/4'],
  'icmpv6-policy-fail': ['-', '1/5'],
  'icmpv6-reject-route': ['-', '1/6'],
  'icmpx-no-route': ['3/0', '1/0'],
  'icmpx-port-unreachable': ['3/3', '1/4'],
  'icmpx-host-unreachable': ['3/1', '1/3'],
  'icmpx-admin-prohibited': ['3/13', '1/1'],
};

/** Whoever it reached answers, unless the answer is lost, and says who it is. */
function wrongService(asked: AskedOf, outcome: Outcome, seen: Observation): string | undefined {
  const end = endpointOf(asked, outcome);
  const { told } = seen;
  if (outcome.verdict === 'forward' && (end.host === undefined || !serves(asked.protocol, end.port))) {
    // Its refusal is another packet than the answer that the walk has followed back, and errors about neighbours that are not there come after seconds.
    return told?.word === 'connected' || told?.word === 'ok' ? 'nothing answers there' : undefined;
  }
  if (outcome.verdict === 'forward' && !isAnsweredThroughNode(asked, outcome, end.host)) return undefined;
  if (outcome.reply !== undefined) return isLost(asked, outcome, seen) ? undefined : 'the answer is lost';
  if (asked.place !== 'node' && !seen.answers.some(({ what }) => what === answerOf[asked.protocol])) return 'it is answered';
  if (!isToldAnswers(asked)) return undefined;
  if (outcome.later !== undefined) return told?.word === 'ok' ? 'a later packet is lost' : told === undefined ? 'the first packet is answered' : undefined;
  const { answer } = told ?? {};
  if (told?.word !== 'ok' || answer === undefined) return 'it is answered, and its sender told';
  if (answer.who !== end.host || answer.port !== end.port) return `answered by ${end.host}:${end.port}`;
  return (answer.source !== asked.from) !== outcome.masquerade ? `its source is ${outcome.masquerade ? 'replaced' : 'kept'}` : undefined;
}

const answerOf: Readonly<Record<Protocol, string>> = { tcp: 'SA', udp: 'data', sctp: 'INIT_ACK' };

/** Whether the answer of an endpoint goes through the node to whom asked: the peer and the pod behind it find each other without, and a client that uses an address of theirs gets none. */
function isAnsweredThroughNode({ place, from }: Asked, { masquerade }: Outcome, host: Place | undefined): boolean {
  const isBehindPeer = place === 'peer' || place === 'remote' || (addresses.astray.map(([first]) => first) as readonly string[]).includes(from);
  return masquerade || !isBehindPeer || (host !== 'peer' && host !== 'remote');
}

/** Whether answers find the sender: one that uses an address which the node looks for elsewhere gets none, nor does a node over SCTP whose kernel has none. */
const isToldAnswers = ({ place, protocol, from, knowsSctp: hasSctp }: AskedOf): boolean =>
  !(place === 'client' && (addresses.astray.flat() as readonly string[]).includes(from)) && !(place === 'node' && protocol === 'sctp' && !hasSctp);

function endpointOf(asked: Asked, outcome: Outcome): { readonly address: string; readonly host: Place | undefined; readonly port: number } {
  if (outcome.dnat === null) return { address: asked.to, host: hostOf(asked.to, asked.place), port: asked.port };
  const colon = outcome.dnat.lastIndexOf(':');
  const address = outcome.dnat.slice(0, colon).replace(/^\[|\]$/g, '');
  // What is translated is translated by the node: its loopback addresses are meant.
  return { address, host: hostOf(address, asked.to === address ? asked.place : 'node'), port: Number(outcome.dnat.slice(colon + 1)) };
}
