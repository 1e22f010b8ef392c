// Facts: keyed statements on a node now. A node's state is a map of them; the wire carries them, the collector compares them.
import type { Family } from './address.ts';
import type { Decider, Outcome, Vantage } from './outcome.ts';

/** Transport protocols that a NodePort can have, with their IP protocol numbers. */
export const protocolNumbers = { tcp: 6, udp: 17, sctp: 132 } as const;
export type Protocol = keyof typeof protocolNumbers;

/** A NodePort as a node sees it: `nodeport/<proto>/<family>/<port>`. */
export interface NodePortKey {
  readonly protocol: Protocol;
  readonly family: Family;
  readonly port: number;
}

export type Fact =
  | NodePortFact
  | SourceFact
  | ListenerFact
  | InterfaceFact
  | SysctlFact
  | ProxyFact
  | ChainsFact
  | HostFact
  | NeighboursFact
  | PortFact
  | RoutingFact
  | ServedAddressesFact
  | HostPortsFact
  | RepeatedRulesFact
  | ProcessFact
  | CounterFact
  | FlowsFact
  | DropsFact
  | FirewallFact
  | ToolsFact
  | KernelFact
  | TunnelFact
  | PodSocketsFact
  | ReadingFact;

/** What the node's rules do to clients of one NodePort. `address` is the node address that was asked; absent vantages could not be judged at all. */
export interface NodePortFact {
  readonly kind: 'nodeport';
  readonly key: string;
  readonly nodePort: NodePortKey;
  readonly address: string;
  readonly outcomes: Readonly<Partial<Record<Vantage, readonly Outcome[]>>>;
  /** Whether any rule names this port as a NodePort (a KUBE-NODEPORTS rule, a map element, an IPVS service), and which Service its comment names. */
  readonly claimed: { readonly by: 'rule' | 'none'; readonly service?: string };
}

/** How the reading of one source went: `source/<name>`. */
export interface SourceFact {
  readonly kind: 'source';
  readonly key: string;
  readonly source: string;
  readonly outcome: 'facts' | 'absent' | 'failed';
  /** Why it is absent or failed, for a person. */
  readonly reason?: string;
  /** What its facts leave out, and the capability or tool that would give it, for a person; absent when they are whole. */
  readonly lacks?: string;
  /** How changes are seen: by events of the kernel, or by reading every so often. */
  readonly watch?: 'events' | 'poll';
  /** How much of what the source could see it does see here, where that differs between nodes: `source/ebpf` names its rung. */
  readonly rung?: string;
  /** Changes that a reading by the clock found and that no event had told of, since the agent runs; absent: none. */
  readonly missed?: number;
}

/** That the agent does not read as timely or as cheaply as it should: `reading/degraded`. Absent while it does. */
export interface ReadingFact {
  readonly kind: 'reading';
  readonly key: string;
  /** Why, for a person. */
  readonly reason: string;
  /** How long it may take until a change is read, in milliseconds. */
  readonly delayMs: number;
  /** Share of one core that the agent and all that it starts have used over the last minutes. */
  readonly cpuShare: number;
  /** Memory of the agent and its monitors. */
  readonly memoryBytes: number;
  /** Sources that are read seldom because they cost much: how often, in milliseconds. */
  readonly periods: Readonly<Record<string, number>>;
}

/** A socket that takes connections or datagrams: `listener/<proto>/<family>/<address>/<port>`. */
export interface ListenerFact {
  readonly kind: 'listener';
  readonly key: string;
  readonly protocol: Protocol;
  readonly family: Family;
  /** `*` for every address. */
  readonly address: string;
  readonly port: number;
  /** Names of the processes that hold it; empty where the agent may not see them. */
  readonly processes: readonly { readonly comm: string; readonly pid: number }[];
}

/** One network interface: `interface/<name>`. */
export interface InterfaceFact {
  readonly kind: 'interface';
  readonly key: string;
  readonly name: string;
  readonly up: boolean;
  /** `ADDRESS/LENGTH`, sorted. */
  readonly addresses: readonly string[];
  /** Largest packet in bytes; absent when it was not read. */
  readonly mtu?: number;
  /** `vxlan`, `bridge`, `veth`, `wireguard` … as the kernel says it; absent for hardware and where it was not read. */
  readonly type?: string;
  /** Bridge or bond it belongs to. */
  readonly master?: string;
  /** Whether a bridge port sends a packet back where it came from; absent for what is no bridge port, or not read. */
  readonly hairpin?: boolean;
  /** What is left to the hardware, by ethtool's names (`tx-checksum-ip-generic` …); absent where it was not read. */
  readonly offloads?: Readonly<Record<string, boolean>>;
}

/** One kernel setting that decides: `sysctl/<name>`. */
export interface SysctlFact {
  readonly kind: 'sysctl';
  readonly key: string;
  readonly name: string;
  readonly value: string;
}

/** The node's Service proxy as it shows itself: `proxy/kube-proxy`. */
export interface ProxyFact {
  readonly kind: 'proxy';
  readonly key: string;
  /** From the artefacts found: KUBE-* chains, `table ip kube-proxy`, IPVS services; none when there is nothing. */
  readonly mode: 'iptables' | 'nftables' | 'ipvs' | 'none';
  /** A kube-proxy (or k3s, which embeds it) is seen running: by its process or its health port. `unknown` when neither can be seen. */
  readonly running: 'yes' | 'no' | 'unknown';
  /** How `running` is known. */
  readonly evidence: string;
  /** Milliseconds since 1970 when its process started; absent when it is not seen. */
  readonly startedAt?: number;
  /** What its command line sets, by flag without dashes (`hostname-override`, `nodeport-addresses`, `cluster-cidr`, `proxy-mode` …); absent when it is not seen. */
  readonly flags?: Readonly<Record<string, string>>;
  /** Its own word on its last sync; absent when its metrics were not read. */
  readonly sync?: ProxySync;
  /** Its release, where it says so (`v1.30.5`). */
  readonly version?: string;
  /** Its own word on its health (port 10256): `ok`, or why not; absent when it was not asked. */
  readonly health?: string;
  /** Networks that its rules take for the pods' own (`! -s NETWORK … KUBE-MARK-MASQ`), sorted; absent when no rule says. */
  readonly clusterNetworks?: readonly string[];
}

/** From kube-proxy's metrics. */
export interface ProxySync {
  /** Milliseconds since 1970 of the last sync that succeeded. */
  readonly lastAt: number;
  /** Milliseconds since 1970 when a sync was last asked for. */
  readonly queuedAt: number;
  /** Restores that the kernel or the tool refused, since it runs. */
  readonly restoreFailures: number;
  readonly partialRestoreFailures: number;
  /** A process that held the lock of iptables when it was read, other than kube-proxy's own; absent when nobody did. */
  readonly lockedBy?: { readonly pid: number; readonly comm: string };
}

/** The skeleton of kube-proxy's rules in one family: `chains/<family>`. What is missing here breaks every NodePort at once. */
export interface ChainsFact {
  readonly kind: 'chains';
  readonly key: string;
  readonly family: Family;
  readonly mode: 'iptables' | 'nftables' | 'ipvs' | 'none';
  /** Each part of the skeleton that a complete sync writes, and whether it is there: `nat KUBE-NODEPORTS`, `nat PREROUTING → KUBE-SERVICES`, `mangle KUBE-PROXY-CANARY` … */
  readonly parts: Readonly<Record<string, boolean>>;
  /** Service port names ("ns/name:port") by what the rules hold for them, for finding a Service whose NodePort rule alone is missing. */
  readonly services: Readonly<Record<string, { readonly nodePortRule: boolean; readonly chain: boolean; readonly endpoints: readonly string[] }>>;
}

/** Chains of programs other than kube-proxy: `neighbours`. That they are there says who may have set a policy. */
export interface NeighboursFact {
  readonly kind: 'neighbours';
  readonly key: string;
  /** A few of each program, table and backend, in the order of the tables. */
  readonly chains: readonly NeighbourChain[];
}

/** A chain of the node's ruleset that belongs to some program. */
export interface NeighbourChain {
  /** `ip`, `ip6`, `inet` … */
  readonly family: string;
  readonly table: string;
  readonly chain: string;
  /** `legacy`, `iptables-nft` or `nft`. */
  readonly backend?: string;
}

/** What clients of one of the node's own ports meet, on which NodePorts depend: `port/<proto>/<family>/<port>`. */
export interface PortFact {
  readonly kind: 'port';
  readonly key: string;
  readonly port: NodePortKey;
  /** `health-check`: a load balancer asks it whether the node takes clients. `overlay`: other nodes send pods' packets to it. */
  readonly purpose: 'health-check' | 'overlay';
  /** The tunnel's interface, for `overlay`. */
  readonly device?: string;
  readonly outcomes: Readonly<Partial<Record<Vantage, readonly Outcome[]>>>;
}

/** The routing tables of one family in short: `routing/<family>`. */
export interface RoutingFact {
  readonly kind: 'routing';
  readonly key: string;
  readonly family: Family;
  readonly defaultRoute: boolean;
  /** Device of the default route; absent without one. */
  readonly device?: string;
  /** Policy rules besides the kernel's own three, as `ip rule` prints them. */
  readonly rules: readonly string[];
  /** The route that each pod network of the cluster takes, `null` where only the default route or none fits. */
  readonly podNetworks: Readonly<Record<string, string | null>>;
}

/** Addresses on which kube-proxy's rules serve NodePorts: `served/<family>`. Absent when its rules do not say. */
export interface ServedAddressesFact {
  readonly kind: 'served';
  readonly key: string;
  readonly family: Family;
  /** Prefixes, sorted; empty: every address of the node. */
  readonly prefixes: readonly string[];
}

/** The hostPorts that portmap's rules serve: `hostports/<family>`. Absent where portmap has written nothing. */
export interface HostPortsFact {
  readonly kind: 'hostports';
  readonly key: string;
  readonly family: Family;
  /** `tcp/8080`, sorted. */
  readonly ports: readonly string[];
}

/** Rules that stand many times in one chain: `repeated-rules`. Absent where none does. */
export interface RepeatedRulesFact {
  readonly kind: 'repeated-rules';
  readonly key: string;
  /** Most frequent first. */
  readonly rules: readonly { readonly family: string; readonly table: string; readonly chain: string; readonly text: string; readonly count: number }[];
}

/** Processes of one name that matter to NodePorts: `process/<comm>`. */
export interface ProcessFact {
  readonly kind: 'process';
  readonly key: string;
  readonly comm: string;
  readonly pids: readonly number[];
  /** Milliseconds since 1970 of the youngest; absent when it is not known. */
  readonly startedAt?: number;
  /** systemd units or containers that they run in, sorted; absent when none is known. */
  readonly units?: readonly string[];
}

/** A gauge or counter of the kernel: `counter/<name>`, e.g. `nf_conntrack_count`, `nf_conntrack_insert_failed`. Rounded, so that it stays the same while little happens. */
export interface CounterFact {
  readonly kind: 'counter';
  readonly key: string;
  readonly name: string;
  readonly value: number;
}

/** Where tracked connections of one NodePort are sent: `flows/<proto>/<family>/<port>`. They outlive the rules that made them. */
export interface FlowsFact {
  readonly kind: 'flows';
  readonly key: string;
  readonly nodePort: NodePortKey;
  /** By target `ADDRESS:PORT`: how many, and how many without an answer. */
  readonly targets: Readonly<Record<string, { readonly count: number; readonly unanswered: number }>>;
}

/** Packets of a NodePort that the kernel has dropped, as eBPF has seen them: `drops/<proto>/<family>/<port>`. Absent where none was seen lately. */
export interface DropsFact {
  readonly kind: 'drops';
  readonly key: string;
  readonly nodePort: NodePortKey;
  /** One for each sort, the latest first; at most `limits.dropSortsMax`. */
  readonly drops: readonly Drop[];
}

/** Packets that were dropped for one reason at one place. */
export interface Drop {
  /** `request`: on its way to the NodePort or its backend. `reply`: an answer. `reset`: not dropped, but an answer that ends the connection. */
  readonly of: 'request' | 'reply' | 'reset';
  /** The kernel's name for it without its prefix (`NETFILTER_DROP`, `NO_SOCKET` …), or `in FUNCTION` where the kernel gives none; empty for resets. */
  readonly reason: string;
  /** Destination port of the packet where it was dropped, when that is not the NodePort: it was translated before. */
  readonly port?: number;
  /** Address of the backend that it was on its way to, or came from. */
  readonly backend?: string;
  /** Seen in the network namespace of a pod, not in the node's. */
  readonly inPod?: boolean;
  /** How many since the agent watches. */
  readonly packets: number;
  /** Milliseconds since 1970. */
  readonly firstAt: number;
  readonly lastAt: number;
  /** Networks of the clients, /24 or /64, sorted; at most `limits.dropPrefixesMax`. */
  readonly prefixes: readonly string[];
  /** There are more networks than are named. */
  readonly more?: boolean;
  /** Interface that the packet was on. */
  readonly device?: string;
  /** The rule or policy that the walk says drops these packets, when its counter rose with them: netfilter's word, the counter and the walk agree. */
  readonly rule?: Decider;
  /** When that counter was read, in milliseconds since 1970. */
  readonly countedAt?: number;
}

/** A firewall manager as it tells itself: `firewall/ufw`, `firewall/firewalld`. What its rules do is told by the NodePorts. */
export interface FirewallFact {
  readonly kind: 'firewall';
  readonly key: string;
  readonly program: 'ufw' | 'firewalld';
  readonly state: 'active' | 'inactive' | 'unknown';
  /** ufw: `enabled`, and the policies `incoming`, `outgoing`, `routed`. firewalld: `default-zone`, `panic`, `backend`, `flush-all-on-reload` … */
  readonly settings: Readonly<Record<string, string>>;
  /** ufw's own rules, or firewalld's direct rules and those of policies, as their tools write them; the first hundred. */
  readonly rules: readonly string[];
  /** Zones in use, and the default zone; firewalld alone. */
  readonly zones?: readonly FirewallZone[];
  /** What the next reload would change, in sentences: what is loaded and not kept, or kept and not loaded. */
  readonly pending: readonly string[];
}

/** A zone of firewalld. */
export interface FirewallZone {
  readonly name: string;
  /** Whether an interface or a source is bound to it. */
  readonly active: boolean;
  /** `default` (reject), `ACCEPT`, `DROP`, `%%REJECT%%`. */
  readonly target: string;
  readonly interfaces: readonly string[];
  readonly sources: readonly string[];
  readonly services: readonly string[];
  /** `30080/tcp`. */
  readonly ports: readonly string[];
  /** Whether packets pass between its own interfaces. */
  readonly forward: boolean;
  readonly masquerade: boolean;
  readonly richRules: readonly string[];
}

/** The programs that read and write rules on this node, by version: `tools`. */
export interface ToolsFact {
  readonly kind: 'tools';
  readonly key: string;
  /** `origin` is `host`, or the distribution that brought the binary along (`k3s` …). */
  readonly iptables: readonly {
    readonly command: string;
    readonly origin: string;
    readonly backend?: 'legacy' | 'nf_tables';
    readonly version?: string;
  }[];
  /** nft, ipset, conntrack, ip, ss, ethtool: those that are installed. */
  readonly versions: Readonly<Record<string, string>>;
}

/** What this kernel lacks of what the node's Service proxy needs: `kernel`. */
export interface KernelFact {
  readonly kind: 'kernel';
  readonly key: string;
  /** For what it was asked; `none` where no rules of a Service proxy are there. */
  readonly user: 'iptables-legacy' | 'iptables-nft' | 'nftables' | 'ipvs' | 'none';
  /** Modules that it needs and this kernel has not, in any form. */
  readonly missing: readonly string[];
  /** Modules that are there to be loaded and are not: they are when somebody needs them, where loading is allowed. */
  readonly available: readonly string[];
}

/** A tunnel to the pods of other nodes: `tunnel/<device>`. */
export interface TunnelFact {
  readonly kind: 'tunnel';
  readonly key: string;
  readonly device: string;
  /** Next hops of routes through it. */
  readonly hops: number;
  /** Next hops that packets do not get to, and why: no neighbour entry, or no node behind its hardware address. */
  readonly broken: Readonly<Record<string, string>>;
}

/** Ports that the containers of one pod on this node listen on: `podlisten/<address>`. */
export interface PodSocketsFact {
  readonly kind: 'pod-sockets';
  readonly key: string;
  readonly address: string;
  /** `tcp/8080`, sorted; the first hundred. */
  readonly ports: readonly string[];
  /** Ports on which only the pod itself is heard (it listens on 127.0.0.1 or ::1): `tcp/9090`. */
  readonly loopbackPorts: readonly string[];
}

/** What the node is: `host/node`. */
export interface HostFact {
  readonly kind: 'host';
  readonly key: string;
  readonly hostname: string;
  readonly kernel: string;
  readonly os: string;
  /** Milliseconds since 1970 of the boot. */
  readonly bootedAt: number;
  /** The machine it runs on when it is a virtual one (`kvm`, `vmware` …); absent on hardware, and where it is not known. */
  readonly virtual?: string;
  readonly memoryBytes?: number;
  readonly processors?: number;
}

export const nodePortFactKey = (key: NodePortKey): string => `nodeport/${key.protocol}/${key.family}/${key.port}`;
export const dropsFactKey = (key: NodePortKey): string => `drops/${key.protocol}/${key.family}/${key.port}`;

/** Whether a drop's reason says that a rule or policy of netfilter dropped the packet. Before Linux 5.17 there are no reasons, and the function says it. */
export const isNetfilterDrop = ({ reason }: Pick<Drop, 'reason'>): boolean => reason === 'NETFILTER_DROP' || reason.startsWith('in nf_hook_slow');
