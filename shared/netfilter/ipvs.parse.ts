// Reads the kernel's load balancer (IPVS): `ipvsadm -Sn`, and /proc/net/ip_vs where ipvsadm is not installed.
import type { Family } from '../model/address.ts';
import { parseAddress } from '../model/address.ts';
import type { Issue } from './ruleset.ts';

/** How a packet gets to a server: its addresses translated (ipvsadm -m), sent on unchanged on the link (-g), or in a tunnel (-i). */
export type IpvsMethod = 'masquerade' | 'route' | 'tunnel';

/** A server behind a virtual service. Weight 0 gets no new connections. */
export interface IpvsServer {
  readonly family: Family;
  readonly address: bigint;
  /** 0 keeps the port of the packet (services by firewall mark). */
  readonly port: number;
  readonly weight: number;
  readonly method: IpvsMethod;
  /** From 1. */
  readonly line: number;
}

/** A virtual service: by protocol, address and port, or by the packet's mark. */
export interface IpvsService {
  /** IP protocol number: 6, 17 or 132. 0 for services by firewall mark, which take every protocol. */
  readonly protocol: number;
  readonly family: Family;
  /** 0 for services by firewall mark. */
  readonly address: bigint;
  /** 0 for services by firewall mark, and for persistent services that take every port. */
  readonly port: number;
  readonly fwmark?: number;
  /** `rr`, `lc`, `sh` … */
  readonly scheduler: string;
  /** `ops` (one packet scheduling) and the scheduler's own, e.g. `sh-port`. */
  readonly flags: readonly string[];
  /** Session affinity by source address; absent when there is none. */
  readonly persistentSeconds?: number;
  readonly servers: readonly IpvsServer[];
  /** From 1. */
  readonly line: number;
}

/** What was read, and lines that could not be. */
export interface IpvsParsed {
  readonly services: readonly IpvsService[];
  readonly issues: readonly Issue[];
}

/** Parses `ipvsadm -Sn`. Never throws; every line is a service, a server, an issue, or empty. */
export function parseIpvs(text: string): IpvsParsed {
  return readLines(text, readRuleLine);
}

/**
 * Parses /proc/net/ip_vs, whose addresses and ports are hexadecimal. It counts persistence in the kernel's own ticks, CONFIG_HZ of them a second: 250 in
 * the kernels of Debian and Ubuntu, 1000 and 100 in others.
 */
export function parseProcIpvs(text: string, ticksPerSecond = 250): IpvsParsed {
  const { services, issues } = readLines(text, (line, services) => readProcLine(line, services, ticksPerSecond));
  // A service by firewall mark says there of its family only what its servers are.
  return { services: services.map((each) => (each.fwmark !== undefined && each.servers[0]?.family === 6 ? { ...each, family: 6 } : each)), issues };
}

interface OpenService extends IpvsService {
  readonly servers: IpvsServer[];
}

interface Services {
  readonly list: OpenService[];
  readonly byKey: Map<string, OpenService>;
}

interface Line {
  readonly text: string;
  readonly line: number;
}

/** Reads one line; returns why it could not be read. */
type LineReader = (line: Line, services: Services) => string | undefined;

function readLines(text: string, read: LineReader): IpvsParsed {
  const services: Services = { list: [], byKey: new Map() };
  const issues: Issue[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    const reason = read({ text: line, line: index + 1 }, services);
    if (reason !== undefined) issues.push({ line: index + 1, text: line, reason });
  }
  return { services: services.list, issues };
}

/** A service's identity: `-t`, `-u` or `--sctp-service` with its address, or `-f` with its mark. */
interface Virtual {
  readonly protocol: number;
  readonly family: Family;
  readonly address: bigint;
  readonly port: number;
  readonly fwmark?: number;
}

const keyOf = ({ protocol, family, address, port, fwmark }: Virtual): string => `${protocol} ${family} ${address} ${port} ${fwmark ?? ''}`;

/** What the options of one line say, whatever their order. */
interface Options {
  readonly words: ReadonlyMap<string, string>;
  readonly bare: ReadonlySet<string>;
}

const serviceOptions: ReadonlyMap<string, number> = new Map([
  ['-t', 6],
  ['-u', 17],
  ['--sctp-service', 132],
]);

/** Long names of options as ipvsadm takes them, by the names that it prints. */
const shortNames: ReadonlyMap<string, string> = new Map([
  ['--add-service', '-A'],
  ['--add-server', '-a'],
  ['--tcp-service', '-t'],
  ['--udp-service', '-u'],
  ['--fwmark-service', '-f'],
  ['--scheduler', '-s'],
  ['--persistent', '-p'],
  ['--ipv6', '-6'],
  ['-o', '--ops'],
  ['-b', '--sched-flags'],
  ['--real-server', '-r'],
  ['--weight', '-w'],
  ['--masquerading', '-m'],
  ['--gatewaying', '-g'],
  ['--ipip', '-i'],
]);

const valued: ReadonlySet<string> = new Set([
  '-t',
  '-u',
  '--sctp-service',
  '-f',
  '-s',
  '-p',
  '-M',
  '--netmask',
  '--pe',
  '--sched-flags',
  '-r',
  '-w',
  '-x',
  '--u-threshold',
  '-y',
  '--l-threshold',
  '--tun-type',
  '--tun-port',
]);
const bareOptions: ReadonlySet<string> = new Set(['-A', '-a', '-6', '--ops', '-m', '-g', '-i', '-n', '--tun-nocsum', '--tun-csum', '--tun-remcsum']);

function readRuleLine({ text, line }: Line, services: Services): string | undefined {
  const options = readOptions(text.trim().split(/\s+/));
  if (typeof options === 'string') return options;
  const virtual = virtualOf(options);
  if (virtual === undefined) return 'cannot read the virtual service';
  if (options.bare.has('-A')) return addService(services, serviceOf(virtual, options, line));
  if (!options.bare.has('-a')) return 'neither a service nor a server';
  const service = services.byKey.get(keyOf(virtual));
  if (service === undefined) return 'the server belongs to no service';
  const server = serverOf(options, line);
  if (server === undefined) return 'cannot read the server';
  service.servers.push(server);
  return undefined;
}

function readOptions(words: readonly string[]): Options | string {
  const found = new Map<string, string>();
  const bare = new Set<string>();
  for (let at = 0; at < words.length; at++) {
    const word = shortNames.get(words[at] ?? '') ?? words[at] ?? '';
    const next = words[at + 1];
    if (bareOptions.has(word)) bare.add(word);
    else if (!valued.has(word)) return `unknown option: ${word}`;
    else if (word === '-p' && (next === undefined || next.startsWith('-'))) found.set(word, defaultPersistence);
    else if (next === undefined) return `${word} lacks its value`;
    else {
      found.set(word, next);
      at++;
    }
  }
  return { words: found, bare };
}

/** Seconds of `-p` without a value. */
const defaultPersistence = '300';

function virtualOf({ words, bare }: Options): Virtual | undefined {
  const mark = words.get('-f');
  if (mark !== undefined) {
    const fwmark = wholeNumber(mark, 0xffffffff);
    return fwmark === undefined ? undefined : { protocol: 0, family: bare.has('-6') ? 6 : 4, address: 0n, port: 0, fwmark };
  }
  for (const [option, protocol] of serviceOptions) {
    const end = endpointOf(words.get(option) ?? '');
    if (end !== undefined) return { protocol, ...end };
  }
  return undefined;
}

interface Endpoint {
  readonly family: Family;
  readonly address: bigint;
  readonly port: number;
}

/** `10.0.0.1:80`, `[fd00::1]:80`, or an address alone, whose port is 0. */
function endpointOf(text: string): Endpoint | undefined {
  const [, bracketed, plain, portText] = /^(?:\[([^\]]*)\]|([\d.]+))(?::(\d{1,5}))?$/.exec(text) ?? [];
  const address = parseAddress(bracketed ?? plain ?? '');
  const port = wholeNumber(portText ?? '0', 65535);
  if (address === undefined || port === undefined || (address.family === 6) !== (bracketed !== undefined)) return undefined;
  return { family: address.family, address: address.value, port };
}

function wholeNumber(text: string, max: number): number | undefined {
  const number = /^\d{1,10}$/.test(text) ? Number(text) : undefined;
  return number !== undefined && number <= max ? number : undefined;
}

function serviceOf(virtual: Virtual, { words, bare }: Options, line: number): OpenService {
  const persistentSeconds = wholeNumber(words.get('-p') ?? '', 0xffffffff);
  const flags = [...(bare.has('--ops') ? ['ops'] : []), ...(words.get('--sched-flags')?.split(',') ?? [])];
  // ipvsadm's own default scheduler is wlc.
  const scheduler = words.get('-s') ?? 'wlc';
  return { ...virtual, scheduler, flags, ...(persistentSeconds !== undefined && { persistentSeconds }), servers: [], line };
}

function addService(services: Services, service: OpenService): string | undefined {
  const key = keyOf(service);
  if (services.byKey.has(key)) return 'the service is listed twice';
  services.byKey.set(key, service);
  services.list.push(service);
  return undefined;
}

function serverOf({ words, bare }: Options, line: number): IpvsServer | undefined {
  const end = endpointOf(words.get('-r') ?? '');
  const weight = wholeNumber(words.get('-w') ?? '1', 0xffffffff);
  if (end === undefined || weight === undefined) return undefined;
  // Without an option ipvsadm sends packets on unchanged.
  const method = bare.has('-m') ? 'masquerade' : bare.has('-i') ? 'tunnel' : 'route';
  return { ...end, weight, method, line };
}

const protocols: ReadonlyMap<string, number> = new Map([
  ['TCP', 6],
  ['UDP', 17],
  ['SCTP', 132],
]);

const procMethods: ReadonlyMap<string, IpvsMethod> = new Map([
  ['Masq', 'masquerade'],
  ['Route', 'route'],
  ['Local', 'route'],
  ['Tunnel', 'tunnel'],
]);

function readProcLine({ text, line }: Line, services: Services, ticksPerSecond: number): string | undefined {
  const words = text.trim().split(/\s+/);
  const [first = '', second = ''] = words;
  if (text.startsWith('IP Virtual Server') || first === 'Prot' || (first === '->' && second.startsWith('RemoteAddress'))) return undefined;
  if (first === '->') return readProcServer(words, line, services);
  const virtual = procVirtual(first, second);
  return virtual === undefined ? 'neither a service nor a server' : addService(services, procService(virtual, { words: words.slice(2), line, ticksPerSecond }));
}

function procVirtual(protocol: string, address: string): Virtual | undefined {
  if (protocol === 'FWM') {
    const fwmark = /^[0-9A-F]{1,8}$/i.test(address) ? Number.parseInt(address, 16) : undefined;
    return fwmark === undefined ? undefined : { protocol: 0, family: 4, address: 0n, port: 0, fwmark };
  }
  const number = protocols.get(protocol);
  const end = procEndpoint(address);
  return number === undefined || end === undefined ? undefined : { protocol: number, ...end };
}

/** `0A000001:0050`, or `[fd00:0000:…:0001]:0050`. */
function procEndpoint(text: string): Endpoint | undefined {
  const [, bracketed, plain, port = '0'] = /^(?:\[([0-9a-f:.]+)\]|([0-9a-f]{8})):([0-9a-f]{4})$/i.exec(text) ?? [];
  if (plain !== undefined) return { family: 4, address: BigInt(`0x${plain}`), port: Number.parseInt(port, 16) };
  const address = parseAddress(bracketed ?? '');
  return address?.family === 6 ? { family: 6, address: address.value, port: Number.parseInt(port, 16) } : undefined;
}

interface ProcService {
  readonly words: readonly string[];
  readonly line: number;
  readonly ticksPerSecond: number;
}

/** After the address: the scheduler, `ops`, `persistent TICKS MASK`, and the scheduler's flags in parentheses. */
function procService(virtual: Virtual, { words, line, ticksPerSecond }: ProcService): OpenService {
  const [scheduler = '', ...rest] = words;
  const at = rest.indexOf('persistent');
  const ticks = at < 0 ? undefined : wholeNumber(rest[at + 1] ?? '', Number.MAX_SAFE_INTEGER);
  const flags = rest.flatMap((word) => (word === 'ops' ? [word] : (/^\((.+)\)$/.exec(word)?.[1]?.split(',') ?? [])));
  return { ...virtual, scheduler, flags, ...(ticks !== undefined && { persistentSeconds: Math.round(ticks / ticksPerSecond) }), servers: [], line };
}

function readProcServer(words: readonly string[], line: number, services: Services): string | undefined {
  const service = services.list.at(-1);
  if (service === undefined) return 'the server belongs to no service';
  const [, address = '', forward = '', weightText = ''] = words;
  const end = procEndpoint(address);
  const method = procMethods.get(forward);
  const weight = wholeNumber(weightText, 0xffffffff);
  if (end === undefined || method === undefined || weight === undefined) return 'cannot read the server';
  service.servers.push({ ...end, weight, method, line });
  return undefined;
}
