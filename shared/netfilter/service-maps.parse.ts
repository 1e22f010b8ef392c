// Reads the service maps of data planes that serve NodePorts in eBPF (Cilium in kube-proxy's place, Calico), from the raw bytes that portreeve-bpf prints of
// them. Which layout a map has is told by its name and by the sizes of its keys and values; one that is not known is an issue, never a guess.
import type { Family } from '../model/address.ts';
import type { Issue } from './ruleset.ts';

/** Where packets for one address and port are sent. */
export interface ServiceFrontend {
  readonly program: 'Cilium' | 'Calico';
  /** The map's name. */
  readonly map: string;
  readonly family: Family;
  /** `any`: an entry for every node's address, which serves pods and processes alone. */
  readonly address: bigint | 'any';
  readonly port: number;
  /** IP protocol numbers; one entry of older Ciliums serves all of them. */
  readonly protocols: readonly number[];
  /** Whom it serves: Cilium keeps two entries where clients outside and inside have different backends. */
  readonly scope: 'external' | 'internal';
  /** Whether the map says that it is a NodePort; absent where it does not say. */
  readonly nodePort?: boolean;
  /** Clients of some networks alone are served. */
  readonly restricted: boolean;
  readonly backends: readonly ServiceBackend[];
  /** Where clients outside are to be served by the node's own backends alone: these. */
  readonly localBackends?: readonly ServiceBackend[];
}

export interface ServiceBackend {
  readonly address: bigint;
  readonly port: number;
}

export interface ServiceMapsParsed {
  readonly frontends: readonly ServiceFrontend[];
  readonly issues: readonly Issue[];
  /** Maps that may hold Services and could not be read, as sentences. That an entry is missing is no such thing: maps are not written in one step. */
  readonly unread: readonly string[];
}

/** Beginnings of the names of pinned maps that hold Services; what begins so and is of no known layout is said. */
export const serviceMapNames: readonly string[] = [
  'cilium_lb4_services',
  'cilium_lb6_services',
  'cilium_lb4_backends',
  'cilium_lb6_backends',
  'cali_v4_nat_fe',
  'cali_v6_nat_fe',
  'cali_v4_nat_be',
  'cali_v6_nat_be',
];

/** Reads the lines of `portreeve-bpf maps`. Never throws; every line is an entry, the head or the end of a map, or an issue. */
export function parseServiceMaps(text: string): ServiceMapsParsed {
  const issues: Issue[] = [];
  const maps = readMaps(text, issues);
  const unread = issues.map(({ reason }) => reason);
  const known = maps.flatMap((map) => {
    const layout = layouts.find((each) => each.name.test(map.name) && each.sizes.includes(`${map.keySize}/${map.valueSize}`));
    if (layout !== undefined) return [{ map, layout }];
    const reason = `the map ${map.name} has keys of ${map.keySize} and values of ${map.valueSize} bytes: a layout that is not known`;
    issues.push({ line: map.line, text: map.name, reason });
    unread.push(reason);
    return [];
  });
  const families: readonly Family[] = [4, 6];
  const frontends = families.flatMap((family) => {
    const maps = known.filter(({ layout }) => layout.family === family);
    return [...ciliumFrontends(maps, issues), ...calicoFrontends(maps, issues)];
  });
  return { frontends, issues, unread: [...new Set(unread)] };
}

interface RawMap {
  readonly name: string;
  readonly keySize: number;
  readonly valueSize: number;
  readonly entries: { readonly key: Buffer; readonly value: Buffer }[];
  /** From 1, of its head. */
  readonly line: number;
}

interface Layout {
  readonly name: RegExp;
  readonly family: Family;
  readonly role: 'cilium-services' | 'cilium-backends' | 'calico-frontends' | 'calico-backends';
  /** `KEY/VALUE` in bytes. */
  readonly sizes: readonly string[];
}

/**
 * Read in the sources of Cilium 1.8 to 1.18 (bpf/lib/common.h, bpf/lib/lb.h, pkg/maps/lbmap) and Calico 3.13 to 3.31 (felix/bpf-gpl/nat_types.h,
 * felix/bpf/nat). Numbers of backends had two bytes, then four; records of backends grew by the cluster.
 */
const layouts: readonly Layout[] = [
  { name: /^cilium_lb4_services_v2$/, family: 4, role: 'cilium-services', sizes: ['12/12'] },
  { name: /^cilium_lb6_services_v2$/, family: 6, role: 'cilium-services', sizes: ['24/12'] },
  { name: /^cilium_lb4_backends(_v2|_v3)?$/, family: 4, role: 'cilium-backends', sizes: ['2/8', '4/8', '4/12'] },
  { name: /^cilium_lb6_backends(_v2|_v3)?$/, family: 6, role: 'cilium-backends', sizes: ['2/20', '4/20', '4/24'] },
  { name: /^cali_v4_nat_fe[23]?$/, family: 4, role: 'calico-frontends', sizes: ['8/16', '16/16', '16/20'] },
  { name: /^cali_v6_nat_fe3?$/, family: 6, role: 'calico-frontends', sizes: ['40/20'] },
  { name: /^cali_v4_nat_be$/, family: 4, role: 'calico-backends', sizes: ['8/8'] },
  { name: /^cali_v6_nat_be$/, family: 6, role: 'calico-backends', sizes: ['8/20'] },
];

interface KnownMap {
  readonly map: RawMap;
  readonly layout: Layout;
}

function readMaps(text: string, issues: Issue[]): readonly RawMap[] {
  const maps: RawMap[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    if (line === '') continue;
    const issue = (reason: string): number => issues.push({ line: index + 1, text: line.slice(0, 200), reason });
    const fields = readFields(line);
    if (fields === undefined) issue('not a line of portreeve-bpf');
    else if (fields.ev === 'map') readHead(fields, index + 1, maps);
    else if (fields.ev === 'entry') readEntry(fields, maps.at(-1), issue);
    else if (fields.ev === 'map-failed') issue(`the map ${fields.pin} cannot be read: ${fields.reason}`);
    else if (fields.ev === 'map-end' && fields.cut === true) issue(`the map ${fields.pin} has more entries than are read`);
    else if (fields.ev !== 'map-end' && fields.ev !== 'end') issue('not a line of portreeve-bpf');
  }
  return maps;
}

type Fields = Readonly<Record<string, unknown>>;

function readFields(line: string): Fields | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? (value as Fields) : undefined;
  } catch {
    return undefined;
  }
}

function readHead({ pin, keySize, valueSize }: Fields, line: number, maps: RawMap[]): void {
  const name = String(pin).split('/').at(-1) ?? '';
  maps.push({ name, keySize: Number(keySize), valueSize: Number(valueSize), entries: [], line });
}

function readEntry({ key, value }: Fields, map: RawMap | undefined, issue: (reason: string) => number): void {
  const bytes = [Buffer.from(String(key), 'hex'), Buffer.from(String(value), 'hex')] as const;
  if (map === undefined || bytes[0].length !== map.keySize || bytes[1].length !== map.valueSize) issue('an entry that is not of the size of its map');
  else map.entries.push({ key: bytes[0], value: bytes[1] });
}

const addressAt = (bytes: Buffer, at: number, family: Family): bigint => BigInt(`0x${bytes.toString('hex', at, at + addressBytes(family))}`);
const addressBytes = (family: Family): number => (family === 4 ? 4 : 16);

// ---- Cilium ----

/** Flags of a frontend (SVC_FLAG_NODEPORT), and states of a backend other than active (BE_STATE_*). */
const flagNodePort = 2;
const stateMask = 3;
const everyProtocol: readonly number[] = [6, 17, 132];

interface CiliumService {
  readonly count: number;
  readonly flags: number;
  /** Numbers of backends by slot. */
  readonly slots: Map<number, number>;
}

/** Slot 0 of an address, port and scope is the frontend, which counts the slots after it; each of these names a backend. Addresses and ports are big-endian. */
function ciliumFrontends(maps: readonly KnownMap[], issues: Issue[]): ServiceFrontend[] {
  const services = maps.find(({ layout }) => layout.role === 'cilium-services');
  if (services === undefined) return [];
  const { map, layout } = services;
  const backends = ciliumBackends(maps);
  const found = new Map<string, { readonly key: Buffer; readonly service: CiliumService }>();
  for (const { key, value } of [...map.entries].sort((a, b) => slotOf(a.key, layout.family) - slotOf(b.key, layout.family))) {
    const slot = slotOf(key, layout.family);
    const name = nameOf(key, layout.family);
    if (slot === 0) found.set(name, { key, service: { count: value.readUInt16LE(4), flags: value.readUInt8(8), slots: new Map() } });
    else found.get(name)?.service.slots.set(slot, value.readUInt32LE(0));
  }
  return [...found.values()].map(({ key, service }) => ciliumFrontend({ map, key, service, family: layout.family, backends, issues }));
}

const slotOf = (key: Buffer, family: Family): number => key.readUInt16LE(addressBytes(family) + 2);

function nameOf(key: Buffer, family: Family): string {
  const at = addressBytes(family);
  return `${key.toString('hex', 0, at + 2)} ${key.readUInt8(at + 4)} ${key.readUInt8(at + 5)}`;
}

interface CiliumEntry {
  readonly map: RawMap;
  readonly key: Buffer;
  readonly service: CiliumService;
  readonly family: Family;
  readonly backends: ReadonlyMap<number, CiliumBackend>;
  readonly issues: Issue[];
}

function ciliumFrontend({ map, key, service, family, backends, issues }: CiliumEntry): ServiceFrontend {
  const at = addressBytes(family);
  const address = addressAt(key, 0, family);
  const protocol = key.readUInt8(at + 4);
  const own: ServiceBackend[] = [];
  for (let slot = 1; slot <= service.count; slot++) {
    const number = service.slots.get(slot);
    const backend = number === undefined ? undefined : backends.get(number);
    if (backend === undefined)
      issues.push({ line: map.line, text: map.name, reason: `a frontend names backend ${number ?? `of slot ${slot}`}, which no map of backends has` });
    else if (backend.active) own.push({ address: backend.address, port: backend.port });
  }
  return {
    program: 'Cilium',
    map: map.name,
    family,
    address: address === 0n ? 'any' : address,
    port: key.readUInt16BE(at),
    protocols: protocol === 0 ? everyProtocol : [protocol],
    scope: key.readUInt8(at + 5) === 1 ? 'internal' : 'external',
    nodePort: (service.flags & flagNodePort) !== 0,
    restricted: false,
    backends: own,
  };
}

interface CiliumBackend extends ServiceBackend {
  readonly active: boolean;
}

/** Of several versions of the map the latest counts: a Cilium that was upgraded leaves the earlier one until nothing uses it. */
function ciliumBackends(maps: readonly KnownMap[]): ReadonlyMap<number, CiliumBackend> {
  const versions = maps.filter(({ layout }) => layout.role === 'cilium-backends').sort((a, b) => (a.map.name < b.map.name ? -1 : 1));
  const latest = versions.findLast(({ map }) => map.entries.length > 0);
  if (latest === undefined) return new Map();
  const { map, layout } = latest;
  const at = addressBytes(layout.family);
  return new Map(
    map.entries.map(({ key, value }) => [
      map.keySize === 2 ? key.readUInt16LE(0) : key.readUInt32LE(0),
      { address: addressAt(value, 0, layout.family), port: value.readUInt16BE(at), active: (value.readUInt8(at + 3) & stateMask) === 0 },
    ]),
  );
}

// ---- Calico ----

/** A count that means: drop. */
const blackHole = 0xffff_ffff;
const flagExternalLocal = 1;

/**
 * A frontend has a number and counts its backends, those of the node first; `number, ordinal` leads to each. Addresses are big-endian, ports little-endian.
 * Frontends of 8 bytes have no source; the later ones are prefixes, longer than without a source where only some clients are served.
 */
function calicoFrontends(maps: readonly KnownMap[], issues: Issue[]): ServiceFrontend[] {
  const versions = maps.filter(({ layout }) => layout.role === 'calico-frontends').sort((a, b) => (a.map.name < b.map.name ? -1 : 1));
  const latest = versions.findLast(({ map }) => map.entries.length > 0);
  if (latest === undefined) return [];
  const backends = calicoBackends(maps);
  return latest.map.entries.map(({ key, value }) => calicoFrontend({ map: latest.map, key, value, family: latest.layout.family, backends, issues }));
}

interface CalicoEntry {
  readonly map: RawMap;
  readonly key: Buffer;
  readonly value: Buffer;
  readonly family: Family;
  readonly backends: ReadonlyMap<string, ServiceBackend>;
  readonly issues: Issue[];
}

function calicoFrontend({ map, key, value, family, backends, issues }: CalicoEntry): ServiceFrontend {
  const start = map.keySize === 8 ? 0 : 4;
  const at = start + addressBytes(family);
  const address = addressAt(key, start, family);
  const [id, count, local] = [value.readUInt32LE(0), value.readUInt32LE(4), value.readUInt32LE(8)];
  const own = count === blackHole ? [] : backendsOf({ map, id, count, backends, issues });
  const flags = map.valueSize === 20 ? value.readUInt32LE(16) : 0;
  const everyAddress = (1n << BigInt(addressBytes(family) * 8)) - 1n;
  return {
    program: 'Calico',
    map: map.name,
    family,
    address: address === everyAddress ? 'any' : address,
    port: key.readUInt16LE(at),
    protocols: [key.readUInt8(at + 2)],
    scope: 'external',
    restricted: start === 4 && key.readUInt32LE(0) > (addressBytes(family) + 3) * 8,
    backends: own,
    ...(flags & flagExternalLocal ? { localBackends: own.slice(0, local) } : {}),
  };
}

interface Numbered {
  readonly map: RawMap;
  readonly id: number;
  readonly count: number;
  readonly backends: ReadonlyMap<string, ServiceBackend>;
  readonly issues: Issue[];
}

/** More backends than one Service has; a count beyond it is none. */
const backendsMax = 65_536;

function backendsOf({ map, id, count, backends, issues }: Numbered): ServiceBackend[] {
  const own: ServiceBackend[] = [];
  for (let ordinal = 0; ordinal < Math.min(count, backendsMax); ordinal++) {
    const backend = backends.get(`${id} ${ordinal}`);
    if (backend === undefined) {
      issues.push({ line: map.line, text: map.name, reason: `a frontend has ${count} backends of number ${id}, and no map of backends has the ${ordinal}th` });
      break;
    }
    own.push(backend);
  }
  return own;
}

function calicoBackends(maps: readonly KnownMap[]): ReadonlyMap<string, ServiceBackend> {
  const found = maps.find(({ layout }) => layout.role === 'calico-backends');
  if (found === undefined) return new Map();
  const { family } = found.layout;
  return new Map(
    found.map.entries.map(({ key, value }) => [
      `${key.readUInt32LE(0)} ${key.readUInt32LE(4)}`,
      { address: addressAt(value, 0, family), port: value.readUInt16LE(addressBytes(family)) },
    ]),
  );
}
