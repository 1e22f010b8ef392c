// What hostile agents cost honest ones: the time from a change to its acknowledgement, alone and beside each attack, measured in turns in one run.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { limits } from '../../shared/limits.ts';
import { changeOf, TestAgent } from '../collector/ingest/client.ts';
import { objectsOf, writeObjects } from '../collector/ingest/cluster.ts';
import { freePort } from '../delivery/ports.ts';
import { median, quantile } from './compared.ts';

const seconds = Number(process.env.SECONDS ?? 3);
const rounds = Number(process.env.ROUNDS ?? 3);

type Attack = (port: number) => Promise<() => void>;

const put = Array.from({ length: limits.stateFactsMax }, (_, i) => ({ kind: 'sysctl', key: `sysctl/${i}`, name: `${i}`, value: 'x'.repeat(1_500) }));
const flooding =
  (frame: (seq: number) => string): Attack =>
  async (port) => {
    const agent = await TestAgent.start(`http://127.0.0.1:${port}`, { node: 'hostile', stream: `run-${Math.random()}` });
    let seq = 0;
    const timer = setInterval(() => {
      while (agent.socket.readyState === 1 && agent.socket.bufferedAmount < 4 * limits.frameBytesMax) agent.socket.send(frame(++seq));
    }, 1);
    return () => {
      clearInterval(timer);
      agent.socket.terminate();
    };
  };

const attacks: Readonly<Record<string, Attack>> = {
  'states of 0.8 MB without end': flooding((seq) => JSON.stringify({ type: 'state', seq, full: true, more: false, at: 1, put, delete: [] })),
  'changes without end': flooding((seq) =>
    JSON.stringify({
      type: 'changes',
      changes: Array.from({ length: 200 }, (_, i) => changeOf((seq - 1) * 200 + i + 1, { node: 'hostile', stream: 'flood' })),
    }),
  ),
  '10,000 half-open connections': async (port) => {
    const sockets: Socket[] = [];
    const timer = setInterval(() => {
      for (let i = 0; i < 50; i++) sockets.push(connect(port, '127.0.0.1').on('error', () => {}));
      if (sockets.length > 10_000) clearInterval(timer);
    }, 10);
    return () => {
      clearInterval(timer);
      for (const socket of sockets) socket.destroy();
    };
  },
};

/** Milliseconds from each change to its acknowledgement. */
async function latencies(agent: TestAgent, begin: number): Promise<number[]> {
  const taken: number[] = [];
  const end = performance.now() + seconds * 1_000;
  for (let seq = begin; performance.now() < end; seq++) {
    const sent = performance.now();
    agent.sendChanges([changeOf(seq)]);
    await agent.until('ack', ({ changes }) => changes === seq);
    taken.push(performance.now() - sent);
    agent.received.length = 0;
    await sleep(5);
  }
  return taken;
}

async function compare(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'portreeve-hostile-'));
  const port = await freePort();
  await writeObjects(join(directory, 'cluster'), objectsOf());
  const words = [join(import.meta.dirname, '../delivery/collector.program.ts'), String(port), join(directory, 'data'), join(directory, 'cluster')];
  const collector = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...words], { stdio: ['ignore', 'pipe', 'ignore'] });
  await once(collector.stdout, 'data');
  const honest = await TestAgent.start(`http://127.0.0.1:${port}`);
  let seq = 1;
  const p99 = async (): Promise<number> => {
    const taken = await latencies(honest, seq);
    seq += taken.length;
    return quantile(taken, 0.99);
  };
  for (const name of Object.keys(attacks)) {
    const turns: { readonly alone: number; readonly beside: number }[] = [];
    for (let round = 0; round < rounds; round++) {
      const alone = await p99();
      const stop = await attacking(name, port);
      await sleep(500);
      const beside = await p99();
      stop();
      await sleep(500);
      turns.push({ alone, beside });
    }
    const of = (key: 'alone' | 'beside'): string => median(turns.map((turn) => turn[key])).toFixed(1);
    console.log(
      `${name}: p99 of an honest change ${of('alone')} ms alone, ${of('beside')} ms beside; ${median(turns.map(({ alone, beside }) => beside / alone)).toFixed(2)} times`,
    );
  }
  honest.socket.terminate();
  collector.kill('SIGTERM');
  await once(collector, 'close');
  rmSync(directory, { recursive: true });
}

/** In a process of its own: what an attacker's machine works must not slow the one that measures. */
async function attacking(name: string, port: number): Promise<() => void> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', import.meta.filename, name, String(port)], { stdio: 'ignore' });
  await sleep(2_000);
  return () => child.kill('SIGKILL');
}

const [name, port] = process.argv.slice(2);
if (name === undefined) await compare();
else await attacks[name]?.(Number(port));
