// Random iptables rules and tables, as input for iptables-restore of either backend: every match and target that the walk claims to judge, in every chain that takes it.
import fc from 'fast-check';
import type { Protocol } from './host.ts';
import { setMatches } from './rules.ipset.ts';

export type Family = 4 | 6;
type TableName = 'raw' | 'mangle' | 'nat' | 'filter';

/** One of these, the first ones as often as they are repeated. */
export const word = (...words: readonly string[]): fc.Arbitrary<string> => fc.constantFrom(...words);
/** One of these, each weighing as much as the number before it. */
export const weighted = (...choices: readonly (readonly [number, fc.Arbitrary<string>])[]): fc.Arbitrary<string> =>
  fc.oneof(...choices.map(([weight, arbitrary]) => ({ weight, arbitrary })));

/** Values that rules of a family name. */
export const pools = {
  4: {
    sources: [
      '10.9.0.2',
      '10.9.0.2/31',
      '10.9.0.64/26',
      '198.51.100.0/24',
      '203.0.113.9',
      '10.0.0.0/8',
      '10.244.0.0/16',
      '0.0.0.0/1',
      '10.8.0.2',
      '127.0.0.0/8',
    ],
    destinations: ['10.9.0.1', '10.9.0.21', '10.244.1.11', '10.244.2.0/24', '10.244.0.0/16', '10.9.0.0/24', '10.244.3.71', '10.8.0.2', '127.0.0.0/8'],
    targets: {
      tcp: [
        ...[
          '10.244.1.11:8080',
          '10.244.2.11:8443',
          '10.244.1.11',
          '10.9.0.1:2222',
          '10.244.2.11:8080',
          '10.244.1.11:9999',
          '10.244.3.71:8080',
          '10.8.0.2:2222',
        ],
        ...['127.0.0.1:2222', ':8443', '10.244.2.11-10.244.2.12', '10.244.9.9:80'],
      ],
      udp: ['10.244.1.11:5353', '10.244.2.11:5353', '10.9.0.1:5353', '10.244.3.71', ':5353', '10.8.0.2:9998', '127.0.0.1:5353'],
      sctp: ['10.244.1.11:3868', '10.244.2.11:3868', '10.244.3.71:3868', '10.8.0.2', ':3868', '10.9.0.1:9997', '10.244.2.11:9997'],
    },
    networks: ['10.244.2.0/24', '10.244.3.0/24'],
    snat: ['10.9.0.21', '10.9.0.21', '10.9.0.21:40000-50000'],
    ranges: ['10.9.0.2-10.9.0.3', '198.51.100.1-203.0.113.255'],
    rejects: [
      ...['icmp-port-unreachable', 'icmp-host-unreachable', 'icmp-net-unreachable', 'icmp-host-prohibited', 'icmp-admin-prohibited', 'icmp-proto-unreachable'],
      'icmp-net-prohibited',
    ],
    types: ['LOCAL', 'UNICAST', 'LOCAL,BROADCAST', 'LOCAL', 'UNICAST,LOCAL'],
    icmp: ['-p icmp', '-p icmp -m icmp --icmp-type 3', '-p icmp -m icmp --icmp-type 3/3', '-p icmp -m icmp --icmp-type port-unreachable'],
  },
  6: {
    sources: ['fd09::2', 'fd09::/64', '2001:db8:7::/48', 'fd44::/16', '::/1', 'fd08::2'],
    destinations: ['fd09::1', 'fd09::21', 'fd44:1::11', 'fd44:2::/64', 'fd44::/16', 'fd44:3::71', 'fd08::2'],
    targets: {
      tcp: ['[fd44:1::11]:8080', '[fd44:2::11]:8443', 'fd44:1::11', '[fd09::1]:2222', '[fd44:3::71]:8080', '[fd08::2]:2222'],
      udp: ['[fd44:1::11]:5353', '[fd44:2::11]:5353', '[fd09::1]:5353', 'fd44:3::71'],
      sctp: ['[fd44:1::11]:3868', '[fd44:2::11]:3868', '[fd44:3::71]:3868', '[fd09::1]:9997'],
    },
    networks: ['fd44:2::/64', 'fd44:3::/64'],
    snat: ['fd09::21'],
    ranges: ['fd09::2-fd09::3', '2001:db8:7::1-2001:db8:7::ffff'],
    rejects: ['icmp6-port-unreachable', 'icmp6-addr-unreachable', 'icmp6-no-route', 'icmp6-adm-prohibited'],
    types: ['LOCAL', 'UNICAST', 'LOCAL,MULTICAST', 'LOCAL', 'UNREACHABLE'],
    icmp: ['-p icmpv6', '-p icmpv6 -m icmp6 --icmpv6-type 1', '-p icmpv6 -m icmp6 --icmpv6-type port-unreachable'],
  },
} as const;

const negated = (text: fc.Arbitrary<string>): fc.Arbitrary<string> => fc.tuple(fc.boolean(), text).map(([not, each]) => (not ? `! ${each}` : each));
/** `MODULE [!] OPTION VALUE`. */
const asking = (module: string, option: string, values: readonly string[]): fc.Arbitrary<string> =>
  negated(word(...values).map((value) => `${option} ${value}`)).map((text) => `${module === '' ? '' : `-m ${module} `}${text}`);

/** Matches of one protocol's own. */
const tcp = fc.oneof(
  asking('', '--dport', ['30080', '8080', '30081', '8443', '2222', '30000:32767', '1:1024', '30080', '8080']).map((text) => `-m tcp ${text}`),
  asking('', '--sport', ['1024:65535', '40000:65535', '8080']).map((text) => `-m tcp ${text}`),
  asking('', '--dports', ['30080,8080', '8443,30000:31000', '2222', '30081,9999']).map((text) => `-m multiport ${text}`),
  asking('', '--sports', ['1024:65535', '8080,8443']).map((text) => `-m multiport ${text}`),
  asking('', '--ports', ['8080', '30080,2222']).map((text) => `-m multiport ${text}`),
  word('--syn', '! --syn', '--tcp-flags SYN,ACK SYN,ACK', '! --tcp-flags RST,ACK RST,ACK', '--tcp-flags ALL SYN', '--tcp-flags SYN,RST RST').map(
    (text) => `-m tcp ${text}`,
  ),
);
const udp = fc.oneof(
  asking('', '--dport', ['30053', '5353', '30000:32767', '9998']).map((text) => `-m udp ${text}`),
  asking('', '--dports', ['30053,5353', '9998']).map((text) => `-m multiport ${text}`),
);
const sctp = fc.oneof(
  asking('', '--dport', ['30036', '3868', '30000:32767', '9997']).map((text) => `-m sctp ${text}`),
  asking('', '--sport', ['1024:65535', '3868']).map((text) => `-m sctp ${text}`),
  asking('', '--dports', ['30036,3868', '9997']).map((text) => `-m multiport ${text}`),
  fc
    .tuple(word('any', 'only', 'all'), word('INIT', 'INIT_ACK', 'INIT,INIT_ACK', 'ABORT', 'DATA,INIT', 'COOKIE_ECHO'))
    .chain(([how, list]) => negated(fc.constant(`--chunk-types ${how} ${list}`)))
    .map((text) => `-m sctp ${text}`),
);
const ofProtocol: Readonly<Record<Protocol, fc.Arbitrary<string>>> = { tcp, udp, sctp };

/** Interfaces by name and wildcard; a chain knows the incoming, the outgoing or both. */
const devices: readonly string[] = ['eth0', 'cni0', 'eth+', 'lo', 'cali+', 'e+', 'cali1', 'eth1', '+', 'cni1+'];

/** `! -i +` is no rule that iptables-save tells apart from one without. */
const throughDevice = (option: '-i' | '-o'): fc.Arbitrary<string> => asking('', option, devices).map((text) => text.replace(/^! (-. \+)$/, '$1'));

/** Matches that any protocol may have. */
function common(family: Family, hook: string): fc.Arbitrary<string> {
  const pool = pools[family];
  const choices: (readonly [number, fc.Arbitrary<string>])[] = [
    [2, fc.constant('')],
    [2, asking('', '-s', pool.sources)],
    [2, asking('', '-d', pool.destinations)],
    [3, conntrack(family)],
    [2, asking('mark', '--mark', ['0x1/0x1', '0x0/0x3', '0x2', '0x4000/0x4000', '0x3/0x7', '0x2/0x3', '0x0'])],
    [1, asking('connmark', '--mark', ['0x1/0x1', '0x0/0x3', '0x2', '0x10/0xf0'])],
    [1, fc.tuple(word('--dst-type', '--src-type'), word(...pool.types)).chain(([side, type]) => asking('addrtype', side, [type]))],
    [1, fc.tuple(word('--src-range', '--dst-range'), word(...pool.ranges)).chain(([side, range]) => asking('iprange', side, [range]))],
    [1, fc.constant('-m comment --comment "a \\"quoted\\" -j DROP"')],
    [1, asking('pkttype', '--pkt-type', ['unicast', 'multicast'])],
    [
      3,
      setMatches(family, hook)
        .chain((match) => negated(fc.constant(`--match-set ${match}`)))
        .map((text) => `-m set ${text}`),
    ],
    [1, mayMatch(hook)],
  ];
  const incoming = hook === 'PREROUTING' || hook === 'INPUT' || hook === 'FORWARD';
  const outgoing = hook === 'OUTPUT' || hook === 'POSTROUTING' || hook === 'FORWARD';
  if (incoming) choices.push([2, throughDevice('-i')], [1, asking('physdev', '--physdev-in', ['pod0', 'pod+', 'eth0', '+'])]);
  if (incoming) choices.push([1, word('-m addrtype --dst-type LOCAL --limit-iface-in', '-m addrtype ! --src-type LOCAL --limit-iface-in')]);
  if (outgoing) choices.push([2, throughDevice('-o')]);
  if (hook === 'FORWARD') choices.push([1, word('-m physdev --physdev-is-in', '-m physdev ! --physdev-is-out')]);
  return weighted(...choices);
}

function conntrack(family: Family): fc.Arbitrary<string> {
  const pool = pools[family];
  return fc.oneof(
    asking('conntrack', '--ctstate', ['NEW', 'RELATED,ESTABLISHED', 'INVALID', 'NEW,UNTRACKED', 'DNAT', 'UNTRACKED', 'SNAT', 'ESTABLISHED', 'NEW,DNAT']),
    word('-m state --state NEW', '-m state --state RELATED,ESTABLISHED'),
    asking('conntrack', '--ctorigdst', pool.destinations),
    asking('conntrack', '--ctorigsrc', pool.sources),
    asking('conntrack', '--ctreplsrc', pool.destinations),
    asking('conntrack', '--ctrepldst', pool.sources),
    asking('conntrack', '--ctorigdstport', ['30080', '30036', '8080', '30000:32767']),
    asking('conntrack', '--ctproto', ['tcp', 'udp', 'sctp']),
    word('-m conntrack --ctdir ORIGINAL', '-m conntrack --ctdir REPLY'),
    asking('conntrack', '--ctstatus', ['SEEN_REPLY', 'NONE', 'CONFIRMED', 'EXPECTED', 'SEEN_REPLY,CONFIRMED']),
  );
}

/** What depends on more than the packet, so that the walk says "unless". */
const mayMatch = (hook: string): fc.Arbitrary<string> =>
  word('-m limit --limit 1000/s', '-m length --length 0:50', ...(hook === 'OUTPUT' || hook === 'POSTROUTING' ? ['-m owner --uid-owner 0'] : []));

/** Only in raw and mangle of PREROUTING. */
const reversePath = word('-m rpfilter', '-m rpfilter --invert', '-m rpfilter --loose', '-m rpfilter --loose --invert');

/** One or two matches, of a protocol or of none. `for`: a target that needs the protocol. */
function matches(family: Family, place: { readonly hook: string; readonly table: TableName; readonly protocol: Protocol | undefined }): fc.Arbitrary<string> {
  const { hook, table, protocol } = place;
  const general = hook === 'PREROUTING' && table !== 'nat' ? weighted([12, common(family, hook)], [1, reversePath]) : common(family, hook);
  if (protocol === undefined) return fc.oneof({ weight: 6, arbitrary: pair(general, general) }, { weight: 1, arbitrary: word(...pools[family].icmp) });
  const own = ofProtocol[protocol];
  return weighted([3, own], [1, fc.constant('')], [3, pair(own, general)], [1, general]).map((text) => `-p ${protocol} ${text}`.trim());
}

/** Two matches in one rule: a repeated option or module would be refused. */
function pair(one: fc.Arbitrary<string>, other: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const options = (text: string): string[] =>
    [...text.matchAll(/(?:^| )(-(?:[a-z]|-[a-z-]+))(?= )/g)].map((found) => found[1] as string).filter((option) => option !== '-m');
  const modules = (text: string): string[] => [...text.matchAll(/-m (\S+)/g)].map((found) => found[1] as string);
  return fc.tuple(one, weighted([2, fc.constant('')], [1, other])).map(([first, second]) => {
    const clash = options(first).some((option) => options(second).includes(option)) || modules(first).some((module) => modules(second).includes(module));
    return clash ? first : `${first} ${second}`.trim();
  });
}

export const builtin: Readonly<Record<TableName, readonly string[]>> = {
  raw: ['PREROUTING', 'OUTPUT'],
  mangle: ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'],
  nat: ['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'],
  filter: ['INPUT', 'FORWARD', 'OUTPUT'],
};
/** User chains by rank: a chain jumps to higher ranks only, so that no loop can be made. */
export const userChains = ['A-ONE', 'B-TWO', 'C-THREE'] as const;

const marks = word(
  ...[
    '--set-xmark 0x1/0x1',
    '--or-mark 0x2',
    '--set-xmark 0x4000/0x4000',
    '--and-mark 0xfffffffe',
    '--xor-mark 0x3',
    '--set-mark 0x2/0x3',
    '--set-xmark 0x1/0x3',
  ],
).map((how) => `-j MARK ${how}`);
const connmarks = word(
  ...[
    '--set-xmark 0x1/0x1',
    '--save-mark',
    '--restore-mark',
    '--save-mark --nfmask 0x3 --ctmask 0x3',
    '--restore-mark --nfmask 0x1 --ctmask 0xf',
    '--set-xmark 0x10/0xf0',
  ],
).map((how) => `-j CONNMARK ${how}`);

/** A target, with the protocol that it needs. */
interface Target {
  readonly text: string;
  readonly protocol?: Protocol;
}

function targets(family: Family, table: TableName, chain: string): fc.Arbitrary<Target> {
  const pool = pools[family];
  const plain = (arbitrary: fc.Arbitrary<string>): fc.Arbitrary<Target> => arbitrary.map((text) => ({ text }));
  const choices: fc.WeightedArbitrary<Target>[] = [
    // Without a target a rule counts and nothing more, which tells whether it matched.
    { weight: 4, arbitrary: plain(word('', '', '-j LOG --log-prefix "x y"')) },
    { weight: 3, arbitrary: plain(word('-j ACCEPT', '-j RETURN', '-j RETURN')) },
    { weight: 3, arbitrary: plain(marks) },
    { weight: 1, arbitrary: plain(connmarks) },
  ];
  const lower = userChains.slice((userChains as readonly string[]).indexOf(chain) + 1);
  if (lower.length > 0) choices.push({ weight: 5, arbitrary: plain(fc.tuple(word('-j', '-j', '-g'), word(...lower)).map(([how, to]) => `${how} ${to}`)) });
  if (table === 'nat') return fc.oneof(...choices, ...natTargets(family, chain));
  choices.push({ weight: 3, arbitrary: plain(fc.constant('-j DROP')) });
  if (table === 'filter') {
    choices.push({ weight: 4, arbitrary: plain(word(...pool.rejects).map((how) => `-j REJECT --reject-with ${how}`)) });
    choices.push({ weight: 1, arbitrary: fc.constant<Target>({ text: '-j REJECT --reject-with tcp-reset', protocol: 'tcp' }) });
  }
  if (table === 'raw' && chain !== 'any') choices.push({ weight: 1, arbitrary: plain(fc.constant('-j CT --notrack')) });
  return fc.oneof(...choices);
}

function natTargets(family: Family, chain: string): fc.WeightedArbitrary<Target>[] {
  const pool = pools[family];
  const protocol = fc.constantFrom<Protocol>('tcp', 'tcp', 'udp', 'sctp');
  const found: fc.WeightedArbitrary<Target>[] = [];
  if (chain === 'PREROUTING' || chain === 'OUTPUT') {
    const redirects = { tcp: ['30081', '2222', '8080'], udp: ['5353', '9998'], sctp: ['3868', '9997'] };
    found.push({
      weight: 6,
      arbitrary: protocol.chain((each) => word(...pool.targets[each]).map((to): Target => ({ text: `-j DNAT --to-destination ${to}`, protocol: each }))),
    });
    found.push({
      weight: 1,
      arbitrary: protocol.chain((each) => word(...redirects[each]).map((to): Target => ({ text: `-j REDIRECT --to-ports ${to}`, protocol: each }))),
    });
    found.push({ weight: 1, arbitrary: word(...pool.networks).map((to): Target => ({ text: `-j NETMAP --to ${to}` })) });
  }
  if (chain === 'POSTROUTING') found.push({ weight: 3, arbitrary: word('-j MASQUERADE', '-j MASQUERADE --random-fully').map((text): Target => ({ text })) });
  if (chain === 'POSTROUTING' || chain === 'INPUT') {
    found.push({
      weight: 2,
      arbitrary: word(...pool.snat).map((to): Target => ({ text: `-j SNAT --to-source ${to}`, ...(/:\d+-/.test(to) ? { protocol: 'tcp' } : {}) })),
    });
  }
  return found;
}

/** A rule of a chain, without `-A CHAIN`. */
export function rule(family: Family, table: TableName, chain: string): fc.Arbitrary<string> {
  const hook = builtin[table].includes(chain) ? chain : 'any';
  const drawn = fc.constantFrom<Protocol | undefined>(undefined, undefined, 'tcp', 'tcp', 'udp', 'sctp');
  return fc
    .tuple(targets(family, table, chain), drawn)
    .chain(([target, protocol]) => matches(family, { hook, table, protocol: target.protocol ?? protocol }).map((match) => `${match} ${target.text}`.trim()));
}

/** How many rules a chain may have. User chains have several, so that their order and what returns from them matter. */
const rulesMax: Readonly<Record<string, number>> = { PREROUTING: 6, FORWARD: 6, POSTROUTING: 4, 'A-ONE': 4, 'B-TWO': 4, 'C-THREE': 3 };

function table(family: Family, name: TableName): fc.Arbitrary<string> {
  const chains = [...builtin[name], ...userChains];
  const lines = chains.map((chain) =>
    fc.array(
      rule(family, name, chain).map((text) => `-A ${chain} ${text}`),
      { maxLength: rulesMax[chain] ?? 3 },
    ),
  );
  const dropping =
    name === 'filter' ? word('ACCEPT', 'ACCEPT', 'ACCEPT', 'DROP') : name === 'nat' ? fc.constant('ACCEPT') : word(...Array(15).fill('ACCEPT'), 'DROP');
  const policies = fc.tuple(...builtin[name].map((chain) => dropping.map((policy) => `:${chain} ${policy} [0:0]`)));
  return fc
    .tuple(policies, fc.tuple(...lines))
    .map(([heads, bodies]) => [`*${name}`, ...heads, ...userChains.map((chain) => `:${chain} - [0:0]`), ...bodies.flat(), 'COMMIT', ''].join('\n'));
}

/** Whole iptables-restore input: a subset of the tables. */
export function iptables(family: Family): fc.Arbitrary<string> {
  const some = (name: TableName, weight: number): fc.Arbitrary<string> =>
    fc.oneof({ weight, arbitrary: table(family, name) }, { weight: 1, arbitrary: fc.constant('') });
  return fc.tuple(some('raw', 1), some('mangle', 2), some('nat', 4), some('filter', 4)).map((tables) => tables.join(''));
}
