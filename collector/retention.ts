// Forgets what the store need not keep: by age and by size, a little at a time, on one collector of several.
import { setTimeout as sleep } from 'node:timers/promises';
import { PortreeveError, reasonOf } from '../shared/errors.ts';
import { limits } from '../shared/limits.ts';
import type { Team } from './replicas/team.ts';

export interface RetentionOptions {
  readonly team: Pick<Team, 'store' | 'ownership' | 'isLeader'>;
  readonly log: { info(details: object, text: string): void; error(details: object, text: string): void };
  readonly days: number;
  readonly bytes: number;
  readonly everyMs?: number;
}

/** What the options of a collector say, or else the limits. */
export const retentionOf = (options: {
  readonly retentionDays?: number;
  readonly retentionBytes?: number;
}): { readonly days: number; readonly bytes: number } => ({
  days: options.retentionDays ?? limits.retentionDays,
  bytes: options.retentionBytes ?? limits.retentionBytes,
});

const dayMs = 86_400_000;
/** Milliseconds between two portions: others write in between. */
const pauseMs = 20;

/** Looks now and then, until it is closed. */
export function keepRetention(options: RetentionOptions): { close(): Promise<void> } {
  const { everyMs = limits.retentionEveryMs, log } = options;
  let isClosed = false;
  let working: Promise<void> = Promise.resolve();
  const work = async (): Promise<void> => {
    try {
      await forgetAll(options, () => isClosed);
    } catch (error) {
      // Another replica leads by now, and looks itself.
      if (!(error instanceof PortreeveError) || error.code !== 'LEASE_LOST') log.error({ reason: reasonOf(error) }, 'what is old could not be forgotten');
    }
  };
  const timer = setInterval(() => {
    working = working.then(work);
  }, everyMs);
  return {
    async close() {
      isClosed = true;
      clearInterval(timer);
      await working;
    },
  };
}

async function forgetAll({ team, log, days, bytes }: RetentionOptions, isClosed: () => boolean): Promise<void> {
  const before = Date.now() - days * dayMs;
  let changes = 0;
  while (!isClosed() && team.isLeader()) {
    const forgotten = await team.store.forget({ before, bytesMax: bytes }, team.ownership.fence(''));
    changes += forgotten.changes;
    if (forgotten.changes + forgotten.verdicts === 0) break;
    await sleep(pauseMs);
  }
  if (changes > 0) log.info({ changes, days, bytes }, 'old changes were forgotten');
}
