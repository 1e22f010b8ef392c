// Makes the agent one executable that needs nothing beside it (a single executable application of Node.js): Node.js with the bundle and the helpers in it.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { agentFlags, helper, runtime } from './programs.ts';
import { type Architecture, root, version } from './release.ts';

export interface ExecutableOptions {
  readonly out: string;
  readonly architecture: Architecture;
}

// It is a package of CommonJS without types.
const postject = createRequire(import.meta.url)('postject') as {
  readonly inject: (file: string, name: string, content: Buffer, options: { readonly sentinelFuse: string }) => Promise<void>;
};

/** Of Node.js: where it looks for what was put into it. */
const fuse = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';

/** Builds portreeve-agent_VERSION_linux-ARCH and returns its path. Helpers that cannot be built for the processor are not in it, and the agent does without them. */
export async function buildExecutable({ out, architecture }: ExecutableOptions): Promise<string> {
  mkdirSync(out, { recursive: true });
  const file = join(out, `portreeve-agent_${version}_linux-${architecture}`);
  const work = mkdtempSync(`${file}.`);
  try {
    const blob = blobOf(work, architecture);
    const made = join(work, 'made');
    copyFileSync(runtime(architecture), made);
    chmodSync(made, 0o755);
    await postject.inject(made, 'NODE_SEA_BLOB', readFileSync(blob), { sentinelFuse: fuse });
    renameSync(made, file);
  } finally {
    rmSync(work, { recursive: true });
  }
  return file;
}

interface Part {
  readonly name: string;
  readonly path: string;
  readonly mode: number;
}

// Made by this machine's Node.js for others too: without code cache and snapshot there is nothing of a processor in it.
function blobOf(work: string, architecture: Architecture): string {
  const code = ['agent.mjs', 'describe.program.mjs', 'yaml.program.mjs'].map((name): Part => ({ name, path: join(root, 'dist', name), mode: 0o600 }));
  const helpers = ['portreeve-watch', 'portreeve-bpf'].flatMap((name): readonly Part[] => {
    const path = helper(name, architecture);
    return path === undefined ? [] : [{ name, path, mode: 0o700 }];
  });
  const parts = [...code, ...helpers];
  const list = join(work, 'files.json');
  const sums = parts.map(({ name, path, mode }) => ({ name, mode, sha256: createHash('sha256').update(readFileSync(path)).digest('hex') }));
  writeFileSync(list, JSON.stringify(sums));
  const output = join(work, 'blob');
  const config = join(work, 'sea.json');
  const assets = Object.fromEntries([['files.json', list], ...parts.map(({ name, path }) => [name, path])]);
  const settings = { main: join(root, 'packaging/sea.main.cjs'), output, disableExperimentalSEAWarning: true, useCodeCache: false, execArgv: flags, assets };
  writeFileSync(config, JSON.stringify(settings));
  execFileSync(process.execPath, ['--experimental-sea-config', config], { stdio: ['ignore', 'ignore', 'pipe'] });
  return output;
}

// An executable has a snapshot of its own or none.
const flags = agentFlags.split(' ').filter((flag) => flag !== '--no-node-snapshot');
