// Hours of churn in minutes: writers of every kind change a node's rules while the agent reports to a collector. At the end an oracle, which knows every change
// that was made, compares: nothing may be missing from the ledger, the facts must be those of a reading from scratch, and memory must not grow.
// `make soak`; MINUTES=30, SERVICES=100, PAUSE=700 (milliseconds between changes), KILLS=500 (changes between two ends of a monitor). Ends with 1 when something is wrong.
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { thisMachine } from '../../agent/host/machine.ts';
import { nothingRead, readSources } from '../../agent/reader.ts';
import { sources } from '../../agent/sources/index.ts';
import type { NodePortFact, SourceFact } from '../../shared/model/fact.ts';
import { nodeFacts, nothingWanted } from '../../shared/netfilter/facts.ts';
import { readNode } from '../../shared/netfilter/node.read.ts';
import { Namespace, noNamespaces } from '../agent/namespace.ts';
import { Peer } from '../agent/peer.ts';
import { childrenOf, figuresOf } from './agent/figures.ts';
import { type BenchNode, makeNode, syncText } from './agent/node.ts';

const minutes = Number(process.env.MINUTES ?? 30);
const services = Number(process.env.SERVICES ?? 100);
const pauseMs = Number(process.env.PAUSE ?? 700);
const killEvery = Number(process.env.KILLS ?? 500);

/** When a program ran, by Date.now(). */
interface Span {
  readonly from: number;
  readonly to: number;
}

/** What the writers did: marks of rules that were added and of those that were deleted again. */
interface Done {
  readonly added: Map<string, Span>;
  readonly deleted: Map<string, Span>;
  syncs: number;
  kills: number;
}

interface Sample {
  readonly seconds: number;
  readonly rss: number;
}

async function outside(): Promise<number> {
  if (noNamespaces !== false) {
    say(`soak: not run: ${noNamespaces}`);
    return 1;
  }
  const namespace = new Namespace('soak');
  try {
    const words = ['netns', 'exec', namespace.name, process.execPath, '--disable-warning=ExperimentalWarning', fileURLToPath(import.meta.url)];
    const child = spawn('ip', words, { env: { ...process.env, PORTREEVE_SOAK: '1' }, stdio: 'inherit' });
    return (await new Promise<number | null>((resolve) => child.once('exit', resolve))) ?? 1;
  } finally {
    await namespace.close();
  }
}

async function inside(): Promise<number> {
  const node = await makeNode('nft', { services, endpoints: 3 });
  await node.run('nft', 'add table inet soak { set ports { type inet_service; }; chain input { type filter hook input priority 5; tcp dport @ports drop; }; }');
  await node.run('ip6tables-nft', '-A', 'INPUT', '-j', 'ACCEPT');
  const peer = await Peer.start();
  const launcher = fileURLToPath(new URL('../../cli/portreeve', import.meta.url));
  const agent = spawn(launcher, ['agent', '--collector', peer.url, '--node', 'soak', '--log-level', 'warn'], { stdio: ['ignore', 'ignore', 'inherit'] });
  try {
    await peer.wait(() => [...peer.facts.keys()].filter((key) => key.startsWith('nodeport/')).length >= services || undefined, 120_000);
    await sleep(5_000);
    const samples: Sample[] = [];
    const started = performance.now();
    const timer = setInterval(() => samples.push({ seconds: (performance.now() - started) / 1000, rss: figuresOf(agent.pid as number).rss }), 2_000);
    const spent = figuresOf(agent.pid as number);
    const done = await churn(node, agent);
    clearInterval(timer);
    const after = figuresOf(agent.pid as number);
    const seconds = (performance.now() - started) / 1000;
    await settle(peer);
    say(
      `soak: ${minutes} min, ${services} Services: ${done.added.size} rules added, ${done.deleted.size} deleted, ${done.syncs} syncs, ${done.kills} monitors killed`,
    );
    say(`  processor: agent ${share(after.cpu - spent.cpu, seconds)}, children ${share(after.childrenCpu - spent.childrenCpu, seconds)}`);
    const faults = [...missing(done, peer), ...(await differences(node, peer)), ...unhealthy(peer), ...growth(samples)];
    for (const fault of faults) say(`  WRONG: ${fault}`);
    say(faults.length === 0 ? '  nothing is missing, nothing differs' : `  ${faults.length} faults`);
    return faults.length === 0 ? 0 : 1;
  } finally {
    agent.kill('SIGTERM');
    await new Promise((resolve) => agent.once('exit', resolve));
    await peer.close();
    node.close();
  }
}

const say = (text: string): void => void process.stdout.write(`${text}\n`);
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const share = (spent: number, seconds: number): string => `${((spent / seconds) * 100).toFixed(2)} %`;

/** Changes rules until the time is over. Every rule of a person has a port of its own, by which it is found again. */
async function churn(node: BenchNode, agent: ChildProcess): Promise<Done> {
  const done: Done = { added: new Map(), deleted: new Map(), syncs: 0, kills: 0 };
  const end = performance.now() + minutes * 60_000;
  for (let index = 0; performance.now() < end; index++) {
    await act(node, index, done);
    // Now and then a monitor dies; what happens meanwhile must not be lost.
    if (index % killEvery === killEvery - 1) killMonitor(agent, done);
    await sleep(index % 20 < 15 ? Math.random() * 2 * pauseMs : 0);
  }
  return done;
}

async function act(node: BenchNode, index: number, done: Done): Promise<void> {
  const port = 1 + (index % 60_000);
  const mark = `dport ${port}`;
  const rule = ['-p', 'tcp', '--dport', String(port), '-j', 'DROP'];
  const kind = index % 8;
  if (kind === 0) {
    const service = node.services[(index / 8) % node.services.length];
    if (service !== undefined) await node.restore(syncText(service, index % 16 === 0));
    done.syncs++;
    return;
  }
  const place = kind < 4 ? ['-I', 'FORWARD'] : kind < 6 ? ['-A', 'INPUT'] : ['-t', 'mangle', '-I', 'PREROUTING'];
  const tool = kind === 5 ? 'ip6tables-nft' : 'iptables-nft';
  const add = kind === 7 ? ['nft', 'insert', 'rule', 'inet', 'soak', 'input', 'tcp', 'dport', String(port), 'drop'] : [tool, ...place, ...rule];
  done.added.set(mark, await timed(() => node.run(add[0] as string, ...add.slice(1))));
  // Some are deleted at once, some after a while, by which time they have been read.
  if (index % 3 > 0) await sleep(index % 3 === 1 ? 0 : 400);
  const remove = kind === 7 ? ['nft', 'flush', 'chain', 'inet', 'soak', 'input'] : [tool, ...place.map((word) => word.replace(/^-[IA]$/, '-D')), ...rule];
  done.deleted.set(mark, await timed(() => node.run(remove[0] as string, ...remove.slice(1))));
}

async function timed(act: () => Promise<unknown>): Promise<Span> {
  const from = Date.now();
  await act();
  return { from, to: Date.now() };
}

function killMonitor(agent: ChildProcess, done: Done): void {
  const [monitor] = childrenOf(agent.pid as number);
  if (monitor === undefined) return;
  process.kill(monitor, 'SIGKILL');
  done.kills++;
}

/** Waits until nothing has come for a while, which is longer than an agent waits that has used its share. */
async function settle(peer: Peer): Promise<void> {
  for (let quiet = 0, last = -1; quiet < (peer.facts.has('reading/degraded') ? 60 : 20); quiet = peer.messages.length === last ? quiet + 1 : 0) {
    last = peer.messages.length;
    await sleep(1_000);
  }
}

/** Entries that are not there although the ledger does not say that nobody heard at that time. */
function missing(done: Done, peer: Peer): string[] {
  const lines = (side: 'before' | 'after') => new Set(peer.changes.flatMap((change) => change[side]?.match(/dport \d+/g) ?? []));
  const [added, deleted] = [lines('after'), lines('before')];
  const gaps = peer.changes.flatMap(({ gap }) => gap ?? []);
  const isToldOf = ({ from, to }: Span): boolean => gaps.some((gap) => from <= gap.to && to >= gap.from);
  const lost = [...[...done.added].filter(([mark]) => !added.has(mark)), ...[...done.deleted].filter(([mark]) => !deleted.has(mark))];
  const untold = lost.filter(([, span]) => !isToldOf(span)).map(([mark]) => mark);
  const deafMs = gaps.reduce((sum, { from, to }) => sum + to - from, 0);
  say(
    `  the ledger: ${peer.changes.length} entries; ${gaps.length} gaps of ${(deafMs / 1_000).toFixed(1)} s in all, in which ${lost.length - untold.length} ends of rules fell`,
  );
  const holes = peer.changes.filter(({ seq }, index) => seq !== index + 1).length;
  return [
    ...(untold.length > 0 ? [`${untold.length} entries of the ledger are missing, and no gap says so: ${untold.slice(0, 10).join(', ')}`] : []),
    ...(holes > 0 ? [`${holes} entries are out of order`] : []),
    ...(gaps.length > done.kills ? [`the ledger has ${gaps.length} gaps, and ${done.kills} monitors were killed`] : []),
  ];
}

/** Facts of NodePorts as the collector has them, beside those of a reading from scratch. */
async function differences(node: BenchNode, peer: Peer): Promise<string[]> {
  const { files } = await readSources(thisMachine(new AbortController().signal), sources, nothingRead);
  const expected = nodeFacts(readNode(files, { node: 'soak' }), nothingWanted).filter((fact): fact is NodePortFact => fact.kind === 'nodeport');
  const text = (fact: unknown): string => JSON.stringify(fact, (key, value: unknown) => (key === 'line' || key === 'packets' ? undefined : value));
  const wrong = expected.filter((fact) => text(peer.facts.get(fact.key)) !== text(fact));
  const told = [...peer.facts.keys()].filter((key) => key.startsWith('nodeport/')).length;
  say(`  ${expected.length} NodePorts of ${node.services.length} Services compared`);
  return [
    ...(wrong.length > 0 ? [`facts differ: ${wrong.slice(0, 5).map(({ key }) => key)}`] : []),
    ...(told === expected.length ? [] : [`${told} NodePorts are told of, ${expected.length} there are`]),
  ];
}

function unhealthy(peer: Peer): string[] {
  const facts = [...peer.facts.values()].filter((fact): fact is SourceFact => fact.kind === 'source');
  const missed = facts.filter(({ missed: count }) => (count ?? 0) > 0).map(({ source, missed: count }) => `events have missed ${count} changes of ${source}`);
  const degraded = peer.facts.get('reading/degraded') as { readonly reason?: string } | undefined;
  if (degraded !== undefined) say(`  reading/degraded: ${degraded.reason}`);
  return [...missed, ...facts.filter(({ outcome }) => outcome === 'failed').map(({ source, reason }) => `${source} failed: ${reason}`), ...peer.malformed];
}

/** Megabytes that an hour may add, above what a sample is uncertain by. */
const growthMaxMbPerHour = 6;

/** Seconds of the second half of a run that say how it grows. */
const growthSpanMin = 600;

/** The slope of memory over the second half, by least squares. */
function growth(samples: readonly Sample[]): string[] {
  const half = samples.slice(samples.length >> 1);
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [x, y] = [mean(half.map(({ seconds }) => seconds)), mean(half.map(({ rss }) => rss))];
  const slope = half.reduce((sum, { seconds, rss }) => sum + (seconds - x) * (rss - y), 0) / half.reduce((sum, { seconds }) => sum + (seconds - x) ** 2, 0);
  const residual = Math.sqrt(mean(half.map(({ seconds, rss }) => (rss - y - slope * (seconds - x)) ** 2)));
  const span = (half.at(-1)?.seconds ?? 0) - (half[0]?.seconds ?? 0);
  const uncertain = span > 0 ? (residual / span) * 3_600 : 0;
  say(
    `  memory: ${y.toFixed(0)} MB on average, ${Math.max(...samples.map(({ rss }) => rss)).toFixed(0)} MB at most, slope ${(slope * 3_600).toFixed(1)} ± ${uncertain.toFixed(1)} MB/h over ${(span / 60).toFixed(1)} min`,
  );
  // It begins with some ten megabytes more, as what is needed now and then is loaded and compiled.
  if (span < growthSpanMin) say('  too short to tell whether memory grows');
  return span >= growthSpanMin && slope * 3_600 > growthMaxMbPerHour + 2 * uncertain ? [`memory grows by ${(slope * 3_600).toFixed(1)} MB/h`] : [];
}

if (process.env.PORTREEVE_SOAK === undefined) process.exitCode = await outside();
else process.exitCode = await inside();
