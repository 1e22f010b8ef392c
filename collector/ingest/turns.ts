// Shares the collector's time among agents: who uses little is served at once; the frames of those that use more than their share wait, and take turns.
import { limits } from '../../shared/limits.ts';

/** What one identity has used; kept over its connections, so that connecting again gains nothing. */
interface Share {
  /** Milliseconds that may still be used at once; below 0: more was used than its share. */
  left: number;
  /** When that was, by the clock of all. */
  at: number;
}

/** Identities whose use is remembered. */
const sharesMax = 20_000;

export class Turns {
  readonly #shares = new Map<string, Share>();
  readonly #waiting: (() => void)[] = [];
  /** No frame of those beyond their share is taken before. */
  #notBefore = 0;
  #timer: NodeJS.Timeout | undefined;
  readonly #now: () => number;

  /** `now`: milliseconds that only grow. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Whether a frame of an identity can be taken at once. */
  isLight(who: string): boolean {
    return this.#shareOf(who).left > 0;
  }

  /** Resolves when it is the turn of one that is beyond its share: one frame at a time, and with pauses for everybody else. */
  turn(): Promise<void> {
    return new Promise((go) => {
      this.#waiting.push(go);
      this.#schedule();
    });
  }

  /** Milliseconds that a frame has taken. */
  spend(who: string, ms: number): void {
    const share = this.#shareOf(who);
    const wasLight = share.left > 0;
    // What was used beyond the share is forgotten within seconds: pauses have kept it small.
    share.left = Math.max(-limits.sessionBurstMs, share.left - ms);
    if (!wasLight) this.#notBefore = this.#now() + ms * (1 / limits.heavyShare - 1);
  }

  close(): void {
    clearTimeout(this.#timer);
    for (const go of this.#waiting.splice(0)) go();
  }

  #shareOf(who: string): Share {
    const now = this.#now();
    const share = this.#shares.get(who) ?? { left: limits.sessionBurstMs, at: now };
    share.left = Math.min(limits.sessionBurstMs, share.left + ((now - share.at) / 1_000) * limits.sessionMsPerSecond);
    share.at = now;
    this.#shares.delete(who);
    this.#shares.set(who, share);
    if (this.#shares.size > sharesMax) this.#shares.delete(this.#shares.keys().next().value as string);
    return share;
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#waiting.length === 0) return;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#waiting.shift()?.();
        this.#schedule();
      },
      Math.max(1, this.#notBefore - this.#now()),
    );
  }
}
