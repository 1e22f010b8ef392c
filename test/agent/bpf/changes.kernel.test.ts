// Programs that change a node's rules, sets and routes, in a real namespace: what portreeve-bpf says of who did what.
import { chmodSync, copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { ExecEvent, ExitEvent, ReplaceEvent, SignalEvent } from '../../../agent/bpf/events.parse.ts';
import { Namespace } from '../namespace.ts';
import { noBpf, run, Watching } from './program.ts';

const names = ['iptables', 'iptables-legacy', 'iptables-legacy-restore', 'ipset', 'ip', 'nft', 'sysctl', 'ufw'].map((name) => `+ tool 1 ${name.slice(0, 15)}`);
const others = ['+ tool 2 bash', '+ tool 3 kube-proxy'];

t.test('who changes the network', { skip: noBpf, timeout: 60_000 }, async (t) => {
  const namespace = new Namespace('changes');
  t.teardown(() => namespace.close());
  const watching = new Watching(namespace.name);
  t.teardown(() => watching.close());
  watching.send(...names, ...others);
  await watching.settled();

  const exec = async (fits: (event: ExecEvent) => boolean): Promise<ExecEvent> =>
    (await watching.wait((event) => event.kind === 'exec' && fits(event))) as ExecEvent;
  const replace = async (fits: (event: ReplaceEvent) => boolean): Promise<ReplaceEvent> =>
    (await watching.wait((event) => event.kind === 'replace' && fits(event))) as ReplaceEvent;
  const ended = async (pid: number): Promise<ExitEvent> => (await watching.wait((event) => event.kind === 'exit' && event.pid === pid)) as ExitEvent;

  await t.test('a table of iptables-legacy is replaced', async (t) => {
    const start = Date.now();
    namespace.run('iptables-legacy', '-A', 'FORWARD', '-p', 'udp', '--dport', '53', '-m', 'comment', '--comment', 'a "b" \\ c', '-j', 'DROP');
    const replaced = await replace(({ what }) => what === 'ip');
    t.match(replaced, { table: 'filter', result: 0, uid: 0, own: true, comm: 'iptables-legacy' });
    t.ok(Math.abs(replaced.at - start) < 5_000);
    const program = await exec(({ pid }) => pid === replaced.pid);
    t.match(program, { class: 'tool', comm: 'iptables-legacy', uid: 0, own: true, file: /iptables-legacy$/ });
    t.strictSame(program.argv.slice(1), ['-A', 'FORWARD', '-p', 'udp', '--dport', '53', '-m', 'comment', '--comment', 'a "b" \\ c', '-j', 'DROP']);
    t.equal(program.parents[0]?.pid, process.pid, 'its parent is this test');
    await ended(replaced.pid);
  });

  await t.test('ip6tables-legacy, and a table that is not filter', async (t) => {
    namespace.run('ip6tables-legacy', '-t', 'mangle', '-A', 'PREROUTING', '-j', 'ACCEPT');
    t.match(await replace(({ what }) => what === 'ip6'), { table: 'mangle', result: 0 });
  });

  await t.test('a restore that the kernel refuses changes nothing, and that is said', async (t) => {
    t.throws(() => namespace.run('iptables-legacy', '-t', 'nat', '-A', 'PREROUTING', '-j', 'MASQUERADE'));
    t.match(await replace(({ result }) => result !== 0), { what: 'ip', table: 'nat', result: -22 });
  });

  await t.test('iptables-nft and nft replace no table; that they ran is told', async (t) => {
    const before = watching.events.filter(({ kind }) => kind === 'replace').length;
    namespace.run('iptables', '-A', 'FORWARD', '-j', 'ACCEPT');
    namespace.run('nft', 'add', 'table', 'inet', 'mine');
    t.match(await exec(({ comm }) => comm === 'iptables'), { argv: [/iptables$/, '-A', 'FORWARD', '-j', 'ACCEPT'] });
    t.match(await exec(({ comm }) => comm === 'nft'), { argv: [/nft$/, 'add', 'table', 'inet', 'mine'] });
    t.equal(watching.events.filter(({ kind }) => kind === 'replace').length, before);
  });

  await t.test('ipset, ip and sysctl: their run and its end', async (t) => {
    namespace.run('ipset', 'create', 'blocked', 'hash:ip');
    namespace.run('ip', 'route', 'add', 'blackhole', '192.0.2.0/24');
    namespace.run('sysctl', '-q', '-w', 'net.ipv4.ip_forward=1');
    for (const [comm, argv] of [
      ['ipset', ['create', 'blocked', 'hash:ip']],
      ['ip', ['route', 'add', 'blackhole', '192.0.2.0/24']],
      ['sysctl', ['-q', '-w', 'net.ipv4.ip_forward=1']],
    ] as const) {
      const program = await exec((event) => event.comm === comm && event.argv.at(-1) === argv.at(-1));
      t.strictSame(program.argv.slice(1), argv);
      await ended(program.pid);
    }
  });

  await t.test('a script is known by its name, whether it names its interpreter or is given to one', async (t) => {
    const directory = t.testdir({});
    const script = join(directory, 'ufw');
    writeFileSync(script, '#!/bin/bash\niptables -A INPUT -p tcp --dport 22 -j ACCEPT\ntrue\n');
    chmodSync(script, 0o755);
    namespace.run(script, 'enable');
    t.match(await exec(({ comm }) => comm === 'ufw'), { class: 'tool', file: script, argv: [/bash$/, script, 'enable'] });
    const child = await exec(({ argv }) => argv.includes('22'));
    t.equal(child.parents[0]?.comm, 'ufw');
    namespace.run('bash', script, 'reload');
    t.match(await exec((event) => event.class === 'interpreter' && event.argv.includes('reload')), { comm: 'bash', argv: ['bash', script, 'reload'] });
    namespace.run('bash', '-e', '-c', 'true; /usr/sbin/iptables -S && exit 0');
    t.match(await exec((event) => event.class === 'interpreter' && event.argv.includes('-e')), { comm: 'bash' });
  });

  await t.test('what else interpreters run is not told', async (t) => {
    for (const line of ['true', 'echo iptablesque /iptables/x', '']) namespace.run('bash', '-c', line, 'unrelated');
    namespace.run('nft', 'list', 'tables');
    const last = await exec(({ argv }) => argv.includes('list'));
    await ended(last.pid);
    t.notOk(watching.events.some((event) => event.kind === 'exec' && event.argv.includes('unrelated')));
    t.notOk(watching.events.some((event) => event.kind === 'exit' && event.comm === 'bash' && event.at > last.at));
  });

  await t.test('a daemon starts and ends', async (t) => {
    const directory = t.testdir({});
    const program = join(directory, 'kube-proxy');
    copyFileSync(run('sh', '-c', 'command -v sleep').trim(), program);
    const child = namespace.start(program, '60');
    const started = await exec((event) => event.class === 'daemon');
    t.match(started, { comm: 'kube-proxy', pid: child.pid });
    child.kill('SIGTERM');
    await ended(started.pid);
  });

  await t.test('who ends a daemon, and with what; signals that end nothing are not told', async (t) => {
    const daemon = join(t.testdir({}), 'kube-proxy');
    copyFileSync('/bin/sleep', daemon);
    chmodSync(daemon, 0o755);
    const signals = () => watching.events.filter((event) => event.kind === 'signal').filter(({ sender }) => sender.comm === 'bash');
    for (const [word, number] of [
      ['TERM', 15],
      ['KILL', 9],
    ] as const) {
      namespace.run('bash', '-c', `"${daemon}" 60 & sleep 0.3; kill -0 $!; kill -${word} $!; wait $! || true`);
      const told = (await watching.wait((event) => event.kind === 'signal' && event.signal === number && event.sender.comm === 'bash')) as SignalEvent;
      t.match(told, { target: { comm: 'kube-proxy' }, sender: { comm: 'bash', uid: 0, own: true } });
      t.ok(told.sender.argv.at(-1)?.includes(`kill -${word}`), 'its arguments are told');
      t.equal(told.sender.parents[0]?.pid, process.pid);
      await ended(told.target.pid);
    }
    t.strictSame(
      signals().map(({ signal }) => signal),
      [15, 9],
    );
  });

  await t.test('a signal that the kernel sends by itself is laid to nobody', async (t) => {
    const daemon = join(t.testdir({}), 'kube-proxy');
    copyFileSync('/bin/bash', daemon);
    chmodSync(daemon, 0o755);
    namespace.run('bash', '-c', `(ulimit -t 1; exec "${daemon}" -c 'while :; do :; done') || test $? -gt 128`);
    const started = await exec((event) => event.class === 'daemon' && event.argv.includes('while :; do :; done'));
    await ended(started.pid);
    t.notOk(watching.events.some((event) => event.kind === 'signal' && event.target.pid === started.pid));
  });

  await t.test('names and arguments of any sort come through', async (t) => {
    const directory = join(t.testdir({}), 'a\tb "c"');
    mkdirSync(directory);
    symlinkSync('/bin/true', join(directory, 'nft'));
    namespace.run(join(directory, 'nft'), '', 'line\nbreak', '\u001b[31m', 'ünï', '\u007f', 'x'.repeat(2_000));
    const program = await exec(({ file }) => file.includes('"c"'));
    t.strictSame(program.argv.slice(1, 6), ['', 'line\nbreak', '\u001b[31m', 'ünï', '\u007f']);
    t.ok(program.argv.at(-1)?.startsWith('xxx'), 'what is longer than there is room for is cut');
  });

  await t.test('what happens in other namespaces is not told', async (t) => {
    const other = new Namespace('elsewhere');
    t.teardown(() => other.close());
    other.run('iptables-legacy', '-A', 'OUTPUT', '-p', 'tcp', '--dport', '4444', '-j', 'DROP');
    namespace.run('nft', 'list', 'tables');
    await exec(({ argv }) => argv.includes('tables'));
    t.notOk(watching.events.some((event) => event.kind === 'exec' && event.argv.includes('4444')));
    t.notOk(watching.events.some((event) => event.kind === 'replace' && !event.own));
  });

  t.strictSame(
    watching.events.filter(({ kind }) => kind === 'lost' || kind === 'garbage'),
    [],
  );
});
