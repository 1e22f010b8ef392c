// IP sets: `ipset save`. They change without notification, so they are polled where there are any.
import { readCommand, type Source } from './source.ts';

export const ipset: Source = {
  name: 'ipset',
  needs: { commands: ['ipset'], capabilities: ['CAP_NET_ADMIN'] },
  files: ['ipset-save.txt'],
  wakes: [],
  pollMs: (files) => (files.has('ipset-save.txt') ? 10_000 : 60_000),
  read: async (machine) => {
    // Asking ipset loads its kernel module; without it there are no sets.
    const [all, own] = await Promise.all([machine.list('/sys/module'), machine.list('/sys/module/ip_set')]);
    if (all.length > 0 && own.length === 0) return { outcome: 'absent', reason: 'the kernel module ip_set is not loaded' };
    return readCommand(machine, 'ipset-save.txt', ['ipset', 'save']);
  },
};
