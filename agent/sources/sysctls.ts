// Kernel settings that decide whether a NodePort answers, read from /proc/sys and written as `name = value` lines, as sysctl(8) prints them.
import type { Machine } from '../host/machine.ts';
import type { Reading, Source } from './source.ts';

/** Names without a part for the interface. What a kernel does not have (bridge, IPv6, conntrack) is left out. */
const fixed = [
  'net.ipv4.ip_forward',
  'net.ipv4.ip_local_port_range',
  'net.ipv4.ip_local_reserved_ports',
  'net.ipv4.ip_nonlocal_bind',
  'net.ipv4.tcp_l3mdev_accept',
  'net.ipv4.vs.conntrack',
  'net.ipv4.vs.conn_reuse_mode',
  'net.ipv4.vs.expire_nodest_conn',
  'net.ipv4.vs.expire_quiescent_template',
  'net.ipv6.bindv6only',
  'net.ipv6.conf.all.disable_ipv6',
  'net.bridge.bridge-nf-call-iptables',
  'net.bridge.bridge-nf-call-ip6tables',
  'net.bridge.bridge-nf-filter-vlan-tagged',
  'net.netfilter.nf_conntrack_max',
  'net.netfilter.nf_conntrack_buckets',
  'net.netfilter.nf_conntrack_tcp_be_liberal',
  'net.netfilter.nf_conntrack_tcp_loose',
  // There where the kernel has SCTP.
  'net.sctp.auth_enable',
] as const;

/** Names below net.ipv4.conf.INTERFACE and net.ipv6.conf.INTERFACE. */
const perInterface = {
  ipv4: ['forwarding', 'rp_filter', 'route_localnet', 'accept_local', 'src_valid_mark', 'arp_ignore', 'arp_announce'],
  ipv6: ['forwarding', 'disable_ipv6', 'accept_ra'],
} as const;

/** A node with many pods has an interface for each; those that the pods' plugin makes all alike are of no use one by one, so they come last. */
const interfacesMax = 64;
const ofPod = /^(?:veth|cali|lxc|eni|tap|gke|azv|nic|vnet)/;

export const sysctls: Source = {
  name: 'sysctls',
  needs: { commands: [], capabilities: [] },
  files: ['sysctl.txt'],
  wakes: ['netconf', 'link', 'sysctl'],
  // rp_filter and forwarding come with events, the others do not.
  pollMs: () => 5_000,
  read: readSysctls,
};

async function readSysctls(machine: Machine): Promise<Reading> {
  const names = [
    ...fixed.map((name) => ({ name, path: name.replaceAll('.', '/') })),
    ...(await interfaceNames(machine, 'ipv4')),
    ...(await interfaceNames(machine, 'ipv6')),
  ];
  const values = await Promise.all(names.map(({ path }) => machine.read(`/proc/sys/${path}`)));
  const lines = names.flatMap(({ name }, i) => {
    const value = values[i];
    return value?.kind === 'done' ? [`${name} = ${value.content.toString('utf8').trimEnd()}\n`] : [];
  });
  if (lines.length === 0) return { outcome: 'failed', reason: '/proc/sys/net cannot be read' };
  return {
    outcome: 'facts',
    files: new Map([['sysctl.txt', Buffer.from(lines.join(''))]]),
    commands: { 'sysctl.txt': '/proc/sys/net, as sysctl(8) prints it' },
  };
}

// As sysctl(8) does, a dot in an interface's name (eth0.100) becomes a slash in the setting's name.
async function interfaceNames(machine: Machine, family: 'ipv4' | 'ipv6'): Promise<{ name: string; path: string }[]> {
  const found = await machine.list(`/proc/sys/net/${family}/conf`);
  const kept = [
    'all',
    'default',
    ...found
      .filter((each) => each !== 'all' && each !== 'default')
      .sort((a, b) => Number(ofPod.test(a)) - Number(ofPod.test(b)) || (a < b ? -1 : 1))
      .slice(0, interfacesMax),
  ].filter((each) => found.includes(each));
  return kept.flatMap((each) =>
    perInterface[family].map((setting) => ({
      name: `net.${family}.conf.${each.replaceAll('.', '/')}.${setting}`,
      path: `net/${family}/conf/${each}/${setting}`,
    })),
  );
}
