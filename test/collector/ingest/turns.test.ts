// Who gets the collector's time: those within their share at once, the others one after the other.
import t from 'tap';
import { Turns } from '../../../collector/ingest/turns.ts';
import { limits } from '../../../shared/limits.ts';

t.test('an identity is served at once until it has used its share, and again when time has passed', async (t) => {
  let now = 0;
  const turns = new Turns(() => now);
  t.ok(turns.isLight('a'));
  turns.spend('a', limits.sessionBurstMs - 1);
  t.ok(turns.isLight('a'));
  turns.spend('a', 2);
  t.notOk(turns.isLight('a'));
  t.ok(turns.isLight('b'), 'what one has used is not counted to another');
  now += 1_000;
  t.ok(turns.isLight('a'));
  turns.spend('a', 100 * limits.sessionBurstMs);
  now += (limits.sessionBurstMs / limits.sessionMsPerSecond) * 1_000 - 1_000;
  t.notOk(turns.isLight('a'));
  now += 2_000;
  t.ok(turns.isLight('a'), 'what was used far beyond it is forgotten within seconds');
});

t.test('those beyond their share take turns in the order in which they came, none of them at once', async (t) => {
  const turns = new Turns();
  for (const who of ['a', 'b']) turns.spend(who, 2 * limits.sessionBurstMs);
  const gone: string[] = [];
  const all = ['a', 'b', 'a'].map(async (who) => {
    await turns.turn();
    gone.push(who);
    turns.spend(who, 1);
  });
  await Promise.resolve();
  t.same(gone, []);
  await Promise.all(all);
  t.same(gone, ['a', 'b', 'a']);
});

t.test('closing lets go whoever waits', async () => {
  const turns = new Turns();
  const turn = turns.turn();
  turns.close();
  await turn;
});
