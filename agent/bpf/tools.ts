// The programs that change what decides about NodePorts, by the name that the kernel has for a process, and what each of them can have changed.

/** What an act has changed. */
export type Wrote = 'legacy' | 'nft' | 'ipset' | 'ipvs' | 'conntrack' | 'link' | 'address' | 'route' | 'sysctl' | 'process';

/** Names as /proc/PID/comm has them are cut to this. */
const commLength = 15;

const iptables: readonly Wrote[] = ['legacy', 'nft'];
const everyFirewall: readonly Wrote[] = ['legacy', 'nft', 'ipset', 'sysctl'];
const network: readonly Wrote[] = ['link', 'address', 'route', 'sysctl'];

/** Programs that do their work and end. */
export const tools: ReadonlyMap<string, readonly Wrote[]> = byComm({
  iptables,
  ip6tables: iptables,
  'iptables-restore': iptables,
  'ip6tables-restore': iptables,
  'iptables-legacy': ['legacy'],
  'ip6tables-legacy': ['legacy'],
  'iptables-legacy-restore': ['legacy'],
  'ip6tables-legacy-restore': ['legacy'],
  'iptables-nft': ['nft'],
  'ip6tables-nft': ['nft'],
  'iptables-nft-restore': ['nft'],
  'ip6tables-nft-restore': ['nft'],
  'iptables-apply': iptables,
  'xtables-legacy-multi': ['legacy'],
  'xtables-nft-multi': ['nft'],
  'netfilter-persistent': iptables,
  arptables: iptables,
  ebtables: iptables,
  nft: ['nft'],
  ipset: ['ipset'],
  ipvsadm: ['ipvs'],
  'ipvsadm-restore': ['ipvs'],
  conntrack: ['conntrack'],
  ip: network,
  ifconfig: network,
  route: ['route'],
  ifup: network,
  ifdown: network,
  dhclient: network,
  nmcli: network,
  networkctl: network,
  netplan: network,
  bridge: ['link'],
  sysctl: ['sysctl'],
  ufw: everyFirewall,
  'ufw-init': everyFirewall,
  firewalld: everyFirewall,
  'firewall-cmd': everyFirewall,
  'firewall-offline-cmd': everyFirewall,
  shorewall: everyFirewall,
  csf: everyFirewall,
  lfd: everyFirewall,
  'fail2ban-client': everyFirewall,
  // Plugins of the container network interface, started by the runtime for each pod.
  portmap: iptables,
  flannel: network,
  calico: network,
  'cilium-cni': network,
});

/** Programs that run on and change the network themselves; that they start or end is news. */
export const daemons: ReadonlyMap<string, readonly Wrote[]> = byComm({
  'kube-proxy': ['legacy', 'nft', 'ipset', 'ipvs', 'conntrack', 'sysctl'],
  k3s: everyFirewall,
  'k3s-server': everyFirewall,
  'k3s-agent': everyFirewall,
  k0s: everyFirewall,
  rke2: everyFirewall,
  kubelite: everyFirewall,
  kubelet: everyFirewall,
  flanneld: [...everyFirewall, ...network],
  'calico-node': [...everyFirewall, ...network],
  'cilium-agent': [...everyFirewall, ...network],
  'antrea-agent': [...everyFirewall, ...network],
  'kube-router': [...everyFirewall, 'ipvs', ...network],
  weaver: [...everyFirewall, ...network],
  ovnkube: network,
  dockerd: [...everyFirewall, ...network],
  podman: [...everyFirewall, ...network],
  libvirtd: [...everyFirewall, ...network],
  virtnetworkd: [...everyFirewall, ...network],
  'fail2ban-server': everyFirewall,
  'crowdsec-firewall-bouncer': everyFirewall,
  sshguard: everyFirewall,
  tailscaled: [...everyFirewall, ...network],
  NetworkManager: network,
  'systemd-networkd': network,
  keepalived: ['ipvs', ...network],
  puppet: everyFirewall,
  'chef-client': everyFirewall,
  'salt-minion': everyFirewall,
});

/** Programs that run scripts; whether one of the above is meant, its arguments tell. */
export const interpreters: readonly string[] = [
  ...['sh', 'bash', 'dash', 'ash', 'busybox', 'perl', 'ruby', 'python', 'python2', 'python3'],
  ...Array.from({ length: 12 }, (_, minor) => `python3.${minor + 5}`),
];

/** What a process can have changed; empty for one that is of no interest, or only looks. An interpreter is what its script is. */
export function wroteOf(process: {
  readonly class: 'tool' | 'interpreter' | 'daemon';
  readonly comm: string;
  readonly argv: readonly string[];
}): readonly Wrote[] {
  if (process.class !== 'interpreter') return onlyLooks(process) ? [] : (tools.get(process.comm) ?? daemons.get(process.comm) ?? []);
  // The script is the first argument that is no option; a few words are looked at, as `-m` and `-c` take one of their own.
  for (const word of process.argv.slice(1, 5)) {
    for (const part of word.split(/[\s;|&]+/, 20)) {
      const name = part.slice(part.lastIndexOf('/') + 1).slice(0, commLength);
      const found = tools.get(name) ?? daemons.get(name);
      if (found !== undefined) return found;
    }
  }
  return [];
}

/** Arguments by which a program only looks, and for those that look unless told otherwise, arguments by which they change. */
const looking: readonly { readonly comm: RegExp; readonly looks?: RegExp; readonly changes?: RegExp }[] = [
  { comm: /^(ip6?|arp|eb)tables/, looks: /^(-[A-Za-z]*[LSCVh]|--(list|list-rules|check|version|help))$/ },
  { comm: /^nft$/, looks: /^(list|monitor|describe|-v|-V|--version|-h|--help)$/ },
  { comm: /^ipset$/, looks: /^(list|save|test|version|help|-L|-S|-T|-v|--list|--save|--test|--version)$/ },
  { comm: /^ipvsadm$/, looks: /^(-[lLSh]n?|--(list|save|help|version))$/ },
  { comm: /^(ip|bridge|route)$/, changes: /^(add|del|delete|change|chg|replace|append|prepend|set|flush|restore|-b|-B|-batch|-force)$/ },
  { comm: /^ifconfig$/, changes: /^(up|down|add|del|netmask|mtu|hw|\d+\.\d+\.\d+\.\d+.*)$/ },
  { comm: /^conntrack$/, changes: /^(-[DFIUA]|--(delete|flush|create|add|update))$/ },
  { comm: /^sysctl$/, changes: /^(-[a-zA-Z]*[wp].*|--(write|load|system)(=.*)?|[^-].*=.*)$/ },
  { comm: /^ufw$/, looks: /^(status|show|version|--version|--help|help)$/ },
  { comm: /^firewall-cmd$/, looks: /^--(state|list-|get-|query-|info-|check-|version|help)/ },
  { comm: /^nmcli$/, changes: /^(up|down|add|delete|del|modify|mod|set|reapply|connect|disconnect|reload|load|apply)$/ },
  { comm: /^networkctl$/, looks: /^(list|status|lldp|label|cat)$/ },
];

function onlyLooks({ comm, argv }: { readonly comm: string; readonly argv: readonly string[] }): boolean {
  const known = looking.find((each) => each.comm.test(comm));
  const words = argv.slice(1);
  if (known?.changes !== undefined) return !words.some((word) => known.changes?.test(word));
  return known?.looks !== undefined && (words.some((word) => known.looks?.test(word)) || (words.length === 0 && comm === 'ipvsadm'));
}

function byComm(names: Readonly<Record<string, readonly Wrote[]>>): ReadonlyMap<string, readonly Wrote[]> {
  return new Map(Object.entries(names).map(([name, wrote]) => [name.slice(0, commLength), wrote]));
}
