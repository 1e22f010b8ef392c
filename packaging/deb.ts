// Builds the Debian packages: portreeve-agent, portreeve-collector and portreeve, the same bytes from the same input.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { agentEnvironment, agentFlags, helper, placeAgent, placeCommand } from './programs.ts';
import { type Architecture, architectures, root, sourceDateEpoch, version } from './release.ts';
import { Tree } from './tree.ts';

export interface DebOptions {
  /** Directory that the packages are written to. */
  readonly out: string;
  readonly architecture: Architecture;
  /** `xz` takes twenty seconds for each runtime, `gzip` a few seconds and a third more room. */
  readonly compression: 'xz' | 'gzip';
}

/** Builds all packages and returns their paths. */
export function buildDebs(options: DebOptions): readonly string[] {
  return packages.map((each) => build(each, options));
}

interface DebPackage {
  readonly name: string;
  readonly summary: string;
  readonly description: readonly string[];
  readonly fields: Readonly<Record<string, string>>;
  readonly conffiles: readonly string[];
  readonly fill: (tree: Tree, architecture: Architecture) => void;
}

const runtimeDepends = 'libc6 (>= 2.28), libgcc-s1, libstdc++6';
// Made by the postinst: users and directories.
const systemdDepends = 'systemd | systemd-standalone-sysusers, systemd | systemd-standalone-tmpfiles';

const packages: readonly DebPackage[] = [
  {
    name: 'portreeve-agent',
    summary: "watches a node's firewall for Portreeve",
    description: [
      'The agent runs on every node of a Kubernetes cluster, reads iptables,',
      'nftables, IPVS, ipset, ufw, firewalld, routes, settings and sockets, and',
      'tells the collector whether clients get in through NodePorts, and what',
      'changed. It changes nothing on the host, and brings its own Node.js.',
    ],
    fields: {
      Depends: `${runtimeDepends}, ${systemdDepends}`,
      Recommends: 'iproute2, iptables, nftables, procps',
      Suggests: 'conntrack, ethtool, ipset, ipvsadm',
    },
    conffiles: ['/etc/portreeve/agent.env'],
    fill: fillAgent,
  },
  {
    name: 'portreeve-collector',
    summary: 'says for every node and NodePort whether clients get in',
    description: [
      'The collector takes what the agents of all nodes report, compares it with',
      'the objects of the Kubernetes cluster, keeps history, and answers why a',
      'NodePort does not: which rule, which process and which change closed it.',
    ],
    fields: { Depends: `portreeve (= ${version}), ${systemdDepends}`, Suggests: 'postgresql' },
    conffiles: ['/etc/portreeve/collector.env'],
    fill: fillCollector,
  },
  {
    name: 'portreeve',
    summary: 'finds out why a NodePort of Kubernetes does not answer',
    description: [
      'The command line of Portreeve: asks a collector, captures the state of a',
      'node, walks packets through the rules of a capture, and compares captures',
      'with the objects of a cluster. It brings its own Node.js.',
    ],
    fields: { Depends: runtimeDepends },
    conffiles: [],
    fill: fillCommand,
  },
];

const here = join(root, 'packaging/deb');
const units = join(root, 'systemd');

function fillAgent(tree: Tree, architecture: Architecture): void {
  const place = '/usr/lib/portreeve-agent';
  placeAgent(tree, place, architecture);
  if (helper('portreeve-bpf', architecture) !== undefined) placeRelay(tree, place, architecture);
  const exports = Object.entries(agentEnvironment).map(([name, value]) => `${name}=${value}`);
  tree.write('/usr/bin/portreeve-agent', starter(place, { exports, flags: agentFlags, program: 'agent.mjs' }), 0o755);
  placeService(tree, 'agent');
  tree.copy(join(units, 'portreeve-agent.rules'), '/usr/share/polkit-1/rules.d/portreeve-agent.rules');
  for (const example of readdirSync(join(units, 'examples'))) tree.copy(join(units, 'examples', example), `/usr/share/portreeve-agent/${example}`);
  tree.gzip('/usr/share/man/man8/portreeve-agent.8.gz', manual('portreeve-agent.8'));
}

/** The agent looks for portreeve-bpf beside its bundle, and finds what asks the service that holds the rights for it. */
function placeRelay(tree: Tree, place: string, architecture: Architecture): void {
  const relay = helper('portreeve-relay', architecture);
  if (relay === undefined) throw new Error('dist/portreeve-relay is not built: make build');
  tree.copy(relay, `${place}/portreeve-relay`, 0o755);
  tree.link(`${place}/portreeve-bpf`, 'portreeve-relay');
  for (const unit of ['portreeve-bpf.socket', 'portreeve-bpf@.service']) tree.copy(join(units, unit), `/lib/systemd/system/${unit}`);
}

function fillCollector(tree: Tree): void {
  placeService(tree, 'collector');
  const examples = '/usr/share/portreeve-collector';
  tree.copy(join(units, 'examples/backoff.conf'), `${examples}/backoff.conf`);
  tree.copy(join(here, 'rbac.yaml'), `${examples}/rbac.yaml`);
  tree.gzip('/usr/share/man/man8/portreeve-collector.8.gz', manual('portreeve-collector.8'));
}

function fillCommand(tree: Tree, architecture: Architecture): void {
  placeCommand(tree, '/usr/lib/portreeve', architecture);
  tree.write(
    '/usr/bin/portreeve',
    starter('/usr/lib/portreeve', { exports: [], flags: '--disable-warning=ExperimentalWarning', program: 'portreeve.mjs' }),
    0o755,
  );
  const told = (...words: readonly string[]): string =>
    execFileSync(process.execPath, [join(root, 'dist/portreeve/portreeve.mjs'), ...words], { encoding: 'utf8', maxBuffer: 16 * 1024 * 1024 });
  tree.gzip('/usr/share/man/man1/portreeve.1.gz', told('man'));
  tree.write('/usr/share/bash-completion/completions/portreeve', told('completion', 'bash'));
  tree.write('/usr/share/zsh/vendor-completions/_portreeve', told('completion', 'zsh'));
  tree.write('/usr/share/fish/vendor_completions.d/portreeve.fish', told('completion', 'fish'));
}

function placeService(tree: Tree, side: 'agent' | 'collector'): void {
  const name = `portreeve-${side}`;
  tree.copy(join(units, `${name}.service`), `/lib/systemd/system/${name}.service`);
  tree.copy(join(units, `${name}.sysusers.conf`), `/usr/lib/sysusers.d/${name}.conf`);
  tree.copy(join(units, `${name}.tmpfiles.conf`), `/usr/lib/tmpfiles.d/${name}.conf`);
  tree.copy(join(units, `${side}.env`), `/etc/portreeve/${side}.env`);
}

const manual = (name: string): string => readFileSync(join(here, name), 'utf8').replaceAll('@VERSION@', version);

interface Started {
  readonly exports: readonly string[];
  readonly flags: string;
  readonly program: string;
}

/** The command on PATH. Under a service manager portreeve-launch comes first, which becomes Node.js. */
function starter(place: string, { exports, flags, program }: Started): string {
  return [
    '#!/bin/sh',
    ...(exports.length === 0 ? [] : [`export ${exports.join(' ')}`]),
    `exec \${NOTIFY_SOCKET:+${place}/portreeve-launch} ${place}/node ${flags} ${place}/${program} "$@"`,
    '',
  ].join('\n');
}

function build(deb: DebPackage, { out, architecture, compression }: DebOptions): string {
  const { debian } = architectures[architecture];
  mkdirSync(out, { recursive: true });
  const work = join(out, `.${deb.name}_${debian}`);
  rmSync(work, { recursive: true, force: true });
  try {
    const tree = new Tree(work);
    deb.fill(tree, architecture);
    document(tree, deb);
    const size = tree.kibibytes();
    control(tree, deb, { debian, size });
    const epoch = sourceDateEpoch();
    tree.date(epoch);
    const file = join(out, `${deb.name}_${version}_${debian}.deb`);
    // Threads cut what is compressed into blocks, by their number: one number, the same bytes.
    const options = compression === 'xz' ? ['-Zxz', '-z3', '--threads-max=2'] : ['-Zgzip', '-z1'];
    const environment = { ...process.env, SOURCE_DATE_EPOCH: String(epoch) };
    execFileSync('dpkg-deb', ['--root-owner-group', ...options, '--build', work, file], { env: environment, stdio: ['ignore', 'ignore', 'inherit'] });
    return file;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** What Debian wants of every package: copyright, changelog, and what its checks are told to let pass. */
function document(tree: Tree, { name }: DebPackage): void {
  const documents = `/usr/share/doc/${name}`;
  tree.copy(join(here, 'copyright'), `${documents}/copyright`);
  tree.gzip(`${documents}/changelog.gz`, changelog(name));
  const overrides = join(here, `${name}.lintian-overrides`);
  tree.copy(overrides, `/usr/share/lintian/overrides/${name}`);
}

/** In the form that Debian's tools read; what has changed is told by CHANGELOG.md. */
function changelog(name: string): string {
  const date = new Date(sourceDateEpoch() * 1000).toUTCString().replace('GMT', '+0000');
  return `${name} (${version}) stable; urgency=medium\n\n  * Release ${version}; what has changed is told in CHANGELOG.md of the sources.\n\n -- ${maintainer}  ${date}\n`;
}

// Whoever builds packages for others says who they are, as Debian's own tools ask.
const maintainer = `${process.env['DEBFULLNAME'] ?? 'Portreeve'} <${process.env['DEBEMAIL'] ?? 'portreeve@localhost.localdomain'}>`;

function control(tree: Tree, deb: DebPackage, { debian, size }: { readonly debian: string; readonly size: number }): void {
  const fields: readonly (readonly [string, string])[] = [
    ['Package', deb.name],
    ['Version', version],
    ['Architecture', debian],
    ['Maintainer', maintainer],
    ['Installed-Size', String(size)],
    ...Object.entries(deb.fields),
    ['Section', 'net'],
    ['Priority', 'optional'],
    ['Description', [deb.summary, ...deb.description.map((line) => ` ${line}`)].join('\n')],
  ];
  const files = readdirSync(tree.directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  const sums = files.map((file) => `${createHash('md5').update(readFileSync(file)).digest('hex')}  ${relative(tree.directory, file)}\n`);
  tree.write('/DEBIAN/control', fields.map(([name, value]) => `${name}: ${value}\n`).join(''));
  tree.write('/DEBIAN/md5sums', sums.filter((line) => !deb.conffiles.some((file) => line.endsWith(`  ${file.slice(1)}\n`))).join(''));
  if (deb.conffiles.length > 0) tree.write('/DEBIAN/conffiles', `${deb.conffiles.join('\n')}\n`);
  for (const script of ['preinst', 'postinst', 'prerm', 'postrm']) {
    const file = `${deb.name}.${script}`;
    if (readdirSync(here).includes(file)) tree.copy(join(here, file), `/DEBIAN/${script}`, 0o755);
  }
}
