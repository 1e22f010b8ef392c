// Look-alikes of the service maps of Cilium and Calico, byte by byte as their sources lay them out: two NodePorts' worth of frontends and backends.
import { parseAddress } from '../../../shared/model/address.ts';

export interface LookAlike {
  readonly name: string;
  readonly keySize: number;
  readonly valueSize: number;
  readonly entries: readonly (readonly [key: Buffer, value: Buffer])[];
  /** For bpftool; `hash` if absent. */
  readonly type?: 'lpm_trie';
}

/** The maps as `portreeve-bpf maps` prints them. */
export function ndjson(maps: readonly LookAlike[]): string {
  const lines = maps.flatMap(({ name, keySize, valueSize, entries }) => [
    { ev: 'map', pin: `/sys/fs/bpf/tc/globals/${name}`, type: 1, keySize, valueSize, maxEntries: 65_536 },
    ...entries.map(([key, value]) => ({ ev: 'entry', key: key.toString('hex'), value: value.toString('hex') })),
    { ev: 'map-end', pin: `/sys/fs/bpf/tc/globals/${name}`, entries: entries.length, cut: false },
  ]);
  return [...lines, { ev: 'end', maps: maps.length }].map((line) => `${JSON.stringify(line)}\n`).join('');
}

type Family = 4 | 6;
const addresses = {
  4: { node: '192.0.2.11', cluster: '10.96.0.10', any: '0.0.0.0', every: '255.255.255.255', backends: ['10.244.1.5', '10.244.2.6', '10.244.1.7'] },
  6: {
    node: 'fd00:31::11',
    cluster: 'fd00:96::a',
    any: '::',
    every: 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
    backends: ['fd00:10:244:1::5', 'fd00:10:244:2::6', 'fd00:10:244:1::7'],
  },
} as const;

const address = (family: Family, text: string): Buffer =>
  Buffer.from((parseAddress(text)?.value ?? 0n).toString(16).padStart(family === 4 ? 8 : 32, '0'), 'hex');
const bytes = (...parts: readonly (Buffer | readonly number[])[]): Buffer => Buffer.concat(parts.map((part) => Buffer.from(part as Buffer)));
const be16 = (value: number): Buffer => Buffer.from([value >> 8, value & 255]);
const le16 = (value: number): Buffer => Buffer.from([value & 255, value >> 8]);
const le32 = (value: number): Buffer => {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value);
  return out;
};

/** `sources`: as Cilium writes them for NodePort 30080/tcp with two active backends and one that terminates, and a ClusterIP. */
export function ciliumMaps(family: Family, version: 'v1' | 'v2' | 'v3'): readonly LookAlike[] {
  const own = addresses[family];
  const key = (text: string, port: number, slot: number): Buffer => bytes(address(family, text), be16(port), le16(slot), [6, 0, 0, 0]);
  const frontend = (count: number, flags: number): Buffer => bytes(le32(0), le16(count), be16(7), [flags, 0, 0, 0]);
  const slot = (backend: number): Buffer => bytes(le32(backend), le16(0), be16(7), [0, 0, 0, 0]);
  const nodePort = 0x42;
  const services = [own.node, own.any].flatMap((text) => [
    [key(text, 30080, 0), frontend(3, nodePort)] as const,
    ...[1, 2, 3].map((number) => [key(text, 30080, number), slot(number)] as const),
  ]);
  const backends = own.backends.map((text, i) => {
    const state = i === 2 ? 1 : 0;
    const record = bytes(address(family, text), be16(8080), [6, state], version === 'v3' ? [0, 0, 0, 0] : []);
    return [version === 'v1' ? le16(i + 1) : le32(i + 1), record] as const;
  });
  const size = (family === 4 ? 4 : 16) + 4;
  return [
    {
      name: `cilium_lb${family}_services_v2`,
      keySize: size + 4,
      valueSize: 12,
      entries: [...services, [key(own.cluster, 80, 0), frontend(1, 0)], [key(own.cluster, 80, 1), slot(1)]],
    },
    {
      name: `cilium_lb${family}_backends${version === 'v1' ? '' : `_${version}`}`,
      keySize: version === 'v1' ? 2 : 4,
      valueSize: size + (version === 'v3' ? 4 : 0),
      entries: backends,
    },
  ];
}

/** As Calico writes them for NodePort 30080/tcp with three backends, two of them on the node, and a ClusterIP. `local`: outside clients get the node's own alone. */
export function calicoMaps(family: Family, version: 1 | 2 | 3, local = false): readonly LookAlike[] {
  const own = addresses[family];
  const prefix = ((family === 4 ? 4 : 16) + 3) * 8;
  const key = (text: string, port: number): Buffer =>
    version === 1
      ? bytes(address(family, text), le16(port), [6, 0])
      : bytes(le32(prefix), address(family, text), le16(port), [6], Buffer.alloc(family === 4 ? 4 : 16), [0]);
  const value = (id: number, count: number, ownCount: number): Buffer =>
    bytes(le32(id), le32(count), le32(ownCount), le32(0), version === 3 ? le32(local ? 1 : 0) : []);
  const order = [own.backends[0], own.backends[2], own.backends[1]];
  return [
    {
      name: `cali_v${family}_nat_fe${version === 1 ? '' : version}`,
      keySize: version === 1 ? 8 : family === 4 ? 16 : 40,
      valueSize: version === 3 ? 20 : 16,
      entries: [
        [key(own.node, 30080), value(5, 3, 2)],
        [key(own.every, 30080), value(5, 3, 2)],
        [key(own.cluster, 80), value(5, 3, 2)],
      ],
      ...(version === 1 ? {} : { type: 'lpm_trie' as const }),
    },
    {
      name: `cali_v${family}_nat_be`,
      keySize: 8,
      valueSize: family === 4 ? 8 : 20,
      entries: order.map((text, i) => [bytes(le32(5), le32(i)), bytes(address(family, text), le16(8080), [0, 0])] as const),
    },
  ];
}
