// The judge: random rulesets in the kernel, real packets, and the walk's predictions held against what happened. RULESETS=N runs more, SEED=N or random takes
// others, LANES=N runs as many arenas beside each other. A disagreement is shrunk and kept under found/.
import fc from 'fast-check';
import t from 'tap';
import { labObstacle } from '../cluster.ts';
import { Arena } from './arena.ts';
import { firewallBases } from './bases.ts';
import { contest, type Given } from './contest.ts';
import { drafts } from './drafts.ts';
import { foundCases, keepFound } from './found.ts';
import { rulesets } from './rulesets.ts';
import { shrink } from './shrink.ts';
import { Tally } from './tally.ts';

const runs = Number(process.env['RULESETS'] ?? 300);
const lanes = Number(process.env['LANES'] ?? 6);
// The same rulesets in every run of the test-suite; `make fuzz-kernel` takes new ones each time.
const seed = process.env['SEED'] === 'random' ? Math.floor(Math.random() * 2 ** 31) : Number(process.env['SEED'] ?? 20_261_122);
/** The number of one ruleset, to run it alone. */
const only = process.env['ONLY'];
/** Goes on after a disagreement and shrinks none. */
const survey = process.env['SURVEY'] !== undefined;
const packetsOfEach = 24;
const shrinkMs = 90_000;
t.setTimeout(3_600_000);
const obstacle = await labObstacle(['perl', 'ipset', 'conntrack', 'iptables-legacy-restore', 'setpriv']);

t.test(`the walk agrees with the kernel (seed ${seed})`, { skip: obstacle ?? false, timeout: 3_600_000 }, async (t) => {
  const arenas = await Promise.all(Array.from({ length: lanes }, () => Arena.build()));
  t.teardown(() => Promise.all(arenas.map((arena) => arena.close())));
  const tally = new Tally();
  await shared(arenas, foundCases(), async (arena, [name, { why, ...given }]) => {
    t.same(await contest(arena, given, new Tally()), [], `${name}: ${why}`);
  });
  const cases = fc.sample(fc.record({ generated: rulesets(firewallBases()), drafts: drafts(packetsOfEach) }), { numRuns: runs, seed });
  const chosen = [...cases.entries()].filter(([index]) => only === undefined || index === Number(only));
  let disagreed = 0;
  await shared(arenas, chosen, async (arena, [index, given]) => {
    if (disagreed > 0 && !survey) return;
    const differences = await judged(arena, given, tally);
    if (differences.length === 0 || (disagreed++ > 0 && !survey)) return;
    t.comment(`after ${tally.rulesets} rulesets, in number ${index}, ${given.generated.kind}:\n${differences.join('\n')}`);
    if (!survey) await tellSmallest(arena, given, t);
  });
  for (const line of tally.lines()) t.comment(line);
  t.equal(disagreed, 0, 'no disagreement');
  t.ok(tally.refused <= runs / 20, 'the tools accept nearly all rulesets');
  t.ok(tally.uncertain < tally.packets / 10, 'the walk is certain of most packets');
});

/** Works through a list with several arenas at once. */
async function shared<Item>(arenas: readonly Arena[], items: readonly Item[], work: (arena: Arena, item: Item) => Promise<void>): Promise<void> {
  const left = items[Symbol.iterator]();
  await Promise.all(
    arenas.map(async (arena) => {
      for (const item of left) await work(arena, item);
    }),
  );
}

/** What kernel and walk differ in. A ruleset that its own tool does not take says nothing: nft knows more ways to refuse a rule than the generator to avoid. */
async function judged(arena: Arena, given: Given, tally: Tally): Promise<readonly string[]> {
  return contest(arena, given, tally).catch((error: Error) => {
    if (!/restore: line \d+ failed|\/dev\/stdin:\d+|ipset v|RTNETLINK/.test(error.message)) throw error;
    if (process.env['SHOW_REFUSED'] !== undefined) process.stderr.write(`${given.generated.kind}: ${error.message}\n`);
    tally.refused++;
    return [];
  });
}

async function tellSmallest(arena: Arena, given: Given, t: { readonly comment: (text: string) => void }): Promise<void> {
  const smallest = await shrink(given, async (candidate) => (await contest(arena, candidate, new Tally())).length > 0, performance.now() + shrinkMs);
  const differences = await contest(arena, smallest, new Tally());
  t.comment(`kept as ${keepFound({ why: differences[0] ?? 'to be said', ...smallest })}`);
  t.comment(`shrunk to ${JSON.stringify(smallest.drafts)}\n${differences.join('\n')}`);
  for (const [name, text] of Object.entries(smallest.generated.rules)) t.comment(`== ${name}\n${typeof text === 'string' ? text : JSON.stringify(text)}`);
  if (smallest.generated.changes !== undefined) t.comment(JSON.stringify(smallest.generated.changes));
}
