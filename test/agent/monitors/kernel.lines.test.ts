// portreeve-watch against the kernel, and what stands in for it where it is not there or may not run.
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { ownProgram } from '../../../agent/host/program.ts';
import type { Transaction } from '../../../agent/ledger.ts';
import { KernelMonitors } from '../../../agent/monitors/kernel.ts';
import type { Touched } from '../../../agent/monitors/touched.ts';
import type { Wake } from '../../../agent/sources/source.ts';
import { inNamespace } from '../namespace.ts';

const run = (command: string, ...args: string[]): string => execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

await inNamespace(t, { purpose: 'kernel', file: import.meta.url, timeoutMs: 120_000, tests });

interface Watched {
  readonly monitors: KernelMonitors;
  readonly transactions: { readonly transaction: Transaction; readonly touched: Touched }[];
  readonly wakes: Wake[];
  readonly uncertain: string[];
  readonly ended: string[];
  until(find: () => unknown): Promise<void>;
}

function watch(t: Test, path: string | undefined): Watched {
  const [transactions, wakes, uncertain, ended]: [Watched['transactions'], Wake[], string[], string[]] = [[], [], [], []];
  const monitors = new KernelMonitors({
    onTransaction: (transaction, touched) => transactions.push({ transaction, touched }),
    onWake: (wake) => wakes.push(wake),
    onUncertain: (reason) => uncertain.push(reason),
    onState: (_monitor, reason) => reason !== undefined && ended.push(reason),
    rules: () => 0,
    program: { path },
  });
  t.teardown(() => monitors.close());
  const until = async (find: () => unknown) => {
    for (let i = 0; i < 500 && !find(); i++) await sleep(20);
    t.ok(find(), find.toString());
  };
  return { monitors, transactions, wakes, uncertain, ended, until };
}

async function tests(): Promise<void> {
  const program = ownProgram('portreeve-watch');
  const skip = program === undefined && 'portreeve-watch is not built: make watch';
  if (skip !== false) t.comment(`SKIPPED: ${skip}`);

  await t.test('what portreeve-watch tells', { skip }, async (t) => {
    const { monitors, transactions, wakes, uncertain, until } = watch(t, program);
    await until(() => monitors.watched.has('nft'));
    t.strictSame([...monitors.watched].sort(), ['address', 'iptables-ip', 'iptables-ip6', 'iptables-legacy', 'link', 'netconf', 'nft', 'route']);
    t.strictSame(uncertain, ['portreeve-watch was started']);
    run('iptables', '-A', 'FORWARD', '-p', 'tcp', '-s', '10.1.0.0/16', '!', '-i', 'eth0', '--dport', '9', '-j', 'DROP');
    await until(() => transactions.length === 1);
    t.match(transactions[0]?.transaction, {
      actor: { comm: 'iptables', how: 'nft-generation' },
      touched: new Set(['ip filter', 'ip filter FORWARD']),
      rules: [{ op: 'add', chain: 'ip filter FORWARD', text: 'iifname != eth0 protocol tcp saddr 10.1.0.0/16 dport 9 drop' }],
    });
    run('ip', 'link', 'add', 'eth7', 'type', 'veth', 'peer', 'name', 'eth8');
    run('ip', 'addr', 'add', '192.0.2.7/24', 'dev', 'eth7');
    run('ip', 'link', 'set', 'eth7', 'up');
    run('ip', 'rule', 'add', 'from', '192.0.2.9', 'table', '7');
    writeFileSync('/proc/sys/net/ipv4/conf/eth7/rp_filter', '2');
    await until(() => (['link', 'address', 'route', 'netconf'] as const).every((wake) => wakes.includes(wake)));
    wakes.length = 0;
    run('iptables-legacy', '-L', '-n');
    await until(() => wakes.includes('iptables-legacy'));
  });

  await t.test('a transaction of twelve thousand objects', { skip }, async (t) => {
    const { monitors, transactions, ended, until } = watch(t, program);
    await until(() => monitors.watched.has('nft'));
    const chains = Array.from({ length: 4_000 }, (_, i) => `T-${i}`);
    const directory = mkdtempSync(join(tmpdir(), 'portreeve-test-'));
    t.teardown(() => rmSync(directory, { recursive: true }));
    const text = (lines: readonly string[]) => `*nat\n${chains.map((name) => `:${name} - [0:0]\n`).join('')}${lines.join('\n')}\nCOMMIT\n`;
    writeFileSync(join(directory, 'rules'), text(chains.flatMap((name) => [`-A ${name} -p tcp -m tcp --dport 1 -j RETURN`, `-A ${name} -j RETURN`])));
    const last = () => transactions.at(-1);
    run('iptables-nft-restore', '--noflush', join(directory, 'rules'));
    await until(() => last()?.transaction.actor.comm === 'iptables-nft-re');
    t.ok(last()?.touched.anything, 'too many to name');
    t.strictSame(ended, []);
    for (const line of ['-A T-7 -j RETURN', '-A T-7 -j ACCEPT']) {
      writeFileSync(join(directory, 'one'), `*nat\n:T-7 - [0:0]\n-A T-7 -p tcp -m tcp --dport 1 -j RETURN\n${line}\nCOMMIT\n`);
      const before = transactions.length;
      run('iptables-nft-restore', '--noflush', join(directory, 'one'));
      await until(() => transactions.length > before);
      t.equal(last()?.touched.tables.get('ip nat')?.objects.get('T-7')?.same, line.endsWith('RETURN') ? 2 : undefined, line);
    }
  });

  await t.test('a chain that is written anew again and again: it knows the rules that stand, and keeps nothing of those that are gone', { skip }, async (t) => {
    const { monitors, transactions, until } = watch(t, program);
    await until(() => monitors.watched.has('nft'));
    const directory = mkdtempSync(join(tmpdir(), 'portreeve-test-'));
    t.teardown(() => rmSync(directory, { recursive: true }));
    const count = 3_000;
    const rules = Array.from({ length: count }, (_, i) => `-A ANEW -p tcp -m tcp --dport ${1 + i} -j RETURN\n`).join('');
    writeFileSync(join(directory, 'rules'), `*nat\n:ANEW - [0:0]\n${rules}COMMIT\n`);
    // The first adds, the second deletes for the first time.
    const kilobytes: number[] = [];
    for (let times = 1; times <= 60; times++) {
      run('iptables-nft-restore', '--noflush', join(directory, 'rules'));
      await monitors.synced();
      const touched = transactions.at(-1)?.touched.tables.get('ip nat')?.objects.get('ANEW');
      if (times > 1 && touched?.same !== count) t.fail(`time ${times}: ${JSON.stringify(touched)}`);
      kilobytes.push(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${monitors.pids[0]}/status`, 'utf8'))?.[1]));
    }
    const grown = (kilobytes.at(-1) ?? 0) - (kilobytes[4] ?? 0);
    t.ok(grown < 1_024, `${kilobytes[4]} kB after five times, ${grown} more after sixty`);
  });

  await t.test('when it is asked, all that has happened has been told', { skip }, async (t) => {
    const { monitors, transactions, until } = watch(t, program);
    await until(() => monitors.watched.has('nft'));
    for (let port = 1; port <= 20; port++) {
      run('iptables', '-A', 'OUTPUT', '-p', 'tcp', '--dport', String(port), '-j', 'ACCEPT');
      run('iptables', '-D', 'OUTPUT', '-p', 'tcp', '--dport', String(port), '-j', 'ACCEPT');
      await monitors.synced();
      t.equal(transactions.length, 2 * port);
    }
    process.kill(monitors.pids[0] as number, 'SIGSTOP');
    const asked = monitors.synced();
    process.kill(monitors.pids[0] as number, 'SIGKILL');
    await asked;
  });

  await t.test('without it, the monitors of nft and ip', async (t) => {
    const { monitors, transactions, wakes, uncertain, until } = watch(t, undefined);
    await until(() => uncertain.length === 2);
    t.notOk(monitors.watched.has('iptables-legacy'));
    t.ok(monitors.watched.has('nft') && monitors.watched.has('link'));
    run('iptables', '-A', 'FORWARD', '-p', 'tcp', '--dport', '10', '-j', 'DROP');
    await until(() => transactions.some(({ transaction }) => transaction.touched.has('ip filter FORWARD')));
    run('ip', 'link', 'add', 'eth9', 'type', 'veth', 'peer', 'name', 'eth10');
    await until(() => wakes.includes('link'));
  });

  await t.test('a program that may not run is given up for them', async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'portreeve-test-'));
    t.teardown(() => rmSync(directory, { recursive: true }));
    const refused = join(directory, 'portreeve-watch');
    writeFileSync(refused, '#!/bin/sh\necho "portreeve-watch: nf_tables cannot be watched: Operation not permitted" >&2; exit 1\n');
    chmodSync(refused, 0o755);
    const { monitors, ended, until } = watch(t, refused);
    await until(() => monitors.watched.has('nft'));
    t.match(ended, [/cannot be watched: Operation not permitted/, /cannot be watched/]);
  });

  await t.test('one that is killed is started again, and everything is uncertain', { skip }, async (t) => {
    const { monitors, uncertain, until } = watch(t, program);
    await until(() => monitors.watched.has('nft'));
    process.kill(monitors.pids[0] as number, 'SIGKILL');
    await until(() => !monitors.watched.has('nft'));
    await until(() => monitors.watched.has('nft'));
    t.equal(uncertain.length, 2);
  });

  await t.test('it ends with its parent', { skip }, async (t) => {
    const script = `const { spawn } = require('node:child_process'); console.log(spawn(${JSON.stringify(program)}, { stdio: ['ignore', 'pipe', 'ignore'] }).pid); process.kill(process.pid, 'SIGKILL')`;
    let pid = '';
    try {
      run(process.execPath, '-e', script);
    } catch (error) {
      pid = String((error as { stdout?: string }).stdout).trim();
    }
    t.match(pid, /^\d+$/);
    for (let i = 0; i < 100 && existsSync(`/proc/${pid}`); i++) await sleep(20);
    t.notOk(existsSync(`/proc/${pid}`));
  });
}
