// What is put in and taken out, and that each state tells exactly what changed.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { objectChanges } from '../../../collector/kubernetes/changes.ts';
import { Inventory } from '../../../collector/kubernetes/inventory.ts';
import { LayeredMap } from '../../../collector/kubernetes/layered.ts';
import { type ClusterEvent, type ClusterObjects, clusterObjects, type KeyedObject, objectKey, readObject } from '../../../collector/kubernetes/objects.ts';
import { sharing } from '../../../collector/kubernetes/share.ts';
import { limits } from '../../../shared/limits.ts';
import { pod, service, slice } from '../expect/cluster.ts';

const context = { at: 1, actorOf: () => ({ how: 'unknown' as const }) };

t.test('a layered map is a map, and none of its versions changes', (t) => {
  const step = fc.dictionary(fc.constantFrom(...'abcdefghij'), fc.option(fc.integer(), { nil: undefined }), { maxKeys: 4 });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      let layered = new LayeredMap<number>();
      const plain = new Map<string, number>();
      const versions: [LayeredMap<number>, Map<string, number>][] = [];
      for (const changes of steps) {
        layered = layered.with(new Map(Object.entries(changes)));
        for (const [key, value] of Object.entries(changes)) value === undefined ? plain.delete(key) : plain.set(key, value);
        versions.push([layered, new Map(plain)]);
      }
      for (const [found, expected] of versions) {
        assert.deepEqual(new Map([...found].sort()), new Map([...expected].sort()));
        assert.equal(found.size, expected.size);
        assert.equal(found.has('a'), expected.has('a'));
        assert.equal(found.get('b'), expected.get('b'));
      }
    }),
    { numRuns: 60 },
  );
  let large = new LayeredMap(new Map(Array.from({ length: 10_000 }, (_, index) => [`k${index}`, index])));
  for (let index = 0; index < 2_000; index++) large = large.with(new Map([[`k${index * 3}`, index % 2 === 0 ? undefined : -1]]));
  t.equal(large.size, 10_000 - 1_000);
  t.equal([...large.keys()].length, large.size);
  t.end();
});

const names = ['a', 'b', 'c'];
const raw = fc.oneof(
  fc
    .record({ name: fc.constantFrom(...names), port: fc.integer({ min: 30_000, max: 30_003 }) })
    .map(({ name, port }) => service(name, { ports: [{ port: 80, nodePort: port }] })),
  fc
    .record({ name: fc.constantFrom(...names), of: fc.constantFrom(...names), ready: fc.boolean() })
    .map(({ name, of, ready }) =>
      slice(of, [{ address: '10.0.0.1', ready }], { metadata: { namespace: 'shop', name, labels: { 'kubernetes.io/service-name': of } } }),
    ),
  fc.record({ name: fc.constantFrom(...names), ready: fc.boolean() }).map(({ name, ready }) => pod(name, { app: name }, { ready })),
);
const action = fc.record({ raw, what: fc.constantFrom('put', 'put', 'delete', 'take') });

const read = (value: { readonly kind: 'Service' | 'EndpointSlice' | 'Pod' }): KeyedObject => {
  const { object } = readObject(value.kind, value, { where: 'test' });
  return { kind: value.kind, key: objectKey(object as { name: string }), object } as KeyedObject;
};

// Slices of a Service come in any order.
const sorted = (map: ReadonlyMap<string, unknown>): unknown =>
  [...map]
    .map(([key, value]) => [key, Array.isArray(value) ? [...value].sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)) : value])
    .sort(([a], [b]) => ((a as string) < (b as string) ? -1 : 1));

t.test('every state holds what was put last, its changes are those of the whole, and it names the Services concerned', (t) => {
  fc.assert(
    fc.property(fc.array(action, { maxLength: 40 }), (actions) => {
      const inventory = new Inventory();
      const all = new Map<string, KeyedObject>();
      let before: ClusterObjects = inventory.take(context).objects;
      for (const { raw, what } of actions) {
        const keyed = read(raw);
        if (what === 'put') {
          all.set(`${keyed.kind} ${keyed.key}`, keyed);
          inventory.put(keyed.kind, keyed.key, keyed.object);
        } else if (what === 'delete') {
          all.delete(`${keyed.kind} ${keyed.key}`);
          inventory.delete(keyed.kind, keyed.key);
        } else before = check(inventory, before, all);
      }
      check(inventory, before, all);
    }),
    { numRuns: 150 },
  );
  t.end();

  function check(inventory: Inventory, before: ClusterObjects, all: ReadonlyMap<string, KeyedObject>): ClusterObjects {
    const { objects, changes, touched } = inventory.take(context);
    const expected = clusterObjects([...all.values()], 1);
    for (const name of ['services', 'endpointSlices', 'pods', 'slicesByService'] as const)
      assert.deepEqual(sorted(objects[name] as ReadonlyMap<string, unknown>), sorted(expected[name] as ReadonlyMap<string, unknown>));
    const subjects = (found: readonly { readonly subject: string }[]): string[] => found.map(({ subject }) => subject).sort();
    assert.deepEqual(subjects(changes), subjects(objectChanges(before, objects, context)));
    const services = changes.flatMap(({ subject }) => (subject.startsWith('Service ') ? [subject.slice('Service '.length)] : []));
    assert.ok(services.every((name) => touched.services.has(name)));
    if (changes.length === 0) assert.equal(objects, before, 'nothing has changed, so it is the same state');
    return objects;
  }
});

t.test('an object that is put again as it was keeps its identity', (t) => {
  const inventory = new Inventory();
  const first = read(service('web'));
  inventory.put('Service', first.key, first.object as never);
  const { objects } = inventory.take(context);
  const again = read(service('web'));
  t.not(again.object, first.object);
  t.equal(inventory.put('Service', again.key, again.object as never), false);
  t.equal(inventory.take(context).objects, objects);
  t.end();
});

t.test('what a list does not name is gone', (t) => {
  const inventory = new Inventory();
  for (const name of ['a', 'b', 'c']) {
    const { key, object } = read(pod(name, {}));
    inventory.put('Pod', key, object as never);
    if (name === 'b') inventory.take(context);
  }
  t.equal(inventory.keepOnly('Pod', new Set(['shop/b'])), 1);
  t.strictSame([...inventory.take(context).objects.pods.keys()], ['shop/b']);
  t.equal(inventory.count('Pod'), 1);
  t.end();
});

t.test('events are bounded: the newest stay', (t) => {
  const inventory = new Inventory();
  const event = (index: number): ClusterEvent => ({
    namespace: 'shop',
    name: `e${index}`,
    type: 'Warning',
    reason: 'BackOff',
    message: '',
    object: { kind: 'Pod', namespace: 'shop', name: 'web' },
    count: 1,
    firstAt: index,
    lastAt: index,
  });
  const most = limits.clusterEventsMax;
  for (let index = 0; index < most; index++) inventory.put('Event', `shop/e${index}`, event(index));
  t.equal(inventory.take(context).objects.events.size, most, 'as many as the limit');
  inventory.put('Event', `shop/e${most}`, event(most));
  const { events } = inventory.take(context).objects;
  t.ok(events.size <= most, 'one more, and the oldest go');
  t.ok(events.has(`shop/e${most}`));
  t.notOk(events.has('shop/e0'));
  for (let index = 0; index < 4 * most; index++) inventory.put('Event', `shop/f${index}`, event(most + index));
  t.ok(inventory.take(context).objects.events.size <= most);
  t.end();
});

t.test('equal values are held once, a text is never taken for the JSON of a list', (t) => {
  const share = sharing();
  const labels = { app: 'web' };
  t.equal(share(labels), labels);
  t.equal(share({ app: 'web' }), labels);
  t.not(share({ app: 'api' }), labels);
  t.equal(share('["a"]'), '["a"]');
  t.strictSame(share(['a']), ['a']);
  t.equal(share(undefined), undefined);
  t.end();
});
