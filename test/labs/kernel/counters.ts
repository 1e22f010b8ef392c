// Holds the counters of rules against what the walk says that packets met: a verdict could be right for the wrong reason.
import type { Decider } from '../../../shared/model/outcome.ts';
import type { NodeState } from '../../../shared/netfilter/node.ts';
import type { Rule, Step } from '../../../shared/netfilter/rule.ts';
import type { Chain, Table } from '../../../shared/netfilter/ruleset.ts';
import type { Prediction } from './judge.ts';

/** How often a rule or policy is met by first packets, at least and at most. */
interface Expected {
  least: number;
  most: number;
  readonly what: string;
  /** `drop`, `dnat`, `policy` … */
  readonly effect: string;
  readonly forExample: string;
}

/** What was held against the kernel's counters. */
export interface Counted {
  readonly differences: readonly string[];
  /** Rules and policies whose counters were compared, by what they do; `exactly` where the number itself was known. */
  readonly compared: ReadonlyMap<string, number>;
}

/** Compares the counters after all packets with what was predicted of each packet, `asked` in words. */
export function compareCounters(after: NodeState, predictions: readonly (readonly [Prediction, asked: string])[]): Counted {
  const tracked = !anyRule(after, (rule) => rule.steps.some((step) => step.kind === 'notrack'));
  const plain = !anyRule(after, isByChance);
  // The reset that REJECT makes for a packet which has not come to the translation of its source is asked for itself (nf_nat_inet_fn).
  const resets = predictions.filter(([{ outcomes }]) => outcomes.some(({ rejectWith }) => rejectWith === 'tcp-reset')).length;
  const expected = plain ? metRules(predictions) : decidingRules(predictions);
  const differences: string[] = [];
  const compared = new Map<string, number>();
  const note = (word: string): unknown => compared.set(word, (compared.get(word) ?? 0) + 1);
  for (const table of after.tables) {
    for (const chain of table.chains.values()) {
      for (const [place, packets, rule] of countersOf(table, chain)) {
        const want = expected.get(place);
        const exact = plain && tracked && rule !== undefined && seesFirstPacketsOnly(table, chain, rule);
        const [least, most] = [want?.least ?? 0, exact ? (want?.most ?? 0) + resets : Number.POSITIVE_INFINITY];
        if (packets < least || packets > most) differences.push(differenceText(`${place}: ${rule?.text ?? 'policy'}`, { want, packets, exact }));
        if (exact) note('exactly');
        if (want !== undefined && want.least > 0) note(want.effect);
      }
    }
  }
  return { differences, compared };
}

function differenceText(place: string, { want, packets, exact }: { want: Expected | undefined; packets: number; exact: boolean }): string {
  const number = want === undefined ? 'none' : want.least === want.most || !exact ? String(want.least) : `${want.least} to ${want.most}`;
  const example = want === undefined ? '' : `, for example ${want.forExample}`;
  return `${place}: the walk has ${exact ? 'just' : 'at least'} ${number} of the packets meet it${example}; it has counted ${packets}`;
}

function* countersOf(table: Table, chain: Chain): Iterable<readonly [string, number, Rule | undefined]> {
  if (chain.counter !== undefined) yield [placeOf({ ...table, table: table.name, chain: chain.name }), Number(chain.counter.packets), undefined];
  for (let index = 0; index < chain.length; index++) {
    const rule = chain.rule(index);
    if (rule.counter !== undefined) yield [placeOf({ ...rule.place, rule: rule.place.number }), Number(rule.counter.packets), rule];
  }
}

const placeOf = ({ backend, family, table, chain, rule }: Pick<Decider, 'backend' | 'family' | 'table' | 'chain' | 'rule'>): string =>
  `${backend} ${family} ${table} ${chain}${rule === undefined ? '' : ` rule ${rule}`}`;

/** Chains of NAT see first packets alone, as do rules that ask for the state NEW: of those the walk knows each one. */
function seesFirstPacketsOnly(table: Table, chain: Chain, rule: Rule): boolean {
  const forFirst = (step: Step): boolean => step.kind === 'conntrackState' && !step.negate && step.anyOf.length === 1 && step.anyOf[0] === 'new';
  return (table.backend === 'nft' ? chain.base?.type === 'nat' : table.name === 'nat') || rule.steps.some(forFirst);
}

/** Rules that packets meet by chance, or perhaps: branches that came together again show the way of one of them only. */
function isByChance({ steps }: Rule): boolean {
  const keyed = (step: Step): boolean => 'key' in step && Array.isArray(step.key) && step.key.some((part) => part.kind === 'random' || part.kind === 'unknown');
  const isUnknown = (step: Step): boolean => step.kind === 'number' && (step.field === 'length' || step.field === 'ttl' || step.field === 'dscp');
  const isDoubtfulSet = (step: Step): boolean => step.kind === 'ipset' && /bmac|timed/.test(step.set);
  return steps.some(
    (step) =>
      step.kind === 'random' ||
      step.kind === 'may' ||
      step.kind === 'recent' ||
      step.kind === 'unknown' ||
      keyed(step) ||
      isUnknown(step) ||
      isDoubtfulSet(step),
  );
}

function anyRule(node: NodeState, test: (rule: Rule) => boolean): boolean {
  return node.tables.some((table) =>
    [...table.chains.values()].some((chain) => Array.from({ length: chain.length }, (_, index) => chain.rule(index)).some(test)),
  );
}

/** Every rule and policy that first packets meet on their way. */
function metRules(predictions: readonly (readonly [Prediction, string])[]): ReadonlyMap<string, Expected> {
  const all = new Map<string, Expected>();
  for (const [prediction, asked] of predictions) {
    const branches = prediction.branches.map(({ stations }) => {
      const met = new Map<string, { times: number; decider: Decider; effect: string }>();
      for (const [index, station] of stations.entries()) {
        if (station.kind !== 'rule' && station.kind !== 'policy') continue;
        const { decider } = station;
        const before = stations[index - 1];
        // A rule with several effects is noted for each.
        if (before?.kind === 'rule' && placeOf(before.decider) === placeOf(decider)) continue;
        const place = placeOf(decider);
        const effect =
          station.kind === 'policy'
            ? `policy of ${decider.backend}`
            : (/^(reject|DNAT|SNAT|drop|→|accept|return|mark|matches)/.exec(station.effect)?.[1] ?? 'other');
        met.set(place, { times: (met.get(place)?.times ?? 0) + 1, decider, effect });
      }
      return met;
    });
    for (const place of new Set(branches.flatMap((met) => [...met.keys()]))) {
      const times = branches.map((met) => met.get(place)?.times ?? 0);
      const { decider, effect } = branches.map((met) => met.get(place)).find((each) => each !== undefined) as { decider: Decider; effect: string };
      add(all, place, { least: Math.min(...times), most: Math.max(...times), what: decider.text, effect, forExample: asked });
    }
  }
  return all;
}

/** The rules and policies alone that decided packets for certain. */
function decidingRules(predictions: readonly (readonly [Prediction, string])[]): ReadonlyMap<string, Expected> {
  const all = new Map<string, Expected>();
  for (const [{ outcomes, certain }, asked] of predictions) {
    const [only] = outcomes;
    const decider = only?.decidedBy;
    if (!certain || outcomes.length > 1 || only === undefined || (decider?.by !== 'rule' && decider?.by !== 'policy') || only.unless !== undefined) continue;
    if (only.verdict !== 'drop' && only.verdict !== 'reject') continue;
    const effect = decider.by === 'policy' ? `policy of ${decider.backend}` : only.verdict;
    add(all, placeOf(decider), { least: 1, most: Number.POSITIVE_INFINITY, what: decider.text, effect, forExample: asked });
  }
  return all;
}

function add(all: Map<string, Expected>, place: string, one: Expected): void {
  const before = all.get(place);
  if (before === undefined) all.set(place, { ...one });
  else {
    before.least += one.least;
    before.most += one.most;
  }
}
