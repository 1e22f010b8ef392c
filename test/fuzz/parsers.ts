// `make fuzz`: a million mutations of real dumps through every parser. N, SEED and WORKERS set the run; ONLY=NUMBER repeats one mutation of it.
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import type { DumpName } from './dumps.ts';
import { type Failure, type Limits, Trials } from './trial.ts';

/** What a run is: how many mutations, from which seed, on how many threads. */
export interface FuzzRun {
  readonly mutations: number;
  readonly seed: number;
  readonly workers: number;
  /** An existing folder for inputs that fail. Absent: a new one under the system's temporary folder, made with the first failure. */
  readonly folder?: string;
  /** Absent for the usual ones. */
  readonly limits?: Limits;
}

export interface FuzzResult {
  readonly counts: ReadonlyMap<DumpName, number>;
  /** Where failing inputs were written, with what is wrong. */
  readonly failures: readonly { readonly text: string; readonly file: string }[];
  readonly seconds: number;
}

/** A worker reports after so many mutations. One mutation that takes longer than `hangMs` is a hang. */
const batch = 200;
const hangMs = 30_000;
const failuresMax = 20;

/** Runs mutations on worker threads, each taking every n-th. Inputs that fail are written to a folder. */
export async function fuzz(run: FuzzRun): Promise<FuzzResult> {
  const start = performance.now();
  const counts = new Map<DumpName, number>();
  const failures: { text: string; file: string }[] = [];
  let folder = run.folder;
  const record = ({ name, number, reason, input }: Failure): void => {
    folder ??= mkdtempSync(join(tmpdir(), 'portreeve-fuzz-'));
    const file = join(folder, `${name}-${number}`);
    writeFileSync(file, input);
    failures.push({ text: `${name}: ${reason} (SEED=${run.seed} ONLY=${number}, ${file})`, file });
  };
  await Promise.all(Array.from({ length: run.workers }, (_, index) => runWorker({ run, index }, counts, record)));
  return { counts, failures, seconds: (performance.now() - start) / 1000 };
}

interface WorkerTask {
  readonly run: FuzzRun;
  readonly index: number;
}

type Report = { readonly kind: 'counts'; readonly counts: ReadonlyMap<DumpName, number> } | { readonly kind: 'failure'; readonly failure: Failure };

function runWorker(task: WorkerTask, counts: Map<DumpName, number>, record: (failure: Failure) => void): Promise<void> {
  // The number of the mutation at work: it tells which one hangs.
  const current = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(import.meta.filename, { workerData: { ...task, current } });
  return new Promise((resolve, reject) => {
    let seen = 0;
    const watch = setInterval(() => {
      const number = Atomics.load(current, 0);
      if (number !== seen || number === 0) {
        seen = number;
        return;
      }
      const { name, input } = new Trials(task.run.seed).at(number);
      record({ name, number, input, reason: `hangs for more than ${hangMs} ms` });
      void worker.terminate();
    }, hangMs);
    worker.on('message', (report: Report) => {
      if (report.kind === 'failure') record(report.failure);
      else for (const [name, count] of report.counts) counts.set(name, (counts.get(name) ?? 0) + count);
    });
    worker.on('error', (error) => {
      clearInterval(watch);
      reject(error);
    });
    worker.on('exit', () => {
      clearInterval(watch);
      resolve();
    });
  });
}

function work({ run, index, current }: WorkerTask & { readonly current: Int32Array }): void {
  const send = (report: Report): void => parentPort?.postMessage(report);
  const trials = new Trials(run.seed, run.limits);
  let counts = new Map<DumpName, number>();
  let failed = 0;
  for (let number = index + 1, done = 0; number <= run.mutations && failed < failuresMax; number += run.workers) {
    Atomics.store(current, 0, number);
    const { name, failure } = trials.run(number);
    if (failure !== undefined) {
      failed++;
      send({ kind: 'failure', failure });
    }
    counts.set(name, (counts.get(name) ?? 0) + 1);
    if (++done % batch !== 0) continue;
    send({ kind: 'counts', counts });
    counts = new Map();
  }
  send({ kind: 'counts', counts });
}

async function main(): Promise<void> {
  const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31));
  const only = process.env['ONLY'];
  if (only !== undefined) {
    const { failure } = new Trials(seed).run(Number(only));
    process.stdout.write(failure === undefined ? `mutation ${only} of seed ${seed}: all is well\n` : `${failure.name}: ${failure.reason}\n`);
    process.exitCode = failure === undefined ? 0 : 1;
    return;
  }
  const run = { mutations: Number(process.env['N'] ?? 1_000_000), seed, workers: Number(process.env['WORKERS'] ?? 2) };
  process.stdout.write(`seed ${seed}, ${run.mutations} mutations on ${run.workers} threads\n`);
  const { counts, failures, seconds } = await fuzz(run);
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
  process.stdout.write(`${total} mutations in ${seconds.toFixed(0)} s, ${(total / seconds).toFixed(0)} a second: ${countsText(counts)}\n`);
  for (const { text } of failures) process.stdout.write(`FAILED ${text}\n`);
  process.exitCode = failures.length > 0 || total === 0 ? 1 : 0;
}

/** Mutations by parser, in the order of names. */
export const countsText = (counts: ReadonlyMap<DumpName, number>): string =>
  [...counts]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, count]) => `${name} ${count}`)
    .join(', ');

if (!isMainThread && workerData?.run !== undefined) work(workerData as WorkerTask & { readonly current: Int32Array });
else if (process.argv[1] === import.meta.filename) await main();
