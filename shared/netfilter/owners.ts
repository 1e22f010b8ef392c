// Which program a chain, table or set belongs to, by the names that the programs give them: says who is likely to put a rule back, or to fight over it.
import type { Owner } from '../model/change.ts';

/** What is known of the object; `rule` is a rule's text, which decides in the built-in chains that belong to nobody. */
export interface OwnedObject {
  readonly family: string;
  readonly table: string;
  readonly chain?: string;
  readonly rule?: string;
}

/** The owner of a chain, a set or a table. A rule in a built-in chain belongs to the owner of the chain that it jumps to, else to an administrator. */
export function ownerOf({ family, table, chain, rule }: OwnedObject): Owner {
  const byTable = tableOwners.find(([pattern]) => pattern.test(`${family} ${table}`));
  if (byTable !== undefined) return byTable[1];
  const byChain = chain === undefined ? undefined : ownerOfName(chain);
  if (byChain !== undefined) return byChain;
  if (rule === undefined) return 'unknown';
  return ownerOfRule(rule);
}

/** The owner that a name of a chain or of an ipset tells; undefined for names that no program here uses. */
export const ownerOfName = (name: string): Owner | undefined => nameOwners.find(([pattern]) => pattern.test(name))?.[1];

const tableOwners: readonly (readonly [RegExp, Owner])[] = [
  [/^(?:ip|ip6) kube-proxy$/, 'kube-proxy'],
  [/^(?:inet|ip|ip6) firewalld(?:_|$)/, 'firewalld'],
  [/^(?:inet|ip|ip6) (?:docker-bridges|docker)/, 'docker'],
  [/^(?:inet|ip|ip6) (?:kube-network-policies|kube-network-policy|calico)/, 'network-policy'],
  [/^(?:inet|ip|ip6) (?:cni|flannel|cilium|kindnet|cni_)/, 'cni'],
  [/^\S+ f2b-/, 'fail2ban'],
  [/^\S+ libvirt_network$/, 'libvirt'],
];

// Exact names of the kubelet come before the prefix that it shares with kube-proxy, and those of network policies likewise.
const nameOwners: readonly (readonly [RegExp, Owner])[] = [
  [/^KUBE-(?:FIREWALL|KUBELET-CANARY|MARK-DROP|IPTABLES-HINT)$/, 'kubelet'],
  [/^KUBE-(?:ROUTER-|POD-FW-|NWPLCY-|DST-|SRC-|NETPOL)/, 'network-policy'],
  [/^(?:cali[-0-9]|cali$|WEAVE-NPC|CILIUM_POST_nat_netpol|KNP-)/, 'network-policy'],
  [/^KUBE-/, 'kube-proxy'],
  [/^(?:FLANNEL-|CNI-|WEAVE|CILIUM_|OLD_CILIUM_|ANTREA-|KIND-|ISTIO_|AWS-|IP-MASQ)/, 'cni'],
  [/^DOCKER(?:$|[-_])/, 'docker'],
  [/^NETAVARK/, 'podman'],
  [/^ufw6?-/, 'ufw'],
  [/^(?:PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING)_(?:direct|ZONES(?:_SOURCE)?|POLICIES_(?:pre|post))$/, 'firewalld'],
  [/^(?:IN|OUT|FWD|FWDI|FWDO|PRE|POST)_[A-Za-z0-9][\w-]*$/, 'firewalld'],
  [/^LIBVIRT_/, 'libvirt'],
  [/^ts-/, 'tailscale'],
  [/^(?:f2b-|fail2ban-)/, 'fail2ban'],
];

function ownerOfRule(rule: string): Owner {
  const target = /(?:^| )(?:-j|-g|--jump|--goto|jump|goto) ([^\s:;"]+)/.exec(rule)?.[1];
  const byTarget = target === undefined ? undefined : ownerOfName(target);
  if (byTarget !== undefined) return byTarget;
  // Programs that write into built-in chains without a chain of their own sign with a comment.
  const comment = /--comment "?([^"]*)/.exec(rule)?.[1] ?? '';
  return commentOwners.find(([pattern]) => pattern.test(comment))?.[1] ?? 'admin';
}

const commentOwners: readonly (readonly [RegExp, Owner])[] = [
  [/^(?:flanneld |name: ".*" id: "|CNI )/, 'cni'],
  [/^kubernetes (?:service|forwarding|load balancer|externally)/, 'kube-proxy'],
  [/^cali:/, 'network-policy'],
];
