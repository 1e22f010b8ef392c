// The images as archives: laid out as OCI wants it, without root, without a shell, the same bytes from the same input, and each says what is in it.
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { arch, tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { buildImages } from '../../packaging/image.ts';
import { type Architecture, architectures, root, version } from '../../packaging/release.ts';
import type { Manifest } from './chart.ts';

t.setTimeout(240_000);
const missing = ['mmdebstrap', 'readelf', 'strip'].find((name) => !existsSync(`/usr/bin/${name}`)) ?? (existsSync('/usr/sbin/setcap') ? undefined : 'setcap');
const obstacle = missing === undefined ? (process.getuid?.() === 0 ? undefined : 'it takes root') : `${missing} is not installed`;
const architecture = arch() as Architecture;
const sha256 = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

t.test('images', { skip: obstacle ?? false }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'portreeve-images-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const built = buildImages({ out: directory, architecture });
  t.equal(built.length, 4, 'an archive and a bill of materials for each');
  for (const [archive, bill] of [built.slice(0, 2), built.slice(2)] as [string, string][])
    await t.test(archive.split('/').at(-1) as string, async (t) => check(t, archive, bill));
  const [again = ''] = buildImages({ out: join(directory, 'again'), architecture }, ['portreeve-collector']);
  t.equal(sha256(readFileSync(again)), sha256(readFileSync(built[2] as string)), 'the same input gives the same bytes');
});

function check(t: { readonly equal: Equal; readonly same: Equal; readonly ok: (value: unknown, name: string) => void }, archive: string, bill: string): void {
  const layout = `${archive}.d`;
  mkdirSync(layout);
  execFileSync('tar', ['-xf', archive, '-C', layout]);
  const read = (file: string): Manifest => JSON.parse(readFileSync(file, 'utf8'));
  const blob = ({ digest, size }: { readonly digest: string; readonly size: number }): string => {
    const file = join(layout, 'blobs', digest.replace(':', '/'));
    t.same([sha256(readFileSync(file)), readFileSync(file).length], [digest, size], digest.slice(0, 20));
    return file;
  };
  const [described] = read(join(layout, 'index.json')).manifests;
  t.same(described.platform, { architecture: architectures[architecture].oci, os: 'linux' }, 'platform');
  const manifest = read(blob(described));
  const { config, rootfs } = read(blob(manifest.config));
  t.equal(config.User, '65532:65532', 'no root');
  const layer = blob(manifest.layers[0]);
  const plain = execFileSync('gzip', ['-dc', layer], { maxBuffer: 1024 * 1024 * 1024 });
  t.same(rootfs.diff_ids, [sha256(plain)], 'the layer is the one that the configuration names');
  const list = spawnSync('tar', ['-tvzf', layer], { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 }).stdout.split('\n');
  t.same(
    list.filter((line) => /^-..[sS]|^-.....[sS]/.test(line)),
    [],
    'nothing takes on the rights of its owner',
  );
  t.same(
    list.filter((line) => /\/(?:sh|bash|dash|apt|dpkg|perl)$/.test(line)),
    [],
    'no shell, no package manager',
  );
  const { components, specVersion, metadata } = read(bill);
  t.same([specVersion, metadata.component.version], ['1.5', version], 'CycloneDX');
  for (const name of ['libc6', 'nodejs', 'ws', ...(archive.includes('agent') ? ['iptables', 'nftables'] : ['better-sqlite3', 'fastify'])])
    t.ok(
      components.some((component: Manifest) => component.name === name && component.purl.includes(name)),
      `the bill names ${name}`,
    );
  const rootDirectory = `${layout}/rootfs`;
  mkdirSync(rootDirectory);
  execFileSync('tar', ['-xzf', layer, '-C', rootDirectory]);
  const [, ...words] = config.Entrypoint as string[];
  const help = spawnSync('env', ['-u', 'NODE_OPTIONS', 'chroot', '--userspec=65532:65532', rootDirectory, ...words, '--help'], { encoding: 'utf8' });
  t.equal(help.status, 0, `it runs with what is in it: ${help.stderr}`);
}

type Equal = (found: unknown, wanted: unknown, name: string) => unknown;

t.test(
  'skopeo reads them',
  { skip: obstacle ?? (existsSync('/usr/bin/skopeo') && existsSync(join(root, 'dist/images')) ? false : 'skopeo is not installed, or there is no image yet') },
  async (t) => {
    const archive = join(root, 'dist/images', `portreeve-agent_${version}_${architectures[architecture].oci}.oci.tar`);
    const told = spawnSync('skopeo', ['inspect', `oci-archive:${archive}`], { encoding: 'utf8' });
    t.equal(told.status, 0, told.stderr);
    t.match(JSON.parse(told.stdout), { Os: 'linux', Labels: { 'org.opencontainers.image.version': version } });
  },
);
