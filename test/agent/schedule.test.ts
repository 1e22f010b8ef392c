import t from 'tap';
import { type Paced, paces, unwatchedMs } from '../../agent/schedule.ts';
import type { Wake } from '../../agent/sources/source.ts';
import { limits } from '../../shared/limits.ts';

const source = (given: Partial<Paced>): Paced => ({ name: 'x', pollMs: undefined, wakes: ['nft'], costMs: 5, failed: false, ...given });
const paceOf = (given: Partial<Paced>, told: readonly Wake[] = ['nft'], certain: readonly Wake[] = []) =>
  paces([source(given)], new Set(told), new Set(certain)).get(given.name ?? 'x');

t.test('what events tell of is read seldom, and often where they do not come', async (t) => {
  t.match(paceOf({}), { everyMs: 600_000, watched: true });
  t.match(paceOf({}, []), { everyMs: unwatchedMs, watched: false });
});

t.test('a source that failed is tried again soon, in proportion to what it costs, and no later than otherwise', async (t) => {
  t.match(paceOf({ failed: true }), { everyMs: unwatchedMs, watched: true });
  t.match(paceOf({ failed: true, costMs: 300 }), { everyMs: 300 / limits.readingClockShareMax });
  t.match(paceOf({ failed: true, costMs: 60_000 }), paceOf({ costMs: 60_000 }) ?? {});
  t.match(paceOf({ failed: true, wakes: [], pollMs: 3_000 }), { everyMs: 3_000 });
});

t.test('a failing source makes no other late', async (t) => {
  const others = [source({ name: 'listeners', wakes: [], pollMs: 3_000 }), source({ name: 'nftables', failed: true, costMs: 2_000 })];
  t.equal(paces(others, new Set(['nft']), new Set()).get('listeners')?.everyMs, 3_000);
});

t.test('legacy tables, sets and IPVS are polled only where nobody tells of them', async (t) => {
  const legacy = { name: 'iptables', wakes: ['iptables-ip', 'iptables-legacy'] as const, pollMs: 2_000, costMs: 1 };
  t.match(paceOf(legacy, ['iptables-ip']), { everyMs: 2_000, watched: false });
  t.match(paceOf(legacy, ['iptables-ip', 'iptables-legacy']), { everyMs: 10_000, watched: false });
  t.match(paceOf(legacy, ['iptables-ip', 'iptables-legacy'], ['iptables-legacy']), { everyMs: 600_000, watched: true });
});
