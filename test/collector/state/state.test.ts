// The state as a whole: what it measures, when it looks for causes, and what it tells.
import t, { type Test } from 'tap';
import { graceMinMs, graceSamplesMin } from '../../../collector/compare/grace.ts';
import { expectationsFor } from '../../../collector/expect/index.ts';
import { Inventory } from '../../../collector/kubernetes/inventory.ts';
import { type ClusterObjects, type KeyedObject, objectKey, readObject } from '../../../collector/kubernetes/objects.ts';
import type { Touched } from '../../../collector/kubernetes/source.ts';
import { CollectorState, type LiveEvent } from '../../../collector/state/state.ts';
import type { Fact } from '../../../shared/model/fact.ts';
import { proxyFact, rightFact } from '../compare/facts.ts';
import { node, service, slice } from '../expect/cluster.ts';
import { until } from '../ingest/cluster.ts';

type Raw = ReturnType<typeof service> | ReturnType<typeof slice> | ReturnType<typeof node>;

/** A cluster of one Service on two nodes, a clock that stands still, and agents whose clock is five seconds ahead. */
function small(t: Test, options: { readonly graceMs?: number } = {}) {
  let now = 1_000_000;
  const state = new CollectorState({ debounceMs: 5, now: () => now, ...options });
  t.teardown(() => state.close());
  const inventory = new Inventory();
  const events: LiveEvent[] = [];
  state.subscribe((event) => events.push(event));
  let objects: ClusterObjects = inventory.objects;
  const put = (...raws: readonly Raw[]): Touched => {
    for (const raw of raws) {
      const { object } = readObject(raw.kind, raw, { where: 'test' });
      const keyed = { kind: raw.kind, key: objectKey(object as { name: string }), object } as KeyedObject;
      inventory.put(keyed.kind, keyed.key, keyed.object as never);
    }
    const taken = inventory.take({ at: now, actorOf: () => ({ how: 'unknown' }) });
    objects = taken.objects;
    state.setObjects(objects, taken.touched);
    return taken.touched;
  };
  const backed = (count: number) =>
    slice(
      'web',
      Array.from({ length: count }, (_, index) => ({ address: `10.244.1.${index + 1}`, node: 'node1' })),
      {
        metadata: { name: 'web-1', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'web' } },
      },
    );
  put(node('node1', '192.0.2.1'), node('node2', '192.0.2.2'), service('web'), backed(1));
  for (const name of ['node1', 'node2']) state.connect(name, { session: name, version: '1', bootId: 'b', stream: 's', capabilities: [], clockOffsetMs: 5_000 });
  const facts = (name: string): Fact[] => [proxyFact(), ...expectationsFor(name, objects).map((expectation) => rightFact(expectation))];
  const follow = (name: string, seenAt: number): void => state.changeFacts(name, { put: facts(name).slice(1), delete: [] }, seenAt + 5_000);
  for (const name of ['node1', 'node2']) state.setFacts(name, new Map(facts(name).map((fact) => [fact.key, fact])), now + 5_000);
  return { state, put, backed, follow, facts, events, advance: (ms: number) => (now += ms), now: () => now };
}

t.test('the time from a change of a slice to the rules of each node, by our clock', (t) => {
  const { state, put, backed, follow, advance, now } = small(t);
  t.equal(state.latency.total.count, 0, 'the first reading is no change');
  const changedAt = now();
  put(backed(2));
  t.same(state.latency.waiting('node1'), ['nodeport/tcp/4/30080']);
  advance(3_000);
  follow('node1', changedAt + 700);
  t.match(state.latency.ofNode('node1'), { count: 1 });
  t.equal(state.latency.total.sumMs, 700, 'when the node saw it, not when we heard of it; its clock is ahead');
  t.equal(state.latency.ofNode('node2'), undefined);
  follow('node2', changedAt + 2_600);
  t.equal(state.latency.total.sumMs, 3_300);
  t.match(state.latency.ofService('shop/web'), { count: 2 });
  t.same(state.latency.waiting('node2'), []);
  t.end();
});

t.test('a clock that is wrong cannot make time run backwards, and a node that was faster than the API counts as none', (t) => {
  const { state, put, backed, follow, advance, now } = small(t);
  put(backed(2));
  follow('node1', now() + 60_000);
  t.equal(state.latency.total.sumMs, 0, 'the time to come is not believed');
  follow('node2', now() - 60_000);
  t.equal(state.latency.total.sumMs, 0, 'nor is the past');
  advance(1_000);
  // The rules of node1 know a third endpoint before we do.
  const before = state.latency.total.count;
  const { expectations } = state.node('node1') ?? { expectations: [] };
  const [first] = expectations;
  if (first !== undefined) {
    const endpoints = [...first.endpoints, '10.244.1.3:8080'];
    state.changeFacts('node1', { put: [rightFact({ ...first, endpoints, clusterEndpoints: endpoints })], delete: [] }, now() + 5_000);
  }
  put(backed(3));
  t.equal(state.latency.total.count, before + 1);
  t.equal(state.latency.total.sumMs, 0);
  t.end();
});

t.test('what is not heard of is not measured', (t) => {
  const { state, put, backed, follow, advance, now } = small(t);
  state.disconnect('node2', 'node2');
  put(backed(2));
  t.same(state.latency.waiting('node2'), []);
  put(backed(3));
  advance(500);
  follow('node1', now());
  t.equal(state.latency.total.count, 1, 'a change before the rules had followed begins anew');
  t.end();
});

t.test('the grace period follows from what was measured, unless it is given', (t) => {
  const learned = small(t);
  t.equal(learned.state.graceMs, 30_000);
  const given = small(t, { graceMs: 7 });
  for (const { put, backed, follow, advance, now } of [learned, given]) {
    for (let turn = 0; turn < graceSamplesMin; turn++) {
      put(backed(1 + ((turn + 1) % 2)));
      advance(200);
      for (const name of ['node1', 'node2']) follow(name, now());
    }
  }
  t.equal(learned.state.graceMs, graceMinMs);
  t.equal(given.state.graceMs, 7);
  t.end();
});

t.test('a Service that goes is measured by the rules that go', (t) => {
  const { state, put, advance, now } = small(t);
  put(service('web', { type: 'ClusterIP', ports: [{ name: 'http', port: 80 }] }));
  t.same(state.latency.waiting('node1'), ['nodeport/tcp/4/30080']);
  t.match(state.node('node1')?.drifts, [{ kind: 'unexpected' }]);
  advance(900);
  state.changeFacts('node1', { put: [], delete: ['nodeport/tcp/4/30080'] }, now() + 5_000);
  t.equal(state.latency.total.sumMs, 900);
  t.same(state.node('node1')?.drifts, []);
  t.end();
});

t.test('a difference becomes a finding after the grace period, and ends with it', async (t) => {
  const { put, backed, follow, events, advance, now } = small(t, { graceMs: 0 });
  put(backed(2));
  const opened = await until(
    async () => events.filter(({ kind }) => kind === 'finding-opened'),
    (found) => found.length >= 2,
  );
  t.equal(opened.length, 2, 'the rules of both nodes lack the new endpoint');
  advance(100);
  for (const name of ['node1', 'node2']) follow(name, now());
  const closed = await until(
    async () => events.filter(({ kind }) => kind === 'finding-closed'),
    (found) => found.length >= 2,
  );
  t.equal(closed.length, 2);
});

t.test('nodes that neither the cluster nor an agent knows any more are forgotten', (t) => {
  const state = new CollectorState({ graceMs: 0 });
  t.teardown(() => state.close());
  const inventory = new Inventory();
  const context = { at: 1, actorOf: () => ({ how: 'unknown' as const }) };
  const { object } = readObject('Node', node('node1', '192.0.2.1'), { where: 'test' });
  inventory.put('Node', 'node1', object as never);
  const first = inventory.take(context);
  state.setObjects(first.objects, first.touched);
  t.same(
    state.nodes.map(({ name }) => name),
    ['node1'],
  );
  inventory.delete('Node', 'node1');
  const second = inventory.take(context);
  state.setObjects(second.objects, second.touched);
  t.same(state.nodes, []);
  t.end();
});
