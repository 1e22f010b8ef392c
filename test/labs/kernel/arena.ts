// The arena of the differential test: a client with several addresses, a node, a pod on it and a remote pod behind it, in namespaces; rules are loaded into the
// node for real, real packets are sent, and the node's state is read back with the same commands that the agent uses.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { CaptureFiles } from '../../../shared/netfilter/node.ts';
import { Namespaces } from '../namespaces.ts';
import type { Observation, Probe } from './probe.ts';

/** Addresses of the arena; the node's own come first in each family. */
export const addresses = {
  node: ['10.9.0.1', 'fd09::1'],
  nodeSecondary: ['10.9.0.21', 'fd09::21'],
  clients: [
    ['10.9.0.2', '10.9.0.3', '10.9.0.66', '198.51.100.7', '203.0.113.9'],
    ['fd09::2', 'fd09::3', '2001:db8:7::7'],
  ],
  pod: ['10.244.1.11', 'fd44:1::11'],
  remote: ['10.244.2.11', 'fd44:2::11'],
} as const;

export type Place = 'client' | 'node' | 'pod';

/** Rules for the node, in each tool's own input form. Absent: none. */
export interface RuleInput {
  readonly legacy4?: string;
  readonly legacy6?: string;
  readonly nft4?: string;
  readonly nft6?: string;
  readonly native?: string;
  readonly ipset?: string;
  readonly sysctls?: Readonly<Record<string, string>>;
}

export class Arena {
  readonly #namespaces = new Namespaces();
  readonly #names = new Map<string, string>();
  readonly #probers = new Map<Place, Prober>();
  readonly #folder = mkdtempSync(join(tmpdir(), 'portreeve-arena-'));
  #fixed: ReadonlyMap<string, Buffer> = new Map();

  static async build(): Promise<Arena> {
    const arena = new Arena();
    try {
      await arena.#wire();
      await arena.#people();
      return arena;
    } catch (error) {
      await arena.close();
      throw error;
    }
  }

  async #wire(): Promise<void> {
    for (const name of ['client', 'node', 'pod', 'remote']) this.#names.set(name, await this.#namespaces.add(name));
    const ns = (name: string): string => this.#names.get(name) as string;
    const node = ns('node');
    // Without this the link-local addresses stay tentative for a second or two, and neighbours cannot be asked for.
    for (const name of this.#names.values())
      await this.#namespaces.run(name, ['sysctl', '-q', '-w', 'net.ipv6.conf.default.dad_transmits=0', 'net.ipv6.conf.default.accept_dad=0']);
    const link = (near: string, peer: string, far: string): string =>
      `link add ${near} address ${macs[`node ${near}`]} type veth peer name ${far} address ${macs[`${near} peer`]} netns ${peer}`;
    await this.#namespaces.ip(node, [link('eth0', ns('client'), 'eth0'), link('cni0', ns('pod'), 'eth0'), link('eth1', ns('remote'), 'eth0')]);
    await this.#namespaces.ip(node, [
      'addr add 10.9.0.1/24 dev eth0',
      'addr add 10.9.0.21/24 dev eth0',
      'addr add fd09::1/64 dev eth0 nodad',
      'addr add fd09::21/64 dev eth0 nodad',
      'addr add 10.244.1.1/24 dev cni0',
      'addr add fd44:1::1/64 dev cni0 nodad',
      'addr add 10.8.0.1/24 dev eth1',
      'addr add fd08::1/64 dev eth1 nodad',
      'link set eth0 up',
      'link set cni0 up',
      'link set eth1 up',
      'route add 198.51.100.0/24 via 10.9.0.2',
      'route add 203.0.113.0/24 via 10.9.0.2',
      'route add 10.244.2.0/24 via 10.8.0.2',
      'route add 2001:db8:7::/64 via fd09::2',
      'route add fd44:2::/64 via fd08::2',
    ]);
    await this.#namespaces.ip(ns('client'), [
      ...addresses.clients[0].map((address) => `addr add ${address}/${address.startsWith('10.9') ? 24 : 32} dev eth0`),
      ...addresses.clients[1].map((address) => `addr add ${address}/${address.startsWith('fd09') ? 64 : 128} dev eth0 nodad`),
      'link set eth0 up',
      'route add default via 10.9.0.1',
      'route add ::/0 via fd09::1',
    ]);
    await this.#namespaces.ip(ns('pod'), [
      'addr add 10.244.1.11/24 dev eth0',
      'addr add fd44:1::11/64 dev eth0 nodad',
      'link set eth0 up',
      'route add default via 10.244.1.1',
      'route add ::/0 via fd44:1::1',
    ]);
    await this.#namespaces.ip(ns('remote'), [
      'addr add 10.8.0.2/24 dev eth0',
      'addr add fd08::2/64 dev eth0 nodad',
      'addr add 10.244.2.11/32 dev lo',
      'addr add fd44:2::11/128 dev lo nodad',
      'link set eth0 up',
      'route add default via 10.8.0.1',
      'route add ::/0 via fd08::1',
    ]);
    // Neighbours are known for good: rules that break IPv6 neighbour discovery are another matter than the fate of a packet.
    for (const [name, device, address, mac] of neighbours())
      await this.#namespaces.ip(ns(name), [`neigh replace ${address} lladdr ${mac} dev ${device} nud permanent`]);
    const settings = [
      'net.ipv4.icmp_ratelimit=0',
      'net.ipv6.icmp.ratelimit=0',
      'net.ipv4.conf.all.rp_filter=0',
      'net.ipv4.conf.default.rp_filter=0',
      'net.ipv4.conf.eth0.rp_filter=0',
    ];
    for (const name of this.#names.values()) await this.#namespaces.run(name, ['sysctl', '-q', '-w', ...settings]);
    await this.#namespaces.run(node, [
      'sysctl',
      '-q',
      '-w',
      'net.ipv4.ip_forward=1',
      'net.ipv6.conf.all.forwarding=1',
      'net.ipv4.conf.cni0.rp_filter=0',
      'net.ipv4.conf.eth1.rp_filter=0',
    ]);
  }

  async #people(): Promise<void> {
    const script = (name: string): string => join(import.meta.dirname, name);
    for (const who of ['node', 'pod', 'remote']) {
      await this.#namespaces.start(this.#names.get(who), [process.execPath, script('responder.ts'), who], { ready: /^ready$/m });
    }
    for (const place of ['client', 'node', 'pod'] as const) this.#probers.set(place, await Prober.start(this.#names.get(place) as string, script('prober.ts')));
    this.#fixed = await this.#read(fixedCommands);
  }

  /** Replaces all rules of the node and reads its state back. Throws with the tool's words when a rule is not accepted. */
  async load(rules: RuleInput): Promise<CaptureFiles> {
    const steps = [
      'set -e',
      'nft flush ruleset',
      'for t in iptables ip6tables; do $t-legacy-restore < empty; done',
      'conntrack -F 2>/dev/null || true',
      'ipset destroy 2>/dev/null || true',
    ];
    writeFileSync(join(this.#folder, 'empty'), emptyTables);
    const add = (file: string, text: string | undefined, command: string): void => {
      if (text === undefined) return;
      writeFileSync(join(this.#folder, file), text);
      steps.push(`${command} < ${file}`);
    };
    add('ipset', rules.ipset, 'ipset restore -exist');
    add('legacy4', rules.legacy4, 'iptables-legacy-restore');
    add('legacy6', rules.legacy6, 'ip6tables-legacy-restore');
    add('nft4', rules.nft4, 'iptables-nft-restore');
    add('nft6', rules.nft6, 'ip6tables-nft-restore');
    add('native', rules.native, 'nft -f -');
    for (const [name, value] of Object.entries(rules.sysctls ?? {})) steps.push(`sysctl -q -w ${name}=${value}`);
    await this.#bash(steps.join('\n'));
    const read: (readonly [string, string])[] = [['sysctl.txt', sysctlCommand]];
    if (rules.nft4 !== undefined) read.push(['iptables-save.txt', 'iptables-nft-save']);
    if (rules.nft6 !== undefined) read.push(['ip6tables-save.txt', 'ip6tables-nft-save']);
    if (rules.legacy4 !== undefined) read.push(['iptables-legacy-save.txt', 'iptables-legacy-save']);
    if (rules.legacy6 !== undefined) read.push(['ip6tables-legacy-save.txt', 'ip6tables-legacy-save']);
    if (rules.native !== undefined) read.push(['nft.json', 'nft -j list ruleset']);
    if (rules.ipset !== undefined) read.push(['ipset-save.txt', 'ipset save']);
    return new Map([...this.#fixed, ...(await this.#read(read))]);
  }

  /** The counters of the rules as they are now, in the form of a capture. */
  async counters(rules: RuleInput): Promise<CaptureFiles> {
    const read: (readonly [string, string])[] = [];
    if (rules.nft4 !== undefined) read.push(['iptables-save.txt', 'iptables-nft-save -c']);
    if (rules.nft6 !== undefined) read.push(['ip6tables-save.txt', 'ip6tables-nft-save -c']);
    if (rules.legacy4 !== undefined) read.push(['iptables-legacy-save.txt', 'iptables-legacy-save -c']);
    if (rules.legacy6 !== undefined) read.push(['ip6tables-legacy-save.txt', 'ip6tables-legacy-save -c']);
    if (rules.native !== undefined) read.push(['nft.json', 'nft -j list ruleset']);
    return this.#read(read);
  }

  /** Sends probes from a place, all at once. */
  async send(place: Place, probes: readonly Probe[]): Promise<readonly Observation[]> {
    return (this.#probers.get(place) as Prober).send(probes);
  }

  async #read(commands: readonly (readonly [file: string, command: string])[]): Promise<ReadonlyMap<string, Buffer>> {
    if (commands.length === 0) return new Map();
    await this.#bash(['set -e', ...commands.map(([file, command]) => `${command} > out.${file} 2>err.${file}`)].join('\n'));
    return new Map(commands.map(([file]) => [file, readFileSync(join(this.#folder, `out.${file}`))]));
  }

  #bash(script: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const child = execFile(
        'ip',
        ['netns', 'exec', this.#names.get('node') as string, 'bash', '-s'],
        { cwd: this.#folder, timeout: 60_000 },
        (error, stdout, stderr) => {
          if (error === null) resolve();
          else reject(new Error(`${stderr}${stdout}\n${error.message}`));
        },
      );
      child.stdin?.end(script);
    });
  }

  async close(): Promise<void> {
    for (const prober of this.#probers.values()) prober.close();
    await this.#namespaces.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

const macs: Readonly<Record<string, string>> = {
  'node eth0': '02:00:00:00:00:01',
  'eth0 peer': '02:00:00:00:00:02',
  'node cni0': '02:00:00:00:01:01',
  'cni0 peer': '02:00:00:00:01:02',
  'node eth1': '02:00:00:00:02:01',
  'eth1 peer': '02:00:00:00:02:02',
};

/** Every neighbour of every host: namespace, device, address, hardware address. */
function neighbours(): readonly (readonly [string, string, string, string])[] {
  const nodeSide = (device: string, list: readonly string[]): (readonly [string, string, string, string])[] =>
    list.map((address) => ['node', device, address, macs[`${device} peer`] as string] as const);
  const farSide = (name: string, device: string, list: readonly string[]): (readonly [string, string, string, string])[] =>
    list.map((address) => [name, 'eth0', address, macs[`node ${device}`] as string] as const);
  const clients = addresses.clients.flat().filter((address) => address.startsWith('10.9.') || address.startsWith('fd09:'));
  return [
    ...nodeSide('eth0', clients),
    ...nodeSide('cni0', [...addresses.pod]),
    ...nodeSide('eth1', ['10.8.0.2', 'fd08::2']),
    ...farSide('client', 'eth0', [...addresses.node, ...addresses.nodeSecondary]),
    ...farSide('pod', 'cni0', ['10.244.1.1', 'fd44:1::1']),
    ...farSide('remote', 'eth1', ['10.8.0.1', 'fd08::1']),
  ];
}

/** Policies must be named: a restore leaves those that it does not name. */
const builtinChains = {
  raw: 'PREROUTING OUTPUT',
  mangle: 'PREROUTING INPUT FORWARD OUTPUT POSTROUTING',
  nat: 'PREROUTING INPUT OUTPUT POSTROUTING',
  filter: 'INPUT FORWARD OUTPUT',
};
const emptyTables = Object.entries(builtinChains)
  .map(
    ([table, chains]) =>
      `*${table}\n${chains
        .split(' ')
        .map((chain) => `:${chain} ACCEPT [0:0]\n`)
        .join('')}COMMIT\n`,
  )
  .join('');
const sysctlCommand =
  'sysctl net.ipv4.ip_forward net.ipv4.conf.all.forwarding net.ipv6.conf.all.forwarding net.ipv4.conf.all.rp_filter net.ipv4.conf.eth0.rp_filter net.ipv4.conf.eth0.forwarding net.ipv4.conf.cni0.forwarding net.ipv4.conf.cni0.rp_filter net.ipv4.conf.all.route_localnet net.ipv4.conf.eth0.route_localnet net.ipv4.conf.cni0.route_localnet net.ipv4.conf.eth1.route_localnet';
const fixedCommands = [
  ['ip-addr.json', 'ip -j addr'],
  ['ip-route.json', 'ip -4 -j route show table all'],
  ['ip6-route.json', 'ip -6 -j route show table all'],
  ['ip-rule.json', 'ip -4 -j rule'],
  ['ip6-rule.json', 'ip -6 -j rule'],
  ['ss.txt', 'ss -H -tulnp'],
] as const;

/** A prober process in a namespace. */
class Prober {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (observation: Observation) => void>();

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static start(namespace: string, script: string): Promise<Prober> {
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'ip', 'netns', 'exec', namespace, process.execPath, script], { stdio: ['pipe', 'pipe', 'inherit'] });
    const prober = new Prober(child);
    return new Promise((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`the prober ended with ${code}`)));
      createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
        if (line === 'ready') resolve(prober);
        else prober.#take(JSON.parse(line) as Observation);
      });
    });
  }

  send(probes: readonly Probe[]): Promise<readonly Observation[]> {
    return Promise.all(
      probes.map(
        (probe) =>
          new Promise<Observation>((resolve) => {
            this.#waiting.set(probe.id, resolve);
            this.#child.stdin?.write(`${JSON.stringify(probe)}\n`);
          }),
      ),
    );
  }

  #take(observation: Observation): void {
    this.#waiting.get(observation.id)?.(observation);
    this.#waiting.delete(observation.id);
  }

  close(): void {
    this.#child.removeAllListeners('exit');
    this.#child.kill('SIGKILL');
  }
}
