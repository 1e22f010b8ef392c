// Recognises rules that mark a packet once more as it is marked already: whichever of the packets they hold for, all stay as they were, and none need be told apart.
// Every endpoint of kube-proxy has one, for the packets that it sends to itself.
import type { State } from './packet.ts';
import type { Action, Rule, Step } from './rule.ts';
import type { Table } from './ruleset.ts';

type Mark = Action & { readonly kind: 'setMark' };

/** Whether a rule that looks at the source does nothing to a packet but set the mark that it has. */
export function marksAgain(table: Table, { steps }: Rule, { mark }: State): boolean {
  const [first] = steps;
  const last = steps[steps.length - 1];
  if (first?.kind !== 'address' || first.field !== 'source' || (last?.kind !== 'jump' && last?.kind !== 'setMark')) return false;
  const marks = last.kind === 'setMark' ? [last] : marksOfChain(table, last.chain);
  return marks?.every(({ and, xor }) => ((mark & and) ^ xor) >>> 0 === mark) === true && haveOnlyConditions(steps);
}

const haveOnlyConditions = (steps: readonly Step[]): boolean => steps.every((step, index) => index === steps.length - 1 || divides.has(step.kind));

/** Conditions that hold for certain or not, or divide the packets. */
const divides: ReadonlySet<Step['kind']> = new Set(['address', 'number', 'interface', 'conntrackState', 'conntrackDirection', 'addressType']);

/** The marks that a chain's rules set; undefined if they do anything else. */
function marksOfChain(table: Table, name: string): readonly Mark[] | undefined {
  let chains = known.get(table);
  if (chains === undefined) known.set(table, (chains = new Map()));
  const marks = chains.get(name) ?? readMarks(table, name);
  // Nearly all chains do something else, and are jumped to by one rule.
  if (marks !== undefined) chains.set(name, marks);
  return marks;
}
const known = new WeakMap<Table, Map<string, readonly Mark[]>>();

/** Rules of a chain that only marks. */
const rulesMax = 4;

function readMarks(table: Table, name: string): readonly Mark[] | undefined {
  const chain = table.chains.get(name);
  if (chain === undefined || chain.length > rulesMax) return undefined;
  const marks: Mark[] = [];
  for (let index = 0; index < chain.length; index++) {
    const { steps } = chain.rule(index);
    const last = steps.at(-1);
    if (last?.kind !== 'setMark' || !haveOnlyConditions(steps)) return undefined;
    marks.push(last);
  }
  return marks;
}
