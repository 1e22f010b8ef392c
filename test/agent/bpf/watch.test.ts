// The watch over small programs that stand in for portreeve-bpf on kernels that are not at hand: audit in its place, messages to ipset and IPVS, floods.
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { KernelWatch } from '../../../agent/bpf/watch.ts';
import type { Machine } from '../../../agent/host/machine.ts';
import { limits } from '../../../shared/limits.ts';

const machine: Machine = { run: async () => ({ kind: 'missing' }), read: async () => ({ kind: 'absent' }), list: async () => [] };
const times = { pauseMinMs: 20, pauseMaxMs: 60, wellMs: 30_000, pingMs: 400 };
const hello = '{"ev":"hello","version":1,"kernel":"6.1.0","netns":1,"backends":4096,"drops":"ok","exec":"ok","callsBy":"kprobe","calls":"ok","netlink":"ok"}';
const answering = `while read -r line; do case "$line" in ping*) echo '{"ev":"pong","id":"-"}';; esac; done`;
const say = (...lines: readonly string[]): string => `cat <<'END'\n${lines.join('\n')}\nEND\n`;

async function watch(t: Test, script: string) {
  const path = join(t.testdir({}), 'portreeve-bpf');
  writeFileSync(path, `#!/bin/bash\n${script}\n`);
  chmodSync(path, 0o755);
  const changed: string[] = [];
  const notices: string[] = [];
  const told: string[] = [];
  const kernel = new KernelWatch({
    machine,
    program: { path },
    times,
    onWake: (wakes) => changed.push(...wakes),
    onTold: (wakes, how) => told.push(`${wakes.join()} ${how}`),
    onFacts: () => {},
    onNotice: (text) => notices.push(text),
  });
  t.teardown(() => kernel.close());
  await kernel.start();
  const until = async (fits: () => boolean) => {
    for (let i = 0; i < 400 && !fits(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
    t.ok(fits(), `${fits} of ${JSON.stringify(kernel.sourceFact())}`);
  };
  return { kernel, changed, notices, told, until };
}

const refused = '{"ev":"refused-start","stage":"load","code":"EPERM","reason":"libbpf: failed"}';
const audited = [
  '{"ev":"audit-hello","enabled":true}',
  '{"ev":"audit","type":1325,"serial":8,"at":1795818769102,"text":"table=filter family=2 entries=4 op=xt_replace pid=91 subj=unconfined comm=\\"iptables-legacy\\""}',
  '{"ev":"audit","type":1300,"serial":8,"at":1795818769102,"text":"ppid=1 pid=91 auid=1000 uid=0 comm=\\"iptables-legacy\\""}',
  '{"ev":"audit","type":1327,"serial":8,"at":1795818769102,"text":"proctitle=69707461626C65732D6C6567616379002D46"}',
];

t.test('where nothing may be loaded and audit is on, audit tells of changes', async (t) => {
  const script = `if [ "$1" = watch ]; then ${say(refused)} exit 3; fi\n${say(...audited)}\n${answering}`;
  const { kernel, changed, until } = await watch(t, script);
  await until(() => kernel.sourceFact().rung === 'audit');
  t.match(kernel.sourceFact(), { outcome: 'failed', watch: 'events', reason: /EPERM.*audit/ });
  await until(() => changed.includes('iptables-legacy'));
  const [act] = kernel.acts(1795818769000, 1795818770000);
  t.match(act, {
    wrote: 'legacy',
    object: 'ip filter',
    exact: true,
    actor: { pid: 91, argv: ['iptables-legacy', '-F'], uid: 0, loginUid: 1000, how: 'audit' },
  });
  t.match(kernel.complete({ pid: 91, comm: 'iptables-legacy', how: 'nft-generation' }), { how: 'audit', argv: ['iptables-legacy', '-F'] });
});

t.test('where audit is off too, only the monitors are left, and both reasons are told', async (t) => {
  const off = '{"ev":"refused-start","stage":"audit","code":"","reason":"auditing is off (auditctl -s: enabled 0)"}';
  const { kernel, until } = await watch(t, `if [ "$1" = watch ]; then ${say(refused)} exit 3; fi\n${say(off)} exit 3`);
  await until(() => kernel.sourceFact().reason?.includes('no audit') === true);
  t.match(kernel.sourceFact(), { rung: 'monitors', watch: 'poll', reason: /EPERM.*no audit: auditing is off \(auditctl -s: enabled 0\)/ });
  await new Promise((resolve) => setTimeout(resolve, 300));
  t.match(kernel.sourceFact(), { reason: /no audit: auditing is off/ }, 'also after it was tried again');
});

t.test('a capability that comes later is used', async (t) => {
  const script = `if [ "$1" = watch ] && [ ! -e "$0.granted" ]; then touch "$0.granted"; ${say(refused)} exit 3; fi\n${say(hello)}\n${answering}`;
  const { kernel, changed, told, until } = await watch(t, script);
  await until(() => kernel.sourceFact().rung === 'everything');
  t.match(kernel.sourceFact(), { outcome: 'facts', reason: undefined });
  t.strictSame(told, ['iptables-legacy certain', 'ipset mostly', 'ipvs certain']);
  t.ok(
    ['iptables-legacy', 'ipset', 'ipvs', 'process'].every((wake) => changed.includes(wake)),
    'what happened before is not known',
  );
  await until(() => kernel.pids.length === 1);
});

t.test('messages to ipset and IPVS have their sources read, and say who sent them', async (t) => {
  const message = ([protocol, type]: readonly [number, number], pid: number, bytes: string) =>
    `{"ev":"netlink","protocol":${protocol},"type":${type},"message":"${bytes}","count":1,"at":${pid},"pid":${pid},"uid":0,"comm":"kube-proxy","own":true}`;
  const set = '0200000005000100070000000700020073310000';
  const { kernel, changed, until } = await watch(
    t,
    `${say(hello, message([12, 1545], 5, set), message([16, 32], 6, '01'), message([12, 258], 7, ''), '{"ev":"netlink-more","protocol":12,"subject":1545,"pid":5,"count":9}')}\n${answering}`,
  );
  await until(() => ['ipset', 'ipvs'].every((source) => changed.includes(source)));
  t.match(kernel.acts(0, 10), [
    { wrote: 'ipset', object: 's1', exact: true, actor: { pid: 5, comm: 'kube-proxy', how: 'ebpf' } },
    { wrote: 'ipvs', actor: { pid: 6 } },
    { wrote: 'conntrack' },
  ]);
});

t.test('a flood is taken in part, said, and over', async (t) => {
  const exit = '{"ev":"exit","at":1,"pid":1,"comm":"x","code":0}';
  const { kernel, until } = await watch(t, `${say(hello)} yes '${exit}' | head -n ${limits.bpfLinesPerSecondMax * 4}; ${answering}`);
  await until(() => kernel.sourceFact().reason?.includes('skipped') === true);
  t.match(kernel.sourceFact(), { rung: 'everything', outcome: 'facts' });
  await until(() => kernel.sourceFact().reason === undefined);
});

t.test('news of one source is passed on now and then, however much there is', async (t) => {
  const start = performance.now();
  const replace = '{"ev":"replace","what":"ip","table":"filter","result":0,"at":1,"pid":1,"uid":0,"comm":"x","own":true}';
  const { changed, until } = await watch(
    t,
    `${say(hello)} for i in $(seq 200); do echo '${replace}'; echo '${replace}'; done; sleep 0.3; for i in $(seq 200); do echo '${replace}'; done; ${answering}`,
  );
  await until(() => changed.filter((source) => source === 'iptables-legacy').length >= 2);
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  const times = changed.filter((source) => source === 'iptables-legacy').length;
  // Twice a second at most, however long it all took; once more for what was told at the start.
  t.ok(times <= (performance.now() - start) / 500 + 2, `${times} times`);
});

t.test('that a program has ended is news only where its act is not seen', async (t) => {
  const run = (pid: number, comm: string) => [
    `{"ev":"exec","class":"tool","at":1,"pid":${pid},"comm":"${comm}","uid":0,"loginUid":0,"file":"/sbin/${comm}","argv":["${comm}","x=1"],"parents":[],"cgroup":[],"own":true}`,
    `{"ev":"exit","at":2,"pid":${pid},"comm":"${comm}","code":0}`,
  ];
  const lines = [...run(1, 'iptables-legacy'), ...run(2, 'ipset'), ...run(3, 'sysctl')];
  const wakesOf = async (greeting: string) => {
    const { changed, until } = await watch(t, `${say(greeting)}\nsleep 0.5\n${say(...lines)}\n${answering}`);
    await until(() => changed.length > 0);
    changed.length = 0;
    await until(() => changed.includes('sysctl'));
    return [...new Set(changed)].sort();
  };
  t.strictSame(await wakesOf(hello), ['sysctl']);
  t.strictSame(await wakesOf(hello.replace('"netlink":"ok"', '"netlink":"no kprobes"')), ['ipset', 'sysctl']);
  t.strictSame(await wakesOf(hello.replace('"callsBy":"kprobe"', '"callsBy":"none"')), ['iptables-legacy', 'sysctl']);
});

t.test('what cannot be told is said', async (t) => {
  const { changed, notices, until } = await watch(
    t,
    `${say(hello, '{"ev":"lost","events":3,"lines":0}', '{"ev":"refused","line":"x","reason":"y"}')}\n${answering}`,
  );
  await until(() => notices.includes('portreeve-bpf could not tell everything') && notices.includes('portreeve-bpf refuses a command'));
  // Once for its start, once for what was lost.
  await until(() => changed.filter((wake) => wake === 'iptables-legacy').length === 2);
});
