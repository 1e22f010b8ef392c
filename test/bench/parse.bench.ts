// Reading a 51 MB dump: `portreeve parse` beside `iptables-legacy-restore --test`, in turns, and the reader alone against a bare scan for newlines.
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseIptables } from '../../shared/netfilter/iptables.parse.ts';
import { unknownOptions } from '../../shared/netfilter/iptables.unknown.ts';
import { hasLegacyIptables, median, type Run, ratio, report, timedCommand, timedWork } from './compared.ts';
import { writeIptablesDump } from './iptables-dump.ts';

const runs = 3;
const launcher = join(import.meta.dirname, '../../cli/portreeve');
const directory = mkdtempSync(join(tmpdir(), 'portreeve-bench-'));
try {
  const file = join(directory, 'iptables-save.txt');
  writeIptablesDump(file, { services: Number(process.argv[2] ?? 10_000), endpoints: Number(process.argv[3] ?? 10) });
  console.log(`parse: a dump of ${(statSync(file).size / 1e6).toFixed(1)} MB`);
  sideBySide(file);
  inProcess(file);
} finally {
  rmSync(directory, { recursive: true });
}

function sideBySide(file: string): void {
  const ours: Run[] = [];
  const theirs: Run[] = [];
  const compared = hasLegacyIptables();
  for (let i = 0; i < runs; i++) {
    ours.push(timedCommand([launcher, 'parse', file]));
    if (compared) theirs.push(timedCommand(['unshare', '-n', 'iptables-legacy-restore', '--test', file]));
  }
  report('  portreeve parse', ours);
  if (!compared) return;
  report('  iptables-legacy-restore --test', theirs);
  console.log(`  ${ratio(ours, theirs)} times as fast`);
}

function inProcess(file: string): void {
  const bytes = readFileSync(file);
  const speed = (name: string, work: () => unknown): void => {
    const seconds = median(Array.from({ length: runs }, () => timedWork(work)));
    console.log(`  ${name}: ${(bytes.length / 1e6 / seconds).toFixed(0)} MB/s (${(seconds * 1000).toFixed(0)} ms)`);
  };
  speed('scan for newlines (the limit)', () => {
    let lines = 0;
    for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) lines++;
    return lines;
  });
  speed('parse', () => parseIptables(bytes));
  console.log(`  memory after it: ${(process.memoryUsage.rss() / 1e6).toFixed(0)} MB`);
  const parsed = parseIptables(bytes);
  speed('look for unknown options', () => unknownOptions(parsed));
  speed('parse and decode every rule', () => {
    for (const { chains } of parseIptables(bytes).tables) for (const chain of chains.values()) for (let i = 0; i < chain.length; i++) chain.rule(i);
  });
}
