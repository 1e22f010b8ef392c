// The time before an onset: a lane for each class of changes, its window shaded, each change a mark that tells what it was.
import { useMemo, useState } from 'preact/hooks';
import { actorText } from '../../../shared/model/change.ts';
import type { SequencedChange } from '../data/types.ts';
import { isTrigger, type Lane, type Lanes, lanesOf, type Mark, type Onset } from '../model/lanes.ts';
import { clockText, durationText, isoText } from '../model/time.ts';
import { Diff } from './diff.tsx';
import { counted } from './text.tsx';

interface LanesProps {
  readonly changes: readonly SequencedChange[];
  readonly onset: Onset;
  /** Whether something began at the onset; otherwise it is just the present. */
  readonly isFault: boolean;
}

/** Of the changes of one mark, so many are told. */
const toldMax = 6;

export function LanesView({ changes, onset, isFault }: LanesProps) {
  const lanes = useMemo(() => lanesOf(changes, onset), [changes, onset.at, onset.trigger?.at, onset.trigger?.subject]);
  const [picked, setPicked] = useState<Mark | undefined>(undefined);
  const shown = picked ?? firstOf(lanes);
  return (
    <div class="lanes">
      <ul class="lane-list">
        {lanes.lanes.map((lane) => (
          <LaneRow key={lane.name} lane={lane} onsetX={lanes.onset} at={onset.at} shown={shown} pick={setPicked} />
        ))}
      </ul>
      <div class="lane-axis" aria-hidden="true">
        <div class="lane-track">
          {lanes.ticks.map(({ x, text }) => (
            <span key={text} class={text === 'onset' ? 'tick is-onset' : 'tick'} style={{ left: percent(x) }}>
              {text === 'onset' && !isFault ? 'now' : text}
            </span>
          ))}
        </div>
      </div>
      <Told mark={shown} onset={onset} />
    </div>
  );
}

/** The mark that is told of before one is picked: what made the fault, else the last before it. */
function firstOf({ lanes }: Lanes): Mark | undefined {
  const marks = lanes.flatMap((lane) => lane.marks);
  const before = marks.filter(({ isWithin }) => isWithin).sort((a, b) => a.x - b.x);
  return marks.find((mark) => mark.isTrigger) ?? before.at(-1);
}

const percent = (share: number): string => `${(share * 100).toFixed(2)}%`;

interface LaneRowProps {
  readonly lane: Lane;
  readonly onsetX: number;
  /** When it began. */
  readonly at: number;
  readonly shown: Mark | undefined;
  readonly pick: (mark: Mark) => void;
}

function LaneRow({ lane: { name, windowMin, windowFrom, marks }, onsetX, at, shown, pick }: LaneRowProps) {
  const within = marks.filter(({ isWithin }) => isWithin).reduce((sum, { changes }) => sum + changes.length, 0);
  return (
    <li class="lane-row">
      <span class="lane-name">
        {name}
        <span class="only-said">
          : {counted(within, 'change')} within {windowMin} minutes before
        </span>
      </span>
      <div class="lane-track">
        <span class="lane-window" style={{ left: percent(windowFrom), width: percent(onsetX - windowFrom) }}>
          <span aria-hidden="true">{windowMin} min</span>
        </span>
        <span class="lane-onset" style={{ left: percent(onsetX) }} />
        {marks.map((mark) => (
          <button
            key={mark.x}
            type="button"
            class={['lane-mark', mark.isTrigger ? 'is-trigger' : '', mark.isWithin ? 'is-within' : '', mark === shown ? 'is-shown' : ''].join(' ')}
            style={{ left: percent(mark.x) }}
            aria-label={markText(mark, at)}
            aria-pressed={mark === shown}
            title={markText(mark, at)}
            onClick={() => pick(mark)}
          >
            {mark.changes.length > 1 && !mark.isTrigger ? (mark.changes.length > 99 ? '…' : mark.changes.length) : ''}
          </button>
        ))}
      </div>
    </li>
  );
}

function markText({ changes, isTrigger: made }: Mark, at: number): string {
  const [first] = changes;
  if (first === undefined) return '';
  const what = changes.length > 1 ? `${changes.length} changes, the first of ${first.subject}` : first.subject;
  return `${what}, ${ageText(at - first.at)}${made ? ', the change that made it' : ''}`;
}

const ageText = (ageMs: number): string => (ageMs >= 0 ? `${durationText(ageMs)} before` : `${durationText(-ageMs)} after`);

function Told({ mark, onset }: { readonly mark: Mark | undefined; readonly onset: Onset }) {
  if (mark === undefined)
    return <p class="nothing">No change is on record within these windows: nothing of these classes was changed, or nobody looked (see Gaps).</p>;
  // What made it comes first, then the last ones before.
  const [made, others] = [mark.changes.filter((change) => isTrigger(change, onset)), mark.changes.filter((change) => !isTrigger(change, onset))];
  const told = [...made, ...others.toReversed()].slice(0, toldMax);
  return (
    <ol class="told" aria-live="polite">
      {told.map((change) => (
        <ToldChange key={`${change.node} ${change.stream} ${change.seq}`} change={change} onset={onset} />
      ))}
      {mark.changes.length > toldMax && <li class="quiet">… and {mark.changes.length - toldMax} more at that time</li>}
    </ol>
  );
}

function ToldChange({ change, onset }: { readonly change: SequencedChange; readonly onset: Onset }) {
  const { at, subject, owner, actor, before, after } = change;
  return (
    <li class={isTrigger(change, onset) ? 'is-trigger' : ''}>
      <p>
        <time dateTime={isoText(at)} class="time">
          {clockText(at, onset.at)}
        </time>{' '}
        <span class="quiet">{ageText(onset.at - at)}</span> <strong class="code">{subject}</strong>
        {owner !== undefined && owner !== 'unknown' && <span class="owner">{owner}</span>}
        {isTrigger(change, onset) && <span class="decides">made it</span>}
      </p>
      {actorText(actor) !== 'unknown' && <p class="code actor">{actorText(actor)}</p>}
      <Diff before={before} after={after} />
    </li>
  );
}
