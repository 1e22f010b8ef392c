// What the benchmarks share: runs of commands in turns, their time and peak memory, and how the figures are printed.
import { spawnSync } from 'node:child_process';

export interface Run {
  readonly seconds: number;
  readonly rssMb: number;
}

/** Runs a command once, its output thrown away; its peak memory is that of GNU time. Throws if it ends with another code than those given. */
export function timedCommand(command: readonly string[], codes: readonly number[] = [0]): Run {
  const start = performance.now();
  const { status, stderr } = spawnSync('time', ['-f', 'rss %M', ...command], {
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const seconds = (performance.now() - start) / 1000;
  if (!codes.includes(status ?? -1)) throw new Error(`${command[0]} ended with ${status}: ${stderr.slice(0, 2000)}`);
  return { seconds, rssMb: Number(/rss (\d+)/.exec(stderr)?.[1] ?? Number.NaN) / 1024 };
}

/** Runs a function once. */
export function timedWork(work: () => unknown): number {
  const start = performance.now();
  work();
  return (performance.now() - start) / 1000;
}

export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number;
}

export function report(name: string, runs: readonly Run[]): void {
  const seconds = runs.map((run) => run.seconds);
  console.log(
    `${name}: ${median(seconds).toFixed(2)} s (${seconds.map((one) => one.toFixed(2)).join(', ')}), ${median(runs.map(({ rssMb }) => rssMb)).toFixed(0)} MB`,
  );
}

/** Whether private network namespaces with legacy iptables can be made here; says so if not. */
export function hasLegacyIptables(): boolean {
  const here = spawnSync('unshare', ['-n', 'iptables-legacy-restore', '--version']).status === 0;
  if (!here) console.log('iptables-legacy-restore is not here, or no namespace can be made: nothing to compare with');
  return here;
}

/** How many times a comparison takes as long as we do. */
export function ratio(ours: readonly Run[], theirs: readonly Run[]): string {
  return (median(theirs.map(({ seconds }) => seconds)) / median(ours.map(({ seconds }) => seconds))).toFixed(2);
}

/** How many times as long as a comparison we take: the median of what each turn says, as a machine that others use too is slower in some turns. */
export function timesAsLong(ours: readonly Run[], theirs: readonly Run[]): number {
  return median(ours.map(({ seconds }, turn) => seconds / (theirs[turn] as Run).seconds));
}

/** The value that a share of all values does not exceed. */
export function quantile(values: readonly number[], share: number): number {
  return [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] as number;
}
