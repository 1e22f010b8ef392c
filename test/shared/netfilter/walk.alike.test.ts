// Branches that are not walked again because nothing tells them apart from one that was: what a walk with traces, which walks each branch by itself, says too.
import t from 'tap';
import { formatAddress, single } from '../../../shared/model/address.ts';
import { outsideSources } from '../../../shared/netfilter/clients.ts';
import { readNode } from '../../../shared/netfilter/node.read.ts';
import type { NodeState } from '../../../shared/netfilter/node.ts';
import type { Packet } from '../../../shared/netfilter/packet.ts';
import { walk } from '../../../shared/netfilter/walk.ts';

const services = 6;
const endpoints = 4;
const endpoint = (service: number, index: number): string => `10.${index % 2 === 0 ? 244 : 99}.${service}.${10 + index}`;
const portOf = (service: number): number => (service % 2 === 0 ? 8080 : 9000 + service);

/** A node with several Services, and rules behind the routing decision as each case has them. */
function node(rules: {
  readonly filter?: string;
  readonly raw?: string;
  readonly mangle?: string;
  readonly nat?: string;
  readonly masquerade?: string;
  readonly hairpin?: 'as it is';
  /** A client stays with its endpoint. */
  readonly affinity?: 'by client';
  /** Files of the capture in place of those of the small host. */
  readonly files?: Readonly<Record<string, string>>;
}): NodeState {
  const nat = Array.from({ length: services }, (_, service) => {
    const chances = Array.from({ length: endpoints }, (_, index) => {
      const chance = index < endpoints - 1 ? `-m statistic --mode random --probability ${(1 / (endpoints - index)).toFixed(11)} ` : '';
      const target = endpoint(service, index);
      const own = rules.hairpin === undefined ? `-A SEP-${service}-${index} -s ${target}/32 -j MARKED\n` : '';
      const seen = `-m recent --name SEP-${service}-${index} --rcheck --seconds 10800 --reap --rsource`;
      const again = rules.affinity === undefined ? '' : `-A SVC-${service} ${seen} -j SEP-${service}-${index}\n`;
      const noting = rules.affinity === undefined ? '' : `-m recent --name SEP-${service}-${index} --set --rsource `;
      return `${again}-A SVC-${service} ${chance}-j SEP-${service}-${index}\n${own}-A SEP-${service}-${index} -p tcp ${noting}-m tcp -j DNAT --to-destination ${target}:${portOf(service)}\n`;
    });
    return `-A NODEPORTS -p tcp -m tcp --dport ${30_000 + service} -j SVC-${service}\n${rules.masquerade ?? `-A SVC-${service} -j MARKED\n`}${chances.join('')}`;
  });
  const chains = Array.from({ length: services }, (_, service) => [
    `SVC-${service}`,
    ...Array.from({ length: endpoints }, (_, index) => `SEP-${service}-${index}`),
  ]).flat();
  const text = `*raw\n:PREROUTING ACCEPT [0:0]\n${rules.raw ?? ''}COMMIT
*mangle\n:PREROUTING ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n${rules.mangle ?? ''}COMMIT
*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n:MARKED - [0:0]\n:NODEPORTS - [0:0]\n${chains.map((name) => `:${name} - [0:0]\n`).join('')}-A PREROUTING -m addrtype --dst-type LOCAL -j NODEPORTS\n-A OUTPUT -m addrtype --dst-type LOCAL -j NODEPORTS
-A MARKED -j MARK --set-xmark 0x4000/0x4000\n${rules.nat ?? ''}-A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE\n${nat.join('')}COMMIT
*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n${rules.filter ?? ''}COMMIT\n`;
  const address = (local: string, prefixlen: number) => ({ family: 'inet', local, prefixlen });
  const files = {
    'iptables-save.txt': text,
    'ip-addr.json': JSON.stringify([
      { ifindex: 1, ifname: 'lo', flags: ['LOOPBACK', 'UP'], addr_info: [address('127.0.0.1', 8)] },
      { ifindex: 2, ifname: 'eth0', flags: ['UP'], addr_info: [address('172.31.0.11', 24)] },
      { ifindex: 3, ifname: 'cni0', flags: ['UP'], addr_info: [address('10.244.0.1', 16)] },
    ]),
    'ip-route.json': JSON.stringify([
      { dst: 'default', gateway: '172.31.0.1', dev: 'eth0', flags: [] },
      { dst: '172.31.0.0/24', dev: 'eth0', flags: [] },
      { dst: '10.244.0.0/16', dev: 'cni0', flags: [] },
      { dst: '10.99.3.0/24', type: 'blackhole', flags: [] },
    ]),
    'sysctl.txt': 'net.ipv4.ip_forward = 1\nnet.ipv4.conf.all.rp_filter = 1\n',
    ...rules.files,
  };
  return readNode(new Map(Object.entries(files).map(([name, content]) => [name, Buffer.from(content)])));
}

const rulesets: Readonly<Record<string, Parameters<typeof node>[0]>> = {
  'nothing behind': {},
  'an endpoint, a network and a port refused': {
    filter:
      '-A FORWARD -d 10.244.2.10/32 -j DROP\n-A FORWARD -d 10.99.0.0/23 -j REJECT --reject-with tcp-reset\n-A FORWARD -p tcp -m tcp --dport 9001:9003 -j DROP\n',
  },
  'answers of an endpoint lost': { filter: '-A FORWARD -s 10.244.4.12/32 -j DROP\n-A FORWARD -p tcp -m tcp --sport 9005 -j DROP\n' },
  'by the port that was asked': {
    filter: '-A FORWARD -m conntrack --ctorigdstport 30001 -j DROP\n',
    mangle: '-A PREROUTING -p tcp -m tcp --dport 30002 ! --syn -j DROP\n',
  },
  'clients that stay with their endpoint': { affinity: 'by client', filter: '-A FORWARD -s 192.0.2.0/24 -d 10.244.0.0/17 -m limit --limit 5/min -j DROP\n' },
  'some clients': { filter: '-A FORWARD -s 192.0.2.0/24 -d 10.244.0.0/17 -j DROP\n', raw: '-A PREROUTING -s 198.51.100.0/24 -j NOTRACK\n' },
  'a rule that cannot be judged': { filter: '-A FORWARD -d 10.244.0.0/18 -m limit --limit 5/min -j DROP\n' },
  'a mark by a rule that cannot be judged, and by the source': {
    mangle: '-A PREROUTING -m limit --limit 5/min -j MARK --set-xmark 0x8/0x8\n-A PREROUTING -s 192.0.2.0/24 -j MARK --set-xmark 0x8/0x8\n',
  },
  'a mark by chance, and by the source': {
    mangle:
      '-A PREROUTING -m statistic --mode random --probability 0.25000000000 -j MARK --set-xmark 0x8/0x8\n-A PREROUTING -s 192.0.2.0/24 -j MARK --set-xmark 0x8/0x8\n',
  },
  'clients keep their address': { masquerade: '' },
  'clients keep their address, even from themselves (hairpin)': { masquerade: '', hairpin: 'as it is' },
  'a set that is not there': { filter: '-A FORWARD -m set --match-set none dst -j DROP\n' },
  'a set that holds one of the endpoints': {
    filter: '-A FORWARD -m set --match-set blocked dst -j DROP\n',
    files: { 'ipset-save.txt': 'create blocked hash:ip family inet\nadd blocked 10.244.2.10\n' },
  },
  'a set that holds the answers of one of the endpoints': {
    filter: '-A FORWARD -m set --match-set blocked src,src -j DROP\n',
    files: { 'ipset-save.txt': 'create blocked hash:ip,port family inet\nadd blocked 10.244.2.12,tcp:8080\n' },
  },
  'sets and maps of nft': {
    files: {
      'nft-ruleset.txt': `table inet filter {
  set blocked { type ipv4_addr; elements = { 10.244.2.10 } }
  map ports { type ipv4_addr . inet_service : verdict; elements = { 10.244.4.12 . 8080 : drop, 10.99.1.11 . 9001 : jump limited } }
  chain forward { type filter hook forward priority 5; policy accept;
    ip daddr @blocked drop
    ip daddr . tcp dport vmap @ports
    ip saddr . tcp sport { 10.244.4.10 . 8080 } drop
  }
  chain limited { limit rate 5/minute drop; }
}
`,
    },
  },
  // Only first packets have the mark that leads them there: the next find no way, and the refusal names the endpoint.
  'a route for marked packets alone': {
    files: {
      'ip-route.json': JSON.stringify([
        { dst: '0.0.0.0/5', gateway: '172.31.0.1', dev: 'eth0', flags: [] },
        { dst: '128.0.0.0/1', gateway: '172.31.0.1', dev: 'eth0', flags: [] },
        { dst: '10.0.0.0/8', dev: 'cni0', table: '100', flags: [] },
      ]),
      'ip-rule.json': JSON.stringify([
        { priority: 0, src: 'all', table: 'local' },
        { priority: 50, src: 'all', fwmark: '0x4000', fwmask: '0x4000', table: '100' },
        { priority: 32766, src: 'all', table: 'main' },
      ]),
      'sysctl.txt': 'net.ipv4.ip_forward = 1\nnet.ipv4.conf.all.rp_filter = 0\n',
    },
  },
  'from the node itself': { filter: '-A OUTPUT -d 10.99.0.0/16 -j DROP\n', nat: '-A POSTROUTING -d 10.244.4.0/24 -j RETURN\n' },
  'the source replaced for one network': { nat: '-A POSTROUTING -d 10.244.3.0/24 -j SNAT --to-source 172.31.0.11\n', masquerade: '' },
};

const clients = (state: NodeState): readonly Pick<Packet, 'vantage' | 'sources'>[] => [
  ...[outsideSources(state, 4), single(0xc0000201n), single(0x0af4020an)].map((sources) => ({ vantage: 'external' as const, sources })),
  { vantage: 'pod', sources: [{ lo: 0x0af40000n, hi: 0x0af4ffffn }] },
  { vantage: 'node', sources: single(0xac1f000bn) },
];

for (const [name, rules] of Object.entries(rulesets)) {
  t.test(name, (t) => {
    const state = node(rules);
    t.strictSame(state.issues, []);
    const ports = Array.from({ length: services }, (_, service) => 30_000 + service);
    // Backwards as well: which branch is walked first must not matter.
    for (const port of [...ports, ...ports.toReversed()]) {
      for (const from of clients(state)) {
        const packet: Packet = { ...from, family: 4, protocol: 6, destination: 0xac1f000bn, destinationPort: port };
        const quick = walk(state, packet, { traced: false, reply: true }).outcomes;
        const slow = walk(state, packet, { traced: true, reply: true }).outcomes;
        t.strictSame(quick, slow, `${port} from ${from.vantage} ${formatAddress(4, (from.sources[0] as { lo: bigint }).lo)}`);
      }
    }
    t.end();
  });
}

t.test('packets after the first lose their way, and each is told so by its own endpoint', (t) => {
  const state = node(rulesets['a route for marked packets alone'] as Parameters<typeof node>[0]);
  const packet: Packet = { vantage: 'external', family: 4, protocol: 6, sources: single(0xc0000201n), destination: 0xac1f000bn, destinationPort: 30_000 };
  for (const { dnat, later } of walk(state, packet, { traced: false, reply: true }).outcomes) {
    t.equal(later?.decidedBy?.text, `no route to ${dnat?.split(':')[0]}`);
  }
  t.end();
});
