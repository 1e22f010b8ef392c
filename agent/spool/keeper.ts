// Between session and spool: does what the session wants kept, read back or cleared, and notes in the spool until when it is complete.
import type { Session, SessionEffect, SessionInput } from '../../shared/wire/session.ts';
import type { Spool } from './spool.ts';

type KeptEffect = Extract<SessionEffect, { kind: 'spool' | 'load' | 'settled' }>;

/** Writings that the end of an agent waits for. */
const writingsMax = 8;

export class Keeper {
  readonly #spool: Spool;
  readonly #step: (input: SessionInput) => void;

  /** `step` gives the session what comes of it. */
  constructor(spool: Spool, step: (input: SessionInput) => void) {
    this.#spool = spool;
    this.#step = step;
  }

  keep(effect: KeptEffect): void {
    if (effect.kind === 'settled') void this.#spool.settle(effect.place);
    else if (effect.kind === 'load') void this.#spool.read(effect).then((read) => this.#step({ kind: 'loaded', load: effect.load, ...read }));
    else {
      const last = effect.changes.at(-1);
      if (last === undefined) return;
      this.#spool.append(effect.changes, effect.heldFrom).then(
        () => this.#step({ kind: 'spooled', place: { stream: last.stream, seq: last.seq } }),
        () => this.#step({ kind: 'unspooled' }),
      );
    }
  }

  /** Notes that the run is alive, where what waits is in the spool or on its way there. */
  sign({ phase, outbox }: Session): void {
    // While connected the collector itself asks until when it knows everything. Otherwise all that was seen until now must be in the spool, or on its way there before
    // the sign: what waits for a writing that is under way is not.
    if (phase !== 'open' && outbox.handed === outbox.queue.length) void this.#spool.alive();
  }

  /** After the connection has ended: what was not acknowledged goes to disk, with the sign that nothing is missing until now. */
  async close(session: () => Session): Promise<void> {
    // What came while a writing was under way is given to the spool when that has ended.
    for (let tries = 0; session().outbox.writing && tries < writingsMax; tries++) await this.#spool.close();
    this.sign(session());
    await this.#spool.close();
  }
}
