// Counters of the kernel that say of packets lost before or beside the rules: connections that could not be tracked, a full receive queue, damaged checksums.
import { parseConntrackProc, parseSnmp, parseSoftnetDrops } from '../../shared/netfilter/surroundings.parse.ts';
import type { Machine } from '../host/machine.ts';
import type { Source } from './source.ts';

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
    return {
      outcome: 'facts',
      files: new Map([['counters.txt', Buffer.from(lines.join(''))]]),
      commands: { 'counters.txt': '/proc/net/{stat/nf_conntrack,softnet_stat,snmp,netstat}' },
    };
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
  const tracked = parseConntrackProc(conntrack ?? '');
  for (const name of conntrackNames) if (tracked.has(name)) values.set(name, tracked.get(name) as number);
  if (softnet !== undefined) values.set('softnet_dropped', parseSoftnetDrops(softnet));
  const checksums = parseSnmp(snmp ?? '', 'Udp', 'InCsumErrors');
  if (checksums !== undefined) values.set('udp_in_csum_errors', checksums);
  const reversePath = parseSnmp(netstat ?? '', 'TcpExt', 'IPReversePathFilter');
  if (reversePath !== undefined) values.set('ip_reverse_path_filter', reversePath);
  return values;
}
