// What nobody wishes a node: messages that are lost, ten thousand changes in a moment, comments of control characters, a clock that is set. A real agent in a
// namespace says what it could not see, and is as it was when it is over.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { ownProgram } from '../../agent/host/program.ts';
import type { SourceFact } from '../../shared/model/fact.ts';
import { noBpf } from './bpf/program.ts';
import { inNamespace } from './namespace.ts';
import { Peer, type ReceivedChange } from './peer.ts';

const patienceMs = 30_000;
const run = (command: string, ...args: string[]): string => execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

interface Running {
  readonly child: ChildProcess;
  readonly peer: Peer;
  readonly log: () => string;
}

/** An agent that has read the node and hears of changes. */
async function startAgent(program: string): Promise<Running> {
  const peer = await Peer.start();
  const child = spawn(process.execPath, [fileURLToPath(new URL(program, import.meta.url)), peer.url], { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr.on('data', (chunk: Buffer) => (log += chunk.toString()));
  t.teardown(async () => {
    child.kill('SIGTERM');
    await new Promise((resolve) => (child.exitCode === null && child.signalCode === null ? child.once('exit', resolve) : resolve(undefined)));
    await peer.close();
  });
  await peer.wait(() => peer.facts.get('source/iptables'), patienceMs);
  await sleep(1_500);
  return { child, peer, log: () => log };
}

const added = (peer: Peer, text: string) => (): ReceivedChange | undefined => peer.changes.find(({ after }) => after?.includes(text) === true);

async function tests(): Promise<void> {
  run('iptables', '-A', 'FORWARD', '-j', 'ACCEPT');
  const agent = await startAgent('./agent.program.ts');
  const { peer } = agent;

  await t.test('a comment of control characters', async (t) => {
    run('iptables', '-I', 'FORWARD', '-p', 'tcp', '--dport', '81', '-m', 'comment', '--comment', '\u001b[31m\u0001"\t\u007f', '-j', 'DROP');
    const change = await peer.wait(added(peer, '--dport 81'), patienceMs);
    t.match(change, { subject: 'ip filter FORWARD', kind: 'rule' });
    t.strictSame(peer.malformed, []);
    run('iptables', '-D', 'FORWARD', '1');
    const gone = await peer.wait(() => peer.changes.find(({ before }) => before?.includes('--dport 81') === true), patienceMs);
    t.equal(gone.before, change.after?.replace(/ {2}# rule 1 of \d+$/, ''), 'what goes is what came');
  });

  await t.test('a line break in a comment', async (t) => {
    run('iptables', '-I', 'FORWARD', '-p', 'tcp', '--dport', '82', '-m', 'comment', '--comment', 'a\n-A FORWARD -j ACCEPT', '-j', 'DROP');
    await peer.wait(added(peer, '--dport 82'), patienceMs);
    run('iptables', '-D', 'FORWARD', '1');
    await peer.wait(() => peer.changes.find(({ before }) => before?.includes('--dport 82') === true), patienceMs);
    t.strictSame(peer.malformed, []);
  });

  await t.test('a program whose name is of escape sequences', async (t) => {
    const directory = t.testdir({});
    const name = join(directory, 'ip\u001b[31m\nx');
    writeFileSync(name, '#!/bin/bash\niptables -A FORWARD -p tcp --dport 83 -j DROP\nexit\n', { mode: 0o755 });
    run(name);
    const { actor } = await peer.wait(added(peer, '--dport 83'), patienceMs);
    t.equal(actor?.comm, 'iptables');
    if (noBpf === false) t.equal(actor?.parents?.[0]?.comm, 'ip\u001b[31m\nx');
    t.strictSame(peer.malformed, []);
  });

  await t.test('ten thousand transactions, one after the other as fast as they go', async (t) => {
    run('nft', 'add table inet many { set ports { type inet_service; }; chain in { type filter hook input priority 5; tcp dport @ports drop; }; }');
    await peer.wait(added(peer, '@ports'), patienceMs);
    const from = performance.now();
    const lines = Array.from({ length: 10_000 }, (_, i) => `${i % 3 === 2 ? 'delete' : 'add'} element inet many ports { ${1 + (i % 3 === 2 ? i - 1 : i)} }\n`);
    execFileSync('nft', ['-i'], { input: `${lines.join('')}quit\n`, stdio: ['pipe', 'ignore', 'pipe'] });
    t.comment(`written in ${Math.round(performance.now() - from)} ms`);
    run('nft', 'add rule inet many in tcp dport 65000 drop');
    await peer.wait(added(peer, 'tcp dport 65000'), patienceMs);
    const told = peer.changes.filter(({ subject }) => subject === 'inet many ports');
    const elements = new Set<string>();
    for (const { before, after } of told) {
      for (const element of before?.match(/\d+/g) ?? []) elements.delete(element);
      for (const element of after?.match(/\d+/g) ?? []) elements.add(element);
    }
    t.ok(told.length > 0 && told.length < 1_000, `${told.length} entries of the ledger`);
    t.ok(
      told.every(({ actor }) => actor?.comm === 'nft'),
      'done by nft',
    );
    t.strictSame(peer.malformed, []);
    run('nft', 'delete', 'table', 'inet', 'many');
    await peer.wait(() => peer.changes.find(({ subject, after }) => subject === 'inet many' && after === null), patienceMs);
  });

  await t.test(
    'more messages than the kernel keeps for whoever does not listen',
    { skip: ownProgram('portreeve-watch') === undefined && 'portreeve-watch is not built' },
    async (t) => {
      const watch = Number(run('pgrep', '-P', String(agent.child.pid), '-f', '/portreeve-watch$').trim());
      const directory = t.testdir({});
      const rules = Array.from({ length: 20_000 }, (_, i) => `-A LOST -p tcp -m tcp --dport ${1 + i} -j RETURN\n`);
      writeFileSync(join(directory, 'rules'), `*mangle\n:LOST - [0:0]\n${rules.join('')}COMMIT\n`);
      process.kill(watch, 'SIGSTOP');
      try {
        for (let i = 0; i < 8; i++) run('iptables-nft-restore', '--noflush', join(directory, 'rules'));
        run('iptables', '-A', 'OUTPUT', '-p', 'tcp', '--dport', '40084', '-j', 'DROP');
      } finally {
        process.kill(watch, 'SIGCONT');
      }
      const gap = await peer.wait(() => peer.changes.find(({ kind }) => kind === 'gap'), patienceMs);
      t.match(gap, { gap: { reason: 'watch-overrun' }, subject: 'events of the kernel' });
      t.ok((gap.gap?.from ?? 1) <= (gap.gap?.to ?? 0));
      t.match(await peer.wait(added(peer, '--dport 40084'), patienceMs), { subject: 'ip filter OUTPUT' }, 'what has stayed is told');
      run('iptables', '-A', 'OUTPUT', '-p', 'tcp', '--dport', '40085', '-j', 'DROP');
      t.match(await peer.wait(added(peer, '--dport 40085'), patienceMs), { actor: { comm: 'iptables' } }, 'and it hears again');
      run('bash', '-c', 'iptables -t mangle -F LOST; iptables -t mangle -X LOST');
      await peer.wait(() => peer.changes.find(({ subject, after }) => subject === 'ip mangle LOST' && after === null), patienceMs);
    },
  );

  await t.test('nothing was missed, and nothing is ill', async (t) => {
    const facts = [...peer.facts.values()].filter((fact): fact is SourceFact => fact.kind === 'source');
    t.strictSame(
      facts.filter(({ outcome, source }) => outcome === 'failed' && source !== 'ebpf'),
      [],
    );
    t.strictSame(
      facts.filter(({ missed }) => missed !== undefined),
      [],
    );
  });

  await t.test('a clock that is set', async (t) => {
    const { child, peer, log } = await startAgent('./clock.program.ts');
    for (const [signal, port, aheadMs] of [
      ['SIGUSR1', 91, 3_600_000],
      ['SIGUSR2', 92, -3_600_000],
    ] as const) {
      const hellos = peer.hellos.length;
      child.kill(signal);
      await peer.wait(() => peer.hellos.length > hellos || undefined, patienceMs);
      t.ok(Math.abs((peer.hellos.at(-1)?.clock ?? 0) - Date.now() - aheadMs) < 10_000, 'the collector is told the new time');
      run('iptables', '-A', 'FORWARD', '-p', 'tcp', '--dport', String(port), '-j', 'DROP');
      const change = await peer.wait(added(peer, `--dport ${port}`), patienceMs);
      t.match(change.actor, { comm: 'iptables' });
      t.ok(Math.abs(change.at - Date.now() - aheadMs) < 10_000, "by the node's clock");
      run('iptables', '-D', 'FORWARD', '-p', 'tcp', '--dport', String(port), '-j', 'DROP');
      await peer.wait(() => peer.changes.find(({ before }) => before?.includes(`--dport ${port}`) === true), patienceMs);
    }
    t.equal(log().match(/the clock was set/g)?.length, 2);
    t.strictSame(
      peer.changes.map(({ seq }) => seq),
      peer.changes.map((_, i) => i + 1),
    );
  });
}

await inNamespace(t, { purpose: 'extremes', file: import.meta.url, timeoutMs: 180_000, tests });
