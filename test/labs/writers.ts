// Everybody who writes to a node's firewall or network, by the real programs, and what the collector must be told of each: the subject, the lines, and who it was.
import type { Actor, Change } from '../../shared/model/change.ts';
import type { NodeName } from './cluster.ts';

export interface Writer {
  readonly name: string;
  readonly node: NodeName;
  /** The program that must be installed. */
  readonly program?: string;
  /** Only eBPF can tell who did it. */
  readonly needsBpf?: true;
  /** A script of bash that makes what is needed before; what it changes is of no interest. */
  readonly before?: string;
  /** A command that becomes the process which writes, or is its parent. */
  readonly write: readonly [string, ...string[]];
  readonly told: Told;
}

/** What must be said of it. */
export interface Told {
  /** Absent where it may be a rule or its whole chain, as the reading falls. */
  readonly kind?: Change['kind'];
  readonly subject: string | RegExp;
  readonly before?: RegExp;
  readonly after?: RegExp;
  readonly owner?: Change['owner'];
  /** Name of the process, cut to 15 characters. */
  readonly comm: RegExp;
  /** Its arguments, where its start was seen. */
  readonly argv?: RegExp;
  /** Names among those who started it. */
  readonly by?: RegExp;
  /** The best that can be known of such a change, with eBPF. Where the kernel has no kprobes, messages to ipset and the network are not seen, but the programs that send them. */
  readonly how: readonly Actor['how'][];
  /** The process is neither the command nor a child of it, but a daemon that the command has asked. */
  readonly daemon?: true;
}

const message: readonly Actor['how'][] = ['ebpf', 'exec-event'];

/** Rules of one restore. */
export const manyRules = 20_000;

const bulk = (place: string): string =>
  `{ echo '*filter'; echo ':BULK - [0:0]'; for ((i = 0; i < ${manyRules}; i++)); do echo "-A BULK -s 198.18.$((i >> 8 & 255)).$((i & 255))/32 -p tcp -m tcp --dport $((1024 + i)) -j DROP"; done; echo COMMIT; } >"${place}"`;

const bash = (script: string): readonly [string, ...string[]] => ['bash', '-c', script];

/** `directory` is one that both sides see. */
export const writers = (directory: string): readonly Writer[] => [
  {
    name: 'iptables-nft',
    node: 'node1',
    write: ['iptables-nft', '-w', '-I', 'FORWARD', '-p', 'tcp', '-m', 'tcp', '--dport', '8081', '-j', 'DROP'],
    told: {
      kind: 'rule',
      subject: 'ip filter FORWARD',
      after: /^-A FORWARD -p tcp -m tcp --dport 8081 -j DROP {2}# rule 1 of \d+$/,
      owner: 'admin',
      comm: /^iptables/,
      argv: /^iptables-nft -w -I FORWARD/,
      how: ['ebpf'],
    },
  },
  {
    name: 'iptables-nft, deleting',
    node: 'node1',
    write: ['iptables-nft', '-w', '-D', 'FORWARD', '-p', 'tcp', '-m', 'tcp', '--dport', '8081', '-j', 'DROP'],
    told: {
      kind: 'rule',
      subject: 'ip filter FORWARD',
      before: /^-A FORWARD -p tcp -m tcp --dport 8081 -j DROP$/,
      owner: 'admin',
      comm: /^iptables/,
      argv: /-D FORWARD/,
      how: ['ebpf'],
    },
  },
  {
    name: 'ip6tables-nft',
    node: 'node1',
    write: ['ip6tables-nft', '-w', '-A', 'INPUT', '-s', '2001:db8::/32', '-j', 'DROP'],
    told: {
      kind: 'rule',
      subject: 'ip6 filter INPUT',
      after: /^-A INPUT -s 2001:db8::\/32 -j DROP$/,
      owner: 'admin',
      comm: /^ip6tables/,
      argv: /2001:db8/,
      how: ['ebpf'],
    },
  },
  {
    name: 'iptables-legacy',
    node: 'node1',
    needsBpf: true,
    write: ['iptables-legacy', '-w', '-A', 'FORWARD', '-s', '192.0.2.0/24', '-j', 'DROP'],
    told: {
      kind: 'rule',
      subject: /^ip filter FORWARD/,
      after: /-A FORWARD -s 192\.0\.2\.0\/24 -j DROP/,
      owner: 'admin',
      comm: /^iptables-legacy/,
      argv: /^iptables-legacy -w -A FORWARD/,
      how: ['ebpf'],
    },
  },
  {
    name: 'nft',
    node: 'node1',
    before:
      'nft "add table inet guard; add chain inet guard forward { type filter hook forward priority -5; }; add set inet guard ports { type inet_service; }"',
    write: ['nft', 'insert rule inet guard forward tcp dport 8082 counter drop'],
    told: {
      kind: 'rule',
      subject: 'inet guard forward',
      after: /tcp dport 8082 .*drop/,
      comm: /^nft$/,
      argv: /^nft insert rule inet guard/,
      how: ['ebpf'],
    },
  },
  {
    name: 'nft, an element of a set',
    node: 'node1',
    write: ['nft', 'add element inet guard ports { 8083 }'],
    told: { kind: 'set', subject: 'inet guard ports', after: /8083/, comm: /^nft$/, argv: /add element/, how: ['ebpf'] },
  },
  {
    name: 'ipset',
    node: 'node1',
    program: 'ipset',
    needsBpf: true,
    before: 'ipset create blocked hash:net; iptables-nft -w -A INPUT -m set --match-set blocked src -j DROP',
    write: ['ipset', 'add', 'blocked', '198.51.100.0/24'],
    told: {
      kind: 'set',
      subject: 'ipset blocked',
      after: /^add blocked 198\.51\.100\.0\/24$/,
      comm: /^ipset$/,
      argv: /^ipset add blocked/,
      how: message,
    },
  },
  {
    name: 'ip addr del',
    node: 'node1',
    needsBpf: true,
    write: ['ip', 'addr', 'del', '172.31.0.211/24', 'dev', 'eth0'],
    told: {
      kind: 'address',
      subject: 'interface eth0',
      before: /^172\.31\.0\.211\/24$/,
      comm: /^ip$/,
      argv: /^ip addr del/,
      how: message,
    },
  },
  {
    name: 'ip route del',
    node: 'node1',
    needsBpf: true,
    write: ['ip', 'route', 'del', '10.244.2.0/24'],
    told: { kind: 'route', subject: 'route 10.244.2.0/24', before: /via 172\.31\.0\.12 dev eth0/, comm: /^ip$/, argv: /^ip route del/, how: message },
  },
  {
    name: 'ip link set down',
    node: 'node1',
    needsBpf: true,
    before: 'ip link add probe0 type veth peer name probe1; ip link set probe0 up',
    write: ['ip', 'link', 'set', 'probe0', 'down'],
    told: { kind: 'interface', subject: 'interface probe0', before: /^up$/, after: /^down$/, comm: /^ip$/, argv: /probe0 down/, how: message },
  },
  {
    name: 'sysctl',
    node: 'node1',
    needsBpf: true,
    write: ['sysctl', '-q', '-w', 'net.ipv4.ip_forward=0'],
    told: { kind: 'sysctl', subject: 'net.ipv4.ip_forward', before: /^1$/, after: /^0$/, comm: /^sysctl$/, argv: /ip_forward=0/, how: ['exec-event'] },
  },
  {
    name: 'a writer like Docker',
    node: 'node1',
    before: `mkdir -p ${directory}/bin; printf '%s\\n' '#!/bin/bash' 'iptables -w -t nat -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8088 -j DNAT --to-destination 172.17.0.2:80' 'exit $?' >${directory}/bin/dockerd
      chmod +x ${directory}/bin/dockerd; iptables -w -t nat -N DOCKER; iptables -w -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER`,
    write: [`${directory}/bin/dockerd`],
    told: {
      kind: 'rule',
      subject: 'ip nat DOCKER',
      after: /^-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8088 -j DNAT --to-destination 172\.17\.0\.2:80$/,
      owner: 'docker',
      comm: /^iptables/,
      argv: /-A DOCKER/,
      by: /^dockerd$/,
      how: ['ebpf'],
    },
  },
  {
    name: 'ufw enable',
    node: 'node1',
    program: 'ufw',
    write: ['ufw', '--force', 'enable'],
    told: {
      kind: 'policy',
      subject: 'ip filter INPUT',
      before: /ACCEPT/,
      after: /DROP/,
      comm: /^iptables/,
      argv: /iptables/,
      by: /^(ufw|ufw-init)$/,
      how: ['ebpf'],
    },
  },
  {
    name: 'ufw allow',
    node: 'node1',
    program: 'ufw',
    write: ['ufw', 'allow', '30081/tcp'],
    told: {
      kind: 'rule',
      subject: 'ip filter ufw-user-input',
      after: /-A ufw-user-input -p tcp -m tcp --dport 30081 -j ACCEPT/,
      owner: 'ufw',
      comm: /^iptables/,
      argv: /ufw-user-input|restore/,
      by: /^ufw$/,
      how: ['ebpf'],
    },
  },
  {
    name: 'ufw reload',
    node: 'node1',
    program: 'ufw',
    before: "sed -i 's/^COMMIT$/-A ufw-before-forward -p tcp --dport 8089 -j DROP\\nCOMMIT/' /etc/ufw/before.rules",
    write: ['ufw', 'reload'],
    told: {
      kind: 'rule',
      subject: 'ip filter ufw-before-forward',
      after: /-A ufw-before-forward -p tcp -m tcp --dport 8089 -j DROP/,
      owner: 'ufw',
      comm: /^iptables/,
      argv: /iptables/,
      by: /^(ufw|ufw-init)$/,
      how: ['ebpf'],
    },
  },
  {
    name: 'firewall-cmd --reload',
    node: 'node2',
    program: 'firewalld',
    before: 'firewall-cmd -q --permanent --zone=public --add-port=30085/tcp',
    write: ['firewall-cmd', '-q', '--reload'],
    told: {
      subject: 'inet firewalld filter_IN_public_allow',
      after: /tcp dport 30085 .*accept/,
      owner: 'firewalld',
      comm: /^firewalld$/,
      how: ['nft-generation'],
      daemon: true,
    },
  },
  {
    name: `iptables-restore of ${manyRules} rules`,
    node: 'node1',
    before: bulk(`${directory}/bulk`),
    write: bash(`exec iptables-nft-restore --noflush -w 5 ${directory}/bulk`),
    told: { kind: 'chain', subject: 'ip filter BULK', after: /-A BULK -s 198\.18\.0\.0\/32 -p tcp/, comm: /^iptables/, argv: /restore/, how: ['ebpf'] },
  },
  {
    name: `iptables-legacy-restore of ${manyRules} rules`,
    node: 'node2',
    needsBpf: true,
    before: bulk(`${directory}/bulk`),
    write: bash(`exec iptables-legacy-restore --noflush -w 5 ${directory}/bulk`),
    told: { kind: 'chain', subject: /^ip filter BULK/, after: /-A BULK -s 198\.18\.0\.0\/32 -p tcp/, comm: /^iptables-legacy/, argv: /restore/, how: ['ebpf'] },
  },
];
