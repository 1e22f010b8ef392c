// Random rulesets for the arena, of every kind: iptables of both backends, native nftables, what firewall managers and kube-proxy write, alone and together; with
// settings, routes and ipsets.
import fc from 'fast-check';
import type { Generated } from './contest.ts';
import { ipsets, setChanges } from './rules.ipset.ts';
import { iptables, weighted, word } from './rules.iptables.ts';
import { native } from './rules.nft.ts';
import { dockerHost, kubeProxy } from './rules.shapes.ts';

/** All kinds, evenly. `bases` are captured rulesets of real firewall managers, by kind, as iptables-restore or nft input. */
export function rulesets(bases: readonly Generated[]): fc.Arbitrary<Generated> {
  const kinds: fc.Arbitrary<Generated>[] = [
    iptables(4).map((nft4) => ({ kind: 'iptables-nft', rules: { nft4 } })),
    fc.tuple(iptables(4), iptables(6)).map(([nft4, nft6]) => ({ kind: 'iptables-nft dual', rules: { nft4, nft6 } })),
    iptables(4).map((legacy4) => ({ kind: 'iptables-legacy', rules: { legacy4 } })),
    iptables(6).map((legacy6) => ({ kind: 'ip6tables-legacy', rules: { legacy6 } })),
    fc.tuple(iptables(4), iptables(6)).map(([legacy4, legacy6]) => ({ kind: 'iptables-legacy dual', rules: { legacy4, legacy6 } })),
    native().map((text) => ({ kind: 'nft', rules: { native: text } })),
    native().map((text) => ({ kind: 'nft', rules: { native: text } })),
    fc.tuple(iptables(4), iptables(4), native()).map(([nft4, legacy4, text]) => ({ kind: 'all backends', rules: { nft4, legacy4, native: text } })),
    kubeProxy(4).map((nft4) => ({ kind: 'kube-proxy', rules: { nft4 } })),
    kubeProxy(6).map((legacy6) => ({ kind: 'kube-proxy', rules: { legacy6 } })),
    fc.tuple(kubeProxy(6), native()).map(([nft6, text]) => ({ kind: 'kube-proxy and nft', rules: { nft6, native: text } })),
    fc.tuple(kubeProxy(4), iptables(4)).map(([legacy4, nft4]) => ({ kind: 'kube-proxy legacy and iptables-nft', rules: { legacy4, nft4 } })),
    dockerHost().map((nft4) => ({ kind: 'docker', rules: { nft4 } })),
    fc.constantFrom(...bases).chain((base) => kubeProxy(4).map((legacy4) => ({ kind: `kube-proxy and ${base.kind}`, rules: { ...base.rules, legacy4 } }))),
    fc.constantFrom(...bases).chain((base) => kubeProxy(4).map((legacy4) => ({ kind: `kube-proxy and ${base.kind}`, rules: { ...base.rules, legacy4 } }))),
  ];
  return fc.tuple(fc.oneof(...kinds), surroundings).map(([generated, { sysctls, routes, sets, changes }]) => {
    const { legacy4, legacy6, nft4, nft6 } = generated.rules;
    const asks = [legacy4, legacy6, nft4, nft6].some((text) => text?.includes('--match-set') === true);
    return {
      ...generated,
      rules: { ...generated.rules, ...(asks ? { ipset: sets } : {}), sysctls, ...(routes === '' ? {} : { routes }) },
      ...(asks && changes.length > 0 ? { changes } : {}),
    };
  });
}

const often = (usual: string, ...others: readonly string[]): fc.Arbitrary<string> =>
  fc.oneof({ weight: 8, arbitrary: fc.constant(usual) }, { weight: 2, arbitrary: word(...others) });

/** Settings that decide about packets; those of interfaces are mostly as usual. */
const settings: fc.Arbitrary<Readonly<Record<string, string>>> = fc
  .record({
    'net.ipv4.ip_forward': often('1', '0', '1'),
    'net.ipv4.conf.all.rp_filter': word('0', '0', '0', '1', '2'),
    'net.ipv4.conf.all.route_localnet': word('0', '1'),
    'net.ipv4.conf.all.accept_local': often('0', '1'),
    'net.ipv6.conf.all.forwarding': often('1', '0', '1'),
    'net.ipv4.conf.eth0.rp_filter': often('0', '1', '2'),
    'net.ipv4.conf.eth1.rp_filter': often('0', '1', '2'),
    'net.ipv4.conf.eth0.forwarding': often('1', '0', '1', '1'),
    'net.ipv4.conf.cni0.forwarding': often('1', '0', '1', '1'),
    'net.ipv4.conf.eth0.route_localnet': often('0', '1'),
    'net.ipv4.conf.cni0.route_localnet': often('0', '1'),
    'net.bridge.bridge-nf-call-iptables': often('1', '0'),
    'net.bridge.bridge-nf-call-ip6tables': often('1', '0'),
  })
  // With forwarding off altogether no interface forwards, whatever is written for it before.
  .map(({ 'net.ipv4.ip_forward': all, ...others }) => ({
    'net.ipv4.ip_forward': all,
    ...others,
    ...(all === '0'
      ? {
          'net.ipv4.conf.eth0.forwarding': '0',
          'net.ipv4.conf.cni0.forwarding': '0',
          'net.ipv4.conf.eth1.forwarding': '0',
          'net.ipv4.conf.cali1.forwarding': '0',
        }
      : {}),
  }));

/** Routes and routing rules beyond the usual ones. */
const routes = weighted(
  [7, fc.constant('')],
  [
    3,
    word(
      'route add default via 10.9.0.2\nroute add ::/0 via fd09::2\n',
      'route add unreachable 10.244.2.11/32\nroute add unreachable fd44:2::11/128\n',
      'route add blackhole 10.244.3.64/26\nroute add prohibit 203.0.113.9/32\n',
      'route add prohibit 10.244.2.11/32\nroute add blackhole fd44:2::11/128\n',
      'route add unreachable default table 100\nrule add fwmark 0x1/0x1 lookup 100 priority 100\n',
      'route add 10.244.2.0/24 via 10.9.0.3 table 101\nrule add fwmark 0x2/0x3 lookup 101 priority 100\n',
      'rule add from 10.9.0.3 prohibit priority 90\n',
      'rule add iif eth0 to 10.244.2.0/24 blackhole priority 90\n',
      'rule add from 198.51.100.0/24 lookup 102 priority 90\nroute add throw 10.244.0.0/16 table 102\nroute add unreachable default table 102\n',
      '-6 rule add from 2001:db8:7::/48 unreachable priority 90\n',
    ),
  ],
);

const surroundings = fc.record({
  sysctls: settings,
  routes,
  sets: ipsets,
  changes: fc.oneof({ weight: 1, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: setChanges }),
});
