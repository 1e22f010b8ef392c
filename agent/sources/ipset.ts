// IP sets: `ipset save`. They change without notification, so they are polled where there are any.
import { readCommand, type Source } from './source.ts';

export const ipset: Source = {
  name: 'ipset',
  needs: { commands: ['ipset'], capabilities: ['CAP_NET_ADMIN'] },
  files: ['ipset-save.txt'],
  wakes: ['ipset'],
  pollMs: (files) => (files.has('ipset-save.txt') ? 10_000 : 60_000),
  // How many entries each set has, and how much memory, without the entries.
  glance: async (machine) => {
    const headers = await machine.run('ipset', ['list', '-t']);
    return headers.kind === 'done' ? headers.stdout.toString('latin1') : undefined;
  },
  read: async (machine) => {
    // Asking ipset loads its kernel module; without it there are no sets.
    const [all, own] = await Promise.all([machine.list('/sys/module'), machine.list('/sys/module/ip_set')]);
    if (all.length > 0 && own.length === 0) return { outcome: 'absent', reason: 'the kernel module ip_set is not loaded' };
    return readCommand(machine, 'ipset-save.txt', ['ipset', 'save']);
  },
};
