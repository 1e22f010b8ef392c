// A small node for tests of the walk: eth0 to the clients, cni0 to a pod, eth1 to a remote pod, and whatever rules a test gives.
import { parseAddress, single } from '../../shared/model/address.ts';
import { readNode } from '../../shared/netfilter/node.read.ts';
import type { NodeState } from '../../shared/netfilter/node.ts';
import type { Packet } from '../../shared/netfilter/packet.ts';
import { type Walk, walk } from '../../shared/netfilter/walk.ts';

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

const device = (ifindex: number, ifname: string, addresses: readonly [string, number][]): object => ({
  ifindex,
  ifname,
  flags: ifname === 'lo' ? ['LOOPBACK', 'UP'] : ['UP'],
  addr_info: addresses.map(([local, prefixlen]) => ({ family: local.includes(':') ? 'inet6' : 'inet', local, prefixlen })),
});

const host = {
  'ip-addr.json': json([
    device(1, 'lo', [
      ['127.0.0.1', 8],
      ['::1', 128],
    ]),
    device(2, 'eth0', [
      ['10.9.0.1', 24],
      ['fd09::1', 64],
    ]),
    device(3, 'cni0', [['10.244.1.1', 24]]),
    device(4, 'eth1', [['10.8.0.1', 24]]),
  ]),
  'ip-route.json': json([
    { dst: 'default', gateway: '10.9.0.254', dev: 'eth0' },
    { dst: '10.9.0.0/24', dev: 'eth0' },
    { dst: '10.244.1.0/24', dev: 'cni0' },
    { dst: '10.244.2.0/24', gateway: '10.8.0.2', dev: 'eth1' },
    { dst: '10.8.0.0/24', dev: 'eth1' },
    ...['10.9.0.1', '10.244.1.1', '10.8.0.1'].map((dst) => ({ type: 'local', dst, dev: 'eth0', table: 'local' })),
    { type: 'local', dst: '127.0.0.0/8', dev: 'lo', table: 'local' },
  ]),
  'ip6-route.json': json([
    { dst: 'fd09::/64', dev: 'eth0' },
    { type: 'local', dst: 'fd09::1', dev: 'eth0', table: 'local' },
  ]),
  'ss.txt': Buffer.from('tcp LISTEN 0 128 *:2222 *:* users:(("sshd",pid=7,fd=3))\n'),
  'sysctl.txt': Buffer.from('net.ipv4.ip_forward = 1\nnet.ipv6.conf.all.forwarding = 1\nnet.ipv4.conf.all.rp_filter = 0\n'),
};

/** A node with files of a capture added to, or put in place of, those of the small host. */
export function nodeWith(files: Readonly<Record<string, string>>): NodeState {
  const given = Object.fromEntries(Object.entries(files).map(([name, text]) => [name, Buffer.from(text)]));
  return readNode(new Map(Object.entries({ ...host, ...given })), { node: 'node1' });
}

const builtin: Readonly<Record<string, string>> = {
  raw: 'PREROUTING OUTPUT',
  mangle: 'PREROUTING INPUT FORWARD OUTPUT POSTROUTING',
  nat: 'PREROUTING INPUT OUTPUT POSTROUTING',
  filter: 'INPUT FORWARD OUTPUT',
};

/** `iptables-save` text of one table: rules as `-A CHAIN …`, policies as `FORWARD DROP`; user chains are those that are named. */
export function save(table: string, lines: readonly string[]): string {
  const policies = new Map((builtin[table] ?? '').split(' ').map((chain) => [chain, 'ACCEPT']));
  for (const line of lines) if (!line.startsWith('-')) policies.set(line.split(' ')[0] as string, line.split(' ')[1] ?? '-');
  const rules = lines.filter((line) => line.startsWith('-'));
  for (const rule of rules) if (!policies.has(rule.split(' ')[1] as string)) policies.set(rule.split(' ')[1] as string, '-');
  return [`*${table}`, ...[...policies].map(([chain, policy]) => `:${chain} ${policy} [0:0]`), ...rules, 'COMMIT', ''].join('\n');
}

/** Walks one packet: `{ from, to, port }` with TCP from outside unless said otherwise; `from` may be left out for a good part of the outside world. */
export function send(node: NodeState, packet: Partial<Packet> & { readonly from?: string; readonly to: string; readonly port: number }): Walk {
  const destination = parseAddress(packet.to);
  const source = packet.from === undefined ? undefined : parseAddress(packet.from);
  if (destination === undefined) throw new Error(packet.to);
  const { from: _, to: __, port, ...rest } = packet;
  const sources = source === undefined ? [{ lo: 0x01000000n, hi: 0x09ffffffn }] : single(source.value);
  const plain: Packet = {
    vantage: 'external',
    family: destination.family,
    protocol: 6,
    sources,
    sourcePort: 40000,
    destination: destination.value,
    destinationPort: port,
  };
  return walk(node, { ...plain, ...rest }, { traced: false, reply: true });
}
