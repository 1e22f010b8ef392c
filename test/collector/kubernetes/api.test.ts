// The list-and-watch loop against a real HTTP server that breaks in the ways that API servers do.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { watchApi } from '../../../collector/kubernetes/api.ts';
import type { ObjectsUpdate } from '../../../collector/kubernetes/source.ts';
import { type ApiObject, ApiServer, errorLine } from '../../support/api-server.ts';
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

interface Given {
  readonly idleMs?: number;
  readonly relistMs?: number;
  readonly settleMs?: number;
  readonly prepare?: (server: ApiServer) => void;
}

async function watched(t: Test, given: Given = {}) {
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
    settleMs: given.settleMs ?? 0,
    ...(given.idleMs === undefined ? {} : { idleMs: given.idleMs }),
    ...(given.relistMs === undefined ? {} : { relistMs: given.relistMs }),
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
  const lists = (path = '/api/v1/services'): number =>
    server.requests.filter((request) => request.startsWith(path) && !request.includes('watch=1') && !request.includes('continue=')).length;
  const viewOf = (kind: string) => source.view().find((each) => each.kind === kind);
  return { server, source, updates, last, reaches, watches, lists, viewOf, changes: () => updates.flatMap(({ changes }) => changes) };
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

t.test('an update names what it touches, and keeps everything else as it was', async (t) => {
  const slice = (name: string, service: string): ApiObject =>
    ({
      kind: 'EndpointSlice',
      metadata: { namespace: 'shop', name, labels: { 'kubernetes.io/service-name': service } },
      addressType: 'IPv4',
      endpoints: [{ addresses: ['10.244.1.5'] }],
    }) as ApiObject;
  const { server, updates, last, reaches } = await watched(t, { prepare: (server) => server.put(slice('web-1', 'web')) });
  const before = last()?.objects;
  t.strictSame(
    before?.slicesByService.get('shop/web')?.map(({ name }) => name),
    ['web-1'],
  );
  server.put(slice('web-2', 'web'));
  await until(
    async () => last()?.objects.slicesByService.get('shop/web')?.length,
    (length) => length === 2,
  );
  t.strictSame([...(last()?.touched.services ?? [])], ['shop/web']);
  t.equal(last()?.objects.services, before?.services, 'the map of Services is the one of before');
  t.equal(last()?.objects.endpointSlices.get('shop/web-1'), before?.endpointSlices.get('shop/web-1'));
  server.remove(slice('web-1', 'web'));
  server.put(service('api', 30081));
  await reaches('api:30081 web:30080');
  t.strictSame(
    last()
      ?.objects.slicesByService.get('shop/web')
      ?.map(({ name }) => name),
    ['web-2'],
  );
  const count = updates.length;
  server.put({ ...slice('web-2', 'web'), metadata: { ...slice('web-2', 'web').metadata, annotations: { seen: 'now' } } } as ApiObject);
  server.bookmark();
  await new Promise((resolve) => setTimeout(resolve, 60));
  t.equal(updates.length, count, 'an event that changes nothing we keep is not told');
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

t.test('Retry-After may be a date', async (t) => {
  const started = Date.now();
  const later = new Date(started + 2_000).toUTCString();
  await watched(t, {
    prepare: (server) => {
      for (let index = 0; index < 7; index++) server.refuseNext(429, { 'retry-after': later });
    },
  });
  t.ok(Date.now() - started >= 900, 'a date has whole seconds');
});

t.test('garbage in a watch: it is begun again, and nothing is lost', async (t) => {
  for (const text of ['<html>bad gateway</html>\n', '{"type":"MODIFIED"}\n', '{"type":"EXPLODED","object":{}}\n', '\u0000\n']) {
    const { server, reaches, viewOf } = await watched(t);
    server.sendGarbage(text);
    server.put(service('api', 30081));
    await reaches('api:30081 web:30080');
    t.equal(viewOf('Service')?.state, 'watching', JSON.stringify(text));
  }
});

t.test('a watch that fails at once every time is not trusted with its version for ever', async (t) => {
  const { server, reaches, lists } = await watched(t);
  server.beginWatchesWith(errorLine(504, 'Too large resource version: 900, current: 100'));
  server.changeUntold(() => server.put(service('api', 30081)));
  server.reset();
  await reaches('api:30081 web:30080');
  t.ok(lists() >= 2);
  server.beginWatchesWith(undefined);
  server.put(service('cart', 30082));
  await reaches('api:30081 cart:30082 web:30080');
});

t.test('a change that the watch keeps to itself is found by the list that checks it, a deletion too', async (t) => {
  const { server, reaches, viewOf } = await watched(t, { relistMs: 100, idleMs: 100, prepare: (server) => server.put(service('api', 30081)) });
  await reaches('api:30081 web:30080');
  server.changeUntold(() => {
    server.remove(service('api', 30081));
    server.put(service('web', 30999));
  });
  // Another event of the kind comes after them: the watch knows a later version, and still not what was lost.
  server.put(service('cart', 30082));
  await reaches('cart:30082 web:30999');
  const view = await until(
    async () => viewOf('Service'),
    (each) => (each?.missed ?? 0) > 0,
  );
  t.ok((view?.missed ?? 0) > 0, 'what the watch missed is counted');
});

t.test('an API that was restored from a backup counts from lower versions again: everything is read anew', async (t) => {
  const { server, reaches } = await watched(t, { prepare: (server) => server.put(service('api', 30081)) });
  await reaches('api:30081 web:30080');
  server.put(service('cart', 30082));
  await reaches('api:30081 cart:30082 web:30080');
  server.restore(20, () => server.remove(service('cart', 30082)));
  server.bookmark();
  server.bookmark();
  await reaches('api:30081 web:30080');
  server.put(service('new', 30083));
  await reaches('api:30081 new:30083 web:30080');
});

t.test('a continuation that has expired, and pages that break off', async (t) => {
  const { updates, lists } = await watched(t, {
    prepare: (server) => {
      for (let index = 0; index < 700; index++) server.put(service(`s${index}`, 30_100 + index));
      server.expireContinues(1);
      server.cutPages(2);
    },
  });
  t.equal(updates.at(-1)?.objects.services.size, 701);
  t.ok(lists() >= 2, 'the list was begun again, without pages');
});

t.test('a slow server whose answers come in small pieces', async (t) => {
  const { server, last } = await watched(t, {
    prepare: (server) => {
      for (let index = 0; index < 20; index++) server.put(service(`späti-${index}`, 30_100 + index));
      server.slow(20);
    },
  });
  t.equal(last()?.objects.services.size, 21);
  t.ok(last()?.objects.services.has('shop/späti-7'), 'a character that is cut between two pieces is whole again');
  server.slow(0);
});

t.test('a kind that may not be read is named, and left out alone', async (t) => {
  const { server, last, viewOf, reaches } = await watched(t, {
    prepare: (server) => {
      server.forbid('Pod');
      server.withhold('NetworkPolicy');
    },
  });
  t.match(last(), {
    issues: [
      { object: 'Pod', reason: /403 .*Pod is forbidden: User "portreeve" cannot list resource.*left out/ },
      { object: 'NetworkPolicy', reason: /404/ },
    ],
  });
  t.strictSame([...(last()?.objects.unread.keys() ?? [])].sort(), ['NetworkPolicy', 'Pod']);
  t.match(viewOf('Pod'), { state: 'unreadable', confirmedAt: 0 });
  t.match(viewOf('Service'), { state: 'watching' });
  server.put(service('api', 30081));
  await reaches('api:30081 web:30080');
  server.put({ kind: 'Pod', metadata: { namespace: 'shop', name: 'web-1' } });
  server.allow('Pod');
  const pods = await until(
    async () => last()?.objects.pods.size,
    (size) => size === 1,
  );
  t.equal(pods, 1, 'a role that is granted later is used');
  t.strictSame([...(last()?.objects.unread.keys() ?? [])], ['NetworkPolicy']);
  t.equal(last()?.touched.all, true, 'everything is judged anew');
});

t.test('a kind that may be listed and not watched is listed now and then', async (t) => {
  const { server, last, viewOf } = await watched(t, { prepare: (server) => server.forbid('Node', 'watch') });
  t.match(viewOf('Node'), { state: 'polling' });
  server.put({ kind: 'Node', metadata: { name: 'node1' } });
  const nodes = await until(
    async () => [...(last()?.objects.nodes.keys() ?? [])],
    (names) => names.length > 0,
  );
  t.strictSame(nodes, ['node1']);
  t.match(last()?.issues, [{ object: 'Node', reason: /cannot watch resource.*changes are seen late/ }]);
});

t.test('how fresh the view is', async (t) => {
  const { server, viewOf } = await watched(t);
  const first = viewOf('Service')?.confirmedAt ?? 0;
  t.ok(Date.now() - first < 5_000);
  await new Promise((resolve) => setTimeout(resolve, 30));
  server.bookmark();
  const later = await until(
    async () => viewOf('Service')?.confirmedAt ?? 0,
    (at) => at > first,
  );
  t.ok(later > first, 'a bookmark confirms the view');
  await server.stop();
  const failing = await until(
    async () => viewOf('Service'),
    (each) => each?.state === 'failing',
  );
  t.match(failing, { state: 'failing', reason: /ECONNREFUSED|socket hang up|ECONNRESET/ });
});

t.test('things between objects that stay at odds are named', async (t) => {
  const { last } = await watched(t, {
    prepare: (server) => {
      server.put(service('other', 30080));
      server.put({ kind: 'EndpointSlice', metadata: { namespace: 'shop', name: 'gone-1', labels: { 'kubernetes.io/service-name': 'gone' } } } as ApiObject);
    },
  });
  const issues = await until(
    async () => last()?.issues,
    (each) => (each?.length ?? 0) >= 2,
  );
  t.match(issues, [
    { object: 'EndpointSlice shop/gone-1', reason: /belongs to Service shop\/gone, which does not exist/ },
    { object: 'Service shop/other', reason: /asks for NodePort 30080\/tcp, which Service shop\/web has/ },
  ]);
});

t.test("kube-proxy's configuration and the warnings are asked for, other ConfigMaps and good news are not", async (t) => {
  const { last } = await watched(t, {
    prepare: (server) => {
      const config = 'kind: KubeProxyConfiguration\nmode: ipvs\nclusterCIDR: 10.244.0.0/16\nnodePortAddresses: [192.0.2.0/24]\n';
      server.put({ kind: 'ConfigMap', metadata: { namespace: 'kube-system', name: 'kube-proxy' }, data: { 'config.conf': config } } as ApiObject);
      server.put({ kind: 'ConfigMap', metadata: { namespace: 'kube-system', name: 'other' } });
      const involvedObject = { kind: 'Pod', namespace: 'shop', name: 'web-1' };
      server.put({ kind: 'Event', metadata: { namespace: 'shop', name: 'web-1.1' }, type: 'Warning', reason: 'BackOff', involvedObject } as ApiObject);
      server.put({ kind: 'Event', metadata: { namespace: 'shop', name: 'web-1.2' }, type: 'Normal', reason: 'Pulled', involvedObject } as ApiObject);
    },
  });
  t.match(
    [...(last()?.objects.configMaps.values() ?? [])],
    [{ name: 'kube-proxy', proxy: { mode: 'ipvs', clusterCIDR: '10.244.0.0/16', nodePortAddresses: ['192.0.2.0/24'] } }],
  );
  t.match([...(last()?.objects.events.values() ?? [])], [{ reason: 'BackOff', object: { name: 'web-1' } }]);
  t.equal(last()?.objects.events.size, 1);
});
