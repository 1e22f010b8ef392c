// The agent as one executable: it runs where there is nothing but the system, unpacks once into a directory of its user's own, and trusts no other's.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { arch, tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { debianRoot } from '../../packaging/debian-root.ts';
import { type Architecture, version } from '../../packaging/release.ts';
import { buildExecutable } from '../../packaging/sea.ts';

t.setTimeout(240_000);
const directory = mkdtempSync(join(tmpdir(), 'portreeve-executable-'));
t.teardown(() => rmSync(directory, { recursive: true }));
const strips = (compiler: string): boolean => existsSync(`/usr/bin/${compiler}-linux-gnu-strip`);
const own = arch() as Architecture;

t.test('the executable of this processor', { skip: strips(own === 'x64' ? 'x86_64' : 'aarch64') ? false : 'binutils is not installed' }, async (t) => {
  const file = await buildExecutable({ out: directory, architecture: own });
  const home = join(directory, 'home');
  const run = (...words: readonly string[]): ReturnType<typeof spawnSync> =>
    spawnSync(file, words, { encoding: 'utf8', env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: home } });
  const help = run('--help');
  t.equal(help.status, 0, String(help.stderr));
  t.match(String(help.stdout), 'portreeve agent: watch this node');
  const [name = '', ...others] = readdirSync(join(home, '.cache'));
  t.same([name.startsWith('portreeve-'), others], [true, []]);
  const unpacked = join(home, '.cache', name);
  t.equal(statSync(unpacked).mode & 0o777, 0o700, 'nobody else may look into it');
  const { ino } = statSync(unpacked);
  const probed = JSON.parse(String(run('status', '--probe', '-o', 'json').stdout)) as {
    readonly version: string;
    readonly sources: readonly { readonly name: string; readonly outcome: string }[];
  };
  t.equal(probed.version, version);
  t.ok(
    probed.sources.length > 10 && probed.sources.some(({ name: source, outcome }) => source === 'interfaces' && outcome === 'facts'),
    'it reads this machine',
  );
  t.equal(statSync(unpacked).ino, ino, 'what was unpacked is used again');
  chmodSync(unpacked, 0o777);
  t.equal(run('--help').status, 0);
  t.equal(statSync(unpacked).mode & 0o777, 0o777, 'what others may write to is left alone, and not used');
  t.same(readdirSync(join(home, '.cache')), [name], 'nothing is left behind beside it');
  t.equal(run('--collector', 'nonsense').status, 2, 'exit codes are those of the agent');
  const again = await buildExecutable({ out: join(directory, 'again'), architecture: own });
  t.ok(readFileSync(file).equals(readFileSync(again)), 'the same input gives the same bytes');
});

const qemu = '/usr/bin/qemu-aarch64-static';
const cannot =
  own !== 'x64'
    ? 'this is no x64'
    : !strips('aarch64')
      ? 'binutils-aarch64-linux-gnu is not installed'
      : !existsSync('/usr/bin/aarch64-linux-gnu-gcc')
        ? 'gcc-aarch64-linux-gnu is not installed'
        : undefined;
t.test('the executable for arm64', { skip: cannot ?? false }, async (t) => {
  const file = await buildExecutable({ out: directory, architecture: 'arm64' });
  t.equal(readFileSync(file).readUInt16LE(18), 183, 'it is for AArch64');
  if (!existsSync(qemu) || !existsSync('/usr/bin/mmdebstrap')) return t.comment('SKIPPED: it is not run, as qemu-user-static or mmdebstrap is not installed');
  const libraries = debianRoot(['libgcc-s1', 'libstdc++6'], 'arm64');
  const help = spawnSync(qemu, ['-L', libraries, file, '--help'], { encoding: 'utf8', env: { HOME: join(directory, 'arm') }, timeout: 120_000 });
  t.equal(help.status, 0, help.stderr);
  t.match(help.stdout, 'portreeve agent: watch this node');
});
