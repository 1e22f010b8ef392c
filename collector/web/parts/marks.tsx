// Marks of verdicts and severities: each differs from the others in shape as well as in colour.
import type { Severity } from '../../../shared/model/finding.ts';
import type { MatrixVerdict } from '../model/matrix.ts';

/** Outlines in a square of 16; the matrix draws the same ones. */
export const shapes: Readonly<Record<MatrixVerdict, { readonly outline: string; readonly sign: string }>> = {
  none: { outline: '', sign: 'M7 8h2' },
  ok: { outline: 'M8 3.5A4.5 4.5 0 1 1 8 12.5A4.5 4.5 0 1 1 8 3.5Z', sign: '' },
  'by-design': { outline: 'M2.5 6.5H13.5V9.5H2.5Z', sign: '' },
  pending: { outline: 'M8 2A6 6 0 1 1 8 14A6 6 0 1 1 8 2ZM8 5A3 3 0 1 0 8 11A3 3 0 1 0 8 5Z', sign: '' },
  warning: { outline: 'M8 1.5L15 14H1Z', sign: 'M8 6V9.5M8 11.6V12' },
  unknown: { outline: 'M8 1L14.6 5.9L12.1 13.8H3.9L1.4 5.9Z', sign: 'M6.2 6.4A1.9 1.9 0 1 1 8 8.6V9.4M8 11.4V11.5' },
  refused: { outline: 'M8 0.8L15.2 8L8 15.2L0.8 8Z', sign: 'M5.4 8H10.6' },
  unreachable: { outline: 'M8 0.8L15.2 8L8 15.2L0.8 8Z', sign: 'M6 6L10 10M10 6L6 10' },
  timeout: { outline: 'M5 1H11L15 5V11L11 15H5L1 11V5Z', sign: 'M5.4 5.4L10.6 10.6M10.6 5.4L5.4 10.6' },
};

export const verdictTitles: Readonly<Record<MatrixVerdict, string>> = {
  none: 'not of this node',
  ok: 'answers',
  'by-design': 'does not answer, by design',
  pending: 'differs since a moment',
  warning: 'answers, with a warning',
  unknown: 'not known',
  refused: 'refused',
  unreachable: 'told that it is unreachable',
  timeout: 'times out',
};

interface MarkProps {
  readonly verdict: MatrixVerdict;
  readonly size?: number;
  /** Said by a screen reader; empty where text beside it says the same. */
  readonly label?: string;
}

export function VerdictMark({ verdict, size = 16, label = verdictTitles[verdict] }: MarkProps) {
  const { outline, sign } = shapes[verdict];
  const said = label === '' ? { 'aria-hidden': true as const } : { role: 'img' as const, 'aria-label': label };
  return (
    <svg class={`mark v-${verdict}`} viewBox="0 0 16 16" width={size} height={size} {...said}>
      <path class="outline" d={outline} />
      <path class="sign" d={sign} />
    </svg>
  );
}

export const severityTitles: Readonly<Record<Severity, string>> = { error: 'Broken', warning: 'At risk', info: 'By design' };

/** The verdict whose mark stands for a finding. */
export function verdictOfFinding({ severity, symptom }: { readonly severity: Severity; readonly symptom: string }): MatrixVerdict {
  if (severity === 'info') return 'by-design';
  if (severity === 'warning') return 'warning';
  return symptom === 'refused' || symptom === 'unreachable' || symptom === 'unknown' ? symptom : 'timeout';
}
