// Objects that are at odds with each other are named; those that are not give nothing.
import t from 'tap';
import { faultsBetween } from '../../../collector/kubernetes/faults.ts';
import { clusterOf, node, service, slice } from '../expect/cluster.ts';

const web = service('web', { externalIPs: ['192.0.2.11'], ports: [{ port: 30081, nodePort: 30080 }] });

const cases: readonly { readonly name: string; readonly objects: Parameters<typeof clusterOf>[0]; readonly expect: readonly object[] }[] = [
  { name: 'a sound cluster', objects: [node('node1', '192.0.2.11'), service('web'), slice('web', [])], expect: [] },
  {
    name: 'a slice of a Service that does not exist',
    objects: [slice('gone', [])],
    expect: [{ object: /^EndpointSlice shop\/gone/, reason: /belongs to Service shop\/gone, which does not exist/ }],
  },
  { name: 'a slice that belongs to no Service', objects: [slice('gone', [], { metadata: { name: 'own', namespace: 'shop' } })], expect: [] },
  {
    name: 'two Services with one NodePort',
    objects: [service('web'), service('api')],
    expect: [{ object: 'Service shop/api', reason: /NodePort 30080\/tcp, which Service shop\/web has/ }],
  },
  { name: 'one number for two protocols', objects: [service('web'), service('dns', { ports: [{ port: 53, nodePort: 30080, protocol: 'UDP' }] })], expect: [] },
  {
    name: "an external address that is a node's, with a port that is another's NodePort",
    objects: [node('node1', '192.0.2.11'), web, service('api', { ports: [{ port: 80, nodePort: 30081 }] })],
    expect: [
      {
        object: 'Service shop/web',
        reason: /takes 192\.0\.2\.11:30081\/tcp, the address of node node1, so NodePort 30081 of Service shop\/api is not served there/,
      },
    ],
  },
  { name: "an external address that is nobody else's", objects: [node('node1', '192.0.2.99'), web], expect: [] },
  {
    name: 'two nodes with one address, and an address that is none',
    objects: [node('node1', '192.0.2.11'), node('node2', '192.0.2.11'), node('node3', '192.0.2.300')],
    expect: [
      { object: 'Node node2', reason: /which Node node1 has as well/ },
      { object: 'Node node3', reason: /"192\.0\.2\.300" is no IP address/ },
    ],
  },
];
for (const { name, objects, expect } of cases) {
  t.test(name, (t) => {
    const found = faultsBetween(clusterOf(objects));
    t.match(found, expect);
    t.equal(found.length, expect.length);
    t.end();
  });
}
