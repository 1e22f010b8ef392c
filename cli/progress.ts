// How far a long work is, on standard error where that is a terminal: it appears after a second, and nothing of it is left.
import type { Io } from './command.ts';

export interface Progress {
  /** Says how many are done, of how many where that is known. Costs nothing most of the time. */
  at(done: number, all?: number): void;
  /** Takes the line away. */
  end(): void;
}

const afterMs = 1_000;
const everyMs = 200;

/** Progress of a work on so many `things`. */
export function progressOn({ stderr }: Pick<Io, 'stderr'>, things: string): Progress {
  const terminal = stderr as NodeJS.WriteStream;
  if (terminal.isTTY !== true) return { at: () => undefined, end: () => undefined };
  const began = performance.now();
  let shownAt = began + afterMs - everyMs;
  let isShown = false;
  return {
    at: (done, all) => {
      const now = performance.now();
      if (now - shownAt < everyMs) return;
      [shownAt, isShown] = [now, true];
      terminal.write(`\r${done}${all === undefined ? '' : ` of ${all}`} ${things}\u001b[K`);
    },
    end: () => {
      if (isShown) terminal.write('\r\u001b[K');
    },
  };
}
