import t from 'tap';
import { Governor } from '../../agent/governor.ts';
import { limits } from '../../shared/limits.ts';

/** What may be spent within the window, in milliseconds. */
const allowedMs = limits.readingShareMax * limits.readingWindowMs;

t.test('within its share nothing waits, however much is told', async (t) => {
  const governor = new Governor();
  governor.begin(0, 1_000);
  governor.sample(10_000, 1_000 + allowedMs);
  t.equal(governor.share, limits.readingShareMax);
  t.equal(governor.pauseMs(500), 0);
});

t.test('beyond it a reading waits in proportion to what the one before has cost', async (t) => {
  const governor = new Governor();
  governor.begin(0, 0);
  governor.sample(10_000, allowedMs + 1);
  t.equal(governor.isOver, true);
  t.equal(governor.pauseMs(40), 40 / limits.readingShareMax);
});

t.test('what was spent before the window is forgiven', async (t) => {
  const governor = new Governor();
  governor.begin(0, 0);
  governor.sample(10_000, 2 * allowedMs);
  for (let at = 20_000; at <= limits.readingWindowMs + 20_000; at += 10_000) governor.sample(at, 2 * allowedMs);
  t.equal(governor.share, 0);
  t.equal(governor.pauseMs(40), 0);
});
