// The product as an operator runs it, on the lab: one collector, an agent in each node's namespace, and the command line to ask.
import { mkdtempSync, rmSync } from 'node:fs';
import type { Server } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import type { SequencedChange } from '../../shared/model/change.ts';
import type { Finding } from '../../shared/model/finding.ts';
import type { Cluster, NodeName } from './cluster.ts';
import type { Running } from './namespaces.ts';
import { relayTo } from './relay.ts';

export interface Product {
  /** Address of the collector's API. */
  readonly url: string;
  /** What `portreeve WORDS…` prints, with this collector as its server. */
  readonly ask: (...words: readonly string[]) => Promise<{ readonly exitCode: number; readonly stdout: string; readonly stderr: string }>;
  /** Open findings. */
  readonly findings: () => Promise<readonly Finding[]>;
  /** The whole ledger. */
  readonly changes: () => Promise<readonly SequencedChange[]>;
  /** Nodes whose agent is connected and whose NodePorts all do what they should. */
  readonly healthyNodes: () => Promise<readonly string[]>;
  /** Kills the collector with SIGKILL; `startCollector` starts it again with the same data. */
  readonly killCollector: () => Promise<void>;
  readonly startCollector: () => Promise<void>;
  /** What collector and agents have logged, for a failure's sake. */
  readonly logs: () => string;
  readonly close: () => Promise<void>;
}

const launcher = new URL('../../cli/portreeve', import.meta.url).pathname;
const relayScript = new URL('relay.ts', import.meta.url).pathname;
const names: readonly NodeName[] = ['node1', 'node2'];

/** What stands before the command of a node's agent: how it gets into mounts of the node's own. */
export type Entries = Readonly<Partial<Record<NodeName, readonly string[]>>>;

/** Starts everything; when it resolves the collector answers, and the agents are on their way to it. */
export async function startProduct(cluster: Cluster, entries: Entries = {}): Promise<Product> {
  const directory = mkdtempSync(join(tmpdir(), 'portreeve-demo-'));
  const socket = join(directory, 'collector.sock');
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const relay = await relayTo(socket, () => port);
  const agents: Running[] = [];
  // One for each start, the latest last.
  const collectors: Running[] = [];
  const startCollector = async (): Promise<void> => {
    const words = ['--listen', `127.0.0.1:${port}`, '--data', join(directory, 'data'), '--cluster', cluster.directory, '--no-auth', '--grace', '2000'];
    const collector = await cluster.namespaces.start(undefined, [launcher, 'collector', ...words]);
    collectors.push(collector);
    await untilAnswers(url, collector);
  };
  await startCollector();
  for (const name of names) agents.push(await startAgent(cluster, { name, socket, enter: entries[name] ?? [] }));
  return {
    url,
    ask: async (...words) => {
      const { exitCode, stdout, stderr } = await execa(launcher, [...words, '--server', url], { reject: false, stdin: 'ignore', timeout: 20_000 });
      return { exitCode: exitCode ?? -1, stdout, stderr };
    },
    findings: async () => (await items(`${url}/api/v1/findings`)) as Finding[],
    changes: () => allChanges(url),
    healthyNodes: () => healthyNodes(url),
    killCollector: async () => collectors.at(-1)?.stop('SIGKILL'),
    startCollector,
    logs: () => [...agents, ...collectors].map((running) => `--- pid ${running.pid}\n${running.output()}`).join('\n'),
    close: () => closeAll({ relay, directory, running: [...agents, ...collectors] }),
  };
}

/** What is wrong with a ledger, as sentences: holes and repeats in the numbers of a stream. */
export function ledgerFaults(changes: readonly SequencedChange[]): string[] {
  const streams = Map.groupBy(changes, ({ node, stream }) => `${node || 'cluster'} ${stream}`);
  return [...streams].flatMap(([name, entries]) => {
    const numbers = entries.map(({ seq }) => seq).sort((a, b) => a - b);
    return numbers.flatMap((seq, index) => {
      const before = numbers[index - 1];
      return seq === (before ?? 0) + 1 ? [] : [`${name}: ${seq} follows ${before ?? 'nothing'}`];
    });
  });
}

// The collector takes agents without tokens on loopback only, and a node's loopback is its own: a relay in the node's namespace leads to the collector's.
async function startAgent(
  cluster: Cluster,
  { name, socket, enter }: { readonly name: NodeName; readonly socket: string; readonly enter: readonly string[] },
): Promise<Running> {
  await cluster.namespaces.start(cluster.nodes[name], [process.execPath, relayScript, '7300', socket], { ready: /^ready$/m });
  const words = ['--collector', 'ws://127.0.0.1:7300', '--node', name];
  return cluster.namespaces.start(cluster.nodes[name], [...enter, launcher, 'agent', ...words]);
}

async function untilAnswers(url: string, collector: Running): Promise<void> {
  let over = false;
  void collector.ended.then(() => (over = true));
  for (const deadline = Date.now() + 40_000; ; await sleep(50)) {
    const answered = await fetch(`${url}/healthz`).then(
      (response) => response.ok,
      () => false,
    );
    if (answered) return;
    if (over || Date.now() > deadline) throw new Error(`the collector does not answer at ${url}:\n${collector.output()}`);
  }
}

async function items(url: string): Promise<readonly unknown[]> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`);
  const list = (await response.json()) as { readonly items: readonly unknown[] };
  return list.items;
}

async function allChanges(url: string): Promise<readonly SequencedChange[]> {
  const found: SequencedChange[] = [];
  for (let cursor = ''; ; ) {
    const response = await fetch(`${url}/api/v1/changes?limit=500${cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`}`);
    const page = (await response.json()) as { readonly items: readonly SequencedChange[]; readonly next?: string };
    found.push(...page.items);
    if (page.next === undefined || page.next === null || page.items.length === 0) return found;
    cursor = page.next;
  }
}

interface NodeItem {
  readonly name: string;
  readonly agent: string;
  readonly pending: number;
  readonly nodePorts: Readonly<Record<'ok' | 'fault' | 'by-design' | 'pending' | 'unknown', number>>;
}

async function healthyNodes(url: string): Promise<readonly string[]> {
  const nodes = (await items(`${url}/api/v1/nodes`)) as readonly NodeItem[];
  const healthy = nodes.filter(
    ({ agent, pending, nodePorts }) =>
      agent === 'connected' && pending === 0 && nodePorts.ok > 0 && nodePorts.fault + nodePorts.pending + nodePorts.unknown === 0,
  );
  return healthy.map(({ name }) => name);
}

async function closeAll({
  relay,
  directory,
  running,
}: {
  readonly relay: Server;
  readonly directory: string;
  readonly running: readonly Running[];
}): Promise<void> {
  for (const each of running) await each.stop();
  await new Promise((resolve) => relay.close(resolve));
  rmSync(directory, { recursive: true, force: true });
}

function freePort(): Promise<number> {
  const server = createServer();
  return new Promise((resolve) =>
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { readonly port: number };
      server.close(() => resolve(port));
    }),
  );
}
