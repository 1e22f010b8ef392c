// The judge: random rulesets in the kernel, real packets, and the walk's predictions held against what happened. RULESETS=N runs more, SEED=N or random takes
// others, SHRINK=1 shrinks a disagreement (which takes minutes) and keeps it under found/.
import fc from 'fast-check';
import t from 'tap';
import { labObstacle } from '../cluster.ts';
import { Arena } from './arena.ts';
import { firewallBases } from './bases.ts';
import { contest, drafts, newTally } from './contest.ts';
import { foundCases, keepFound } from './found.ts';
import { rulesets } from './rulesets.ts';

const runs = Number(process.env['RULESETS'] ?? 300);
// The same rulesets in every run of the test-suite; `make fuzz-kernel` takes new ones each time.
const seed = process.env['SEED'] === 'random' ? Math.floor(Math.random() * 2 ** 31) : Number(process.env['SEED'] ?? 20_261_122);
t.setTimeout(3_600_000);
const obstacle = await labObstacle();

t.test(`the walk agrees with the kernel (seed ${seed})`, { skip: obstacle ?? false, timeout: 3_600_000 }, async (t) => {
  const arena = await Arena.build();
  t.teardown(() => arena.close());
  const tally = newTally();
  for (const [name, { why, generated, drafts: packets }] of foundCases()) {
    t.same(await contest(arena, { generated, drafts: packets }, newTally()), [], `${name}: ${why}`);
  }
  const property = fc.asyncProperty(rulesets(firewallBases()), drafts, async (generated, packets) => {
    const differences = await contest(arena, { generated, drafts: packets }, tally).catch((error: Error) => {
      // nft knows more ways to refuse a rule than the generator knows to avoid; the judge has nothing to say of those.
      if (!/restore: line \d+ failed|\/dev\/stdin:\d+/.test(error.message)) throw error;
      tally.refused++;
      return [];
    });
    if (differences.length > 0) throw new Error(`${generated.kind}:\n${differences.join('\n')}`);
  });
  const result = await fc.check(property, {
    numRuns: runs,
    seed,
    endOnFailure: process.env['SHRINK'] === undefined,
    interruptAfterTimeLimit: Number(process.env['LIMIT_MS'] ?? 3_000_000),
  });
  const counted = (map: ReadonlyMap<string, number>): string =>
    [...map]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, count]) => `${name} ${count}`)
      .join(', ');
  t.comment(
    `${tally.rulesets} rulesets, ${tally.packets} packets, ${tally.uncertain} left open, ${tally.decidersCounted} deciding rules seen to count, ${tally.refused} rulesets refused by their tools`,
  );
  t.comment(`kinds: ${counted(tally.kinds)}`);
  t.comment(`met: ${counted(tally.meetings)}`);
  if (result.failed) {
    const [generated, packets] = result.counterexample ?? [];
    if (process.env['SHRINK'] !== undefined && generated !== undefined)
      t.comment(`kept as ${keepFound({ why: 'to be said', generated, drafts: packets ?? [] })}`);
    t.comment(`after ${result.numRuns} rulesets: ${(result.errorInstance as Error | null)?.message}`);
    t.comment(
      `ruleset:\n${Object.entries(generated?.rules ?? {})
        .map(([name, text]) => `== ${name}\n${typeof text === 'string' ? text : JSON.stringify(text)}`)
        .join('\n')}`,
    );
  }
  t.equal(result.failed, false, 'no disagreement');
  t.ok(tally.refused <= runs / 20, 'the tools accept nearly all rulesets');
  t.ok(tally.uncertain < tally.packets / 10, 'the walk is certain of most packets');
  for (const met of ['ok', 'refused', 'unreachable', 'timeout']) t.ok((tally.meetings.get(met) ?? 0) > 0, `some packets met "${met}"`);
});
