// What portreeve-bpf is to look for: the NodePorts of the node's facts and the backends behind them, as the lines that tell it. Pure.

import { limits } from '../../shared/limits.ts';
import { parseAddress, parsePrefix } from '../../shared/model/address.ts';
import { type Fact, type NodePortFact, type NodePortKey, nodePortFactKey } from '../../shared/model/fact.ts';
import { type Decider, lossOf, type Outcome } from '../../shared/model/outcome.ts';
import { backendKey, type NodePortsOf } from './drops.ts';

export interface Watched {
  readonly nodePorts: ReadonlyMap<string, NodePortKey>;
  /** `tcp 10.244.1.5 8080`, as `backendKey` writes them. */
  readonly backends: ReadonlySet<string>;
  readonly nodePortsOf: NodePortsOf;
}

export const nothingWatched: Watched = { nodePorts: new Map(), backends: new Set(), nodePortsOf: new Map() };

export function watchedOf(facts: ReadonlyMap<string, Fact>): Watched {
  const nodePorts = new Map<string, NodePortKey>();
  const nodePortsOf = new Map<string, NodePortKey[]>();
  for (const fact of facts.values()) {
    if (fact.kind !== 'nodeport') continue;
    nodePorts.set(nodePortFactKey(fact.nodePort), fact.nodePort);
    for (const backend of backendsOfFact(fact)) {
      const known = nodePortsOf.get(backend);
      if (known !== undefined) known.push(fact.nodePort);
      else if (nodePortsOf.size < limits.bpfBackendsMax) nodePortsOf.set(backend, [fact.nodePort]);
    }
  }
  return { nodePorts, backends: new Set(nodePortsOf.keys()), nodePortsOf };
}

/** Whether two readings say the same of every NodePort: what has not changed is the same object in both. */
export function sameNodePorts(before: ReadonlyMap<string, Fact>, after: ReadonlyMap<string, Fact>): boolean {
  return (
    before === after ||
    (nodePortFacts(before) === nodePortFacts(after) && [...after].every(([key, fact]) => fact.kind !== 'nodeport' || before.get(key) === fact))
  );
}

const nodePortFacts = (facts: ReadonlyMap<string, Fact>): number => [...facts.values()].filter(({ kind }) => kind === 'nodeport').length;

// Most facts stay as they are from one reading to the next.
const knownBackends = new WeakMap<NodePortFact, ReadonlySet<string>>();

function backendsOfFact(fact: NodePortFact): ReadonlySet<string> {
  const known = knownBackends.get(fact) ?? backendsOf(fact.nodePort, Object.values(fact.outcomes).flat());
  knownBackends.set(fact, known);
  return known;
}

function backendsOf({ protocol }: NodePortKey, outcomes: readonly Outcome[]): ReadonlySet<string> {
  const backends = outcomes.flatMap(({ dnat }) => {
    const found = /^\[?([^\]]+)\]?:(\d+)$/.exec(dnat ?? '');
    return found === null ? [] : [backendKey(protocol, found[1] as string, Number(found[2]))];
  });
  return new Set(backends);
}

/** The lines that make of one the other. */
export function commandsBetween(before: Watched, after: Watched): string[] {
  const nodePort = (sign: string, { protocol, family, port }: NodePortKey): string => `${sign} nodeport ${protocol} ${family} ${port}`;
  return [
    ...[...before.nodePorts].flatMap(([key, each]) => (after.nodePorts.has(key) ? [] : [nodePort('-', each)])),
    ...[...before.backends].flatMap((each) => (after.backends.has(each) ? [] : [`- backend ${each}`])),
    ...[...after.nodePorts].flatMap(([key, each]) => (before.nodePorts.has(key) ? [] : [nodePort('+', each)])),
    ...[...after.backends].flatMap((each) => (before.backends.has(each) ? [] : [`+ backend ${each}`])),
  ];
}

/** The rules and policies that, as the walk says, end what a client sends to a NodePort (or what it is answered), those for its own network alone. */
export function decidersOf(
  facts: ReadonlyMap<string, Fact>,
  nodePort: NodePortKey,
  { client, reply }: { readonly client: string; readonly reply: boolean },
): readonly Decider[] {
  const fact = facts.get(nodePortFactKey(nodePort));
  if (fact?.kind !== 'nodeport') return [];
  return Object.values(fact.outcomes)
    .flat()
    .filter((outcome) => holdsFor(outcome, client))
    .flatMap((outcome) => {
      if (reply) return lossOf(outcome)?.decidedBy ?? [];
      return outcome.verdict === 'drop' || outcome.verdict === 'reject' ? (outcome.decidedBy ?? []) : [];
    });
}

function holdsFor({ sources }: Outcome, client: string): boolean {
  const address = parseAddress(client);
  if (sources === undefined || address === undefined) return true;
  return sources.some((text) => {
    const prefix = parsePrefix(text);
    return prefix !== undefined && prefix.family === address.family && prefix.interval.lo <= address.value && address.value <= prefix.interval.hi;
  });
}
