// What all sources meet at 10,000 NodePorts, from the dump to the outcomes with answers: beside one `iptables-legacy-save` of the same rules in the kernel.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { protocolNumbers } from '../../shared/model/fact.ts';
import { claimsOf } from '../../shared/netfilter/claims.ts';
import { outsideSources } from '../../shared/netfilter/clients.ts';
import { primaryAddress } from '../../shared/netfilter/host.ts';
import { readNode } from '../../shared/netfilter/node.read.ts';
import { walk } from '../../shared/netfilter/walk.ts';
import { hasLegacyIptables, type Run, ratio, report, timedCommand, timedWork } from './compared.ts';
import { writeIptablesDump } from './iptables-dump.ts';
import { hostFiles, writeHostFiles } from './node.files.ts';

const runs = 3;
const launcher = join(import.meta.dirname, '../../cli/portreeve');
const directory = mkdtempSync(join(tmpdir(), 'portreeve-bench-'));
try {
  const file = join(directory, 'iptables-save.txt');
  writeIptablesDump(file, { services: Number(process.argv[2] ?? 10_000), endpoints: Number(process.argv[3] ?? 10) });
  writeHostFiles(directory);
  console.log('reach: outcomes of every NodePort');
  const own = Array.from({ length: runs }, () => inProcess(file));
  const command = Array.from({ length: runs }, () => timedCommand([launcher, 'reach', '--capture', directory], [0, 1]));
  const theirs = saves(file);
  report('  in process', own);
  report('  portreeve reach', command);
  if (theirs.length > 0) {
    report('  iptables-legacy-save', theirs);
    console.log(`  iptables-legacy-save takes ${ratio(own, theirs)} times the time in process, ${ratio(command, theirs)} times that of portreeve reach`);
  }
} finally {
  rmSync(directory, { recursive: true });
}

function inProcess(file: string): Run {
  const bytes = readFileSync(file);
  const seconds = timedWork(() => {
    const node = readNode(new Map([...hostFiles(), ['iptables-save.txt', bytes]]));
    const destination = primaryAddress(node.host, 4);
    if (destination === undefined) throw new Error('the node has no address');
    let outcomes = 0;
    for (const { nodePort } of claimsOf(node).values()) {
      const sources = outsideSources(node, 4);
      const packet = {
        vantage: 'external',
        family: 4,
        protocol: protocolNumbers[nodePort.protocol],
        sources,
        destination,
        destinationPort: nodePort.port,
      } as const;
      outcomes += walk(node, packet, { traced: false, reply: true }).outcomes.length;
    }
    if (outcomes === 0) throw new Error('no outcome at all');
  });
  return { seconds, rssMb: process.memoryUsage.rss() / 1024 ** 2 };
}

/** Loads the rules into a namespace of its own once, and saves them several times: seconds of each as GNU time says them. */
function saves(file: string): readonly Run[] {
  if (!hasLegacyIptables()) return [];
  const save = `/usr/bin/env time -f "took %e %M" iptables-legacy-save > /dev/null`;
  const { stderr, status } = spawnSync('unshare', ['-n', 'sh', '-ec', `iptables-legacy-restore "$1"; ${Array(runs).fill(save).join('; ')}`, 'sh', file], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`the rules could not be loaded: ${stderr.slice(0, 2000)}`);
  return [...stderr.matchAll(/took ([\d.]+) (\d+)/g)].map(([, seconds, rss]) => ({ seconds: Number(seconds), rssMb: Number(rss) / 1024 }));
}
