// Finds the NodePorts that a node's rules claim to serve, in every mode of kube-proxy, and the skeleton that all of them hang on.
import type { Family } from '../model/address.ts';
import { type ChainsFact, type NodePortKey, nodePortFactKey, type Protocol, protocolNumbers } from '../model/fact.ts';
import { interfaceOfAddress } from './host.ts';
import type { NodeState } from './node.ts';
import type { NftElement, Rule, Step } from './rule.ts';
import type { Chain, Table } from './ruleset.ts';
import { mappedNodePorts } from './service-maps.ts';

/** A NodePort that a rule, a map element or an ipset names. `service` is `ns/name:port` where a comment or chain name tells. */
export interface Claim {
  readonly nodePort: NodePortKey;
  readonly service?: string;
}

export type ProxyMode = ChainsFact['mode'];

/** Every NodePort that the node's rules name, by fact key. */
export function claimsOf(node: NodeState): ReadonlyMap<string, Claim> {
  const claims = new Map<string, Claim>();
  const add = (claim: Claim): void => {
    const key = nodePortFactKey(claim.nodePort);
    const known = claims.get(key);
    if (known?.service === undefined) claims.set(key, claim);
  };
  for (const table of node.tables) {
    const family = familyOf(table);
    if (family === undefined) continue;
    if (table.backend === 'nft') for (const claim of mapClaims(table, family)) add(claim);
    else for (const claim of ruleClaims(table, family)) add(claim);
  }
  for (const claim of ipsetClaims(node)) add(claim);
  for (const claim of virtualClaims(node)) add(claim);
  for (const nodePort of mappedNodePorts(node)) add({ nodePort });
  return claims;
}

/** How kube-proxy writes on this node in one family, by what it has left there. */
export function proxyMode(node: NodeState, family: Family): ProxyMode {
  const tables = node.tables.filter((table) => familyOf(table) === family);
  if (tables.some((table) => table.backend === 'nft' && table.name === 'kube-proxy')) return 'nftables';
  if ([...node.ipsets.keys()].some((name) => ipvsSet.test(name)) || node.ipvs.length > 0) return 'ipvs';
  if (tables.some((table) => table.backend !== 'nft' && [...table.chains.keys()].some((name) => kubeProxyChain.test(name)))) return 'iptables';
  return 'none';
}

/** Sets of kube-proxy's IPVS mode; network policy controllers have KUBE-… sets of their own. */
const ipvsSet = /^KUBE-(6-)?(NODE-PORT|CLUSTER-IP|LOOP-BACK|LOAD-BALANCER|EXTERNAL-IP)/;
const kubeProxyChain = /^KUBE-(SERVICES|NODEPORTS|SVC-|EXT-|SEP-|PROXY-CANARY|POSTROUTING|MARK-MASQ)/;

/** The skeleton of one family: each part that a complete sync writes, and whether it is there; and Services whose own chains are there without a NodePort rule. */
export function chainsFact(node: NodeState, family: Family): ChainsFact {
  const mode = proxyMode(node, family);
  const parts = mode === 'nftables' ? nftParts(node, family) : mode === 'none' ? {} : iptablesParts(node, family);
  if (mode === 'ipvs') Object.assign(parts, setParts(node, family));
  return { kind: 'chains', key: `chains/${family}`, family, mode, parts, services: orphanedServices(node, family) };
}

const familyOf = (table: Table): Family | undefined => (table.family === 'ip' ? 4 : table.family === 'ip6' ? 6 : undefined);

/** Rules of iptables mode: nat KUBE-NODEPORTS, and the refusals for Services without endpoints in filter KUBE-EXTERNAL-SERVICES. */
function ruleClaims(table: Table, family: Family): readonly Claim[] {
  const name = table.name === 'nat' ? 'KUBE-NODEPORTS' : table.name === 'filter' ? 'KUBE-EXTERNAL-SERVICES' : undefined;
  const chain = name === undefined ? undefined : table.chains.get(name);
  if (chain === undefined) return [];
  // The chain has a rule for each NodePort of the cluster, and seldom changes.
  let claims = knownClaims.get(chain);
  if (claims === undefined) knownClaims.set(chain, (claims = [...claimsOfChain(chain, family)]));
  return claims;
}
const knownClaims = new WeakMap<Chain, readonly Claim[]>();

function* claimsOfChain(chain: Chain, family: Family): Iterable<Claim> {
  for (const rule of rulesOf(chain)) {
    const local =
      chain.name === 'KUBE-NODEPORTS' || rule.steps.some((step) => step.kind === 'addressType' && step.side === 'destination' && step.anyOf.includes('local'));
    if (!local) continue;
    const [protocol, port] = [exactNumber(rule.steps, 'protocol'), exactNumber(rule.steps, 'destinationPort')];
    const word = protocolWord(protocol);
    if (word === undefined || port === undefined) continue;
    const service = serviceOfComment(rule.comment);
    yield { nodePort: { protocol: word, family, port }, ...(service === undefined ? {} : { service }) };
  }
}

/** `"shop/web:http"`, `"shop/web:http has no endpoints"`, `"shop/web:http -> 10.0.0.1:80"`. */
function serviceOfComment(comment: string | undefined): string | undefined {
  return comment === undefined ? undefined : /^([a-z0-9.-]+\/[a-z0-9.-]+(?::[a-z0-9.-]+)?)(?: |$)/.exec(comment)?.[1];
}

function* mapClaims(table: Table, family: Family): Iterable<Claim> {
  if (table.name !== 'kube-proxy') return;
  for (const name of ['service-nodeports', 'no-endpoint-nodeports']) {
    for (const element of table.sets.get(name)?.elements ?? []) {
      const [protocol, port] = element.key.map((part) => (part.kind === 'interval' ? Number(part.lo) : undefined));
      const word = protocolWord(protocol);
      if (word === undefined || port === undefined) continue;
      const service = serviceOfElement(element);
      yield { nodePort: { protocol: word, family, port }, ...(service === undefined ? {} : { service }) };
    }
  }
}

function serviceOfElement(element: NftElement): string | undefined {
  const { verdict } = element;
  return verdict?.kind === 'goto' || verdict?.kind === 'jump' ? serviceOfChain(verdict.chain) : serviceOfComment(element.comment);
}

/** `external-KHN6ECMT-shop/web/tcp/http` → `shop/web:http`. */
function serviceOfChain(chain: string): string | undefined {
  const found = /^[a-z]+-[A-Z0-9]{8}-([^/]+)\/([^/]+)\/[a-z]+\/(.*)$/.exec(chain);
  if (found === null) return undefined;
  return `${found[1]}/${found[2]}${found[3] === '' ? '' : `:${found[3]}`}`;
}

/** IPVS mode keeps its NodePorts in ipsets: bitmap:port for tcp and udp, hash:ip,port for sctp. They say no Service. */
function* ipsetClaims(node: NodeState): Iterable<Claim> {
  for (const set of node.ipsets.values()) {
    const found = /^KUBE-(6-)?NODE-PORT-(TCP|UDP|SCTP-HASH)$/.exec(set.name);
    if (found === null) continue;
    const family: Family = found[1] === undefined ? 4 : 6;
    const protocol = found[2] === 'TCP' ? 'tcp' : found[2] === 'UDP' ? 'udp' : 'sctp';
    for (const entry of set.entries) {
      for (const part of entry.parts) if (part.kind === 'port' && part.lo === part.hi) yield { nodePort: { protocol, family, port: part.lo } };
    }
  }
}

/** Without the sets, virtual services on the node's own addresses are its NodePorts; those of kube-ipvs0 are addresses of Services. */
function* virtualClaims(node: NodeState): Iterable<Claim> {
  for (const service of node.ipvs) {
    const protocol = protocolWord(service.protocol);
    const set = `${service.family === 4 ? 'KUBE-' : 'KUBE-6-'}NODE-PORT-${protocol === 'sctp' ? 'SCTP-HASH' : protocol?.toUpperCase()}`;
    if (protocol === undefined || service.port === 0 || node.ipsets.has(set)) continue;
    const device = interfaceOfAddress(node.host, service.family, service.address);
    if (device !== undefined && device.name !== 'kube-ipvs0') yield { nodePort: { protocol, family: service.family, port: service.port } };
  }
}

const protocolWord = (number: number | undefined): Protocol | undefined =>
  (Object.keys(protocolNumbers) as Protocol[]).find((word) => protocolNumbers[word] === number);

function exactNumber(steps: readonly Step[], field: 'protocol' | 'destinationPort'): number | undefined {
  for (const step of steps) {
    if (step.kind !== 'number' || step.field !== field || step.negate || step.set.length !== 1) continue;
    const [only] = step.set;
    if (only !== undefined && only.lo === only.hi) return Number(only.lo);
  }
  return undefined;
}

function* rulesOf(chain: Chain | undefined): Iterable<Rule> {
  for (let index = 0; index < (chain?.length ?? 0); index++) yield (chain as Chain).rule(index);
}

const iptablesChains: readonly (readonly [table: string, chain: string])[] = [
  ['nat', 'KUBE-SERVICES'],
  ['nat', 'KUBE-NODEPORTS'],
  ['nat', 'KUBE-POSTROUTING'],
  ['nat', 'KUBE-MARK-MASQ'],
  ['filter', 'KUBE-FORWARD'],
  ['mangle', 'KUBE-PROXY-CANARY'],
];
const iptablesJumps: readonly (readonly [table: string, from: string, to: string])[] = [
  ['nat', 'PREROUTING', 'KUBE-SERVICES'],
  ['nat', 'OUTPUT', 'KUBE-SERVICES'],
  ['nat', 'POSTROUTING', 'KUBE-POSTROUTING'],
  ['nat', 'KUBE-SERVICES', 'KUBE-NODEPORTS'],
  ['filter', 'FORWARD', 'KUBE-FORWARD'],
];

function iptablesParts(node: NodeState, family: Family): Record<string, boolean> {
  const tables = node.tables.filter((table) => table.backend !== 'nft' && familyOf(table) === family);
  const chainsNamed = (table: string, chain: string): readonly Chain[] =>
    tables.flatMap((each) => (each.name === table && each.chains.has(chain) ? [each.chains.get(chain) as Chain] : []));
  const parts: Record<string, boolean> = {};
  for (const [table, chain] of iptablesChains) parts[`${table} ${chain}`] = chainsNamed(table, chain).length > 0;
  for (const [table, from, to] of iptablesJumps) parts[`${table} ${from} → ${to}`] = chainsNamed(table, from).some((chain) => jumpsTo(chain, to));
  return parts;
}

/** Looked for from the end: kube-proxy's own jump stands last in long chains. */
function jumpsTo(chain: Chain, to: string): boolean {
  for (let index = chain.length - 1; index >= 0; index--) {
    if (!chain.text(index).includes(to)) continue;
    if (chain.rule(index).steps.some((step) => (step.kind === 'jump' || step.kind === 'goto') && step.chain === to)) return true;
  }
  return false;
}

const ipvsSets = ['NODE-PORT-TCP', 'NODE-PORT-UDP', 'NODE-PORT-SCTP-HASH', 'NODE-PORT-LOCAL-TCP', 'NODE-PORT-LOCAL-UDP', 'CLUSTER-IP', 'LOOP-BACK'] as const;

/** The sets that kube-proxy makes in IPVS mode, whether there are Services for them or not. A rule holds on to the set that it names: one that is named and not there was not read, and nothing is said of it. */
function setParts(node: NodeState, family: Family): Record<string, boolean> {
  const tables = node.tables.filter((table) => table.backend !== 'nft' && familyOf(table) === family && table.name === 'nat');
  const named = tables.flatMap((table) => ['KUBE-SERVICES', 'KUBE-NODE-PORT', 'KUBE-POSTROUTING'].flatMap((chain) => [...rulesOf(table.chains.get(chain))]));
  const names = ipvsSets.map((name) => `KUBE-${family === 6 ? '6-' : ''}${name}`);
  const known = names.filter((name) => node.ipsets.has(name) || !named.some(({ text }) => text.includes(`--match-set ${name} `)));
  return Object.fromEntries(known.map((name) => [`set ${name}`, node.ipsets.has(name)]));
}

function nftParts(node: NodeState, family: Family): Record<string, boolean> {
  const table = node.tables.find((each) => each.backend === 'nft' && each.name === 'kube-proxy' && familyOf(each) === family);
  const names = ['nat-prerouting', 'nat-output', 'nat-postrouting', 'filter-input', 'filter-forward', 'services', 'masquerading'];
  const parts: Record<string, boolean> = Object.fromEntries(names.map((name) => [`chain ${name}`, table?.chains.has(name) === true]));
  for (const name of ['service-nodeports', 'no-endpoint-nodeports', 'nodeport-ips']) parts[`set ${name}`] = table?.sets.has(name) === true;
  return parts;
}

/** Services that the rules serve from outside (KUBE-EXT-…, external-…) although no NodePort rule leads there; at most this many are listed. */
const orphansMax = 200;

function orphanedServices(node: NodeState, family: Family): ChainsFact['services'] {
  const services: Record<string, ChainsFact['services'][string]> = {};
  for (const table of node.tables) {
    if (familyOf(table) !== family) continue;
    for (const [chain, service] of orphanedChains(table)) {
      if (Object.keys(services).length >= orphansMax) return services;
      services[service] = { nodePortRule: false, chain: true, endpoints: endpointsBehind(table, chain) };
    }
  }
  return services;
}

function* orphanedChains(table: Table): Iterable<readonly [Chain, string]> {
  const served = new Set<string>();
  if (table.backend === 'nft') {
    if (table.name !== 'kube-proxy') return;
    for (const element of table.sets.get('service-nodeports')?.elements ?? []) if (element.verdict?.kind === 'goto') served.add(element.verdict.chain);
    for (const chain of table.chains.values()) {
      const service = chain.name.startsWith('external-') && !served.has(chain.name) ? serviceOfChain(chain.name) : undefined;
      if (service !== undefined) yield [chain, service];
    }
    return;
  }
  if (table.name !== 'nat') return;
  for (const rule of rulesOf(table.chains.get('KUBE-NODEPORTS')))
    for (const step of rule.steps) if (step.kind === 'jump' || step.kind === 'goto') served.add(step.chain);
  for (const name of table.chains.keys()) {
    const chain = name.startsWith('KUBE-EXT-') && !served.has(name) ? table.chains.get(name) : undefined;
    if (chain === undefined || chain.length === 0) continue;
    const service = / for (\S+) external destinations/.exec(chain.rule(0).comment ?? '')?.[1];
    if (service !== undefined) yield [chain, service];
  }
}

/** Endpoints that a Service's chains lead to, by following jumps a few levels deep. */
function endpointsBehind(table: Table, chain: Chain, depth = 0): readonly string[] {
  if (depth > 4) return [];
  const found = new Set<string>();
  for (const rule of rulesOf(chain)) {
    const target = /to-destination (\S+)|dnat (?:ip6? )?to (\S+)/.exec(rule.text);
    if (target !== null) found.add((target[1] ?? target[2]) as string);
    for (const next of nextChains(rule)) {
      const inner = table.chains.get(next);
      if (inner !== undefined && /^(KUBE-(SVC|SVL|XLB|SEP)-|service-|local-|endpoint-)/.test(next))
        for (const each of endpointsBehind(table, inner, depth + 1)) found.add(each);
    }
  }
  return [...found].sort();
}

function nextChains(rule: Rule): readonly string[] {
  return rule.steps.flatMap((step) => {
    if (step.kind === 'jump' || step.kind === 'goto') return [step.chain];
    if (step.kind !== 'verdictMap' || step.map.kind !== 'inline') return [];
    return step.map.elements.flatMap((element) => (element.verdict?.kind === 'goto' || element.verdict?.kind === 'jump' ? [element.verdict.chain] : []));
  });
}
