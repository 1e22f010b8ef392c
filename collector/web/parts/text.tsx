// Small pieces of text that every view shows alike: times, durations, commands to copy, causes.
import { useState } from 'preact/hooks';
import { agoText, clockText, isoText } from '../model/time.ts';

interface TimeProps {
  readonly at: number;
  readonly now: number;
  /** Also how long ago. */
  readonly ago?: boolean;
}

/** A time in UTC; the whole of it in its title. */
export function Time({ at, now, ago = false }: TimeProps) {
  return (
    <time dateTime={isoText(at)} title={isoText(at)} class="time">
      {clockText(at, now)}
      {ago && <span class="quiet"> · {agoText(at, now)}</span>}
    </time>
  );
}

/** A command that is copied with one click; it is shown whole, as nobody copies what he cannot read. */
export function Command({ text, label = 'Copy' }: { readonly text: string; readonly label?: string }) {
  const [state, setState] = useState<'idle' | 'copied' | 'failed'>('idle');
  const copy = (): void => {
    copyText(text).then(
      () => setState('copied'),
      () => setState('failed'),
    );
    setTimeout(() => setState('idle'), 2_000);
  };
  return (
    <div class="command">
      <pre tabIndex={0}>
        <code>{text}</code>
      </pre>
      <button type="button" onClick={copy} aria-label={`${label}: ${text}`}>
        {state === 'idle' ? label : state === 'copied' ? 'Copied' : 'Select it by hand'}
      </button>
      <span class="only-said" role="status">
        {state === 'copied' ? 'Copied' : ''}
      </span>
    </div>
  );
}

// Over plain HTTP from another machine a page has no clipboard; what is selected can be copied all the same.
async function copyText(text: string): Promise<void> {
  if (navigator.clipboard !== undefined) return navigator.clipboard.writeText(text);
  const area = document.createElement('textarea');
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand('copy');
  area.remove();
  if (!done) throw new Error('the browser does not copy');
}

/** `C08 likely`: the catalogue's number, and how sure it is. */
export function CauseTag({ cause, confidence }: { readonly cause: string; readonly confidence?: string | undefined }) {
  return (
    <span class="cause">
      <span class="code">{cause === 'unknown' ? '?' : cause}</span>
      {confidence !== undefined && confidence !== '' && <span class={`confidence ${confidence}`}>{confidence}</span>}
    </span>
  );
}

/** `1 node`, `3 nodes`. */
export const counted = (count: number, one: string, many = `${one}s`): string => `${count.toLocaleString('en')} ${count === 1 ? one : many}`;
