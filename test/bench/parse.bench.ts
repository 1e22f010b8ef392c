// Reading a 51 MB dump: `portreeve parse` beside `iptables-legacy-restore --test`, in turns, and the reader alone against a bare scan for newlines.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseIptables } from '../../shared/netfilter/iptables.parse.ts';
import { unknownOptions } from '../../shared/netfilter/iptables.unknown.ts';
import { writeIptablesDump } from './iptables-dump.ts';

const root = join(import.meta.dirname, '../..');
const runs = 3;

interface Run {
  readonly seconds: number;
  readonly rssMb: number;
}

const directory = mkdtempSync(join(tmpdir(), 'portreeve-bench-'));
try {
  const file = join(directory, 'iptables-save.txt');
  writeIptablesDump(file, { services: Number(process.argv[2] ?? 10000), endpoints: Number(process.argv[3] ?? 10) });
  console.log(`dump: ${(statSync(file).size / 1e6).toFixed(1)} MB`);
  sideBySide(file);
  inProcess(file);
} finally {
  rmSync(directory, { recursive: true });
}

function sideBySide(file: string): void {
  const ours: Run[] = [];
  const theirs: Run[] = [];
  const restore = available() ? ['unshare', '-n', 'iptables-legacy-restore', '--test', file] : undefined;
  for (let i = 0; i < runs; i++) {
    ours.push(timed([...parseCommand(), file]));
    if (restore !== undefined) theirs.push(timed(restore));
  }
  report('portreeve parse', ours);
  if (restore === undefined) return console.log('iptables-legacy-restore is not here, or no namespace can be made');
  report('iptables-legacy-restore --test', theirs);
  console.log(`wall time: ${(median(theirs.map(({ seconds }) => seconds)) / median(ours.map(({ seconds }) => seconds))).toFixed(2)} times as fast`);
}

function available(): boolean {
  return spawnSync('unshare', ['-n', 'iptables-legacy-restore', '--version']).status === 0;
}

/** The launcher if it is there, else the command's module. */
function parseCommand(): string[] {
  const launcher = join(root, 'cli/portreeve');
  if (existsSync(launcher)) return [launcher, 'parse'];
  const code = `import { runParse } from ${JSON.stringify(join(root, 'cli/commands/parse.ts'))}; process.exitCode = await runParse(process.argv[1], { print: false, output: 'text' });`;
  return [process.execPath, '--input-type=module', '-e', code];
}

/** Runs a command once; its peak memory is that of GNU time. */
function timed(command: readonly string[]): Run {
  const start = performance.now();
  const { status, stderr } = spawnSync('/usr/bin/env', ['time', '-f', 'rss %M', ...command], { encoding: 'utf8', maxBuffer: 1 << 26 });
  const seconds = (performance.now() - start) / 1000;
  if (status !== 0) throw new Error(`${command[0]} ended with ${status}: ${stderr.slice(0, 2000)}`);
  return { seconds, rssMb: Number(/rss (\d+)/.exec(stderr)?.[1] ?? Number.NaN) / 1024 };
}

function report(name: string, results: readonly Run[]): void {
  const seconds = results.map((run) => run.seconds);
  console.log(
    `${name}: ${median(seconds).toFixed(2)} s (${seconds.map((one) => one.toFixed(2)).join(', ')}), ${median(results.map(({ rssMb }) => rssMb)).toFixed(0)} MB`,
  );
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number;
}

function inProcess(file: string): void {
  const bytes = readFileSync(file);
  const speed = (name: string, work: () => unknown): void => {
    const times = Array.from({ length: runs }, () => {
      const start = performance.now();
      work();
      return (performance.now() - start) / 1000;
    });
    const seconds = median(times);
    console.log(`${name}: ${(bytes.length / 1e6 / seconds).toFixed(0)} MB/s (${(seconds * 1000).toFixed(0)} ms)`);
  };
  speed('scan for newlines (the limit)', () => {
    let lines = 0;
    for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) lines++;
    return lines;
  });
  speed('parse', () => parseIptables(bytes));
  console.log(`memory after it: ${(process.memoryUsage().rss / 1e6).toFixed(0)} MB`);
  const parsed = parseIptables(bytes);
  speed('look for unknown options', () => unknownOptions(parsed));
  speed('parse and decode every rule', () => {
    for (const { chains } of parseIptables(bytes).tables) for (const chain of chains.values()) for (let i = 0; i < chain.length; i++) chain.rule(i);
  });
}
