// Which endpoints clients are given: failing pods, zones, affinity, connections that the kernel remembers. The cases are constructed.
import type { FlowsFact } from '../../../shared/model/fact.ts';
import { forward } from '../compare/facts.ts';
import { node, pod, service, slice } from '../expect/cluster.ts';
import { endpoints, everywhere, nodes, pods, testCases } from './cases.ts';

const zoned = [node('node1', '192.0.2.11', { zone: 'a' }), node('node2', '192.0.2.12', { zone: 'b' })];
const hinted = (first: string, second: string) =>
  slice('web', [
    { address: '10.244.1.5', node: 'node1', zones: [first] },
    { address: '10.244.2.5', node: 'node2', zones: [second] },
  ]);
const sticky = [...nodes, service('web', { sessionAffinity: 'ClientIP' }), slice('web', endpoints), ...pods];
const udp = [
  ...nodes,
  service('dns', { ports: [{ name: 'dns', port: 53, targetPort: 5353, nodePort: 30053, protocol: 'UDP' }] }),
  slice('dns', [{ address: '10.244.1.5', node: 'node1' }], { ports: [{ name: 'dns', port: 5353, protocol: 'UDP' }] }),
];
const flows = (targets: FlowsFact['targets']): FlowsFact => ({
  kind: 'flows',
  key: 'flows/udp/4/30053',
  nodePort: { protocol: 'udp', family: 4, port: 30053 },
  targets,
});
const ended = { waiting: { reason: 'CrashLoopBackOff' } };
const failing = { containerStatuses: [{ name: 'main', ready: false, restartCount: 7, state: ended, lastState: { terminated: { reason: 'OOMKilled' } } }] };
const crashed = () => {
  const made = pod('web-2', { app: 'web' }, { ip: '10.244.2.5', node: 'node2', ready: false });
  return { ...made, status: { ...made.status, ...failing } };
};

testCases([
  {
    name: 'A02: the only pod keeps ending for want of memory',
    cluster: [...nodes, service('web'), slice('web', [{ address: '10.244.2.5', node: 'node2', ready: false }]), crashed()],
    expect: [
      {
        cause: 'A02',
        severity: 'error',
        summary: /its only pod is not Ready, so there is no endpoint/ as unknown as string,
        evidence: [{ witness: 'objects', text: 'web-2 is not Ready (Running, CrashLoopBackOff, last ended by OOMKilled, 7 restarts).' }],
      },
    ],
  },
  {
    name: 'A02: one of two pods keeps failing, the other serves',
    cluster: [...nodes, service('web'), slice('web', endpoints), pods[0] as (typeof pods)[number], crashed()],
    expect: [{ cause: 'A02', severity: 'info', title: 'some pods of the Service keep failing' }],
  },
  {
    name: 'A12: hints keep clients in their zone',
    cluster: [...zoned, service('web'), hinted('a', 'b')],
    expect: [{ cause: 'A12', severity: 'info', symptom: 'ok', summary: /1 of 2 endpoints by design: .* zone a/ as unknown as string }],
  },
  { name: 'A12 twin: both hints are for this zone', cluster: [...zoned, service('web'), hinted('a', 'a')], expect: [] },
  {
    name: 'A17: affinity holds clients at an endpoint that is gone',
    cluster: sticky,
    facts: (web) => [everywhere(web, [forward('10.244.1.5:8080', 0.5), forward('10.244.9.9:8080', 0.5)])],
    expect: [{ cause: 'A17', severity: 'error', symptom: 'timeout', port: 30080 }],
  },
  {
    name: 'A17 twin: the same without affinity is a matter of old rules',
    facts: (web) => [everywhere(web, [forward('10.244.1.5:8080', 0.5), forward('10.244.9.9:8080', 0.5)])],
    expect: [{ cause: 'B05' }],
  },
  {
    name: 'B24: tracked UDP connections lead to a pod that is gone',
    cluster: udp,
    facts: () => [flows({ '10.244.1.5:5353': { count: 3, unanswered: 0 }, '10.244.1.9:5353': { count: 2, unanswered: 2 } })],
    expect: [
      {
        cause: 'B24',
        severity: 'warning',
        confidence: 'certain',
        port: 30053,
        remedy: ['conntrack -D -p udp --orig-port-dst 30053', /./ as unknown as string],
      },
    ],
  },
  { name: 'B24 twin: all lead to endpoints', cluster: udp, facts: () => [flows({ '10.244.1.5:5353': { count: 3, unanswered: 1 } })], expect: [] },
]);
