// The agent's budgets, measured in a namespace with kube-proxy's rules of 100 and of 1,000 Services in both backends of iptables, with a collector at the other
// end and a writer that changes endpoints as kube-proxy does: `node test/bench/agent.bench.ts [SERVICESxENDPOINTS]… [nft|legacy]…`.
// IDLE=60 sets the seconds without changes, SAMPLES=100 how many changes of one NodePort are measured: more than the usual few come so slowly that the agent
// stays within its share of the processor.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Namespace, noNamespaces } from '../agent/namespace.ts';
import { Peer } from '../agent/peer.ts';
import { figuresOf } from './agent/figures.ts';
import { type Backend, type BenchNode, makeNode, syncText } from './agent/node.ts';

/** What an absent one costs is shown all the same. */
interface Budget {
  readonly rss: number;
  /** Percent of one core. */
  readonly idle?: number;
  readonly bytesPerSecond?: number;
  /** Milliseconds. */
  readonly latency: number;
}

const budgets: Readonly<Record<number, Budget>> = {
  100: { rss: 80, idle: 0.5, bytesPerSecond: 20, latency: 300 },
  1000: { rss: 200, latency: 300 },
};
const sizes = [
  { services: 100, endpoints: 3 },
  { services: 1000, endpoints: 10 },
];
const idleSeconds = Number(process.env.IDLE ?? 60);
const samples = process.env.SAMPLES === undefined ? undefined : Number(process.env.SAMPLES);
/** Between changes where more than the usual few are measured, in milliseconds. */
const slowPauseMs = 8_000;
/** Until the first of each reading is over, and what was compiled for it. */
const settleMs = 20_000;

/**
 * How many changes are measured, and how often the writer writes: as much as the agent may do within its 2 % of one core. More makes it read later, and say so.
 * A legacy table is dumped whole at each change.
 */
function paceOf(services: number, backend: Backend): { readonly own: number; readonly all: number; readonly syncMs: number } {
  if (services <= 100) return backend === 'nft' ? { own: 50, all: 20, syncMs: 1_000 } : { own: 20, all: 8, syncMs: 5_000 };
  return backend === 'nft' ? { own: 16, all: 2, syncMs: 15_000 } : { own: 4, all: 2, syncMs: 15_000 };
}
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const line = (name: string, value: string, budget = '') => process.stdout.write(`  ${name.padEnd(42)} ${value.padStart(24)}  ${budget}\n`);

if (process.env.PORTREEVE_BENCH === undefined) await outside();
else await inside(JSON.parse(process.env.PORTREEVE_BENCH) as { services: number; endpoints: number; backend: Backend });

async function outside(): Promise<void> {
  process.stdout.write('agent: budgets\n');
  if (noNamespaces !== false) return void process.stdout.write(`  not measured: ${noNamespaces}\n`);
  const words = process.argv.slice(2);
  const given = words.filter((word) => /^\d+x\d+$/.test(word)).map((word) => ({ services: Number(word.split('x')[0]), endpoints: Number(word.split('x')[1]) }));
  const backends = (['nft', 'legacy'] as const).filter((backend) => words.includes(backend) || !(words.includes('nft') || words.includes('legacy')));
  for (const size of given.length > 0 ? given : sizes) {
    for (const backend of backends) {
      const namespace = new Namespace('bench');
      try {
        const env = { ...process.env, PORTREEVE_BENCH: JSON.stringify({ ...size, backend }) };
        const child = spawn(
          'ip',
          ['netns', 'exec', namespace.name, process.execPath, '--disable-warning=ExperimentalWarning', fileURLToPath(import.meta.url)],
          {
            env,
            stdio: 'inherit',
          },
        );
        await new Promise((resolve) => child.once('exit', resolve));
      } finally {
        await namespace.close();
      }
    }
  }
}

async function inside({ services, endpoints, backend }: { services: number; endpoints: number; backend: Backend }): Promise<void> {
  const node = await makeNode(backend, { services, endpoints });
  const peer = await Peer.start();
  const agent = startAgent(peer.url);
  try {
    const budget = budgets[services];
    const rules = (await node.run(`iptables-${backend}-save`)).split('\n').filter((each) => each.startsWith('-A')).length;
    process.stdout.write(`${services} Services, ${endpoints} endpoints each: ${rules} rules of iptables-${backend}\n`);
    const started = performance.now();
    await peer.wait(() => [...peer.facts.keys()].filter((key) => key.startsWith('nodeport/')).length === services || undefined, 120_000);
    line('all NodePorts judged after', `${((performance.now() - started) / 1000).toFixed(1)} s`);
    await sleep(settleMs);
    await idle(agent, peer, budget);
    await latency({ node, peer, agent, budget });
    const after = figuresOf(agent.pid as number);
    line(
      'memory after the changes, at its peak',
      `${after.rss.toFixed(0)} MB, ${after.peak.toFixed(0)} MB`,
      budget === undefined ? '' : `≤ ${budget.rss} MB${over(after.rss, budget.rss)}`,
    );
    const degraded = peer.facts.get('reading/degraded') as { readonly reason?: string } | undefined;
    if (degraded !== undefined) line('reading/degraded', degraded.reason ?? '');
  } finally {
    agent.kill('SIGTERM');
    await new Promise((resolve) => agent.once('exit', resolve));
    await peer.close();
    node.close();
  }
}

function over(value: number, budget: number): string {
  return value > budget ? '  OVER' : '';
}

/** The bundle, started as packages start it; the sources where there is no bundle. */
function startAgent(url: string): ChildProcess {
  const launcher = fileURLToPath(new URL('../../cli/portreeve', import.meta.url));
  if (!existsSync(fileURLToPath(new URL('../../dist/agent.mjs', import.meta.url))))
    process.stdout.write('  dist/agent.mjs is not built: the sources are measured\n');
  return spawn(launcher, ['agent', '--collector', url, '--node', 'bench', '--log-level', 'warn'], { stdio: ['ignore', 'ignore', 'inherit'] });
}

async function idle(agent: ChildProcess, peer: Peer, budget: Budget | undefined): Promise<void> {
  const pid = agent.pid as number;
  const [before, bytes] = [figuresOf(pid), peer.bytesRead];
  await sleep(idleSeconds * 1000);
  const after = figuresOf(pid);
  const share = (name: 'cpu' | 'childrenCpu'): number => ((after[name] - before[name]) / idleSeconds) * 100;
  const [own, children] = [share('cpu'), share('childrenCpu')];
  const limit = (key: keyof Budget, unit: string, value: number): string => {
    const most = budget?.[key];
    return most === undefined ? '' : `≤ ${most} ${unit}${over(value, most)}`;
  };
  line('memory when idle, its children', `${after.rss.toFixed(0)} MB, ${after.childrenRss.toFixed(1)} MB`, limit('rss', 'MB', after.rss));
  line('processor when idle: agent + children', `${own.toFixed(2)} + ${children.toFixed(2)} %`, limit('idle', '%', Math.round((own + children) * 100) / 100));
  const rate = (peer.bytesRead - bytes) / idleSeconds;
  line('on the wire when nothing changes', `${rate.toFixed(1)} bytes/s`, limit('bytesPerSecond', 'bytes/s', rate));
  line('written to disk', `${after.written - before.written} bytes`, `0${over(after.written - before.written, 0)}`);
}

interface Measured {
  readonly node: BenchNode;
  readonly peer: Peer;
  readonly agent: ChildProcess;
  readonly budget: Budget | undefined;
}

/** Until the collector has the entry of the ledger and the facts: from the end of the program that changed a rule, which ends as soon as the kernel has its change, and from its start. */
async function latency({ node, peer, agent, budget }: Measured): Promise<void> {
  const before = figuresOf(agent.pid as number);
  const started = performance.now();
  const pace = paceOf(node.services.length, node.backend);
  const churn = startChurn(node, pace.syncMs);
  const own = await measure(samples ?? pace.own, (index) => ruleInServiceChain(node, peer, index), samples === undefined ? undefined : slowPauseMs);
  const all = await measure(pace.all, (index) => ruleInForward(node, peer, index), node.services.length * 8);
  await churn.stop();
  const seconds = (performance.now() - started) / 1000;
  const after = figuresOf(agent.pid as number);
  for (const [name, times] of [
    ['a rule of one NodePort, until it is told', own],
    ['a rule that all NodePorts come by', all],
  ] as const) {
    const [told, whole] = [times.map(({ toldMs }) => toldMs), times.map(({ writingMs, toldMs }) => writingMs + toldMs)];
    const [middle, worst] = [percentile(told, 50), percentile(told, 99)];
    line(
      `${name}: p50, p99`,
      `${middle.toFixed(0)} ms, ${worst.toFixed(0)} ms of ${times.length}`,
      budget === undefined ? '' : `≤ ${budget.latency} ms${over(worst, budget.latency)}`,
    );
    line('  with the time of the program that makes it', `${percentile(whole, 50).toFixed(0)} ms, ${percentile(whole, 99).toFixed(0)} ms`);
  }
  const share = (name: 'cpu' | 'childrenCpu'): string => (((after[name] - before[name]) / seconds) * 100).toFixed(1);
  line(
    `processor at ${((churn.syncs() + 2 * (own.length + all.length)) / seconds).toFixed(1)} changes/s: agent + children`,
    `${share('cpu')} + ${share('childrenCpu')} %`,
  );
}

interface Latency {
  /** Of the program that changes a rule. */
  readonly writingMs: number;
  /** From its end on. */
  readonly toldMs: number;
}

async function measure(count: number, once: (index: number) => Promise<Latency>, pauseMs = 200): Promise<Latency[]> {
  const times: Latency[] = [];
  for (let index = 0; index < count; index++) {
    // Past its 2 % the agent reads later, on a machine that is slow or busy by more than is waited for: the other figures are worth having all the same.
    times.push(await once(index).catch(() => ({ writingMs: 0, toldMs: Number.POSITIVE_INFINITY })));
    await sleep(pauseMs + Math.random() * 300);
  }
  return times;
}

function percentile(times: readonly number[], percent: number): number {
  return [...times].sort((a, b) => a - b)[Math.min(times.length - 1, Math.floor((times.length * percent) / 100))] as number;
}

async function ruleInServiceChain(node: BenchNode, peer: Peer, index: number): Promise<Latency> {
  // The writer keeps to the other half.
  const half = node.services.length >> 1;
  const service = node.services[half + ((index * 7) % half)];
  const source = `203.0.${(index >> 8) & 255}.${index & 255}`;
  const words = ['-t', 'nat', '-I', service?.chain ?? '', '-s', source, '-j', 'RETURN'];
  const latency = await seen(node, peer, { words, change: `-s ${source}/32 -j RETURN`, fact: `nodeport/tcp/4/${service?.nodePort}` });
  await node.iptables(...words.with(2, '-D'));
  return latency;
}

/** Closes every NodePort, or opens them again. The fact is that of the NodePort which is told of last. */
async function ruleInForward(node: BenchNode, peer: Peer, index: number): Promise<Latency> {
  const last = Math.max(...node.services.map(({ nodePort }) => nodePort));
  const words = ['-I', 'FORWARD', '-p', 'tcp', '--dport', '8080', '-m', 'comment', '--comment', `bench-${index}`, '-j', 'DROP'];
  const latency = await seen(node, peer, { words, change: `--comment bench-${index} -j DROP`, fact: `nodeport/tcp/4/${last}` });
  await node.iptables(...words.with(0, '-D'));
  await peer.wait(() => peer.changes.some(({ before }) => before?.includes(`--comment bench-${index} -j DROP`) === true) || undefined, 60_000);
  return latency;
}

/** How long it takes until both the entry and a fact that has changed by it are there. */
async function seen(
  node: BenchNode,
  peer: Peer,
  { words, change, fact }: { readonly words: readonly string[]; readonly change: string; readonly fact: string },
): Promise<Latency> {
  const factBefore = peer.facts.get(fact);
  const from = peer.changes.length;
  const start = performance.now();
  await node.iptables(...words);
  const written = performance.now();
  await peer.wait(
    () => (peer.facts.get(fact) !== factBefore && peer.changes.slice(from).some(({ after }) => after?.includes(change) === true)) || undefined,
    60_000,
  );
  return { writingMs: written - start, toldMs: performance.now() - written };
}

/** Takes an endpoint out of one Service after another and puts it back. */
function startChurn(node: BenchNode, everyMs: number): { syncs(): number; stop(): Promise<void> } {
  let [running, syncs] = [true, 0];
  const loop = async (): Promise<void> => {
    for (let index = 0; running; index++) {
      const service = node.services[Math.floor(index / 2) % (node.services.length >> 1)];
      if (service !== undefined) await node.restore(syncText(service, index % 2 === 0));
      syncs++;
      await sleep(everyMs);
    }
  };
  const done = loop();
  return {
    syncs: () => syncs,
    stop: async () => {
      running = false;
      await done;
    },
  };
}
