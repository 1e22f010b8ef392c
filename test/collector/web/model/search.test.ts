// Going to a node, Service or NodePort by what is typed.
import t from 'tap';
import { search } from '../../../../collector/web/model/search.ts';

const port = (nodePort: number, protocol = 'tcp') => ({ name: 'http', port: 80, targetPort: 8080, nodePort, protocol });
const known = {
  nodes: ['node1', 'node2', 'node10'].map((name, index) => ({ name, addresses: [`172.31.0.1${index}`] })),
  services: [
    { namespace: 'shop', name: 'web', ports: [port(30080)] },
    { namespace: 'shop', name: 'node-exporter', ports: [port(30100), port(30053, 'udp')] },
  ],
} as unknown as Parameters<typeof search>[1];
const titles = (text: string): string[] => search(text, known).map(({ kind, title }) => `${kind} ${title}`);

t.test('names, numbers and addresses are found, exact ones first', async (t) => {
  t.same(titles('node1'), ['node node1', 'node node10']);
  t.same(titles('node'), ['node node1', 'node node2', 'node node10', 'Service shop/node-exporter']);
  t.same(titles('3010'), ['NodePort 30100/tcp']);
  t.same(titles('WEB'), ['Service shop/web']);
  t.same(titles('172.31.0.11'), ['node node2']);
  t.same(titles('  '), []);
  t.same(titles('nothing'), []);
});

t.test('a node and a number name a story', async (t) => {
  t.match(search('node2 30080', known)[0], { title: 'node2 30080/tcp', route: { view: 'story', node: 'node2', port: 30080, protocol: 'tcp' } });
});
