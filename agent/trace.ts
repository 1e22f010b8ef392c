// Walks one packet on the node as last read, for a collector that asks.
import { reasonOf } from '../shared/errors.ts';
import { limits } from '../shared/limits.ts';
import { type Family, parseAddress, parsePrefix, single } from '../shared/model/address.ts';
import { type Protocol, protocolNumbers } from '../shared/model/fact.ts';
import { type Vantage, vantages } from '../shared/model/outcome.ts';
import { type Clients, clientsOf, type Wanted } from '../shared/netfilter/facts.ts';
import type { NodeState } from '../shared/netfilter/node.ts';
import { verdictOf } from '../shared/netfilter/outcomes.ts';
import { packetText } from '../shared/netfilter/packet.parse.ts';
import type { Packet } from '../shared/netfilter/packet.ts';
import { graphOf } from '../shared/netfilter/walk.graph.ts';
import { type Walk, walk } from '../shared/netfilter/walk.ts';

/**
 * `packet` as in a line of `trace --packets`: dst, dport, and optionally src (an address or prefix), vantage, proto, sport, iif. Without src: the clients of the
 * vantage that the facts are made for.
 */
export function traceLive(
  node: NodeState | undefined,
  packet: Readonly<Record<string, string>>,
  wanted: Wanted,
): { readonly result?: unknown; readonly error?: string } {
  if (node === undefined) return { error: 'the node has not been read yet' };
  const asked = readPacket(node, packet, wanted);
  if (typeof asked === 'string') return { error: asked };
  try {
    return { result: resultOf(walk(node, asked, { traced: true, reply: true }), packetText(asked)) };
  } catch (error) {
    return { error: reasonOf(error) };
  }
}

/** The answer with the drawing as data. Where a frame cannot hold all of it, what a person misses least is left out first. */
function resultOf(walked: Walk, packet: string): unknown {
  const { outcomes, branches } = walked;
  const whole = { ...verdictOf(outcomes), outcomes, branches: branches.slice(0, branchesMax), graph: graphOf(walked, packet) };
  const short = { ...whole, branches: [], outcomes: outcomes.slice(0, branchesMax) };
  return [whole, { ...whole, branches: [] }, short, { ...short, unknown: [], outcomes: [] }].map(toJson).find(fits);
}

const fits = (result: unknown): boolean => Buffer.byteLength(JSON.stringify(result)) < limits.frameBytesMax - envelopeBytes;

/** Type and id of the answer. */
const envelopeBytes = 1_024;

/** Branches in one answer: nobody reads more, and the drawing is made of all. */
const branchesMax = 64;

function readPacket(node: NodeState, packet: Readonly<Record<string, string>>, wanted: Wanted): Packet | string {
  const destination = parseAddress(packet.dst ?? '');
  if (destination === undefined) return `dst ${packet.dst ?? 'is missing'}: an address is wanted`;
  const destinationPort = portOf(packet.dport);
  if (destinationPort === undefined) return `dport ${packet.dport ?? 'is missing'}: a number from 1 to 65535 is wanted`;
  const vantage = packet.vantage ?? 'external';
  if (!vantages.includes(vantage as Vantage)) return `vantage ${vantage}: one of ${vantages.join(', ')} is wanted`;
  const protocol = protocolOf(packet.proto ?? 'tcp');
  if (protocol === undefined) return `proto ${packet.proto}: tcp, udp, sctp or a number is wanted`;
  const from = clientsFor(node, packet.src, { family: destination.family, vantage: vantage as Vantage, wanted });
  if (typeof from === 'string') return from;
  const sourcePort = portOf(packet.sport);
  const iif = packet.iif ?? from.iif;
  return {
    vantage: vantage as Vantage,
    family: destination.family,
    protocol,
    destination: destination.value,
    destinationPort,
    sources: from.sources,
    ...(sourcePort === undefined ? {} : { sourcePort }),
    ...(iif === undefined ? {} : { iif }),
  };
}

function clientsFor(
  node: NodeState,
  src: string | undefined,
  { family, vantage, wanted }: { readonly family: Family; readonly vantage: Vantage; readonly wanted: Wanted },
): Pick<Clients, 'sources' | 'iif'> | string {
  if (src === undefined) {
    const clients = clientsOf(node, wanted)[family].find((each) => each.vantage === vantage);
    return clients ?? `src is missing, and this node knows no clients of the vantage ${vantage}`;
  }
  const source = parsePrefix(src);
  if (source === undefined || source.family !== family) return `src ${src}: an address or prefix of the family of dst is wanted`;
  return { sources: source.length === (family === 4 ? 32 : 128) ? single(source.value) : [source.interval] };
}

function portOf(text: string | undefined): number | undefined {
  const port = /^\d{1,5}$/.test(text ?? '') ? Number(text) : 0;
  return port >= 1 && port <= 65535 ? port : undefined;
}

function protocolOf(text: string): number | undefined {
  if (Object.hasOwn(protocolNumbers, text)) return protocolNumbers[text as Protocol];
  return /^\d{1,3}$/.test(text) && Number(text) <= 255 ? Number(text) : undefined;
}

/** Addresses are bigints inside; JSON has none. */
const toJson = (value: unknown): unknown => JSON.parse(JSON.stringify(value, (_key, each: unknown) => (typeof each === 'bigint' ? each.toString() : each)));
