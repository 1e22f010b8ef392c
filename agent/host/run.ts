// Starts programs: the only place that does. Nothing goes through a shell, everything has a time limit, an output limit and `LC_ALL=C`.

import { setPriority } from 'node:os';
import { StringDecoder } from 'node:string_decoder';
import { execa } from 'execa';
import { processorMs } from './cost.ts';

export interface RunOptions {
  readonly timeoutMs: number;
  /** A program that is still using processor time when its time is over may go on until so many milliseconds after its start; absent: it may not. */
  readonly workingMs?: number;
  /** Of stdout and of stderr each; more ends the program and the outcome is `failed`. */
  readonly outputBytesMax: number;
  readonly input?: string;
  readonly signal?: AbortSignal;
}

/** `done` is exit code 0; every other end is `failed` with a sentence; `missing` says that there is no such program on PATH. */
export type RunOutcome =
  | { readonly kind: 'done'; readonly stdout: Buffer; readonly stderr: string }
  | { readonly kind: 'missing' }
  | { readonly kind: 'failed'; readonly reason: string };

/** Runs a program to its end, with a lower priority than everything else on the node. Never rejects. */
export async function run(command: string, args: readonly string[], options: RunOptions): Promise<RunOutcome> {
  const late = new AbortController();
  const child = execa(command, args, {
    env: { LC_ALL: 'C', LANG: 'C' },
    encoding: 'buffer',
    reject: false,
    stripFinalNewline: false,
    ...(options.input === undefined ? { stdin: 'ignore' as const } : { input: options.input }),
    maxBuffer: options.outputBytesMax,
    forceKillAfterDelay: 1_000,
    cancelSignal: options.signal === undefined ? late.signal : AbortSignal.any([late.signal, options.signal]),
  });
  const watch = watchTime(child.pid, options, () => late.abort());
  const result = await child;
  watch.close();
  if (late.signal.aborted) return { kind: 'failed', reason: `no answer within ${watch.ranMs()} ms` };
  if (!result.failed) return { kind: 'done', stdout: bufferOf(result.stdout), stderr: textOf(result.stderr) };
  if (result.code === 'ENOENT') return { kind: 'missing' };
  return { kind: 'failed', reason: failureReason(result, options) };
}

/** Lowers the priority of a program and ends it when its time is over. */
function watchTime(pid: number | undefined, { timeoutMs, workingMs = 0 }: RunOptions, end: () => void): { close(): void; ranMs(): number } {
  const startedAt = performance.now();
  let spentMs = 0;
  let timer: NodeJS.Timeout | undefined;
  const wait = (): void => {
    timer = setTimeout(() => {
      const now = pid === undefined ? 0 : processorMs(pid);
      const works = now > spentMs && performance.now() - startedAt + timeoutMs <= workingMs;
      spentMs = now;
      if (works) wait();
      else end();
    }, timeoutMs);
  };
  if (pid !== undefined) lowerPriority(pid);
  wait();
  return { close: () => clearTimeout(timer), ranMs: () => Math.max(1, Math.floor((performance.now() - startedAt) / timeoutMs)) * timeoutMs };
}

/** How much lower the priority of what is started for a reading is. */
export const niceness = 10;

// It may have ended already.
function lowerPriority(pid: number): void {
  try {
    setPriority(pid, niceness);
  } catch {
    // Gone, or not ours to change.
  }
}

interface FailedResult {
  readonly isMaxBuffer: boolean;
  readonly isCanceled: boolean;
  readonly exitCode?: number | undefined;
  readonly signal?: string | undefined;
  readonly stderr?: unknown;
  readonly originalMessage?: string | undefined;
}

function failureReason(result: FailedResult, options: RunOptions): string {
  if (result.isMaxBuffer) return `printed more than ${options.outputBytesMax} bytes`;
  if (result.isCanceled) return 'was ended because the agent stops';
  const said = textOf(result.stderr).trim().split('\n').slice(0, 3).join('; ').slice(0, 500);
  const end = result.exitCode === undefined ? `ended by ${result.signal ?? result.originalMessage ?? 'an unknown cause'}` : `exit code ${result.exitCode}`;
  return said === '' ? end : `${said} (${end})`;
}

export interface FollowOptions {
  /** Called with each line, without its newline; a line over the limit is cut to it. */
  readonly onLine: (line: string) => void;
  /** Called once, when the program has ended for any reason but `close`. */
  readonly onEnd: (reason: string) => void;
  readonly lineBytesMax?: number;
  /** Whether it is spoken to: `send` then reaches its stdin, which otherwise is empty. */
  readonly input?: boolean;
}

/** A program that runs on and whose lines are followed. */
export interface Followed {
  readonly pid: number | undefined;
  /** Writes to its stdin; what it does not take is dropped with it. */
  send(text: string): void;
  /** Kills it as a program is killed that hangs; `onEnd` follows. */
  kill(): void;
  /** Ends the program and resolves when it is gone; no callback comes after it was called. */
  close(): Promise<void>;
}

/** Starts a monitor. It is killed with the agent's exit and by `close`. Never throws: what cannot be started ends at once. */
export function follow(command: string, args: readonly string[], options: FollowOptions): Followed {
  let closed = false;
  const child = execa(command, args, {
    env: { LC_ALL: 'C', LANG: 'C' },
    buffer: { stdout: false, stderr: true },
    maxBuffer: { stderr: 64 * 1024 },
    reject: false,
    stdin: options.input === true ? 'pipe' : 'ignore',
    stripFinalNewline: false,
    forceKillAfterDelay: 1_000,
    cleanup: true,
  });
  // A program that has ended does not take what is still written to it; that it ended is told by onEnd.
  child.stdin?.on('error', () => {});
  const lines = new Lines(options.lineBytesMax ?? 64 * 1024, (line) => {
    if (!closed) options.onLine(line);
  });
  child.stdout?.on('data', (chunk: Buffer) => lines.push(chunk));
  const ended = child.then((result) => {
    if (!closed) options.onEnd(result.code === 'ENOENT' ? `${command} is not installed` : failureReason(result, { timeoutMs: 0, outputBytesMax: 0 }));
  });
  const close = async () => {
    closed = true;
    child.kill('SIGTERM');
    await ended;
  };
  const send = (text: string) => {
    if (!closed && child.stdin?.writable === true) child.stdin.write(text);
  };
  return { pid: child.pid, send, kill: () => child.kill('SIGKILL'), close };
}

/** Cuts a stream of bytes into lines, with a limit on each. */
class Lines {
  readonly #max: number;
  readonly #onLine: (line: string) => void;
  readonly #decoder = new StringDecoder('utf8');
  #rest = '';

  constructor(max: number, onLine: (line: string) => void) {
    this.#max = max;
    this.#onLine = onLine;
  }

  push(chunk: Buffer): void {
    const parts = (this.#rest + this.#decoder.write(chunk)).split('\n');
    this.#rest = (parts.pop() ?? '').slice(0, this.#max);
    for (const line of parts) this.#onLine(line.slice(0, this.#max));
  }
}

const bufferOf = (output: unknown): Buffer =>
  output instanceof Uint8Array ? Buffer.from(output.buffer, output.byteOffset, output.byteLength) : Buffer.alloc(0);
const textOf = (output: unknown): string => (output instanceof Uint8Array ? bufferOf(output).toString('utf8') : typeof output === 'string' ? output : '');
