// The process around the command line: its streams, its signals and its exit code. It ends by itself when the command has closed what it opened, so output that
// is still on its way is never cut off.
import { PortreeveError, reasonOf } from '../shared/errors.ts';
import type { Io } from './command.ts';

/** Runs a command line on this process; `run` resolves to the exit code and never rejects. A second SIGINT or SIGTERM ends the process at once. */
export async function runProcess(run: (words: readonly string[], io: Io) => Promise<number>): Promise<void> {
  const { stdout, stderr, env } = process;
  for (const stream of [stdout, stderr]) stream.on('error', quietOnBrokenPipe);
  const ending = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.on(signal, () => (ending.signal.aborted ? process.exit(exitCodeOf(signal)) : ending.abort(signal)));
  const colour = stdout.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb';
  process.exitCode = await run(process.argv.slice(2), { stdout, stderr, env, signal: ending.signal, colour });
}

/** What is said of anything thrown: the sentence of the table, or that it was not expected. */
export function sentence(error: unknown, env: Io['env']): string {
  if (env.PORTREEVE_DEBUG && error instanceof Error) return error.stack ?? error.message;
  if (error instanceof PortreeveError) return error.message;
  return `unexpected error: ${reasonOf(error).split('\n')[0]} (PORTREEVE_DEBUG=1 shows where)`;
}

/** The exit code that goes with anything thrown. */
export function exitCodeFor(error: unknown): number {
  if (!(error instanceof PortreeveError)) return 2;
  return error.code === 'COLLECTOR_UNREACHABLE' ? 3 : error.code === 'COLLECTOR_DENIED' ? 4 : 2;
}

// `portreeve get changes | head` is no error; 141 is what the shell shows for a program that SIGPIPE ended.
function quietOnBrokenPipe(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE') process.exit(141);
  throw error;
}

function exitCodeOf(signal: 'SIGINT' | 'SIGTERM'): number {
  return signal === 'SIGINT' ? 130 : 143;
}
