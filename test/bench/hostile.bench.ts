// What hostile agents cost honest ones: the time from a change to its acknowledgement, alone and beside each attack, measured in turns in one run; and what honest
// agents with much to tell wait: many that connect at once with their whole state, and one that has been away for long.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { limits } from '../../shared/limits.ts';
import { changeOf, nodePortFact, TestAgent } from '../collector/ingest/client.ts';
import { objectsOf, writeObjects } from '../collector/ingest/cluster.ts';
import { freePort } from '../delivery/ports.ts';
import { median, quantile } from './compared.ts';

process.setMaxListeners(0);
const seconds = Number(process.env.SECONDS ?? 3);
const rounds = Number(process.env.ROUNDS ?? 3);
/** Part of the name of the attacks that are made; empty: all. */
const only = process.env.ONLY ?? '';

/** Attacks for as long as its process lives. */
type Attack = (port: number) => Promise<void>;

/** Stands in a template for a number of a fixed width: spaces and digits. */
const hole = '#'.repeat(12);

/** A message as a frame that is made once, so that the attacker spends no time on making it: its mask is zero, and only numbers are written into a copy. */
function frameOf(template: string): (number: (i: number) => number) => Buffer {
  const payload = Buffer.from(template);
  const head = Buffer.alloc(14);
  head.writeUInt8(0x81, 0);
  head.writeUInt8(0xff, 1);
  head.writeBigUInt64BE(BigInt(payload.length), 2);
  const made = Buffer.concat([head, payload]);
  const holes: number[] = [];
  for (let at = made.indexOf(hole); at >= 0; at = made.indexOf(hole, at + hole.length)) holes.push(at);
  return (number) => {
    const frame = Buffer.from(made);
    holes.forEach((at, i) => void frame.write(String(number(i)).padStart(hole.length), at, 'latin1'));
    return frame;
  };
}

/** Agents that send as fast as TCP lets them. The process ends with an error when one of them is cut off: then it is no attack any more. */
const flooding =
  (count: number, frameFor: (node: string) => (turn: number) => Buffer): Attack =>
  async (port) => {
    for (let i = 0; i < count; i++) {
      const node = `hostile${i}`;
      const agent = await TestAgent.start(`http://127.0.0.1:${port}`, { node, stream: `run-${Math.random()}` });
      void agent.closed.then(() => process.exit(1));
      agent.socket.on('message', () => void (agent.received.length = 0));
      const { _socket: socket } = agent.socket as unknown as { readonly _socket: Socket };
      const frame = frameFor(node);
      let turn = 0;
      const pump = (): void => {
        while (socket.write(frame(turn++)));
      };
      socket.on('drain', pump);
      pump();
    }
  };

const put = Array.from({ length: limits.stateFactsMax }, (_, i) => ({ kind: 'sysctl', key: `sysctl/${i}`, name: `${i}`, value: 'x'.repeat(1_500) }));
const states = (): ((turn: number) => Buffer) => {
  const frame = frameOf(JSON.stringify({ type: 'state', seq: hole, full: true, more: false, at: 1, put, delete: [] }).replace(`"${hole}"`, hole));
  return (turn) => frame(() => turn + 1);
};
const changes = (node: string): ((turn: number) => Buffer) => {
  const stream = `flood ${Math.random()}`;
  const batch = Array.from({ length: limits.changesBatchMax }, () => ({ ...changeOf(1, { node, stream }), seq: hole }));
  const frame = frameOf(JSON.stringify({ type: 'changes', changes: batch }).replaceAll(`"${hole}"`, hole));
  return (turn) => frame((i) => turn * limits.changesBatchMax + i + 1);
};

const attacks: Readonly<Record<string, Attack>> = {
  'states of 0.8 MB without end': flooding(1, states),
  'changes without end': flooding(1, changes),
  'states of 0.8 MB without end, from 8 nodes': flooding(8, states),
  'changes without end, from 8 nodes': flooding(8, changes),
  '10,000 half-open connections': async (port) => {
    const sockets: Socket[] = [];
    const timer = setInterval(() => {
      for (let i = 0; i < 50; i++) sockets.push(connect(port, '127.0.0.1').on('error', () => {}));
      if (sockets.length > 10_000) clearInterval(timer);
    }, 10);
    // The timer alone would let the process end.
    setInterval(() => {}, 1_000);
  },
};

/** Honest agents, each of which tells a change as soon as the one before is acknowledged and a little later: as many changes together as a large cluster makes. */
class Honest {
  readonly #agents: readonly TestAgent[];
  readonly #seqs: number[];

  constructor(agents: readonly TestAgent[]) {
    this.#agents = agents;
    this.#seqs = agents.map(() => 0);
  }

  static async start(port: number): Promise<Honest> {
    return new Honest(await Promise.all(Array.from({ length: 10 }, (_, i) => TestAgent.start(`http://127.0.0.1:${port}`, { node: `honest${i}` }))));
  }

  /** Milliseconds from each change to its acknowledgement. */
  async latencies(): Promise<number[]> {
    return (await Promise.all(this.#agents.map((agent, i) => this.#tell(agent, i)))).flat();
  }

  stop(): void {
    for (const { socket } of this.#agents) socket.terminate();
  }

  async #tell(agent: TestAgent, i: number): Promise<number[]> {
    const taken: number[] = [];
    const end = performance.now() + seconds * 1_000;
    while (performance.now() < end) {
      await sleep(40 + Math.random() * 40);
      const seq = (this.#seqs[i] ?? 0) + 1;
      this.#seqs[i] = seq;
      const sent = performance.now();
      agent.sendChanges([changeOf(seq, { node: `honest${i}` })]);
      await agent.until('ack', ({ changes }) => changes === seq);
      taken.push(performance.now() - sent);
      agent.received.length = 0;
    }
    return taken;
  }
}

interface Running {
  readonly port: number;
  stop(): Promise<void>;
}

async function startCollector(): Promise<Running> {
  const directory = mkdtempSync(join(tmpdir(), 'portreeve-hostile-'));
  const port = await freePort();
  await writeObjects(join(directory, 'cluster'), objectsOf());
  const words = [join(import.meta.dirname, '../delivery/collector.program.ts'), String(port), join(directory, 'data'), join(directory, 'cluster')];
  const flags = process.env.COLLECTOR_FLAGS?.split(' ') ?? [];
  const collector = spawn(process.execPath, [...flags, '--disable-warning=ExperimentalWarning', ...words], { stdio: ['ignore', 'pipe', 'inherit'] });
  process.once('exit', () => collector.kill('SIGKILL'));
  await once(collector.stdout, 'data');
  const stop = async (): Promise<void> => {
    collector.kill('SIGTERM');
    await once(collector, 'close');
    rmSync(directory, { recursive: true });
  };
  return { port, stop };
}

/** Milliseconds until 50 agents that connect at once with 500 NodePorts each, 0.3 MB, have theirs acknowledged. */
async function storm(port: number, round: number): Promise<number> {
  const facts = Array.from({ length: limits.stateFactsMax }, (_, i) =>
    nodePortFact(30_000 + i, 'forward', [`10.244.1.${i % 250}:8080`, `10.244.2.${i % 250}:8080`]),
  );
  const begun = performance.now();
  const agents = await Promise.all(
    Array.from({ length: 50 }, async (_, i) => {
      const agent = await TestAgent.start(`http://127.0.0.1:${port}`, { node: `storm${i}`, stream: `run-${round}` });
      agent.sendFacts(facts);
      await agent.until('ack', ({ state }) => state === 1);
      return agent;
    }),
  );
  const ms = performance.now() - begun;
  for (const { socket } of agents) socket.terminate();
  return ms;
}

/** Milliseconds until a node that was away has 40,000 changes stored, sent as an agent sends them: batches behind one another, as the acknowledgements come. */
async function catchUp(port: number, round: number): Promise<number> {
  const agent = await TestAgent.start(`http://127.0.0.1:${port}`, { node: `away${round}`, stream: `run-${round}` });
  const begun = performance.now();
  const batches = 200;
  const batchOf = (batch: number) =>
    Array.from({ length: limits.changesBatchMax }, (_, i) =>
      changeOf(batch * limits.changesBatchMax + i + 1, { node: `away${round}`, stream: `run-${round}` }),
    );
  let sent = 0;
  for (let stored = 0; stored < batches; stored++) {
    while (sent < batches && sent < stored + 5) agent.sendChanges(batchOf(sent++));
    for (const deadline = Date.now() + 120_000; Date.now() < deadline; ) {
      const ack = await agent.until('ack', ({ changes }) => changes >= (stored + 1) * limits.changesBatchMax).catch(() => undefined);
      if (ack !== undefined) break;
    }
  }
  agent.socket.terminate();
  return performance.now() - begun;
}

async function compare(): Promise<void> {
  const collector = await startCollector();
  const { port } = collector;
  const of = (values: readonly number[]): string => `${median(values).toFixed(1)} ms (${values.map((each) => each.toFixed(1)).join(', ')})`;
  if ('storm'.includes(only)) {
    const taken: number[] = [];
    for (let round = 0; round < rounds; round++) taken.push(await storm(port, round));
    console.log(`50 agents that connect at once with 0.3 MB of state each: ${of(taken)}`);
  }
  if ('catch up'.includes(only)) {
    console.log(`an agent with 40,000 changes: ${of([await catchUp(port, 0)])}`);
    const honest = await Honest.start(port);
    let isOver = false;
    const caughtUp = catchUp(port, 1).finally(() => {
      isOver = true;
    });
    while (!isOver) await honest.latencies();
    console.log(`the same while ten others tell of changes: ${of([await caughtUp])}`);
    honest.stop();
  }
  await collector.stop();
  for (const name of Object.keys(attacks).filter((each) => each.includes(only))) await compareBeside(name);
}

/** Two collectors at the same time, each with as many honest agents; one of them is attacked in every other turn: whatever else the machine does, both bear. */
async function compareBeside(name: string): Promise<void> {
  const collectors = [await startCollector(), await startCollector()] as const;
  const attacked = await Honest.start(collectors[0].port);
  const spared = await Honest.start(collectors[1].port);
  const turns: Record<'alone' | 'beside', { readonly attacked: number[]; readonly spared: number[] }[]> = { alone: [], beside: [] };
  const measure = async (): Promise<{ readonly attacked: number[]; readonly spared: number[] }> => {
    const [ours, theirs] = await Promise.all([attacked.latencies(), spared.latencies()]);
    return { attacked: ours, spared: theirs };
  };
  await measure();
  for (let round = 0; round < rounds; round++) {
    turns.alone.push(await measure());
    const stop = await attacking(name, collectors[0].port);
    await sleep(500);
    turns.beside.push(await measure());
    stop();
    await sleep(500);
  }
  for (const share of [0.5, 0.99]) {
    const of = (when: 'alone' | 'beside', which: 'attacked' | 'spared'): number =>
      quantile(
        turns[when].flatMap((turn) => turn[which]),
        share,
      );
    const ratio = of('beside', 'attacked') / of('beside', 'spared');
    console.log(
      `${name}: p${share * 100} of an honest change ${of('beside', 'attacked').toFixed(1)} ms beside, ${of('beside', 'spared').toFixed(1)} ms at a collector that is spared, ` +
        `${ratio.toFixed(2)} times; before ${of('alone', 'attacked').toFixed(1)} and ${of('alone', 'spared').toFixed(1)} ms`,
    );
  }
  for (const honest of [attacked, spared]) honest.stop();
  for (const collector of collectors) await collector.stop();
}

/** In a process of its own: what an attacker's machine works must not slow the one that measures. */
async function attacking(name: string, port: number): Promise<() => void> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', import.meta.filename, name, String(port)], { stdio: 'ignore' });
  // A benchmark that fails leaves no attack behind.
  process.once('exit', () => child.kill('SIGKILL'));
  await sleep(2_000);
  return () => {
    if (child.exitCode !== null) console.log(`${name}: the attack had ended by itself`);
    child.kill('SIGKILL');
  };
}

const [name, port] = process.argv.slice(2);
if (name === undefined) await compare();
else await attacks[name]?.(Number(port));
