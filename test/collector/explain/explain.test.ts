import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import t from 'tap';
import { diagnoseNode } from '../../../collector/causes/index.ts';
import { compareNode } from '../../../collector/compare/index.ts';
import { expectationsFor } from '../../../collector/expect/index.ts';
import { type ExplainQuestion, type Explanation, explainNodePort } from '../../../collector/explain/explain.ts';
import { explanationText } from '../../../collector/explain/text.ts';
import type { Change } from '../../../shared/model/change.ts';
import type { Fact } from '../../../shared/model/fact.ts';
import { golden } from '../../support/golden.ts';
import { dropped, factMap, refused, rightFact, rightFacts, rule } from '../compare/facts.ts';
import { clusterOf, node, pod, service, slice } from '../expect/cluster.ts';

const at = Date.UTC(2026, 10, 21, 14, 3, 22);
const objects = clusterOf([
  node('node1', '192.0.2.11'),
  node('node2', '192.0.2.12'),
  service('web'),
  slice('web', [
    { address: '10.244.1.5', node: 'node1' },
    { address: '10.244.2.5', node: 'node2' },
  ]),
  service('local', { externalTrafficPolicy: 'Local', ports: [{ name: 'http', port: 80, targetPort: 8080, nodePort: 30083 }] }),
  slice('local', [{ address: '10.244.2.9', node: 'node2' }]),
  service('lost', { selector: { app: 'nobody' }, ports: [{ name: 'http', port: 80, targetPort: 8080, nodePort: 30090 }] }),
  pod('web-1', { app: 'web' }),
]);
const expectations = expectationsFor('node1', objects);
const [web] = expectations;
if (web === undefined) throw new Error('the test cluster has NodePorts');

const decider = rule('FORWARD', '-p tcp -m tcp --dport 8080 -j DROP', { packets: '214' });
const drops = web.endpoints.map((endpoint) => dropped(endpoint, decider, { weight: 0.5 }));
const made: Change = {
  at,
  node: 'node1',
  kind: 'rule',
  subject: 'ip filter FORWARD',
  before: null,
  after: decider.text,
  owner: 'admin',
  actor: { argv: ['iptables', '-I', 'FORWARD', '-p', 'tcp', '--dport', '8080', '-j', 'DROP'], pid: 4711, how: 'exec-event' },
};

interface Question {
  readonly port: number;
  readonly facts?: readonly Fact[];
  readonly changes?: readonly Change[];
  readonly others?: ExplainQuestion['others'];
}

function explain({ port, facts = [], changes = [], others = [] }: Question): Explanation {
  const observed = factMap([
    ...rightFacts(expectations),
    { kind: 'sysctl', key: 'sysctl/net.ipv4.ip_forward', name: 'net.ipv4.ip_forward', value: '1' },
    ...facts,
  ]);
  const drifts = compareNode({ node: 'node1', facts: observed, expectations, objects });
  const diagnosis = { node: 'node1', facts: observed, expectations, drifts, objects, changes, now: at + 60_000 };
  return explainNodePort({ ...diagnosis, findings: diagnoseNode(diagnosis), port, protocol: 'tcp', others });
}

const unknownRule = rule('FORWARD', '-m u32 --u32 "0>>22&0x3C@12>>26&0x3C@0=0x1" -j DROP');
const cases: readonly (Question & { readonly name: string; readonly kind: Explanation['kind'] })[] = [
  { name: 'faulty', kind: 'faulty', port: 30080, facts: [rightFact(web, { external: drops, peer: drops, pod: drops })], changes: [made] },
  { name: 'healthy', kind: 'healthy', port: 30080 },
  { name: 'by-design', kind: 'by-design', port: 30083 },
  { name: 'no-endpoints', kind: 'faulty', port: 30090 },
  { name: 'unknown', kind: 'unknown', port: 30080, facts: [rightFact(web, { external: [dropped(null, unknownRule, { unless: [unknownRule] })] })] },
  { name: 'none', kind: 'none', port: 30097, facts: [{ ...rightFact(web, { external: [refused] }), key: 'nodeport/tcp/4/30097', claimed: { by: 'none' } }] },
];

for (const { name, kind, ...question } of cases) {
  t.test(name, (t) => {
    const explanation = explain(question);
    const text = explanationText(explanation);
    t.equal(explanation.kind, kind);
    golden(t, join(import.meta.dirname, 'golden', `${name}.txt`), text);
    const prose = text.split('\n').filter((line) => !/kubectl|iptables/.test(line));
    t.same(
      prose.filter((line) => line.length > 160),
      [],
      'no line is wider than 160 columns',
    );
    t.notMatch(text, / +\n/, 'no space at the end of a line');
    t.end();
  });
}

t.test('where other nodes answer, that is said with the first difference', (t) => {
  const faulty = { port: 30080, facts: [rightFact(web, { external: drops })], changes: [made] };
  const text = explanationText(explain({ ...faulty, others: [{ node: 'node2', facts: factMap([rightFact(web)]) }] }));
  t.match(text.replaceAll(/\s+/g, ' '), 'node2 answers; first difference: rule 1 of filter FORWARD (-p tcp -m tcp --dport 8080 -j DROP)');
  const both = explain({ ...faulty, others: [{ node: 'node2', facts: factMap([rightFact(web, { external: drops })]) }] });
  t.notMatch(both.notIt.join(), /node2/, 'a node that fails as well is no witness');
  t.end();
});

t.test('a node that has reported nothing is neither healthy nor faulty, and the sentence is whole', (t) => {
  const explanation = explainNodePort({
    node: 'node1',
    facts: new Map(),
    expectations,
    drifts: compareNode({ node: 'node1', facts: new Map(), expectations, objects }),
    objects,
    changes: [],
    now: at,
    findings: [],
    port: 30080,
    protocol: 'tcp',
  });
  t.equal(explanation.kind, 'unknown');
  t.equal(explanation.summary, 'shop/web, NodePort 30080/tcp: what node1 does with its clients is not known, as nothing has been reported of it.');
  t.end();
});

t.test('colour marks the paragraph and changes no text', (t) => {
  const explanation = explain({ port: 30080 });
  const coloured = explanationText(explanation, { colour: true });
  t.ok(coloured.startsWith('\u001b[32m'));
  t.equal(stripVTControlCharacters(coloured), explanationText(explanation));
  t.end();
});
