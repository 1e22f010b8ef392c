// Interfaces, their addresses, and what kind of device each is: `ip -j -d addr`, without what changes by itself (timers, lifetimes).
import { steadyInterfaces } from './interfaces.parse.ts';
import { never, readTool, type Source } from './source.ts';

const file = 'ip-addr.json';

export const interfaces: Source = {
  name: 'interfaces',
  needs: { commands: ['ip'], capabilities: [] },
  files: [file],
  wakes: ['link', 'address'],
  pollMs: never,
  read: async (machine) => {
    const reading = await readTool(machine, { file, words: ['ip', '-j', '-d', 'addr'] });
    if (reading.outcome !== 'facts') return reading;
    const steady = steadyInterfaces(reading.files.get(file)?.toString('utf8') ?? '');
    return steady === undefined
      ? { outcome: 'failed', reason: 'ip -j -d addr: it prints no JSON list of interfaces (iproute2 4.14 or later is needed)' }
      : { ...reading, files: new Map([[file, Buffer.from(steady)]]) };
  },
};
