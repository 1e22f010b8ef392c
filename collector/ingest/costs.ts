// What agents' messages are counted for beyond the time in which they are handled: what an agent's share of the collector is spent on (turns.ts).
import { limits } from '../../shared/limits.ts';
import type { SequencedChange } from '../../shared/model/change.ts';

/** Milliseconds that a message costs after it was handled, by its size in characters or bytes. */
export const laterMs = (size: number): number => (size / 2 ** 20) * limits.sessionMsPerMiB;

/** Milliseconds that storing a change takes of the store's time. */
export const storingMs = ({ subject, before, after }: SequencedChange): number =>
  limits.sessionMsPerChange + laterMs(subject.length + (before?.length ?? 0) + (after?.length ?? 0));

/** As many changes from a place on as can be stored without anybody noticing (`limits.heavyPieceMs`), and one at least. */
export function pieceOf(changes: readonly SequencedChange[], from: number): readonly SequencedChange[] {
  let end = from;
  for (let ms = 0; end < changes.length && (end === from || ms + storingMs(changes[end] as SequencedChange) <= limits.heavyPieceMs); end++)
    ms += storingMs(changes[end] as SequencedChange);
  return changes.slice(from, end);
}
