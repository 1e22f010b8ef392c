// Who gets the collector's time: those within their share at once, the others one after the other.
import t from 'tap';
import { pauseAfter, Turns } from '../../../collector/ingest/turns.ts';
import { limits } from '../../../shared/limits.ts';

const { sessionBurstMs, sessionMsPerSecond, heavyBlockMs, heavyQuietMs, heavyShare, heavyLongShare } = limits;

/** Has an identity use time that keeps nobody waiting. */
async function use(turns: Turns, who: string, laterMs: number): Promise<void> {
  const end = await turns.begin(who);
  end({ blocksMs: 0, laterMs });
}

t.test('an identity is served at once until it has used its share, and again when it was quiet for so long that all of it is there', async (t) => {
  let now = 0;
  const turns = new Turns(() => now);
  t.ok(turns.isLight('a'));
  await use(turns, 'a', sessionBurstMs - 1);
  t.ok(turns.isLight('a'));
  await use(turns, 'a', 1);
  t.notOk(turns.isLight('a'));
  t.ok(turns.isLight('b'), 'what one has used is not counted to another');
  now += (sessionBurstMs / sessionMsPerSecond) * 1_000 - 1_000;
  t.notOk(turns.isLight('a'), 'a part of it does not do');
  now += 2_000;
  t.ok(turns.isLight('a'));
});

t.test('what comes later counts as well, and what is used far beyond the share is forgotten', async (t) => {
  let now = 0;
  const turns = new Turns(() => now);
  const end = await turns.begin('a');
  end({ blocksMs: 1, laterMs: 100 * sessionBurstMs });
  end({ blocksMs: 1_000 });
  t.notOk(turns.isLight('a'));
  now += ((2 * sessionBurstMs) / sessionMsPerSecond) * 1_000 + 1;
  t.ok(turns.isLight('a'));
});

t.test('who has something waiting gets nothing added: without a pause it stays beyond its share', async (t) => {
  let now = 0;
  const turns = new Turns(() => now);
  await use(turns, 'a', sessionBurstMs);
  const waiting = turns.begin('a');
  now += 3_600_000;
  t.notOk(turns.isLight('a'));
  (await waiting)({ blocksMs: 1 });
  t.notOk(turns.isLight('a'));
  now += 3_600_000;
  t.ok(turns.isLight('a'));
  turns.close();
});

t.test('those beyond their share take turns, one at a time', async (t) => {
  // The clock stands from when nobody else has come for long: there are no pauses, and both have used alike.
  let now = 0;
  const turns = new Turns(() => now);
  for (const who of ['a', 'b']) await use(turns, who, 2 * sessionBurstMs);
  now = heavyQuietMs + 1;
  const order: string[] = [];
  const all = ['a', 'b', 'a'].map(async (who) => {
    const end = await turns.begin(who);
    order.push(`${who} begins`);
    await new Promise((resolve) => setImmediate(resolve));
    order.push(`${who} ends`);
    end({ blocksMs: 0.1 });
  });
  await Promise.resolve();
  t.same(order, [], 'none at once');
  await Promise.all(all);
  t.same(order, ['a begins', 'a ends', 'b begins', 'b ends', 'a begins', 'a ends']);
});

t.test('of those beyond their share, who has used least comes first', async (t) => {
  const turns = new Turns();
  await use(turns, 'much', 2 * sessionBurstMs);
  await use(turns, 'little', sessionBurstMs);
  const order: string[] = [];
  const all = ['much', 'much', 'little'].map(async (who) => {
    const end = await turns.begin(who);
    order.push(who);
    end({ blocksMs: 0.1 });
  });
  await Promise.all(all);
  t.same(order, ['little', 'much', 'much']);
});

t.test('who is within its share does not wait for one beyond it that has the turn', async (t) => {
  const turns = new Turns();
  await use(turns, 'heavy', sessionBurstMs);
  const end = await turns.begin('heavy');
  await use(turns, 'light', 1);
  t.pass();
  end({ blocksMs: 1 });
});

t.test('who keeps others waiting for long holds up those like it, and none that do not', async (t) => {
  let now = 0;
  const turns = new Turns(() => now);
  for (const who of ['long', 'longer', 'short']) await use(turns, who, 2 * sessionBurstMs);
  const order: string[] = [];
  const serve = async (who: string, blocksMs: number): Promise<void> => {
    const end = await turns.begin(who);
    order.push(who);
    now += blocksMs;
    end({ blocksMs });
  };
  const settled = () => new Promise((resolve) => setTimeout(resolve, 5));
  for (const who of ['long', 'longer']) {
    await serve(who, 2 * heavyBlockMs);
    now += pauseAfter({ blocksMs: 2 * heavyBlockMs }, heavyShare);
  }
  const waiting = ['long', 'longer'].map((who) => serve(who, 2 * heavyBlockMs));
  for (let i = 0; i < 3; i++) {
    await serve('short', heavyBlockMs);
    now += pauseAfter({ blocksMs: heavyBlockMs }, heavyShare);
  }
  await settled();
  t.same(order, ['long', 'longer', 'short', 'short', 'short']);
  now += pauseAfter({ blocksMs: 2 * heavyBlockMs }, heavyLongShare);
  await serve('short', heavyBlockMs);
  turns.close();
  await Promise.all(waiting);
});

t.test('the pause is as long as the share says', async (t) => {
  t.equal(pauseAfter({ blocksMs: 1, laterMs: 2 }, 0.1), 27);
  t.equal(pauseAfter({ blocksMs: 1 }, 1), 0);
});

t.test('while nobody else has sent anything for a while, there is no pause', async (t) => {
  let now = 0;
  const turns = new Turns(() => now);
  await use(turns, 'a', 2 * sessionBurstMs);
  now += heavyQuietMs + 1;
  for (let i = 0; i < 100; i++) await use(turns, 'a', heavyBlockMs);
  t.pass('the clock stands, and all are served');
});

t.test('closing lets go whoever waits, and whoever comes then', async (t) => {
  const turns = new Turns();
  await use(turns, 'a', sessionBurstMs);
  const first = await turns.begin('a');
  const waiting = turns.begin('a');
  turns.close();
  (await waiting)({ blocksMs: 1 });
  first({ blocksMs: 1 });
  await use(turns, 'a', 1);
  t.pass();
});
