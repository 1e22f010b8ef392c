// Builds the OCI images of agent and collector: a root file system of the programs that are run and what they load, one layer, one archive that every engine takes
// (k3s ctr images import, podman load, skopeo copy oci-archive:…). No engine is needed. There is no shell and no package manager in them.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { copyPrograms, type DebianPackage, debianRoot } from './debian-root.ts';
import { agentEnvironment, agentFlags, placeAgent, placeCommand } from './programs.ts';
import { type Architecture, architectures, sourceDateEpoch, version } from './release.ts';
import { billOfMaterials } from './sbom.ts';
import { Tree } from './tree.ts';

export interface ImageOptions {
  readonly out: string;
  readonly architecture: Architecture;
}

/** The user of both images; none of the host's. */
export const user = 65_532;

/** What portreeve-launch may hand on in the agent's image: as much of it as the container is given. */
const agentCapabilities = 'cap_net_admin,cap_net_raw,cap_dac_read_search,cap_sys_ptrace,cap_bpf,cap_perfmon+p';

interface Image {
  readonly name: 'portreeve-agent' | 'portreeve-collector';
  /** Packages of Debian, and which of their programs and plug-ins the image holds; libraries follow by themselves. */
  readonly packages: readonly string[];
  readonly programs: readonly string[];
  readonly fill: (tree: Tree, architecture: Architecture) => void;
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

const images: readonly Image[] = [
  {
    name: 'portreeve-agent',
    packages: ['conntrack', 'coreutils', 'ethtool', 'iproute2', 'ipset', 'iptables', 'ipvsadm', 'kmod', 'libgcc-s1', 'libstdc++6', 'nftables', 'procps'],
    programs: [
      '/usr/sbin/xtables-nft-multi',
      '/usr/sbin/xtables-legacy-multi',
      '/usr/sbin/nft',
      '/sbin/ipset',
      '/sbin/ipvsadm',
      '/usr/sbin/conntrack',
      '/bin/ip',
      '/bin/ss',
      '/sbin/bridge',
      '/usr/sbin/ethtool',
      '/sbin/ethtool',
      '/sbin/sysctl',
      '/bin/ps',
      '/usr/bin/stdbuf',
      '/usr/libexec/coreutils/libstdbuf.so',
      '/usr/lib/*/xtables/*.so',
      '/etc/iproute2/*',
      '/etc/protocols',
      '/etc/ethertypes',
    ],
    fill: (tree, architecture) => {
      placeAgent(tree, '/usr/lib/portreeve-agent', architecture);
      if (existsSync(join(tree.directory, 'usr/lib/portreeve-agent/bpf/portreeve-bpf')))
        tree.link('/usr/lib/portreeve-agent/portreeve-bpf', 'bpf/portreeve-bpf');
      for (const [program, names] of Object.entries(applets)) for (const name of names) tree.link(`/usr/sbin/${name}`, program);
      execFileSync('setcap', [agentCapabilities, join(tree.directory, 'usr/lib/portreeve-agent/portreeve-launch')]);
    },
    entrypoint: ['/usr/lib/portreeve-agent/portreeve-launch', '/usr/lib/portreeve-agent/node', ...agentFlags.split(' '), '/usr/lib/portreeve-agent/agent.mjs'],
    command: ['--help'],
    environment: agentEnvironment,
  },
  {
    name: 'portreeve-collector',
    packages: ['libgcc-s1', 'libstdc++6'],
    programs: [],
    fill: (tree, architecture) => placeCommand(tree, '/usr/lib/portreeve', architecture),
    entrypoint: [
      '/usr/lib/portreeve/portreeve-launch',
      '/usr/lib/portreeve/node',
      '--disable-warning=ExperimentalWarning',
      '/usr/lib/portreeve/portreeve.mjs',
      'collector',
    ],
    command: ['--help'],
    environment: {},
  },
];

/** Names by which the two flavours of iptables are called; the default is that of nftables, as in Debian. */
const applets: Readonly<Record<string, readonly string[]>> = {
  'xtables-nft-multi': [
    ...['iptables', 'iptables-save', 'ip6tables', 'ip6tables-save'],
    ...['iptables-nft', 'iptables-nft-save', 'ip6tables-nft', 'ip6tables-nft-save', 'xtables-monitor'],
  ],
  'xtables-legacy-multi': ['iptables-legacy', 'iptables-legacy-save', 'ip6tables-legacy', 'ip6tables-legacy-save'],
};

/** Builds the images, both unless some are named: an archive and a bill of materials each. Needs root, for the capabilities of a file. Returns the paths. */
export function buildImages(options: ImageOptions, names: readonly string[] = images.map(({ name }) => name)): readonly string[] {
  return images.filter(({ name }) => names.includes(name)).flatMap((image) => build(image, options));
}

function build(image: Image, { out, architecture }: ImageOptions): readonly string[] {
  mkdirSync(out, { recursive: true });
  const stem = `${image.name}_${version}_${architectures[architecture].oci}`;
  const work = join(out, `.${stem}`);
  rmSync(work, { recursive: true, force: true });
  try {
    const tree = new Tree(join(work, 'root'));
    const packages = fill(tree, image, architecture);
    const bill = join(out, `${stem}.cdx.json`);
    writeFileSync(bill, billOfMaterials({ name: image.name, packages, side: image.name === 'portreeve-agent' ? 'agent' : 'collector' }));
    tree.copy(bill, '/usr/share/sbom/portreeve.cdx.json');
    tree.date(sourceDateEpoch());
    const layout = join(work, 'layout');
    layOut(layout, layerOf(tree, work), { image, architecture });
    const archive = join(out, `${stem}.oci.tar`);
    pack(layout, archive, []);
    return [archive, bill];
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function fill(tree: Tree, image: Image, architecture: Architecture): readonly DebianPackage[] {
  const debian = debianRoot(
    images.flatMap(({ packages }) => packages),
    architecture,
  );
  image.fill(tree, architecture);
  const packages = copyPrograms(debian, tree, image.programs);
  tree.write('/etc/passwd', `root:x:0:0:root:/:/nonexistent\nportreeve:x:${user}:${user}:portreeve:/nonexistent:/nonexistent\n`);
  tree.write('/etc/group', `root:x:0:\nportreeve:x:${user}:\n`);
  tree.write('/etc/nsswitch.conf', 'hosts: files dns\n');
  // Where mounts go, as the root file system is read only.
  for (const place of ['proc', 'sys', 'dev', 'tmp', 'run/portreeve', 'var/lib/portreeve', 'etc/portreeve/tls', 'var/run/secrets/portreeve', 'lib/modules'])
    mkdirSync(join(tree.directory, place), { recursive: true, mode: 0o755 });
  tree.write('/run/xtables.lock', '');
  return packages;
}

/** The layer, compressed: same tree, same bytes. */
function layerOf(tree: Tree, work: string): { readonly file: string; readonly diffId: string } {
  const plain = join(work, 'layer.tar');
  pack(tree.directory, plain, ['--xattrs', '--xattrs-include=security.capability']);
  const bytes = readFileSync(plain);
  const file = join(work, 'layer.tar.gz');
  writeFileSync(file, gzipSync(bytes, { level: 6 }));
  return { file, diffId: digestOf(bytes) };
}

function pack(directory: string, file: string, more: readonly string[]): void {
  const options = ['--sort=name', `--mtime=@${sourceDateEpoch()}`, '--owner=0', '--group=0', '--numeric-owner', '--format=pax'];
  const noTimes = '--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime';
  execFileSync('tar', ['--create', '--file', file, '--directory', directory, ...options, noTimes, ...more, '.'], { stdio: ['ignore', 'ignore', 'inherit'] });
}

const digestOf = (bytes: Buffer | string): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** The files of an OCI image layout: https://github.com/opencontainers/image-spec. */
function layOut(
  layout: string,
  layer: { readonly file: string; readonly diffId: string },
  { image, architecture }: { readonly image: Image; readonly architecture: Architecture },
): void {
  const blobs = join(layout, 'blobs/sha256');
  mkdirSync(blobs, { recursive: true });
  const add = (content: Buffer | string, mediaType: string): Descriptor => {
    const digest = digestOf(content);
    writeFileSync(join(blobs, basename(digest).replace('sha256:', '')), content);
    return { mediaType, digest, size: Buffer.byteLength(content) };
  };
  const created = new Date(sourceDateEpoch() * 1000).toISOString().replace('.000', '');
  const labels = {
    'org.opencontainers.image.title': image.name,
    'org.opencontainers.image.version': version,
    'org.opencontainers.image.licenses': 'Apache-2.0',
  };
  const environment = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C', ...image.environment };
  const config = {
    created,
    architecture: architectures[architecture].oci,
    os: 'linux',
    config: {
      User: `${user}:${user}`,
      Env: Object.entries(environment).map(([name, value]) => `${name}=${value}`),
      Entrypoint: image.entrypoint,
      Cmd: image.command,
      WorkingDir: '/',
      Labels: labels,
    },
    rootfs: { type: 'layers', diff_ids: [layer.diffId] },
    history: [{ created, created_by: 'packaging/image.ts' }],
  };
  const layers = [add(readFileSync(layer.file), 'application/vnd.oci.image.layer.v1.tar+gzip')];
  const configured = add(JSON.stringify(config), 'application/vnd.oci.image.config.v1+json');
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = add(JSON.stringify({ schemaVersion: 2, mediaType, config: configured, layers, annotations: labels }), mediaType);
  const annotations = { 'org.opencontainers.image.ref.name': version, 'io.containerd.image.name': `localhost/${image.name}:${version}` };
  const platform = { architecture: architectures[architecture].oci, os: 'linux' };
  const index = { schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests: [{ ...manifest, platform, annotations }] };
  writeFileSync(join(layout, 'index.json'), JSON.stringify(index));
  writeFileSync(join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}
