// The time slider of all views: what was open and what changed along a span, and the moment of it that is shown.
import { useEffect, useMemo, useState } from 'preact/hooks';
import { useAnswer } from '../data/answer.ts';
import { questionOf } from '../data/client.ts';
import { findingTopics } from '../data/live.ts';
import { historyOf, neighbour } from '../model/history.ts';
import { clockText, isoText, parseTime } from '../model/time.ts';
import { useClock } from '../shell/clock.ts';
import { usePlace } from '../shell/location.tsx';
import { Strip } from './strip.tsx';

const spans = [
  { name: '1 h', ms: 3_600_000 },
  { name: '6 h', ms: 6 * 3_600_000 },
  { name: '24 h', ms: 24 * 3_600_000 },
  { name: '7 d', ms: 7 * 24 * 3_600_000 },
] as const;
const bins = 240;
/** The span moves on by this, so that the same question is not another one each second. */
const stepMs = 30_000;

export function TimeBar() {
  const { at, set } = usePlace();
  const [spanMs, setSpanMs] = useState<number>(spans[0].ms);
  const clock = useClock(5_000);
  const now = Math.ceil(clock / stepMs) * stepMs;
  // A moment before the span widens it: the slider always holds what is shown.
  const from = Math.min(now - spanMs, at === undefined ? Infinity : at - spanMs / 8);
  const items = useTimeline(from, now);
  const choose = (time: number | undefined): void => set({ at: time === undefined || time >= now - 1_000 ? undefined : isoText(time) }, 'replace');
  const step = (direction: 'before' | 'after'): void => choose(neighbour(items.items, at ?? clock, direction));
  return (
    <section class="time-bar" aria-label="Time">
      <div class="time-steps">
        <button type="button" class="icon" onClick={() => step('before')} aria-label="To the event before" title="To the event before">
          <Arrow path="M10 3L5 8L10 13" />
        </button>
        <button type="button" class="icon" onClick={() => step('after')} disabled={at === undefined} aria-label="To the event after" title="To the event after">
          <Arrow path="M6 3L11 8L6 13" />
        </button>
      </div>
      <Slider from={from} to={now} at={at} history={items.history} choose={choose} />
      <TimeField at={at} choose={choose} />
      <select aria-label="Span of the slider" value={String(spanMs)} onChange={(event) => setSpanMs(Number(event.currentTarget.value))}>
        {spans.map(({ name, ms }) => (
          <option key={ms} value={String(ms)}>
            {name}
          </option>
        ))}
      </select>
    </section>
  );
}

const Arrow = ({ path }: { readonly path: string }) => (
  <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
    <path d={path} />
  </svg>
);

/** What happened in the span; the most recent of it where it is too much for one answer. */
function useTimeline(from: number, to: number) {
  const watching = { topics: [...findingTopics, 'change'] as const, everyMs: 60_000 };
  const events = useAnswer(questionOf('GET /timeline', { query: { from: String(Math.floor(from)), limit: 1_000 } }), watching).answer;
  const open = useAnswer(questionOf('GET /findings', { query: { limit: 1_000 } }), watching).answer;
  return useMemo(() => {
    const items = events?.items ?? [];
    return { items, history: historyOf(items, { from, to, openNow: open?.items.length ?? 0, bins }) };
  }, [events, open, from, to]);
}

interface SliderProps {
  readonly from: number;
  readonly to: number;
  readonly at: number | undefined;
  readonly history: ReturnType<typeof historyOf>;
  readonly choose: (time: number | undefined) => void;
}

/** The moment follows the hand at once, and the views a moment after it has come to rest. */
function Slider({ from, to, at, history, choose }: SliderProps) {
  const [held, setHeld] = useState<number | undefined>(undefined);
  useEffect(() => {
    if (held === undefined) return undefined;
    const timer = setTimeout(() => {
      choose(held);
      setHeld(undefined);
    }, 180);
    return () => clearTimeout(timer);
  }, [held]);
  const shown = held ?? at ?? to;
  return (
    <div class="slider">
      <Strip history={history} height={30} />
      <input
        type="range"
        min={from}
        max={to}
        step={1_000}
        value={shown}
        aria-label="Time that is shown"
        aria-valuetext={shown >= to ? 'now' : isoText(shown)}
        class={at === undefined && held === undefined ? 'is-live' : ''}
        onInput={(event) => setHeld(Number(event.currentTarget.value))}
      />
      <span class="edge" aria-hidden="true">
        {clockText(from, to)}
      </span>
    </div>
  );
}

function TimeField({ at, choose }: { readonly at: number | undefined; readonly choose: SliderProps['choose'] }) {
  const [text, setText] = useState('');
  const [wrong, setWrong] = useState(false);
  const clock = useClock(1_000);
  useEffect(() => setText(''), [at]);
  const enter = (event: Event): void => {
    event.preventDefault();
    const time = /^(now)?$/i.test(text.trim()) ? undefined : parseTime(text, Date.now());
    setWrong(time === undefined && !/^(now)?$/i.test(text.trim()));
    if (time !== undefined || /^(now)?$/i.test(text.trim())) choose(time);
  };
  const shown = at ?? clock;
  return (
    <form class="time-field" onSubmit={enter}>
      <input
        type="text"
        aria-label="Time to show, for example 14:03, -15m or 2026-11-28 14:03"
        aria-invalid={wrong}
        title="14:03, -15m, 2026-11-28 14:03, now. All times are UTC"
        placeholder={`${clockText(shown, clock)} UTC`}
        value={text}
        onInput={(event) => {
          setText(event.currentTarget.value);
          setWrong(false);
        }}
      />
    </form>
  );
}
