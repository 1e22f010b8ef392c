// Interfaces and their addresses: `ip -j addr`.
import { never, readCommand, type Source } from './source.ts';

export const interfaces: Source = {
  name: 'interfaces',
  needs: { commands: ['ip'], capabilities: [] },
  files: ['ip-addr.json'],
  wakes: ['link', 'address'],
  pollMs: never,
  read: (machine) => readCommand(machine, 'ip-addr.json', ['ip', '-j', 'addr']),
};
