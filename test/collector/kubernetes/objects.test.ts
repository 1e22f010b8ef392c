// Objects as the API gives them: captured ones read without a complaint, absurd ones without an exception.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { objectChanges } from '../../../collector/kubernetes/changes.ts';
import { noObjects, objectKinds, readObject, readObjects } from '../../../collector/kubernetes/objects.ts';
import { fixtures, numberedCaptures } from '../../support/captures.ts';

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

const absurd: readonly { readonly name: string; readonly raw: object; readonly reason: RegExp }[] = [
  { name: 'a port of 65536', raw: { ports: [{ port: 65_536 }] }, reason: /spec\.ports\[0\]\.port is 65536/ },
  { name: 'a port of 0', raw: { ports: [{ port: 0 }] }, reason: /port is 0/ },
  { name: 'half a port', raw: { ports: [{ port: 80.5 }] }, reason: /port is 80\.5/ },
  { name: 'no port', raw: { ports: [{}] }, reason: /port is missing/ },
  { name: 'a protocol of its own', raw: { ports: [{ port: 80, protocol: 'QUIC' }] }, reason: /protocol is "QUIC"/ },
  { name: 'a target port that is an object', raw: { ports: [{ port: 80, targetPort: {} }] }, reason: /targetPort is \{\}/ },
];
for (const { name, raw, reason } of absurd) {
  t.test(`an issue names ${name}`, async (t) => {
    t.match(readObject('Service', { metadata: { namespace: 'shop', name: 'web' }, spec: raw }, { where: 'file.json' }).issues, [
      { where: 'file.json', object: 'Service shop/web', reason },
    ]);
  });
}

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
