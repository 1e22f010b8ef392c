// One changed chain taken into a ruleset that was read before, and one trace on it: cold (chains that no walk has come through) and warm.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { primaryAddress } from '../../shared/netfilter/host.ts';
import { type IptablesTable, parseIptables } from '../../shared/netfilter/iptables.parse.ts';
import { replaceChains } from '../../shared/netfilter/iptables.replace.ts';
import { readNode } from '../../shared/netfilter/node.read.ts';
import type { NodeState } from '../../shared/netfilter/node.ts';
import { outsideSources, walk } from '../../shared/netfilter/walk.ts';
import { median, timedWork } from './compared.ts';
import { writeIptablesDump } from './iptables-dump.ts';
import { hostFiles } from './node.files.ts';

const changes = 50;
const directory = mkdtempSync(join(tmpdir(), 'portreeve-bench-'));
try {
  const file = join(directory, 'iptables-save.txt');
  writeIptablesDump(file, { services: Number(process.argv[2] ?? 10_000), endpoints: Number(process.argv[3] ?? 10) });
  measure(readFileSync(file));
} finally {
  rmSync(directory, { recursive: true });
}

function measure(bytes: Buffer): void {
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
  const ports = Array.from({ length: changes }, (_, index) => 20_100 + index * 7);
  show(
    'trace, cold chains',
    ports.map((port) => timedWork(() => trace(port))),
  );
  show(
    'trace, warm chains',
    ports.map((port) => timedWork(() => trace(port))),
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
