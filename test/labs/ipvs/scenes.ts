// Scenes of the IPVS lab: what is loaded into the node, as kube-proxy or a person would write it, and which packets are sent at it. The kernel under test has
// the hosts of the arena: a client, a node 10.9.0.1, a pod 10.244.1.11 on it and a remote pod 10.244.2.11 behind it.
import type { Asked } from '../kernel/judge.ts';

/** A host of this lab. */
export type IpvsHost = Extract<Asked['place'], 'client' | 'node' | 'pod' | 'remote'>;

/** Packets that are sent at once, or one after another. */
export interface Step {
  readonly asked: readonly Sent[];
  /** Each packet is sent when the one before it has met its fate. */
  readonly oneByOne?: true;
  /** Connections are still open in what follows. */
  readonly keepsOpen?: true;
  /** Lines for `ipvsadm -R` that change the services before the packets are sent. */
  readonly ipvs?: string;
  /** Who answers, or `refused`, in the order of the packets, where that is what the scene is about. */
  readonly answers?: readonly string[];
}

export interface Scene extends Omit<Step, 'ipvs'> {
  readonly name: string;
  /** Lines for `ipvsadm -R`. */
  readonly ipvs: string;
  readonly iptables?: string;
  readonly ip6tables?: string;
  readonly ipset?: string;
  readonly sysctls?: Readonly<Record<string, string>>;
  /** What is changed and sent after that. */
  readonly later?: readonly Step[];
  /** What the rules' counters must say afterwards, by a part of the rule's text: whether any packet met it. */
  readonly counted?: Readonly<Record<string, boolean>>;
}

const pod = '10.244.1.11:8080';
const remote = '10.244.2.11:8080';

/** A packet from a host of this lab. */
export type Sent = Omit<Asked, 'fromPort' | 'place'> & { readonly place: IpvsHost };

/** What is sent in a scene, in order. */
export const stepsOf = (scene: Scene): readonly Step[] => [{ ...scene, ipvs: '' }, ...(scene.later ?? [])];

const fromClient = (to: string, port: number, from = '10.9.0.2'): Sent => ({ place: 'client', protocol: 'tcp', from, to, port });
const fromNode = (to: string, port: number, from = '10.9.0.1'): Sent => ({ place: 'node', protocol: 'tcp', from, to, port });
const fromPod = (to: string, port: number): Sent => ({ place: 'pod', protocol: 'tcp', from: '10.244.1.11', to, port });
const overUdp = (sent: Sent): Sent => ({ ...sent, protocol: 'udp' });
const overSctp = (sent: Sent): Sent => ({ ...sent, protocol: 'sctp' });

const everyone = (to: string, port: number): Scene['asked'] => [
  fromClient(to, port),
  fromClient(to, port, '198.51.100.7'),
  fromClient(to, port, '10.9.0.66'),
  fromNode(to, port),
  fromPod(to, port),
];

const service = (at: string, servers: readonly string[], options = '-s rr'): string =>
  [`-A ${at} ${options}`, ...servers.map((server) => `-a ${at} -r ${server}`)].map((line) => `${line}\n`).join('');

const web = (...servers: readonly string[]): string => service('-t 10.9.0.1:30080', servers);
const both = web(`${pod} -m -w 1`, `${remote} -m -w 1`);

/** kube-proxy's sets, as far as NodePorts need them. */
function sets(family: 4 | 6 = 4): string {
  const [prefix, inet, own] = family === 4 ? ['KUBE-', 'inet', '10.244.1.11'] : ['KUBE-6-', 'inet6', 'fd44:1::11'];
  return [
    ...['TCP', 'UDP', 'LOCAL-TCP', 'LOCAL-UDP'].map((name) => `create ${prefix}NODE-PORT-${name} bitmap:port range 0-65535`),
    `create ${prefix}LOOP-BACK hash:ip,port,ip family ${inet}`,
    `create ${prefix}CLUSTER-IP hash:ip,port family ${inet}`,
    `add ${prefix}NODE-PORT-TCP 30080`,
    `add ${prefix}NODE-PORT-TCP 30081`,
    `add ${prefix}NODE-PORT-LOCAL-TCP 30081`,
    `add ${prefix}NODE-PORT-UDP 30053`,
    `add ${prefix}LOOP-BACK ${own},tcp:8080,${own}`,
    '',
  ].join('\n');
}

interface KubeRules {
  readonly family?: 4 | 6;
  /** More lines of the filter table; policies too. */
  readonly filter?: string;
  /** Without kube-proxy's own rules in FORWARD. */
  readonly bareForward?: true;
  /** More lines of the nat table. */
  readonly nat?: string;
  /** More tables, from `*NAME` to `COMMIT`. */
  readonly tables?: string;
}

/** kube-proxy's rules in IPVS mode, from a capture of release 1.30. */
function kubeRules({ family = 4, filter = '', bareForward, nat = '', tables = '' }: KubeRules = {}): string {
  const prefix = family === 4 ? 'KUBE-' : 'KUBE-6-';
  const forward = `-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
`;
  return `*nat
:KUBE-SERVICES - [0:0]
:KUBE-NODE-PORT - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-POSTROUTING - [0:0]
-A PREROUTING -j KUBE-SERVICES
-A OUTPUT -j KUBE-SERVICES
-A POSTROUTING -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-NODE-PORT -p tcp -m set --match-set ${prefix}NODE-PORT-LOCAL-TCP dst -j RETURN
-A KUBE-NODE-PORT -p tcp -m set --match-set ${prefix}NODE-PORT-TCP dst -j KUBE-MARK-MASQ
-A KUBE-NODE-PORT -p udp -m set --match-set ${prefix}NODE-PORT-UDP dst -j KUBE-MARK-MASQ
-A KUBE-POSTROUTING -m set --match-set ${prefix}LOOP-BACK dst,dst,src -j MASQUERADE
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT
${nat}COMMIT
*filter
:KUBE-FORWARD - [0:0]
${bareForward === undefined ? forward : ''}${filter}COMMIT
${tables}`;
}

const kube = { iptables: kubeRules(), ipset: sets() };
const ruled = (rules: KubeRules): Pick<Scene, 'iptables' | 'ipset'> => ({ iptables: kubeRules(rules), ipset: sets() });
const withFilter = (filter: string): Pick<Scene, 'iptables' | 'ipset'> => ruled({ filter });
const asEveryone = { asked: everyone('10.9.0.1', 30080) };

const schedulers = ['wrr', 'lc', 'wlc', 'sed', 'nq', 'sh', 'mh', 'dh', 'fo', 'lblc'];

export const scenes: readonly Scene[] = [
  {
    name: 'healthy: two servers, TCP and UDP',
    ipvs: both + service('-t 10.9.0.1:30081', [`${pod} -m -w 1`]) + service('-u 10.9.0.1:30053', ['10.244.1.11:5353 -m -w 1', '10.244.2.11:5353 -m -w 1']),
    ...kube,
    asked: [
      ...everyone('10.9.0.1', 30080),
      ...everyone('10.9.0.1', 30081),
      overUdp(fromClient('10.9.0.1', 30053)),
      overUdp(fromClient('10.9.0.1', 30053)),
      overUdp(fromNode('10.9.0.1', 30053)),
      fromClient('10.9.0.21', 30080),
      fromClient('10.9.0.1', 8080),
      fromNode('127.0.0.1', 30080, '127.0.0.1'),
    ],
  },
  {
    name: 'no real server',
    ipvs: web() + service('-u 10.9.0.1:30053', []),
    ...kube,
    asked: [...everyone('10.9.0.1', 30080), overUdp(fromClient('10.9.0.1', 30053))],
  },
  { name: 'only servers of weight 0', ipvs: web(`${pod} -m -w 0`), ...kube, ...asEveryone },
  { name: 'a server of weight 0 among others', ipvs: web(`${pod} -m -w 0`, `${remote} -m -w 3`), ...kube, ...asEveryone },
  {
    name: 'schedulers, each with two servers and with one of weight 0',
    ipvs: schedulers
      .map(
        (scheduler, index) =>
          service(`-t 10.9.0.1:${31000 + 2 * index}`, [`${pod} -m -w 1`, `${remote} -m -w 3`], `-s ${scheduler}`) +
          service(`-t 10.9.0.1:${31001 + 2 * index}`, [`${pod} -m -w 0`, `${remote} -m -w 1`], `-s ${scheduler}`),
      )
      .join(''),
    ...kube,
    asked: schedulers.flatMap((_, index) =>
      ['10.9.0.2', '10.9.0.3', '198.51.100.7'].flatMap((from) => [31000, 31001].map((port) => fromClient('10.9.0.1', port + 2 * index, from))),
    ),
  },
  {
    name: 'persistent',
    ipvs: service('-t 10.9.0.1:30080', [`${pod} -m -w 1`, `${remote} -m -w 1`], '-s rr -p 10800'),
    ...kube,
    asked: [...everyone('10.9.0.1', 30080), ...everyone('10.9.0.1', 30080)],
  },
  { name: 'INPUT has the policy DROP', ipvs: both, ...withFilter(':INPUT DROP [0:0]\n'), ...asEveryone },
  { name: 'INPUT drops the NodePort', ipvs: both, ...withFilter('-A INPUT -p tcp --dport 30080 -j DROP\n'), ...asEveryone },
  { name: "INPUT drops the servers' port, which it never sees", ipvs: both, ...withFilter('-A INPUT -p tcp --dport 8080 -j DROP\n'), ...asEveryone },
  {
    name: 'INPUT accepts first packets only',
    ipvs: both,
    ...withFilter(':INPUT DROP [0:0]\n-A INPUT -m conntrack --ctstate NEW -j ACCEPT\n'),
    ...asEveryone,
  },
  { name: 'FORWARD has the policy DROP', ipvs: both, ...withFilter(':FORWARD DROP [0:0]\n'), ...asEveryone },
  {
    name: 'FORWARD has the policy DROP and nothing of kube-proxy',
    ipvs: both,
    ...ruled({ filter: ':FORWARD DROP [0:0]\n', bareForward: true }),
    ...asEveryone,
  },
  {
    name: 'FORWARD drops what comes from the servers, before their address is put back',
    ipvs: both,
    ...withFilter('-I FORWARD -s 10.244.2.11/32 -j DROP\n-I FORWARD -s 10.9.0.1/32 -j DROP\n'),
    ...asEveryone,
    counted: { '-s 10.244.2.11/32': true, '-s 10.9.0.1/32': false },
  },
  {
    name: 'OUTPUT sees the packet on its way to the server',
    ipvs: both,
    ...withFilter('-A OUTPUT -d 10.244.2.11/32 -o eth1 -p tcp --dport 8080 -j DROP\n'),
    ...asEveryone,
    counted: { '-d 10.244.2.11/32': true },
  },
  {
    name: 'FORWARD never sees the request, and IPVS leaves no mark of DNAT on the connection',
    ipvs: both,
    ...withFilter(
      '-I FORWARD -d 10.244.0.0/16 -s 10.9.0.0/24 -j DROP\n-I FORWARD -m conntrack --ctstate DNAT -j DROP\n-I OUTPUT -m conntrack --ctstate DNAT -j DROP\n',
    ),
    ...asEveryone,
  },
  {
    name: 'OUTPUT of nat is not asked again',
    ipvs: both,
    ...ruled({ nat: '-I OUTPUT -d 10.244.0.0/16 -p tcp -j DNAT --to-destination 10.9.0.1:2222\n' }),
    ...asEveryone,
  },
  {
    name: 'the sets of kube-proxy are empty: nothing is masqueraded',
    ipvs: both,
    iptables: kubeRules(),
    ipset: sets().replaceAll(/^add .*\n/gm, ''),
    ...asEveryone,
  },
  { name: 'the rules of kube-proxy are gone', ipvs: both, ipset: sets(), ...asEveryone },
  { name: 'no conntrack for IPVS', ipvs: both, ...kube, sysctls: { 'net.ipv4.vs.conntrack': '0' }, ...asEveryone },
  {
    name: 'no conntrack for IPVS, and UDP',
    ipvs: service('-u 10.9.0.1:30053', ['10.244.1.11:5353 -m -w 1', '10.244.2.11:5353 -m -w 1']),
    ...kube,
    sysctls: { 'net.ipv4.vs.conntrack': '0' },
    asked: [overUdp(fromClient('10.9.0.1', 30053)), overUdp(fromClient('10.9.0.1', 30053)), overUdp(fromNode('10.9.0.1', 30053))],
  },
  {
    name: 'no conntrack for IPVS: the servers answer out of nowhere',
    ipvs: both,
    ...withFilter('-I FORWARD -m conntrack --ctstate INVALID -j DROP\n'),
    sysctls: { 'net.ipv4.vs.conntrack': '0' },
    ...asEveryone,
  },
  {
    name: 'a server on the node itself',
    ipvs:
      web('10.9.0.1:2222 -m -w 1') +
      service('-t 10.9.0.1:30081', ['10.8.0.1:2222 -m -w 1']) +
      service('-t 10.9.0.21:30080', ['127.0.0.1:2222 -m -w 1']) +
      service('-t 10.9.0.21:30081', ['10.9.0.1:9999 -m -w 1']),
    ...withFilter('-A INPUT -i eth0 -p tcp --dport 2222 -j DROP\n'),
    asked: [
      ...everyone('10.9.0.1', 30080),
      ...everyone('10.9.0.1', 30081),
      fromClient('10.9.0.21', 30080),
      fromNode('10.9.0.21', 30080),
      fromClient('10.9.0.21', 30081),
    ],
  },
  { name: 'no route to the server', ipvs: web('10.77.0.9:8080 -m -w 1'), ...kube, asked: [fromClient('10.9.0.1', 30080), fromPod('10.9.0.1', 30080)] },
  {
    name: 'a service by mark, with and without a port of the server',
    ipvs: service('-f 7', [`${pod} -m -w 1`, `${remote} -m -w 1`]) + service('-f 8', ['10.244.2.11:0 -m -w 1']),
    ...ruled({
      tables: '*mangle\n-A PREROUTING -p tcp --dport 30080 -j MARK --set-mark 7\n-A PREROUTING -p tcp --dport 8443 -j MARK --set-mark 8\nCOMMIT\n',
    }),
    asked: [
      fromClient('10.9.0.1', 30080),
      fromClient('10.9.0.1', 30080),
      fromClient('10.9.0.21', 30080),
      fromClient('10.9.0.1', 8443),
      fromClient('10.9.0.1', 30081),
    ],
  },
  {
    name: 'a persistent service of every port',
    ipvs: service('-t 10.9.0.1:0', ['10.244.1.11:0 -m -w 1'], '-s rr -p 300'),
    ...kube,
    asked: [fromClient('10.9.0.1', 8443), fromClient('10.9.0.1', 8080, '10.9.0.3'), fromClient('10.9.0.1', 9999), fromPod('10.9.0.1', 8080)],
  },
  {
    name: 'hairpin: the pod is its own server',
    ipvs: web(`${pod} -m -w 1`) + service('-t 10.9.0.1:30081', [`${pod} -m -w 1`]),
    ...kube,
    asked: [fromPod('10.9.0.1', 30080), fromPod('10.9.0.1', 30081)],
  },
  {
    name: 'hairpin without masquerading',
    ipvs: service('-t 10.9.0.1:30081', [`${pod} -m -w 1`, '10.244.1.11:8443 -m -w 1']),
    iptables: kubeRules(),
    ipset: sets().replaceAll(/^add KUBE-LOOP-BACK.*\n/gm, ''),
    asked: [fromPod('10.9.0.1', 30081), fromPod('10.9.0.1', 30081), fromClient('10.9.0.1', 30081)],
  },
  { name: 'forwarding is off: requests pass, answers do not', ipvs: both, ...kube, sysctls: { 'net.ipv4.ip_forward': '0' }, ...asEveryone },
  {
    name: 'untracked by rules',
    ipvs: both,
    ...ruled({ tables: '*raw\n-A PREROUTING -s 10.9.0.0/24 -j NOTRACK\n-A OUTPUT -d 10.244.0.0/16 -j NOTRACK\nCOMMIT\n' }),
    ...asEveryone,
  },
  {
    name: 'SNAT in place of masquerading',
    ipvs: both,
    ...ruled({ nat: '-I POSTROUTING -p tcp -d 10.244.0.0/16 --dport 8080 -j SNAT --to-source 10.244.1.1\n' }),
    ...asEveryone,
  },
  {
    name: 'a rule translates to the virtual service',
    ipvs: both,
    ...ruled({
      filter: '-A INPUT -p tcp --dport 9999 -j DROP\n',
      nat: ['PREROUTING', 'OUTPUT'].map((chain) => `-I ${chain} -p tcp --dport 9999 -j DNAT --to-destination 10.9.0.1:30080\n`).join(''),
    }),
    asked: everyone('10.9.0.1', 9999),
  },
  {
    name: 'direct routing',
    ipvs: service('-t 10.9.0.21:8080', ['10.244.2.11:8080 -g -w 1']) + service('-t 10.9.0.1:8443', ['10.9.0.21:8443 -g -w 1']),
    ...withFilter('-A OUTPUT -d 10.9.0.21/32 -o eth1 -p tcp --dport 8080\n-A FORWARD -d 10.9.0.21/32\n'),
    asked: [fromClient('10.9.0.21', 8080, '203.0.113.9'), fromClient('10.9.0.1', 8443)],
    counted: { '-A OUTPUT -d 10.9.0.21/32 -o eth1': true, '-A FORWARD -d 10.9.0.21/32': false },
  },
  {
    name: 'a tunnel',
    ipvs: service('-t 10.9.0.21:8080', ['10.244.2.11:8080 -i -w 1']),
    ...withFilter('-A OUTPUT -d 10.244.2.11/32 -o eth1 -p 4\n-A OUTPUT -p tcp --dport 8080 -o eth1\n'),
    asked: [fromClient('10.9.0.21', 8080, '203.0.113.9')],
    counted: { '-A OUTPUT -d 10.244.2.11/32 -o eth1 -p ipencap': true, '--dport 8080': false },
  },
  {
    name: 'IPv6',
    ipvs:
      service('-t [fd09::1]:30080', ['[fd44:1::11]:8080 -m -w 1', '[fd44:2::11]:8080 -m -w 1']) +
      service('-t [fd09::1]:30081', []) +
      service('-u [fd09::1]:30053', ['[fd44:2::11]:5353 -m -w 1']),
    ip6tables: kubeRules({ family: 6 }),
    ipset: sets(6),
    asked: [
      { place: 'client', protocol: 'tcp', from: 'fd09::2', to: 'fd09::1', port: 30080 },
      { place: 'client', protocol: 'tcp', from: 'fd09::2', to: 'fd09::1', port: 30080 },
      { place: 'client', protocol: 'tcp', from: '2001:db8:7::7', to: 'fd09::1', port: 30080 },
      { place: 'client', protocol: 'tcp', from: 'fd09::2', to: 'fd09::1', port: 30081 },
      { place: 'client', protocol: 'udp', from: 'fd09::2', to: 'fd09::1', port: 30053 },
      { place: 'pod', protocol: 'tcp', from: 'fd44:1::11', to: 'fd09::1', port: 30080 },
      { place: 'node', protocol: 'tcp', from: 'fd09::1', to: 'fd09::1', port: 30080 },
    ],
  },
  {
    name: 'IPv6: INPUT drops the NodePort, FORWARD has the policy DROP',
    ipvs: service('-t [fd09::1]:30080', ['[fd44:1::11]:8080 -m -w 1']) + service('-t [fd09::1]:30081', ['[fd44:2::11]:8080 -m -w 1']),
    ip6tables: kubeRules({ family: 6, bareForward: true, filter: ':FORWARD DROP [0:0]\n-A INPUT -p tcp --dport 30080 -j DROP\n' }),
    ipset: sets(6),
    asked: [30080, 30081].flatMap((port): Sent[] => [
      { place: 'client', protocol: 'tcp', from: 'fd09::2', to: 'fd09::1', port },
      { place: 'node', protocol: 'tcp', from: 'fd09::1', to: 'fd09::1', port },
    ]),
  },
  {
    name: 'IPv6 without a server',
    ipvs: service('-t [fd09::1]:30081', []) + service('-u [fd09::1]:30053', []),
    ipset: sets(6),
    asked: [
      { place: 'client', protocol: 'tcp', from: 'fd09::2', to: 'fd09::1', port: 30081 },
      { place: 'client', protocol: 'udp', from: 'fd09::2', to: 'fd09::1', port: 30053 },
    ],
  },
  {
    name: 'IPv6 without a server, with rules of nat',
    ipvs: service('-t [fd09::1]:30081', []) + service('-u [fd09::1]:30053', []),
    ip6tables: kubeRules({ family: 6 }),
    ipset: sets(6),
    asked: [
      { place: 'client', protocol: 'tcp', from: 'fd09::2', to: 'fd09::1', port: 30081 },
      { place: 'client', protocol: 'udp', from: 'fd09::2', to: 'fd09::1', port: 30053 },
    ],
  },
  {
    name: 'ovf fills the server of the highest weight with one connection more than that, then the next, and then refuses',
    // A port of its own: a server that is added again has its connections of before.
    ipvs: service('-t 10.9.0.1:30089', [`${pod} -m -w 2`, `${remote} -m -w 1`], '-s ovf'),
    ...kube,
    oneByOne: true,
    asked: Array.from({ length: 6 }, () => fromClient('10.9.0.1', 30089)),
    answers: ['pod', 'pod', 'pod', 'remote', 'remote', 'refused'],
  },
  ...(['0', '1'] as const).map(
    (setting): Scene => ({
      name: `a persistent client whose server got weight 0, expire_quiescent_template = ${setting}`,
      ipvs: service('-t 10.9.0.1:30080', [`${pod} -m -w 1`], '-s rr -p 300'),
      ...kube,
      sysctls: { 'net.ipv4.vs.expire_quiescent_template': setting },
      asked: [fromClient('10.9.0.1', 30080)],
      answers: ['pod'],
      later: [
        {
          ipvs: `-e -t 10.9.0.1:30080 -r ${pod} -m -w 0\n-a -t 10.9.0.1:30080 -r ${remote} -m -w 1\n`,
          asked: [fromClient('10.9.0.1', 30080), fromClient('10.9.0.1', 30080, '10.9.0.3')],
          answers: [setting === '0' ? 'pod' : 'remote', 'remote'],
        },
      ],
    }),
  ),
  {
    name: 'a service at a loopback address: other machines get no packet from one',
    ipvs:
      service('-t 127.0.0.1:30080', [`${pod} -m -w 1`]) +
      service('-t 127.0.0.1:30081', ['127.0.0.1:2222 -m -w 1']) +
      service('-t 10.9.0.1:30080', ['127.0.0.1:2222 -m -w 1']),
    ...kube,
    asked: [
      fromNode('127.0.0.1', 30080, '127.0.0.1'),
      fromNode('127.0.0.1', 30080),
      fromNode('127.0.0.1', 30081, '127.0.0.1'),
      fromClient('10.9.0.1', 30080),
      fromNode('10.9.0.1', 30080),
    ],
  },
  {
    name: 'SCTP',
    ipvs: service('--sctp-service 10.9.0.1:30036', ['10.244.1.11:3868 -m -w 1', '10.244.2.11:3868 -m -w 1']) + service('--sctp-service 10.9.0.21:30036', []),
    iptables: kubeRules({ nat: '-A KUBE-NODE-PORT -p sctp --dport 30036 -j KUBE-MARK-MASQ\n' }),
    ipset: sets(),
    asked: [
      ...everyone('10.9.0.1', 30036).filter(({ place }) => place !== 'node'),
      ...['10.9.0.2', '10.9.0.3'].map((from) => fromClient('10.9.0.21', 30036, from)),
      fromClient('10.9.0.1', 3868),
      fromClient('10.9.0.1', 9997),
      fromNode('10.244.1.11', 3868),
    ].map(overSctp),
  },
  {
    name: 'SCTP of a kernel that has it: rules see INIT, its answer, and the abort of what nothing listens for',
    ipvs: '',
    iptables: `*filter
-A INPUT -p sctp -m sctp --chunk-types any INIT -s 10.9.0.3 -j DROP
-A INPUT -p sctp -m sctp --chunk-types only COOKIE_ECHO -s 10.9.0.66 -j DROP
-A OUTPUT -p sctp -m sctp --chunk-types any INIT_ACK -d 198.51.100.7 -j DROP
-A OUTPUT -p sctp -m sctp --chunk-types only ABORT -d 203.0.113.9 -j DROP
COMMIT
`,
    asked: ['10.9.0.2', '10.9.0.3', '198.51.100.7', '203.0.113.9'].flatMap((from) => [3868, 9997].map((port) => overSctp(fromClient('10.9.0.1', port, from)))),
  },
];
