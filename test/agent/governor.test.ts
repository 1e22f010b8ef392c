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
  governor.read(allowedMs + 1);
  governor.sample(10_000, allowedMs + 1);
  t.equal(governor.isOver, true);
  t.equal(governor.pauseMs(40), 40 / limits.readingShareMax);
});

t.test('what is spent on all else is taken off what readings may take, but for a part', async (t) => {
  const pause = (readings: number, others: number): number => {
    const governor = new Governor();
    governor.begin(0, 0);
    governor.read(readings * allowedMs);
    governor.sample(10_000, (readings + others) * allowedMs);
    return Math.round(governor.pauseMs(40));
  };
  t.equal(pause(1.1, 0.25), Math.round(40 / (limits.readingShareMax * 0.75)));
  t.equal(pause(0.6, 0.5), Math.round(40 / (limits.readingShareMax * 0.5)));
  t.equal(pause(0.1, 3), Math.round(40 / (limits.readingShareMax * 0.25)));
});

t.test('what was spent before the window is forgiven', async (t) => {
  const governor = new Governor();
  governor.begin(0, 0);
  governor.sample(10_000, 2 * allowedMs);
  for (let at = 20_000; at <= limits.readingWindowMs + 20_000; at += 10_000) governor.sample(at, 2 * allowedMs);
  t.equal(governor.share, 0);
  t.equal(governor.pauseMs(40), 0);
});
