// Keeps a program running that is spoken to and answers in lines: starts it again when it ends, hangs, talks nonsense or too much, with a growing pause.
import { limits } from '../../shared/limits.ts';
import { type Followed, follow } from './run.ts';

export interface SupervisedOptions {
  readonly program: () => readonly [string, ...string[]];
  /** Takes one line; false when it makes no sense. */
  readonly onLine: (line: string) => boolean;
  /** It was started, for the first time or again: what it must know is to be sent. */
  readonly onStart: () => void;
  readonly onState: (state: SupervisedState) => void;
  /** The line that it must answer with any line, or it counts as hanging. */
  readonly ping: string;
  readonly times?: Partial<Times>;
}

/** `running`: it answers. `flooded`: it does, and says more than is taken. `ended`: it does not run, for a reason, and is started again later. */
export type SupervisedState =
  | { readonly kind: 'running' }
  | { readonly kind: 'flooded'; readonly skipped: number }
  | { readonly kind: 'ended'; readonly reason: string };

/** All in milliseconds. */
interface Times {
  /** The pause before the first restart, and the longest. */
  readonly pauseMinMs: number;
  readonly pauseMaxMs: number;
  /** A program that ran this long was well: the next pause is short again. */
  readonly wellMs: number;
  /** How often it is asked whether it is there, and how long it may take to say so. */
  readonly pingMs: number;
}

const usualTimes: Times = { pauseMinMs: 500, pauseMaxMs: 60_000, wellMs: 30_000, pingMs: 10_000 };

export class Supervised {
  readonly #options: SupervisedOptions;
  readonly #times: Times;
  #followed: Followed | undefined;
  #restart: NodeJS.Timeout | undefined;
  #asking: NodeJS.Timeout | undefined;
  #patience: NodeJS.Timeout | undefined;
  #pauseMs: number;
  #state: SupervisedState | undefined;
  #startedAt = 0;
  #answered = true;
  #killed = '';
  #closed = false;
  /** Lines and nonsense in the second that began at `since`. */
  #second = { since: 0, lines: 0, skipped: 0 };
  #nonsense = 0;

  constructor(options: SupervisedOptions) {
    this.#options = options;
    this.#times = { ...usualTimes, ...options.times };
    this.#pauseMs = this.#times.pauseMinMs;
    this.#start();
  }

  get pid(): number | undefined {
    return this.#followed?.pid;
  }

  /** Writes to it, if it runs. What it must know after a restart is sent by `onStart`. */
  send(text: string): void {
    this.#followed?.send(text);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#restart);
    clearInterval(this.#asking);
    clearTimeout(this.#patience);
    await this.#followed?.close();
  }

  #start(): void {
    this.#startedAt = performance.now();
    this.#answered = true;
    this.#killed = '';
    this.#nonsense = 0;
    const [command, ...args] = this.#options.program();
    this.#followed = follow(command, args, {
      input: true,
      lineBytesMax: limits.bpfLineBytesMax,
      onLine: (line) => this.#line(line),
      onEnd: (reason) => this.#ended(this.#killed === '' ? reason : this.#killed),
    });
    this.#options.onStart();
    this.#asking = setInterval(() => this.#ask(), this.#times.pingMs);
  }

  #ask(): void {
    // Where it was this process that was busy, the answer is there and not read yet: it gets half the time again.
    if (!this.#answered) this.#patience ??= setTimeout(() => this.#judge(), this.#times.pingMs / 2);
    this.#answered = false;
    this.send(`${this.#options.ping}\n`);
    if (this.#state?.kind === 'flooded' && performance.now() - this.#second.since > 2 * this.#times.pingMs) this.#tell({ kind: 'running' });
  }

  #judge(): void {
    this.#patience = undefined;
    if (!this.#answered) this.#kill(`did not answer for ${this.#times.pingMs} ms`);
  }

  #kill(reason: string): void {
    this.#killed = reason;
    this.#followed?.kill();
  }

  #line(line: string): void {
    if (this.#killed !== '') return;
    this.#answered = true;
    const now = performance.now();
    if (now - this.#second.since > 1_000) this.#second = { since: now, lines: 0, skipped: this.#second.skipped };
    if (++this.#second.lines > limits.bpfLinesPerSecondMax) {
      this.#second.skipped++;
      if (this.#state?.kind !== 'flooded') this.#tell({ kind: 'flooded', skipped: this.#second.skipped });
      return;
    }
    if (this.#options.onLine(line)) {
      if (this.#state?.kind !== 'flooded') this.#tell({ kind: 'running' });
      return;
    }
    if (++this.#nonsense >= limits.bpfNonsenseMax)
      this.#kill(`said ${this.#nonsense} lines that make no sense, the last one ${JSON.stringify(line.slice(0, 80))}`);
  }

  #ended(reason: string): void {
    clearInterval(this.#asking);
    clearTimeout(this.#patience);
    this.#patience = undefined;
    this.#tell({ kind: 'ended', reason });
    if (this.#closed) return;
    const well = performance.now() - this.#startedAt >= this.#times.wellMs;
    this.#pauseMs = well ? this.#times.pauseMinMs : Math.min(this.#pauseMs * 2, this.#times.pauseMaxMs);
    this.#restart = setTimeout(() => this.#start(), this.#pauseMs);
  }

  /** Tells a state once, and not again while it lasts. */
  #tell(state: SupervisedState): void {
    if (this.#closed || (state.kind === this.#state?.kind && state.kind !== 'ended')) return;
    this.#state = state;
    this.#options.onState(state);
  }
}
