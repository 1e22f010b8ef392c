// The part of the IPVS lab that runs inside the kernel under test: builds the hosts, loads scene after scene, saves the node's state as a capture, sends the
// packets, and leaves what became of them as JSON in the directory $RES.
import { execFileSync, spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Host, hostArguments, type Probe } from '../kernel/host.ts';
import { sctpPorts, tcpPorts, udpPorts } from '../kernel/ports.ts';
import { addresses } from '../kernel/topology.ts';
import { type IpvsHost, type Scene, type Step, scenes, stepsOf } from './scenes.ts';

const results = process.env['RES'] ?? '.';
/** Packets that need no other program are through within some milliseconds, even here. */
const silenceMs = 300;
const waitMs = 2_400;

const inside = (host: string, script: string): string =>
  execFileSync('ip', ['netns', 'exec', host, 'bash', '-s'], { input: `set -e\n${script}\n`, encoding: 'utf8', stdio: ['pipe', 'pipe', 'inherit'] });

const quiet = [
  ...['default.dad_transmits', 'default.accept_dad', 'all.accept_dad', 'default.router_solicitations'].map((name) => `net.ipv6.conf.${name}=0`),
  ...['net.ipv4.icmp_ratelimit', 'net.ipv4.icmp_ratemask', 'net.ipv6.icmp.ratelimit', 'net.ipv4.tcp_synack_retries'].map((name) => `${name}=0`),
  ...['net.ipv4.conf.all.rp_filter', 'net.ipv4.conf.default.rp_filter'].map((name) => `${name}=0`),
  // The kernel lacks the algorithms that SCTP would sign its cookies with.
  'net.sctp.cookie_hmac_alg=none',
]
  .map((setting) => setting.split('='))
  .map(([name, value]) => `echo ${value} > /proc/sys/${name?.replaceAll('.', '/')}`)
  .join('\n');

const add = (device: string, list: readonly string[]): string =>
  list.map((address) => `addr add ${address} dev ${device}${address.includes(':') ? ' nodad' : ''}\n`).join('');
const batch = (lines: string): string => `ip -batch - <<'END'\n${lines}END`;

const hosts: readonly IpvsHost[] = ['client', 'node', 'pod', 'remote'];
const clientAddresses = [
  ...addresses.clients[0].map((address) => `${address}/${address.startsWith('10.9') ? 24 : 32}`),
  ...addresses.clients[1].map((address) => `${address}/${address.startsWith('fd09') ? 64 : 128}`),
];

/** As in the arena, but for the peer: the remote pod is reached directly, and has a way to one client that does not lead through the node. */
const wires: Readonly<Record<IpvsHost, string>> = {
  node: `link add eth0 type veth peer name eth0 netns client
link add cni0 type veth peer name eth0 netns pod
link add eth1 type veth peer name eth0 netns remote
${add('eth0', ['10.9.0.1/24', '10.9.0.21/24', 'fd09::1/64'])}${add('cni0', ['10.244.1.1/24', 'fd44:1::1/64'])}${add('eth1', ['10.8.0.1/24', 'fd08::1/64'])}link set eth0 up
link set cni0 up
link set eth1 up
route add 198.51.100.0/24 via 10.9.0.2
route add 203.0.113.0/24 via 10.9.0.2
route add 10.244.2.0/24 via 10.8.0.2
route add 2001:db8:7::/64 via fd09::2
route add fd44:2::/64 via fd08::2
`,
  remote: `link add eth1 type veth peer name eth1 netns client
addr add 10.7.0.2/24 dev eth1
link set eth1 up
${add('eth0', ['10.8.0.2/24', 'fd08::2/64'])}${add('lo', ['10.244.2.11/32', 'fd44:2::11/128', '10.9.0.21/32'])}link set eth0 up
route add default via 10.8.0.1
route add ::/0 via fd08::1
`,
  client: `${add('eth0', clientAddresses)}${add('eth1', ['10.7.0.1/24'])}link set eth0 up
link set eth1 up
route add default via 10.9.0.1
route add ::/0 via fd09::1
`,
  pod: `${add('eth0', ['10.244.1.11/24', 'fd44:1::11/64'])}link set eth0 up
route add default via 10.244.1.1
route add ::/0 via fd44:1::1
`,
};

function buildHosts(): void {
  for (const host of hosts) execFileSync('ip', ['netns', 'add', host]);
  for (const host of hosts) inside(host, `${quiet}\n${batch('link set lo up\n')}`);
  for (const host of ['node', 'remote', 'client', 'pod'] as const) inside(host, batch(wires[host]));
  inside('node', 'echo 1 > /proc/sys/net/ipv6/conf/all/forwarding');
  inside('remote', batch('route add 203.0.113.9/32 via 10.7.0.1\n'));
}

const own: Readonly<Record<IpvsHost, readonly string[]>> = {
  client: addresses.clients.flat(),
  node: ['10.9.0.1', '10.9.0.21', '10.244.1.1', '10.8.0.1', 'fd09::1', 'fd44:1::1', 'fd08::1', '127.0.0.1', '::1'],
  pod: addresses.pod,
  remote: ['10.244.2.11', '10.9.0.21', '10.8.0.2', 'fd44:2::11', 'fd08::2'],
};

/** One shell on the node for all scenes: starting processes is what takes time in this kernel. */
function shellOn(host: string): (script: string) => Promise<void> {
  const child = spawn('ip', ['netns', 'exec', host, 'bash', '-s'], { stdio: ['pipe', 'pipe', 'pipe'] });
  let said = '';
  let done: ((failed: boolean) => void) | undefined;
  child.stderr.on('data', (data) => (said += String(data)));
  createInterface({ input: child.stdout }).on('line', (line) => {
    const end = /^done (\d+)$/.exec(line);
    if (end === null) said += `${line}\n`;
    else done?.(end[1] !== '0');
  });
  return (script) =>
    new Promise((resolve, reject) => {
      said = '';
      done = (failed) => (failed ? reject(new Error(said)) : resolve());
      child.stdin.write(`(set -e\n${script}\n) </dev/null 2>&1; echo "done $?"\n`);
    });
}

const builtins: Readonly<Record<string, string>> = {
  raw: 'PREROUTING OUTPUT',
  mangle: 'PREROUTING INPUT FORWARD OUTPUT POSTROUTING',
  nat: 'PREROUTING INPUT OUTPUT POSTROUTING',
  filter: 'INPUT FORWARD OUTPUT',
};

/** The tables of a family as they are loaded, and what the tool has saved of them. Each takes this kernel a third of a second: only what changes is written and read. */
class Tables {
  readonly #program: 'iptables' | 'ip6tables';
  readonly #loaded = new Map<string, string>();
  readonly #saved = new Map<string, string>();
  #changed: readonly string[] = [];

  constructor(program: 'iptables' | 'ip6tables') {
    this.#program = program;
  }

  /** Commands that make the tables those of the text, and save what they change into a folder. */
  loading(text: string, folder: string): readonly string[] {
    const wanted = new Map([...text.matchAll(/^\*(\w+)\n([^*]*?)^COMMIT\n/gm)].map(([, table, lines]) => [table as string, lines as string]));
    const sections = [...new Set([...wanted.keys(), ...this.#loaded.keys()])].map((table) => [table, `${accepting(table)}${wanted.get(table) ?? ''}`] as const);
    const changed = sections.filter(([table, lines]) => this.#loaded.get(table) !== lines);
    for (const [table, lines] of changed) this.#loaded.set(table, lines);
    this.#changed = changed.map(([table]) => table);
    if (changed.length === 0) return [];
    const restore = `${this.#program}-restore ${here(changed.map(([table, lines]) => `*${table}\n${lines}COMMIT\n`).join(''))}`;
    return [restore, ...this.#changed.map((table) => `${this.#program}-save -t ${table} > ${folder}/${this.#program}.${table}`)];
  }

  /** What the tool would save of all tables, once the commands have run. */
  saved(folder: string): string {
    for (const table of this.#changed) this.#saved.set(table, readFileSync(join(folder, `${this.#program}.${table}`), 'utf8'));
    return [...this.#saved.values()].join('');
  }

  /** Zeroes the counters: they are asked for after the packets. */
  forget(): void {
    this.#loaded.clear();
  }
}

const accepting = (table: string): string =>
  (builtins[table] ?? '')
    .split(' ')
    .map((chain) => `:${chain} ACCEPT [0:0]\n`)
    .join('');

const rules = new Tables('iptables');
const rules6 = new Tables('ip6tables');

/** The settings of every scene but where the scene says otherwise. */
const usual = { 'net.ipv4.vs.conntrack': '1', 'net.ipv4.ip_forward': '1', 'net.ipv4.vs.conn_reuse_mode': '0', 'net.ipv4.vs.expire_quiescent_template': '1' };

let loadedSets: string | undefined;
let savedSets = '';

/** Loads a scene and saves the node's state, as far as it is another than before. */
async function load(scene: Scene, folder: string): Promise<void> {
  if (scene.counted !== undefined) rules.forget();
  const settings = Object.entries({ ...usual, ...scene.sysctls }).map(([name, value]) => `echo ${value} > ${settingFile(name)}`);
  const sets = scene.ipset ?? '';
  const hasNewSets = sets !== loadedSets;
  loadedSets = sets;
  await onNode(
    [
      ...(hasNewSets ? [`ipset restore -exist ${here(`flush\n${sets}`)}`, `ipset save > ${folder}/sets`] : []),
      ...rules.loading(scene.iptables ?? '', folder),
      ...rules6.loading(scene.ip6tables ?? '', folder),
      ...settings,
      `ipvsadm -R ${here(`-C\n${scene.ipvs}`)}`,
      changing(folder),
    ].join('\n'),
  );
  if (hasNewSets) savedSets = readFileSync(join(folder, 'sets'), 'utf8');
  keep(folder);
}

/** The files of a capture that change seldom. */
function keep(folder: string): void {
  writeFileSync(join(folder, 'ipset-save.txt'), savedSets);
  writeFileSync(join(folder, 'iptables-save.txt'), rules.saved(folder));
  const six = rules6.saved(folder);
  if (six !== '') writeFileSync(join(folder, 'ip6tables-save.txt'), six);
}

async function change(step: Step, folders: { readonly before: string; readonly now: string }): Promise<void> {
  await onNode(`ipvsadm -R ${here(step.ipvs ?? '')}\n${changing(folders.now)}`);
  for (const name of ['ipset-save.txt', 'iptables-save.txt']) copyFileSync(join(folders.before, name), join(folders.now, name));
}

const here = (text: string): string => `<<'END'\n${text}END`;
const settingFile = (name: string): string => `/proc/sys/${name.replaceAll('.', '/')}`;

const settingsRead = [
  ...['ip_forward', 'vs.conntrack', 'vs.expire_quiescent_template'].map((name) => `net.ipv4.${name}`),
  ...['all', 'eth0', 'eth1', 'cni0'].flatMap((device) => ['forwarding', 'rp_filter', 'route_localnet'].map((name) => `net.ipv4.conf.${device}.${name}`)),
  'net.ipv6.conf.all.forwarding',
  'net.sctp.auth_enable',
];

/** What every scene changes, as a capture holds it; the rest is the same in all of them and read once. */
const changing = (folder: string): string => `ipvsadm -Sn > ${folder}/ipvsadm-Sn.txt
for name in ${settingsRead.join(' ')}; do read -r value < /proc/sys/\${name//.//}; echo "$name = $value"; done > ${folder}/sysctl.txt`;

const unchanging = `mkdir -p ${results}/same; cd ${results}/same
ip -j addr > ip-addr.json; ip -4 -j route show table all > ip-route.json; ip -6 -j route show table all > ip6-route.json
ip -4 -j rule > ip-rule.json; ip -6 -j rule > ip6-rule.json; ss -H -tulnpS > ss.txt`;

buildHosts();
const ports = { tcp: tcpPorts, udp: udpPorts, sctp: sctpPorts };
const started = await Promise.all(
  hosts.map(async (name) => {
    const watch = name === 'node' ? { watch: ['eth0', 'eth1', 'cni0', 'lo'] } : {};
    return [name, await Host.start(name, hostArguments(name, { ports, own: own[name], stack: 'kernel', ...watch }))] as const;
  }),
);
const running = new Map(started);
const onNode = shellOn('node');
await onNode(unchanging);
let fromPort = 20_000;
// Scenes of the same rules follow each other.
const order = [...scenes.entries()].sort(([, a], [, b]) => (rulesOf(a) < rulesOf(b) ? -1 : rulesOf(a) > rulesOf(b) ? 1 : 0));
for (const [index, scene] of order) {
  for (const [number, step] of stepsOf(scene).entries()) {
    const [before, folder] = [join(results, `${index}.${number - 1}`), join(results, `${index}.${number}`)];
    mkdirSync(folder, { recursive: true });
    try {
      await (number === 0 ? load(scene, folder) : change(step, { before, now: folder }));
      writeFileSync(join(folder, 'played.json'), JSON.stringify(await play(step)));
      if (scene.counted !== undefined) await onNode(`iptables-save -c > ${folder}/rule-counters.txt`);
    } catch (error) {
      writeFileSync(join(folder, 'failed.txt'), String(error));
    }
  }
}
process.exit(0);

function rulesOf({ iptables, ip6tables, ipset }: Scene): string {
  return [ip6tables, ipset, iptables].join('|');
}

/** Sends the packets of a step, and waits until all is silent. Connections stay open where the next step is to find them. */
async function play(step: Step): Promise<object> {
  const all = [...running.values()];
  for (const host of all) host.forget();
  const probes = step.asked.map((sent, index): Probe & { readonly place: IpvsHost } => {
    fromPort += 1;
    return { ...sent, fromPort, id: fromPort, ttl: 72 + 3 * index };
  });
  const start = performance.now();
  for (const probe of probes) {
    running.get(probe.place)?.send([probe]);
    if (step.oneByOne === true) await silence(performance.now(), all);
  }
  await silence(start, all);
  if (step.keepsOpen !== true) await Promise.all(all.map((host) => host.letGo()));
  return { probes, meetings: all.flatMap(({ meetings }) => meetings), packets: running.get('node')?.packets };
}

async function silence(start: number, all: readonly Host[]): Promise<void> {
  const lastMs = (): number => Math.max(start, ...all.map(({ heardAt }) => heardAt));
  while (performance.now() - lastMs() < silenceMs && performance.now() - start < waitMs) await new Promise((resolve) => setTimeout(resolve, 20));
}
