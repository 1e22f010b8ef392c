// Says how the agent itself fares, as facts: how each source was read, and whether reading is as timely and as cheap as it should be. Pure.
import { limits } from '../shared/limits.ts';
import type { ReadingFact, SourceFact } from '../shared/model/fact.ts';
import type { SourceOutcome } from './reader.ts';
import { late, type Pace } from './schedule.ts';
import type { SourceStatus } from './status.ts';

/** A source that fails now and then is taken as it was last read; one that never was read, or fails again and again, makes every answer uncertain. */
export const isUnread = ({ known, failures }: SourceOutcome): boolean => failures > 0 && (!known || failures >= failuresMax);
const failuresMax = 3;

export function sourceFact(
  { name }: { readonly name: string },
  read: SourceOutcome | undefined,
  { pace, missed }: { readonly pace: Pace | undefined; readonly missed: number },
): SourceFact {
  const { outcome, reason, lacks } = read ?? notReadYet;
  return {
    kind: 'source',
    key: `source/${name}`,
    source: name,
    outcome,
    ...(reason === undefined ? {} : { reason }),
    ...(lacks === undefined ? {} : { lacks }),
    watch: pace?.watched === true ? 'events' : 'poll',
    ...(missed === 0 ? {} : { missed }),
  };
}

const notReadYet: Pick<SourceOutcome, 'outcome' | 'reason' | 'lacks'> = { outcome: 'failed', reason: 'was not read yet' };

/** The same for who asks on the node. `readAt` is milliseconds since 1970; undefined: not read yet. */
export function sourceStatus(
  { name }: { readonly name: string },
  read: SourceOutcome | undefined,
  { pace, readAt }: { readonly pace: Pace | undefined; readonly readAt: number | undefined },
): Omit<SourceStatus, 'missingCapabilities'> {
  const { outcome, reason, lacks } = read ?? notReadYet;
  return {
    name,
    outcome,
    ...(reason === undefined ? {} : { reason }),
    ...(lacks === undefined ? {} : { lacks }),
    watch: pace?.watched === true ? 'events' : 'poll',
    periodMs: Math.round(pace?.everyMs ?? 0),
    readAt: readAt === undefined ? null : Math.round(readAt),
    costMs: read?.costMs ?? 0,
  };
}

export interface Standing {
  readonly paces: ReadonlyMap<string, Pace>;
  /** Average share of one core. */
  readonly share: number;
  /** How long a reading has to wait after the one before. */
  readonly pauseMs: number;
  /** Memory of the agent and its monitors. */
  readonly bytes: number;
}

/** `reading/degraded`: absent while all is well. Numbers are rounded, so that it stays the same while little happens. */
export function degradedFact({ paces, share, pauseMs, bytes }: Standing): ReadingFact | undefined {
  const slow = late(paces);
  const reasons = [
    ...(pauseMs > 0
      ? [`reading has used more than ${percent(limits.readingShareMax)} of one core over the last ${limits.readingWindowMs / 60_000} minutes`]
      : []),
    ...(slow.length > 0 ? [`reading ${slow.map(({ source }) => source).join(', ')} costs so much that it is done seldom`] : []),
    ...(bytes > limits.readingMemoryBytesMax ? [`the agent and its monitors hold more than ${limits.readingMemoryBytesMax / 2 ** 20} MiB of memory`] : []),
  ];
  if (reasons.length === 0) return undefined;
  const delayMs = rounded(Math.max(pauseMs, ...slow.map(({ everyMs }) => everyMs)));
  return {
    kind: 'reading',
    key: 'reading/degraded',
    reason: reasons.join('; '),
    delayMs,
    cpuShare: Math.round(share * 200) / 200,
    memoryBytes: rounded(bytes),
    periods: Object.fromEntries(slow.map(({ source, everyMs }) => [source, rounded(everyMs)])),
  };
}

/**
 * The same as it is told of: at the limit readings wait now and then, and each time for another while, which would be news every second. What was told stands for a
 * minute, unless something else is wrong or it is twice as late; what is told after that is the latest that it was meanwhile.
 */
export class Degradation {
  #told: { readonly fact: ReadingFact; readonly at: number } | undefined;
  #delayMs = 0;

  /** `at` is a time of a clock that never jumps, in milliseconds. */
  fact(standing: Standing, at: number): ReadingFact | undefined {
    const now = degradedFact(standing);
    const told = this.#told;
    this.#delayMs = Math.max(this.#delayMs, now?.delayMs ?? 0);
    const isNews = now !== undefined && (now.reason !== told?.fact.reason || now.delayMs > 2 * told.fact.delayMs);
    if (told !== undefined && at - told.at < degradedToldMs && !isNews) return told.fact;
    this.#told = now === undefined ? undefined : { fact: { ...now, delayMs: isNews ? now.delayMs : this.#delayMs }, at };
    this.#delayMs = 0;
    return this.#told?.fact;
  }
}

const degradedToldMs = 60_000;

/** What reading costs, and what it is late with, in a sentence for a person. */
export function readingText({ share, bytes, ...rest }: Standing): string {
  const degraded = degradedFact({ share, bytes, ...rest });
  const used = `${(share * 100).toFixed(2)} % of a core over the last ${limits.readingWindowMs / 60_000} minutes, ${Math.round(bytes / 1e6)} MB with its monitors`;
  return degraded === undefined ? `in time; ${used}` : `up to ${(degraded.delayMs / 1_000).toFixed(0)} s late (${degraded.reason}); ${used}`;
}

const percent = (share: number): string => `${share * 100} %`;

/** To the next number with one digit that counts, and halves of it. */
function rounded(value: number): number {
  if (value <= 0) return 0;
  const step = 10 ** Math.floor(Math.log10(value)) / 2;
  return Math.ceil(value / step) * step;
}
