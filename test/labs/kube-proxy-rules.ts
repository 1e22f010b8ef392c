// Renders what kube-proxy in iptables mode writes on one node for given Services and EndpointSlices, in the words of iptables-save.
//
// It follows kube-proxy 1.30 to 1.32 (pkg/proxy/iptables/proxier.go) and is held against captures of the real one. It knows what the labs use: ClusterIP,
// NodePort and LoadBalancer Services, externalTrafficPolicy, ClientIP affinity, source ranges, health check ports, endpoints that terminate, hints for zones (as from
// 1.31 on); not internalTrafficPolicy Local or external IPs.
import { createHash } from 'node:crypto';

export interface ServiceObject {
  readonly metadata: { readonly namespace: string; readonly name: string };
  readonly spec: {
    readonly type?: string;
    readonly clusterIP?: string;
    readonly clusterIPs?: readonly string[];
    readonly ports?: readonly { readonly name?: string; readonly port: number; readonly nodePort?: number; readonly protocol?: string }[];
    readonly externalTrafficPolicy?: string;
    readonly sessionAffinity?: string;
    readonly sessionAffinityConfig?: { readonly clientIP?: { readonly timeoutSeconds?: number } };
    readonly loadBalancerSourceRanges?: readonly string[];
    readonly healthCheckNodePort?: number;
  };
  readonly status?: { readonly loadBalancer?: { readonly ingress?: readonly { readonly ip?: string }[] } };
}

export interface EndpointSliceObject {
  readonly metadata: { readonly namespace: string; readonly name: string; readonly labels?: Readonly<Record<string, string>> };
  readonly addressType: string;
  readonly ports?: readonly { readonly name?: string; readonly port?: number; readonly protocol?: string }[] | null;
  readonly endpoints?:
    | readonly {
        readonly addresses: readonly string[];
        readonly conditions?: { readonly ready?: boolean; readonly serving?: boolean; readonly terminating?: boolean };
        readonly nodeName?: string;
        readonly hints?: { readonly forZones?: readonly { readonly name: string }[] };
      }[]
    | null;
}

/** What kube-proxy is asked for. */
export interface ProxyInput {
  readonly node: string;
  /** Zone of the node, by its label; absent without one. */
  readonly zone?: string;
  readonly family: 4 | 6;
  /** The cluster's pod range: traffic from elsewhere to a cluster IP is masqueraded. */
  readonly clusterCidr: string;
  readonly services: readonly ServiceObject[];
  readonly endpointSlices: readonly EndpointSliceObject[];
  /** `nfacct` writes the accounting matches of 1.32 where the kernel has them; `none` is what 1.30 writes, and 1.32 without them. */
  readonly accounting: 'nfacct' | 'none';
}

/** One table: its own chains in order, and rules (`-A …` lines) in the order they are written. Rules of built-in chains are kube-proxy's jumps. */
export interface RenderedTable {
  readonly name: 'mangle' | 'filter' | 'nat';
  readonly builtin: readonly string[];
  readonly chains: readonly string[];
  readonly rules: readonly string[];
}

/** The rules of one node and one family. */
export function renderTables(input: ProxyInput): readonly RenderedTable[] {
  const ports = input.services.flatMap((service) => servicePorts(service, input));
  const nat = ports.flatMap((port) => natRules(port, input));
  const filter = ports.flatMap((port) => filterRules(port));
  const used = [...new Set(nat.map(chainOf))].filter((name) => !natChains.includes(name)).sort();
  return [
    { name: 'mangle', builtin: ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'], chains: ['KUBE-PROXY-CANARY'], rules: [] },
    { name: 'filter', builtin: ['INPUT', 'FORWARD', 'OUTPUT'], chains: filterChains, rules: [...filterSkeleton(input), ...filter] },
    {
      name: 'nat',
      builtin: ['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'],
      chains: [...natChains, ...used],
      rules: [...natSkeleton(), ...nat, nodePortsJump(input)],
    },
  ];
}

/** The whole as input of iptables-restore: replaces the tables. */
export function printWhole(tables: readonly RenderedTable[]): string {
  return tables
    .map(({ name, builtin, chains, rules }) => {
      const policies = builtin.map((chain) => `:${chain} ACCEPT [0:0]`);
      return [`*${name}`, ...policies, ...chains.map((chain) => `:${chain} - [0:0]`), ...rules, 'COMMIT', ''].join('\n');
    })
    .join('');
}

/**
 * The change from one state to the next as input of `iptables-restore --noflush`: as kube-proxy does it, its own chains are written anew and those that are not
 * needed any more removed, and the built-in chains, where the rules of others stand, are left alone.
 */
export function printUpdate(before: readonly RenderedTable[], after: readonly RenderedTable[]): string {
  return after
    .filter(({ name }) => name !== 'mangle')
    .map(({ name, builtin, chains, rules }) => {
      const old = before.find((table) => table.name === name)?.chains ?? [];
      const stale = old.filter((chain) => !chains.includes(chain));
      const own = rules.filter((rule) => !builtin.includes(chainOf(rule)));
      const declared = [...chains, ...stale].map((chain) => `:${chain} - [0:0]`);
      return [`*${name}`, ...declared, ...own, ...stale.map((chain) => `-X ${chain}`), 'COMMIT', ''].join('\n');
    })
    .join('');
}

/** The name of a KUBE-SVC-, KUBE-EXT-, KUBE-SVL- or KUBE-FW- chain, or with `endpoint` of a KUBE-SEP- chain. */
export function chainName(prefix: string, parts: { readonly servicePort: string; readonly protocol: string; readonly endpoint?: string }): string {
  const digest = createHash('sha256')
    .update(`${parts.servicePort}${parts.protocol}${parts.endpoint ?? ''}`)
    .digest();
  return `${prefix}${base32(digest).slice(0, 16)}`;
}

interface ServicePort {
  /** `ns/name:port`. */
  readonly name: string;
  readonly protocol: string;
  readonly clusterIp: string;
  readonly port: number;
  readonly nodePort: number;
  readonly loadBalancerIps: readonly string[];
  readonly sourceRanges: readonly string[];
  readonly local: boolean;
  readonly affinitySeconds: number;
  readonly healthCheckNodePort: number;
  /** `ADDRESS:PORT`, sorted. */
  readonly endpoints: readonly string[];
  readonly localEndpoints: readonly string[];
}

const filterChains = ['KUBE-EXTERNAL-SERVICES', 'KUBE-FIREWALL', 'KUBE-FORWARD', 'KUBE-NODEPORTS', 'KUBE-PROXY-CANARY', 'KUBE-PROXY-FIREWALL', 'KUBE-SERVICES'];
const natChains = ['KUBE-MARK-MASQ', 'KUBE-NODEPORTS', 'KUBE-POSTROUTING', 'KUBE-PROXY-CANARY', 'KUBE-SERVICES'];

const chainOf = (rule: string): string => rule.split(' ', 2)[1] ?? '';
const comment = (text: string): string => `-m comment --comment "${text}"`;
const quotedHost = (address: string): string => (address.includes(':') ? `[${address}]` : address);
const host = (address: string): string => `${address}/${address.includes(':') ? 128 : 32}`;

function filterSkeleton({ family, accounting }: ProxyInput): string[] {
  const fromNew = '-m conntrack --ctstate NEW';
  const invalid = accounting === 'nfacct' ? '-m nfacct --nfacct-name  ct_state_invalid_dropped_pkts -j DROP' : '-j DROP';
  const firewall = `${fromNew} ${comment('kubernetes load balancer firewall')} -j KUBE-PROXY-FIREWALL`;
  const services = `${fromNew} ${comment('kubernetes service portals')} -j KUBE-SERVICES`;
  const external = `${fromNew} ${comment('kubernetes externally-visible service portals')} -j KUBE-EXTERNAL-SERVICES`;
  return [
    '-A INPUT -j KUBE-FIREWALL',
    `-A INPUT ${firewall}`,
    `-A INPUT ${comment('kubernetes health check service ports')} -j KUBE-NODEPORTS`,
    `-A INPUT ${external}`,
    `-A FORWARD ${firewall}`,
    `-A FORWARD ${comment('kubernetes forwarding rules')} -j KUBE-FORWARD`,
    `-A FORWARD ${services}`,
    `-A FORWARD ${external}`,
    '-A OUTPUT -j KUBE-FIREWALL',
    `-A OUTPUT ${firewall}`,
    `-A OUTPUT ${services}`,
    ...(family === 6
      ? []
      : [
          `-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 ${comment('block incoming localnet connections')} -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP`,
        ]),
    `-A KUBE-FORWARD -m conntrack --ctstate INVALID ${invalid}`,
    `-A KUBE-FORWARD ${comment('kubernetes forwarding rules')} -m mark --mark 0x4000/0x4000 -j ACCEPT`,
    `-A KUBE-FORWARD ${comment('kubernetes forwarding conntrack rule')} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
  ];
}

function natSkeleton(): string[] {
  return [
    `-A PREROUTING ${comment('kubernetes service portals')} -j KUBE-SERVICES`,
    `-A OUTPUT ${comment('kubernetes service portals')} -j KUBE-SERVICES`,
    `-A POSTROUTING ${comment('kubernetes postrouting rules')} -j KUBE-POSTROUTING`,
    '-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000',
    '-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN',
    '-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0',
    `-A KUBE-POSTROUTING ${comment('kubernetes service traffic requiring SNAT')} -j MASQUERADE --random-fully`,
  ];
}

const nodePortsJump = ({ family }: ProxyInput): string =>
  `-A KUBE-SERVICES ${family === 6 ? '! -d ::1/128 ' : ''}${comment('kubernetes service nodeports; NOTE: this must be the last rule in this chain')} -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS`;

function servicePorts(service: ServiceObject, input: ProxyInput): ServicePort[] {
  const { metadata, spec, status } = service;
  const ofFamily = (address: string): boolean => address.includes(':') === (input.family === 6);
  const clusterIp = (spec.clusterIPs ?? [spec.clusterIP ?? '']).filter((address) => address !== '' && address !== 'None').find(ofFamily);
  if (clusterIp === undefined || spec.type === 'ExternalName') return [];
  return (spec.ports ?? []).map((port) => {
    const { cluster, local } = endpointsOf(service, port.name ?? '', input);
    const isLocal = spec.externalTrafficPolicy === 'Local';
    return {
      name: `${metadata.namespace}/${metadata.name}${port.name ? `:${port.name}` : ''}`,
      protocol: (port.protocol ?? 'TCP').toLowerCase(),
      clusterIp,
      port: port.port,
      nodePort: port.nodePort ?? 0,
      loadBalancerIps: (status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => (ip !== undefined && ofFamily(ip) ? [ip] : [])),
      sourceRanges: (spec.loadBalancerSourceRanges ?? []).filter(ofFamily),
      local: isLocal,
      affinitySeconds: spec.sessionAffinity === 'ClientIP' ? (spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? 10_800) : 0,
      healthCheckNodePort: spec.healthCheckNodePort ?? 0,
      endpoints: cluster,
      localEndpoints: isLocal ? local : [],
    };
  });
}

interface FoundEndpoint {
  readonly text: string;
  readonly node: string | undefined;
  readonly ready: boolean;
  readonly leaving: boolean;
  readonly zones: readonly string[];
}

// Ready ones, or where there is none those that serve until they are gone; of the cluster (the nearest, if hints say so for all of them) and of the node.
function endpointsOf(service: ServiceObject, portName: string, input: ProxyInput): { readonly cluster: readonly string[]; readonly local: readonly string[] } {
  const all = foundEndpoints(service, portName, input);
  const usable = (from: readonly FoundEndpoint[]): readonly FoundEndpoint[] =>
    from.some(({ ready }) => ready) ? from.filter(({ ready }) => ready) : from.filter(({ leaving }) => leaving);
  const ready = all.filter((each) => each.ready);
  const near = ready.filter(({ zones }) => input.zone !== undefined && zones.includes(input.zone));
  const hinted = near.length > 0 && ready.every(({ zones }) => zones.length > 0);
  const texts = (from: readonly FoundEndpoint[]): string[] => from.map(({ text }) => text).sort();
  return { cluster: texts(hinted ? near : usable(all)), local: texts(usable(all.filter(({ node }) => node === input.node))) };
}

function foundEndpoints(service: ServiceObject, portName: string, input: ProxyInput): readonly FoundEndpoint[] {
  const slices = input.endpointSlices.filter(
    ({ metadata, addressType }) =>
      metadata.namespace === service.metadata.namespace &&
      metadata.labels?.['kubernetes.io/service-name'] === service.metadata.name &&
      addressType === `IPv${input.family}`,
  );
  return slices.flatMap((slice) =>
    (slice.ports ?? [])
      .filter((port) => (port.name ?? '') === portName)
      .flatMap(({ port }) =>
        (slice.endpoints ?? []).map(({ addresses, nodeName, conditions, hints }) => ({
          text: `${quotedHost(addresses[0] ?? '')}:${port}`,
          node: nodeName,
          ready: conditions?.ready !== false,
          leaving: conditions?.serving === true && conditions.terminating === true,
          zones: (hints?.forZones ?? []).map(({ name }) => name),
        })),
      ),
  );
}

function filterRules(port: ServicePort): string[] {
  const to = (destination: string, number: number): string => `-m ${port.protocol} --dport ${number}${destination}`;
  const on = (chain: string, address: string): string => `-A ${chain}${address === '' ? '' : ` -d ${host(address)}`} -p ${port.protocol}`;
  const rules: string[] = [];
  if (port.healthCheckNodePort > 0) {
    rules.push(`-A KUBE-NODEPORTS -p tcp ${comment(`${port.name} health check node port`)} -m tcp --dport ${port.healthCheckNodePort} -j ACCEPT`);
  }
  const firewall = chainName('KUBE-FW-', { servicePort: port.name, protocol: port.protocol });
  if (port.sourceRanges.length > 0) {
    for (const ip of port.loadBalancerIps) {
      rules.push(`${on('KUBE-PROXY-FIREWALL', ip)} ${comment(`${port.name} traffic not accepted by ${firewall}`)} ${to(' -j DROP', port.port)}`);
    }
  }
  const reject = ` -j REJECT --reject-with ${port.clusterIp.includes(':') ? 'icmp6' : 'icmp'}-port-unreachable`;
  const none = port.endpoints.length === 0;
  if (none) rules.push(`${on('KUBE-SERVICES', port.clusterIp)} ${comment(`${port.name} has no endpoints`)} ${to(reject, port.port)}`);
  if (!none && !(port.local && port.localEndpoints.length === 0)) return rules;
  const [why, end] = none ? ['has no endpoints', reject] : ['has no local endpoints', ' -j DROP'];
  for (const ip of port.loadBalancerIps) rules.push(`${on('KUBE-EXTERNAL-SERVICES', ip)} ${comment(`${port.name} ${why}`)} ${to(end, port.port)}`);
  if (port.nodePort > 0)
    rules.push(`${on('KUBE-EXTERNAL-SERVICES', '')} ${comment(`${port.name} ${why}`)} -m addrtype --dst-type LOCAL ${to(end, port.nodePort)}`);
  return rules;
}

function natRules(port: ServicePort, input: ProxyInput): string[] {
  if (port.endpoints.length === 0) return [];
  const { name, protocol } = port;
  const chain = (prefix: string): string => chainName(prefix, { servicePort: name, protocol });
  // A local endpoint that terminates serves while a ready one is elsewhere.
  const reachable = [...new Set([...port.endpoints, ...port.localEndpoints])].sort();
  const clusterIp = `-d ${host(port.clusterIp)} -p ${protocol} ${comment(`${name} cluster IP`)} -m ${protocol} --dport ${port.port}`;
  const external = port.nodePort > 0 || port.loadBalancerIps.length > 0;
  const localInUse = external && port.local;
  return [
    `-A KUBE-SERVICES ${clusterIp} -j ${chain('KUBE-SVC-')}`,
    `-A ${chain('KUBE-SVC-')} ! -s ${input.clusterCidr} ${clusterIp} -j KUBE-MARK-MASQ`,
    ...(external ? externalRules(port, input) : []),
    ...loadBalance(port, { chain: chain('KUBE-SVC-'), endpoints: port.endpoints }),
    ...(localInUse ? loadBalance(port, { chain: chain('KUBE-SVL-'), endpoints: port.localEndpoints }) : []),
    ...reachable.flatMap((endpoint) => endpointRules(port, endpoint)),
  ];
}

function externalRules(port: ServicePort, input: ProxyInput): string[] {
  const { name, protocol } = port;
  const chain = (prefix: string): string => chainName(prefix, { servicePort: name, protocol });
  const own = `-A ${chain('KUBE-EXT-')}`;
  const fromNode = '-m addrtype --src-type LOCAL -j';
  const policy = port.local
    ? [
        `${own} -s ${input.clusterCidr} ${comment(`pod traffic for ${name} external destinations`)} -j ${chain('KUBE-SVC-')}`,
        `${own} ${comment(`masquerade LOCAL traffic for ${name} external destinations`)} ${fromNode} KUBE-MARK-MASQ`,
        `${own} ${comment(`route LOCAL traffic for ${name} external destinations`)} ${fromNode} ${chain('KUBE-SVC-')}`,
        ...(port.localEndpoints.length > 0 ? [`${own} -j ${chain('KUBE-SVL-')}`] : []),
      ]
    : [`${own} ${comment(`masquerade traffic for ${name} external destinations`)} -j KUBE-MARK-MASQ`, `${own} -j ${chain('KUBE-SVC-')}`];
  const match = `-p ${protocol} ${comment(name)} -m ${protocol} --dport ${port.nodePort}`;
  const counted = `-A KUBE-NODEPORTS -d 127.0.0.0/8 ${match} -m nfacct --nfacct-name  localhost_nps_accepted_pkts -j ${chain('KUBE-EXT-')}`;
  const nodePort = [...(input.accounting === 'nfacct' && input.family === 4 ? [counted] : []), `-A KUBE-NODEPORTS ${match} -j ${chain('KUBE-EXT-')}`];
  return [...policy, ...(port.nodePort > 0 ? nodePort : []), ...port.loadBalancerIps.flatMap((ip) => loadBalancerRules(port, ip))];
}

function loadBalancerRules(port: ServicePort, ip: string): string[] {
  const { name, protocol } = port;
  const external = chainName('KUBE-EXT-', { servicePort: name, protocol });
  const firewall = chainName('KUBE-FW-', { servicePort: name, protocol });
  const guarded = port.sourceRanges.length > 0;
  const entry = `-A KUBE-SERVICES -d ${host(ip)} -p ${protocol} ${comment(`${name} loadbalancer IP`)} -m ${protocol} --dport ${port.port} -j ${guarded ? firewall : external}`;
  if (!guarded) return [entry];
  const allowed = [...port.sourceRanges, host(ip)].map((range) => `-A ${firewall} -s ${range} ${comment(`${name} loadbalancer IP`)} -j ${external}`);
  return [entry, ...allowed, `-A ${firewall} ${comment(`other traffic to ${name} will be dropped by KUBE-PROXY-FIREWALL`)}`];
}

function loadBalance(port: ServicePort, { chain, endpoints }: { readonly chain: string; readonly endpoints: readonly string[] }): string[] {
  const target = (endpoint: string): string => chainName('KUBE-SEP-', { servicePort: port.name, protocol: port.protocol, endpoint });
  const mask = port.clusterIp.includes(':') ? 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff' : '255.255.255.255';
  const affinity =
    port.affinitySeconds === 0
      ? []
      : endpoints.map(
          (endpoint) =>
            `-A ${chain} ${comment(`${port.name} -> ${endpoint}`)} -m recent --rcheck --seconds ${port.affinitySeconds} --reap --name ${target(endpoint)} --mask ${mask} --rsource -j ${target(endpoint)}`,
        );
  const spread = endpoints.map((endpoint, index) => {
    const left = endpoints.length - index;
    const chance = left === 1 ? '' : `-m statistic --mode random --probability ${probability(left)} `;
    return `-A ${chain} ${comment(`${port.name} -> ${endpoint}`)} ${chance}-j ${target(endpoint)}`;
  });
  return [...affinity, ...spread];
}

function endpointRules(port: ServicePort, endpoint: string): string[] {
  const { name, protocol } = port;
  const chain = chainName('KUBE-SEP-', { servicePort: name, protocol, endpoint });
  const address = endpoint.slice(0, endpoint.lastIndexOf(':')).replaceAll(/[[\]]/g, '');
  const mask = address.includes(':') ? 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff' : '255.255.255.255';
  const remember = port.affinitySeconds === 0 ? '' : `-m recent --set --name ${chain} --mask ${mask} --rsource `;
  return [
    `-A ${chain} -s ${host(address)} ${comment(name)} -j KUBE-MARK-MASQ`,
    `-A ${chain} -p ${protocol} ${comment(name)} ${remember}-m ${protocol} -j DNAT --to-destination ${endpoint}`,
  ];
}

// The kernel keeps a probability in 31 bits, and iptables-save prints what is left of it.
const probability = (endpoints: number): string => (Math.round(2 ** 31 / endpoints) / 2 ** 31).toFixed(11);

function base32(bytes: Uint8Array): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  let text = '';
  let buffer = 0;
  let held = 0;
  for (const byte of bytes) {
    buffer = (buffer << 8) | byte;
    held += 8;
    while (held >= 5) {
      held -= 5;
      text += alphabet[(buffer >> held) & 31];
    }
    buffer &= 0xff;
  }
  return text;
}
