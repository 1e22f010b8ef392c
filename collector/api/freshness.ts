// How old the collector's view of the cluster is, as every answer says it. Pure.
import type { ObjectKind } from '../kubernetes/objects.ts';
import type { KindView } from '../kubernetes/source.ts';

/** What stands beside every answer. */
export interface Freshness {
  /** Milliseconds since it was last certain that Services, EndpointSlices and Nodes are as they are known; null before they were read. */
  readonly objectsAgeMs: number | null;
  /** Whether that is so long ago, or so much is amiss, that an answer may be wrong. */
  readonly stale: boolean;
  /** What is amiss, a sentence for each kind. */
  readonly doubts: readonly string[];
}

/** What every judgement rests on. */
const essential: ReadonlySet<ObjectKind> = new Set(['Service', 'EndpointSlice', 'Node']);
/** A watch that has said nothing for two minutes is begun anew; what is older than that and a try was not confirmed. */
const staleMs = 180_000;

export function freshnessOf(views: readonly KindView[], now: number): Freshness {
  const needed = views.filter(({ kind }) => essential.has(kind));
  const oldest = Math.min(...needed.map(({ confirmedAt }) => confirmedAt));
  const known = needed.length > 0 && oldest > 0;
  const objectsAgeMs = known ? Math.max(0, now - oldest) : null;
  const doubts = views.flatMap((view) => doubtOf(view, now));
  const lame = needed.some(({ state }) => state === 'failing' || state === 'unreadable');
  return { objectsAgeMs, stale: objectsAgeMs === null || objectsAgeMs > staleMs || lame, doubts };
}

function doubtOf({ kind, state, confirmedAt, reason }: KindView, now: number): string[] {
  const why = reason === undefined ? '' : `: ${reason}`;
  const age = `${Math.round(Math.max(0, now - confirmedAt) / 1_000)} s old`;
  switch (state) {
    case 'watching':
      return [];
    case 'listing':
      return [`${kind} objects have not been read yet${why}`];
    case 'polling':
      return [`${kind} objects are listed now and then, and are ${age}${why}`];
    case 'failing':
      return [`${kind} objects are ${age}${why}`];
    case 'unreadable':
      return [`${kind} objects cannot be read, and nothing is said of what hangs on them${why}`];
  }
}
