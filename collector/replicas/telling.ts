// Tells the other replicas of what was written: a few times a second, and never within the transaction that wrote it.
import { limits } from '../../shared/limits.ts';
import type { Fence, Store, StoreNews } from '../store/store.ts';

/** Longer ones are not taken by PostgreSQL. */
const messageBytesMax = 7_000;

export class Telling {
  readonly #news: StoreNews;
  readonly #waiting = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  constructor(news: StoreNews) {
    this.#news = news;
  }

  say(message: string): void {
    if (Buffer.byteLength(message) > messageBytesMax) return;
    this.#waiting.add(message);
    this.#timer ??= setTimeout(() => void this.#send(), limits.replicaTellMs);
  }

  /** A store whose writes with a fence are told of. */
  through(store: Store): Store {
    const told = <Args extends readonly unknown[], Result>(write: (...args: Args) => Promise<Result>) => {
      return async (...args: Args): Promise<Result> => {
        const result = await write(...args);
        const fence = args.find(isFence);
        if (fence !== undefined) this.say(`node ${fence.node}`);
        return result;
      };
    };
    const { appendChanges, upsertFindings, closeFindings, recordGaps, saveNodeState } = store;
    return {
      ...store,
      appendChanges: told(appendChanges),
      upsertFindings: told(upsertFindings),
      closeFindings: told(closeFindings),
      recordGaps: told(recordGaps),
      saveNodeState: told(saveNodeState),
    };
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#send();
  }

  // Whoever did not hear of it looks by itself within seconds.
  async #send(): Promise<void> {
    this.#timer = undefined;
    const messages = [...this.#waiting];
    this.#waiting.clear();
    await this.#news.tell(messages).catch(() => {});
  }
}

const isFence = (value: unknown): value is Fence => typeof value === 'object' && value !== null && 'holder' in value && 'token' in value;
