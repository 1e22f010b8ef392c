// Compares what the walk predicts for a packet with what the kernel did to it.
import { parseAddress, single } from '../../../shared/model/address.ts';
import { type Outcome, symptomOf } from '../../../shared/model/outcome.ts';
import type { NodeState } from '../../../shared/netfilter/node.ts';
import { verdictOf } from '../../../shared/netfilter/outcomes.ts';
import type { Packet } from '../../../shared/netfilter/packet.ts';
import { placed } from '../../../shared/netfilter/walk.text.ts';
import { walk } from '../../../shared/netfilter/walk.ts';
import { addresses, type Place } from './arena.ts';
import { tcpPorts, udpPorts } from './ports.ts';
import type { Observation } from './probe.ts';

/** A packet to be sent, by where it starts. */
export interface Asked {
  readonly place: Place;
  readonly protocol: 'tcp' | 'udp';
  readonly from: string;
  readonly fromPort: number;
  readonly to: string;
  readonly port: number;
}

export interface Prediction {
  readonly outcomes: readonly Outcome[];
  /** False when rules that cannot be judged make a difference. */
  readonly certain: boolean;
}

export function predict(node: NodeState, asked: Asked): Prediction {
  const source = parseAddress(asked.from);
  const destination = parseAddress(asked.to);
  if (source === undefined || destination === undefined) throw new Error(`${asked.from} → ${asked.to}`);
  const packet: Packet = {
    vantage: asked.place === 'client' ? 'external' : asked.place === 'pod' ? 'pod' : 'node',
    family: destination.family,
    protocol: asked.protocol === 'tcp' ? 6 : 17,
    sources: single(source.value),
    sourcePort: asked.fromPort,
    destination: destination.value,
    destinationPort: asked.port,
    ...(asked.place === 'client' ? { iif: 'eth0' } : asked.place === 'pod' ? { iif: 'cni0' } : {}),
  };
  const { outcomes } = walk(node, packet, { traced: false, reply: true });
  return {
    outcomes,
    certain: verdictOf(outcomes).verdict !== 'unknown' && !outcomes.some((outcome) => (outcome.reply ?? outcome.later)?.verdict === 'unknown'),
  };
}

/** What is wrong with a prediction after the fact; undefined when the kernel did one of the predicted things. */
export function disagreement(asked: Asked, prediction: Prediction, observation: Observation): string | undefined {
  if (!prediction.certain) return undefined;
  if (observation.met === 'error') return `the probe itself failed: ${observation.error}`;
  const reasons = prediction.outcomes.map((outcome) => mismatch(asked, outcome, observation));
  return reasons.includes(undefined)
    ? undefined
    : `kernel: ${observation.met}${observation.answer === undefined ? '' : ` by ${JSON.stringify(observation.answer)}`}; ${reasons.join('; ')}`;
}

function mismatch(asked: Asked, outcome: Outcome, observation: Observation): string | undefined {
  const expected = meetings(asked, outcome);
  if (!expected.includes(observation.met))
    return `walk: ${expected.join(' or ')} (${outcome.verdict} ${outcome.dnat ?? ''} by ${outcome.decidedBy?.text}${outcome.reply === undefined ? '' : `; answer lost by ${placed(outcome.reply.decidedBy ?? { by: 'rule', text: '?' })}`})`;
  const { answer } = observation;
  if (observation.met !== 'ok' || answer === undefined) return undefined;
  const end = endpointOf(asked, outcome);
  if (answer.who !== end.who || answer.port !== end.port) return `walk: answered by ${end.who}:${end.port}`;
  const kept = answer.source === asked.from;
  if (asked.place !== 'node' && kept === outcome.masquerade)
    return `walk: source ${outcome.masquerade ? 'replaced' : 'kept'}, the endpoint saw ${answer.source}`;
  return undefined;
}

/** The symptoms that may follow from an outcome: an endpoint where nothing listens refuses by itself. */
function meetings(asked: Asked, outcome: Outcome): readonly Observation['met'][] {
  const symptom = symptomOf(outcome);
  if (symptom === 'unknown') return ['ok', 'refused', 'unreachable', 'timeout'];
  // A UDP socket is not told of errors that are not final, such as "host unreachable".
  if (symptom === 'unreachable' && asked.protocol === 'udp') return ['unreachable', 'timeout'];
  // The error comes back while connect() still holds the socket, which then waits for the next attempt to fail.
  if (asked.place === 'node' && outcome.verdict === 'reject') return [symptom, 'timeout'];
  // The handshake is through for the client; whether it also learns of the loss depends on who is faster.
  if (outcome.reply === undefined && outcome.later !== undefined) return ['ok', 'timeout', 'unreachable', 'refused'];
  if (outcome.verdict !== 'forward' && outcome.verdict !== 'local') return [symptom];
  const end = endpointOf(asked, outcome);
  if (end.who === undefined) return ['timeout', 'unreachable'];
  const serves = (asked.protocol === 'tcp' ? tcpPorts : udpPorts).includes(end.port);
  // Its refusal is another packet than the answer that the walk has followed back.
  if (!serves) return outcome.verdict === 'local' ? ['refused'] : ['refused', 'timeout'];
  return [symptom];
}

function endpointOf(asked: Asked, outcome: Outcome): { readonly who: string | undefined; readonly port: number } {
  const text = outcome.dnat ?? (asked.to.includes(':') ? `[${asked.to}]:${asked.port}` : `${asked.to}:${asked.port}`);
  const colon = text.lastIndexOf(':');
  return { who: hostOf(text.slice(0, colon).replace(/^\[|\]$/g, ''), asked), port: Number(text.slice(colon + 1)) };
}

function hostOf(address: string, asked: Asked): string | undefined {
  if ((addresses.pod as readonly string[]).includes(address)) return 'pod';
  if ((addresses.remote as readonly string[]).includes(address)) return 'remote';
  const own = [...addresses.node, ...addresses.nodeSecondary, '10.244.1.1', '10.8.0.1', 'fd44:1::1', 'fd08::1'];
  if (own.includes(address) || ((address.startsWith('127.') || address === '::1') && asked.place !== 'pod')) return 'node';
  return undefined;
}
