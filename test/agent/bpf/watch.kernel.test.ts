// The watch over the kernel with the real program in a real namespace: what it tells, what it survives, and which rung holds where something is missing.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { KernelWatch, type KernelWatchOptions } from '../../../agent/bpf/watch.ts';
import { bpfProgram } from '../../../agent/host/bpf.ts';
import { thisMachine } from '../../../agent/host/machine.ts';
import type { DropsFact, Fact, NodePortFact, SourceFact } from '../../../shared/model/fact.ts';
import { nodePortFactKey } from '../../../shared/model/fact.ts';
import { inNamespace } from '../namespace.ts';
import { noBpf, run } from './program.ts';

const times = { pauseMinMs: 50, pauseMaxMs: 200, wellMs: 30_000, pingMs: 300 };

interface Given extends Partial<KernelWatchOptions> {
  /** Words before the program, e.g. `setpriv …`; a line of a shell script. */
  readonly under?: string;
}

async function watch(t: Test, { under, ...given }: Given = {}) {
  const changed: string[] = [];
  const notices: string[] = [];
  let wrapper: string | undefined;
  if (under !== undefined) {
    wrapper = join(t.testdir({}), 'wrapper');
    writeFileSync(wrapper, `#!/bin/sh\n${under.replace('PROGRAM', bpfProgram() as string)}\n`);
    chmodSync(wrapper, 0o755);
  }
  const kernel = new KernelWatch({
    machine: thisMachine(new AbortController().signal),
    onWake: (wakes) => changed.push(...wakes),
    onFacts: () => {},
    onNotice: (text, details) => notices.push(`${text} ${JSON.stringify(details)}`),
    times,
    ...(wrapper === undefined ? {} : { program: { path: wrapper } }),
    ...given,
  });
  t.teardown(() => kernel.close());
  await kernel.start();
  const until = async <Found>(find: () => Found | undefined | false, timeoutMs = 10_000): Promise<Found> => {
    for (const deadline = Date.now() + timeoutMs; ; await new Promise((resolve) => setTimeout(resolve, 20))) {
      const found = find();
      if (found) return found;
      if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${find}; ${JSON.stringify(kernel.facts())}; ${notices.join('; ')}`);
    }
  };
  const rung = (name: string) =>
    until(() => {
      const fact = kernel.sourceFact();
      return fact.rung === name && !fact.reason?.includes('not answered yet') && fact;
    });
  return { kernel, changed, notices, until, rung };
}

function nodePort(port: number, decidedBy?: object): NodePortFact {
  const key = { protocol: 'tcp' as const, family: 4 as const, port };
  const outcome = { verdict: 'drop' as const, dnat: null, masquerade: false, weight: 1, ...(decidedBy === undefined ? {} : { decidedBy }) };
  return {
    kind: 'nodeport',
    key: nodePortFactKey(key),
    nodePort: key,
    address: '127.0.0.1',
    outcomes: { external: [outcome] },
    claimed: { by: 'rule' },
  } as NodePortFact;
}
const factsOf = (...facts: readonly Fact[]): ReadonlyMap<string, Fact> => new Map(facts.map((fact) => [fact.key, fact]));

/** Tries to connect and does not care. */
function knock(port: number): void {
  const socket = connect(port, '127.0.0.1').on('error', () => {});
  setTimeout(() => socket.destroy(), 1_500).unref();
}

const dropsOf = (kernel: KernelWatch, port: number): DropsFact | undefined =>
  kernel.facts().find((fact): fact is DropsFact => fact.kind === 'drops' && fact.nodePort.port === port);

/** Ids of the programs that a process has loaded. */
const programsOf = (pid: number): string[] => [
  ...new Set(readdirSync(`/proc/${pid}/fdinfo`).flatMap((fd) => /^prog_id:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8'))?.[1] ?? [])),
];
const isLoaded = (id: string): boolean => spawnSync('bpftool', ['prog', 'show', 'id', id]).status === 0;

async function tests(): Promise<void> {
  run('iptables-legacy', '-A', 'INPUT', '-p', 'tcp', '--dport', '30080', '-j', 'DROP');
  const rule = { by: 'rule', family: 'ip', table: 'filter', chain: 'INPUT', rule: 1, backend: 'legacy', text: '-A INPUT -p tcp -m tcp --dport 30080 -j DROP' };

  await t.test('drops become facts; the rule is named when its counter rises with them', async (t) => {
    const { kernel, until, rung } = await watch(t);
    t.match(await rung('everything'), { outcome: 'facts', watch: 'events' });
    kernel.look(factsOf(nodePort(30080, { ...rule, packets: '0' }), nodePort(30081)));
    await new Promise((resolve) => setTimeout(resolve, 100));
    knock(30080);
    knock(30081);
    t.match(await until(() => dropsOf(kernel, 30080)), { drops: [{ of: 'request', reason: 'NETFILTER_DROP', prefixes: ['127.0.0.0/24'], device: 'lo' }] });
    t.match(await until(() => dropsOf(kernel, 30081)), { drops: [{ of: 'request', reason: 'NO_SOCKET' }] });
    const confirmed = await until(() => dropsOf(kernel, 30080)?.drops[0]?.rule);
    t.match(confirmed, { text: rule.text, packets: /^[1-9]/ });
    t.comment(`RSS of the program ${(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${kernel.pids[0]}/status`, 'utf8'))?.[1]) / 1024).toFixed(1)} MB`);
  });

  await t.test('a rule whose counter does not move is not named', async (t) => {
    run('iptables-legacy', '-t', 'mangle', '-A', 'INPUT', '-p', 'tcp', '--dport', '30082', '-j', 'DROP');
    run('iptables-legacy', '-A', 'INPUT', '-p', 'tcp', '--dport', '30082', '-j', 'DROP');
    const { kernel, until, rung } = await watch(t);
    await rung('everything');
    const other = { ...rule, rule: 2, text: '-A INPUT -p tcp -m tcp --dport 30082 -j DROP', packets: '0' };
    kernel.look(factsOf(nodePort(30082, other)));
    await new Promise((resolve) => setTimeout(resolve, 100));
    knock(30082);
    await until(() => (dropsOf(kernel, 30082)?.drops[0]?.packets ?? 0) >= 2);
    t.match(dropsOf(kernel, 30082), { drops: [{ reason: 'NETFILTER_DROP', rule: undefined }] });
  });

  await t.test('who changed what, and which sources are to be read for it', async (t) => {
    const { kernel, changed, until, rung } = await watch(t);
    await rung('everything');
    await new Promise((resolve) => setTimeout(resolve, 100));
    changed.length = 0;
    const from = Date.now();
    // What the agent itself starts is of no interest, so somebody else does it.
    run('sh', '-c', 'iptables-legacy -A FORWARD -j ACCEPT; ipset create seen hash:ip; true');
    await until(() => changed.includes('iptables-legacy') && changed.includes('ipset'));
    const act = await until(() => kernel.acts(from - 1_000, Date.now()).find(({ wrote, exact }) => wrote === 'legacy' && exact));
    t.match(act, { object: 'ip filter', actor: { comm: 'iptables-legacy', argv: ['iptables-legacy', '-A'], how: 'ebpf', uid: 0 } });
    t.match(act.actor.parents, [{ comm: 'sh' }, { pid: process.pid }]);
    const set = await until(() => kernel.acts(from - 1_000, Date.now()).find(({ wrote }) => wrote === 'ipset'));
    t.match(set.actor, { comm: 'ipset', argv: ['ipset', 'create', 'seen', 'hash:ip'] });
  });

  await t.test('what the agent itself runs is no news', async (t) => {
    const { kernel, changed, rung } = await watch(t);
    await rung('everything');
    await new Promise((resolve) => setTimeout(resolve, 700));
    changed.length = 0;
    const from = Date.now();
    run('ipset', 'create', 'own', 'hash:ip');
    run('sh', '-c', 'ipset list; iptables -S; true');
    await new Promise((resolve) => setTimeout(resolve, 700));
    t.strictSame(changed, []);
    t.strictSame(kernel.acts(from, Date.now()), []);
  });

  await t.test('killed, it is started again and looks for the same', async (t) => {
    const { kernel, until, rung, notices } = await watch(t);
    await rung('everything');
    kernel.look(factsOf(nodePort(30080), nodePort(30083)));
    const [pid = 0] = kernel.pids;
    process.kill(pid, 'SIGKILL');
    t.match(await rung('monitors'), { outcome: 'failed', watch: 'poll', reason: /portreeve-bpf ended: ended by SIGKILL/ });
    await rung('everything');
    t.not(kernel.pids[0], pid);
    await new Promise((resolve) => setTimeout(resolve, 100));
    knock(30083);
    t.match(await until(() => dropsOf(kernel, 30083)), { drops: [{ reason: 'NO_SOCKET' }] });
    t.equal(notices.filter((notice) => notice.startsWith('eBPF')).length, 3, notices.join('\n'));
  });

  await t.test('hanging, it is killed and started again', async (t) => {
    const { kernel, rung } = await watch(t);
    await rung('everything');
    const [pid = 0] = kernel.pids;
    process.kill(pid, 'SIGSTOP');
    t.match(await rung('monitors'), { reason: /did not answer for 300 ms/ });
    await rung('everything');
    t.notOk(existsSync(`/proc/${pid}`));
  });

  await t.test('more backends than it has room for: it is started anew with more', async (t) => {
    const { kernel, until, rung, notices } = await watch(t);
    await rung('everything');
    const [pid] = kernel.pids;
    const outcomes = Array.from({ length: 5_000 }, (_, i) => ({
      verdict: 'forward' as const,
      dnat: `10.1.${i >> 8}.${i & 255}:80`,
      masquerade: false,
      weight: 1,
    }));
    kernel.look(factsOf({ ...nodePort(30084), outcomes: { external: outcomes } }));
    await until(() => kernel.pids[0] !== pid);
    await rung('everything');
    await until(() => {
      knock(30084);
      return dropsOf(kernel, 30084);
    });
    t.notOk(
      notices.some((notice) => notice.includes('refuses')),
      notices.join('\n'),
    );
  });

  await t.test('an agent that is killed leaves nothing', async (t) => {
    const program = fileURLToPath(new URL('./watch.program.ts', import.meta.url));
    const agent: ChildProcess = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program], { stdio: ['ignore', 'pipe', 'inherit'] });
    const pid = Number(await new Promise<string>((resolve) => agent.stdout?.once('data', (chunk: Buffer) => resolve(chunk.toString()))));
    t.ok(existsSync(`/proc/${pid}`));
    const loaded = programsOf(pid);
    t.ok(loaded.length >= 4 && loaded.every(isLoaded), `${loaded.length} programs`);
    agent.kill('SIGKILL');
    for (let i = 0; i < 300 && (existsSync(`/proc/${pid}`) || loaded.some(isLoaded)); i++) await new Promise((resolve) => setTimeout(resolve, 20));
    t.notOk(existsSync(`/proc/${pid}`));
    t.strictSame(loaded.filter(isLoaded), []);
  });

  await t.test('without any capability', async (t) => {
    const { rung } = await watch(t, { under: 'exec setpriv --reuid 65534 --clear-groups --bounding-set=-all PROGRAM "$@"' });
    const fact = await rung('monitors');
    t.match(fact, { outcome: 'failed', reason: /no eBPF: EPERM: loading needs CAP_BPF and CAP_PERFMON/ });
  });

  await t.test('root without capabilities is told the same, and that audit does not stand in', async (t) => {
    const { kernel, until } = await watch(t, { under: 'exec setpriv --bounding-set=-all PROGRAM "$@"' });
    const said = (): SourceFact | false => /no audit: /.test(kernel.sourceFact().reason ?? '') && kernel.sourceFact();
    t.match(await until(said), { rung: 'monitors', reason: /EPERM.*no audit: (auditing is off|its records cannot be read|whether it is on)/ });
  });

  await t.test('CAP_BPF and CAP_PERFMON alone: drops and processes, and the calls only where no tracefs is needed', async (t) => {
    const { kernel, until } = await watch(t, { under: 'exec setpriv --bounding-set=-all,+bpf,+perfmon PROGRAM "$@"' });
    const fact = await until(() => kernel.sourceFact().outcome === 'facts' && kernel.sourceFact());
    if (fact.rung === 'everything') return t.comment('this kernel has kprobes: nothing is missing');
    t.match(fact, { rung: 'drops and processes', watch: 'events', reason: /calls of iptables-legacy are not seen \(tracefs: / });
    kernel.look(factsOf(nodePort(30085)));
    await new Promise((resolve) => setTimeout(resolve, 100));
    knock(30085);
    t.match(await until(() => dropsOf(kernel, 30085)), { drops: [{ reason: 'NO_SOCKET' }] });
  });

  await t.test('no BTF', async (t) => {
    const { rung } = await watch(t, { under: `exec unshare -m sh -c 'mount -t tmpfs none /sys/kernel/btf && exec "$0" "$@"' PROGRAM "$@"` });
    t.match(await rung('monitors'), { outcome: 'failed', reason: /no BTF: this kernel has no \/sys\/kernel\/btf\/vmlinux/ });
  });

  await t.test('not built', async (t) => {
    const { kernel } = await watch(t, { program: { path: undefined } });
    t.match(kernel.sourceFact(), { outcome: 'absent', rung: 'monitors', reason: /portreeve-bpf is not here \("make build" builds it\)/ });
    t.strictSame(kernel.facts().length, 1);
  });

  await t.test('a program that talks nonsense', async (t) => {
    const { rung } = await watch(t, { under: 'yes nonsense | head -n 200; exec sleep 5' });
    t.match(await rung('monitors'), { reason: /said 100 lines that make no sense/ });
  });
}

if (noBpf !== false && process.env.PORTREEVE_TEST_NAMESPACE === undefined) {
  t.comment(`SKIPPED: ${noBpf}`);
  t.pass('not tested', { skip: noBpf });
} else {
  await inNamespace(t, { purpose: 'bpf', file: import.meta.url, timeoutMs: 120_000, tests });
}
