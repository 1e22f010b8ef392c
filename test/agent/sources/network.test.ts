// Interfaces, neighbours, offloads, sockets, settings, counters and connections against small programs: what stays the same text while the network does, and
// what becomes of a tool that is missing, old or broken.
import { readFileSync } from 'node:fs';
import t from 'tap';
import { counters } from '../../../agent/sources/counters.ts';
import { flowsMax, steadyFlows } from '../../../agent/sources/flows.parse.ts';
import { connectionsOf, flows } from '../../../agent/sources/flows.ts';
import { steadyInterfaces } from '../../../agent/sources/interfaces.parse.ts';
import { interfaces } from '../../../agent/sources/interfaces.ts';
import { socketAddress, socketLines, steadySockets } from '../../../agent/sources/listeners.parse.ts';
import { listeners } from '../../../agent/sources/listeners.ts';
import { neighbours } from '../../../agent/sources/neighbours.ts';
import { offloads } from '../../../agent/sources/offloads.ts';
import { sysctls } from '../../../agent/sources/sysctls.ts';
import { parseListeners } from '../../../shared/netfilter/host.parse.ts';
import { type SourceCase, scriptedMachine, testSources } from './machine.ts';

const tunnel = JSON.stringify([
  { ifname: 'eth0', addr_info: [{ family: 'inet', local: '192.0.2.1', prefixlen: 24 }] },
  { ifname: 'flannel.1', linkinfo: { info_kind: 'vxlan' }, addr_info: [] },
]);
const routes = JSON.stringify([
  { dst: 'default', gateway: '192.0.2.254', dev: 'eth0' },
  { dst: '10.244.2.0/24', gateway: '10.244.2.0', dev: 'flannel.1' },
]);
const cat = (text: string) => `cat <<'END'\n${text}\nEND`;
const entry = (dst: string, dev: string, state: string) => ({ dst, dev, lladdr: '02:00:00:00:00:02', state: [state] });
const tracked = { '/proc/sys/net/netfilter/nf_conntrack_count': '3\n' };
const udp =
  'udp      17 29 src=203.0.113.9 dst=192.0.2.1 sport=40000 dport=30999 src=10.244.2.5 dst=192.0.2.1 sport=53 dport=40000 [ASSURED] mark=0 use=1\nudp      17 9 src=10.244.1.5 dst=10.96.0.10 sport=40001 dport=53 src=10.244.1.2 dst=10.244.1.5 sport=53 dport=40001 mark=0 use=1\n';
const udp6 = 'udp      17 29 src=2001:db8::9 dst=2001:db8::1 sport=40000 dport=30999 src=fd00::5 dst=2001:db8::1 sport=53 dport=40000 mark=0 use=1';
const bothFamilies = JSON.stringify([{ ifname: 'eth0', addr_info: [{ local: '192.0.2.1' }, { local: '2001:db8::1' }] }]);

const cases: readonly SourceCase[] = [
  {
    name: 'an ip without -j',
    source: interfaces,
    programs: { ip: 'echo "Option \\"-j\\" is unknown, try \\"ip -help\\"." >&2; exit 255' },
    expected: { outcome: 'failed', reason: /is unknown/ },
  },
  { name: 'text for JSON', source: interfaces, programs: { ip: 'echo "1: lo: <LOOPBACK,UP>"' }, expected: { outcome: 'failed', reason: /no JSON list/ } },
  { name: 'killed in the middle', source: interfaces, programs: { ip: "printf '[{'; kill -9 $$" }, expected: { outcome: 'failed', reason: /SIGKILL/ } },
  { name: 'not installed', source: interfaces, expected: { outcome: 'absent' } },
  { name: 'no tunnel', source: neighbours, known: { 'ip-addr.json': '[]' }, expected: { outcome: 'absent' } },
  {
    name: 'of a tunnel and of gateways',
    source: neighbours,
    known: { 'ip-addr.json': tunnel, 'ip-route.json': routes },
    programs: {
      ip: cat(JSON.stringify([entry('192.0.2.254', 'eth0', 'STALE'), entry('192.0.2.77', 'eth0', 'FAILED'), entry('10.244.2.0', 'flannel.1', 'PERMANENT')])),
      bridge: cat(
        JSON.stringify([
          { mac: '33:33:00:00:00:01', ifname: 'eth0', flags: ['self'], state: 'permanent' },
          { mac: '02:00:00:00:00:02', ifname: 'flannel.1', dst: '192.0.2.2', flags: ['self'], state: 'permanent' },
        ]),
      ),
    },
    read: ['ip-neigh.json', 'bridge-fdb.json'],
    expected: { outcome: 'facts' },
    texts: {
      'ip-neigh.json':
        '[{"dst":"10.244.2.0","dev":"flannel.1","lladdr":"02:00:00:00:00:02","state":["PERMANENT"]},\n{"dst":"192.0.2.254","dev":"eth0","lladdr":"02:00:00:00:00:02","state":["REACHABLE"]}]\n',
      'bridge-fdb.json': '[{"mac":"02:00:00:00:00:02","ifname":"flannel.1","dst":"192.0.2.2","state":"permanent"}]\n',
    },
  },
  {
    name: 'no bridge program: neighbours all the same',
    source: neighbours,
    known: { 'ip-addr.json': tunnel },
    programs: { ip: 'echo "[]"' },
    read: ['ip-neigh.json'],
    expected: { outcome: 'facts' },
  },
  {
    name: 'of the tunnel and the device below it',
    source: offloads,
    known: { 'ip-addr.json': tunnel, 'ip-route.json': routes },
    programs: {
      ethtool:
        'test "$1" = -k && printf "Features for $2:\\nrx-checksumming: on\\ntx-checksum-ip-generic: off [requested on]\\n\\tntuple-filters: off [fixed]\\n"; exit 0',
    },
    read: ['ethtool-k.txt'],
    expected: { outcome: 'facts' },
    texts: {
      'ethtool-k.txt':
        'Features for flannel.1:\nrx-checksumming: on\ntx-checksum-ip-generic: off [requested on]\nFeatures for eth0:\nrx-checksumming: on\ntx-checksum-ip-generic: off [requested on]\n',
    },
  },
  { name: 'no ethtool', source: offloads, known: { 'ip-addr.json': tunnel }, expected: { outcome: 'absent', reason: 'ethtool is not installed' } },
  {
    name: 'the ethtool of k3s',
    source: offloads,
    known: { 'ip-addr.json': tunnel },
    lists: { '/var/lib/rancher/k3s/data/current/bin': ['ethtool'] },
    programs: { '/var/lib/rancher/k3s/data/current/bin/ethtool': 'printf "Features for $2:\\ntx-checksumming: on\\n"' },
    read: ['ethtool-k.txt'],
    expected: { outcome: 'facts' },
  },
  {
    name: 'names of processes with spaces, newlines and escapes',
    source: listeners,
    programs: {
      ss: `printf 'tcp   LISTEN 3      128    0.0.0.0:80       0.0.0.0:*    users:(("my \\033[31m\\nname",pid=7,fd=3))\\ntcp LISTEN 0 5 [::]:81 [::]:* \\n'`,
    },
    read: ['ss.txt'],
    expected: { outcome: 'facts' },
    texts: { 'ss.txt': 'tcp LISTEN 0 128 0.0.0.0:80 0.0.0.0:* users:(("my \\x1b[31m\\nname",pid=7,fd=3))\ntcp LISTEN 0 5 [::]:81 [::]:*\n' },
  },
  {
    name: 'SCTP only where the kernel has it',
    source: listeners,
    lists: { '/proc/net/sctp': ['eps'] },
    programs: { ss: 'echo "sctp LISTEN 0 0 $2:1 *:*"' },
    read: ['ss.txt'],
    expected: { outcome: 'facts' },
    texts: { 'ss.txt': 'sctp LISTEN 0 0 -tulnpS:1 *:*\n' },
  },
  { name: 'garbage', source: listeners, programs: { ss: 'echo what' }, expected: { outcome: 'failed', reason: /no list of sockets: "what"/ } },
  {
    name: 'no ss: the kernel lists them, without names',
    source: listeners,
    files: {
      '/proc/net/tcp':
        '  sl  local_address rem_address   st tx_queue\n   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 1\n   1: 0100007F:1F90 0100007F:9C40 01 00000000:00000000 00:00000000 00000000  1000 0 1\n',
      '/proc/net/udp6':
        '  sl  local_address\n  12: 00000000000000000000000000000000:14E9 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000\n',
    },
    read: ['ss.txt'],
    expected: { outcome: 'facts', lacks: /names of processes/ },
    texts: { 'ss.txt': 'tcp LISTEN 0 0 127.0.0.1:8080 0.0.0.0:*\nudp UNCONN 0 0 [::]:5353 [::]:*\n' },
  },
  { name: 'no ss and no list', source: listeners, expected: { outcome: 'failed' } },
  {
    name: 'no connection tracked: nobody is asked',
    source: flows,
    programs: { conntrack: 'exit 9' },
    files: { '/proc/sys/net/netfilter/nf_conntrack_count': '0\n' },
    read: ['conntrack.txt'],
    expected: { outcome: 'facts' },
    texts: { 'conntrack.txt': '' },
  },
  { name: 'nothing tracked', source: flows, programs: { conntrack: 'exit 9' }, expected: { outcome: 'absent' } },
  {
    name: 'those to the node, steady',
    source: flows,
    files: tracked,
    known: { 'ip-addr.json': tunnel },
    programs: { conntrack: `test "$*" = -L && ${cat(udp.trimEnd())}` },
    read: ['conntrack.txt'],
    expected: { outcome: 'facts' },
    texts: {
      'conntrack.txt': 'udp 17 0 src=203.0.113.9 dst=192.0.2.1 sport=40000 dport=30999 src=10.244.2.5 dst=192.0.2.1 sport=53 dport=40000 [ASSURED] mark=0\n',
    },
  },
  {
    name: 'of both families at once',
    source: flows,
    files: tracked,
    known: { 'ip-addr.json': bothFamilies },
    programs: { conntrack: `test "$*" = -L && ${cat(`${udp}${udp6}`)}` },
    read: ['conntrack.txt'],
    expected: { outcome: 'facts' },
    texts: {
      'conntrack.txt':
        'udp 17 0 src=2001:db8::9 dst=2001:db8::1 sport=40000 dport=30999 src=fd00::5 dst=2001:db8::1 sport=53 dport=40000 mark=0\nudp 17 0 src=203.0.113.9 dst=192.0.2.1 sport=40000 dport=30999 src=10.244.2.5 dst=192.0.2.1 sport=53 dport=40000 [ASSURED] mark=0\n',
    },
  },
  {
    name: 'by a conntrack that lists IPv4 alone unless it is asked for more',
    source: flows,
    files: tracked,
    known: { 'ip-addr.json': bothFamilies },
    programs: { conntrack: `case "$*" in -L) ${cat(udp.trimEnd())}\n;; "-L -f ipv6 -p udp") ${cat(udp6)}\n;; *) exit 9 ;; esac` },
    read: ['conntrack.txt'],
    expected: { outcome: 'facts' },
    texts: {
      'conntrack.txt':
        'udp 17 0 src=2001:db8::9 dst=2001:db8::1 sport=40000 dport=30999 src=fd00::5 dst=2001:db8::1 sport=53 dport=40000 mark=0\nudp 17 0 src=203.0.113.9 dst=192.0.2.1 sport=40000 dport=30999 src=10.244.2.5 dst=192.0.2.1 sport=53 dport=40000 [ASSURED] mark=0\n',
    },
  },
  {
    name: 'of many, those alone that may be stale',
    source: flows,
    files: { '/proc/sys/net/netfilter/nf_conntrack_count': '5001\n' },
    known: { 'ip-addr.json': tunnel },
    programs: { conntrack: `case "$*" in "-L -p udp") ${cat(udp.trimEnd())}\n;; "-L -p tcp --state SYN_SENT") ;; *) exit 9 ;; esac` },
    read: ['conntrack.txt'],
    expected: { outcome: 'facts' },
    texts: {
      'conntrack.txt': 'udp 17 0 src=203.0.113.9 dst=192.0.2.1 sport=40000 dport=30999 src=10.244.2.5 dst=192.0.2.1 sport=53 dport=40000 [ASSURED] mark=0\n',
    },
  },
  {
    name: 'no conntrack: the kernel lists them',
    source: flows,
    files: { ...tracked, '/proc/net/nf_conntrack': `ipv4     2 ${udp}` },
    known: { 'ip-addr.json': tunnel },
    read: ['conntrack.txt'],
    expected: { outcome: 'facts' },
    texts: {
      'conntrack.txt': 'udp 17 0 src=203.0.113.9 dst=192.0.2.1 sport=40000 dport=30999 src=10.244.2.5 dst=192.0.2.1 sport=53 dport=40000 [ASSURED] mark=0\n',
    },
  },
  {
    name: 'refused',
    source: flows,
    files: tracked,
    programs: { conntrack: 'echo "Operation failed: Operation not permitted" >&2; exit 1' },
    expected: { outcome: 'failed', reason: /not permitted/ },
  },
  {
    name: 'a kernel without the list in /proc',
    source: counters,
    files: { ...tracked, '/proc/net/netstat': 'TcpExt: ListenOverflows ListenDrops IPReversePathFilter\nTcpExt: 3 4 5\n' },
    programs: { conntrack: 'test "$*" = -S && echo "cpu=0 insert_failed=2 drop=1 early_drop=0 invalid=0"' },
    read: ['counters.txt'],
    expected: { outcome: 'facts' },
    texts: {
      'counters.txt':
        'nf_conntrack_insert_failed = 2\nnf_conntrack_drop = 1\nnf_conntrack_early_drop = 0\nnf_conntrack_invalid = 0\nip_reverse_path_filter = 5\ntcp_listen_overflows = 3\ntcp_listen_drops = 4\n',
    },
  },
  {
    name: 'a hundred pods do not push the devices of the node out',
    source: sysctls,
    lists: { '/proc/sys/net/ipv4/conf': ['all', ...Array.from({ length: 100 }, (_, index) => `cali${index}`), 'eth0'] },
    files: { '/proc/sys/net/ipv4/conf/eth0/rp_filter': '1\n' },
    read: ['sysctl.txt'],
    expected: { outcome: 'facts' },
    texts: { 'sysctl.txt': 'net.ipv4.conf.eth0.rp_filter = 1\n' },
  },
];
testSources(cases);

t.test('interfaces: the kind, the bridge port and the addresses stay, what counts down does not', async (t) => {
  const raw = [
    {
      ifindex: 4,
      ifname: 'v0',
      mtu: 1500,
      master: 'br0',
      promiscuity: 1,
      linkinfo: { info_kind: 'veth', info_slave_kind: 'bridge', info_slave_data: { state: 'forwarding', hairpin: false, hold_timer: 0.3 } },
      addr_info: [{ family: 'inet6', local: 'fe80::1', prefixlen: 64, valid_life_time: 4294967295 }],
    },
  ];
  t.strictSame(JSON.parse(steadyInterfaces(JSON.stringify(raw)) ?? ''), [
    {
      ifindex: 4,
      ifname: 'v0',
      mtu: 1500,
      master: 'br0',
      linkinfo: { info_kind: 'veth', info_slave_kind: 'bridge', info_slave_data: { state: 'forwarding', hairpin: false } },
      addr_info: [{ family: 'inet6', local: 'fe80::1', prefixlen: 64 }],
    },
  ]);
  t.equal(steadyInterfaces('no'), undefined);
});

t.test('sockets of /proc/net', async (t) => {
  t.strictSame(socketAddress('0100007F:1F90'), { family: 4, address: '127.0.0.1', port: 8080 });
  t.strictSame(socketAddress('B80D01200000000067452301EFCDAB89:0050'), { family: 6, address: '2001:db8::123:4567:89ab:cdef', port: 80 });
  t.equal(socketAddress('nonsense'), undefined);
  t.strictSame(socketLines('nonsense\n  0: x\n', 'tcp'), []);
});

t.test('a name of a process that looks like a holder names nobody', async (t) => {
  const holders = (users: string) => parseListeners(`tcp LISTEN 0 5 0.0.0.0:80 0.0.0.0:* users:(${users})\n`).items[0]?.processes;
  t.strictSame(holders('("a b",pid=7,fd=3),("c",pid=8,fd=4)'), [
    { comm: 'a b', pid: 7 },
    { comm: 'c', pid: 8 },
  ]);
  t.strictSame(holders('("",pid=1,fd=3)",pid=4711,fd=5)'), [{ comm: '",pid=1,fd=3)', pid: 4711 }]);
  t.strictSame(holders('("",pid=1,fd=2),(",pid=4711,fd=5)'), []);
});

t.test('real lists of ss stay what they are', async (t) => {
  const text = readFileSync(new URL('../../fixtures/01-healthy-iptables-nft/ss.txt', import.meta.url), 'utf8');
  t.strictSame(parseListeners(steadySockets(text)).items, parseListeners(text).items);
});

t.test('no more connections are kept than the limit', async (t) => {
  const line = (port: number) => `udp 17 29 src=203.0.113.9 dst=192.0.2.1 sport=${port} dport=30999 src=10.244.2.5 dst=192.0.2.1 sport=53 dport=${port}`;
  for (const [count, left] of [
    [flowsMax - 1, 0],
    [flowsMax, 0],
    [flowsMax + 1, 1],
  ] as const)
    t.equal(steadyFlows(Array.from({ length: count }, (_, index) => line(index + 1)).join('\n'), new Set(['192.0.2.1'])).left, left);
});

t.test('connections of one NodePort', async (t) => {
  const machine = scriptedMachine(t.testdir({}), {
    programs: { conntrack: `test "$*" = "-L -f ipv4 -p udp --orig-port-dst 30999" && ${cat(udp.split('\n')[0] ?? '')}` },
  });
  t.match(await connectionsOf(machine, { protocol: 'udp', family: 4, port: 30999 }), { lines: [/dport=30999/] });
  t.match(await connectionsOf(scriptedMachine(t.testdir({}), {}), { protocol: 'udp', family: 4, port: 30999 }), { error: 'conntrack is not installed' });
});
