// Tunnels, bridges, routes and the network outside. The cases are constructed.
import type { CounterFact, Fact, InterfaceFact, PortFact, RoutingFact, TunnelFact } from '../../../shared/model/fact.ts';
import type { Outcome } from '../../../shared/model/outcome.ts';
import { dropped, forward, rule } from '../compare/facts.ts';
import { node } from '../expect/cluster.ts';
import { blockedBy, healthy, testCases } from './cases.ts';

const device = (name: string, more: Partial<InterfaceFact> = {}): InterfaceFact => ({
  kind: 'interface',
  key: `interface/${name}`,
  name,
  up: true,
  addresses: name === 'eth0' ? ['192.0.2.11/24'] : [],
  ...more,
});
const routing = (podNetworks: RoutingFact['podNetworks'], rules: readonly string[] = []): RoutingFact => ({
  kind: 'routing',
  key: 'routing/4',
  family: 4,
  defaultRoute: true,
  device: 'eth0',
  rules,
  podNetworks,
});
const overlay = (peer: readonly Outcome[]): PortFact => ({
  kind: 'port',
  key: 'port/udp/4/8472',
  port: { protocol: 'udp', family: 4, port: 8472 },
  purpose: 'overlay',
  device: 'flannel.1',
  outcomes: { peer },
});
const counter = (name: string, value: number): CounterFact => ({ kind: 'counter', key: `counter/${name}`, name, value });
const three = [...healthy, node('node3', '192.0.2.13', { podCIDRs: ['10.244.3.0/24'] })];
const lostRoute = routing({ '10.244.1.0/24': 'dev cni0', '10.244.2.0/24': null, '10.244.3.0/24': '10.244.3.0/24 via 192.0.2.13 dev eth0' });
const removed = {
  at: 5_000,
  node: 'node1',
  kind: 'route',
  subject: 'route 10.244.2.0/24',
  before: '10.244.2.0/24 via 192.0.2.12 dev eth0',
  after: null,
} as const;
const mtu = (tunnel: number, below = 1500): Fact[] => [device('flannel.1', { mtu: tunnel }), device('eth0', { mtu: below }), routing({})];
const cloud = routing({}, ['30400: from 192.0.2.11 lookup 30400']);
const group = { at: 0, node: '', kind: 'node', subject: 'security group sg-1' } as const;

const tunnel = (broken: TunnelFact['broken']): TunnelFact => ({ kind: 'tunnel', key: 'tunnel/flannel.1', device: 'flannel.1', hops: 2, broken });

testCases([
  {
    name: 'D17: the tunnel does not know the node at its end',
    facts: () => [tunnel({ '10.244.2.0': 'no neighbour entry' })],
    expect: [
      {
        cause: 'D17',
        severity: 'warning',
        symptom: 'timeout',
        summary: /cannot send to 1 of its 2 next hops \(10\.244\.2\.0: no neighbour entry\)/ as unknown as string,
      },
    ],
  },
  { name: 'D17 twin: it knows all', facts: () => [tunnel({})], expect: [] },
  {
    name: 'C22: a firewall shuts the tunnel',
    facts: () => [overlay([dropped(null, rule('INPUT', '-j DROP'))])],
    expect: [{ cause: 'C22', severity: 'error', symptom: 'timeout', remedy: ['iptables -I INPUT -p udp --dport 8472 -j ACCEPT'] }],
  },
  {
    name: 'C22: firewalld does, so its own command opens it',
    facts: () => [overlay([{ ...dropped(null, rule('IN_public', '-j REJECT')), verdict: 'reject', rejectWith: 'icmp-host-prohibited' }])],
    expect: [{ cause: 'C22', symptom: 'unreachable', remedy: ['firewall-cmd --permanent --add-port=8472/udp', 'firewall-cmd --reload'] }],
  },
  { name: 'C22 twin: the tunnel takes them', facts: () => [overlay([{ ...forward('x'), dnat: null, verdict: 'local' }])], expect: [] },
  { name: 'C22 twin: not judged', facts: () => [overlay([dropped(null, rule('INPUT', '-j DROP'), { unless: [rule('INPUT', '-m bpf')] })])], expect: [] },
  {
    name: 'C21: a security group admits the range no more',
    now: 60_000,
    changes: [{ ...group, before: 'tcp 30000-32767 from 0.0.0.0/0', after: 'tcp 443 from 0.0.0.0/0' }],
    expect: [
      { cause: 'C21', port: 30080, severity: 'warning', since: 0 },
      { cause: 'C21', port: 30081 },
    ],
  },
  { name: 'C21 twin: it still does', changes: [{ ...group, before: 'tcp 30000-32767', after: 'tcp 30000-32767 and 22' }], expect: [] },
  {
    name: "D17: one node's pods have no route while others have",
    cluster: three,
    facts: () => [lostRoute],
    expect: [{ cause: 'D17', severity: 'error', confidence: 'likely', consequences: ['nodeport/tcp/4/30080'] }],
  },
  {
    name: 'D15: systemd-networkd was restarted when the route went',
    now: 10_000,
    cluster: three,
    facts: () => [lostRoute],
    changes: [removed, { at: 5_500, node: 'node1', kind: 'process', subject: 'process systemd-network', before: 'pid 3', after: 'pid 9' }],
    expect: [{ cause: 'D15', severity: 'error', confidence: 'certain', since: 5_000, remedy: [/ManageForeignRoutes=no/, /./] as unknown as string[] }],
  },
  {
    name: 'D17 twin: no network has a route of its own: the network outside knows them',
    cluster: three,
    facts: () => [routing({ '10.244.2.0/24': null, '10.244.3.0/24': null })],
    expect: [],
  },
  { name: 'D14: rules of nm-cloud-setup', facts: () => [cloud], expect: [{ cause: 'D14', severity: 'warning', confidence: 'possible' }] },
  {
    name: 'D14: and packets are lost by routing',
    facts: (web) => [cloud, ...blockedBy({ by: 'route', text: 'no route to 10.244.2.5' })(web)],
    expect: [{ cause: 'D14', severity: 'error', consequences: ['nodeport/tcp/4/30080'] }],
  },
  { name: 'D14 twin: rules of somebody else', facts: () => [routing({}, ['5210: from all fwmark 0x80000/0xff0000 lookup main'])], expect: [] },
  {
    name: 'D11: the tunnel is too large',
    facts: () => mtu(1500),
    expect: [{ cause: 'D11', severity: 'warning', remedy: ['ip link set flannel.1 mtu 1450', /./ as unknown as string] }],
  },
  { name: 'D11 twin: it fits', facts: () => mtu(1450), expect: [] },
  { name: 'D11 twin: the network below takes large packets', facts: () => mtu(8951, 9001), expect: [] },
  {
    name: 'D10: damaged checksums beside a tunnel',
    facts: () => [device('flannel.1'), device('eth0'), counter('udp_in_csum_errors', 4096)],
    expect: [{ cause: 'D10', severity: 'info' }],
  },
  { name: 'D10 twin: no tunnel', facts: () => [counter('udp_in_csum_errors', 4096)], expect: [] },
  {
    name: 'D06: hairpin is off',
    facts: () => [device('eth0'), device('veth1', { hairpin: false, master: 'cni0' }), device('veth2', { hairpin: true, master: 'cni0' })],
    expect: [{ cause: 'D06', severity: 'info', summary: /^1 bridge port of node1 has hairpin mode off/ as unknown as string }],
  },
  { name: 'D06 twin: it is on', facts: () => [device('eth0'), device('veth2', { hairpin: true, master: 'cni0' })], expect: [] },
]);
