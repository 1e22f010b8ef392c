// A short run of the fuzzer (`make fuzz` is the long one): a fixed seed and a new one, and that it would notice what it looks for.
import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import t from 'tap';
import { dumpNames, excerpt, readDumps } from './dumps.ts';
import { countsText, fuzz } from './parsers.ts';
import { Random, seedOf } from './random.ts';
import { subjects } from './subjects.ts';
import { memoryVerdict, Trials, usualLimits, verdict } from './trial.ts';

t.setTimeout(200_000);

for (const [seed, mutations] of [
  [1, 3000],
  [Math.floor(Math.random() * 2 ** 31), 2000],
] as const) {
  t.test(`${mutations} mutations of seed ${seed}`, async (t) => {
    const { counts, failures } = await fuzz({ mutations, seed, workers: 2 });
    t.same(
      failures.map(({ text }) => text),
      [],
    );
    t.equal(
      [...counts.values()].reduce((sum, count) => sum + count, 0),
      mutations,
    );
    t.same([...counts.keys()].sort(), [...dumpNames].sort(), 'every parser had its share');
    t.comment(countsText(counts));
  });
}

t.test('the dumps themselves and what is cut out of them hold the laws', async (t) => {
  for (const name of dumpNames) {
    const { files, whole, large } = readDumps(name);
    t.ok(files.length > 0, `there are dumps of ${name}`);
    const failed = whole.flatMap((dump) => verdict(subjects[name], dump) ?? []);
    t.same(failed, [], `${whole.length} dumps of ${name}`);
    const random = new Random(5);
    for (const dump of whole.slice(0, 20)) if (verdict(subjects[name], excerpt(name, dump, random)) !== undefined) t.fail(`an excerpt of ${name}`);
    for (const dump of large) t.equal(memoryVerdict(name, dump), undefined, `memory of ${dump.length} bytes of ${name}`);
  }
});

t.test('a number of a run is one input, whatever ran before it', async (t) => {
  const [first, second] = [new Trials(9), new Trials(9)];
  const { input } = first.at(17);
  for (let number = 0; number < 17; number++) second.run(number);
  t.ok(second.at(17).input.equals(input));
  t.notOk(second.at(18).input.equals(input));
  t.notOk(new Trials(10).at(17).input.equals(input));
  t.equal(new Set(Array.from({ length: 5000 }, (_, number) => seedOf(3, number))).size, 5000, 'no two numbers share a seed');
});

t.test('a parser that breaks a law is noticed', async (t) => {
  const input = Buffer.from('a = b\n');
  const sound = subjects.sysctl;
  const slow = (): unknown => {
    // Of this thread's own time, which limits are about: on a busy machine it is less than has passed.
    const before = process.threadCpuUsage();
    while (process.threadCpuUsage(before).user < 2000 * usualLimits.parsing.floor);
    return sound.parse(input);
  };
  const throwing = (): never => {
    throw new Error('of no use');
  };
  t.equal(verdict(sound, input), undefined);
  t.match(verdict({ ...sound, parse: throwing }, input), /throws: Error: of no use/);
  t.equal(verdict({ ...sound, check: () => 'a line is lost' }, input), 'a line is lost');
  t.match(verdict({ ...sound, parse: slow }, input), /parsing 6 bytes took \d+ ms, the limit is 60 ms/);
});

t.test('a failing input is written to the file that the report names', async (t) => {
  // No input is quick enough for less than no time. tap removes the folder, as it made it.
  const none = { perMegabyte: -1e9, floor: -1 };
  const folder = t.testdir();
  const { failures } = await fuzz({ mutations: 2, seed: 9, workers: 1, folder, limits: { parsing: none, whole: none } });
  t.equal(failures.length, 2);
  const trials = new Trials(9);
  for (const [index, { text, file }] of failures.entries()) {
    t.equal(dirname(file), folder);
    t.match(text, `SEED=9 ONLY=${index + 1}, ${file}`);
    t.match(text, /took \d+ ms, the limit is -1 ms/);
    t.ok(readFileSync(file).equals(trials.at(index + 1).input));
  }
});
