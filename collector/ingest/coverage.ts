// Which times nobody observed a node: between the runs of its agent, and where an agent itself says that its ledger is not whole. Pure.
import type { SequencedChange } from '../../shared/model/change.ts';
import type { Hello } from '../../shared/wire/messages.ts';
import type { Gap } from '../store/store.ts';

export interface Coverage {
  readonly node: string;
  /** When the node was heard of last, milliseconds since 1970 by the collector's clock; undefined for a node that is new. */
  readonly heardAt: number | undefined;
  /** The agent's clock minus the collector's. */
  readonly clockOffsetMs: number;
}

/** The times since the node was heard of last in which none of the runs that the hello names was alive, by the collector's clock. */
export function timesNotCovered(hello: Hello, { node, heardAt, clockOffsetMs }: Coverage): readonly Gap[] {
  if (hello.startedAt === undefined) return [];
  const own = { startedAt: hello.startedAt, aliveAt: hello.clock };
  const runs = [...(hello.earlier ?? []), own].map((run) => ({ from: run.startedAt - clockOffsetMs, to: run.aliveAt - clockOffsetMs }));
  runs.sort((a, b) => a.from - b.from);
  const gaps: Gap[] = [];
  let covered = heardAt ?? runs[0]?.from ?? 0;
  for (const { from, to } of runs) {
    if (from > covered) gaps.push({ node, reason: 'agent-down', from: covered, to: from, detail: downText(covered, from) });
    covered = Math.max(covered, to);
  }
  return gaps;
}

const downText = (from: number, to: number): string => `no agent observed the node for ${Math.max(1, Math.round((to - from) / 1_000))} s`;

/** The gaps that a change tells of: one that stands for what an agent could not keep or see, and what was folded away before it. */
export function gapsTold(change: SequencedChange, clockOffsetMs: number): readonly Gap[] {
  const { node, gap, folded, stream, seq, covers, after, subject } = change;
  const seqs = covers === undefined ? {} : { seqs: { stream, from: seq - covers, to: gap === undefined ? seq - 1 : seq } };
  const here = (time: number): number => time - clockOffsetMs;
  return [
    ...(gap === undefined ? [] : [{ node, reason: gap.reason, from: here(gap.from), to: here(gap.to), detail: after ?? subject, ...seqs }]),
    ...(folded === undefined
      ? []
      : [
          {
            node,
            reason: 'folded' as const,
            from: here(folded.from),
            to: here(folded.to),
            detail: `${folded.count} changes of ${subject} between its first and its last were left out`,
            seqs: { stream, from: seq, to: seq },
          },
        ]),
  ];
}
