// Turns what `ip -j`, `ss` and `sysctl` print into the node's network state. Nothing is lost: what cannot be read is an issue with its line.
import { type Family, highest, type Prefix, parseAddress, parsePrefix } from '../model/address.ts';
import type { Interface, Listener, Route, RouteType, RoutingRule } from './host.ts';
import type { Issue } from './ruleset.ts';

export interface ParsedList<Item> {
  readonly items: readonly Item[];
  readonly issues: readonly Issue[];
}

/** `ip -j addr`; with `-d` it tells the kinds of devices and the hairpin mode of bridge ports too. */
export function parseInterfaces(text: string): ParsedList<Interface> {
  return parseJsonList(text, (raw) => {
    if (typeof raw['ifname'] !== 'string') return 'an interface without ifname';
    const flags = Array.isArray(raw['flags']) ? raw['flags'] : [];
    const info = raw['linkinfo'] as Raw | undefined;
    const kind = info?.['info_kind'];
    const hairpin = info?.['info_slave_kind'] === 'bridge' ? (info['info_slave_data'] as Raw | undefined)?.['hairpin'] : undefined;
    const addresses = (Array.isArray(raw['addr_info']) ? raw['addr_info'] : []).flatMap((each: Raw) => {
      const prefix = parsePrefix(`${each['local']}/${each['prefixlen']}`);
      return prefix === undefined ? [] : [prefix];
    });
    return {
      name: raw['ifname'],
      index: Number(raw['ifindex'] ?? 0),
      up: flags.includes('UP'),
      loopback: flags.includes('LOOPBACK'),
      addresses,
      ...(typeof raw['master'] === 'string' ? { master: raw['master'] } : {}),
      ...(typeof kind === 'string' ? { kind } : {}),
      ...(typeof raw['mtu'] === 'number' ? { mtu: raw['mtu'] } : {}),
      ...(typeof hairpin === 'boolean' ? { hairpin } : {}),
    };
  });
}

/** `ip -j route show table all`, of one family or both. `family` is that of lines such as `default` that do not show it. */
export function parseRoutes(text: string, family: Family): ParsedList<Route> {
  return parseJsonList(text, (raw) => {
    const shown = String(raw['dst'] ?? '');
    const gateway = raw['gateway'] ?? (raw['via'] as Raw | undefined)?.['host'];
    const prefix = destinationOf(shown, gateway === undefined ? undefined : String(gateway), { raw, family });
    if (prefix === undefined) return `the destination "${shown}" is no prefix`;
    const nexthops = Array.isArray(raw['nexthops']) ? (raw['nexthops'] as Raw[]) : [];
    const device = raw['dev'] ?? nexthops[0]?.['dev'];
    const type = (raw['type'] ?? 'unicast') as RouteType;
    const table = raw['table'] === undefined ? 'main' : String(raw['table']);
    return {
      family: prefix.family,
      table,
      type,
      destination: prefix.interval,
      length: prefix.length,
      metric: Number(raw['metric'] ?? 0),
      text: routeText(raw),
      ...(gateway === undefined ? {} : { gateway: String(gateway) }),
      ...(device === undefined ? {} : { device: String(device) }),
    };
  });
}

/** `ip -j rule`. */
export function parseRules(text: string, family: Family): ParsedList<RoutingRule> {
  return parseJsonList(text, (raw) => {
    const source = rulePrefix(raw['src'], raw['srclen']);
    const destination = rulePrefix(raw['dst'], raw['dstlen']);
    if (source === 'bad' || destination === 'bad') return `the rule's prefix is not readable: ${JSON.stringify(raw)}`;
    const action = String(raw['action'] ?? (raw['table'] === undefined ? 'other' : 'table'));
    const mark = raw['fwmark'] === undefined ? undefined : Number(raw['fwmark']);
    return {
      family,
      priority: Number(raw['priority'] ?? 0),
      not: 'not' in raw,
      text: ruleText(raw),
      action: ['blackhole', 'unreachable', 'prohibit'].includes(action) ? (action as RoutingRule['action']) : raw['table'] === undefined ? 'other' : 'table',
      ...(source === undefined ? {} : { source: source.interval }),
      ...(destination === undefined ? {} : { destination: destination.interval }),
      ...(mark === undefined ? {} : { mark: { value: mark, mask: raw['fwmask'] === undefined ? 0xffffffff : Number(raw['fwmask']) } }),
      ...(typeof raw['iif'] === 'string' ? { iif: raw['iif'] } : {}),
      ...(typeof raw['oif'] === 'string' ? { oif: raw['oif'] } : {}),
      ...(raw['table'] === undefined ? {} : { table: String(raw['table']) }),
      ...(raw['suppress_prefixlen'] === undefined ? {} : { suppressPrefixLength: Number(raw['suppress_prefixlen']) }),
    };
  });
}

/** `sysctl -a` style lines: `name = value`. */
export function parseSysctls(text: string): { readonly values: ReadonlyMap<string, string>; readonly issues: readonly Issue[] } {
  const values = new Map<string, string>();
  const issues: Issue[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const equals = line.indexOf('=');
    if (equals < 0) issues.push({ line: index + 1, text: line, reason: 'not of the form "name = value"' });
    else values.set(line.slice(0, equals).trim(), line.slice(equals + 1).trim());
  }
  return { values, issues };
}

/** `ss -H -tulnp` (SCTP lines too): Netid State Recv-Q Send-Q Local Peer [users:(…)]. */
export function parseListeners(text: string): ParsedList<Listener> {
  const items: Listener[] = [];
  const issues: Issue[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '' || line.startsWith('Netid')) continue;
    const found = parseListener(line);
    if (typeof found === 'string') issues.push({ line: index + 1, text: line, reason: found });
    else if (found !== undefined) items.push(found);
  }
  return { items, issues };
}

type Raw = Readonly<Record<string, unknown>>;

function parseJsonList<Item>(text: string, read: (raw: Raw) => Item | string): ParsedList<Item> {
  const items: Item[] = [];
  const issues: Issue[] = [];
  let list: unknown;
  try {
    list = text.trim() === '' ? [] : JSON.parse(text);
  } catch (error) {
    return { items, issues: [{ line: 0, text: text.slice(0, 80), reason: `not valid JSON: ${(error as Error).message}` }] };
  }
  if (!Array.isArray(list)) return { items, issues: [{ line: 0, text: text.slice(0, 80), reason: 'not a JSON list' }] };
  for (const raw of list) {
    if (typeof raw !== 'object' || raw === null) {
      issues.push({ line: 0, text: JSON.stringify(raw), reason: 'not an object' });
      continue;
    }
    if (Object.keys(raw).length === 0) continue; // `ip -j` of some releases prints empty objects for filtered entries.
    const item = read(raw as Raw);
    if (typeof item === 'string') issues.push({ line: 0, text: JSON.stringify(raw).slice(0, 200), reason: item });
    else items.push(item);
  }
  return { items, issues };
}

function destinationOf(shown: string, gateway: string | undefined, context: { raw: Raw; family: Family }): Prefix | undefined {
  if (shown !== 'default' && shown !== '') return parsePrefix(shown);
  const hint = gateway ?? context.raw['prefsrc'];
  const byHint = typeof hint === 'string' ? parseAddress(hint)?.family : undefined;
  // Only IPv6 routes carry `pref`, so a default route in a list of both families shows its family by it.
  const family = byHint ?? ('pref' in context.raw ? 6 : context.family);
  return { family, value: 0n, length: 0, interval: { lo: 0n, hi: highest(family) } };
}

function routeText(raw: Raw): string {
  const parts = [
    raw['type'],
    raw['dst'],
    raw['gateway'] === undefined ? undefined : `via ${raw['gateway']}`,
    raw['dev'] === undefined ? undefined : `dev ${raw['dev']}`,
  ];
  const table = raw['table'] === undefined || raw['table'] === 'main' ? undefined : `table ${raw['table']}`;
  return [...parts, table].filter((part) => part !== undefined).join(' ');
}

function ruleText(raw: Raw): string {
  const prefix = (value: unknown, length: unknown): string => (length === undefined ? String(value) : `${value}/${length}`);
  const parts = [
    `${raw['priority'] ?? 0}:`,
    'not' in raw ? 'not' : undefined,
    `from ${prefix(raw['src'] ?? 'all', raw['srclen'])}`,
    raw['dst'] === undefined ? undefined : `to ${prefix(raw['dst'], raw['dstlen'])}`,
    raw['fwmark'] === undefined ? undefined : `fwmark ${raw['fwmark']}${raw['fwmask'] === undefined ? '' : `/${raw['fwmask']}`}`,
    raw['iif'] === undefined ? undefined : `iif ${raw['iif']}`,
    raw['oif'] === undefined ? undefined : `oif ${raw['oif']}`,
    raw['table'] === undefined ? String(raw['action'] ?? '') : `lookup ${raw['table']}`,
    raw['suppress_prefixlen'] === undefined ? undefined : `suppress_prefixlength ${raw['suppress_prefixlen']}`,
  ];
  return parts.filter((part) => part !== undefined).join(' ');
}

function rulePrefix(value: unknown, length: unknown): Prefix | 'bad' | undefined {
  if (value === undefined || value === 'all') return undefined;
  return parsePrefix(length === undefined ? String(value) : `${value}/${length}`) ?? 'bad';
}

function parseListener(line: string): Listener | string | undefined {
  const fields = line.trim().split(/\s+/);
  const [protocol, state, , , local] = fields;
  if (local === undefined) return 'fewer fields than ss prints';
  if (protocol !== 'tcp' && protocol !== 'udp' && protocol !== 'sctp') return undefined; // raw, unix, vsock … sockets take no NodePort.
  if (state !== 'LISTEN' && state !== 'UNCONN') return undefined;
  const colon = local.lastIndexOf(':');
  const port = Number(local.slice(colon + 1));
  if (colon < 0 || !Number.isInteger(port)) return `"${local}" is no address with port`;
  const [host, device] = local.slice(0, colon).split('%') as [string, string | undefined];
  const bare = host.replace(/^\[|\]$/g, '').replace(/^::ffff:(?=\d+\.)/, '');
  const address = bare === '*' ? undefined : parseAddress(bare);
  if (bare !== '*' && address === undefined) return `"${bare}" is no address`;
  const wild = address === undefined || address.value === 0n;
  // `*` is a dual-stack socket; `[::]` may be limited to IPv6 or not, ss shows `*` when it is not.
  const families: readonly Family[] = address === undefined ? [4, 6] : [address.family];
  return {
    protocol,
    port,
    families,
    processes: processesOf(line),
    ...(wild ? {} : { address: address.value }),
    ...(device === undefined ? {} : { device: device.replace(/\]$/, '') }),
  };
}

// A name may hold quotes and parentheses: what does not fill the list from end to end was made to look like something else, and names nobody.
function processesOf(line: string): Listener['processes'] {
  const users = /\busers:\((.*)\)\s*$/.exec(line)?.[1]?.split(/(?<=,fd=\d+\)),(?=\(")/) ?? [];
  const found = users.map((user) => /^\("(.*)",pid=(\d+),fd=\d+\)$/.exec(user));
  return found.every((each) => each !== null) ? found.map(([, comm, pid]) => ({ comm: comm as string, pid: Number(pid) })) : [];
}
