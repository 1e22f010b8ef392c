// Branches that are the same again become one; whatever makes a difference from here on keeps them apart.
import fc from 'fast-check';
import t from 'tap';
import { limits } from '../../../shared/limits.ts';
import { single } from '../../../shared/model/address.ts';
import type { Decider } from '../../../shared/model/outcome.ts';
import { coalesce } from '../../../shared/netfilter/coalesce.ts';
import type { State } from '../../../shared/netfilter/packet.ts';
import { nodeWith, save, send } from '../../support/node.ts';

const rule = (number: number): Decider => ({
  by: 'rule',
  backend: 'legacy',
  family: 'ip',
  table: 'filter',
  chain: 'FORWARD',
  rule: number,
  text: `rule ${number}`,
});
const all = [{ lo: 0n, hi: 99n }];
const low = [{ lo: 0n, hi: 49n }];
const high = [{ lo: 50n, hi: 99n }];

const from = (source: State['source'], fields: Partial<State> = {}): State => ({ ...state, source, original: { ...state.original, source }, ...fields });
const state: State = {
  family: 4,
  protocol: 6,
  source: all,
  destination: single(7n),
  sourcePort: undefined,
  destinationPort: 80,
  iif: 'eth0',
  oif: undefined,
  mark: 0,
  connmark: 0,
  routedBy: undefined,
  icmp: undefined,
  errorOf: undefined,
  tcpFlags: undefined,
  sctpChunk: undefined,
  attached: false,
  ipvs: undefined,
  conntrack: 'new',
  direction: 'original',
  settledDestination: false,
  settledSource: false,
  dnat: false,
  dnatBy: undefined,
  nat: undefined,
  undo: undefined,
  original: { source: all, destination: single(7n), destinationPort: 80, sourcePort: undefined },
  weight: 1,
  assumptions: [],
  clouded: undefined,
  path: undefined,
};
const assuming = (...numbers: readonly number[]): State['assumptions'] => numbers.map((number) => ({ decider: rule(Math.abs(number)), matched: number > 0 }));

t.test('sources of the same weight unite, weights of the same sources add up', (t) => {
  t.same(coalesce([from(low), from(high)]), [from(all)]);
  t.same(coalesce([from(all, { weight: 0.25 }), from(all, { weight: 0.5 })]), [from(all, { weight: 0.75 })]);
  t.same(coalesce([from(all), from(all)]), [from(all)], 'never more than all connections');
  t.equal(coalesce([from(low, { weight: 0.5 }), from(high, { weight: 0.25 })]).length, 2, 'neither');
  const whole = [from(low, { weight: 0.25 }), from(high, { weight: 0.5 }), from(low, { weight: 0.75 }), from(high, { weight: 0.5 })];
  t.same(coalesce(whole), [from(all)], 'one after the other');
  t.end();
});

t.test('an assumption that made no difference is forgotten', (t) => {
  t.same(coalesce([from(all, { assumptions: assuming(1) }), from(all, { assumptions: assuming(-1) })]), [from(all)]);
  t.same(coalesce([from(all, { assumptions: assuming(1, 2) }), from(all, { assumptions: assuming(1, -2) })]), [from(all, { assumptions: assuming(1) })]);
  for (const [a, b] of [
    [[1], []],
    [[1], [2]],
    [[1], [-2]],
    [
      [1, 2],
      [-1, -2],
    ],
    [[1, 2], [1]],
  ] as const) {
    t.equal(coalesce([from(all, { assumptions: assuming(...a) }), from(all, { assumptions: assuming(...b) })]).length, 2, `${a} and ${b}`);
  }
  t.end();
});

t.test('an assumption is kept while more connections go this way with it than without', (t) => {
  const [half, whole] = [from(all, { assumptions: assuming(1), weight: 0.5 }), from(all, { assumptions: assuming(-1) })];
  t.same(coalesce([half, whole]), [half, whole]);
  t.same(coalesce([whole, half]), [whole, half]);
  for (const branches of [
    [half, half, whole],
    [half, whole, half],
    [whole, half, half],
  ]) {
    t.same(coalesce(branches), [from(all)], 'halves come together first');
  }
  t.end();
});

t.test('branches that some clients have in common lose no connections', (t) => {
  const half = (source: State['source']): State => from(source, { weight: 0.5 });
  t.same(coalesce([half(low), half(high), half(low), half(high)]), [from(all)], 'halves of all, twice');
  t.same(coalesce([half(all), half(low), half(high)]), [from(all)]);
  t.same(coalesce([half(all), half(low)]), [half(all), half(low)], 'low ones go both ways, and high ones one of them');
  t.end();
});

t.test('many branches that differ in what they assume alone become one that depends on all those rules', (t) => {
  const branches = (count: number): readonly State[] =>
    Array.from({ length: count }, (_, index) => from(all, { assumptions: assuming(...Array.from({ length: index }, (_, i) => -1 - i), index + 1) }));
  t.equal(coalesce(branches(limits.walkBranchesApartMax)).length, limits.walkBranchesApartMax, 'a few are kept apart');
  const joined = coalesce(branches(limits.walkBranchesApartMax + 1));
  t.equal(joined.length, 1);
  t.same(
    joined[0]?.assumptions.map(({ decider, matched }) => [decider.rule, matched]),
    Array.from({ length: limits.walkBranchesApartMax + 1 }, (_, index) => [index + 1, 'either']),
  );
  const marked = branches(limits.walkBranchesApartMax + 1).map((each) => ({ ...each, mark: 8 }));
  t.equal(coalesce([...branches(limits.walkBranchesApartMax + 1), ...marked]).length, 2, 'what makes a difference stays apart');
  t.end();
});

t.test('a node with a dozen rules that cannot be judged is walked, and certain of nothing', (t) => {
  const rules = Array.from({ length: 12 }, (_, index) => [
    `-A FORWARD -m limit --limit ${index + 1}/sec -j MARKS`,
    `-A FORWARD -m limit --limit ${index + 1}/min -m mark ! --mark 0x${index + 1} -j DROP`,
  ]).flat();
  const node = nodeWith({
    'iptables-save.txt': `# Generated by iptables-save v1.8.9 (nf_tables)\n${save('filter', [...rules, 'MARKS -', '-A MARKS -s 192.0.2.0/24 -j DROP'])}${save('nat', ['-A PREROUTING -p tcp -m tcp --dport 30080 -j DNAT --to-destination 10.244.1.11:8080'])}`,
  });
  const { outcomes } = send(node, { to: '10.9.0.1', port: 30080 });
  t.same([...new Set(outcomes.map(({ verdict }) => verdict))].sort(), ['drop', 'forward']);
  t.ok(outcomes.every(({ unless }) => (unless?.length ?? 0) > 0));
  t.end();
});

t.test('of each client, and under each saying of the rules, as many connections go on as before', (t) => {
  const cuts = fc.uniqueArray(fc.integer({ min: 0, max: 8 }), { minLength: 2, maxLength: 2 });
  const sources = cuts.map(([a, b]) => [{ lo: BigInt(Math.min(a as number, b as number)), hi: BigInt(Math.max(a as number, b as number) - 1) }]);
  const doubts = fc.uniqueArray(fc.constantFrom(1, -1, 2, -2, 3, -3), { maxLength: 3, selector: Math.abs }).map((numbers) => assuming(...numbers));
  const branches = fc.array(
    fc
      .record({ sources, doubts, mark: fc.constantFrom(0, 0, 8), weight: fc.constantFrom(0.0625, 0.03125) })
      .map((given) => from(given.sources, { assumptions: given.doubts, mark: given.mark, weight: given.weight })),
    { maxLength: 8 },
  );
  const shareOf = (states: readonly State[], client: bigint, sayings: number): string =>
    [0, 8]
      .map((mark) =>
        states
          .filter((each) => each.mark === mark && each.source.some(({ lo, hi }) => lo <= client && client <= hi))
          .filter(({ assumptions }) => assumptions.every(({ decider, matched }) => (((sayings >> (decider.rule as number)) & 1) === 1) === matched))
          .reduce((sum, { weight }) => sum + weight, 0),
      )
      .join();
  const property = fc.property(branches, (states) => {
    const joined = coalesce(states);
    for (let client = 0n; client < 8n; client++) {
      for (let sayings = 0; sayings < 16; sayings += 2) {
        const [before, after] = [shareOf(states, client, sayings), shareOf(joined, client, sayings)];
        if (before !== after) throw new Error(`${before} became ${after} for client ${client}, rules ${sayings}`);
      }
    }
  });
  const result = fc.check(property, { numRuns: Number(process.env['RUNS'] ?? 1000), seed: Number(process.env['SEED'] ?? 1) });
  t.equal(result.failed, false, fc.defaultReportMessage(result)?.slice(-3000) ?? '');
  t.end();
});

t.test('what makes a difference from here on keeps branches apart', (t) => {
  const snat = (address: bigint): State['nat'] => ({ kind: 'snat', address });
  const different: readonly (readonly [string, Partial<State>, Partial<State>])[] = [
    ['destination', {}, { destination: single(8n) }],
    ['one of several destinations', { destination: [...single(7n), ...single(9n)] }, { destination: single(7n) }],
    ['port', {}, { destinationPort: 81 }],
    ['mark', {}, { mark: 1 }],
    ['connmark', {}, { connmark: 1 }],
    ['tracking', {}, { conntrack: 'untracked' }],
    ['translation', {}, { dnat: true }],
    ['destination settled', {}, { settledDestination: true }],
    ['source settled', {}, { settledSource: true }],
    ['masquerading', {}, { nat: { kind: 'masquerade' } }],
    ['kind of source translation', { nat: { kind: 'masquerade' } }, { nat: snat(1n) }],
    ['address of source translation', { nat: snat(1n) }, { nat: snat(2n) }],
    ['address of source translation, unknown', { nat: snat(1n) }, { nat: { kind: 'snat' } }],
    ['interface in', {}, { iif: 'eth1' }],
    ['interface out', {}, { oif: 'eth1' }],
    ['server', {}, { ipvs: { server: { line: 1 } } as never }],
    ['an effect that nobody knows', {}, { clouded: rule(1) }],
    ['effects of two rules', { clouded: rule(2) }, { clouded: rule(1) }],
  ];
  for (const [name, a, b] of different) {
    const states = [from(low, a), from(high, b)];
    t.equal(coalesce(states), states, name);
    t.equal(coalesce([...states, from(low, { ...a, weight: 0 })]).length, 2, `${name}, with one that is joined`);
  }
  t.same(coalesce([from(low, { nat: snat(1n) }), from(high, { nat: snat(1n) })]), [from(all, { nat: snat(1n) })]);
  t.same(coalesce([from(low, { clouded: rule(1) }), from(high, { clouded: rule(1) })]), [from(all, { clouded: rule(1) })]);
  t.end();
});

t.test('many branches', (t) => {
  const to = (address: number, source = all): State => from(source, { destination: single(BigInt(address)) });
  const apart = Array.from({ length: 100 }, (_, index) => to(index));
  t.same(coalesce(apart), apart);
  t.same(coalesce([...apart.map((_, index) => to(index, low)), ...apart.map((_, index) => to(index, high))]), apart, 'halves of all');
  t.end();
});

t.test('clients for whom nobody knows what a rule does are not mixed with the others', (t) => {
  const hmark = '-j HMARK --hmark-tuple src --hmark-mod 2 --hmark-offset 1 --hmark-rnd 1';
  const node = nodeWith({ 'iptables-save.txt': save('mangle', [`-A PREROUTING -s 1.0.0.0/8 ${hmark}`]) });
  const verdictOf = (client: string): readonly string[] => send(node, { from: client, to: '10.9.0.1', port: 2222 }).outcomes.map(({ verdict }) => verdict);
  t.same([verdictOf('1.2.3.4'), verdictOf('2.2.3.4')], [['unknown'], ['local']]);
  t.same(
    send(node, { to: '10.9.0.1', port: 2222 }).outcomes.map(({ verdict, sources }) => [verdict, sources?.[0]]),
    [
      ['local', '2.0.0.0/7'],
      ['unknown', '1.0.0.0/8'],
    ],
  );
  t.end();
});

t.test('answers go back to the address that stands in for the client', (t) => {
  const nat = ['-A POSTROUTING -s 1.0.0.0/8 -j SNAT --to-source 10.8.0.1', '-A POSTROUTING -j SNAT --to-source 10.8.0.77'];
  const node = nodeWith({ 'iptables-save.txt': save('nat', nat) + save('raw', ['-A PREROUTING -d 10.8.0.77/32 -j DROP']) });
  t.same(
    send(node, { to: '10.244.2.11', port: 80 }).outcomes.map(({ verdict, sources, reply }) => [verdict, sources?.[0], reply?.verdict]),
    [
      ['forward', '1.0.0.0/8', undefined],
      ['forward', '2.0.0.0/7', 'drop'],
    ],
  );
  t.end();
});
