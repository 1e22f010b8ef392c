// What stands beside the rules in a capture and is told as facts of its own: tools, kernel, tunnels, firewall managers, sockets of pods, the host.
import type { Fact, HostFact, KernelFact, PodSocketsFact, ToolsFact, TunnelFact } from '../model/fact.ts';
import { type Firewalls, firewallFacts, readFirewalls } from './firewalls.ts';
import { parseListeners } from './host.parse.ts';
import type { Route } from './host.ts';
import { features as everyFeature, type FeatureState, type FeatureUser, missingFeatures, parseFeatures } from './kernel.features.ts';
import type { CaptureFiles, NodeState } from './node.ts';
import type { Issue } from './ruleset.ts';

/** What was read; a part that was not is absent. */
export interface Beside extends Firewalls {
  readonly tools?: Omit<ToolsFact, 'kind' | 'key'>;
  readonly features?: ReadonlyMap<string, FeatureState>;
  /** Neighbours of tunnels and gateways, by device and address: their hardware address, or undefined where nobody answers. */
  readonly neighbours?: ReadonlyMap<string, string | undefined>;
  /** Nodes behind a tunnel by device and hardware address. */
  readonly forwarding?: ReadonlySet<string>;
  /** Offloads by device. */
  readonly offloads?: ReadonlyMap<string, Readonly<Record<string, boolean>>>;
  readonly podSockets?: readonly Omit<PodSocketsFact, 'kind' | 'key'>[];
  readonly machine?: HostFact;
  /** kube-proxy's configuration by flag. */
  readonly proxyConfig?: Readonly<Record<string, string>>;
  /** `healthz` and `node-eligible`, as kube-proxy says them. */
  readonly proxyHealth?: Readonly<Record<string, string>>;
  /** kube-proxy's release by its metrics. */
  readonly proxyVersion?: string;
}

/** Reads the files of a capture that tell it. Never throws: what is no file of its kind is an issue. */
export function readBeside(files: CaptureFiles, issues: Issue[]): Beside {
  const text = (name: string): string | undefined => files.get(name)?.toString('utf8');
  const json = (name: string): unknown => {
    const content = text(name);
    if (content === undefined) return undefined;
    try {
      return JSON.parse(content);
    } catch (error) {
      issues.push({ file: name, line: 0, text: content.slice(0, 80), reason: `not valid JSON: ${(error as Error).message}` });
      return undefined;
    }
  };
  const parts = {
    tools: readTools(json('tools.json')),
    features: optional(text('kernel-features.txt'), parseFeatures),
    neighbours: readNeighbours(json('ip-neigh.json')),
    forwarding: readForwarding(json('bridge-fdb.json')),
    offloads: optional(text('ethtool-k.txt'), parseOffloads),
    podSockets: optional(text('pod-sockets.txt'), (content) => parsePodSockets(content, issues)),
    machine: readMachine(json('host.json')),
    proxyConfig: optional(text('kube-proxy-config.txt'), settings),
    proxyHealth: optional(text('kube-proxy-health.txt'), settings),
    proxyVersion: /^kubernetes_build_info\{[^}]*\bgit_version="([^"]{1,64})"/m.exec(text('kube-proxy-metrics.txt') ?? '')?.[1],
  };
  return { ...readFirewalls(files, issues), ...(Object.fromEntries(Object.entries(parts).filter(([, value]) => value !== undefined)) as Beside) };
}

/** The facts of what stands beside the rules, in a stable order. `user` is what the kernel's parts are needed for. */
export function besideFacts({ beside, host, tables }: Pick<NodeState, 'beside' | 'host' | 'tables'>, user: KernelFact['user']): Fact[] {
  if (beside === undefined) return [];
  return [
    ...firewallFacts(beside, tables),
    ...(beside.tools === undefined ? [] : [{ kind: 'tools' as const, key: 'tools', ...beside.tools }]),
    ...(beside.features === undefined ? [] : [kernelFact(beside.features, user)]),
    ...(host.known.routes ? tunnelFacts(beside, host.routes) : []),
    ...(beside.podSockets ?? []).map((each): PodSocketsFact => ({ kind: 'pod-sockets', key: `podlisten/${each.address}`, ...each })),
    ...(beside.machine === undefined ? [] : [beside.machine]),
  ];
}

function kernelFact(states: ReadonlyMap<string, FeatureState>, user: KernelFact['user']): KernelFact {
  const needed = user === 'none' ? [] : everyFeature.filter(({ neededBy }) => neededBy.includes(user)).map(({ module }) => module);
  return {
    kind: 'kernel',
    key: 'kernel',
    user,
    missing: user === 'none' ? [] : missingFeatures(states, user satisfies FeatureUser),
    available: needed.filter((module) => states.get(module) === 'available'),
  };
}

/** Next hops told of one tunnel. */
const brokenMax = 100;

// A tunnel's routes name the tunnel's own address on the other node as next hop; without an entry for it, or without a node behind that entry, packets end here.
function tunnelFacts({ neighbours, forwarding }: Beside, routes: readonly Route[]): TunnelFact[] {
  if (neighbours === undefined || forwarding === undefined) return [];
  const devices = new Set([...forwarding].map((entry) => entry.split(' ')[0] as string));
  for (const key of neighbours.keys()) if (/^(?:flannel|vxlan|geneve|cilium_vxlan)/.test(key)) devices.add(key.split(' ')[0] as string);
  return [...devices].sort().map((device) => {
    const hops = [...new Set(routes.flatMap((route) => (route.device === device && route.gateway !== undefined ? [route.gateway] : [])))].sort();
    const broken = hops.flatMap((hop): [string, string][] => {
      const known = neighbours.has(`${device} ${hop}`);
      const address = neighbours.get(`${device} ${hop}`);
      if (!known) return [[hop, 'no neighbour entry']];
      if (address === undefined) return [[hop, 'nobody answers for it']];
      return forwarding.has(`${device} ${address}`) ? [] : [[hop, `no node is known behind ${address} (bridge fdb)`]];
    });
    return { kind: 'tunnel', key: `tunnel/${device}`, device, hops: hops.length, broken: Object.fromEntries(broken.slice(0, brokenMax)) };
  });
}

type Raw = Readonly<Record<string, unknown>>;

const optional = <Result>(text: string | undefined, read: (text: string) => Result): Result | undefined => (text === undefined ? undefined : read(text));
const objects = (value: unknown): readonly Raw[] =>
  Array.isArray(value) ? value.filter((each): each is Raw => typeof each === 'object' && each !== null) : [];

const settings = (text: string): Readonly<Record<string, string>> =>
  Object.fromEntries([...text.matchAll(/^([a-z][\w-]*) = (.*)$/gm)].map(([, name, value]) => [name as string, (value as string).trim()]));

function readTools(value: unknown): Beside['tools'] {
  if (typeof value !== 'object' || value === null) return undefined;
  const { iptables, versions } = value as { readonly iptables?: unknown; readonly versions?: unknown };
  return {
    iptables: objects(iptables).flatMap(({ command, origin, backend, version }) =>
      typeof command === 'string' && typeof origin === 'string'
        ? [
            {
              command,
              origin,
              ...(backend === 'legacy' || backend === 'nf_tables' ? { backend } : {}),
              ...(typeof version === 'string' ? { version } : {}),
            } as const,
          ]
        : [],
    ),
    versions: Object.fromEntries(Object.entries((versions ?? {}) as Raw).filter((entry): entry is [string, string] => typeof entry[1] === 'string')),
  };
}

function readNeighbours(value: unknown): Beside['neighbours'] {
  if (!Array.isArray(value)) return undefined;
  return new Map(
    objects(value).map(({ dst, dev, lladdr, state }) => {
      const failed = Array.isArray(state) && (state.includes('FAILED') || state.includes('INCOMPLETE'));
      return [`${dev} ${dst}`, typeof lladdr === 'string' && !failed ? lladdr : undefined] as const;
    }),
  );
}

const readForwarding = (value: unknown): Beside['forwarding'] =>
  Array.isArray(value) ? new Set(objects(value).flatMap(({ mac, ifname, dst }) => (typeof dst === 'string' ? [`${ifname} ${mac}`] : []))) : undefined;

/** `ethtool -k` of one or more devices: `Features for DEVICE:` and lines `NAME: on|off`. */
function parseOffloads(text: string): NonNullable<Beside['offloads']> {
  const devices = new Map<string, Record<string, boolean>>();
  let current: Record<string, boolean> | undefined;
  for (const line of text.split('\n')) {
    const device = /^Features for (.+):$/.exec(line)?.[1];
    if (device !== undefined) devices.set(device, (current = {}));
    const [, name, state] = /^\s*([\w-]+): (on|off)\b/.exec(line) ?? [];
    if (current !== undefined && name !== undefined) current[name] = state === 'on';
  }
  return devices;
}

const portsMax = 100;

/** `pod-sockets.txt`: paragraphs of `addresses ADDRESS…` and lines of `ss -H -tuln`. */
function parsePodSockets(text: string, issues: Issue[]): NonNullable<Beside['podSockets']> {
  const paragraphs = text.split(/^(?=addresses )/m).filter((paragraph) => paragraph.trim() !== '');
  return paragraphs.flatMap((paragraph) => {
    const [head = '', ...lines] = paragraph.split('\n');
    const addresses = head.split(' ').slice(1);
    const { items, issues: found } = parseListeners(lines.join('\n'));
    for (const issue of found) issues.push({ file: 'pod-sockets.txt', ...issue });
    return addresses.map((address) => {
      const family = address.includes(':') ? 6 : 4;
      const own = items.filter(({ families }) => families.includes(family) || families.includes(6));
      const loopback = own.filter((socket) => socket.address !== undefined && isLoopback(socket.address));
      const heard = own.filter((socket) => !loopback.includes(socket));
      const names = (sockets: typeof own): string[] => [...new Set(sockets.map(({ protocol, port }) => `${protocol}/${port}`))].sort().slice(0, portsMax);
      const ports = names(heard);
      return { address, ports, loopbackPorts: names(loopback).filter((name) => !ports.includes(name)) };
    });
  });
}

const isLoopback = (address: bigint): boolean => address === 1n || (address >= 0x7f000000n && address <= 0x7fffffffn);

function readMachine(value: unknown): HostFact | undefined {
  const { hostname, kernel, os, bootedAt, virtual, memoryBytes, processors } = (typeof value === 'object' && value !== null ? value : {}) as Partial<HostFact>;
  if (typeof hostname !== 'string' || typeof kernel !== 'string' || typeof os !== 'string' || typeof bootedAt !== 'number') return undefined;
  return {
    kind: 'host',
    key: 'host/node',
    hostname,
    kernel,
    os,
    bootedAt,
    ...(typeof virtual === 'string' ? { virtual } : {}),
    ...(typeof memoryBytes === 'number' ? { memoryBytes } : {}),
    ...(typeof processors === 'number' ? { processors } : {}),
  };
}
