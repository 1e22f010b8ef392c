// Sockets that take connections or datagrams: `ss -H -tulnp`, and the kernel's own lists where there is no ss.
// `ss -E`, which tells of destroyed sockets, is left to monitors/sockets.ts: it costs for each connection that ends, not for each listener.
import type { Machine } from '../host/machine.ts';
import { isSocketLine, socketLines, steadySockets } from './listeners.parse.ts';
import { madeFile, type Reading, readTool, type Source } from './source.ts';

const file = 'ss.txt';

export const listeners: Source = {
  name: 'listeners',
  needs: { commands: ['ss'], capabilities: [], adds: { CAP_SYS_PTRACE: "the names of other users' processes" } },
  files: [file],
  wakes: ['listener'],
  pollMs: () => 3_000,
  read: async (machine) => {
    // Asking for SCTP loads its module; a kernel that has it says so here.
    const sctp = (await machine.list('/proc/net/sctp')).length > 0;
    const reading = await readTool(machine, { file, words: ['ss', '-H', sctp ? '-tulnpS' : '-tulnp'], check: fault });
    if (reading.outcome === 'absent') return await fromKernel(machine);
    if (reading.outcome !== 'facts') return reading;
    return { ...reading, files: new Map([[file, Buffer.from(steadySockets(reading.files.get(file)?.toString('utf8') ?? ''))]]) };
  },
};

function fault(output: Buffer): string | undefined {
  const [first = ''] = output.toString('utf8').trimStart().split('\n', 1);
  return first === '' || isSocketLine(first) ? undefined : `it prints what is no list of sockets: ${JSON.stringify(first.slice(0, 80))}`;
}

const lists = ['tcp', 'tcp6', 'udp', 'udp6'] as const;

async function fromKernel(machine: Machine): Promise<Reading> {
  const found = await Promise.all(lists.map((name) => machine.read(`/proc/net/${name}`)));
  const lines = lists.flatMap((name, index) => {
    const list = found[index];
    return list?.kind === 'done' ? socketLines(list.content.toString('latin1'), name) : [];
  });
  if (found.every(({ kind }) => kind !== 'done')) return { outcome: 'failed', reason: 'ss is not installed, and /proc/net/tcp cannot be read' };
  return {
    ...madeFile(file, lines.map((line) => `${line}\n`).join(''), '/proc/net/{tcp,tcp6,udp,udp6}'),
    lacks: 'the names of processes (ss of iproute2 is not installed)',
  };
}
