// The Debian packages as files: the same bytes from the same input wherever and whenever they are built, and nothing that Debian's own check objects to.
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import t from 'tap';
import { root, version } from '../../packaging/release.ts';
import { debNames, debObstacle, debOf } from './debs.ts';

t.setTimeout(300_000);
const sum = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');
const list = (name: string): string => execFileSync('dpkg-deb', ['--contents', debOf(name)], { encoding: 'utf8', env: { ...process.env, TZ: 'UTC' } });

t.test(
  'the same input gives the same bytes, in another place, time zone and mask',
  { skip: debObstacle('dpkg-deb', 'git', 'gcc', 'unshare') ?? false },
  async (t) => {
    const copy = mkdtempSync(join(tmpdir(), 'portreeve-copy-'));
    t.teardown(() => rmSync(copy, { recursive: true }));
    const { stdout } = spawnSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: root, encoding: 'utf8' });
    for (const file of stdout.split('\0').filter((name) => name !== '' && !name.startsWith('test/'))) {
      mkdirSync(dirname(join(copy, file)), { recursive: true });
      cpSync(join(root, file), join(copy, file), { preserveTimestamps: true });
    }
    // Not a link: a bundler follows it and names files by where they really are.
    mkdirSync(join(copy, 'node_modules'));
    // The packages may have been built before the last commit.
    const epoch = /SOURCE_DATE_EPOCH=(\d+)/.exec(readFileSync(join(root, 'dist/debs/built'), 'utf8'))?.[1];
    const env = { ...process.env, TZ: 'Pacific/Kiritimati', LC_ALL: 'C', SOURCE_DATE_EPOCH: epoch };
    const parts = 'bpf watch launch dist/agent.mjs dist/portreeve/portreeve.mjs dist/web/index.html dist/debs/built';
    const script = `mount --bind '${join(root, 'node_modules')}' node_modules; umask 077; make -o node_modules/.package-lock.json ${parts}`;
    const alone = process.getuid?.() === 0 ? '-m' : '-rm';
    const built = spawnSync('unshare', [alone, 'bash', '-euc', script], { cwd: copy, env, encoding: 'utf8' });
    t.equal(built.status, 0, 'it is built again', { told: built.stderr });
    for (const name of debNames) t.equal(sum(join(copy, 'dist/debs', debOf(name).split('/').at(-1) as string)), sum(debOf(name)), name);
  },
);

t.test('lintian has nothing to object', { skip: debObstacle('lintian') ?? false }, async (t) => {
  const { status, stdout, stderr } = spawnSync('lintian', ['--fail-on', 'warning', ...debNames.map(debOf)], { encoding: 'utf8' });
  t.equal(stdout, '', 'no tag', { stderr });
  t.equal(status, 0);
});

t.test('what is in them', { skip: debObstacle('dpkg-deb') ?? false }, async (t) => {
  const agent = list('portreeve-agent');
  for (const file of ['node', 'agent.mjs', 'portreeve-watch', 'portreeve-launch', 'portreeve-relay']) t.match(agent, `./usr/lib/portreeve-agent/${file}`);
  t.match(agent, /portreeve-agent\/portreeve-bpf -> portreeve-relay$/m, 'eBPF is asked for across the border of the services');
  for (const page of ['man1/portreeve.1.gz', 'bash-completion/completions/portreeve', '_portreeve', 'portreeve.fish']) t.match(list('portreeve'), page);
  t.match(list('portreeve-collector'), 'man8/portreeve-collector.8.gz');
  for (const name of debNames) {
    t.notMatch(list(name), /^.{10} (?!root\/root)/m, `${name}: everything is root's`);
    t.notMatch(list(name), /^-rws|^-r.{4}s/m, `${name}: nothing takes on the rights of its owner`);
    t.equal(execFileSync('dpkg-deb', ['--field', debOf(name), 'Version'], { encoding: 'utf8' }).trim(), version);
  }
  const conffiles = execFileSync('dpkg-deb', ['--info', debOf('portreeve-agent'), 'conffiles'], { encoding: 'utf8' });
  t.equal(conffiles, '/etc/portreeve/agent.env\n');
});
