// Sockets that take connections or datagrams: `ss -H -tulnpS`, SCTP's among them.
import { readCommand, type Source } from './source.ts';

export const listeners: Source = {
  name: 'listeners',
  needs: { commands: ['ss'], capabilities: ['CAP_SYS_PTRACE'] },
  files: ['ss.txt'],
  wakes: [],
  pollMs: () => 3_000,
  read: async (machine) => {
    const reading = await readCommand(machine, 'ss.txt', ['ss', '-H', '-tulnpS']);
    // Releases of ss before 4.11 do not know -S.
    return reading.outcome === 'failed' ? readCommand(machine, 'ss.txt', ['ss', '-H', '-tulnp']) : reading;
  },
};
