// Ranking: what held at the time goes before what had ended, what is known to decide before what merely changed, and what concerns others does not count.
import t from 'tap';
import { type IncidentQuestion, rankCauses } from '../../../collector/correlate/incident.ts';
import type { Finding } from '../../../shared/model/finding.ts';
import { changeOf } from '../ingest/client.ts';
import { finding } from '../store/contract.ts';

const at = 1_700_000_000_000;
const minute = 60_000;
const record = (id: string, more: Partial<Finding>, [openedAt, closedAt]: [number, number | null]) => ({ finding: finding(id, more), openedAt, closedAt });
const rank = (question: Partial<IncidentQuestion>) =>
  rankCauses({ at, service: 'shop/web', node: '', port: 0, mentions: ['30080', '8080'], findings: [], changes: [], ...question });

t.test('findings', async (t) => {
  const { causes } = rank({
    findings: [
      record('over', { cause: 'C01' }, [at - 20 * minute, at - minute]),
      record('held', { cause: 'C08' }, [at - 5 * minute, null]),
      record('possible', { cause: 'B01', confidence: 'possible' }, [at - 5 * minute, null]),
      record('by design', { cause: 'A04', severity: 'info' }, [at - 5 * minute, null]),
      record('long over', { cause: 'C02' }, [at - 60 * minute, at - 30 * minute]),
      record('later', { cause: 'C03' }, [at + minute, null]),
      record('much later', { cause: 'C04' }, [at + 30 * minute, null]),
      record('of another', { cause: 'C05', service: 'shop/db:x' }, [at - minute, null]),
      record('of the node', { cause: 'D01', service: '', port: 0 }, [at - minute, null]),
    ],
  });
  t.strictSame(
    causes.map(({ cause }) => cause),
    ['C08', 'D01', 'C03', 'A04', 'B01', 'C01'],
  );
  t.match(causes.find(({ cause }) => cause === 'C01')?.reasons, [/ended 60 s before/]);
});

t.test('of one node or port alone', async (t) => {
  const findings = [
    record('1', { cause: 'C01', node: 'node1', port: 30080 }, [at, null]),
    record('2', { cause: 'C02', node: 'node2', port: 30080 }, [at, null]),
    record('3', { cause: 'C03', node: 'node1', port: 30081 }, [at, null]),
  ];
  const causesOf = (question: Partial<IncidentQuestion>) => rank({ findings, ...question }).causes.map(({ cause }) => cause);
  t.strictSame(causesOf({ node: 'node2' }), ['C02']);
  t.strictSame(causesOf({ port: 30081 }), ['C03']);
  t.strictSame(causesOf({ service: '', port: 30080, node: 'node1' }), ['C01']);
});

t.test('changes come below what is known to decide, and a finding speaks for its own', async (t) => {
  const drop = changeOf(1, { at: at - minute, before: '', after: '-A FORWARD -p tcp --dport 8080 -j DROP', subject: 'ip filter FORWARD', kind: 'rule' });
  const alone = rank({ changes: [drop] });
  t.match(alone.causes, [{ cause: '', node: 'node1', change: { subject: 'ip filter FORWARD' }, reasons: [/8080/] }]);
  t.ok((alone.causes[0]?.score ?? 1) <= 0.8);
  const both = rank({ changes: [drop], findings: [record('f', { trigger: drop }, [at, null])] });
  t.strictSame(
    both.causes.map(({ cause }) => cause),
    ['C08'],
    'the change is not told twice',
  );
  t.match(rank({ changes: [] }).notFound, [/no change of firewall/]);
});
