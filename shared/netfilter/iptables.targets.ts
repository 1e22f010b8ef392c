// The targets of iptables: what `-j NAME` and its options do to a packet. A new target is a new entry here.
import { type Family, type IntervalSet, parsePrefix, union } from '../model/address.ts';
import { arities, type DecodeContext, firstValue, type GivenOption, optionOf, type Target } from './iptables.options.ts';
import { all32, parseAddressRange, parseMark, parsePort, parseRange, parseU32, portMax } from './iptables.values.ts';
import type { PortRange, Step, Verdict } from './rule.ts';

type Read = Target['read'];

const target = (options: string, read: Read): Target => ({ options: arities(options), read });
const always = (options: string, step: Step): Target => target(options, () => [step]);
/** Targets that change nothing that decides a packet's fate. */
const effectless = (name: string, options: string): [string, Target] => [name, always(options, { kind: 'effectless', name })];
const unknown = (name: string, reason: string, options = ''): [string, Target] => [name, always(options, { kind: 'unknown', name, reason })];
const unknownEffect = (name: string, reason: string, options: string): [string, Target] => [name, always(options, { kind: 'unknownEffect', name, reason })];

const rejectAnswers: ReadonlyMap<string, string> = new Map([
  ['net-unreach', 'icmp-net-unreachable'],
  ['host-unreach', 'icmp-host-unreachable'],
  ['proto-unreach', 'icmp-proto-unreachable'],
  ['port-unreach', 'icmp-port-unreachable'],
  ['net-prohib', 'icmp-net-prohibited'],
  ['host-prohib', 'icmp-host-prohibited'],
  ['admin-prohib', 'icmp-admin-prohibited'],
  ['tcp-rst', 'tcp-reset'],
]);

const rejectAnswers6: ReadonlyMap<string, string> = new Map([
  ['no-route', 'icmp6-no-route'],
  ['adm-prohibited', 'icmp6-adm-prohibited'],
  ['addr-unreach', 'icmp6-addr-unreachable'],
  ['port-unreach', 'icmp6-port-unreachable'],
  ['policy-fail', 'icmp6-policy-fail'],
  ['reject-route', 'icmp6-reject-route'],
]);

/** Every target but chains, by name. */
export const targets: ReadonlyMap<string, Target> = new Map<string, Target>([
  ['ACCEPT', always('', { kind: 'accept' })],
  ['DROP', always('', { kind: 'drop' })],
  ['RETURN', always('', { kind: 'return' })],
  ['QUEUE', always('', { kind: 'queue', bypass: false })],
  [
    'NFQUEUE',
    target('--queue-num:1 --queue-balance:1 --queue-bypass --queue-cpu-fanout', (given) => [
      { kind: 'queue', bypass: optionOf(given, '--queue-bypass') !== undefined },
    ]),
  ],
  ['REJECT', target('--reject-with:1', readReject)],
  ['DNAT', target('--to-destination:1 --random --random-fully --persistent', (given, { family }) => readNat('dnat', given, family))],
  ['SNAT', target('--to-source:1 --random --random-fully --persistent', (given, { family }) => readNat('snat', given, family))],
  ['MASQUERADE', target('--to-ports:1 --random --random-fully', (given) => readPortsOnly('masquerade', given))],
  ['REDIRECT', target('--to-ports:1 --random --random-fully', (given) => readPortsOnly('redirect', given))],
  ['NETMAP', target('--to:1', (given, { family }) => readNetmap(firstValue(given, '--to'), family))],
  ['MARK', target('--set-mark:1 --set-xmark:1 --and-mark:1 --or-mark:1 --xor-mark:1', (given) => readMarkChange('setMark', given))],
  [
    'CONNMARK',
    target(
      '--set-mark:1 --set-xmark:1 --and-mark:1 --or-mark:1 --xor-mark:1 --save-mark --restore-mark --nfmask:1 --ctmask:1 --mask:1 --left-shift-mark:1 --right-shift-mark:1',
      readConnmark,
    ),
  ],
  [
    'CT',
    target('--notrack --helper:1 --timeout:1 --ctevents:1 --expevents:1 --zone:1 --zone-orig:1 --zone-reply:1', (given) => [
      optionOf(given, '--notrack') === undefined ? { kind: 'effectless', name: 'CT' } : { kind: 'notrack' },
    ]),
  ],
  ['NOTRACK', always('', { kind: 'notrack' })],
  ['TPROXY', target('--on-port:1 --on-ip:1 --tproxy-mark:1', readTproxy)],
  ['SET', target('--add-set:2 --del-set:2 --map-set:2 --exist --timeout:1 --map-mark --map-prio --map-queue', readSet)],
  effectless('LOG', '--log-level:1 --log-prefix:1 --log-tcp-sequence --log-tcp-options --log-ip-options --log-uid --log-macdecode'),
  effectless('NFLOG', '--nflog-group:1 --nflog-prefix:1 --nflog-range:1 --nflog-size:1 --nflog-threshold:1'),
  effectless('ULOG', '--ulog-nlgroup:1 --ulog-prefix:1 --ulog-cprange:1 --ulog-qthreshold:1'),
  effectless('TRACE', ''),
  effectless('AUDIT', '--type:1'),
  effectless('TCPMSS', '--set-mss:1 --clamp-mss-to-pmtu'),
  effectless('TCPOPTSTRIP', '--strip-options:1'),
  effectless('CHECKSUM', '--checksum-fill'),
  effectless('CLASSIFY', '--set-class:1'),
  effectless('DSCP', '--set-dscp:1 --set-dscp-class:1'),
  effectless('TOS', '--set-tos:1 --and-tos:1 --or-tos:1 --xor-tos:1'),
  effectless('ECN', '--ecn-tcp-remove --ecn-tcp-cwr:1 --ecn-tcp-ece:1 --ecn-ip-ect:1'),
  effectless('TTL', '--ttl-set:1 --ttl-inc:1 --ttl-dec:1'),
  effectless('HL', '--hl-set:1 --hl-inc:1 --hl-dec:1'),
  effectless('SECMARK', '--selctx:1'),
  effectless('CONNSECMARK', '--save --restore'),
  effectless('IDLETIMER', '--timeout:1 --label:1 --alarm --send_nl_msg'),
  effectless('LED', '--led-trigger-id:1 --led-delay:1 --led-always-blink'),
  effectless('RATEEST', '--rateest-name:1 --rateest-interval:1 --rateest-ewmalog:1'),
  effectless('TEE', '--gateway:1 --oif:1'),
  effectless('FLOWOFFLOAD', '--hw'),
  unknown('SYNPROXY', 'answers the handshake itself before the connection goes on', '--sack-perm --timestamp --wscale:1 --mss:1 --ecn'),
  unknown('CLUSTERIP', 'one node of several answers', '--new --hashmode:1 --clustermac:1 --total-nodes:1 --local-node:1 --hash-init:1'),
  unknownEffect('HMARK', 'sets the mark by a hash of the packet', hmarkOptions()),
  unknownEffect('DNPT', 'translates the destination prefix without a connection', '--src-pfx:1 --dst-pfx:1'),
  unknownEffect('SNPT', 'translates the source prefix without a connection', '--src-pfx:1 --dst-pfx:1'),
]);

function hmarkOptions(): string {
  return [
    '--hmark-tuple:1 --hmark-mod:1 --hmark-offset:1 --hmark-src-prefix:1 --hmark-dst-prefix:1 --hmark-sport-mask:1 --hmark-dport-mask:1',
    '--hmark-spi-mask:1 --hmark-sport:1 --hmark-dport:1 --hmark-spi:1 --hmark-proto-mask:1 --hmark-rnd:1',
  ].join(' ');
}

function readReject(given: readonly GivenOption[], { family }: DecodeContext): readonly Step[] {
  const word = firstValue(given, '--reject-with') ?? 'port-unreach';
  return [{ kind: 'reject', with: (family === 6 ? rejectAnswers6.get(word) : undefined) ?? rejectAnswers.get(word) ?? word }];
}

function readNat(kind: 'dnat' | 'snat', given: readonly GivenOption[], family: Family): readonly Step[] | undefined {
  const destinations = given.filter(({ name }) => name.startsWith('--to-')).map(({ values }) => readNatAddress(values[0] ?? '', family));
  const first = destinations[0];
  if (first === undefined || destinations.includes(undefined)) return undefined;
  if (destinations.length === 1) return [natStep(kind, family, first)];
  const same = destinations.every((one) => one?.addresses !== undefined && one.ports?.lo === first.ports?.lo && one.ports?.hi === first.ports?.hi);
  if (!same) return undefined;
  return [natStep(kind, family, { ...first, addresses: union(...destinations.map((one) => one?.addresses ?? [])) })];
}

interface NatAddress {
  readonly addresses?: IntervalSet;
  readonly ports?: PortRange;
}

function natStep(kind: 'dnat' | 'snat', family: Family, { addresses, ports }: NatAddress): Verdict {
  return { kind, ...(addresses === undefined ? {} : { family, addresses }), ...(ports === undefined ? {} : { ports }) };
}

/** `ADDRESS[-ADDRESS][:PORT[-PORT[/BASE]]]`; IPv6 addresses with a port stand in brackets. */
function readNatAddress(text: string, family: Family): NatAddress | undefined {
  const found = family === 6 && !text.startsWith('[') && !text.startsWith(':') ? [text, text] : /^(?:\[([^\]]*)\]|([^:]*))(?::(.+))?$/.exec(text);
  if (found === null) return undefined;
  const address = found[1] ?? found[2] ?? '';
  const addresses = address === '' ? undefined : parseAddressRange(address, family);
  const ports = found[3] === undefined ? undefined : readNatPorts(found[3]);
  if ((address !== '' && addresses === undefined) || (found[3] !== undefined && ports === undefined)) return undefined;
  if (addresses === undefined && ports === undefined) return undefined;
  return { ...(addresses === undefined ? {} : { addresses }), ...(ports === undefined ? {} : { ports }) };
}

/** With a base port the kernel shifts ports by their distance from it: any port of the range, seen from outside. */
function readNatPorts(text: string): PortRange | undefined {
  const [range, base] = text.split('/') as [string, string?];
  return base !== undefined && parsePort(base) === undefined ? undefined : parseRange(range, portMax, '-');
}

function readPortsOnly(kind: 'masquerade' | 'redirect', given: readonly GivenOption[]): readonly Step[] | undefined {
  const text = firstValue(given, '--to-ports');
  if (text === undefined) return [{ kind }];
  const ports = readNatPorts(text);
  return ports === undefined ? undefined : [{ kind, ports }];
}

function readNetmap(text: string | undefined, family: Family): readonly Step[] | undefined {
  const prefix = parsePrefix(text ?? '');
  return prefix?.family === family ? [{ kind: 'netmap', to: { family, ...prefix.interval } }] : undefined;
}

/** `--set-xmark v/m` is (mark & ~m) ^ v, `--set-mark v/m` is (mark & ~m) | v; the others are written by these. */
function readMarkChange(kind: 'setMark' | 'setConnmark', given: readonly GivenOption[]): readonly Step[] | undefined {
  const option = given[0];
  const mark = parseMark(option?.values[0] ?? '');
  if (given.length !== 1 || option === undefined || mark === undefined) return undefined;
  const { value, mask } = mark;
  switch (option.name) {
    case '--set-xmark':
      return [{ kind, and: ~mask >>> 0, xor: value }];
    case '--set-mark':
      return [{ kind, and: ~(mask | value) >>> 0, xor: value }];
    case '--and-mark':
      return [{ kind, and: value, xor: 0 }];
    case '--or-mark':
      return [{ kind, and: ~value >>> 0, xor: value }];
    case '--xor-mark':
      return [{ kind, and: all32, xor: value }];
    default:
      return undefined;
  }
}

function readConnmark(given: readonly GivenOption[]): readonly Step[] | undefined {
  if (given.some(({ name }) => name.endsWith('-shift-mark'))) return [{ kind: 'unknownEffect', name: 'CONNMARK', reason: 'shifts the mark' }];
  const kind = optionOf(given, '--save-mark') ? 'saveMark' : optionOf(given, '--restore-mark') ? 'restoreMark' : undefined;
  if (kind === undefined) return readMarkChange('setConnmark', given);
  const mask = parseU32(firstValue(given, '--mask') ?? '0xffffffff');
  if (mask === undefined) return undefined;
  const connmarkMask = parseU32(firstValue(given, '--ctmask') ?? String(mask));
  const markMask = parseU32(firstValue(given, '--nfmask') ?? String(mask));
  return connmarkMask === undefined || markMask === undefined ? undefined : [{ kind, connmarkMask, markMask }];
}

/** Address 0.0.0.0 and port 0 keep those of the packet. */
function readTproxy(given: readonly GivenOption[], { family }: DecodeContext): readonly Step[] | undefined {
  const port = parsePort(firstValue(given, '--on-port') ?? '0');
  const mark = parseMark(firstValue(given, '--tproxy-mark') ?? '0/0');
  const on = firstValue(given, '--on-ip');
  const address = on === undefined ? 0n : parseAddressRange(on, family)?.[0]?.lo;
  if (port === undefined || mark === undefined || address === undefined) return undefined;
  const step: Verdict = { kind: 'tproxy', markAnd: ~mark.mask >>> 0, markXor: mark.value };
  return [{ ...step, ...(address === 0n ? {} : { address }), ...(port === 0 ? {} : { port }) }];
}

function readSet(given: readonly GivenOption[]): readonly Step[] {
  const mapped = given.some(({ name }) => name.startsWith('--map-'));
  return [mapped ? { kind: 'unknownEffect', name: 'SET', reason: 'takes mark, priority or queue from a set' } : { kind: 'effectless', name: 'SET' }];
}
