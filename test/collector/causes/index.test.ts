// The diagnosis as a whole: which detector takes which drift, and what every finding holds.
import type { Expectation } from '../../../shared/model/expectation.ts';
import type { Fact, ListenerFact, PodSocketsFact } from '../../../shared/model/fact.ts';
import type { Finding } from '../../../shared/model/finding.ts';
import type { Decider } from '../../../shared/model/outcome.ts';
import { chainsFact, dropped, forward, proxyFact, refused, rightFact, rule } from '../compare/facts.ts';
import { type clusterOf, pod, service, slice } from '../expect/cluster.ts';
import { api, blockedBy, type Case, endpoints, everywhere, healthy, nodes, pods, testCases, threeServices } from './cases.ts';

const policy: Decider = { by: 'policy', family: 'ip', table: 'filter', chain: 'FORWARD', text: 'policy DROP', backend: 'iptables-nft', packets: '26' };
const hostfw: Decider = {
  by: 'rule',
  family: 'inet',
  table: 'hostfw',
  chain: 'filter_FORWARD',
  rule: 4,
  text: 'reject with icmpx admin-prohibited',
  backend: 'nft',
  line: 0,
  handle: 17,
};
const withoutEndpoints = (spec: object, ...more: Parameters<typeof clusterOf>[0]) => [...nodes, service('web', { ...spec }), slice('web', []), ...more];
const withoutRule = (all: readonly Expectation[]): Fact => {
  const fact = chainsFact(all);
  return {
    ...fact,
    services: Object.fromEntries(Object.entries(fact.services).map(([name, state]) => [name, { ...state, nodePortRule: !name.startsWith('shop/web') }])),
  };
};
const listener: ListenerFact = {
  kind: 'listener',
  key: 'listener/tcp/4/*/30080',
  protocol: 'tcp',
  family: 4,
  address: '*',
  port: 30080,
  processes: [{ comm: 'python3', pid: 77 }],
};

const listening = (address: string, more: Partial<PodSocketsFact>): PodSocketsFact => ({
  kind: 'pod-sockets',
  key: `podlisten/${address}`,
  address,
  ports: [],
  loopbackPorts: [],
  ...more,
});

const cases: readonly Case[] = [
  { name: 'a correct node has no findings', expect: [] },

  // A: objects
  {
    name: 'A01: no endpoint and nobody to ask why',
    cluster: [...nodes, service('web', { selector: undefined }), slice('web', [])],
    expect: [{ cause: 'A01', severity: 'error', port: 30080, symptom: 'refused', service: 'shop/web:http' }],
  },
  { name: 'A01: pods were not read, so the selector is not blamed', cluster: withoutEndpoints({ selector: { app: 'nobody' } }), expect: [{ cause: 'A01' }] },
  {
    name: 'A02: the selector matches no pod: both ways out',
    cluster: withoutEndpoints({ selector: { app: 'web-v2', tier: 'front' } }, ...pods),
    expect: [
      {
        cause: 'A02',
        severity: 'error',
        remedy: [
          `kubectl -n shop patch service web -p '{"spec":{"selector":{"app":"web","tier":null}}}'`,
          /label --overwrite pod web-1 web-2 app=web-v2 tier=front/ as unknown as string,
        ],
      },
    ],
  },
  {
    name: 'A02: no pod comes near: no guess',
    cluster: withoutEndpoints({ selector: { app: 'nobody' } }, ...pods),
    expect: [{ cause: 'A02', remedy: ['kubectl -n shop get pods --show-labels'] }],
  },
  {
    name: 'A02: the pods are not Ready',
    cluster: [...nodes, service('web'), slice('web', [{ address: '10.244.1.5', node: 'node1', ready: false }]), pod('web-1', { app: 'web' }, { ready: false })],
    expect: [{ cause: 'A02', title: 'no pod of the Service is Ready' }],
  },
  {
    name: 'A03: no container names its port so',
    cluster: [
      ...nodes,
      service('web', { ports: [{ name: 'http', port: 80, targetPort: 'htp', nodePort: 30080 }] }),
      slice('web', [{ address: '10.244.1.5' }], { ports: [] }),
      ...pods,
    ],
    expect: [
      {
        cause: 'A03',
        severity: 'error',
        remedy: [`kubectl -n shop patch service web -p '{"spec":{"ports":[{"port":80,"protocol":"TCP","targetPort":"http"}]}}'`],
      },
    ],
  },
  {
    name: 'A03: a slip of a digit in targetPort',
    cluster: [...nodes, service('web'), slice('web', endpoints, { ports: [{ name: 'http', port: 8088 }] }), ...pods],
    expect: [{ cause: 'A03', severity: 'warning', confidence: 'likely', symptom: 'refused' }],
  },
  {
    name: 'A03: nobody listens in the pod of this node',
    facts: () => [listening('10.244.1.5', { ports: ['tcp/80', 'udp/8080'] })],
    expect: [
      {
        cause: 'A03',
        severity: 'warning',
        confidence: 'likely',
        symptom: 'refused',
        summary: /none of their containers listens on 8080, but on 80: clients/ as unknown as string,
        remedy: [/"targetPort":80/, /grep -F 10\.244\.1\.5/] as unknown as string[],
      },
    ],
  },
  {
    name: 'A03: it listens for itself alone',
    facts: () => [listening('10.244.1.5', { loopbackPorts: ['tcp/8080'] })],
    expect: [
      { cause: 'A03', summary: /the pod there listens on 8080 for itself alone/ as unknown as string, remedy: [/listen on 0\.0\.0\.0/] as unknown as string[] },
    ],
  },
  { name: 'A03 twin: it listens', facts: () => [listening('10.244.1.5', { ports: ['tcp/8080'] })], expect: [] },
  {
    name: 'A03 twin: it listens, whatever the containers declare',
    cluster: [...nodes, service('web'), slice('web', endpoints, { ports: [{ name: 'http', port: 8088 }] }), ...pods],
    facts: () => [listening('10.244.1.5', { ports: ['tcp/8088'] })],
    expect: [],
  },
  {
    name: 'A03 twin: pods that declare nothing prove nothing',
    cluster: [
      ...nodes,
      service('web'),
      slice('web', endpoints, { ports: [{ name: 'http', port: 8088 }] }),
      pod('web-1', { app: 'web' }, { ports: [] }),
      pod('web-2', { app: 'web' }, { ports: [] }),
    ],
    expect: [],
  },
  {
    name: 'A03 twin: another Service uses the number',
    cluster: [
      ...nodes,
      service('web'),
      slice('web', endpoints, { ports: [{ name: 'http', port: 8088 }] }),
      ...pods,
      slice('other', endpoints, { ports: [{ name: 'x', port: 8088 }] }),
      service('other', { type: 'ClusterIP' }),
    ],
    expect: [],
  },
  {
    name: 'A03 twin: the other Service has no ready endpoint at this moment: the answer does not come and go with it',
    cluster: [
      ...nodes,
      service('web'),
      slice('web', endpoints, { ports: [{ name: 'http', port: 8088 }] }),
      ...pods,
      slice('other', [{ address: '10.244.1.5', ready: false }], { ports: [{ name: 'x', port: 8088 }] }),
      service('other', { type: 'ClusterIP' }),
    ],
    expect: [],
  },
  {
    name: 'A04: Local without a local endpoint is by design',
    cluster: [...nodes, service('web', { externalTrafficPolicy: 'Local' }), slice('web', [{ address: '10.244.2.5', node: 'node2' }])],
    expect: [{ cause: 'A04', severity: 'info', symptom: 'timeout', summary: /Use node2,/ as unknown as string }],
  },
  {
    name: 'A04 twin: a local endpoint',
    cluster: [...nodes, service('web', { externalTrafficPolicy: 'Local' }), slice('web', [{ address: '10.244.1.5', node: 'node1' }])],
    expect: [],
  },
  {
    name: 'A05: kube-proxy does not know that the endpoint is local',
    cluster: [...nodes, service('web', { externalTrafficPolicy: 'Local' }), slice('web', [{ address: '10.244.1.5', node: 'node1' }])],
    facts: (web) => [rightFact(web, { external: [dropped(null, rule('KUBE-EXTERNAL-SERVICES', '--comment "shop/web:http has no local endpoints" -j DROP'))] })],
    expect: [{ cause: 'A05', severity: 'error', symptom: 'timeout' }],
  },
  {
    name: 'A11: the label hides the Service',
    cluster: [...nodes, service('web', {}, { labels: { 'service.kubernetes.io/service-proxy-name': 'other' } })],
    expect: [{ cause: 'A11', severity: 'info', port: 30080 }],
  },

  {
    name: 'A07: only a terminating endpoint serves',
    cluster: [...nodes, service('web'), slice('web', [{ address: '10.244.1.5', node: 'node1', ready: false, serving: true, terminating: true }])],
    expect: [{ cause: 'A07', severity: 'warning', symptom: 'ok' }],
  },
  {
    name: 'A15: a hostPort takes the packets',
    cluster: [...healthy, pod('taker', { app: 'taker' }, { ip: '10.244.1.9', ports: [{ containerPort: 80, hostPort: 30080, protocol: 'TCP' }] })],
    facts: (web) => [everywhere(web, [forward('10.244.1.9:80')])],
    expect: [{ cause: 'A15', severity: 'error', port: 30080 }],
  },

  {
    name: 'A10: the pods have no address of the family',
    cluster: [...nodes, service('web', { ipFamilies: ['IPv6'], clusterIPs: ['fd00::1'] }), pod('web-1', { app: 'web' })].map((raw) =>
      raw.kind === 'Node' ? { ...raw, status: { addresses: [{ type: 'InternalIP', address: 'fd00::11' }] } } : raw,
    ),
    expect: [{ cause: 'A10', severity: 'error', family: 6 }],
  },

  // B: kube-proxy
  {
    name: 'B07: most Services follow an old state',
    cluster: threeServices,
    facts: (_, all) => all.map((each) => everywhere(each, [forward('10.244.9.9:8080')])),
    expect: [{ cause: 'B07' }, { cause: 'B07' }, { cause: 'B07' }],
  },
  {
    name: 'B08: IPVS keeps a real server',
    facts: (web) => [
      proxyFact({ mode: 'ipvs' }),
      everywhere(
        web,
        [...web.endpoints, '10.244.1.9:8080'].map((each) => forward(each, 1 / 3)),
      ),
    ],
    expect: [{ cause: 'B08', severity: 'error' }],
  },
  {
    name: 'B12: IPVS and the policy of INPUT',
    facts: (web) => [proxyFact({ mode: 'ipvs' }), ...blockedBy({ ...policy, chain: 'INPUT' })(web)],
    expect: [{ cause: 'B12', severity: 'error' }],
  },
  { name: 'B13: IPVS and the policy of FORWARD', facts: (web) => [proxyFact({ mode: 'ipvs' }), ...blockedBy(policy)(web)], expect: [{ cause: 'B13' }] },
  {
    name: 'B15: a rule of kube-proxy itself that belongs to another state',
    facts: blockedBy(rule('KUBE-FORWARD', '-j DROP')),
    expect: [{ cause: 'B15', confidence: 'likely' }],
  },
  {
    name: 'B01: kube-proxy is gone, the port of a Service moved',
    facts: (web, all) => [
      proxyFact({ running: 'no', evidence: 'nothing listens on 10256' }),
      everywhere(web, [refused], { claimed: { by: 'none' } }),
      chainsFact(all),
      { ...rightFact(web), key: 'nodeport/tcp/4/30079', nodePort: { ...web.nodePort, port: 30079 } },
    ],
    expect: [
      { cause: 'B01', severity: 'error', port: 30080, symptom: 'refused', consequences: ['nodeport/tcp/4/30079'] },
      { cause: 'B01', severity: 'warning', port: 30079, symptom: 'ok' },
    ],
  },
  {
    name: 'B01: kube-proxy is gone, nothing has changed yet',
    facts: () => [proxyFact({ running: 'no' })],
    expect: [{ cause: 'B01', severity: 'warning', port: 0 }],
  },
  { name: 'B01 twin: whether it runs is not known', facts: () => [proxyFact({ running: 'unknown' })], expect: [] },
  {
    name: 'B26: no kube-proxy and no rules',
    facts: (_, all) => [proxyFact({ running: 'no', mode: 'none' }), ...all.map((each) => everywhere(each, [refused], { claimed: { by: 'none' } }))],
    expect: [{ cause: 'B26' }, { cause: 'B26' }],
  },
  {
    name: 'B02: the jump that carries all NodePorts is missing',
    facts: (_, all) => [chainsFact(all, ['nat PREROUTING → KUBE-SERVICES']), ...all.map((each) => everywhere(each, [refused]))],
    expect: [{ cause: 'B02', severity: 'error', port: 0, family: 4, consequences: ['nodeport/tcp/4/30080', 'nodeport/tcp/4/30081'] }],
  },
  {
    name: 'B06: nat flushed, canary in mangle',
    facts: (_, all) => [
      chainsFact(all, ['nat KUBE-SERVICES', 'nat KUBE-NODEPORTS']),
      ...all.map((each) => everywhere(each, [refused], { claimed: { by: 'none' } })),
    ],
    expect: [{ cause: 'B06', port: 0 }],
  },
  {
    name: 'B02: kube-proxy runs and none of its rules are there',
    cluster: threeServices,
    facts: (_, all) => [
      { ...chainsFact(all), mode: 'none', parts: {}, services: {} },
      proxyFact({ mode: 'none' }),
      ...all.map((each) => everywhere(each, [refused], { claimed: { by: 'none' } })),
    ],
    expect: [{ cause: 'B02', port: 0, severity: 'error' }],
  },
  {
    name: 'B06: the last endpoint chain is empty: half of the connections fall through',
    facts: (web) => [everywhere(web, [forward('10.244.1.5:8080', 0.5), { ...refused, weight: 0.5 }])],
    expect: [
      {
        cause: 'B06',
        severity: 'error',
        symptom: 'refused',
        summary: /about 50 % of connections are refused .* no longer lead to 10\.244\.2\.5:8080/ as unknown as string,
      },
    ],
  },
  {
    name: 'B05: sockets were not read, and no rule knows the port all the same',
    facts: (web) => [
      everywhere(web, [{ ...refused, verdict: 'unknown', unless: [{ by: 'socket', text: 'sockets were not read' }] }], { claimed: { by: 'none' } }),
    ],
    expect: [{ cause: 'B05', severity: 'error', symptom: 'refused' }],
  },
  {
    name: 'C06: the same, and the ledger names firewalld',
    facts: (_, all) => [
      chainsFact(all, ['nat KUBE-SERVICES', 'nat KUBE-NODEPORTS']),
      ...all.map((each) => everywhere(each, [refused], { claimed: { by: 'none' } })),
    ],
    changes: [
      {
        at: 5000,
        node: 'node1',
        kind: 'chain',
        subject: 'ip nat KUBE-SERVICES',
        before: '-A KUBE-SERVICES -j KUBE-NODEPORTS',
        after: null,
        actor: { comm: 'firewalld', pid: 3, how: 'nft-generation' },
      },
    ],
    expect: [{ cause: 'C06', since: 5000 }],
  },
  {
    name: 'B06: the rules of all NodePorts are gone: one finding',
    cluster: threeServices,
    facts: (_, all) => [withoutRule(all), ...all.map((each) => everywhere(each, [refused], { claimed: { by: 'none' } }))],
    expect: [{ cause: 'B06', port: 0, severity: 'error', consequences: ['nodeport/tcp/4/30080', 'nodeport/tcp/4/30081', 'nodeport/tcp/4/30082'] }],
  },
  {
    name: "B06: one NodePort's rule is gone, and the ledger knows who",
    facts: (web, all) => [everywhere(web, [refused], { claimed: { by: 'none' } }), withoutRule(all)],
    changes: [
      {
        at: 5000,
        node: 'node1',
        kind: 'rule',
        subject: 'ip nat KUBE-NODEPORTS',
        before: '-A KUBE-NODEPORTS -p tcp -m tcp --dport 30080 -j KUBE-EXT-X',
        after: null,
        actor: { comm: 'iptables', pid: 9, how: 'nft-generation' },
      },
    ],
    expect: [{ cause: 'B06', port: 30080, since: 5000, actor: { comm: 'iptables', pid: 9, how: 'nft-generation' } }],
  },
  {
    name: 'B05: the NodePort has another number now, and its Service a rule of the old one',
    facts: (web) => [everywhere(web, [refused], { claimed: { by: 'none' } })],
    expect: [{ cause: 'B05', severity: 'error', symptom: 'refused' }],
  },
  {
    name: 'B06: the rule is there and its chains are empty',
    facts: (web) => [everywhere(web, [refused])],
    expect: [{ cause: 'B06', title: "the Service's chains were emptied from outside" }],
  },
  {
    name: "B05: one Service's endpoints are old",
    facts: (web) => [everywhere(web, [forward('10.244.1.9:8080')])],
    expect: [{ cause: 'B05', severity: 'error', port: 30080 }],
  },
  {
    name: 'B05: an endpoint is not known yet: clients are served',
    facts: (web) => [everywhere(web, [forward('10.244.1.5:8080')])],
    expect: [{ cause: 'B05', severity: 'warning', symptom: 'ok' }],
  },
  {
    name: 'B09: rules outlive a Service',
    cluster: [...nodes, ...api],
    facts: (one) => [{ ...rightFact(one), key: 'nodeport/tcp/4/30099', nodePort: { ...one.nodePort, port: 30099 } }],
    expect: [{ cause: 'B09', severity: 'warning', port: 30099, service: '' }],
  },

  // C: firewalls
  {
    name: 'C01: FORWARD policy DROP beside Docker',
    facts: blockedBy(policy),
    neighbours: [{ family: 'ip', table: 'filter', chain: 'DOCKER-USER' }],
    expect: [{ cause: 'C01', severity: 'error', symptom: 'timeout', confidence: 'certain', summary: /as Docker sets it/ as unknown as string }],
  },
  {
    name: 'C01: FORWARD policy DROP of nobody known',
    facts: blockedBy(policy),
    expect: [{ cause: 'C01', confidence: 'likely', remedy: ['iptables -P FORWARD ACCEPT'] }],
  },
  {
    name: 'C03: the same policy where ufw is loaded',
    facts: blockedBy(policy),
    neighbours: [{ family: 'ip', table: 'filter', chain: 'ufw-user-forward' }],
    expect: [
      {
        cause: 'C03',
        remedy: ['ufw route allow proto tcp from any to 10.244.1.0/24 port 8080', 'ufw route allow proto tcp from any to 10.244.2.0/24 port 8080'],
      },
    ],
  },
  {
    name: "C03 twin: ufw's chains of the other family say nothing",
    facts: blockedBy(policy),
    neighbours: [{ family: 'ip6', table: 'filter', chain: 'ufw6-user-forward' }],
    expect: [{ cause: 'C01' }],
  },
  { name: 'C03: a chain of ufw decides', facts: blockedBy(rule('ufw-user-forward', '-j DROP')), expect: [{ cause: 'C03' }] },
  {
    name: 'a later packet is lost: the handshake goes well and data hangs',
    facts: (web) => [
      everywhere(
        web,
        web.endpoints.map((each) => ({
          ...forward(each, 0.5),
          later: { verdict: 'drop', decidedBy: rule('FORWARD', '-m conntrack --ctstate ESTABLISHED -j DROP') },
        })),
      ),
    ],
    expect: [{ cause: 'C08', symptom: 'timeout', severity: 'error', summary: /connections are opened and then hang for every client/ as unknown as string }],
  },
  {
    name: 'it works from the node itself: said, as that is what operators try first',
    facts: (web) => [
      rightFact(web, {
        external: web.endpoints.map((each) => dropped(each, policy, { weight: 0.5 })),
        node: web.endpoints.map((each) => forward(each, 0.5)),
      }),
    ],
    expect: [{ cause: 'C01', evidence: [{}, {}, { text: /From the node itself it works/ }] as unknown as Finding['evidence'] }],
  },
  {
    name: 'A06: IPVS sends clients of a Local Service to another node',
    cluster: [...nodes, service('web', { externalTrafficPolicy: 'Local' }), slice('web', [{ address: '10.244.2.5', node: 'node2' }])],
    facts: (web) => [proxyFact({ mode: 'ipvs' }), rightFact(web, { external: [{ ...forward('10.244.2.5:8080'), masquerade: false }] })],
    expect: [{ cause: 'A06', severity: 'info' }],
  },
  {
    name: 'A05: --hostname-override is not the name of the Node',
    cluster: [...nodes, service('web', { externalTrafficPolicy: 'Local' }), slice('web', [{ address: '10.244.1.5', node: 'node1' }])],
    facts: (web) => [
      proxyFact({ flags: { 'hostname-override': 'ip-192-0-2-11' } }),
      rightFact(web, { external: [dropped(null, rule('KUBE-EXTERNAL-SERVICES', '--comment "shop/web:http has no local endpoints" -j DROP'))] }),
    ],
    expect: [{ cause: 'A05', confidence: 'certain' }],
  },
  { name: 'C02: a chain of Docker decides', facts: blockedBy(rule('DOCKER-FORWARD', '-j DROP')), expect: [{ cause: 'C02' }] },
  {
    name: 'C05: an iptables chain of firewalld',
    facts: blockedBy(rule('FWDI_public', '-j REJECT'), { verdict: 'reject', rejectWith: 'icmp-host-prohibited' }),
    expect: [{ cause: 'C05', symptom: 'unreachable', remedy: ['firewall-cmd --permanent --zone=trusted --add-source=10.244.1.0/24', 'firewall-cmd --reload'] }],
  },
  {
    name: 'C07: a native table after kube-proxy',
    facts: blockedBy(hostfw, { verdict: 'reject', rejectWith: 'icmpx admin-prohibited' }),
    expect: [{ cause: 'C07', symptom: 'unreachable', remedy: ['nft insert rule inet hostfw filter_FORWARD ct status dnat accept'] }],
  },
  {
    name: 'C07: before translation the rule itself has to go',
    facts: (web) => [everywhere(web, [dropped(null, { ...hostfw, chain: 'pre', text: 'tcp dport 30080 drop' })])],
    expect: [{ cause: 'C07', remedy: ['nft delete rule inet hostfw pre handle 17'] }],
  },
  {
    name: "C08: an administrator's rule, and the ledger knows who",
    facts: blockedBy(rule('FORWARD', '-p tcp -m tcp --dport 8080 -j DROP')),
    changes: [
      {
        at: 1000,
        node: 'node1',
        kind: 'rule',
        subject: 'ip filter FORWARD',
        before: null,
        after: '-A FORWARD -p tcp -m tcp --dport 8080 -j DROP',
        actor: { argv: ['iptables', '-I', 'FORWARD'], pid: 4711, how: 'exec-event' },
      },
    ],
    expect: [
      {
        cause: 'C08',
        severity: 'error',
        symptom: 'timeout',
        confidence: 'certain',
        since: 1000,
        remedy: ['iptables -D FORWARD -p tcp -m tcp --dport 8080 -j DROP'],
      },
    ],
  },
  {
    name: 'C08: legacy, raw, IPv6: the command fits',
    facts: (web) => [
      everywhere(web, [dropped(null, rule('PREROUTING', '-p tcp -m tcp --dport 30080 -j DROP', { table: 'raw', backend: 'legacy', family: 'ip6' }))]),
    ],
    expect: [{ cause: 'C08', remedy: ['ip6tables-legacy -t raw -D PREROUTING -p tcp -m tcp --dport 30080 -j DROP'] }],
  },
  {
    name: 'C08: only some clients are shut out: a warning',
    facts: (web) => [
      everywhere(web, [
        ...web.endpoints.map((each) => forward(each, 0.5)),
        dropped(null, rule('INPUT', '-s 198.51.100.0/24 -j DROP'), { sources: ['198.51.100.0/24'] }),
      ]),
    ],
    expect: [{ cause: 'C08', severity: 'warning', summary: /clients from 198\.51\.100\.0\/24/ as unknown as string }],
  },
  {
    name: 'C10: the policy of the other backend',
    facts: (web) => {
      const served = web.endpoints.map((each) => ({ ...forward(each, 0.5), decidedBy: rule('KUBE-SEP-X', '-j DNAT', { table: 'nat' }) }));
      const outside = web.endpoints.map((each) => dropped(each, { ...policy, backend: 'legacy' }, { weight: 0.5 }));
      return [rightFact(web, { external: outside, node: served })];
    },
    expect: [{ cause: 'C10', severity: 'error', remedy: ['iptables-legacy -P FORWARD ACCEPT'] }],
  },
  {
    name: 'C08: words that a shell would run are quoted',
    facts: (web) => [everywhere(web, [dropped(null, rule('INPUT', '-m comment --comment "a \\"b\\" $(reboot) it\'s" -j DROP'))])],
    expect: [{ cause: 'C08', remedy: [`iptables -D INPUT -m comment --comment 'a "b" $(reboot) it'\\''s' -j DROP`] }],
  },
  {
    name: 'C12: KUBE-FIREWALL without its mark',
    facts: (web) => [everywhere(web, [dropped(null, rule('KUBE-FIREWALL', '-j DROP'))])],
    expect: [{ cause: 'C12' }],
  },
  {
    name: 'C15: a network policy of kube-router',
    facts: blockedBy(rule('KUBE-POD-FW-ABC', '-j REJECT --reject-with icmp-port-unreachable'), { verdict: 'reject', rejectWith: 'icmp-port-unreachable' }),
    expect: [{ cause: 'C15', symptom: 'refused' }],
  },
  { name: 'C16: a policy of Calico', facts: blockedBy(rule('cali-tw-cali123', '-m comment --comment "cali:x" -j DROP')), expect: [{ cause: 'C16' }] },
  { name: 'C17: a chain of Tailscale', facts: blockedBy(rule('ts-forward', '-s 100.64.0.0/10 -j DROP')), expect: [{ cause: 'C17' }] },
  {
    name: 'two NodePorts, one rule: each names the other',
    facts: (_, all) => all.flatMap(blockedBy(rule('FORWARD', '-j DROP'))),
    expect: [
      { port: 30080, consequences: ['nodeport/tcp/4/30081'] },
      { port: 30081, consequences: ['nodeport/tcp/4/30080'] },
    ],
  },

  {
    name: 'nothing on record made the rule: what changed shortly before is a suspicion, not the trigger',
    facts: blockedBy(rule('FORWARD', '-j DROP')),
    changes: [{ at: 40_000, node: 'node1', kind: 'process', subject: 'process docker', before: null, after: 'dockerd' }],
    onsets: new Map([['nodeport/tcp/4/30080', 100_000]]),
    expect: [
      {
        cause: 'C08',
        since: 100_000,
        evidence: [{}, {}, { witness: 'changes', text: /process docker changed 60 s before; by time only/ }] as unknown as Finding['evidence'],
      },
    ],
  },

  // D: kernel and routes
  {
    name: 'D01: forwarding is off',
    facts: blockedBy({ by: 'sysctl', text: 'net.ipv4.ip_forward = 0' }),
    expect: [
      {
        cause: 'D01',
        severity: 'error',
        remedy: ['sysctl -w net.ipv4.ip_forward=1', `echo 'net.ipv4.ip_forward = 1' > /etc/sysctl.d/99-kubernetes-forwarding.conf`],
      },
    ],
  },
  {
    name: 'D02: forwarding is off on one interface',
    facts: blockedBy({ by: 'sysctl', text: 'net.ipv4.conf.eth0.forwarding = 0' }),
    expect: [{ cause: 'D02', severity: 'error', remedy: ['sysctl -w net.ipv4.conf.eth0.forwarding=1', /./ as unknown as string] }],
  },
  {
    name: 'D03: strict reverse path filtering',
    facts: blockedBy({ by: 'sysctl', text: 'net.ipv4.conf.all.rp_filter = 1: the way back to the client is another interface' }),
    expect: [{ cause: 'D03', remedy: ['sysctl -w net.ipv4.conf.all.rp_filter=2'] }],
  },
  {
    name: 'D05: bridge-nf-call-iptables is off',
    facts: blockedBy({ by: 'sysctl', text: 'net.bridge.bridge-nf-call-iptables = 0' }),
    expect: [{ cause: 'D05', remedy: ['sysctl -w net.bridge.bridge-nf-call-iptables=1'] }],
  },
  {
    name: "D16: the Node's address is on no interface",
    facts: () => [{ kind: 'interface', key: 'interface/eth0', name: 'eth0', up: true, addresses: ['192.0.2.99/24'] }],
    expect: [{ cause: 'D16', severity: 'warning' }],
  },
  {
    name: 'D16 twin: it is on one',
    facts: () => [{ kind: 'interface', key: 'interface/eth0', name: 'eth0', up: true, addresses: ['192.0.2.11/24'] }],
    expect: [],
  },
  { name: 'D17: no route to a pod', facts: blockedBy({ by: 'route', text: 'no route to 10.244.2.5' }), expect: [{ cause: 'D17' }] },
  {
    name: 'D20: no route back to some clients: said, not alarmed',
    facts: (web) => [
      everywhere(
        web,
        web.endpoints.map((each) => ({ ...forward(each, 0.5), reply: { verdict: 'drop', decidedBy: { by: 'route', text: 'no route to 198.51.100.1' } } })),
      ),
    ],
    expect: [{ cause: 'D20', severity: 'info' }],
  },
  { name: 'D09: a process on the port, shadowed by the Service', facts: () => [listener], expect: [{ cause: 'D09', severity: 'info', symptom: 'ok' }] },
  { name: "D09 twin: kube-proxy's own socket", facts: () => [{ ...listener, processes: [{ comm: 'kube-proxy', pid: 1 }] }], expect: [] },
  { name: 'D09 twin: a socket of nobody that can be seen', facts: () => [{ ...listener, processes: [] }], expect: [] },
  { name: 'D09 twin: loopback only', facts: () => [{ ...listener, address: '127.0.0.1' }], expect: [] },

  // Not judged
  {
    name: 'a rule that cannot be judged: said, never healthy, never a fault',
    facts: (web) => [
      everywhere(web, [...web.endpoints.map((each) => forward(each, 0.5)), dropped(null, policy, { unless: [rule('FORWARD', '-m u32 --u32 "x" -j DROP')] })]),
    ],
    expect: [{ cause: 'unknown', severity: 'info', symptom: 'unknown' }],
  },
  {
    name: 'C14: printed by a tool that does not know it',
    facts: (web) => [everywhere(web, [{ ...refused, verdict: 'unknown', unless: [rule('KUBE-SEP-X', '-j DNAT [unsupported revision]')] }])],
    expect: [{ cause: 'C14', severity: 'info' }],
  },
];

testCases(cases);
