// Groups the lines of files that have no facts of their own (routes, ipsets, IPVS services, processes) by the thing that they describe, for comparing.
import { type Family, formatAddress } from '../shared/model/address.ts';
import { parseServiceMaps } from '../shared/netfilter/service-maps.parse.ts';
import type { ProcessEntry } from './sources/processes.parse.ts';

/** Subject → its lines. What cannot be read yields nothing: the parser of the walk reports it. */
export type Lines = ReadonlyMap<string, readonly string[]>;

/** `route 10.244.2.0/24` (with ` table 100` for other tables than main) → `via 192.0.2.12 dev eth0`. Rules are `ip rule 32765`. */
export function routeLines(text: Buffer | undefined, file: string): Lines {
  const entries = readList(text);
  return file.includes('rule')
    ? group(entries.map((entry) => [`ip${file.startsWith('ip6') ? ' -6' : ''} rule ${entry.priority}`, words(entry, ['priority'])]))
    : group(entries.map(route));
}

const route = (entry: Entry): [string, string] => {
  const table = entry.table === undefined || entry.table === 'main' ? '' : ` table ${entry.table}`;
  const kind = entry.type === undefined || entry.type === 'unicast' ? '' : `${entry.type} `;
  // IPv6 routes come and go with what the kernel learns of a destination (expires, error); their flags are no decision of anybody.
  return [`route ${kind}${entry.dst ?? ''}${table}`, words(entry, ['dst', 'table', 'type', 'flags', 'expires', 'pref', 'error'])];
};

/** `ipset NAME` → its create line and its entries. Time left and counters are taken out. */
export function ipsetLines(text: Buffer | undefined): Lines {
  return group(
    rows(text).flatMap((line): [string, string][] => {
      const name = /^(?:create|add) (\S+)/.exec(line)?.[1];
      const plain = line.startsWith('add ') ? line.replace(/ timeout \d+| packets \d+ bytes \d+/g, '') : line.replace(/ initval \S+| hashsize \d+/g, '');
      return name === undefined ? [] : [[`ipset ${name}`, plain]];
    }),
  );
}

/** `ipvs -t 192.0.2.11:30080` → the service's line and those of its real servers. */
export function ipvsLines(text: Buffer | undefined): Lines {
  return group(
    rows(text).flatMap((line): [string, string][] => {
      const service = /^-[Aa] (-[tuf] \S+|--sctp-service \S+)/.exec(line)?.[1];
      return service === undefined ? [] : [[`ipvs ${service}`, line]];
    }),
  );
}

/** `service map 192.0.2.11:30080/6` → a line for each backend, of what an eBPF data plane serves. */
export function serviceMapLines(text: Buffer | undefined): Lines {
  const { frontends } = parseServiceMaps(text?.toString('latin1') ?? '');
  return group(
    frontends.flatMap(({ address, family, port, protocols, scope, backends }) => {
      const inner = scope === 'internal' ? ' (inside)' : '';
      const subject = `service map ${address === 'any' ? 'any' : endpoint(family, address, port)}${address === 'any' ? `:${port}` : ''}/${protocols.join(',')}${inner}`;
      const lines = backends.map((backend) => `→ ${endpoint(family, backend.address, backend.port)}`);
      return (lines.length === 0 ? ['no backend'] : lines).map((line): [string, string] => [subject, line]);
    }),
  );
}

function endpoint(family: Family, address: bigint, port: number): string {
  const text = formatAddress(family, address);
  return `${family === 6 ? `[${text}]` : text}:${port}`;
}

/** `process kube-proxy` → one line for each: `pid 2418: kube-proxy --config=…`. */
export function processLines(text: Buffer | undefined): Lines {
  return group(
    (readList(text) as readonly unknown[] as readonly ProcessEntry[]).map(({ comm, pid, argv }) => [`process ${comm}`, `pid ${pid}: ${argv.join(' ')}`]),
  );
}

type Entry = Readonly<Record<string, unknown>>;

function readList(text: Buffer | undefined): readonly Entry[] {
  try {
    const value: unknown = JSON.parse(text?.toString('utf8').trim() || '[]');
    return Array.isArray(value) ? value.filter((entry): entry is Entry => typeof entry === 'object' && entry !== null) : [];
  } catch {
    return [];
  }
}

const rows = (text: Buffer | undefined): string[] => text?.toString('utf8').split('\n') ?? [];

const words = (entry: Entry, left: readonly string[]): string =>
  Object.entries(entry)
    .filter(([key]) => !left.includes(key))
    .map(([key, value]) => `${key === 'gateway' ? 'via' : key} ${typeof value === 'object' ? JSON.stringify(value) : value}`)
    .join(' ');

function group(pairs: readonly (readonly [string, string])[]): Lines {
  const lines = new Map<string, string[]>();
  for (const [subject, line] of pairs) {
    const known = lines.get(subject);
    if (known === undefined) lines.set(subject, [line]);
    else known.push(line);
  }
  return lines;
}
