// The host as sources see it: programs to run and files to read, with the limits already applied.
import { limits } from '../../shared/limits.ts';
import { type FileOutcome, list, readText } from './files.ts';
import { type RunOutcome, run } from './run.ts';

export interface Machine {
  /** Runs a program under the limits of one source's command; `timeoutMs` where it is expected to take less (or more) than most. */
  run(command: string, args: readonly string[], timeoutMs?: number): Promise<RunOutcome>;
  read(path: string): Promise<FileOutcome>;
  list(path: string): Promise<readonly string[]>;
}

/** The machine that this process runs on; `signal` ends what is running. */
export function thisMachine(signal: AbortSignal): Machine {
  return {
    // Dumps of rules take as long as they take; other tools have little to do, and one that works on and on hangs all the same.
    run: (command, args, timeoutMs = limits.commandTimeoutMs) => {
      const working = timeoutMs < limits.commandTimeoutMs ? {} : { workingMs: limits.commandWorkingMs };
      return run(command, args, { timeoutMs, ...working, outputBytesMax: limits.commandOutputBytesMax, signal });
    },
    read: readText,
    list,
  };
}
