// The history of what is believed where several collectors share it: each row is written by one of them, and what changed before a node was taken over is not lost.
import t from 'tap';
import { VerdictBook } from '../../../collector/api/verdict-book.ts';
import { CollectorState } from '../../../collector/state/state.ts';
import { openSqliteStore } from '../../../collector/store/sqlite.store.ts';
import type { VerdictRow } from '../../../collector/store/store.ts';
import { factsInStep, largeCluster, nodeName } from '../../bench/large-cluster.ts';

t.test('rows of nodes that others keep are told and not written, until the node is kept here', async (t) => {
  const state = new CollectorState({ graceMs: 0, isShared: true });
  const written: VerdictRow[] = [];
  const kept = new Set<string>(['node1']);
  const book = new VerdictBook({
    state,
    store: { appendVerdicts: async (rows) => void written.push(...rows) },
    keeps: (node) => kept.has(node),
    onError: (error) => t.fail(String(error)),
  });
  t.teardown(() => book.close());
  t.teardown(() => state.close());
  const told: string[] = [];
  book.subscribe((event) => void (event.kind === 'row' && told.push(`${event.row.node} ${event.row.agent}`)));
  const agent = { session: 's', version: '1', bootId: 'b', stream: 'x', capabilities: [], clockOffsetMs: 0 };
  for (const name of ['node1', 'node2']) state.mirror(name, { connected: true, agent, open: [], pending: [] });
  await book.written();
  t.strictSame(told, ['node1 connected', 'node2 connected']);
  t.strictSame(
    written.map(({ node }) => node),
    ['node1'],
  );
  kept.add('node2');
  state.mirrorFacts('node2', { put: [], delete: [] }, 'changes');
  await book.written();
  t.match(written, [{ node: 'node1' }, { node: 'node2', agent: 'connected' }], 'what was owed');
  state.mirrorFacts('node2', { put: [], delete: [] }, 'changes');
  await book.written();
  t.equal(written.length, 2, 'and once');
});

t.test('columns that come back after their rows were forgotten are written again', async (t) => {
  const { store } = await openSqliteStore(t.testdir({}));
  const state = new CollectorState({ graceMs: 0 });
  const book = new VerdictBook({ state, store, onError: (error) => t.fail(String(error)) });
  t.teardown(async () => {
    await book.close();
    state.close();
    await store.close();
  });
  const name = nodeName(0);
  const serve = async (services: number): Promise<void> => {
    const objects = largeCluster({ nodes: 1, services, endpoints: 1 });
    state.setObjects(objects);
    state.setFacts(name, new Map(factsInStep(0, state.node(name)?.expectations ?? [], objects).map((fact) => [fact.key, fact])));
    state.settle(name);
    await book.written();
    // Rows of one moment are kept together.
    await new Promise((resolve) => setTimeout(resolve, 2));
  };
  state.connect(name, { session: 's', version: '1', bootId: 'b', stream: 'x', capabilities: [], clockOffsetMs: 0 });
  await serve(2);
  const columnsNow = async () => (await store.verdictsAt(Date.now())).columns.map(({ body }) => (JSON.parse(body) as unknown[]).length);
  const first = await columnsNow();
  await serve(3);
  const second = await columnsNow();
  t.not(second[0], first[0]);
  await store.forget({ before: Date.now() });
  await serve(2);
  t.strictSame(await columnsNow(), first);
});
