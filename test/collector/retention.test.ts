// What is forgotten of the store, by age and by size, and by whom.
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { soleOwner } from '../../collector/replicas/ownership.ts';
import { keepRetention, retentionOf } from '../../collector/retention.ts';
import { openSqliteStore } from '../../collector/store/sqlite.store.ts';
import { limits } from '../../shared/limits.ts';
import { changeOf } from './ingest/client.ts';

// Many commits and processes, which take their time on a busy machine.
t.setTimeout(180_000);

const silent = { info: () => {}, error: () => {} };
const dayMs = 86_400_000;

t.test('options and limits', async (t) => {
  t.strictSame(retentionOf({}), { days: limits.retentionDays, bytes: limits.retentionBytes });
  t.strictSame(retentionOf({ retentionDays: 7, retentionBytes: 5 }), { days: 7, bytes: 5 });
});

t.test('what is older than it need be goes, in portions, and nothing else; only where the collector leads', async (t) => {
  const { store } = await openSqliteStore(t.testdir({}));
  t.teardown(() => store.close());
  const now = Date.now();
  const old = Array.from({ length: limits.retentionRowsMax + 500 }, (_, i) => changeOf(i + 1, { at: now - 31 * dayMs }));
  for (let at = 0; at < old.length; at += 1_000) await store.appendChanges(old.slice(at, at + 1_000));
  const fresh = [changeOf(1, { stream: 'fresh', at: now - 29 * dayMs }), changeOf(2, { stream: 'fresh', at: now })];
  await store.appendChanges(fresh);
  let isLeader = false;
  let portions = 0;
  const counted = { ...store, forget: (...args: Parameters<typeof store.forget>) => store.forget(...args).finally(() => portions++) };
  const team = { store: counted, ownership: soleOwner, isLeader: () => isLeader };
  const retention = keepRetention({ team, log: silent, days: 30, bytes: 1e12, everyMs: 20 });
  t.teardown(() => retention.close());
  await sleep(100);
  t.equal(portions, 0, 'a replica that does not lead forgets nothing');
  isLeader = true;
  for (let tries = 0; portions < 3 && tries < 500; tries++) await sleep(20);
  await retention.close();
  t.ok(portions >= 3, 'no transaction forgets more than a portion');
  t.strictSame((await store.changes({ limit: 10 })).items, fresh.toReversed());
});

t.test('over the size the oldest go until it fits', async (t) => {
  const { store } = await openSqliteStore(t.testdir({}));
  t.teardown(() => store.close());
  const many = Array.from({ length: 2_000 }, (_, i) => changeOf(i + 1, { at: Date.now() - 2_000 + i, after: 'x'.repeat(1_000) }));
  for (let at = 0; at < many.length; at += 500) await store.appendChanges(many.slice(at, at + 500));
  const retention = keepRetention({ team: { store, ownership: soleOwner, isLeader: () => true }, log: silent, days: 30, bytes: 1_500_000, everyMs: 20 });
  t.teardown(() => retention.close());
  let left = 2_000;
  for (let tries = 0, same = 0; tries < 300 && same < 10; tries++) {
    await sleep(30);
    const { items } = await store.changes({ limit: 2_000 });
    same = items.length === left && left < 2_000 ? same + 1 : 0;
    left = items.length;
  }
  await retention.close();
  t.ok(left > 300 && left < 1_500, `${left} of 2000 are left`);
  const { items } = await store.changes({ limit: 2_000 });
  t.strictSame([items[0]?.seq, items.at(-1)?.seq], [2_000, 2_001 - left], 'the newest');
});
