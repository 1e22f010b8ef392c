// Each case gives a sound capture of a real kube-proxy one fault beside its NodePorts' own rules: addresses, tunnels, counters, processes, routes. The files are
// read as the product reads them; the finding must name the cause, and the capture without the fault must not have it.
import { added, type Edit, type EditedCase, json, replaced, sysctl, testEdited } from '../support/edited.ts';

const iptables = '01-healthy-iptables-nft';
const nftables = '02-healthy-nftables';
const k3s = '16-k3s-like-healthy';

const save = 'iptables-save.txt';
const device = (more: object): Edit => json('ip-addr.json', (list) => [...(list as object[]), { ifindex: 99, flags: ['UP'], addr_info: [], ...more }]);
const underlay = (mtu: number): Edit =>
  json('ip-addr.json', (list) => (list as { ifname: string }[]).map((each) => (each.ifname === 'eth0' ? { ...each, mtu } : each)));
const inInput = (rule: string): Edit => replaced(save, /^-A INPUT /m, `-A INPUT ${rule}\n-A INPUT `);
const counters = (...lines: readonly string[]): Edit => added('counters.txt', lines.map((line) => `${line}\n`).join(''));
const pods = (more: object): Edit => json('pods.json', (list) => ({ ...(list as object), items: [...(list as { items: object[] }).items, more] }));
const metrics = (last: number, queued: number, failures: number): Edit =>
  added(
    'kube-proxy-metrics.txt',
    `kubeproxy_sync_proxy_rules_last_timestamp_seconds ${last}\nkubeproxy_sync_proxy_rules_last_queued_timestamp_seconds ${queued}\nkubeproxy_sync_proxy_rules_iptables_restore_failures_total ${failures}\n`,
  );
const udp = (target: string, more = '') =>
  added(
    'conntrack.txt',
    `udp      17 29 src=172.31.0.100 dst=172.31.0.11 sport=40000 dport=30053 ${more}src=${target} dst=172.31.0.11 sport=5353 dport=40000 mark=0 use=1\n`,
  );
const noMasquerade = replaced(save, /^-A POSTROUTING .*KUBE-POSTROUTING\n/m, '');
const hostPortPod = {
  kind: 'Pod',
  metadata: { name: 'front', namespace: 'shop' },
  spec: { nodeName: 'node1', containers: [{ name: 'main', ports: [{ containerPort: 80, hostPort: 8081 }] }] },
  status: { phase: 'Running', podIP: '10.244.1.77' },
};
const thirdNode: Edit = json('nodes.json', (list) => ({
  ...(list as object),
  items: [...(list as { items: object[] }).items, { kind: 'Node', metadata: { name: 'node3' }, spec: { podCIDRs: ['10.244.3.0/24'] } }],
}));
const portmap = (ports: string): Edit =>
  replaced(
    save,
    /^(\*nat\n)/m,
    `$1:CNI-HOSTPORT-DNAT - [0:0]\n:CNI-DN-1 - [0:0]\n-A CNI-HOSTPORT-DNAT -p tcp -m multiport --dports ${ports} -j CNI-DN-1\n-A CNI-DN-1 -p tcp -j DNAT --to-destination 10.244.1.77:80\n`,
  );

const cases: readonly EditedCase[] = [
  {
    name: 'B17: the jump to KUBE-NODEPORTS is limited to another network',
    capture: iptables,
    edits: [replaced(save, /(-A KUBE-SERVICES )(.*-j KUBE-NODEPORTS)/, '$1-d 10.0.0.0/8 $2')],
    cause: 'B17',
    expect: { severity: 'error', symptom: 'refused', summary: /10\.0\.0\.0\/8 only: clients of 172\.31\.0\.11/ },
  },
  {
    name: 'B18: the set nodeport-ips holds an address that the node has lost',
    capture: nftables,
    edits: [['nft.json', (text) => text.replace(/("name": ?"nodeport-ips"[^}]*?"elem": ?\[)[^\]]*\]/, '$1"172.31.0.99"]')]],
    cause: 'B18',
    expect: { severity: 'error', summary: /172\.31\.0\.99, which is on none of its interfaces/ },
  },
  {
    name: 'B20: nftables mode was asked for, and its table is gone',
    capture: nftables,
    edits: [
      added('processes.json', JSON.stringify([{ pid: 7, comm: 'kube-proxy', argv: ['kube-proxy', '--proxy-mode=nftables'] }])),
      [
        'nft.json',
        (text) =>
          JSON.stringify({ nftables: (JSON.parse(text) as { nftables: unknown[] }).nftables.filter((item) => !JSON.stringify(item).includes('kube-proxy')) }),
      ],
    ],
    cause: 'B20',
    expect: { severity: 'error' },
  },
  {
    name: 'B21: POSTROUTING does not jump to KUBE-POSTROUTING',
    capture: iptables,
    edits: [noMasquerade],
    cause: 'B21',
    expect: { severity: 'error', confidence: 'certain' },
  },
  {
    name: 'B04: the last restore failed',
    capture: iptables,
    edits: [metrics(1_795_297_676, 1_795_297_976, 9)],
    cause: 'B04',
    expect: { severity: 'warning', summary: /5 min older .* 9 restores were refused/ },
    twin: [metrics(1_795_297_976, 1_795_297_676, 9)],
  },
  {
    name: 'B24: conntrack leads to a pod that is gone',
    capture: iptables,
    edits: [udp('10.244.1.99', '[UNREPLIED] ')],
    cause: 'B24',
    expect: { port: 30053, protocol: 'udp', confidence: 'certain' },
    twin: [udp('10.244.1.12')],
  },
  {
    name: 'C13: one rule stands often in INPUT',
    capture: iptables,
    edits: [replaced(save, /^-A INPUT (.*)\n/m, `${'-A INPUT $1\n'.repeat(40)}`)],
    cause: 'C13',
    expect: { severity: 'warning', summary: /at least 32 times in filter INPUT/ },
  },
  {
    name: "C20: portmap's rule for a hostPort is gone",
    capture: iptables,
    edits: [portmap('9000'), pods(hostPortPod)],
    cause: 'C20',
    expect: { severity: 'warning', remedy: [/delete pod front/] },
    twin: [portmap('8081'), pods(hostPortPod)],
  },
  {
    name: "C22: INPUT drops flannel's port",
    capture: k3s,
    edits: [device({ ifname: 'flannel.1', mtu: 1450 }), inInput('-p udp -m udp --dport 8472 -j DROP')],
    cause: 'C22',
    expect: { severity: 'error', symptom: 'timeout', remedy: ['iptables -I INPUT -p udp --dport 8472 -j ACCEPT'] },
    twin: [device({ ifname: 'flannel.1', mtu: 1450 })],
  },
  {
    name: 'D06: hairpin is off',
    capture: iptables,
    edits: [device({ ifname: 'veth9', master: 'cni0' }), added('bridge-ports.txt', 'veth9.hairpin_mode = 0\n')],
    cause: 'D06',
    expect: { severity: 'info' },
    twin: [device({ ifname: 'veth9', master: 'cni0' }), added('bridge-ports.txt', 'veth9.hairpin_mode = 1\n')],
  },
  {
    name: 'D04: route_localnet is 0',
    capture: iptables,
    edits: [sysctl('net.ipv4.conf.all.route_localnet', '0')],
    cause: 'D04',
    expect: { severity: 'info' },
  },
  {
    name: 'D07: conntrack is full',
    capture: iptables,
    edits: [
      added('conntrack-count.txt', 'nf_conntrack_count = 65536\nnf_conntrack_max = 65536\n'),
      added('conntrack-stats.txt', 'cpu=0 found=0 invalid=1 insert=0 insert_failed=0 drop=7 early_drop=0\n'),
    ],
    cause: 'D07',
    expect: { severity: 'error', evidence: [{}, { text: /At least 6 connections were dropped/ }] },
    twin: [added('conntrack-count.txt', 'nf_conntrack_count = 300\nnf_conntrack_max = 65536\n')],
  },
  {
    name: 'D08: the port range overlaps',
    capture: iptables,
    edits: [sysctl('net.ipv4.ip_local_port_range', '1024\t65535')],
    cause: 'D08',
    expect: { severity: 'warning' },
    twin: [sysctl('net.ipv4.ip_local_port_range', '1024\t65535'), sysctl('net.ipv4.ip_local_reserved_ports', '30000-32767')],
  },
  {
    name: 'D11: the tunnel is as large as the network below',
    capture: iptables,
    edits: [underlay(1500), device({ ifname: 'flannel.1', mtu: 1500 })],
    cause: 'D11',
    expect: { severity: 'warning' },
    twin: [underlay(1500), device({ ifname: 'flannel.1', mtu: 1450 })],
  },
  {
    name: 'D12: conntrack could not insert',
    capture: iptables,
    edits: [counters('nf_conntrack_insert_failed = 900')],
    cause: 'D12',
    expect: { severity: 'info' },
    twin: [counters('nf_conntrack_insert_failed = 2')],
  },
  {
    name: 'D22: softnet drops',
    capture: iptables,
    edits: [counters('softnet_dropped = 5000')],
    cause: 'D22',
    expect: { severity: 'info' },
    twin: [counters('softnet_dropped = 0')],
  },
  {
    name: 'D14: nm-cloud-setup has made rules',
    capture: iptables,
    edits: [json('ip-rule.json', (list) => [...(list as object[]), { priority: 30400, src: '172.31.0.11', table: '30400' }])],
    cause: 'D14',
    expect: {},
  },
  {
    name: 'D17: one network falls to the default route',
    capture: iptables,
    edits: [thirdNode],
    cause: 'D17',
    expect: { severity: 'warning', summary: /node3 \(10\.244\.3\.0\/24\)/ },
  },
];

testEdited(cases);
