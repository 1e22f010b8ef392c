import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Owner } from '../../../shared/model/change.ts';
import { parseIptables } from '../../../shared/netfilter/iptables.parse.ts';
import { ownerOf, ownerOfName, ownerOfRoutingRule, productOf } from '../../../shared/netfilter/owners.ts';

const chains: readonly (readonly [string, Owner])[] = [
  ['KUBE-SVC-VNVIF6HCQA7WOKHW', 'kube-proxy'],
  ['KUBE-NODEPORTS', 'kube-proxy'],
  ['KUBE-PROXY-CANARY', 'kube-proxy'],
  ['KUBE-FORWARD', 'kube-proxy'],
  ['KUBE-FIREWALL', 'kubelet'],
  ['KUBE-KUBELET-CANARY', 'kubelet'],
  ['KUBE-MARK-DROP', 'kubelet'],
  ['KUBE-ROUTER-FORWARD', 'network-policy'],
  ['KUBE-POD-FW-ABC', 'network-policy'],
  ['KUBE-NWPLCY-ABC', 'network-policy'],
  ['cali-FORWARD', 'network-policy'],
  ['FLANNEL-FWD', 'cni'],
  ['CNI-HOSTPORT-DNAT', 'cni'],
  ['DOCKER', 'docker'],
  ['DOCKER-USER', 'docker'],
  ['DOCKER-ISOLATION-STAGE-1', 'docker'],
  ['NETAVARK_FORWARD', 'podman'],
  ['LIBVIRT_FWI', 'libvirt'],
  ['ts-forward', 'tailscale'],
  ['f2b-sshd', 'fail2ban'],
  ['ufw-before-forward', 'ufw'],
  ['ufw6-user-input', 'ufw'],
  ['IN_public_allow', 'firewalld'],
  ['FWD_public', 'firewalld'],
  ['PRE_allow-host-ipv6', 'firewalld'],
  ['FORWARD_direct', 'firewalld'],
  ['INPUT_ZONES', 'firewalld'],
  ['INPUT_POLICIES_pre', 'firewalld'],
  ['FORWARD', 'unknown'],
  ['my-chain', 'unknown'],
];
for (const [chain, owner] of chains) t.test(`chain ${chain}`, async (t) => t.equal(ownerOf({ family: 'ip', table: 'filter', chain }), owner));

const tables: readonly (readonly [string, string, Owner])[] = [
  ['ip', 'kube-proxy', 'kube-proxy'],
  ['inet', 'firewalld', 'firewalld'],
  ['inet', 'mine', 'unknown'],
  ['ip', 'libvirt_network', 'libvirt'],
  ['inet', 'f2b-table', 'fail2ban'],
  ['ip', 'calico', 'network-policy'],
  ['inet', 'flannel-ipv4', 'cni'],
  ['inet', 'cni_hostport', 'cni'],
  ['inet', 'netavark', 'podman'],
  ['inet', 'lxd', 'lxd'],
  ['ip6', 'crowdsec6', 'crowdsec'],
  ['ip', 'io.systemd.nat', 'systemd'],
  ['ip', 'nm-shared-eth0', 'network-manager'],
  ['ip', 'docker-bridges', 'docker'],
];
for (const [family, table, owner] of tables) t.test(`table ${family} ${table}`, async (t) => t.equal(ownerOf({ family, table }), owner));

const rules: readonly (readonly [string, Owner])[] = [
  ['-A FORWARD -p tcp -m tcp --dport 8080 -j DROP', 'admin'],
  ['-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD', 'kube-proxy'],
  ['-A FORWARD -j ufw-before-forward', 'ufw'],
  ['-A INPUT -g IN_public', 'firewalld'],
  ['-A FORWARD -s 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT', 'cni'],
  ['tcp dport 8080 drop', 'admin'],
  ['ip daddr 10.0.0.1 jump KUBE-SERVICES', 'kube-proxy'],
];
for (const [rule, owner] of rules) t.test(`rule ${rule}`, async (t) => t.equal(ownerOf({ family: 'ip', table: 'filter', chain: 'FORWARD', rule }), owner));

/** What programs write, in short: every rule of a dump belongs to the program, and so does every chain that is not built in. */
const dumps: readonly { readonly name: string; readonly owner: Owner; readonly product?: string; readonly table?: string; readonly lines: string }[] = [
  {
    name: 'Docker 28',
    owner: 'docker',
    lines:
      ':DOCKER-FORWARD - [0:0]\n:DOCKER-BRIDGE - [0:0]\n:DOCKER-CT - [0:0]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\n-A FORWARD -j DOCKER-FORWARD\n-A DOCKER-BRIDGE -o docker0 -j DOCKER\n-A DOCKER-CT -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n',
  },
  {
    name: 'kube-router in k3s',
    owner: 'network-policy',
    product: 'kube-router',
    lines:
      ':KUBE-ROUTER-FORWARD - [0:0]\n:KUBE-POD-FW-ABCDEFGH23456789 - [0:0]\n-A FORWARD -m comment --comment "kube-router netpol - TEMCG2JMHZYE7H7T" -j KUBE-ROUTER-FORWARD\n-A KUBE-POD-FW-ABCDEFGH23456789 -m comment --comment "rule to REJECT traffic" -j REJECT\n-A FORWARD -m comment --comment "kube-router netpol - mark" -j MARK --set-xmark 0x10000/0x10000\n',
  },
  {
    name: 'Calico',
    owner: 'network-policy',
    product: 'Calico',
    lines:
      ':cali-FORWARD - [0:0]\n:cali-fw-cali12345678901 - [0:0]\n-A FORWARD -m comment --comment "cali:wUHhoiAYhphO9Mso" -j cali-FORWARD\n-A FORWARD -m comment --comment "cali:S93hcgKJrXEqnTfs" -m comment --comment "Policy explicitly accepted packet." -m mark --mark 0x10000/0x10000 -j ACCEPT\n',
  },
  {
    name: 'Cilium',
    owner: 'cni',
    product: 'Cilium',
    lines:
      ':CILIUM_FORWARD - [0:0]\n:OLD_CILIUM_INPUT - [0:0]\n-A FORWARD -m comment --comment "cilium-feeder: CILIUM_FORWARD" -j CILIUM_FORWARD\n-A CILIUM_FORWARD -o cilium_host -m comment --comment "cilium: any->cluster on cilium_host forward accept" -j ACCEPT\n',
  },
  {
    name: 'Tailscale',
    owner: 'tailscale',
    lines: ':ts-input - [0:0]\n-A INPUT -j ts-input\n-A ts-input -s 100.64.0.0/10 ! -i tailscale0 -j DROP\n-A FORWARD -i tailscale0 -j ACCEPT\n',
  },
  {
    name: 'fail2ban',
    owner: 'fail2ban',
    lines: ':f2b-sshd - [0:0]\n-A INPUT -p tcp -m multiport --dports 22 -j f2b-sshd\n-A f2b-sshd -s 203.0.113.5/32 -j REJECT\n',
  },
  {
    name: 'libvirt, and its releases without chains',
    owner: 'libvirt',
    lines:
      ':LIBVIRT_FWI - [0:0]\n-A FORWARD -j LIBVIRT_FWI\n-A FORWARD -d 192.168.122.0/24 -o virbr0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A FORWARD -i virbr0 -j REJECT --reject-with icmp-port-unreachable\n',
  },
  {
    name: 'CSF',
    owner: 'csf',
    lines:
      ':LOCALINPUT - [0:0]\n:DENYIN - [0:0]\n:ALLOWIN - [0:0]\n:LOGDROPIN - [0:0]\n-A INPUT ! -i lo -j LOCALINPUT\n-A LOCALINPUT ! -i lo -j ALLOWIN\n-A INPUT ! -i lo -j LOGDROPIN\n',
  },
  {
    name: 'Antrea',
    owner: 'cni',
    product: 'Antrea',
    lines:
      ':ANTREA-FORWARD - [0:0]\n-A FORWARD -m comment --comment "Antrea: jump to Antrea forwarding rules" -j ANTREA-FORWARD\n-A ANTREA-FORWARD -i antrea-gw0 -m comment --comment "Antrea: accept packets from local Pods" -j ACCEPT\n',
  },
  {
    name: 'Weave',
    owner: 'cni',
    product: 'Weave',
    table: 'nat',
    lines: ':WEAVE - [0:0]\n-A POSTROUTING -j WEAVE\n-A WEAVE -s 10.32.0.0/12 ! -d 10.32.0.0/12 -j MASQUERADE\n',
  },
  { name: "Weave's policies", owner: 'network-policy', product: 'Weave', lines: ':WEAVE-NPC-DEFAULT - [0:0]\n-A FORWARD -o weave -j WEAVE-NPC\n' },
  {
    name: 'flannel',
    owner: 'cni',
    product: 'flannel',
    lines:
      ':FLANNEL-FWD - [0:0]\n-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD\n-A FORWARD -s 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT\n',
  },
  {
    name: 'portmap',
    owner: 'cni',
    product: 'portmap',
    table: 'nat',
    lines:
      ':CNI-HOSTPORT-DNAT - [0:0]\n:CNI-DN-0123456789abcdef01234 - [0:0]\n-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT\n-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \\"cbr0\\" id: \\"x\\"" -m multiport --dports 8080 -j CNI-DN-0123456789abcdef01234\n',
  },
  {
    name: 'AWS VPC CNI',
    owner: 'cni',
    product: 'AWS VPC CNI',
    table: 'nat',
    lines: ':AWS-SNAT-CHAIN-0 - [0:0]\n-A POSTROUTING -m comment --comment "AWS SNAT CHAIN" -j AWS-SNAT-CHAIN-0\n',
  },
  { name: 'OVN-Kubernetes', owner: 'cni', product: 'OVN-Kubernetes', table: 'nat', lines: ':OVN-KUBE-NODEPORT - [0:0]\n-A PREROUTING -j OVN-KUBE-NODEPORT\n' },
  { name: 'LXD', owner: 'lxd', lines: '-A FORWARD -o lxdbr0 -m comment --comment "generated for LXD network lxdbr0" -j ACCEPT\n' },
  {
    name: 'NetworkManager sharing a connection',
    owner: 'network-manager',
    lines: ':nm-sh-fw-eth0 - [0:0]\n-A FORWARD -m comment --comment "nm-shared-eth0" -j nm-sh-fw-eth0\n',
  },
  { name: 'CrowdSec', owner: 'crowdsec', lines: ':CROWDSEC_CHAIN - [0:0]\n-A INPUT -j CROWDSEC_CHAIN\n' },
];
for (const { name, owner, product, table: wanted = 'filter', lines } of dumps) {
  t.test(name, async (t) => {
    const { tables: parsed } = parseIptables(Buffer.from(`*${wanted}\n:FORWARD ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n${lines}COMMIT\n`), { family: 'ip' });
    const [table] = parsed;
    for (const chain of table?.chains.values() ?? []) {
      const object = { family: 'ip', table: wanted, chain: chain.name };
      if (chain.base === undefined && chain.line > 0 && !/^(?:FORWARD|INPUT)$/.test(chain.name)) t.equal(ownerOf(object), owner, chain.name);
      for (let index = 0; index < chain.length; index++) {
        const rule = chain.text(index);
        t.equal(ownerOf({ ...object, rule }), owner, rule);
        if (product !== undefined) t.equal(productOf({ ...object, rule }), product, rule);
      }
    }
  });
}

const routingRules: readonly (readonly [string, Owner | undefined])[] = [
  ['30400: from 10.0.0.5 lookup 30400', 'network-manager'],
  ['30350: from 10.0.0.5 lookup main suppress_prefixlength 0', undefined],
  ['5270: from all lookup 52', 'tailscale'],
  ['5210: from all fwmark 0x80000/0xff0000 lookup main', 'tailscale'],
  ['9: from all fwmark 0x200/0xf00 lookup 2004', 'cni'],
  ['1024: from all fwmark 0x80/0x80 lookup main', 'cni'],
  ['0: from all lookup local', undefined],
  ['32766: from all lookup main', undefined],
];
for (const [text, owner] of routingRules) t.test(`routing rule ${text}`, async (t) => t.equal(ownerOfRoutingRule(text), owner));

const corpus = join(import.meta.dirname, '../../../../shared/corpus/iptables-dumps');
const skip = existsSync(corpus) ? false : 'the corpus is not here';
if (skip !== false) t.comment(`SKIPPED: ${skip}`);
/** Dumps that other people published, the chains in them that one program made, and whose they are. */
const published: readonly (readonly [string, RegExp, Owner])[] = [
  ['10-moby29-nat-loopback.txt', /^DOCKER/, 'docker'],
  ['18-calico-felix-node.txt', /^cali/, 'network-policy'],
  ['22-aks-azure-npm-v2.txt', /^AZURE/, 'network-policy'],
  ['23-antrea-node-v4.txt', /^ANTREA/, 'cni'],
  ['24-multi-networkpolicy.txt', /^MULTI/, 'network-policy'],
  ['29-openshift-libvirt-host-01.txt', /^LIBVIRT/, 'libvirt'],
  ['50-ufw-server1.txt', /^ufw/, 'ufw'],
  ['69-cilium-node-filter.txt', /^CILIUM/, 'cni'],
  ['70-eks-vpc-cni-node.txt', /^AWS/, 'cni'],
  ['71-k3s-kube-router-filter.txt', /^KUBE-(?:ROUTER|POD-FW|NWPLCY)/, 'network-policy'],
  ['72-weave-kubeadm-node.txt', /^WEAVE-NPC/, 'network-policy'],
];
for (const [file, pattern, owner] of published) {
  t.test(`${file}: chains of ${owner}`, { skip }, async (t) => {
    const chainNames = parseIptables(readFileSync(join(corpus, file)), { family: 'ip' }).tables.flatMap((table) => [...table.chains.keys()]);
    const own = chainNames.filter((name) => pattern.test(name));
    t.ok(own.length > 0);
    t.strictSame(
      own.filter((name) => ownerOfName(name) !== owner),
      [],
    );
  });
}
