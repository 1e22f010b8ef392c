// Rules made from objects have no drift, and with any one of them removed that a client of a NodePort meets, there is some. Which those are is written down below.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { compareNode, type Drift } from '../../../collector/compare/index.ts';
import { expectationsFor } from '../../../collector/expect/index.ts';
import type { ClusterObjects } from '../../../collector/kubernetes/objects.ts';
import type { Expectation } from '../../../shared/model/expectation.ts';
import { nodeFacts } from '../../../shared/netfilter/facts.ts';
import { type EndpointSliceObject, printWhole, renderTables, type ServiceObject } from '../../labs/kube-proxy-rules.ts';
import { nodeWith } from '../../support/node.ts';
import { clusterOf, type EndpointShort, node, service, slice } from './cluster.ts';

/** The small host of the tests has pods of 10.244.1.0/24 on cni0, and the way to those of 10.244.2.0/24 is by eth1. */
const nodes = [node('node1', '10.9.0.1', { zone: 'a' }), node('node2', '10.9.0.2', { zone: 'b' })];
const wanted = { peers: ['10.9.0.2'], podNetworks: ['10.244.1.0/24', '10.244.2.0/24'] };
const proxy = { release: 32, certain: true };

const endpoint = fc
  .record({
    local: fc.boolean(),
    host: fc.integer({ min: 2, max: 5 }),
    conditions: fc.constantFrom({ ready: true }, { ready: true }, { ready: false }, { ready: false, serving: true, terminating: true }),
    zones: fc.constantFrom([], ['a'], ['b']),
  })
  .map(
    ({ local, host, conditions, zones }): EndpointShort => ({
      address: `10.244.${local ? 1 : 2}.${host}`,
      node: local ? 'node1' : 'node2',
      ...conditions,
      ...(zones.length === 0 ? {} : { zones }),
    }),
  );
const serviceOf = fc.record({
  policy: fc.constantFrom('Cluster', 'Local'),
  affinity: fc.boolean(),
  endpoints: fc.uniqueArray(endpoint, { maxLength: 4, selector: ({ address }) => address }),
});
type Drawn = (typeof serviceOf extends fc.Arbitrary<infer T> ? T : never)[];

function build(drawn: Drawn): { readonly objects: ClusterObjects; readonly rules: string } {
  const services = drawn.map(({ policy, affinity }, index) =>
    service(`s${index}`, {
      clusterIP: `10.96.0.${index + 10}`,
      externalTrafficPolicy: policy,
      ports: [{ name: 'http', port: 80, targetPort: 8080, nodePort: 30_000 + index, protocol: 'TCP' }],
      ...(affinity ? { sessionAffinity: 'ClientIP' } : {}),
    }),
  );
  // Hints concern pods alone where the policy is Local, and whether those call themselves is another matter.
  const slices = drawn.map(({ policy, endpoints }, index) =>
    slice(
      `s${index}`,
      endpoints.map(({ zones, ...rest }) => ({ ...rest, ...(policy === 'Local' || zones === undefined ? {} : { zones }) })),
    ),
  );
  const tables = renderTables({
    node: 'node1',
    zone: 'a',
    family: 4,
    clusterCidr: '10.244.0.0/16',
    accounting: 'none',
    services: services as unknown as readonly ServiceObject[],
    endpointSlices: slices as unknown as readonly EndpointSliceObject[],
  });
  return { objects: clusterOf([...nodes, ...services, ...slices]), rules: printWhole(tables) };
}

function compare(objects: ClusterObjects, rules: string): { readonly drifts: readonly Drift[]; readonly expectations: readonly Expectation[] } {
  const expectations = expectationsFor('node1', objects, { ...proxy, families: [4] });
  const facts = nodeFacts(nodeWith({ 'iptables-save.txt': rules }), { ...wanted, nodePorts: expectations.map(({ nodePort }) => nodePort) });
  return { expectations, drifts: compareNode({ node: 'node1', facts: new Map(facts.map((fact) => [fact.key, fact])), expectations, objects }) };
}

/** What a rule is to clients of NodePorts: the first pattern that fits tells when they meet it. Every rule must fit one. */
interface Meaning {
  readonly pattern: RegExp;
  /** Why its absence shows, or why nobody on a NodePort's way notices. */
  readonly why: string;
  readonly meets: (expectations: readonly Expectation[], own: Expectation | undefined, rule: string) => boolean;
}

const never = (): boolean => false;
const forwards = (expectations: readonly Expectation[]): boolean => expectations.some(({ expect }) => expect === 'forward');
/** Endpoints of a Local Service that pods of this node are sent to as well: a pod that calls itself is served only if its address is replaced. */
const callsItself = ({ externalTrafficPolicy, expect, endpoints, clusterEndpoints }: Expectation): readonly string[] =>
  externalTrafficPolicy === 'Local' && expect === 'forward' ? endpoints.filter((each) => clusterEndpoints.includes(each)) : [];
const masquerades = (expectations: readonly Expectation[]): boolean =>
  expectations.some((each) => (each.expect === 'forward' && each.masquerade) || callsItself(each).length > 0);
const ownForwards = (_: readonly Expectation[], own: Expectation | undefined): boolean => own?.expect === 'forward';
const isSticky = (own: Expectation | undefined, rule: string): boolean => own?.sessionAffinity === true && rule.includes('--probability');
const isCluster = (own: Expectation | undefined): boolean => own?.externalTrafficPolicy === 'Cluster' && own.expect === 'forward';

const meanings: readonly Meaning[] = [
  { pattern: /KUBE-FIREWALL/, why: 'guards loopback addresses, or source ranges of load balancers', meets: never },
  { pattern: /KUBE-PROXY-FIREWALL|KUBE-FW-/, why: 'source ranges of load balancers', meets: never },
  { pattern: /health check/, why: 'the health check port has facts of its own', meets: never },
  {
    pattern: /^-A (FORWARD|OUTPUT) .*ctstate NEW.*KUBE-SERVICES|^-A FORWARD .*KUBE-EXTERNAL-SERVICES/,
    why: 'cluster and load balancer addresses without endpoints',
    meets: never,
  },
  { pattern: /KUBE-FORWARD/, why: 'the policy of FORWARD is ACCEPT here', meets: never },
  {
    pattern: /^-A INPUT .*KUBE-EXTERNAL-SERVICES/,
    why: 'clients of Services without endpoints meet the node itself',
    meets: (all) => all.some(({ expect }) => expect !== 'forward'),
  },
  { pattern: /^-A KUBE-EXTERNAL-SERVICES/, why: 'the same for one of them', meets: (_, own) => own !== undefined && own.expect !== 'forward' },
  { pattern: /cluster IP|has no endpoints/, why: 'the cluster address', meets: never },
  { pattern: /^-A PREROUTING .*KUBE-SERVICES|-j KUBE-NODEPORTS$/, why: 'nobody from outside is sent on', meets: forwards },
  { pattern: /^-A OUTPUT .*KUBE-SERVICES/, why: 'nor is the node itself', meets: forwards },
  { pattern: /^-A POSTROUTING .*KUBE-POSTROUTING|-j MASQUERADE|^-A KUBE-MARK-MASQ/, why: 'clients keep their address', meets: masquerades },
  {
    pattern: /^-A KUBE-POSTROUTING -m mark ! --mark 0x4000\/0x4000 -j RETURN/,
    why: 'clients of Local Services lose their address',
    meets: (all) => all.some(({ expect, masquerade }) => expect === 'forward' && !masquerade),
  },
  { pattern: /^-A KUBE-POSTROUTING -j MARK/, why: 'the mark is taken off what was masqueraded already', meets: never },
  { pattern: /^-A KUBE-NODEPORTS/, why: 'the NodePort', meets: ownForwards },
  { pattern: /^-A KUBE-EXT-\S+ .*masquerade traffic for/, why: 'clients of one Service keep their address', meets: (_, own) => isCluster(own) },
  {
    pattern: /^-A KUBE-EXT-.*(pod traffic|masquerade LOCAL|route LOCAL)/,
    why: 'a kube-proxy that does not know the pods networks writes none of these',
    meets: never,
  },
  { pattern: /^-A KUBE-EXT-\S+ -j KUBE-SVC-/, why: 'what leads on from the NodePort', meets: never },
  { pattern: /^-A KUBE-EXT-\S+ -j KUBE-SVL-/, why: 'the same for a Local Service', meets: never },
  { pattern: /-m recent --rcheck/, why: 'which client was seen before is not in the rules', meets: never },
  // With session affinity a client who was there before may still get to an endpoint that new ones do not; the last endpoint is that of all who are left.
  {
    pattern: /^-A KUBE-SVC-.* -> /,
    why: 'one endpoint of a Cluster Service; of a Local one, pods alone',
    meets: (_, own, rule) => isCluster(own) && !isSticky(own, rule),
  },
  { pattern: /^-A KUBE-SVL-.* -> /, why: 'one endpoint of a Local Service', meets: (_, own, rule) => own?.expect === 'forward' && !isSticky(own, rule) },
  {
    pattern: /^-A KUBE-SEP-\S+ -s (\S+)\/32 .*KUBE-MARK-MASQ/,
    why: 'a pod of this node that calls itself; of a Cluster Service everybody is masqueraded anyway, and one that terminates is not among those that pods are sent to',
    meets: (_, own, rule) => own !== undefined && callsItself(own).some((each) => each.startsWith(`${/-s (\S+)\/32/.exec(rule)?.[1]}:`)),
  },
  {
    pattern: /^-A KUBE-SEP-.*-j DNAT --to-destination (\S+)/,
    why: 'the way to one endpoint',
    meets: (_, own, rule) => own?.endpoints.includes(/--to-destination (\S+)/.exec(rule)?.[1] ?? '') === true,
  },
];

/** The expectation of the Service that a rule names, or whose chain it stands in. */
function ownerOf(rule: string, rules: string, expectations: readonly Expectation[]): Expectation | undefined {
  const chain = /^-A (KUBE-(?:EXT|SVC|SVL)-\w+)/.exec(rule)?.[1];
  const text =
    /shop\/(s\d+):http/.exec(rule)?.[1] ??
    /shop\/(s\d+):http/.exec(rules.split('\n').find((each) => chain !== undefined && each.includes(`-j ${chain}`)) ?? '')?.[1];
  return expectations.find(({ service: { name } }) => name === text);
}

function isMet(rule: string, rules: string, expectations: readonly Expectation[]): boolean {
  const meaning = meanings.find(({ pattern }) => pattern.test(rule));
  assert.ok(meaning !== undefined, `nothing is written down about ${rule}`);
  const own = ownerOf(rule, rules, expectations);
  // Rules of the extension chains have no comment; what leads on is met where the NodePort is.
  if (/^-A KUBE-EXT-\S+ -j KUBE-(SVC|SVL)-/.test(rule)) return own?.expect === 'forward';
  return meaning.meets(expectations, own, rule);
}

const rulesOf = (text: string): string[] => text.split('\n').filter((line) => line.startsWith('-A '));
const without = (text: string, rule: string): string => text.replace(`${rule}\n`, '');

t.test('rules made from objects have no drift', (t) => {
  fc.assert(
    fc.property(fc.array(serviceOf, { maxLength: 4 }), (drawn) => {
      const { objects, rules } = build(drawn);
      const { drifts, expectations } = compare(objects, rules);
      assert.deepEqual(drifts, []);
      assert.equal(expectations.length, drawn.length);
    }),
    { numRuns: 60 },
  );
  t.end();
});

t.test('with any one rule removed that clients of a NodePort meet there is some, with any other there is none', (t) => {
  let removed = 0;
  fc.assert(
    fc.property(fc.array(serviceOf, { minLength: 1, maxLength: 3 }), fc.nat(), (drawn, pick) => {
      const { objects, rules } = build(drawn);
      const { expectations } = compare(objects, rules);
      const all = rulesOf(rules);
      const met = all.filter((rule) => isMet(rule, rules, expectations));
      // One of those that are met, and any one.
      for (const rule of [met[pick % Math.max(1, met.length)], all[pick % all.length]]) {
        if (rule === undefined) continue;
        removed++;
        const { drifts } = compare(objects, without(rules, rule));
        assert.equal(drifts.length > 0, isMet(rule, rules, expectations), `${rule}\n${JSON.stringify(drifts.map(({ kind, key }) => [kind, key]))}\n${rules}`);
      }
    }),
    { numRuns: 150 },
  );
  t.ok(removed > 150, `${removed} rules removed one at a time`);
  t.end();
});

t.test('every rule of one rich cluster, one after the other', (t) => {
  const ready = (host: number, where: 'node1' | 'node2'): EndpointShort => ({ address: `10.244.${where === 'node1' ? 1 : 2}.${host}`, node: where });
  const { objects, rules } = build([
    { policy: 'Cluster', affinity: false, endpoints: [ready(2, 'node1'), ready(3, 'node2'), ready(4, 'node2')] },
    { policy: 'Local', affinity: false, endpoints: [ready(5, 'node1'), ready(6, 'node1'), ready(5, 'node2')] },
    { policy: 'Local', affinity: false, endpoints: [ready(6, 'node2')] },
    { policy: 'Cluster', affinity: true, endpoints: [ready(7, 'node1'), ready(7, 'node2')] },
    { policy: 'Cluster', affinity: false, endpoints: [] },
    { policy: 'Local', affinity: false, endpoints: [{ ...ready(8, 'node1'), ready: false, serving: true, terminating: true }, ready(8, 'node2')] },
  ]);
  const { drifts, expectations } = compare(objects, rules);
  t.same(drifts, []);
  const wrong = rulesOf(rules).flatMap((rule) => {
    const found = compare(objects, without(rules, rule)).drifts;
    return found.length > 0 === isMet(rule, rules, expectations)
      ? []
      : [`${rule} → ${found.map(({ kind, key }) => `${kind} ${key}`).join(', ') || 'no drift'}`];
  });
  t.same(wrong, []);
  t.ok(rulesOf(rules).length > 60, `${rulesOf(rules).length} rules`);
  t.end();
});
