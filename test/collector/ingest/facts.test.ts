// Every fact that a node can make passes the collector's check, and what does not fit is named.
import t from 'tap';
import { readFact } from '../../../collector/ingest/facts.ts';
import { nodeFacts } from '../../../shared/netfilter/facts.ts';
import { readNode } from '../../../shared/netfilter/node.read.ts';
import { captureFiles, numberedCaptures } from '../../support/captures.ts';

const wanted = {
  nodePorts: [{ protocol: 'udp', family: 4, port: 30053 } as const],
  peers: ['172.31.0.12'],
  podNetworks: ['10.244.1.0/24', '10.244.2.0/24', '10.244.3.0/24'],
  healthPorts: [31087],
};

// What captures of the lab do not hold: tunnels, counters, processes, tracked connections, bridge ports, hostPorts, repeated rules.
const more: readonly (readonly [string, string])[] = [
  ['counters.txt', 'softnet_dropped = 12\n'],
  ['bridge-ports.txt', 'cni0.hairpin_mode = 0\n'],
  ['processes.json', '[{"pid":7,"comm":"kube-proxy","argv":["kube-proxy","--proxy-mode=iptables"],"startedAt":1795297676000}]'],
  ['conntrack.txt', 'udp 17 29 src=192.0.2.9 dst=172.31.0.11 sport=4000 dport=30053 [UNREPLIED] src=10.244.1.9 dst=192.0.2.9 sport=5353 dport=4000\n'],
];

t.test('facts of every capture, as they come over the wire', (t) => {
  const kinds = new Set<string>();
  for (const name of numberedCaptures) {
    const files = new Map([...captureFiles(name), ...more.map(([file, text]) => [file, Buffer.from(text)] as const)]);
    const save = files.get('iptables-save.txt')?.toString('utf8') ?? '';
    const spoiled = save.replace(/^-A INPUT .*\n/m, (line) => line.repeat(20)).replace(/^\*nat\n/m, '*nat\n:CNI-HOSTPORT-DNAT - [0:0]\n');
    files.set('iptables-save.txt', Buffer.from(spoiled));
    for (const fact of nodeFacts(readNode(files, { node: 'node1' }), wanted)) {
      kinds.add(fact.kind);
      const read = readFact(JSON.parse(JSON.stringify(fact)) as typeof fact);
      if (read.fact === undefined) t.fail(`${name}: ${read.reason}`);
    }
  }
  for (const kind of ['neighbours', 'port', 'routing', 'served', 'hostports', 'repeated-rules', 'process', 'counter', 'flows']) t.ok(kinds.has(kind), kind);
  t.end();
});

t.test('what does not fit is named', (t) => {
  t.match(readFact({ kind: 'counter', key: 'counter/x' }), { reason: /fact "counter\/x": / });
  t.match(readFact({ kind: 'later', key: 'later/x' }), { reason: 'kind "later" is not known' });
  t.end();
});
