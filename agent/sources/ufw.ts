// ufw: its files, which say what it will load, and `ufw status verbose` where it is enabled, which says what it has loaded. The status only lists chains
// (checked: it makes no transaction); it is asked again only when a file has changed.
import type { CaptureFiles } from '../../shared/netfilter/node.ts';
import type { Machine } from '../host/machine.ts';
import { readHostFile } from './host-root.ts';
import { madeFile, type Reading, type Source } from './source.ts';
import { isEnabled, statusFault } from './ufw.parse.ts';

/** Capture file → path on the host. */
const paths = {
  'ufw-conf.txt': '/etc/ufw/ufw.conf',
  'ufw-defaults.txt': '/etc/default/ufw',
  'ufw-user-rules.txt': '/etc/ufw/user.rules',
  'ufw-user6-rules.txt': '/etc/ufw/user6.rules',
  'ufw-before-rules.txt': '/etc/ufw/before.rules',
  'ufw-before6-rules.txt': '/etc/ufw/before6.rules',
  'ufw-after-rules.txt': '/etc/ufw/after.rules',
  'ufw-after6-rules.txt': '/etc/ufw/after6.rules',
} as const;

const statusFile = 'ufw-status.txt';
const statusTimeoutMs = 15_000;
const fileBytesMax = 1024 * 1024;

export const ufw: Source = {
  name: 'ufw',
  needs: { commands: [], capabilities: ['CAP_DAC_READ_SEARCH'] },
  files: [...Object.keys(paths), statusFile],
  wakes: ['ufw'],
  // Its files tell of their changes, but for those of the host from within a container; a change of its rules is told by the rules themselves.
  pollMs: (known) => (known.has('ufw-conf.txt') ? 15_000 : 60_000),
  read: async (machine, known) => {
    const found = await Promise.all(Object.entries(paths).map(async ([file, path]) => ({ file, path, outcome: await readHostFile(machine, path) })));
    const done = found.flatMap(({ file, path, outcome }) =>
      outcome.kind === 'done' ? [{ file, path, content: outcome.content.subarray(0, fileBytesMax) }] : [],
    );
    const failed = found.flatMap(({ path, outcome }) => (outcome.kind === 'failed' ? [`${path}: ${outcome.reason}`] : []));
    if (done.length === 0 && failed.length === 0) return { outcome: 'absent', reason: 'ufw is not installed (/etc/ufw/ufw.conf)' };
    if (done.length === 0) return { outcome: 'failed', reason: failed.join('; ') };
    const read = new Map(done.map(({ file, content }) => [file, content]));
    const status = await readStatus(machine, read, known);
    return {
      outcome: 'facts',
      files: new Map([...read, ...(status.outcome === 'facts' ? status.files : [])]),
      commands: { ...Object.fromEntries(done.map(({ file, path }) => [file, path])), ...(status.outcome === 'facts' ? status.commands : {}) },
      ...lacksOf([...failed, ...(status.outcome === 'facts' ? [] : [`its status (${status.reason})`])]),
    };
  },
};

const lacksOf = (parts: readonly string[]): { readonly lacks?: string } => (parts.length === 0 ? {} : { lacks: parts.join('; ') });

// A firewall that is not enabled has nothing loaded, and asking about chains would load the tables of legacy iptables.
async function readStatus(machine: Machine, files: ReadonlyMap<string, Buffer>, known: CaptureFiles): Promise<Reading> {
  if (!isEnabled(files.get('ufw-conf.txt')?.toString('latin1') ?? ''))
    return madeFile(statusFile, 'Status: inactive\n', '/etc/ufw/ufw.conf (ENABLED is not yes)');
  const same = [...files].every(([file, content]) => known.get(file)?.equals(content) === true);
  const before = known.get(statusFile);
  if (same && before !== undefined) return madeFile(statusFile, before, 'ufw status verbose');
  const outcome = await machine.run('ufw', ['status', 'verbose'], statusTimeoutMs);
  if (outcome.kind === 'missing') return { outcome: 'absent', reason: 'the program ufw is not on PATH' };
  if (outcome.kind === 'failed') return { outcome: 'failed', reason: `ufw status verbose: ${outcome.reason}` };
  const fault = statusFault(outcome.stdout.toString('utf8'));
  return fault === undefined ? madeFile(statusFile, outcome.stdout, 'ufw status verbose') : { outcome: 'failed', reason: `ufw status verbose: ${fault}` };
}
