// The ledger of cluster objects where several replicas watch them: the leader writes it, and a new one writes what the former did not get to.
import type { Change } from '../../shared/model/change.ts';
import type { Store } from '../store/store.ts';

export interface ClusterLedgerOptions {
  readonly store: Pick<Store, 'changes'>;
  readonly isLeader: () => boolean;
  /** Appends to the collector's own stream. */
  readonly record: (changes: readonly Change[]) => Promise<void>;
}

/** Milliseconds that changes are kept by a replica that does not lead: longer than it takes to notice that the leader is dead. */
const keptMs = 60_000;
const keptMax = 10_000;
/** Clocks of replicas, and the moment at which each hears of a change, differ by less. */
const apartMs = 30_000;
const storedMax = 1_000;

export class ClusterLedger {
  readonly #options: ClusterLedgerOptions;
  #kept: readonly Change[] = [];
  #isLeading = false;
  #writing: Promise<void> = Promise.resolve();

  constructor(options: ClusterLedgerOptions) {
    this.#options = options;
  }

  /** Takes over what this replica has seen. Resolves when it is stored, or kept. */
  async take(changes: readonly Change[], now: number): Promise<void> {
    this.#kept = [...this.#kept, ...changes].filter(({ at }) => at > now - keptMs).slice(-keptMax);
    if (changes.length > 0 && this.#options.isLeader() && this.#isLeading) await (this.#writing = this.#writing.then(() => this.#options.record(changes)));
  }

  /** Called whenever it may have changed who leads, and the ledger may be written. */
  async review(): Promise<void> {
    const leads = this.#options.isLeader();
    const begins = leads && !this.#isLeading;
    if (!leads) this.#isLeading = false;
    if (!begins) return;
    const missed = await this.#missed();
    if (missed.length > 0) await this.#options.record(missed);
    this.#isLeading = true;
  }

  /** What was seen here and is not in the store. */
  async #missed(): Promise<readonly Change[]> {
    const seen = this.#kept;
    if (seen.length === 0) return [];
    const from = Math.min(...seen.map(({ at }) => at)) - apartMs;
    const { items } = await this.#options.store.changes({ node: '', from, limit: storedMax });
    const stored = new Map<string, number>();
    for (const change of items) stored.set(sameness(change), (stored.get(sameness(change)) ?? 0) + 1);
    return seen.filter((change) => {
      const left = stored.get(sameness(change)) ?? 0;
      stored.set(sameness(change), left - 1);
      return left <= 0;
    });
  }
}

const sameness = ({ kind, subject, before, after }: Change): string => JSON.stringify([kind, subject, before, after]);
