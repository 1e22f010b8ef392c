// The strip above the time slider: how many findings were open, and how much changed, along a span of time. Pure.
import type { TimelineItem } from '../data/types.ts';

export interface History {
  /** Middles of the bins, in seconds since 1970. */
  readonly at: readonly number[];
  /** Most findings open at once within the bin. */
  readonly open: readonly number[];
  /** Changes of the ledger within the bin. */
  readonly changes: readonly number[];
}

export interface Span {
  /** Milliseconds since 1970. */
  readonly from: number;
  readonly to: number;
}

/** Bins of equal length. `openNow`: findings that are open at the end of the span; those at earlier times follow from what opened and closed since. */
export function historyOf(items: readonly TimelineItem[], span: Span & { readonly openNow: number; readonly bins: number }): History {
  const { from, to, openNow, bins } = span;
  const length = (to - from) / bins;
  const binOf = (at: number): number => Math.min(bins - 1, Math.max(0, Math.floor((at - from) / length)));
  const changes = new Array<number>(bins).fill(0);
  const open = new Array<number>(bins).fill(0);
  let count = openNow;
  let last = bins - 1;
  open[last] = count;
  for (const { at, event } of items.filter((item) => item.at >= from && item.at <= to).toSorted((a, b) => b.at - a.at)) {
    const bin = binOf(at);
    if (event === 'change') {
      changes[bin] = (changes[bin] as number) + 1;
      continue;
    }
    for (; last > bin; last--) open[last - 1] = count;
    // Read backwards: before it opened there was one less, before it closed one more.
    count = Math.max(0, event === 'finding-opened' ? count - 1 : count + 1);
    open[bin] = Math.max(open[bin] as number, count);
  }
  for (; last > 0; last--) open[last - 1] = count;
  return { at: open.map((_, bin) => (from + (bin + 0.5) * length) / 1_000), open, changes };
}

/** The time of the event next to a time, one way or the other; undefined where there is none. Findings count, and changes where no finding does. */
export function neighbour(items: readonly TimelineItem[], at: number, direction: 'before' | 'after'): number | undefined {
  const found = items.filter(({ event }) => event !== 'change');
  const times = (found.length > 0 ? found : items).map((item) => item.at).filter((time) => (direction === 'before' ? time < at - 500 : time > at + 500));
  return times.length === 0 ? undefined : direction === 'before' ? Math.max(...times) : Math.min(...times);
}
