// Which refusals are kept in the audit log: the first ones of each sort and address, and how many more there were. Whoever knocks without end fills no disk.
import { limits } from '../../shared/limits.ts';
import type { AuditRecord } from '../store/store.ts';

type Refusal = Omit<AuditRecord, 'at'>;

/** Sorts that are counted at a time: an attacker has many addresses. */
const sortsMax = 2_000;
const minuteMs = 60_000;

export class Refusals {
  #minute = 0;
  #counts = new Map<string, number>();
  #untold = 0;

  /** What is to be told of a refusal, with how many of the minute before were not; undefined: nothing. `now`: milliseconds since 1970. */
  toTell(refusal: Refusal, now: number): Refusal | undefined {
    const minute = Math.floor(now / minuteMs);
    const before = this.#untold;
    if (minute !== this.#minute) {
      this.#minute = minute;
      this.#counts = new Map();
      this.#untold = 0;
    }
    const sort = `${refusal.action} ${refusal.address}`;
    const count = (this.#counts.get(sort) ?? 0) + 1;
    if (count > limits.refusalsToldMax || (count === 1 && this.#counts.size >= sortsMax)) {
      this.#untold++;
      return undefined;
    }
    this.#counts.set(sort, count);
    return this.#untold === 0 && before > 0 ? { ...refusal, subject: `${refusal.subject} (and ${before} refusals before that are not listed)` } : refusal;
  }
}
