// A Kubernetes API of a large cluster for benchmarks: makes its objects page by page as they are asked for, in the size that real ones have. A process of its own.
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

const [nodes = 5_000, services = 10_000, pods = 150_000] = process.argv.slice(2).map(Number);

const managedFields = (manager: string): object => ({
  manager,
  operation: 'Update',
  apiVersion: 'v1',
  time: '2026-01-02T03:04:05Z',
  fieldsType: 'FieldsV1',
  fieldsV1: Object.fromEntries(Array.from({ length: 12 }, (_, index) => [`f:field-${index}`, { '.': {}, 'f:name': {}, 'f:value': {} }])),
});
const metadata = (name: string, more: object): object => ({
  name,
  namespace: `team-${name.length % 40}`,
  uid: `5f0c7c5e-${name.padStart(12, '0').slice(-12)}-4b7e-9a55-abcdef012345`,
  resourceVersion: '1000',
  creationTimestamp: '2026-01-02T03:04:05Z',
  managedFields: [managedFields('kube-controller-manager'), managedFields('kubelet')],
  ...more,
});

const podsOf = (service: number): readonly number[] =>
  Array.from({ length: Math.floor(pods / services) }, (_, index) => service * Math.floor(pods / services) + index);
const podName = (pod: number): string => `app-${Math.floor(pod / 15)}-7d9f8b6c5d-${pod.toString(36).padStart(5, '0')}`;
const podAddress = (pod: number): string => `10.${(pod >> 16) & 255}.${(pod >> 8) & 255}.${pod & 255}`;
const nodeName = (node: number): string => `ip-10-200-${node >> 8}-${node & 255}.eu-central-1.compute.internal`;
const zoneOf = (node: number): string => `eu-central-1${'abc'[node % 3]}`;

function service(index: number): object {
  const spec = {
    type: 'NodePort',
    clusterIPs: [`10.96.${index >> 8}.${index & 255}`],
    ipFamilies: ['IPv4'],
    selector: { app: `app-${index}` },
    ports: [{ name: 'http', port: 80, targetPort: 8080, nodePort: 20_000 + index, protocol: 'TCP' }],
    externalTrafficPolicy: index % 10 === 0 ? 'Local' : 'Cluster',
  };
  return { metadata: metadata(`app-${index}`, { namespace: 'shop', labels: { app: `app-${index}`, team: `team-${index % 40}` } }), spec, status: {} };
}

function slice(index: number): object {
  const endpoints = podsOf(index).map((pod) => ({
    addresses: [podAddress(pod)],
    conditions: { ready: true, serving: true, terminating: false },
    nodeName: nodeName(pod % nodes),
    zone: zoneOf(pod % nodes),
    targetRef: { kind: 'Pod', namespace: 'shop', name: podName(pod), uid: `5f0c7c5e-0000-4b7e-9a55-${String(pod).padStart(12, '0')}` },
  }));
  const labels = { 'kubernetes.io/service-name': `app-${index}`, 'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io' };
  return {
    metadata: metadata(`app-${index}-x7k2p`, { namespace: 'shop', labels }),
    addressType: 'IPv4',
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
    endpoints,
  };
}

function node(index: number): object {
  const images = Array.from({ length: 50 }, (_, image) => ({
    names: [`registry.example/team/image-${image}@sha256:${'0123456789abcdef'.repeat(4)}`],
    sizeBytes: image * 1e6,
  }));
  const status = {
    addresses: [
      { type: 'InternalIP', address: `10.200.${index >> 8}.${index & 255}` },
      { type: 'Hostname', address: nodeName(index) },
    ],
    conditions: ['Ready', 'MemoryPressure', 'DiskPressure', 'PIDPressure'].map((type) => ({
      type,
      status: type === 'Ready' ? 'True' : 'False',
      message: 'as it should be',
    })),
    images,
    nodeInfo: { kubeletVersion: 'v1.32.1', osImage: 'Debian 12', kernelVersion: '6.1.0' },
  };
  const labels = { 'kubernetes.io/hostname': nodeName(index), 'topology.kubernetes.io/zone': zoneOf(index), 'node.kubernetes.io/instance-type': 'm6i.4xlarge' };
  return { metadata: metadata(nodeName(index), { namespace: undefined, labels }), spec: { podCIDRs: [`10.${index >> 8}.${index & 255}.0/24`] }, status };
}

function pod(index: number): object {
  const app = `app-${Math.floor(index / 15)}`;
  const env = Array.from({ length: 25 }, (_, each) => ({ name: `SETTING_NUMBER_${each}`, value: `a value of usual length ${each}` }));
  const container = {
    name: 'main',
    image: `registry.example/team/${app}:1.2.3`,
    env,
    ports: [{ name: 'http', containerPort: 8080, protocol: 'TCP' }],
    readinessProbe: { httpGet: { path: '/healthz', port: 'http' } },
    volumeMounts: [{ name: 'kube-api-access', mountPath: '/var/run/secrets/kubernetes.io/serviceaccount', readOnly: true }],
    resources: { requests: { cpu: '100m', memory: '128Mi' }, limits: { memory: '256Mi' } },
  };
  const status = {
    phase: 'Running',
    podIP: podAddress(index),
    podIPs: [{ ip: podAddress(index) }],
    conditions: ['Initialized', 'Ready', 'ContainersReady', 'PodScheduled'].map((type) => ({
      type,
      status: 'True',
      lastTransitionTime: '2026-01-02T03:04:05Z',
    })),
    containerStatuses: [
      {
        name: 'main',
        ready: true,
        restartCount: index % 50 === 0 ? 1 : 0,
        state: { running: { startedAt: '2026-01-02T03:04:05Z' } },
        lastState: {},
        containerID: `containerd://${'ab'.repeat(32)}`,
      },
    ],
  };
  const labels = { app, 'pod-template-hash': '7d9f8b6c5d', team: `team-${index % 40}` };
  return { metadata: metadata(podName(index), { namespace: 'shop', labels }), spec: { nodeName: nodeName(index % nodes), containers: [container] }, status };
}

const kinds: Readonly<Record<string, { readonly count: number; readonly make: (index: number) => object }>> = {
  '/api/v1/services': { count: services, make: service },
  '/apis/discovery.k8s.io/v1/endpointslices': { count: services, make: slice },
  '/api/v1/nodes': { count: nodes, make: node },
  '/api/v1/pods': { count: pods, make: pod },
};

let bytes = 0;
const watches = new Map<string, ServerResponse>();

const server = createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://localhost');
  const kind = kinds[url.pathname] ?? { count: 0, make: () => ({}) };
  response.setHeader('content-type', 'application/json');
  if (url.searchParams.get('watch') === '1') {
    response.flushHeaders();
    watches.set(url.pathname, response);
    return;
  }
  const start = Number(url.searchParams.get('continue') ?? 0);
  const end = Math.min(kind.count, start + Number(url.searchParams.get('limit') ?? kind.count));
  const items = Array.from({ length: Math.max(0, end - start) }, (_, index) => JSON.stringify(kind.make(start + index)));
  const page = `{"kind":"List","metadata":${JSON.stringify({ resourceVersion: '1000', ...(end < kind.count ? { continue: String(end) } : {}) })},"items":[${items.join(',')}]}`;
  bytes += page.length;
  response.end(page);
});
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }));

// One slice changes its first endpoint's readiness, as often as it is asked to.
let version = 1_000;
process.on('message', (message: 'bytes' | 'change') => {
  if (message === 'bytes') process.send?.({ bytes });
  if (message !== 'change') return;
  const changed = slice(7) as { metadata: object; endpoints: { conditions: object }[] };
  version++;
  (changed.endpoints[0] as { conditions: object }).conditions = { ready: version % 2 === 0 };
  watches
    .get('/apis/discovery.k8s.io/v1/endpointslices')
    ?.write(`${JSON.stringify({ type: 'MODIFIED', object: { ...changed, metadata: { ...changed.metadata, resourceVersion: String(version) } } })}\n`);
});
