// Whether the ports of bridges send packets back where they came from (hairpin), from /sys/class/net: without it a pod does not reach itself by its Service.
import { never, type Source } from './source.ts';

/** A node with many pods has a port for each; a few hundred tell enough. */
const portsMax = 512;

export const bridges: Source = {
  name: 'bridges',
  needs: { commands: [], capabilities: [] },
  files: ['bridge-ports.txt'],
  wakes: ['link'],
  pollMs: never,
  read: async (machine) => {
    const names = (await machine.list('/sys/class/net')).toSorted().slice(0, portsMax);
    const modes = await Promise.all(names.map((name) => machine.read(`/sys/class/net/${name}/brport/hairpin_mode`)));
    const lines = names.flatMap((name, index) => {
      const mode = modes[index];
      return mode?.kind === 'done' ? [`${name}.hairpin_mode = ${mode.content.toString('latin1').trim()}\n`] : [];
    });
    if (lines.length === 0) return { outcome: 'absent', reason: 'no bridge has a port' };
    return {
      outcome: 'facts',
      files: new Map([['bridge-ports.txt', Buffer.from(lines.join(''))]]),
      commands: { 'bridge-ports.txt': '/sys/class/net/*/brport/hairpin_mode' },
    };
  },
};
