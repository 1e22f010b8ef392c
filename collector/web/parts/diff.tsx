// What a change removed and added, line by line.
import { useMemo } from 'preact/hooks';
import { type DiffLine, diffLines } from '../model/diff.ts';

interface DiffProps {
  readonly before: string | null;
  readonly after: string | null;
  /** Equal lines around. */
  readonly context?: number;
}

const signs: Readonly<Record<DiffLine['kind'], string>> = { same: ' ', removed: '−', added: '+', skipped: '⋯' };
const said: Readonly<Record<DiffLine['kind'], string>> = { same: '', removed: 'removed: ', added: 'added: ', skipped: '' };
/** Lines that are shown before one asks for more. */
const shownMax = 60;

export function Diff({ before, after, context = 1 }: DiffProps) {
  const lines = useMemo(() => diffLines(before, after, context), [before, after, context]);
  if (lines.length === 0) return null;
  return (
    <div class="diff" tabIndex={0} role="group" aria-label="What changed">
      {lines.slice(0, shownMax).map(({ kind, text }, index) => (
        <div key={index} class={`line ${kind}`}>
          <span class="sign" aria-hidden="true">
            {signs[kind]}
          </span>
          <span class="only-said">{said[kind]}</span>
          <code>{text}</code>
        </div>
      ))}
      {lines.length > shownMax && <div class="line skipped">… and {lines.length - shownMax} more lines</div>}
    </div>
  );
}
