// Legacy tables, which the kernel tells nothing of: what the observer knows by dumping the tables that portreeve-bpf saw replaced is what a whole dump says.
import { execFileSync } from 'node:child_process';
import t, { type Test } from 'tap';
import { KernelWatch } from '../../agent/bpf/watch.ts';
import { type Machine, thisMachine } from '../../agent/host/machine.ts';
import { Observer } from '../../agent/observer.ts';
import { nothingRead, readSources } from '../../agent/reader.ts';
import { ip6tables, iptables } from '../../agent/sources/iptables.ts';
import type { Change } from '../../shared/model/change.ts';
import type { HostFact } from '../../shared/model/fact.ts';
import { readNode } from '../../shared/netfilter/node.read.ts';
import { noBpf } from './bpf/program.ts';
import { inNamespace } from './namespace.ts';
import { generator, textOf } from './rules.ts';

const sources = [iptables, ip6tables];
const host: HostFact = { kind: 'host', key: 'host/node', hostname: 'n1', kernel: '6', os: 'Linux', bootedAt: 0 };
const machine = thisMachine(new AbortController().signal);
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** The machine, with a list of what it runs. */
const listing = (commands: string[]): Machine => ({
  ...machine,
  run: (command, args, timeoutMs) => {
    commands.push([command, ...args].join(' '));
    return machine.run(command, args, timeoutMs);
  },
});

const whole = async (): Promise<string> => {
  const { files } = await readSources(machine, sources, nothingRead);
  return textOf(readNode(files, { node: 'n1' }).tables);
};

async function tests(): Promise<void> {
  for (const table of ['filter', 'nat', 'mangle']) for (const tool of ['iptables-legacy', 'ip6tables-legacy']) run(`${tool} -t ${table} -S`);
  run('iptables-legacy -N B', 'iptables-legacy -A FORWARD -p tcp --dport 9 -j B', 'ip6tables-legacy -A FORWARD -j ACCEPT');
  const changes: Change[] = [];
  /** Commands that the observer has run. */
  const commands: string[] = [];
  let observer: Observer | undefined;
  const kernel = new KernelWatch({
    machine,
    onWake: (wakes) => observer?.wake(wakes),
    onReplaced: (table) => observer?.replaced(table),
    onTold: (wakes, how) => observer?.told(wakes, how),
    onFacts: () => {},
    onNotice: () => {},
  });
  t.teardown(() => kernel.close());
  await kernel.start();
  observer = new Observer({
    node: 'n1',
    host,
    machine: listing(commands),
    sources,
    kernel,
    onFacts: () => {},
    onChanges: (now) => changes.push(...now),
    onNotice: () => {},
  });
  t.teardown(() => observer?.close());
  await observer.start();
  const rung = () => kernel.sourceFact().rung;
  for (let i = 0; i < 200 && rung() !== 'everything'; i++) await sleep(50);
  await sleep(1_000);

  /** Until what is known has come to rest, or is what the kernel has. */
  const agree = async (t: { equal(a: unknown, b: unknown, name: string): unknown }, name: string) => {
    const expected = await whole();
    for (let i = 0; i < 100 && textOf(observer?.node?.tables ?? []) !== expected; i++) await sleep(50);
    t.equal(textOf(observer?.node?.tables ?? []), expected, name);
  };

  await t.test('one table was dumped for a change in one', async (t) => {
    t.equal(rung(), 'everything');
    await agree(t, 'to begin with');
    commands.length = 0;
    run('iptables-legacy -t nat -A PREROUTING -p tcp --dport 30080 -j ACCEPT');
    await agree(t, 'a rule more');
    await sleep(300);
    t.strictSame(
      commands.filter((command) => command.includes('save')),
      ['iptables-legacy-save -c -t nat'],
    );
    t.match(changes.at(-1), { after: /-A PREROUTING -p tcp .*--dport 30080 -j ACCEPT/, actor: { comm: 'iptables-legacy', how: 'ebpf' } });
  });

  await t.test('looking changes nothing, and nothing is read for it', async (t) => {
    commands.length = 0;
    run('iptables-legacy -t nat -L', 'iptables-legacy -S');
    await sleep(600);
    t.strictSame(commands, []);
  });

  await t.test('random edits', async (t) => {
    const random = generator(Number(process.env.SEED ?? 7));
    for (let burst = 0; burst < 10; burst++) {
      for (let i = 0; i < 10; i++) tryRun(randomCommand(random));
      await agree(t, `burst ${burst}`);
    }
  });
}

async function largeTable(t: Test): Promise<void> {
  const rules = Array.from({ length: 12_000 }, (_, index) => `-A KUBE-SVC-X -p tcp -m tcp --dport ${index + 1} -j RETURN\n`).join('');
  run(`iptables-legacy-restore --noflush <<*nat\n:KUBE-SVC-X - [0:0]\n${rules}COMMIT\n`);
  const commands: string[] = [];
  const changes: Change[] = [];
  const observer = new Observer({
    node: 'n1',
    host,
    machine: listing(commands),
    sources,
    onFacts: () => {},
    onChanges: (now) => changes.push(...now),
    onNotice: () => {},
    // The lock is everybody's on this machine: only what is said here wakes.
    watchProgram: { path: undefined },
  });
  t.teardown(() => observer.close());
  await observer.start();
  await sleep(1_500);

  await t.test('where nobody says which, small tables are told of before a large one is dumped', async (t) => {
    commands.length = 0;
    run('iptables-legacy -A INPUT -p tcp --dport 4711 -j ACCEPT', 'iptables-legacy -t nat -A KUBE-SVC-X -p tcp --dport 4712 -j ACCEPT');
    observer.wake(new Set(['iptables-legacy']));
    for (let i = 0; i < 100 && changes.length < 2; i++) await sleep(50);
    t.match(changes, [{ after: /dport 4711/ }, { after: /dport 4712/ }]);
    t.equal(textOf(observer.node?.tables ?? []), await whole());
    const dumps = commands.filter((command) => command.startsWith('iptables-legacy-save'));
    t.equal(dumps.at(-1), 'iptables-legacy-save -c', `${dumps}`);
    t.ok(dumps.includes('iptables-legacy-save -c -t filter'));
    t.notOk(dumps.includes('iptables-legacy-save -c -t nat'));
  });

  await t.test('what has not changed is not dumped for ever', async (t) => {
    commands.length = 0;
    observer.wake(new Set(['iptables-legacy']));
    await sleep(1_000);
    t.equal(commands.filter((command) => command === 'iptables-legacy-save -c').length, 1);
    t.equal(changes.length, 2);
  });
}

function run(...commands: readonly string[]): void {
  for (const command of commands) {
    const [words = '', input] = command.split(' <<');
    const [program = '', ...args] = words.split(' ');
    execFileSync(program, args, { stdio: 'pipe', ...(input === undefined ? {} : { input }) });
  }
}

function tryRun(command: string): void {
  try {
    run(command);
  } catch {
    // Deletes what is not there, or what is still referred to.
  }
}

function randomCommand(random: (bound: number) => number): string {
  const one = <Some>(list: readonly Some[]): Some => list[random(list.length)] as Some;
  const tool = one(['iptables-legacy', 'iptables-legacy', 'ip6tables-legacy']);
  const table = one(['filter', 'filter', 'mangle', 'nat']);
  const chain = one(['INPUT', 'OUTPUT', 'A', 'B', 'C']);
  const rule = `-p tcp --dport ${random(9) + 1} -j ${one(['ACCEPT', 'A', 'B', 'C'])}`;
  return one([
    () => `${tool} -t ${table} -A ${chain} ${rule}`,
    () => `${tool} -t ${table} -A ${chain} ${rule}`,
    () => `${tool} -t ${table} -I ${chain} ${random(3) + 1} ${rule}`,
    () => `${tool} -t ${table} -D ${chain} ${random(3) + 1}`,
    () => `${tool} -t ${table} -R ${chain} ${random(3) + 1} ${rule}`,
    () => `${tool} -t ${table} -N ${chain}`,
    () => `${tool} -t ${table} -N ${chain}`,
    () => `${tool} -t ${table} -F ${chain}`,
    () => `${tool} -t ${table} -X ${chain}`,
    () => `${tool} -t ${table} -E ${chain} ${one(['A', 'B', 'C'])}`,
    () => `${tool} -P ${one(['INPUT', 'FORWARD'])} ${one(['DROP', 'ACCEPT'])}`,
    () =>
      `iptables-legacy-restore --noflush <<*${table}\n:${one(['A', 'B'])} - [0:0]\n:C - [0:0]\n-A C ${rule.replace(/-j \S+/, '-j RETURN')}\n-A C -j ACCEPT\nCOMMIT\n`,
  ])();
}

async function all(): Promise<void> {
  if (noBpf === false) await tests();
  else t.comment(`SKIPPED: one table for one change: ${noBpf}`);
  await t.test('beside a large table', largeTable);
}

await inNamespace(t, { purpose: 'legacy', file: import.meta.url, timeoutMs: 180_000, tests: all });
