// Changes: the append-only ledger of a node or of the cluster: when, what, before, after, by whom.

/** Who made a change, as far as it is known. */
export interface Actor {
  readonly pid?: number;
  readonly comm?: string;
  readonly argv?: readonly string[];
  /** systemd unit or container. */
  readonly unit?: string;
  /** Who started it, the parent first: `bash`, `sshd` …; absent where only the kernel's exec events could tell and none came. */
  readonly parents?: readonly { readonly pid: number; readonly comm: string }[];
  readonly uid?: number;
  /** User id of the login that it descends from, also through sudo; absent for what no login started. */
  readonly loginUid?: number;
  /** How it is known: nft names the process of each generation; `api` is the field manager of a Kubernetes object; `file` a manifest that was edited. */
  readonly how: 'nft-generation' | 'ebpf' | 'audit' | 'exec-event' | 'manager-signal' | 'api' | 'file' | 'unknown';
}

/** The program a rule belongs to, by its chain or table. */
export type Owner =
  | 'kube-proxy'
  | 'kubelet'
  | 'cni'
  | 'network-policy'
  | 'docker'
  | 'podman'
  | 'libvirt'
  | 'tailscale'
  | 'ufw'
  | 'firewalld'
  | 'fail2ban'
  | 'crowdsec'
  | 'csf'
  | 'lxd'
  | 'systemd'
  | 'network-manager'
  | 'admin'
  | 'unknown';

export type ChangeKind =
  | 'rule'
  | 'chain'
  | 'policy'
  | 'set'
  | 'table'
  | 'listener'
  | 'interface'
  | 'address'
  | 'route'
  | 'sysctl'
  | 'process'
  | 'service'
  | 'endpoints'
  | 'node'
  | 'pod'
  /** Who speaks for a node. */
  | 'agent'
  | 'network-policy'
  | 'config'
  | 'gap';

export interface Change {
  /** Milliseconds since 1970, by the clock of the machine that saw it. */
  readonly at: number;
  /** Node name; empty for changes of cluster objects. */
  readonly node: string;
  readonly kind: ChangeKind;
  /** What changed, e.g. `ip filter FORWARD`, `interface eth0`, `net.ipv4.ip_forward`, `Service shop/web`. */
  readonly subject: string;
  /** State before, one line for each item; null when it did not exist. */
  readonly before: string | null;
  readonly after: string | null;
  readonly actor?: Actor;
  readonly owner?: Owner;
  /** With kind `gap`. */
  readonly gap?: GapSpan;
}

/** Why something that happened on a node may not be in the ledger. */
export type GapReason =
  /** No agent ran (or none that reached this collector's ledger), so nothing was observed. */
  | 'agent-down'
  /** The bound on what waits for a collector was reached, in memory or on disk. */
  | 'spool-full'
  /** Records of the spool could not be read back. */
  | 'spool-damaged'
  /** Changes of one object were folded into its first and its last, so that a long time without collector fits on disk. */
  | 'folded'
  /** The kernel or a monitor lost events. */
  | 'watch-overrun'
  /** Numbers of a stream never arrived, and nothing says why. */
  | 'lost';

/** A time of which the ledger does not tell everything. Milliseconds since 1970, by the clock of the machine that says so. */
export interface GapSpan {
  readonly reason: GapReason;
  readonly from: number;
  readonly to: number;
}

/** Changes of one object that were left out between the one before and this one of the same subject. */
export interface Folded {
  readonly count: number;
  /** The earliest and the latest time at which any of them was made; milliseconds since 1970. */
  readonly from: number;
  readonly to: number;
  /** Names of the programs that made them, some of them where they are many. */
  readonly by: readonly string[];
}

/** A change with its identity: `stream` names one run of an agent (or of the collector's own watch), `seq` counts from 1 without holes within it. */
export interface SequencedChange extends Change {
  readonly stream: string;
  readonly seq: number;
  /** This record also stands for that many seqs right before its own: they are accounted for and will not come. */
  readonly covers?: number;
  readonly folded?: Folded;
}

/** Names an actor in a few words: `iptables -P FORWARD DROP, pid 4711, by bash ← sshd, ssh.service`. */
export function actorText(actor: Actor | undefined): string {
  if (actor === undefined || actor.how === 'unknown') return 'unknown';
  const name = actor.argv === undefined || actor.argv.length === 0 ? actor.comm : actor.argv.join(' ');
  const parts = [name, actor.pid === undefined ? undefined : `pid ${actor.pid}`, parentsText(actor), actor.unit].filter((part) => part !== undefined);
  return parts.length === 0 ? 'unknown' : parts.join(', ');
}

// The first process of the system is everybody's ancestor, and a shell within a shell says nothing more.
function parentsText({ parents = [] }: Actor): string | undefined {
  const names = parents.filter(({ pid }) => pid > 1).map(({ comm }) => comm);
  const told = names.filter((name, index) => name !== names[index - 1]).slice(0, 3);
  return told.length === 0 ? undefined : `by ${told.join(' ← ')}`;
}
