// Addresses that kube-proxy serves, takes for pods' or replaces. The cases are constructed.
import type { CounterFact, Fact, InterfaceFact, SysctlFact } from '../../../shared/model/fact.ts';
import { chainsFact, forward, proxyFact, refused, rightFact } from '../compare/facts.ts';
import { everywhere, testCases } from './cases.ts';

const eth0 = (...addresses: readonly string[]): InterfaceFact => ({ kind: 'interface', key: 'interface/eth0', name: 'eth0', up: true, addresses });
const served = (...prefixes: readonly string[]): Fact => ({ kind: 'served', key: 'served/4', family: 4, prefixes });
const setting = (name: string, value: string): SysctlFact => ({ kind: 'sysctl', key: `sysctl/${name}`, name, value });
const counter = (name: string, value: number): CounterFact => ({ kind: 'counter', key: `counter/${name}`, name, value });
const ipvs = proxyFact({ mode: 'ipvs' });
const bare = (target: string, weight = 1) => ({ ...forward(target, weight), masquerade: false });
const bareBoth = [bare('10.244.1.5:8080', 0.5), bare('10.244.2.5:8080', 0.5)];
const reuse = (expire: string) => [setting('net.ipv4.vs.conn_reuse_mode', '0'), setting('net.ipv4.vs.expire_nodest_conn', expire)];

testCases([
  {
    name: "B17: the Node's address is not among those that are served",
    facts: (_, all) => [eth0('192.0.2.11/24'), served('10.0.0.0/8'), ...all.map((each) => everywhere(each, [refused]))],
    expect: [
      {
        cause: 'B17',
        severity: 'error',
        symptom: 'refused',
        summary: /serves NodePorts on 10\.0\.0\.0\/8 only: clients of 192\.0\.2\.11 do not get in/ as unknown as string,
        consequences: ['nodeport/tcp/4/30080', 'nodeport/tcp/4/30081'],
      },
    ],
  },
  { name: 'B17 twin: it is', facts: () => [eth0('192.0.2.11/24'), served('192.0.2.0/24')], expect: [] },
  { name: 'B17 twin: every address is served', facts: () => [eth0('192.0.2.11/24'), served()], expect: [] },
  {
    name: 'B18: rules are for the address that the node had before',
    facts: (_, all) => [eth0('192.0.2.11/24'), served('192.0.2.9'), ...all.map((each) => everywhere(each, [refused]))],
    expect: [{ cause: 'B18', severity: 'error', summary: /on 192\.0\.2\.9, which is on none of its interfaces/ as unknown as string }],
  },
  {
    name: "B21: packets to another node keep the client's address",
    facts: (web) => [rightFact(web, { external: bareBoth })],
    expect: [
      {
        cause: 'B21',
        severity: 'error',
        symptom: 'timeout',
        port: 30080,
        confidence: 'likely',
        summary: /sent to 10\.244\.2\.5:8080 on other nodes/ as unknown as string,
      },
    ],
  },
  {
    name: 'B21: because KUBE-POSTROUTING is not hooked',
    facts: (web, all) => {
      const chains = chainsFact(all);
      return [rightFact(web, { external: bareBoth }), { ...chains, parts: { ...chains.parts, 'nat POSTROUTING → KUBE-POSTROUTING': false } }];
    },
    expect: [{ cause: 'B21', confidence: 'certain', summary: /nat POSTROUTING → KUBE-POSTROUTING is missing/ as unknown as string }],
  },
  {
    name: 'B21 twin: only a pod of this node is reached so',
    facts: (web) => [rightFact(web, { external: [bare('10.244.1.5:8080', 0.5), forward('10.244.2.5:8080', 0.5)] })],
    expect: [],
  },
  {
    name: "B22: the cluster network is not the pods'",
    facts: () => [proxyFact({ clusterNetworks: ['10.200.0.0/16'] })],
    expect: [
      { cause: 'B22', severity: 'warning', summary: /takes 10\.200\.0\.0\/16 .* nodes have 10\.244\.1\.0\/24 and 10\.244\.2\.0\/24/ as unknown as string },
    ],
  },
  { name: 'B22 twin: it holds them all', facts: () => [proxyFact({ clusterNetworks: ['10.244.0.0/16'] })], expect: [] },
  { name: "B22 twin: kube-proxy goes by its own node's network", facts: () => [proxyFact({ clusterNetworks: ['10.244.1.0/24'] })], expect: [] },
  { name: 'B10: IPVS keeps sending to real servers that are gone', facts: () => [ipvs, ...reuse('0')], expect: [{ cause: 'B10', severity: 'warning' }] },
  { name: 'B10 twin: they expire', facts: () => [ipvs, ...reuse('1')], expect: [] },
  { name: 'B10 twin: not in IPVS mode', facts: () => reuse('0'), expect: [] },
  { name: 'B23: masqueraded onto a NodePort', facts: () => [ipvs, counter('masqueraded_onto_nodeport', 2)], expect: [{ cause: 'B23', severity: 'warning' }] },
  { name: 'B23 twin: not in iptables mode', facts: () => [counter('masqueraded_onto_nodeport', 2)], expect: [] },
  { name: 'B25: many packets were INVALID', facts: () => [counter('kube_forward_invalid', 4096)], expect: [{ cause: 'B25', severity: 'info' }] },
  { name: 'B25 twin: a few', facts: () => [counter('kube_forward_invalid', 12)], expect: [] },
  {
    name: 'B19: since the change to nftables mode 127.0.0.1 is not served',
    facts: (_, all) => [proxyFact({ mode: 'nftables' }), { ...chainsFact(all), mode: 'nftables' }],
    changes: [{ at: 0, node: 'node1', kind: 'chain', subject: 'ip nat KUBE-NODEPORTS', before: '-A KUBE-NODEPORTS -j KUBE-EXT-X', after: null }],
    expect: [{ cause: 'B19', severity: 'info' }],
  },
  { name: 'B19 twin: nftables mode from the start', facts: () => [proxyFact({ mode: 'nftables' })], expect: [] },
  { name: 'D04: route_localnet is off', facts: () => [setting('net.ipv4.conf.all.route_localnet', '0')], expect: [{ cause: 'D04', severity: 'info' }] },
  {
    name: 'D04 twin: kube-proxy was told not to serve 127.0.0.1',
    facts: () => [setting('net.ipv4.conf.all.route_localnet', '0'), proxyFact({ flags: { 'iptables-localhost-nodeports': 'false' } })],
    expect: [],
  },
]);
