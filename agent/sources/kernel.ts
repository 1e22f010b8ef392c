// What this kernel has of what Services need: modules that are loaded, built in, there to be loaded, or missing.
import { gunzipSync } from 'node:zlib';
import { featureStates } from '../../shared/netfilter/kernel.features.ts';
import type { Machine } from '../host/machine.ts';
import { readHostFile } from './host-root.ts';
import { madeFile, type Source } from './source.ts';

export const kernel: Source = {
  name: 'kernel',
  needs: { commands: [], capabilities: [] },
  files: ['kernel-features.txt'],
  wakes: [],
  // Modules are loaded when somebody needs them.
  pollMs: () => 60_000,
  read: async (machine) => {
    const [loaded, built] = await Promise.all([machine.read('/proc/modules'), buildOf(machine)]);
    const states = featureStates({ loaded: loaded.kind === 'done' ? loaded.content.toString('latin1') : undefined, ...built });
    const unknown = [...states.values()].filter((state) => state === 'unknown').length;
    const lines = [...states].map(([name, state]) => `${name} = ${state}\n`);
    const from = `/proc/modules, ${built.config === undefined ? 'no configuration' : 'the configuration'} and ${built.builtin === undefined ? 'no lists' : 'the lists'} of modules of this kernel`;
    return {
      ...madeFile('kernel-features.txt', lines.join(''), from),
      ...(unknown === 0 ? {} : { lacks: `what the kernel could load (neither /lib/modules, /boot/config nor /proc/config.gz can be read): ${unknown} parts` }),
    };
  },
};

/** Ticks of the kernel in a second (CONFIG_HZ); undefined where its configuration cannot be read. */
export async function kernelTicks(machine: Machine): Promise<number | undefined> {
  const found = /^CONFIG_HZ=(\d+)$/m.exec((await buildOf(machine)).config ?? '')?.[1];
  return found === undefined ? undefined : Number(found);
}

interface Build {
  readonly config: string | undefined;
  readonly builtin: string | undefined;
  readonly available: string | undefined;
}

// A kernel does not change while it runs, and its configuration has a quarter of a megabyte: what was read once is kept, but for the lines of no use.
const builds = new WeakMap<Machine, { readonly release: string; readonly build: Promise<Build> }>();

async function buildOf(machine: Machine): Promise<Build> {
  const found = await machine.read('/proc/sys/kernel/osrelease');
  const release = found.kind === 'done' ? found.content.toString('latin1').trim() : '';
  const known = builds.get(machine);
  if (known?.release === release) return await known.build;
  const build = readBuild(machine, release);
  builds.set(machine, { release, build });
  return await build;
}

async function readBuild(machine: Machine, release: string): Promise<Build> {
  const [config, builtin, available] = await Promise.all([
    readConfig(machine, release),
    textOf(machine, `/lib/modules/${release}/modules.builtin`),
    textOf(machine, `/lib/modules/${release}/modules.dep`),
  ]);
  // Of modules.dep what stands before the colon is the module, what follows are those that it needs.
  return { config, builtin: netOnly(builtin), available: netOnly(available?.replaceAll(/:.*$/gm, ':')) };
}

const netOnly = (text: string | undefined): string | undefined =>
  text?.match(/^.*\/(?:net|drivers\/net)\/.*$/gm)?.join('\n') ?? (text === undefined ? undefined : '');

async function readConfig(machine: Machine, release: string): Promise<string | undefined> {
  const plain = (await textOf(machine, `/boot/config-${release}`)) ?? (await textOf(machine, `/lib/modules/${release}/config`)) ?? (await packed(machine));
  return plain?.match(/^CONFIG_(?:HZ|IP6?_|NF|NETFILTER|BRIDGE|VXLAN|WIREGUARD|DUMMY).*$/gm)?.join('\n');
}

async function packed(machine: Machine): Promise<string | undefined> {
  const file = await machine.read('/proc/config.gz');
  try {
    return file.kind === 'done' ? gunzipSync(file.content, { maxOutputLength: 4 * 1024 * 1024 }).toString('latin1') : undefined;
  } catch {
    return undefined;
  }
}

async function textOf(machine: Machine, path: string): Promise<string | undefined> {
  const file = await readHostFile(machine, path);
  return file.kind === 'done' ? file.content.toString('latin1') : undefined;
}
