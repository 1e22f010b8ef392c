// Runs a packet set through one chain and all it jumps to: rule by rule, splitting where rules tell packets apart, forking where a rule cannot be judged.
import { limits } from '../limits.ts';
import { type Decider, deciderOf, type VerdictWord } from '../model/outcome.ts';
import { Branches } from './branches.ts';
import { candidateRules } from './chain.index.ts';
import { coalesce } from './coalesce.ts';
import { hasConnection, judge } from './conditions.ts';
import type { Surroundings } from './fields.ts';
import { divideByMap } from './lookup.ts';
import { marksAgain } from './marks.ts';
import { type Assumption, type State, visited } from './packet.ts';
import { type Action, type Condition, isCondition, isVerdict, type Rule, type Step, type Verdict } from './rule.ts';
import type { Chain } from './ruleset.ts';
import { translate } from './translate.ts';
import { noteChain } from './visits.ts';
import type { Sequel } from './walk.answers.ts';

/** A branch of the walk that came to its end. */
export interface Ended {
  readonly state: State;
  readonly verdict: VerdictWord;
  readonly rejectWith?: string | undefined;
  readonly decider: Decider;
  /** What this end has in common with those of alike branches; absent for one that others are not told by. */
  kept?: { sequel?: Sequel };
}

/** What a run through a base chain leaves: accepted, fallen through to the policy, or ended. */
export interface ChainRun {
  readonly accepted: readonly State[];
  readonly through: readonly State[];
  readonly ended: readonly Ended[];
}

/** One walk's surroundings and its remaining budget; the budget is the only thing here that changes. */
export interface Run extends Surroundings {
  readonly traced: boolean;
  readonly budget: { rules: number; branches: number };
}

/** Runs one state through a base chain. */
export function runChain(run: Run, chain: Chain, state: State): ChainRun {
  const course = new Course(run);
  const through = course.chain(chain, state);
  return { accepted: course.accepted, through: through.list, ended: course.ended };
}

/** A packet set on its way through a base chain. */
class Course {
  readonly #run: Run;
  /** By the chain or one that it jumped to: an accept ends all of them. */
  readonly accepted: State[] = [];
  readonly ended: Ended[] = [];
  /** Jumps that led here. */
  #depth = 0;
  /** The part of `accepted` that was coalesced last. */
  #joinedFrom = 0;
  #joinedTo = 0;

  constructor(run: Run) {
    this.#run = run;
  }

  /** Runs a state through a chain; yields what comes back to the caller. */
  chain(chain: Chain, state: State): Branches {
    const run = this.#run;
    const before = { accepted: this.accepted.length, ended: this.ended.length };
    if (this.#depth > limits.walkJumpsMax) return this.#cut(state, before, `chains jump deeper than ${limits.walkJumpsMax}`);
    noteChain(run, chain.name, state);
    let live = new Branches();
    live.add(state);
    const to = { next: new Branches(), through: new Branches() };
    const candidates = candidateRules(chain, state);
    const count = candidates?.length ?? chain.length;
    for (let i = 0; i < count && live.length > 0; i++) {
      const rule = chain.rule(candidates === undefined ? i : (candidates[i] as number));
      if (--run.budget.rules < 0) return this.#cut(state, before, `more than ${limits.walkRulesMax} rules were visited`);
      if (!run.traced && isEffectless(rule)) continue;
      to.next.clear();
      for (let j = 0; j < live.length; j++) this.#rule(rule, live.at(j), to);
      to.next.coalesce();
      [live, to.next] = [to.next, live];
      if (live.length > run.budget.branches) return this.#cut(state, before, `more than ${limits.walkBranchesMax} branches`);
    }
    this.#join(before.accepted);
    to.through.addAll(live);
    to.through.coalesce();
    return to.through;
  }

  /** Runs a state through a rule. Conditions between two effects are judged together, so that one unjudgeable rule forks once. */
  #rule(rule: Rule, state: State, to: Destinations): void {
    const run = this.#run;
    const { steps } = rule;
    if (!run.traced && marksAgain(run.table, rule, state)) return this.#passOver(rule, state, to);
    let live = state;
    let acted = false;
    for (let i = 0; i < steps.length; i++) {
      const conditions = i;
      while (i < steps.length && isCondition(steps[i] as Step)) i++;
      if (i > conditions) {
        const passing = judgeAll(run, live, { rule, from: conditions, to: i, unmatched: to.next });
        if (passing === undefined) return;
        live = passing;
      }
      const effect = steps[i];
      if (effect === undefined) break;
      if (isVerdict(effect as Step)) return this.#conclude({ rule, state: live, verdict: effect as Verdict }, to);
      live = act(run, live, { rule, action: effect as Action });
      acted = true;
    }
    to.next.add(acted ? live : noted(run, live, { rule, effect: 'matches' }));
  }

  /** Without going to the chain that marks again: what it does has been looked at all the same. */
  #passOver({ steps }: Rule, state: State, to: Destinations): void {
    const last = steps[steps.length - 1];
    if (last?.kind === 'jump') noteChain(this.#run, last.chain, state);
    to.next.add(state);
  }

  #conclude(match: Match, to: Destinations): void {
    const run = this.#run;
    const { rule, state, verdict } = match;
    if (verdict.kind !== 'verdictMap') {
      const isNoted = run.traced && !natKinds.has(verdict.kind);
      return this.#follow(isNoted ? { ...match, state: noted(run, state, { rule, effect: effectText(verdict) }) } : match, to);
    }
    const answer = divideByMap(state, verdict, run);
    if (answer.kind === 'unreadable') return this.#follow({ ...match, verdict: { kind: 'unknown', name: 'vmap', reason: answer.reason } }, to);
    const matched: Match[] = [];
    for (const hit of answer.hits) {
      const entered = hit.may === undefined ? hit.state : assume(hit.state, rule, 'matched');
      const word = hit.element.verdict ?? { kind: 'continue' };
      matched.push({ rule, state: noted(run, entered, { rule, effect: effectText(word) }), verdict: word });
      if (hit.may !== undefined) to.next.add(assume(hit.state, rule, 'passed over'));
    }
    for (const each of answer.rest) to.next.add(each);
    for (const each of matched) this.#follow(each, to);
  }

  #follow({ rule, state, verdict }: Match, to: Destinations): void {
    switch (verdict.kind) {
      case 'continue':
        to.next.add(state);
        return;
      case 'accept':
        this.accepted.push(state);
        return;
      case 'return':
        to.through.add(state);
        return;
      case 'jump':
        return to.next.addAll(this.#enter(verdict.chain, state, rule));
      case 'goto':
        return to.through.addAll(this.#enter(verdict.chain, state, rule));
      case 'drop':
        this.ended.push({ state, verdict: 'drop', decider: deciderOf(rule) });
        return;
      case 'reject':
        this.ended.push({ state, verdict: 'reject', rejectWith: verdict.with, decider: deciderOf(rule) });
        return;
      case 'queue':
        this.ended.push({ state, verdict: 'unknown', decider: deciderOf(rule) });
        return;
      case 'unknown':
      case 'tproxy':
        this.ended.push({ state: assume(state, rule, 'matched'), verdict: 'unknown', decider: deciderOf(rule) });
        to.next.add(assume(state, rule, 'passed over'));
        return;
      default: {
        const translated = translate(this.#run, state, { verdict, rule });
        for (const each of translated.states) this.accepted.push(each);
        for (const each of translated.untouched) to.next.add(each);
        for (const each of translated.ended) this.ended.push(each);
      }
    }
  }

  #enter(name: string, state: State, rule: Rule): Branches {
    const chain = this.#run.table.chains.get(name);
    if (chain === undefined) {
      noteChain(this.#run, name, state);
      this.ended.push({ state: assume(state, rule, 'matched'), verdict: 'unknown', decider: deciderOf(rule) });
      return new Branches();
    }
    this.#depth++;
    const back = this.chain(chain, state);
    this.#depth--;
    return back;
  }

  /** Coalesces what a chain and those that it jumped to accepted. */
  #join(from: number): void {
    const { accepted } = this;
    if (accepted.length - from < 2 || (this.#joinedFrom === from && this.#joinedTo === accepted.length)) return;
    const own = from === 0 ? accepted : accepted.slice(from);
    const joined = coalesce(own);
    if (joined !== own) accepted.splice(from, own.length, ...joined);
    this.#joinedFrom = from;
    this.#joinedTo = accepted.length;
  }

  #cut(state: State, before: { readonly accepted: number; readonly ended: number }, reason: string): Branches {
    this.accepted.length = before.accepted;
    this.ended.length = before.ended;
    this.ended.push({ state, verdict: 'unknown', decider: { by: 'rule', text: `the walk was cut: ${reason}` } });
    return new Branches();
  }
}

/** Where a rule sends what it does not end: to the next rule, or back to the chain's caller. */
interface Destinations {
  next: Branches;
  readonly through: Branches;
}

/** A packet set that a rule has a verdict for. */
interface Match {
  readonly rule: Rule;
  readonly state: State;
  readonly verdict: Verdict;
}

/** These note themselves when the translation is known. */
const natKinds: ReadonlySet<string> = new Set(['dnat', 'snat', 'masquerade', 'redirect', 'netmap']);

/** A rule that neither decides nor changes anything need not be judged at all. */
function isEffectless({ steps }: Rule): boolean {
  for (let i = steps.length - 1; i >= 0; i--) {
    const step = steps[i] as Step;
    if (step.kind !== 'effectless' && !isCondition(step)) return false;
  }
  return true;
}

/** Conditions among a rule's steps, up to but without `to`. */
interface Conditions {
  readonly rule: Rule;
  readonly from: number;
  readonly to: number;
}

interface Judged extends Conditions {
  /** Takes what the conditions do not hold for. */
  readonly unmatched: Branches;
}

/** The packets that some conditions hold for; undefined for none. */
function judgeAll(run: Run, state: State, { rule, from, to, unmatched }: Judged): State | undefined {
  let live = state;
  let chance = 1;
  let doubt: Doubt = 'none';
  for (let i = from; i < to; i++) {
    const judgement = judge(live, rule.steps[i] as Condition, run);
    switch (judgement.kind) {
      case 'yes':
        break;
      case 'no':
        unmatched.add(live);
        return undefined;
      case 'split':
        // What another condition does not hold for anyway need not be divided, and joined again.
        if (isRefused(run, live, { rule, from: i + 1, to })) {
          unmatched.add(live);
          return undefined;
        }
        unmatched.add(judgement.no);
        live = judgement.yes;
        break;
      case 'chance':
        chance *= judgement.probability;
        break;
      case 'may':
        doubt = worseDoubt(doubt, judgement.memory === true ? 'memory' : 'open');
        break;
    }
  }
  if (chance <= 0) {
    unmatched.add(live);
    return undefined;
  }
  if (chance < 1) unmatched.add({ ...live, weight: live.weight * (1 - chance) });
  const passing = chance < 1 ? { ...live, weight: live.weight * chance } : live;
  if (doubt === 'none') return passing;
  unmatched.add(doubt === 'memory' ? live : assume(passing, rule, 'passed over'));
  const matched = assume(passing, rule, 'matched');
  return doubt === 'memory' ? { ...matched, weight: 0 } : matched;
}

/** Whether one of the conditions holds for none of the packets. */
function isRefused(run: Run, state: State, { rule, from, to }: Conditions): boolean {
  for (let i = from; i < to; i++) if (judge(state, rule.steps[i] as Condition, run).kind === 'no') return true;
  return false;
}

type Doubt = 'none' | 'memory' | 'open';
const worseDoubt = (a: Doubt, b: Doubt): Doubt => (a === 'open' || b === 'open' ? 'open' : a === 'memory' || b === 'memory' ? 'memory' : 'none');

/** Notes on a branch that it holds only if a rule matched, or was passed over. */
export function assume(state: State, rule: Rule, what: 'matched' | 'passed over'): State {
  const assumption: Assumption = { decider: deciderOf(rule), matched: what === 'matched' };
  return { ...state, assumptions: [...state.assumptions, assumption] };
}

function act(run: Run, state: State, { rule, action }: { readonly rule: Rule; readonly action: Action }): State {
  // A packet without an entry in the table of connections has no mark there to set or to take.
  if (connectionMarks.has(action.kind) && !hasConnection(state, run)) return noted(run, state, { rule, effect: 'no connection' });
  switch (action.kind) {
    case 'setMark': {
      const mark = ((state.mark & action.and) ^ action.xor) >>> 0;
      return noted(run, mark === state.mark ? state : { ...state, mark }, { rule, effect: `mark 0x${mark.toString(16)}` });
    }
    case 'setConnmark':
      return noted(run, { ...state, connmark: ((state.connmark & action.and) ^ action.xor) >>> 0 }, { rule, effect: 'mark of the connection' });
    case 'saveMark':
      return noted(run, { ...state, connmark: masked(state.connmark, action.connmarkMask, state.mark & action.markMask) }, { rule, effect: 'mark saved' });
    case 'restoreMark':
      return noted(run, { ...state, mark: masked(state.mark, action.markMask, state.connmark & action.connmarkMask) }, { rule, effect: 'mark restored' });
    case 'notrack':
      return noted(run, run.beforeConntrack ? { ...state, conntrack: 'untracked' } : state, { rule, effect: 'not tracked' });
    case 'effectless':
      return noted(run, state, { rule, effect: action.name });
    case 'unknownEffect':
      return noted(run, { ...state, clouded: state.clouded ?? deciderOf(rule) }, { rule, effect: `${action.name}: ${action.reason}` });
  }
}

const connectionMarks: ReadonlySet<string> = new Set(['setConnmark', 'saveMark', 'restoreMark']);
const masked = (mark: number, mask: number, xor: number): number => ((mark & ~mask) ^ xor) >>> 0;

function noted(run: Run, state: State, { rule, effect }: { readonly rule: Rule; readonly effect: string }): State {
  if (!run.traced) return state;
  const certain = state.assumptions.at(-1)?.decider.text !== rule.text;
  return visited(state, { kind: 'rule', decider: deciderOf(rule), effect, certain }, run);
}

function effectText(verdict: Verdict): string {
  switch (verdict.kind) {
    case 'jump':
    case 'goto':
      return `→ ${verdict.chain}`;
    case 'reject':
      return `reject with ${verdict.with}`;
    case 'unknown':
      return `unknown: ${verdict.reason}`;
    default:
      return verdict.kind;
  }
}
