// iptables and ip6tables: `iptables-save -c` of the default binary, and of the other backend when that one holds rules too.
// The legacy dump is made only when the kernel already has legacy tables (/proc/net/ip_tables_names): asking for it must not load modules.
import { limits } from '../../shared/limits.ts';
import type { Machine } from '../host/machine.ts';
import { dumpFault, hasNoNfTables, holdsRules, isTooNew, saveBackend } from './iptables.parse.ts';
import { type Reading, readTool, type Source } from './source.ts';
import type { SaveBinary } from './tools.parse.ts';
import { saveBinaries } from './tools.ts';

export const iptables: Source = family('iptables', 'ip_tables_names', 'iptables-ip');
export const ip6tables: Source = family('ip6tables', 'ip6_tables_names', 'iptables-ip6');

type Name = 'iptables' | 'ip6tables';
type XtablesBackend = NonNullable<SaveBinary['backend']>;

function family(name: Name, namesFile: string, wake: 'iptables-ip' | 'iptables-ip6'): Source {
  const files = { default: `${name}-save.txt`, legacy: `${name}-legacy-save.txt`, nf_tables: `${name}-nft-save.txt` };
  return {
    name,
    needs: { commands: [`${name}-save`], capabilities: ['CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_DAC_READ_SEARCH'] },
    files: [files.default, files.legacy, files.nf_tables],
    wakes: [wake, 'iptables-legacy'],
    // Legacy tables change without any notification of the kernel.
    pollMs: (known) => (known.has(files.legacy) || saveBackend(known.get(files.default)) === 'legacy' ? 2_000 : undefined),
    appeared: async (machine, known) => {
      const names = await machine.read(`/proc/net/${namesFile}`);
      return names.kind === 'done' && names.content.length > 0 && !known.has(files.legacy);
    },
    read: async (machine, known) => {
      const binaries = await saveBinaries(machine, known);
      const dumps = new Dumps(machine, name, binaries);
      const first = await dumps.ofDefault(files.default);
      if (first.outcome === 'failed') return first;
      const backend = first.outcome === 'facts' ? await backendOf(machine, first, binaries) : undefined;
      const others: Reading[] = [];
      if (backend !== 'nf_tables') others.push(ifHoldsRules(await dumps.of('nf_tables', files.nf_tables)));
      if (backend !== 'legacy') others.push(await legacy({ machine, dumps, namesFile, file: files.legacy }));
      return others.reduce(merge, first);
    },
  };
}

/** Makes dumps of one family with the binaries that are there. */
class Dumps {
  readonly #machine: Machine;
  readonly #name: Name;
  readonly #binaries: readonly SaveBinary[];

  constructor(machine: Machine, name: Name, binaries: readonly SaveBinary[]) {
    this.#machine = machine;
    this.#name = name;
    this.#binaries = binaries;
  }

  /** By the host's default binary; where its version is older than some rule, by a newer one of the same backend. */
  async ofDefault(file: string): Promise<Reading> {
    const reading = await this.#by(hostDefault, file);
    const backend = reading.outcome === 'facts' ? saveBackend(reading.files.get(file)) : undefined;
    return backend === undefined ? reading : await this.#renewed(reading, file, backend);
  }

  /** By the first binary of the backend that is there; absent when none is. */
  async of(backend: XtablesBackend, file: string): Promise<Reading> {
    for (const binary of this.#of(backend)) {
      const reading = await this.#by(binary, file);
      if (reading.outcome !== 'absent') return await this.#renewed(reading, file, backend);
    }
    return { outcome: 'absent', reason: `no binary here reads ${backend} tables of ${this.#name}` };
  }

  // A rule that was written by a newer iptables is printed as "[unsupported revision]" by an older one: its text is lost, not the rule.
  async #renewed(reading: Reading, file: string, backend: XtablesBackend): Promise<Reading> {
    if (reading.outcome !== 'facts' || !isTooNew(reading.files.get(file))) return reading;
    const used = reading.commands[file];
    for (const binary of this.#of(backend)) {
      if (this.#words(binary).join(' ') === used) continue;
      const again = await this.#by(binary, file);
      if (again.outcome === 'facts' && !isTooNew(again.files.get(file))) return again;
    }
    return { ...reading, lacks: `the text of rules that ${used} is too old for ("unsupported revision")` };
  }

  #of(backend: XtablesBackend): readonly SaveBinary[] {
    return this.#binaries.filter((binary) => binary.backend === backend && binary.fault === undefined);
  }

  #words({ command, applet }: SaveBinary): readonly [string, ...string[]] {
    return applet ? [command, `${this.#name}-save`, '-c'] : [command.replace(/^iptables/, this.#name), '-c'];
  }

  async #by(binary: SaveBinary, file: string): Promise<Reading> {
    const reading = await readTool(this.#machine, { file, words: this.#words(binary), check: dumpFault, timeoutMs: limits.commandTimeoutMs });
    return reading.outcome === 'failed' && hasNoNfTables(reading.reason) ? { outcome: 'absent', reason: 'this kernel has no nf_tables' } : reading;
  }
}

const hostDefault: SaveBinary = { command: 'iptables-save', applet: false, origin: 'host' };

async function backendOf(machine: Machine, reading: Reading & { outcome: 'facts' }, binaries: readonly SaveBinary[]): Promise<XtablesBackend> {
  // An empty dump has no header.
  const said = saveBackend([...reading.files.values()][0]) ?? binaries.find(({ command, backend }) => command === hostDefault.command && backend)?.backend;
  if (said !== undefined) return said;
  const version = await machine.run(hostDefault.command, ['-V']);
  return (version.kind === 'done' ? saveBackend(version.stdout) : undefined) ?? 'legacy';
}

interface LegacyQuestion {
  readonly machine: Machine;
  readonly dumps: Dumps;
  readonly namesFile: string;
  readonly file: string;
}

async function legacy({ machine, dumps, namesFile, file }: LegacyQuestion): Promise<Reading> {
  const names = await machine.read(`/proc/net/${namesFile}`);
  if (names.kind === 'failed') return await unseenLegacy(machine, namesFile);
  if (names.kind === 'absent' || names.content.length === 0) return none;
  const reading = await dumps.of('legacy', file);
  if (reading.outcome !== 'absent') return ifHoldsRules(reading);
  const which = names.content.toString('latin1').trim().split('\n').join(', ');
  return { outcome: 'failed', reason: `the kernel has legacy tables (${which}), and no iptables-legacy-save is installed to read them` };
}

// The list of legacy tables is for root alone; that the module is not loaded anybody may see.
async function unseenLegacy(machine: Machine, namesFile: string): Promise<Reading> {
  const modules = await machine.read('/proc/modules');
  if (modules.kind === 'done' && !/^ip6?_tables /m.test(modules.content.toString('latin1'))) return none;
  return { outcome: 'failed', reason: `whether there are legacy tables is not known: /proc/net/${namesFile} cannot be read` };
}

const none: Reading = { outcome: 'absent', reason: 'nothing' };

// The other backend counts only with rules of its own: an empty legacy table is a left-over of a module.
function ifHoldsRules(reading: Reading): Reading {
  return reading.outcome === 'facts' && ![...reading.files.values()].some(holdsRules) ? none : reading;
}

function merge(first: Reading, other: Reading): Reading {
  if (other.outcome === 'absent') return first;
  if (first.outcome !== 'facts') return first.outcome === 'absent' ? other : first;
  const unread = [first.unread, other.outcome === 'failed' ? other.reason : other.unread].filter((reason) => reason !== undefined).join('; ');
  const lacks = [first.lacks, other.outcome === 'facts' ? other.lacks : undefined].filter((reason) => reason !== undefined).join('; ');
  return {
    outcome: 'facts',
    files: new Map([...first.files, ...(other.outcome === 'facts' ? other.files : [])]),
    commands: { ...first.commands, ...(other.outcome === 'facts' ? other.commands : {}) },
    ...(unread === '' ? {} : { unread }),
    ...(lacks === '' ? {} : { lacks }),
  };
}
