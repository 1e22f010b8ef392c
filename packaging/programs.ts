// The programs that packages and images hold: the runtime, the bundles, and the small programs in C, as `make` has built them for this processor or for another.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { arch } from 'node:os';
import { dirname, join } from 'node:path';
import { type Architecture, architectures, root } from './release.ts';
import type { Tree } from './tree.ts';

const dist = join(root, 'dist');

/** What the agent's Node.js is started with, in packages as in a checkout: a small heap rather than a fast one. */
export const agentFlags =
  '--disable-warning=ExperimentalWarning --max-semi-space-size=8 --heap-growing-percent=20 --no-separate-gc-phases --optimize-for-size --max-opt=2 --no-node-snapshot';
export const agentEnvironment = {
  MALLOC_ARENA_MAX: '1',
  MALLOC_TRIM_THRESHOLD_: '131072',
  MALLOC_TOP_PAD_: '0',
  MALLOC_MMAP_THRESHOLD_: '32768',
  UV_THREADPOOL_SIZE: '1',
} as const;

/** Puts what an agent needs into a directory of a tree: its own Node.js, the bundle, the helpers. Says which helpers could not be had for the processor. */
export function placeAgent(tree: Tree, to: string, architecture: Architecture): readonly string[] {
  tree.copy(runtime(architecture), `${to}/node`, 0o755);
  for (const name of ['agent.mjs', 'describe.program.mjs', 'yaml.program.mjs']) tree.copy(join(dist, name), `${to}/${name}`);
  const programs = { 'portreeve-launch': `${to}/portreeve-launch`, 'portreeve-watch': `${to}/portreeve-watch`, 'portreeve-bpf': `${to}/bpf/portreeve-bpf` };
  const missing = Object.entries(programs).flatMap(([name, place]) => {
    const built = helper(name, architecture);
    if (built !== undefined) tree.copy(built, place, 0o755);
    return built === undefined ? [name] : [];
  });
  return missing;
}

/** Puts the whole command line, the collector included, into a directory of a tree: its own Node.js, the bundle, SQLite, and the page where it is built. */
export function placeCommand(tree: Tree, to: string, architecture: Architecture): void {
  tree.copy(runtime(architecture), `${to}/node`, 0o755);
  tree.copyAll(join(dist, 'portreeve'), to);
  const sqlite = join(root, 'node_modules/better-sqlite3');
  tree.copyAll(sqlite, `${to}/node_modules/better-sqlite3`, (name) => /^(?:lib\/.*\.js|package\.json)$/.test(name));
  const addon = `prebuilds/linux-${architecture}.node`;
  tree.copy(join(sqlite, addon), `${to}/node_modules/better-sqlite3/${addon}`);
  execFileSync(architectures[architecture].strip, ['--strip-unneeded', join(tree.directory, to, 'node_modules/better-sqlite3', addon)]);
  if (existsSync(join(dist, 'web'))) tree.copyAll(join(dist, 'web'), `${to}/web`);
  const launch = helper('portreeve-launch', architecture);
  if (launch !== undefined) tree.copy(launch, `${to}/portreeve-launch`, 0o755);
}

/** Node.js without symbols, made once: dist/node-ARCH. npm brings the one of this processor; that of another is asked for by name. */
export function runtime(architecture: Architecture): string {
  const stripped = join(dist, `node-${architecture}`);
  if (existsSync(stripped)) return stripped;
  mkdirSync(dist, { recursive: true });
  const work = mkdtempSync(`${stripped}.`);
  try {
    const made = join(work, 'node');
    execFileSync(architectures[architecture].strip, ['-o', made, nodeOf(architecture, work)]);
    renameSync(made, stripped);
  } finally {
    rmSync(work, { recursive: true });
  }
  return stripped;
}

function nodeOf(architecture: Architecture, work: string): string {
  const installed = join(root, `node_modules/node-linux-${architecture}`);
  if (existsSync(installed)) return join(installed, 'bin/node');
  const { version } = JSON.parse(execFileSync(process.execPath, ['-p', 'JSON.stringify({version:process.versions.node})'], { encoding: 'utf8' })) as {
    version: string;
  };
  execFileSync('npm', ['pack', '--silent', `node-linux-${architecture}@${version}`], { cwd: work, stdio: ['ignore', 'ignore', 'inherit'] });
  const [archive = ''] = readdirSync(work).filter((name) => name.endsWith('.tgz'));
  execFileSync('tar', ['-xzf', archive, 'package/bin/node'], { cwd: work });
  return join(work, 'package/bin/node');
}

const sources: Readonly<Record<string, string>> = {
  'portreeve-launch': 'packaging/launch/portreeve-launch.c',
  'portreeve-relay': 'packaging/launch/portreeve-relay.c',
  'portreeve-watch': 'agent/monitors/portreeve-watch.c',
};

/** The path of a program in C; undefined where it cannot be built. portreeve-bpf needs libbpf of the processor that it is for, which is here for our own only. */
export function helper(name: string, architecture: Architecture): string | undefined {
  if (architecture === (arch() as Architecture)) {
    const built = join(dist, name);
    return existsSync(built) ? built : undefined;
  }
  const source = sources[name];
  if (source === undefined) return undefined;
  const built = join(dist, architecture, name);
  mkdirSync(dirname(built), { recursive: true });
  execFileSync(architectures[architecture].compiler, ['-D_GNU_SOURCE', '-O2', '-static', '-s', '-o', built, source], { cwd: root });
  return built;
}
