// Gaps, coverage and replicas, as API and command line tell of them.
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { coverageOf } from '../../../collector/api/fleet-resources.ts';
import { openSqliteStore } from '../../../collector/store/sqlite.store.ts';
import type { Gap } from '../../../collector/store/store.ts';
import { TestAgent } from '../ingest/client.ts';
import { getJson, startCollector } from '../ingest/cluster.ts';

const launcher = new URL('../../../cli/portreeve', import.meta.url).pathname;
const gap = (given: Partial<Gap>): Gap => ({ node: 'node1', reason: 'agent-down', from: 0, to: 0, detail: 'x', ...given });

t.test('coverage counts what nobody saw, once', async (t) => {
  const span = { from: 1_000, to: 2_000, now: 2_000 };
  const connected = { name: 'node1', connected: true };
  const cases = [
    { name: 'nothing is missing', gaps: [], observed: 1, unobservedMs: 0 },
    { name: 'a part', gaps: [gap({ from: 1_100, to: 1_200 })], observed: 0.9, unobservedMs: 100 },
    { name: 'beyond both ends', gaps: [gap({ from: 0, to: 9_000 })], observed: 0, unobservedMs: 1_000 },
    { name: 'two that overlap', gaps: [gap({ from: 1_150, to: 1_300 }), gap({ from: 1_100, to: 1_200 })], observed: 0.8, unobservedMs: 200 },
    { name: 'what was seen and not kept', gaps: [gap({ reason: 'folded', from: 1_000, to: 2_000 })], observed: 1, unobservedMs: 0 },
  ];
  for (const { name, gaps, observed, unobservedMs } of cases) t.match(coverageOf(connected, gaps, span), { observed, unobservedMs, agent: 'connected' }, name);
  t.match(coverageOf({ name: 'node1', connected: false, since: 1_750 }, [], span), { observed: 0.75, unobservedMs: 250, agent: 'never', lastGapAt: null });
  t.match(coverageOf(connected, [gap({ from: 1_100, to: 1_200 }), gap({ reason: 'lost', from: 1_300, to: 1_300 })], span), {
    gaps: { 'agent-down': 1, lost: 1 },
    lastGapAt: 1_300,
  });
});

t.test('the API and the command line', async (t) => {
  const directory = t.testdir({});
  const collector = await startCollector(directory);
  t.teardown(() => collector.close());
  const now = Date.now();
  const { store } = await openSqliteStore(`${directory}/data`);
  await store.recordGaps([
    gap({ from: now - 7_200_000, to: now - 3_600_000, detail: 'no agent observed the node for 3600 s' }),
    gap({ node: 'node2', reason: 'lost', from: now - 5_000, to: now - 5_000, seqs: { stream: 's', from: 3, to: 4 } }),
  ]);
  await store.close();
  const agent = await TestAgent.start(collector.address);
  t.teardown(() => agent.stop());
  t.match(await getJson(collector.address, 'gaps'), {
    kind: 'GapList',
    items: [
      { node: 'node2', seqs: { from: 3 } },
      { node: 'node1', reason: 'agent-down' },
    ],
  });
  t.equal((await getJson(collector.address, 'gaps?reason=lost')).items.length, 1);
  t.equal((await getJson(collector.address, 'gaps?node=node1&limit=1')).items.length, 1);
  t.match(await getJson(collector.address, 'gaps?reason=nonsense'), { status: 400 });
  const [first, second] = (await getJson(collector.address, 'coverage')).items;
  t.match(first, { node: 'node1', agent: 'connected', unobservedMs: 3_600_000, gaps: { 'agent-down': 1 } });
  t.match(second, { node: 'node2', agent: 'never', observed: 0 });
  t.match(await getJson(collector.address, 'replicas'), { kind: 'ReplicaList', items: [{ alive: true, leader: true, self: true, agents: 1, version: /^\d/ }] });
  const asked = async (...words: readonly string[]) => {
    const child = spawn(launcher, ['get', ...words, '--server', collector.address], { stdio: ['ignore', 'pipe', 'pipe'] });
    return (await Promise.all([text(child.stdout), text(child.stderr)])).join('');
  };
  t.match(await asked('gaps'), /NODE +REASON +FROM +TO +DETAIL\nnode2 +lost [\s\S]*node1 +agent-down .*no agent observed/);
  t.match(await asked('gaps', '--node', 'node2', '-o', 'wide'), /STREAM +NUMBERS\n.* s +3-4\n/);
  t.match(await asked('coverage'), /node1 +connected +95\.8 % +60m +agent-down 1 +60m ago/);
  t.match(await asked('replicas'), /REPLICA +ADDRESS +ALIVE +LEADER +AGENTS[\s\S]*127\.0\.0\.1:\d+ +yes +yes +1 /);
  t.match(JSON.parse(await asked('replicas', '-o', 'json')), { kind: 'ReplicaList' });
  t.match(await asked('nodes', '--reason', 'lost'), /--reason does not apply to get nodes/);
});
