// How Services are exposed: NodePorts that were never given, ranges, health checks and helper pods of load balancers. The cases are constructed.
import type { PortFact } from '../../../shared/model/fact.ts';
import { dropped, forward, refused, rule } from '../compare/facts.ts';
import { pod, service, slice } from '../expect/cluster.ts';
import { endpoints, healthy, nodes, testCases } from './cases.ts';

const uid = { uid: '4f3c' };
const noNumber = { ports: [{ name: 'http', port: 80, targetPort: 8080 }] };
const low = { ports: [{ name: 'http', port: 80, targetPort: 8080, nodePort: 8080 }] };
const balancer = { type: 'LoadBalancer', externalTrafficPolicy: 'Local', healthCheckNodePort: 31087 };
const local = slice('web', [{ address: '10.244.1.5', node: 'node1', pod: 'web-1' }]);
const health = (external: NonNullable<PortFact['outcomes']['external']>): PortFact => ({
  kind: 'port',
  key: 'port/tcp/4/31087',
  port: { protocol: 'tcp', family: 4, port: 31087 },
  purpose: 'health-check',
  outcomes: { external },
});
const waiting = (phase: string) => {
  const labels = { 'svccontroller.k3s.cattle.io/svcname': 'web', 'svccontroller.k3s.cattle.io/svcnamespace': 'shop' };
  const made = pod('svclb-web-1', labels, { ports: [{ containerPort: 80, hostPort: 80, protocol: 'TCP' }] });
  return { ...made, spec: { ...made.spec, ...(phase === 'Pending' ? { nodeName: undefined } : {}) }, status: { phase } };
};

testCases([
  {
    name: 'A08: the API server has given no NodePort',
    cluster: [...nodes, service('web', noNumber, uid)],
    expect: [{ cause: 'A08', severity: 'error', service: 'shop/web:http', remedy: [/describe service web/, /./] as unknown as string[] }],
  },
  { name: 'A08 twin: a manifest that was not applied has none yet', cluster: [...nodes, service('web', noNumber)], expect: [] },
  {
    name: 'A08: two Services ask for one number',
    cluster: [...healthy, service('other'), slice('other', endpoints)],
    expect: [
      { cause: 'A08', service: 'shop/other:http' },
      { cause: 'A08', service: 'shop/web:http', summary: /shop\/other asks for it as well/ as unknown as string },
    ],
  },
  {
    name: 'A08: a manifest asks for a number outside the range',
    cluster: [...nodes, service('web', low), slice('web', endpoints)],
    expect: [{ cause: 'A08', port: 8080, summary: /outside 30000-32767/ as unknown as string }],
  },
  {
    name: 'A08 twin: the API server has given such a number, so its range is another',
    cluster: [...nodes, service('web', low, uid), slice('web', endpoints)],
    expect: [],
  },
  {
    name: 'A09: a load balancer that needs no NodePort',
    cluster: [...nodes, service('web', { ...noNumber, type: 'LoadBalancer', allocateLoadBalancerNodePorts: false }, uid)],
    expect: [{ cause: 'A09', severity: 'info', service: 'shop/web:http' }],
  },
  {
    name: 'A13: source ranges do not guard the NodePort',
    cluster: [...nodes, service('web', { type: 'LoadBalancer', loadBalancerSourceRanges: ['198.51.100.0/24'] }), slice('web', endpoints)],
    expect: [{ cause: 'A13', severity: 'info', port: 30080 }],
  },
  { name: 'A13 twin: no ranges', cluster: [...nodes, service('web', { type: 'LoadBalancer' }), slice('web', endpoints)], expect: [] },
  {
    name: 'A14: a firewall shuts the health check',
    cluster: [...nodes, service('web', balancer), local],
    facts: () => [health([dropped(null, { by: 'policy', family: 'ip', table: 'filter', chain: 'INPUT', text: 'policy DROP', backend: 'legacy' })])],
    expect: [{ cause: 'A14', severity: 'warning', symptom: 'timeout', remedy: ['iptables-legacy -I INPUT -p tcp --dport 31087 -j ACCEPT'] }],
  },
  {
    name: "A14: ufw's own command where ufw shuts it",
    cluster: [...nodes, service('web', balancer), local],
    facts: () => [health([dropped(null, rule('ufw-user-input', '-j DROP'))])],
    expect: [{ cause: 'A14', remedy: ['ufw allow 31087/tcp'] }],
  },
  {
    name: 'A14 twin: it is answered, or nothing listens',
    cluster: [...nodes, service('web', balancer), local],
    facts: () => [
      health([
        { ...refused, weight: 0.5 },
        { ...forward('x', 0.5), dnat: null, verdict: 'local' },
      ]),
    ],
    expect: [],
  },
  {
    name: 'A14 twin: only some clients are shut out',
    cluster: [...nodes, service('web', balancer), local],
    facts: () => [health([dropped(null, rule('INPUT', '-s 198.51.100.0/24 -j DROP'), { sources: ['198.51.100.0/24'] })])],
    expect: [],
  },
  {
    name: 'A16: the pod of ServiceLB waits, another pod has its port',
    cluster: [...healthy, waiting('Pending'), pod('proxy', { app: 'proxy' }, { ports: [{ containerPort: 80, hostPort: 80, protocol: 'TCP' }] })],
    expect: [
      { cause: 'A16', severity: 'warning', confidence: 'certain', service: 'shop/web', summary: /which pod shop\/proxy has already/ as unknown as string },
    ],
  },
  { name: 'A16 twin: it runs', cluster: [...healthy, waiting('Running')], expect: [] },
]);
