// Interfaces and their addresses: `ip -j addr`.
import { type Source, never, readCommand } from './source.ts';

export const interfaces: Source = {
  name: 'interfaces',
  needs: { commands: ['ip'], capabilities: [] },
  files: ['ip-addr.json'],
  wakes: ['link', 'address'],
  pollMs: never,
  read: (machine) => readCommand(machine, 'ip-addr.json', ['ip', '-j', 'addr']),
};
