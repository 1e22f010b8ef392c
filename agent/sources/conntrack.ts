// How full the table of connections is: a full one drops new connections of every NodePort. The entries themselves are not read.
import type { Source } from './source.ts';

export const conntrack: Source = {
  name: 'conntrack',
  needs: { commands: [], capabilities: [] },
  files: ['conntrack-count.txt'],
  wakes: [],
  // It moves all the time; the reader keeps the earlier file until it has moved by a twentieth of the table.
  pollMs: () => 30_000,
  read: async (machine) => {
    const [count, max] = await Promise.all([
      machine.read('/proc/sys/net/netfilter/nf_conntrack_count'),
      machine.read('/proc/sys/net/netfilter/nf_conntrack_max'),
    ]);
    if (count.kind !== 'done' || max.kind !== 'done') return { outcome: 'absent', reason: 'the kernel tracks no connections (nf_conntrack is not loaded)' };
    const text = `nf_conntrack_count = ${count.content.toString('latin1').trim()}\nnf_conntrack_max = ${max.content.toString('latin1').trim()}\n`;
    return {
      outcome: 'facts',
      files: new Map([['conntrack-count.txt', Buffer.from(text)]]),
      commands: { 'conntrack-count.txt': '/proc/sys/net/netfilter/nf_conntrack_{count,max}' },
    };
  },
};
