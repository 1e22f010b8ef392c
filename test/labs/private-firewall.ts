// Runs the tests of a file where ufw or firewalld can be used for real: the file is run again inside the namespaces of private-firewall.sh.
import { execFileSync, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { TAP } from 'tap';

const script = fileURLToPath(new URL('./private-firewall.sh', import.meta.url));

export interface WithFirewall {
  readonly manager: 'ufw' | 'firewalld';
  /** `import.meta.url` of the test file. */
  readonly file: string;
  readonly timeoutMs: number;
  readonly tests: () => Promise<void>;
}

/** Runs the tests inside; says so and skips them where the manager, root or namespaces are missing. */
export async function withFirewall(t: TAP, { manager, file, timeoutMs, tests }: WithFirewall): Promise<void> {
  if (process.env.PORTREEVE_PRIVATE_FIREWALL !== undefined) {
    if (process.env.PORTREEVE_TEST_MANAGER === manager) await tests();
    return;
  }
  t.setTimeout(timeoutMs);
  const tried = spawnSync(script, [manager], { encoding: 'utf8', timeout: 60_000 });
  if (tried.status !== 0) {
    const reason = `${manager} cannot be run here: ${tried.stderr.trim().split('\n').at(-1) || `exit status ${tried.status}`}`;
    t.comment(`SKIPPED: ${reason}`);
    t.pass('not tested', { skip: reason });
    return;
  }
  const env = { ...process.env, PORTREEVE_TEST_MANAGER: manager };
  await t.spawn(script, [manager, process.execPath, fileURLToPath(file)], { env, timeout: timeoutMs }, `with ${manager}`);
}

/** Runs a shell script to its end; throws with what it printed when it fails. */
export const sh = (text: string): string => execFileSync('bash', ['-euc', text], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
