// What a build is of: the version, the moment that it is dated by, the processor, and where things are.
import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import manifest from '../package.json' with { type: 'json' };

/** The only place that a version is written in by hand is package.json; Chart.yaml is held to it by a test. */
export const version: string = manifest.version;

/** The root of the checkout, without a slash at its end. */
export const root: string = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '');

/** Processors by the names of Node.js, of Debian and of OCI, and how the C compiler for them is called. */
export const architectures = {
  x64: { debian: 'amd64', oci: 'amd64', compiler: 'x86_64-linux-gnu-gcc', strip: 'x86_64-linux-gnu-strip' },
  arm64: { debian: 'arm64', oci: 'arm64', compiler: 'aarch64-linux-gnu-gcc', strip: 'aarch64-linux-gnu-strip' },
} as const;
export type Architecture = keyof typeof architectures;

/** Seconds since 1970 that every file of a package is dated by: SOURCE_DATE_EPOCH, else the last commit, else the changelog (a tree without history). */
export function sourceDateEpoch(): number {
  const given = process.env['SOURCE_DATE_EPOCH'];
  if (given !== undefined && /^\d+$/.test(given)) return Number(given);
  try {
    const told = execFileSync('git', ['log', '-1', '--format=%ct'], { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    return Number(told.trim());
  } catch {
    return Math.floor(statSync(`${root}/CHANGELOG.md`).mtimeMs / 1000);
  }
}
