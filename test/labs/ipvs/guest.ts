// The part of the IPVS lab that runs inside the kernel under test: builds the hosts, loads scene after scene, saves the node's state as a capture, sends the
// packets, and leaves what became of them as JSON in the directory $RES.
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { addresses, type Place } from '../kernel/arena.ts';
import type { Observation, Probe } from '../kernel/probe.ts';
import { type Scene, scenes } from './scenes.ts';

const results = process.env['RES'] ?? '.';
const probeMs = 1000;

const inside = (host: string, script: string): string =>
  execFileSync('ip', ['netns', 'exec', host, 'bash', '-s'], { input: `set -e\n${script}\n`, encoding: 'utf8', stdio: ['pipe', 'pipe', 'inherit'] });

const quiet = [
  ...['default.dad_transmits', 'default.accept_dad', 'all.accept_dad'].map((name) => `net.ipv6.conf.${name}=0`),
  ...['net.ipv4.icmp_ratelimit', 'net.ipv6.icmp.ratelimit', 'net.ipv4.conf.all.rp_filter', 'net.ipv4.conf.default.rp_filter'].map((name) => `${name}=0`),
].join(' ');

const add = (device: string, list: readonly string[]): string =>
  list.map((address) => `ip addr add ${address} dev ${device}${address.includes(':') ? ' nodad' : ''}\n`).join('');

function buildHosts(): void {
  const hosts = ['client', 'node', 'pod', 'remote'];
  for (const host of hosts) execFileSync('ip', ['netns', 'add', host]);
  for (const host of hosts) inside(host, `ip link set lo up\nsysctl -q -w ${quiet}`);
  const peers = [
    ['eth0', 'client'],
    ['cni0', 'pod'],
    ['eth1', 'remote'],
  ];
  inside('node', peers.map(([device, host]) => `ip link add ${device} type veth peer name eth0 netns ${host}`).join('\n'));
  // The remote pod has a way to one client that does not lead through the node: direct routing needs it.
  inside('remote', 'ip link add eth1 type veth peer name eth1 netns client\nip addr add 10.7.0.2/24 dev eth1\nip link set eth1 up');
  inside(
    'node',
    `${add('eth0', ['10.9.0.1/24', '10.9.0.21/24', 'fd09::1/64'])}${add('cni0', ['10.244.1.1/24', 'fd44:1::1/64'])}${add('eth1', ['10.8.0.1/24', 'fd08::1/64'])}
ip link set eth0 up; ip link set cni0 up; ip link set eth1 up
ip route add 198.51.100.0/24 via 10.9.0.2; ip route add 203.0.113.0/24 via 10.9.0.2; ip route add 10.244.2.0/24 via 10.8.0.2
sysctl -q -w net.ipv6.conf.all.forwarding=1
ip route add 2001:db8:7::/64 via fd09::2; ip route add fd44:2::/64 via fd08::2`,
  );
  const clients = [
    ...addresses.clients[0].map((address) => `${address}/${address.startsWith('10.9') ? 24 : 32}`),
    ...addresses.clients[1].map((address) => `${address}/${address.startsWith('fd09') ? 64 : 128}`),
  ];
  inside(
    'client',
    `${add('eth0', clients)}${add('eth1', ['10.7.0.1/24'])}ip link set eth0 up; ip link set eth1 up
ip route add default via 10.9.0.1; ip route add ::/0 via fd09::1`,
  );
  inside('pod', `${add('eth0', ['10.244.1.11/24', 'fd44:1::11/64'])}ip link set eth0 up\nip route add default via 10.244.1.1; ip route add ::/0 via fd44:1::1`);
  inside(
    'remote',
    `${add('eth0', ['10.8.0.2/24', 'fd08::2/64'])}${add('lo', ['10.244.2.11/32', 'fd44:2::11/128', '10.9.0.21/32'])}ip link set eth0 up
ip route add default via 10.8.0.1; ip route add ::/0 via fd08::1; ip route add 203.0.113.9/32 via 10.7.0.1`,
  );
}

/** A prober or responder; `send` resolves with what became of a packet. */
interface Person {
  readonly send: (probe: Probe) => Promise<Observation>;
}

/** Starts a process that takes lines and gives lines; resolves once it has said that it is ready. */
function start(host: string, script: string, args: readonly string[] = []): Promise<Person> {
  const path = join(import.meta.dirname, '../kernel', script);
  const child = spawn('ip', ['netns', 'exec', host, process.execPath, '--disable-warning=ExperimentalWarning', path, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const waiting = new Map<number, (observation: Observation) => void>();
  const send = (probe: Probe): Promise<Observation> =>
    new Promise((resolve) => {
      waiting.set(probe.id, resolve);
      child.stdin.write(`${JSON.stringify(probe)}\n`);
    });
  return new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`${script} on ${host} ended with ${code}`)));
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (line === 'ready') return resolve({ send });
      const observation = JSON.parse(line) as Observation;
      waiting.get(observation.id)?.(observation);
    });
  });
}

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
      child.stdin.write(`(set -e\n${script}\n) </dev/null; echo "done $?"\n`);
    });
}

const builtins: Readonly<Record<string, string>> = {
  raw: 'PREROUTING OUTPUT',
  mangle: 'PREROUTING INPUT FORWARD OUTPUT POSTROUTING',
  nat: 'PREROUTING INPUT OUTPUT POSTROUTING',
  filter: 'INPUT FORWARD OUTPUT',
};

/** Tables as they are to be. Each takes the kernel a third of a second, so that only those are written that the scene or the one before it names. */
class Tables {
  #before: readonly string[] = Object.keys(builtins);

  replacing(text: string): string {
    const sections = new Map([...text.matchAll(/^\*(\w+)\n([^*]*?)^COMMIT\n/gm)].map(([, table, lines]) => [table as string, lines as string]));
    const named = [...new Set([...this.#before, ...sections.keys()])];
    this.#before = [...sections.keys()];
    return named.map((table) => `*${table}\n${accepting(table)}${sections.get(table) ?? ''}COMMIT\n`).join('');
  }
}

const accepting = (table: string): string =>
  (builtins[table] ?? '')
    .split(' ')
    .map((chain) => `:${chain} ACCEPT [0:0]\n`)
    .join('');

const rules = new Tables();
const rules6 = new Tables();

/** The settings of every scene but where the scene says otherwise. */
const usual = { 'net.ipv4.vs.conntrack': '1', 'net.ipv4.ip_forward': '1', 'net.ipv4.vs.conn_reuse_mode': '0', 'net.ipv4.vs.expire_quiescent_template': '1' };

function loading(scene: Scene): string {
  const settings = Object.entries({ ...usual, ...scene.sysctls }).map(([name, value]) => `echo ${value} > ${settingFile(name)}`);
  return [
    `ipset restore -exist ${here(`flush\n${scene.ipset ?? ''}`)}`,
    `iptables-restore ${here(rules.replacing(scene.iptables ?? ''))}`,
    ...(scene.ip6tables === undefined ? [] : [`ip6tables-restore ${here(rules6.replacing(scene.ip6tables))}`]),
    ...settings,
    `ipvsadm -R ${here(`-C\n${scene.ipvs}`)}`,
  ].join('\n');
}

const here = (text: string): string => `<<'END'\n${text}END`;
const settingFile = (name: string): string => `/proc/sys/${name.replaceAll('.', '/')}`;

const settingsRead = [
  ...['ip_forward', 'vs.conntrack', 'vs.expire_quiescent_template'].map((name) => `net.ipv4.${name}`),
  ...['all', 'eth0', 'eth1', 'cni0'].flatMap((device) => ['forwarding', 'rp_filter', 'route_localnet'].map((name) => `net.ipv4.conf.${device}.${name}`)),
  'net.ipv6.conf.all.forwarding',
];

/** What the scenes change, as a capture holds it; the rest is the same in all of them and read once. */
const changing = (scene: Scene, folder: string): string => `cd ${folder}
iptables-save > iptables-save.txt; ipset save > ipset-save.txt; ipvsadm -Sn > ipvsadm-Sn.txt
${scene.ip6tables === undefined ? '' : 'ip6tables-save > ip6tables-save.txt'}
for name in ${settingsRead.join(' ')}; do read -r value < /proc/sys/\${name//.//}; echo "$name = $value"; done > sysctl.txt`;

const unchanging = `mkdir -p ${results}/same; cd ${results}/same
ip -j addr > ip-addr.json; ip -4 -j route show table all > ip-route.json; ip -6 -j route show table all > ip6-route.json
ip -4 -j rule > ip-rule.json; ip -6 -j rule > ip6-rule.json; ss -H -tulnp > ss.txt`;

buildHosts();
const [client, node, pod] = await Promise.all([
  start('client', 'prober.ts'),
  start('node', 'prober.ts'),
  start('pod', 'prober.ts'),
  ...['node', 'pod', 'remote'].map((who) => start(who, 'responder.ts', [who])),
]);
const places: Readonly<Record<Place, Person>> = { client, node, pod };
const onNode = shellOn('node');
await onNode(unchanging);
let id = 0;
for (const [index, scene] of scenes.entries()) {
  const folder = join(results, String(index));
  mkdirSync(folder, { recursive: true });
  try {
    await onNode(`${loading(scene)}\n${changing(scene, folder)}`);
    const observations = await Promise.all(
      scene.asked.map(async (sent) => {
        id += 1;
        const asked = { ...sent, fromPort: 20_000 + id };
        return { asked, observation: await places[sent.place].send({ ...asked, id, timeoutMs: probeMs }) };
      }),
    );
    writeFileSync(join(folder, 'observations.json'), JSON.stringify(observations));
    if (scene.counted !== undefined) await onNode(`iptables-save -c > ${folder}/rule-counters.txt`);
  } catch (error) {
    writeFileSync(join(folder, 'failed.txt'), String(error));
  }
}
process.exit(0);
