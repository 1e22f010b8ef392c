// Every connection of a client goes one way: whatever rules that cannot be judged say, the weights of its branches add up to the whole.
import fc from 'fast-check';
import t from 'tap';
import { parsePrefix } from '../../../shared/model/address.ts';
import type { Assumption } from '../../../shared/netfilter/packet.ts';
import type { Branch } from '../../../shared/netfilter/walk.ts';
import { randomWalks, serviceNode, traced } from '../../support/drawn.ts';

t.test('of one client, and under one saying of the rules, the weights are 1', async (t) => {
  let doubts = 0;
  const property = fc.property(randomWalks, ({ walked: { branches } }) => {
    for (const client of clientsOf(branches)) {
      const own = branches.filter(({ outcome: { sources } }) => sources === undefined || sources.some((prefix) => contains(prefix, client)));
      const rules = [...new Set(own.flatMap(({ assumptions }) => assumptions.map(ruleOf)))].slice(0, 8);
      if (rules.length > 0) doubts++;
      for (let bits = 0; bits < 2 ** rules.length; bits++) {
        const isSo = (assumption: Assumption): boolean =>
          rules.indexOf(ruleOf(assumption)) < 0 || (((bits >> rules.indexOf(ruleOf(assumption))) & 1) === 1) === assumption.matched;
        const sum = own.filter(({ assumptions }) => assumptions.every(isSo)).reduce((total, { outcome }) => total + outcome.weight, 0);
        if (Math.abs(sum - 1) > 1e-6) throw new Error(`${sum} under ${rules.map((rule, index) => `${(bits >> index) & 1} ${rule}`).join('; ')}`);
      }
    }
  });
  const result = fc.check(property, { numRuns: Number(process.env['RUNS'] ?? 300), seed: Number(process.env['SEED'] ?? 1) });
  t.equal(result.failed, false, fc.defaultReportMessage(result)?.slice(-3000) ?? '');
  t.ok(doubts > 50, `${doubts} clients depend on rules that cannot be judged`);
});

t.test('a doubt is not forgotten while it makes a difference in how many connections go a way', async (t) => {
  const filter = ['CHANCE -', '-A CHANCE -m statistic --mode random --probability 0.50000000000 -j DROP', '-A FORWARD -m limit --limit 1/sec -j CHANCE'];
  const { walked } = traced(serviceNode({ endpoints: 1, filter }), 'src=198.51.100.7,dport=30080');
  t.same(walked.branches.map(({ outcome: { verdict, weight }, assumptions }) => [verdict, weight, assumptions.map(({ matched }) => matched).join()]).sort(), [
    ['drop', 0.5, 'true'],
    ['forward', 0.5, 'true'],
    ['forward', 1, 'false'],
  ]);
});

t.test('clients who go a way for two reasons count twice', async (t) => {
  const half = '-m statistic --mode random --probability 0.50000000000';
  const before = [`-A PREROUTING -s 203.0.113.0/25 ${half} -j MARKED`, `-A PREROUTING ${half} -m limit --limit 30/sec -j MARKED`];
  for (const source of ['203.0.113.7', '192.0.2.7', '200.0.0.0/5']) {
    const { walked } = traced(serviceNode({ endpoints: 4, before }), `src=${source},dport=30080`);
    t.same(
      walked.outcomes.map(({ weight, sources }) => [weight, sources]),
      [0, 1, 2, 3].map(() => [0.25, undefined]),
      source,
    );
  }
});

t.test('what was assumed is told by station', async (t) => {
  const filter = ['-A FORWARD -p tcp -m tcp --dport 8000 -m limit --limit 10/sec -j ACCEPT', '-A FORWARD -j DROP'];
  const { walked } = traced(serviceNode({ endpoints: 1, filter }), 'src=198.51.100.7,dport=30080');
  for (const { stations, assumed, assumptions } of walked.branches) {
    t.equal(assumed.length, stations.length);
    const at = stations.findIndex((station) => station.kind === 'rule' && station.decider.table === 'filter');
    t.same([assumed[at - 1], assumed[at], assumptions.length], [0, 1, 1]);
  }
});

/** Clients of all sorts: one of each of the first prefixes. */
function clientsOf(branches: readonly Branch[]): readonly bigint[] {
  const named = branches.flatMap(({ outcome: { sources = [] } }) => sources.slice(0, 4));
  const values = [...new Set(named)].flatMap((text) => parsePrefix(text)?.interval.lo ?? []);
  return named.length === 0 ? [0n] : values.slice(0, 24);
}

function contains(prefix: string, client: bigint): boolean {
  const interval = parsePrefix(prefix)?.interval;
  return interval !== undefined && interval.lo <= client && client <= interval.hi;
}

function ruleOf({ decider: { family, table, chain, rule, text } }: Assumption): string {
  return [family, table, chain, rule, text].join(' ');
}
