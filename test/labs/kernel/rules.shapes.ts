// The shapes that kube-proxy and Docker leave on nodes, with random rules of others among them, as input for iptables-restore.
import fc from 'fast-check';
import { type Family, rule, userChains, word } from './rules.iptables.ts';

/** kube-proxy's shape, small: what stands between a client and a pod on every node, with the mark, statistic branches and refusals. */
export function kubeProxy(family: Family): fc.Arbitrary<string> {
  const [pod, remote, network] = family === 4 ? ['10.244.1.11', '10.244.2.11', '10.244.0.0/16'] : ['fd44:1::11', 'fd44:2::11', 'fd44::/16'];
  const host = (address: string): string => (family === 6 ? `[${address}]` : address);
  return fc
    .tuple(
      fc.subarray([pod, remote], { minLength: 1 }),
      fc.boolean(),
      fc.boolean(),
      word('ACCEPT', 'DROP'),
      fc.array(rule(family, 'filter', 'FORWARD'), { maxLength: 3 }),
    )
    .map(([endpoints, local, refused, policy, foreign]) => {
      const seps = endpoints.flatMap((endpoint, index) => [
        `-A KUBE-SEP-${index} -s ${endpoint}/${family === 4 ? 32 : 128} -m comment --comment "shop/web:http" -j KUBE-MARK-MASQ`,
        `-A KUBE-SEP-${index} -p tcp -m comment --comment "shop/web:http" -m tcp -j DNAT --to-destination ${host(endpoint)}:8080`,
      ]);
      const choice = endpoints.map((endpoint, index) => {
        const left = endpoints.length - index;
        const chance = left === 1 ? '' : ` -m statistic --mode random --probability ${(1 / left).toFixed(11)}`;
        return `-A KUBE-SVC-WEB -m comment --comment "shop/web:http -> ${endpoint}:8080"${chance} -j KUBE-SEP-${index}`;
      });
      const external = local
        ? [
            `-A KUBE-EXT-WEB -s ${network} -j KUBE-SVC-WEB`,
            '-A KUBE-EXT-WEB -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ',
            '-A KUBE-EXT-WEB -m addrtype --src-type LOCAL -j KUBE-SVC-WEB',
            '-A KUBE-EXT-WEB -j KUBE-SEP-0',
          ]
        : ['-A KUBE-EXT-WEB -j KUBE-MARK-MASQ', '-A KUBE-EXT-WEB -j KUBE-SVC-WEB'];
      const chains = [
        'KUBE-SERVICES',
        'KUBE-NODEPORTS',
        'KUBE-EXT-WEB',
        'KUBE-SVC-WEB',
        'KUBE-MARK-MASQ',
        'KUBE-POSTROUTING',
        ...endpoints.map((_, index) => `KUBE-SEP-${index}`),
      ];
      const nat = [
        '*nat',
        ':PREROUTING ACCEPT [0:0]',
        ':INPUT ACCEPT [0:0]',
        ':OUTPUT ACCEPT [0:0]',
        ':POSTROUTING ACCEPT [0:0]',
        ...chains.map((chain) => `:${chain} - [0:0]`),
        '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
        '-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
        '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
        '-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS',
        '-A KUBE-NODEPORTS -p tcp -m comment --comment "shop/web:http" -m tcp --dport 30080 -j KUBE-EXT-WEB',
        ...external,
        ...choice,
        ...seps,
        '-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000',
        '-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN',
        '-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0',
        '-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully',
        'COMMIT',
      ];
      const filter = [
        '*filter',
        ':INPUT ACCEPT [0:0]',
        `:FORWARD ${policy} [0:0]`,
        ':OUTPUT ACCEPT [0:0]',
        ':KUBE-FORWARD - [0:0]',
        ':KUBE-EXTERNAL-SERVICES - [0:0]',
        ...userChains.map((chain) => `:${chain} - [0:0]`),
        '-A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES',
        ...foreign.map((text) => `-A FORWARD ${text.trim()}`),
        '-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD',
        '-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP',
        '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT',
        '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
        ...(refused
          ? ['-A KUBE-EXTERNAL-SERVICES -p tcp -m comment --comment "shop/none has no endpoints" -m addrtype --dst-type LOCAL -m tcp --dport 30081 -j REJECT']
          : []),
        'COMMIT',
      ];
      return `${[...nat, ...filter].join('\n')}\n`;
    });
}

/** A Docker host's filter and nat tables around whatever else there is. */
const docker = `*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 10.244.1.0/24 ! -o cni0 -j MASQUERADE
-A DOCKER -i cni0 -j RETURN
-A DOCKER ! -i cni0 -p tcp -m tcp --dport 30080 -j DNAT --to-destination 10.244.1.11:8080
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
:A-ONE - [0:0]
:B-TWO - [0:0]
:C-THREE - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -o cni0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o cni0 -j DOCKER
-A FORWARD -i cni0 ! -o cni0 -j ACCEPT
-A FORWARD -i cni0 -o cni0 -j ACCEPT
-A DOCKER -d 10.244.1.11/32 ! -i cni0 -o cni0 -p tcp -m tcp --dport 8080 -j ACCEPT
EXTRA-A DOCKER-USER -j RETURN
COMMIT
`;

export const dockerHost = (): fc.Arbitrary<string> =>
  fc
    .array(rule(4, 'filter', 'FORWARD'), { maxLength: 3 })
    .map((rules) => docker.replace('EXTRA', rules.map((text) => `-A DOCKER-USER ${text.trim()}\n`).join('')));
