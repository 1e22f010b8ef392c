// Sockets that take connections or datagrams: `ss -H -tulnp`.
import { readCommand, type Source } from './source.ts';

export const listeners: Source = {
  name: 'listeners',
  needs: { commands: ['ss'], capabilities: ['CAP_SYS_PTRACE'] },
  files: ['ss.txt'],
  wakes: [],
  pollMs: () => 3_000,
  read: (machine) => readCommand(machine, 'ss.txt', ['ss', '-H', '-tulnp']),
};
