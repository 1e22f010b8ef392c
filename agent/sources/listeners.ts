// Sockets that take connections or datagrams: `ss -H -tulnp`.
import { type Source, readCommand } from './source.ts';

export const listeners: Source = {
  name: 'listeners',
  needs: { commands: ['ss'], capabilities: ['CAP_SYS_PTRACE'] },
  files: ['ss.txt'],
  wakes: [],
  pollMs: () => 2_000,
  read: (machine) => readCommand(machine, 'ss.txt', ['ss', '-H', '-tulnp']),
};
