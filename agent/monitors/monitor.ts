// Keeps a monitor program running: restarts it with a growing pause when it ends, and says each time that it runs again, because what happened meanwhile is not known.
import { type Followed, follow } from '../host/run.ts';

export interface MonitorOptions {
  /** The command and its arguments, asked for at each start. */
  readonly program: () => readonly [string, ...string[]];
  readonly onLine: (line: string) => void;
  /** It was started, for the first time or again. */
  readonly onStart: () => void;
  readonly onEnd: (reason: string) => void;
  /** Whether it may be started again at once: it ended of something that it is known to end of. */
  readonly isUsual?: (reason: string) => boolean;
  /** Whether it is spoken to. */
  readonly input?: true;
}

/** The pause before the first restart, and the longest, in milliseconds. */
const pauseMinMs = 500;
const pauseMaxMs = 60_000;
/** The pause after an end that is usual. */
const usualPauseMs = 200;
/** A monitor that ran this long was well: the next pause is short again. */
const wellMs = 30_000;

export class Monitor {
  readonly #options: MonitorOptions;
  #followed: Followed | undefined;
  #timer: NodeJS.Timeout | undefined;
  #pauseMs = pauseMinMs;
  #closed = false;
  #running = false;

  constructor(options: MonitorOptions) {
    this.#options = options;
    this.#start();
  }

  get running(): boolean {
    return this.#running;
  }

  /** Process id; undefined when it does not run. */
  get pid(): number | undefined {
    return this.#running ? this.#followed?.pid : undefined;
  }

  /** Writes to its stdin, if it runs and is spoken to. */
  send(text: string): void {
    if (this.#running) this.#followed?.send(text);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#followed?.close();
  }

  #start(): void {
    const startedAt = performance.now();
    this.#running = true;
    const [command, ...args] = this.#options.program();
    this.#followed = follow(command, args, {
      onLine: this.#options.onLine,
      onEnd: (reason) => this.#ended(reason, performance.now() - startedAt),
      ...(this.#options.input === undefined ? {} : { input: this.#options.input }),
    });
    this.#options.onStart();
  }

  #ended(reason: string, ranMs: number): void {
    this.#running = false;
    this.#options.onEnd(reason);
    if (this.#closed) return;
    this.#pauseMs = ranMs >= wellMs ? pauseMinMs : Math.min(this.#pauseMs * 2, pauseMaxMs);
    const pauseMs = this.#options.isUsual?.(reason) === true ? usualPauseMs : this.#pauseMs;
    this.#timer = setTimeout(() => this.#start(), pauseMs);
  }
}
