// IP sets: `ipset save`. They change without notification, so they are polled where there are any.
import { limits } from '../../shared/limits.ts';
import type { CaptureFiles } from '../../shared/netfilter/node.ts';
import type { Machine } from '../host/machine.ts';
import { saveFault } from './ipset.parse.ts';
import { type Reading, readTool, type Source } from './source.ts';
import { bundledDirectories } from './tools.ts';

const file = 'ipset-save.txt';

export const ipset: Source = {
  name: 'ipset',
  needs: { commands: ['ipset'], capabilities: ['CAP_NET_ADMIN'] },
  files: [file],
  wakes: ['ipset'],
  pollMs: (files) => (files.has(file) ? 10_000 : 60_000),
  // How many entries each set has, and how much memory, without the entries.
  glance: async (machine) => {
    // As for reading: asking loads the module.
    if ((await machine.list('/sys/module/ip_set')).length === 0) return undefined;
    const headers = await machine.run('ipset', ['list', '-t'], limits.toolTimeoutMs);
    return headers.kind === 'done' ? headers.stdout.toString('latin1') : undefined;
  },
  read: async (machine, known) => {
    // Asking ipset loads its kernel module; without it there are no sets.
    const [all, own] = await Promise.all([machine.list('/sys/module'), machine.list('/sys/module/ip_set')]);
    if (all.length > 0 && own.length === 0) return { outcome: 'absent', reason: 'the kernel module ip_set is not loaded' };
    const reading = await save(machine, 'ipset');
    if (reading.outcome === 'facts') return reading;
    // Not installed, or older than a set's type: k3s brings its own along.
    for (const command of await bundled(machine, known)) {
      const other = await save(machine, command);
      if (other.outcome === 'facts') return other;
    }
    if (reading.outcome === 'failed') return await saveEach(machine, reading.reason);
    return own.length === 0 ? reading : await unlessEmpty(machine);
  },
};

const save = (machine: Machine, command: string): Promise<Reading> =>
  readTool(machine, { file, words: [command, 'save'], check: saveFault, timeoutMs: limits.commandTimeoutMs });

async function bundled(machine: Machine, known: CaptureFiles): Promise<readonly string[]> {
  const directories = [...new Set(bundledDirectories(known).map(({ path }) => path.replace(/\/aux$/, '')))];
  const names = await Promise.all(directories.map((path) => machine.list(path)));
  return directories.filter((_, index) => names[index]?.includes('ipset')).map((path) => `${path}/ipset`);
}

/** One set of a type that this ipset does not know makes it print none: the others are read one by one. */
async function saveEach(machine: Machine, reason: string): Promise<Reading> {
  const failed: Reading = { outcome: 'failed', reason };
  if (!/Kernel-library incompatibility|does not support the settype/.test(reason)) return failed;
  const names = await machine.run('ipset', ['list', '-n'], limits.toolTimeoutMs);
  if (names.kind !== 'done') return failed;
  const sets = names.stdout
    .toString('latin1')
    .split('\n')
    .filter((name) => name !== '')
    .slice(0, setsMax);
  const texts: Buffer[] = [];
  const unread: string[] = [];
  for (const set of sets) {
    const outcome = await machine.run('ipset', ['save', set], limits.toolTimeoutMs);
    if (outcome.kind === 'done') texts.push(outcome.stdout);
    else unread.push(set);
  }
  if (texts.length === 0) return failed;
  return {
    outcome: 'facts',
    files: new Map([[file, Buffer.concat(texts)]]),
    commands: { [file]: 'ipset save NAME, for each set' },
    unread: `sets of a type that this ipset is too old for: ${unread.slice(0, 20).join(', ')}`,
  };
}

const setsMax = 4_096;

/** Sets that nobody can list may hold anything, unless the module is loaded and nothing uses it. */
async function unlessEmpty(machine: Machine): Promise<Reading> {
  const modules = await machine.read('/proc/modules');
  const users = modules.kind === 'done' ? /^ip_set \d+ (\d+) /m.exec(modules.content.toString('latin1'))?.[1] : undefined;
  if (users === '0' || modules.kind === 'absent') return { outcome: 'absent', reason: 'ipset is not installed' };
  return { outcome: 'failed', reason: 'ipset is not installed, and the kernel module ip_set is in use: its sets cannot be seen' };
}
