// Random native nftables: tables of several families with chains at several hooks and odd priorities, sets, maps and verdict maps, as input for `nft -f`.
import fc from 'fast-check';
import { type Family, pools, weighted, word } from './rules.iptables.ts';

/** Where a chain hangs, as far as its rules care. */
interface Site {
  readonly hook: 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting' | 'any';
  readonly kind: 'filter' | 'nat';
  /** `inet`, or the family of an `ip` or `ip6` table. */
  readonly table: 'inet' | Family;
}

const not = word('', '', '!= ');
const compared = (field: string, ...values: readonly string[]): fc.Arbitrary<string> =>
  fc.tuple(not, word(...values)).map(([no, value]) => `${field} ${no}${value}`);

/** Sets and maps that rules refer to; each table has its own. */
const namedSets = (table: Site['table']): string => {
  const four = `  set nets { type ipv4_addr; flags interval; elements = { 10.9.0.2, 198.51.100.0/24, 10.244.1.0/24 } }
  set pairs { type ipv4_addr . inet_service; flags interval; elements = { 10.9.0.1 . 30080, 10.244.0.0/16 . 8080-8443 } }
  map sources { type ipv4_addr : verdict; flags interval; elements = { 10.9.0.3 : drop, 203.0.113.0/24 : jump extra, 198.51.100.7 : accept } }
  map backends { type inet_service : ipv4_addr . inet_service; elements = { 30080 : 10.244.1.11 . 8080, 30081 : 10.244.2.11 . 8443, 9999 : 10.244.3.71 . 8080 } }
`;
  const six = `  set nets6 { type ipv6_addr; flags interval; elements = { fd09::2, 2001:db8:7::/48 } }
  map sources6 { type ipv6_addr : verdict; flags interval; elements = { fd09::3 : drop, 2001:db8:7::/48 : jump extra } }
  map backends6 { type inet_service : ipv6_addr . inet_service; elements = { 30080 : fd44:1::11 . 8080, 30081 : fd44:2::11 . 8443 } }
`;
  return `  set ports { type inet_service; flags interval; elements = { 30080, 8443-9000 } }
  map ports-map { type inet_proto . inet_service : verdict; elements = { tcp . 30080 : jump extra, udp . 30053 : drop, tcp . 9999 : accept, sctp . 30036 : goto extra } }
  map marks { type mark : verdict; elements = { 0x00000001 : jump extra, 0x00000003 : drop } }
${table === 6 ? '' : four}${table === 4 ? '' : six}`;
};

function matches(family: Family, site: Site): fc.Arbitrary<string> {
  const ip = family === 4 ? 'ip' : 'ip6';
  const pool = pools[family];
  const inward = site.hook === 'prerouting' || site.hook === 'input' || site.hook === 'forward';
  const outward = site.hook === 'output' || site.hook === 'postrouting' || site.hook === 'forward';
  const choices: (readonly [number, fc.Arbitrary<string>])[] = [
    [1, fc.constant('')],
    [4, compared('tcp dport', '30080', '8080', '{ 30080, 8080, 2222 }', '30000-32767', '8443', '@ports')],
    [2, compared('udp dport', '30053', '5353', '{ 5353, 30053 }')],
    [2, compared('sctp dport', '30036', '3868', '{ 3868, 30036 }')],
    [1, word('sctp chunk init exists', 'sctp chunk init missing', 'sctp chunk init-ack exists', 'sctp chunk data missing', 'sctp chunk abort exists')],
    [4, addresses(family)],
    [1, compared('meta l4proto', 'tcp', 'udp', '{ tcp, udp }', 'sctp', '{ tcp, sctp }')],
    [2, compared('ct state', 'new', 'established,related', 'invalid', '{ new, untracked }', 'established', 'untracked')],
    [1, word('ct status dnat', 'ct status snat', 'ct status ! dnat', 'ct status seen-reply')],
    [1, word('ct direction original', 'ct direction reply')],
    [1, compared(`ct original ${ip} daddr`, ...pool.destinations)],
    [1, compared('meta l4proto tcp ct original proto-dst', '30080', '30000-32767')],
    [1, compared(`ct reply ${ip} saddr`, ...pool.destinations)],
    [1, fc.tuple(word('saddr', 'daddr'), word('local', 'unicast', '{ local, broadcast }', '!= local')).map(([side, type]) => `fib ${side} type ${type}`)],
    [
      2,
      word(
        'meta mark 0x1',
        'meta mark != 0x1',
        'meta mark & 0x4000 == 0x4000',
        'meta mark & 0x3 != 0x0',
        'meta mark & 0x3 == 0x2',
        'ct mark 0x1',
        'ct mark & 0xf0 == 0x10',
      ),
    ],
    [1, fc.constant(`${ip} daddr . tcp dport { ${pool.destinations[0]} . 30080, ${pool.destinations[2]} . 8080-8443 }`)],
    [1, compared('th dport', '30000-32767', '{ 8080, 30036 }')],
    [1, word('tcp flags syn', 'tcp flags & (syn | ack) == syn | ack', 'tcp flags & (fin | syn | rst | ack) == syn', 'tcp flags != syn')],
    [1, word('limit rate 1000/second', 'meta length 0-50')],
  ];
  if (site.table === 'inet') choices.push([1, compared('meta nfproto', 'ipv4', 'ipv6')]);
  if (family === 4) choices.push([1, word('ip daddr . tcp dport @pairs', 'ip daddr . tcp dport != @pairs')]);
  if (inward) choices.push([2, compared('iifname', '"eth0"', '"eth*"', '"cali*"', '"cni0"', '{ "eth1", "cali1" }', '"lo"')]);
  if (outward) choices.push([2, compared('oifname', '"cni0"', '"eth*"', '"eth1"', '"cali*"', '{ "eth0", "lo" }')]);
  if (site.hook === 'prerouting') choices.push([1, word('fib saddr . iif oif missing', 'fib saddr . iif oif exists', 'fib saddr oif missing')]);
  return weighted(...choices);
}

function addresses(family: Family): fc.Arbitrary<string> {
  const ip = family === 4 ? 'ip' : 'ip6';
  const pool = pools[family];
  const set = family === 4 ? '@nets' : '@nets6';
  return fc
    .tuple(word('saddr', 'daddr'), not, word(...pool.sources, ...pool.destinations, `{ ${pool.sources[0]}, ${pool.destinations[2]} }`, set, set))
    .map(([side, no, value]) => `${ip} ${side} ${no}${value}`);
}

/** Statements that end a rule, with what must be matched before them. */
interface Ending {
  readonly text: string;
  readonly needs?: string;
}

function endings(family: Family, { kind, hook, table }: Site): fc.Arbitrary<Ending> {
  const plain = (...texts: readonly string[]): fc.Arbitrary<Ending> => word(...texts).map((text) => ({ text }));
  const marks = plain(
    'meta mark set 0x1',
    'meta mark set meta mark | 0x4000',
    'meta mark set meta mark & 0xfffffffe',
    'meta mark set meta mark ^ 0x3',
    'ct mark set 0x1',
  );
  // A rule that only counts tells whether it matched.
  const choices: fc.WeightedArbitrary<Ending>[] = [
    { weight: 3, arbitrary: plain('', '', 'log prefix "x "', 'ct mark set ct mark | 0x10') },
    { weight: 3, arbitrary: plain('accept', 'return', 'return', 'continue') },
    { weight: 2, arbitrary: marks },
  ];
  if (hook !== 'any') choices.push({ weight: 2, arbitrary: plain('jump extra', 'goto extra', 'jump inner') });
  if (kind === 'nat') {
    if (hook === 'prerouting' || hook === 'output') choices.push({ weight: 5, arbitrary: destinations(family, table) });
    if (hook === 'postrouting') choices.push({ weight: 3, arbitrary: plain('masquerade', family === 4 ? 'snat ip to 10.9.0.21' : 'snat ip6 to fd09::21') });
    return fc.oneof(...choices);
  }
  choices.push({ weight: 2, arbitrary: plain('drop') });
  if (hook === 'input' || hook === 'forward' || hook === 'output') choices.push({ weight: 3, arbitrary: rejections(family, table) });
  return fc.oneof(...choices);
}

function destinations(family: Family, table: Site['table']): fc.Arbitrary<Ending> {
  const ip = family === 4 ? 'ip' : 'ip6';
  const protocol = fc.constantFrom('tcp' as const, 'tcp' as const, 'udp' as const, 'sctp' as const);
  const fixed = protocol.chain((each) =>
    word(...pools[family].targets[each].filter((to) => !to.startsWith(':') && !to.includes('-'))).map(
      (to): Ending => ({ text: `dnat ${table === 'inet' ? `${ip} ` : ''}to ${to}`, needs: `meta l4proto ${each}` }),
    ),
  );
  const backends = family === 4 ? 'backends' : 'backends6';
  const mapped: Ending = { text: `dnat ${table === 'inet' ? ip : ''} to tcp dport map @${backends}`, needs: 'meta l4proto tcp' };
  const redirect = protocol.chain((each) =>
    word(...{ tcp: ['8080', '2222'], udp: ['5353'], sctp: ['3868'] }[each]).map(
      (to): Ending => ({ text: `redirect to :${to}`, needs: `meta l4proto ${each}` }),
    ),
  );
  return fc.oneof({ weight: 4, arbitrary: fixed }, { weight: 1, arbitrary: fc.constant(mapped) }, { weight: 1, arbitrary: redirect });
}

function rejections(family: Family, table: Site['table']): fc.Arbitrary<Ending> {
  const x = [
    'reject',
    'reject with icmpx port-unreachable',
    'reject with icmpx admin-prohibited',
    'reject with icmpx host-unreachable',
    'reject with icmpx no-route',
  ];
  const own =
    family === 4
      ? ['net-unreachable', 'prot-unreachable', 'host-prohibited', 'net-prohibited']
      : ['no-route', 'admin-prohibited', 'addr-unreachable', 'policy-fail'];
  const named = own.map((type) => `reject with icmp${family === 4 ? '' : 'v6'} ${type}`);
  const texts = [...(table === 'inet' ? x : ['reject']), ...named].map(
    (text): Ending => ({ text, ...(/icmp(v6)? /.test(text) && table === 'inet' ? { needs: `meta nfproto ipv${family}` } : {}) }),
  );
  return fc.constantFrom(...texts, { text: 'reject with tcp reset', needs: 'meta l4proto tcp' });
}

/** A rule that counts what it matches before it acts. nft refuses a field that contradicts what was asked before it. */
function rule(family: Family, site: Site): fc.Arbitrary<string> {
  return fc.tuple(matches(family, site), matches(family, site), fc.boolean(), endings(family, site)).map(([first, second, both, { text, needs }]) => {
    const asked = both && !contradicts(first, second) ? [first, second] : [first];
    const matched = needs === undefined ? asked : [needs, ...asked.filter((match) => !speaksOf(match, needs))];
    return [...matched, 'counter', text].filter((part) => part !== '').join(' ');
  });
}

const topic = (match: string): string => match.split(' ').slice(0, 2).join(' ');
const transports = /\b(tcp|udp|sctp|th|l4proto|icmp)\b/;
const families = /\b(ip6?|nfproto|nets6?)\b/;
const contradicts = (a: string, b: string): boolean =>
  topic(a) === topic(b) ||
  a === b ||
  (transports.test(a) && transports.test(b)) ||
  (families.test(a) && families.test(b)) ||
  (/^ct (state|status)/.test(a) && /^ct (state|status)/.test(b));
const speaksOf = (match: string, needs: string): boolean => (needs.includes('l4proto') ? transports : families).test(match);

const verdictMaps = (site: Site): fc.Arbitrary<string> => {
  const four = site.table === 6 ? [] : ['ip saddr vmap @sources'];
  const six = site.table === 4 ? [] : ['ip6 saddr vmap @sources6'];
  const drawn = word(
    ...['', '', 'tcp dport vmap { 30080 : jump extra, 8443 : drop }', 'ct state vmap { established : accept, related : accept, invalid : drop }'],
    ...['meta l4proto . th dport vmap @ports-map', 'meta mark vmap @marks', 'ct state . meta l4proto vmap { new . udp : drop, new . sctp : jump inner }'],
    ...['numgen random mod 2 vmap { 0 : jump extra, 1 : jump inner }'],
    ...four,
    ...six,
  );
  return site.kind === 'nat' ? fc.constant('') : drawn;
};

interface ChainHead {
  readonly name: string;
  readonly site: Site;
  readonly type: string;
  /** What `priority` may be; two chains of one hook differ in it. */
  readonly priorities: readonly string[];
  readonly max: number;
}

function chain({ name, site, type, priorities, max }: ChainHead): fc.Arbitrary<string> {
  const families = site.table === 'inet' ? ([4, 4, 6] as const) : [site.table];
  const rules = fc.array(
    fc.constantFrom<Family>(...families).chain((family) => rule(family, site)),
    { maxLength: max },
  );
  const policy = site.kind === 'nat' ? fc.constant('accept') : word('accept', 'accept', 'accept', 'drop');
  // Policies have no counters: a last rule counts what comes to them.
  return fc
    .tuple(rules, verdictMaps(site), policy, word(...priorities))
    .map(([lines, map, verdict, priority]) =>
      block(`chain ${name}`, [`type ${type} hook ${site.hook} priority ${priority}; policy ${verdict};`, ...lines, map, 'counter']),
    );
}

const block = (title: string, lines: readonly string[]): string =>
  `  ${title} {\n${lines
    .filter((line) => line !== '')
    .map((line) => `    ${line}\n`)
    .join('')}  }\n`;

const maybe = (arbitrary: fc.Arbitrary<string>): fc.Arbitrary<string> => fc.oneof({ weight: 2, arbitrary }, { weight: 1, arbitrary: fc.constant('') });

/** Chains before and after those of iptables, and two at one hook whose order their priorities tell. */
function heads(table: Site['table']): readonly (readonly [required: boolean, ChainHead])[] {
  const filter = (name: string, hook: Site['hook'], priorities: readonly string[]): ChainHead => ({
    name,
    site: { hook, kind: 'filter', table },
    type: 'filter',
    priorities,
    max: 4,
  });
  const nat = (name: string, hook: Site['hook'], priorities: readonly string[]): ChainHead => ({
    name,
    site: { hook, kind: 'nat', table },
    type: 'nat',
    priorities,
    max: 4,
  });
  return [
    [false, filter('at_raw', 'prerouting', ['raw', 'raw - 5', '-290'])],
    [false, filter('at_pre', 'prerouting', ['mangle', 'mangle - 3', 'mangle + 3', 'dstnat + 5', 'dstnat - 5'])],
    [false, nat('at_dstnat', 'prerouting', ['dstnat', 'dstnat - 1', 'dstnat + 1'])],
    [false, filter('at_input', 'input', ['filter', 'filter - 3', 'filter + 3', '-1'])],
    [true, filter('at_forward', 'forward', ['filter', 'filter - 3', 'filter + 3', 'mangle'])],
    [false, filter('at_forward_late', 'forward', ['filter + 10', 'security'])],
    [false, filter('at_output', 'output', ['filter', 'filter - 3', 'filter + 3', 'mangle + 1'])],
    [false, nat('at_natout', 'output', ['-100', '-101', '-99'])],
    [false, nat('at_srcnat', 'postrouting', ['srcnat', 'srcnat - 1', 'srcnat + 1'])],
    [false, filter('at_post', 'postrouting', ['mangle', 'srcnat - 10', 'srcnat + 10'])],
  ];
}

function table(kind: Site['table'], name: string): fc.Arbitrary<string> {
  const families = kind === 'inet' ? ([4, 6] as const) : [kind];
  const inner = (title: string): fc.Arbitrary<string> =>
    fc
      .array(
        fc.constantFrom<Family>(...families).chain((family) => rule(family, { hook: 'any', kind: 'filter', table: kind })),
        { maxLength: 3 },
      )
      .map((lines) =>
        block(
          title,
          lines.map((line) => line.replace(/reject.*/, 'drop')),
        ),
      );
  const chains = heads(kind).map(([required, head]) => (required ? chain(head) : maybe(chain(head))));
  // `extra` may call `inner`, so that a return from it has two places to come back to.
  const extra = fc
    .tuple(inner('chain extra'), word('', 'jump inner', 'goto inner'))
    .map(([text, call]) => (call === '' ? text : text.replace('{\n', `{\n    counter ${call}\n`)));
  return fc
    .tuple(inner('chain inner'), extra, ...chains)
    .map((blocks) => `table ${kind === 'inet' ? 'inet' : kind === 4 ? 'ip' : 'ip6'} ${name} {\n${namedSets(kind)}${blocks.join('')}}\n`);
}

/** What the incoming interface drops or lets in before anything else sees it. */
const ingress: fc.Arbitrary<string> = fc
  .array(
    fc
      .tuple(
        word('ip saddr 10.9.0.3', 'ip saddr 198.51.100.0/24', 'tcp dport 30081', 'udp dport 30053', 'ip6 saddr fd09::3', 'sctp dport 9997'),
        word('drop', 'accept', ''),
      )
      .map(([match, verdict]) => `${match} counter ${verdict}`.trim()),
    { minLength: 1, maxLength: 3 },
  )
  .map((lines) => `table netdev arena {\n${block('chain at_ingress', ['type filter hook ingress device "eth0" priority 0; policy accept;', ...lines])}}\n`);

/** Native rules: mostly one inet table, at times one of a family beside it, or chains at the ingress of an interface. */
export function native(): fc.Arbitrary<string> {
  const second = fc.oneof(
    { weight: 4, arbitrary: fc.constant('') },
    { weight: 1, arbitrary: table(4, 'second') },
    { weight: 1, arbitrary: table(6, 'second') },
    { weight: 1, arbitrary: ingress },
  );
  return fc.tuple(table('inet', 'arena'), second).map((texts) => texts.join(''));
}
