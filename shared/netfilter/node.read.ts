// Reads the files of a capture into one node's state: the same way for a directory on disk and for what an agent's sources have just read.
import { type Family, parsePrefix, single } from '../model/address.ts';
import { readBeside } from './beside.ts';
import { type ParsedList, parseInterfaces, parseListeners, parseRoutes, parseRules, parseSysctls } from './host.parse.ts';
import type { Host, Interface, Route } from './host.ts';
import { indexIpsets, parseIpset } from './ipset.parse.ts';
import { type IptablesParsed, parseIptables } from './iptables.parse.ts';
import { parseIpvs } from './ipvs.parse.ts';
import { type NftParsed, parseNft } from './nft.parse.ts';
import { parseNftText } from './nft.text.parse.ts';
import type { CaptureFiles, NodeState, Process } from './node.ts';
import type { Backend, TableFamily } from './rule.ts';
import type { Issue, Table } from './ruleset.ts';
import { parseServiceMaps } from './service-maps.parse.ts';
import { parseConntrackStatistics, parseCounters, parseFlows, parseProxyMetrics } from './surroundings.parse.ts';

export interface ReadOptions {
  /** Node name, where the caller knows better than capture.json. */
  readonly node?: string;
  /** What could not be read and may hold rules, e.g. `iptables`: every answer then depends on it. */
  readonly unread?: readonly string[];
}

/** Reads a capture's files. Never throws: what cannot be read is an issue with file and line. Files of other names are ignored. A file read before is not parsed again. */
export function readNode(files: CaptureFiles, options: ReadOptions = {}): NodeState {
  const issues: Issue[] = [];
  const reading = { files, issues };
  const described = describe(reading);
  const iptables = iptablesFiles.flatMap((file) => tablesOf(reading, file));
  const nft = nftTables(reading, iptables);
  const ipset = readFile(reading, 'ipset-save.txt', (text) => parseIpset(text));
  const ipvs = readFile(reading, 'ipvsadm-Sn.txt', (text) => parseIpvs(text));
  const maps = readFile(reading, 'service-maps.ndjson', parseServiceMaps);
  const beside = readBeside(files, issues);
  const truncated = issues.filter((issue) => issue.reason.includes('truncated')).map((issue) => `the rest of ${issue.file} (truncated)`);
  return {
    name: options.node ?? described.node,
    tables: [...iptables, ...nft.tables],
    ipsets: indexIpsets(ipset?.sets ?? []),
    ipvs: ipvs?.services ?? [],
    host: readHost(reading),
    ...(maps === undefined ? {} : { serviceMaps: maps.frontends }),
    ...readProcesses(reading),
    ...readSurroundings(reading),
    ...(Object.keys(beside).length === 0 ? {} : { beside }),
    issues,
    unread: [...(options.unread ?? described.failed), ...nft.unread, ...truncated, ...(maps?.unread ?? [])],
  };
}

/** The files of a capture, and what is found wrong with them. */
interface Reading {
  readonly files: CaptureFiles;
  readonly issues: Issue[];
}

interface IptablesFile {
  readonly name: string;
  readonly family: 'ip' | 'ip6';
  readonly backend?: Backend;
}

/** Files of a capture that dumps of iptables may be in. The default binary's dump first: its header names the backend. */
export const iptablesFiles: readonly IptablesFile[] = [
  { name: 'iptables-save.txt', family: 'ip' },
  { name: 'ip6tables-save.txt', family: 'ip6' },
  { name: 'iptables-legacy-save.txt', family: 'ip', backend: 'legacy' },
  { name: 'ip6tables-legacy-save.txt', family: 'ip6', backend: 'legacy' },
  { name: 'iptables-nft-save.txt', family: 'ip', backend: 'iptables-nft' },
  { name: 'ip6tables-nft-save.txt', family: 'ip6', backend: 'iptables-nft' },
];

/** Tables whose JSON would be too large, in nft's text, beside `nft.json`. */
const largeListing = 'nft-large.txt';
/** nft's text, where a capture has no JSON or one that is cut off. */
const textListings: readonly string[] = ['nft-ruleset.txt', 'nft.txt'];

/** File names of a capture that hold rules, for those who collect or list captures. */
export const ruleFileNames: readonly string[] = [
  ...iptablesFiles.map((file) => file.name),
  'nft.json',
  largeListing,
  ...textListings,
  'ipset-save.txt',
  'ipvsadm-Sn.txt',
  'service-maps.ndjson',
];

function tablesOf({ files, issues }: Reading, file: IptablesFile): readonly Table[] {
  const bytes = files.get(file.name);
  if (bytes === undefined) return [];
  const parsed = remember(bytes, () => parseIptables(bytes, { family: file.family, ...(file.backend === undefined ? {} : { backend: file.backend }) }));
  for (const issue of parsed.issues) issues.push({ file: file.name, ...issue });
  return parsed.tables;
}

function nftTables(reading: Reading, iptables: readonly Table[]): { readonly tables: readonly Table[]; readonly unread: readonly string[] } {
  const found = readListing(reading) ?? (reading.files.has(largeListing) ? { parsed: nothingListed, file: largeListing } : undefined);
  if (found === undefined) return { tables: [], unread: [] };
  const { parsed, file } = found;
  const large = readFile(reading, largeListing, (content) => parseNftText(content, { skipIptablesTables: true }));
  const tables = [...parsed.tables, ...(large?.tables ?? [])].flatMap((table) => withoutTwins(table, iptables));
  const read = (family: TableFamily): boolean => iptables.some((table) => table.backend === 'iptables-nft' && table.family === family);
  const dumpKnown = (family: TableFamily): boolean => reading.files.has(family === 'ip6' ? 'ip6tables-save.txt' : 'iptables-save.txt');
  const lost = [...parsed.skipped, ...(large?.skipped ?? [])].filter(({ family }) => !read(family) && !dumpKnown(family));
  return {
    tables,
    unread: lost.map(({ family, name }) => `table ${family} ${name} of iptables-nft (${file} shows it, no iptables-save does)`),
  };
}

const nothingListed: NftParsed = { tables: [], issues: [], skipped: [] };

/**
 * A table of a name that iptables uses may hold native base chains beside iptables' own: iptables-save prints its own and says that there are others, nft
 * prints all. Base chains that iptables-save has shown are not read twice.
 */
function withoutTwins(table: Table, iptables: readonly Table[]): readonly Table[] {
  const twin = iptables.find(({ backend, family, name }) => backend === 'iptables-nft' && family === table.family && name === table.name);
  if (twin === undefined) return [table];
  const chains = new Map([...table.chains].filter(([name, chain]) => chain.base === undefined || !twin.chains.has(name)));
  const { baseChains: _, ...rest } = table;
  return [...chains.values()].some(({ base }) => base !== undefined) ? [{ ...rest, chains }] : [];
}

function readListing(reading: Reading): { readonly parsed: NftParsed; readonly file: string } | undefined {
  const { files, issues } = reading;
  const text = textListings.find((name) => files.has(name));
  const found: Issue[] = [];
  const json = readFile({ files, issues: found }, 'nft.json', (content) => parseNft(content, { skipIptablesTables: true }));
  if (json !== undefined && (json.broken !== true || text === undefined)) {
    issues.push(...found);
    return { parsed: json, file: 'nft.json' };
  }
  for (const issue of found) issues.push({ ...issue, reason: `${issue.reason}; ${text} is read instead` });
  const parsed = text === undefined ? undefined : readFile(reading, text, (content) => parseNftText(content, { skipIptablesTables: true }));
  return parsed === undefined || text === undefined ? undefined : { parsed, file: text };
}

function readHost(reading: Reading): Host {
  const ports = readFile(reading, 'bridge-ports.txt', parseCounters)?.values;
  const interfaces = (readFile(reading, 'ip-addr.json', parseInterfaces)?.items ?? []).map((each) => withHairpin(each, ports));
  const routes = distinctRoutes([
    ...list(readFile(reading, 'ip-route.json', (text) => parseRoutes(text, 4))),
    ...list(readFile(reading, 'ip6-route.json', (text) => parseRoutes(text, 6))),
  ]);
  const rules = [
    ...list(readFile(reading, 'ip-rule.json', (text) => parseRules(text, 4))),
    ...list(readFile(reading, 'ip6-rule.json', (text) => parseRules(text, 6))),
  ];
  const sysctls = readFile(reading, 'sysctl.txt', parseSysctls);
  const sockets = reading.files.has('ss.txt') ? 'ss.txt' : 'ss-tulnp.txt';
  const listeners = readFile(reading, sockets, parseListeners);
  return {
    interfaces,
    rules,
    routes: withLocalRoutes(routes, interfaces),
    sysctls: sysctls?.values ?? new Map(),
    listeners: listeners?.items ?? [],
    known: {
      interfaces: reading.files.has('ip-addr.json'),
      routes: reading.files.has('ip-route.json') || reading.files.has('ip6-route.json'),
      sysctls: sysctls !== undefined,
      listeners: listeners !== undefined,
    },
  };
}

// `bridge-ports.txt` has a line `NAME.hairpin_mode = 0` for each port of a bridge, as /sys/class/net/NAME/brport has it.
function withHairpin(device: Interface, ports: ReadonlyMap<string, number> | undefined): Interface {
  const mode = ports?.get(`${device.name}.hairpin_mode`);
  return mode === undefined ? device : { ...device, hairpin: mode !== 0 };
}

/** A dump of the main table alone (`ip -j route`) lacks the local table: it follows from the addresses. */
function withLocalRoutes(routes: readonly Route[], interfaces: readonly Interface[]): readonly Route[] {
  const lacking = ([4, 6] as const).filter((family) => !routes.some((route) => route.family === family && route.table === 'local'));
  const loopback: readonly Route[] = lacking.flatMap((family) => {
    const prefix = parsePrefix(family === 4 ? '127.0.0.0/8' : '::1/128');
    return prefix === undefined ? [] : [localRoute(family, prefix.interval, { length: prefix.length, device: 'lo' })];
  });
  const own = interfaces.flatMap((device) =>
    device.addresses
      .filter((address) => lacking.includes(address.family))
      .map((address) =>
        localRoute(address.family, single(address.value)[0] as Route['destination'], { length: address.family === 4 ? 32 : 128, device: device.name }),
      ),
  );
  return [...routes, ...loopback, ...own];
}

function localRoute(family: Family, destination: Route['destination'], where: { readonly length: number; readonly device: string }): Route {
  return {
    family,
    table: 'local',
    type: 'local',
    destination,
    length: where.length,
    device: where.device,
    metric: 0,
    text: `local address of ${where.device}`,
  };
}

/** `ip -j route show table all` prints both families in some releases, so the IPv6 routes may stand in both files. */
function distinctRoutes(routes: readonly Route[]): readonly Route[] {
  const key = (route: Route): string =>
    `${route.family} ${route.table} ${route.type} ${route.destination.lo}/${route.length} ${route.gateway} ${route.device} ${route.metric}`;
  return [...new Map(routes.map((route) => [key(route), route])).values()];
}

const list = <Item>(parsed: ParsedList<Item> | undefined): readonly Item[] => parsed?.items ?? [];

function readFile<Result extends { readonly issues: readonly Issue[] }>(
  { files, issues }: Reading,
  name: string,
  parse: (text: string) => Result,
): Result | undefined {
  const bytes = files.get(name);
  if (bytes === undefined) return undefined;
  const parsed = remember(bytes, () => parse(bytes.toString('utf8')));
  for (const issue of parsed.issues) issues.push({ file: name, ...issue });
  return parsed;
}

/** What a dump of iptables was parsed to, if it was. */
export const parsedDump = (bytes: Buffer): IptablesParsed | undefined => parsedFiles.get(bytes) as IptablesParsed | undefined;

/** Agents read often and files change seldom: what was parsed from a buffer is kept as long as the buffer lives. */
function remember<Result>(bytes: Buffer, parse: () => Result): Result {
  const known = parsedFiles.get(bytes);
  if (known !== undefined) return known as Result;
  const parsed = parse();
  parsedFiles.set(bytes, parsed);
  return parsed;
}
const parsedFiles = new WeakMap<Buffer, unknown>();

const counterFiles = ['counters.txt', 'conntrack-count.txt'];

function readSurroundings(reading: Reading): Pick<NodeState, 'counters' | 'proxySync' | 'flows'> {
  const read = counterFiles.flatMap((name) => [...(readFile(reading, name, parseCounters)?.values ?? [])]);
  const statistics = [...(readFile(reading, 'conntrack-stats.txt', parseConntrackStatistics)?.values ?? [])];
  const counters = new Map([...read, ...statistics]);
  const metrics = readFile(reading, 'kube-proxy-metrics.txt', (text) => ({ sync: parseProxyMetrics(text), issues: [] }))?.sync;
  const flows = readFile(reading, 'conntrack.txt', parseFlows)?.items;
  return {
    ...(counters.size === 0 ? {} : { counters }),
    ...(metrics === undefined ? {} : { proxySync: metrics }),
    ...(flows === undefined ? {} : { flows }),
  };
}

/** `processes.json`: a list of `{pid, comm, argv}`. */
function readProcesses(reading: Reading): { readonly processes?: readonly Process[] } {
  const parsed = readFile(reading, 'processes.json', (text) => {
    try {
      const raw: unknown = JSON.parse(text);
      const items = (Array.isArray(raw) ? raw : []).filter((each): each is Process => typeof each?.pid === 'number' && typeof each?.comm === 'string');
      return { items: items.map(readProcess), issues: [] };
    } catch (error) {
      return { items: [], issues: [{ line: 0, text: '', reason: `not valid JSON: ${(error as Error).message}` }] };
    }
  });
  return parsed === undefined ? {} : { processes: parsed.items };
}

const readProcess = ({ pid, comm, argv, startedAt, unit }: Process): Process => ({
  pid,
  comm,
  argv: Array.isArray(argv) ? argv.map(String) : [],
  ...(typeof startedAt === 'number' ? { startedAt } : {}),
  ...(typeof unit === 'string' ? { unit } : {}),
});

/** What capture.json says: the node's name and the sources that failed. */
function describe({ files, issues }: Reading): { readonly node: string; readonly failed: readonly string[] } {
  const bytes = files.get('capture.json');
  if (bytes === undefined) return { node: '', failed: [] };
  try {
    const raw = JSON.parse(bytes.toString('utf8')) as { node?: unknown; sources?: readonly { name?: unknown; outcome?: unknown; reason?: unknown }[] };
    const failed = (Array.isArray(raw.sources) ? raw.sources : []).filter((source) => source?.outcome === 'failed' && ruleSources.has(String(source.name)));
    return { node: typeof raw.node === 'string' ? raw.node : '', failed: failed.map((source) => `${source.name} (${source.reason ?? 'failed'})`) };
  } catch (error) {
    issues.push({ file: 'capture.json', line: 0, text: '', reason: `not valid JSON: ${(error as Error).message}` });
    return { node: '', failed: [] };
  }
}

/** Sources whose failure hides rules. */
export const ruleSources: ReadonlySet<string> = new Set(['iptables', 'ip6tables', 'nftables', 'ipset', 'ipvs', 'service-maps']);
