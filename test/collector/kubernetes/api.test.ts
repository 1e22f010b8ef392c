// The list-and-watch loop against a real HTTP server that breaks in the ways that API servers do.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { watchApi } from '../../../collector/kubernetes/api.ts';
import type { ObjectsUpdate } from '../../../collector/kubernetes/source.ts';
import { type ApiObject, ApiServer } from '../../support/api-server.ts';
import { until } from '../ingest/cluster.ts';

const service = (name: string, nodePort: number, given: object = {}): ApiObject =>
  ({
    kind: 'Service',
    metadata: { namespace: 'shop', name, ...given },
    spec: { type: 'NodePort', ports: [{ port: 80, nodePort }] },
  }) as ApiObject;

// The client sends a token over plain HTTP only where TLS is not verified either.
const kubeconfig = (server: string): string =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'test',
    clusters: [{ name: 'c', cluster: { server, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'u', user: { token: 'secret' } }],
    contexts: [{ name: 'test', context: { cluster: 'c', user: 'u' } }],
  });

async function watched(t: Test, given: { idleMs?: number; prepare?: (server: ApiServer) => void } = {}) {
  const server = new ApiServer();
  server.put(service('web', 30080));
  given.prepare?.(server);
  const file = join(t.testdir(), 'kubeconfig');
  await writeFile(file, kubeconfig(await server.start()));
  const updates: ObjectsUpdate[] = [];
  const source = await watchApi({
    kubeconfig: file,
    onUpdate: (update) => updates.push(update),
    debounceMs: 10,
    pauseMaxMs: 50,
    ...(given.idleMs === undefined ? {} : { idleMs: given.idleMs }),
  });
  t.teardown(async () => {
    await source.close();
    await server.stop();
  });
  const last = (): ObjectsUpdate | undefined => updates.at(-1);
  const ports = (): string =>
    [...(last()?.objects.services.values() ?? [])]
      .map(({ name, ports: [port] }) => `${name}:${port?.nodePort ?? ''}`)
      .sort()
      .join(' ');
  const reaches = async (expected: string): Promise<void> =>
    void t.equal(
      await until(
        async () => ports(),
        (found) => found === expected,
      ),
      expected,
    );
  const watches = (): number => server.requests.filter((request) => request.includes('watch=1')).length;
  await until(
    async () => ports(),
    (found) => found.includes('web:30080'),
  );
  await until(
    async () => watches(),
    (count) => count >= 4,
  );
  return { server, updates, reaches, watches, changes: () => updates.flatMap(({ changes }) => changes) };
}

t.test('objects that come, change and go', async (t) => {
  const { server, reaches, changes } = await watched(t);
  server.put(service('api', 30081));
  await reaches('api:30081 web:30080');
  server.put(service('web', 30999, { managedFields: [{ manager: 'helm', time: '2026-01-01T00:00:00Z' }] }));
  await reaches('api:30081 web:30999');
  server.remove(service('api', 30081));
  await reaches('web:30999');
  t.match(changes(), [
    { subject: 'Service shop/api', before: null, after: /nodePort 30081/ },
    { subject: 'Service shop/web', before: /nodePort 30080/, after: /nodePort 30999/, actor: { how: 'api', comm: 'helm' } },
    { subject: 'Service shop/api', after: null },
  ]);
});

t.test('410 in the stream: a new list shows what was missed, deletions too', async (t) => {
  const { server, reaches, changes } = await watched(t);
  server.put(service('api', 30081));
  await reaches('api:30081 web:30080');
  server.changeUnseen(() => {
    server.remove(service('web', 30080));
    server.put(service('cart', 30084));
  });
  await reaches('api:30081 cart:30084');
  t.match(
    changes()
      .slice(1)
      .map(({ subject, after }) => [subject, after === null])
      .sort(),
    [
      ['Service shop/cart', false],
      ['Service shop/web', true],
    ],
  );
});

for (const { name, fault } of [
  { name: 'half a line', fault: (server: ApiServer) => server.sendHalfALine() },
  { name: 'a reset', fault: (server: ApiServer) => server.reset() },
]) {
  t.test(`${name}: the watch goes on behind the last event`, async (t) => {
    const { server, reaches, changes, watches } = await watched(t);
    const before = watches();
    fault(server);
    server.put(service('api', 30081));
    await reaches('api:30081 web:30080');
    t.ok(watches() > before);
    t.equal(changes().length, 1, 'nothing is told twice');
    t.equal(server.requests.filter((request) => request.startsWith('/api/v1/services') && !request.includes('watch')).length, 1, 'no new list was needed');
  });
}

t.test('a watch that hangs is given up', async (t) => {
  const { server, reaches } = await watched(t, { idleMs: 200 });
  server.hang();
  server.put(service('api', 30081));
  await reaches('api:30081 web:30080');
});

t.test('bookmarks move the version on, so that a compaction costs no new list', async (t) => {
  const { server, reaches } = await watched(t);
  server.put({ kind: 'Pod', metadata: { namespace: 'shop', name: 'web-1' } });
  server.bookmark();
  await new Promise((resolve) => setTimeout(resolve, 50));
  server.reset();
  server.put(service('api', 30081));
  await reaches('api:30081 web:30080');
  const resumed = server.requests.filter((request) => request.startsWith('/api/v1/services?watch')).at(-1);
  t.match(resumed, /resourceVersion=10[23]&/);
});

t.test('lists come in pages', async (t) => {
  const { server, updates } = await watched(t, {
    prepare: (server) => {
      for (let index = 0; index < 1_100; index++) server.put(service(`s${index}`, 30_100 + index));
    },
  });
  t.equal(updates.at(-1)?.objects.services.size, 1_101);
  t.equal(server.requests.filter((request) => request.startsWith('/api/v1/services?limit=500')).length, 3);
});

t.test('an API that refuses is asked again, and that is said meanwhile', async (t) => {
  const { server, updates, reaches } = await watched(t, {
    prepare: (server) => {
      for (const status of [429, 503, 403, 429]) server.refuseNext(status, { 'retry-after': '0' });
    },
  });
  t.match(updates[0], { objects: { readAt: 0 }, issues: [{ reason: /the API answered \d+/ }] });
  await reaches('web:30080');
  const quiet = await until(
    async () => updates.at(-1)?.issues,
    (issues) => issues?.length === 0,
  );
  t.strictSame(quiet, []);
  t.ok(server.requests.length >= 8);
});

t.test('Retry-After is kept', async (t) => {
  const started = Date.now();
  await watched(t, {
    prepare: (server) => {
      for (const _ of [1, 2, 3, 4]) server.refuseNext(429, { 'retry-after': '1' });
    },
  });
  t.ok(Date.now() - started >= 1_000);
});

t.test('a kubeconfig that names no cluster is an error', async (t) => {
  const file = join(t.testdir({ kubeconfig: '{"apiVersion":"v1","kind":"Config"}' }), 'kubeconfig');
  await t.rejects(watchApi({ kubeconfig: file, onUpdate: () => t.fail('nothing to report') }), { code: 'INPUT_INVALID' });
  await t.rejects(watchApi({ kubeconfig: `${file}.none`, onUpdate: () => t.fail('nothing to report') }), { code: 'INPUT_INVALID' });
});
