// Decides when sources are read by the clock: as often as each wants to be, unless all of them together cost more than the clock may spend. Pure.
import { limits } from '../shared/limits.ts';
import type { Wake } from './sources/source.ts';

/** What the clock must know of a source. */
export interface Paced {
  readonly name: string;
  /** The period that it asks for, in milliseconds, when no event tells of its changes; undefined: events tell of all of them. */
  readonly pollMs: number | undefined;
  readonly wakes: readonly Wake[];
  /** Milliseconds of processor time that one reading takes. */
  readonly costMs: number;
  /** Its last reading has failed. */
  readonly failed: boolean;
}

/** All times are milliseconds. */
export interface Pace {
  /** How often it is read by the clock. */
  readonly everyMs: number;
  /** How often it would be if reading cost nothing. */
  readonly wantedMs: number;
  /** Events tell of its changes; the clock only checks them. */
  readonly watched: boolean;
}

/** Everything is read now and then as a check on events. */
export const checkMs = 600_000;
/** Where what wakes a source does not run, it is read by the clock. */
export const unwatchedMs = 5_000;
/** The lock of iptables tells of most changes of legacy tables, but not of programs that do not take it: those are looked for this often. */
const lockedMs = 10_000;
/** A source that is read more often than this although it is watched is one that events tell only a part of. */
const partlyMs = 60_000;

/** Wakes that make polling unnecessary: without a word of the kernel's own, a source asks to be polled for them. */
const sparing: Readonly<Record<string, Wake>> = { iptables: 'iptables-legacy', ip6tables: 'iptables-legacy', ipset: 'ipset', ipvs: 'ipvs' };

/**
 * The pace of each source by name. `told` are the wakes that come by themselves now, `certain` those among them that miss nothing. What is polled shares what
 * the clock may spend, evenly: one that wants less than its part has what it wants, and what it leaves is for the others. Checks of what events tell may each
 * cost as much again. So one that is dear makes no other late.
 */
export function paces(sources: readonly Paced[], told: ReadonlySet<Wake>, certain: ReadonlySet<Wake>): ReadonlyMap<string, Pace> {
  const wanted = sources.map((source) => ({ source, pace: wantedPace(source, told, certain) }));
  const polled = wanted.filter(({ pace }) => pace.wantedMs < checkMs);
  const part = evenPart(polled.map(({ source, pace }) => source.costMs / pace.wantedMs));
  return new Map(
    wanted.map(({ source, pace }) => {
      const alone = source.costMs / limits.readingClockShareMax;
      const everyMs = Math.max(pace.wantedMs, pace.wantedMs < checkMs ? source.costMs / part : alone);
      // One that failed is tried again soon, whether or not an event comes: what ended its reading may be over.
      return [source.name, { ...pace, everyMs: source.failed ? Math.min(everyMs, Math.max(unwatchedMs, alone)) : everyMs }];
    }),
  );
}

/** So that nothing is put off for ever where others have just taken all. */
const shareMin = 1e-6;

/** The most that each may have of what the clock may spend, when none of `shares` is given more than it wants and nothing is left over. */
function evenPart(shares: readonly number[]): number {
  let left: number = limits.readingClockShareMax;
  for (const [index, share] of [...shares].sort((a, b) => a - b).entries()) {
    const part = left / (shares.length - index);
    if (share > part) return Math.max(part, shareMin);
    left -= share;
  }
  return Number.POSITIVE_INFINITY;
}

function wantedPace({ name, pollMs, wakes }: Paced, told: ReadonlySet<Wake>, certain: ReadonlySet<Wake>): Omit<Pace, 'everyMs'> {
  const spare = sparing[name];
  const spared = spare !== undefined && told.has(spare);
  const own = wakes.filter((wake) => wake !== spare);
  const watched = own.length > 0 ? own.every((wake) => told.has(wake)) : spared || pollMs === undefined;
  if (!watched) return { wantedMs: Math.min(pollMs ?? unwatchedMs, own.length > 0 ? unwatchedMs : Number.POSITIVE_INFINITY), watched };
  if (pollMs === undefined || (spared && certain.has(spare))) return { wantedMs: checkMs, watched };
  const wantedMs = spared ? Math.max(pollMs, lockedMs) : pollMs;
  return { wantedMs, watched: wantedMs >= partlyMs };
}

/** Sources that are read so much less often than they want that it must be said, with their periods. */
export function late(all: ReadonlyMap<string, Pace>): readonly { readonly source: string; readonly everyMs: number }[] {
  return [...all]
    .filter(([, { everyMs, wantedMs }]) => everyMs > wantedMs * lateFactor && everyMs > lateMs)
    .map(([source, { everyMs }]) => ({ source, everyMs }));
}

const lateFactor = 4;
const lateMs = 60_000;
