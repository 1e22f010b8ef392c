// What an expression of nft's JSON reads from the packet: a field that the walk knows, what must hold before it can be read, or why we cannot tell.
import type { Family } from '../model/address.ts';
import { isList, type Json, member, named, numberMember, textMember, wordsMember } from './nft.json.ts';
import { renderExpression } from './nft.text.ts';
import { protocolWords } from './nft.words.ts';
import type { AddressField, InterfaceField, KeyPart, NumberField, Side, TableFamily } from './rule.ts';
import { chunkOfNft } from './sctp.ts';

/** What decoding a rule has to know of its table. */
export interface TableScope {
  readonly family: TableFamily;
  /** Types of the values of a map of this table, undefined when there is no such map. */
  readonly valueTypes: (map: string) => readonly string[] | undefined;
}

/** What the kernel checks before it reads a field; nft leaves these conditions out of its listing where they follow from the field. */
export interface Needs {
  readonly protocol?: number;
  readonly family?: 2 | 10;
}

export type Field = Needs & FieldKind;

type FieldKind =
  | { readonly kind: 'address'; readonly field: AddressField; readonly of: Family }
  | { readonly kind: 'number'; readonly field: NumberField; readonly type: string; readonly bits: number }
  | { readonly kind: 'interface'; readonly field: InterfaceField }
  | { readonly kind: 'conntrackState' }
  | { readonly kind: 'conntrackStatus' }
  | { readonly kind: 'conntrackDirection' }
  | { readonly kind: 'addressType'; readonly side: Side; readonly limit?: 'in' | 'out' }
  | { readonly kind: 'reversePath'; readonly loose: boolean; readonly validMark: boolean }
  | { readonly kind: 'chunk'; readonly type: number }
  | { readonly kind: 'random'; readonly modulus: number; readonly offset: number }
  /** Not among the values that the walk knows; `module` names it in a trace. */
  | { readonly kind: 'unknown'; readonly module: string; readonly reason: string }
  /** Cannot be read from an IP packet: the rule never matches. */
  | { readonly kind: 'never'; readonly reason: string };

/** Finds the field that an expression reads. */
export function fieldOf(expression: Json, scope: TableScope): Field {
  const found = named(expression);
  if (found === undefined) return { kind: 'unknown', module: 'expression', reason: `cannot read ${renderExpression(expression)}` };
  switch (found.kind) {
    case 'payload':
      return payloadField(found.value);
    case 'meta':
      return metaField(textMember(found.value, 'key') ?? '');
    case 'ct':
      return conntrackField(found.value, scope);
    case 'fib':
      return fibField(found.value);
    case 'numgen':
    case 'jhash':
    case 'symhash':
      return randomField(found.value);
    case 'sctp chunk':
      return chunkField(found.value);
    case 'tcp option':
      return { kind: 'unknown', module: 'tcp option', reason: 'TCP options are not known before the packet', protocol: 6 };
    default:
      return { kind: 'unknown', module: found.kind, reason: `${found.kind} is not among the values the walk knows` };
  }
}

/** A field as part of a key of a set or map. */
export function keyPart(field: Field, expression: Json): KeyPart {
  switch (field.kind) {
    case 'address':
    case 'number':
    case 'interface':
      return { kind: field.kind, field: field.field } as KeyPart;
    case 'conntrackState':
      return { kind: 'conntrackState' };
    case 'addressType':
      return { kind: 'addressType', side: field.side, ...(field.limit !== undefined && { limit: field.limit }) };
    case 'random':
      if (field.modulus <= branchesMax) return { kind: 'random', modulus: field.modulus, offset: field.offset };
  }
  return { kind: 'unknown', text: renderExpression(expression) };
}

/** A random key part is a branch of the walk for each of its values: more than a map has elements in practice are not followed. */
const branchesMax = 65_536;

/** nft's name of the type of a field's values. */
export function fieldType(field: Field): string {
  switch (field.kind) {
    case 'address':
      return field.of === 4 ? 'ipv4_addr' : 'ipv6_addr';
    case 'number':
      return field.type;
    case 'interface':
      return 'ifname';
    case 'conntrackState':
      return 'ct_state';
    case 'addressType':
      return 'fib_addrtype';
    case 'random':
      return 'integer';
    default:
      return 'unknown';
  }
}

/** The parts of a key: the parts of a concatenation, or the expression itself. */
export function keyExpressions(expression: Json): readonly Json[] {
  const parts = member(expression, 'concat');
  return isList(parts) ? parts : [expression];
}

const ports: ReadonlyMap<string, NumberField> = new Map([
  ['sport', 'sourcePort'],
  ['dport', 'destinationPort'],
]);
const withPorts: ReadonlySet<string> = new Set(['tcp', 'udp', 'udplite', 'sctp', 'dccp', 'th']);

function payloadField(payload: Json): Field {
  const header = textMember(payload, 'protocol') ?? '';
  const name = textMember(payload, 'field') ?? '';
  const port = ports.get(name);
  if (port !== undefined && withPorts.has(header)) return { kind: 'number', field: port, type: 'inet_service', bits: 16, ...needsOfHeader(header) };
  if (header === 'tcp' && name === 'flags') return { kind: 'number', field: 'tcpFlags', type: 'tcp_flag', bits: 8, protocol: 6 };
  if (header === 'ip' || header === 'ip6') return networkField(header, name);
  if (header === 'icmp' || header === 'icmpv6') return icmpField(header, name);
  if (header === 'arp') return { kind: 'never', reason: 'ARP fields are in no IP packet' };
  const text = header === '' ? 'payload' : `${header} ${name}`;
  return { kind: 'unknown', module: text, reason: `${text} is not known before the packet`, ...needsOfHeader(header) };
}

/** Headers whose name in nft is not the protocol's: `th` is any transport header, `comp` IPComp; link layer headers need nothing. */
function needsOfHeader(header: string): Needs {
  if (header === 'icmpv6') return { protocol: 58, family: 10 };
  if (header === 'icmp') return { protocol: 1, family: 2 };
  const number = transportHeaders.has(header) ? protocolWords.get(header) : undefined;
  return number === undefined ? {} : { protocol: Number(number) };
}

const transportHeaders: ReadonlySet<string> = new Set(['tcp', 'udp', 'udplite', 'sctp', 'dccp', 'esp', 'ah', 'comp', 'igmp', 'gre']);

function networkField(header: 'ip' | 'ip6', name: string): Field {
  const family = header === 'ip' ? 2 : 10;
  const of = header === 'ip' ? 4 : 6;
  switch (name) {
    case 'saddr':
      return { kind: 'address', field: 'source', of, family };
    case 'daddr':
      return { kind: 'address', field: 'destination', of, family };
    case 'protocol':
    case 'nexthdr':
      return { kind: 'number', field: 'protocol', type: 'inet_proto', bits: 8, family };
    case 'ttl':
    case 'hoplimit':
      return { kind: 'number', field: 'ttl', type: 'integer', bits: 8, family };
    case 'dscp':
      return { kind: 'number', field: 'dscp', type: 'dscp', bits: 6, family };
    default:
      // IPv6 counts its length without the header, so that only IPv4's is the packet's length.
      if (header === 'ip' && name === 'length') return { kind: 'number', field: 'length', type: 'integer', bits: 16, family };
      return { kind: 'unknown', module: `${header} ${name}`, reason: `${header} ${name} is not known before the packet`, family };
  }
}

function icmpField(header: 'icmp' | 'icmpv6', name: string): Field {
  const needs = needsOfHeader(header);
  if (name === 'type') return { kind: 'number', field: 'icmpType', type: `${header}_type`, bits: 8, ...needs };
  if (name === 'code') return { kind: 'number', field: 'icmpCode', type: `${header}_code`, bits: 8, ...needs };
  return { kind: 'unknown', module: `${header} ${name}`, reason: `${header} ${name} is not known before the packet`, ...needs };
}

const metaFields: ReadonlyMap<string, Field> = new Map<string, Field>([
  ['l4proto', { kind: 'number', field: 'protocol', type: 'inet_proto', bits: 8 }],
  ['nfproto', { kind: 'number', field: 'family', type: 'nf_proto', bits: 8 }],
  ['protocol', { kind: 'number', field: 'family', type: 'ether_type', bits: 16 }],
  ['mark', { kind: 'number', field: 'mark', type: 'mark', bits: 32 }],
  ['pkttype', { kind: 'number', field: 'packetType', type: 'pkt_type', bits: 8 }],
  ['length', { kind: 'number', field: 'length', type: 'integer', bits: 32 }],
  ['random', { kind: 'random', modulus: 2 ** 32, offset: 0 }],
  ['iif', { kind: 'interface', field: 'in' }],
  ['iifname', { kind: 'interface', field: 'in' }],
  ['oif', { kind: 'interface', field: 'out' }],
  ['oifname', { kind: 'interface', field: 'out' }],
]);

/** Whether there is a chunk of a type; fields of chunks are not known before the packet. */
function chunkField(exthdr: Json): Field {
  const type = chunkOfNft(textMember(exthdr, 'name') ?? '');
  // nft does not ask for the protocol before: packets of others have no such chunk.
  if (type !== undefined && member(exthdr, 'field') === undefined) return { kind: 'chunk', type };
  return { kind: 'unknown', module: 'sctp chunk', reason: 'fields of SCTP chunks are not known before the packet', protocol: 132 };
}

function metaField(key: string): Field {
  return metaFields.get(key) ?? { kind: 'unknown', module: `meta ${key}`, reason: `meta ${key} is not among the values the walk knows` };
}

function conntrackField(ct: Json, scope: TableScope): Field {
  const key = textMember(ct, 'key') ?? '';
  const direction = textMember(ct, 'dir');
  if (direction === undefined) {
    if (key === 'state') return { kind: 'conntrackState' };
    if (key === 'status') return { kind: 'conntrackStatus' };
    if (key === 'direction') return { kind: 'conntrackDirection' };
    if (key === 'mark') return { kind: 'number', field: 'connmark', type: 'mark', bits: 32 };
  }
  // NAT changes neither the protocol nor, within nftables, the family of a connection: both directions have the same.
  if (key === 'protocol') return { kind: 'number', field: 'originalProtocol', type: 'inet_proto', bits: 8 };
  if (key === 'l3proto') return { kind: 'number', field: 'family', type: 'nf_proto', bits: 8 };
  return tupleField(key, direction, scope) ?? { kind: 'unknown', module: `ct ${key}`, reason: `ct ${key} is not known before the connection` };
}

function tupleField(key: string, direction: string | undefined, scope: TableScope): Field | undefined {
  if (direction === 'original' && key === 'proto-src') return { kind: 'number', field: 'originalSourcePort', type: 'inet_service', bits: 16 };
  if (direction === 'original' && key === 'proto-dst') return { kind: 'number', field: 'originalDestinationPort', type: 'inet_service', bits: 16 };
  const [, written, side] = /^(?:(ip6?) )?([sd]addr)$/.exec(key) ?? [];
  const header = written ?? (scope.family === 'ip' || scope.family === 'ip6' ? scope.family : undefined);
  if (side === undefined || header === undefined || (direction !== 'original' && direction !== 'reply')) return undefined;
  const end = side === 'saddr' ? 'Source' : 'Destination';
  return { kind: 'address', field: `${direction}${end}`, of: header === 'ip' ? 4 : 6, family: header === 'ip' ? 2 : 10 };
}

function fibField(fib: Json): Field {
  const flags = new Set(wordsMember(fib, 'flags'));
  const result = textMember(fib, 'result') ?? '';
  if (result === 'type') {
    const limit = flags.has('iif') ? 'in' : flags.has('oif') ? 'out' : undefined;
    return { kind: 'addressType', side: flags.has('saddr') ? 'source' : 'destination', ...(limit !== undefined && { limit }) };
  }
  if (flags.has('saddr') && fibRoutes.has(result)) return { kind: 'reversePath', loose: !flags.has('iif'), validMark: flags.has('mark') };
  return { kind: 'unknown', module: `fib ${result}`, reason: 'the look-up in the routing tables is not one the walk makes' };
}

/** Results of fib that are empty when there is no route back; `check` is how newer releases of nft print `exists` and `missing`. */
const fibRoutes: ReadonlySet<string> = new Set(['oif', 'oifname', 'check']);

function randomField(generator: Json): Field {
  const modulus = numberMember(generator, 'mod') ?? 0;
  const offset = numberMember(generator, 'offset') ?? 0;
  if (!Number.isInteger(modulus) || modulus < 1 || !Number.isInteger(offset)) return { kind: 'unknown', module: 'numgen', reason: 'no modulus' };
  return { kind: 'random', modulus, offset };
}
