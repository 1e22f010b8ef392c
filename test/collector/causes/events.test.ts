// Warnings of the cluster as evidence, and the endpoints that a controller cannot write. The cases are constructed.

import { service, slice } from '../expect/cluster.ts';
import { healthy, nodes, pods, testCases } from './cases.ts';

const now = 10_000_000;
const event = (reason: string, more: Record<string, unknown> = {}) => ({
  kind: 'Event' as const,
  metadata: { name: `web.${reason}`, namespace: 'shop' },
  type: 'Warning',
  reason,
  message: 'Failed to update endpoint slices for Service shop/web: etcdserver: request timed out.',
  involvedObject: { kind: 'Service', namespace: 'shop', name: 'web' },
  count: 7,
  lastTimestamp: new Date(now - 60_000).toISOString(),
  source: { component: 'endpoint-slice-controller' },
  ...more,
});

testCases([
  {
    name: 'A01: endpoints are not written',
    now,
    cluster: [...healthy, event('FailedToUpdateEndpointSlices')],
    expect: [{ cause: 'A01', severity: 'warning', port: 30080, summary: /cannot write its endpoints \(FailedToUpdateEndpointSlices\)/ as unknown as string }],
  },
  {
    name: 'A01 twin: that was an hour ago',
    now,
    cluster: [...healthy, event('FailedToUpdateEndpoint', { lastTimestamp: new Date(now - 3_600_000).toISOString() })],
    expect: [],
  },
  { name: 'A01 twin: another warning', now, cluster: [...healthy, event('SyncLoadBalancerFailed')], expect: [] },
  {
    name: 'A02: what the kubelet says of a pod that is not ready is evidence',
    now,
    cluster: [
      ...nodes,
      service('web'),
      slice('web', [{ address: '10.244.1.5', node: 'node1', pod: 'web-1', ready: false }]),
      ...pods.map((pod) => ({ ...pod, status: { ...(pod as { status?: object }).status, conditions: [{ type: 'Ready', status: 'False' }] } })),
      event('Unhealthy', {
        involvedObject: { kind: 'Pod', namespace: 'shop', name: 'web-1' },
        message: 'Readiness probe failed: HTTP probe failed with statuscode: 503',
      }),
    ],
    expect: [
      {
        cause: 'A02',
        port: 30080,
        evidence: [{}, { witness: 'objects', text: /^Event Unhealthy of Pod web-1 .*7 times, last 60 s ago: Readiness probe failed/ }] as never,
      },
    ],
  },
]);
