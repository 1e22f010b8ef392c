// When a finding begins and ends: what diagnosis says now, against what it said before, past a grace period. Pure.
import { nodePortFactKey } from '../../shared/model/fact.ts';
import type { Finding } from '../../shared/model/finding.ts';
import type { Drift } from '../compare/index.ts';
import type { FindingRecord } from '../store/store.ts';

/** The findings of one node with their times. Replaced as a whole by each step. */
export interface Episodes {
  /** Findings that are told to the world, by id. */
  readonly open: ReadonlyMap<string, Episode>;
  /** Findings younger than the grace period, by id. */
  readonly pending: ReadonlyMap<string, Episode>;
  /** When the next step is due even if nothing happens; undefined when nothing waits. */
  readonly dueAt: number | undefined;
}

interface Episode {
  readonly finding: Finding;
  /** When the fault began as far as is known: its trigger's time, else when it was first seen. */
  readonly since: number;
}

export type EpisodeEvent = { readonly kind: 'finding-opened' | 'finding-changed' | 'finding-closed'; readonly finding: Finding; readonly at: number };

/** Starts with the findings that were open when the collector stopped, and those that waited where another replica has judged the node so far. */
export function newEpisodes(open: readonly FindingRecord[], pending: readonly Finding[] = []): Episodes {
  return {
    open: new Map(open.map(({ finding, openedAt }) => [finding.id, { finding, since: openedAt }])),
    pending: new Map(pending.flatMap((finding) => (finding.since === undefined ? [] : [[finding.id, { finding, since: finding.since }] as const]))),
    dueAt: undefined,
  };
}

/** What happened between two states of a node that is judged elsewhere. */
export function episodeEvents(before: Episodes, after: Episodes, at: number): readonly EpisodeEvent[] {
  const opened = [...after.open].flatMap(([id, { finding }]): EpisodeEvent[] => {
    const previous = before.open.get(id)?.finding;
    if (previous === undefined) return [{ kind: 'finding-opened', finding, at }];
    return differs(previous, finding) ? [{ kind: 'finding-changed', finding, at }] : [];
  });
  const closed = [...before.open].filter(([id]) => !after.open.has(id)).map(([, { finding }]): EpisodeEvent => ({ kind: 'finding-closed', finding, at }));
  return [...opened, ...closed];
}

export interface EpisodeStep {
  readonly episodes: Episodes;
  readonly open: readonly Finding[];
  readonly pending: readonly Finding[];
  readonly events: readonly EpisodeEvent[];
}

/**
 * Takes over what diagnosis finds now. A finding opens once it has lasted for the grace period (measured from its `since`, where diagnosis knows it, so that a
 * fault older than the collector opens at once), changes when its text does, and closes when it is not found any more.
 */
export function stepEpisodes(before: Episodes, input: { readonly found: readonly Finding[]; readonly now: number; readonly graceMs: number }): EpisodeStep {
  const { found, now, graceMs } = input;
  const open = new Map<string, Episode>();
  const pending = new Map<string, Episode>();
  const events: EpisodeEvent[] = [];
  for (const finding of found) {
    const known = before.open.get(finding.id) ?? before.pending.get(finding.id);
    const since = known?.since ?? Math.min(finding.since ?? now, now);
    const dated = { ...finding, since: finding.since ?? since };
    if (!before.open.has(finding.id) && now - since < graceMs) {
      pending.set(finding.id, { finding: dated, since });
      continue;
    }
    open.set(finding.id, { finding: dated, since });
    const previous = before.open.get(finding.id)?.finding;
    if (previous === undefined) events.push({ kind: 'finding-opened', finding: dated, at: now });
    else if (differs(previous, dated)) events.push({ kind: 'finding-changed', finding: dated, at: now });
  }
  for (const [id, { finding }] of before.open) if (!open.has(id)) events.push({ kind: 'finding-closed', finding, at: now });
  const dues = [...pending.values()].map(({ since }) => since + graceMs);
  const dueAt = dues.length === 0 ? undefined : Math.min(...dues);
  return { episodes: { open, pending, dueAt }, open: findingsOf(open), pending: findingsOf(pending), events };
}

/** When each NodePort that differs now was first seen to differ, by key: what lasts keeps its time, what is well again loses it. */
export function onsetsOf(before: ReadonlyMap<string, number>, drifts: readonly Pick<Drift, 'key'>[], now: number): ReadonlyMap<string, number> {
  return new Map(drifts.map(({ key }) => [key, before.get(key) ?? now]));
}

/** The same from the findings that were open when the collector stopped. */
export const onsetsBefore = (open: readonly Finding[]): ReadonlyMap<string, number> =>
  new Map(
    open.flatMap(({ protocol, family, port, since }) =>
      protocol === '' || family === 0 || since === undefined ? [] : [[nodePortFactKey({ protocol, family, port }), since] as const],
    ),
  );

const findingsOf = (episodes: ReadonlyMap<string, Episode>): Finding[] => [...episodes.values()].map(({ finding }) => finding);

// Counters in deciders rise with every dump: they alone are no news.
const differs = (a: Finding, b: Finding): boolean => stable(a) !== stable(b);
const stable = (finding: Finding): string => JSON.stringify(finding, (key, value: unknown) => (key === 'packets' ? undefined : value));
