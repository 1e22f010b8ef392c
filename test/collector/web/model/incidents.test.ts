// Findings grouped by their root, worst first, and the sentence that says where the cluster stands.
import t from 'tap';
import type { Node } from '../../../../collector/api/client.types.ts';
import { incidentsOf } from '../../../../collector/web/model/incidents.ts';
import { matrixOf } from '../../../../collector/web/model/matrix.ts';
import { type Known, type Standing, standingOf } from '../../../../collector/web/model/standing.ts';
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

const node = (name: string, given: Partial<Node> = {}): Node => ({
  name,
  agent: 'connected',
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
const fresh = { objectsAgeMs: 500, stale: false, doubts: [] };

/** Rows as `CODES` or `CODES away`, of node1, node2 …; two NodePorts each. */
function standing(rows: readonly string[], findings: readonly Finding[] = [], known: Partial<Known> = {}): Standing {
  const columns = (rows[0] ?? '') === '' ? [] : [30080, 30081].map((port) => ({ port, protocol: 'tcp' as const, family: 4 as const, service: 'shop/web' }));
  const packed = rows.map((row, index) => ({
    node: `node${index + 1}`,
    agent: row.includes('away') ? ('disconnected' as const) : ('connected' as const),
    codes: row.split(' ')[0] ?? '',
  }));
  return standingOf({ matrix: matrixOf({ columns, rows: packed }), view: fresh, nodes: undefined, ...known }, incidentsOf(findings));
}

t.test('where the cluster stands', async (t) => {
  t.match(standing(['oo', 'oo'], [], { nodes: [node('node1'), node('node2', { viewAgeMs: 4_000 })] }), {
    tone: 'good',
    title: 'All 4 NodePorts on 2 nodes answer',
    nodesAgeMs: 4_000,
    objectsAgeMs: 500,
  });
  t.match(standing(['od']), { tone: 'good', title: 'All 1 NodePort on 1 node answer; 1 by design does not', nodesAgeMs: undefined });
  t.match(standing(['tr'], [finding({})]), { tone: 'bad', title: '1 fault shuts clients out of 2 NodePorts' });
  t.match(standing(['oo'], [finding({ severity: 'warning' })]), { tone: 'warn' });
  t.match(standing(['op']), { tone: 'warn', title: '1 NodePort differs since a moment' });
  t.match(standing([]), { tone: 'open', title: 'No node is known yet' });
  t.match(standing(['']), { tone: 'open', title: 'No Service asks for a NodePort' });
});

t.test('what is not known is never green', async (t) => {
  t.match(standing(['?? away', 'oo']), {
    tone: 'open',
    cautions: ['node1 has no agent that speaks: nothing is known of it.'],
    nodes: { connected: 1, total: 2 },
  });
  t.match(standing(['oo'], [], { view: { objectsAgeMs: 400_000, stale: true, doubts: ['Service objects are 400 s old'] } }).cautions, [/old/, /400 s/]);
  t.match(standing(['oo'], [], { nodes: [node('node1', { failedSources: [{ source: 'iptables', reason: 'x' }] })] }).cautions, [/On node1 not every source/]);
});
