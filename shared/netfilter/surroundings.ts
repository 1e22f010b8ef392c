// What surrounds the rules and decides beside them, as facts: whose chains are there, who may reach the ports that NodePorts depend on, routes, processes, counters.
import { type Family, formatPrefixes, parsePrefix } from '../model/address.ts';
import {
  type CounterFact,
  type Fact,
  type FlowsFact,
  type HostPortsFact,
  type NeighbourChain,
  type NodePortKey,
  nodePortFactKey,
  type PortFact,
  type ProcessFact,
  type ProxyFact,
  protocolNumbers,
  type RepeatedRulesFact,
  type RoutingFact,
  type ServedAddressesFact,
} from '../model/fact.ts';
import type { Outcome, Vantage } from '../model/outcome.ts';
import { primaryAddress, routeDestinations } from './host.ts';
import type { NodeState, Process } from './node.ts';
import { ownerOf, ownerOfName } from './owners.ts';
import type { Packet } from './packet.ts';
import { baseChainsOf, type Chain, type Table } from './ruleset.ts';
import { roundedCounter, roundedCounters } from './surroundings.parse.ts';
import { walk } from './walk.ts';

/** What the facts are to speak of. */
export interface Surroundings {
  readonly nodePorts: readonly NodePortKey[];
  readonly podNetworks: readonly string[];
  /** Ports that load balancers ask for health. */
  readonly healthPorts: readonly number[];
  /** The clients of each vantage, in one family. */
  clients(family: Family): readonly Pick<Packet, 'vantage' | 'sources' | 'iif'>[];
}

/** All facts of the surroundings, in a stable order; each is left out where there is nothing to say. */
export function surroundingFacts(node: NodeState, about: Surroundings): Fact[] {
  return [
    ...neighboursFact(node),
    ...families.flatMap((family) => [
      ...routingFact(node, family, about.podNetworks),
      ...servedFact(node, family),
      ...hostPortsFact(node, family),
      ...portFacts(node, family, about),
    ]),
    ...repeatedRulesFact(node),
    ...processFacts(node),
    ...counterFacts(node, about),
    ...flowFacts(node, about),
  ];
}

/** What is known of kube-proxy besides its rules' shape: its start, its flags, its last sync, and what it takes for pods. */
export function proxySurroundings(node: NodeState): Pick<ProxyFact, 'startedAt' | 'flags' | 'sync' | 'version' | 'health' | 'clusterNetworks'> {
  const process = node.processes?.find(({ comm }) => comm === 'kube-proxy') ?? node.processes?.find(({ comm }) => embedding.test(comm));
  const { proxyConfig = {}, proxyHealth, proxyVersion } = node.beside ?? {};
  // With a configuration file kube-proxy itself passes nearly all flags over; those who embed it take flags before their file.
  const given = process === undefined ? {} : flagsOf(process);
  const flags = process?.comm === 'kube-proxy' ? { ...given, ...proxyConfig } : { ...proxyConfig, ...given };
  const clusterNetworks = [...new Set(families.flatMap((family) => clusterNetworksOf(node, family)))].sort();
  return {
    ...(process?.startedAt === undefined ? {} : { startedAt: process.startedAt }),
    ...(Object.keys(flags).length === 0 ? {} : { flags }),
    ...(node.proxySync === undefined ? {} : { sync: node.proxySync }),
    ...(proxyVersion === undefined ? {} : { version: proxyVersion }),
    ...(proxyHealth?.['healthz'] === undefined ? {} : { health: proxyHealth['healthz'] }),
    ...(clusterNetworks.length === 0 ? {} : { clusterNetworks }),
  };
}

const families: readonly Family[] = [4, 6];
const embedding = /^(k3s|k3s-server|k3s-agent|rke2|kubelite)$/;

const familyOf = ({ family }: Table): Family | undefined => (family === 'ip' ? 4 : family === 'ip6' ? 6 : undefined);

/** A few chains of each program, table and backend tell that it is there. */
const chainsOfEachMax = 4;

function neighboursFact(node: NodeState): Fact[] {
  const counts = new Map<string, number>();
  const chains: NeighbourChain[] = [];
  for (const { family, name: table, backend, chains: all } of node.tables) {
    for (const chain of all.keys()) {
      const owner = backend === 'nft' ? ownerOf({ family, table, chain }) : ownerOfName(chain);
      if (owner === undefined || owner === 'kube-proxy' || owner === 'unknown') continue;
      const key = `${owner} ${backend} ${family} ${table}`;
      const count = counts.get(key) ?? 0;
      counts.set(key, count + 1);
      if (count < chainsOfEachMax) chains.push({ family, table, chain, backend });
    }
  }
  return [{ kind: 'neighbours', key: 'neighbours', chains }];
}

const ownRules = /^(0:.*lookup local|32766:.*lookup main|32767:.*lookup default)$/;
const rulesShownMax = 32;
const networksShownMax = 1_000;

function routingFact({ host }: NodeState, family: Family, podNetworks: readonly string[]): RoutingFact[] {
  if (!host.known.routes) return [];
  const main = host.routes.find((route) => route.family === family && route.table === 'main' && route.length === 0 && route.type === 'unicast');
  const networks = podNetworks.slice(0, networksShownMax).flatMap((text) => {
    const prefix = parsePrefix(text);
    if (prefix?.family !== family) return [];
    const found = routeDestinations(host, [prefix.interval], { family, mark: 0 }).find(({ answer }) => answer.kind === 'route' && answer.route.length > 0);
    return [[text, found?.answer.kind === 'route' ? found.answer.route.text : null] as const];
  });
  return [
    {
      kind: 'routing',
      key: `routing/${family}`,
      family,
      defaultRoute: main !== undefined,
      ...(main?.device === undefined ? {} : { device: main.device }),
      rules: host.rules
        .filter((rule) => rule.family === family && !ownRules.test(rule.text))
        .map(({ text }) => text)
        .slice(0, rulesShownMax),
      podNetworks: Object.fromEntries(networks),
    },
  ];
}

function servedFact(node: NodeState, family: Family): ServedAddressesFact[] {
  const tables = node.tables.filter((table) => familyOf(table) === family);
  const native = tables.find(({ backend, name }) => backend === 'nft' && name === 'kube-proxy')?.sets.get('nodeport-ips');
  const jumps = tables
    .filter(({ backend, name }) => backend !== 'nft' && name === 'nat')
    .flatMap(({ chains }) => jumpsToNodePorts(chains.get('KUBE-SERVICES')));
  if (native === undefined && jumps.length === 0) return [];
  const prefixes =
    native === undefined
      ? servedByJumps(jumps)
      : native.elements.flatMap(({ key: [part] }) => (part?.kind === 'interval' ? formatPrefixes(family, [part]) : []));
  return [{ kind: 'served', key: `served/${family}`, family, prefixes: [...new Set(prefixes)].sort() }];
}

function* textsOf(chain: Chain | undefined): Iterable<string> {
  for (let index = 0; index < (chain?.length ?? 0); index++) yield (chain as Chain).text(index);
}

// The jump stands last in a chain that is as long as there are Services.
function jumpsToNodePorts(chain: Chain | undefined): string[] {
  const length = chain?.length ?? 0;
  const found: string[] = [];
  for (let index = length - 1; index >= Math.max(0, length - 64); index--) {
    const text = (chain as Chain).text(index);
    if (/-j KUBE-NODEPORTS\b/.test(text)) found.push(text);
  }
  return found;
}

// One jump without a destination, or with one that is only left out (`! -d ::1/128`), serves every address, whatever the others say.
function servedByJumps(jumps: readonly string[]): string[] {
  const prefixes = jumps.map((text) => / (! )?-d (\S+)/.exec(text)).map((found) => (found?.[1] === undefined ? found?.[2] : undefined));
  return prefixes.every((prefix) => prefix !== undefined) ? prefixes.map((prefix) => (prefix as string).replace(/\/(32|128)$/, '')) : [];
}

function hostPortsFact(node: NodeState, family: Family): HostPortsFact[] {
  const ports = new Set<string>();
  let written = false;
  for (const table of node.tables) {
    if (familyOf(table) !== family) continue;
    const native = table.backend === 'nft' && table.name === 'cni_hostport';
    const chain = native ? table.chains.get('hostports') : table.name === 'nat' ? table.chains.get('CNI-HOSTPORT-DNAT') : undefined;
    written ||= chain !== undefined;
    for (const text of textsOf(chain)) for (const port of hostPortsOf(text, table)) ports.add(port);
  }
  return written ? [{ kind: 'hostports', key: `hostports/${family}`, family, ports: [...ports].sort() }] : [];
}

function hostPortsOf(text: string, { chains, backend }: Table): string[] {
  const protocol = backend === 'nft' ? /\b(tcp|udp|sctp) dport/.exec(text)?.[1] : / -p (tcp|udp|sctp)\b/.exec(text)?.[1];
  const list = backend === 'nft' ? /dport (\d+)/.exec(text)?.[1] : /--dports? (\S+)/.exec(text)?.[1];
  const target = / -j (CNI-DN-\S+)/.exec(text)?.[1];
  const lost = target !== undefined && (chains.get(target)?.length ?? 0) === 0;
  return protocol === undefined || list === undefined || lost ? [] : list.split(',').map((port) => `${protocol}/${port}`);
}

/** UDP ports of the tunnels that network plugins make, by the name of their interface. */
const overlayPorts: readonly (readonly [RegExp, number])[] = [
  [/^flannel(-v6)?\.\d+$/, 8472],
  [/^vxlan(-v6)?\.calico$/, 4789],
  [/^cilium_vxlan$/, 8472],
  [/^cilium_geneve$/, 6081],
  [/^genev_sys_6081$/, 6081],
  [/^vxlan_sys_4789$/, 4789],
  [/^(flannel-wg(-v6)?|wireguard\.cali|wg-v6\.cali)$/, 51820],
  [/^cilium_wg0$/, 51871],
];

function portFacts(node: NodeState, family: Family, about: Surroundings): PortFact[] {
  const destination = primaryAddress(node.host, family);
  if (destination === undefined) return [];
  const overlays = node.host.interfaces.flatMap(({ name }) => {
    const port = overlayPorts.find(([pattern]) => pattern.test(name))?.[1];
    return port === undefined ? [] : [{ protocol: 'udp' as const, port, purpose: 'overlay' as const, device: name, vantages: ['peer'] }];
  });
  const health = about.healthPorts.map((port) => ({ protocol: 'tcp' as const, port, purpose: 'health-check' as const, vantages: ['external', 'peer'] }));
  return [...overlays, ...health].map(({ protocol, port, purpose, vantages, ...device }) => {
    const outcomes: Partial<Record<Vantage, readonly Outcome[]>> = {};
    for (const clients of about.clients(family).filter(({ vantage }) => vantages.includes(vantage))) {
      const packet: Packet = { ...clients, family, protocol: protocolNumbers[protocol], destination, destinationPort: port };
      outcomes[clients.vantage] = walk(node, packet, { traced: false, reply: false }).outcomes;
    }
    return { kind: 'port', key: `port/${protocol}/${family}/${port}`, port: { protocol, family, port }, purpose, ...device, outcomes };
  });
}

/** A rule that stands this often in one built-in chain was added again and again. */
const repeatedMin = 10;

function repeatedRulesFact(node: NodeState): RepeatedRulesFact[] {
  const rules = node.tables
    .flatMap((table) =>
      baseChainsOf(table)
        .filter(({ length }) => length >= repeatedMin)
        .flatMap((chain) => repeatedIn(chain, { family: table.family, table: table.name })),
    )
    .sort((a, b) => b.count - a.count);
  return rules.length === 0 ? [] : [{ kind: 'repeated-rules', key: 'repeated-rules', rules: rules.slice(0, 10) }];
}

function repeatedIn(chain: Chain, place: { readonly family: string; readonly table: string }): RepeatedRulesFact['rules'][number][] {
  const counts = new Map<string, number>();
  for (const text of textsOf(chain)) counts.set(text, (counts.get(text) ?? 0) + 1);
  return [...counts].filter(([, count]) => count >= repeatedMin).map(([text, count]) => ({ ...place, chain: chain.name, text, count: roundedCounter(count) }));
}

function processFacts({ processes = [] }: NodeState): ProcessFact[] {
  const byName = Map.groupBy(processes, ({ comm }) => comm);
  return [...byName]
    .map(([comm, all]): ProcessFact => {
      const starts = all.flatMap(({ startedAt }) => startedAt ?? []);
      const units = [...new Set(all.flatMap(({ unit }) => unit ?? []))].sort();
      return {
        kind: 'process',
        key: `process/${comm}`,
        comm,
        pids: all.map(({ pid }) => pid).sort((a, b) => a - b),
        ...(starts.length === 0 ? {} : { startedAt: Math.max(...starts) }),
        ...(units.length === 0 ? {} : { units }),
      };
    })
    .sort((a, b) => (a.key < b.key ? -1 : 1));
}

function counterFacts(node: NodeState, about: Surroundings): CounterFact[] {
  const invalid = invalidDrops(node);
  const onto = masqueradedOnto(node, about.nodePorts);
  const all = [
    ...roundedCounters(node.counters ?? new Map()),
    ...(invalid === undefined ? [] : [['kube_forward_invalid', roundedCounter(invalid)] as const]),
    ...(onto === 0 ? [] : [['masqueraded_onto_nodeport', onto] as const]),
  ];
  return all.map(([name, value]) => ({ kind: 'counter', key: `counter/${name}`, name, value }));
}

/** Packets that KUBE-FORWARD has dropped as INVALID, where the dump counts. */
function invalidDrops({ tables }: NodeState): number | undefined {
  let sum: number | undefined;
  for (const { name, backend, chains } of tables) {
    const chain = backend === 'nft' || name !== 'filter' ? undefined : chains.get('KUBE-FORWARD');
    for (let index = 0; index < (chain?.length ?? 0); index++) {
      if (!/INVALID.* -j DROP/.test((chain as Chain).text(index))) continue;
      const packets = (chain as Chain).rule(index).counter?.packets;
      if (packets !== undefined) sum = (sum ?? 0) + Number(packets);
    }
  }
  return sum;
}

// The node's own port of a masqueraded connection: when it is a NodePort's number too, the answer is taken for a client.
function masqueradedOnto({ flows = [] }: NodeState, nodePorts: readonly NodePortKey[]): number {
  const ports = new Set(nodePorts.map(({ protocol, port }) => `${protocol}/${port}`));
  return flows.filter((flow) => flow.unanswered && flow.state === 'SYN_SENT' && ports.has(`${flow.protocol}/${flow.replyDestinationPort}`)).length;
}

function flowFacts({ flows = [] }: NodeState, { nodePorts }: Surroundings): FlowsFact[] {
  const byPort = Map.groupBy(
    flows.filter(({ protocol }) => protocol === 'udp'),
    ({ protocol, destination, destinationPort }) => nodePortFactKey({ protocol, family: destination.includes(':') ? 6 : 4, port: destinationPort }),
  );
  return nodePorts.flatMap((nodePort) => {
    const own = byPort.get(nodePortFactKey(nodePort)) ?? [];
    if (own.length === 0) return [];
    const byTarget = Map.groupBy(
      own,
      ({ replySource, replySourcePort }) => `${replySource.includes(':') ? `[${replySource}]` : replySource}:${replySourcePort}`,
    );
    const targets = [...byTarget].map(
      ([target, all]) =>
        [target, { count: roundedCounter(all.length), unanswered: roundedCounter(all.filter(({ unanswered }) => unanswered).length) }] as const,
    );
    return [{ kind: 'flows', key: `flows/${nodePort.protocol}/${nodePort.family}/${nodePort.port}`, nodePort, targets: Object.fromEntries(targets) }];
  });
}

const flagNames: ReadonlySet<string> = new Set([
  'bind-address',
  'cluster-cidr',
  'config',
  'detect-local-mode',
  'disable-kube-proxy',
  'hostname-override',
  'iptables-localhost-nodeports',
  'masquerade-all',
  'node-ip',
  'node-name',
  'nodeport-addresses',
  'proxy-mode',
]);

/** The flags of a command line that matter here; those that k3s hands on (`--kube-proxy-arg=NAME=VALUE`) among them. */
function flagsOf({ argv }: Process): Record<string, string> {
  const flags: Record<string, string> = {};
  for (const [index, word] of argv.entries()) {
    const found = /^--(?:kube-proxy-arg[= ])?(?:--)?([a-z-]+)(?:=(.*))?$/.exec(word);
    const name = found?.[1];
    if (name === undefined || !flagNames.has(name)) continue;
    const next = argv[index + 1];
    flags[name] = found?.[2] ?? (next === undefined || next.startsWith('-') ? 'true' : next);
  }
  return flags;
}

/** Chains that are looked through for what kube-proxy takes for pods: all say the same. */
const chainsSearchedMax = 20;

function clusterNetworksOf(node: NodeState, family: Family): string[] {
  for (const table of node.tables) {
    if (familyOf(table) !== family || (table.name !== 'nat' && table.name !== 'kube-proxy')) continue;
    let searched = 0;
    // A chain is an object only once it is asked for: most of a large table are never.
    for (const name of table.chains.keys()) {
      if (!/^(KUBE-SVC-|service-)/.test(name)) continue;
      if (++searched > chainsSearchedMax) break;
      for (const text of textsOf(table.chains.get(name))) {
        const network = / ! -s (\S+) .*-j KUBE-MARK-MASQ/.exec(text)?.[1] ?? /ip6? saddr != (\S+) .*mark-for-masquerade/.exec(text)?.[1];
        const prefix = network === undefined ? undefined : parsePrefix(network);
        if (prefix !== undefined) return formatPrefixes(family, [prefix.interval]);
      }
    }
  }
  return [];
}
