// A list of banned (or allowed) addresses: what its rules do to each client stays true, though nobody is told of each rule for each endpoint.
import fc from 'fast-check';
import t from 'tap';
import { deciderText } from '../../../collector/causes/owner.ts';
import { removeDecider } from '../../../collector/causes/remedy.ts';
import { limits } from '../../../shared/limits.ts';
import { contains, type IntervalSet, parseAddress, parsePrefix, union } from '../../../shared/model/address.ts';
import type { NodePortFact } from '../../../shared/model/fact.ts';
import type { Decider, Outcome } from '../../../shared/model/outcome.ts';
import { outsideSources } from '../../../shared/netfilter/clients.ts';
import { judgeNode } from '../../../shared/netfilter/facts.incremental.ts';
import { nothingWanted } from '../../../shared/netfilter/facts.ts';
import { primaryAddress } from '../../../shared/netfilter/host.ts';
import type { NodeState } from '../../../shared/netfilter/node.ts';
import { walk } from '../../../shared/netfilter/walk.ts';
import { placed } from '../../../shared/netfilter/walk.words.ts';
import { endpointOf, serviceNode } from '../../support/drawn.ts';

/** What all clients from outside meet: each end by itself (`exact`), or as facts are made. */
function met(node: NodeState, how: 'exact' | 'for facts'): readonly Outcome[] {
  const destination = primaryAddress(node.host, 4) ?? 0n;
  const packet = { vantage: 'external', family: 4, protocol: 6, sources: outsideSources(node, 4), destination, destinationPort: 30080 } as const;
  return walk(node, packet, { traced: how === 'exact', reply: true }).outcomes;
}

const bans = (count: number): readonly string[] => Array.from({ length: count }, (_, i) => `-A FORWARD -s 203.0.${i}.7/32 -j DROP`);

t.test('up to so many ends each rule is named; of more, the first of a chain and how many others there are', async (t) => {
  const few = met(serviceNode({ endpoints: 3, filter: bans(20) }), 'for facts');
  t.equal(few.length, 3 + 3 * 20);
  t.ok(few.every(({ decidedBy }) => decidedBy?.others === undefined));
  const filter = [...bans(100).slice(0, 50), '-A FORWARD -s 198.51.100.0/24 -j REJECT --reject-with icmp-port-unreachable', ...bans(100).slice(50)];
  const many = met(serviceNode({ endpoints: 3, filter }), 'for facts');
  const lost = many
    .filter(({ verdict }) => verdict !== 'forward')
    .map(({ verdict, dnat, decidedBy, sources }) => [verdict, dnat, decidedBy?.rule, decidedBy?.others, sources?.length]);
  t.strictSame(
    lost.sort(),
    [0, 1, 2]
      .flatMap((i) => [
        ['drop', endpointOf(i), 1, 99, 100],
        ['reject', endpointOf(i), 51, undefined, 1],
      ])
      .sort(),
  );
});

t.test('whoever names the rule says how many others there are, and that deleting it is not enough', async (t) => {
  const [first] = met(serviceNode({ endpoints: 3, filter: bans(100) }), 'for facts').filter(({ verdict }) => verdict === 'drop');
  const decider = first?.decidedBy as Decider;
  t.equal(placed(decider), 'ip filter FORWARD rule 1: -s 203.0.0.7/32 -j DROP and 99 more like it for other clients');
  t.equal(deciderText(decider), 'rule 1 of filter FORWARD (-s 203.0.0.7/32 -j DROP) and 99 more like it for other clients');
  t.strictSame(removeDecider(decider), [
    'iptables -D FORWARD -s 203.0.0.7/32 -j DROP',
    '# likewise 99 more rules of filter FORWARD, as their clients shall get in',
  ]);
});

t.test('a fact lists the largest prefixes and says how many are left', async (t) => {
  const node = serviceNode({ endpoints: 3, filter: bans(100) });
  const fact = judgeNode(node, { ...nothingWanted, nodePorts: [{ protocol: 'tcp', family: 4, port: 30_080 }] }, undefined).facts.find(
    ({ kind }) => kind === 'nodeport',
  ) as NodePortFact;
  for (const outcome of fact.outcomes.external ?? []) {
    const whole = met(node, 'for facts').find(({ verdict, dnat }) => verdict === outcome.verdict && dnat === outcome.dnat)?.sources ?? [];
    t.equal(outcome.sources?.length, limits.outcomeSourcesMax);
    t.equal((outcome.sources?.length ?? 0) + (outcome.sourcesLeft ?? 0), whole.length);
    t.strictSame(
      outcome.sources?.filter((prefix) => whole.includes(prefix)),
      outcome.sources,
      'in their order',
    );
    const lengthOf = (prefix: string): number => Number(prefix.split('/')[1] ?? 32);
    const left = whole.filter((prefix) => outcome.sources?.includes(prefix) !== true);
    t.ok(Math.min(...left.map(lengthOf)) >= Math.max(...(outcome.sources ?? []).map(lengthOf)), 'none that is left is larger');
  }
});

t.test('whatever the rules: each client meets the same, as often as before', async (t) => {
  let joined = 0;
  const property = fc.property(fc.array(rules, { minLength: 30, maxLength: 60 }), (filter) => {
    const node = serviceNode({ endpoints: 4, filter: ['CHANCE -', '-A CHANCE -m statistic --mode random --probability 0.25000000000 -j DROP', ...filter] });
    const [exact, short] = [met(node, 'exact'), met(node, 'for facts')];
    if (short.some(({ decidedBy }) => decidedBy?.others !== undefined)) joined++;
    for (const client of ['192.0.2.1', ...filter.map((line) => /-s ([\d.]+)/.exec(line)?.[1] ?? '192.0.2.2')]) {
      const [before, now] = [sharesOf(exact, client), sharesOf(short, client)];
      if (JSON.stringify(before) !== JSON.stringify(now)) throw new Error(`${client}: ${JSON.stringify(before)} is ${JSON.stringify(now)}`);
    }
  });
  const numRuns = Number(process.env.RUNS ?? 100);
  const result = fc.check(property, { numRuns, seed: Number(process.env.SEED ?? 1) });
  t.equal(result.failed, false, fc.defaultReportMessage(result)?.slice(-3000) ?? '');
  t.ok(joined > numRuns / 2, `${joined} lists were joined`);
});

const rules = fc
  .record({
    source: fc.oneof(
      fc.nat(255).map((n) => `203.0.113.${n}/32`),
      fc.nat(255).map((n) => `198.51.${n}.0/24`),
      fc.nat(63).map((n) => `10.${4 * n}.0.0/14`),
    ),
    // Most decide for all of their clients.
    more: fc.constantFrom('', '', '', '', '', '', '-m statistic --mode random --probability 0.50000000000 ', '-m limit --limit 5/sec '),
    target: fc.constantFrom('DROP', 'DROP', 'ACCEPT', 'REJECT --reject-with icmp-port-unreachable', 'REJECT --reject-with tcp-reset', 'CHANCE'),
  })
  .map(({ source, more, target }) => `-A FORWARD -s ${source} ${target.includes('tcp-reset') ? '-p tcp ' : ''}${more}-j ${target}`);

/** How often a client meets what, by what it can tell apart and where it is sent. */
function sharesOf(outcomes: readonly Outcome[], client: string): readonly (readonly [string, number])[] {
  const address = parseAddress(client)?.value ?? 0n;
  const shares = new Map<string, number>();
  for (const { verdict, dnat, masquerade, rejectWith, weight, sources, unless, decidedBy } of outcomes) {
    if (sources !== undefined && !contains(setOf(sources), address)) continue;
    const doubts = unless?.map(({ chain, rule }) => `${chain} ${rule}`).join() ?? '';
    const what = `${verdict} ${dnat} ${masquerade} ${rejectWith} ${decidedBy?.chain} ${doubts}`;
    shares.set(what, Math.round(((shares.get(what) ?? 0) + weight) * 1e6) / 1e6);
  }
  return [...shares].sort();
}

const setOf = (prefixes: readonly string[]): IntervalSet =>
  union(...prefixes.flatMap((text) => parsePrefix(text)?.interval ?? []).map((interval) => [interval]));
