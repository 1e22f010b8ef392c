// What an operator does with the Debian packages, done on a machine with a real systemd: run in the namespaces of systemd-namespace.sh. Prints one line of JSON for
// each thing that must hold.
//
// The machine is node1 of the lab's cluster and the collector's host at once: the agent's service is put into the network namespace of node1, the collector's into
// that of the wire between the nodes, so that they meet over TLS at an address that is not loopback.
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { buildCluster, type Cluster } from './cluster.ts';

const [agentDeb = '', collectorDeb = '', commandDeb = ''] = process.argv.slice(2);
const server = ['--server', 'https://172.31.0.1:7300', '--ca-file', '/var/lib/portreeve/collector/ca.crt'];
/** Of capabilities(7). */
const numbers: Readonly<Record<string, number>> = { cap_dac_read_search: 2, cap_net_admin: 12, cap_net_raw: 13, cap_sys_ptrace: 19 };
const adminToken = '/var/lib/portreeve/collector/admin-token';

/** Prints whether something holds, and what was found where it does not. */
function hold(name: string, ok: boolean, found: unknown = ''): void {
  process.stdout.write(`${JSON.stringify({ name, ok, ...(ok ? {} : { found }) })}\n`);
}

const run = async (command: string, ...words: readonly string[]): Promise<{ readonly code: number; readonly text: string; readonly out: string }> => {
  const { exitCode, stdout, stderr } = await execa(command, words, { reject: false, stdin: 'ignore', timeout: 20_000 });
  return { code: exitCode ?? -1, text: `${stdout}\n${stderr}`.trim(), out: stdout.trim() };
};
/** `portreeve WORDS…` as the administrator, where the collector is. */
const ask = (...words: readonly string[]): ReturnType<typeof run> =>
  run('ip', 'netns', 'exec', wireNamespace(), 'portreeve', ...words, ...server, '--token-file', adminToken);
const property = async (unit: string, name: string): Promise<string> => (await run('systemctl', 'show', '--value', '-p', name, unit)).out;
const active = async (unit: string): Promise<string> => (await run('systemctl', 'is-active', unit)).out;
const journal = async (unit: string): Promise<string> => (await run('tail', '-n', '30', `/run/lab-${unit}.log`)).out;

/** Asks until it holds; the last answer when it does not in time. */
async function until<T>(ask: () => Promise<T>, holds: (answer: T) => boolean, timeoutMs = 15_000): Promise<T> {
  for (const deadline = Date.now() + timeoutMs; ; await sleep(100)) {
    const answer = await ask();
    if (holds(answer) || Date.now() > deadline) return answer;
  }
}

interface Item {
  readonly id?: string;
  readonly node?: string;
  readonly cause?: string;
  readonly name?: string;
  readonly agent?: string;
}
async function items(what: string): Promise<readonly Item[]> {
  const asked = await ask('get', what, '-o', 'json');
  return asked.code === 2 || asked.code === 3 ? [] : (JSON.parse(asked.out).items as readonly Item[]);
}
const agentOf = async (node: string): Promise<string | undefined> => (await items('nodes')).find(({ name }) => name === node)?.agent;

const before = await leftovers();
await prepare();
const cluster = await buildCluster();
try {
  await install(cluster);
  await enrol();
  await findFault(cluster);
  await killAndHang();
  await reload();
  await upgrade();
  await stopAndRemove();
} catch (error) {
  hold('the lab ran to its end', false, error instanceof Error ? error.stack : error);
} finally {
  await cluster.close();
}

async function prepare(): Promise<void> {
  // Settings of network namespaces are the lab's own.
  await run('mount', '-o', 'remount,rw,bind', '/proc/sys');
  // Container images forbid that packages start services.
  rmSync('/usr/sbin/policy-rc.d', { force: true });
  // What is no subject here takes seconds: documentation is indexed by man-db whenever a package comes or goes.
  writeFileSync('/etc/dpkg/dpkg.cfg.d/lab', 'no-triggers\nforce-unsafe-io\n');
}

async function install(lab: Cluster): Promise<void> {
  const installed = await run('dpkg', '-i', commandDeb, collectorDeb, agentDeb);
  hold('the packages are installed', installed.code === 0, installed.text);
  // What verify finds wrong in units of others is no subject here.
  const units = ['portreeve-agent.service', 'portreeve-collector.service', 'portreeve-bpf.socket', 'portreeve-bpf@x.service'];
  const verified = await execa('systemd-analyze', ['verify', ...units], { reject: false, env: { LC_ALL: 'C' } });
  hold('systemd-analyze verify has nothing to say of the units', verified.exitCode === 0 && verified.stderr === '', verified.stderr);
  hold('nothing starts before its settings are made', (await active('portreeve-agent')) === 'inactive' && (await active('portreeve-collector')) === 'inactive');
  // Whoever made the directory kept it to themselves.
  chmodSync(lab.directory, 0o755);
  const wire = wireNamespace();
  await run('ip', 'netns', 'exec', wire, 'ip', 'address', 'add', '172.31.0.1/24', 'dev', 'br0');
  const options = `--listen 172.31.0.1:7300 --name 172.31.0.1 --cluster ${lab.directory} --grace 1000`;
  settings('collector.env', { PORTREEVE_COLLECTOR_OPTIONS: `"${options}"` });
  // The lab's namespaces, and what the private /tmp of a service would hide; a watchdog that a test can wait for.
  const inLab = (unit: string, namespace: string): void =>
    dropIn(
      unit,
      `[Service]\nNetworkNamespacePath=/run/netns/${namespace}\nWatchdogSec=3s\nRestartSec=200ms\nBindReadOnlyPaths=${lab.directory}\nStandardOutput=append:/run/lab-${unit}.log\nStandardError=inherit\n`,
    );
  inLab('portreeve-collector', wire);
  inLab('portreeve-agent', lab.nodes.node1);
  dropIn('portreeve-bpf@', `[Service]\nNetworkNamespacePath=/run/netns/${lab.nodes.node1}\n`);
  await run('systemctl', 'daemon-reload');
  const started = await run('systemctl', 'enable', '--now', 'portreeve-collector');
  hold('the collector starts, and says when it is ready', started.code === 0, `${started.text}\n${await journal('portreeve-collector')}`);
  hold('the collector runs without root and without capabilities', await hasOnly('portreeve-collector', []), await statusOf('portreeve-collector'));
}

async function enrol(): Promise<void> {
  const made = await ask('token', 'create', '--node', 'node1');
  hold('the token of the first start makes a join token', made.out.startsWith('prj_'), made.text);
  writeFileSync('/etc/portreeve/join-token', `${made.out}\n`, { mode: 0o640 });
  await run('chgrp', 'portreeve-agent', '/etc/portreeve/join-token');
  settings('agent.env', {
    PORTREEVE_COLLECTOR: 'wss://172.31.0.1:7300',
    PORTREEVE_AGENT_OPTIONS: '"--node node1 --join-token-file /etc/portreeve/join-token"',
  });
  const started = await run('systemctl', 'enable', '--now', 'portreeve-bpf.socket', 'portreeve-agent');
  hold('the agent starts, and says when everything is read', started.code === 0, `${started.text}\n${await journal('portreeve-agent')}`);
  const caps = [
    'cap_net_admin',
    'cap_dac_read_search',
    'cap_sys_ptrace',
    ...(existsSync('/etc/systemd/system/portreeve-agent.service.d/iptables-legacy.conf') ? ['cap_net_raw'] : []),
  ];
  hold('the agent runs without root, with the capabilities of its unit', await hasOnly('portreeve-agent', caps), await statusOf('portreeve-agent'));
  const connected = await until(
    () => agentOf('node1'),
    (answer) => answer === 'connected',
  );
  hold('the agent is enrolled by its join token and connected', connected === 'connected', `${connected}\n${await journal('portreeve-agent')}`);
  rmSync('/etc/portreeve/join-token');
  const status = await run('portreeve-agent', 'status', '-o', 'json');
  const { sources, agent } = JSON.parse(status.out) as {
    sources: { name: string; outcome: string; reason?: string }[];
    agent: { parts: Record<string, string> };
  };
  const failed = sources.filter(({ outcome }) => outcome === 'failed');
  hold('every source is read or absent, within the walls of the unit', failed.length === 0 && sources.length > 10, failed);
  hold(
    'iptables and nftables are read',
    ['iptables', 'nftables'].every((name) => sources.find((source) => source.name === name)?.outcome === 'facts'),
    sources,
  );
  hold('eBPF is as the kernel lets it be, by the service that holds its rights', /^(?:everything|drops)/.test(agent.parts['eBPF'] ?? ''), agent.parts);
  const units = (await run('systemctl', 'list-units', '--plain', '--no-legend', 'portreeve-bpf@*')).out;
  hold('portreeve-bpf runs in its own unit', units.includes('running'), units);
}

async function findFault(lab: Cluster): Promise<void> {
  await run('ip', 'netns', 'exec', lab.nodes.node1, 'iptables', '-w', '-I', 'FORWARD', '-p', 'tcp', '--dport', '8080', '-j', 'DROP');
  const [met] = await lab.meet([{ protocol: 'tcp', to: '172.31.0.11:30081', timeoutMs: 1_000 }]);
  hold('a client times out', met?.outcome === 'timeout', met);
  const found = await until(
    () => items('findings'),
    (all) => all.some(({ cause, node }) => cause === 'C08' && node === 'node1'),
  );
  hold(
    'the fault is found, with its cause',
    found.some(({ cause, node }) => cause === 'C08' && node === 'node1'),
    found,
  );
  const explained = await ask('explain', 'node1', '30080');
  hold('the rule is named, and how it is taken away', explained.out.includes('iptables -D FORWARD -p tcp -m tcp --dport 8080 -j DROP'), explained.text);
}

async function killAndHang(): Promise<void> {
  for (const unit of ['portreeve-agent', 'portreeve-collector']) {
    for (const [signal, name] of [
      ['KILL', 'is killed'],
      ['STOP', 'hangs, so that the watchdog sees it'],
    ] as const) {
      const pid = await property(unit, 'MainPID');
      const restarts = Number(await property(unit, 'NRestarts'));
      await run('systemctl', 'kill', '--kill-who=main', `--signal=SIG${signal}`, unit);
      const now = await until(
        async () => ({ pid: await property(unit, 'MainPID'), state: await active(unit), restarts: Number(await property(unit, 'NRestarts')) }),
        (answer) => answer.pid !== pid && answer.pid !== '0' && answer.state === 'active',
      );
      hold(`${unit} is started again when it ${name}`, now.state === 'active' && now.pid !== pid && now.restarts === restarts + 1, [
        now,
        pid,
        await journal(unit),
      ]);
    }
  }
  const connected = await until(
    () => agentOf('node1'),
    (answer) => answer === 'connected',
  );
  hold('both find each other again, without the join token', connected === 'connected', `${connected}\n${await journal('portreeve-agent')}`);
}

async function reload(): Promise<void> {
  for (const unit of ['portreeve-agent', 'portreeve-collector']) {
    const pid = await property(unit, 'MainPID');
    const reloaded = await run('systemctl', 'reload', unit);
    const state = await until(
      () => active(unit),
      (answer) => answer === 'active',
    );
    hold(`${unit} reloads and goes on`, reloaded.code === 0 && state === 'active' && (await property(unit, 'MainPID')) === pid, [reloaded.text, state]);
  }
}

async function upgrade(): Promise<void> {
  const known = (await items('changes')).length;
  await run('systemctl', 'stop', 'portreeve-collector');
  // A change that no collector can take yet, so that there is something in the spool.
  await run('ip', 'netns', 'exec', cluster.nodes.node1, 'iptables', '-w', '-I', 'INPUT', '-p', 'tcp', '--dport', '2222', '-j', 'DROP');
  const spooled = await until(spoolBytes, (bytes) => bytes > 0);
  hold('without a collector a change waits on disk', spooled > 0, spooled);
  const pid = await property('portreeve-agent', 'MainPID');
  writeFileSync('/etc/portreeve/agent.env', `${readFileSync('/etc/portreeve/agent.env', 'utf8')}# a line of the operator's\n`);
  const upgraded = await run('dpkg', '--force-confdef', '--force-confold', '-i', commandDeb, collectorDeb, agentDeb);
  hold('an upgrade succeeds', upgraded.code === 0, upgraded.text);
  hold('an upgrade keeps settings', readFileSync('/etc/portreeve/agent.env', 'utf8').includes('# a line of the operator'));
  const state = await until(
    () => active('portreeve-agent'),
    (answer) => answer === 'active',
  );
  hold(
    'an upgrade starts again what ran, and nothing else',
    state === 'active' && (await property('portreeve-agent', 'MainPID')) !== pid && (await active('portreeve-collector')) === 'inactive',
    state,
  );
  await run('systemctl', 'start', 'portreeve-collector');
  const told = await until(
    async () => JSON.stringify(await items('changes')),
    (text) => text.includes('2222'),
  );
  const now = await items('changes');
  hold('what waited on disk arrives after the upgrade', told.includes('2222'), now.slice(0, 5));
  hold('the history of before the upgrade is there', now.length > known && known > 0, [now.length, known]);
}

async function stopAndRemove(): Promise<void> {
  for (const unit of ['portreeve-agent', 'portreeve-collector']) {
    const from = Date.now();
    const stopped = await run('systemctl', 'stop', unit);
    const result = await property(unit, 'Result');
    hold(`${unit} stops within 5 s, by itself`, stopped.code === 0 && Date.now() - from < 5_000 && result === 'success', [Date.now() - from, result]);
  }
  await run('systemctl', 'start', 'portreeve-agent', 'portreeve-collector');
  const removed = await run('dpkg', '-r', 'portreeve-agent', 'portreeve-collector', 'portreeve');
  hold('the packages are removed, and their services stopped', removed.code === 0 && (await active('portreeve-agent')) !== 'active', removed.text);
  hold('removing keeps state and settings', existsSync('/var/lib/portreeve/collector/portreeve.db') && existsSync('/etc/portreeve/agent.env'));
  for (const unit of ['portreeve-collector', 'portreeve-agent', 'portreeve-bpf@']) rmSync(`/etc/systemd/system/${unit}.service.d/lab.conf`);
  for (const directory of ['/etc/systemd/system/portreeve-collector.service.d', '/etc/systemd/system/portreeve-bpf@.service.d'])
    rmSync(directory, { recursive: true });
  const purged = await run('dpkg', '-P', 'portreeve-agent', 'portreeve-collector', 'portreeve');
  hold('the packages are purged', purged.code === 0, purged.text);
  const after = await leftovers();
  hold(
    'purging leaves nothing',
    after.join() === before.join(),
    after.filter((path) => !before.includes(path)),
  );
}

/** Every file of the places where packages and daemons put theirs, users, groups and processes that are ours. */
async function leftovers(): Promise<readonly string[]> {
  const places = [
    '/etc',
    '/usr/bin',
    '/usr/lib/systemd',
    '/usr/lib/portreeve',
    '/usr/lib/portreeve-agent',
    '/usr/lib/sysusers.d',
    '/usr/lib/tmpfiles.d',
    '/usr/share',
    '/var/lib',
    '/run',
    '/sys/fs/bpf',
  ];
  const { out } = await run(
    'find',
    ...places.filter((place) => existsSync(place)),
    '-ignore_readdir_race',
    '-iname',
    '*portreeve*',
    '-not',
    '-path',
    '/run/netns/*',
    '-not',
    '-path',
    '/run/log/*',
    '-not',
    '-path',
    '/run/lab-*',
  );
  const { out: processes } = await run('ps', '-eo', 'user:32,comm');
  return [
    ...out.split('\n'),
    ...processes.split('\n').filter((line) => line.includes('portreeve')),
    ...['/etc/passwd', '/etc/group', '/etc/shadow'].flatMap((file) =>
      readFileSync(file, 'utf8')
        .split('\n')
        .filter((line) => line.includes('portreeve')),
    ),
  ]
    .filter((line) => line !== '' && !/^\/usr\/share\/doc\/portreeve-lab/.test(line))
    .sort();
}

function settings(file: string, values: Readonly<Record<string, string>>): void {
  writeFileSync(
    `/etc/portreeve/${file}`,
    Object.entries(values)
      .map(([name, value]) => `${name}=${value}\n`)
      .join(''),
  );
}

function dropIn(unit: string, text: string): void {
  mkdirSync(`/etc/systemd/system/${unit}.service.d`, { recursive: true });
  writeFileSync(`/etc/systemd/system/${unit}.service.d/lab.conf`, text);
}

/** That of the wire between the nodes: the lab's namespaces have names that differ in their last part only. */
function wireNamespace(): string {
  const found = readdirSync('/run/netns').find((name) => name.endsWith('-wire'));
  if (found === undefined) throw new Error('the lab has no network namespace for its wire');
  return found;
}

async function statusOf(unit: string): Promise<string> {
  return readFileSync(`/proc/${await property(unit, 'MainPID')}/status`, 'utf8');
}

async function hasOnly(unit: string, capabilities: readonly string[]): Promise<boolean> {
  const status = await statusOf(unit);
  const mask = capabilities.reduce((sum, name) => sum | (1n << BigInt(numbers[name] ?? 63)), 0n);
  const held = (set: string): bigint => BigInt(`0x${new RegExp(`^${set}:\\s*([0-9a-f]+)`, 'm').exec(status)?.[1] ?? 'f'}`);
  return !/^Uid:\s*0\b/m.test(status) && ['CapPrm', 'CapEff', 'CapBnd', 'CapAmb'].every((set) => held(set) === mask);
}

async function spoolBytes(): Promise<number> {
  const { out } = await run('find', '/var/lib/portreeve/agent/spool', '-type', 'f', '-size', '+0', '-printf', '%s\n');
  return out.split('\n').reduce((sum, size) => sum + Number(size), 0);
}
