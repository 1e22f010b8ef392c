import fc from 'fast-check';
import t from 'tap';
import { compareNode, type Drift } from '../../../collector/compare/index.ts';
import { expectationsFor } from '../../../collector/expect/index.ts';
import { noObjects } from '../../../collector/kubernetes/objects.ts';
import type { Fact } from '../../../shared/model/fact.ts';
import type { Outcome } from '../../../shared/model/outcome.ts';
import { clusterOf, node, service, slice } from '../expect/cluster.ts';
import { dropped, factMap, forward, proxyFact, refused, rightFact, rightFacts, rule } from './facts.ts';

const ports = (nodePort: number) => [{ name: 'http', port: 80, targetPort: 8080, nodePort }];

const endpoint = fc.record({
  address: fc.tuple(fc.integer({ min: 1, max: 2 }), fc.integer({ min: 1, max: 20 })).map(([net, host]) => `10.244.${net}.${host}`),
  node: fc.constantFrom('node1', 'node2'),
  ready: fc.boolean(),
  serving: fc.boolean(),
  terminating: fc.boolean(),
});
const cluster = fc
  .array(fc.record({ policy: fc.constantFrom('Cluster', 'Local'), endpoints: fc.array(endpoint, { maxLength: 4 }) }), { maxLength: 4 })
  .map((services) =>
    clusterOf([
      node('node1', '192.0.2.11'),
      node('node2', '192.0.2.12'),
      ...services.flatMap(({ policy, endpoints }, index) => [
        service(`s${index}`, { externalTrafficPolicy: policy, ports: ports(30000 + index) }),
        slice(`s${index}`, endpoints),
      ]),
    ]),
  );

t.test('facts that match their expectations give no drift', (t) => {
  fc.assert(
    fc.property(cluster, fc.constantFrom('node1', 'node2'), (objects, name) => {
      const expectations = expectationsFor(name, objects);
      return compareNode({ node: name, facts: factMap(rightFacts(expectations)), expectations, objects }).length === 0;
    }),
  );
  t.end();
});

t.test('an endpoint that comes or goes without the rules gives a drift', (t) => {
  fc.assert(
    fc.property(cluster, fc.boolean(), (objects, comes) => {
      const expectations = expectationsFor('node1', objects);
      const open = expectations.filter(({ expect, externalTrafficPolicy }) => expect === 'forward' && externalTrafficPolicy === 'Cluster');
      fc.pre(open.length > 0);
      const facts = factMap(rightFacts(expectations));
      const changed = expectations.map((each) => (each !== open[0] ? each : { ...each, ...otherEndpoints(each.endpoints, comes) }));
      const drifts = compareNode({ node: 'node1', facts, expectations: changed, objects });
      return drifts.length === 1 && drifts[0]?.kind === 'endpoints' && (comes ? drifts[0].missing : drifts[0].extra).length === 1;
    }),
  );
  t.end();
});

function otherEndpoints(endpoints: readonly string[], comes: boolean) {
  const changed = comes ? [...endpoints, '10.244.9.9:8080'] : endpoints.slice(1);
  const cluster = { endpoints: changed, clusterEndpoints: changed, externalTrafficPolicy: 'Cluster' as const };
  return changed.length > 0 ? cluster : { ...cluster, expect: 'forward' as const, endpoints: ['10.244.9.9:8080'], clusterEndpoints: ['10.244.9.9:8080'] };
}

const objects = clusterOf([
  node('node1', '192.0.2.11'),
  node('node2', '192.0.2.12'),
  service('web'),
  slice('web', [
    { address: '10.244.1.5', node: 'node1' },
    { address: '10.244.2.5', node: 'node2' },
  ]),
]);
const [expectation] = expectationsFor('node1', objects);
if (expectation === undefined) throw new Error('the test cluster has one NodePort');
const fact = rightFact(expectation);
const forwardDrop = rule('FORWARD', '-p tcp -m tcp --dport 8080 -j DROP');
const both = [forward('10.244.1.5:8080', 0.5), forward('10.244.2.5:8080', 0.5)];

interface Case {
  readonly name: string;
  readonly fact?: Fact;
  readonly outcomes?: readonly Outcome[];
  readonly expect: readonly (Partial<Drift> & { readonly kind: string })[];
}

const cases: readonly Case[] = [
  {
    name: 'dropped after translation: blocked, and the endpoints are right',
    outcomes: [dropped('10.244.1.5:8080', forwardDrop, { weight: 0.5 }), dropped('10.244.2.5:8080', forwardDrop, { weight: 0.5 })],
    expect: [{ kind: 'blocked', extra: [], missing: [] }],
  },
  {
    name: 'one of two endpoints dropped: blocked',
    outcomes: [forward('10.244.1.5:8080', 0.5), dropped('10.244.2.5:8080', forwardDrop, { weight: 0.5 })],
    expect: [{ kind: 'blocked' }],
  },
  {
    name: 'dropped before translation: no word on endpoints',
    outcomes: [dropped(null, rule('PREROUTING', '-j DROP', { table: 'raw' }))],
    expect: [{ kind: 'blocked', missing: [] }],
  },
  { name: 'some sources dropped', outcomes: [...both, dropped(null, forwardDrop, { sources: ['198.51.100.0/24'] })], expect: [{ kind: 'blocked' }] },
  { name: 'an outcome of no weight is none', outcomes: [...both, dropped(null, forwardDrop, { weight: 0 })], expect: [] },
  {
    name: 'the answer is lost on its way back',
    outcomes: both.map((outcome) => ({ ...outcome, reply: { verdict: 'drop' as const } })),
    expect: [{ kind: 'blocked' }],
  },
  { name: 'no rule claims the port', fact: { ...fact, claimed: { by: 'none' }, outcomes: { external: [refused] } }, expect: [{ kind: 'missing' }] },
  { name: 'a rule claims it and leads nowhere', fact: { ...fact, outcomes: { external: [refused] } }, expect: [{ kind: 'refused' }] },
  {
    name: 'a process of the node answers instead',
    fact: { ...fact, claimed: { by: 'none' }, outcomes: { external: [{ ...refused, verdict: 'local' }] } },
    expect: [{ kind: 'missing' }],
  },
  {
    name: 'an endpoint of the node itself is local after translation',
    outcomes: both.map((outcome) => ({ ...outcome, verdict: 'local' as const })),
    expect: [],
  },
  { name: 'a stale endpoint', outcomes: [...both, forward('10.244.1.9:8080', 0.3)], expect: [{ kind: 'endpoints', extra: ['10.244.1.9:8080'], missing: [] }] },
  {
    name: 'an endpoint that rules do not know',
    outcomes: [forward('10.244.1.5:8080')],
    expect: [{ kind: 'endpoints', extra: [], missing: ['10.244.2.5:8080'], affected: [] }],
  },
  {
    name: 'kube-proxy still says that there are none',
    outcomes: [{ ...refused, verdict: 'reject', decidedBy: rule('KUBE-EXTERNAL-SERVICES', '--comment "shop/web:http has no endpoints" -j REJECT') }],
    expect: [{ kind: 'endpoints', missing: ['10.244.1.5:8080', '10.244.2.5:8080'] }],
  },
  {
    name: 'a rule that cannot be judged and may drop',
    outcomes: [...both, dropped(null, forwardDrop, { unless: [forwardDrop] })],
    expect: [{ kind: 'unknown' }],
  },
  { name: 'a rule that cannot be judged and changes nothing', outcomes: both.map((outcome) => ({ ...outcome, unless: [forwardDrop] })), expect: [] },
  { name: 'an unknown verdict', outcomes: [{ ...refused, verdict: 'unknown' }], expect: [{ kind: 'unknown' }] },
];

for (const { name, fact: given, outcomes, expect } of cases) {
  t.test(name, (t) => {
    const observed = given ?? rightFact(expectation, { external: outcomes ?? [], peer: outcomes ?? [], pod: outcomes ?? [], node: outcomes ?? [] });
    const drifts = compareNode({ node: 'node1', facts: factMap([observed]), expectations: [expectation], objects });
    t.match(drifts, expect);
    t.equal(drifts.length, expect.length);
    t.end();
  });
}

t.test('a node that has not reported is unknown, not healthy', (t) => {
  t.match(compareNode({ node: 'node1', facts: new Map(), expectations: [expectation], objects }), [{ kind: 'unknown', affected: [] }]);
  t.end();
});

t.test('a NodePort of no Service is unexpected when rules claim it, and nothing when they do not', (t) => {
  const compare = (by: 'rule' | 'none') => compareNode({ node: 'node1', facts: factMap([{ ...fact, claimed: { by } }]), expectations: [], objects: noObjects });
  t.match(compare('rule'), [{ kind: 'unexpected', key: 'nodeport/tcp/4/30080', extra: ['10.244.1.5:8080', '10.244.2.5:8080'] }]);
  t.same(compare('none'), []);
  t.end();
});

t.test('IPVS: a virtual server that is missing is a fault, and Local may lead to remote endpoints', (t) => {
  const ipvs = factMap([rightFact(expectation, { external: [refused] }), proxyFact({ mode: 'ipvs' })]);
  t.match(compareNode({ node: 'node1', facts: ipvs, expectations: [expectation], objects }), [{ kind: 'refused' }]);
  const local = { ...expectation, expect: 'drop' as const, endpoints: [], externalTrafficPolicy: 'Local' as const };
  const remote = factMap([rightFact(local, { external: both }), proxyFact({ mode: 'ipvs' })]);
  t.same(compareNode({ node: 'node1', facts: remote, expectations: [local], objects }), []);
  t.end();
});

t.test('Local without a local endpoint: dropped outside is right, forwarded is stale, inside either is right', (t) => {
  const local = { ...expectation, expect: 'drop' as const, endpoints: [], externalTrafficPolicy: 'Local' as const };
  const drop = [dropped(null, rule('KUBE-EXTERNAL-SERVICES', '--comment "shop/web:http has no local endpoints" -j DROP'))];
  const compare = (external: readonly Outcome[], inside: readonly Outcome[]) =>
    compareNode({ node: 'node1', facts: factMap([rightFact(local, { external, peer: external, pod: inside, node: inside })]), expectations: [local], objects });
  t.same(compare(drop, both), []);
  t.same(compare(drop, drop), []);
  t.match(compare(both, both), [{ kind: 'endpoints', extra: ['10.244.1.5:8080', '10.244.2.5:8080'] }]);
  t.end();
});
