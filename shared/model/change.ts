// Changes: the append-only ledger of a node or of the cluster: when, what, before, after, by whom.

/** Who made a change, as far as it is known. */
export interface Actor {
  readonly pid?: number;
  readonly comm?: string;
  readonly argv?: readonly string[];
  /** systemd unit or container. */
  readonly unit?: string;
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
}

/** A change with its identity: `stream` names one run of an agent (or of the collector's own watch), `seq` counts from 1 without holes within it. */
export interface SequencedChange extends Change {
  readonly stream: string;
  readonly seq: number;
}

/** Names an actor in a few words: `iptables, pid 4711`. */
export function actorText(actor: Actor | undefined): string {
  if (actor === undefined || actor.how === 'unknown') return 'unknown';
  const name = actor.argv === undefined || actor.argv.length === 0 ? actor.comm : actor.argv.join(' ');
  const parts = [name, actor.pid === undefined ? undefined : `pid ${actor.pid}`, actor.unit].filter((part) => part !== undefined);
  return parts.length === 0 ? 'unknown' : parts.join(', ');
}
