// Counters of the kernel that say of packets lost before or beside the rules: connections that could not be tracked, a full receive queue, damaged checksums,
// programs that do not take their connections.
import { parseConntrackProc, parseConntrackStatistics, parseSnmp, parseSoftnetDrops } from '../../shared/netfilter/surroundings.parse.ts';
import type { Machine } from '../host/machine.ts';
import { madeFile, type Source } from './source.ts';

export const counters: Source = {
  name: 'counters',
  needs: { commands: [], capabilities: [] },
  files: ['counters.txt'],
  wakes: [],
  // They rise all the time; the reader keeps the earlier file until one of them has grown by half.
  pollMs: () => 60_000,
  read: async (machine) => {
    const values = await readCounters(machine);
    if (values.size === 0) return { outcome: 'absent', reason: 'none of the counters in /proc/net can be read' };
    const lines = [...values].map(([name, value]) => `${name} = ${value}\n`);
    return madeFile('counters.txt', lines.join(''), '/proc/net/{stat/nf_conntrack,softnet_stat,snmp,netstat,dev}');
  },
};

const conntrackNames = ['nf_conntrack_insert_failed', 'nf_conntrack_drop', 'nf_conntrack_early_drop', 'nf_conntrack_invalid'];

async function readCounters(machine: Machine): Promise<ReadonlyMap<string, number>> {
  const [conntrack, softnet, snmp, netstat] = await Promise.all(
    ['stat/nf_conntrack', 'softnet_stat', 'snmp', 'netstat'].map(async (name) => {
      const found = await machine.read(`/proc/net/${name}`);
      return found.kind === 'done' ? found.content.toString('latin1') : undefined;
    }),
  );
  const values = new Map<string, number>();
  const tracked = conntrack === undefined ? await statistics(machine) : parseConntrackProc(conntrack);
  for (const name of conntrackNames) if (tracked.has(name)) values.set(name, tracked.get(name) as number);
  if (softnet !== undefined) values.set('softnet_dropped', parseSoftnetDrops(softnet));
  const checksums = parseSnmp(snmp ?? '', 'Udp', 'InCsumErrors');
  if (checksums !== undefined) values.set('udp_in_csum_errors', checksums);
  for (const [name, field] of tcpCounters) {
    const value = parseSnmp(netstat ?? '', 'TcpExt', field);
    if (value !== undefined) values.set(name, value);
  }
  return values;
}

/** Names in counters.txt, and those of the kernel. The last two rise when a program has more connections waiting than it said it would take. */
const tcpCounters = [
  ['ip_reverse_path_filter', 'IPReversePathFilter'],
  ['tcp_listen_overflows', 'ListenOverflows'],
  ['tcp_listen_drops', 'ListenDrops'],
] as const;

/** Kernels without CONFIG_NF_CONNTRACK_PROCFS tell by netlink alone, and where no connection was ever tracked nobody is asked. */
async function statistics(machine: Machine): Promise<ReadonlyMap<string, number>> {
  const count = await machine.read('/proc/sys/net/netfilter/nf_conntrack_count');
  if (count.kind !== 'done') return new Map();
  const outcome = await machine.run('conntrack', ['-S'], 5_000);
  return outcome.kind === 'done' ? parseConntrackStatistics(outcome.stdout.toString('latin1')).values : new Map();
}
