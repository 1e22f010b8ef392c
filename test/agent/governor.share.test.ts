import t from 'tap';
import { Governor } from '../../agent/governor.ts';
import { limits } from '../../shared/limits.ts';

const second = 1_000;
/** A governor that has seen a share of one core for so long. */
function after(share: number, ms: number): Governor {
  const governor = new Governor();
  governor.begin(0, 500);
  for (let at = 0; at <= ms; at += 10 * second) governor.sample(at, 500 + at * share);
  return governor;
}

t.test('within its share nothing waits; over it, as long as the share asks for', async (t) => {
  const cases = [
    { share: limits.readingShareMax * 0.99, pause: 0 },
    { share: limits.readingShareMax, pause: 0 },
    { share: limits.readingShareMax * 1.01, pause: 100 / limits.readingShareMax },
  ];
  for (const { share, pause } of cases) t.equal(after(share, limits.readingWindowMs).pauseMs(100), pause, `${share}`);
});

t.test('a burst is paid for by the quiet before and after', async (t) => {
  const governor = after(0, limits.readingWindowMs);
  const allowance = limits.readingShareMax * limits.readingWindowMs;
  governor.sample(limits.readingWindowMs + second, 500 + allowance);
  t.equal(governor.pauseMs(100), 0);
  governor.sample(limits.readingWindowMs + 3 * second, 501 + allowance);
  t.not(governor.pauseMs(100), 0);
  governor.sample(2 * limits.readingWindowMs + 20 * second, 501 + allowance);
  governor.sample(2 * limits.readingWindowMs + 40 * second, 501 + allowance);
  t.equal(governor.pauseMs(100), 0, 'the window has passed');
});

t.test('what was spent before it began is not counted', async (t) => {
  const governor = new Governor();
  governor.sample(0, 0);
  governor.sample(5 * second, 60 * second);
  governor.begin(5 * second, 60 * second);
  t.equal(governor.share, 0);
});

t.test('it remembers no more than its window', async (t) => {
  const governor = after(0.01, 100 * limits.readingWindowMs);
  t.ok(Math.abs(governor.share - 0.01) < 0.001);
});
