// A capture and objects that do not belong together: said before anything else is.
import t from 'tap';
import { checkNode } from '../../cli/commands/check.run.ts';
import { type ClusterObjects, readObjects } from '../../collector/kubernetes/objects.ts';
import { captureFiles } from '../support/captures.ts';

const names = ['services.json', 'endpointslices.json', 'nodes.json', 'pods.json'];
function objectsOf(capture: string, edit: (text: string) => string = (text) => text): ClusterObjects {
  const files = captureFiles(capture);
  return readObjects(names.flatMap((name) => (files.has(name) ? [{ name, text: edit((files.get(name) as Buffer).toString('utf8')) }] : []))).objects;
}

const here = '01-healthy-iptables-nft';
const doubtsOf = (objects: ClusterObjects, node?: string): readonly string[] =>
  checkNode({ files: captureFiles(here), objects, now: 0, ...(node === undefined ? {} : { node }) })?.doubts ?? [];

t.test('a capture with the objects of its own cluster', (t) => {
  t.same(doubtsOf(objectsOf(here)), []);
  t.end();
});

t.test('a capture with the objects of another one', (t) => {
  const elsewhere = (text: string): string => text.replaceAll('"shop"', '"store"').replaceAll('"node1"', '"worker-1"');
  const doubts = doubtsOf(objectsOf(here, elsewhere), 'node1');
  t.match(doubts[0], /the capture is of node node1, which is not among the objects \(worker-1.*\): are they of another cluster\?/);
  t.match(doubts.join('\n'), /the rules serve \d+ NodePorts of Services that are not among the objects \(shop\/.*are they of another cluster\?/);
  t.end();
});

t.test('a node of the same name with other addresses', (t) => {
  const doubts = doubtsOf(
    objectsOf(here, (text) => text.replaceAll('172.31.0.11', '198.51.100.11').replaceAll('fd00:31:0:1::11', '2001:db8::11')),
    'node1',
  );
  t.match(doubts[0], /node node1 has 198\.51\.100\.11.* by its object, which is on none of its interfaces/);
  t.end();
});

t.test('a Service that is gone makes no other cluster', (t) => {
  const { services, ...rest } = objectsOf(here);
  t.same(
    doubtsOf({ ...rest, services: new Map([...services].filter(([name]) => name !== 'shop/web')) }).filter((doubt) => /another cluster/.test(doubt)),
    [],
  );
  t.end();
});

t.test('objects that are at odds with each other are named', (t) => {
  const objects = objectsOf(here);
  const services = new Map(objects.services);
  services.delete('shop/web');
  t.match(doubtsOf({ ...objects, services }), [/^EndpointSlice shop\/web-\S+: belongs to Service shop\/web, which does not exist/]);
  t.end();
});
