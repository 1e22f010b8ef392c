// The walk through IPVS on constructed nodes: who gets a packet, which rules see it at which address, and what becomes of the answer.
import t from 'tap';
import { parseAddress, single } from '../../../shared/model/address.ts';
import type { Outcome } from '../../../shared/model/outcome.ts';
import { readNode } from '../../../shared/netfilter/node.read.ts';
import { walk } from '../../../shared/netfilter/walk.ts';

const addresses = [
  { ifname: 'lo', ifindex: 1, flags: ['LOOPBACK', 'UP'], addr_info: [{ family: 'inet', local: '127.0.0.1', prefixlen: 8 }] },
  { ifname: 'eth0', ifindex: 2, flags: ['UP'], addr_info: [{ family: 'inet', local: '192.0.2.11', prefixlen: 24 }] },
  { ifname: 'cni0', ifindex: 3, flags: ['UP'], addr_info: [{ family: 'inet', local: '10.244.1.1', prefixlen: 24 }] },
];
const routes = [
  { dst: 'default', gateway: '192.0.2.1', dev: 'eth0' },
  { dst: '192.0.2.0/24', dev: 'eth0' },
  { dst: '10.244.1.0/24', dev: 'cni0' },
  { dst: '10.244.2.0/24', gateway: '192.0.2.12', dev: 'eth0' },
];

interface Given {
  readonly ipvs: string;
  readonly iptables?: string;
  readonly conntrack?: 0 | 1;
  readonly from?: 'external' | 'node';
}

function meet({ ipvs, iptables = '', conntrack = 1, from = 'external' }: Given): readonly Outcome[] {
  const files = {
    'ip-addr.json': JSON.stringify(addresses),
    'ip-route.json': JSON.stringify(routes),
    'ipvsadm-Sn.txt': ipvs,
    'iptables-save.txt': iptables,
    'ss.txt': '',
    'sysctl.txt': `net.ipv4.ip_forward = 1\nnet.ipv4.vs.conntrack = ${conntrack}\n`,
  };
  const node = readNode(new Map(Object.entries(files).map(([name, text]) => [name, Buffer.from(text)])));
  const address = (text: string): bigint => parseAddress(text)?.value as bigint;
  const sources = single(address(from === 'node' ? '192.0.2.11' : '203.0.113.7'));
  const packet = { vantage: from, family: 4, protocol: 6, sources, sourcePort: 40_000, destination: address('192.0.2.11'), destinationPort: 30_080 } as const;
  return walk(node, packet, { traced: false, reply: true }).outcomes;
}

const line = (outcome: Outcome): string =>
  [
    outcome.verdict,
    outcome.dnat,
    outcome.masquerade ? 'masquerade' : '',
    outcome.weight,
    outcome.reply?.verdict ?? '',
    outcome.unless === undefined ? '' : 'unless',
  ].join(' ');
const two = '-A -t 192.0.2.11:30080 -s rr\n-a -t 192.0.2.11:30080 -r 10.244.1.5:8080 -m -w 1\n-a -t 192.0.2.11:30080 -r 10.244.2.7:8080 -m -w 1\n';
const weighted = two.replace('-s rr', '-s wrr').replace('10.244.2.7:8080 -m -w 1', '10.244.2.7:8080 -m -w 3');
const filter = (rules: string): string => `*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n${rules}COMMIT\n`;
const masquerade = '*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -d 10.244.0.0/16 -j MASQUERADE\nCOMMIT\n';
const halves = ['forward 10.244.1.5:8080  0.5  ', 'forward 10.244.2.7:8080  0.5  '];

const cases: readonly (Given & { readonly name: string; readonly expected: readonly string[] })[] = [
  { name: 'two servers', ipvs: two, expected: halves },
  { name: 'by weight', ipvs: weighted, expected: ['forward 10.244.2.7:8080  0.75  ', 'forward 10.244.1.5:8080  0.25  '] },
  { name: 'no server: port unreachable', ipvs: '-A -t 192.0.2.11:30080 -s rr\n', expected: ['reject   1  '] },
  { name: 'servers of weight 0 only', ipvs: two.replaceAll('-w 1', '-w 0'), expected: ['reject   1  '] },
  { name: 'another port', ipvs: two.replaceAll('30080', '30081'), expected: ['refused   1  '] },
  { name: 'masqueraded by rules in postrouting', ipvs: two, iptables: masquerade, expected: halves.map((each) => each.replace('  0.5', ' masquerade 0.5')) },
  { name: 'not masqueraded without conntrack', ipvs: two, iptables: masquerade, conntrack: 0, expected: halves },
  { name: 'input sees the NodePort', ipvs: two, iptables: filter('-A INPUT -p tcp --dport 30080 -j DROP\n'), expected: ['drop   1  '] },
  { name: 'input does not see the server', ipvs: two, iptables: filter('-A INPUT -p tcp --dport 8080 -j DROP\n'), expected: halves },
  {
    name: 'output sees the server',
    ipvs: two,
    iptables: filter('-A OUTPUT -d 10.244.2.7/32 -j DROP\n'),
    expected: ['drop 10.244.2.7:8080  0.5  ', 'forward 10.244.1.5:8080  0.5  '],
  },
  {
    name: 'forward sees the answers only',
    ipvs: two,
    iptables: filter('-A FORWARD -s 10.244.1.5/32 -j DROP\n-A FORWARD -d 10.244.0.0/16 -j DROP\n'),
    expected: ['forward 10.244.1.5:8080  0.5 drop ', 'forward 10.244.2.7:8080  0.5  '],
  },
  { name: 'direct routing translates nothing', ipvs: two.replaceAll(' -m ', ' -g '), expected: ['forward   0.5  ', 'forward   0.5  '] },
  { name: 'a process of the node itself', ipvs: two, from: 'node', expected: halves },
];

for (const { name, expected, ...given } of cases) {
  t.test(name, async (t) => t.same([...meet(given)].map(line).sort(), [...expected].sort()));
}

t.test('the decider names the virtual service in the words of ipvsadm', async (t) => {
  t.match(meet({ ipvs: '-A -t 192.0.2.11:30080 -s rr\n' }), [
    { decidedBy: { by: 'ipvs', text: 'ipvsadm: -A -t 192.0.2.11:30080 -s rr, no real server', line: 1 }, rejectWith: 'icmp-port-unreachable' },
  ]);
});
