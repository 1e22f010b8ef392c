// Starts real programs for tests on free loopback ports, and ends them with the test.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import type { Test } from 'tap';

/** Whether a program is on PATH. */
export const isInstalled = (program: string): boolean => spawnSync(program, ['--version'], { stdio: 'ignore' }).error === undefined;

/** A port that nobody listened on a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { readonly port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export interface Started {
  readonly child: ChildProcess;
  /** What it has printed so far. */
  readonly output: () => string;
}

/** Starts a program that ends with the test. */
export function startProgram(t: Test, program: string, words: readonly string[]): Started {
  const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  const ended = new Promise((resolve) => child.once('close', resolve));
  t.teardown(async () => {
    child.kill('SIGTERM');
    const late = setTimeout(() => child.kill('SIGKILL'), 5_000);
    await ended;
    clearTimeout(late);
  });
  return { child, output: () => output };
}

/** Asks again until the answer satisfies the condition; gives the last answer after so many milliseconds. Errors count as no answer. */
export async function patiently<T>(question: () => Promise<T>, fits: (answer: T) => boolean, ms = 20_000): Promise<T | undefined> {
  const deadline = Date.now() + ms;
  for (;;) {
    const answer = await question().catch(() => undefined);
    if ((answer !== undefined && fits(answer)) || Date.now() > deadline) return answer;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
