// One sound capture of a real kube-proxy for each case, and one fault in the objects, rules, settings or processes that were captured with it.
import { added, type Edit, item, type Json, json, more, replaced, sysctl, testEdited, withRulesOf } from '../support/edited.ts';

const iptables = '01-healthy-iptables-nft';
const nftables = '02-healthy-nftables';
const legacy = '03-healthy-iptables-legacy';
const ipvs = 'ipvs-healthy';
const save = 'iptables-save.txt';
const slices = 'endpointslices.json';
const services = 'services.json';

const eachEndpoint =
  (by: (endpoint: Json) => Json) =>
  (slice: Json): Json => ({ ...slice, endpoints: slice.endpoints.map(by) });
const spec =
  (by: (spec: Json) => Json) =>
  (object: Json): Json => ({ ...object, spec: by(object.spec) });
const sliceOf = (service: string, by: (endpoint: Json) => Json): Edit =>
  json(slices, (list) => ({
    ...list,
    items: list.items.map((slice: Json) => (slice.metadata.labels['kubernetes.io/service-name'] === service ? eachEndpoint(by)(slice) : slice)),
  }));
const inChain = (table: string, rule: string, ...chains: readonly string[]): Edit => [
  save,
  (text) => {
    const own = chains.map((chain) => `:${chain} - [0:0]\n`).join('');
    return text.replace(new RegExp(`^\\*${table}\n(?::.*\n)*`, 'm'), `$&${own}${rule}\n`);
  },
];
const policy = (chain: string): Edit => replaced(save, new RegExp(`(\\*filter[\\s\\S]*?:${chain}) ACCEPT`), '$1 DROP');
const processes = (...comms: readonly (string | object)[]): Edit =>
  added(
    'processes.json',
    JSON.stringify(comms.map((comm, index) => (typeof comm === 'string' ? { pid: 100 + index, comm, argv: [comm] } : { pid: 100 + index, argv: [], ...comm }))),
  );
const noProxy = [
  ...[save, 'ip6tables-save.txt'].map((file) => added(file, '*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n')),
  added('ss.txt', 'tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=1,fd=3))\n'),
  added('kube-proxy-status.txt', ''),
];
const gateway = json('ip-route.json', (routes) => [...routes, { dst: 'default', gateway: '192.0.2.1', dev: 'eth0', flags: [] }]);
const newService = (name: string, given: object, nodePort?: number) => ({
  kind: 'Service',
  metadata: { name, namespace: 'shop', uid: '4a30ed25-ed29-4ba3-95aa-fe365c3a9d78', resourceVersion: '71', creationTimestamp: '2026-11-21T21:32:40Z' },
  spec: {
    type: 'NodePort',
    clusterIP: '10.96.9.9',
    clusterIPs: ['10.96.9.9'],
    ipFamilies: ['IPv4'],
    selector: { app: 'front' },
    ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: 8080, ...(nodePort === undefined ? {} : { nodePort }) }],
    ...given,
  },
});
const gone = (object: Json): Json => ({ ...object, conditions: { ready: false, serving: true, terminating: true } });

testEdited([
  {
    name: 'A05: kube-proxy was told another name of the node',
    capture: '06-etp-local-no-local-endpoint',
    edits: [
      sliceOf('reports', (endpoint) => ({ ...endpoint, nodeName: 'node1' })),
      processes({ comm: 'kube-proxy', argv: ['kube-proxy', '--hostname-override=ip-172-31-0-11'] }),
    ],
    cause: 'A05',
    expect: { port: 30090, severity: 'error', confidence: 'certain', symptom: 'timeout' },
  },
  { name: 'A07: every endpoint is terminating', capture: iptables, edits: [sliceOf('web', gone)], cause: 'A07', expect: { port: 30080, severity: 'warning' } },
  {
    name: 'A08: the Service was given no NodePort',
    capture: iptables,
    edits: [more(services, newService('late', {}))],
    cause: 'A08',
    expect: { service: /shop\/late/ },
    twin: [more(services, newService('late', { type: 'ClusterIP' }))],
  },
  {
    name: 'A09: the load balancer asks for no NodePort',
    capture: iptables,
    edits: [more(services, newService('late', { type: 'LoadBalancer', allocateLoadBalancerNodePorts: false }))],
    cause: 'A09',
    expect: { severity: 'info' },
    twin: [more(services, newService('late', { type: 'ClusterIP' }))],
  },
  {
    name: 'A10: a Service of both families, pods of one',
    capture: iptables,
    edits: [
      item(
        services,
        'web',
        spec((web) => ({ ...web, ipFamilies: ['IPv4', 'IPv6'], ipFamilyPolicy: 'RequireDualStack', clusterIPs: [...web.clusterIPs, 'fd00:96::9'] })),
      ),
    ],
    given: [
      json('pods.json', (list) => ({
        ...list,
        items: list.items.map((pod: Json) => ({ ...pod, status: { ...pod.status, podIPs: [{ ip: pod.status.podIP }] } })),
      })),
    ],
    cause: 'A10',
    expect: { port: 30080, family: 6 },
  },
  {
    name: 'A11: a label leaves the Service to another proxy',
    capture: iptables,
    edits: [item(services, 'web', (web) => ({ ...web, metadata: { ...web.metadata, labels: { 'service.kubernetes.io/service-proxy-name': 'other' } } }))],
    cause: 'A11',
    expect: { port: 30080, remedy: [/label service web service\.kubernetes\.io\/service-proxy-name-/] },
  },
  {
    name: 'A12: hints keep clients in their zone',
    capture: iptables,
    edits: [sliceOf('web', (endpoint) => ({ ...endpoint, hints: { forZones: [{ name: endpoint.zone }] } }))],
    cause: 'A12',
    expect: { port: 30080, severity: 'info' },
  },
  {
    name: 'A15: portmap takes the NodePort for a hostPort',
    capture: iptables,
    edits: [
      more('pods.json', {
        kind: 'Pod',
        metadata: { name: 'edge', namespace: 'shop' },
        spec: { nodeName: 'node1', containers: [{ name: 'main', ports: [{ containerPort: 80, hostPort: 30080, protocol: 'TCP' }] }] },
        status: { phase: 'Running', podIP: '10.244.1.77', podIPs: [{ ip: '10.244.1.77' }] },
      }),
      inChain(
        'nat',
        '-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT\n-A CNI-HOSTPORT-DNAT -p tcp -m tcp --dport 30080 -j DNAT --to-destination 10.244.1.77:80',
        'CNI-HOSTPORT-DNAT',
      ),
    ],
    cause: 'A15',
    expect: { port: 30080, severity: 'error' },
  },
  {
    name: 'A16: a pod of ServiceLB waits for its port',
    capture: iptables,
    edits: [
      more('pods.json', {
        kind: 'Pod',
        metadata: {
          name: 'svclb-public-abc',
          namespace: 'kube-system',
          labels: { 'svccontroller.k3s.cattle.io/svcname': 'public', 'svccontroller.k3s.cattle.io/svcnamespace': 'shop' },
        },
        spec: { containers: [{ name: 'lb-tcp-80', ports: [{ containerPort: 80, hostPort: 80, protocol: 'TCP' }] }] },
        status: { phase: 'Pending' },
      }),
    ],
    cause: 'A16',
    expect: { severity: 'warning' },
  },
  {
    name: 'A17: affinity holds clients at an endpoint that is gone',
    capture: iptables,
    edits: [sliceOf('cart', (endpoint) => ({ ...endpoint, addresses: endpoint.addresses.map((each: string) => each.replace('10.244.2.11', '10.244.2.99')) }))],
    cause: 'A17',
    expect: { port: 30084, severity: 'error' },
  },
  {
    name: 'B07: rules follow an older state of most Services',
    capture: iptables,
    edits: [replaced(slices, /10\.244\.2\.1(\d)/g, '10.244.2.9$1')],
    cause: 'B07',
    count: 7,
    expect: { severity: 'error' },
  },
  {
    name: 'B08: IPVS keeps a real server that is gone',
    capture: ipvs,
    given: [gateway],
    edits: [sliceOf('web', (endpoint) => ({ ...endpoint, addresses: endpoint.addresses.map((each: string) => each.replace('10.244.3.9', '10.244.3.99')) }))],
    cause: 'B08',
    expect: { port: 30080 },
  },
  { name: 'B09: rules outlive a Service', capture: iptables, edits: [item(services, 'web', () => undefined)], cause: 'B09', expect: { port: 30080 } },
  {
    name: 'B10: settings of IPVS',
    capture: ipvs,
    edits: [added('sysctl.txt', 'net.ipv4.vs.conn_reuse_mode = 0\nnet.ipv4.vs.expire_nodest_conn = 0\n')],
    cause: 'B10',
    expect: { severity: 'warning' },
    twin: [added('sysctl.txt', 'net.ipv4.vs.conn_reuse_mode = 1\nnet.ipv4.vs.expire_nodest_conn = 0\n')],
  },
  { name: 'B12: IPVS and INPUT DROP', capture: ipvs, given: [gateway], edits: [policy('INPUT')], cause: 'B12', count: 6, expect: { symptom: 'timeout' } },
  {
    name: 'B13: IPVS and FORWARD DROP',
    capture: ipvs,
    given: [gateway],
    edits: [policy('FORWARD'), replaced(save, /^-A KUBE-FORWARD .*RELATED,ESTABLISHED.*\n/m, '')],
    cause: 'B13',
    count: 6,
    expect: { symptom: 'timeout' },
  },
  {
    name: 'B16: kube-proxy has just been started',
    capture: iptables,
    edits: [
      replaced(save, /^-A KUBE-NODEPORTS .*dport 30080 .*\n/gm, ''),
      processes({ comm: 'kube-proxy', argv: ['kube-proxy'], startedAt: 1_795_297_970_000 }),
    ],
    cause: 'B16',
    now: 1_795_297_980_000,
    expect: { port: 30080, severity: 'warning' },
    twin: [processes({ comm: 'kube-proxy', argv: ['kube-proxy'], startedAt: 1_795_297_970_000 })],
  },
  {
    name: 'B22: nodes have pod networks outside the cluster network of kube-proxy',
    capture: iptables,
    edits: [
      json('nodes.json', (list) => ({
        ...list,
        items: list.items.map((node: Json) => ({ ...node, spec: { ...node.spec, podCIDRs: [node.spec.podCIDRs[0].replace('10.244', '10.88')] } })),
      })),
    ],
    cause: 'B22',
    expect: { severity: 'warning' },
  },
  {
    name: 'B23: masqueraded connections use the number of a NodePort',
    capture: ipvs,
    edits: [
      added(
        'conntrack.txt',
        'tcp      6 110 SYN_SENT src=10.244.1.5 dst=198.51.100.7 sport=40000 dport=443 [UNREPLIED] src=198.51.100.7 dst=192.0.2.11 sport=443 dport=30080 mark=0 use=1\n',
      ),
    ],
    cause: 'B23',
    expect: { severity: 'warning' },
    twin: [
      added(
        'conntrack.txt',
        'tcp      6 110 SYN_SENT src=10.244.1.5 dst=198.51.100.7 sport=40000 dport=443 [UNREPLIED] src=198.51.100.7 dst=192.0.2.11 sport=443 dport=50080 mark=0 use=1\n',
      ),
    ],
  },
  {
    name: 'B25: INVALID packets',
    capture: iptables,
    edits: [replaced(save, /^-A KUBE-FORWARD .*INVALID/m, '[5000:200000] $&')],
    cause: 'B25',
    expect: { severity: 'info' },
    twin: [replaced(save, /^-A KUBE-FORWARD .*INVALID/m, '[5:200] $&')],
  },
  {
    name: 'B26: neither kube-proxy nor rules of it',
    capture: iptables,
    edits: [...noProxy, processes('sshd', 'kubelet')],
    cause: 'B26',
    count: 8,
    expect: { severity: 'error', symptom: 'refused' },
  },
  {
    name: 'B27: Cilium stands in for kube-proxy',
    capture: iptables,
    edits: [...noProxy, processes('sshd', 'cilium-agent')],
    cause: 'B27',
    count: 8,
    expect: { severity: 'info' },
  },
  {
    name: 'C02: Docker drops what is not of its bridges',
    capture: iptables,
    edits: [inChain('filter', '-A FORWARD -j DOCKER-FORWARD\n-A DOCKER-FORWARD ! -i docker0 -o cni0 -j DROP', 'DOCKER-FORWARD'), processes('dockerd')],
    cause: 'C02',
    count: 8,
    expect: { severity: 'error' },
  },
  {
    name: 'C04: ufw lets in what comes from eth0 alone, and IPVS takes packets in INPUT',
    capture: ipvs,
    given: [gateway],
    edits: [withRulesOf('ufw-enabled-default-deny'), replaced(save, /^-A ufw-user-limit /m, '-A ufw-user-input -i eth0 -j ACCEPT\n$&')],
    cause: 'C04',
    count: 6,
    expect: { severity: 'warning' },
  },
  {
    name: 'C05: firewalld is in panic mode',
    capture: legacy,
    edits: [withRulesOf('firewalld-iptables', '5-panic'), added('firewalld-state.txt', 'state = running\npanic = true\n')],
    cause: 'C05',
    count: 8,
    expect: { symptom: 'timeout', severity: 'error', remedy: ['firewall-cmd --panic-off'] },
  },
  {
    name: 'C09: INPUT drops what KUBE-ROUTER-INPUT returns',
    capture: ipvs,
    given: [gateway],
    edits: [
      policy('INPUT'),
      inChain(
        'filter',
        '-A INPUT -j KUBE-ROUTER-INPUT\n-A KUBE-ROUTER-INPUT -p tcp -m addrtype --dst-type LOCAL -m multiport --dports 30000:32767 -j RETURN',
        'KUBE-ROUTER-INPUT',
      ),
    ],
    cause: 'C09',
    count: 6,
    expect: { symptom: 'timeout' },
  },
  {
    name: 'C10: a rule in the other backend blocks',
    capture: iptables,
    edits: [
      added(
        'iptables-legacy-save.txt',
        '*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A FORWARD -p tcp -m tcp --dport 8080 -j DROP\nCOMMIT\n',
      ),
    ],
    cause: 'C10',
    count: 4,
    expect: { remedy: ['iptables-legacy -D FORWARD -p tcp -m tcp --dport 8080 -j DROP'] },
  },
  {
    name: 'C11: the network plugin writes to the other backend',
    capture: iptables,
    edits: [
      added(
        'iptables-legacy-save.txt',
        '*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:FLANNEL-FWD - [0:0]\n-A FORWARD -j FLANNEL-FWD\n-A FLANNEL-FWD -s 10.244.0.0/16 -j ACCEPT\nCOMMIT\n',
      ),
    ],
    cause: 'C11',
    expect: { severity: 'info' },
  },
  {
    name: 'C12: KUBE-FIREWALL has lost its match',
    capture: ipvs,
    given: [gateway],
    edits: [inChain('filter', '-A KUBE-FIREWALL -j DROP')],
    cause: 'C12',
    count: 6,
    expect: { symptom: 'timeout' },
  },
  {
    name: 'C14: the tool does not understand a rule',
    capture: legacy,
    edits: [replaced(save, /^(-A KUBE-SEP-\w+ .*"shop\/web:http".*)-j DNAT --to-destination .*$/gm, '$1-j DNAT [unsupported revision]')],
    cause: 'C14',
    expect: { port: 30080, severity: 'info' },
  },
  {
    name: 'C15: a network policy of kube-router rejects',
    capture: iptables,
    edits: [
      inChain(
        'filter',
        '-A FORWARD -d 10.244.0.0/16 -p tcp -m tcp --dport 8443 -j KUBE-POD-FW-ABCDEFGHIJKLMNOP\n-A KUBE-POD-FW-ABCDEFGHIJKLMNOP -m mark ! --mark 0x10000/0x10000 -j REJECT --reject-with icmp-port-unreachable',
        'KUBE-POD-FW-ABCDEFGHIJKLMNOP',
      ),
    ],
    cause: 'C15',
    count: 2,
    expect: { symptom: 'refused' },
  },
  {
    name: 'C16: a network policy of Calico drops',
    capture: iptables,
    edits: [
      inChain(
        'filter',
        '-A FORWARD -o cni0 -p tcp -m tcp --dport 8443 -j cali-tw-front\n-A cali-tw-front -m comment --comment "cali:abc Drop if no policies passed packet" -j DROP',
        'cali-tw-front',
      ),
    ],
    cause: 'C16',
    count: 2,
    expect: { symptom: 'timeout' },
  },
  {
    name: 'C17: Tailscale drops',
    capture: iptables,
    edits: [inChain('filter', '-A FORWARD -j ts-forward\n-A ts-forward -s 100.64.0.0/10 -o cni0 -j DROP', 'ts-forward')],
    cause: 'C17',
    count: 8,
    expect: { severity: 'warning' },
  },
  {
    name: "C19: Docker's rules were left behind",
    capture: iptables,
    edits: [inChain('filter', '-A FORWARD -j DOCKER-FORWARD\n-A DOCKER-FORWARD ! -i docker0 -o cni0 -j DROP', 'DOCKER-FORWARD'), processes('containerd')],
    cause: 'C19',
    count: 8,
    expect: { severity: 'error' },
  },
  {
    name: 'D02: the interface of clients does not forward',
    capture: iptables,
    edits: [sysctl('net.ipv4.conf.eth0.forwarding', '0')],
    cause: 'D02',
    count: 8,
    expect: { remedy: ['sysctl -w net.ipv4.conf.eth0.forwarding=1', /99-kubernetes/] },
  },
  {
    name: 'D10: checksums of tunnelled packets are damaged',
    capture: iptables,
    given: [
      json('ip-addr.json', (list) => [
        ...list,
        { ifindex: 99, ifname: 'flannel.1', flags: ['UP'], mtu: 1450, addr_info: [], linkinfo: { info_kind: 'vxlan' } },
      ]),
    ],
    edits: [added('counters.txt', 'udp_in_csum_errors = 9000\n')],
    cause: 'D10',
    expect: { severity: 'info' },
    twin: [added('counters.txt', 'udp_in_csum_errors = 0\n')],
  },
  {
    name: "D16: the Node's address is on no interface",
    capture: iptables,
    edits: [replaced('nodes.json', /172\.31\.0\.11"/g, '172.31.0.99"')],
    cause: 'D16',
    expect: { summary: /172\.31\.0\.99/ },
  },
  {
    name: "D19: every node answers for the load balancer's address",
    capture: ipvs,
    given: [
      json('ip-addr.json', (list) =>
        list.map((each: Json) =>
          each.ifname === 'eth0'
            ? { ...each, addr_info: [...each.addr_info, { family: 'inet', local: '203.0.113.11', prefixlen: 24, scope: 'global' }] }
            : each,
        ),
      ),
    ],
    edits: [added('sysctl.txt', 'net.ipv4.conf.all.arp_ignore = 0\nnet.ipv4.conf.all.arp_announce = 0\n')],
    cause: 'D19',
    expect: { severity: 'warning', summary: /203\.0\.113\.50/ },
    twin: [added('sysctl.txt', 'net.ipv4.conf.all.arp_ignore = 1\nnet.ipv4.conf.all.arp_announce = 2\n')],
  },
  {
    name: 'B20: nftables mode on an old kernel',
    capture: nftables,
    edits: [
      processes({ comm: 'kube-proxy', argv: ['kube-proxy', '--proxy-mode=nftables'] }),
      added('host.json', JSON.stringify({ hostname: 'node1', kernel: '5.10.0-30-amd64', os: 'Debian', bootedAt: 0 })),
      ['nft.json', (text) => JSON.stringify({ nftables: JSON.parse(text).nftables.filter((each: unknown) => !JSON.stringify(each).includes('kube-proxy')) })],
    ],
    cause: 'B20',
    expect: { severity: 'error' },
  },
]);
