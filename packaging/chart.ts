// Packs the Helm chart as `helm package` does, the same bytes from the same files.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { root, sourceDateEpoch, version } from './release.ts';

/** Writes portreeve-VERSION.tgz and returns its path. */
export function packChart(out: string): string {
  mkdirSync(out, { recursive: true });
  const file = join(out, `portreeve-${version}.tgz`);
  const options = ['--sort=name', `--mtime=@${sourceDateEpoch()}`, '--owner=0', '--group=0', '--numeric-owner', '--mode=u=rwX,go=rX', '--format=ustar'];
  execFileSync('tar', ['--create', '--file', file, '--directory', join(root, 'packaging/helm'), ...options, 'portreeve']);
  writeFileSync(file, gzipSync(readFileSync(file), { level: 9 }));
  return file;
}
