// Small programs that come before all others on PATH while a test runs.
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';

/** Makes bash scripts of these texts by their names. */
export function putOnPath(t: Test, programs: Readonly<Record<string, string>>): void {
  const directory = join(t.testdir({}), 'bin');
  mkdirSync(directory);
  for (const [name, text] of Object.entries(programs)) {
    writeFileSync(join(directory, name), `#!/bin/bash\n${text}\n`);
    chmodSync(join(directory, name), 0o755);
  }
  const before = process.env.PATH;
  process.env.PATH = `${directory}:${before}`;
  t.teardown(() => {
    process.env.PATH = before;
  });
}
