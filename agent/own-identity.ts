// Keeps the agent's certificate valid for as long as it runs: enrols, and renews before it ends.
import { setTimeout as sleep } from 'node:timers/promises';
import { PortreeveError, reasonOf } from '../shared/errors.ts';
import { type IdentityOptions, identityOf, renewalTime, renewed, type Secrets } from './host/identity.ts';

interface Surroundings {
  readonly signal: AbortSignal;
  readonly notice: (text: string, details: Readonly<Record<string, unknown>>) => void;
}

/** A collector that is away is asked again after this long, enrolling or renewing. */
const retryMs = 5_000;
const renewRetryMs = 10 * 60_000;
/** What setTimeout takes. */
const timerMsMax = 2 ** 31 - 1;

export class OwnIdentity {
  readonly #options: IdentityOptions;
  readonly #notice: Surroundings['notice'];
  #secrets: Secrets;
  #timer: NodeJS.Timeout | undefined;

  private constructor(options: IdentityOptions, secrets: Secrets, notice: Surroundings['notice']) {
    this.#options = options;
    this.#secrets = secrets;
    this.#notice = notice;
    this.#schedule();
  }

  /** Waits for a collector that does not answer. Throws ENROLMENT_REFUSED when it says no, and what the signal says when that comes first. */
  static async open(options: IdentityOptions, { signal, notice }: Surroundings): Promise<OwnIdentity> {
    for (;;) {
      try {
        return new OwnIdentity(options, await identityOf(options, Date.now()), notice);
      } catch (error) {
        if (!(error instanceof PortreeveError) || error.code !== 'COLLECTOR_UNREACHABLE') throw error;
        notice('enrolling waits for the collector', { reason: reasonOf(error) });
        await sleep(retryMs, undefined, { signal });
      }
    }
  }

  get secrets(): Secrets {
    return this.#secrets;
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #schedule(waitMs = renewalTime(this.#secrets) - Date.now()): void {
    this.#timer = setTimeout(() => void this.#renew(), Math.min(Math.max(waitMs, 1_000), timerMsMax));
    this.#timer.unref();
  }

  async #renew(): Promise<void> {
    if (Date.now() < renewalTime(this.#secrets)) return this.#schedule();
    try {
      this.#secrets = await renewed(this.#options, this.#secrets);
      this.#notice('the certificate was renewed', {});
      return this.#schedule();
    } catch (error) {
      this.#notice('the certificate could not be renewed', { reason: reasonOf(error) });
      return this.#schedule(renewRetryMs);
    }
  }
}
