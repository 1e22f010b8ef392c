// Objects as the API gives them: captured ones read without a complaint, absurd ones without an exception.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { diagnoseNode } from '../../../collector/causes/index.ts';
import { expectationsFor } from '../../../collector/expect/index.ts';
import { objectChanges } from '../../../collector/kubernetes/changes.ts';
import { noObjects, type ObjectKind, objectKinds, readObject, readObjects } from '../../../collector/kubernetes/objects.ts';
import { limits } from '../../../shared/limits.ts';
import { fixtures, numberedCaptures } from '../../support/captures.ts';
import { rightFact } from '../compare/facts.ts';

const objectFiles = ['services.json', 'endpointslices.json', 'nodes.json', 'pods.json'];
const filesOf = (name: string) =>
  objectFiles.filter((file) => existsSync(join(fixtures, name, file))).map((file) => ({ name: file, text: readFileSync(join(fixtures, name, file), 'utf8') }));

t.test('every captured cluster is read without an issue, and differs from itself in nothing', async (t) => {
  t.ok(numberedCaptures.length > 10);
  for (const name of numberedCaptures) {
    const { objects, issues } = readObjects(filesOf(name));
    t.strictSame(issues, [], name);
    t.ok(objects.services.size > 0 && objects.nodes.size > 0, name);
    t.strictSame(objectChanges(objects, readObjects(filesOf(name)).objects, { at: 0, actorOf: () => ({ how: 'unknown' }) }), [], name);
  }
});

t.test('a Service with its defaults', async (t) => {
  const raw = {
    metadata: { name: 'web' },
    spec: {
      type: 'NodePort',
      clusterIP: 'fd00::1',
      ports: [
        { port: 80, nodePort: 30080 },
        { port: 53, protocol: 'UDP', targetPort: 'dns' },
      ],
    },
  };
  t.match(readObject('Service', raw, { where: 'test' }).object, {
    namespace: 'default',
    ipFamilies: ['IPv6'],
    externalTrafficPolicy: 'Cluster',
    sessionAffinity: 'None',
    allocateLoadBalancerNodePorts: true,
    selector: undefined,
    ports: [
      { name: '', protocol: 'tcp', port: 80, targetPort: 80, nodePort: 30080 },
      { protocol: 'udp', port: 53, targetPort: 'dns' },
    ],
  });
});

t.test('conditions of endpoints that are absent count as the API says', async (t) => {
  const endpoints = [
    { addresses: ['10.0.0.1'] },
    { addresses: ['10.0.0.2'], conditions: { ready: false, terminating: true, serving: true } },
    { addresses: ['10.0.0.3'], conditions: { ready: null } },
  ];
  const { object } = readObject('EndpointSlice', { metadata: { name: 's' }, ports: [{ name: null, port: null }], endpoints }, { where: 'test' });
  t.match(object, { serviceName: '', ports: [{ name: '', protocol: 'tcp' }] });
  t.strictSame(
    object?.endpoints.map(({ ready, serving, terminating }) => [ready, serving, terminating]),
    [
      [true, true, false],
      [false, true, true],
      [true, true, false],
    ],
  );
});

interface Absurd {
  readonly name: string;
  readonly kind?: ObjectKind;
  /** The object but for its metadata; that of a Service is its spec. */
  readonly raw: object;
  readonly reason: RegExp;
}

const absurd: readonly Absurd[] = [
  { name: 'a port of 65536', raw: { ports: [{ port: 65_536 }] }, reason: /spec\.ports\[0\]\.port is 65536/ },
  { name: 'a port of 0', raw: { ports: [{ port: 0 }] }, reason: /port is 0/ },
  { name: 'half a port', raw: { ports: [{ port: 80.5 }] }, reason: /port is 80\.5/ },
  { name: 'no port', raw: { ports: [{}] }, reason: /port is missing/ },
  { name: 'a protocol of its own', raw: { ports: [{ port: 80, protocol: 'QUIC' }] }, reason: /protocol is "QUIC"/ },
  { name: 'a target port that is an object', raw: { ports: [{ port: 80, targetPort: {} }] }, reason: /targetPort is \{\}/ },
  {
    name: 'one NodePort twice',
    raw: {
      ports: [
        { port: 80, nodePort: 30080 },
        { port: 81, nodePort: 30080 },
      ],
    },
    reason: /gives nodePort 30080\/tcp twice/,
  },
  { name: 'a type of its own', raw: { type: 'Teleport' }, reason: /spec\.type is "Teleport"/ },
  { name: 'a family of its own', raw: { ipFamilies: ['IPv5'] }, reason: /spec\.ipFamilies holds "IPv5"/ },
  { name: 'a policy of its own', raw: { externalTrafficPolicy: 'Sometimes' }, reason: /externalTrafficPolicy is "Sometimes"/ },
  { name: 'an address that is none', raw: { externalIPs: ['192.0.2.300'] }, reason: /spec\.externalIPs holds "192\.0\.2\.300"/ },
  { name: 'an affinity of years', raw: { sessionAffinityConfig: { clientIP: { timeoutSeconds: 1e9 } } }, reason: /timeoutSeconds is 1000000000/ },
  { name: 'an affinity of less than nothing', raw: { sessionAffinityConfig: { clientIP: { timeoutSeconds: -1 } } }, reason: /timeoutSeconds is -1/ },
  { name: 'an address type of its own', kind: 'EndpointSlice', raw: { addressType: 'IPX' }, reason: /addressType is "IPX"/ },
  {
    name: 'an endpoint of the other family',
    kind: 'EndpointSlice',
    raw: { endpoints: [{ addresses: ['fd00::1'] }] },
    reason: /endpoints\[0\]\.addresses\[0\] is "fd00::1", no IPv4/,
  },
  { name: 'an endpoint without an address', kind: 'EndpointSlice', raw: { endpoints: [{}] }, reason: /endpoints\[0\]\.addresses\[0\] is missing/ },
  {
    name: 'too many endpoints',
    kind: 'EndpointSlice',
    raw: { endpoints: Array(1_001).fill({ addresses: ['10.0.0.1'] }) },
    reason: /has 1001 endpoints, more than the 1000/,
  },
  { name: 'a container port of -1', kind: 'Pod', raw: { spec: { containers: [{ ports: [{ containerPort: -1 }] }] } }, reason: /containerPort is -1/ },
  { name: 'a policy without a network', kind: 'NetworkPolicy', raw: { spec: { ingress: [{ from: [{ ipBlock: {} }] }] } }, reason: /ipBlock\.cidr is missing/ },
  { name: 'a policy with a port that is none', kind: 'NetworkPolicy', raw: { spec: { ingress: [{ ports: [{ port: 70_000 }] }] } }, reason: /port is 70000/ },
  { name: 'a configuration that is no YAML', kind: 'ConfigMap', raw: { data: { 'config.conf': 'mode: [' } }, reason: /its configuration cannot be read/ },
  { name: 'a configuration of something else', kind: 'ConfigMap', raw: { data: { 'config.conf': 'kind: Kubelet' } }, reason: /of kind Kubelet/ },
  { name: 'a version that is not known', kind: 'Node', raw: { apiVersion: 'v7' }, reason: /apiVersion is "v7": it is read as v1/ },
];
for (const { name, kind = 'Service', raw, reason } of absurd) {
  t.test(`an issue names ${name}`, async (t) => {
    const metadata = { name: kind === 'ConfigMap' ? 'kube-proxy' : 'web', ...(kind === 'Node' ? {} : { namespace: 'shop' }) };
    const value = kind === 'Service' ? { metadata, spec: raw } : { metadata, ...raw };
    const { object, issues } = readObject(kind, value, { where: 'file.json' });
    t.match(issues, [{ where: 'file.json', object: kind === 'Node' ? 'Node web' : `${kind} shop/${metadata.name}`, reason }]);
    t.equal(issues.length, 1);
    t.ok(object, 'the rest of the object is used');
  });
}

t.test('limits of names and of what is told of one object', async (t) => {
  const named = (length: number) => readObject('Service', { metadata: { name: 'x'.repeat(length) } }, { where: 'f' });
  t.ok(named(252).object !== undefined && named(253).object !== undefined);
  t.match(named(254), { object: undefined, issues: [{ reason: /254 characters/ }] });
  t.match(readObject('Service', { metadata: { name: 'x', namespace: 'y'.repeat(300) } }, { where: 'f' }).issues, [{ reason: /namespace has 300/ }]);
  const many = readObject('Service', { metadata: { name: 'x' }, spec: { ports: Array(500).fill({ port: -1 }) } }, { where: 'f' });
  t.equal(many.issues.length, 20);
  const slice = (count: number) =>
    readObject('EndpointSlice', { metadata: { name: 's' }, endpoints: Array(count).fill({ addresses: ['10.0.0.1'] }) }, { where: 'f' }).issues.length;
  t.same([slice(999), slice(1_000), slice(1_001)], [0, 0, 1]);
});

t.test('kinds of other groups that share a name are not ours', async (t) => {
  for (const [kind, apiVersion] of [
    ['Service', 'serving.knative.dev/v1'],
    ['NetworkPolicy', 'crd.projectcalico.org/v1'],
  ] as const)
    t.same(readObject(kind, { apiVersion, metadata: { name: 'x' } }, { where: 'f' }), { issues: [] });
  const older = { apiVersion: 'discovery.k8s.io/v1beta1', metadata: { name: 's' }, addressType: 'IPv4' };
  const topology = { 'kubernetes.io/hostname': 'node1', 'topology.kubernetes.io/zone': 'a' };
  t.match(readObject('EndpointSlice', { ...older, endpoints: [{ addresses: ['10.0.0.1'], topology }] }, { where: 'f' }), {
    issues: [],
    object: { endpoints: [{ nodeName: 'node1', zone: 'a' }] },
  });
});

t.test('what is kept of pods that fail, of events, of policies and of the configuration', async (t) => {
  const containerStatuses = [
    {
      name: 'main',
      ready: false,
      restartCount: 7,
      state: { waiting: { reason: 'CrashLoopBackOff', message: `back-off ${'x'.repeat(2_000)}` } },
      lastState: { terminated: { reason: 'OOMKilled', exitCode: 137, finishedAt: '2026-01-02T03:04:05Z' } },
    },
  ];
  const pod = readObject(
    'Pod',
    { metadata: { name: 'p' }, spec: { containers: [{ name: 'main', image: 'x' }] }, status: { reason: 'Evicted', containerStatuses } },
    { where: 'f' },
  );
  t.match(pod.object, {
    reason: 'Evicted',
    containers: [{ image: undefined }],
    containerStatuses: [
      { waitingReason: 'CrashLoopBackOff', lastTerminationReason: 'OOMKilled', lastExitCode: 137, lastFinishedAt: Date.parse('2026-01-02T03:04:05Z') },
    ],
  });
  t.equal(pod.object?.containerStatuses[0]?.waitingMessage?.length, limits.statusMessageLengthMax);
  const core = {
    apiVersion: 'v1',
    metadata: { name: 'e', namespace: 'shop' },
    type: 'Warning',
    reason: 'FailedToUpdateEndpointSlices',
    message: 'x'.repeat(2_000),
    count: 4,
    firstTimestamp: '2026-01-02T03:00:00Z',
    lastTimestamp: '2026-01-02T03:04:00Z',
    involvedObject: { kind: 'Service', namespace: 'shop', name: 'web' },
    source: { component: 'endpoint-slice-controller', host: 'node1' },
  };
  const event = readObject('Event', core, { where: 'f' });
  t.match(event.object, {
    reason: 'FailedToUpdateEndpointSlices',
    count: 4,
    lastAt: Date.parse('2026-01-02T03:04:00Z'),
    object: { name: 'web' },
    node: 'node1',
  });
  t.equal(event.object?.message.length, limits.statusMessageLengthMax);
  const newer = {
    metadata: { name: 'e' },
    eventTime: '2026-01-02T03:00:00Z',
    series: { count: 9, lastObservedTime: '2026-01-02T04:00:00Z' },
    regarding: { kind: 'Pod', name: 'p' },
    note: 'n',
  };
  t.match(readObject('Event', newer, { where: 'f' }).object, { count: 9, lastAt: Date.parse('2026-01-02T04:00:00Z'), message: 'n', object: { kind: 'Pod' } });
  const policy = {
    metadata: { name: 'n', namespace: 'shop' },
    spec: {
      podSelector: { matchLabels: { app: 'web' }, matchExpressions: [{ key: 'tier', operator: 'In', values: ['a'] }] },
      policyTypes: ['Ingress', 'Egress'],
      ingress: [
        {
          from: [{ ipBlock: { cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] } }, { podSelector: {} }],
          ports: [{ port: 'http' }, { port: 8000, endPort: 8010, protocol: 'UDP' }],
        },
      ],
    },
  };
  t.match(readObject('NetworkPolicy', policy, { where: 'f' }).object, {
    isolatesIngress: true,
    podSelector: { matchLabels: { app: 'web' }, matchExpressions: [{ key: 'tier' }] },
    ingress: [
      {
        from: [{ ipBlock: { except: ['10.1.0.0/16'] } }, { podSelector: {} }],
        ports: [
          { protocol: 'tcp', port: 'http' },
          { protocol: 'udp', endPort: 8010 },
        ],
      },
    ],
  });
  t.match(readObject('NetworkPolicy', { metadata: { name: 'n' }, spec: { policyTypes: ['Egress'] } }, { where: 'f' }).object, { isolatesIngress: false });
  const config = 'kind: KubeProxyConfiguration\nmode: nftables\niptables: {masqueradeAll: true}\nnftables: {masqueradeAll: false, syncPeriod: 30s}\n';
  t.match(readObject('ConfigMap', { metadata: { name: 'kube-proxy-config' }, data: { config } }, { where: 'f' }).object, {
    proxy: { mode: 'nftables', masqueradeAll: false, syncPeriod: '30s', nodePortAddresses: [] },
  });
  t.equal(
    readObject('ConfigMap', { metadata: { name: 'app' }, data: { config } }, { where: 'f' }).object?.proxy,
    undefined,
    'that of somebody else is not looked into',
  );
});

t.test('a Service whose selector matches 100,000 pods, and one that matches none of them', async (t) => {
  const items = Array.from({ length: 100_000 }, (_, index) => ({
    kind: 'Pod',
    metadata: { name: `p${index}`, namespace: 'shop', labels: { app: 'web' } },
    spec: { nodeName: 'node1', containers: [{ name: 'main', ports: [{ containerPort: 8080 }] }] },
    status: { phase: 'Running', podIP: `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`, conditions: [{ type: 'Ready', status: 'False' }] },
  }));
  const service = (name: string, app: string, nodePort: number) => ({
    kind: 'Service',
    metadata: { name, namespace: 'shop' },
    spec: { type: 'NodePort', clusterIP: '10.96.0.1', selector: { app }, ports: [{ port: 80, targetPort: 'http', nodePort }] },
  });
  const { objects, issues } = readObjects([
    { name: 'all.json', text: JSON.stringify({ kind: 'List', items: [...items, service('web', 'web', 30_080), service('none', 'wbe', 30_081)] }) },
  ]);
  t.same(issues, []);
  t.equal(objects.pods.size, 100_000);
  const expectations = expectationsFor('node1', objects, { families: [4] });
  const facts = new Map(expectations.map((expectation) => [expectation.key, rightFact(expectation)]));
  const found = diagnoseNode({ node: 'node1', facts, expectations, drifts: [], objects, changes: [], now: 0 });
  t.match(found.map(({ cause, port }) => [cause, port]).sort(), [
    ['A02', 30_081],
    ['A03', 30_080],
  ]);
  t.ok(
    found.every((finding) => JSON.stringify(finding).length < 20_000),
    'a finding does not name 100,000 pods',
  );
});

t.test('nothing that parses as JSON makes a reader throw', async (t) => {
  const field = fc.constantFrom(
    'metadata',
    'spec',
    'status',
    'name',
    'ports',
    'port',
    'endpoints',
    'labels',
    'conditions',
    'items',
    'kind',
    'containers',
    'managedFields',
    'ingress',
  );
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { maxDepth: 5 },
      fc.constantFrom('Service', 'List', 'x', '', null, true, 0, -1, 80, 1e99),
      fc.array(tie('tree'), { maxLength: 3 }),
      fc.dictionary(field, tie('tree'), { maxKeys: 6 }),
    ),
  }));
  fc.assert(
    fc.property(tree, fc.constantFrom(...objectKinds), (value, kind) => {
      const named = { metadata: { name: 'x' }, spec: value, status: value, ports: value, endpoints: value };
      readObject(kind, value, { where: 'test' });
      readObject(kind, named, { where: 'test' });
      const { objects } = readObjects([{ name: 'a.json', text: JSON.stringify({ kind: 'List', items: [value, { kind, ...named }] }) }]);
      objectChanges(noObjects, objects, { at: 0, actorOf: () => ({ how: 'unknown' }) });
    }),
    { numRuns: 300 },
  );
  fc.assert(
    fc.property(
      fc.string(),
      (text) =>
        void readObjects([
          { name: 'a.yaml', text },
          { name: 'a.json', text },
        ]),
    ),
    { numRuns: 200 },
  );
  t.pass('300 trees and 200 texts');
});
