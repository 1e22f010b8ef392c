// Shares the collector's time among agents: who uses little is served at once; the frames of those that use more than their share wait, and take turns.
import { limits } from '../../shared/limits.ts';

/** What something that an agent sent has cost, in milliseconds. */
export interface Cost {
  /** For how long everybody else had to wait for it. */
  readonly blocksMs: number;
  /** What comes of it afterwards, a little at a time: memory that is collected. */
  readonly laterMs?: number;
}

/** Ends a turn; whoever waits is not served before that. What comes after the first call does not count. */
export type EndTurn = (cost: Cost) => void;

/** What one identity has used; kept over its connections, so that connecting again gains nothing. */
interface Share {
  /** Milliseconds that may still be used at once; below 0: more was used than its share. */
  left: number;
  /** When that was, by the clock of all. */
  at: number;
  /** Whether it is beyond its share, until it has been quiet for so long that all of it is there again. */
  isHeavy: boolean;
  /** Whether what was taken of it last kept others waiting for long. */
  isLong: boolean;
  /** What of it waits; while anything does, nothing is added to its share: who never pauses stays beyond it. */
  waiting: number;
}

interface Waiting {
  readonly share: Share;
  readonly go: (end: EndTurn) => void;
}

/** Identities whose use is remembered. */
const sharesMax = 20_000;

export class Turns {
  readonly #shares = new Map<string, Share>();
  readonly #waiting: Waiting[] = [];
  /** Whether somebody beyond its share has the turn. */
  #isTaken = false;
  #isClosed = false;
  /** Nothing of those beyond their share is taken before, and nothing of those of them whose last kept others waiting for long. */
  #notBefore = 0;
  #longNotBefore = 0;
  /** When somebody within its share was served last. */
  #lightAt = Number.NEGATIVE_INFINITY;
  /** Whether the next turn is about to be given. */
  #isNext = false;
  #timer: NodeJS.Timeout | undefined;
  readonly #now: () => number;

  /** `now`: milliseconds that only grow. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Whether what an identity sends can be taken at once. */
  isLight(who: string): boolean {
    return !this.#shareOf(who).isHeavy;
  }

  /**
   * Resolves when it is the turn of an identity: at once within its share, beyond it one at a time, with pauses for everybody else, and those first that have used
   * least. Whoever gets a turn must end it.
   */
  begin(who: string): Promise<EndTurn> {
    const share = this.#shareOf(who);
    if (share.isHeavy && !this.#isClosed) {
      share.waiting++;
      return new Promise((go) => {
        this.#waiting.push({ share, go });
        this.#schedule();
      });
    }
    this.#lightAt = this.#now();
    return Promise.resolve(once((cost) => spend(share, cost)));
  }

  /** Lets go whoever waits. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    for (const { go } of this.#waiting.splice(0)) go(() => {});
  }

  #shareOf(who: string): Share {
    const now = this.#now();
    const share = this.#shares.get(who) ?? { left: limits.sessionBurstMs, at: now, isHeavy: false, isLong: false, waiting: 0 };
    if (share.waiting === 0) share.left = Math.min(limits.sessionBurstMs, share.left + ((now - share.at) / 1_000) * limits.sessionMsPerSecond);
    share.at = now;
    if (share.left >= limits.sessionBurstMs) share.isHeavy = false;
    this.#shares.delete(who);
    this.#shares.set(who, share);
    if (this.#shares.size > sharesMax) this.#shares.delete(this.#shares.keys().next().value as string);
    return share;
  }

  #schedule(): void {
    if (this.#isNext || this.#isTaken || this.#isClosed || this.#waiting.length === 0) return;
    // Who has come just now may go before those that the timer was set for.
    clearTimeout(this.#timer);
    const pause = this.#waiting.reduce((least, { share }) => Math.min(least, this.#notBeforeOf(share)), Number.POSITIVE_INFINITY) - this.#now();
    // Even without a pause, what has come in from others goes first.
    if (pause <= 0) setImmediate(() => this.#next());
    else this.#timer = setTimeout(() => this.#next(), pause);
    this.#isNext = pause <= 0;
  }

  #notBeforeOf({ isLong }: Share): number {
    return isLong ? Math.max(this.#notBefore, this.#longNotBefore) : this.#notBefore;
  }

  #next(): void {
    this.#isNext = false;
    if (this.#isClosed) return;
    const now = this.#now();
    const ready = this.#waiting.filter(({ share }) => this.#notBeforeOf(share) <= now);
    const first = ready.reduce((best: Waiting | undefined, each) => (best === undefined || each.share.left > best.share.left ? each : best), undefined);
    if (first === undefined) return this.#schedule();
    this.#waiting.splice(this.#waiting.indexOf(first), 1);
    first.share.waiting--;
    first.share.at = now;
    this.#isTaken = true;
    first.go(once((cost) => this.#ended(first.share, cost)));
  }

  #ended(share: Share, cost: Cost): void {
    spend(share, cost);
    this.#isTaken = false;
    const now = this.#now();
    this.#notBefore = now + pauseAfter(cost, now - this.#lightAt > limits.heavyQuietMs ? 1 : limits.heavyShare);
    // Who keeps others waiting for long comes so seldom that of a hundred of them not one meets it; those beyond their share that do not are not held up by it.
    if (share.isLong) this.#longNotBefore = now + pauseAfter(cost, limits.heavyLongShare);
    this.#schedule();
  }
}

/** Milliseconds that are left to everybody else after something, where things like that get a share of the time. */
export const pauseAfter = ({ blocksMs, laterMs = 0 }: Cost, share: number): number => (blocksMs + laterMs) * (1 / share - 1);

/** Counts a cost. What was used far beyond the share is forgotten: pauses have kept it small. */
function spend(share: Share, { blocksMs, laterMs = 0 }: Cost): void {
  share.isLong = blocksMs > limits.heavyBlockMs;
  share.left = Math.max(-limits.sessionBurstMs, share.left - blocksMs - laterMs);
  if (share.left <= 0) share.isHeavy = true;
}

function once(end: EndTurn): EndTurn {
  let isOver = false;
  return (cost) => {
    if (!isOver) end(cost);
    isOver = true;
  };
}
