// Shrinks what kernel and walk disagree on: lines of rules and packets are left out as long as the disagreement stays.
import type { Generated, Given } from './contest.ts';

/** Whether something still shows the disagreement. */
type Oracle = (given: Given) => Promise<boolean>;

/** A smaller case that still disagrees; the same one where none is found in time. */
export async function shrink(given: Given, disagrees: Oracle, deadline: number): Promise<Given> {
  let best = given;
  const better = async (candidate: Given): Promise<boolean> => {
    if (performance.now() > deadline || !(await disagrees(candidate).catch(() => false))) return false;
    best = candidate;
    return true;
  };
  await fewer(best.drafts, async (drafts) => better({ ...best, drafts }));
  for (let lines = 0; lines !== lineCount(best.generated) && performance.now() < deadline; ) {
    lines = lineCount(best.generated);
    for (const name of Object.keys(best.generated.rules) as (keyof Generated['rules'])[]) {
      const { [name]: left, ...others } = best.generated.rules;
      if (await better({ ...best, generated: { ...best.generated, rules: others } })) continue;
      if (typeof left === 'string') await fewerLines(left, async (text) => better(withRules(best, name, text)));
      else if (left !== undefined) await fewerSettings(left, async (settings) => better(withRules(best, name, settings)));
    }
    await fewer(best.generated.changes ?? [], async (changes) => better({ ...best, generated: { ...best.generated, changes } }));
    for (const [index, change] of (best.generated.changes ?? []).entries()) {
      await fewerLines(change.ipset, async (ipset) => {
        const changes = (best.generated.changes ?? []).map((each, at) => (at === index ? { ...each, ipset } : each));
        return better({ ...best, generated: { ...best.generated, changes } });
      });
    }
    await fewer(best.drafts, async (drafts) => better({ ...best, drafts }));
  }
  return best;
}

const withRules = (given: Given, name: string, value: unknown): Given => ({
  ...given,
  generated: { ...given.generated, rules: { ...given.generated.rules, [name]: value } },
});

const lineCount = ({ rules, changes = [] }: Generated): number =>
  JSON.stringify([rules, changes]).split('\\n').length + Object.keys(rules.sysctls ?? {}).length;

/** Leaves out runs of items, halves first and single items last, as long as that is accepted. */
async function fewer<Item>(items: readonly Item[], accept: (items: readonly Item[]) => Promise<boolean>): Promise<void> {
  let left = items;
  for (let size = Math.ceil(left.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < left.length; ) {
      const without = [...left.slice(0, at), ...left.slice(at + size)];
      if (without.length < left.length && (await accept(without))) left = without;
      else at += size;
    }
  }
}

/** Lines that can be left out by themselves: rules, elements and entries, not what holds them. */
const isRemovable = (line: string): boolean =>
  /^(-A|-I|add|flush|del|route|rule)\s/.test(line) || /^\s{4}(?!type )\S/.test(line) || /^\s+(chain|set|map) \S+ \{.*\}$/.test(line);

async function fewerLines(text: string, accept: (text: string) => Promise<boolean>): Promise<void> {
  const lines = text.split('\n').map((line, index) => ({ line, index }));
  const fixed = lines.filter(({ line }) => !isRemovable(line));
  const joined = (kept: typeof lines): string =>
    [...fixed, ...kept]
      .sort((a, b) => a.index - b.index)
      .map(({ line }) => line)
      .join('\n');
  await fewer(
    lines.filter(({ line }) => isRemovable(line)),
    (kept) => accept(joined([...kept])),
  );
}

async function fewerSettings(
  settings: Readonly<Record<string, string>>,
  accept: (settings: Readonly<Record<string, string>>) => Promise<boolean>,
): Promise<void> {
  await fewer(Object.entries(settings), (kept) => accept(Object.fromEntries(kept)));
}
