// The classes of changes that an operator's playbook has, and how long before a fault a change of each may lie.
import type { Actor, Change, ChangeKind } from '../../shared/model/change.ts';

/** How many minutes before an onset a change of a class is looked for first. */
export const windows = {
  firewall: 10,
  'kube-proxy': 5,
  interface: 10,
  service: 30,
  'security group': 10,
  cni: 60,
  'network policy': 30,
} as const;
export type ChangeClass = keyof typeof windows;

/** Minutes before an onset in which changes of any class are looked for, one after another, when the windows of the classes hold nothing that stands out. */
export const extendedMinutes = [10, 30, 120] as const;

/** Kinds of changes that tell of rules. */
export const ruleKinds: ReadonlySet<ChangeKind> = new Set(['rule', 'chain', 'policy', 'set', 'table']);

/** The class whose window a change belongs to; undefined for changes that break no NodePort (a listener, a gap of the record). */
export function classOf(change: Change): ChangeClass | undefined {
  if (isOfSecurityGroup(change)) return 'security group';
  if (change.kind === 'process') return processClass(change);
  if (ruleKinds.has(change.kind)) return ruleClass(change);
  return classesByKind[change.kind];
}

/** Whether a change is of a cloud's firewall. A ledger may hold millions of others: a search for a text is cheaper than a pattern. */
export const isOfSecurityGroup = ({ subject }: Change): boolean => subject.includes('ecurity group') || subject.includes('ecurity Group');

// What another program does to kube-proxy's rules is a firewall's act, whoever they belong to.
function ruleClass(change: Change): ChangeClass {
  if (change.owner === 'kube-proxy') return isByAnother(change) ? 'firewall' : 'kube-proxy';
  return change.owner === 'cni' || change.owner === 'network-policy' ? 'cni' : 'firewall';
}

/** Whether a program that writes rules of a cluster all day acted, itself or by a tool that it started. */
export function isOfCluster({ comm, parents }: Actor): boolean {
  if (comm !== undefined && clusterPrograms.test(comm)) return true;
  return parents?.some((parent) => clusterPrograms.test(parent.comm)) === true;
}

const clusterPrograms = /^(kube-proxy|k3s|rke2|kubelite|kubelet|flanneld|calico-node|felix|kube-router|cilium-agent|antrea-agent|portmap|bridge|host-local)/;

// kube-proxy calls iptables-restore and nft: with nothing known of who started them, they are taken for its own.
function isByAnother({ actor }: Change): boolean {
  if (actor?.comm === undefined || actor.how === 'unknown') return false;
  if (isOfCluster(actor)) return false;
  return (actor.parents !== undefined && actor.parents.length > 0) || !/^(ip6?tables-resto|xtables-|nft$)/.test(actor.comm);
}

/** `41 s`, `12 min`, `3 h`. */
export function durationText(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

const classesByKind: Readonly<Partial<Record<ChangeKind, ChangeClass>>> = {
  interface: 'interface',
  address: 'interface',
  route: 'interface',
  sysctl: 'interface',
  service: 'service',
  endpoints: 'service',
  node: 'service',
  pod: 'service',
  'network-policy': 'network policy',
  config: 'kube-proxy',
};

function processClass(change: Change): ChangeClass | undefined {
  if (/kube-proxy|\bk3s|\brke2/.test(change.subject)) return 'kube-proxy';
  if (/flannel|calico|cilium|antrea|weave|kube-router|\bcni\b/.test(change.subject)) return 'cni';
  return /firewalld|\bufw\b|docker|nftables|iptables/.test(change.subject) ? 'firewall' : undefined;
}
