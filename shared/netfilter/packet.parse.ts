// Reads a packet that a person or program describes (`dst=10.0.0.1,dport=30080`) against the node it is sent to.
import { contains, type Family, formatAddress, formatPrefixes, type IntervalSet, parseAddress, parsePrefix, single } from '../model/address.ts';
import { type Protocol, protocolNumbers } from '../model/fact.ts';
import { type Vantage, vantages } from '../model/outcome.ts';
import { outsideSources } from './clients.ts';
import { addressesOfType, primaryAddress } from './host.ts';
import type { NodeState } from './node.ts';
import type { Packet } from './packet.ts';

/** A packet in words. `src` may be a prefix: the walk then answers for all of it. Absent `src`: all of the outside world (external), or the node's own address. */
export interface PacketDescription {
  readonly vantage?: string | undefined;
  readonly src?: string | undefined;
  readonly dst?: string | undefined;
  readonly proto?: string | undefined;
  readonly sport?: string | number | undefined;
  readonly dport?: string | number | undefined;
  readonly iif?: string | undefined;
}

export const packetFields: readonly string[] = ['vantage', 'src', 'dst', 'proto', 'sport', 'dport', 'iif'];

export type ParsedPacket = { readonly kind: 'packet'; readonly packet: Packet } | { readonly kind: 'invalid'; readonly reason: string };

/** Reads `dst=10.0.0.1,dport=30080,proto=tcp`; the reason of a refusal is a sentence. */
export function parsePacketText(node: NodeState, text: string): ParsedPacket {
  const described: Record<string, string> = {};
  for (const pair of text.split(',').filter((each) => each.trim() !== '')) {
    const equals = pair.indexOf('=');
    const key = pair.slice(0, equals).trim();
    if (equals < 0) return invalid(`"${pair}" is not of the form key=value`);
    if (!packetFields.includes(key)) return invalid(`"${key}" is not a field of a packet; fields are ${packetFields.join(', ')}`);
    described[key] = pair.slice(equals + 1).trim();
  }
  return describePacket(node, described);
}

/** Completes a description from what the node is, or says what is wrong with it. */
export function describePacket(node: NodeState, described: PacketDescription): ParsedPacket {
  const vantage = (described.vantage ?? 'external') as Vantage;
  if (!vantages.includes(vantage)) return invalid(`vantage "${described.vantage}" is none of ${vantages.join(', ')}`);
  const protocol = protocolOf(described.proto ?? 'tcp');
  if (protocol === undefined) return invalid(`proto "${described.proto}" is none of tcp, udp, sctp or a number from 0 to 255`);
  const sources = described.src === undefined ? undefined : parsePrefix(described.src);
  if (described.src !== undefined && sources === undefined) return invalid(`src "${described.src}" is no address or prefix`);
  const destination = destinationOf(node, described.dst, sources?.family);
  if (destination === undefined)
    return invalid(
      described.dst === undefined ? 'dst is missing, and the capture does not say the address of the node' : `dst "${described.dst}" is no address`,
    );
  if (sources !== undefined && sources.family !== destination.family) return invalid('src and dst are of different address families');
  const ports = [portOf(described.sport), portOf(described.dport)];
  if (ports.includes('bad')) return invalid(`a port is a number from 0 to 65535: sport "${described.sport ?? ''}", dport "${described.dport ?? ''}"`);
  const [sourcePort, destinationPort] = ports as (number | undefined)[];
  if (destinationPort === undefined && portProtocols.has(protocol)) return invalid('dport is missing');
  const packet: Packet = {
    vantage,
    family: destination.family,
    protocol,
    destination: destination.value,
    destinationPort: destinationPort ?? 0,
    sources: sources === undefined ? defaultSources(node, vantage, destination) : [sources.interval],
    ...(sourcePort === undefined ? {} : { sourcePort }),
    ...(described.iif === undefined ? {} : { iif: described.iif }),
  };
  return { kind: 'packet', packet };
}

const invalid = (reason: string): ParsedPacket => ({ kind: 'invalid', reason });
const portProtocols: ReadonlySet<number> = new Set(Object.values(protocolNumbers));

function protocolOf(text: string): number | undefined {
  const known = protocolNumbers[text.toLowerCase() as Protocol];
  if (known !== undefined) return known;
  if (text === 'icmp') return 1;
  if (text === 'icmpv6' || text === 'ipv6-icmp') return 58;
  return /^\d{1,3}$/.test(text) && Number(text) < 256 ? Number(text) : undefined;
}

function destinationOf(node: NodeState, text: string | undefined, family: Family = 4): { readonly family: Family; readonly value: bigint } | undefined {
  if (text !== undefined) return parseAddress(text);
  const value = primaryAddress(node.host, family);
  return value === undefined ? undefined : { family, value };
}

function defaultSources(node: NodeState, vantage: Vantage, destination: { readonly family: Family; readonly value: bigint }): IntervalSet {
  if (vantage !== 'node') return outsideSources(node, destination.family);
  // A process of the node that talks to an address of the node uses that address.
  const own = contains(addressesOfType(node.host, { family: destination.family, type: 'local' }), destination.value)
    ? destination.value
    : primaryAddress(node.host, destination.family);
  return own === undefined ? outsideSources(node, destination.family) : single(own);
}

function portOf(value: string | number | undefined): number | 'bad' | undefined {
  if (value === undefined || value === '') return undefined;
  const port = Number(value);
  return Number.isInteger(port) && port >= 0 && port <= 65535 ? port : 'bad';
}

/** A packet in a few words, as the first line of a trace. */
export function packetText(packet: Packet): string {
  const prefixes = packet.sources.length > 2 ? [] : formatPrefixes(packet.family, packet.sources);
  const from = prefixes.length === 0 || prefixes.length > 3 ? 'every source' : prefixes.join(', ');
  const protocol = (Object.keys(protocolNumbers) as Protocol[]).find((name) => protocolNumbers[name] === packet.protocol) ?? `protocol ${packet.protocol}`;
  const to = formatAddress(packet.family, packet.destination);
  return `${packet.vantage}: ${from} → ${packet.family === 6 ? `[${to}]` : to}:${packet.destinationPort}/${protocol}`;
}
