// Golden files: the expected text stands beside the input, and UPDATE_GOLDEN=1 writes it anew after a change that was meant.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Test } from 'tap';

/** Compares text with a golden file. A file that is missing fails the test, so that no golden file is made by accident. */
export function golden(t: Test, file: string, found: string): void {
  if (process.env.UPDATE_GOLDEN === '1') {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, found);
  }
  if (!existsSync(file)) t.fail(`${file} is missing: UPDATE_GOLDEN=1 writes it`);
  else t.equal(found, readFileSync(file, 'utf8'), `equals ${file}`);
}
