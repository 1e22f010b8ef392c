// Reads the lines of `ip -o monitor`, with or without the labels of its `label` option: which part of the network state has changed.

export type IpLine =
  | { readonly kind: 'changed'; readonly what: 'link' | 'address' | 'route' | 'netconf' }
  /** Lines of objects that nothing here depends on (neighbours, namespaces), and empty ones. */
  | { readonly kind: 'other' };

const labels: Readonly<Record<string, 'link' | 'address' | 'route' | 'netconf'>> = {
  LINK: 'link',
  ADDR: 'address',
  ROUTE: 'route',
  RULE: 'route',
  NETCONF: 'netconf',
};
const stamp = /^\[\d{4}-\d\d-\d\dT[\d:.]+\] /;
const label = /^\[([A-Z]+)(?: [^\]]*)?\]/;
const address = /^\d+: \S+\s+inet6? /;
const link = /^\d+: \S+: </;
const rule = /^\d+:\s+(?:not )?from /;
const netconf = /^(?:ipv4|ipv6|inet|inet6) (?:dev )?\S+ (?:.* )?(?:forwarding|rp_filter|proxy_neigh|ignore_routes|mc_forwarding)/;
const neighbour = /lladdr|(?:STALE|REACHABLE|DELAY|PROBE|FAILED|INCOMPLETE|NOARP|PERMANENT)$|^nsid /;
const route = /^(?:local|broadcast|multicast|unreachable|blackhole|prohibit|throw|anycast|unicast|default|[0-9a-fA-F.:]+(?:\/\d+)?) /;

export function readIpLine(line: string): IpLine {
  const unstamped = line.trim().replace(stamp, '');
  const labelled = label.exec(unstamped);
  if (labelled !== null) return changed(labels[labelled[1] as string]);
  const text = unstamped.replace(/^[Dd]eleted /, '');
  if (address.test(text)) return changed('address');
  if (link.test(text)) return changed('link');
  if (rule.test(text)) return changed('route');
  if (netconf.test(text)) return changed('netconf');
  return !neighbour.test(text) && route.test(text) ? changed('route') : { kind: 'other' };
}

const changed = (what: 'link' | 'address' | 'route' | 'netconf' | undefined): IpLine => (what === undefined ? { kind: 'other' } : { kind: 'changed', what });
