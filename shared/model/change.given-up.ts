// The record that stands for changes that were given up for want of room: their numbers, and all the time that any of them told of. Pure.
import type { SequencedChange } from './change.ts';

/** Changes of one stream in order, of which nothing is kept but this. Times in milliseconds since 1970, by the clock of the machine that saw them. */
export interface GivenUp {
  readonly last: SequencedChange;
  /** The first number that they stand for. */
  readonly fromSeq: number;
  readonly from: number;
  readonly to: number;
  /** Some told of changes that had been folded into them, maybe of other streams. */
  readonly hasFolded: boolean;
}

/** With one more, the next of its stream. */
export function giveUp(before: GivenUp | undefined, change: SequencedChange): GivenUp {
  const { at, gap, folded } = change;
  // A record that goes takes along what it alone tells of: a gap, or changes that were folded into it. Both may reach further back than the changes themselves.
  const times = [at, ...(gap === undefined ? [] : [gap.from, gap.to]), ...(folded === undefined ? [] : [folded.from, folded.to])];
  return {
    last: change,
    fromSeq: before?.fromSeq ?? change.seq - (change.covers ?? 0),
    from: Math.min(...times, before?.from ?? at),
    to: Math.max(...times, before?.to ?? at),
    hasFolded: folded !== undefined || before?.hasFolded === true,
  };
}

/** The gap record in their place; it has the number of the last and covers the others. `why` says what there was no room in. */
export function gapOf({ last, fromSeq, from, to, hasFolded }: GivenUp, why: string): SequencedChange {
  const { at, node, stream, seq } = last;
  return {
    at,
    node,
    stream,
    seq,
    covers: seq - fromSeq,
    kind: 'gap',
    subject: `changes ${fromSeq} to ${seq}`,
    before: null,
    after: `${seq - fromSeq + 1} changes${hasFolded ? ', and others that were folded into them,' : ''} were not kept: no collector took them, and ${why}`,
    gap: { reason: 'spool-full', from, to },
  };
}
