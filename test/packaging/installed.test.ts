// The packages on a machine with a real systemd, from the first installation to the last file gone: test/labs/installed.ts is run there and says what holds.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { root } from '../../packaging/release.ts';
import { labObstacle } from '../labs/cluster.ts';
import { debNames, debObstacle, debOf } from './debs.ts';

t.setTimeout(300_000);
const obstacle = debObstacle('systemctl', 'dpkg', 'unshare') ?? (await labObstacle());

t.test('packages on a machine with systemd', { skip: obstacle ?? false }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'portreeve-installed-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const script = join(directory, 'lab');
  const words = [process.execPath, '--disable-warning=ExperimentalWarning', join(root, 'test/labs/installed.ts'), ...debNames.map(debOf)];
  writeFileSync(script, `#!/bin/bash\nexec ${words.map((word) => `'${word}'`).join(' ')}\n`, { mode: 0o755 });
  const ran = spawnSync(join(root, 'test/labs/systemd-namespace.sh'), [script], {
    encoding: 'utf8',
    timeout: 280_000,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, LAB_KEEP: root },
  });
  const lines = ran.stdout.split('\n').filter((line) => line.startsWith('{'));
  for (const line of lines) {
    const { name, ok, found } = JSON.parse(line) as { readonly name: string; readonly ok: boolean; readonly found?: unknown };
    t.ok(ok, name, { found });
  }
  t.equal(ran.status, 0, 'systemd was booted, and the lab ran to its end', { told: `${ran.stdout}\n${ran.stderr}` });
  t.ok(lines.length > 30, `${lines.length} things were looked at`);
});
