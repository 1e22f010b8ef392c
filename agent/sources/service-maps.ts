// The service maps of eBPF data planes (Cilium in kube-proxy's place, Calico), read as raw bytes by portreeve-bpf; nothing is opened for writing.
import { parseServiceMaps, serviceMapNames } from '../../shared/netfilter/service-maps.parse.ts';
import { bpfProgram } from '../host/bpf.ts';
import type { Machine } from '../host/machine.ts';
import type { Reading, Source } from './source.ts';

const file = 'service-maps.ndjson';
/** Where maps are pinned. */
const directory = '/sys/fs/bpf';

export const serviceMaps: Source = {
  name: 'service-maps',
  needs: { commands: ['portreeve-bpf'], capabilities: ['CAP_BPF'] },
  files: [file],
  wakes: [],
  pollMs: (files) => (files.has(file) ? 5_000 : 60_000),
  read: async (machine) => {
    if (!(await anyPinned(machine))) return { outcome: 'absent', reason: `no map of Services is pinned below ${directory}` };
    const program = bpfProgram();
    if (program === undefined)
      return { outcome: 'failed', reason: 'maps of Services are pinned, and portreeve-bpf is not here to read them ("make build" builds it)' };
    const outcome = await machine.run(program, ['maps', '--dir', directory, ...serviceMapNames]);
    return outcome.kind === 'done'
      ? readingOf(outcome.stdout)
      : { outcome: 'failed', reason: outcome.kind === 'missing' ? `${program} is gone` : outcome.reason };
  },
};

/** Both programs pin at one of these places; a few directory listings say whether there is anything to read. */
async function anyPinned(machine: Machine): Promise<boolean> {
  for (const place of ['tc/globals', 'cilium', 'calico', '']) {
    const names = await machine.list(`${directory}/${place}`);
    if (names.some((name) => serviceMapNames.some((start) => name.startsWith(start)))) return true;
  }
  return false;
}

/** The order of a hash map is no difference, so each map's entries are sorted. What is of no known layout is told as not read. */
function readingOf(stdout: Buffer): Reading {
  const text = sorted(stdout.toString('latin1'));
  const { unread } = parseServiceMaps(text);
  return {
    outcome: 'facts',
    files: new Map([[file, Buffer.from(text, 'latin1')]]),
    commands: { [file]: `portreeve-bpf maps --dir ${directory} ${serviceMapNames.join(' ')}` },
    ...(unread.length === 0 ? {} : { unread: unread.join('; ') }),
  };
}

function sorted(text: string): string {
  const maps = text.split(/^(?=\{"ev":"map",)/m).map((map) => {
    const lines = map.split('\n');
    const isEntry = (line: string): boolean => line.startsWith('{"ev":"entry"');
    const [head, entries, tail] = [lines.slice(0, 1), lines.slice(1).filter(isEntry), lines.slice(1).filter((line) => !isEntry(line))];
    return [...head, ...entries.sort(), ...tail].join('\n');
  });
  return maps.sort((a, b) => (a < b ? -1 : 1)).join('');
}
