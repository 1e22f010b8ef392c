// One run of the agent: its name, and its own clock, which begins with the machine's and is not set while the run lasts.
import { randomUUID } from 'node:crypto';

export interface Run {
  readonly stream: string;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  /** What performance.now() said then. Both are of one reading: a process can be kept waiting between two. */
  readonly begunAt: number;
}

export function newRun(): Run {
  const begunAt = performance.now();
  return { stream: randomUUID(), startedAt: performance.timeOrigin + begunAt, begunAt };
}

/** Milliseconds since 1970 by the clock of the run. */
export const timeOfRun = ({ startedAt, begunAt }: Run): number => startedAt + (performance.now() - begunAt);
