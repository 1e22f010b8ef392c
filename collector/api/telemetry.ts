// Counts what happens in the collector, for its metrics: gaps of ledgers, incidents, answers, and what was told to others.
import type { GapReason } from '../../shared/model/change.ts';
import type { CollectorState } from '../state/state.ts';

const gapReasons: readonly GapReason[] = ['agent-down', 'spool-full', 'spool-damaged', 'folded', 'watch-overrun', 'lost'];
const answerClasses = ['2xx', '3xx', '4xx', '5xx'] as const;
const origins = ['report', 'alertmanager'] as const;

/** Names of the counters that have one label, and the values that it can have: no more series than that can ever be. */
const counters = {
  gaps: { label: 'reason', values: gapReasons },
  answers: { label: 'status', values: answerClasses },
  incidents: { label: 'origin', values: origins },
  findingsOpened: { label: 'severity', values: ['error', 'warning', 'info'] },
} as const;
export type CounterName = keyof typeof counters;

/** Every counter begins at 0. `close()` ends the counting. */
export class Telemetry {
  readonly #counts = new Map<string, number>();
  readonly #unsubscribe: () => void;

  constructor(state: Pick<CollectorState, 'subscribe'>) {
    this.#unsubscribe = state.subscribe((event) => {
      if (event.kind === 'change' && event.change.gap !== undefined) this.count('gaps', event.change.gap.reason);
      if (event.kind === 'finding-opened') this.count('findingsOpened', event.finding.severity);
    });
  }

  count(name: CounterName, value: string): void {
    const key = `${name} ${value}`;
    if ((counters[name].values as readonly string[]).includes(value)) this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
  }

  /** Counts an answer by the class of its status. */
  answered(status: number): void {
    this.count('answers', `${Math.floor(status / 100)}xx`);
  }

  /** The samples of a counter, those that are 0 as well. */
  samples(name: CounterName): { readonly labels: Readonly<Record<string, string>>; readonly value: number }[] {
    const { label, values } = counters[name];
    return values.map((value) => ({ labels: { [label]: value }, value: this.#counts.get(`${name} ${value}`) ?? 0 }));
  }

  close(): void {
    this.#unsubscribe();
  }
}
