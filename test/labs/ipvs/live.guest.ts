// The part of the lab of IPVS' writers that runs inside the kernel under test: a node in IPVS mode with a real agent and a real collector, programs that change
// its services and legacy rules, and what the collector's live stream says of each, left as JSON in the directory $RES.
import { execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { followLive } from '../live.ts';
import { type Heard, type Step, steps } from './live.steps.ts';

const results = process.env['RES'] ?? '.';
const root = join(import.meta.dirname, '../../..');
const url = 'http://127.0.0.1:7300';
const patienceMs = 15_000;

const sh = (script: string): void => void execFileSync('bash', ['-ec', script], { stdio: ['ignore', 'inherit', 'inherit'] });

function start(name: string, ...words: readonly string[]) {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', join(root, 'cli/main.ts'), ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (said += String(data)));
  return { child, said: () => `--- ${name}\n${said}` };
}

async function until(done: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 60_000; !(await done().catch(() => false)); await sleep(100))
    if (Date.now() > deadline) throw new Error(`it took too long: ${String(done)}`);
}

sh(`ip link add eth0 type dummy; ip link set eth0 up; ip addr add 172.31.0.11/24 dev eth0; ip addr add 172.31.0.211/24 dev eth0
  ipvsadm -A -t 172.31.0.11:30080 -s rr; ipvsadm -a -t 172.31.0.11:30080 -r 10.244.1.11:8080 -m; ipvsadm -a -t 172.31.0.11:30080 -r 10.244.2.11:8080 -m`);
const objects = join(process.env['TMPDIR'] ?? '/tmp', 'objects');
mkdirSync(objects, { recursive: true });
for (const file of ['services.json', 'endpointslices.json', 'nodes.json', 'pods.json'])
  cpSync(join(root, 'test/fixtures/01-healthy-iptables-nft', file), join(objects, file));
const collector = start('collector', 'collector', '--listen', '127.0.0.1:7300', '--data', join(objects, '../data'), '--cluster', objects, '--no-auth');
try {
  await until(async () => (await fetch(`${url}/healthz`)).ok);
  const live = await followLive(url);
  const agent = start('agent', 'agent', '--collector', 'ws://127.0.0.1:7300', '--node', 'node1');
  // What the first reading finds is no change.
  await until(async () => (await (await fetch(`${url}/api/v1/nodes/node1`)).text()).includes('source/ipvs'));
  await sleep(2_000);
  const heard: Heard[] = [];
  for (const step of steps) heard.push(await perform(step));
  writeFileSync(join(results, 'heard.json'), JSON.stringify(heard));
  writeFileSync(join(results, 'log.txt'), collector.said() + agent.said());
  agent.child.kill('SIGTERM');
  live.close();

  async function perform({ name, command, subject }: Step): Promise<Heard> {
    const from = live.changes.length;
    sh(command);
    const ended = performance.now();
    const found = await live.wait(from, ({ change }) => change.subject === subject, patienceMs);
    return { name, ...(found === undefined ? {} : { afterMs: Math.round(found.at - ended), change: found.change }) };
  }
} catch (error) {
  writeFileSync(join(results, 'log.txt'), `${error}\n${collector.said()}`);
  throw error;
} finally {
  collector.child.kill('SIGTERM');
}
process.exit(0);
