// Random rulesets for the arena: iptables of both backends, native nftables, ipsets, and the shapes that kube-proxy, ufw, firewalld and Docker leave on nodes.
import fc from 'fast-check';
import type { RuleInput } from './arena.ts';

/** A ruleset with the name of its kind. */
export interface Generated {
  readonly kind: string;
  readonly rules: RuleInput;
}

type Family = 4 | 6;
const word = (...words: readonly string[]): fc.Arbitrary<string> => fc.constantFrom(...words);

const pools = {
  4: {
    sources: ['10.9.0.2', '10.9.0.2/31', '10.9.0.64/26', '198.51.100.0/24', '203.0.113.9', '10.0.0.0/8', '10.244.0.0/16', '0.0.0.0/1'],
    destinations: ['10.9.0.1', '10.9.0.21', '10.244.1.11', '10.244.2.0/24', '10.244.0.0/16', '10.9.0.0/24'],
    targets: ['10.244.1.11:8080', '10.244.2.11:8443', '10.244.1.11', '10.9.0.1:2222', '10.244.2.11:8080', '10.244.1.11:9999'],
    ranges: ['10.9.0.2-10.9.0.3', '198.51.100.1-203.0.113.255'],
    rejects: [
      'icmp-port-unreachable',
      'icmp-host-unreachable',
      'icmp-net-unreachable',
      'icmp-host-prohibited',
      'icmp-admin-prohibited',
      'icmp-proto-unreachable',
    ],
    sets: ['s-ip', 's-net', 's-ipport', 's-port', 's-list'],
  },
  6: {
    sources: ['fd09::2', 'fd09::/64', '2001:db8:7::/48', 'fd44::/16', '::/1'],
    destinations: ['fd09::1', 'fd09::21', 'fd44:1::11', 'fd44:2::/64', 'fd44::/16'],
    targets: ['[fd44:1::11]:8080', '[fd44:2::11]:8443', 'fd44:1::11', '[fd09::1]:2222'],
    ranges: ['fd09::2-fd09::3', '2001:db8:7::1-2001:db8:7::ffff'],
    rejects: ['icmp6-port-unreachable', 'icmp6-addr-unreachable', 'icmp6-no-route', 'icmp6-adm-prohibited'],
    sets: ['s6-net'],
  },
} as const;

/** Loaded in front of every ruleset that uses sets. */
export const ipsets = `create s-ip hash:ip family inet
add s-ip 10.9.0.2
add s-ip 203.0.113.9
create s-net hash:net family inet
add s-net 10.9.0.0/24
add s-net 10.9.0.64/26 nomatch
add s-net 198.51.100.0/25
create s-ipport hash:ip,port family inet
add s-ipport 10.9.0.1,tcp:30080
add s-ipport 10.9.0.1,udp:30053
add s-ipport 10.244.1.11,tcp:8080
create s-port bitmap:port range 0-65535
add s-port 30080
add s-port 8443
create s-list list:set size 8
add s-list s-ip
add s-list s-net
create s6-net hash:net family inet6
add s6-net fd09::/64
add s6-net fd09::3 nomatch
`;

const negated = (text: fc.Arbitrary<string>): fc.Arbitrary<string> => fc.tuple(fc.boolean(), text).map(([not, each]) => (not ? `! ${each}` : each));
const prefixed = (option: string, values: readonly string[]): fc.Arbitrary<string> => negated(word(...values).map((value) => `${option} ${value}`));

/** Matches that need a protocol come with it. */
function matches(family: Family, hook: string): fc.Arbitrary<string> {
  const pool = pools[family];
  const tcp = fc.oneof(
    word('30080', '8080', '30081', '8443', '2222', '30000:32767', '1:1024').map((port) => `-p tcp -m tcp --dport ${port}`),
    word('30080', '8080').map((port) => `-p tcp -m tcp ! --dport ${port}`),
    word('30080,8080', '8443,30000:31000', '2222').map((ports) => `-p tcp -m multiport --dports ${ports}`),
    fc.constant('-p tcp -m tcp --syn'),
    fc.constant('-p tcp -m tcp --tcp-flags SYN,ACK SYN,ACK'),
    word('1024:65535', '40000:65535').map((ports) => `-p tcp -m tcp --sport ${ports}`),
  );
  const udp = word('30053', '5353', '30000:32767').map((port) => `-p udp -m udp --dport ${port}`);
  const common: fc.Arbitrary<string>[] = [
    fc.constant(''),
    tcp,
    tcp,
    tcp,
    udp,
    prefixed('-s', pool.sources),
    prefixed('-d', pool.destinations),
    word('NEW', 'RELATED,ESTABLISHED', 'INVALID', 'NEW,UNTRACKED', 'DNAT', 'UNTRACKED')
      .chain((state) => negated(fc.constant(`--ctstate ${state}`)))
      .map((state) => `-m conntrack ${state}`),
    fc.constant('-m state --state NEW'),
    word('0x1/0x1', '0x0/0x3', '0x2', '0x4000/0x4000')
      .chain((mark) => negated(fc.constant(`--mark ${mark}`)))
      .map((mark) => `-m mark ${mark}`),
    word('LOCAL', 'UNICAST', family === 4 ? 'LOCAL,BROADCAST' : 'LOCAL,MULTICAST')
      .chain((type) => word('--dst-type', '--src-type').chain((side) => negated(fc.constant(`${side} ${type}`))))
      .map((type) => `-m addrtype ${type}`),
    fc
      .tuple(word('--src-range', '--dst-range'), word(...pool.ranges))
      .chain(([side, range]) => negated(fc.constant(`${side} ${range}`)))
      .map((range) => `-m iprange ${range}`),
    fc.constant('-m comment --comment "a \\"quoted\\" -j DROP"'),
    fc.constant('-m pkttype --pkt-type unicast'),
  ];
  if (hook !== 'OUTPUT' && hook !== 'POSTROUTING' && hook !== 'any') common.push(prefixed('-i', ['eth0', 'cni0', 'eth+', 'lo']));
  if (hook === 'FORWARD' || hook === 'OUTPUT' || hook === 'POSTROUTING') common.push(prefixed('-o', ['cni0', 'eth1', 'eth+']));
  if (family === 4) {
    common.push(
      word('s-ip src', 's-net src', 's-ipport dst,dst', 's-port dst', 's-list src', 's-net dst')
        .chain((set) => negated(fc.constant(`--match-set ${set}`)))
        .map((set) => `-m set ${set}`),
    );
  } else
    common.push(
      word('s6-net src', 's6-net dst')
        .chain((set) => negated(fc.constant(`--match-set ${set}`)))
        .map((set) => `-m set ${set}`),
    );
  return fc
    .tuple(
      fc.oneof(...common),
      fc.oneof({ weight: 2, arbitrary: fc.constant('') }, { weight: 1, arbitrary: fc.oneof(...common.filter((each) => each !== tcp)) }),
    )
    .map(joinMatches);
}

/** Two matches in one rule: a second protocol or a repeated option would be refused. */
function joinMatches([first, second]: readonly [string, string]): string {
  const options = (text: string): string[] => [...text.matchAll(/-(?:[a-z]|-[a-z-]+) /g)].map((found) => found[0]).filter((option) => option !== '-m ');
  const modules = (text: string): string[] => [...text.matchAll(/-m (\S+)/g)].map((found) => found[1] as string);
  const clash = options(first).some((option) => options(second).includes(option)) || modules(first).some((module) => modules(second).includes(module));
  return clash ? first : `${first} ${second}`.trim();
}

type TableName = 'raw' | 'mangle' | 'nat' | 'filter';
const builtin: Readonly<Record<TableName, readonly string[]>> = {
  raw: ['PREROUTING', 'OUTPUT'],
  mangle: ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'],
  nat: ['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'],
  filter: ['INPUT', 'FORWARD', 'OUTPUT'],
};
/** User chains by rank: a chain jumps to higher ranks only, so that no loop can be made. */
const userChains = ['A-ONE', 'B-TWO', 'C-THREE'] as const;

function targets(family: Family, table: TableName, chain: string): fc.Arbitrary<string> {
  const pool = pools[family];
  const common = [
    word('-j ACCEPT', '-j RETURN', '-j LOG --log-prefix "x y"'),
    word(
      '-j MARK --set-xmark 0x1/0x1',
      '-j MARK --or-mark 0x2',
      '-j MARK --set-xmark 0x4000/0x4000',
      '-j MARK --and-mark 0xfffffffe',
      '-j MARK --xor-mark 0x3',
    ),
  ];
  const rank = (userChains as readonly string[]).indexOf(chain);
  const lower = userChains.slice(rank + 1);
  if (lower.length > 0) common.push(fc.tuple(word('-j', '-j', '-g'), word(...lower)).map(([how, to]) => `${how} ${to}`));
  if (table === 'nat') {
    if (chain === 'PREROUTING' || chain === 'OUTPUT') {
      common.push(
        word(...pool.targets).map((to) => `DNAT ${to}`),
        word('30081', '2222', '8080').map((port) => `REDIRECT ${port}`),
      );
    }
    if (chain === 'POSTROUTING') common.push(word('-j MASQUERADE', '-j MASQUERADE --random-fully'));
    if (chain === 'POSTROUTING' || chain === 'INPUT') common.push(fc.constant(`-j SNAT --to-source ${family === 4 ? '10.9.0.21' : 'fd09::21'}`));
    return fc.oneof(...common);
  }
  common.push(fc.constant('-j DROP'), fc.constant('-j DROP'));
  if (table === 'filter')
    common.push(
      word(...pool.rejects).map((how) => `-j REJECT --reject-with ${how}`),
      fc.constant('TCP-RESET'),
    );
  if (table === 'raw' && chain !== 'any') common.push(fc.constant('-j CT --notrack'));
  return fc.oneof(...common);
}

/** A rule of a chain; targets that need a protocol are put with one. */
function rule(family: Family, table: TableName, chain: string): fc.Arbitrary<string> {
  const hook = builtin[table].includes(chain) ? chain : 'any';
  return fc.tuple(matches(family, hook), targets(family, table, chain)).map(([match, target]) => {
    const protocol = /-p (tcp|udp)/.exec(match)?.[1];
    const needs = target === 'TCP-RESET' ? 'tcp' : target.startsWith('DNAT') || target.startsWith('REDIRECT') ? (protocol ?? 'tcp') : undefined;
    const text = needs === undefined || protocol !== undefined ? match : `-p ${needs} ${match}`;
    if (target === 'TCP-RESET') return protocol === 'udp' ? `${text} -j REJECT` : `${text} -j REJECT --reject-with tcp-reset`;
    const [kind, value] = target.split(' ');
    if (kind === 'DNAT') return `${text} -j DNAT --to-destination ${value}`;
    if (kind === 'REDIRECT') return `${text} -j REDIRECT --to-ports ${value}`;
    return `${text} ${target}`;
  });
}

function table(family: Family, name: TableName): fc.Arbitrary<string> {
  const chains = [...builtin[name], ...userChains];
  const lines = chains.map((chain) =>
    fc.array(
      rule(family, name, chain).map((text) => `-A ${chain} ${text.trim()}`),
      { maxLength: chain === 'PREROUTING' || chain === 'FORWARD' ? 5 : 3 },
    ),
  );
  const policies = fc.tuple(
    ...builtin[name].map((chain) =>
      (name === 'filter' ? word('ACCEPT', 'ACCEPT', 'ACCEPT', 'DROP') : fc.constant('ACCEPT')).map((policy) => `:${chain} ${policy} [0:0]`),
    ),
  );
  return fc
    .tuple(policies, fc.tuple(...lines))
    .map(([heads, bodies]) => [`*${name}`, ...heads, ...userChains.map((chain) => `:${chain} - [0:0]`), ...bodies.flat(), 'COMMIT', ''].join('\n'));
}

/** Whole iptables-restore input: a subset of the tables. */
export function iptables(family: Family): fc.Arbitrary<string> {
  const some = (name: TableName, weight: number): fc.Arbitrary<string> =>
    fc.oneof({ weight, arbitrary: table(family, name) }, { weight: 1, arbitrary: fc.constant('') });
  return fc.tuple(some('raw', 1), some('mangle', 1), some('nat', 4), some('filter', 4)).map((tables) => tables.join(''));
}

/** A rule that counts the packets it decides. */
const counted = (match: string, verdict: string): string => `${match} counter ${verdict}`.trim();

function nftMatches(family: Family): fc.Arbitrary<string> {
  const ip = family === 4 ? 'ip' : 'ip6';
  const pool = pools[family];
  const not = word('', '', '!= ');
  return fc.oneof(
    fc.constant(''),
    fc.tuple(not, word('30080', '8080', '{ 30080, 8080, 2222 }', '30000-32767', '8443', '@ports')).map(([n, ports]) => `tcp dport ${n}${ports}`),
    fc.tuple(not, word('30053', '5353', '{ 5353, 30053 }')).map(([n, ports]) => `udp dport ${n}${ports}`),
    fc
      .tuple(
        word('saddr', 'daddr'),
        not,
        word(...pool.sources, ...pool.destinations, `{ ${pool.sources[0]}, ${pool.destinations[2]} }`, family === 4 ? '@nets' : '@nets6'),
      )
      .map(([side, n, value]) => `${ip} ${side} ${n}${value}`),
    word('tcp', 'udp', '{ tcp, udp }', '!= tcp').map((protocol) => `meta l4proto ${protocol}`),
    word('new', 'established,related', 'invalid', '{ new, untracked }', '!= new').map((state) => `ct state ${state}`),
    word('dnat', 'snat').map((status) => `ct status ${status}`),
    fc.tuple(word('saddr', 'daddr'), word('local', 'unicast', '{ local, broadcast }', '!= local')).map(([side, type]) => `fib ${side} type ${type}`),
    fc.tuple(word('mark'), word('0x1', '!= 0x1', '& 0x4000 == 0x4000', '& 0x3 != 0x0')).map(([key, value]) => `meta ${key} ${value}`),
    fc.constant(`${ip} daddr . tcp dport { ${pool.destinations[0]} . 30080, ${pool.destinations[2]} . 8080-8443 }`),
    fc.constant('meta nfproto ipv4'),
    fc.constant('th dport 30000-32767'),
  );
}

const nftVerdicts = (family: Family, hook: string): fc.Arbitrary<string> => {
  const reject = word('reject', 'reject with icmpx port-unreachable', 'reject with icmpx admin-prohibited', 'reject with icmpx host-unreachable');
  const common = [
    word('accept', 'drop', 'return', 'continue'),
    word('meta mark set 0x1', 'meta mark set meta mark | 0x4000', 'meta mark set meta mark & 0xfffffffe', 'meta mark set meta mark ^ 0x3'),
    word('jump extra', 'goto extra'),
  ];
  if (hook !== 'prerouting-filter' && hook !== 'postrouting') common.push(reject);
  if (hook === 'nat-prerouting' || hook === 'nat-output') {
    const to = family === 4 ? ['10.244.1.11:8080', '10.244.2.11:8443', '10.9.0.1:2222'] : ['[fd44:1::11]:8080', '[fd44:2::11]:8443'];
    return fc.oneof(
      word('accept', 'return', 'meta mark set meta mark | 0x4000'),
      word(...to).map((each) => `DNAT ${each}`),
      word('redirect to :8080', 'redirect to :2222').map((each) => `TCP ${each}`),
    );
  }
  if (hook === 'nat-postrouting') return word('masquerade', 'accept', 'return', family === 4 ? 'snat ip to 10.9.0.21' : 'snat ip6 to fd09::21');
  return fc.oneof(...common);
};

function nftRule(family: Family, hook: string): fc.Arbitrary<string> {
  return fc.tuple(nftMatches(family), nftMatches(family), fc.boolean(), nftVerdicts(family, hook)).map(([first, second, both, verdict]) => {
    const ip = family === 4 ? 'ip' : 'ip6';
    const match = both && first.split(' ')[0] !== second.split(' ')[0] && !/l4proto|dport|nfproto/.test(first + second) ? `${first} ${second}` : first;
    if (verdict.startsWith('DNAT ')) {
      const plain = match.replace('meta nfproto ipv4', '');
      const tcpOrUdp = /dport|l4proto tcp$|l4proto udp$/.test(plain) && !/\. tcp|l4proto \{|th dport/.test(plain);
      const other = plain.replace(/meta l4proto .*|udp dport .*|th dport \S+/, '');
      return counted(tcpOrUdp ? plain : `meta l4proto tcp ${other}`, `dnat ${ip} to ${verdict.slice(5)}`);
    }
    if (verdict.startsWith('TCP ')) return counted(`meta l4proto tcp ${match.replace(/meta l4proto .*|udp dport .*/, '')}`, verdict.slice(4));
    return counted(verdict.startsWith('snat ') ? match.replace('meta nfproto ipv4', '') : match, verdict);
  });
}

/** A native table of the inet family with chains at several hooks and odd priorities, sets, maps and verdict maps. */
export function native(): fc.Arbitrary<string> {
  const rulesFor = (hook: string, max: number): fc.Arbitrary<string[]> =>
    fc.array(
      fc.constantFrom<Family>(4, 4, 6).chain((family) => nftRule(family, hook)),
      { maxLength: max },
    );
  const vmaps = word(
    '',
    'tcp dport vmap { 30080 : jump extra, 8443 : drop }',
    'ct state vmap { established : accept, related : accept, invalid : drop }',
    'ip saddr vmap @sources',
    'meta l4proto . th dport vmap @ports-map',
  );
  const chain = (name: string, head: string, hook: string): fc.Arbitrary<string> =>
    fc.tuple(rulesFor(hook, 4), vmaps, word('accept', 'accept', 'accept', 'drop'), fc.integer({ min: -3, max: 3 })).map(([rules, vmap, policy, shift]) => {
      const nat = head.includes('nat');
      return `  chain ${name} {\n    type ${head}${nat ? '' : ` ${shift < 0 ? '-' : '+'} ${Math.abs(shift)}`}; policy ${nat ? 'accept' : policy};\n${[
        ...rules,
        ...(nat ? [] : [vmap]),
      ]
        .filter((text) => text !== '')
        .map((text) => `    ${text}\n`)
        .join('')}  }\n`;
    });
  const maybe = (arbitrary: fc.Arbitrary<string>): fc.Arbitrary<string> => fc.oneof(arbitrary, fc.constant(''));
  return fc
    .tuple(
      fc.array(
        fc
          .constantFrom<Family>(4, 6)
          .chain((family) => nftRule(family, 'prerouting-filter'))
          .map((text) => text.replace(/(jump|goto) extra/, 'accept')),
        { maxLength: 3 },
      ),
      maybe(chain('at_pre', 'filter hook prerouting priority mangle', 'prerouting-filter')),
      maybe(chain('at_dstnat', 'nat hook prerouting priority dstnat', 'nat-prerouting')),
      maybe(chain('at_input', 'filter hook input priority filter', 'input')),
      chain('at_forward', 'filter hook forward priority filter', 'forward'),
      maybe(chain('at_output', 'filter hook output priority filter', 'output')),
      maybe(chain('at_natout', 'nat hook output priority -100', 'nat-output')),
      maybe(chain('at_srcnat', 'nat hook postrouting priority srcnat', 'nat-postrouting')),
    )
    .map(([extra, ...chains]) => `table inet arena {\n${nftSets}  chain extra {\n${extra.map((text) => `    ${text}\n`).join('')}  }\n${chains.join('')}}\n`);
}

const nftSets = `  set ports { type inet_service; flags interval; elements = { 30080, 8443-9000 } }
  set nets { type ipv4_addr; flags interval; elements = { 10.9.0.2, 198.51.100.0/24, 10.244.1.0/24 } }
  set nets6 { type ipv6_addr; flags interval; elements = { fd09::2, 2001:db8:7::/48 } }
  map sources { type ipv4_addr : verdict; flags interval; elements = { 10.9.0.3 : drop, 203.0.113.0/24 : jump extra, 198.51.100.7 : accept } }
  map ports-map { type inet_proto . inet_service : verdict; elements = { tcp . 30080 : jump extra, udp . 30053 : drop, tcp . 9999 : accept } }
`;

/** kube-proxy's shape, small: what stands between a client and a pod on every node, with the mark, statistic branches and refusals. */
export function kubeProxy(family: Family): fc.Arbitrary<string> {
  const [pod, remote, network] = family === 4 ? ['10.244.1.11', '10.244.2.11', '10.244.0.0/16'] : ['fd44:1::11', 'fd44:2::11', 'fd44::/16'];
  const host = (address: string): string => (family === 6 ? `[${address}]` : address);
  return fc
    .tuple(
      fc.subarray([pod, remote], { minLength: 1 }),
      fc.boolean(),
      fc.boolean(),
      word('ACCEPT', 'DROP'),
      fc.array(rule(family, 'filter', 'FORWARD'), { maxLength: 3 }),
    )
    .map(([endpoints, local, refused, policy, foreign]) => {
      const seps = endpoints.flatMap((endpoint, index) => [
        `-A KUBE-SEP-${index} -s ${endpoint}/${family === 4 ? 32 : 128} -m comment --comment "shop/web:http" -j KUBE-MARK-MASQ`,
        `-A KUBE-SEP-${index} -p tcp -m comment --comment "shop/web:http" -m tcp -j DNAT --to-destination ${host(endpoint)}:8080`,
      ]);
      const choice = endpoints.map((endpoint, index) => {
        const left = endpoints.length - index;
        const chance = left === 1 ? '' : ` -m statistic --mode random --probability ${(1 / left).toFixed(11)}`;
        return `-A KUBE-SVC-WEB -m comment --comment "shop/web:http -> ${endpoint}:8080"${chance} -j KUBE-SEP-${index}`;
      });
      const external = local
        ? [
            `-A KUBE-EXT-WEB -s ${network} -j KUBE-SVC-WEB`,
            '-A KUBE-EXT-WEB -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ',
            '-A KUBE-EXT-WEB -m addrtype --src-type LOCAL -j KUBE-SVC-WEB',
            '-A KUBE-EXT-WEB -j KUBE-SEP-0',
          ]
        : ['-A KUBE-EXT-WEB -j KUBE-MARK-MASQ', '-A KUBE-EXT-WEB -j KUBE-SVC-WEB'];
      const chains = [
        'KUBE-SERVICES',
        'KUBE-NODEPORTS',
        'KUBE-EXT-WEB',
        'KUBE-SVC-WEB',
        'KUBE-MARK-MASQ',
        'KUBE-POSTROUTING',
        ...endpoints.map((_, index) => `KUBE-SEP-${index}`),
      ];
      const nat = [
        '*nat',
        ':PREROUTING ACCEPT [0:0]',
        ':INPUT ACCEPT [0:0]',
        ':OUTPUT ACCEPT [0:0]',
        ':POSTROUTING ACCEPT [0:0]',
        ...chains.map((chain) => `:${chain} - [0:0]`),
        '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
        '-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
        '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
        '-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS',
        '-A KUBE-NODEPORTS -p tcp -m comment --comment "shop/web:http" -m tcp --dport 30080 -j KUBE-EXT-WEB',
        ...external,
        ...choice,
        ...seps,
        '-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000',
        '-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN',
        '-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0',
        '-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully',
        'COMMIT',
      ];
      const filter = [
        '*filter',
        ':INPUT ACCEPT [0:0]',
        `:FORWARD ${policy} [0:0]`,
        ':OUTPUT ACCEPT [0:0]',
        ':KUBE-FORWARD - [0:0]',
        ':KUBE-EXTERNAL-SERVICES - [0:0]',
        ...userChains.map((chain) => `:${chain} - [0:0]`),
        '-A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES',
        ...foreign.map((text) => `-A FORWARD ${text.trim()}`),
        '-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD',
        '-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP',
        '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT',
        '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
        ...(refused
          ? ['-A KUBE-EXTERNAL-SERVICES -p tcp -m comment --comment "shop/none has no endpoints" -m addrtype --dst-type LOCAL -m tcp --dport 30081 -j REJECT']
          : []),
        'COMMIT',
      ];
      return `${[...nat, ...filter].join('\n')}\n`;
    });
}

/** A Docker host's filter and nat tables around whatever else there is. */
const docker = `*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 10.244.1.0/24 ! -o cni0 -j MASQUERADE
-A DOCKER -i cni0 -j RETURN
-A DOCKER ! -i cni0 -p tcp -m tcp --dport 30080 -j DNAT --to-destination 10.244.1.11:8080
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
:A-ONE - [0:0]
:B-TWO - [0:0]
:C-THREE - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -o cni0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o cni0 -j DOCKER
-A FORWARD -i cni0 ! -o cni0 -j ACCEPT
-A FORWARD -i cni0 -o cni0 -j ACCEPT
-A DOCKER -d 10.244.1.11/32 ! -i cni0 -o cni0 -p tcp -m tcp --dport 8080 -j ACCEPT
EXTRA-A DOCKER-USER -j RETURN
COMMIT
`;

export const dockerHost = (): fc.Arbitrary<string> =>
  fc
    .array(rule(4, 'filter', 'FORWARD'), { maxLength: 3 })
    .map((rules) => docker.replace('EXTRA', rules.map((text) => `-A DOCKER-USER ${text.trim()}\n`).join('')));

const sysctls = fc.record({
  'net.ipv4.ip_forward': word('1', '1', '1', '1', '1', '1', '0'),
  'net.ipv4.conf.all.rp_filter': word('0', '0', '0', '1', '2'),
  'net.ipv4.conf.all.route_localnet': word('0', '1'),
});

/** All kinds, evenly. `bases` are captured rulesets of real firewall managers, by kind, as iptables-restore or nft input. */
export function rulesets(bases: readonly Generated[]): fc.Arbitrary<Generated> {
  const kinds: fc.Arbitrary<Generated>[] = [
    iptables(4).map((nft4) => ({ kind: 'iptables-nft', rules: { nft4, ipset: ipsets } })),
    fc.tuple(iptables(4), iptables(6)).map(([nft4, nft6]) => ({ kind: 'iptables-nft dual', rules: { nft4, nft6, ipset: ipsets } })),
    iptables(4).map((legacy4) => ({ kind: 'iptables-legacy', rules: { legacy4, ipset: ipsets } })),
    iptables(6).map((legacy6) => ({ kind: 'ip6tables-legacy', rules: { legacy6, ipset: ipsets } })),
    native().map((text) => ({ kind: 'nft', rules: { native: text } })),
    fc
      .tuple(iptables(4), iptables(4), native())
      .map(([nft4, legacy4, text]) => ({ kind: 'all backends', rules: { nft4, legacy4, native: text, ipset: ipsets } })),
    kubeProxy(4).map((nft4) => ({ kind: 'kube-proxy', rules: { nft4, ipset: ipsets } })),
    fc.tuple(kubeProxy(6), native()).map(([nft6, text]) => ({ kind: 'kube-proxy and nft', rules: { nft6, native: text, ipset: ipsets } })),
    fc.tuple(kubeProxy(4), iptables(4)).map(([legacy4, nft4]) => ({ kind: 'kube-proxy legacy and iptables-nft', rules: { legacy4, nft4, ipset: ipsets } })),
    dockerHost().map((nft4) => ({ kind: 'docker', rules: { nft4, ipset: ipsets } })),
    ...bases.map((base) => kubeProxy(4).map((legacy4) => ({ kind: `kube-proxy and ${base.kind}`, rules: { ...base.rules, legacy4, ipset: ipsets } }))),
  ];
  return fc.tuple(fc.oneof(...kinds), sysctls).map(([generated, settings]) => ({ ...generated, rules: { ...generated.rules, sysctls: settings } }));
}
