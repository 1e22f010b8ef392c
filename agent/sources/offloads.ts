// What network cards and tunnels leave to the hardware (`ethtool -k`), of tunnels and of the device that carries them: a damaged checksum begins there.

import type { CaptureFiles } from '../../shared/netfilter/node.ts';
import type { Machine } from '../host/machine.ts';
import { listOf } from './interfaces.parse.ts';
import { tunnelsIn } from './neighbours.parse.ts';
import { steadyFeatures } from './offloads.parse.ts';
import { madeFile, type Source } from './source.ts';
import { bundledDirectories } from './tools.ts';

const file = 'ethtool-k.txt';
const devicesMax = 16;

export const offloads: Source = {
  name: 'offloads',
  needs: { commands: ['ethtool'], capabilities: [] },
  files: [file],
  wakes: ['link'],
  // ethtool -K sends no event that `ip monitor` shows.
  pollMs: () => 300_000,
  read: async (machine, known) => {
    const tunnels = tunnelsIn(known.get('ip-addr.json'));
    if (tunnels.size === 0) return { outcome: 'absent', reason: 'no tunnel to other nodes (vxlan, geneve) is there' };
    const devices = [...new Set([...tunnels, ...carriers(known)])].slice(0, devicesMax);
    const command = await ethtool(machine, known);
    const outcomes = await Promise.all(devices.map((device) => machine.run(command, ['-k', device], 5_000)));
    if (outcomes.some(({ kind }) => kind === 'missing')) return { outcome: 'absent', reason: 'ethtool is not installed' };
    const texts = outcomes.flatMap((outcome) => (outcome.kind === 'done' ? [steadyFeatures(outcome.stdout.toString('latin1'))] : []));
    const failed = outcomes.flatMap((outcome, index) => (outcome.kind === 'failed' ? [`${command} -k ${devices[index]}: ${outcome.reason}`] : []));
    if (texts.join('') === '') return { outcome: 'failed', reason: failed[0] ?? `${command} -k prints no features` };
    return {
      ...madeFile(file, texts.join(''), `${command} -k DEVICE, of ${devices.join(', ')}`),
      ...(failed.length === 0 ? {} : { lacks: failed.join('; ') }),
    };
  },
};

/** Devices of default routes. */
const carriers = (known: CaptureFiles): readonly string[] =>
  ['ip-route.json', 'ip6-route.json'].flatMap((name) =>
    (listOf(known.get(name)?.toString('utf8') ?? '') ?? []).flatMap(({ dst, dev }) => (dst === 'default' && typeof dev === 'string' ? [dev] : [])),
  );

/** k3s brings an ethtool along, one directory above its iptables. */
async function ethtool(machine: Machine, known: CaptureFiles): Promise<string> {
  const [{ path } = { path: '' }] = bundledDirectories(known);
  const bundled = path.replace(/\/aux$/, '');
  const here = await machine.run('ethtool', ['--version'], 5_000);
  return here.kind === 'missing' && (await machine.list(bundled)).includes('ethtool') ? `${bundled}/ethtool` : 'ethtool';
}
