// What the board keeps up with changes is what a comparison from nothing would give, whatever came in which order.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { compareNode, type Drift } from '../../../collector/compare/index.ts';
import { expectationsFor } from '../../../collector/expect/index.ts';
import { proxyConfigurationOf } from '../../../collector/expect/proxy.ts';
import { Inventory } from '../../../collector/kubernetes/inventory.ts';
import { type KeyedObject, objectKey, readObject } from '../../../collector/kubernetes/objects.ts';
import { Board } from '../../../collector/state/board.ts';
import { everything } from '../../../collector/state/state.ts';
import type { Expectation } from '../../../shared/model/expectation.ts';
import type { Fact, NodePortFact, ProxyFact } from '../../../shared/model/fact.ts';
import { proxyFact, rightFact, rule } from '../compare/facts.ts';
import { node, service, type service as serviceOf, slice } from '../expect/cluster.ts';

const nodeNames = ['node1', 'node2', 'node3'];
const serviceNames = ['a', 'b', 'c'];
type Raw = ReturnType<typeof serviceOf> | ReturnType<typeof slice> | ReturnType<typeof node>;

const endpoint = fc.record({
  address: fc.integer({ min: 1, max: 4 }).map((host) => `10.244.1.${host}`),
  node: fc.constantFrom(...nodeNames),
  ready: fc.boolean(),
  serving: fc.boolean(),
  terminating: fc.boolean(),
  zones: fc.constantFrom<string[]>([] as string[], ['x'], ['y'], ['x', 'y']),
});

const rawService = fc
  .record({
    name: fc.constantFrom(...serviceNames),
    port: fc.constantFrom(30_001, 30_002, 30_003),
    policy: fc.constantFrom('Cluster', 'Local'),
    external: fc.constantFrom([], ['192.0.2.2']),
    families: fc.constantFrom(['IPv4'], ['IPv4', 'IPv6']),
    second: fc.constantFrom(undefined, 30_001, 30_009),
    hidden: fc.boolean(),
  })
  .map(({ name, port, policy, external, families, second, hidden }) => {
    const first = { name: 'http', port: external.length > 0 ? 30_002 : 80, nodePort: port };
    const ports = second === undefined ? [first] : [first, { name: 'dns', port: 53, protocol: 'UDP', nodePort: second }];
    const metadata = hidden ? { labels: { 'service.kubernetes.io/service-proxy-name': 'other' } } : {};
    return service(name, { externalTrafficPolicy: policy, externalIPs: external, ipFamilies: families, ports }, metadata);
  });
const rawSlice = fc
  .record({ of: fc.constantFrom(...serviceNames), number: fc.integer({ min: 0, max: 1 }), endpoints: fc.array(endpoint, { maxLength: 3 }) })
  .map(({ of, number, endpoints }) =>
    slice(
      of,
      endpoints.map(({ zones, ...rest }) => ({ ...rest, ...(zones.length === 0 ? {} : { zones }) })),
      { metadata: { name: `${of}-${number}`, namespace: 'shop', labels: { 'kubernetes.io/service-name': of } } },
    ),
  );
const rawNode = fc
  .record({ index: fc.integer({ min: 0, max: 2 }), zone: fc.constantFrom('x', 'y', undefined), six: fc.boolean() })
  .map(({ index, zone, six }) =>
    node(nodeNames[index] as string, `192.0.2.${index + 1}`, {
      ...(zone === undefined ? {} : { zone }),
      ...(six ? { address6: `2001:db8::${index + 1}` } : {}),
    }),
  );

type Step =
  | { readonly kind: 'put' | 'delete'; readonly raw: Raw }
  | { readonly kind: 'objects' }
  | { readonly kind: 'right' | 'wrong' | 'gone'; readonly node: string; readonly pick: number }
  | { readonly kind: 'mode'; readonly node: string; readonly mode: ProxyFact['mode'] };
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constantFrom('put' as const, 'put' as const, 'delete' as const), raw: fc.oneof(rawService, rawSlice, rawNode) }),
  },
  { weight: 3, arbitrary: fc.constant({ kind: 'objects' as const }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constantFrom('right' as const, 'wrong' as const, 'gone' as const), node: fc.constantFrom(...nodeNames), pick: fc.nat(20) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('mode' as const),
      node: fc.constantFrom(...nodeNames),
      mode: fc.constantFrom('iptables' as const, 'ipvs' as const),
    }),
  },
);

const keyed = (raw: Raw): KeyedObject => {
  const { object } = readObject(raw.kind, raw, { where: 'test' });
  return { kind: raw.kind, key: objectKey(object as { name: string }), object } as KeyedObject;
};

/** One board with what feeds it, and the facts of each node by themselves. */
class World {
  readonly board = new Board();
  readonly inventory = new Inventory();
  readonly facts = new Map<string, Map<string, Fact>>();
  objects = this.inventory.objects;

  constructor() {
    for (const name of nodeNames) this.board.addNode(name);
    this.take();
  }

  take(): void {
    const { objects, touched } = this.inventory.take({ at: 1, actorOf: () => ({ how: 'unknown' }) });
    this.objects = objects;
    this.board.setObjects(objects, touched);
  }

  put(name: string, facts: readonly Fact[], gone: readonly string[] = []): void {
    const known = this.facts.get(name);
    // The first word of a node is about everything.
    if (known === undefined) this.board.setFacts(name, { put: facts, delete: [] }, 'all');
    else this.board.setFacts(name, { put: facts, delete: gone }, 'changes');
    const after = known ?? new Map<string, Fact>();
    for (const key of gone) after.delete(key);
    for (const fact of facts) after.set(fact.key, fact);
    this.facts.set(name, after);
  }

  expectations(name: string): readonly Expectation[] {
    const proxy = this.facts.get(name)?.get('proxy/kube-proxy');
    return expectationsFor(name, this.objects, proxyConfigurationOf(name, this.objects, proxy?.kind === 'proxy' ? proxy : undefined));
  }

  do(step: Step): void {
    if ('raw' in step) {
      const { kind, key, object } = keyed(step.raw);
      if (step.kind === 'put') this.inventory.put(kind, key, object);
      else this.inventory.delete(kind, key);
    } else if (step.kind === 'objects') this.take();
    else if ('mode' in step) this.put(step.node, [proxyFact({ mode: step.mode })]);
    else if ('pick' in step) this.say(step);
  }

  say({ kind, node, pick }: { readonly kind: 'right' | 'wrong' | 'gone'; readonly node: string; readonly pick: number }): void {
    const expectations = this.expectations(node);
    const expectation = expectations[pick % Math.max(1, expectations.length)];
    if (expectation === undefined) return this.put(node, [proxyFact()]);
    const fact = { ...rightFact(expectation), address: `192.0.2.${nodeNames.indexOf(node) + 1}` };
    if (kind === 'gone') this.put(node, [], [fact.key]);
    else this.put(node, [kind === 'right' ? fact : spoiled(fact)]);
  }

  check(): void {
    for (const name of nodeNames) {
      const expectations = this.expectations(name);
      assert.deepEqual(sorted(this.board.expectations(name)), sorted(expectations), `what is expected of ${name}`);
      const facts = this.facts.get(name);
      if (facts === undefined) {
        assert.equal(this.board.drifts(name).length, expectations.length, 'nothing is known of a node that has not spoken');
        continue;
      }
      assert.deepEqual([...this.board.facts(name).keys()].sort(), [...facts.keys()].sort());
      for (const [key, fact] of facts) assert.deepEqual(placeless(this.board.facts(name).get(key)), placeless(fact));
      const drifts = compareNode({ node: name, facts, expectations, objects: this.objects });
      assert.deepEqual(texts(this.board.drifts(name)), texts(drifts), `drifts of ${name}`);
    }
  }
}

const spoiled = (fact: NodePortFact): NodePortFact => ({
  ...fact,
  outcomes: { ...fact.outcomes, external: [{ verdict: 'drop', dnat: null, masquerade: false, weight: 1, decidedBy: rule('FORWARD', '-j DROP') }] },
});
function sorted(expectations: readonly Expectation[]): readonly string[] {
  return expectations
    .map((expectation) => JSON.stringify(expectation, Object.keys(expectation).sort().concat('protocol', 'family', 'port', 'namespace', 'name')))
    .sort();
}
function texts(drifts: readonly Drift[]): readonly string[] {
  return drifts
    .map(({ kind, key, node, extra, missing, affected, fact }) => JSON.stringify([kind, key, node, extra, missing, affected.length, fact?.address]))
    .sort();
}
// Where kube-proxy's own rules stand is not kept.
function placeless(fact: unknown): unknown {
  return JSON.parse(JSON.stringify(fact, (key, value: unknown) => (key === 'line' || key === 'rule' ? undefined : value)));
}

t.test('any changes of objects and any words of nodes, in any order', (t) => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 5, maxLength: 60 }), (steps) => {
      const world = new World();
      for (const each of steps) {
        world.do(each);
        if (each.kind === 'objects') world.check();
      }
      world.take();
      world.check();
    }),
    { numRuns: 120 },
  );
  t.end();
});

t.test('a change names the nodes that differ then, and the NodePorts of which something else is expected', (t) => {
  const world = new World();
  for (const [index, name] of nodeNames.entries()) world.do({ kind: 'put', raw: node(name, `192.0.2.${index + 1}`) });
  world.do({ kind: 'put', raw: service('a') });
  world.do({ kind: 'put', raw: service('b', { externalTrafficPolicy: 'Local', ports: [{ name: 'http', port: 80, nodePort: 30_081 }] }) });
  const backed = (name: string, nodes: readonly string[]) =>
    slice(
      name,
      nodes.map((each, index) => ({ address: `10.244.1.${index + 1}`, node: each })),
      {
        metadata: { name: `${name}-1`, namespace: 'shop', labels: { 'kubernetes.io/service-name': name } },
      },
    );
  world.do({ kind: 'put', raw: backed('a', ['node1']) });
  world.do({ kind: 'put', raw: backed('b', ['node1']) });
  world.take();
  for (const name of nodeNames) world.put(name, [proxyFact(), ...world.expectations(name).map((expectation) => rightFact(expectation))]);
  world.check();
  t.same(
    nodeNames.map((name) => world.board.drifts(name).length),
    [0, 0, 0],
  );

  const update = (raw: Raw) => {
    const { kind, key, object } = keyed(raw);
    world.inventory.put(kind, key, object);
    const { objects, touched } = world.inventory.take({ at: 2, actorOf: () => ({ how: 'unknown' }) });
    world.objects = objects;
    return world.board.setObjects(objects, touched);
  };
  const everywhere = update(backed('a', ['node1', 'node2']));
  t.same([...everywhere.nodes].sort(), nodeNames, 'an endpoint of a Cluster Service concerns every node');
  t.same(
    [...(everywhere.expected ?? [])].map(([name, keys]) => [name, ...keys]).sort(),
    nodeNames.map((name) => [name, 'nodeport/tcp/4/30080']),
  );
  const local = update(backed('b', ['node1', 'node3']));
  t.same([...(local.expected?.keys() ?? [])].sort(), ['node3'].concat(['node1', 'node2'].filter((name) => local.expected?.has(name))).sort());
  t.ok(local.nodes.has('node3') && !world.board.isProgrammed('node3', 'nodeport/tcp/4/30081'), 'a new local endpoint makes node3 one that must forward');
  const same = update({ ...backed('b', ['node1', 'node3']), managedFields: [] } as Raw);
  t.equal(same.nodes.size + (same.expected?.size ?? 0), 0, 'what changes nothing concerns nobody');
  world.check();
  t.end();
});

t.test('what nodes have in common is held once', (t) => {
  const world = new World();
  world.do({ kind: 'put', raw: service('a') });
  world.do({
    kind: 'put',
    raw: slice('a', [
      { address: '10.244.1.1', node: 'node9' },
      { address: '10.244.1.2', node: 'node9' },
    ]),
  });
  world.take();
  const alike = (index: number): Fact[] =>
    JSON.parse(JSON.stringify(world.expectations('node1').map((each) => ({ ...rightFact(each), address: `192.0.2.${index}` })))) as Fact[];
  world.put('node1', alike(1));
  const one = world.board.sharedValues;
  world.put('node2', alike(2));
  world.put('node3', alike(3));
  t.equal(world.board.sharedValues, one);
  t.match(world.board.facts('node3').get('nodeport/tcp/4/30080'), { address: '192.0.2.3' });
  t.end();
});

t.test('everything new is no change to be measured', (t) => {
  const world = new World();
  world.do({ kind: 'put', raw: service('a') });
  const { objects } = world.inventory.take({ at: 1, actorOf: () => ({ how: 'unknown' }) });
  t.equal(world.board.setObjects(objects, everything).expected, undefined);
  t.end();
});
