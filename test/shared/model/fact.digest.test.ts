// The digest that agent and collector compare: the same for the same facts, however each keeps them, and another where anything is missing, too much or old.
import fc from 'fast-check';
import t from 'tap';
import { CollectorState } from '../../../collector/state/state.ts';
import { digestOf, kindsThatDiffer } from '../../../shared/model/fact.digest.ts';
import type { Fact } from '../../../shared/model/fact.ts';
import { nodeFacts, nothingWanted } from '../../../shared/netfilter/facts.ts';
import { capturedNode, numberedCaptures } from '../../support/captures.ts';

const known = (): boolean => true;
const wire = (facts: readonly Fact[]): Fact[] => JSON.parse(JSON.stringify(facts)) as Fact[];
const differing = (a: Iterable<Fact>, b: Iterable<Fact>) => kindsThatDiffer(digestOf(a), digestOf(b), known);

t.test('what a collector holds of a captured node has the digest of what the agent has sent, until anything differs', async (t) => {
  const state = new CollectorState({});
  t.teardown(() => state.close());
  const nodePorts: Fact[] = [];
  for (const name of numberedCaptures) {
    const sent = nodeFacts(capturedNode(name), nothingWanted);
    state.setFacts(name, new Map(wire(sent).map((fact) => [fact.key, fact])));
    const held = [...(state.node(name)?.facts.values() ?? [])];
    nodePorts.push(...held.filter(({ kind }) => kind === 'nodeport'));
    t.strictSame(differing(sent, held), [], name);
    t.strictSame(differing(sent.toReversed(), held), [], `${name}, in another order`);
    const [first] = sent;
    if (first === undefined) continue;
    t.strictSame(differing(sent.slice(1), held), [first.kind], `${name}, one too much`);
    const rest = held.filter(({ key }) => key !== first.key);
    t.strictSame(differing(sent, rest), [first.kind], `${name}, one missing`);
  }
  const [nodePort] = nodePorts;
  if (nodePort?.kind !== 'nodeport') throw new Error('the captures have NodePorts');
  const outcomes = { ...nodePort.outcomes, external: nodePort.outcomes.external?.map((outcome) => ({ ...outcome, verdict: 'drop' as const })) ?? [] };
  t.strictSame(differing([nodePort], [{ ...nodePort, outcomes }]), ['nodeport'], 'an old outcome');
});

t.test('any facts: equal digests for equal facts, and for no others', async (t) => {
  const fact = fc.record({ kind: fc.constant('sysctl' as const), key: fc.string(), name: fc.string(), value: fc.string() });
  const facts = fc.uniqueArray(fact, { selector: ({ key }) => key, maxLength: 20 });
  fc.assert(
    fc.property(facts, facts, (a, b) => {
      const text = (list: readonly Fact[]): string => JSON.stringify([...list].sort((x, y) => (x.key < y.key ? -1 : 1)));
      return (differing(a, wire(b)).length === 0) === (text(a) === text(b)) && differing(a, wire(a).toReversed()).length === 0;
    }),
    { seed: Number(process.env['SEED'] ?? 7) },
  );
  t.pass();
});

t.test('kinds that one side does not know are no difference, and no kind is taken for what every object has', async (t) => {
  const isKnown = (kind: string): boolean => kind === 'sysctl';
  t.strictSame(kindsThatDiffer({ later: { count: 1, sum: 1 } }, {}, isKnown), []);
  t.strictSame(kindsThatDiffer({ sysctl: { count: 1, sum: 1 } }, {}, isKnown), ['sysctl']);
  const own = digestOf([{ kind: 'constructor', key: 'a' } as never]);
  t.strictSame(kindsThatDiffer(own, {}, known), ['constructor']);
  t.match(own['constructor'], { count: 1 });
});
