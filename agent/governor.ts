// Holds what reading costs within its share of a processor: while the average of the last minutes is over it, readings wait so long that it cannot grow. Pure.
import { limits } from '../shared/limits.ts';

interface Sample {
  /** Milliseconds of a clock that never jumps. */
  readonly at: number;
  /** Milliseconds of processor time since some beginning. */
  readonly spentMs: number;
}

/** Processor time of the agent and all that it starts, as it was at some moments. */
export class Governor {
  /** In order of time; the first is at the edge of the window or before. */
  #samples: Sample[] = [];

  /** Takes what has been spent in all until now. Called about every ten seconds and after each reading. */
  sample(at: number, spentMs: number): void {
    const last = this.#samples.at(-1);
    if (last !== undefined && at - last.at < sampleMinMs) this.#samples[this.#samples.length - 1] = { at: last.at, spentMs: Math.max(last.spentMs, spentMs) };
    else this.#samples.push({ at, spentMs });
    while (this.#samples.length > 2 && (this.#samples[1] as Sample).at <= at - limits.readingWindowMs) this.#samples.shift();
  }

  /** Forgets what was spent so far: the first reading of all is not what it costs to keep up. */
  begin(at: number, spentMs: number): void {
    this.#samples = [{ at, spentMs }];
  }

  /** Average share of one core over the window; of the time since the beginning where that is less than the window, which then counts as idle. */
  get share(): number {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    if (first === undefined || last === undefined) return 0;
    return (last.spentMs - first.spentMs) / limits.readingWindowMs;
  }

  get isOver(): boolean {
    return this.share > limits.readingShareMax;
  }

  /**
   * How long after the last reading the next one has to wait: not at all within the share; beyond it so long that this reading alone does not exceed it.
   * `costMs` is what one reading takes.
   */
  pauseMs(costMs: number): number {
    return this.isOver ? costMs / limits.readingShareMax : 0;
  }
}

/** Samples closer together than this become one. */
const sampleMinMs = 1_000;
