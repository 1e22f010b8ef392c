// A private network namespace for tests, with the real tools in it. Only root can make one: tests say so and are skipped otherwise.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import type { TAP } from 'tap';

/** Why tests of the kernel cannot run here; false when they can. For tap's `skip`. */
export const noNamespaces: string | false = whyNot();

export class Namespace {
  readonly name: string;
  readonly #children = new Set<ChildProcess>();

  constructor(purpose: string) {
    this.name = `portreeve-${purpose}-${randomBytes(3).toString('hex')}`;
    execFileSync('ip', ['netns', 'add', this.name]);
    this.run('ip', 'link', 'set', 'lo', 'up');
  }

  /** Runs a program to its end inside; throws when it fails. */
  run(command: string, ...args: string[]): string {
    return execFileSync('ip', ['netns', 'exec', this.name, command, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  }

  /** Starts a program inside that is killed with the namespace. `ip netns exec` becomes the program, so the child is the program itself. */
  start(command: string, ...args: string[]): ChildProcess {
    const child = spawn('ip', ['netns', 'exec', this.name, command, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#children.add(child);
    return child;
  }

  async close(): Promise<void> {
    for (const child of this.#children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill('SIGKILL');
      await new Promise((resolve) => child.once('exit', resolve));
    }
    execFileSync('ip', ['netns', 'del', this.name]);
  }
}

export interface InNamespace {
  readonly purpose: string;
  /** `import.meta.url` of the test file. */
  readonly file: string;
  readonly timeoutMs: number;
  readonly tests: () => Promise<void>;
}

/** Runs the tests of a file in a new namespace: the file is run again inside, where everything that it starts is inside too. */
export async function inNamespace(t: TAP, { purpose, file, timeoutMs, tests }: InNamespace): Promise<void> {
  t.setTimeout(timeoutMs);
  if (process.env.PORTREEVE_TEST_NAMESPACE !== undefined) return await tests();
  if (noNamespaces !== false) {
    t.comment(`SKIPPED: ${noNamespaces}`);
    t.pass('not tested', { skip: noNamespaces });
    return;
  }
  const namespace = new Namespace(purpose);
  t.teardown(() => namespace.close());
  const env = { ...process.env, PORTREEVE_TEST_NAMESPACE: namespace.name };
  await t.spawn('ip', ['netns', 'exec', namespace.name, process.execPath, fileURLToPath(file)], { env, timeout: timeoutMs }, 'in a namespace');
}

function whyNot(): string | false {
  if (process.getuid?.() !== 0) return 'needs root: network namespaces cannot be made';
  const name = `portreeve-try-${randomBytes(3).toString('hex')}`;
  try {
    execFileSync('ip', ['netns', 'add', name], { stdio: 'pipe' });
    execFileSync('ip', ['netns', 'del', name], { stdio: 'pipe' });
    return false;
  } catch (error) {
    return `network namespaces cannot be made: ${(error as Error).message.split('\n')[0]}`;
  }
}
