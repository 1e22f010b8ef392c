// A whole collector that follows an API over TLS: ready when it has read, degraded by name where it may not, and honest when the API is gone.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { runCollector } from '../../../collector/main.ts';
import { type ApiObject, ApiServer } from '../../support/api-server.ts';
import { hasOpenssl, makeAuthority } from '../../support/certificates.ts';
import { getJson, objectsOf, until } from '../ingest/cluster.ts';

const skip = hasOpenssl() ? false : 'openssl is not installed';

t.test('from the first reading to an API that is gone', { skip }, async (t) => {
  const { ca, server: tls } = makeAuthority();
  const api = new ApiServer({ tls, token: 'secret' });
  const items = Object.values(objectsOf()).flatMap((value) => (value as { items?: ApiObject[] }).items ?? [value as ApiObject]);
  api.forbid('Pod');
  api.forbid('EndpointSlice');
  for (const item of items) api.put(item);
  const server = await api.start();
  const directory = t.testdir();
  const kubeconfig = join(directory, 'config');
  await writeFile(
    kubeconfig,
    JSON.stringify({
      'current-context': 'x',
      clusters: [{ name: 'x', cluster: { server, 'certificate-authority-data': Buffer.from(ca).toString('base64') } }],
      users: [{ name: 'x', user: { token: 'secret' } }],
      contexts: [{ name: 'x', context: { cluster: 'x', user: 'x' } }],
    }),
  );
  const collector = await runCollector({ listen: '127.0.0.1:0', data: join(directory, 'data'), kubeconfig, noAuth: true, logLevel: 'silent' });
  t.teardown(() => collector.close());
  const text = async (path: string): Promise<string> => (await fetch(`${collector.address}${path}`)).text();

  const notReady = await until(
    () => text('/readyz'),
    (said) => said.includes('EndpointSlice'),
  );
  t.match(notReady, /EndpointSlice objects cannot be read: .*403/, 'without slices nothing can be judged');
  t.match(await getJson(collector.address, 'nodeports'), { items: [], view: { stale: true } }, 'and nothing is expected');
  api.allow('EndpointSlice');
  // Asked for again after a minute; the wait is not for a test.
  t.match(await text('/metrics'), /portreeve_objects_state\{kind="EndpointSlice",state="unreadable"\} 1/);
  await collector.close();

  const again = await runCollector({ listen: '127.0.0.1:0', data: join(directory, 'data'), kubeconfig, noAuth: true, logLevel: 'silent' });
  t.teardown(() => again.close());
  const ready = await until(
    async () => (await fetch(`${again.address}/readyz`)).status,
    (status) => status === 200,
  );
  t.equal(ready, 200);
  const answer = await getJson(again.address, 'nodeports');
  t.match(answer, { items: [{ port: 30080, service: 'shop/web:http' }], view: { stale: false, doubts: [/^Pod objects cannot be read/] } });
  api.put({
    ...(items.find(({ kind }) => kind === 'Service') as ApiObject),
    spec: { type: 'NodePort', ports: [{ name: 'http', port: 80, nodePort: 30090 }] },
  } as ApiObject);
  const moved = await until(
    () => getJson(again.address, 'nodeports'),
    ({ items: [first] }) => first?.port === 30090,
  );
  t.equal(moved.items[0].port, 30090, 'a change is seen');
  const changes = await until(
    () => getJson(again.address, 'changes'),
    ({ items: found }) => found.length > 0,
  );
  t.match(changes.items, [{ subject: 'Service shop/web', before: /nodePort 30080/, after: /nodePort 30090/ }]);
  await api.stop();
  const gone = await until(
    () => getJson(again.address, 'nodeports'),
    ({ view }) => view.stale,
  );
  t.match(gone, { items: [{ port: 30090 }], view: { stale: true } });
  t.match(gone.view.doubts.join('\n'), /^(Service|EndpointSlice|Node) objects are \d+ s old: .*ECONN/m);
  t.match(await getJson(again.address, 'explain?node=node1&port=30090'), { text: /What is known of the cluster is \d+ s old/ });
});
