// Which times nobody observed a node: between the runs of its agent, and where an agent itself says that its ledger is not whole. Pure.
import type { SequencedChange } from '../../shared/model/change.ts';
import type { Hello } from '../../shared/wire/messages.ts';
import type { Gap } from '../store/store.ts';

/** How an agent's clock compares with the collector's. */
export interface ClockOffset {
  /** The agent's clock minus the collector's, as if its hello had taken no time. */
  readonly clockOffsetMs: number;
  /** How long its hello can have been under way: by so much its times may be earlier than the offset makes them. */
  readonly transitMs: number;
}

export interface Coverage extends ClockOffset {
  readonly node: string;
  /** Until when the node's ledger is whole, milliseconds since 1970 by the collector's clock; undefined for a node that is new. */
  readonly heardAt: number | undefined;
}

/** The times since the node was heard of last in which none of the runs that the hello names was alive, by the collector's clock. */
export function timesNotCovered(hello: Hello, { node, heardAt, clockOffsetMs, transitMs }: Coverage): readonly Gap[] {
  if (hello.startedAt === undefined) return [];
  const own = { startedAt: hello.startedAt, aliveAt: hello.clock };
  const told = [...(hello.earlier ?? []), own];
  // How long this run has lasted is told by a clock that nobody sets; what its clock said at its beginning is what the records of earlier runs compare with.
  const beganAt = hello.ranMs === undefined ? hello.startedAt - clockOffsetMs : hello.clock - clockOffsetMs - hello.ranMs;
  const offsetMs = hello.startedAt - beganAt;
  const runs = told
    // One that seems to end before it began, or after any later one began, was told by a clock that was set back: when it was cannot be said.
    .filter((run, i) => run === own || (run.startedAt <= run.aliveAt && told.slice(i + 1).every((later) => run.aliveAt <= later.startedAt)))
    .map((run) =>
      run === own ? { from: beganAt, to: hello.clock - clockOffsetMs } : { from: run.startedAt - offsetMs, to: run.aliveAt - offsetMs - transitMs },
    );
  const gaps: Gap[] = [];
  let covered = heardAt ?? Math.min(...runs.map(({ from }) => from));
  for (const { from, to } of runs) {
    // Too short to be sure of any moment of it.
    if (to < from) continue;
    if (from > covered) gaps.push({ node, reason: 'agent-down', from: covered, to: from, detail: downText(covered, from) });
    covered = Math.max(covered, to);
  }
  return gaps;
}

/** When the first run that a hello names began, by the agent's clock; milliseconds since 1970. */
export const beginOf = ({ startedAt, clock, earlier }: Hello): number => Math.min(startedAt ?? clock, ...(earlier ?? []).map((run) => run.startedAt));

const downText = (from: number, to: number): string => `no agent observed the node for ${Math.max(1, Math.round((to - from) / 1_000))} s`;

/** The gaps that a change tells of: one that stands for what an agent could not keep or see, and what was folded away before it. */
export function gapsTold(change: SequencedChange, { clockOffsetMs, transitMs }: ClockOffset): readonly Gap[] {
  const { node, gap, folded, stream, seq, covers, after, subject } = change;
  // Also where it covers none but itself: a record that comes twice makes one gap.
  const seqs = { seqs: { stream, from: seq - (covers ?? 0), to: gap === undefined ? seq - 1 : seq } };
  const here = (time: number): number => time - clockOffsetMs;
  return [
    ...(gap === undefined ? [] : [{ node, reason: gap.reason, from: here(gap.from) - transitMs, to: here(gap.to), detail: after ?? subject, ...seqs }]),
    ...(folded === undefined
      ? []
      : [
          {
            node,
            reason: 'folded' as const,
            from: here(folded.from) - transitMs,
            to: here(folded.to),
            detail: `${folded.count} changes of ${subject} between its first and its last were left out`,
            seqs: { stream, from: seq, to: seq },
          },
        ]),
  ];
}
