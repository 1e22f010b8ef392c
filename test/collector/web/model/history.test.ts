// The strip of the time slider: open findings counted backwards, changes by bins, and the events next to a time.
import t from 'tap';
import type { TimelineItem } from '../../../../collector/web/data/types.ts';
import { historyOf, neighbour } from '../../../../collector/web/model/history.ts';

const event = (at: number, kind: TimelineItem['event']): TimelineItem => ({ at, event: kind, node: 'node1' }) as TimelineItem;
const span = { from: 0, to: 100, bins: 10, openNow: 0 };

t.test('how many were open follows backwards from how many are', async (t) => {
  const items = [event(15, 'finding-opened'), event(35, 'finding-opened'), event(55, 'finding-closed'), event(75, 'finding-closed')];
  t.same(historyOf(items, span).open, [0, 1, 1, 2, 2, 2, 1, 1, 0, 0]);
  t.same(historyOf([event(55, 'finding-opened')], { ...span, openNow: 1 }).open, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]);
  t.same(historyOf([], { ...span, openNow: 3 }).open, new Array(10).fill(3));
});

t.test('a finding that came and went within a bin is seen', async (t) => {
  t.same(historyOf([event(51, 'finding-opened'), event(52, 'finding-closed')], span).open, [0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
});

t.test('changes are counted by bins, and what is outside is left out', async (t) => {
  const { changes, at } = historyOf([event(5, 'change'), event(7, 'change'), event(100, 'change'), event(200, 'change'), event(-1, 'change')], span);
  t.same(changes, [2, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
  t.equal(at[0], 0.005, 'seconds, in the middle of the bin');
});

t.test('the event before and after', async (t) => {
  const items = [event(1_000, 'change'), event(5_000, 'finding-opened'), event(9_000, 'finding-closed')];
  t.equal(neighbour(items, 9_000, 'before'), 5_000);
  t.equal(neighbour(items, 5_000, 'after'), 9_000);
  t.equal(neighbour(items, 5_000, 'before'), undefined, 'changes do not count beside findings');
  t.equal(neighbour(items.slice(0, 1), 5_000, 'before'), 1_000);
});
