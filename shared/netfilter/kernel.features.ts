// The parts of the kernel that Services need, by the name of the module and of the option that builds it, and which of them each mode of kube-proxy needs.

/** `loaded` now; `builtin`; `available` as a module that is loaded when it is needed; `missing` from this kernel; `unknown` where nothing says. */
export type FeatureState = 'loaded' | 'builtin' | 'available' | 'missing' | 'unknown';

export interface Feature {
  /** Name of the module, with underscores. */
  readonly module: string;
  /** Options of the kernel's configuration, without `CONFIG_`; any of them brings it (its name has changed between releases). */
  readonly options: readonly string[];
  /** What needs it; nothing: it depends on what else runs. */
  readonly neededBy: readonly FeatureUser[];
}

/** A mode of kube-proxy; for iptables, by the backend of its rules. */
export type FeatureUser = 'iptables-legacy' | 'iptables-nft' | 'nftables' | 'ipvs';

const iptablesUsers: readonly FeatureUser[] = ['iptables-legacy', 'iptables-nft', 'ipvs'];
const all: readonly FeatureUser[] = [...iptablesUsers, 'nftables'];
const none: readonly FeatureUser[] = [];

const feature = (module: string, options: string, neededBy: readonly FeatureUser[]): Feature => ({ module, options: options.split('|'), neededBy });

/** In the order in which they are shown: the core, x_tables and its extensions, nf_tables, sets, IPVS, devices. */
export const features: readonly Feature[] = [
  feature('nf_conntrack', 'NF_CONNTRACK', all),
  feature('nf_nat', 'NF_NAT|NF_NAT_IPV4', all),
  feature('nf_conntrack_netlink', 'NF_CT_NETLINK', none),
  feature('x_tables', 'NETFILTER_XTABLES', iptablesUsers),
  feature('ip_tables', 'IP_NF_IPTABLES|IP_NF_IPTABLES_LEGACY', ['iptables-legacy']),
  feature('iptable_nat', 'IP_NF_NAT|IP_NF_TARGET_MASQUERADE', ['iptables-legacy']),
  feature('iptable_filter', 'IP_NF_FILTER', ['iptables-legacy']),
  feature('iptable_mangle', 'IP_NF_MANGLE', ['iptables-legacy']),
  feature('xt_comment', 'NETFILTER_XT_MATCH_COMMENT', iptablesUsers),
  feature('xt_mark', 'NETFILTER_XT_MARK', iptablesUsers),
  feature('xt_conntrack', 'NETFILTER_XT_MATCH_CONNTRACK', iptablesUsers),
  feature('xt_addrtype', 'NETFILTER_XT_MATCH_ADDRTYPE', iptablesUsers),
  feature('xt_statistic', 'NETFILTER_XT_MATCH_STATISTIC', ['iptables-legacy', 'iptables-nft']),
  feature('xt_nat', 'NETFILTER_XT_NAT', ['iptables-legacy', 'iptables-nft']),
  feature('xt_MASQUERADE', 'NETFILTER_XT_TARGET_MASQUERADE|IP_NF_TARGET_MASQUERADE', iptablesUsers),
  feature('ipt_REJECT', 'IP_NF_TARGET_REJECT', ['iptables-legacy', 'iptables-nft']),
  feature('xt_recent', 'NETFILTER_XT_MATCH_RECENT', none),
  feature('xt_multiport', 'NETFILTER_XT_MATCH_MULTIPORT', none),
  feature('xt_nfacct', 'NETFILTER_XT_MATCH_NFACCT', none),
  feature('xt_physdev', 'NETFILTER_XT_MATCH_PHYSDEV', none),
  feature('nf_tables', 'NF_TABLES', ['iptables-nft', 'nftables']),
  feature('nft_compat', 'NFT_COMPAT', ['iptables-nft']),
  feature('nft_chain_nat', 'NFT_NAT|NFT_CHAIN_NAT_IPV4', ['iptables-nft', 'nftables']),
  feature('nft_ct', 'NFT_CT', ['nftables']),
  feature('nft_numgen', 'NFT_NUMGEN', ['nftables']),
  feature('nft_masq', 'NFT_MASQ', ['nftables']),
  feature('nft_fib', 'NFT_FIB', ['nftables']),
  feature('nft_fib_ipv4', 'NFT_FIB_IPV4', ['nftables']),
  feature('nft_reject', 'NFT_REJECT', ['nftables']),
  feature('ip_set', 'IP_SET', ['ipvs']),
  feature('ip_set_hash_ip', 'IP_SET_HASH_IP', ['ipvs']),
  feature('ip_set_hash_ipport', 'IP_SET_HASH_IPPORT', ['ipvs']),
  feature('ip_set_hash_ipportip', 'IP_SET_HASH_IPPORTIP', ['ipvs']),
  feature('ip_set_hash_ipportnet', 'IP_SET_HASH_IPPORTNET', ['ipvs']),
  feature('ip_set_bitmap_port', 'IP_SET_BITMAP_PORT', ['ipvs']),
  feature('xt_set', 'NETFILTER_XT_SET', ['ipvs']),
  feature('ip_vs', 'IP_VS', ['ipvs']),
  feature('ip_vs_rr', 'IP_VS_RR', ['ipvs']),
  feature('ip_vs_wrr', 'IP_VS_WRR', none),
  feature('ip_vs_sh', 'IP_VS_SH', none),
  feature('dummy', 'DUMMY', ['ipvs']),
  feature('br_netfilter', 'BRIDGE_NETFILTER', none),
  feature('vxlan', 'VXLAN', none),
  feature('wireguard', 'WIREGUARD', none),
];

export interface FeatureEvidence {
  /** /proc/modules; undefined when the kernel has no modules or does not say. */
  readonly loaded?: string | undefined;
  /** modules.builtin of this kernel. */
  readonly builtin?: string | undefined;
  /** modules.dep of this kernel: what could be loaded. */
  readonly available?: string | undefined;
  /** The configuration that the kernel was built with. */
  readonly config?: string | undefined;
}

/** What the kernel's own files say of each feature. `missing` takes a configuration, or both lists of modules: one list alone proves nothing. */
export function featureStates(evidence: FeatureEvidence): ReadonlyMap<string, FeatureState> {
  const loaded = new Set([...(evidence.loaded ?? '').matchAll(/^(\S+) /gm)].map((found) => found[1] as string));
  const builtin = moduleNames(evidence.builtin);
  const available = moduleNames(evidence.available);
  const config = evidence.config === undefined ? undefined : optionsOf(evidence.config);
  const listed = evidence.builtin !== undefined && evidence.available !== undefined;
  return new Map(
    features.map(({ module, options }) => {
      if (loaded.has(module)) return [module, 'loaded'] as const;
      const built = options.map((option) => config?.get(option)).find((value) => value !== undefined);
      if (builtin.has(module) || built === 'y') return [module, 'builtin'] as const;
      if (available.has(module)) return [module, 'available'] as const;
      // Built as a module, but its file may not be installed: then only the list of files tells.
      if (built === 'm') return [module, evidence.available === undefined ? 'available' : 'missing'] as const;
      return [module, config !== undefined || listed ? 'missing' : 'unknown'] as const;
    }),
  );
}

/** `kernel-features.txt`: lines `MODULE = STATE`. Other lines are passed over. */
export function parseFeatures(text: string): ReadonlyMap<string, FeatureState> {
  return new Map(
    [...text.matchAll(/^(\w+) = (loaded|builtin|available|missing|unknown)$/gm)].map(([, name, state]) => [name as string, state as FeatureState]),
  );
}

/** Features that a user needs and this kernel has not. */
export const missingFeatures = (states: ReadonlyMap<string, FeatureState>, user: FeatureUser): readonly string[] =>
  features.filter(({ module, neededBy }) => neededBy.includes(user) && states.get(module) === 'missing').map(({ module }) => module);

const moduleNames = (text: string | undefined): ReadonlySet<string> =>
  new Set([...(text ?? '').matchAll(/([^/\s]+)\.ko(?:\.\w+)?:?(?=\s|$)/gm)].map((found) => (found[1] as string).replaceAll('-', '_')));

const optionsOf = (config: string): ReadonlyMap<string, string> =>
  new Map([...config.matchAll(/^CONFIG_(\w+)=([ym])$/gm)].map(([, name, value]) => [name as string, value as string]));
