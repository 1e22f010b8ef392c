import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { glimpse, inodeOf, linkOf, readText, seesAllProcesses, unitOf } from '../../../agent/host/files.ts';

t.test('a file of /proc, which says no size', async (t) => {
  const read = await readText('/proc/self/status');
  t.match(read.kind === 'done' && read.content.toString(), /^Name:\t/);
});

t.test('a file of /proc that is larger than what is read at once', async (t) => {
  const read = await readText('/proc/kallsyms');
  const expected = readFileSync('/proc/kallsyms');
  t.ok(expected.length > 100_000);
  // Modules may come and go meanwhile, and stand at its end.
  t.ok(read.kind === 'done' && read.content.subarray(0, 100_000).equals(expected.subarray(0, 100_000)));
});

t.test('absent is not failed', async (t) => {
  t.strictSame(await readText('/proc/sys/net/no-such-setting'), { kind: 'absent' });
  t.match(await readText('/proc'), { kind: 'failed', reason: 'is no regular file' });
});

t.test('a file of a container that somebody made to hold the agent up', async (t) => {
  const path = join(t.testdir({}), 'config.conf');
  execFileSync('mkfifo', [path]);
  t.match(await readText(path), { kind: 'failed', reason: 'is no regular file' });
  t.match(await readText(`/proc/self/root${path}`), { kind: 'failed', reason: 'is no regular file' });
});

t.test('links and numbers of files', async (t) => {
  t.match(linkOf('/proc/self/ns/net'), /^net:\[\d+\]$/);
  t.equal(linkOf('/proc/self/no-such'), undefined);
  t.type(inodeOf('/proc/self/status'), 'number');
  t.equal(inodeOf('/no-such'), undefined);
});

t.test('this very process', async (t) => {
  const seen = glimpse(process.pid);
  t.ok((seen.comm ?? '').length > 0);
  t.match(seen.argv?.join(' '), /files\.test\.ts/);
  t.equal(seen.parents?.[0]?.pid, process.ppid);
  t.equal(seen.uid, process.getuid?.());
  t.strictSame(glimpse(2 ** 22 + 1), {});
});

t.test('where /proc has other numbers than the kernel tells', { skip: process.getuid?.() !== 0 && 'needs root' }, async (t) => {
  const files = new URL('../../../agent/host/files.ts', import.meta.url).pathname;
  const script = `import { glimpse, seesAllProcesses } from '${files}'; console.log(seesAllProcesses(), JSON.stringify(glimpse(1)))`;
  const inside = ['--pid', '--fork', '--mount-proc', process.execPath, '--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script];
  t.equal(execFileSync('unshare', inside, { encoding: 'utf8' }), 'false {}\n');
  t.ok(seesAllProcesses());
});

const units = [
  { cgroup: '0::/system.slice/ssh.service\n', expected: 'ssh.service' },
  { cgroup: '0::/user.slice/user-0.slice/session-3.scope\n', expected: 'session-3.scope' },
  { cgroup: `0::/system.slice/docker-${'a1'.repeat(32)}.scope\n`, expected: 'container a1a1a1a1a1a1' },
  { cgroup: `11:memory:/kubepods/burstable/pod0/${'b2'.repeat(32)}\n0::/\n`, expected: 'container b2b2b2b2b2b2' },
  { cgroup: '0::/\n', expected: undefined },
];
for (const { cgroup, expected } of units) t.test(cgroup.trim().slice(0, 60), async (t) => t.equal(unitOf(cgroup), expected));
