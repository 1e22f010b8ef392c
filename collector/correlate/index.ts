// Which change broke it, where the history of the deciding rule does not say: changes weighed by time, by what they do and by whom they concern; then slow trends.
import type { Change } from '../../shared/model/change.ts';
import { closingOf, isRoutine } from './bearing.ts';
import { hasWord } from './causation.ts';
import { gradualChanges } from './gradual.ts';
import { type ChangeClass, classOf, durationText, extendedMinutes, windows } from './windows.ts';

export { changeThatMade, changeThatRemoved } from './causation.ts';
export { type ChangeClass, classOf, durationText, windows } from './windows.ts';

/** What is known of a fault, for weighing changes. */
export interface Onset {
  /** Milliseconds since 1970 when it began, by the collector's clock. */
  readonly at: number;
  readonly node: string;
  /** `namespace/name` of the Service; absent when the fault is not of one Service. */
  readonly service?: string;
  /** Texts whose appearance in a change makes it more likely: the NodePort, the target port, an interface. */
  readonly mentions?: readonly string[];
  /** How far each node's clock is ahead of the collector's, in milliseconds; nodes that are not named are taken to be right. */
  readonly clockOffsetsMs?: ReadonlyMap<string, number>;
}

export interface Correlation {
  readonly change: Change;
  /** 0…1. From `standsOut` on it is worth naming by itself. */
  readonly score: number;
  readonly window: 'usual' | 'extended' | 'gradual';
  /** Why it scores: short sentences, most important first. */
  readonly reasons: readonly string[];
  /** The changes that make up a trend, in order of time; absent for a single change. */
  readonly steps?: readonly Change[];
}

export interface Correlated {
  /** Most likely first. */
  readonly candidates: readonly Correlation[];
  /** What was looked for and is not on record, one sentence each. */
  readonly notFound: readonly string[];
}

/** The score from which a candidate stands out from the noise of a cluster: until one does, wider windows are looked at. */
export const standsOut = 0.5;

/** What was done and what is known of it may be told apart by this, in milliseconds: a fault may be seen before the change that made it. */
const slackMs = 2_000;
const minuteMs = 60_000;
/** How far back trends and repetitions are looked for. */
export const dayMs = 24 * 60 * minuteMs;

/**
 * The changes that may have caused a fault, most likely first: those in the window of their class; when none of them stands out, any in 10, then 30, then 120
 * minutes; then trends of the last 24 hours. Changes of other nodes do not count; changes of cluster objects (no node) do.
 */
export function correlate(changes: readonly Change[], onset: Onset): Correlated {
  const near = nearOf(changes, onset);
  const repeats = repeatsOf(changes, onset);
  const candidates = new Map<Change, Correlation>();
  for (const widthMin of [undefined, ...extendedMinutes]) {
    for (const dated of near) {
      const found = candidates.has(dated.change) ? undefined : weigh(dated, { onset, widthMin, repeats });
      if (found !== undefined) candidates.set(dated.change, found);
    }
    if ([...candidates.values()].some(({ score }) => score >= standsOut)) break;
  }
  const single = [...candidates.values()];
  const slow = single.some(({ score }) => score >= standsOut) ? [] : gradualChanges(changes, onset);
  const found = [...slow, ...single].sort((a, b) => b.score - a.score || b.change.at - a.change.at);
  return { candidates: found, notFound: missingOf(near, found) };
}

/** A change and how long before the onset it was made, in milliseconds, clocks corrected; negative within the slack. */
export interface Dated {
  readonly change: Change;
  readonly ageMs: number;
}

/** How long before the onset a change was made, in milliseconds, clocks corrected. */
export const ageOf = ({ at, node }: Change, onset: Onset): number => onset.at - at + (onset.clockOffsetsMs?.get(node) ?? 0);

/** The changes of the node and of the cluster in the widest window, but for other Services' pods and endpoints. Of millions few are: only for those anything is made. */
function nearOf(changes: readonly Change[], onset: Onset): Dated[] {
  const found: Dated[] = [];
  for (const change of changes) {
    if (change.node !== '' && change.node !== onset.node) continue;
    const ageMs = ageOf(change, onset);
    if (ageMs < -slackMs || ageMs > extendedMinutes[2] * minuteMs) continue;
    if (change.kind === 'service' || !isOfAnother(change, onset)) found.push({ change, ageMs });
  }
  return found;
}

interface Weighing {
  readonly onset: Onset;
  /** Absent: the window of the change's class. */
  readonly widthMin: number | undefined;
  readonly repeats: (change: Change) => number;
}

function weigh({ change, ageMs }: Dated, { onset, widthMin, repeats }: Weighing): Correlation | undefined {
  const kind = classOf(change);
  if (kind === undefined) return undefined;
  const minutes = widthMin ?? windows[kind];
  if (ageMs > minutes * minuteMs) return undefined;
  // Out of the window of its class, daily work is not worth a look, nor ever what is of another Service and does not name this one.
  const another = isOfAnother(change, onset);
  if ((widthMin !== undefined && isRoutine(change)) || (another && widthMin !== undefined && onset.service !== undefined)) return undefined;
  const nearness = 1 - Math.max(0, ageMs) / (minutes * minuteMs);
  const marks = marksOf(change, { onset, repeats });
  const base = widthMin === undefined ? 0.4 + 0.2 * nearness : 0.25 - widthMin / 1_000 + 0.1 * nearness;
  const score = marks.reduce((sum, { weight }) => sum + weight, base);
  return {
    change,
    score: Math.round(Math.min(1, Math.max(0, score)) * 1000) / 1000,
    window: widthMin === undefined ? 'usual' : 'extended',
    reasons: [...marks.map(({ reason }) => reason), `a ${kind} change ${durationText(Math.max(0, ageMs))} before, window ${minutes} min`],
  };
}

interface Mark {
  readonly weight: number;
  readonly reason: string;
}

/** Writes of one subject in a day from which on they are its daily life. */
const oftenMin = 20;

function marksOf(change: Change, { onset, repeats }: Pick<Weighing, 'onset' | 'repeats'>): Mark[] {
  const marks: Mark[] = mentionsOf(change, onset).map((word, index) => ({ weight: index === 0 ? 0.2 : 0.05, reason: `it names ${word}` }));
  const [closing, times] = [closingOf(change), repeats(change)];
  const often = times >= oftenMin;
  if (closing !== undefined) marks.push({ weight: often ? 0.05 : 0.2, reason: closing });
  if (isRoutine(change)) marks.push({ weight: -0.3, reason: routineText(change) });
  if (isOfAnother(change, onset)) marks.push({ weight: -0.3, reason: onset.service === undefined ? 'it is of one Service alone' : 'it is of another Service' });
  if (often) marks.push({ weight: -0.2, reason: `the same changed ${times} times in 24 h` });
  return marks;
}

function mentionsOf(change: Change, onset: Onset): string[] {
  const words = [...(onset.service === undefined ? [] : [onset.service]), ...(onset.mentions ?? [])];
  return words.filter((word) => [change.subject, change.before, change.after].some((text) => text !== null && hasWord(text, word)));
}

const routineText = ({ owner, kind }: Change): string =>
  kind === 'interface' || kind === 'address' ? "a pod's own device, which comes and goes with it" : `${owner} writes its rules as it does all day`;

// EndpointSlices are named after their Service, Pods after what made them: with a name of its own nothing says that it concerns this Service.
function isOfAnother(change: Change, { service }: Onset): boolean {
  if (change.kind !== 'service' && change.kind !== 'endpoints' && change.kind !== 'pod') return false;
  const name = change.subject.split(' ').at(-1) ?? '';
  return service === undefined || (name !== service && !name.startsWith(`${service}-`));
}

/** How often what a change concerns has changed on the node in the last day: counted when it is first asked, and not for kube-proxy's rules, which is known. */
function repeatsOf(changes: readonly Change[], onset: Onset): Weighing['repeats'] {
  let counts: Map<string, number> | undefined;
  return ({ subject }) => {
    if (counts === undefined) {
      counts = new Map();
      for (const change of changes) {
        if (change.node !== onset.node || change.owner === 'kube-proxy') continue;
        const ageMs = ageOf(change, onset);
        if (ageMs >= 0 && ageMs <= dayMs) counts.set(change.subject, (counts.get(change.subject) ?? 0) + 1);
      }
    }
    return counts.get(subject) ?? 0;
  };
}

function missingOf(own: readonly Dated[], found: readonly Correlation[]): string[] {
  const seen = new Set<ChangeClass>();
  const gaps: string[] = [];
  for (const { change, ageMs } of own) {
    const kind = classOf(change);
    if (kind !== undefined && ageMs <= windows[kind] * minuteMs && !isRoutine(change)) seen.add(kind);
    if (change.kind === 'gap' && ageMs <= extendedMinutes[2] * minuteMs)
      gaps.push(`the ledger is not whole ${durationText(Math.max(0, ageMs))} before (${change.after ?? change.subject})`);
  }
  const missing = (Object.keys(windows) as ChangeClass[]).filter((kind) => !seen.has(kind));
  const none = missing.length === 0 ? [] : [`no change of ${missing.map((kind) => `${kind} (${windows[kind]} min)`).join(', ')}`];
  const stands = found.some(({ score }) => score >= standsOut);
  return [...gaps, ...none, ...(stands ? [] : [`nothing that stands out in ${extendedMinutes.join(', ')} min or as a trend of 24 h`])];
}
