// Manifest files in a directory: read, watched, and forgiven when they are half written.
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { watchFiles } from '../../../collector/kubernetes/files.ts';
import type { ObjectsUpdate } from '../../../collector/kubernetes/source.ts';
import { objectsOf, until, writeObjects } from '../ingest/cluster.ts';

async function watched(t: Test, pollMs?: number): Promise<{ directory: string; updates: ObjectsUpdate[]; next: (count: number) => Promise<ObjectsUpdate> }> {
  const directory = t.testdir();
  await writeObjects(directory, objectsOf());
  const updates: ObjectsUpdate[] = [];
  const source = await watchFiles({ directory, onUpdate: (update) => updates.push(update), debounceMs: 20, pollMs: pollMs ?? 60_000 });
  t.teardown(() => source.close());
  return {
    directory,
    updates,
    next: async (count) =>
      (
        await until(
          async () => updates,
          ({ length }) => length >= count,
        )
      )[count - 1] as ObjectsUpdate,
  };
}

t.test('the first reading is no change, an edit is one, with the file as its actor', async (t) => {
  const { directory, updates, next } = await watched(t);
  t.equal(updates.length, 1);
  t.match(updates[0], { changes: [], issues: [] });
  t.strictSame([...(updates[0] as ObjectsUpdate).objects.services.keys()], ['shop/web']);
  await writeObjects(directory, { 'services.json': objectsOf({ nodePort: 30999 })['services.json'] as object });
  const { changes, objects } = await next(2);
  t.equal(objects.services.get('shop/web')?.ports[0]?.nodePort, 30999);
  t.match(changes, [
    {
      node: '',
      kind: 'service',
      subject: 'Service shop/web',
      before: /nodePort 30080/,
      after: /nodePort 30999/,
      actor: { how: 'file', comm: 'services.json' },
    },
  ]);
  await rm(join(directory, 'services.json'));
  const removed = await next(3);
  t.match(removed.changes, [{ subject: 'Service shop/web', after: null, actor: { how: 'file', comm: 'services.json' } }]);
});

t.test('a field manager that wrote last is the actor', async (t) => {
  const { directory, next } = await watched(t);
  const service = objectsOf({ nodePort: 31000 })['services.json'] as { metadata: object };
  const managedFields = [
    { manager: 'helm', time: '2026-01-01T00:00:00Z' },
    { manager: 'kubectl-edit', time: '2026-01-02T00:00:00Z' },
  ];
  await writeObjects(directory, { 'services.json': { ...service, metadata: { ...service.metadata, managedFields } } });
  t.match((await next(2)).changes, [{ actor: { how: 'api', comm: 'kubectl-edit' } }]);
});

t.test('a half-written file keeps its objects and says where it is broken', async (t) => {
  const { directory, next } = await watched(t);
  const text = JSON.stringify(objectsOf()['services.json'], undefined, 2);
  await writeFile(join(directory, 'services.json'), text.slice(0, -20));
  const broken = await next(2);
  t.ok(broken.objects.services.has('shop/web'), 'the last good Service is kept');
  t.match(broken.issues, [{ where: 'services.json', line: Number, reason: /is not JSON/ }]);
  t.strictSame(broken.changes, []);
  await writeFile(join(directory, 'services.json'), text);
  t.match(await next(3), { issues: [], changes: [] });
});

t.test('YAML of several documents: what is wrong is named, the rest is used', async (t) => {
  const { directory, next } = await watched(t);
  const yaml = [
    'kind: Service',
    'metadata: {name: one}',
    'spec: {type: NodePort, ports: [{port: 80, nodePort: 99999}, {port: 443, nodePort: 30443}]}',
    '---',
    'kind: Service',
    'metadata: {}',
    '---',
    'kind: Deployment',
    'metadata: {name: not-ours}',
  ];
  await writeFile(join(directory, 'more.yaml'), yaml.join('\n'));
  const { objects, issues } = await next(2);
  t.strictSame(
    objects.services.get('default/one')?.ports.map(({ nodePort }) => nodePort),
    [undefined, 30443],
  );
  t.strictSame(issues, [
    { where: 'more.yaml', object: 'Service default/one', reason: 'spec.ports[0].nodePort is 99999, not a port from 1 to 65535', line: 1 },
    { where: 'more.yaml', object: 'Service', reason: 'metadata.name is missing', line: 5 },
  ]);
  await writeFile(join(directory, 'more.yaml'), 'kind: Service\nmetadata: {name: two}\n---\nkind: [\n');
  t.match((await next(3)).issues, [{ where: 'more.yaml', line: 5, reason: /is not YAML/ }]);
});

t.test('a file that is replaced by rename is seen by the poll alone as well', async (t) => {
  const { directory, next } = await watched(t, 50);
  await writeFile(join(directory, '.new'), JSON.stringify(objectsOf({ nodePort: 30111 })['services.json']));
  await rename(join(directory, '.new'), join(directory, 'services.json'));
  t.equal((await next(2)).objects.services.get('shop/web')?.ports[0]?.nodePort, 30111);
});

t.test('a directory that does not exist is an error', async (t) => {
  await t.rejects(watchFiles({ directory: join(t.testdir(), 'none'), onUpdate: () => t.fail('nothing to report') }), { code: 'INPUT_UNREADABLE' });
});

t.test('how fresh the view is, what a reading touches, and a directory that goes away', async (t) => {
  const directory = join(t.testdir(), 'cluster');
  await writeObjects(directory, objectsOf());
  const updates: ObjectsUpdate[] = [];
  const source = await watchFiles({ directory, onUpdate: (update) => updates.push(update), debounceMs: 10, pollMs: 30 });
  t.teardown(() => source.close());
  const view = () => source.view().find(({ kind }) => kind === 'Service');
  t.match(view(), { state: 'watching', objects: 1 });
  t.match(updates[0], { touched: { all: true } });
  const before = updates[0]?.objects;
  const policy = { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata: { namespace: 'shop', name: 'deny' }, spec: { podSelector: {} } };
  await writeObjects(directory, { 'policies.json': policy });
  await until(
    async () => updates.length,
    (count) => count >= 2,
  );
  t.match(updates[1], { changes: [{ kind: 'network-policy', subject: 'NetworkPolicy shop/deny', after: /pods: all/ }], touched: { all: false } });
  t.strictSame([...(updates[1]?.touched.kinds ?? [])], ['NetworkPolicy']);
  t.equal(updates[1]?.objects.services, before?.services, 'what is as before is the same');
  await rename(directory, `${directory}.gone`);
  const failing = await until(
    async () => view(),
    (each) => each?.state === 'failing',
  );
  t.match(failing, { state: 'failing', reason: /cannot be read/, objects: 1 });
  t.match(updates.at(-1)?.issues, [{ reason: /cannot be read/ }]);
  await rename(`${directory}.gone`, directory);
  t.match(
    await until(
      async () => view(),
      (each) => each?.state === 'watching',
    ),
    { state: 'watching', reason: undefined },
  );
});

t.test('what is at odds between files is named at once', async (t) => {
  const { directory, next } = await watched(t);
  const other = JSON.parse(JSON.stringify(objectsOf()['services.json'])) as { metadata: { name: string } };
  other.metadata.name = 'second';
  await writeObjects(directory, { 'other.json': other });
  t.match((await next(2)).issues, [{ object: 'Service shop/second', reason: /asks for NodePort 30080\/tcp, which Service shop\/web has/ }]);
});
