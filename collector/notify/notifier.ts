// Tells others of findings: each channel gets its words in order, one at a time, again and again for a while, and never more than its queue holds.
import { reasonOf } from '../../shared/errors.ts';
import { limits } from '../../shared/limits.ts';
import type { Sample } from '../../shared/prometheus.ts';
import type { CollectorState, LiveEvent } from '../state/state.ts';

/** Somebody who is told. */
export interface Channel {
  /** For metrics and the log: `kubernetes-events`, `alertmanager`, `webhook`. */
  readonly name: string;
  /** What of an event is to be said; undefined: nothing. */
  words(event: LiveEvent): unknown;
  /** Says it. Rejects where it was not taken. */
  send(words: unknown, signal: AbortSignal): Promise<void>;
  /** Milliseconds after which what `standing` gives is said again; absent: once is enough. */
  readonly repeatMs?: number;
  standing?(): readonly unknown[];
  /** Whether it tells of all nodes together: where several collectors share the work only one of them can. */
  readonly ofAll?: boolean;
  close?(): void;
}

export interface NotifierOptions {
  readonly state: Pick<CollectorState, 'subscribe'>;
  readonly channels: readonly Channel[];
  readonly log: { warn(details: object, text: string): void };
  /** Milliseconds before a second try; twice as long before each further one. */
  readonly retryMs?: number;
  /** Whether this collector is the one that speaks for all; where several share the work all follow what is so. Absent: it is. */
  readonly speaks?: () => boolean;
}

type Outcome = 'sent' | 'failed' | 'dropped';
const outcomes: readonly Outcome[] = ['sent', 'failed', 'dropped'];
const triesMax = 6;
const timeoutMs = 10_000;

/** `close()` leaves what waits unsaid. */
export class Notifier {
  readonly #posts: readonly Post[];
  readonly #unsubscribe: () => void;

  constructor({ state, channels, log, retryMs = 1_000, speaks = () => true }: NotifierOptions) {
    this.#posts = channels.map((channel) => new Post(channel, { log, retryMs, speaks }));
    this.#unsubscribe = state.subscribe((event) => {
      for (const post of this.#posts) post.take(event);
    });
  }

  /** Words that wait. */
  get waiting(): number {
    return this.#posts.reduce((sum, { waiting }) => sum + waiting, 0);
  }

  /** How many words had which outcome, by channel. */
  get samples(): readonly Sample[] {
    return this.#posts.flatMap((post) => outcomes.map((outcome) => ({ labels: { target: post.name, outcome }, value: post.count(outcome) })));
  }

  close(): void {
    this.#unsubscribe();
    for (const post of this.#posts) post.close();
  }
}

type PostOptions = Required<Pick<NotifierOptions, 'log' | 'retryMs' | 'speaks'>>;

/** The queue of one channel. */
class Post {
  readonly #channel: Channel;
  readonly #options: PostOptions;
  readonly #queue: unknown[] = [];
  readonly #counts: Record<Outcome, number> = { sent: 0, failed: 0, dropped: 0 };
  readonly #stop = new AbortController();
  readonly #clock: NodeJS.Timeout | undefined;
  #isSending = false;
  #isLame = false;

  constructor(channel: Channel, options: PostOptions) {
    this.#channel = channel;
    this.#options = options;
    if (channel.repeatMs !== undefined) this.#clock = setInterval(() => this.#repeat(), channel.repeatMs);
  }

  get name(): string {
    return this.#channel.name;
  }

  get waiting(): number {
    return this.#queue.length;
  }

  count(outcome: Outcome): number {
    return this.#counts[outcome];
  }

  take(event: LiveEvent): void {
    const words = this.#channel.words(event);
    // Whoever has found something tells of it, so that nothing is lost while nobody speaks for all; the others remember it.
    const isOurs = this.#channel.ofAll === true ? this.#options.speaks() : !('elsewhere' in event);
    if (words !== undefined && isOurs) this.#push(words);
  }

  close(): void {
    clearInterval(this.#clock);
    this.#stop.abort();
    this.#channel.close?.();
  }

  // What is repeated says what is so now: while older words wait it can wait as well.
  #repeat(): void {
    if (this.#queue.length === 0 && this.#options.speaks()) for (const words of this.#channel.standing?.() ?? []) this.#push(words);
  }

  #push(words: unknown): void {
    if (this.#queue.length >= limits.notificationsMax) {
      this.#queue.shift();
      this.#counts.dropped++;
    }
    this.#queue.push(words);
    if (!this.#isSending) void this.#work();
  }

  async #work(): Promise<void> {
    this.#isSending = true;
    while (this.#queue.length > 0 && !this.#stop.signal.aborted) {
      const words = this.#queue[0];
      this.#counts[(await this.#say(words)) ? 'sent' : 'failed']++;
      if (this.#queue[0] === words) this.#queue.shift();
    }
    this.#isSending = false;
  }

  async #say(words: unknown): Promise<boolean> {
    for (let tries = 1; ; tries++) {
      try {
        await this.#channel.send(words, AbortSignal.any([this.#stop.signal, AbortSignal.timeout(timeoutMs)]));
        this.#isLame = false;
        return true;
      } catch (error) {
        if (this.#stop.signal.aborted) return false;
        // Told once, until it works again: a receiver that is away for a night would fill the log.
        if (!this.#isLame) this.#options.log.warn({ target: this.name, reason: reasonOf(error) }, 'a finding could not be told');
        this.#isLame = true;
        if (tries >= triesMax || isFinal(error)) return false;
        await pause(this.#options.retryMs * 2 ** (tries - 1), this.#stop.signal);
      }
    }
  }
}

/** What was answered to what was sent. */
export class Unwelcome extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

// What the receiver will not take at all is not worth a second try.
const isFinal = (error: unknown): boolean =>
  error instanceof Unwelcome && error.status >= 400 && error.status < 500 && error.status !== 408 && error.status !== 429;

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}
