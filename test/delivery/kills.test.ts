// Real processes, killed: an agent with its spool on a real disk, and a collector with its SQLite file, over loopback. After every kill both go on, and in the end
// an oracle that has noted everything itself compares.
import { type ChildProcess, spawn } from 'node:child_process';
import { appendFileSync, cpSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { objectsOf, writeObjects } from '../collector/ingest/cluster.ts';
import { randomOf } from '../support/crashing-disk.ts';
import { faultsOf, Ledger, promisedBy } from './ledger.ts';
import { freePort } from './ports.ts';

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
const kills = Number(process.env.KILLS ?? 104);
/** Agents that share a collector: all are killed, and each collector's end is one of them all. */
const nodes = ['node1', 'node2', 'node3', 'node4', 'node5'];
/** Both sides read clocks in whole milliseconds, several times. */
const grainMs = 5;
t.setTimeout(3_600_000);

class Processes {
  readonly #directory: string;
  readonly #port: number;
  readonly #running = new Map<string, ChildProcess>();

  constructor(directory: string, port: number) {
    this.#directory = directory;
    this.#port = port;
  }

  async start(name: string, ...more: string[]): Promise<void> {
    const at = (file: string): string => join(this.#directory, file);
    const words =
      name === 'collector'
        ? ['collector.program.ts', String(this.#port), at('data'), at('cluster')]
        : ['agent.program.ts', `ws://127.0.0.1:${this.#port}`, at('state'), name, at(`${name}.notes`), ...more];
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', join(import.meta.dirname, words[0] as string), ...words.slice(1)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#running.set(name, child);
    await new Promise((resolve, reject) => {
      child.stdout.once('data', resolve);
      child.once('close', (code) => reject(new Error(`${name} ended with ${code} before it was ready`)));
    });
  }

  async end(name: string, signal?: NodeJS.Signals): Promise<number | null> {
    const child = this.#running.get(name) as ChildProcess;
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
    if (signal !== undefined) child.kill(signal);
    return child.exitCode === null && child.signalCode === null ? await ended : child.exitCode;
  }
}

/** Something happens on a node while no agent looks. */
function unseen(directory: string, node: string, id: string): void {
  appendFileSync(join(directory, `${node}.notes`), `${JSON.stringify({ made: { id, at: Date.now(), subject: 'unseen' } })}\n`);
}

t.test('agents and collectors that are killed lose nothing that was acknowledged or spooled, double nothing, and keep no gap silent', async (t) => {
  const directory = t.testdir({});
  await writeObjects(join(directory, 'cluster'), objectsOf());
  const processes = new Processes(directory, await freePort());
  const random = randomOf(seed);
  await processes.start('collector');
  for (const node of nodes) {
    writeFileSync(join(directory, `${node}.notes`), '');
    await processes.start(node);
  }
  let done = 0;
  const round = async (): Promise<void> => {
    await sleep(50 + random() * 250);
    // Sometimes with the collector, sometimes without it, sometimes in the middle of its start.
    const victims = nodes.filter(() => random() < 0.6);
    const collectorDies = random() < 0.8;
    const killCollector = collectorDies ? processes.end('collector', 'SIGKILL') : undefined;
    if (random() < 0.5) await sleep(random() * 100);
    await Promise.all(victims.map((node) => processes.end(node, 'SIGKILL')));
    await killCollector;
    done += victims.length + (collectorDies ? 1 : 0);
    for (const node of victims) unseen(directory, node, `unseen ${done} ${node}`);
    const restarts = victims.map((node) => processes.start(node));
    if (random() < 0.5) await Promise.all(restarts);
    if (collectorDies) await processes.start('collector');
    await Promise.all(restarts);
  };
  while (done < kills) await round();
  await Promise.all(nodes.map((node) => processes.end(node, 'SIGKILL')));
  await Promise.all(nodes.map((node) => processes.start(node, 'calm')));
  await Promise.all(nodes.map((node) => processes.end(node)));
  await processes.end('collector', 'SIGTERM');
  let changes = 0;
  for (const node of nodes) {
    const promised = promisedBy(readFileSync(join(directory, `${node}.notes`), 'utf8'));
    changes += promised.made.length;
    const faults = faultsOf(Ledger.read(join(directory, 'data', 'portreeve.db'), node), { ...promised, toleranceMs: grainMs });
    // For somebody to look at: the whole ledger stays beside the notes.
    if (faults.length > 0) cpSync(directory, join(tmpdir(), `portreeve-kills-${seed}`), { recursive: true });
    t.strictSame(faults.slice(0, 5), [], node);
  }
  t.comment(`SEED=${seed}: ${done + nodes.length} kills, ${changes} changes: 0 lost, 0 twice, 0 silent gaps`);
});
