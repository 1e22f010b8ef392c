// How often something may be said of one object: a burst, then one in a while, as Kubernetes' own clients hold it (client-go's EventSourceObjectSpamFilter). Pure.

export interface Budget {
  /** Words that may be said at once. */
  readonly burst: number;
  /** Milliseconds after which one more may be said. */
  readonly refillMs: number;
}

/** client-go's: 25, then one every five minutes. */
export const eventBudget: Budget = { burst: 25, refillMs: 300_000 };

/** Objects whose budgets are remembered; of more the oldest are forgotten, and begin anew. */
const objectsMax = 10_000;

/** The budgets of all objects. */
export class Budgets {
  readonly #budget: Budget;
  readonly #left = new Map<string, { readonly tokens: number; readonly at: number }>();

  constructor(budget: Budget = eventBudget) {
    this.#budget = budget;
  }

  /** Takes one from the budget of an object; false when there is none left. */
  take(object: string, now: number): boolean {
    const { burst, refillMs } = this.#budget;
    const before = this.#left.get(object) ?? { tokens: burst, at: now };
    const tokens = Math.min(burst, before.tokens + Math.max(0, now - before.at) / refillMs);
    this.#left.delete(object);
    this.#left.set(object, { tokens: tokens >= 1 ? tokens - 1 : tokens, at: now });
    const [oldest] = this.#left.keys();
    if (this.#left.size > objectsMax && oldest !== undefined) this.#left.delete(oldest);
    return tokens >= 1;
  }
}
