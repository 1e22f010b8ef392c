// Turns the ends of a walk's branches into outcomes: merged where nothing tells them apart, split where the answer to some clients gets lost.
import { formatPrefixes, type IntervalSet, intersect, subtract, union } from '../model/address.ts';
import { type Decider, type Outcome, type ReplyProblem, symptomOf, type VerdictWord } from '../model/outcome.ts';
import type { Ended } from './chains.ts';
import type { NodeState } from './node.ts';
import { isTranslated, type Packet, stationsOf } from './packet.ts';
import { endpointText, type Sequel, type Walk, type WalkOptions } from './walk.ts';

interface Context {
  readonly packet: Packet;
  readonly node: NodeState;
  readonly options: WalkOptions;
  readonly sequels: ReadonlyMap<Ended, Sequel> | undefined;
}

/** One end of a branch for one set of clients, before merging. */
interface Part {
  readonly outcome: Outcome;
  readonly clients: IntervalSet;
  readonly ended: Ended;
}

/** Outcomes of a walk, heaviest first. Branches of equal outcome are one: weights of the same clients add up, clients of the same weight unite. */
export function outcomesOf(ended: readonly Ended[], context: Context): Walk {
  const parts = ended.flatMap((each) => partsOf(each, context));
  const merged = merge(parts);
  const shown = merged.filter((part) => !isSubsumed(part, merged)).map((part) => withSources(part, context.packet));
  const order = [...shown].sort((a, b) => b.weight - a.weight);
  const branches = context.options.traced
    ? parts.map((part) => ({ stations: stationsOf(part.ended.state.path), outcome: withSources(part, context.packet) }))
    : [];
  return { outcomes: order, branches };
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
  const tie: Decider = { by: 'rule', text: 'chains of different tables have the same priority, and the order of their registration is not known' };
  const key = (outcome: Outcome): string => `${outcomeKey(outcome)} ${outcome.weight} ${outcome.sources?.join() ?? ''}`;
  const [inA, inB] = [a, b].map((walked) => new Set(walked.outcomes.map(key))) as [Set<string>, Set<string>];
  const doubt = (outcome: Outcome): Outcome =>
    inA.has(key(outcome)) && inB.has(key(outcome)) ? outcome : { ...outcome, unless: [...(outcome.unless ?? []), tie] };
  const outcomes = [...a.outcomes, ...b.outcomes.filter((outcome) => !inA.has(key(outcome)))].map(doubt);
  return { outcomes, branches: [...a.branches, ...b.branches] };
}

function partsOf(ended: Ended, context: Context): readonly Part[] {
  const { state } = ended;
  const clients = state.original.source;
  const base = baseOutcome(ended, context);
  const sequel = context.sequels?.get(ended);
  if (sequel === undefined) return [{ outcome: base, clients, ended }];
  const lost = [...sequel.answers.map((end) => ({ end, field: 'reply' as const })), ...sequel.later.map((end) => ({ end, field: 'later' as const }))].filter(
    ({ end }) =>
      end.state.clouded !== undefined || (end.verdict !== 'forward' && end.verdict !== 'local' && !(end.verdict === 'refused' && ended.verdict === 'local')),
  );
  const parts: Part[] = [];
  let rest = clients;
  for (const { end, field } of lost) {
    const hit = intersect(rest, end.state.original.source);
    if (hit.length === 0) continue;
    const share = lost.reduce((sum, other) => (other.field === field ? sum + other.end.state.weight : sum), 0) / state.weight;
    parts.push({ outcome: { ...base, [field]: problemOf(end, share) }, clients: hit, ended });
    rest = subtract(rest, hit);
  }
  if (rest.length > 0) parts.push({ outcome: base, clients: rest, ended });
  return parts;
}

/** `share`: of the packets that are lost in this way or another, as far as that is a matter of chance. */
function problemOf(reply: Ended, share: number): ReplyProblem {
  const certain = reply.state.assumptions.length === 0 && reply.state.clouded === undefined && !(share < 1 - 1e-9);
  const verdict = !certain || reply.verdict === 'unknown' ? 'unknown' : reply.verdict === 'reject' ? 'reject' : 'drop';
  return { verdict, decidedBy: reply.state.clouded ?? reply.decider };
}

function baseOutcome(ended: Ended, context: Context): Outcome {
  const { state } = ended;
  const [destination] = state.destination;
  const clouds = state.clouded === undefined ? [] : [state.clouded];
  const unless = distinct([...clouds, ...state.assumptions.map((assumption) => assumption.decider), ...unreadDeciders(context.node)]);
  return {
    verdict: state.clouded === undefined ? ended.verdict : 'unknown',
    dnat: isTranslated(state) && destination !== undefined ? endpointText(state.family, destination.lo, state.destinationPort) : null,
    masquerade: state.nat !== undefined,
    weight: Math.round(state.weight * 1e9) / 1e9,
    ...(ended.rejectWith === undefined ? {} : { rejectWith: ended.rejectWith }),
    decidedBy: ended.decider,
    ...(unless.length === 0 ? {} : { unless }),
  };
}

/** What was not read could hold any rule: every outcome depends on it. */
const unreadDeciders = (node: NodeState): readonly Decider[] => node.unread.map((what) => ({ by: 'rule', text: `${what} could not be read` }));

function merge(parts: readonly Part[]): readonly Part[] {
  const merged: Part[] = [];
  const sameClients = new Map<string, number>();
  for (const part of parts) {
    const key = `${outcomeKey(part.outcome)} ${clientsText(part.clients)}`;
    const at = sameClients.get(key);
    if (at === undefined) {
      sameClients.set(key, merged.length);
      merged.push(part);
    } else {
      const other = merged[at] as Part;
      merged[at] = { ...other, outcome: { ...other.outcome, weight: Math.min(1, Math.round((other.outcome.weight + part.outcome.weight) * 1e9) / 1e9) } };
    }
  }
  const byWeight = new Map<string, Part>();
  for (const part of merged) {
    const key = `${outcomeKey(part.outcome)} ${part.outcome.weight}`;
    const other = byWeight.get(key);
    byWeight.set(key, other === undefined ? part : { ...other, clients: union(other.clients, part.clients) });
  }
  return [...byWeight.values()];
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
/** Remembered for each set: the branches of a walk, and alike branches of others, share theirs. */
function clientsText(clients: IntervalSet): string {
  let text = clientTexts.get(clients);
  if (text === undefined) clientTexts.set(clients, (text = clients.map(({ lo, hi }) => `${lo}-${hi}`).join()));
  return text;
}
const clientTexts = new WeakMap<IntervalSet, string>();

function distinct(deciders: readonly Decider[]): readonly Decider[] {
  return [...new Map(deciders.map((decider) => [keyOf(decider), decider])).values()];
}

function withSources(part: Part, packet: Packet): Outcome {
  if (subtract(packet.sources, part.clients).length === 0) return part.outcome;
  return { ...part.outcome, sources: formatPrefixes(packet.family, part.clients) };
}
