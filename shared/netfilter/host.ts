// The node's own network state as far as a packet's fate depends on it: interfaces, routes, policy rules, settings, sockets; and the routing decision.
import { type Family, type Interval, type IntervalSet, intersect, type Prefix, single, subtract, union } from '../model/address.ts';

export interface Interface {
  readonly name: string;
  readonly index: number;
  readonly up: boolean;
  readonly loopback: boolean;
  /** Bridge or bond it belongs to. */
  readonly master?: string;
  /** `veth`, `bridge`, `dummy`, `vxlan` … where the kernel says so. */
  readonly kind?: string;
  /** Largest packet in bytes. */
  readonly mtu?: number;
  /** Whether a bridge port sends a packet back where it came from; absent where it is not known. */
  readonly hairpin?: boolean;
  readonly addresses: readonly Prefix[];
}

export type RouteType = 'unicast' | 'local' | 'broadcast' | 'anycast' | 'multicast' | 'blackhole' | 'unreachable' | 'prohibit' | 'throw' | 'nat';

export interface Route {
  readonly family: Family;
  /** `main`, `local`, `default`, or a number as text. */
  readonly table: string;
  readonly type: RouteType;
  readonly destination: Interval;
  readonly length: number;
  readonly gateway?: string;
  readonly device?: string;
  readonly metric: number;
  /** As a person would write it: `10.244.2.0/24 via 172.31.0.12 dev eth0`. */
  readonly text: string;
}

export interface RoutingRule {
  readonly family: Family;
  readonly priority: number;
  readonly source?: Interval;
  readonly destination?: Interval;
  readonly mark?: { readonly value: number; readonly mask: number };
  readonly iif?: string;
  readonly oif?: string;
  readonly not: boolean;
  readonly action: 'table' | 'blackhole' | 'unreachable' | 'prohibit' | 'other';
  readonly table?: string;
  /** `suppress_prefixlength N`: routes with a prefix of N bits or less are passed over. */
  readonly suppressPrefixLength?: number;
  readonly text: string;
}

export interface Listener {
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  /** Absent: every address of the family (or of both, for `*`). */
  readonly address?: bigint;
  readonly families: readonly Family[];
  readonly device?: string;
  readonly port: number;
  readonly processes: readonly { readonly comm: string; readonly pid: number }[];
}

export interface Host {
  readonly interfaces: readonly Interface[];
  readonly routes: readonly Route[];
  /** Empty: the kernel's three default rules. */
  readonly rules: readonly RoutingRule[];
  /** By full name, `net.ipv4.ip_forward`. */
  readonly sysctls: ReadonlyMap<string, string>;
  readonly listeners: readonly Listener[];
  /** Which of these were read at all: what was not read is unknown, not empty. */
  readonly known: { readonly interfaces: boolean; readonly routes: boolean; readonly sysctls: boolean; readonly listeners: boolean };
}

/** What the routing decision depends on besides the destination. */
export interface RouteQuery {
  readonly family: Family;
  readonly mark: number;
  /** The incoming interface; absent for packets of the node itself. */
  readonly iif?: string;
  readonly source?: IntervalSet;
}

/** What routing does with a set of destinations. `none`: no route matches. `unknown`: routes were not read, or a policy rule depends on what we do not know. */
export type RouteAnswer =
  | { readonly kind: 'route'; readonly route: Route }
  | { readonly kind: 'rule'; readonly rule: RoutingRule }
  | { readonly kind: 'none' }
  | { readonly kind: 'unknown'; readonly reason: string };

export interface RoutedPart {
  readonly set: IntervalSet;
  readonly answer: RouteAnswer;
}

/** Divides destinations by what the routing tables do with them, in the order of the policy rules, longest prefix first, lower metric first. */
export function routeDestinations(host: Host, destinations: IntervalSet, query: RouteQuery): readonly RoutedPart[] {
  const parts: RoutedPart[] = [];
  let rest = destinations;
  if (!host.known.routes) return [{ set: rest, answer: { kind: 'unknown', reason: 'the routes of the node were not read' } }];
  for (const rule of policyOf(host, query.family).rules) {
    if (rest.length === 0) break;
    const applies = ruleApplies(rule, query);
    if (applies === 'no') continue;
    const reached = rule.destination === undefined ? rest : rule.not ? subtract(rest, [rule.destination]) : intersect(rest, [rule.destination]);
    if (reached.length === 0) continue;
    const found = routesByRule(host, rule, reached);
    for (const part of found) {
      parts.push(applies === 'may' ? { set: part.set, answer: { kind: 'unknown', reason: `it depends on the routing rule "${rule.text}"` } } : part);
      rest = subtract(rest, part.set);
    }
  }
  if (rest.length > 0) parts.push({ set: rest, answer: { kind: 'none' } });
  return parts;
}

/**
 * As `routeDestinations`, of packets of the node itself without a mark. Remembered by the set, as walks ask for the way back to the same clients for every
 * packet, unless the source that the packets would have counts too.
 */
export function routesTo(host: Host, destinations: IntervalSet, packets: { readonly family: Family; readonly source?: IntervalSet }): readonly RoutedPart[] {
  const [only] = destinations;
  const query = { ...packets, mark: 0 };
  if (only !== undefined && only.lo === only.hi && destinations.length === 1) return [{ set: destinations, answer: routeTo(host, only.lo, query) }];
  const { divided, answers } = policyOf(host, packets.family);
  if (packets.source !== undefined && answers === undefined) return routeDestinations(host, destinations, query);
  let parts = divided.get(destinations);
  if (parts === undefined) divided.set(destinations, (parts = routeDestinations(host, destinations, query)));
  return parts;
}

/** The routing decision for one destination. Remembered for each host where nothing but the destination decides, as walks ask the same again and again. */
export function routeTo(host: Host, destination: bigint, query: RouteQuery): RouteAnswer {
  const { answers } = policyOf(host, query.family);
  let answer = answers?.get(destination);
  if (answer === undefined) {
    answer = (routeDestinations(host, single(destination), query)[0] as RoutedPart).answer;
    if (answers !== undefined && answers.size >= answersMax) answers.clear();
    answers?.set(destination, answer);
  }
  return answer;
}

/** Walks of one NodePort ask for its endpoints again and again, and then no more. */
const answersMax = 4096;

/** Addresses of a type, of all interfaces or of one. */
export interface WantedAddresses {
  readonly family: Family;
  readonly type: RouteType;
  readonly device?: string | undefined;
}

/** Addresses of a type by the local routing table, which is what addrtype and the input decision go by; optionally only those of one interface. */
export function addressesOfType(host: Host, wanted: WantedAddresses): IntervalSet {
  const key = `${wanted.family} ${wanted.type} ${wanted.device ?? ''}`;
  let sets = typeSets.get(host);
  if (sets === undefined) typeSets.set(host, (sets = new Map()));
  let set = sets.get(key);
  if (set === undefined) sets.set(key, (set = computeAddressesOfType(host, wanted)));
  return set;
}
const typeSets = new WeakMap<Host, Map<string, IntervalSet>>();

/** A setting that exists for each interface and for all: the larger of the two counts (rp_filter, route_localnet …). Undefined when neither was read. */
export function interfaceSetting(host: Host, name: string, of: { readonly family: Family; readonly device: string | undefined }): number | undefined {
  const settings = policyOf(host, of.family).settings;
  let byDevice = settings.get(name);
  if (byDevice === undefined) settings.set(name, (byDevice = new Map()));
  if (!byDevice.has(of.device)) byDevice.set(of.device, readSetting(host, name, of));
  return byDevice.get(of.device);
}

function readSetting({ sysctls }: Host, name: string, { family, device }: { readonly family: Family; readonly device: string | undefined }) {
  const texts = ['all', ...(device === undefined ? [] : [device])].map((scope) => sysctls.get(`net.ipv${family}.conf.${scope}.${name}`));
  const values = texts.filter((text) => text !== undefined).map(Number);
  return values.length === 0 ? undefined : Math.max(...values);
}

/** Whether packets that came in by an interface are forwarded: its own `forwarding` decides in IPv4 (ip_forward sets all), `all` in IPv6. Undefined: not read. */
export function forwardingSetting(host: Host, family: Family, device: string | undefined): { readonly name: string; readonly on: boolean } | undefined {
  const names =
    family === 4 ? [`net.ipv4.conf.${device ?? 'all'}.forwarding`, 'net.ipv4.ip_forward', 'net.ipv4.conf.all.forwarding'] : ['net.ipv6.conf.all.forwarding'];
  for (const name of names) {
    const value = host.sysctls.get(name);
    if (value === undefined) continue;
    if (value !== '0') return { name, on: true };
    const all = host.sysctls.get('net.ipv4.ip_forward');
    return { name: family === 4 && all === '0' ? 'net.ipv4.ip_forward' : name, on: false };
  }
  return undefined;
}

/** The interface that a node's address sits on. */
export function interfaceOfAddress(host: Host, family: Family, address: bigint): Interface | undefined {
  return host.interfaces.find((device) => device.addresses.some((own) => own.family === family && own.value === address));
}

/** Whether packets of a bridge meet the rules on the bridge already (br_netfilter); a bridge is known by its ports. */
export function isFilteredBridge({ interfaces, sysctls }: Host, family: Family, device: string): boolean {
  if (sysctls.get(`net.bridge.bridge-nf-call-ip${family === 4 ? '' : '6'}tables`) !== '1') return false;
  const kind = interfaces.find(({ name }) => name === device)?.kind;
  return kind === undefined ? interfaces.some(({ master }) => master === device) : kind === 'bridge';
}

/**
 * Whether a packet is passed on by the bridge that it came through, although its destination was translated: to an address behind the same bridge
 * (br_netfilter). It meets the rules of forwarding there, with the port that it leaves by.
 */
export const isBridgedBack = (
  host: Host,
  { dnat, iif, family }: { readonly dnat: boolean; readonly iif: string | undefined; readonly family: Family },
  out: string | undefined,
): boolean => dnat && iif !== undefined && iif === out && isFilteredBridge(host, family, iif);

/** Whether the kernel has SCTP, which is a module on most systems: the settings of SCTP are there when it is loaded. */
export function knowsSctp({ sysctls }: Host): boolean {
  return sysctls.has('net.sctp.auth_enable');
}

/** The node's own address that clients are expected to use: first global address of the interface of the default route, else of any interface that is not virtual. */
export function primaryAddress(host: Host, family: Family): bigint | undefined {
  const byDefaultRoute = host.routes.find(
    (route) => route.family === family && route.table === 'main' && route.length === 0 && route.type === 'unicast',
  )?.device;
  const devices = host.interfaces.filter((device) => !device.loopback);
  const ordered = [
    ...devices.filter((device) => device.name === byDefaultRoute),
    ...devices.filter((device) => device.name !== byDefaultRoute && device.kind === undefined),
    ...devices.filter((device) => device.name !== byDefaultRoute && device.kind !== undefined),
  ];
  for (const device of ordered) {
    const own = device.addresses.find((address) => address.family === family && !isLinkLocal(family, address.value));
    if (own !== undefined) return own.value;
  }
  return undefined;
}

/** Whether an address is one of its link alone. */
export const isLinkLocal = (family: Family, value: bigint): boolean => (family === 4 ? value >> 16n === 0xa9fen : value >> 118n === 0x3fan);

/** Sockets that would take a packet to a local address and port. */
export function listenersFor(
  host: Host,
  { protocol, family, address, port }: { readonly protocol: Listener['protocol']; readonly family: Family; readonly address: bigint; readonly port: number },
): readonly Listener[] {
  return host.listeners.filter(
    (socket) =>
      socket.protocol === protocol && socket.port === port && socket.families.includes(family) && (socket.address === undefined || socket.address === address),
  );
}

const defaultRules: Readonly<Record<Family, readonly RoutingRule[]>> = { 4: makeDefaultRules(4), 6: makeDefaultRules(6) };

function makeDefaultRules(family: Family): readonly RoutingRule[] {
  return [
    [0, 'local'],
    [32766, 'main'],
    [32767, 'default'],
  ].map(([priority, table]) => ({
    family,
    priority: priority as number,
    not: false,
    action: 'table',
    table: table as string,
    text: `from all lookup ${table}`,
  }));
}

/** The policy rules of a family in order, and what was found out by them and by the settings of the family. */
interface Policy {
  readonly rules: readonly RoutingRule[];
  /** By destination; absent where more than the destination counts. */
  readonly answers: Map<bigint, RouteAnswer> | undefined;
  readonly divided: WeakMap<IntervalSet, readonly RoutedPart[]>;
  /** By name and interface. */
  readonly settings: Map<string, Map<string | undefined, number | undefined>>;
}
const policies = new WeakMap<Host, Readonly<Record<Family, Policy>>>();

function policyOf(host: Host, family: Family): Policy {
  let known = policies.get(host);
  if (known === undefined) policies.set(host, (known = { 4: readPolicy(host, 4), 6: readPolicy(host, 6) }));
  return known[family];
}

function readPolicy(host: Host, family: Family): Policy {
  const own = host.rules.filter((rule) => rule.family === family);
  const rules = own.length === 0 ? defaultRules[family] : [...own].sort((a, b) => a.priority - b.priority);
  const isPlain = rules.every(({ mark, iif, oif, source }) => mark === undefined && iif === undefined && oif === undefined && source === undefined);
  return { rules, answers: isPlain ? new Map() : undefined, divided: new WeakMap(), settings: new Map() };
}

function ruleApplies(rule: RoutingRule, query: RouteQuery): 'yes' | 'no' | 'may' {
  const tests: ('yes' | 'no' | 'may')[] = [];
  if (rule.mark !== undefined) tests.push((query.mark & rule.mark.mask) >>> 0 === rule.mark.value ? 'yes' : 'no');
  if (rule.iif !== undefined) tests.push((query.iif ?? 'lo') === rule.iif ? 'yes' : 'no');
  if (rule.oif !== undefined) tests.push('no');
  if (rule.source !== undefined) {
    const inside = query.source === undefined ? undefined : intersect(query.source, [rule.source]);
    if (inside === undefined) tests.push('may');
    else if (inside.length === 0) tests.push('no');
    else tests.push(subtract(query.source as IntervalSet, [rule.source]).length === 0 ? 'yes' : 'may');
  }
  if (tests.includes('may')) return tests.includes('no') !== rule.not ? 'no' : 'may';
  const all = !tests.includes('no');
  if (rule.destination !== undefined) return all !== rule.not || rule.not ? 'yes' : 'no';
  return all !== rule.not ? 'yes' : 'no';
}

function routesByRule(host: Host, rule: RoutingRule, destinations: IntervalSet): readonly RoutedPart[] {
  if (rule.action === 'other') return [{ set: destinations, answer: { kind: 'unknown', reason: `the routing rule "${rule.text}" is not understood` } }];
  if (rule.action !== 'table') return [{ set: destinations, answer: { kind: 'rule', rule } }];
  const parts: RoutedPart[] = [];
  let rest = destinations;
  for (const route of tableOf(host, rule.family, rule.table ?? 'main')) {
    if (rest.length === 0) break;
    if (isBeyond(route.destination, rest)) continue;
    const hit = intersect(rest, [route.destination]);
    if (hit.length === 0) continue;
    rest = subtract(rest, hit);
    const suppressed = rule.suppressPrefixLength !== undefined && route.length <= rule.suppressPrefixLength;
    if (route.type !== 'throw' && !suppressed) parts.push({ set: hit, answer: { kind: 'route', route } });
  }
  return parts;
}

/** Whether an interval is below or above a whole set, which most routes are for most destinations. */
const isBeyond = ({ lo, hi }: Interval, set: IntervalSet): boolean => hi < (set[0] as Interval).lo || lo > (set[set.length - 1] as Interval).hi;

function tableOf(host: Host, family: Family, table: string): readonly Route[] {
  const key = `${family} ${table}`;
  let tables = sortedTables.get(host);
  if (tables === undefined) sortedTables.set(host, (tables = new Map()));
  let routes = tables.get(key);
  if (routes === undefined) {
    routes = host.routes.filter((route) => route.family === family && route.table === table).sort((a, b) => b.length - a.length || a.metric - b.metric);
    tables.set(key, routes);
  }
  return routes;
}
const sortedTables = new WeakMap<Host, Map<string, readonly Route[]>>();

function computeAddressesOfType(host: Host, { family, type, device }: WantedAddresses): IntervalSet {
  const routes = host.routes.filter(
    (route) => route.family === family && route.table === 'local' && route.type === type && (device === undefined || route.device === device),
  );
  if (routes.length > 0 || host.known.routes || type !== 'local') return union(...routes.map((route) => [route.destination]));
  const own = host.interfaces.filter((each) => device === undefined || each.name === device).flatMap((each) => each.addresses);
  const loopback: IntervalSet = family === 4 ? [{ lo: 0x7f000000n, hi: 0x7fffffffn }] : single(1n);
  return union(loopback, ...own.filter((address) => address.family === family).map((address) => single(address.value)));
}
