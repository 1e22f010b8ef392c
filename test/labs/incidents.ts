// What is done to a node of the lab, one incident after another, and what a right explanation must name: the cause, who did it, and the window it falls in.
import type { Cluster, KubernetesObject } from './cluster.ts';
import type { Firewalld } from './places.ts';

export interface Incident {
  readonly name: string;
  readonly node: 'node1' | 'node2';
  /** The NodePort that is asked about. */
  readonly port: number;
  /** Causes that are right. */
  readonly causes: readonly string[];
  /** What the explanation must name: the process, by its name or command line. */
  readonly who: RegExp;
  /** Only eBPF can tell who did it. */
  readonly needsBpf?: true;
  /** The playbook's window. */
  readonly window: RegExp;
  readonly do: (stage: Stage) => Promise<unknown>;
  readonly undo: (stage: Stage) => Promise<unknown>;
}

export interface Stage {
  readonly cluster: Cluster;
  /** firewalld's programs on node2, in the same place as the daemon; absent where it is not installed. */
  readonly firewalld?: Firewalld;
  /** Ends the stand-in for kube-proxy on a node with SIGKILL, and starts it again. */
  readonly killProxy: (name: 'node1' | 'node2') => Promise<unknown>;
  readonly startProxy: (name: 'node1' | 'node2') => Promise<unknown>;
}

const nodePortRule = '-p tcp -m comment --comment shop/web:http -m tcp --dport 30080 -j KUBE-EXT-67NZLRHBNDSAWJRO';

/** ufw as it is installed, on copies of its configuration. */
const ufw = (command: string): string => `
  set -e; mount --make-rprivate /; copies=$(mktemp -d); mount -t tmpfs tmpfs "$copies"
  for path in /etc/ufw /etc/default/ufw /lib/ufw; do copy="$copies/$(echo "$path" | tr / _)"; cp -a "$path" "$copy"; mount --bind "$copy" "$path"; done
  mount -t tmpfs tmpfs /run; mkdir -p /run/lock
  ${command}`;

export const incidents: readonly Incident[] = [
  {
    name: 'a rule is deleted by iptables -D',
    node: 'node1',
    port: 30080,
    causes: ['B06'],
    who: /iptables.* -D KUBE-NODEPORTS|iptables, pid/,
    window: /in the window of \d+ min for (firewall|kube-proxy) changes/,
    do: (stage) => on(stage, 'node1', `iptables -w -t nat -D KUBE-NODEPORTS ${nodePortRule}`),
    undo: (stage) => on(stage, 'node1', `iptables -w -t nat -A KUBE-NODEPORTS ${nodePortRule}`),
  },
  {
    name: 'ufw is enabled',
    node: 'node1',
    port: 30083,
    causes: ['C03'],
    who: /iptables|ufw/,
    window: /in the window of 10 min for firewall changes/,
    do: (stage) => on(stage, 'node1', `unshare -m bash -c '${ufw('ufw --force enable')}'`),
    undo: (stage) =>
      on(
        stage,
        'node1',
        `unshare -m bash -c '${ufw('sed -i s/ENABLED=no/ENABLED=yes/ /etc/ufw/ufw.conf; ufw --force disable')}'; iptables -P FORWARD ACCEPT; iptables -P INPUT ACCEPT; ip6tables -P FORWARD ACCEPT; ip6tables -P INPUT ACCEPT`,
      ),
  },
  {
    name: 'a kernel setting is changed',
    node: 'node1',
    port: 30080,
    causes: ['D01'],
    who: /sysctl/,
    needsBpf: true,
    window: /in the window of 10 min for interface changes/,
    do: (stage) => on(stage, 'node1', 'sysctl -w net.ipv4.ip_forward=0'),
    undo: (stage) => on(stage, 'node1', 'sysctl -w net.ipv4.ip_forward=1'),
  },
  {
    name: 'an address is removed',
    node: 'node1',
    port: 30080,
    causes: ['D16'],
    who: /\bip\b/,
    needsBpf: true,
    window: /in the window of 10 min for interface changes/,
    do: (stage) => on(stage, 'node1', 'ip address del 172.31.0.11/24 dev eth0'),
    undo: (stage) =>
      on(
        stage,
        'node1',
        'ip address flush dev eth0 scope global; ip address add 172.31.0.11/24 dev eth0; ip address add 172.31.0.211/24 dev eth0; ip address add fd00:31:0:1::11/64 dev eth0 nodad; ip route replace default via 172.31.0.1 dev eth0; ip route replace 10.244.2.0/24 via 172.31.0.12 dev eth0; ip route replace fd00:10:244:2::/64 via fd00:31:0:1::12 dev eth0',
      ),
  },
  {
    name: 'the nodePort is changed',
    node: 'node1',
    port: 30080,
    causes: ['none'],
    who: /services\.json|kubectl/,
    window: /a service change .* window 30 min/,
    do: async ({ cluster }) => cluster.edit('services.json', (services) => services.map((service) => withNodePort(service, 30095))),
    undo: async ({ cluster }) => cluster.edit('services.json', (services) => services.map((service) => withNodePort(service, 30080))),
  },
  {
    name: 'kube-proxy is killed',
    node: 'node1',
    port: 30080,
    causes: ['B01'],
    // Who sent the signal: this test.
    who: /incidents\.test\.ts|MainThread/,
    needsBpf: true,
    window: /in the window of 5 min for kube-proxy changes/,
    do: ({ killProxy }) => killProxy('node1'),
    undo: ({ startProxy }) => startProxy('node1'),
  },
  {
    name: 'firewalld is reloaded',
    node: 'node2',
    port: 30080,
    causes: ['C06'],
    who: /firewalld/,
    window: /in the window of \d+ min for (firewall|kube-proxy) changes/,
    do: async ({ firewalld }) => firewalld?.run('firewall-cmd', '--reload'),
    undo: async ({ killProxy, startProxy }) => {
      await killProxy('node2');
      await startProxy('node2');
    },
  },
];

const withNodePort = (service: KubernetesObject, nodePort: number): KubernetesObject =>
  service.metadata.name === 'web'
    ? { ...service, spec: { ...service.spec, ports: service.spec.ports.map((port: KubernetesObject) => ({ ...port, nodePort })) } }
    : service;

async function on({ cluster }: Stage, name: 'node1' | 'node2', command: string): Promise<void> {
  const { exitCode, stderr, stdout } = await cluster.namespaces.run(cluster.nodes[name], ['bash', '-c', command]);
  if (exitCode !== 0) throw new Error(`${command}: ${stderr || stdout}`);
}
