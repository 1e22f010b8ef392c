// What to do after a list or a watch went wrong: go on, list anew, or wait. Pure, so that every kind of failure can be written down and tested.
import { reasonOf } from '../../shared/errors.ts';
import { ApiRefusal } from './request.ts';

/** How the loop of one kind stands when something goes wrong. */
export interface Standing {
  /** Whether a list was read, so that a watch can go on behind its version. */
  readonly listed: boolean;
  /** Failures in a row, this one not counted. */
  readonly failures: number;
  /** Whether a watch failed (or a list). */
  readonly during: 'list' | 'watch';
}

export interface Step {
  /**
   * `resume`: watch on from the last version. `relist`: what is known may be wrong. `poll`: list now and then, as watching is not allowed. `unreadable`: nothing to be
   * had; asked again rarely.
   */
  readonly next: 'resume' | 'relist' | 'poll' | 'unreadable';
  /** Milliseconds to wait in any case, and to spread over on top of that. */
  readonly leastMs: number;
  readonly jitterMs: number;
  /** Whether the credentials are to be read anew. */
  readonly renew: boolean;
  /** For a person; absent where nothing is wrong so far. */
  readonly reason?: string;
}

/** The version to go on from is not there any more, as an event in the stream says. */
export class Expired extends Error {}

/** Failures of one watch after which its version is not trusted any more: after a restored etcd it may lie in the future, and never come. */
const resumesMax = 3;
const firstPauseMs = 250;
/** Between tries at what the API does not let us read: a role may be granted later. */
const unreadablePauseMs = 60_000;
const pollPauseMs = 30_000;

/** `pauseMaxMs`: the largest pause between tries that may succeed. */
export function stepAfter(error: unknown, standing: Standing, pauseMaxMs: number): Step {
  const status = error instanceof ApiRefusal ? error.status : 0;
  const { failures, listed, during } = standing;
  const jitterMs = Math.min(pauseMaxMs, firstPauseMs * 2 ** Math.min(failures, 12));
  const leastMs = error instanceof ApiRefusal ? error.retryAfterMs : 0;
  const reason = reasonOf(error);
  const again = listed && during === 'watch' && failures + 1 < resumesMax ? 'resume' : 'relist';
  // The history is gone, as it is every few minutes on a busy cluster: nothing is wrong.
  if (error instanceof Expired || status === 410) return { next: 'relist', leastMs, jitterMs: failures === 0 ? firstPauseMs : jitterMs, renew: false };
  if (status === 403 && during === 'watch') return { next: 'poll', leastMs: Math.min(pollPauseMs, pauseMaxMs), jitterMs, renew: false, reason };
  if (status === 403 || status === 404)
    return { next: 'unreadable', leastMs: Math.min(unreadablePauseMs, 2 * pauseMaxMs), jitterMs, renew: status === 403, reason };
  // Connections break; one that does is no news unless the next does not come about either.
  const told = again === 'resume' && failures === 0 && status === 0 ? {} : { reason };
  return { next: again, leastMs, jitterMs, renew: status === 401 || isCertificateProblem(error), ...told };
}

// A server whose certificate was renewed by another authority than the one that was read at the start.
const isCertificateProblem = (error: unknown): boolean =>
  /^(ERR_TLS|ERR_SSL|UNABLE_TO|CERT_|SELF_SIGNED|DEPTH_ZERO)/.test((error as { code?: string } | null)?.code ?? '');
