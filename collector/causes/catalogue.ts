// The catalogue of the causes that detectors know: what each is, what a client meets, and by what it is recognised. docs/causes.md is made from it.

/** What a client meets. `varies`: it depends on what was left over. */
export type CatalogueSymptom = 'refused' | 'timeout' | 'unreachable' | 'wrong backend' | 'varies' | 'none';

export interface CatalogueEntry {
  /** `A01` …: the letter is the group. */
  readonly id: string;
  readonly cause: string;
  readonly symptom: CatalogueSymptom;
  readonly recognised: string;
}

/** Titles of the groups, by the letter of an id. */
export const groups: Readonly<Record<string, string>> = {
  A: 'Services and endpoints',
  B: 'kube-proxy and its rules',
  C: 'Firewalls and other owners of rules',
  D: 'Kernel settings, routes, addresses, sockets',
};

/** By group, then by id. */
export const catalogue: readonly CatalogueEntry[] = [
  { id: 'A01', cause: 'No ready endpoint', symptom: 'refused', recognised: 'no EndpointSlice of the Service holds a usable endpoint, and nothing says why' },
  {
    id: 'A02',
    cause: 'The selector matches no pod, or no pod is Ready',
    symptom: 'refused',
    recognised: "selector against the pods' labels; Ready conditions",
  },
  {
    id: 'A03',
    cause: 'targetPort is wrong',
    symptom: 'refused',
    recognised:
      'no container names its port so (certain); or no container declares the number and it looks like a slip, a default left in place, or the pods declare one port only (likely)',
  },
  {
    id: 'A04',
    cause: 'externalTrafficPolicy Local and no endpoint on this node: by design',
    symptom: 'timeout',
    recognised: 'endpoints are ready, none has this node as its nodeName',
  },
  {
    id: 'A05',
    cause: 'kube-proxy does not recognise its local endpoint',
    symptom: 'timeout',
    recognised: 'a "no local endpoints" rule although a slice names this node',
  },
  { id: 'A07', cause: 'Only terminating endpoints serve', symptom: 'none', recognised: 'all endpoints in use are serving and terminating' },
  { id: 'A10', cause: 'The pods have no address of the family', symptom: 'refused', recognised: "the Service's families against the pods' addresses" },
  { id: 'A11', cause: 'A label leaves the Service to another proxy', symptom: 'refused', recognised: 'the label service.kubernetes.io/service-proxy-name' },
  { id: 'A13', cause: 'loadBalancerSourceRanges filters the clients', symptom: 'timeout', recognised: 'decided in KUBE-FW-* or KUBE-PROXY-FIREWALL' },
  {
    id: 'A15',
    cause: 'A hostPort takes the packets of the NodePort',
    symptom: 'wrong backend',
    recognised: 'translated to a pod on this node whose hostPort has the same number',
  },
  {
    id: 'B01',
    cause: 'kube-proxy is not running, its rules are left over',
    symptom: 'varies',
    recognised: 'no process and no health port; rules differ from the objects',
  },
  {
    id: 'B02',
    cause: "Parts of kube-proxy's rules are missing that every NodePort needs",
    symptom: 'refused',
    recognised: 'chains, or jumps to them from the hooks, are not there',
  },
  {
    id: 'B05',
    cause: "One Service's rules are out of date",
    symptom: 'varies',
    recognised: 'its targets differ from the EndpointSlices while other Services are right',
  },
  {
    id: 'B06',
    cause: "kube-proxy's rules were removed from outside",
    symptom: 'refused',
    recognised: "a NodePort's rule is gone while the Service's chains are there, or nat is empty while the canary in mangle is intact",
  },
  {
    id: 'B07',
    cause: 'Rules follow an old state of the cluster',
    symptom: 'varies',
    recognised: 'most Services differ from the objects while kube-proxy runs',
  },
  { id: 'B08', cause: 'IPVS keeps stale real servers', symptom: 'varies', recognised: 'real servers that the Service does not have' },
  { id: 'B09', cause: 'Rules outlive a Service', symptom: 'wrong backend', recognised: 'a rule claims a NodePort that no Service has' },
  { id: 'B12', cause: 'IPVS and the INPUT policy DROP', symptom: 'timeout', recognised: 'mode ipvs, decided by the policy of INPUT' },
  { id: 'B13', cause: 'IPVS and the FORWARD policy DROP', symptom: 'timeout', recognised: 'mode ipvs, decided by the policy of FORWARD' },
  {
    id: 'B14',
    cause: 'IPVS serves not every address of the node',
    symptom: 'refused',
    recognised: "mode ipvs; kube-proxy's sets hold the port, and IPVS has no virtual server for the address",
  },
  {
    id: 'B15',
    cause: 'Left-over rules of kube-proxy stand in the way',
    symptom: 'varies',
    recognised: "a rule of kube-proxy's own drops or rejects although the Service has endpoints",
  },
  { id: 'B26', cause: 'No kube-proxy and no rules of one', symptom: 'refused', recognised: 'neither a process nor any of its rules' },
  {
    id: 'C01',
    cause: 'FORWARD has the policy DROP (Docker sets it)',
    symptom: 'timeout',
    recognised: "decided by the policy of filter FORWARD; Docker's chains are there",
  },
  { id: 'C02', cause: "Docker's rules drop the packets", symptom: 'timeout', recognised: 'decided in a DOCKER chain' },
  {
    id: 'C03',
    cause: 'ufw denies routed traffic',
    symptom: 'timeout',
    recognised: "decided in a ufw chain, or by the policy of FORWARD where ufw's chains are loaded",
  },
  { id: 'C05', cause: 'firewalld rejects packets to pods (iptables)', symptom: 'unreachable', recognised: 'decided in a chain of firewalld' },
  {
    id: 'C06',
    cause: "firewalld's reload flushed kube-proxy's rules",
    symptom: 'refused',
    recognised: 'the skeleton is missing, and firewalld made the change that removed it',
  },
  {
    id: 'C07',
    cause: 'A native nftables firewall drops what kube-proxy has let through',
    symptom: 'unreachable',
    recognised: 'decided in a table that is not of Kubernetes',
  },
  {
    id: 'C08',
    cause: "A static rule of an administrator or of the node's image",
    symptom: 'varies',
    recognised: 'decided by a rule that no program owns, at any hook and table',
  },
  {
    id: 'C10',
    cause: 'Rules of the other iptables backend block',
    symptom: 'varies',
    recognised: 'decided in the tables of the backend that kube-proxy does not write',
  },
  { id: 'C12', cause: 'KUBE-FIREWALL drops everything (version skew)', symptom: 'timeout', recognised: 'its DROP has lost the match on the mark' },
  {
    id: 'C14',
    cause: 'Rules were printed by a tool that does not understand them',
    symptom: 'none',
    recognised: '"unsupported revision" in a rule: not judged',
  },
  { id: 'C15', cause: 'A network policy of kube-router (k3s)', symptom: 'refused', recognised: 'decided in KUBE-POD-FW-* or KUBE-ROUTER-*' },
  { id: 'C16', cause: 'A network policy of Calico or another', symptom: 'timeout', recognised: 'decided in a cali- chain or a table of network policies' },
  { id: 'C17', cause: "Tailscale's rules drop the packets", symptom: 'timeout', recognised: 'decided in a ts- chain' },
  { id: 'D01', cause: 'Forwarding is off', symptom: 'timeout', recognised: 'net.ipv4.ip_forward or net.ipv6.conf.all.forwarding is 0' },
  { id: 'D02', cause: 'Forwarding is off on one interface', symptom: 'timeout', recognised: 'net.ipv4.conf.IF.forwarding is 0' },
  { id: 'D03', cause: 'Strict reverse path filtering on an asymmetric path', symptom: 'timeout', recognised: 'decided by rp_filter' },
  { id: 'D04', cause: 'route_localnet is off', symptom: 'timeout', recognised: 'decided by route_localnet' },
  { id: 'D05', cause: 'Another kernel setting', symptom: 'timeout', recognised: 'decided by a setting, e.g. bridge-nf-call-iptables' },
  {
    id: 'D09',
    cause: 'A host process listens on a NodePort: shadowed by the Service',
    symptom: 'none',
    recognised: "a listener that is not kube-proxy's on the number of a NodePort",
  },
  { id: 'D16', cause: "The node's address has changed", symptom: 'timeout', recognised: "the Node's InternalIP is on none of its interfaces" },
  { id: 'D17', cause: 'No way to the endpoints', symptom: 'timeout', recognised: 'decided by routing towards the endpoint' },
  { id: 'D20', cause: 'No way back to some clients', symptom: 'timeout', recognised: 'decided by routing of the answer' },
];

/** The catalogue as Markdown. */
export function catalogueText(): string {
  const sections = Object.entries(groups).map(([letter, title]) => {
    const rows = catalogue
      .filter(({ id }) => id.startsWith(letter))
      .map(({ id, cause, symptom, recognised }) => `| ${id} | ${cause} | ${symptom} | ${recognised} |`);
    return `## ${letter}. ${title}\n\n| id | cause | a client meets | recognised by |\n| --- | --- | --- | --- |\n${rows.join('\n')}\n`;
  });
  return `${head}\n${sections.join('\n')}`;
}

const head = `# Causes

Why a NodePort does not answer: the causes that \`portreeve check\` and the collector know. The id is the \`cause\` of a finding. Nothing is alarmed on by
itself, neither two backends in use nor an active firewall nor a policy DROP: only an outcome that differs from what the cluster's objects ask for. What could
not be judged is reported with the cause \`unknown\`: it is neither healthy nor a fault.

This page is made from collector/causes/catalogue.ts.
`;
