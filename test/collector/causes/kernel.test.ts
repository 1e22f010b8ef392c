// Resources of the kernel, devices and addresses. The cases are constructed.
import type { Change } from '../../../shared/model/change.ts';
import type { CounterFact, InterfaceFact, SourceFact, SysctlFact } from '../../../shared/model/fact.ts';
import { proxyFact } from '../compare/facts.ts';
import { service, slice } from '../expect/cluster.ts';
import { endpoints, nodes, testCases } from './cases.ts';

const setting = (name: string, value: string): SysctlFact => ({ kind: 'sysctl', key: `sysctl/${name}`, name, value });
const counter = (name: string, value: number): CounterFact => ({ kind: 'counter', key: `counter/${name}`, name, value });
const device = (name: string, ...addresses: readonly string[]): InterfaceFact => ({ kind: 'interface', key: `interface/${name}`, name, up: true, addresses });
const failed = (reason: string): SourceFact => ({ kind: 'source', key: 'source/iptables', source: 'iptables', outcome: 'failed', reason });
const table = (count: number) => [counter('nf_conntrack_count', count), counter('nf_conntrack_max', 262144)];
const range = 'net.ipv4.ip_local_port_range';
const left: Change = { at: 1_000, node: 'node1', kind: 'address', subject: 'interface eth0', before: '192.0.2.50/32', after: null };
const flap = (at: number): Change => ({ at, node: 'node1', kind: 'interface', subject: 'interface eth0', before: 'up', after: 'down' });
const balanced = [
  ...nodes,
  { ...service('web', { type: 'LoadBalancer' }), status: { loadBalancer: { ingress: [{ ip: '192.0.2.200' }] } } },
  slice('web', endpoints),
];
const answering = (ignore: string, announce: string) => [
  proxyFact({ mode: 'ipvs' }),
  device('kube-ipvs0', '192.0.2.200/32'),
  device('eth0', '192.0.2.11/24'),
  setting('net.ipv4.conf.all.arp_ignore', ignore),
  setting('net.ipv4.conf.all.arp_announce', announce),
];

testCases([
  {
    name: 'D07: the table of connections is full',
    facts: () => [...table(262144), counter('nf_conntrack_drop', 96)],
    expect: [{ cause: 'D07', severity: 'error', symptom: 'timeout', remedy: [/nf_conntrack_max=524288/, /./, /./] as unknown as string[] }],
  },
  { name: 'D07: nearly', facts: () => table(222822), expect: [{ cause: 'D07', severity: 'warning', symptom: 'ok' }] },
  { name: 'D07 twin: half', facts: () => table(131072), expect: [] },
  {
    name: "D08: the node's own ports overlap its NodePorts",
    facts: () => [setting(range, '1024\t65535')],
    expect: [{ cause: 'D08', severity: 'warning', summary: /in which 30080 and 30081 are NodePorts and not reserved/ as unknown as string }],
  },
  {
    name: 'D08 twin: they are reserved',
    facts: () => [setting(range, '1024\t65535'), setting('net.ipv4.ip_local_reserved_ports', '8080,30000-32767')],
    expect: [],
  },
  { name: 'D08 twin: the default range', facts: () => [setting(range, '32768\t60999')], expect: [] },
  { name: 'D12: connections clash', facts: () => [counter('nf_conntrack_insert_failed', 768)], expect: [{ cause: 'D12', severity: 'info' }] },
  { name: 'D12 twin: a few', facts: () => [counter('nf_conntrack_insert_failed', 6)], expect: [] },
  { name: 'D22: the receive queue overflows', facts: () => [counter('softnet_dropped', 12288)], expect: [{ cause: 'D22', severity: 'info' }] },
  { name: 'D22 twin: hardly ever', facts: () => [counter('softnet_dropped', 3)], expect: [] },
  {
    name: 'D13: a module is missing',
    facts: () => [failed("iptables-save: Couldn't load match `comment': No such file or directory")],
    expect: [{ cause: 'D13', severity: 'warning', summary: /the module for comment/ as unknown as string }],
  },
  {
    name: 'D13: the kernel has not what the mode needs',
    facts: () => [{ kind: 'kernel', key: 'kernel', user: 'ipvs', missing: ['ip_vs_rr'], available: ['ip_vs'] }],
    expect: [{ cause: 'D13', severity: 'warning', summary: /has no ip_vs_rr, .* in ipvs mode needs/ as unknown as string }],
  },
  {
    name: 'D13 twin: it only has to be loaded',
    facts: () => [{ kind: 'kernel', key: 'kernel', user: 'ipvs', missing: [], available: ['ip_vs_rr'] }],
    expect: [],
  },
  { name: 'D13 twin: it failed for another reason', facts: () => [failed('iptables-save: Permission denied (you must be root)')], expect: [] },
  {
    name: 'D18: a virtual address has moved on',
    now: 61_000,
    facts: () => [device('eth0', '192.0.2.11/24')],
    changes: [left],
    expect: [{ cause: 'D18', severity: 'info', summary: /^192\.0\.2\.50 left node1 60 s ago/ as unknown as string }],
  },
  { name: 'D18 twin: it is back', now: 61_000, facts: () => [device('eth0', '192.0.2.11/24', '192.0.2.50/32')], changes: [left], expect: [] },
  {
    name: 'D18 twin: a network has gone with it',
    now: 61_000,
    facts: () => [device('eth0', '192.0.2.11/24')],
    changes: [{ ...left, before: '198.51.100.4/24' }],
    expect: [],
  },
  {
    name: "D19: every node answers for the load balancer's address",
    cluster: balanced,
    facts: () => answering('0', '0'),
    expect: [{ cause: 'D19', severity: 'warning' }],
  },
  { name: 'D19 twin: strict ARP', cluster: balanced, facts: () => answering('1', '2'), expect: [] },
  {
    name: 'D21: a link flaps',
    now: 10_000,
    changes: [flap(1_000), flap(2_000), flap(3_000), flap(4_000)],
    expect: [{ cause: 'D21', severity: 'warning', since: 4_000 }],
  },
  { name: 'D21 twin: it went down and up once', now: 10_000, changes: [flap(1_000), flap(2_000)], expect: [] },
  { name: "D21 twin: pods' interfaces come and go", now: 10_000, changes: [1, 2, 3, 4].map((at) => ({ ...flap(at), subject: 'interface veth1' })), expect: [] },
]);
