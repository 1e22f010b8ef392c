// Delivery as a whole under every fault at once: random histories of changes, crashes, torn writes, full and failing disks, cut, repeated, reordered and lost frames,
// and clocks that are set. Whatever happens: nothing acknowledged is lost, nothing is there twice, nothing is missing without a word.
import fc from 'fast-check';
import t from 'tap';
import { randomOf } from '../support/crashing-disk.ts';
import { type Counts, noCounts, settled, World } from './world.ts';

type Command = { readonly kind: keyof typeof commands; readonly n: number; readonly ticks: number };

const commands = {
  change: (world: World, n: number) => world.change(1 + (n % 4)),
  flood: (world: World, n: number) => world.change(50 + (n % 200)),
  facts: (world: World, n: number) => world.setFacts(n),
  wait: (world: World, n: number) => world.wait(1 + (n % 90)),
  deliver: (world: World, n: number) => world.deliver(1 + (n % 6)),
  connect: (world: World) => world.connect(),
  cut: (world: World, n: number) => world.cut(n),
  misdeliver: (world: World, n: number) => world.misdeliver(n),
  jump: (world: World, n: number) => world.jump(n - 500),
  killAgent: (world: World, n: number) => world.killAgent(n),
  losePower: (world: World, n: number) => world.losePower(n % 9),
  stopAgent: (world: World) => world.stopAgent(),
  startAgent: (world: World) => world.startAgent(),
  failDisk: (world: World, n: number) => world.failDisk(n),
  killCollector: (world: World, n: number) => world.killCollector(n),
  failStore: (world: World, n: number) => world.failStore(n),
  startCollector: (world: World) => world.startCollector(),
};

const weights: Partial<Record<keyof typeof commands, number>> = {
  change: 10,
  flood: 1,
  deliver: 12,
  connect: 12,
  misdeliver: 6,
  wait: 4,
  startAgent: 8,
  startCollector: 8,
  jump: 1,
};

const command = (leftOut: readonly (keyof typeof commands)[]) =>
  fc.oneof(
    ...(Object.keys(commands) as (keyof typeof commands)[])
      .filter((kind) => !leftOut.includes(kind))
      .map((kind) => ({
        weight: weights[kind] ?? 2,
        arbitrary: fc.record({ kind: fc.constant(kind), n: fc.nat(1_000), ticks: fc.nat(40) }) as fc.Arbitrary<Command>,
      })),
  );

t.setTimeout(3_600_000);
const { now } = Date;
t.teardown(() => {
  Date.now = now;
});

async function live(history: readonly Command[], seed: number, counts: Counts): Promise<string[]> {
  const world = new World(randomOf(seed), counts);
  Date.now = () => world.now;
  try {
    await world.begin();
    for (const { kind, n, ticks } of history) {
      await commands[kind](world, n);
      // Some of what waits goes on, or all: the next thing happens in the middle of the one before.
      if (ticks >= 30) await settled();
      else for (let tick = 0; tick < ticks; tick++) await null;
    }
    await world.heal();
    return world.faults();
  } finally {
    await world.end();
    Date.now = now;
  }
}

/** One seed in `make test`, as a suite that fails by chance stops everybody; `make crashes` draws another each time. */
const seed = Number(process.env.SEED ?? 1_961_588_017);
const runs = Number(process.env.RUNS ?? 300);

/** A history in few words, as a failing one is kept: `KIND N TICKS`, separated by commas. */
const historyOf = (text: string): Command[] =>
  text.split(',').map((each) => {
    const [kind, n, ticks] = each.trim().split(' ');
    return { kind: kind as keyof typeof commands, n: Number(n), ticks: Number(ticks) };
  });

t.test('the directory of a spool fails while what is acknowledged is removed, and then the power', async (t) => {
  const history = historyOf(
    'cut 0 0, change 0 0, connect 0 0, deliver 0 0, startAgent 0 30, deliver 494 0, losePower 104 30, deliver 739 0, failDisk 0 0, startCollector 0 0, ' +
      'deliver 0 0, deliver 0 0, change 0 0, connect 0 0, deliver 0 0, failStore 0 0, change 0 0, change 0 0, misdeliver 0 0, stopAgent 0 0, change 0 0, ' +
      'misdeliver 0 0, connect 0 0, startAgent 0 0, change 0 0, facts 0 0, killAgent 0 0, startAgent 0 0, startAgent 0 0',
  );
  t.strictSame(await live(history, 0, noCounts()), []);
});

t.test('a clock that is set back while a run waits for a collector, and an agent that is killed then', async (t) => {
  const history = historyOf(
    'wait 23 0, deliver 493 0, stopAgent 0 0, startAgent 0 0, jump 476 0, deliver 0 0, startAgent 0 0, startCollector 0 0, killCollector 0 0, misdeliver 0 0, ' +
      'flood 0 0, wait 0 0, startAgent 0 0, misdeliver 0 0, connect 0 0, facts 0 0, misdeliver 0 0, killAgent 0 0, startCollector 0 0, change 0 0, deliver 0 0, ' +
      'connect 0 0, connect 0 0, deliver 0 0, deliver 0 0, deliver 0 0',
  );
  t.strictSame(await live(history, 0, noCounts()), []);
});

for (const [name, leftOut] of [
  ['clocks that run evenly', ['jump']],
  ['clocks that are set', []],
] as const) {
  t.test(`any history, ${name}: nothing acknowledged is lost, nothing is there twice, no gap is silent`, async (t) => {
    const counts = noCounts();
    const property = fc.asyncProperty(fc.array(command(leftOut), { minLength: 20, maxLength: 120, size: 'max' }), fc.nat(), async (history, chance) => {
      const faults = await live(history, chance, counts);
      if (faults.length > 0) throw new Error(faults.slice(0, 5).join('\n'));
    });
    await fc.assert(property, { seed, numRuns: runs, endOnFailure: process.env.SHRINK === undefined && process.env.CI !== undefined });
    const crashes = counts.agentKills + counts.agentPowerLosses + counts.collectorKills;
    t.comment(`SEED=${seed}: ${runs} histories, ${crashes} crash points, ${JSON.stringify(counts)}: 0 lost, 0 twice, 0 silent gaps`);
    t.ok(crashes >= runs * 2, `${crashes} crash points`);
  });
}
