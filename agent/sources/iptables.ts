// iptables and ip6tables: `iptables-save -c` of the default binary, and of the other backend when that one holds rules too.
// The legacy dump is made only when the kernel already has legacy tables (/proc/net/ip_tables_names): asking for it must not load modules.
import type { Machine } from '../host/machine.ts';
import { holdsRules, saveBackend } from './iptables.parse.ts';
import { type Reading, readCommand, type Source } from './source.ts';

export const iptables: Source = family('iptables', 'ip_tables_names', 'iptables-ip');
export const ip6tables: Source = family('ip6tables', 'ip6_tables_names', 'iptables-ip6');

function family(name: 'iptables' | 'ip6tables', namesFile: string, wake: 'iptables-ip' | 'iptables-ip6'): Source {
  const save = { default: `${name}-save`, legacy: `${name}-legacy-save`, nft: `${name}-nft-save` };
  const legacyFile = `${save.legacy}.txt`;
  return {
    name,
    needs: { commands: [save.default], capabilities: ['CAP_NET_ADMIN'] },
    files: [`${save.default}.txt`, legacyFile, `${save.nft}.txt`],
    wakes: [wake, 'iptables-legacy'],
    // Legacy tables change without any notification of the kernel.
    pollMs: (files) => (files.has(legacyFile) || saveBackend(files.get(`${save.default}.txt`)) === 'legacy' ? 2_000 : undefined),
    appeared: async (machine, known) => {
      const names = await machine.read(`/proc/net/${namesFile}`);
      return names.kind === 'done' && names.content.length > 0 && !known.has(legacyFile);
    },
    read: async (machine) => {
      const first = await readCommand(machine, `${save.default}.txt`, [save.default, '-c']);
      if (first.outcome === 'failed') return first;
      const other = await readOther(machine, {
        save,
        namesFile,
        backend: first.outcome === 'facts' ? await backendOf(machine, save.default, first) : undefined,
      });
      return other === undefined ? first : merge(first, other);
    },
  };
}

interface Names {
  readonly save: { readonly default: string; readonly legacy: string; readonly nft: string };
  readonly namesFile: string;
  /** Of the default binary; undefined when there is none. */
  readonly backend: 'legacy' | 'nf_tables' | undefined;
}

async function backendOf(machine: Machine, command: string, reading: Reading & { outcome: 'facts' }): Promise<'legacy' | 'nf_tables'> {
  const said = saveBackend([...reading.files.values()][0]);
  if (said !== undefined) return said;
  // An empty dump has no header.
  const version = await machine.run(command, ['-V']);
  return (version.kind === 'done' ? saveBackend(version.stdout) : undefined) ?? 'legacy';
}

// The other backend counts only with rules of its own: an empty legacy table is a left-over of a module.
async function readOther(machine: Machine, { save, namesFile, backend }: Names): Promise<Reading | undefined> {
  if (backend !== 'legacy') {
    const names = await machine.read(`/proc/net/${namesFile}`);
    if (names.kind !== 'done' || names.content.length === 0) return undefined;
    return ifHoldsRules(await readCommand(machine, `${save.legacy}.txt`, [save.legacy, '-c']));
  }
  return ifHoldsRules(await readCommand(machine, `${save.nft}.txt`, [save.nft, '-c']));
}

function ifHoldsRules(reading: Reading): Reading | undefined {
  if (reading.outcome === 'absent') return undefined;
  if (reading.outcome === 'failed') return reading;
  return [...reading.files.values()].some(holdsRules) ? reading : undefined;
}

function merge(first: Reading, other: Reading): Reading {
  if (other.outcome === 'failed') return first.outcome === 'facts' ? { ...first, unread: other.reason } : other;
  if (first.outcome !== 'facts' || other.outcome !== 'facts') return other;
  return { ...first, files: new Map([...first.files, ...other.files]), commands: { ...first.commands, ...other.commands } };
}
