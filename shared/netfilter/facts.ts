// Says what a node's state means, as facts: what clients of each NodePort meet, and the settings, sockets and chains that it hangs on.
import { limits } from '../limits.ts';
import { type Family, formatAddress, type IntervalSet, intersect, parseAddress, parsePrefix, single, subtract, union } from '../model/address.ts';
import {
  type Fact,
  type InterfaceFact,
  type KernelFact,
  type ListenerFact,
  type NodePortFact,
  type NodePortKey,
  nodePortFactKey,
  type ProxyFact,
  protocolNumbers,
  type SysctlFact,
} from '../model/fact.ts';
import type { Outcome, Vantage } from '../model/outcome.ts';
import { besideFacts } from './beside.ts';
import { type Claim, chainsFact, claimsOf, proxyMode } from './claims.ts';
import { outsideSources } from './clients.ts';
import { type Listener, primaryAddress, routeDestinations } from './host.ts';
import type { NodeState } from './node.ts';
import type { Packet } from './packet.ts';
import { mappedOutcomes } from './service-maps.ts';
import { proxySurroundings, surroundingFacts } from './surroundings.ts';
import { type Starts, walk } from './walk.ts';

/** What the collector asks for: the NodePorts of all Services, and who the peers and pods are. */
export interface Wanted {
  readonly nodePorts: readonly NodePortKey[];
  /** Addresses of the other nodes. */
  readonly peers: readonly string[];
  /** Pod networks of the cluster as prefixes. */
  readonly podNetworks: readonly string[];
  /** TCP ports of the node that load balancers ask for health; absent: none. */
  readonly healthPorts?: readonly number[];
}

export const nothingWanted: Wanted = { nodePorts: [], peers: [], podNetworks: [] };

/** All facts of a node, in a stable order. Pure; how the sources fared is not in the state and so not here. */
export function nodeFacts(node: NodeState, wanted: Wanted): Fact[] {
  const questions = questionsOf(node, wanted);
  return [...questions.nodePorts.flatMap((nodePort) => judgeNodePort(node, nodePort, questions)), ...otherFacts(node, wanted, questions)];
}

/** What is asked of a node: its NodePorts in the order of their facts, who claims them, and who their clients are. */
export interface Questions {
  readonly nodePorts: readonly NodePortKey[];
  readonly claims: ReadonlyMap<string, Claim>;
  readonly sources: Readonly<Record<Family, readonly Clients[]>>;
}

/** The NodePorts that rules claim and those that are wanted, with all that judging them needs. */
export function questionsOf(node: NodeState, wanted: Wanted): Questions {
  const claims = claimsOf(node);
  const keys = new Map<string, NodePortKey>();
  for (const claim of claims.values()) keys.set(nodePortFactKey(claim.nodePort), claim.nodePort);
  for (const nodePort of wanted.nodePorts) keys.set(nodePortFactKey(nodePort), nodePort);
  const nodePorts = [...keys].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, nodePort]) => nodePort);
  return { nodePorts, claims, sources: clientsOf(node, wanted) };
}

/** All facts but those of the NodePorts. */
export function otherFacts(node: NodeState, wanted: Wanted, { nodePorts, sources }: Questions): Fact[] {
  return [
    ...([4, 6] as const).map((family) => chainsFact(node, family)),
    proxyFact(node),
    ...listenerFacts(node),
    ...interfaceFacts(node),
    ...sysctlFacts(node),
    ...surroundingFacts(node, {
      nodePorts,
      podNetworks: wanted.podNetworks,
      healthPorts: wanted.healthPorts ?? [],
      clients: (family) => sources[family],
    }),
    ...besideFacts(node, kernelUser(node)),
  ];
}

/** What the kernel's parts are needed for: the mode of kube-proxy, and for iptables the backend that holds its chains. */
function kernelUser(node: NodeState): KernelFact['user'] {
  const mode = ([4, 6] as const).map((family) => proxyMode(node, family)).find((each) => each !== 'none') ?? 'none';
  if (mode !== 'iptables') return mode;
  const own = node.tables.find(({ backend, chains }) => backend !== 'nft' && chains.has('KUBE-SERVICES'));
  return own?.backend === 'legacy' ? 'iptables-legacy' : 'iptables-nft';
}

/** Who the clients of each vantage are, in one family. */
export interface Clients {
  readonly vantage: Vantage;
  readonly sources: IntervalSet;
  readonly iif?: string;
}

/** The clients of each vantage that facts are made for. */
export function clientsOf(node: NodeState, wanted: Wanted): Readonly<Record<Family, readonly Clients[]>> {
  return { 4: clientsOfFamily(node, 4, wanted), 6: clientsOfFamily(node, 6, wanted) };
}

function clientsOfFamily(node: NodeState, family: Family, wanted: Wanted): readonly Clients[] {
  const peers = union(...wanted.peers.flatMap((text) => addressSet(family, text)));
  const pods = union(...wanted.podNetworks.flatMap((text) => prefixSet(family, text)));
  const own = primaryAddress(node.host, family);
  const localPods = routeDestinations(node.host, pods, { family, mark: 0 }).flatMap(({ set, answer }) =>
    answer.kind === 'route' && answer.route.type === 'unicast' && answer.route.gateway === undefined && answer.route.length > 0
      ? [{ set, device: answer.route.device }]
      : [],
  );
  const [bridge] = localPods;
  const outside = subtract(outsideSources(node, family), union(peers, pods));
  const clients: Clients[] = [{ vantage: 'external', sources: outside }];
  clients.push({ vantage: 'peer', sources: subtract(peers, own === undefined ? [] : single(own)) });
  if (bridge !== undefined) {
    const sources = intersect(bridge.set, outsideSources(node, family));
    clients.push({ vantage: 'pod', sources, ...(bridge.device === undefined ? {} : { iif: bridge.device }) });
  }
  if (own !== undefined) clients.push({ vantage: 'node', sources: single(own) });
  return clients.filter((each) => each.sources.length > 0);
}

const addressSet = (family: Family, text: string): IntervalSet[] => {
  const address = parseAddress(text);
  return address?.family === family ? [single(address.value)] : [];
};

const prefixSet = (family: Family, text: string): IntervalSet[] => {
  const prefix = parsePrefix(text);
  return prefix?.family === family ? [[prefix.interval]] : [];
};

/**
 * What clients of one NodePort meet at the node's primary address; none where the node has no address of the family. `starts`, by vantage, are where they came to
 * before the routing decision the last time, if that is known to hold; filled here.
 */
export function judgeNodePort(
  node: NodeState,
  nodePort: NodePortKey,
  { sources, claims, starts }: Questions & { readonly starts?: Map<Vantage, Starts> },
): NodePortFact[] {
  const address = primaryAddress(node.host, nodePort.family);
  if (address === undefined) return [];
  const outcomes: Partial<Record<Vantage, readonly Outcome[]>> = {};
  for (const clients of sources[nodePort.family]) {
    const packet: Packet = {
      vantage: clients.vantage,
      family: nodePort.family,
      protocol: protocolNumbers[nodePort.protocol],
      sources: clients.sources,
      destination: address,
      destinationPort: nodePort.port,
      ...(clients.iif === undefined ? {} : { iif: clients.iif }),
    };
    const mapped = mappedOutcomes(node, nodePort, { vantage: clients.vantage, address });
    const met = mapped ?? walk(node, packet, { traced: false, reply: true, ...startsOf(starts, clients.vantage) }).outcomes;
    outcomes[clients.vantage] = met.some(isLong) ? met.map(withFewSources) : met;
  }
  const claim = claims.get(nodePortFactKey(nodePort));
  return [
    {
      kind: 'nodeport',
      key: nodePortFactKey(nodePort),
      nodePort,
      address: formatAddress(nodePort.family, address),
      outcomes,
      claimed: { by: claim === undefined ? 'none' : 'rule', ...(claim?.service === undefined ? {} : { service: claim.service }) },
    },
  ];
}

const isLong = ({ sources = [] }: Outcome): boolean => sources.length > limits.outcomeSourcesMax;

/** All but a thousand banned addresses are some twenty thousand prefixes: of so many the largest say enough. */
function withFewSources(outcome: Outcome): Outcome {
  if (outcome.sources === undefined || !isLong(outcome)) return outcome;
  let few = fewSources.get(outcome.sources);
  if (few === undefined) fewSources.set(outcome.sources, (few = largest(outcome.sources)));
  return { ...outcome, sources: few, sourcesLeft: outcome.sources.length - few.length };
}
/** One list for all outcomes that hold for the same clients. */
const fewSources = new WeakMap<readonly string[], readonly string[]>();

/** In their order. */
function largest(prefixes: readonly string[]): readonly string[] {
  const length = (prefix: string): number => Number(prefix.split('/')[1] ?? Number.POSITIVE_INFINITY);
  const kept = [...prefixes.keys()].sort((a, b) => length(prefixes[a] ?? '') - length(prefixes[b] ?? '') || a - b).slice(0, limits.outcomeSourcesMax);
  return kept.sort((a, b) => a - b).map((index) => prefixes[index] as string);
}

function startsOf(starts: Map<Vantage, Starts> | undefined, vantage: Vantage): { readonly starts?: Starts } {
  if (starts === undefined) return {};
  let own = starts.get(vantage);
  if (own === undefined) starts.set(vantage, (own = new Map()));
  return { starts: own };
}

/** Processes that are or embed kube-proxy. */
const proxyNames = new Set(['kube-proxy', 'k3s', 'k3s-server', 'k3s-agent', 'rke2', 'kubelite']);
const healthPort = 10256;

function proxyFact(node: NodeState): ProxyFact {
  const modes = ([4, 6] as const).map((family) => proxyMode(node, family));
  const mode = modes.find((each) => each !== 'none') ?? 'none';
  return { kind: 'proxy', key: 'proxy/kube-proxy', mode, ...runningProxy(node), ...proxySurroundings(node) };
}

function runningProxy(node: NodeState): Pick<ProxyFact, 'running' | 'evidence'> {
  const process = node.processes?.find((each) => proxyNames.has(each.comm));
  if (process !== undefined) return { running: 'yes', evidence: `process ${process.comm}, pid ${process.pid}` };
  if (!node.host.known.listeners) return { running: 'unknown', evidence: 'neither processes nor sockets were read' };
  const health = node.host.listeners.find(
    (socket) => socket.protocol === 'tcp' && (socket.port === healthPort || socket.processes.some(({ comm }) => proxyNames.has(comm))),
  );
  if (health === undefined) return { running: 'no', evidence: `no kube-proxy process and nothing listens on its health port ${healthPort}` };
  const name = health.processes.map(({ comm, pid }) => `${comm}, pid ${pid}`).join('; ');
  return { running: 'yes', evidence: `${name === '' ? 'a process' : name} listens on ${health.port}` };
}

function listenerFacts(node: NodeState): ListenerFact[] {
  const facts = node.host.listeners.flatMap((socket) => socket.families.map((family) => listenerFact(socket, family)));
  return [...new Map(facts.map((fact) => [fact.key, fact])).values()].sort((a, b) => (a.key < b.key ? -1 : 1));
}

function listenerFact(socket: Listener, family: Family): ListenerFact {
  const address = socket.address === undefined ? '*' : formatAddress(family, socket.address);
  return {
    kind: 'listener',
    key: `listener/${socket.protocol}/${family}/${address}/${socket.port}`,
    protocol: socket.protocol,
    family,
    address,
    port: socket.port,
    processes: socket.processes,
  };
}

function interfaceFacts(node: NodeState): InterfaceFact[] {
  return node.host.interfaces.map((device) => ({
    kind: 'interface',
    key: `interface/${device.name}`,
    name: device.name,
    up: device.up,
    addresses: device.addresses.map((address) => `${formatAddress(address.family, address.value)}/${address.length}`).sort(),
    ...(device.mtu === undefined ? {} : { mtu: device.mtu }),
    ...(device.kind === undefined ? {} : { type: device.kind }),
    ...(device.master === undefined ? {} : { master: device.master }),
    ...(device.hairpin === undefined ? {} : { hairpin: device.hairpin }),
    ...offloadsOf(node, device.name),
  }));
}

function offloadsOf({ beside }: NodeState, device: string): Pick<InterfaceFact, 'offloads'> {
  const offloads = beside?.offloads?.get(device);
  return offloads === undefined ? {} : { offloads };
}

const decisive =
  /ip_forward$|\.forwarding$|\.rp_filter$|\.route_localnet$|\.accept_local$|bridge-nf-call|nf_conntrack_max$|ip_local_port_range$|ip_local_reserved_ports$|tcp_be_liberal$|\.arp_(ignore|announce)$|conn_reuse_mode$|expire_nodest_conn$/;

function sysctlFacts(node: NodeState): SysctlFact[] {
  return [...node.host.sysctls].filter(([name]) => decisive.test(name)).map(([name, value]) => ({ kind: 'sysctl', key: `sysctl/${name}`, name, value }));
}
