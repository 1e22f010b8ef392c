// The arena of the differential test: a node among clients, pods and a peer, each in a namespace of its own; rules are loaded into the node for real, real packets
// are sent, and the node's state is read back with the same commands that the agent uses.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { CaptureFiles } from '../../../shared/netfilter/node.ts';
import { Namespaces } from '../namespaces.ts';
import { Host, hostArguments, type Meeting, type Probe, type SeenPacket } from './host.ts';
import { sctpPorts, tcpPorts, udpPorts } from './ports.ts';
import { ownAddresses, type Place, places, watched, wiring } from './topology.ts';

/** Rules for the node, in each tool's own input form. Absent: none. */
export interface RuleInput {
  readonly legacy4?: string;
  readonly legacy6?: string;
  readonly nft4?: string;
  readonly nft6?: string;
  readonly native?: string;
  readonly ipset?: string;
  readonly sysctls?: Readonly<Record<string, string>>;
  /** `route add …` and `rule add …` lines for `ip`; they are deleted again before the next rules come. */
  readonly routes?: string;
}

/** What became of a round of probes: what senders were told, and what went over the node's wires. */
export interface Round {
  readonly meetings: ReadonlyMap<number, readonly Meeting[]>;
  readonly packets: readonly SeenPacket[];
}

export class Arena {
  readonly #namespaces = new Namespaces();
  readonly #names = new Map<Place, string>();
  readonly #hosts = new Map<Place, Host>();
  readonly #folder = mkdtempSync(join(tmpdir(), 'portreeve-arena-'));
  #shell: Shell | undefined;
  #loaded: RuleInput = {};
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
    await Promise.all(places.map(async (place) => this.#names.set(place, await this.#namespaces.add(place))));
    await Promise.all([...this.#names].map(([place, name]) => this.#namespaces.run(name, ['sysctl', '-q', '-w', ...quiet, ...(ownSettings[place] ?? [])])));
    for (const [place, lines] of wiring((each) => this.#names.get(each) as string)) await this.#namespaces.ip(this.#names.get(place) as string, lines);
    await this.#namespaces.run(this.#names.get('client') as string, ['sysctl', '-q', '-w', 'net.ipv4.conf.eth0.route_localnet=1']);
  }

  async #people(): Promise<void> {
    const ports = { tcp: tcpPorts, udp: udpPorts };
    await Promise.all(
      places.map(async (place) => {
        const own = ownAddresses(place);
        const args =
          place === 'node' ? hostArguments(place, { ports, own, watch: watched }) : hostArguments(place, { ports: { ...ports, sctp: sctpPorts }, own });
        this.#hosts.set(place, await Host.start(this.#names.get(place) as string, args));
      }),
    );
    this.#shell = new Shell(this.#names.get('node') as string, this.#folder);
    writeFileSync(join(this.#folder, 'empty'), emptyTables);
    this.#fixed = await this.#read(fixedCommands);
  }

  /** Replaces all rules of the node and reads its state back. Throws with the tool's words when a rule is not accepted. */
  async load(rules: RuleInput): Promise<CaptureFiles> {
    const steps = [...this.#unload(), ...settingsText({ ...usualSettings, ...rules.sysctls })];
    this.#loaded = rules;
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
    add('native', trackingOn + (rules.native ?? ''), 'nft -f -');
    for (const line of routeLines(rules)) steps.push(`ip ${line}`);
    await this.#run(steps.join('\n'));
    return this.#state();
  }

  /** What has to be taken away before other rules come. nf_tables lets go of the sets of its rules a little after the rules are gone. */
  #unload(): readonly string[] {
    const { legacy4, legacy6, ipset } = this.#loaded;
    const undo = routeLines(this.#loaded)
      .toReversed()
      .map((line) => `ip ${line.replace(/(route|rule) add /, '$1 del ')} || true`);
    return [
      'nft flush ruleset',
      ...(legacy4 === undefined ? [] : ['iptables-legacy-restore < empty']),
      ...(legacy6 === undefined ? [] : ['ip6tables-legacy-restore < empty']),
      ...(ipset === undefined ? [] : ['ipset flush', 'for wait in 0 0.01 0.02 0.05 0.1 0.2 0.5 1; do sleep $wait; ipset destroy && break; done']),
      ...undo,
      'conntrack -F || true',
    ];
  }

  /** Changes the node's ipsets as they are, by `ipset restore` lines, and reads its state back. */
  async change(ipset: string): Promise<CaptureFiles> {
    writeFileSync(join(this.#folder, 'change'), ipset);
    await this.#run('ipset restore -exist < change');
    return this.#state();
  }

  /** The node's state as a capture holds it. */
  async #state(): Promise<CaptureFiles> {
    const rules = this.#loaded;
    const read: (readonly [string, string])[] = [['sysctl.txt', settingsCommand(Object.keys(usualSettings))], ...ruleCommands(rules)];
    if (rules.ipset !== undefined) read.push(['ipset-save.txt', 'ipset save']);
    if (rules.routes !== undefined) read.push(...fixedCommands.filter(([file]) => /route|rule/.test(file)));
    return new Map([...this.#fixed, ...(await this.#read(read))]);
  }

  /** The counters of the rules as they are now, in the form of a capture, with the kernel's own counters of packets. */
  async counters(): Promise<CaptureFiles> {
    return this.#read([...ruleCommands(this.#loaded, '-c'), ['netstat.txt', 'cat /proc/net/netstat']]);
  }

  /**
   * Sends probes, all at once, and waits until `isComplete` finds nothing missing in what came of them and the wires have been silent for a while, at most
   * `timeoutMs`.
   */
  async play(
    probes: ReadonlyMap<Place, readonly Probe[]>,
    until: { readonly isComplete: (round: Round) => boolean; readonly timeoutMs: number },
  ): Promise<Round> {
    const hosts = [...this.#hosts.values()];
    for (const host of hosts) host.forget();
    for (const [place, list] of probes) this.#hosts.get(place)?.send(list);
    const start = performance.now();
    const deadline = start + until.timeoutMs;
    while (performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, pollMs));
      const silentMs = performance.now() - Math.max(start, ...hosts.map(({ heardAt }) => heardAt));
      if (silentMs >= silenceMs && until.isComplete(this.#seen())) break;
    }
    await Promise.all(hosts.map((host) => host.letGo()));
    return this.#seen();
  }

  #seen(): Round {
    const meetings = Map.groupBy(
      [...this.#hosts.values()].flatMap((host) => host.meetings),
      ({ id }) => id,
    );
    return { meetings, packets: this.#hosts.get('node')?.packets ?? [] };
  }

  async #read(commands: readonly (readonly [file: string, command: string])[]): Promise<ReadonlyMap<string, Buffer>> {
    await this.#run(commands.map(([file, command]) => `${command} > out.${file}`).join('\n'));
    return new Map(commands.map(([file]) => [file, readFileSync(join(this.#folder, `out.${file}`))]));
  }

  #run(script: string): Promise<void> {
    return (this.#shell as Shell).run(script);
  }

  async close(): Promise<void> {
    this.#shell?.close();
    for (const host of this.#hosts.values()) host.close();
    await this.#namespaces.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** How long the wires must have been silent, and how often that is looked at. Packets that need no program are through within a millisecond. */
const silenceMs = 40;
const pollMs = 10;

/** Answers at once, no limit on ICMP errors, nothing that hosts send by themselves, and no second attempts. */
const quiet: readonly string[] = [
  'net.ipv6.conf.default.dad_transmits=0',
  'net.ipv6.conf.default.accept_dad=0',
  'net.ipv6.conf.default.router_solicitations=0',
  'net.ipv4.icmp_ratelimit=0',
  'net.ipv4.icmp_ratemask=0',
  'net.ipv6.icmp.ratelimit=0',
  'net.ipv4.tcp_synack_retries=0',
  'net.ipv4.conf.all.rp_filter=0',
  'net.ipv4.conf.default.rp_filter=0',
];
const ownSettings: Readonly<Partial<Record<Place, readonly string[]>>> = { peer: ['net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1'] };

/** Policies must be named: a restore leaves those that it does not name. */
export const builtinChains = {
  raw: 'PREROUTING OUTPUT',
  mangle: 'PREROUTING INPUT FORWARD OUTPUT POSTROUTING',
  nat: 'PREROUTING INPUT OUTPUT POSTROUTING',
  filter: 'INPUT FORWARD OUTPUT',
} as const;
const emptyTables = Object.entries(builtinChains)
  .map(
    ([table, chains]) =>
      `*${table}\n${chains
        .split(' ')
        .map((chain) => `:${chain} ACCEPT [0:0]\n`)
        .join('')}COMMIT\n`,
  )
  .join('');

/** Connections are tracked, and NAT chains asked, only where some rule needs it; this one is never reached. */
const trackingOn = 'table inet tracking {\n  chain unreached {\n    ct state new\n  }\n}\n';

/** Settings that rulesets change, with what they are otherwise; ip_forward comes first, as it sets the forwarding of every interface. */
const usualSettings: Readonly<Record<string, string>> = {
  'net.ipv4.ip_forward': '1',
  'net.ipv4.conf.all.rp_filter': '0',
  'net.ipv4.conf.all.route_localnet': '0',
  'net.ipv4.conf.all.accept_local': '0',
  'net.ipv6.conf.all.forwarding': '1',
  'net.bridge.bridge-nf-call-iptables': '1',
  'net.bridge.bridge-nf-call-ip6tables': '1',
  ...Object.fromEntries(
    ['eth0', 'eth1', 'cni0', 'cali1'].flatMap((device) =>
      [
        ['forwarding', '1'],
        ['rp_filter', '0'],
        ['route_localnet', '0'],
        ['accept_local', '0'],
      ].map(([name, value]) => [`net.ipv4.conf.${device}.${name}`, value as string] as const),
    ),
  ),
};

const settingFile = (name: string): string => `/proc/sys/${name.replaceAll('.', '/')}`;
const settingsText = (settings: Readonly<Record<string, string>>): readonly string[] =>
  Object.entries(settings).map(([name, value]) => `echo ${value} > ${settingFile(name)}`);
/** As sysctl(8) prints them, by the shell itself. */
const settingsCommand = (names: readonly string[]): string =>
  `for name in ${names.join(' ')}; do read -r value < "/proc/sys/\${name//.//}"; echo "$name = $value"; done`;

const routeLines = ({ routes = '' }: RuleInput): readonly string[] => routes.split('\n').filter((line) => line !== '');

function ruleCommands(rules: RuleInput, option = ''): readonly (readonly [string, string])[] {
  const commands: (readonly [string, string])[] = [];
  if (rules.nft4 !== undefined) commands.push(['iptables-save.txt', `iptables-nft-save ${option}`]);
  if (rules.nft6 !== undefined) commands.push(['ip6tables-save.txt', `ip6tables-nft-save ${option}`]);
  if (rules.legacy4 !== undefined) commands.push(['iptables-legacy-save.txt', `iptables-legacy-save ${option}`]);
  if (rules.legacy6 !== undefined) commands.push(['ip6tables-legacy-save.txt', `ip6tables-legacy-save ${option}`]);
  // This release of nft tells the interface of an ingress chain in its text alone.
  if (rules.native?.includes('table netdev') === true) commands.push(['nft-ruleset.txt', 'nft list ruleset']);
  else if (rules.native !== undefined) commands.push(['nft.json', 'nft -j list ruleset']);
  return commands;
}

const fixedCommands = [
  ['ip-addr.json', 'ip -j addr'],
  ['ip-route.json', 'ip -4 -j route show table all'],
  ['ip6-route.json', 'ip -6 -j route show table all'],
  ['ip-rule.json', 'ip -4 -j rule'],
  ['ip6-rule.json', 'ip -6 -j rule'],
  ['ss.txt', 'ss -H -tulnpS'],
] as const;

/** One shell on the node for everything: starting it for each ruleset would take as long as loading the rules. */
class Shell {
  readonly #child: ChildProcess;
  #said = '';
  #done: ((status: string) => void) | undefined;

  constructor(namespace: string, folder: string) {
    this.#child = spawn('setpriv', ['--pdeathsig', 'KILL', 'ip', 'netns', 'exec', namespace, 'bash', '-s'], { cwd: folder, stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child.stderr?.on('data', (data) => (this.#said += String(data)));
    createInterface({ input: this.#child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      const status = /^done (\d+)$/.exec(line)?.[1];
      if (status === undefined) this.#said += `${line}\n`;
      else this.#done?.(status);
    });
  }

  run(script: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#said = '';
      this.#done = (status) => (status === '0' ? resolve() : reject(new Error(this.#said)));
      this.#child.stdin?.write(`(set -e\n${script}\n) </dev/null 2>&1; echo "done $?"\n`);
    });
  }

  close(): void {
    this.#child.kill('SIGKILL');
  }
}
