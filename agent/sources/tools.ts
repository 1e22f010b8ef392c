// Which programs read this node's rules, of which version, and where they come from: the host's own, or those that k3s, k0s or MicroK8s bring along.
import type { CaptureFiles } from '../../shared/netfilter/node.ts';
import type { Machine } from '../host/machine.ts';
import { processEntries } from './processes.parse.ts';
import { madeFile, type Source } from './source.ts';
import { type SaveBinary, type Tools, toolVersion, xtablesBackend } from './tools.parse.ts';

export const tools: Source = {
  name: 'tools',
  needs: { commands: [], capabilities: [] },
  files: ['tools.json'],
  wakes: [],
  // Packages are upgraded seldom, and every look starts a dozen programs.
  pollMs: () => 600_000,
  read: async (machine, known) => {
    const [binaries, versions] = await Promise.all([findBinaries(machine, known), findVersions(machine)]);
    const found: Tools = { iptables: binaries, versions };
    return madeFile('tools.json', `${JSON.stringify(found)}\n`, 'the programs themselves, asked for their versions');
  },
};

/**
 * Binaries that print rules: those that tools.json holds, or, where it is not there yet, those that are on PATH and in the directories of distributions. The
 * host's default comes first, then its others, then those that were brought along.
 */
export async function saveBinaries(machine: Machine, known: CaptureFiles): Promise<readonly SaveBinary[]> {
  try {
    const text = known.get('tools.json')?.toString('utf8');
    if (text !== undefined) return (JSON.parse(text) as Tools).iptables;
  } catch {
    // Not ours: as if it were not there.
  }
  return await candidates(machine, known);
}

const hostBinaries: readonly SaveBinary[] = [
  { command: 'iptables-save', origin: 'host', applet: false },
  { command: 'iptables-legacy-save', origin: 'host', applet: false, backend: 'legacy' },
  { command: 'iptables-nft-save', origin: 'host', applet: false, backend: 'nf_tables' },
];

/** Programs that are all iptables commands in one: named by their first argument. */
const multiBinaries = [
  ['xtables-legacy-multi', 'legacy'],
  ['xtables-nft-multi', 'nf_tables'],
] as const;

async function candidates(machine: Machine, known: CaptureFiles): Promise<readonly SaveBinary[]> {
  const directories = bundledDirectories(known);
  const names = await Promise.all(directories.map(({ path }) => machine.list(path)));
  // A distribution's own `iptables-save` is never run: k3s's is a script that changes links in its data directory to suit the rules that it finds.
  const bundled = directories.flatMap(({ path, origin }, index) =>
    multiBinaries
      .filter(([name]) => names[index]?.includes(name))
      .map(([name, backend]): SaveBinary => ({ command: `${path}/${name}`, origin, applet: true, backend })),
  );
  return [...hostBinaries, ...bundled];
}

/** Where distributions of Kubernetes keep their own binaries, with the data directory that they were started with. */
export function bundledDirectories(known: CaptureFiles): readonly { readonly path: string; readonly origin: string }[] {
  const running = processEntries(known.get('processes.json'));
  const dataOf = (names: RegExp, fallback: string): string => {
    const argv = running.find(({ comm }) => names.test(comm))?.argv ?? [];
    const at = argv.findIndex((word) => /^(?:--data-dir|-d)(?:=|$)/.test(word));
    const value = at < 0 ? undefined : (/=(.+)$/.exec(argv[at] as string)?.[1] ?? argv[at + 1]);
    return value?.startsWith('/') === true ? value : fallback;
  };
  const rke2 = dataOf(/^rke2/, '/var/lib/rancher/rke2');
  return [
    { path: `${dataOf(/^k3s/, '/var/lib/rancher/k3s')}/data/current/bin/aux`, origin: 'k3s' },
    { path: `${rke2}/data/current/bin/aux`, origin: 'rke2' },
    { path: `${rke2}/bin`, origin: 'rke2' },
    { path: `${dataOf(/^k0s$/, '/var/lib/k0s')}/bin`, origin: 'k0s' },
    { path: '/snap/microk8s/current/usr/sbin', origin: 'microk8s' },
    { path: '/snap/microk8s/current/sbin', origin: 'microk8s' },
  ];
}

async function findBinaries(machine: Machine, known: CaptureFiles): Promise<readonly SaveBinary[]> {
  const found = await Promise.all((await candidates(machine, known)).map((binary) => ask(machine, binary)));
  return found.filter((binary) => binary !== undefined);
}

async function ask(machine: Machine, binary: SaveBinary): Promise<SaveBinary | undefined> {
  const outcome = await machine.run(binary.command, binary.applet ? ['iptables-save', '-V'] : ['-V'], versionTimeoutMs);
  if (outcome.kind === 'missing') return undefined;
  if (outcome.kind === 'failed') return { ...binary, fault: outcome.reason.slice(0, 200) };
  const text = outcome.stdout.toString('latin1');
  const [version, backend] = [toolVersion(text), binary.backend ?? xtablesBackend(text)];
  return { ...binary, ...(version === undefined ? {} : { version }), ...(backend === undefined ? {} : { backend }) };
}

const versionTimeoutMs = 5_000;

// ipvsadm and ipset are left out where they would load their modules by the question alone.
const others: readonly (readonly [string, string])[] = [
  ['nft', '-V'],
  ['ipset', '--version'],
  ['conntrack', '--version'],
  ['ip', '-V'],
  ['ss', '-V'],
  ['ethtool', '--version'],
];

async function findVersions(machine: Machine): Promise<Readonly<Record<string, string>>> {
  const sets = (await machine.list('/sys/module/ip_set')).length > 0;
  const found = await Promise.all(
    others.map(async ([tool, flag]) => {
      if (tool === 'ipset' && !sets) return [];
      const outcome = await machine.run(tool, [flag], versionTimeoutMs);
      const version = outcome.kind === 'done' ? toolVersion(`${outcome.stdout.toString('latin1')}\n${outcome.stderr}`) : undefined;
      return version === undefined ? [] : [[tool, version] as const];
    }),
  );
  return Object.fromEntries(found.flat());
}
