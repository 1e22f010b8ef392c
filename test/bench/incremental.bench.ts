// One changed chain taken into a ruleset that was read before, and one trace on it, which may take a millisecond: cold (chains that no walk has come through)
// and warm, and how often the garbage collector had a part in it.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type PerformanceEntry, PerformanceObserver } from 'node:perf_hooks';
import { outsideSources } from '../../shared/netfilter/clients.ts';
import { primaryAddress } from '../../shared/netfilter/host.ts';
import { type IptablesTable, parseIptables } from '../../shared/netfilter/iptables.parse.ts';
import { replaceChains } from '../../shared/netfilter/iptables.replace.ts';
import { readNode } from '../../shared/netfilter/node.read.ts';
import type { NodeState } from '../../shared/netfilter/node.ts';
import { walk } from '../../shared/netfilter/walk.ts';
import { median, quantile, timedWork } from './compared.ts';
import { writeIptablesDump } from './iptables-dump.ts';
import { hostFiles } from './node.files.ts';

const changes = 50;
const traces = 1_000;
const traceMaxMs = 1;
const directory = mkdtempSync(join(tmpdir(), 'portreeve-bench-'));
const collections: PerformanceEntry[] = [];
const observer = new PerformanceObserver((list) => collections.push(...list.getEntries()));
try {
  const file = join(directory, 'iptables-save.txt');
  writeIptablesDump(file, { services: Number(process.argv[2] ?? 10_000), endpoints: Number(process.argv[3] ?? 10) });
  observer.observe({ entryTypes: ['gc'] });
  await measure(readFileSync(file));
} finally {
  observer.disconnect();
  rmSync(directory, { recursive: true });
}

async function measure(bytes: Buffer): Promise<void> {
  console.log('incremental: one chain of a ruleset');
  const parse = timedWork(() => parseIptables(bytes));
  let node = readNode(new Map([...hostFiles(), ['iptables-save.txt', bytes]]));
  const trace = (port: number): void => {
    const packet = {
      vantage: 'external',
      family: 4,
      protocol: 6,
      sources: outsideSources(node, 4),
      destination: primaryAddress(node.host, 4) ?? 0n,
      destinationPort: port,
    } as const;
    if (walk(node, packet, { traced: true, reply: true }).outcomes.length === 0) throw new Error('no outcome');
  };
  show('first trace of all (indexes are made)', [timedWork(() => trace(20_000))]);
  const ports = Array.from({ length: traces }, (_, index) => 20_001 + index * 7);
  await showTraces('trace, cold chains', ports, trace);
  await showTraces(
    'trace, warm chains',
    ports.slice(0, 100).flatMap((port) => Array(10).fill(port)),
    trace,
  );
  const nat = node.tables.find(({ name }) => name === 'nat') as IptablesTable;
  const names = [...nat.chains.keys()].filter((name) => name.startsWith('KUBE-SVC-')).slice(0, changes);
  const applied = names.map((name) => timedWork(() => void (node = withChain(node, name))));
  show('replace one chain', applied);
  console.log(`  reading everything again instead: ${(parse * 1000).toFixed(0)} ms, ${(parse / median(applied)).toFixed(0)} times as long`);
  show('first trace after the changes', [timedWork(() => trace(20_001))]);
}

/** The node after a chain has lost all rules but its last, as an event and `iptables -S` tell. */
function withChain(node: NodeState, name: string): NodeState {
  const tables = node.tables.map((table) => {
    const chain = table.chains.get(name);
    return chain === undefined ? table : replaceChains(table as IptablesTable, new Map([[name, `-N ${name}\n${chain.text(chain.length - 1)}\n`]])).table;
  });
  return { ...node, tables };
}

function show(name: string, seconds: readonly number[]): void {
  const most = seconds.length > 1 ? `, at most ${(Math.max(...seconds) * 1000).toFixed(2)} ms` : '';
  console.log(`  ${name}: ${(median(seconds) * 1000).toFixed(2)} ms${most}`);
}

async function showTraces(name: string, ports: readonly number[], trace: (port: number) => void): Promise<void> {
  const spans = ports.map((port) => {
    const start = performance.now();
    trace(port);
    return { start, ms: performance.now() - start };
  });
  // The collector's own reports come with the next turn of the event loop.
  await new Promise((resolve) => setTimeout(resolve, 50));
  const long = spans.filter(({ ms }) => ms > traceMaxMs);
  const collected = long.filter(({ start, ms }) => collections.some(({ startTime }) => startTime >= start && startTime <= start + ms));
  const times = spans.map(({ ms }) => ms);
  const [half, most] = [quantile(times, 0.5), quantile(times, 0.99)].map((ms) => ms.toFixed(2));
  console.log(`  ${name}: ${half} ms, 99 of 100 within ${most} ms, at most ${Math.max(...times).toFixed(2)} ms`);
  console.log(`    longer than the limit of ${traceMaxMs} ms: ${long.length} of ${times.length}, ${collected.length} of them while garbage was collected`);
}
