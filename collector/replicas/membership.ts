// Shows the other replicas that this one is there, and learns who else is and who leads.
import { limits } from '../../shared/limits.ts';
import type { ReplicaRecord, Store } from '../store/store.ts';

export interface MembershipOptions {
  readonly store: Pick<Store, 'attend' | 'leave'>;
  readonly self: () => Omit<ReplicaRecord, 'ageMs'>;
  /** Called after each look: who lives, and whether this replica leads. */
  readonly onLook: () => void;
  readonly onFailure: (error: unknown) => void;
}

/** A replica that leads stops by itself before the others may think that it is dead. */
const leadShare = 0.8;

export class Membership {
  readonly #options: MembershipOptions;
  readonly #timer: NodeJS.Timeout;
  #records: readonly ReplicaRecord[] = [];
  #leader = '';
  /** When the last look that succeeded began, by performance.now(). */
  #attendedAt = Number.NEGATIVE_INFINITY;
  #isLooking = false;
  #closed = false;

  private constructor(options: MembershipOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.look(), limits.replicaBeatMs);
  }

  /** Resolves after the first look. */
  static async join(options: MembershipOptions): Promise<Membership> {
    const membership = new Membership(options);
    try {
      await membership.#attend();
    } catch (error) {
      clearInterval(membership.#timer);
      throw error;
    }
    return membership;
  }

  /** All that were there lately, with their age as of now. */
  get replicas(): readonly ReplicaRecord[] {
    const sinceMs = Number.isFinite(this.#attendedAt) ? performance.now() - this.#attendedAt : 0;
    return this.#records.map((record) => ({ ...record, ageMs: record.ageMs + sinceMs }));
  }

  /** Ids of those that live as far as was known at the last look. */
  get living(): ReadonlySet<string> {
    return new Set(this.#records.filter(({ ageMs }) => ageMs < limits.replicaDeadMs).map(({ id }) => id));
  }

  get leader(): string {
    return this.#leader;
  }

  /** Whether this replica does what one does for all. A database that is away ends this in time. */
  get isLeader(): boolean {
    return !this.#closed && this.#leader === this.#options.self().id && performance.now() - this.#attendedAt < limits.replicaDeadMs * leadShare;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await this.#options.store.leave(this.#options.self().id);
  }

  /** Shows itself and looks who is there, now; failures are told of. */
  async look(): Promise<void> {
    if (this.#isLooking || this.#closed) return;
    this.#isLooking = true;
    try {
      await this.#attend();
      if (!this.#closed) this.#options.onLook();
    } catch (error) {
      this.#options.onFailure(error);
    } finally {
      this.#isLooking = false;
    }
  }

  async #attend(): Promise<void> {
    const begun = performance.now();
    const { replicas, leader } = await this.#options.store.attend(this.#options.self(), limits.replicaDeadMs);
    this.#records = replicas;
    this.#leader = leader;
    this.#attendedAt = begun;
  }
}
