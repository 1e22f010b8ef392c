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
  read: async (machine, known) => {
    const counts = await socketCounts(machine);
    const before = known.get(file);
    const last = looks.get(machine);
    if (before !== undefined && counts !== undefined && last?.counts === counts && performance.now() - last.at < sureMs)
      return madeFile(file, before, last.command);
    const reading = await readSockets(machine);
    if (reading.outcome === 'facts' && counts !== undefined) looks.set(machine, { counts, at: performance.now(), command: reading.commands[file] ?? '' });
    return reading;
  },
};

/** As long as the kernel counts as many sockets as at the last look, ss is started only so often: a socket that took another's place is seen by then. */
const sureMs = 15_000;
const looks = new WeakMap<Machine, { readonly counts: string; readonly at: number; readonly command: string }>();

/** How many sockets the kernel counts; undefined where it does not say. Reading it costs a hundredth of starting ss. */
async function socketCounts(machine: Machine): Promise<string | undefined> {
  const found = await Promise.all(['sockstat', 'sockstat6'].map((name) => machine.read(`/proc/net/${name}`)));
  const texts = found.flatMap((each) => (each.kind === 'done' ? [each.content.toString('latin1')] : []));
  return texts.length === 0
    ? undefined
    : (texts
        .join('')
        .match(/^(?:TCP|UDP)6?: inuse \d+/gm)
        ?.join(' ') ?? undefined);
}

async function readSockets(machine: Machine): Promise<Reading> {
  // Asking for SCTP loads its module; a kernel that has it says so here.
  const sctp = (await machine.list('/proc/net/sctp')).length > 0;
  const reading = await readTool(machine, { file, words: ['ss', '-H', sctp ? '-tulnpS' : '-tulnp'], check: fault });
  if (reading.outcome === 'absent') return await fromKernel(machine);
  if (reading.outcome !== 'facts') return reading;
  return { ...reading, files: new Map([[file, Buffer.from(steadySockets(reading.files.get(file)?.toString('utf8') ?? ''))]]) };
}

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
