// Findings grouped by their root, worst first, and the sentence that says where the cluster stands.
import t from 'tap';
import { incidentsOf } from '../../../../collector/web/model/incidents.ts';
import { type Standing, standingOf } from '../../../../collector/web/model/standing.ts';
import type { Change } from '../../../../shared/model/change.ts';
import type { Finding } from '../../../../shared/model/finding.ts';

const finding = (given: Partial<Finding>): Finding => ({
  id: `${given.node ?? 'node1'}/nodeport/tcp/4/${given.port ?? 30080}/${given.cause ?? 'C08'}`,
  cause: 'C08',
  title: 'a rule drops',
  severity: 'error',
  confidence: 'certain',
  node: 'node1',
  service: 'shop/web:http',
  port: 30080,
  protocol: 'tcp',
  family: 4,
  symptom: 'timeout',
  summary: 's',
  evidence: [],
  remedy: [],
  since: 1_000,
  ...given,
});
const trigger: Change = { at: 900, node: 'node1', kind: 'rule', subject: 'ip filter FORWARD', before: null, after: 'x' };

t.test('findings of one change are one incident, of which each NodePort counts once', async (t) => {
  const consequences = ['nodeport/tcp/4/30080', 'nodeport/tcp/4/30081'];
  const [incident, ...others] = incidentsOf([
    finding({ port: 30081, service: 'shop/api:http', trigger, consequences: ['nodeport/tcp/4/30080'], since: 2_000 }),
    finding({ trigger, consequences }),
  ]);
  t.same(others, []);
  t.match(incident, { severity: 'error', nodes: ['node1'], services: ['shop/api:http', 'shop/web:http'], cells: 2, since: 1_000, trigger });
  t.equal(incident?.findings[0]?.port, 30080, 'the lowest number tells the story');
});

t.test('other changes, nodes and causes are other incidents; a fault of the objects is one on all nodes', async (t) => {
  t.equal(incidentsOf([finding({ trigger }), finding({ port: 30081, trigger: { ...trigger, at: 901 } })]).length, 2);
  t.equal(incidentsOf([finding({}), finding({ node: 'node2' })]).length, 2);
  const [objects, ...others] = incidentsOf([finding({ cause: 'A01' }), finding({ cause: 'A01', node: 'node2' })]);
  t.same([objects?.nodes, others], [['node1', 'node2'], []]);
});

t.test('worst first: by severity, by how much is broken, then the newest', async (t) => {
  const order = incidentsOf([
    finding({ cause: 'D01', severity: 'info' }),
    finding({ cause: 'B01', severity: 'warning' }),
    finding({ cause: 'C01', since: 1_000 }),
    finding({ cause: 'C02', since: 2_000 }),
    finding({ cause: 'C03', consequences: ['nodeport/tcp/4/30081'] }),
  ]).map(({ findings }) => findings[0]?.cause);
  t.same(order, ['C03', 'C02', 'C01', 'B01', 'D01']);
});

const node = (given: object) => ({
  name: 'node1',
  agent: 'connected' as const,
  since: 0,
  version: '1',
  clockOffsetMs: 0,
  viewAgeMs: 1_000,
  stateAt: 0,
  ready: true,
  addresses: [],
  proxy: 'iptables',
  nodePorts: { ok: 2, fault: 0, 'by-design': 0, pending: 0, unknown: 0 },
  findings: { error: 0, warning: 0, info: 0 },
  pending: 0,
  programming: null,
  failedSources: [],
  ...given,
});
const fresh: { readonly objectsAgeMs: number | null; readonly stale: boolean; readonly doubts: string[] } = { objectsAgeMs: 500, stale: false, doubts: [] };
const cells = (given: object) => ({ nodePorts: { ok: 0, fault: 0, 'by-design': 0, pending: 0, unknown: 0, ...given } });
const standing = (nodes: readonly object[], findings: readonly Finding[] = [], view = fresh): Standing =>
  standingOf({ items: nodes.map(node), view }, incidentsOf(findings));

t.test('where the cluster stands', async (t) => {
  t.match(standing([{}, { name: 'node2', viewAgeMs: 4_000 }]), {
    tone: 'good',
    title: 'All 4 NodePorts on 2 nodes answer',
    nodesAgeMs: 4_000,
    objectsAgeMs: 500,
  });
  t.match(standing([cells({ ok: 1, 'by-design': 1 })]), { tone: 'good', title: 'All 1 NodePort on 1 node answer; 1 by design does not' });
  t.match(standing([cells({ fault: 2 })], [finding({})]), { tone: 'bad', title: '1 fault shuts clients out of 2 NodePorts' });
  t.match(standing([cells({ ok: 2 })], [finding({ severity: 'warning' })]), { tone: 'warn' });
  t.match(standing([cells({ pending: 1, ok: 1 })]), { tone: 'warn', title: '1 NodePort differs since a moment' });
  t.match(standing([]), { tone: 'open', title: 'No node is known yet' });
  t.match(standing([cells({})]), { tone: 'open', title: 'No Service asks for a NodePort' });
});

t.test('what is not known is never green', async (t) => {
  const { tone, cautions } = standing([{ agent: 'disconnected', ...cells({ unknown: 2 }) }]);
  t.equal(tone, 'open');
  t.same(cautions, ['node1 has no agent that speaks: nothing is known of it.']);
  t.match(standing([{}], [], { objectsAgeMs: 400_000, stale: true, doubts: ['Service objects are 400 s old'] }).cautions, [/old/, /400 s/]);
  t.match(standing([{ failedSources: [{ source: 'iptables', reason: 'x' }] }]).cautions, [/On node1 not every source/]);
});
