// The time before an onset as lanes, one for each class of changes, with the window of an operator's playbook shaded in each. Pure.

import type { SequencedChange } from '../../../shared/model/change.ts';
import { type ChangeClass, classOf, windows } from '../../correlate/windows.ts';

export interface Lane {
  readonly name: string;
  readonly class: ChangeClass;
  readonly windowMin: number;
  /** Where its window begins, 0…1 of the width; it ends at the onset. */
  readonly windowFrom: number;
  /** In order of time. */
  readonly marks: readonly Mark[];
}

/** Changes of a lane that fall on one place. */
export interface Mark {
  /** 0…1 of the width. */
  readonly x: number;
  readonly changes: readonly SequencedChange[];
  /** Whether one of them is what made the fault. */
  readonly isTrigger: boolean;
  /** Whether they lie within the window of the lane. */
  readonly isWithin: boolean;
}

export interface Lanes {
  readonly lanes: readonly Lane[];
  /** 0…1 of the width. */
  readonly onset: number;
  readonly ticks: readonly { readonly x: number; readonly text: string }[];
}

/** The question: when it began, and how the change that made it is known again. */
export interface Onset {
  readonly at: number;
  readonly trigger?: { readonly at: number; readonly subject: string };
}

/** In the order in which a packet would name them: what filters it, what translates it, what carries it, what the cluster asks for. */
const order: readonly { readonly class: ChangeClass; readonly name: string }[] = [
  { class: 'firewall', name: 'Firewall' },
  { class: 'kube-proxy', name: 'Proxy' },
  { class: 'interface', name: 'Interface' },
  { class: 'service', name: 'Service' },
  { class: 'security group', name: 'Cloud' },
  { class: 'cni', name: 'CNI' },
  { class: 'network policy', name: 'Policy' },
];

/** Minutes before the onset, and after it, that are shown: the widest window, and what followed. */
export const shownMin = { before: 75, after: 10 } as const;
const minuteMs = 60_000;
/** Where the onset stands. */
const onsetAt = 0.88;
/** Of a width of about a thousand pixels: marks that are nearer are one. */
const nearest = 0.008;

/** Lanes for the changes of a node and of the cluster; those outside of what is shown, and those that break no NodePort, are left out. */
export function lanesOf(changes: readonly SequencedChange[], onset: Onset): Lanes {
  const within = changes.filter(({ at }) => at >= onset.at - shownMin.before * minuteMs && at <= onset.at + shownMin.after * minuteMs);
  const byClass = Map.groupBy(within, classOf);
  return {
    lanes: order.map(({ class: kind, name }) => ({
      name,
      class: kind,
      windowMin: windows[kind],
      windowFrom: placeOf(windows[kind] * minuteMs),
      marks: marksOf(byClass.get(kind) ?? [], onset, windows[kind]),
    })),
    onset: onsetAt,
    ticks: [60, 30, 10, 5, 1, 0, -5].map((minutes) => ({ x: placeOf(minutes * minuteMs), text: tickText(minutes) })),
  };
}

const tickText = (minutes: number): string => (minutes === 0 ? 'onset' : minutes > 0 ? `−${minutes} min` : `+${-minutes} min`);

/** Where a time so long before the onset stands. The scale is logarithmic: seconds before it matter as much as the half hour does. */
export function placeOf(ageMs: number): number {
  const share = (ms: number, whole: number): number => Math.min(1, Math.log1p(ms / 20_000) / Math.log1p((whole * minuteMs) / 20_000));
  return ageMs >= 0 ? onsetAt * (1 - share(ageMs, shownMin.before)) : onsetAt + (1 - onsetAt) * share(-ageMs, shownMin.after);
}

function marksOf(changes: readonly SequencedChange[], onset: Onset, windowMin: number): Mark[] {
  const marks: { x: number; changes: SequencedChange[] }[] = [];
  for (const change of changes.toSorted((a, b) => a.at - b.at || a.seq - b.seq)) {
    const x = placeOf(onset.at - change.at);
    const last = marks.at(-1);
    if (last !== undefined && x - last.x < nearest) last.changes.push(change);
    else marks.push({ x, changes: [change] });
  }
  return marks.map((mark) => ({
    ...mark,
    isTrigger: mark.changes.some((change) => isTrigger(change, onset)),
    isWithin: mark.changes.some(({ at }) => at <= onset.at + slackMs && at >= onset.at - windowMin * minuteMs),
  }));
}

/** A fault may be seen before the change that made it is told. */
const slackMs = 2_000;

export const isTrigger = ({ at, subject }: { readonly at: number; readonly subject: string }, { trigger }: Onset): boolean =>
  trigger !== undefined && trigger.at === at && trigger.subject === subject;
