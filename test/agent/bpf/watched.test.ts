import fc from 'fast-check';
import t from 'tap';
import { commandsBetween, decidersOf, nothingWatched, sameNodePorts, type Watched, watchedOf } from '../../../agent/bpf/watched.ts';
import { limits } from '../../../shared/limits.ts';
import type { Fact, NodePortFact, NodePortKey } from '../../../shared/model/fact.ts';
import { nodePortFactKey } from '../../../shared/model/fact.ts';
import type { Outcome } from '../../../shared/model/outcome.ts';

const key = (port: number, family: 4 | 6 = 4): NodePortKey => ({ protocol: 'tcp', family, port });
const outcome = (dnat: string | null, given: Partial<Outcome> = {}): Outcome => ({ verdict: 'forward', dnat, masquerade: false, weight: 1, ...given });
const fact = (nodePort: NodePortKey, ...outcomes: readonly Outcome[]): NodePortFact => ({
  kind: 'nodeport',
  key: nodePortFactKey(nodePort),
  nodePort,
  address: '192.0.2.1',
  outcomes: { external: outcomes, peer: outcomes },
  claimed: { by: 'rule' },
});
const facts = (...list: readonly Fact[]): ReadonlyMap<string, Fact> => new Map(list.map((each) => [each.key, each]));

t.test('NodePorts and the backends behind them', async (t) => {
  const watched = watchedOf(
    facts(
      fact(key(30080), outcome('10.244.1.5:8080'), outcome(null)),
      fact(key(30081), outcome('10.244.1.5:8080')),
      fact(key(30080, 6), outcome('[fd00::5]:8080')),
    ),
  );
  t.strictSame(commandsBetween(nothingWatched, watched), [
    '+ nodeport tcp 4 30080',
    '+ nodeport tcp 4 30081',
    '+ nodeport tcp 6 30080',
    '+ backend tcp 10.244.1.5 8080',
    '+ backend tcp fd00::5 8080',
  ]);
  t.strictSame(watched.nodePortsOf.get('tcp 10.244.1.5 8080'), [key(30080), key(30081)]);
});

t.test('a reading that says the same of every NodePort', async (t) => {
  const [one, other] = [fact(key(30080), outcome('10.244.1.5:8080')), fact(key(30081), outcome(null))];
  const setting: Fact = { kind: 'sysctl', key: 'sysctl/net.ipv4.ip_forward', name: 'net.ipv4.ip_forward', value: '1' };
  t.ok(sameNodePorts(facts(one, other), facts(setting, one, other)));
  t.notOk(sameNodePorts(facts(one, other), facts(one)));
  t.notOk(sameNodePorts(facts(one), facts(one, other)));
  t.notOk(sameNodePorts(facts(one), facts(fact(key(30080), outcome('10.244.1.6:8080')))));
});

t.test('the lines make of one what the other is', async (t) => {
  const watched = fc
    .record({ ports: fc.uniqueArray(fc.integer({ min: 1, max: 9 })), backends: fc.uniqueArray(fc.integer({ min: 1, max: 9 })) })
    .map(({ ports, backends }): Watched => {
      const names = backends.map((i) => `tcp 10.0.0.${i} 80`);
      return { nodePorts: new Map(ports.map((port) => [String(port), key(port)])), backends: new Set(names), nodePortsOf: new Map() };
    });
  fc.assert(
    fc.property(watched, watched, (before, after) => {
      const has = new Set(
        [...before.nodePorts.values()].map(({ port }) => `nodeport tcp 4 ${port}`).concat([...before.backends].map((each) => `backend ${each}`)),
      );
      for (const line of commandsBetween(before, after)) {
        const sign = line.startsWith('+');
        t.equal(has.has(line.slice(2)), !sign);
        if (sign) has.add(line.slice(2));
        else has.delete(line.slice(2));
      }
      const wanted = [...after.nodePorts.values()].map(({ port }) => `nodeport tcp 4 ${port}`).concat([...after.backends].map((each) => `backend ${each}`));
      t.strictSame([...has].sort(), wanted.sort());
    }),
    { numRuns: 50 },
  );
});

for (const count of [limits.bpfBackendsMax - 1, limits.bpfBackendsMax, limits.bpfBackendsMax + 1]) {
  t.test(`${count} backends`, async (t) => {
    const outcomes = Array.from({ length: count }, (_, i) => outcome(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}:80`));
    t.equal(watchedOf(facts(fact(key(30080), ...outcomes))).backends.size, Math.min(count, limits.bpfBackendsMax));
  });
}

t.test("who ends a client's packets, as the walk says", async (t) => {
  const drop = { by: 'rule' as const, text: '-A FORWARD -j DROP' };
  const reply = { by: 'policy' as const, text: 'policy DROP' };
  const all = facts(
    fact(
      key(30080),
      outcome('10.244.1.5:8080', { verdict: 'drop', decidedBy: drop, sources: ['192.0.2.0/24'] }),
      outcome('10.244.1.5:8080', { reply: { verdict: 'drop', decidedBy: reply }, sources: ['198.51.100.0/24'] }),
    ),
  );
  const deciders = (client: string, isReply = false) => [...new Set(decidersOf(all, key(30080), { client, reply: isReply }))];
  t.strictSame(deciders('192.0.2.9'), [drop]);
  t.strictSame(deciders('198.51.100.9'), []);
  t.strictSame(deciders('198.51.100.9', true), [reply]);
  t.strictSame(deciders('fd00::1'), []);
  t.strictSame(decidersOf(all, key(1), { client: '192.0.2.9', reply: false }), []);
});
