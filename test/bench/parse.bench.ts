// Reading a 51 MB dump: `portreeve parse` beside `iptables-legacy-restore --test`, in turns; and the reader alone, in its first call and warm, beside the limits.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Machine } from '../../shared/netfilter/iptables.machine.ts';
import { IptablesReader, parseIptables } from '../../shared/netfilter/iptables.parse.ts';
import { unknownOptions } from '../../shared/netfilter/iptables.unknown.ts';
import { hasLegacyIptables, median, type Run, ratio, report, timedCommand, timedWork } from './compared.ts';
import { writeIptablesDump } from './iptables-dump.ts';

const runs = 5;
const launcher = join(import.meta.dirname, '../../cli/portreeve');
/** What the command reads large dumps by. */
const machineCode = readFileSync(join(import.meta.dirname, '../../dist/skim.wasm'));
/** How many times as fast as iptables-legacy-restore the command is to be, and how many megabytes a second the reader, in its first call too. */
const wanted = { ratio: 30, megabytes: 150 };

/** What nobody can be faster than, and what one would do without thinking. */
const limits: readonly (readonly [name: string, key: 'newlines' | 'bytes' | 'split'])[] = [
  ['a scan for newlines, in machine code', 'newlines'],
  ['a loop over all bytes that does nothing else', 'bytes'],
  ['a split into lines of text', 'split'],
];

if (process.argv[2] === '--alone') process.stdout.write(JSON.stringify(timesAlone(process.argv[3] as string)));
else bench({ services: Number(process.argv[2] ?? 10_000), endpoints: Number(process.argv[3] ?? 10) });

function bench(size: { readonly services: number; readonly endpoints: number }): void {
  const directory = mkdtempSync(join(tmpdir(), 'portreeve-bench-'));
  try {
    const file = join(directory, 'iptables-save.txt');
    writeIptablesDump(file, size);
    const megabytes = statSync(file).size / 1e6;
    console.log(`parse: a dump of ${megabytes.toFixed(1)} MB`);
    sideBySide(file);
    inProcess(file, megabytes);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function sideBySide(file: string): void {
  const start: Run[] = [];
  const ours: Run[] = [];
  const theirs: Run[] = [];
  const compared = hasLegacyIptables();
  // The first run of a checkout fills the compile cache.
  timedCommand([launcher, 'parse', file]);
  for (let i = 0; i < runs; i++) {
    start.push(timedCommand([launcher, '--version']));
    ours.push(timedCommand([launcher, 'parse', file]));
    if (compared) theirs.push(timedCommand(['unshare', '-n', 'iptables-legacy-restore', '--test', file]));
  }
  report('  portreeve --version (the start alone)', start);
  report('  portreeve parse', ours);
  if (!compared) return;
  report('  iptables-legacy-restore --test', theirs);
  console.log(`  ${ratio(ours, theirs)} times as fast (wanted: ${wanted.ratio})`);
}

/** Seconds of one process: its first parse, further ones in turns with the limits, and a parse that decodes every rule. */
interface TimesAlone {
  readonly first: number;
  readonly warm: readonly number[];
  readonly machine: readonly number[];
  readonly newlines: readonly number[];
  readonly bytes: readonly number[];
  readonly split: readonly number[];
  readonly decoded: number;
}

function inProcess(file: string, megabytes: number): void {
  const all = Array.from({ length: runs }, () => JSON.parse(run(['--alone', file])) as TimesAlone);
  const speed = (name: string, seconds: readonly number[]): void =>
    console.log(`  ${name}: ${(megabytes / median(seconds)).toFixed(0)} MB/s (${(median(seconds) * 1000).toFixed(0)} ms)`);
  const warm = all.flatMap((times) => times.warm);
  speed(
    `parse in process, first call of a fresh process (wanted: ${wanted.megabytes} MB/s)`,
    all.map(({ first }) => first),
  );
  speed(`parse in process, warm (wanted: ${wanted.megabytes} MB/s)`, warm);
  const machine = all.flatMap((times) => times.machine);
  speed('parse in process by machine code, as the command does', machine);
  for (const [name, key] of limits) {
    const limit = all.flatMap((times) => times[key]);
    speed(`  ${name}`, limit);
    console.log(
      `      parse takes ${(median(warm) / median(limit)).toFixed(1)} times as long, by machine code ${(median(machine) / median(limit)).toFixed(1)} times`,
    );
  }
  speed(
    'parse and decode every rule',
    all.map(({ decoded }) => decoded),
  );
}

function timesAlone(file: string): TimesAlone {
  const bytes = readFileSync(file);
  const first = timedWork(() => parse(bytes));
  const times = { warm: [] as number[], machine: [] as number[], newlines: [] as number[], bytes: [] as number[], split: [] as number[] };
  for (let i = 0; i < runs; i++) {
    times.newlines.push(timedWork(() => countNewlines(bytes)));
    times.bytes.push(timedWork(() => countBytes(bytes)));
    times.warm.push(timedWork(() => parse(bytes)));
    times.machine.push(timedByMachine(bytes));
  }
  // Last, as it leaves garbage that others would have to collect.
  for (let i = 0; i < runs; i++) times.split.push(timedWork(() => bytes.toString('latin1').split('\n')));
  return { first, ...times, decoded: timedWork(() => decode(bytes)) };
}

function parse(bytes: Buffer): void {
  unknownOptions(parseIptables(bytes));
}

/** Without the time in which the text comes into the machine's memory: the command has the kernel copy it there. */
function timedByMachine(bytes: Buffer): number {
  const machine = new Machine(machineCode, bytes.length);
  bytes.copy(machine.text);
  return timedWork(() => unknownOptions(new IptablesReader(machine.text, {}, machine).finish()));
}

function countNewlines(bytes: Buffer): number {
  let lines = 0;
  for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) lines++;
  return lines;
}

function countBytes(bytes: Buffer): number {
  let lines = 0;
  for (let at = 0; at < bytes.length; at++) if (bytes[at] === 10) lines++;
  return lines;
}

function decode(bytes: Buffer): void {
  for (const { chains } of parseIptables(bytes).tables) for (const chain of chains.values()) for (let i = 0; i < chain.length; i++) chain.rule(i);
}

function run(words: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', import.meta.filename, ...words], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
  return stdout;
}
