// Turns configuration files of kube-proxy, and of the distributions that embed it, into settings by the names of kube-proxy's flags.

/** Settings that matter to NodePorts, by flag; k3s's and RKE2's own ones stand beside them. */
const kept: ReadonlySet<string> = new Set([
  'bind-address',
  'cluster-cidr',
  'conntrack-max-per-core',
  'conntrack-tcp-be-liberal',
  'detect-local-mode',
  'disable-kube-proxy',
  'disable-network-policy',
  'feature-gates',
  'flannel-backend',
  'flannel-iface',
  'healthz-bind-address',
  'hostname-override',
  'iptables-localhost-nodeports',
  'iptables-min-sync-period',
  'iptables-sync-period',
  'ipvs-scheduler',
  'ipvs-strict-arp',
  'ipvs-sync-period',
  'masquerade-all',
  'metrics-bind-address',
  'nftables-min-sync-period',
  'nftables-sync-period',
  'node-external-ip',
  'node-ip',
  'node-name',
  'nodeport-addresses',
  'prefer-bundled-bin',
  'proxy-mode',
  'service-node-port-range',
]);

/** Paths in a KubeProxyConfiguration, and the flags that say the same. */
const paths: Readonly<Record<string, string>> = {
  bindAddress: 'bind-address',
  clusterCIDR: 'cluster-cidr',
  detectLocalMode: 'detect-local-mode',
  healthzBindAddress: 'healthz-bind-address',
  hostnameOverride: 'hostname-override',
  metricsBindAddress: 'metrics-bind-address',
  mode: 'proxy-mode',
  nodePortAddresses: 'nodeport-addresses',
  'conntrack.maxPerCore': 'conntrack-max-per-core',
  'conntrack.tcpBeLiberal': 'conntrack-tcp-be-liberal',
  'iptables.localhostNodePorts': 'iptables-localhost-nodeports',
  'iptables.masqueradeAll': 'masquerade-all',
  'iptables.minSyncPeriod': 'iptables-min-sync-period',
  'iptables.syncPeriod': 'iptables-sync-period',
  'ipvs.scheduler': 'ipvs-scheduler',
  'ipvs.strictARP': 'ipvs-strict-arp',
  'ipvs.syncPeriod': 'ipvs-sync-period',
  'nftables.masqueradeAll': 'masquerade-all',
  'nftables.minSyncPeriod': 'nftables-min-sync-period',
  'nftables.syncPeriod': 'nftables-sync-period',
};

type Settings = readonly (readonly [string, string])[];

/** The settings in a configuration of whichever kind: KubeProxyConfiguration, k3s and RKE2 (flags as keys), or k0s's ClusterConfig. */
export function settingsOf(value: unknown): Settings {
  const root = objectOf(value);
  const k0s = objectOf(objectOf(objectOf(root['spec'])['network'])['kubeProxy']);
  if (Object.keys(k0s).length > 0) return configuration({ ...k0s, ...(k0s['disabled'] === true ? { 'disable-kube-proxy': true } : {}) });
  if (typeof root['kind'] === 'string' || 'clientConnection' in root) return configuration(root);
  const handedOn = list(root['kube-proxy-arg']).flatMap((word) => listedArguments(`--${String(word).replace(/^--/, '')}`));
  return [...configuration(root), ...handedOn];
}

/** Flags, one or more a line, as MicroK8s keeps them. */
export function listedArguments(text: string): Settings {
  return text
    .split('\n')
    .filter((line) => !/^\s*#/.test(line))
    .flatMap((line) =>
      [...line.matchAll(/--([a-z][\w-]*)(?:[= ](?:"([^"]*)"|([^\s"]+)))?/g)].map(
        ([, name, quoted, plain]) => [name as string, quoted ?? plain ?? 'true'] as const,
      ),
    )
    .filter(([name]) => kept.has(name));
}

/** `kube-proxy-config.txt`: a comment that says where it is from, and lines `name = value`. */
export const settingsText = (mark: string, settings: Settings): string =>
  `${mark}\n${settings.map(([name, value]) => `${name} = ${value.replaceAll(/[\r\n]+/g, ' ').slice(0, 1_000)}\n`).join('')}`;

function configuration(root: Raw): Settings {
  const nested = Object.entries(paths).flatMap(([path, name]) => {
    const [first = '', second] = path.split('.');
    const value = second === undefined ? root[first] : objectOf(root[first])[second];
    return setting(name, value);
  });
  const flags = Object.entries(root).flatMap(([name, value]) => (kept.has(name) ? setting(name, value) : []));
  return [...nested, ...flags];
}

function setting(name: string, value: unknown): Settings {
  if (value === undefined || value === null) return [];
  const text = Array.isArray(value) ? value.map(String).join(',') : typeof value === 'object' ? JSON.stringify(value) : String(value);
  // An empty mode is the default of the platform, which the rules tell; an empty address of the metrics switches them off.
  return text === '' && !name.endsWith('-bind-address') ? [] : [[name, text]];
}

type Raw = Readonly<Record<string, unknown>>;
const objectOf = (value: unknown): Raw => (typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Raw) : {});
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : value === undefined ? [] : [value]);
