import t from 'tap';
import type { Owner } from '../../../shared/model/change.ts';
import { ownerOf } from '../../../shared/netfilter/owners.ts';

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
