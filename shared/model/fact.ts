// Facts: keyed statements on a node now. A node's state is a map of them; the wire carries them, the collector compares them.
import type { Family } from './address.ts';
import type { Outcome, Vantage } from './outcome.ts';

/** Transport protocols that a NodePort can have, with their IP protocol numbers. */
export const protocolNumbers = { tcp: 6, udp: 17, sctp: 132 } as const;
export type Protocol = keyof typeof protocolNumbers;

/** A NodePort as a node sees it: `nodeport/<proto>/<family>/<port>`. */
export interface NodePortKey {
  readonly protocol: Protocol;
  readonly family: Family;
  readonly port: number;
}

export type Fact = NodePortFact | SourceFact | ListenerFact | InterfaceFact | SysctlFact | ProxyFact | ChainsFact | HostFact;

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
  /** How changes are seen: by events of the kernel, or by reading every so often. */
  readonly watch?: 'events' | 'poll';
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

/** What the node is: `host/node`. */
export interface HostFact {
  readonly kind: 'host';
  readonly key: string;
  readonly hostname: string;
  readonly kernel: string;
  readonly os: string;
  /** Milliseconds since 1970 of the boot. */
  readonly bootedAt: number;
}

export const nodePortFactKey = (key: NodePortKey): string => `nodeport/${key.protocol}/${key.family}/${key.port}`;

/** Reads `nodeport/tcp/4/30080` back; undefined for other keys. */
export function parseNodePortFactKey(key: string): NodePortKey | undefined {
  const found = /^nodeport\/(tcp|udp|sctp)\/([46])\/(\d+)$/.exec(key);
  if (found === null) return undefined;
  return { protocol: found[1] as Protocol, family: Number(found[2]) as Family, port: Number(found[3]) };
}
