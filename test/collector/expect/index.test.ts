import t from 'tap';
import { expectationsFor, type ProxyConfiguration } from '../../../collector/expect/index.ts';
import type { Expectation } from '../../../shared/model/expectation.ts';
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
  { name: 'ClientIP affinity is said', spec: { sessionAffinity: 'ClientIP' }, endpoints: [here], expect: [{ sessionAffinity: true }] },
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
