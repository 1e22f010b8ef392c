// The catalogue of causes: what each is, what a client meets, by what it is recognised and where, and what its test rests on. docs/causes.md is made from it.

/** What a client meets. `varies`: it depends on what was left over. */
export type CatalogueSymptom = 'refused' | 'timeout' | 'unreachable' | 'wrong backend' | 'varies' | 'none';

export interface CatalogueEntry {
  /** `A01` …: the letter is the group. */
  readonly id: string;
  readonly cause: string;
  readonly symptom: CatalogueSymptom;
  /** Empty where nothing recognises it. */
  readonly recognised: string;
  /** File of collector/causes that recognises it; absent where nothing does. */
  readonly detector?: string;
  readonly proof: Proof;
}

/**
 * What its test rests on. `live`: a lab in which the fault is made by the real program while agent and collector run. `capture`: a capture of a real node with the fault, and recorded traffic. `edited`: such a capture of a sound node, edited so that
 * it has the fault. `constructed`: facts, objects or changes made by hand. `none`: it is not detected.
 */
export type Proof = 'live' | 'capture' | 'edited' | 'constructed' | 'none';

/** Titles of the groups, by the letter of an id. */
export const groups: Readonly<Record<string, string>> = {
  A: 'Services and endpoints',
  B: 'kube-proxy and its rules',
  C: 'Firewalls and other owners of rules',
  D: 'Kernel settings, routes, addresses, sockets',
  E: 'Portreeve itself',
};

/** By group, then by id. */
export const catalogue: readonly CatalogueEntry[] = [
  {
    id: 'A01',
    cause: 'No ready endpoint',
    symptom: 'refused',
    recognised: 'no EndpointSlice of the Service holds a usable endpoint, and nothing says why; or an event says that the endpoints could not be written',
    detector: 'services.ts, events.ts',
    proof: 'capture',
  },
  {
    id: 'A02',
    cause: 'The selector matches no pod, or pods are not Ready or keep failing',
    symptom: 'refused',
    recognised: "selector against the pods' labels; Ready conditions; what ended their containers last",
    detector: 'services.ts',
    proof: 'capture',
  },
  {
    id: 'A03',
    cause: 'targetPort is wrong',
    symptom: 'refused',
    recognised:
      'no container names its port so (certain); nobody listens on it in the pods of this node, or on 127.0.0.1 alone (likely); or no container declares the number and it looks like a slip, a default left in place, or the pods declare one port only (likely)',
    detector: 'services.ts',
    proof: 'capture',
  },
  {
    id: 'A04',
    cause: 'externalTrafficPolicy Local and no endpoint on this node: by design',
    symptom: 'timeout',
    recognised: 'endpoints are ready, none has this node as its nodeName',
    detector: 'services.ts',
    proof: 'capture',
  },
  {
    id: 'A05',
    cause: 'kube-proxy does not recognise its local endpoint',
    symptom: 'timeout',
    recognised: 'a "no local endpoints" rule although a slice names this node; --hostname-override against the Node',
    detector: 'proxy.ts',
    proof: 'edited',
  },
  {
    id: 'A06',
    cause: 'externalTrafficPolicy Local in IPVS mode with remote real servers',
    symptom: 'timeout',
    recognised: 'mode ipvs sends clients to another node without masquerade',
    detector: 'services.ts',
    proof: 'capture',
  },
  {
    id: 'A07',
    cause: 'Only terminating endpoints serve',
    symptom: 'none',
    recognised: 'all endpoints in use are serving and terminating',
    detector: 'services.ts',
    proof: 'edited',
  },
  {
    id: 'A08',
    cause: 'No NodePort was given, or the number is refused',
    symptom: 'refused',
    recognised: 'a port of a NodePort Service in the API has no nodePort; two Services ask for one number; a manifest asks for a number outside 30000-32767',
    detector: 'exposure.ts',
    proof: 'edited',
  },
  {
    id: 'A09',
    cause: 'A load balancer that asks for no NodePort: by design',
    symptom: 'refused',
    recognised: 'allocateLoadBalancerNodePorts is false',
    detector: 'exposure.ts',
    proof: 'edited',
  },
  {
    id: 'A10',
    cause: 'The pods have no address of the family',
    symptom: 'refused',
    recognised: "the Service's families against the pods' addresses",
    detector: 'services.ts',
    proof: 'edited',
  },
  {
    id: 'A11',
    cause: 'A label leaves the Service to another proxy',
    symptom: 'refused',
    recognised: 'the label service.kubernetes.io/service-proxy-name',
    detector: 'services.ts',
    proof: 'edited',
  },
  {
    id: 'A12',
    cause: 'Zone hints keep clients in the zone: by design',
    symptom: 'none',
    recognised: 'the EndpointSlices have hints for the zone of the node, and not all endpoints have one',
    detector: 'selection.ts',
    proof: 'edited',
  },
  {
    id: 'A13',
    cause: 'loadBalancerSourceRanges filters clients, or does not guard the NodePort',
    symptom: 'varies',
    recognised: 'decided in KUBE-FW-* or KUBE-PROXY-FIREWALL; or ranges are set and the NodePort is open to everybody',
    detector: 'exposure.ts',
    proof: 'capture',
  },
  {
    id: 'A14',
    cause: 'The health check of the load balancer is shut',
    symptom: 'timeout',
    recognised: 'what outside clients of healthCheckNodePort meet',
    detector: 'exposure.ts',
    proof: 'capture',
  },
  {
    id: 'A15',
    cause: 'A hostPort takes the packets of the NodePort',
    symptom: 'wrong backend',
    recognised: 'translated to a pod on this node whose hostPort has the same number',
    detector: 'services.ts',
    proof: 'edited',
  },
  {
    id: 'A16',
    cause: 'A pod of ServiceLB (k3s) waits for its port',
    symptom: 'refused',
    recognised: 'a svclb pod is Pending; who has its hostPort',
    detector: 'exposure.ts',
    proof: 'edited',
  },
  {
    id: 'A17',
    cause: 'Session affinity holds clients at an endpoint that is gone',
    symptom: 'timeout',
    recognised: 'rules lead to an endpoint that the Service does not have, and its affinity is ClientIP',
    detector: 'selection.ts',
    proof: 'edited',
  },
  {
    id: 'B01',
    cause: 'kube-proxy is not running, its rules are left over',
    symptom: 'varies',
    recognised: 'no process and no health port; rules differ from the objects',
    detector: 'proxy.ts',
    proof: 'capture',
  },
  {
    id: 'B02',
    cause: "Parts of kube-proxy's rules are missing that every NodePort needs",
    symptom: 'refused',
    recognised: 'chains, or jumps to them from the hooks, are not there',
    detector: 'proxy.ts',
    proof: 'edited',
  },
  {
    id: 'B03',
    cause: 'kube-proxy waits for the lock of iptables',
    symptom: 'varies',
    recognised: 'its last sync is older than the last request for one; another process holds the lock; or port 10256 says that it is not healthy',
    detector: 'sync.ts',
    proof: 'constructed',
  },
  {
    id: 'B04',
    cause: "kube-proxy's rules are refused",
    symptom: 'varies',
    recognised: 'the same, and its metrics count failed restores',
    detector: 'sync.ts',
    proof: 'edited',
  },
  {
    id: 'B05',
    cause: "One Service's rules are out of date",
    symptom: 'varies',
    recognised: 'its targets differ from the EndpointSlices while other Services are right',
    detector: 'proxy.ts',
    proof: 'edited',
  },
  {
    id: 'B06',
    cause: "kube-proxy's rules were removed from outside",
    symptom: 'refused',
    recognised: "a NodePort's rule is gone while the Service's chains are there, or nat is empty while the canary in mangle is intact",
    detector: 'proxy.ts',
    proof: 'capture',
  },
  {
    id: 'B07',
    cause: 'Rules follow an old state of the cluster',
    symptom: 'varies',
    recognised: 'most Services differ from the objects while kube-proxy runs',
    detector: 'proxy.ts',
    proof: 'edited',
  },
  {
    id: 'B08',
    cause: 'IPVS keeps stale real servers',
    symptom: 'varies',
    recognised: 'real servers that the Service does not have',
    detector: 'proxy.ts',
    proof: 'edited',
  },
  {
    id: 'B09',
    cause: 'Rules outlive a Service',
    symptom: 'wrong backend',
    recognised: 'a rule claims a NodePort that no Service has',
    detector: 'proxy.ts',
    proof: 'edited',
  },
  {
    id: 'B10',
    cause: 'IPVS sends new connections to real servers that are gone',
    symptom: 'timeout',
    recognised: 'net.ipv4.vs.conn_reuse_mode and expire_nodest_conn are 0 in mode ipvs',
    detector: 'masquerade.ts',
    proof: 'edited',
  },
  {
    id: 'B11',
    cause: 'An ipset of IPVS mode is missing or not filled',
    symptom: 'timeout',
    recognised: 'IPVS has a virtual server for the port, and the set of NodePorts lacks it or is not there; or KUBE-LOOP-BACK lacks a pod that reaches itself',
    detector: 'ipvs.ts',
    proof: 'edited',
  },
  {
    id: 'B12',
    cause: 'IPVS and the INPUT policy DROP',
    symptom: 'timeout',
    recognised: 'mode ipvs, decided by the policy of INPUT',
    detector: 'decider-causes.ts',
    proof: 'edited',
  },
  {
    id: 'B13',
    cause: 'IPVS and the FORWARD policy DROP',
    symptom: 'timeout',
    recognised: 'mode ipvs, decided by the policy of FORWARD',
    detector: 'decider-causes.ts',
    proof: 'edited',
  },
  {
    id: 'B14',
    cause: 'IPVS serves not every address of the node',
    symptom: 'refused',
    recognised: "mode ipvs; kube-proxy's sets hold the port, and IPVS has no virtual server for the address",
    detector: 'ipvs.ts',
    proof: 'capture',
  },
  {
    id: 'B15',
    cause: 'Left-over rules of kube-proxy stand in the way',
    symptom: 'varies',
    recognised: "a rule of kube-proxy's own drops or rejects although the Service has endpoints",
    detector: 'decider-causes.ts',
    proof: 'constructed',
  },
  {
    id: 'B16',
    cause: 'kube-proxy has just been started',
    symptom: 'varies',
    recognised: 'its process is younger than a minute and rules are not complete',
    detector: 'sync.ts',
    proof: 'edited',
  },
  {
    id: 'B17',
    cause: 'NodePorts are not served on this address',
    symptom: 'refused',
    recognised: 'the jump to KUBE-NODEPORTS or the set nodeport-ips leaves out an address of the Node object',
    detector: 'masquerade.ts',
    proof: 'edited',
  },
  {
    id: 'B18',
    cause: 'Rules are for an address that the node had before',
    symptom: 'refused',
    recognised: 'the same, and an address that is served is on no interface',
    detector: 'masquerade.ts',
    proof: 'edited',
  },
  {
    id: 'B19',
    cause: 'nftables mode serves no NodePort on 127.0.0.1: by design',
    symptom: 'refused',
    recognised: 'the change from iptables mode to nftables mode is on record',
    detector: 'masquerade.ts',
    proof: 'constructed',
  },
  {
    id: 'B20',
    cause: "kube-proxy's nftables table is not there",
    symptom: 'refused',
    recognised: 'its flags say nftables mode and there is no table kube-proxy; kernel older than 5.13, or who removed it',
    detector: 'sync.ts',
    proof: 'edited',
  },
  {
    id: 'B21',
    cause: "The client's address is not replaced",
    symptom: 'timeout',
    recognised: 'outside clients reach pods of other nodes without masquerade although the policy is Cluster',
    detector: 'masquerade.ts',
    proof: 'edited',
  },
  {
    id: 'B22',
    cause: "kube-proxy's cluster network is not that of the pods",
    symptom: 'varies',
    recognised: "the network that rules except from masquerade against the Nodes' podCIDRs",
    detector: 'masquerade.ts',
    proof: 'edited',
  },
  {
    id: 'B23',
    cause: "IPVS masquerades onto a NodePort's number",
    symptom: 'timeout',
    recognised: 'unanswered SYN_SENT entries of conntrack whose answer goes to a NodePort',
    detector: 'masquerade.ts',
    proof: 'edited',
  },
  {
    id: 'B24',
    cause: 'Tracked UDP connections lead to a pod that is gone',
    symptom: 'timeout',
    recognised: 'targets of conntrack entries of the NodePort that the Service does not have',
    detector: 'selection.ts',
    proof: 'edited',
  },
  {
    id: 'B25',
    cause: 'Packets of running connections are INVALID',
    symptom: 'varies',
    recognised: 'the counter of the INVALID rule of KUBE-FORWARD, tcp_be_liberal is 0',
    detector: 'masquerade.ts',
    proof: 'edited',
  },
  {
    id: 'B26',
    cause: 'No kube-proxy and no rules of one',
    symptom: 'refused',
    recognised: 'neither a process nor any of its rules',
    detector: 'proxy.ts',
    proof: 'edited',
  },
  {
    id: 'B27',
    cause: 'Another program serves NodePorts in BPF: not judged',
    symptom: 'varies',
    recognised: 'cilium-agent, antrea-agent or calico-node runs, no kube-proxy and none of its rules',
    detector: 'other-proxies.ts',
    proof: 'edited',
  },
  {
    id: 'C01',
    cause: 'FORWARD has the policy DROP (Docker sets it)',
    symptom: 'timeout',
    recognised: "decided by the policy of filter FORWARD; Docker's chains are there",
    detector: 'decider-causes.ts',
    proof: 'capture',
  },
  {
    id: 'C02',
    cause: "Docker's rules drop the packets",
    symptom: 'timeout',
    recognised: 'decided in a DOCKER chain',
    detector: 'decider-causes.ts',
    proof: 'edited',
  },
  {
    id: 'C03',
    cause: 'ufw denies routed traffic',
    symptom: 'timeout',
    recognised: "decided in a ufw chain, or by the policy of FORWARD where ufw's chains are loaded",
    detector: 'decider-causes.ts',
    proof: 'capture',
  },
  {
    id: 'C04',
    cause: "ufw denies what comes from the pods' interface",
    symptom: 'timeout',
    recognised: 'decided in a ufw chain, for pods alone',
    detector: 'decider-causes.ts',
    proof: 'edited',
  },
  {
    id: 'C05',
    cause: 'firewalld rejects packets to pods (iptables)',
    symptom: 'unreachable',
    recognised: 'decided in a chain of firewalld, or by a policy while firewalld says that it is in panic mode',
    detector: 'decider-causes.ts',
    proof: 'edited',
  },
  {
    id: 'C06',
    cause: "firewalld's reload flushed kube-proxy's rules",
    symptom: 'refused',
    recognised: 'the skeleton is missing, and firewalld made the change that removed it',
    detector: 'proxy.ts',
    proof: 'live',
  },
  {
    id: 'C07',
    cause: 'A native nftables firewall drops what kube-proxy has let through',
    symptom: 'unreachable',
    recognised: 'decided in a table that is not of Kubernetes',
    detector: 'decider-causes.ts',
    proof: 'capture',
  },
  {
    id: 'C08',
    cause: "A static rule of an administrator or of the node's image",
    symptom: 'varies',
    recognised: 'decided by a rule that no program owns, at any hook and table',
    detector: 'decider-causes.ts',
    proof: 'capture',
  },
  {
    id: 'C09',
    cause: "Default deny of INPUT behind kube-router's chain",
    symptom: 'timeout',
    recognised: 'decided by the policy of INPUT where KUBE-ROUTER-INPUT is',
    detector: 'decider-causes.ts',
    proof: 'edited',
  },
  {
    id: 'C10',
    cause: 'Rules of the other iptables backend block',
    symptom: 'varies',
    recognised: 'decided in the tables of the backend that kube-proxy does not write',
    detector: 'decider-causes.ts',
    proof: 'edited',
  },
  {
    id: 'C11',
    cause: 'Programs of the cluster write to two backends',
    symptom: 'none',
    recognised: "chains of kubelet, CNI or policies in another backend than kube-proxy's",
    detector: 'rules.ts',
    proof: 'edited',
  },
  {
    id: 'C12',
    cause: 'KUBE-FIREWALL drops everything (version skew)',
    symptom: 'timeout',
    recognised: 'its DROP has lost the match on the mark',
    detector: 'decider-causes.ts',
    proof: 'edited',
  },
  {
    id: 'C13',
    cause: 'One rule stands many times over',
    symptom: 'none',
    recognised: 'equal rules of a built-in chain, counted',
    detector: 'rules.ts',
    proof: 'edited',
  },
  {
    id: 'C14',
    cause: 'Rules were printed by a tool that does not understand them',
    symptom: 'none',
    recognised: '"unsupported revision" in a rule: not judged',
    detector: 'unknown.ts',
    proof: 'edited',
  },
  {
    id: 'C15',
    cause: 'A network policy of kube-router (k3s)',
    symptom: 'refused',
    recognised: 'decided in KUBE-POD-FW-* or KUBE-ROUTER-*',
    detector: 'decider-causes.ts',
    proof: 'edited',
  },
  {
    id: 'C16',
    cause: 'A network policy of Calico or another',
    symptom: 'timeout',
    recognised: 'decided in a cali- chain or a table of network policies',
    detector: 'decider-causes.ts',
    proof: 'edited',
  },
  {
    id: 'C17',
    cause: "Tailscale's rules drop the packets",
    symptom: 'timeout',
    recognised: 'decided in a ts- chain',
    detector: 'decider-causes.ts',
    proof: 'edited',
  },
  {
    id: 'C18',
    cause: 'A hardening or configuration job has reset the firewall',
    symptom: 'varies',
    recognised: 'the change that closed the gate was made by puppet, chef, salt, ansible, CSF …',
    detector: 'hardening.ts',
    proof: 'constructed',
  },
  {
    id: 'C19',
    cause: "Docker's rules were left behind",
    symptom: 'timeout',
    recognised: 'decided by Docker (its chains, the policy beside them) and no dockerd runs',
    detector: 'decider-causes.ts',
    proof: 'edited',
  },
  {
    id: 'C20',
    cause: "A pod's hostPort has lost its rule",
    symptom: 'refused',
    recognised: 'hostPorts of running pods against CNI-HOSTPORT-DNAT',
    detector: 'rules.ts',
    proof: 'edited',
  },
  {
    id: 'C21',
    cause: 'A security group of the cloud lacks the NodePort',
    symptom: 'timeout',
    recognised: 'a change on record of a security group that admitted the port; what never reaches the node is seen by nobody there',
    detector: 'underlay.ts',
    proof: 'constructed',
  },
  {
    id: 'C22',
    cause: "The port of the pods' tunnel is shut",
    symptom: 'timeout',
    recognised: 'what other nodes meet at the UDP port of flannel, Calico, Cilium or WireGuard',
    detector: 'underlay.ts',
    proof: 'edited',
  },
  {
    id: 'D01',
    cause: 'Forwarding is off',
    symptom: 'timeout',
    recognised: 'net.ipv4.ip_forward or net.ipv6.conf.all.forwarding is 0',
    detector: 'decider-causes.ts',
    proof: 'live',
  },
  {
    id: 'D02',
    cause: 'Forwarding is off on one interface',
    symptom: 'timeout',
    recognised: 'net.ipv4.conf.IF.forwarding is 0',
    detector: 'decider-causes.ts',
    proof: 'edited',
  },
  {
    id: 'D03',
    cause: 'Strict reverse path filtering on an asymmetric path',
    symptom: 'timeout',
    recognised: 'decided by rp_filter',
    detector: 'decider-causes.ts',
    proof: 'constructed',
  },
  {
    id: 'D04',
    cause: 'route_localnet is off',
    symptom: 'timeout',
    recognised: 'decided by route_localnet; or it is 0 in iptables mode: NodePorts on 127.0.0.1',
    detector: 'decider-causes.ts, masquerade.ts',
    proof: 'edited',
  },
  {
    id: 'D05',
    cause: 'Another kernel setting',
    symptom: 'timeout',
    recognised: 'decided by a setting, e.g. bridge-nf-call-iptables',
    detector: 'decider-causes.ts',
    proof: 'constructed',
  },
  {
    id: 'D06',
    cause: 'Bridge ports do not send packets back',
    symptom: 'timeout',
    recognised: 'hairpin_mode of bridge ports is 0',
    detector: 'underlay.ts',
    proof: 'edited',
  },
  {
    id: 'D07',
    cause: 'The table of connections is full',
    symptom: 'timeout',
    recognised: 'nf_conntrack_count against nf_conntrack_max, drop and early_drop',
    detector: 'kernel.ts',
    proof: 'edited',
  },
  {
    id: 'D08',
    cause: "The node's own port range overlaps NodePorts",
    symptom: 'varies',
    recognised: 'ip_local_port_range without ip_local_reserved_ports against the NodePorts',
    detector: 'kernel.ts',
    proof: 'edited',
  },
  {
    id: 'D09',
    cause: 'A host process listens on a NodePort: shadowed by the Service',
    symptom: 'none',
    recognised: "a listener that is not kube-proxy's on the number of a NodePort",
    detector: 'sockets.ts',
    proof: 'capture',
  },
  {
    id: 'D10',
    cause: "Checksums of the tunnel's packets are damaged",
    symptom: 'timeout',
    recognised: 'Udp InCsumErrors beside a VXLAN or Geneve interface',
    detector: 'underlay.ts',
    proof: 'edited',
  },
  {
    id: 'D11',
    cause: 'The tunnel is larger than the network below takes',
    symptom: 'timeout',
    recognised: 'MTU of the tunnel and its overhead against the MTU of the default route',
    detector: 'underlay.ts',
    proof: 'edited',
  },
  {
    id: 'D12',
    cause: 'New connections clash when their source is replaced',
    symptom: 'varies',
    recognised: 'insert_failed of conntrack',
    detector: 'kernel.ts',
    proof: 'edited',
  },
  {
    id: 'D13',
    cause: 'A kernel module is missing',
    symptom: 'varies',
    recognised: "a tool that reads rules says so; or the kernel's configuration and lists of modules do not have what the mode of kube-proxy needs",
    detector: 'kernel.ts',
    proof: 'constructed',
  },
  {
    id: 'D14',
    cause: "nm-cloud-setup's routing rules",
    symptom: 'timeout',
    recognised: 'policy rules of priority 30200-30499 with tables of their own',
    detector: 'underlay.ts',
    proof: 'edited',
  },
  {
    id: 'D15',
    cause: 'systemd-networkd removed foreign routes',
    symptom: 'timeout',
    recognised: 'a pod network has lost its route while systemd-networkd was restarted',
    detector: 'underlay.ts',
    proof: 'constructed',
  },
  {
    id: 'D16',
    cause: "The node's address has changed",
    symptom: 'timeout',
    recognised: "the Node's InternalIP is on none of its interfaces",
    detector: 'addresses.ts',
    proof: 'live',
  },
  {
    id: 'D17',
    cause: 'No way to the endpoints',
    symptom: 'timeout',
    recognised:
      'decided by routing; or a pod network without a route while others have one; or a tunnel without a neighbour or forwarding entry for a next hop',
    detector: 'decider-causes.ts, underlay.ts',
    proof: 'edited',
  },
  {
    id: 'D18',
    cause: 'A virtual address has left the node',
    symptom: 'refused',
    recognised: 'an address of its own (/32, /128) went, by the ledger',
    detector: 'kernel.ts',
    proof: 'constructed',
  },
  {
    id: 'D19',
    cause: "Every node answers for load balancers' addresses",
    symptom: 'wrong backend',
    recognised: 'addresses on kube-ipvs0 in a network of the node, arp_ignore and arp_announce',
    detector: 'kernel.ts',
    proof: 'edited',
  },
  {
    id: 'D20',
    cause: 'No way back to some clients',
    symptom: 'timeout',
    recognised: 'decided by routing of the answer',
    detector: 'decider-causes.ts',
    proof: 'constructed',
  },
  {
    id: 'D21',
    cause: 'A link goes up and down',
    symptom: 'timeout',
    recognised: 'four changes of one interface within ten minutes, by the ledger',
    detector: 'kernel.ts',
    proof: 'constructed',
  },
  {
    id: 'D22',
    cause: 'The kernel drops packets before it looks at them',
    symptom: 'varies',
    recognised: 'the second column of softnet_stat',
    detector: 'kernel.ts',
    proof: 'edited',
  },
  {
    id: 'E01',
    cause: 'An agent spoke for another node, or two have one identity',
    symptom: 'none',
    recognised: 'a frame named another node than the one the agent was let in for, or runs of two agents took turns, by the ledger',
    detector: 'identity.ts',
    proof: 'constructed',
  },
];

/** Where the tests of one kind of proof are. */
export const proofTests: Readonly<Record<Exclude<Proof, 'none'>, readonly string[]>> = {
  live: ['test/labs/incidents.ts', 'test/labs/incidents.test.ts'],
  capture: ['test/cli/check.golden.txt', 'test/collector/causes/ipvs.test.ts'],
  edited: ['test/cli/check.spoiled.test.ts', 'test/cli/check.surroundings.test.ts', 'test/cli/check.edited.test.ts', 'test/collector/causes/ipvs.test.ts'],
  constructed: ['test/collector/causes/*.test.ts'],
};

/** The catalogue as Markdown. */
export function catalogueText(): string {
  const sections = Object.entries(groups).map(([letter, title]) => {
    const rows = catalogue
      .filter(({ id }) => id.startsWith(letter))
      .map(({ id, cause, symptom, recognised, detector, proof }) => {
        return `| <a id="${id.toLowerCase()}"></a>${id} | ${cause} | ${symptom} | ${recognised || 'not detected'} | ${detector ?? '-'} | ${proofWords[proof]} |`;
      });
    return `## ${letter}. ${title}\n\n| id | cause | a client meets | recognised by | in | test |\n| --- | --- | --- | --- | --- | --- |\n${rows.join('\n')}\n`;
  });
  return `${head}\n${sections.join('\n')}`;
}

const proofWords: Readonly<Record<Proof, string>> = { live: 'live', capture: 'capture', edited: 'edited capture', constructed: 'constructed', none: '-' };

const head = `# Causes

Why a NodePort does not answer: the ${catalogue.length} causes that \`portreeve check\` and the collector tell apart. The id is the \`cause\` of a finding. Nothing is alarmed on by
itself, neither two backends in use nor an active firewall nor a policy DROP: only an outcome that differs from what the cluster's objects ask for. What could
not be judged is reported with the cause \`unknown\`: it is neither healthy nor a fault.

*In* names the file of collector/causes that recognises the cause. *Test* says what its test rests on:

- **live**: a lab in which the real program makes the fault while agent and collector run (${proofTests.live.join(', ')});
- **capture**: captures of real nodes with the fault, with the traffic that was recorded there (${proofTests.capture.join(', ')});
- **edited capture**: a capture of a sound node, edited so that it has the fault (${proofTests.edited.join(', ')});
- **constructed**: facts, objects or changes made by hand (${proofTests.constructed.join(', ')}): the detector does what it should with such evidence; that a node
  with the fault yields this evidence is not shown.

This page is made from collector/causes/catalogue.ts.
`;
