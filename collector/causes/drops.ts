// What the kernel itself says of a NodePort's packets: those that it dropped, why, and where, as evidence beside what the rules say.

import { type Drop, dropsFactKey, type Fact, isNetfilterDrop, type NodePortKey } from '../../shared/model/fact.ts';
import type { Evidence, Finding } from '../../shared/model/finding.ts';
import type { Decider } from '../../shared/model/outcome.ts';

/** What a finding says so far: whether rules are to blame decides which drops bear it out. */
interface Said {
  readonly severity: Finding['severity'];
  readonly deciders?: readonly Decider[];
  /** When the fault began, in milliseconds since 1970; undefined when it is not known. */
  readonly since: number | undefined;
}

/** Sorts of drops that one finding names. */
const namedMax = 2;

/** Clocks of node and collector, and the time between an act and its record, may differ by this. */
const slackMs = 1_000;

/**
 * The drops that agree with a finding, as evidence: those since the fault began, and where a rule or policy decides only netfilter's. None where the node has
 * not seen any (or cannot). The rule's counter is the later one, as it was read when packets were dropped.
 */
export function kernelSaw(facts: ReadonlyMap<string, Fact>, nodePort: NodePortKey | undefined, { severity, deciders = [], since = 0 }: Said): Evidence[] {
  const fact = nodePort === undefined || severity === 'info' ? undefined : facts.get(dropsFactKey(nodePort));
  if (fact?.kind !== 'drops') return [];
  const byRule = deciders.some(({ by }) => by === 'rule' || by === 'policy');
  const agreeing = fact.drops.filter((drop) => drop.lastAt >= since - slackMs && (!byRule || isNetfilterDrop(drop)));
  return overBackends(agreeing)
    .slice(0, namedMax)
    .map((drop) => ({ witness: 'kernel', text: `${dropText(fact.nodePort, drop)}.`, ...(drop.rule === undefined ? {} : { decider: drop.rule }) }));
}

/** Drops that differ in their backends alone are one to a reader; the latest comes first and stays so. */
function overBackends(drops: readonly Drop[]): readonly Drop[] {
  const sorts = Map.groupBy(drops, ({ of, reason, port, inPod, device }) => [of, reason, port, inPod, device].join(' '));
  return [...sorts.values()].map((same) => {
    const [first] = same;
    const rule = same.find((drop) => drop.rule !== undefined)?.rule;
    if (first === undefined || same.length === 1) return same[0] as Drop;
    const { backend: _, ...rest } = first;
    return {
      ...rest,
      packets: same.reduce((sum, { packets }) => sum + packets, 0),
      prefixes: [...new Set(same.flatMap(({ prefixes }) => prefixes))].sort(),
      ...(same.some(({ more }) => more) ? { more: true } : {}),
      ...(rule === undefined ? {} : { rule }),
    };
  });
}

/** `NETFILTER_DROP on 8080 (30080 before DNAT), 4 packets from 172.31.0.0/24 on eth0; the counter of the rule rose with them`. */
export function dropText(nodePort: NodePortKey, drop: Drop): string {
  const whom = drop.of === 'request' ? 'from' : 'to clients in';
  const from =
    drop.prefixes.length === 0 ? '' : ` ${whom} ${drop.prefixes.slice(0, 3).join(', ')}${drop.more === true || drop.prefixes.length > 3 ? ' and others' : ''}`;
  const device = drop.inPod === true ? ' in the network of the pod' : drop.device === undefined ? '' : ` on ${drop.device}`;
  const packets = `${drop.packets} ${drop.packets === 1 ? 'packet' : 'packets'}`;
  const rule = drop.rule === undefined ? '' : '; the counter of the rule rose with them';
  return `${whatText(nodePort, drop)}, ${packets}${from}${device}${rule}`;
}

function whatText(nodePort: NodePortKey, { of, reason, port, backend }: Drop): string {
  if (of === 'reset') return `clients of ${nodePort.port} are sent resets${backend === undefined ? '' : ` by ${backend}`}`;
  const place = port === undefined ? String(nodePort.port) : `${port} (${nodePort.port} before DNAT)`;
  const word = reason === '' ? 'dropped' : reason;
  return of === 'reply' ? `${word}: answers${backend === undefined ? '' : ` of ${backend}`} from ${place}` : `${word} on ${place}`;
}
