// The matches of iptables: what the options of each `-m NAME` ask of a packet. A new match is a new entry here.
import { type IntervalSet, single, union } from '../model/address.ts';
import { icmpTypes, icmpv6Types, type TypeAndCode } from './iptables.icmp.ts';
import { arities, firstValue, type GivenOption, type MatchModule, type OptionReader, optionByOption, optionOf, undecidable } from './iptables.options.ts';
import {
  all32,
  parseAddresses,
  parseAddressRange,
  parseMark,
  parsePorts,
  parseProtocol,
  parseRange,
  parseU32,
  portMax,
  toInterval,
} from './iptables.values.ts';
import type { AddressField, AddressType, Condition, ConntrackState, ConntrackStatus, InterfaceField, InterfacePattern, NumberField, Side } from './rule.ts';
import { chunkList } from './sctp.ts';

const nothing: OptionReader = () => [];

const number = (field: NumberField, set: IntervalSet, negate: boolean): Condition => ({ kind: 'number', field, set, negate });
const may = (module: string, reason: string): Condition => ({ kind: 'may', module, reason });

const ports =
  (field: NumberField): OptionReader =>
  ({ values, negate }) => {
    const set = parsePorts(values[0] ?? '');
    if (set === undefined) return undefined;
    return !negate && isEveryPort(set) ? [] : [number(field, set, negate)];
  };

/** `--sport :` asks for nothing. */
const isEveryPort = (set: IntervalSet): boolean => set.length === 1 && set[0]?.lo === 0n && set[0].hi === BigInt(portMax);

const range =
  (field: NumberField, max: number): OptionReader =>
  ({ values, negate }) => {
    const found = parseRange(values[0] ?? '', max);
    return found === undefined ? undefined : [number(field, [toInterval(found)], negate)];
  };

const address =
  (field: AddressField): OptionReader =>
  ({ values, negate }, { family }) => {
    const set = parseAddresses(values[0] ?? '', family);
    return set === undefined ? undefined : [{ kind: 'address', field, family, set, negate }];
  };

const addressRange =
  (field: Side): OptionReader =>
  ({ values, negate }, { family }) => {
    const set = parseAddressRange(values[0] ?? '', family);
    return set === undefined ? undefined : [{ kind: 'address', field, family, set, negate }];
  };

const mark =
  (field: 'mark' | 'connmark'): OptionReader =>
  ({ values, negate }) => {
    const found = parseMark(values[0] ?? '');
    if (found === undefined) return undefined;
    const set = single(BigInt(found.value));
    return [found.mask === all32 ? number(field, set, negate) : { kind: 'number', field, mask: BigInt(found.mask), set, negate }];
  };

const mayHold =
  (module: string, reason: string): OptionReader =>
  () => [may(module, reason)];

/** `eth0`, or `cali+` for every name that begins so. */
export function interfacePattern(text: string): InterfacePattern {
  return text.endsWith('+') ? { name: text.slice(0, -1), prefix: true } : { name: text, prefix: false };
}

const device =
  (field: InterfaceField): OptionReader =>
  ({ values, negate }) => [{ kind: 'interface', field, patterns: [interfacePattern(values[0] ?? '')], negate }];

const anyDevice =
  (field: InterfaceField): OptionReader =>
  ({ negate }) => [{ kind: 'interface', field, patterns: [{ name: '', prefix: true }], negate }];

const portOptions: Readonly<Record<string, OptionReader>> = {
  '--sport:1': ports('sourcePort'),
  '--source-port:1': ports('sourcePort'),
  '--dport:1': ports('destinationPort'),
  '--destination-port:1': ports('destinationPort'),
};

const flagBits: ReadonlyMap<string, bigint> = new Map([
  ['FIN', 1n],
  ['SYN', 2n],
  ['RST', 4n],
  ['PSH', 8n],
  ['ACK', 16n],
  ['URG', 32n],
  ['ALL', 63n],
  ['NONE', 0n],
]);

function readFlags(text: string): bigint | undefined {
  let bits = 0n;
  for (const name of text.split(',')) {
    const bit = flagBits.get(name.toUpperCase());
    if (bit === undefined) return undefined;
    bits |= bit;
  }
  return bits;
}

const tcpFlags: OptionReader = ({ values, negate }) => {
  const mask = readFlags(values[0] ?? '');
  const set = readFlags(values[1] ?? '');
  return mask === undefined || set === undefined ? undefined : [{ kind: 'number', field: 'tcpFlags', mask, set: single(set), negate }];
};

/** SYN set; RST, ACK and FIN not. */
const syn: OptionReader = ({ negate }) => [{ kind: 'number', field: 'tcpFlags', mask: 23n, set: single(2n), negate }];

/** Packets that the walk follows hold one chunk: `any` and `only` are the same for them, `all` asks for a list of just that one (xt_sctp). */
const chunkTypes: OptionReader = ({ values, negate }) => {
  const [how, list = ''] = values;
  const set = chunkList(list);
  if (set === undefined || (how !== 'any' && how !== 'only' && how !== 'all')) return undefined;
  if (set === 'flags') return [may('sctp', 'flags of chunks are not known before the packet')];
  const isOne = set.length === 1 && set[0]?.lo === set[0]?.hi;
  if (how !== 'all' || isOne) return [number('sctpChunk', union(set), negate)];
  return (set.length === 0) === negate ? [{ kind: 'never', reason: 'no packet holds all of these chunks' }] : [];
};

const icmpType =
  (module: string, names: ReadonlyMap<string, TypeAndCode>): OptionReader =>
  ({ values, negate }) => {
    const text = values[0] ?? '';
    const found = names.get(text) ?? icmpNumbers(text);
    if (text === 'any' || found?.[0] === anyType) return negate ? [{ kind: 'never', reason: `no ${module} packet is of no type` }] : [];
    if (found === undefined) return undefined;
    const [type, code, codeMax = code] = found;
    if (code === undefined) return [number('icmpType', single(BigInt(type)), negate)];
    if (negate) return [may(module, `any type and code but ${text} is not judged`)];
    return [number('icmpType', single(BigInt(type)), false), number('icmpCode', [toInterval({ lo: code, hi: codeMax as number })], false)];
  };

/** Type 255 is "any" to iptables. */
const anyType = 255;

/** `TYPE`, `TYPE/CODE` or `TYPE/LOW:HIGH`. */
function icmpNumbers(text: string): TypeAndCode | undefined {
  const [type, code] = text.split('/') as [string, string?];
  const codes = code === undefined ? undefined : parseRange(code, 255);
  if (!/^\d{1,3}$/.test(type) || Number(type) > 255 || (code !== undefined && codes === undefined)) return undefined;
  return codes === undefined ? [Number(type)] : [Number(type), codes.lo, codes.hi];
}

/** One of both ports: two steps say "neither", no steps say "either". */
const eitherPort: OptionReader = ({ values, negate }) => {
  const set = parsePorts(values[0] ?? '');
  if (set === undefined) return undefined;
  return negate
    ? [number('sourcePort', set, true), number('destinationPort', set, true)]
    : [may('multiport', '--ports asks for the source or the destination port')];
};

const addressTypes: ReadonlySet<string> = new Set([
  'UNSPEC',
  'UNICAST',
  'LOCAL',
  'BROADCAST',
  'ANYCAST',
  'MULTICAST',
  'BLACKHOLE',
  'UNREACHABLE',
  'PROHIBIT',
  'THROW',
  'NAT',
  'XRESOLVE',
]);

const addrtype: MatchModule = {
  options: new Map([
    ['--src-type', 1],
    ['--dst-type', 1],
    ['--limit-iface-in', 0],
    ['--limit-iface-out', 0],
  ]),
  read(given) {
    const limit = optionOf(given, '--limit-iface-in') ? 'in' : optionOf(given, '--limit-iface-out') ? 'out' : undefined;
    const conditions: Condition[] = [];
    for (const { name, values, negate } of given) {
      if (name.startsWith('--limit')) continue;
      const words = (values[0] ?? '').toUpperCase().split(',');
      if (!words.every((word) => addressTypes.has(word))) return undefined;
      const anyOf = words.map((word) => word.toLowerCase() as AddressType);
      conditions.push({
        kind: 'addressType',
        side: name === '--src-type' ? 'source' : 'destination',
        anyOf,
        negate,
        ...(limit === undefined ? {} : { limit }),
      });
    }
    return conditions;
  },
};

const states: ReadonlySet<string> = new Set(['NEW', 'ESTABLISHED', 'RELATED', 'INVALID', 'UNTRACKED', 'DNAT', 'SNAT']);

const conntrackState: OptionReader = ({ values, negate }) => {
  const words = (values[0] ?? '').toUpperCase().split(',');
  if (!words.every((word) => states.has(word))) return undefined;
  return [{ kind: 'conntrackState', anyOf: words.map((word) => word.toLowerCase() as ConntrackState), negate }];
};

const statuses: ReadonlyMap<string, ConntrackStatus | undefined> = new Map([
  ['NONE', undefined],
  ['EXPECTED', 'expected'],
  ['SEEN_REPLY', 'seen-reply'],
  ['ASSURED', 'assured'],
  ['CONFIRMED', 'confirmed'],
]);

/** NONE is the empty mask: no status bit is in it, so that it never holds. */
const conntrackStatus: OptionReader = ({ values, negate }) => {
  const words = (values[0] ?? '').toUpperCase().split(',');
  if (!words.every((word) => statuses.has(word))) return undefined;
  const anyOf = words.map((word) => statuses.get(word)).filter((status) => status !== undefined);
  if (anyOf.length > 0) return [{ kind: 'conntrackStatus', anyOf, negate }];
  return negate ? [] : [{ kind: 'never', reason: '--ctstatus NONE holds for no packet' }];
};

const conntrackDirection: OptionReader = ({ values, negate }) => {
  const word = (values[0] ?? '').toUpperCase();
  if (word !== 'ORIGINAL' && word !== 'REPLY') return undefined;
  return [{ kind: 'conntrackDirection', direction: word === 'REPLY' ? 'reply' : 'original', negate }];
};

const originalProtocol: OptionReader = ({ values, negate }) => {
  const protocol = parseProtocol(values[0] ?? '');
  return protocol === undefined ? undefined : [number('originalProtocol', single(BigInt(protocol)), negate)];
};

const statistic: MatchModule = {
  options: new Map([
    ['--mode', 1],
    ['--probability', 1],
    ['--every', 1],
    ['--packet', 1],
  ]),
  read(given) {
    const random = optionOf(given, '--probability');
    const nth = optionOf(given, '--every');
    const chance = random !== undefined ? Number(random.values[0]) : 1 / (parseU32(nth?.values[0] ?? '') ?? Number.NaN);
    if (!(chance >= 0 && chance <= 1)) return undefined;
    return [{ kind: 'random', probability: chance, negate: (random ?? nth)?.negate === true }];
  },
};

const recentOperations = ['set', 'rcheck', 'update', 'remove'] as const;

/** A hit count above one needs earlier packets, which the walk does not have. */
const recent: MatchModule = {
  options: new Map([
    ...recentOperations.map((operation): [string, number] => [`--${operation}`, 0]),
    ['--name', 1],
    ['--seconds', 1],
    ['--hitcount', 1],
    ['--reap', 0],
    ['--rttl', 0],
    ['--rsource', 0],
    ['--rdest', 0],
    ['--mask', 1],
  ]),
  read(given) {
    const operation = recentOperations.find((name) => optionOf(given, `--${name}`));
    if (operation === undefined) return undefined;
    if (operation !== 'set' && (parseU32(firstValue(given, '--hitcount') ?? '1') ?? 2) > 1)
      return [may('recent', '--hitcount asks for earlier packets of the client')];
    const negate = optionOf(given, `--${operation}`)?.negate === true;
    return [{ kind: 'recent', operation, list: firstValue(given, '--name') ?? 'DEFAULT', side: optionOf(given, '--rdest') ? 'destination' : 'source', negate }];
  },
};

const setCounters = ['--packets-eq', '--packets-lt', '--packets-gt', '--bytes-eq', '--bytes-lt', '--bytes-gt'];

/** `--set` is the old spelling of `--match-set`. */
const set: MatchModule = {
  options: new Map([
    ['--match-set', 2],
    ['--set', 2],
    ['--return-nomatch', 0],
    ['--update-counters', 0],
    ['--update-subcounters', 0],
    ...setCounters.map((name): [string, number] => [name, 1]),
  ]),
  read(given) {
    const option = optionOf(given, '--match-set') ?? optionOf(given, '--set');
    const words = (option?.values[1] ?? '').split(',');
    if (option === undefined || !words.every((word) => word === 'src' || word === 'dst')) return undefined;
    const sides = words.map((word): Side => (word === 'src' ? 'source' : 'destination'));
    const condition: Condition = { kind: 'ipset', set: option.values[0] as string, sides, negate: option.negate };
    if (optionOf(given, '--return-nomatch')) return [may('set', '--return-nomatch asks which element matched')];
    return given.some(({ name }) => setCounters.includes(name)) ? [condition, may('set', 'depends on the counters of the set')] : [condition];
  },
};

const rpfilter: MatchModule = {
  options: new Map([
    ['--loose', 0],
    ['--validmark', 0],
    ['--accept-local', 0],
    ['--invert', 0],
  ]),
  read: (given) => [
    {
      kind: 'reversePath',
      loose: optionOf(given, '--loose') !== undefined,
      validMark: optionOf(given, '--validmark') !== undefined,
      negate: optionOf(given, '--invert') !== undefined,
    },
  ],
};

const hopLimit = (prefix: string): MatchModule =>
  optionByOption({
    [`--${prefix}-eq:1`]: range('ttl', 255),
    [`--${prefix}-lt:1`]: (given) => compareHops(given, (value) => [0, value - 1]),
    [`--${prefix}-gt:1`]: (given) => compareHops(given, (value) => [value + 1, 255]),
    [`--${prefix}:1`]: range('ttl', 255),
  });

function compareHops({ values, negate }: GivenOption, bounds: (value: number) => [number, number]): readonly Condition[] | undefined {
  const value = parseU32(values[0] ?? '');
  if (value === undefined) return undefined;
  const [lo, hi] = bounds(value);
  return [number('ttl', lo > hi ? [] : [{ lo: BigInt(lo), hi: BigInt(hi) }], negate)];
}

const dscpClasses: ReadonlyMap<string, number> = new Map([
  ...Array.from({ length: 8 }, (_, i): [string, number] => [`CS${i}`, 8 * i]),
  ...[1, 2, 3, 4].flatMap((i) => [1, 2, 3].map((j): [string, number] => [`AF${i}${j}`, 8 * i + 2 * j])),
  ['BE', 0],
  ['EF', 46],
]);

function dscp({ values, negate }: GivenOption): readonly Condition[] | undefined {
  const word = values[0] ?? '';
  const value = dscpClasses.get(word.toUpperCase()) ?? parseU32(word);
  return value === undefined || value > 63 ? undefined : [number('dscp', single(BigInt(value)), negate)];
}

const packetTypes: ReadonlyMap<string, bigint> = new Map([
  ['unicast', 0n],
  ['host', 0n],
  ['broadcast', 1n],
  ['multicast', 2n],
]);

function packetType({ values, negate }: GivenOption): readonly Condition[] | undefined {
  const type = packetTypes.get((values[0] ?? '').toLowerCase());
  return type === undefined ? undefined : [number('packetType', single(type), negate)];
}

/** A first packet of TCP, UDP or SCTP has no such header; a match of a header that is absent fails, negated or not. */
const absentHeader = (options: string): MatchModule => ({
  options: arities(options),
  read: () => [{ kind: 'never', reason: 'the packets in question have no IPv6 extension headers' }],
});

const cgroup = 'depends on the process that sent the packet';
const payload = 'depends on the bytes of the packet';
const rate = 'depends on the rate of packets';
const header = 'depends on header fields that are not known before the packet';

/** Every match, by the name behind `-m`. */
export const matchModules: ReadonlyMap<string, MatchModule> = new Map<string, MatchModule>([
  [
    'tcp',
    optionByOption({
      ...portOptions,
      '--tcp-flags:2': tcpFlags,
      '--syn': syn,
      '--tcp-option:1': mayHold('tcp', 'TCP options are not known before the packet'),
    }),
  ],
  ['udp', optionByOption(portOptions)],
  ['udplite', optionByOption(portOptions)],
  ['sctp', optionByOption({ ...portOptions, '--chunk-types:2': chunkTypes })],
  ['dccp', optionByOption({ ...portOptions, '--dccp-types:1': mayHold('dccp', header), '--dccp-option:1': mayHold('dccp', header) })],
  ['icmp', optionByOption({ '--icmp-type:1': icmpType('icmp', icmpTypes) })],
  ['icmp6', optionByOption({ '--icmpv6-type:1': icmpType('icmp6', icmpv6Types) })],
  [
    'multiport',
    optionByOption({
      '--sports:1': ports('sourcePort'),
      '--source-ports:1': ports('sourcePort'),
      '--dports:1': ports('destinationPort'),
      '--destination-ports:1': ports('destinationPort'),
      '--ports:1': eitherPort,
    }),
  ],
  ['iprange', optionByOption({ '--src-range:1': addressRange('source'), '--dst-range:1': addressRange('destination') })],
  ['addrtype', addrtype],
  [
    'conntrack',
    optionByOption({
      '--ctstate:1': conntrackState,
      '--ctproto:1': originalProtocol,
      '--ctorigsrc:1': address('originalSource'),
      '--ctorigdst:1': address('originalDestination'),
      '--ctreplsrc:1': address('replySource'),
      '--ctrepldst:1': address('replyDestination'),
      '--ctorigsrcport:1': range('originalSourcePort', 65535),
      '--ctorigdstport:1': range('originalDestinationPort', 65535),
      '--ctreplsrcport:1': mayHold('conntrack', 'the reply port is the choice of the kernel'),
      '--ctrepldstport:1': mayHold('conntrack', 'the reply port is the choice of the kernel'),
      '--ctstatus:1': conntrackStatus,
      '--ctexpire:1': mayHold('conntrack', 'depends on the remaining lifetime of the connection'),
      '--ctdir:1': conntrackDirection,
    }),
  ],
  ['state', optionByOption({ '--state:1': conntrackState })],
  ['mark', optionByOption({ '--mark:1': mark('mark') })],
  ['connmark', optionByOption({ '--mark:1': mark('connmark') })],
  ['statistic', statistic],
  ['recent', recent],
  ['set', set],
  ['rpfilter', rpfilter],
  [
    'physdev',
    optionByOption({
      '--physdev-in:1': device('physicalIn'),
      '--physdev-out:1': device('physicalOut'),
      '--physdev-is-in': anyDevice('physicalIn'),
      '--physdev-is-out': anyDevice('physicalOut'),
      '--physdev-is-bridged': mayHold('physdev', 'whether a packet is bridged or routed is known at the bridge only'),
    }),
  ],
  ['length', optionByOption({ '--length:1': range('length', 65535) })],
  ['ttl', hopLimit('ttl')],
  ['hl', hopLimit('hl')],
  ['dscp', optionByOption({ '--dscp:1': dscp, '--dscp-class:1': dscp })],
  ['pkttype', optionByOption({ '--pkt-type:1': packetType })],
  ['comment', optionByOption({ '--comment:1': nothing })],
  ['nfacct', optionByOption({ '--nfacct-name:1': nothing })],
  ['tos', undecidable('tos', header, '--tos:1')],
  ['ecn', undecidable('ecn', header, '--ecn-tcp-cwr --ecn-tcp-ece --ecn-ip-ect:1')],
  ['tcpmss', undecidable('tcpmss', header, '--mss:1')],
  ['ah', undecidable('ah', header, '--ahspi:1 --ahlen:1 --ahres')],
  ['esp', undecidable('esp', header, '--espspi:1')],
  ['ipcomp', undecidable('ipcomp', header, '--ipcompspi:1 --compres')],
  ['frag', absentHeader('--fragid:1 --fraglen:1 --fragres --fragfirst --fragmore --fraglast')],
  ['rt', absentHeader('--rt-type:1 --rt-segsleft:1 --rt-len:1 --rt-0-res --rt-0-addrs:1 --rt-0-not-strict')],
  ['hbh', absentHeader('--hbh-len:1 --hbh-opts:1')],
  ['dst', absentHeader('--dst-len:1 --dst-opts:1')],
  ['ipv6header', undecidable('ipv6header', header, '--header:1 --soft')],
  ['mh', undecidable('mh', header, '--mh-type:1')],
  ['srh', absentHeader(srhOptions())],
  ['eui64', undecidable('eui64', 'depends on the MAC address of the sender')],
  ['mac', undecidable('mac', 'depends on the MAC address of the sender', '--mac-source:1')],
  ['limit', undecidable('limit', rate, '--limit:1 --limit-burst:1')],
  ['hashlimit', undecidable('hashlimit', rate, hashlimitOptions())],
  [
    'connlimit',
    undecidable(
      'connlimit',
      'depends on the number of open connections',
      '--connlimit-upto:1 --connlimit-above:1 --connlimit-mask:1 --connlimit-saddr --connlimit-daddr',
    ),
  ],
  ['connbytes', undecidable('connbytes', 'depends on the traffic of the connection', '--connbytes:1 --connbytes-dir:1 --connbytes-mode:1')],
  ['connlabel', undecidable('connlabel', 'depends on the labels of the connection', '--label:1 --set')],
  ['helper', undecidable('helper', 'depends on the helper of the connection', '--helper:1')],
  ['quota', undecidable('quota', 'depends on the bytes counted so far', '--quota:1')],
  ['rateest', undecidable('rateest', rate, rateestOptions())],
  ['time', undecidable('time', 'depends on the time', timeOptions())],
  ['owner', undecidable('owner', cgroup, '--uid-owner:1 --gid-owner:1 --pid-owner:1 --sid-owner:1 --cmd-owner:1 --socket-exists --suppl-groups')],
  ['cgroup', undecidable('cgroup', cgroup, '--cgroup:1 --path:1')],
  ['socket', undecidable('socket', 'depends on the sockets of the node', '--transparent --nowildcard --restore-skmark')],
  ['string', undecidable('string', payload, '--from:1 --to:1 --algo:1 --string:1 --hex-string:1 --icase')],
  ['u32', undecidable('u32', payload, '--u32:1')],
  ['bpf', undecidable('bpf', payload, '--bytecode:1 --object-pinned:1')],
  ['ipvs', undecidable('ipvs', 'depends on the IPVS connection of the packet', '--ipvs --vproto:1 --vaddr:1 --vport:1 --vdir:1 --vmethod:1 --vportctl:1')],
  ['policy', undecidable('policy', 'depends on the IPsec policy of the packet', policyOptions())],
  ['cpu', undecidable('cpu', 'depends on the processor that takes the packet', '--cpu:1')],
  ['devgroup', undecidable('devgroup', 'depends on the group of the interface', '--src-group:1 --dst-group:1')],
  ['realm', undecidable('realm', 'depends on the realm of the route', '--realm:1')],
  [
    'cluster',
    undecidable(
      'cluster',
      'depends on a hash of the source',
      '--cluster-total-nodes:1 --cluster-local-node:1 --cluster-local-nodemask:1 --cluster-hash-seed:1',
    ),
  ],
  ['osf', undecidable('osf', payload, '--genre:1 --ttl:1 --log:1')],
]);

function hashlimitOptions(): string {
  return [
    '--hashlimit:1 --hashlimit-upto:1 --hashlimit-above:1 --hashlimit-burst:1 --hashlimit-mode:1 --hashlimit-srcmask:1 --hashlimit-dstmask:1 --hashlimit-name:1',
    '--hashlimit-htable-size:1 --hashlimit-htable-max:1 --hashlimit-htable-expire:1 --hashlimit-htable-gcinterval:1 --hashlimit-rate-match --hashlimit-rate-interval:1',
  ].join(' ');
}

function rateestOptions(): string {
  return [
    '--rateest:1 --rateest1:1 --rateest2:1 --rateest-delta --rateest-lt --rateest-gt --rateest-eq --rateest-bps:1 --rateest-pps:1 --rateest-bps1:1 --rateest-bps2:1',
    '--rateest-pps1:1 --rateest-pps2:1',
  ].join(' ');
}

function timeOptions(): string {
  return '--timestart:1 --timestop:1 --monthdays:1 --weekdays:1 --datestart:1 --datestop:1 --kerneltz --utc --localtz --contiguous';
}

function policyOptions(): string {
  return '--dir:1 --pol:1 --strict --reqid:1 --spi:1 --proto:1 --mode:1 --tunnel-src:1 --tunnel-dst:1 --next';
}

function srhOptions(): string {
  return [
    '--srh-next-hdr:1 --srh-hdr-len-eq:1 --srh-hdr-len-gt:1 --srh-hdr-len-lt:1 --srh-segs-left-eq:1 --srh-segs-left-gt:1 --srh-segs-left-lt:1',
    '--srh-last-entry-eq:1 --srh-last-entry-gt:1 --srh-last-entry-lt:1 --srh-tag:1 --srh-psid:1 --srh-nsid:1 --srh-lsid:1',
  ].join(' ');
}

/** The module that `-p NAME` brings with it: its options may stand without `-m`. */
export const protocolModules: ReadonlyMap<number, string> = new Map([
  [1, 'icmp'],
  [6, 'tcp'],
  [17, 'udp'],
  [33, 'dccp'],
  [50, 'esp'],
  [51, 'ah'],
  [58, 'icmp6'],
  [132, 'sctp'],
  [136, 'udplite'],
]);
