// How rules lie in the tables, who put them there, and who serves NodePorts without any. The cases are constructed.
import type { Change } from '../../../shared/model/change.ts';
import type { Expectation } from '../../../shared/model/expectation.ts';
import type { Fact, HostPortsFact, InterfaceFact, ProcessFact, RepeatedRulesFact } from '../../../shared/model/fact.ts';
import type { Decider } from '../../../shared/model/outcome.ts';
import { chainsFact, dropped, forward, proxyFact, refused, rightFact, rule } from '../compare/facts.ts';
import { pod } from '../expect/cluster.ts';
import { blockedBy, everywhere, healthy, testCases } from './cases.ts';

const process = (comm: string): ProcessFact => ({ kind: 'process', key: `process/${comm}`, comm, pids: [7] });
const policy = (chain: string): Decider => ({ by: 'policy', family: 'ip', table: 'filter', chain, text: 'policy DROP', backend: 'iptables-nft' });
const hostports = (...ports: readonly string[]): HostPortsFact => ({ kind: 'hostports', key: 'hostports/4', family: 4, ports });
const exposed = pod('front', { app: 'front' }, { ip: '10.244.1.8', ports: [{ containerPort: 80, hostPort: 8081, protocol: 'TCP' }] });
const repeated: RepeatedRulesFact = {
  kind: 'repeated-rules',
  key: 'repeated-rules',
  rules: [{ family: 'ip', table: 'filter', chain: 'INPUT', text: '-A INPUT -j KUBE-FIREWALL', count: 1024 }],
};
const cni0: InterfaceFact = { kind: 'interface', key: 'interface/cni0', name: 'cni0', up: true, addresses: ['192.0.2.11/24', '10.244.1.1/24'] };
const made = (actor: NonNullable<Change['actor']>): Change[] => [
  { at: 1_000, node: 'node1', kind: 'rule', subject: 'ip filter FORWARD', before: null, after: '-A FORWARD -j DROP', actor },
];
const flushed = (actor: NonNullable<Change['actor']>): Change[] => [
  { at: 5_000, node: 'node1', kind: 'chain', subject: 'ip nat KUBE-SERVICES', before: '-A KUBE-SERVICES -j KUBE-NODEPORTS', after: null, actor },
];
const written = (...chains: readonly (readonly [string, string])[]) => chains.map(([chain, backend]) => ({ family: 'ip', table: 'mangle', chain, backend }));
const docker = [{ family: 'ip', table: 'filter', chain: 'DOCKER-USER' }];
const named = (web: Expectation): Fact[] => [
  everywhere(
    web,
    web.endpoints.map((each) => ({ ...forward(each, 0.5), decidedBy: rule('KUBE-SEP-X', '-j DNAT', { table: 'nat' }) })),
  ),
];
const unserved = (all: readonly Expectation[]): Fact[] => all.map((each) => everywhere(each, [refused], { claimed: { by: 'none' } }));
const noProxy =
  (program: string) =>
  (_: Expectation, all: readonly Expectation[]): Fact[] => [process(program), proxyFact({ running: 'no', mode: 'none' }), ...unserved(all)];

testCases([
  {
    name: "C11: kubelet's hint is in the other backend than kube-proxy's rules",
    neighbours: written(['KUBE-IPTABLES-HINT', 'legacy']),
    facts: named,
    expect: [
      { cause: 'C11', severity: 'info', summary: /kube-proxy writes iptables-nft, but mangle KUBE-IPTABLES-HINT is in iptables-legacy/ as unknown as string },
    ],
  },
  {
    name: 'C11 twin: it is in both, one of them left behind',
    neighbours: written(['KUBE-IPTABLES-HINT', 'legacy'], ['KUBE-IPTABLES-HINT', 'iptables-nft']),
    facts: named,
    expect: [],
  },
  { name: 'C11 twin: Docker writes where it likes', neighbours: written(['DOCKER', 'legacy']), facts: named, expect: [] },
  {
    name: 'C13: one rule a thousand times',
    facts: () => [repeated],
    expect: [{ cause: 'C13', severity: 'warning', summary: /at least 1024 times in filter INPUT/ as unknown as string }],
  },
  {
    name: "C20: a pod's hostPort has no rule",
    cluster: [...healthy, exposed],
    facts: () => [hostports('tcp/9000')],
    expect: [{ cause: 'C20', severity: 'warning', remedy: [/delete pod front/] as unknown as string[] }],
  },
  { name: 'C20 twin: it has', cluster: [...healthy, exposed], facts: () => [hostports('tcp/8081')], expect: [] },
  { name: 'C20 twin: portmap is not in use', cluster: [...healthy, exposed], expect: [] },
  {
    name: 'C04: ufw shuts out the pods alone',
    facts: (web) => [
      cni0,
      rightFact(web, { external: web.endpoints.map((each) => forward(each, 0.5)), pod: [dropped(null, rule('ufw-user-input', '-j DROP'))] }),
    ],
    expect: [{ cause: 'C04', severity: 'warning', remedy: ['ufw allow in on cni0', /./, /./] as unknown as string[] }],
  },
  {
    name: "C09: kube-router's chain returns to an INPUT that drops",
    facts: blockedBy(policy('INPUT')),
    neighbours: [{ family: 'ip', table: 'filter', chain: 'KUBE-ROUTER-INPUT' }],
    expect: [{ cause: 'C09', severity: 'error', remedy: ['iptables -A INPUT -p tcp --dport 30000:32767 -j ACCEPT'] }],
  },
  {
    name: 'C19: Docker is gone, its policy and chains are not',
    facts: (web) => [...blockedBy(policy('FORWARD'))(web), process('kubelet')],
    neighbours: docker,
    expect: [{ cause: 'C19', severity: 'error' }],
  },
  {
    name: 'C19 twin: Docker runs',
    facts: (web) => [...blockedBy(policy('FORWARD'))(web), process('dockerd')],
    neighbours: docker,
    expect: [{ cause: 'C01' }],
  },
  {
    name: 'C18: configuration management made the rule and will make it again',
    facts: blockedBy(rule('FORWARD', '-j DROP')),
    changes: made({ argv: ['iptables-restore'], pid: 9, unit: 'puppet.service', how: 'exec-event' }),
    expect: [{ cause: 'C18', severity: 'error', since: 1_000, id: 'node1/nodeport/tcp/4/30080/C18' }],
  },
  {
    name: 'C18 twin: a person made it',
    facts: blockedBy(rule('FORWARD', '-j DROP')),
    changes: made({ argv: ['iptables', '-A'], pid: 9, unit: 'ssh.service', how: 'exec-event' }),
    expect: [{ cause: 'C08' }],
  },
  {
    name: 'C18: it flushed all of nat',
    facts: (_, all) => [chainsFact(all, ['nat KUBE-SERVICES', 'nat KUBE-NODEPORTS']), ...unserved(all)],
    changes: flushed({ comm: 'salt-minion', pid: 3, how: 'nft-generation' }),
    expect: [{ cause: 'C18', since: 5_000, port: 0 }],
  },
  {
    name: 'B27: Cilium serves NodePorts: said, not alarmed',
    facts: noProxy('cilium-agent'),
    expect: [
      { cause: 'B27', severity: 'info', symptom: 'unknown', port: 30080 },
      { cause: 'B27', severity: 'info', port: 30081 },
    ],
  },
  { name: 'B27 twin: no such program', facts: noProxy('kubelet'), expect: [{ cause: 'B26' }, { cause: 'B26' }] },
]);
