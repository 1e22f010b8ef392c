// Causation: the history of the deciding rule itself. Which change made it, or took the missing one away, is no guess.
import type { Change } from '../../shared/model/change.ts';
import type { Decider } from '../../shared/model/outcome.ts';
import { ruleKinds } from './windows.ts';

/** The latest change that made the deciding rule, policy or setting what it is; undefined when the ledger does not hold it. */
export function changeThatMade(changes: readonly Change[], node: string, decider: Decider): Change | undefined {
  return latest(changes, (change) => change.node === node && concerns(change, decider) && gained(change, decider));
}

/** The latest change that took away a line which holds all of `words` (a rule of a NodePort, a jump); undefined when the ledger does not hold it. */
export function changeThatRemoved(changes: readonly Change[], node: string, words: readonly string[]): Change | undefined {
  if (words.length === 0) return undefined;
  const holds = (text: string | null): boolean =>
    text !== null && words.every((word) => text.includes(word)) && text.split('\n').some((line) => words.every((word) => hasWord(line, word)));
  return latest(changes, (change) => change.node === node && ruleKinds.has(change.kind) && holds(change.before) && !holds(change.after));
}

/** Whether a text holds a word that is not part of a longer one. */
export function hasWord(text: string, word: string): boolean {
  return text.includes(word) && wordPattern(word).test(text);
}

function wordPattern(word: string): RegExp {
  const known = patterns.get(word);
  if (known !== undefined) return known;
  if (patterns.size >= patternsMax) patterns.clear();
  const made = new RegExp(`(^|[^\\w.-])${word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}($|[^\\w.-])`);
  patterns.set(word, made);
  return made;
}

const patterns = new Map<string, RegExp>();
const patternsMax = 1_000;

function concerns(change: Change, decider: Decider): boolean {
  if (decider.by === 'sysctl') return change.kind === 'sysctl' && hasWord(decider.text, change.subject.replace(/^sysctl /, ''));
  if (decider.by === 'route') return change.kind === 'route';
  if (!ruleKinds.has(change.kind) || decider.table === undefined) return false;
  // One program often writes the same for both families; the other family's change is not the one.
  const family = /^(ip6?|inet|arp|bridge|netdev) /.exec(change.subject)?.[1];
  if (family !== undefined && decider.family !== undefined && family !== decider.family) return false;
  return hasWord(change.subject, decider.table) && (decider.chain === undefined || change.kind === 'table' || hasWord(change.subject, decider.chain));
}

function gained(change: Change, decider: Decider): boolean {
  if (decider.by === 'sysctl' || decider.by === 'route') return change.kind === decider.by;
  const text = decider.by === 'policy' ? policyWord(decider.text) : decider.text;
  const count = (state: string | null): number =>
    state === null || !state.includes(text) ? 0 : state.split('\n').filter((line) => line.includes(text)).length;
  return count(change.after) > count(change.before);
}

const policyWord = (text: string): string => /\b(drop|reject)\b/i.exec(text)?.[0] ?? text;

// The ledger is in order of time but for what came late: from its end, a change that is no later than the best need not be looked at.
function latest(changes: readonly Change[], fits: (change: Change) => boolean): Change | undefined {
  let best: Change | undefined;
  for (let index = changes.length - 1; index >= 0; index--) {
    const change = changes[index] as Change;
    if ((best === undefined || change.at > best.at) && fits(change)) best = change;
  }
  return best;
}
