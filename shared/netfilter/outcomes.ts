// Turns the ends of a walk's branches into outcomes: merged where nothing tells them apart, split where the answer to some clients gets lost.
import { type Family, formatEndpoint, formatPrefixes, type IntervalSet, intersect, isSameSet, subtract, union } from '../model/address.ts';
import { type Decider, type Outcome, type ReplyProblem, symptomOf, type VerdictWord } from '../model/outcome.ts';
import type { Ended } from './chains.ts';
import type { NodeState } from './node.ts';
import { type Assumption, isTranslated, type Packet, pathOf, type State } from './packet.ts';
import type { Sequel } from './walk.answers.ts';
import type { Branch, Walk } from './walk.ts';
import type { Walker } from './walker.ts';

/** One end of a branch for one set of clients, before merging. */
interface Part {
  readonly outcome: Outcome;
  readonly clients: IntervalSet;
  readonly ended: Ended;
}

/**
 * Outcomes of a walk, heaviest first. Branches of equal outcome are one: weights of the same clients add up, clients of the same weight unite. `sequel` says
 * what follows on a branch; absent where nobody asked.
 */
export function outcomesOf(
  { ended, packet, node, options }: Omit<Walker, 'ended'> & { readonly ended: readonly Ended[] },
  sequel: ((branch: Ended) => Sequel) | undefined,
): Walk {
  const unread = unreadDeciders(node);
  const parts = ended.flatMap((each) => partsOf(each, unread, sequel?.(each)));
  const merged = merge(parts);
  const shown = merged.filter((part) => !isSubsumed(part, merged)).map((part) => withSources(part, packet));
  const order = shown.sort((a, b) => b.weight - a.weight);
  const branches = options.traced ? parts.map((part) => branchOf(part, packet)) : [];
  return { outcomes: order, branches };
}

function branchOf(part: Part, packet: Packet): Branch {
  const { assumptions, path } = part.ended.state;
  const steps = pathOf(path);
  // An assumption that made no difference may have been forgotten since.
  const assumed = steps.map((step) => {
    const differs = assumptions.findIndex((each, index) => step.assumptions[index] !== each);
    return differs < 0 ? assumptions.length : differs;
  });
  return { stations: steps.map(({ station }) => station), outcome: withSources(part, packet), assumptions, assumed };
}

/** What all outcomes say together: one word, `mixed` where certain outcomes differ, `unknown` where rules that we cannot judge make the difference. */
export function verdictOf(outcomes: readonly Outcome[]): { readonly verdict: VerdictWord | 'mixed'; readonly unknown: readonly Decider[] } {
  const words = new Set(outcomes.map((outcome) => outcome.verdict));
  const [only] = words;
  if (only !== undefined && words.size === 1 && only !== 'unknown') return { verdict: only, unknown: [] };
  const doubted = outcomes.flatMap((outcome) => [
    ...(outcome.unless ?? []),
    ...(outcome.verdict === 'unknown' && outcome.decidedBy !== undefined ? [outcome.decidedBy] : []),
  ]);
  if (doubted.length > 0 || words.has('unknown')) return { verdict: 'unknown', unknown: distinct(doubted) };
  return { verdict: 'mixed', unknown: [] };
}

/** Whether two walks of the same packet come to the same. */
export function sameOutcomes(a: Walk, b: Walk): boolean {
  const keys = (walked: Walk): string =>
    walked.outcomes
      .map((outcome) => `${outcomeKey(outcome)} ${outcome.weight} ${outcome.sources?.join() ?? ''}`)
      .sort()
      .join('\n');
  return keys(a) === keys(b);
}

/** Both walks, each outcome depending on which chain the kernel runs first; what both have is certain. */
export function eitherWay(a: Walk, b: Walk): Walk {
  const key = (outcome: Outcome): string => `${outcomeKey(outcome)} ${outcome.weight} ${outcome.sources?.join() ?? ''}`;
  const [inA, inB] = [a, b].map((walked) => new Set(walked.outcomes.map(key))) as [Set<string>, Set<string>];
  const doubt = (outcome: Outcome): Outcome =>
    inA.has(key(outcome)) && inB.has(key(outcome)) ? outcome : { ...outcome, unless: [...(outcome.unless ?? []), tie] };
  const outcomes = [...a.outcomes, ...b.outcomes.filter((outcome) => !inA.has(key(outcome)))].map(doubt);
  return { outcomes, branches: eitherBranches(a, b, outcomes) };
}

/** What `eitherWay` doubts; as an assumption it matched where the chains run in the order of the dump. */
export const tie: Decider = { by: 'rule', text: 'chains of different tables have the same priority, and the order of their registration is not known' };

const outcomeKeyUntied = ({ unless = [], ...outcome }: Outcome): string => {
  const others = unless.filter((decider) => decider !== tie);
  return outcomeKey(others.length === 0 ? outcome : { ...outcome, unless: others });
};

/** The branches of both orders; those that come to the same in both are shown once. */
function eitherBranches(a: Walk, b: Walk, outcomes: readonly Outcome[]): readonly Branch[] {
  if (a.branches.length === 0 && b.branches.length === 0) return [];
  const doubted = new Set(outcomes.filter(({ unless }) => unless?.includes(tie)).map(outcomeKeyUntied));
  const isDoubted = ({ outcome }: Branch): boolean => doubted.has(outcomeKeyUntied(outcome));
  return [
    ...a.branches.map((branch) => (isDoubted(branch) ? tiedBranch(branch, { decider: tie, matched: true }) : branch)),
    ...b.branches.filter(isDoubted).map((branch) => tiedBranch(branch, { decider: tie, matched: false })),
  ];
}

const tiedBranch = (branch: Branch, assumption: Assumption): Branch => ({
  ...branch,
  outcome: { ...branch.outcome, unless: [...(branch.outcome.unless ?? []), assumption.decider] },
  assumptions: [assumption, ...branch.assumptions],
  assumed: branch.assumed.map((count) => count + 1),
});

function partsOf(ended: Ended, unread: readonly Decider[], sequel: Sequel | undefined): readonly Part[] {
  const clients = ended.state.original.source;
  const outcome = outcomeOf(ended, unread);
  if (sequel === undefined || sequel.length === 0) return [{ outcome, clients, ended }];
  const parts: Part[] = [];
  let rest = clients;
  for (const { field, problem, clients: losers } of sequel) {
    const hit = intersect(rest, losers);
    if (hit.length === 0) continue;
    parts.push({ outcome: { ...outcome, [field]: problem }, clients: hit, ended });
    rest = subtract(rest, hit);
  }
  if (rest.length > 0) parts.push({ outcome, clients: rest, ended });
  return parts;
}

function outcomeOf({ state, verdict, rejectWith, decider }: Ended, unread: readonly Decider[]): Outcome {
  const { destination, clouded, assumptions, weight } = state;
  const unless = clouded === undefined && assumptions.length === 0 ? unread : doubtsOf(state, unread);
  const head = {
    verdict: clouded === undefined ? verdict : 'unknown',
    dnat: isTranslated(state) && destination[0] !== undefined ? formatEndpoint(state.family, destination[0].lo, state.destinationPort) : null,
    masquerade: state.nat !== undefined,
    weight: Math.round(weight * 1e9) / 1e9,
  };
  const outcome = rejectWith === undefined ? { ...head, decidedBy: decider } : { ...head, rejectWith, decidedBy: decider };
  return unless.length === 0 ? outcome : { ...outcome, unless };
}

const doubtsOf = ({ clouded, assumptions }: State, unread: readonly Decider[]): readonly Decider[] =>
  distinct([...(clouded === undefined ? [] : [clouded]), ...assumptions.map((assumption) => assumption.decider), ...unread]);

/** What was not read could hold any rule: every outcome depends on it. */
const unreadDeciders = (node: NodeState): readonly Decider[] => distinct(node.unread.map((what) => ({ by: 'rule', text: `${what} could not be read` })));

function merge(parts: readonly Part[]): readonly Part[] {
  if (goApart(parts)) return parts;
  let before = parts;
  let merged = unite(addUp(parts, () => true));
  // Clients that were united may be those of another part now.
  while (merged.length < before.length) [before, merged] = [merged, unite(addUp(merged, isCertain))];
  return merged;
}

/** Adds up the weights of the same clients, where both parts are among those that count. */
function addUp(parts: readonly Part[], among: (part: Part) => boolean): readonly Part[] {
  const merged = new Merged((a, b) => isSameSet(a.clients, b.clients) && isSameOutcome(a.outcome, b.outcome) && among(b));
  for (const part of parts) {
    merged.add(part, (other) => ({ ...other, outcome: { ...other.outcome, weight: sumOf(other.outcome.weight, part.outcome.weight) } }));
  }
  return merged.parts;
}

/** Unites the clients of the same weight. */
function unite(parts: readonly Part[]): readonly Part[] {
  const merged = new Merged((a, b) => a.outcome.weight === b.outcome.weight && isSameOutcome(a.outcome, b.outcome) && loseNothing(a, b));
  for (const part of parts) merged.add(part, (other) => ({ ...other, clients: union(other.clients, part.clients) }));
  return merged.parts;
}

/** Whether no connection is forgotten when clients that are in both parts count once: certain parts are shares of the same connections, others may exclude each other. */
function loseNothing(a: Part, b: Part): boolean {
  const { weight } = a.outcome;
  return weight === 0 || weight === 1 || !isCertain(a) || intersect(a.clients, b.clients).length === 0;
}

const isCertain = ({ ended }: Part): boolean => ended.state.assumptions.length === 0;

/** Whether all go to endpoints of their own, as they do from most NodePorts: none of them is another's equal. */
function goApart(parts: readonly Part[]): boolean {
  const endpoints = new Set<string | null>();
  for (const { outcome } of parts) endpoints.add(outcome.dnat);
  return endpoints.size === parts.length;
}

const sumOf = (a: number, b: number): number => Math.min(1, Math.round((a + b) * 1e9) / 1e9);

/** Parts in the order of their coming, of which some are put together. */
class Merged {
  readonly parts: Part[] = [];
  readonly #areOne: (a: Part, b: Part) => boolean;
  /** Indexes by what parts that are put together have in common for certain, and most have alone: their endpoint. */
  readonly #byEndpoint = new Map<string | null, number[]>();

  constructor(areOne: (a: Part, b: Part) => boolean) {
    this.#areOne = areOne;
  }

  add(part: Part, together: (other: Part) => Part): void {
    const { dnat } = part.outcome;
    const near = this.#byEndpoint.get(dnat);
    const at = near?.find((index) => this.#areOne(this.parts[index] as Part, part));
    if (at !== undefined) {
      this.parts[at] = together(this.parts[at] as Part);
      return;
    }
    if (near === undefined) this.#byEndpoint.set(dnat, [this.parts.length]);
    else near.push(this.parts.length);
    this.parts.push(part);
  }
}

/** An outcome that only remembered clients meet says nothing new when new clients meet the same. */
function isSubsumed(part: Part, all: readonly Part[]): boolean {
  if (part.outcome.weight > 0) return false;
  return all.some(
    (other) =>
      other.outcome.weight > 0 &&
      other.outcome.verdict === part.outcome.verdict &&
      other.outcome.dnat === part.outcome.dnat &&
      other.outcome.masquerade === part.outcome.masquerade &&
      symptomOf(other.outcome) === symptomOf(part.outcome) &&
      subtract(part.clients, other.clients).length === 0,
  );
}

/** Whether outcomes say the same of the clients that they hold for, whatever their weight. */
const isSameOutcome = (a: Outcome, b: Outcome): boolean =>
  a.verdict === b.verdict &&
  a.dnat === b.dnat &&
  a.masquerade === b.masquerade &&
  a.rejectWith === b.rejectWith &&
  isSameDecider(a.decidedBy, b.decidedBy) &&
  areSameDeciders(a.unless, b.unless) &&
  isSameProblem(a.reply, b.reply) &&
  isSameProblem(a.later, b.later);

const isSameProblem = (a: ReplyProblem | undefined, b: ReplyProblem | undefined): boolean =>
  a === b || (a?.verdict === b?.verdict && isSameDecider(a?.decidedBy, b?.decidedBy));

const areSameDeciders = (a: readonly Decider[] = [], b: readonly Decider[] = []): boolean =>
  a.length === b.length && a.every((decider, index) => isSameDecider(decider, b[index]));

/** Whether deciders stand at the same place; what they have counted does not tell them apart. */
const isSameDecider = (a: Decider | undefined, b: Decider | undefined): boolean =>
  a === b ||
  (a?.by === b?.by &&
    a?.text === b?.text &&
    a?.rule === b?.rule &&
    a?.chain === b?.chain &&
    a?.table === b?.table &&
    a?.family === b?.family &&
    a?.backend === b?.backend);

function outcomeKey(outcome: Outcome): string {
  return [
    outcome.verdict,
    outcome.dnat,
    outcome.masquerade,
    outcome.rejectWith,
    keyOf(outcome.decidedBy),
    outcome.unless?.map(keyOf).join(),
    outcome.reply?.verdict,
    keyOf(outcome.reply?.decidedBy),
    outcome.later?.verdict,
    keyOf(outcome.later?.decidedBy),
  ].join('|');
}

const keyOf = (decider: Decider | undefined): string =>
  decider === undefined ? '' : `${decider.by} ${decider.backend} ${decider.family} ${decider.table} ${decider.chain} ${decider.rule} ${decider.text}`;

function distinct(deciders: readonly Decider[]): readonly Decider[] {
  return [...new Map(deciders.map((decider) => [keyOf(decider), decider])).values()];
}

function withSources(part: Part, packet: Packet): Outcome {
  if (part.clients === packet.sources || subtract(packet.sources, part.clients).length === 0) return part.outcome;
  return { ...part.outcome, sources: prefixesOf(packet.family, part.clients) };
}

/** Sets of clients that were printed last: a rule about clients that all NodePorts come by makes the same few for each of them. */
const printed: { readonly family: Family; readonly set: IntervalSet; readonly prefixes: readonly string[] }[] = [];
const printedMax = 16;

function prefixesOf(family: Family, set: IntervalSet): readonly string[] {
  const known = printed.find((each) => each.family === family && isSameSet(each.set, set));
  if (known !== undefined) return known.prefixes;
  const prefixes = formatPrefixes(family, set);
  printed.unshift({ family, set, prefixes });
  printed.length = Math.min(printed.length, printedMax);
  return prefixes;
}
