// What all sources meet at 10,000 NodePorts, from the dump to the outcomes with answers, and the facts of four vantages: in turns with one `iptables-legacy-save`
// of the same rules in the kernel, which is the limit for the outcomes.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { protocolNumbers } from '../../shared/model/fact.ts';
import { claimsOf } from '../../shared/netfilter/claims.ts';
import { outsideSources } from '../../shared/netfilter/clients.ts';
import { nodeFacts } from '../../shared/netfilter/facts.ts';
import { primaryAddress } from '../../shared/netfilter/host.ts';
import { readNode } from '../../shared/netfilter/node.read.ts';
import type { NodeState } from '../../shared/netfilter/node.ts';
import { walk } from '../../shared/netfilter/walk.ts';
import { hasLegacyIptables, median, type Run, report, timedCommand, timedWork, timesAsLong } from './compared.ts';
import { writeIptablesDump } from './iptables-dump.ts';
import { hostFiles, writeHostFiles } from './node.files.ts';

const runs = 5;
const memoryMaxMb = 600;
const launcher = join(import.meta.dirname, '../../cli/portreeve');
const directory = mkdtempSync(join(tmpdir(), 'portreeve-bench-'));
try {
  const file = join(directory, 'iptables-save.txt');
  writeIptablesDump(file, { services: Number(process.argv[2] ?? 10_000), endpoints: Number(process.argv[3] ?? 10) });
  writeHostFiles(directory);
  console.log('reach: outcomes of every NodePort');
  const kernel = await kernelWith(file);
  try {
    compare(file, kernel);
  } finally {
    kernel?.close();
  }
} finally {
  rmSync(directory, { recursive: true });
}

function compare(file: string, kernel: Kernel | undefined): void {
  const [own, command, facts, saves]: Run[][] = [[], [], [], []];
  for (let i = 0; i < runs; i++) {
    own?.push(measured(file, outcomesOf));
    command?.push(timedCommand([launcher, 'reach', '--capture', directory], [0, 1]));
    if (kernel !== undefined) saves?.push(timedCommand(kernel.save));
    facts?.push(measured(file, factsOf));
  }
  for (const [name, of] of Object.entries({ 'in process': own, 'portreeve reach': command, 'facts of four vantages': facts, 'iptables-legacy-save': saves })) {
    if (of === undefined || of.length === 0) continue;
    report(`  ${name}`, of);
    if (of === saves || saves === undefined || saves.length === 0) continue;
    console.log(`    ${timesAsLong(of, saves).toFixed(2)} times as long as iptables-legacy-save${of === own ? ', limit 1.00' : ''}`);
  }
  const peak = median((command ?? []).map(({ rssMb }) => rssMb));
  console.log(`  memory of portreeve reach: ${peak.toFixed(0)} MB, ${((peak / memoryMaxMb) * 100).toFixed(0)} % of the limit of ${memoryMaxMb} MB`);
}

function measured(file: string, work: (node: NodeState) => number): Run {
  const bytes = readFileSync(file);
  const seconds = timedWork(() => {
    if (work(readNode(new Map([...hostFiles(), ['iptables-save.txt', bytes]]))) === 0) throw new Error('no outcome at all');
  });
  return { seconds, rssMb: process.memoryUsage.rss() / 1024 ** 2 };
}

function outcomesOf(node: NodeState): number {
  const destination = primaryAddress(node.host, 4);
  if (destination === undefined) throw new Error('the node has no address');
  const sources = outsideSources(node, 4);
  let outcomes = 0;
  for (const { nodePort } of claimsOf(node).values()) {
    const protocol = protocolNumbers[nodePort.protocol];
    const packet = { vantage: 'external', family: 4, protocol, sources, destination, destinationPort: nodePort.port } as const;
    outcomes += walk(node, packet, { traced: false, reply: true }).outcomes.length;
  }
  return outcomes;
}

function factsOf(node: NodeState): number {
  const facts = nodeFacts(node, { nodePorts: [], peers: ['172.31.0.12', '172.31.0.13'], podNetworks: ['10.244.0.0/16'] });
  return facts.filter(({ kind }) => kind === 'nodeport').length;
}

/** A network namespace that holds the rules, and the command that saves them. */
interface Kernel {
  readonly save: readonly string[];
  close(): void;
}

async function kernelWith(file: string): Promise<Kernel | undefined> {
  if (!hasLegacyIptables()) return undefined;
  const holder = spawn('unshare', ['-n', 'sh', '-c', 'echo ready; exec sleep 3600'], { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((resolve) => holder.stdout.once('data', resolve));
  const within = ['nsenter', `--net=/proc/${holder.pid}/ns/net`];
  const { status, stderr } = spawnSync(within[0] as string, [...within.slice(1), 'iptables-legacy-restore', file], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`the rules could not be loaded: ${stderr.slice(0, 2000)}`);
  return { save: [...within, 'iptables-legacy-save'], close: () => holder.kill() };
}
