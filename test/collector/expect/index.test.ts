import t from 'tap';
import { releaseOf } from '../../../collector/expect/behaviour.ts';
import { expectationsFor, type ProxyConfiguration } from '../../../collector/expect/index.ts';
import { proxyConfigurationOf } from '../../../collector/expect/proxy.ts';
import type { Expectation } from '../../../shared/model/expectation.ts';
import type { ProxyFact } from '../../../shared/model/fact.ts';
import { clusterOf, type EndpointShort, node, service, slice } from './cluster.ts';

const nodes = [node('node1', '192.0.2.11', { zone: 'a' }), node('node2', '192.0.2.12', { zone: 'b' })];

interface Case {
  readonly name: string;
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly endpoints?: readonly EndpointShort[];
  readonly proxy?: ProxyConfiguration;
  readonly expect: readonly Partial<Expectation>[];
}

const here: EndpointShort = { address: '10.244.1.5', node: 'node1' };
const there: EndpointShort = { address: '10.244.2.5', node: 'node2' };
const local = { externalTrafficPolicy: 'Local' };

const cases: readonly Case[] = [
  {
    name: 'all ready endpoints of the cluster, sorted',
    endpoints: [there, here],
    expect: [{ expect: 'forward', endpoints: ['10.244.1.5:8080', '10.244.2.5:8080'] }],
  },
  { name: 'an endpoint that is not ready gets nothing', endpoints: [here, { ...there, ready: false }], expect: [{ endpoints: ['10.244.1.5:8080'] }] },
  {
    name: 'none ready: serving ones that terminate stand in',
    endpoints: [{ ...here, ready: false, serving: true, terminating: true }],
    expect: [{ expect: 'forward', endpoints: ['10.244.1.5:8080'] }],
  },
  {
    name: 'one ready: terminating ones do not',
    endpoints: [here, { ...there, ready: false, serving: true, terminating: true }],
    expect: [{ endpoints: ['10.244.1.5:8080'] }],
  },
  {
    name: 'not ready and not terminating: refused',
    endpoints: [{ ...here, ready: false }],
    expect: [{ expect: 'reject', endpoints: [], clusterEndpoints: [] }],
  },
  { name: 'no endpoint at all: refused', endpoints: [], expect: [{ expect: 'reject' }] },
  {
    name: 'Local: only the endpoints of this node',
    spec: local,
    endpoints: [here, there],
    expect: [{ expect: 'forward', endpoints: ['10.244.1.5:8080'], clusterEndpoints: ['10.244.1.5:8080', '10.244.2.5:8080'] }],
  },
  {
    name: 'Local: endpoints elsewhere only: dropped',
    spec: local,
    endpoints: [there],
    expect: [{ expect: 'drop', endpoints: [], clusterEndpoints: ['10.244.2.5:8080'] }],
  },
  {
    name: 'Local: a local one that terminates serves while a ready one is elsewhere',
    spec: local,
    endpoints: [{ ...here, ready: false, serving: true, terminating: true }, there],
    expect: [{ expect: 'forward', endpoints: ['10.244.1.5:8080'], clusterEndpoints: ['10.244.2.5:8080'] }],
  },
  { name: 'Local: none anywhere: refused', spec: local, endpoints: [], expect: [{ expect: 'reject' }] },
  {
    name: 'hints for this zone narrow the choice',
    endpoints: [
      { ...here, zones: ['a'] },
      { ...there, zones: ['b'] },
    ],
    expect: [{ endpoints: ['10.244.1.5:8080'], clusterEndpoints: ['10.244.1.5:8080', '10.244.2.5:8080'] }],
  },
  {
    name: 'an endpoint without hints switches them off',
    endpoints: [{ ...here, zones: ['a'] }, there],
    expect: [{ endpoints: ['10.244.1.5:8080', '10.244.2.5:8080'] }],
  },
  {
    name: 'no hint for this zone switches them off',
    endpoints: [
      { ...here, zones: ['c'] },
      { ...there, zones: ['b'] },
    ],
    expect: [{ endpoints: ['10.244.1.5:8080', '10.244.2.5:8080'] }],
  },
  {
    name: 'hints do not concern Local',
    spec: local,
    endpoints: [
      { ...here, zones: ['b'] },
      { ...there, zones: ['b'] },
    ],
    expect: [{ endpoints: ['10.244.1.5:8080'] }],
  },
  {
    name: 'ClientIP affinity is said',
    spec: { sessionAffinity: 'ClientIP' },
    endpoints: [here],
    expect: [{ sessionAffinity: true, sessionAffinitySeconds: 10_800 }],
  },
  {
    name: 'and for how long',
    spec: { sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } } },
    endpoints: [here],
    expect: [{ sessionAffinitySeconds: 60 }],
  },
  { name: 'the address of a client is replaced', endpoints: [here], expect: [{ masquerade: true }] },
  { name: 'but not with Local', spec: local, endpoints: [here], expect: [{ masquerade: false }] },
  { name: 'internalTrafficPolicy is about cluster addresses', spec: { internalTrafficPolicy: 'Local' }, endpoints: [there], expect: [{ expect: 'forward' }] },
  {
    name: 'an external address of the node with the same port: its Service takes the clients',
    spec: { externalIPs: ['192.0.2.11'], ports: [{ name: 'http', port: 30080, nodePort: 30999 }] },
    endpoints: [here],
    expect: [{ key: 'nodeport/tcp/4/30999', endpoints: ['10.244.1.5:8080'] }],
  },
  { name: 'a ClusterIP Service has none', spec: { type: 'ClusterIP' }, endpoints: [here], expect: [] },
  { name: 'a LoadBalancer without nodePort has none', spec: { type: 'LoadBalancer', ports: [{ port: 80 }] }, endpoints: [here], expect: [] },
  { name: 'a headless Service has none', spec: { clusterIP: 'None' }, endpoints: [here], expect: [] },
  { name: 'a Service for another proxy has none', metadata: { labels: { 'service.kubernetes.io/service-proxy-name': 'x' } }, endpoints: [here], expect: [] },
  {
    name: 'a family that the node has no address of is left out',
    spec: { ipFamilies: ['IPv4', 'IPv6'] },
    endpoints: [here],
    expect: [{ key: 'nodeport/tcp/4/30080' }],
  },
  { name: '--nodeport-addresses that hold no address of the node', proxy: { nodePortAddresses: ['198.51.100.0/24'] }, endpoints: [here], expect: [] },
  { name: '--nodeport-addresses that hold one', proxy: { nodePortAddresses: ['192.0.2.0/24'] }, endpoints: [here], expect: [{ expect: 'forward' }] },
];

for (const { name, spec, metadata, endpoints, proxy, expect } of cases) {
  t.test(name, (t) => {
    const objects = clusterOf([...nodes, service('web', spec, metadata), slice('web', endpoints ?? [])]);
    t.match(expectationsFor('node1', objects, proxy), expect);
    t.equal(expectationsFor('node1', objects, proxy).length, expect.length);
    t.end();
  });
}

t.test('two families, each from its own slice', (t) => {
  const objects = clusterOf([
    node('node1', '192.0.2.11', { address6: '2001:db8::11' }),
    service('web', { ipFamilies: ['IPv4', 'IPv6'] }),
    slice('web', [here]),
    slice('web', [{ address: '2001:DB8:0::5' }], { addressType: 'IPv6' }),
  ]);
  t.match(expectationsFor('node1', objects), [
    { key: 'nodeport/tcp/4/30080', endpoints: ['10.244.1.5:8080'] },
    { key: 'nodeport/tcp/6/30080', endpoints: ['[2001:db8::5]:8080'] },
  ]);
  t.end();
});

t.test('ports of one name in several slices, other names and protocols left alone, doubles merged', (t) => {
  const ports = [
    { name: 'http', port: 80, targetPort: 'web', nodePort: 30080 },
    { name: 'dns', port: 53, nodePort: 30053, protocol: 'UDP' },
  ];
  const objects = clusterOf([
    ...nodes,
    service('web', { ports }),
    slice('web', [{ ...here, ready: false }, here], {
      ports: [
        { name: 'http', port: 8081 },
        { name: 'dns', port: 5353, protocol: 'UDP' },
      ],
    }),
    slice('web', [there], {
      ports: [
        { name: 'http', port: 8082 },
        { name: 'dns', port: 5353, protocol: 'TCP' },
      ],
    }),
    slice('other', [there]),
  ]);
  t.match(expectationsFor('node1', objects), [
    { key: 'nodeport/tcp/4/30080', endpoints: ['10.244.1.5:8081', '10.244.2.5:8082'] },
    { key: 'nodeport/udp/4/30053', endpoints: ['10.244.1.5:5353'], service: { namespace: 'shop', name: 'web', port: 'dns' } },
  ]);
  t.end();
});

t.test('a Service whose NodePort another one takes by the address of the node', (t) => {
  const objects = clusterOf([
    ...nodes,
    service('web'),
    slice('web', [here]),
    service('gate', { type: 'ClusterIP', externalIPs: ['192.0.2.11'], ports: [{ name: 'http', port: 30080, protocol: 'TCP' }] }),
    slice('gate', [there]),
  ]);
  t.match(expectationsFor('node1', objects), [{ service: { name: 'web' }, endpoints: ['10.244.2.5:8080'] }], 'on the node with that address');
  t.match(expectationsFor('node2', objects), [{ service: { name: 'web' }, endpoints: ['10.244.1.5:8080'] }], 'not on the other');
  t.end();
});

const hinted = [
  { ...here, zones: ['a'], nodes: ['node1'] },
  { ...there, zones: ['a'], nodes: ['node2'] },
];
const own = ['10.244.1.5:8080'];
const both = ['10.244.1.5:8080', '10.244.2.5:8080'];
const leaving = { ...here, ready: false, serving: true, terminating: true };

interface ReleaseCase {
  readonly name: string;
  readonly endpoints: readonly EndpointShort[];
  readonly annotations?: Readonly<Record<string, string>>;
  readonly proxy?: Partial<ProxyConfiguration>;
  /** Endpoints by release. */
  readonly releases: Readonly<Record<number, readonly string[]>>;
}
const mode = 'service.kubernetes.io/topology-mode';
const hints = 'service.kubernetes.io/topology-aware-hints';
const zoned = [
  { ...here, zones: ['a'] },
  { ...there, zones: ['b'] },
];

const releases: readonly ReleaseCase[] = [
  { name: 'hints for zones alone', endpoints: zoned, releases: { 23: both, 24: both, 26: both, 27: both, 30: both, 31: own, 32: own, 34: own, 35: own } },
  {
    name: 'with the older annotation',
    endpoints: zoned,
    annotations: { [hints]: 'auto' },
    releases: { 23: both, 24: own, 26: own, 27: own, 30: own, 31: own },
  },
  { name: 'with the newer one', endpoints: zoned, annotations: { [mode]: 'Auto' }, releases: { 23: both, 26: both, 27: own, 30: own, 31: own } },
  { name: 'disabled by annotation', endpoints: zoned, annotations: { [mode]: 'Disabled' }, releases: { 27: both, 30: both, 31: own } },
  { name: 'a heuristic of somebody else', endpoints: zoned, annotations: { [mode]: 'example.org/own' }, releases: { 26: both, 27: own } },
  { name: 'hints for nodes', endpoints: hinted, releases: { 32: both, 33: both, 34: own, 35: own } },
  {
    name: 'hints for nodes, none of them for this one: zones decide',
    endpoints: hinted.map((each) => ({ ...each, nodes: ['node2'] })),
    releases: { 33: both, 34: both },
  },
  { name: 'not all have hints for nodes', endpoints: [hinted[0] as EndpointShort, { ...there, zones: ['a'] }], releases: { 34: both } },
  { name: 'only one that terminates', endpoints: [leaving], releases: { 23: [], 25: [], 26: own, 28: own, 34: own } },
  {
    name: 'feature gates that were set by hand',
    endpoints: hinted,
    proxy: { featureGates: { PreferSameTrafficDistribution: true } },
    releases: { 32: both, 33: own, 34: own },
  },
  { name: 'and taken back', endpoints: zoned, proxy: { featureGates: { TopologyAwareHints: false } }, releases: { 31: both } },
];
for (const { name, endpoints, annotations, proxy, releases: expected } of releases) {
  t.test(`by release: ${name}`, (t) => {
    const objects = clusterOf([...nodes, service('web', {}, annotations === undefined ? {} : { annotations }), slice('web', endpoints)]);
    for (const [release, wanted] of Object.entries(expected)) {
      const certain = expectationsFor('node1', objects, { ...proxy, release: Number(release), certain: true });
      t.same(certain[0]?.endpoints, wanted, `1.${release}`);
      t.equal(certain[0]?.alternatives, undefined, 'a release that is known for sure has no other');
      const guessed = expectationsFor('node1', objects, { ...proxy, release: Number(release) });
      t.same(guessed[0]?.endpoints, wanted);
      const others = Object.values(expected).filter((each) => `${each}` !== `${wanted}`);
      if (proxy === undefined)
        for (const other of others)
          t.ok(
            guessed[0]?.alternatives?.some((each) => `${each.endpoints}` === `${other}`),
            `${other} is right as well where the release is a guess`,
          );
    }
    t.end();
  });
}

t.test('releases out of versions', (t) => {
  for (const [version, release] of [
    ['v1.32.1', 32],
    ['v1.30.4+k3s1', 30],
    ['registry.k8s.io/kube-proxy:v1.27.16', 27],
    ['602401143452.dkr.ecr.eu-west-1.amazonaws.com/eks/kube-proxy:v1.31.2-minimal-eksbuild.3', 31],
    ['registry.k8s.io/kube-proxy:v1.29', 29],
    ['registry.k8s.io/kube-proxy@sha256:0123', undefined],
    ['v2.0.0', undefined],
    ['latest', undefined],
    ['', undefined],
    [undefined, undefined],
  ] as const)
    t.equal(releaseOf(version), release, String(version));
  t.end();
});

t.test('what is known of the configuration of a kube-proxy', (t) => {
  const config = (text: string) => ({ kind: 'ConfigMap' as const, metadata: { namespace: 'kube-system', name: 'kube-proxy' }, data: { 'config.conf': text } });
  const proxyPod = (nodeName: string, image: string) => ({
    kind: 'Pod' as const,
    metadata: { namespace: 'kube-system', name: `kube-proxy-${nodeName}` },
    spec: { nodeName, containers: [{ name: 'kube-proxy', image }] },
  });
  const versioned = (raw: ReturnType<typeof node>, kubeletVersion: string) => ({ ...raw, status: { ...raw.status, nodeInfo: { kubeletVersion } } });
  const objects = clusterOf([
    versioned(node('node1', '192.0.2.11'), 'v1.31.0'),
    versioned(node('node2', '192.0.2.12'), 'v1.30.4+k3s1'),
    versioned(node('node3', '192.0.2.13'), 'v1.31.0'),
    proxyPod('node3', 'registry.k8s.io/kube-proxy:v1.29.9'),
    config('mode: iptables\nnodePortAddresses: [10.0.0.0/8]\nfeatureGates: {TopologyAwareHints: false}\n'),
  ]);
  t.match(proxyConfigurationOf('node1', objects), {
    mode: 'iptables',
    families: [4],
    release: 31,
    certain: false,
    featureGates: { TopologyAwareHints: false },
  });
  t.match(proxyConfigurationOf('node2', objects), { release: 30, certain: true }, "k3s holds kube-proxy in the kubelet's program");
  t.match(proxyConfigurationOf('node3', objects), { release: 29, certain: true }, 'the image says what runs');
  t.match(proxyConfigurationOf('node9', objects), { mode: 'iptables', release: undefined });
  const fact = (more: Partial<ProxyFact>): ProxyFact => ({ kind: 'proxy', key: 'proxy/kube-proxy', mode: 'none', running: 'yes', evidence: '', ...more });
  t.match(proxyConfigurationOf('node1', objects, fact({ mode: 'nftables' })), { mode: 'nftables' }, 'what is seen in the rules counts most');
  const flags = { 'proxy-mode': 'ipvs', 'nodeport-addresses': '10.0.0.0/8,fd00::/8', 'feature-gates': 'TopologyAwareHints=true,Other=false' };
  t.match(proxyConfigurationOf('node1', objects, fact({ flags })), {
    mode: 'ipvs',
    families: [4, 6],
    featureGates: { TopologyAwareHints: true, Other: false },
  });
  t.equal(proxyConfigurationOf('node1', objects, fact({ flags: { 'nodeport-addresses': 'primary' } })).families, undefined);
  t.end();
});

t.test('nodes on which no kube-proxy of Linux runs, and kinds that could not be read', (t) => {
  const labelled = (labels: Readonly<Record<string, string>>) => ({ ...node('node1', '192.0.2.11'), metadata: { name: 'node1', labels } });
  for (const labels of [{ 'kubernetes.io/os': 'windows' }, { type: 'virtual-kubelet' }])
    t.same(expectationsFor('node1', clusterOf([labelled(labels), service('web'), slice('web', [here])])), []);
  t.equal(
    expectationsFor('node1', clusterOf([labelled({ 'node.kubernetes.io/exclude-from-external-load-balancers': '' }), service('web'), slice('web', [here])]))
      .length,
    1,
    'a node that load balancers leave out serves NodePorts all the same',
  );
  const objects = { ...clusterOf([...nodes, service('web')]), unread: new Map([['EndpointSlice' as const, '403']]) };
  t.same(expectationsFor('node1', objects), [], 'without slices nobody knows what to expect');
  t.end();
});
