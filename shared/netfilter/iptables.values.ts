// Reads the values of iptables options: numbers, marks, ports, protocols and addresses. Every reader yields undefined for what it cannot read.
import { type Address, type Family, highest, type IntervalSet, parseAddress, parsePrefix, single, union } from '../model/address.ts';
import type { PortRange } from './rule.ts';

export const all32 = 0xffffffff;

/** An unsigned 32 bit number: decimal, 0x… or octal with a leading 0. */
export function parseU32(text: string): number | undefined {
  if (!/^(0x[0-9a-f]{1,8}|\d{1,11})$/i.test(text)) return undefined;
  const value = /^0\d/.test(text) ? Number.parseInt(text, 8) : Number(text);
  return value <= all32 ? value : undefined;
}

/** `VALUE` or `VALUE/MASK`. */
export function parseMark(text: string): { value: number; mask: number } | undefined {
  const [first, second, ...rest] = text.split('/') as [string, string?, ...string[]];
  const value = parseU32(first);
  const mask = second === undefined ? all32 : parseU32(second);
  return value === undefined || mask === undefined || rest.length > 0 ? undefined : { value, mask };
}

/** `N`, `LOW:HIGH`, `:HIGH`, `LOW:` within 0…max; `separator` is `-` in some options. */
export function parseRange(text: string, max: number, separator = ':'): PortRange | undefined {
  const whole = parsePort(text);
  if (whole !== undefined) return whole <= max ? { lo: whole, hi: whole } : undefined;
  const parts = text.split(separator);
  if (parts.length > 2 || text === '') return undefined;
  const lo = parts[0] === '' ? 0 : parsePort(parts[0] as string);
  const hi = parts.length === 1 ? lo : parts[1] === '' ? max : parsePort(parts[1] as string);
  return lo === undefined || hi === undefined || hi > max || lo > hi ? undefined : { lo, hi };
}

export const portMax = 65535;

/** A comma list of ports and `LOW:HIGH` ranges. */
export function parsePorts(text: string): IntervalSet | undefined {
  const ranges = text.split(',').map((part) => parseRange(part, portMax));
  return ranges.includes(undefined) ? undefined : union(ranges.map((range) => toInterval(range as PortRange)));
}

export function toInterval({ lo, hi }: PortRange): { lo: bigint; hi: bigint } {
  return { lo: BigInt(lo), hi: BigInt(hi) };
}

/** Numbers, and the names in common use: iptables-save prints numbers. */
export function parsePort(text: string): number | undefined {
  if (/^\d{1,10}$/.test(text)) return Number(text);
  return portNames.get(text);
}

const portNames: ReadonlyMap<string, number> = new Map(
  Object.entries({
    'ftp-data': 20,
    ftp: 21,
    ssh: 22,
    telnet: 23,
    smtp: 25,
    domain: 53,
    bootps: 67,
    bootpc: 68,
    tftp: 69,
    http: 80,
    www: 80,
    kerberos: 88,
    pop3: 110,
    sunrpc: 111,
    auth: 113,
    ntp: 123,
    'netbios-ns': 137,
    'netbios-dgm': 138,
    'netbios-ssn': 139,
    imap2: 143,
    imap: 143,
    snmp: 161,
    bgp: 179,
    ldap: 389,
    https: 443,
    'microsoft-ds': 445,
    syslog: 514,
    ldaps: 636,
    imaps: 993,
    pop3s: 995,
    openvpn: 1194,
    mysql: 3306,
    nfs: 2049,
    postgresql: 5432,
    mdns: 5353,
    'http-alt': 8080,
  }),
);

/** Protocol by number or name; 0 is every protocol. */
export function parseProtocol(text: string): number | undefined {
  if (/^\d{1,3}$/.test(text)) return Number(text) <= 255 ? Number(text) : undefined;
  return protocolNames.get(text.toLowerCase());
}

const protocolNames: ReadonlyMap<string, number> = new Map(
  Object.entries({
    all: 0,
    icmp: 1,
    igmp: 2,
    ipencap: 4,
    ipip: 4,
    ipv4: 4,
    tcp: 6,
    egp: 8,
    igp: 9,
    udp: 17,
    dccp: 33,
    ipv6: 41,
    'ipv6-route': 43,
    'ipv6-frag': 44,
    rsvp: 46,
    gre: 47,
    esp: 50,
    'ipsec-esp': 50,
    ah: 51,
    'ipsec-ah': 51,
    'ipv6-icmp': 58,
    icmpv6: 58,
    'ipv6-nonxt': 59,
    'ipv6-opts': 60,
    eigrp: 88,
    ospf: 89,
    pim: 103,
    ipcomp: 108,
    vrrp: 112,
    l2tp: 115,
    sctp: 132,
    'mobility-header': 135,
    'ipv6-mh': 135,
    mh: 135,
    udplite: 136,
  }),
);

/** A comma list of `ADDRESS`, `ADDRESS/LENGTH` and `ADDRESS/MASK`; names and masks with holes are not read. */
export function parseAddresses(text: string, family: Family): IntervalSet | undefined {
  if (family === 4 && text.endsWith('/32') && !text.includes(',')) {
    const address = parseAddress(text.slice(0, -3));
    return address?.family === 4 ? single(address.value) : undefined;
  }
  const set = [];
  for (const part of text.split(',')) {
    const prefix = parsePrefix(part === '0/0' && family === 4 ? '0.0.0.0/0' : part);
    if (prefix?.family !== family) return undefined;
    set.push(prefix.interval);
  }
  return set.length === 1 ? set : union(set);
}

/** `FIRST-LAST` or one address. */
export function parseAddressRange(text: string, family: Family): IntervalSet | undefined {
  const [first, last, ...rest] = text.split('-') as [string, string?, ...string[]];
  const lo = ofFamily(parseAddress(first), family);
  const hi = last === undefined ? lo : ofFamily(parseAddress(last), family);
  if (lo === undefined || hi === undefined || rest.length > 0 || lo > hi) return undefined;
  return lo === hi ? single(lo) : [{ lo, hi }];
}

function ofFamily(address: Address | undefined, family: Family): bigint | undefined {
  return address?.family === family ? address.value : undefined;
}

/** Whether a set is every address of a family. */
export function isEverything(set: IntervalSet, family: Family): boolean {
  return set.length === 1 && set[0]?.lo === 0n && set[0].hi === highest(family);
}
