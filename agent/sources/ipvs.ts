// IPVS services and their real servers: `ipvsadm -Sn`. Without /proc/net/ip_vs the kernel has no IPVS, and asking would load it.
import { readCommand, type Source } from './source.ts';

export const ipvs: Source = {
  name: 'ipvs',
  needs: { commands: ['ipvsadm'], capabilities: ['CAP_NET_ADMIN'] },
  files: ['ipvsadm-Sn.txt'],
  wakes: ['ipvs'],
  pollMs: (files) => ((files.get('ipvsadm-Sn.txt')?.length ?? 0) > 0 ? 10_000 : 60_000),
  // Without the connections of each server, which move all the time.
  glance: async (machine) => {
    const table = await machine.read('/proc/net/ip_vs');
    return table.kind === 'done' ? table.content.toString('latin1').replace(/^( {2}-> \S+\s+\S+\s+\d+).*$/gm, '$1') : undefined;
  },
  read: async (machine) => {
    const table = await machine.read('/proc/net/ip_vs');
    if (table.kind !== 'done') return { outcome: 'absent', reason: 'the kernel has no IPVS (/proc/net/ip_vs)' };
    // Two heading lines and nothing else: no services, so there is nothing that ipvsadm could add.
    const services = table.content.toString('latin1').trim().split('\n').length > 3;
    const reading = await readCommand(machine, 'ipvsadm-Sn.txt', ['ipvsadm', '-Sn']);
    if (reading.outcome === 'absent' && services) return { outcome: 'failed', reason: 'IPVS has services and ipvsadm is not installed' };
    return reading;
  },
};
