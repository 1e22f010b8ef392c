// IPVS services and their real servers: `ipvsadm -Sn`, or the kernel's own list where ipvsadm is not installed or fails. Without /proc/net/ip_vs the kernel has
// no IPVS, and asking ipvsadm would load it.
import type { Machine } from '../host/machine.ts';
import { fromProc, isEmptyProc, rulesFault } from './ipvs.parse.ts';
import { kernelTicks } from './kernel.ts';
import { madeFile, type Reading, readTool, type Source } from './source.ts';

const file = 'ipvsadm-Sn.txt';

export const ipvs: Source = {
  name: 'ipvs',
  needs: { commands: ['ipvsadm'], capabilities: ['CAP_NET_ADMIN', 'CAP_NET_RAW'] },
  files: [file],
  wakes: ['ipvs'],
  pollMs: (files) => paceOf(files.get(file)?.length ?? 0),
  // Without the connections of each server, which move all the time.
  glance: async (machine) => {
    const table = await machine.read('/proc/net/ip_vs');
    return table.kind === 'done' ? table.content.toString('latin1').replace(/^( {2}-> \S+\s+\S+\s+\d+).*$/gm, '$1') : undefined;
  },
  read: async (machine) => {
    const table = await machine.read('/proc/net/ip_vs');
    if (table.kind === 'absent') return { outcome: 'absent', reason: 'the kernel has no IPVS (/proc/net/ip_vs)' };
    const reading = await readTool(machine, { file, words: ['ipvsadm', '-Sn'], check: rulesFault });
    if (reading.outcome === 'facts') return reading;
    const why = reading.reason;
    if (table.kind === 'failed') return { outcome: 'failed', reason: `${why}; /proc/net/ip_vs: ${table.reason}` };
    return await ofKernel(machine, { text: table.content.toString('latin1'), why });
  },
};

/** The kernel's list is looked at twice a second where it is short: 20,000 lines of it take tens of milliseconds. None at all: a minute. */
const paceOf = (bytes: number): number => (bytes === 0 ? 60_000 : Math.min(10_000, Math.max(500, bytes / 50)));

async function ofKernel(machine: Machine, { text, why }: { readonly text: string; readonly why: string }): Promise<Reading> {
  if (isEmptyProc(text)) return madeFile(file, '', '/proc/net/ip_vs');
  const ticks = await kernelTicks(machine);
  const rules = fromProc(text, ticks);
  if (rules === undefined) return { outcome: 'failed', reason: `${why}; /proc/net/ip_vs is not of a known form` };
  // The list leaves out what a scheduler was told besides, which matters to those that choose by the client's address.
  const lacks = [
    ...(ticks === undefined && rules.includes(' -p ') ? ['how long clients stay with a server (the kernel counts it in ticks of unknown length)'] : []),
    ...(/ -s [sm]h$/m.test(rules) ? ['flags of the schedulers sh and mh'] : []),
  ];
  return { ...madeFile(file, rules, `/proc/net/ip_vs (${why})`), ...(lacks.length === 0 ? {} : { lacks: `${lacks.join(', ')}: ipvsadm tells` }) };
}
