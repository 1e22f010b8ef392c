// What every store must do with incidents, the history of what was believed, and pages of findings and changes.

import type { Incident, Store } from '../../../collector/store/store.ts';
import { limits } from '../../../shared/limits.ts';
import { changeOf } from '../ingest/client.ts';
import { finding } from './contract.ts';

type Test = typeof import('tap').t;
type OnStore = (name: string, act: (t: Test, store: Store) => Promise<void>) => void;

export function operationsContract(onStore: OnStore): void {
  onStore('incidents are kept, found, written anew and forgotten', testIncidents);
  onStore('what was believed of a node at a time is its last row of before', testVerdicts);
  onStore('findings come page by page', testFindingPages);
  onStore('changes are searched by what stands in them', testSearch);
}

const incidentOf = (id: string, at: number, more: Partial<Incident> = {}): Incident => ({
  id,
  at,
  endedAt: null,
  createdAt: at,
  createdBy: 'anyone',
  origin: 'report',
  service: 'shop/web',
  node: '',
  port: 30080,
  protocol: 'tcp',
  source: '',
  text: 'a \u0000 b',
  labels: { a: 'b' },
  causes: [],
  notFound: [],
  ...more,
});

async function testIncidents(t: Test, store: Store): Promise<void> {
  const all = [incidentOf('a', 10), incidentOf('b', 20, { service: 'shop/db' }), incidentOf('c', 20, { node: 'node1' })];
  for (const incident of all) await store.saveIncident(incident);
  t.strictSame(await store.incident('a'), all[0]);
  t.equal(await store.incident('z'), undefined);
  const first = await store.incidents({ limit: 2 });
  const second = await store.incidents({ limit: 2, ...(first.next === undefined ? {} : { cursor: first.next }) });
  t.strictSame(
    [...first.items, ...second.items].map(({ id }) => id),
    ['c', 'b', 'a'],
  );
  t.equal(second.next, undefined);
  await store.saveIncident({ ...(all[0] as Incident), endedAt: 15 });
  const ids = async (query: object) => (await store.incidents({ limit: 10, ...query })).items.map(({ id }) => id);
  t.strictSame(await ids({ open: true }), ['c', 'b']);
  t.strictSame(await ids({ open: false }), ['a']);
  t.strictSame(await ids({ service: 'shop/web' }), ['c', 'a']);
  t.strictSame(await ids({ node: 'node1' }), ['c']);
  t.strictSame(await ids({ from: 16, to: 19 }), []);
  t.strictSame(await ids({ from: 14, to: 19 }), ['a']);
  await store.forget({ before: 15 });
  t.strictSame(await ids({}), ['c', 'b']);
}

async function testVerdicts(t: Test, store: Store): Promise<void> {
  const row = (node: string, at: number, codes: string) => ({ node, at, agent: 'connected' as const, columns: 'c1', codes });
  const newer = { ...row('n1', 30, 'd'), columns: 'c2' };
  const columns = [
    { id: 'c1', body: '[1]' },
    { id: 'c2', body: '[2]' },
  ];
  t.strictSame(await store.verdictsAt(100), { rows: [], columns: [] });
  await store.appendVerdicts([row('n1', 10, 'o'), row('n1', 20, 't'), row('n2', 15, 'o')], columns.slice(0, 1));
  await store.appendVerdicts([newer], columns);
  await store.appendVerdicts([], []);
  t.strictSame((await store.verdictsAt(9)).rows, []);
  t.strictSame(await store.verdictsAt(20), { rows: [row('n1', 20, 't'), row('n2', 15, 'o')], columns: columns.slice(0, 1) });
  const last = await store.verdictsAt(1_000);
  t.strictSame(last.rows, [newer, row('n2', 15, 'o')]);
  t.strictSame(
    [...last.columns].sort((a, b) => (a.id < b.id ? -1 : 1)),
    columns,
  );
  t.match(await store.forget({ before: 25 }), { verdicts: 1 });
  t.strictSame((await store.verdictsAt(12)).rows, [], 'what was replaced is forgotten');
  t.strictSame((await store.verdictsAt(25)).rows, [row('n1', 20, 't'), row('n2', 15, 'o')], 'what held then is not');
  // More than are forgotten at a time: the rest is for the next time, and columns stay as long as a row has them.
  const many = Array.from({ length: limits.retentionRowsMax + 5 }, (_, index) => row('n3', 100 + index, 'o'));
  await store.appendVerdicts(many, []);
  const before = 100 + many.length;
  t.match(await store.forget({ before }), { verdicts: limits.retentionRowsMax });
  t.match(await store.forget({ before }), { verdicts: 5 }, 'each node keeps one');
  t.match(await store.forget({ before }), { verdicts: 0 });
  t.strictSame(
    (await store.verdictsAt(before)).rows.map(({ node, at }) => [node, at]),
    [
      ['n1', 30],
      ['n2', 15],
      ['n3', before - 1],
    ],
  );
}

async function testFindingPages(t: Test, store: Store): Promise<void> {
  for (let at = 1; at <= 5; at++)
    await store.upsertFindings([{ finding: finding(`f${at}`, { cause: at % 2 === 0 ? 'A01' : 'C08' }), openedAt: Math.ceil(at / 2) }]);
  const ids: string[] = [];
  for (let cursor: string | undefined; ; ) {
    const page = await store.findingPage({ limit: 2, ...(cursor === undefined ? {} : { cursor }) });
    ids.push(...page.items.map(({ finding: { id } }) => id));
    cursor = page.next;
    if (cursor === undefined) break;
  }
  t.strictSame(ids, ['f5', 'f4', 'f3', 'f2', 'f1']);
  t.strictSame(
    (await store.findingPage({ cause: 'A01', limit: 10 })).items.map(({ finding: { id } }) => id),
    ['f4', 'f2'],
  );
}

async function testSearch(t: Test, store: Store): Promise<void> {
  await store.appendChanges([
    changeOf(1, { subject: 'ip filter FORWARD', before: null, after: '-j DROP 100%', owner: 'admin' }),
    changeOf(2, { subject: 'net.ipv4.ip_forward', before: '1', after: '0', actor: { how: 'ebpf', comm: 'sysctl' } }),
  ]);
  const seqs = async (query: object) => (await store.changes({ limit: 10, ...query })).items.map(({ seq }) => seq);
  t.strictSame(await seqs({ text: 'DROP' }), [1]);
  t.strictSame(await seqs({ text: 'sysctl' }), [2], 'who did it counts');
  t.strictSame(await seqs({ text: 'ip' }), [2, 1]);
  t.strictSame(await seqs({ text: '0%' }), [1], 'the text is no pattern');
  t.strictSame(await seqs({ text: "'; DROP TABLE changes" }), []);
  t.strictSame(await seqs({ owner: 'admin' }), [1]);
}
