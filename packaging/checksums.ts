// The sums of the files of a release, as `sha256sum -c SHA256SUMS` reads them.
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';

/** Writes SHA256SUMS into the directory, one line a file in the order of their names, and returns its path. */
export function writeChecksums(directory: string, files: readonly string[]): string {
  const lines = [...files].sort().map((file) => `${createHash('sha256').update(readFileSync(file)).digest('hex')}  ${basename(file)}\n`);
  const sums = join(directory, 'SHA256SUMS');
  writeFileSync(sums, lines.join(''));
  return sums;
}
