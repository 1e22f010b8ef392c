// Walks one packet on the node as last read, for a collector that asks.
import { reasonOf } from '../shared/errors.ts';
import { type Family, parseAddress, parsePrefix, single } from '../shared/model/address.ts';
import { type Protocol, protocolNumbers } from '../shared/model/fact.ts';
import { type Vantage, vantages } from '../shared/model/outcome.ts';
import type { NodeState } from '../shared/netfilter/node.ts';
import { verdictOf } from '../shared/netfilter/outcomes.ts';
import type { Packet } from '../shared/netfilter/packet.ts';
import { walk } from '../shared/netfilter/walk.ts';

/** `packet` as in a line of `trace --packets`: src (address or prefix), dst, dport, and optionally vantage, proto, sport, iif. */
export function traceLive(node: NodeState | undefined, packet: Readonly<Record<string, string>>): { readonly result?: unknown; readonly error?: string } {
  if (node === undefined) return { error: 'the node has not been read yet' };
  const asked = readPacket(packet);
  if (typeof asked === 'string') return { error: asked };
  try {
    const { outcomes, branches } = walk(node, asked, { traced: true, reply: true });
    return { result: toJson({ ...verdictOf(outcomes), outcomes, branches: branches.slice(0, branchesMax) }) };
  } catch (error) {
    return { error: reasonOf(error) };
  }
}

/** Branches in one answer: a frame holds no more, and nobody reads more. */
const branchesMax = 64;

function readPacket(packet: Readonly<Record<string, string>>): Packet | string {
  const destination = parseAddress(packet.dst ?? '');
  if (destination === undefined) return `dst ${packet.dst ?? 'is missing'}: an address is wanted`;
  const source = parsePrefix(packet.src ?? '');
  if (source === undefined || source.family !== destination.family)
    return `src ${packet.src ?? 'is missing'}: an address or prefix of the family of dst is wanted`;
  const destinationPort = portOf(packet.dport);
  if (destinationPort === undefined) return `dport ${packet.dport ?? 'is missing'}: a number from 1 to 65535 is wanted`;
  const vantage = packet.vantage ?? 'external';
  if (!vantages.includes(vantage as Vantage)) return `vantage ${vantage}: one of ${vantages.join(', ')} is wanted`;
  const protocol = protocolOf(packet.proto ?? 'tcp');
  if (protocol === undefined) return `proto ${packet.proto}: tcp, udp, sctp or a number is wanted`;
  const sourcePort = portOf(packet.sport);
  const family: Family = destination.family;
  return {
    vantage: vantage as Vantage,
    family,
    protocol,
    destination: destination.value,
    destinationPort,
    sources: source.length === (family === 4 ? 32 : 128) ? single(source.value) : [source.interval],
    ...(sourcePort === undefined ? {} : { sourcePort }),
    ...(packet.iif === undefined ? {} : { iif: packet.iif }),
  };
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
