// The history of what is believed where several collectors share it: each row is written by one of them, and what changed before a node was taken over is not lost.
import t from 'tap';
import { VerdictBook } from '../../../collector/api/verdict-book.ts';
import { CollectorState } from '../../../collector/state/state.ts';
import type { VerdictRow } from '../../../collector/store/store.ts';

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
