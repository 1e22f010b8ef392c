// Network namespaces of one lab: named so that a later run finds those of a run that was killed, and removed with every process in them.
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readlinkSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { execa } from 'execa';

/** Numbers of processes mean something in their own space of numbers alone: what another one's labs run is left to it. */
const family = `prlab-${/\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0]}`;

/** What a command in a namespace came to. */
export interface Ran {
  /** `ip netns exec` becomes the command, so this is the command's own. */
  readonly pid: number;
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A process that runs until it is stopped. */
export interface Running {
  readonly pid: number;
  /** Everything it printed so far, both streams. */
  readonly output: () => string;
  /** Resolves when it has ended, however it ended. */
  readonly ended: Promise<void>;
  readonly stop: (signal?: NodeJS.Signals) => Promise<void>;
}

/** The namespaces of one lab. `close` ends the processes that were started, latest first, then removes the namespaces with whatever still runs in them. */
export class Namespaces {
  readonly #prefix = `${family}-${process.pid}-${randomBytes(2).toString('hex')}`;
  readonly #names: string[] = [];
  readonly #running: Running[] = [];

  constructor() {
    sweep();
    process.once('exit', this.#remove);
  }

  /** Makes a namespace with its loopback up; the full name is what `ip netns` knows it by. */
  async add(name: string): Promise<string> {
    const full = `${this.#prefix}-${name}`;
    await execa('ip', ['netns', 'add', full]);
    this.#names.push(full);
    await execa('ip', ['-n', full, 'link', 'set', 'lo', 'up']);
    return full;
  }

  /** Runs several `ip` commands in a namespace, one a line. */
  async ip(namespace: string, commands: readonly string[]): Promise<void> {
    await execa('ip', ['-n', namespace, '-batch', '-'], { input: `${commands.join('\n')}\n` });
  }

  /** Runs a command to its end; a failure is told by the exit code. */
  async run(namespace: string, command: readonly string[], options: { readonly env?: Record<string, string> } = {}): Promise<Ran> {
    const child = execa('ip', ['netns', 'exec', namespace, ...command], { reject: false, timeout: 30_000, stdin: 'ignore', ...options });
    const { exitCode, stdout, stderr } = await child;
    return { pid: child.pid ?? 0, exitCode: exitCode ?? -1, stdout: String(stdout), stderr: String(stderr) };
  }

  /** Starts a process, in a namespace or (with undefined) where the lab itself runs, and waits until it prints a line that matches `ready`. */
  async start(namespace: string | undefined, command: readonly string[], options: StartOptions = {}): Promise<Running> {
    const inside = namespace === undefined ? [] : ['ip', 'netns', 'exec', namespace];
    // The kernel ends it when the lab's own process is gone, even if that was killed with SIGKILL.
    const child = execa('setpriv', ['--pdeathsig', 'KILL', ...inside, ...command], {
      all: true,
      buffer: false,
      reject: false,
      stdin: 'ignore',
      forceKillAfterDelay: 2_000,
      env: options.env ?? {},
    });
    const running = follow(child);
    this.#running.push(running);
    if (options.ready !== undefined) await untilPrinted(running, options.ready, command.join(' '));
    return running;
  }

  async close(): Promise<void> {
    for (const running of this.#running.reverse()) await running.stop();
    this.#running.length = 0;
    process.off('exit', this.#remove);
    this.#remove();
  }

  readonly #remove = (): void => {
    for (const name of this.#names.reverse()) removeNamespace(name);
    this.#names.length = 0;
  };
}

export interface StartOptions {
  readonly ready?: RegExp;
  readonly env?: Record<string, string>;
}

/** Removes the namespaces of labs whose process is gone: a run that was killed with SIGKILL could not do it itself. Returns their names. */
export function sweep(): string[] {
  const left = namespaceNames().filter((name) => {
    const pid = new RegExp(`^${family}-(\\d+)-`).exec(name)?.[1];
    return pid !== undefined && !alive(Number(pid));
  });
  left.forEach(removeNamespace);
  return left;
}

/** All namespaces that `ip netns` knows. */
export function namespaceNames(): string[] {
  return execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' })
    .split('\n')
    .map((line) => line.split(' ')[0] ?? '')
    .filter((name) => name !== '');
}

function removeNamespace(name: string): void {
  try {
    const pids = execFileSync('ip', ['netns', 'pids', name], { encoding: 'utf8' })
      .split('\n')
      .filter((pid) => pid !== '');
    for (const pid of pids) if (Number(pid) !== process.pid) process.kill(Number(pid), 'SIGKILL');
  } catch {
    // A process that ended between the two steps is what was wanted.
  }
  execFileSync('ip', ['netns', 'delete', name]);
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

interface Child extends PromiseLike<unknown> {
  readonly pid?: number | undefined;
  readonly all?: Readable | undefined;
  readonly kill: (signal: NodeJS.Signals) => boolean;
}

function follow(child: Child): Running {
  let output = '';
  if (child.all) createInterface({ input: child.all }).on('line', (line) => (output += `${line}\n`));
  const ended = Promise.resolve(child).then(() => undefined);
  const stop = async (signal: NodeJS.Signals = 'SIGTERM'): Promise<void> => {
    child.kill(signal);
    await ended;
  };
  return { pid: child.pid ?? 0, output: () => output, ended, stop };
}

async function untilPrinted(running: Running, ready: RegExp, command: string): Promise<void> {
  let over = false;
  void running.ended.then(() => (over = true));
  const deadline = Date.now() + 60_000;
  while (!ready.test(running.output())) {
    if (over) throw new Error(`${command} ended before it was ready:\n${running.output()}`);
    if (Date.now() > deadline) throw new Error(`${command} was not ready after 60 s:\n${running.output()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
