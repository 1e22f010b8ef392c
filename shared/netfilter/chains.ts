// Runs a packet set through one chain and all it jumps to: rule by rule, splitting where rules tell packets apart, forking where a rule cannot be judged.
import { limits } from '../limits.ts';
import { isSameSet, union } from '../model/address.ts';
import { type Decider, deciderOf, type VerdictWord } from '../model/outcome.ts';
import { candidateRules } from './chain.index.ts';
import { hasConnection, judge } from './conditions.ts';
import type { Surroundings } from './fields.ts';
import { divideByMap } from './lookup.ts';
import { type Assumption, type State, visited } from './packet.ts';
import type { Action, Condition, Rule, Step, Verdict } from './rule.ts';
import { verdictKinds } from './rule.ts';
import type { Chain } from './ruleset.ts';
import { translate } from './translate.ts';

/** A branch of the walk that came to its end. */
export interface Ended {
  readonly state: State;
  readonly verdict: VerdictWord;
  readonly rejectWith?: string;
  readonly decider: Decider;
}

/** What a run through a chain leaves: accepted for this base chain, fallen through to the caller (or the policy), or ended. */
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

/** Runs one state through a chain. `depth` counts jumps. */
export function runChain(run: Run, chain: Chain, state: State, depth = 0): ChainRun {
  if (depth > limits.walkJumpsMax) return cut(state, `chains jump deeper than ${limits.walkJumpsMax}`);
  const accepted: State[] = [];
  const through: State[] = [];
  const ended: Ended[] = [];
  let live: readonly State[] = [state];
  const candidates = candidateRules(chain, state);
  const count = candidates?.length ?? chain.length;
  for (let i = 0; i < count && live.length > 0; i++) {
    const rule = chain.rule(candidates === undefined ? i : (candidates[i] as number));
    if (--run.budget.rules < 0) return cut(state, `more than ${limits.walkRulesMax} rules were visited`);
    if (!run.traced && isEffectless(rule)) continue;
    const next: State[] = [];
    for (const each of live) {
      const result = runRule(run, rule, each);
      next.push(...result.unmatched);
      for (const match of result.matched) follow(match, rule, next);
    }
    live = coalesce(next);
    if (live.length > run.budget.branches) return cut(state, `more than ${limits.walkBranchesMax} branches`);
  }
  through.push(...live);
  return { accepted: coalesce(accepted), through: coalesce(through), ended };

  function follow(match: Match, rule: Rule, next: State[]): void {
    const { verdict } = match;
    switch (verdict?.kind) {
      case undefined:
      case 'continue':
        next.push(match.state);
        return;
      case 'accept':
        accepted.push(match.state);
        return;
      case 'return':
        through.push(match.state);
        return;
      case 'drop':
        ended.push({ state: match.state, verdict: 'drop', decider: deciderOf(rule) });
        return;
      case 'reject':
        ended.push({ state: match.state, verdict: 'reject', rejectWith: verdict.with, decider: deciderOf(rule) });
        return;
      case 'jump':
      case 'goto': {
        const inner = enter(run, verdict.chain, { state: match.state, rule, depth });
        accepted.push(...inner.accepted);
        ended.push(...inner.ended);
        (verdict.kind === 'jump' ? next : through).push(...inner.through);
        return;
      }
      case 'queue':
        ended.push({ state: match.state, verdict: 'unknown', decider: deciderOf(rule) });
        return;
      case 'unknown':
      case 'tproxy':
        ended.push({ state: assume(match.state, rule, 'matched'), verdict: 'unknown', decider: deciderOf(rule) });
        next.push(assume(match.state, rule, 'passed over'));
        return;
      default: {
        const translated = translate(run, match.state, { verdict: verdict as Verdict, rule });
        accepted.push(...translated.states);
        next.push(...translated.untouched);
        ended.push(...translated.ended);
      }
    }
  }
}

function enter(run: Run, name: string, from: { readonly state: State; readonly rule: Rule; readonly depth: number }): ChainRun {
  const chain = run.table.chains.get(name);
  if (chain === undefined) {
    return { accepted: [], through: [], ended: [{ state: assume(from.state, from.rule, 'matched'), verdict: 'unknown', decider: deciderOf(from.rule) }] };
  }
  return runChain(run, chain, from.state, from.depth + 1);
}

interface Match {
  readonly state: State;
  readonly verdict: Verdict | undefined;
}

interface RuleRun {
  readonly matched: readonly Match[];
  readonly unmatched: readonly State[];
}

/** Runs one state through one rule. Conditions between two effects are judged together, so that one unjudgeable rule forks once. */
function runRule(run: Run, rule: Rule, state: State): RuleRun {
  let live: State[] = [state];
  const unmatched: State[] = [];
  const matched: Match[] = [];
  for (const segment of segmentsOf(rule)) {
    const passed: State[] = [];
    for (const each of live) {
      const split = judgeAll(run, rule, { state: each, conditions: segment.conditions });
      passed.push(...split.yes);
      unmatched.push(...split.no);
    }
    live = passed;
    if (live.length === 0) return { matched, unmatched };
    const { effect } = segment;
    if (effect === undefined) continue;
    if (isVerdict(effect)) {
      for (const each of live) conclude(run, rule, { state: each, verdict: effect, matched, unmatched });
      return { matched, unmatched };
    }
    live = live.flatMap((each) => act(run, rule, { state: each, action: effect }));
  }
  const acted = rule.steps.some((step) => actionKinds.has(step.kind));
  for (const each of live) matched.push({ state: acted ? each : noted(run, rule, each, 'matches'), verdict: undefined });
  return { matched, unmatched };
}

interface Conclusion {
  readonly state: State;
  readonly verdict: Verdict;
  readonly matched: Match[];
  readonly unmatched: State[];
}

function conclude(run: Run, rule: Rule, conclusion: Conclusion): void {
  const { state, verdict, matched, unmatched } = conclusion;
  if (verdict.kind !== 'verdictMap') {
    matched.push({ state: natKinds.has(verdict.kind) ? state : noted(run, rule, state, effectText(verdict)), verdict });
    return;
  }
  const answer = divideByMap(state, verdict, run);
  if (answer.kind === 'unreadable') {
    matched.push({ state, verdict: { kind: 'unknown', name: 'vmap', reason: answer.reason } });
    return;
  }
  for (const hit of answer.hits) {
    const entered = hit.may === undefined ? hit.state : assume(hit.state, rule, 'matched');
    const word = hit.element.verdict ?? { kind: 'continue' };
    matched.push({ state: noted(run, rule, entered, effectText(word)), verdict: word });
    if (hit.may !== undefined) unmatched.push(assume(hit.state, rule, 'passed over'));
  }
  unmatched.push(...answer.rest);
}

/** These note themselves when the translation is known. */
const natKinds: ReadonlySet<string> = new Set(['dnat', 'snat', 'masquerade', 'redirect', 'netmap']);

interface Segment {
  readonly conditions: readonly Condition[];
  readonly effect?: Action | Verdict;
}

/** Made anew each time: most rules of a large node are visited once, and keeping the segments of all of them costs more than making them. */
function segmentsOf({ steps }: Rule): readonly Segment[] {
  const segments: Segment[] = [];
  let conditions: Condition[] = [];
  for (const step of steps) {
    if (isCondition(step)) conditions.push(step);
    else {
      segments.push({ conditions, effect: step });
      conditions = [];
    }
  }
  if (conditions.length > 0 || segments.length === 0) segments.push({ conditions });
  return segments;
}

const connectionMarks: ReadonlySet<string> = new Set(['setConnmark', 'saveMark', 'restoreMark']);
const actionKinds: ReadonlySet<string> = new Set(['setMark', 'setConnmark', 'saveMark', 'restoreMark', 'notrack', 'effectless', 'unknownEffect']);
const isVerdict = (step: Step): step is Verdict => verdictKinds.has(step.kind);
const isCondition = (step: Step): step is Condition => !isVerdict(step) && !actionKinds.has(step.kind);

/** A rule that neither decides nor changes anything need not be judged at all. */
const isEffectless = (rule: Rule): boolean => rule.steps.every((step) => step.kind === 'effectless' || isCondition(step));

function judgeAll(
  run: Run,
  rule: Rule,
  given: { readonly state: State; readonly conditions: readonly Condition[] },
): { readonly yes: readonly State[]; readonly no: readonly State[] } {
  let state = given.state;
  const rejected: State[] = [];
  let chance = 1;
  let doubt: Doubt = 'none';
  for (const condition of given.conditions) {
    const judgement = judge(state, condition, run);
    if (judgement.kind === 'no') return { yes: [], no: [...rejected, state] };
    if (judgement.kind === 'split') {
      rejected.push(judgement.no);
      state = judgement.yes;
    } else if (judgement.kind === 'chance') chance *= judgement.probability;
    else if (judgement.kind === 'may') doubt = worseDoubt(doubt, judgement.memory === true ? 'memory' : 'open');
  }
  if (chance <= 0) return { yes: [], no: [...rejected, state] };
  const passing = chance < 1 ? { ...state, weight: state.weight * chance } : state;
  if (chance < 1) rejected.push({ ...state, weight: state.weight * (1 - chance) });
  if (doubt === 'none') return { yes: [passing], no: rejected };
  if (doubt === 'memory') return { yes: [{ ...assume(passing, rule, 'matched'), weight: 0 }], no: [...rejected, state] };
  return { yes: [assume(passing, rule, 'matched')], no: [...rejected, assume(passing, rule, 'passed over')] };
}

type Doubt = 'none' | 'memory' | 'open';
const worseDoubt = (a: Doubt, b: Doubt): Doubt => (a === 'open' || b === 'open' ? 'open' : a === 'memory' || b === 'memory' ? 'memory' : 'none');

/** Notes on a branch that it holds only if a rule matched, or was passed over. */
export function assume(state: State, rule: Rule, what: 'matched' | 'passed over'): State {
  const assumption: Assumption = { decider: deciderOf(rule), matched: what === 'matched' };
  return { ...state, assumptions: [...state.assumptions, assumption] };
}

function act(run: Run, rule: Rule, given: { readonly state: State; readonly action: Action }): readonly State[] {
  const { state, action } = given;
  // A packet without an entry in the table of connections has no mark there to set or to take.
  if (connectionMarks.has(action.kind) && !hasConnection(state, run)) return [noted(run, rule, state, 'no connection')];
  switch (action.kind) {
    case 'setMark':
      return [
        noted(run, rule, { ...state, mark: ((state.mark & action.and) ^ action.xor) >>> 0 }, `mark ${hex(((state.mark & action.and) ^ action.xor) >>> 0)}`),
      ];
    case 'setConnmark':
      return [noted(run, rule, { ...state, connmark: ((state.connmark & action.and) ^ action.xor) >>> 0 }, 'mark of the connection')];
    case 'saveMark':
      return [noted(run, rule, { ...state, connmark: ((state.connmark & ~action.connmarkMask) ^ (state.mark & action.markMask)) >>> 0 }, 'mark saved')];
    case 'restoreMark':
      return [noted(run, rule, { ...state, mark: ((state.mark & ~action.markMask) ^ (state.connmark & action.connmarkMask)) >>> 0 }, 'mark restored')];
    case 'notrack':
      return [noted(run, rule, run.beforeConntrack ? { ...state, conntrack: 'untracked' } : state, 'not tracked')];
    case 'effectless':
      return [noted(run, rule, state, action.name)];
    case 'unknownEffect':
      return [noted(run, rule, { ...state, clouded: state.clouded ?? deciderOf(rule) }, `${action.name}: ${action.reason}`)];
  }
}

const hex = (value: number): string => `0x${value.toString(16)}`;

function noted(run: Run, rule: Rule, state: State, effect: string): State {
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

function cut(state: State, reason: string): ChainRun {
  return { accepted: [], through: [], ended: [{ state, verdict: 'unknown', decider: { by: 'rule', text: `the walk was cut: ${reason}` } }] };
}

/**
 * Joins branches that went different ways and are the same again: weights of the same sources add up, sources of the same weight unite, and an assumption
 * that made no difference is forgotten.
 */
export function coalesce(states: readonly State[]): readonly State[] {
  if (states.length < 2) return states;
  const groups: State[][] = [];
  const byAddress = new Map<bigint | undefined, State[][]>();
  for (const state of states) {
    const address = state.destination[0]?.lo;
    const near = byAddress.get(address) ?? [];
    const group = near.find((each) => wentTheSameWay(each[0] as State, state));
    if (group !== undefined) group.push(state);
    else {
      near.push([state]);
      groups.push(near.at(-1) as State[]);
      if (near.length === 1) byAddress.set(address, near);
    }
  }
  return groups.flatMap((group) => (group.length === 1 ? group : joinGroup(group)));
}

const wentTheSameWay = (a: State, b: State): boolean =>
  isSameSet(a.destination, b.destination) &&
  a.destinationPort === b.destinationPort &&
  a.mark === b.mark &&
  a.routedBy === b.routedBy &&
  a.connmark === b.connmark &&
  a.conntrack === b.conntrack &&
  a.dnat === b.dnat &&
  a.settled.destination === b.settled.destination &&
  a.settled.source === b.settled.source &&
  a.nat?.kind === b.nat?.kind &&
  a.iif === b.iif &&
  a.oif === b.oif &&
  a.ipvs?.server.line === b.ipvs?.server.line;

function joinGroup(group: readonly State[]): readonly State[] {
  const joined: State[] = [];
  for (const state of group) {
    let both: State | undefined;
    const at = joined.findIndex((other) => (both = join(other, state)) !== undefined);
    if (both === undefined) joined.push(state);
    else joined[at] = both;
  }
  return joined.length < group.length ? joinGroup(joined) : joined;
}

function join(a: State, b: State): State | undefined {
  const sameSource = isSameSet(a.source, b.source) && isSameSet(a.original.source, b.original.source);
  const sameAssumptions = assumptionText(a) === assumptionText(b);
  if (sameSource && sameAssumptions) return { ...a, weight: Math.min(1, a.weight + b.weight) };
  if (sameSource && isComplement(a.assumptions, b.assumptions)) return { ...a, assumptions: a.assumptions.slice(0, -1), weight: Math.max(a.weight, b.weight) };
  if (sameAssumptions && Math.abs(a.weight - b.weight) < 1e-12) {
    const source = union(a.source, b.source);
    const isOriginal = a.source === a.original.source && b.source === b.original.source;
    return { ...a, source, original: { ...a.original, source: isOriginal ? source : union(a.original.source, b.original.source) } };
  }
  return undefined;
}

const assumptionText = (state: State): string => state.assumptions.map((each) => `${each.matched ? '+' : '-'}${placeText(each.decider)}`).join();
const placeText = (decider: Decider): string => `${decider.backend} ${decider.family} ${decider.table} ${decider.chain} ${decider.rule} ${decider.text}`;

function isComplement(a: readonly Assumption[], b: readonly Assumption[]): boolean {
  if (a.length === 0 || a.length !== b.length) return false;
  const x = a.at(-1) as Assumption;
  const y = b.at(-1) as Assumption;
  const same = a
    .slice(0, -1)
    .every((each, index) => each.matched === b[index]?.matched && placeText(each.decider) === placeText((b[index] as Assumption).decider));
  return same && x.matched !== y.matched && placeText(x.decider) === placeText(y.decider);
}
