// Recognises rules that mark a packet once more as it is marked already: whichever of the packets they hold for, all stay as they were, and none need be told apart.
// Every endpoint of kube-proxy has one, for the packets that it sends to itself.
// Branches that depend on a rule that cannot be judged are not passed over: where that rule says otherwise the packets may lack the mark and are told apart, and
// only what is told apart alike can show that the doubt makes no difference to some of them.
import type { State } from './packet.ts';
import type { Action, Rule, Step } from './rule.ts';
import type { Table } from './ruleset.ts';

type Mark = Action & { readonly kind: 'setMark' };

/** Whether a rule that looks at the source does nothing to a packet but set the mark that it has. */
export function marksAgain(table: Table, { steps }: Rule, { mark, assumptions }: State): boolean {
  if (assumptions.length > 0) return false;
  const first = steps[0];
  if (first?.kind !== 'address' || first.field !== 'source') return false;
  const last = steps[steps.length - 1] as Step;
  if (last.kind !== 'jump' && last.kind !== 'setMark') return false;
  const marks = last.kind === 'setMark' ? [last] : marksOfChain(table, last.chain);
  if (marks === undefined) return false;
  for (const { and, xor } of marks) if (((mark & and) ^ xor) >>> 0 !== mark) return false;
  return onlyDivides(steps);
}

/** Whether all steps before the last hold for certain or not, or divide the packets. */
function onlyDivides(steps: readonly Step[]): boolean {
  for (let index = 0; index < steps.length - 1; index++) if (!dividing.has((steps[index] as Step).kind)) return false;
  return true;
}

const dividing: ReadonlySet<Step['kind']> = new Set(['address', 'number', 'interface', 'conntrackState', 'conntrackDirection', 'addressType']);

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
    if (last?.kind !== 'setMark' || !onlyDivides(steps)) return undefined;
    marks.push(last);
  }
  return marks;
}
