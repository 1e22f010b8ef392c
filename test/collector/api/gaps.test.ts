// The resource of gaps: what a node's ledger does not tell, by node and time.
import t from 'tap';
import { changeOf, TestAgent } from '../ingest/client.ts';
import { getJson, startCollector, until } from '../ingest/cluster.ts';

t.test('a hole in the numbers of a stream is a gap', async (t) => {
  const collector = await startCollector(t.testdir());
  t.teardown(() => collector.close());
  const agent = await TestAgent.start(collector.address);
  agent.sendChanges([changeOf(1), changeOf(4)]);
  const { items } = await until(
    () => getJson(collector.address, 'gaps?node=node1'),
    (answer) => answer.items.length > 0,
  );
  t.match(items, [{ node: 'node1', reason: 'lost', seqs: { stream: 'run-1', from: 2, to: 3 } }]);
  t.same((await getJson(collector.address, 'gaps?node=node2')).items, []);
  t.same((await getJson(collector.address, 'gaps?to=2001-01-01T00:00Z')).items, [], 'none began by then');
  t.match(await getJson(collector.address, 'gaps?from=soon'), { status: 400 });
  t.match(await getJson(collector.address, 'gaps?limit=0'), { status: 400 });
  await agent.stop();
});
