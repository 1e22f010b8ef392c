import fc from 'fast-check';
import t from 'tap';
import { backendKey, Drops, type NodePortsOf } from '../../../agent/bpf/drops.ts';
import type { DropEvent } from '../../../agent/bpf/events.parse.ts';
import { limits } from '../../../shared/limits.ts';
import type { Drop, NodePortKey } from '../../../shared/model/fact.ts';
import type { Decider } from '../../../shared/model/outcome.ts';

const start = 1_700_000_000_000;
const event = (given: Partial<DropEvent> = {}): DropEvent => ({
  kind: 'drop',
  of: 'nodeport',
  reason: 8,
  protocol: 'tcp',
  family: 4,
  nodePort: 30080,
  port: 30080,
  prefix: '192.0.2.0/24',
  own: true,
  netns: 1,
  device: 'eth0',
  client: '192.0.2.7',
  destination: '198.51.100.1',
  count: 1,
  firstAt: start,
  lastAt: start,
  ...given,
});
const nodePort: NodePortKey = { protocol: 'tcp', family: 4, port: 30080 };
const none: NodePortsOf = new Map();
const named = (): Drops => {
  const drops = new Drops();
  drops.name(
    new Map([
      [2, 'NOT_SPECIFIED'],
      [3, 'NO_SOCKET'],
      [8, 'NETFILTER_DROP'],
    ]),
  );
  return drops;
};
const toldOf = (drops: Drops): readonly Drop[] => drops.facts()[0]?.drops ?? [];

t.test('a first drop is told at once, as a fact of its NodePort', async (t) => {
  const drops = named();
  t.strictSame(drops.take(event({ port: 8080, backend: '10.244.1.5' }), none), [nodePort]);
  t.match(drops.tell(start), { changed: true });
  t.strictSame(drops.facts(), [
    {
      kind: 'drops',
      key: 'drops/tcp/4/30080',
      nodePort,
      drops: [
        {
          of: 'request',
          reason: 'NETFILTER_DROP',
          port: 8080,
          backend: '10.244.1.5',
          packets: 1,
          firstAt: start,
          lastAt: start,
          prefixes: ['192.0.2.0/24'],
          device: 'eth0',
        },
      ],
    },
  ]);
});

t.test('counts are those of the kernel, over networks and over a restart of the program', async (t) => {
  const drops = named();
  const take = (given: Partial<DropEvent>) => drops.take(event(given), none);
  take({ count: 3 });
  take({ count: 10 });
  take({ count: 5, prefix: '198.51.100.0/24' });
  take({ count: 5, prefix: '198.51.100.0/24' });
  drops.restart();
  take({ count: 2 });
  drops.tell(start);
  t.match(toldOf(drops), [{ packets: 17, prefixes: ['192.0.2.0/24', '198.51.100.0/24'] }]);
});

t.test('an ongoing drop is told ever less often, a new sort at once', async (t) => {
  const drops = named();
  const told: number[] = [];
  for (let ms = 0; ms <= 120_000; ms += 500) {
    drops.take(event({ count: ms + 1, lastAt: start + ms }), none);
    if (drops.tell(start + ms).changed) told.push(ms);
  }
  t.strictSame(told.slice(0, 5), [0, 1_000, 3_000, 7_000, 15_000]);
  t.ok(told.every((ms, i) => i === 0 || ms - (told[i - 1] as number) >= limits.dropToldMinMs));
  t.ok(told.every((ms, i) => i === 0 || ms - (told[i - 1] as number) <= limits.dropToldMaxMs));
  drops.take(event({ reason: 3, lastAt: start + 121_000, count: 1 }), none);
  const again = drops.tell(start + 121_000);
  t.ok(again.changed || (again.againMs ?? 0) <= limits.dropToldMinMs, 'within a second');
});

t.test('a drop is forgotten, and its fact with it', async (t) => {
  const drops = named();
  drops.take(event(), none);
  const { againMs } = drops.tell(start);
  t.equal(againMs, limits.dropKeptMs);
  t.equal(drops.tell(start + limits.dropKeptMs - 1).changed, false);
  t.equal(drops.tell(start + limits.dropKeptMs).changed, true);
  t.strictSame(drops.facts(), []);
  t.strictSame(drops.tell(start + limits.dropKeptMs), { changed: false, againMs: undefined });
});

t.test('a backend has the NodePorts that lead to it', async (t) => {
  const drops = named();
  const other: NodePortKey = { ...nodePort, port: 30081 };
  const leads: NodePortsOf = new Map([[backendKey('tcp', '10.244.1.5', 8080), [nodePort, other, nodePort]]]);
  const { nodePort: _, ...rest } = event({ of: 'backend', port: 8080, backend: '10.244.1.5', own: false, reason: 3 });
  t.strictSame(drops.take(rest, leads), [nodePort, other]);
  t.strictSame(drops.take({ ...rest, backend: '10.244.1.6' }, leads), []);
  drops.tell(start);
  t.match(drops.facts(), [{ key: 'drops/tcp/4/30080', drops: [{ reason: 'NO_SOCKET', inPod: true, port: 8080, packets: 1 }] }, { key: 'drops/tcp/4/30081' }]);
});

t.test('names of reasons', async (t) => {
  const drops = named();
  const reason = (given: Partial<DropEvent>) => drops.reasonOf(event(given));
  t.equal(reason({}), 'NETFILTER_DROP');
  t.equal(reason({ reason: 4711 }), 'reason 4711');
  t.equal(reason({ reason: 0, place: 'nf_hook_slow' }), 'in nf_hook_slow');
  t.equal(reason({ reason: 2, place: 'tcp_v4_rcv' }), 'in tcp_v4_rcv');
  t.equal(reason({ reason: 2 }), 'NOT_SPECIFIED');
  const { reason: _, ...reset } = event({ of: 'reset' });
  t.equal(drops.reasonOf(reset), '');
});

t.test("a rule is named with netfilter's drops of the node and no others", async (t) => {
  const drops = named();
  drops.take(event({ port: 8080 }), none);
  drops.take(event({ reason: 3 }), none);
  drops.take(event({ of: 'reply' }), none);
  drops.take(event({ own: false }), none);
  drops.tell(start);
  const rule: Decider = { by: 'rule', text: '-A FORWARD -j DROP', packets: '4' };
  drops.confirm(nodePort, 'request', { decider: rule, at: start });
  drops.tell(start + limits.dropToldMinMs);
  t.strictSame(
    toldOf(drops).map((drop) => [drop.of, drop.reason, drop.inPod === true, drop.rule?.packets]),
    [
      ['request', 'NETFILTER_DROP', false, '4'],
      ['request', 'NO_SOCKET', false, undefined],
      ['reply', 'NETFILTER_DROP', false, undefined],
      ['request', 'NETFILTER_DROP', true, undefined],
    ],
  );
  drops.confirm({ ...nodePort, port: 1 }, 'request', { decider: rule, at: start });
});

for (const count of [limits.dropSortsMax - 1, limits.dropSortsMax, limits.dropSortsMax + 1]) {
  t.test(`${count} sorts of drops`, async (t) => {
    const drops = named();
    for (let i = 0; i < count; i++) drops.take(event({ port: 8000 + i, lastAt: start + i }), none);
    drops.tell(start);
    t.equal(toldOf(drops).length, Math.min(count, limits.dropSortsMax));
    t.equal(toldOf(drops)[0]?.port, 8000 + count - 1, 'the latest is among them');
  });
}

for (const count of [limits.dropPrefixesMax - 1, limits.dropPrefixesMax, limits.dropPrefixesMax + 1]) {
  t.test(`${count} networks of clients`, async (t) => {
    const drops = named();
    for (let i = 0; i < count; i++) drops.take(event({ prefix: `10.0.${i}.0/24` }), none);
    drops.tell(start);
    const [drop] = toldOf(drops);
    t.equal(drop?.prefixes.length, Math.min(count, limits.dropPrefixesMax));
    t.equal(drop?.more, count > limits.dropPrefixesMax ? true : undefined);
  });
}

for (const count of [limits.dropFactsMax - 1, limits.dropFactsMax, limits.dropFactsMax + 1]) {
  t.test(`${count} NodePorts with drops`, async (t) => {
    const drops = named();
    for (let i = 0; i < count; i++) drops.take(event({ nodePort: 20_000 + i }), none);
    drops.tell(start);
    t.equal(drops.facts().length, Math.min(count, limits.dropFactsMax));
  });
}

t.test('whatever comes, facts stay within their bounds and every packet is counted once', async (t) => {
  const events = fc.record({
    nodePort: fc.integer({ min: 1, max: 3 }),
    reason: fc.integer({ min: 0, max: 40 }),
    prefix: fc.integer({ min: 0, max: 40 }),
    more: fc.integer({ min: 0, max: 5 }),
  });
  fc.assert(
    fc.property(fc.array(events, { maxLength: 200 }), (list) => {
      const drops = named();
      const counts = new Map<string, number>();
      for (const [i, { more, ...given }] of list.entries()) {
        const key = JSON.stringify(given);
        const count = (counts.get(key) ?? 0) + more;
        counts.set(key, count);
        drops.take(event({ ...given, prefix: `10.0.${given.prefix}.0/24`, count, lastAt: start + i }), none);
        drops.tell(start + i);
      }
      drops.tell(start + limits.dropToldMaxMs * 3);
      for (const fact of drops.facts()) {
        t.ok(fact.drops.length <= limits.dropSortsMax && fact.drops.every(({ prefixes }) => prefixes.length <= limits.dropPrefixesMax));
        const sent = [...counts].filter(([key]) => JSON.parse(key).nodePort === fact.nodePort.port).reduce((sum, [, count]) => sum + count, 0);
        const seen = fact.drops.reduce((sum, { packets }) => sum + packets, 0);
        t.ok(seen <= sent && (fact.drops.length === limits.dropSortsMax || seen === sent));
      }
    }),
    { numRuns: 50 },
  );
});
