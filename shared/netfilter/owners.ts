// Which program a chain, table or set belongs to, by the names that the programs give them: says who is likely to put a rule back, or to fight over it.
import type { Owner } from '../model/change.ts';

/** What is known of the object; `rule` is a rule's text, which decides in the built-in chains that belong to nobody. */
export interface OwnedObject {
  readonly family: string;
  readonly table: string;
  readonly chain?: string;
  readonly rule?: string;
}

/** A program that writes rules. */
interface Program {
  readonly owner: Owner;
  /** Its own name, where the class of owner holds several: `Calico`, `Cilium`. */
  readonly product?: string;
}

/** The owner of a chain, a set or a table. A rule in a built-in chain belongs to the owner of the chain that it jumps to, else to an administrator. */
export function ownerOf(object: OwnedObject): Owner {
  const program = programOf(object);
  if (program !== undefined) return program.owner;
  return object.rule === undefined ? 'unknown' : 'admin';
}

/** The program's own name (`Calico`, `flannel`, `kube-router` …) where the owner's class holds several; undefined elsewhere. */
export const productOf = (object: OwnedObject): string | undefined => programOf(object)?.product;

/** The owner that a name of a chain or of an ipset tells; undefined for names that no program here uses. */
export const ownerOfName = (name: string): Owner | undefined => byName(name)?.owner;

/** The owner of a routing rule, as `ip rule` prints it (`30400: from 10.0.0.5 lookup 30400`); undefined where nothing tells. */
export const ownerOfRoutingRule = (text: string): Owner | undefined => routingRules.find(([pattern]) => pattern.test(text))?.[1];

function programOf({ family, table, chain, rule }: OwnedObject): Program | undefined {
  const byTable = tables.find(([pattern]) => pattern.test(`${family} ${table}`))?.[1];
  return byTable ?? (chain === undefined ? undefined : byName(chain)) ?? (rule === undefined ? undefined : byRule(rule));
}

const byName = (name: string): Program | undefined => names.find(([pattern]) => pattern.test(name))?.[1];

const cni = (product?: string): Program => ({ owner: 'cni', ...(product === undefined ? {} : { product }) });
const policy = (product?: string): Program => ({ owner: 'network-policy', ...(product === undefined ? {} : { product }) });

type Names = readonly (readonly [RegExp, Program])[];

/** Native tables by `FAMILY NAME`. */
const tables: Names = [
  [/^ip6? kube-proxy$/, { owner: 'kube-proxy' }],
  [/^(?:inet|ip|ip6) firewalld(?:_|$)/, { owner: 'firewalld' }],
  [/^(?:inet|ip|ip6) docker(?:-bridges|$)/, { owner: 'docker' }],
  [/^inet kube-network-policies$|^\S+ kube-network-policy/, policy('kube-network-policies')],
  [/^(?:ip|ip6|inet|netdev) calico$/, policy('Calico')],
  [/^(?:inet|ip|ip6) cilium/, cni('Cilium')],
  [/^(?:inet|ip|ip6) flannel-ipv[46]$|^(?:inet|ip|ip6) flannel/, cni('flannel')],
  [/^(?:inet|ip|ip6) cni_hostport$/, cni('portmap')],
  [/^(?:inet|ip|ip6) (?:cni|cni_)/, cni()],
  [/^(?:inet|ip|ip6) kindnet/, cni('kindnet')],
  [/^(?:inet|ip|ip6) (?:antrea|Antrea)/, cni('Antrea')],
  [/^(?:inet|ip|ip6) ovn-kube/, cni('OVN-Kubernetes')],
  [/^inet netavark$/, { owner: 'podman' }],
  [/^(?:inet|ip|ip6) (?:lxd|incus)(?:$|_)/, { owner: 'lxd' }],
  [/^\S+ f2b-/, { owner: 'fail2ban' }],
  [/^(?:ip crowdsec|ip6 crowdsec6)$/, { owner: 'crowdsec' }],
  [/^\S+ libvirt_network$/, { owner: 'libvirt' }],
  [/^ip6? io\.systemd\.nat$/, { owner: 'systemd' }],
  [/^(?:inet|ip|ip6) nm-shared-/, { owner: 'network-manager' }],
];

// Exact names of the kubelet come before the prefix that it shares with kube-proxy, and those of network policies likewise.
const names: Names = [
  [/^KUBE-(?:FIREWALL|KUBELET-CANARY|MARK-DROP|IPTABLES-HINT)$/, { owner: 'kubelet' }],
  [/^KUBE-(?:ROUTER-|POD-FW-|NWPLCY-|DST-|SRC-|NETPOL)|^(?:inet6:)?kube-router-/, policy('kube-router')],
  [/^KNP-/, policy('kube-network-policies')],
  [/^(?:cali[-0-9]|cali$)/, policy('Calico')],
  [/^(?:WEAVE-NPC|weave-)/, policy('Weave')],
  [/^AZURE-NPM/, policy('Azure NPM')],
  [/^MULTI-(?:\d+-)?(?:INGRESS|EGRESS)/, policy('multi-networkpolicy')],
  [/^CILIUM_POST_nat_netpol$/, policy('Cilium')],
  [/^KUBE-/, { owner: 'kube-proxy' }],
  [/^FLANNEL-/, cni('flannel')],
  [/^CNI-(?:HOSTPORT-|DN-|SN-)/, cni('portmap')],
  [/^CNI-/, cni()],
  [/^WEAVE(?:$|-)/, cni('Weave')],
  [/^(?:OLD_)?CILIUM_/, cni('Cilium')],
  [/^ANTREA-/, cni('Antrea')],
  [/^OVN-KUBE-/, cni('OVN-Kubernetes')],
  [/^OPENSHIFT-/, cni('OpenShift SDN')],
  [/^AWS-/, cni('AWS VPC CNI')],
  [/^(?:KIND-|KINDNET-)/, cni('kindnet')],
  [/^IP-MASQ/, cni('ip-masq-agent')],
  [/^CATTLE_/, cni('Rancher')],
  [/^SUBMARINER-/, cni('Submariner')],
  [/^ISTIO_/, cni('Istio')],
  [/^DOCKER(?:$|[-_])/, { owner: 'docker' }],
  [/^NETAVARK/, { owner: 'podman' }],
  [/^ufw6?-/, { owner: 'ufw' }],
  [/^(?:PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING)_(?:direct|ZONES(?:_SOURCE)?|(?:IN|OUT)_ZONES(?:_SOURCE)?|POLICIES_(?:pre|post))$/, { owner: 'firewalld' }],
  [/^(?:IN|OUT|FWD|FWDI|FWDO|PRE|POST)_[A-Za-z0-9][\w-]*$/, { owner: 'firewalld' }],
  [/^LIBVIRT_/, { owner: 'libvirt' }],
  [/^ts-/, { owner: 'tailscale' }],
  [/^(?:f2b-|fail2ban-)/, { owner: 'fail2ban' }],
  [/^(?:CROWDSEC_CHAIN|crowdsec6?-blacklists)/, { owner: 'crowdsec' }],
  [/^nm-(?:shared|sh-(?:in|fw))-/, { owner: 'network-manager' }],
  // ConfigServer Firewall (CSF, with its daemon lfd) has no prefix.
  [
    /^(?:LOCALINPUT|LOCALOUTPUT|G?(?:DENY|ALLOW)(?:DYN)?(?:IN|OUT)|LOGDROP(?:IN|OUT)|INVDROP|SMTPOUTPUT|CC_(?:DENY|ALLOW|ALLOWF|ALLOWP|ALLOWPORTS|DENYP)|chain_(?:DENY|ALLOW))$/,
    { owner: 'csf' },
  ],
];

function byRule(rule: string): Program | undefined {
  const target = /(?:^| )(?:-j|-g|--jump|--goto|jump|goto) ([^\s:;"]+)/.exec(rule)?.[1];
  const byTarget = target === undefined ? undefined : byName(target);
  if (byTarget !== undefined) return byTarget;
  // Programs that write into built-in chains without a chain of their own sign with a comment, or name a device of their own.
  const comment = /--comment "?([^"]*)/.exec(rule)?.[1] ?? /\bcomment "([^"]*)"/.exec(rule)?.[1] ?? '';
  return comments.find(([pattern]) => pattern.test(comment))?.[1] ?? devices.find(([pattern]) => pattern.test(rule))?.[1];
}

const comments: Names = [
  [/^flanneld /, cni('flannel')],
  [/^(?:cilium|cilium-feeder):? /, cni('Cilium')],
  [/^Antrea: /, cni('Antrea')],
  [/^AWS, |^AWS /, cni('AWS VPC CNI')],
  [/^ip-masq-agent: /, cni('ip-masq-agent')],
  [/^(?:name: ".*" id: "|CNI )/, cni()],
  [/^kubernetes (?:service|forwarding|load balancer|externally|postrouting|health check)/, { owner: 'kube-proxy' }],
  [/^(?:cali:|Policy explicitly accepted packet\.)/, policy('Calico')],
  [/^kube-router netpol/, policy('kube-router')],
  [/^generated for (?:LXD|Incus) network /, { owner: 'lxd' }],
  [/^nm-shared-/, { owner: 'network-manager' }],
];

/** Devices that one program makes and names, in rules that bear no comment. */
const devices: Names = [
  [/(?:^| )(?:-i|-o|iifname|oifname) "?virbr\d/, { owner: 'libvirt' }],
  [/(?:^| )(?:-i|-o|iifname|oifname) "?tailscale0/, { owner: 'tailscale' }],
  [/(?:^| )(?:-i|-o|iifname|oifname) "?(?:lxdbr|incusbr)\d/, { owner: 'lxd' }],
];

/** Routing rules by their priorities and marks, as their programs choose them. */
const routingRules: readonly (readonly [RegExp, Owner])[] = [
  // nm-cloud-setup of NetworkManager: rules and tables of one number.
  [/^30[2-4]\d\d: .*lookup 30[2-4]\d\d\b/, 'network-manager'],
  [/^52[1-7]0: .*(?:fwmark 0x80000(?:\/0xff0000)?|lookup 52\b)/, 'tailscale'],
  [/\bfwmark 0x200(?:\/0xf00)? .*lookup 2004\b|\bfwmark 0xa00(?:\/0xf00)? .*lookup 2005\b/, 'cni'],
  [/^(?:512|1024|1536): .*(?:lookup main|fwmark 0x80\/0x80)/, 'cni'],
];
