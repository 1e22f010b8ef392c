// NodePorts that an eBPF data plane serves: the same facts as rules would give.
import t from 'tap';
import type { Fact, NodePortFact } from '../../../shared/model/fact.ts';
import { nodeFacts } from '../../../shared/netfilter/facts.ts';
import { readNode } from '../../../shared/netfilter/node.read.ts';
import { calicoMaps, ciliumMaps, type LookAlike, ndjson } from './service-maps.ts';

const interfaces = [
  { ifname: 'lo', flags: ['UP'], addr_info: [{ family: 'inet', local: '127.0.0.1', prefixlen: 8 }] },
  {
    ifname: 'eth0',
    flags: ['UP'],
    addr_info: [
      { family: 'inet', local: '192.0.2.11', prefixlen: 24 },
      { family: 'inet6', local: 'fd00:31::11', prefixlen: 64, scope: 'global' },
    ],
  },
  { ifname: 'cni0', flags: ['UP'], addr_info: [{ family: 'inet', local: '10.244.1.1', prefixlen: 24 }] },
];
const routes = [
  { dst: 'default', gateway: '192.0.2.1', dev: 'eth0' },
  { dst: '192.0.2.0/24', dev: 'eth0', scope: 'link' },
  { dst: '10.244.1.0/24', dev: 'cni0', scope: 'link' },
];

function factsOf(maps: readonly LookAlike[], save = ''): ReadonlyMap<string, Fact> {
  const files = new Map(
    Object.entries({
      'ip-addr.json': JSON.stringify(interfaces),
      'ip-route.json': JSON.stringify(routes),
      'ss.txt': '',
      'iptables-save.txt': `*filter\n:FORWARD ACCEPT [0:0]\n${save}COMMIT\n`,
      'service-maps.ndjson': ndjson(maps),
    }).map(([name, text]) => [name, Buffer.from(text)]),
  );
  const wanted = { nodePorts: [{ protocol: 'tcp' as const, family: 4 as const, port: 30099 }], peers: ['192.0.2.12'], podNetworks: ['10.244.0.0/16'] };
  return new Map(nodeFacts(readNode(files), wanted).map((fact) => [fact.key, fact]));
}
const nodePort = (facts: ReadonlyMap<string, Fact>, key: string): NodePortFact => facts.get(key) as NodePortFact;
const targets = (fact: NodePortFact, vantage: keyof NodePortFact['outcomes']) =>
  fact.outcomes[vantage]?.map(({ verdict, dnat, weight }) => [verdict, dnat, Number(weight.toFixed(2))]);

t.test('Cilium serves a NodePort: active backends, in equal shares, from every vantage', async (t) => {
  const facts = factsOf(ciliumMaps(4, 'v3'));
  const fact = nodePort(facts, 'nodeport/tcp/4/30080');
  t.match(fact, { claimed: { by: 'rule' }, address: '192.0.2.11' });
  for (const vantage of ['external', 'peer', 'pod', 'node'] as const)
    t.strictSame(targets(fact, vantage), [
      ['forward', '10.244.1.5:8080', 0.5],
      ['forward', '10.244.2.6:8080', 0.5],
    ]);
  t.match(fact.outcomes.external?.[0]?.decidedBy, { by: 'map', text: "Cilium's cilium_lb4_services_v2: 192.0.2.11:30080" });
  t.notOk(facts.has('nodeport/tcp/4/80'), 'a ClusterIP is no NodePort');
});

t.test('a NodePort that no map has is judged by the rules as ever', async (t) => {
  const fact = nodePort(factsOf(ciliumMaps(4, 'v3')), 'nodeport/tcp/4/30099');
  t.match(fact, { claimed: { by: 'none' }, outcomes: { external: [{ verdict: 'refused', dnat: null }] } });
});

t.test('an address that no frontend has: clients outside are not served, pods and processes are', async (t) => {
  const [services, backends] = ciliumMaps(4, 'v3') as [LookAlike, LookAlike];
  const rest = services.entries.filter(([key]) => key.readUInt32BE(0) !== 0xc000_020b);
  const fact = nodePort(factsOf([{ ...services, entries: rest }, backends]), 'nodeport/tcp/4/30080');
  t.match(fact.outcomes.external, [{ verdict: 'refused', dnat: null }]);
  t.equal(fact.outcomes.pod?.length, 2);
});

t.test('a frontend without backends', async (t) => {
  const [services] = ciliumMaps(4, 'v3') as [LookAlike];
  const heads = services.entries.filter(([key]) => key.readUInt16LE(6) === 0).map(([key, value]) => [key, Buffer.from(value).fill(0, 4, 6)] as const);
  const fact = nodePort(factsOf([{ ...services, entries: heads }]), 'nodeport/tcp/4/30080');
  t.match(fact.outcomes.external, [{ verdict: 'drop', dnat: null, decidedBy: { by: 'map', text: /192\.0\.2\.11:30080 has no endpoints$/ } }]);
});

for (const version of [1, 2, 3] as const) {
  t.test(`Calico, frontends of version ${version}`, async (t) => {
    const fact = nodePort(factsOf(calicoMaps(4, version)), 'nodeport/tcp/4/30080');
    t.strictSame(targets(fact, 'external'), [
      ['forward', '10.244.1.5:8080', 0.33],
      ['forward', '10.244.1.7:8080', 0.33],
      ['forward', '10.244.2.6:8080', 0.33],
    ]);
  });
}

t.test("Calico with externalTrafficPolicy Local: clients outside get the node's own", async (t) => {
  const fact = nodePort(factsOf(calicoMaps(4, 3, true)), 'nodeport/tcp/4/30080');
  t.strictSame(
    targets(fact, 'external')?.map(([, dnat]) => dnat),
    ['10.244.1.5:8080', '10.244.1.7:8080'],
  );
  t.equal(fact.outcomes.pod?.length, 3);
});

t.test('Calico that serves some networks alone is not known for all', async (t) => {
  const [frontends, backends] = calicoMaps(4, 3) as [LookAlike, LookAlike];
  const entries = frontends.entries.map(([key, value]) => {
    const longer = Buffer.from(key);
    longer.writeUInt32LE(56 + 24, 0);
    return [longer, value] as const;
  });
  t.match(nodePort(factsOf([{ ...frontends, entries }, backends]), 'nodeport/tcp/4/30080').outcomes.external, [
    { verdict: 'unknown', unless: [{ by: 'map' }] },
  ]);
});

t.test('IPv6, both programs', async (t) => {
  for (const maps of [ciliumMaps(6, 'v2'), ciliumMaps(6, 'v3'), calicoMaps(6, 3)]) {
    const fact = nodePort(factsOf(maps), 'nodeport/tcp/6/30080');
    t.match(fact, { address: 'fd00:31::11', outcomes: { external: [{ dnat: '[fd00:10:244:1::5]:8080' }] } });
  }
});

t.test('a layout that is not known makes answers uncertain', async (t) => {
  const fact = nodePort(factsOf([{ name: 'cilium_lb4_services_v9', keySize: 12, valueSize: 12, entries: [] }]), 'nodeport/tcp/4/30099');
  t.match(fact.outcomes.external?.[0], { unless: [{ text: /cilium_lb4_services_v9 has keys of 12 and values of 12 bytes/ }] });
});
