import t from 'tap';
import { checkMs, late, type Paced, paces, unwatchedMs } from '../../agent/schedule.ts';
import type { Wake } from '../../agent/sources/source.ts';
import { limits } from '../../shared/limits.ts';

const source = (name: string, more: Partial<Paced> = {}): Paced => ({ name, pollMs: undefined, wakes: [], costMs: 0, failed: false, ...more });
const paceOf = (each: Paced, told: readonly Wake[] = [], certain: readonly Wake[] = []) => paces([each], new Set(told), new Set(certain)).get(each.name);

const cases: readonly {
  readonly name: string;
  readonly source: Paced;
  readonly told?: readonly Wake[];
  readonly certain?: readonly Wake[];
  readonly expected: object;
}[] = [
  { name: 'events tell of it', source: source('routes', { wakes: ['route', 'link'] }), told: ['route', 'link'], expected: { everyMs: checkMs, watched: true } },
  {
    name: 'one of its events is missing',
    source: source('routes', { wakes: ['route', 'link'] }),
    told: ['route'],
    expected: { everyMs: unwatchedMs, watched: false },
  },
  { name: 'it is polled', source: source('listeners', { pollMs: 3_000 }), expected: { everyMs: 3_000, watched: false } },
  {
    name: 'events tell of a part',
    source: source('sysctls', { pollMs: 5_000, wakes: ['netconf'] }),
    told: ['netconf'],
    expected: { everyMs: 5_000, watched: false },
  },
  {
    name: 'legacy tables that nobody tells of',
    source: source('iptables', { pollMs: 2_000, wakes: ['iptables-ip', 'iptables-legacy'] }),
    told: ['iptables-ip'],
    expected: { everyMs: 2_000, watched: false },
  },
  {
    name: 'legacy tables whose lock is watched',
    source: source('iptables', { pollMs: 2_000, wakes: ['iptables-ip', 'iptables-legacy'] }),
    told: ['iptables-ip', 'iptables-legacy'],
    expected: { everyMs: 10_000, watched: false },
  },
  {
    name: 'legacy tables that the kernel tells of',
    source: source('iptables', { pollMs: 2_000, wakes: ['iptables-ip', 'iptables-legacy'] }),
    told: ['iptables-ip', 'iptables-legacy'],
    certain: ['iptables-legacy'],
    expected: { everyMs: checkMs, watched: true },
  },
  {
    name: 'no legacy tables',
    source: source('iptables', { wakes: ['iptables-ip', 'iptables-legacy'] }),
    told: ['iptables-ip'],
    expected: { everyMs: checkMs, watched: true },
  },
  {
    name: 'rules without a monitor',
    source: source('iptables', { wakes: ['iptables-ip', 'iptables-legacy'] }),
    expected: { everyMs: unwatchedMs, watched: false },
  },
  { name: 'sets that nobody tells of', source: source('ipset', { pollMs: 10_000, wakes: ['ipset'] }), expected: { everyMs: 10_000, watched: false } },
  {
    name: 'sets that the kernel tells of',
    source: source('ipset', { pollMs: 10_000, wakes: ['ipset'] }),
    told: ['ipset'],
    certain: ['ipset'],
    expected: { everyMs: checkMs, watched: true },
  },
];
for (const { name, source: each, told, certain, expected } of cases) t.test(name, async (t) => t.match(paceOf(each, told, certain), expected));

t.test('what is polled shares what the clock may spend', async (t) => {
  const share = limits.readingClockShareMax;
  const all = [source('a', { pollMs: 1_000, costMs: 1_000 * share }), source('b', { pollMs: 10_000, costMs: 10_000 * share })];
  const both = paces(all, new Set(), new Set());
  t.equal(both.get('a')?.everyMs, 2_000);
  t.equal(both.get('b')?.everyMs, 20_000);
  t.equal(paces(all.slice(0, 1), new Set(), new Set()).get('a')?.everyMs, 1_000);
});

t.test('what is polled at little cost is polled as often as it wants to be, whatever the others cost', async (t) => {
  const share = limits.readingClockShareMax;
  const all = [
    source('cheap', { pollMs: 1_000, costMs: 100 * share }),
    source('dear', { pollMs: 1_000, costMs: 10_000 * share }),
    source('dearer', { pollMs: 1_000, costMs: 20_000 * share }),
  ];
  const found = paces(all, new Set(), new Set());
  t.equal(found.get('cheap')?.everyMs, 1_000);
  const spent = all.map(({ name, costMs }) => costMs / (found.get(name)?.everyMs ?? 0));
  t.ok(Math.abs((spent[1] ?? 0) - (spent[2] ?? 0)) < share / 1_000, 'the others share alike');
  t.ok(Math.abs(spent.reduce((sum, each) => sum + each, 0) - share) < share / 1_000, 'all that there is to spend is spent');
});

t.test('a check that is dear makes no other source late', async (t) => {
  const dear = source('iptables', { wakes: ['iptables-ip'], costMs: 190_000 });
  const found = paces([dear, source('listeners', { pollMs: 3_000, costMs: 1 })], new Set(['iptables-ip']), new Set());
  t.equal(found.get('iptables')?.everyMs, 190_000 / limits.readingClockShareMax);
  t.equal(found.get('listeners')?.everyMs, 3_000);
  t.match(late(found), [{ source: 'iptables' }]);
});

t.test('what is a little slow is not late', async (t) => {
  const pace = (everyMs: number, wantedMs: number) => new Map([['a', { everyMs, wantedMs, watched: false }]]);
  t.strictSame(late(pace(60_000, 3_000)), []);
  t.strictSame(late(pace(60_001, 3_000)), [{ source: 'a', everyMs: 60_001 }]);
  t.strictSame(late(pace(240_000, 60_000)), []);
  t.strictSame(late(pace(240_001, 60_000)), [{ source: 'a', everyMs: 240_001 }]);
});
