// Which packets are taken for alike, and which ends of their ways may speak for others: whatever else differs must keep them apart.
import t from 'tap';
import { single } from '../../../shared/model/address.ts';
import type { Decider } from '../../../shared/model/outcome.ts';
import { goesToEndpoint, transferred, type Way, type Ways, waysOf } from '../../../shared/netfilter/alike.ts';
import type { Ended } from '../../../shared/netfilter/chains.ts';
import type { State } from '../../../shared/netfilter/packet.ts';
import { nodeWith, save } from '../../support/node.ts';

const rule = (text: string): Decider => ({ by: 'rule', text });
const clients = [{ lo: 0xcb007100n, hi: 0xcb0071ffn }];

/** A packet translated to an endpoint at 10.244.2.10. */
const start: State = {
  family: 4,
  protocol: 6,
  source: clients,
  destination: single(0x0af4020an),
  sourcePort: undefined,
  destinationPort: 8080,
  iif: 'eth0',
  oif: undefined,
  mark: 0x4000,
  connmark: 0,
  routedBy: undefined,
  icmp: undefined,
  errorOf: undefined,
  tcpFlags: undefined,
  sctpChunk: undefined,
  attached: false,
  ipvs: undefined,
  conntrack: 'new',
  direction: 'original',
  settledDestination: true,
  settledSource: false,
  dnat: true,
  dnatBy: rule('-j DNAT --to-destination 10.244.2.10:8080'),
  nat: undefined,
  undo: undefined,
  original: { source: clients, destination: single(0x0a090001n), destinationPort: 30080, sourcePort: undefined },
  weight: 0.25,
  assumptions: [],
  clouded: undefined,
  path: undefined,
};
/** Another endpoint of the same network, port and share. */
const other: State = { ...start, destination: single(0x0af4020bn), dnatBy: rule('-j DNAT --to-destination 10.244.2.11:8080') };

const forwarded = (state: State): Ended => ({ state: { ...state, nat: { kind: 'masquerade' } }, verdict: 'forward', decider: state.dnatBy as Decider });
const wayOf = (...ended: readonly Ended[]): Way => ({ start, ended, rules: 7 });

/** Ways of a node that drops what is sent to 10.244.3.0/24 and to the ports 9000 to 9099. */
function someWays(lines: readonly string[] = []): Ways {
  const rules = ['-A FORWARD -d 10.244.3.0/24 -j DROP', '-A FORWARD -p tcp -m tcp --dport 9000:9099 -j DROP', ...lines];
  const ways = waysOf(nodeWith({ 'iptables-save.txt': save('filter', rules) }), 'external dumped');
  if (ways === undefined) throw new Error('no ways');
  return ways;
}

t.test('an endpoint of the same network and port goes the way of another', (t) => {
  const ways = someWays();
  t.equal(ways.find(other), undefined, 'before any was walked');
  const way = wayOf(forwarded(start));
  ways.keep(way);
  t.match(ways.find(other), { rules: 7 });
  t.match(
    ways.find({ ...other, destinationPort: 8081, original: { ...other.original, destinationPort: 30081 } }),
    { rules: 7 },
    'other ports of the same parts',
  );
  const end = transferred(way.ended[0] as Ended, way, other);
  t.same(end.decider, other.dnatBy);
  t.same(end.state, { ...other, nat: { kind: 'masquerade' } });
  t.end();
});

t.test('parts of addresses and ports that a rule or a route tells apart', (t) => {
  const ways = someWays();
  ways.keep(wayOf(forwarded(start)));
  const to = (destination: bigint, destinationPort = 8080): Way | undefined => ways.find({ ...other, destination: single(destination), destinationPort });
  t.ok(to(0x0af40201n), 'the first address that no rule names');
  t.ok(to(0x0af402ffn), 'the last before the network that a rule names');
  t.notOk(to(0x0af40300n), 'the first of the network that a rule names');
  t.notOk(to(0x0af403ffn), 'the last of it');
  t.notOk(to(0x0af40400n), 'the first behind it');
  t.notOk(to(0x0af40110n), 'a network with a route of its own');
  t.notOk(to(0x0a090001n), 'an address of the node');
  t.notOk(to(0x7f000001n), 'loopback');
  t.notOk(to(0xe0000001n), 'multicast');
  t.ok(to(0x0af4020bn, 8999), 'the last port before the range of a rule');
  t.notOk(to(0x0af4020bn, 9000), 'the first of the range');
  t.notOk(to(0x0af4020bn, 9099), 'the last of it');
  t.notOk(to(0x0af4020bn, 9100), 'the first behind it');
  t.notOk(to(0x0af4020bn, 32768), 'a port that a client could have');
  t.notOk(ways.find({ ...other, original: { ...other.original, destinationPort: 9050 } }), 'the port that was asked');
  t.end();
});

t.test('addresses and ports that no rule names, but the kernel or clients treat in a way of their own', (t) => {
  for (const [last, first] of [
    [0x00ffffffn, 0x01000000n],
    [0x7effffffn, 0x7f000000n],
    [0x7fffffffn, 0x80000000n],
    [0xdfffffffn, 0xe0000000n],
    [0xefffffffn, 0xf0000000n],
    [0xfffffffen, 0xffffffffn],
  ] as const) {
    const ways = someWays();
    const near = { ...start, destination: single(last) };
    ways.keep({ ...wayOf(forwarded(near)), start: near });
    t.notOk(ways.find({ ...other, destination: single(first) }), `${last.toString(16)} and the next`);
  }
  const ways = someWays();
  const near = { ...start, destinationPort: 32767 };
  ways.keep({ ...wayOf(forwarded(near)), start: near });
  t.ok(ways.find({ ...other, destinationPort: 20_000 }));
  t.notOk(ways.find({ ...other, destinationPort: 32768 }), 'the first port that a client could have');
  t.end();
});

t.test('packets that differ in anything else are not alike', (t) => {
  const ways = someWays();
  ways.keep(wayOf(forwarded(start)));
  const different: { readonly [Field in keyof State]: State[Field] } = {
    family: 6,
    protocol: 17,
    source: single(0xcb007105n),
    destination: single(0x0af4030bn),
    sourcePort: 40_000,
    destinationPort: 9050,
    iif: 'eth1',
    oif: 'cni0',
    mark: 0x8000,
    connmark: 1,
    routedBy: 1,
    icmp: { type: 3, code: 3 },
    errorOf: 6,
    tcpFlags: 0x10,
    sctpChunk: 10,
    attached: true,
    ipvs: { pending: true } as never,
    conntrack: 'untracked',
    direction: 'reply',
    settledDestination: false,
    settledSource: true,
    dnat: false,
    dnatBy: undefined,
    nat: { kind: 'masquerade' },
    undo: { destination: { address: clients, port: 1 } },
    original: { ...start.original, source: single(0xcb007105n) },
    weight: 0.5,
    assumptions: [{ decider: rule('-m limit'), matched: true }],
    clouded: rule('-j HMARK'),
    path: { parent: undefined, station: { kind: 'hook', hook: 'forward', text: '' }, assumptions: [] },
  };
  t.same(Object.keys(different).sort(), Object.keys(start).sort(), 'every field is tried');
  // The rule that translated a packet is what alike packets may differ in.
  for (const field of (Object.keys(different) as (keyof State)[]).filter((name) => name !== 'dnatBy'))
    t.notOk(ways.find({ ...other, [field]: different[field] }), field);
  for (const [field, value] of Object.entries({ source: single(1n), destination: single(1n), destinationPort: 9050, sourcePort: 40_000 }))
    t.notOk(ways.find({ ...other, original: { ...other.original, [field]: value } }), `original ${field}`);
  t.end();
});

t.test('equal values in other objects are equal', (t) => {
  const ways = someWays();
  const clouded = rule('-j HMARK');
  ways.keep({ ...wayOf(forwarded(start)), start: { ...start, clouded } });
  t.ok(ways.find({ ...other, source: clients.map((each) => ({ ...each })), clouded: { ...clouded } }));
  t.notOk(ways.find({ ...other, clouded: { ...clouded, line: 7 } }));
  t.notOk(ways.find({ ...other, clouded: undefined }));
  t.end();
});

t.test('what was assumed before is told of each by itself', (t) => {
  const assumed = (...texts: readonly string[]): State['assumptions'] => texts.map((text) => ({ decider: rule(text), matched: true }));
  const [own, others] = [assumed('-m recent of one'), assumed('-m recent of another')];
  const later = assumed('-m limit');
  const assuming = { ...start, assumptions: own };
  const way = {
    ...wayOf(forwarded(assuming), { ...forwarded(assuming), state: { ...forwarded(assuming).state, assumptions: [...own, ...later] } }),
    start: assuming,
  };
  const ways = someWays();
  ways.keep(way);
  t.ok(ways.find({ ...other, assumptions: others }));
  t.notOk(ways.find(other), 'nothing assumed');
  t.notOk(ways.find({ ...other, assumptions: assumed('one', 'two') }), 'more assumed');
  t.same(
    way.ended.map((end) => transferred(end, way, { ...other, assumptions: others }).state.assumptions),
    [others, [...others, ...later]],
  );
  const forgetful = someWays();
  forgetful.keep({ ...wayOf(forwarded(start)), start: assuming });
  t.notOk(forgetful.find({ ...other, assumptions: others }), 'an end that has forgotten it');
  t.end();
});

t.test('ends that tell of the packet itself are not kept', (t) => {
  const state = forwarded(start).state;
  const dropped = (decider: Decider): Ended => ({ state, verdict: 'drop', decider });
  const kept: Readonly<Record<string, readonly Ended[]>> = {
    'by a rule': [dropped(rule('-j DROP'))],
    'by a policy': [dropped({ by: 'policy', text: 'policy DROP' })],
    'by a setting': [dropped({ by: 'sysctl', text: 'net.ipv4.ip_forward = 0' })],
    'some forwarded, some dropped': [forwarded(start), dropped(rule('-j DROP'))],
    'without masquerading': [{ ...forwarded(start), state: { ...state, nat: undefined } }],
  };
  for (const [name, ended] of Object.entries(kept)) {
    const ways = someWays();
    ways.keep(wayOf(...ended));
    t.ok(ways.find(other), name);
  }
  const notKept: Readonly<Record<string, readonly Ended[]>> = {
    'a route with the address': [dropped({ by: 'route', text: 'no route to 10.244.2.10' })],
    'a socket of the node': [{ state, verdict: 'local', decider: { by: 'socket', text: 'a process listens on 10.244.2.10:8080/tcp' } }],
    'a load balancer': [dropped({ by: 'ipvs', text: 'ipvsadm: -A' })],
    'forwarded, but named by something else': [{ state, verdict: 'forward', decider: { by: 'route', text: 'default via 10.9.0.254' } }],
    'to another address': [{ ...forwarded(start), state: { ...state, destination: single(0x0af4020fn) } }],
    'to another port': [{ ...forwarded(start), state: { ...state, destinationPort: 8081 } }],
    'taken out of tracking': [{ ...dropped(rule('-j DROP')), state: { ...state, conntrack: 'untracked' } }],
    'one of several': [forwarded(start), dropped({ by: 'route', text: 'no route to 10.244.2.10' })],
  };
  for (const [name, ended] of Object.entries(notKept)) {
    const ways = someWays();
    ways.keep(wayOf(...ended));
    t.notOk(ways.find(other), name);
    t.ok(
      ended.every((end) => end.kept === undefined),
      `${name}: nothing is shared`,
    );
  }
  t.end();
});

t.test('an endpoint that is a client of itself without masquerading', (t) => {
  const bare: Ended = { ...forwarded(start), state: start };
  const inside = { source: [{ lo: 0x0af40200n, hi: 0x0af402ffn }], original: { ...start.original, source: [{ lo: 0x0af40200n, hi: 0x0af402ffn }] } };
  const ways = someWays();
  ways.keep({ ...wayOf(bare), start: { ...start, ...inside } });
  t.notOk(ways.find({ ...other, ...inside }), 'its way is its own');
  const alone = { source: single(0x0af4020an), original: { ...start.original, source: single(0x0af4020an) } };
  ways.keep({ ...wayOf(bare), start: { ...start, ...alone } });
  t.notOk(ways.find({ ...other, ...alone }), 'even where the other is no client');
  const near = { source: single(0x0af4020bn), original: { ...start.original, source: single(0x0af4020bn) } };
  ways.keep({ ...wayOf(bare), start: { ...start, ...near } });
  t.notOk(ways.find({ ...other, ...near }), 'nor does it go the way of another');
  t.ok(ways.find({ ...other, ...near, destination: single(0x0af4020cn) }), 'which a third does');
  const masked = someWays();
  masked.keep({ ...wayOf(forwarded(start)), start: { ...start, ...inside } });
  t.ok(masked.find({ ...other, ...inside }), 'with masquerading there is no difference');
  t.end();
});

t.test('a way that also ends without masquerading is for endpoints that are no clients', (t) => {
  const ways = someWays();
  const source = single(0x0af4020bn);
  const partly = { ...start, source, original: { ...start.original, source } };
  ways.keep({ ...wayOf(forwarded(start), { ...forwarded(start), state: start }), start: partly });
  t.notOk(ways.find({ ...other, source, original: partly.original }));
  t.end();
});

t.test('packets that ways are kept for', (t) => {
  t.ok(goesToEndpoint(start));
  const others: Readonly<Record<string, Partial<State>>> = {
    'not translated': { dnat: false },
    'an answer': { direction: 'reply' },
    'a later packet': { conntrack: 'established' },
    'its source replaced': { nat: { kind: 'masquerade' } },
    'of IPVS': { ipvs: { pending: false } as never },
    IPv6: { family: 6 },
    'to several addresses': { destination: [{ lo: 1n, hi: 2n }] },
    'to several ranges': { destination: [...single(1n), ...single(3n)] },
    'to nowhere': { destination: [] },
  };
  for (const [name, fields] of Object.entries(others)) t.notOk(goesToEndpoint({ ...start, ...fields }), name);
  t.end();
});

t.test('nodes whose rules look at packets in a manner that is not followed', (t) => {
  const ruled = (table: string, ...lines: readonly string[]) =>
    waysOf(
      nodeWith({ 'iptables-save.txt': save(table, lines), 'ipset-save.txt': 'create blocked hash:ip family inet\nadd blocked 10.244.2.10\n' }),
      'external dumped',
    );
  t.ok(ruled('filter', '-A FORWARD -s 10.0.0.0/8 -m conntrack --ctstate NEW -j ACCEPT'));
  t.ok(
    ruled('nat', '-A PREROUTING -m set --match-set blocked dst -j DNAT --to-destination 10.244.2.10'),
    'what first packets alone meet before they are routed',
  );
  t.notOk(ruled('filter', '-A FORWARD -m set --match-set blocked dst -j DROP'), 'sets');
  t.notOk(ruled('filter', '-A FORWARD -j A', '-A A -j B', '-A B -m set --match-set blocked dst -j DROP'), 'sets, two jumps away');
  t.notOk(ruled('filter', '-A FORWARD -g A', '-A A -m set --match-set blocked dst -j DROP'), 'sets, behind a goto');
  t.ok(ruled('filter', '-A A -m set --match-set blocked dst -j DROP'), 'sets in a chain that nothing leads to');
  t.notOk(ruled('raw', '-A PREROUTING -m rpfilter --invert -j DROP'), 'reverse paths');
  t.notOk(ruled('filter', '-A FORWARD -m recent --name seen --rcheck --rsource -j DROP'), 'lists of clients');
  t.notOk(ruled('mangle', '-A PREROUTING -p tcp -j TPROXY --on-port 1 --on-ip 0.0.0.0'), 'proxies');
  t.notOk(ruled('nat', '-A POSTROUTING -j NETMAP --to 10.0.0.0/8'), 'networks that are mapped');
  const mapped = 'table ip n { chain post { type nat hook postrouting priority srcnat; snat to ip daddr map { 10.244.2.10 : 10.9.0.1 }; } }\n';
  t.notOk(waysOf(nodeWith({ 'nft-ruleset.txt': mapped }), 'external dumped'), 'sources by a map');
  t.notOk(waysOf(nodeWith({ 'ipvsadm-Sn.txt': '-A -t 10.9.0.1:80 -s rr\n' }), 'external dumped'), 'IPVS');
  const netdev = '{"nftables":[{"metainfo":{"json_schema_version":1}},{"table":{"family":"netdev","name":"early","handle":1}}]}';
  t.notOk(waysOf(nodeWith({ 'nft.json': netdev }), 'external dumped'), 'tables of devices');
  t.end();
});

t.test('sets and maps of nft divide by each of their elements', (t) => {
  const listing = `table inet filter {
  set blocked { type ipv4_addr; flags interval; elements = { 10.244.2.16-10.244.2.31, 10.244.4.0/24 } }
  set six { type ipv6_addr; flags interval; elements = { fd00::/8 } }
  map verdicts { type ipv4_addr . inet_proto . inet_service : verdict; elements = { 10.244.2.64 . tcp . 8443 : goto named } }
  chain forward { type filter hook forward priority filter; policy accept;
    ip daddr @blocked drop
    ip6 daddr @six drop
    ip daddr . tcp dport { 10.244.2.48 . 8081 } drop
    ip daddr . meta l4proto . th dport vmap @verdicts
    tcp dport vmap { 7000-7010 : jump inlined }
    ip daddr . ct original proto-dst vmap { * . 30500 : drop }
    ip daddr @gone drop
  }
  chain named { tcp dport 9000 drop; }
  chain inlined { ip daddr 10.244.2.80 tcp dport 9100 jump third; }
  chain third { tcp dport 9200 drop; }
}
`;
  const node = nodeWith({ 'nft-ruleset.txt': listing });
  t.same(node.issues, []);
  const ways = waysOf(node, 'external dumped');
  ways?.keep(wayOf(forwarded(start)));
  const to = (destination: bigint, destinationPort = 8080): Way | undefined => ways?.find({ ...other, destination: single(destination), destinationPort });
  t.ok(to(0x0af4020fn), 'the last before an interval');
  for (const last of [0x10n, 0x1fn, 0x30n, 0x40n, 0x50n]) t.notOk(to(0x0af40200n + last), `10.244.2.${last}`);
  t.notOk(to(0x0af40400n), 'a prefix');
  t.ok(to(0x0af4020bn, 8000), 'a port of the same part');
  for (const port of [8081, 8443, 7000, 9000, 9100, 9200]) {
    const near = { ...start, destinationPort: port - 1 };
    ways?.keep({ ...wayOf(forwarded(near)), start: near });
    t.notOk(to(0x0af4020bn, port), `port ${port} and the one before it`);
  }
  t.notOk(ways?.find({ ...other, original: { ...other.original, destinationPort: 30500 } }), 'the port that was asked');
  t.ok(ways?.find({ ...other, original: { ...other.original, destinationPort: 30400 } }));
  t.end();
});

t.test('groups and nodes have ways of their own', (t) => {
  const node = nodeWith({ 'iptables-save.txt': save('filter', []) });
  const ways = waysOf(node, 'external dumped');
  ways?.keep(wayOf(forwarded(start)));
  t.ok(waysOf(node, 'external dumped')?.find(other));
  t.notOk(waysOf(node, 'pod dumped')?.find(other));
  t.notOk(waysOf({ ...node }, 'external dumped')?.find(other), 'a node that was read anew');
  t.end();
});

t.test('ways are kept within bounds', (t) => {
  const ways = someWays();
  const keep = (fields: Partial<State>): void => {
    const changed = { ...start, ...fields };
    ways.keep({ ...wayOf(forwarded(changed)), start: changed });
  };
  keep({});
  for (let index = 1; index <= 600; index++) keep({ weight: index / 1000 });
  t.notOk(ways.find(other), 'the oldest are gone');
  t.ok(ways.find({ ...other, weight: 0.6 }), 'the latest is there');
  for (let mark = 1; mark <= 20; mark++) keep({ mark });
  t.notOk(ways.find({ ...other, mark: 1 }), 'the oldest of a weight');
  t.ok(ways.find({ ...other, mark: 20 }), 'the latest of a weight');
  t.end();
});
