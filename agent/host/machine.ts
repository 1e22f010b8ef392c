// The host as sources see it: programs to run and files to read, with the limits already applied.
import { limits } from '../../shared/limits.ts';
import { type FileOutcome, list, readText } from './files.ts';
import { type RunOutcome, run } from './run.ts';

export interface Machine {
  /** Runs a program under the limits of one source's command. */
  run(command: string, args: readonly string[]): Promise<RunOutcome>;
  read(path: string): Promise<FileOutcome>;
  list(path: string): Promise<readonly string[]>;
}

/** The machine that this process runs on; `signal` ends what is running. */
export function thisMachine(signal: AbortSignal): Machine {
  return {
    run: (command, args) =>
      run(command, args, { timeoutMs: limits.commandTimeoutMs, workingMs: limits.commandWorkingMs, outputBytesMax: limits.commandOutputBytesMax, signal }),
    read: readText,
    list,
  };
}
