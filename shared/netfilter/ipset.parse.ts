// Reads `ipset save`: every set with its entries, each part of an entry as the interval of values that it stands for.
import type { Family } from '../model/address.ts';
import { parseAddress, parsePrefix } from '../model/address.ts';
import { protocolWords } from './nft.words.ts';
import type { Ipset, IpsetEntry, IpsetPart, Issue } from './ruleset.ts';

/** The sets of a dump in their order, what could not be read, and every line as it was. */
export interface IpsetsParsed {
  readonly sets: readonly Ipset[];
  readonly issues: readonly Issue[];
  readonly lines: readonly string[];
}

/** Parses `ipset save` text. Never throws; every line is a set, an entry, an issue, or empty, a comment or `COMMIT`. */
export function parseIpset(text: string): IpsetsParsed {
  const lines = text.split('\n');
  const sets = new Map<string, OpenSet>();
  const issues: Issue[] = [];
  for (const [index, line] of lines.entries()) {
    const reason = readLine({ text: line, line: index + 1 }, sets);
    if (reason !== undefined) issues.push({ line: index + 1, text: line, reason });
  }
  return { sets: [...sets.values()], issues, lines };
}

/** Prints what was parsed; the same text byte for byte. */
export function printIpset({ lines }: Pick<IpsetsParsed, 'lines'>): string {
  return lines.join('\n');
}

/** Sets by name. */
export function indexIpsets(sets: readonly Ipset[]): ReadonlyMap<string, Ipset> {
  return new Map(sets.map((set) => [set.name, set]));
}

interface OpenSet extends Ipset {
  readonly entries: IpsetEntry[];
  /** Bits of an address that count, from the left: packets are looked up by what is left of theirs. */
  readonly netmask?: number;
}

interface Line {
  readonly text: string;
  readonly line: number;
}

/** Undefined when the line was read, else why it was not. */
function readLine({ text, line }: Line, sets: Map<string, OpenSet>): string | undefined {
  const trimmed = text.trim();
  if (trimmed === '' || trimmed.startsWith('#') || trimmed === 'COMMIT') return undefined;
  const words = splitWords(trimmed);
  if (words === undefined) return 'a quote is not closed';
  const [command = '', name, third, ...options] = words;
  if (name === undefined || third === undefined) return 'neither a set nor an entry';
  if (createCommands.has(command)) return createSet({ name, type: third, options, line }, sets);
  if (!addCommands.has(command)) return `unknown command: ${command}`;
  const set = sets.get(name);
  if (set === undefined) return `the set ${name} was not created before`;
  const entry = readEntry({ value: third, options, line }, set);
  if (typeof entry === 'string') return entry;
  set.entries.push(entry);
  return undefined;
}

const createCommands: ReadonlySet<string> = new Set(['create', '-N', 'n', '--create']);
const addCommands: ReadonlySet<string> = new Set(['add', '-A', 'a', '--add']);

/** Words parted by blanks; a comment in quotes is one word, without them. Undefined when a quote is not closed. */
function splitWords(text: string): string[] | undefined {
  const words: string[] = [];
  const pattern = /"((?:[^"\\]|\\.)*)"|(\S+)/g;
  for (const [whole, quoted, bare] of text.matchAll(pattern)) {
    if (quoted === undefined && whole.startsWith('"')) return undefined;
    words.push(quoted ?? bare ?? '');
  }
  return words;
}

interface Created {
  readonly name: string;
  readonly type: string;
  readonly options: readonly string[];
  readonly line: number;
}

function createSet({ name, type, options, line }: Created, sets: Map<string, OpenSet>): string | undefined {
  if (sets.has(name)) return `the set ${name} was created before`;
  const at = options.indexOf('family');
  const family: Family = at >= 0 && options[at + 1] === 'inet6' ? 6 : 4;
  sets.set(name, { name, type, family, entries: [], line, ...readMask(options, family) });
  return dimensionsOf(type) === undefined ? `unknown type of set: ${type}` : undefined;
}

/** `netmask LENGTH`, or `bitmask ADDRESS`, which may have holes. */
function readMask(options: readonly string[], family: Family): Pick<OpenSet, 'netmask' | 'doubt'> {
  const valueOf = (name: string): string | undefined => (options.includes(name) ? options[options.indexOf(name) + 1] : undefined);
  const length = valueOf('netmask');
  if (length !== undefined && /^\d{1,3}$/.test(length)) return { netmask: Number(length) };
  const text = valueOf('bitmask');
  const mask = text === undefined ? undefined : parseAddress(text);
  if (mask === undefined) return {};
  const bits = mask.value.toString(2).padStart(family === 4 ? 32 : 128, '0');
  return /^1*0*$/.test(bits) ? { netmask: bits.lastIndexOf('1') + 1 } : { doubt: `addresses are compared under the mask ${text}` };
}

type Dimension = 'ip' | 'net' | 'port' | 'iface' | 'mark' | 'mac' | 'set';

const dimensions: ReadonlySet<string> = new Set<Dimension>(['ip', 'net', 'port', 'iface', 'mark', 'mac', 'set']);
const storages: ReadonlySet<string> = new Set(['hash', 'bitmap', 'list']);

/** Names of types before ipset 5. */
const oldTypes: ReadonlyMap<string, readonly Dimension[]> = new Map<string, readonly Dimension[]>([
  ['iphash', ['ip']],
  ['nethash', ['net']],
  ['ipporthash', ['ip', 'port']],
  ['ipportiphash', ['ip', 'port', 'ip']],
  ['ipportnethash', ['ip', 'port', 'net']],
  ['ipmap', ['ip']],
  ['macipmap', ['ip', 'mac']],
  ['portmap', ['port']],
  ['setlist', ['set']],
]);

function dimensionsOf(type: string): readonly Dimension[] | undefined {
  const old = oldTypes.get(type);
  if (old !== undefined) return old;
  const colon = type.indexOf(':');
  const parts = type.slice(colon + 1).split(',');
  return colon > 0 && storages.has(type.slice(0, colon)) && parts.every((part) => dimensions.has(part)) ? (parts as Dimension[]) : undefined;
}

interface Added {
  readonly value: string;
  readonly options: readonly string[];
  readonly line: number;
}

function readEntry({ value, options, line }: Added, set: OpenSet): IpsetEntry | string {
  const expected = dimensionsOf(set.type);
  if (expected === undefined) return `unknown type of set: ${set.type}`;
  const texts = value.split(',');
  // bitmap:ip,mac may hold addresses whose MAC is not known yet.
  if (texts.length > expected.length || (texts.length < expected.length && !set.type.startsWith('bitmap:'))) {
    return `${set.type} needs ${expected.length} parts, not ${texts.length}`;
  }
  const parts: IpsetPart[] = [];
  for (const [index, text] of texts.entries()) {
    const read = readPart(text, expected[index] as Dimension, set);
    const part = read === undefined ? undefined : widened(read, options, set);
    if (part === undefined) return `cannot read ${JSON.stringify(text)} as ${expected[index]}`;
    parts.push(part);
  }
  const timeout = optionValue(options, 'timeout');
  const comment = optionValue(options, 'comment');
  const timeoutSeconds = timeout !== undefined && /^\d{1,10}$/.test(timeout) ? Number(timeout) : undefined;
  return {
    parts,
    nomatch: hasFlag(options, 'nomatch'),
    ...(timeoutSeconds !== undefined && { timeoutSeconds }),
    ...(comment !== undefined && { comment }),
    line,
  };
}

/** An address of a set with a mask stands for all that are the same under it, an interface with `wildcard` for all that begin so. */
function widened(part: IpsetPart, options: readonly string[], { family, netmask }: OpenSet): IpsetPart {
  if (part.kind === 'interface' && hasFlag(options, 'wildcard')) return { ...part, prefix: true };
  if (part.kind !== 'address' || netmask === undefined) return part;
  const rest = (1n << BigInt((family === 4 ? 32 : 128) - netmask)) - 1n;
  return { ...part, lo: part.lo & ~rest, hi: part.hi | rest };
}

/** Options of an entry that take no value; every other takes one. */
const flags: ReadonlySet<string> = new Set(['nomatch', 'wildcard']);

/** The value of an option; walks the options in pairs, so that a comment which reads like an option is not taken for one. */
function optionValue(options: readonly string[], name: string): string | undefined {
  for (let at = 0; at < options.length; at += flags.has(options[at] ?? '') ? 1 : 2) if (options[at] === name) return options[at + 1];
  return undefined;
}

function hasFlag(options: readonly string[], name: string): boolean {
  for (let at = 0; at < options.length; at += flags.has(options[at] ?? '') ? 1 : 2) if (options[at] === name) return true;
  return false;
}

function readPart(text: string, dimension: Dimension, set: Ipset): IpsetPart | undefined {
  switch (dimension) {
    case 'ip':
    case 'net':
      return addressPart(text, set.family);
    case 'port':
      return set.type === 'bitmap:port' || set.type === 'portmap' ? barePortPart(text) : portPart(text);
    case 'iface':
      return text.startsWith('physdev:') ? { kind: 'interface', name: text.slice(8), physical: true } : { kind: 'interface', name: text, physical: false };
    case 'mark':
      return /^(0x[0-9a-f]{1,8}|\d{1,10})$/i.test(text) && Number(text) <= 0xffffffff ? { kind: 'mark', mark: Number(text) } : undefined;
    case 'mac':
      return /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(text) ? { kind: 'mac', mac: text.toLowerCase() } : undefined;
    case 'set':
      return { kind: 'set', name: text };
  }
}

function addressPart(text: string, family: Family): IpsetPart | undefined {
  const dash = text.indexOf('-');
  if (dash > 0) {
    const lo = parseAddress(text.slice(0, dash));
    const hi = parseAddress(text.slice(dash + 1));
    return lo?.family === family && hi?.family === family && lo.value <= hi.value ? { kind: 'address', lo: lo.value, hi: hi.value } : undefined;
  }
  const prefix = parsePrefix(text);
  return prefix?.family === family ? { kind: 'address', ...prefix.interval, length: prefix.length } : undefined;
}

/** `tcp:80`, `17:53`, `80` (TCP), `icmp:echo-request`, `icmp:8/0`; ICMP holds type and code where a port would be, as the kernel does. */
function portPart(text: string): IpsetPart | undefined {
  const colon = text.lastIndexOf(':');
  const protocol = colon < 0 ? 6 : protocolNumber(text.slice(0, colon));
  const value = text.slice(colon + 1);
  if (protocol === undefined) return undefined;
  const range = protocol === 1 || protocol === 58 ? icmpRange(value, protocol) : portRange(value);
  return range && { kind: 'port', protocol, ...range };
}

function barePortPart(text: string): IpsetPart | undefined {
  const range = portRange(text);
  return range && { kind: 'port', ...range };
}

function portRange(text: string): { lo: number; hi: number } | undefined {
  const [, from, to] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? [];
  if (from === undefined) return undefined;
  const lo = Number(from);
  const hi = Number(to ?? from);
  return lo <= hi && hi <= 65535 ? { lo, hi } : undefined;
}

function protocolNumber(text: string): number | undefined {
  if (/^\d{1,3}$/.test(text)) return Number(text) <= 255 ? Number(text) : undefined;
  const number = protocolWords.get(text);
  return number === undefined ? undefined : Number(number);
}

/** Type × 256 + code. Names with a code of their own as ipset prints them; names of a type alone mean code 0. */
function icmpRange(text: string, protocol: 1 | 58): { lo: number; hi: number } | undefined {
  const [, type, code] = /^(\d{1,3})\/(\d{1,3})$/.exec(text) ?? [];
  const value = type === undefined ? (protocol === 1 ? icmpNames : icmpv6Names).get(text) : [Number(type), Number(code)];
  const [number, detail] = value ?? [];
  if (number === undefined || detail === undefined || number > 255 || detail > 255) return undefined;
  return { lo: number * 256 + detail, hi: number * 256 + detail };
}

/** As in `ipset help` (lib/icmp.c of ipset). */
const icmpNames: ReadonlyMap<string, readonly [number, number]> = new Map<string, readonly [number, number]>([
  ['echo-reply', [0, 0]],
  ['pong', [0, 0]],
  ['network-unreachable', [3, 0]],
  ['host-unreachable', [3, 1]],
  ['protocol-unreachable', [3, 2]],
  ['port-unreachable', [3, 3]],
  ['fragmentation-needed', [3, 4]],
  ['source-route-failed', [3, 5]],
  ['network-unknown', [3, 6]],
  ['host-unknown', [3, 7]],
  ['network-prohibited', [3, 9]],
  ['host-prohibited', [3, 10]],
  ['TOS-network-unreachable', [3, 11]],
  ['TOS-host-unreachable', [3, 12]],
  ['communication-prohibited', [3, 13]],
  ['host-precedence-violation', [3, 14]],
  ['precedence-cutoff', [3, 15]],
  ['source-quench', [4, 0]],
  ['network-redirect', [5, 0]],
  ['host-redirect', [5, 1]],
  ['TOS-network-redirect', [5, 2]],
  ['TOS-host-redirect', [5, 3]],
  ['echo-request', [8, 0]],
  ['ping', [8, 0]],
  ['router-advertisement', [9, 0]],
  ['router-solicitation', [10, 0]],
  ['ttl-zero-during-transit', [11, 0]],
  ['ttl-zero-during-reassembly', [11, 1]],
  ['ip-header-bad', [12, 0]],
  ['required-option-missing', [12, 1]],
  ['timestamp-request', [13, 0]],
  ['timestamp-reply', [14, 0]],
  ['address-mask-request', [17, 0]],
  ['address-mask-reply', [18, 0]],
]);

/** As in lib/icmpv6.c of ipset. */
const icmpv6Names: ReadonlyMap<string, readonly [number, number]> = new Map<string, readonly [number, number]>([
  ['no-route', [1, 0]],
  ['communication-prohibited', [1, 1]],
  ['address-unreachable', [1, 3]],
  ['port-unreachable', [1, 4]],
  ['packet-too-big', [2, 0]],
  ['ttl-zero-during-transit', [3, 0]],
  ['ttl-zero-during-reassembly', [3, 1]],
  ['bad-header', [4, 0]],
  ['unknown-header-type', [4, 1]],
  ['unknown-option', [4, 2]],
  ['echo-request', [128, 0]],
  ['ping', [128, 0]],
  ['echo-reply', [129, 0]],
  ['pong', [129, 0]],
  ['router-solicitation', [133, 0]],
  ['router-advertisement', [134, 0]],
  ['neighbour-solicitation', [135, 0]],
  ['neigbour-solicitation', [135, 0]],
  ['neighbour-advertisement', [136, 0]],
  ['neigbour-advertisement', [136, 0]],
  ['redirect', [137, 0]],
]);
