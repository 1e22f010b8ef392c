// Reads what programs say of themselves when they are asked for their version.

/** A program that prints the rules of one backend, of both families. */
export interface SaveBinary {
  /** A name on PATH (`iptables-save`, that of IPv4) or a path. */
  readonly command: string;
  /** Whether `command` is many programs in one, and takes the name of the one that is meant (`iptables-save`) as its first argument. */
  readonly applet: boolean;
  /** `host`, or the distribution that brought it along: `k3s`, `rke2`, `k0s`, `microk8s`. */
  readonly origin: string;
  /** Whose rules it prints; absent when it was not asked or did not say. */
  readonly backend?: 'legacy' | 'nf_tables';
  readonly version?: string;
  /** Why it did not answer; absent when it did. */
  readonly fault?: string;
}

/** What tools.json holds. */
export interface Tools {
  readonly iptables: readonly SaveBinary[];
  /** By the program's name: nft, ipset, ipvsadm, conntrack, ip, ss, ethtool; those that are not installed are left out. */
  readonly versions: Readonly<Record<string, string>>;
}

/** `1.8.9` of `iptables-save v1.8.9 (nf_tables)`, `6.1.0` of `ip utility, iproute2-6.1.0, libbpf 1.1.0`; undefined when nothing looks like a version. */
export const toolVersion = (text: string): string | undefined => /(?:\bv|iproute2-(?:ss)?|version )(\d+(?:\.\d+)*)/.exec(text)?.[1];

/** The backend that `iptables-save -V` names. Before 1.8 there was one, and it has no word for it. */
export function xtablesBackend(text: string): 'legacy' | 'nf_tables' | undefined {
  if (text.includes('(nf_tables)')) return 'nf_tables';
  return /^ip6?tables[\w-]* v\d/m.test(text) ? 'legacy' : undefined;
}
