// What the labels of an alert name: Services, NodePorts and nodes of the cluster, and nothing else.
import t from 'tap';
import { subjectOf } from '../../../collector/api/alerts.ts';
import { readObjects } from '../../../collector/kubernetes/objects.ts';
import { objectsOf } from '../ingest/cluster.ts';

const { objects } = readObjects(Object.entries(objectsOf()).map(([name, value]) => ({ name, text: JSON.stringify(value) })));
const web = { service: 'shop/web', node: '', port: 0, protocol: '' };
const atPort = { service: 'shop/web', node: '', port: 30080, protocol: 'tcp' };
const nothing = { service: '', node: '', port: 0, protocol: '' };

for (const { labels, wanted, name } of [
  { name: 'namespace and service', labels: { namespace: 'shop', service: 'web' }, wanted: web },
  {
    name: 'those that a scrape moved aside',
    labels: { exported_namespace: 'shop', exported_service: 'web', namespace: 'monitoring', service: 'prometheus' },
    wanted: web,
  },
  { name: 'a full name', labels: { service: 'shop/web' }, wanted: web },
  { name: 'a name that is the only one', labels: { service: 'web' }, wanted: web },
  { name: 'a NodePort', labels: { nodeport: '30080' }, wanted: atPort },
  { name: 'a NodePort on a node', labels: { nodeport: '30080', node: 'node2' }, wanted: { ...atPort, node: 'node2' } },
  { name: 'a probe by URL', labels: { instance: 'https://172.31.0.11:30080/x?y' }, wanted: { ...atPort, node: 'node1' } },
  { name: 'a probe by address', labels: { target: '172.31.0.12:30080' }, wanted: { ...atPort, node: 'node2' } },
  { name: 'the port of a scrape is none of ours', labels: { instance: '172.31.0.11:9100', node: 'node1' }, wanted: { ...nothing, node: 'node1' } },
  { name: 'another Service', labels: { namespace: 'shop', service: 'db' }, wanted: nothing },
  { name: 'a node that is not there', labels: { node: 'node9' }, wanted: nothing },
  { name: 'what looks like a port and is none', labels: { nodeport: '99999', port: 'http', instance: '::::' }, wanted: nothing },
  { name: 'names of objects', labels: { service: '__proto__', namespace: 'constructor' }, wanted: nothing },
])
  t.strictSame(subjectOf(labels, objects), wanted, name);
