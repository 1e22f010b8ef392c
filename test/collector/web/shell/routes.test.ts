// Addresses of views, there and back.
import fc from 'fast-check';
import t from 'tap';
import { mainViewOf, pathOf, type Route, routeOf } from '../../../../collector/web/shell/routes.ts';

t.test('every view has an address, and is found by it', async (t) => {
  const routes: readonly Route[] = [
    { view: 'now' },
    { view: 'chart' },
    { view: 'story', node: 'node1', port: 30080, protocol: 'tcp' },
    { view: 'finding', id: 'node1/nodeport/tcp/4/30080/C08' },
    { view: 'nodes' },
    { view: 'node', node: 'node1' },
    { view: 'services' },
    { view: 'service', namespace: 'shop', name: 'web' },
    { view: 'register' },
    { view: 'changes' },
    { view: 'gaps' },
  ];
  for (const route of routes) t.same(routeOf(pathOf(route)), route, pathOf(route));
});

t.test('any name of a node comes back', async () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1, unit: 'grapheme' }), (node) => {
      const route = routeOf(pathOf({ view: 'node', node }));
      return route.view === 'node' && route.node === node;
    }),
  );
});

t.test('what is no view is said to be none', async (t) => {
  for (const path of ['/x', '/story/node1/30080', '/story/node1/99999/tcp', '/story/node1/30080/icmp', '/nodes/a/b', '/a/b/c/d/e', '/nodes/%E0%A4%A'])
    t.match(routeOf(path), { view: 'none' }, path);
  t.equal(mainViewOf(routeOf('/x')), undefined);
  t.equal(mainViewOf(routeOf('/story/node1/30080/tcp')), 'now');
});
