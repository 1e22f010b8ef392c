// Compares what a node's rules do to clients with what they should do, vantage by vantage: the differences are drifts.

import type { Expectation } from '../../shared/model/expectation.ts';
import type { Fact, NodePortFact, NodePortKey, ProxyFact } from '../../shared/model/fact.ts';
import { type Decider, lossOf, type Outcome, type Vantage, vantages } from '../../shared/model/outcome.ts';
import { aloneText } from '../../shared/netfilter/ipvs.text.ts';
import type { ClusterObjects } from '../kubernetes/objects.ts';

/**
 * `blocked`: dropped or rejected on the way, or the answer or a later packet is lost. `refused`: reaches the node's own stack although rules claim the port. `missing`: the same,
 * and no rule claims the port. `endpoints`: sent to other endpoints than the Service has. `unexpected`: rules claim a port that no Service has.
 * `unknown`: rules that cannot be judged keep the answer open, or the node has not said anything: neither healthy nor a fault.
 */
export type DriftKind = 'blocked' | 'refused' | 'missing' | 'endpoints' | 'unexpected' | 'unknown';

/** The outcomes of one vantage that differ from what is expected. */
export interface VantageDrift {
  readonly vantage: Vantage;
  readonly outcomes: readonly Outcome[];
}

export interface Drift {
  readonly kind: DriftKind;
  /** `nodeport/<proto>/<family>/<port>`. */
  readonly key: string;
  readonly node: string;
  readonly nodePort: NodePortKey;
  /** Absent for `unexpected`. */
  readonly expectation?: Expectation;
  /** Absent when the node has not reported on the port. */
  readonly fact?: NodePortFact;
  /** External first; empty when the node has not reported, or when endpoints are only missing. */
  readonly affected: readonly VantageDrift[];
  /** Endpoints that clients are sent to and that the Service does not have (any more). */
  readonly extra: readonly string[];
  /** Endpoints of the Service that no client is sent to. */
  readonly missing: readonly string[];
}

export interface Comparison {
  readonly node: string;
  readonly facts: ReadonlyMap<string, Fact>;
  readonly expectations: readonly Expectation[];
  readonly objects: ClusterObjects;
}

/** The drifts of one node, in the order of the expectations, unexpected NodePorts last. Facts that match their expectations give none. */
export function compareNode(comparison: Comparison): Drift[] {
  const { node, facts, expectations } = comparison;
  const known = new Set(expectations.map((expectation) => expectation.key));
  const proxy = facts.get('proxy/kube-proxy');
  const mode = proxy?.kind === 'proxy' ? proxy.mode : 'none';
  const expected = expectations.flatMap((expectation) => compareNodePort(expectation, facts.get(expectation.key), mode));
  const unexpected = [...facts.values()].filter((fact) => fact.kind === 'nodeport' && fact.claimed.by === 'rule' && !known.has(fact.key));
  return [...expected, ...unexpected.map((fact) => unexpectedDrift(node, fact as NodePortFact))];
}

/** The drifts of one NodePort: one of each kind at most. `mode` is that of the node's kube-proxy, as its ProxyFact says. */
export function compareNodePort(expectation: Expectation, fact: Fact | undefined, mode: ProxyFact['mode'] = 'none'): Drift[] {
  // In IPVS mode a Local Service without a local endpoint is sent to remote ones, whose answers the client discards: by design either way.
  if (mode === 'ipvs' && expectation.expect === 'drop') return [];
  if (fact?.kind !== 'nodeport') return [{ ...driftOf(expectation), kind: 'unknown', affected: [] }];
  const base = { ...driftOf(expectation), fact };
  if (fact.outcomes.external === undefined && fact.outcomes.peer === undefined) return [{ ...base, kind: 'unknown', affected: [] }];
  const wrong = judgedVantages(expectation, fact).flatMap(({ vantage, outcomes }) =>
    outcomes
      .filter((outcome) => outcome.weight > 0 && !isExpected(expectation, vantage, outcome))
      .map((outcome) => ({ vantage, outcome, kind: kindOf(fact, outcome) })),
  );
  const drifts = kinds.flatMap((kind) => {
    const affected = groupByVantage(wrong.filter((each) => each.kind === kind));
    return affected.length === 0 ? [] : [{ ...base, kind, affected }];
  });
  return withEndpoints(drifts, base, endpointDifference(expectation, fact));
}

/** The rule, policy, route or setting that stands between a client and an answer; undefined when nothing does or it is not known. */
export function deciderOfOutcome(outcome: Outcome): Decider | undefined {
  const loss = lossOf(outcome);
  return loss === undefined ? outcome.decidedBy : loss.decidedBy;
}

/** Whether an outcome depends on rules that cannot be judged. */
export const isUncertain = (outcome: Outcome): boolean =>
  outcome.verdict === 'unknown' || (outcome.unless?.length ?? 0) > 0 || (lossOf(outcome)?.verdict === 'unknown' && !isClientPortDoubt(outcome));

/** Whether sources are (nearly) the whole world: what remains of it without some networks comes as many prefixes, the wide ones among them. */
export const coversMost = (sources: readonly string[] | undefined): boolean => sources === undefined || sources.some((source) => /\/[0-3]$/.test(source));

/** Whether the decider is kube-proxy's own statement that a Service has no (local) endpoint: a rule, or a virtual service without a usable real server. */
export function isNoEndpointRule(decider: Decider | undefined): boolean {
  if (decider === undefined) return false;
  if (/has no (local )?endpoints/.test(decider.text)) return true;
  if (decider.by === 'ipvs') return decider.text.includes(', no real server');
  return decider.chain === 'KUBE-EXTERNAL-SERVICES' || (decider.table === 'kube-proxy' && /reject-chain|no-endpoint/.test(`${decider.chain} ${decider.text}`));
}

const kinds: readonly DriftKind[] = ['missing', 'refused', 'blocked', 'endpoints', 'unknown'];

type DriftBase = Omit<Drift, 'kind' | 'affected'>;

function driftOf(expectation: Expectation): DriftBase {
  const { key, node, nodePort } = expectation;
  return { key, node, nodePort, expectation, extra: [], missing: [] };
}

function unexpectedDrift(node: string, fact: NodePortFact): Drift {
  const affected = vantages.flatMap((vantage) => {
    const outcomes = fact.outcomes[vantage]?.filter((outcome) => outcome.weight > 0) ?? [];
    return outcomes.length === 0 ? [] : [{ vantage, outcomes }];
  });
  return { kind: 'unexpected', key: fact.key, node, nodePort: fact.nodePort, fact, affected, extra: targetsOf(fact, ['external', 'peer']), missing: [] };
}

// With externalTrafficPolicy Local, kube-proxy serves pods and the node itself from all endpoints where it can tell them from others, and as external clients
// where it cannot (no cluster CIDR); on a node without a local endpoint either answer is right, so nothing is said about them.
function judgedVantages(expectation: Expectation, fact: NodePortFact): VantageDrift[] {
  const judged = expectation.externalTrafficPolicy === 'Local' && expectation.expect !== 'forward' ? vantages.filter(isOutside) : vantages;
  return judged.flatMap((vantage) => {
    const outcomes = fact.outcomes[vantage];
    return outcomes === undefined ? [] : [{ vantage, outcomes }];
  });
}

const isOutside = (vantage: Vantage): boolean => vantage === 'external' || vantage === 'peer';

function isExpected(expectation: Expectation, vantage: Vantage, outcome: Outcome): boolean {
  if (expectation.expect === 'forward') return isServed(outcome) && isAllowed(expectation, vantage, outcome);
  if (outcome.dnat !== null) return isAllowed(expectation, vantage, outcome);
  return outcome.verdict === 'refused' || outcome.verdict === 'drop' || outcome.verdict === 'reject';
}

// An endpoint on the node's own network is `local` after DNAT.
const isServed = (outcome: Outcome): boolean =>
  outcome.dnat !== null && (lossOf(outcome) === undefined || isClientPortDoubt(outcome)) && (outcome.verdict === 'forward' || outcome.verdict === 'local');

// An answer goes to a port that the client has chosen, from 32768 up; a rule on a lower port is in doubt only because the port is not known.
function isClientPortDoubt({ reply }: Outcome): boolean {
  const port = /\b(?:--)?dport (\d+)(?=\s|$)/.exec(reply?.decidedBy?.text ?? '')?.[1];
  return reply?.verdict === 'unknown' && port !== undefined && Number(port) < 32768;
}

// With externalTrafficPolicy Local, the pods' networks are served from everywhere, also those of no node that is known: a narrow part of the outside.
function isAllowed(expectation: Expectation, vantage: Vantage, { dnat, sources }: Outcome): boolean {
  const wide = expectation.externalTrafficPolicy === 'Local' && (!isOutside(vantage) || !coversMost(sources));
  return expectation.endpoints.includes(dnat ?? '') || (wide && expectation.clusterEndpoints.includes(dnat ?? ''));
}

function kindOf(fact: NodePortFact, outcome: Outcome): DriftKind {
  const reachedStack = (outcome.verdict === 'refused' || outcome.verdict === 'local') && outcome.dnat === null;
  const sockets = outcome.unless?.every(({ by }) => by === 'socket') ?? outcome.decidedBy?.by === 'socket';
  // Without the list of sockets it is open who answers on the node itself, yet certain that the Service does not.
  if (outcome.verdict === 'unknown' && sockets && outcome.dnat === null && fact.claimed.by === 'none') return 'missing';
  if (isUncertain(outcome) || isElsewhere(outcome)) return 'unknown';
  if (isServed(outcome)) return 'endpoints';
  if (isNoEndpointRule(deciderOfOutcome(outcome))) return 'endpoints';
  if (reachedStack) return fact.claimed.by === 'none' ? 'missing' : 'refused';
  return outcome.verdict === 'refused' ? 'refused' : 'blocked';
}

// From a node that is not joined to the others nothing elsewhere can be reached, which says nothing about its rules.
const isElsewhere = ({ decidedBy }: Outcome): boolean => decidedBy?.by === 'route' && decidedBy.text.endsWith(aloneText);

function groupByVantage(wrong: readonly { readonly vantage: Vantage; readonly outcome: Outcome }[]): VantageDrift[] {
  return vantages.flatMap((vantage) => {
    const outcomes = wrong.filter((each) => each.vantage === vantage).map((each) => each.outcome);
    return outcomes.length === 0 ? [] : [{ vantage, outcomes }];
  });
}

interface EndpointDifference {
  readonly extra: readonly string[];
  readonly missing: readonly string[];
}

function endpointDifference(expectation: Expectation, fact: NodePortFact): EndpointDifference {
  const extra = judgedVantages(expectation, fact).flatMap(({ vantage, outcomes }) =>
    outcomes.filter((outcome) => isCertainTarget(outcome) && !isAllowed(expectation, vantage, outcome)).map(({ dnat }) => dnat as string),
  );
  return { extra: [...new Set(extra)].sort(), missing: missingEndpoints(expectation, fact, targetsOf(fact, ['external', 'peer'])) };
}

const isCertainTarget = (outcome: Outcome): boolean => outcome.weight > 0 && outcome.dnat !== null && !isUncertain(outcome);

// Where packets are lost before DNAT, or nothing is translated at all, absent endpoints say nothing: another drift does.
function missingEndpoints(expectation: Expectation, fact: NodePortFact, targets: readonly string[]): string[] {
  const outcomes = [...(fact.outcomes.external ?? []), ...(fact.outcomes.peer ?? [])];
  if (outcomes.some(isUncertain)) return [];
  const denied = outcomes.some((outcome) => isNoEndpointRule(deciderOfOutcome(outcome)));
  if (targets.length === 0 && !denied) return [];
  return expectation.endpoints.filter((endpoint) => !targets.includes(endpoint));
}

function targetsOf(fact: NodePortFact, from: readonly Vantage[]): string[] {
  const certain = from.flatMap((vantage) => fact.outcomes[vantage] ?? []).filter(isCertainTarget);
  return [...new Set(certain.map((outcome) => outcome.dnat as string))].sort();
}

// A difference of endpoints shows either as outcomes that lead to a wrong one or, when some are only missing, not as a wrong outcome at all.
function withEndpoints(drifts: readonly Drift[], base: DriftBase, difference: EndpointDifference): Drift[] {
  if (difference.extra.length === 0 && difference.missing.length === 0) return [...drifts];
  // Where packets fall through to the node's own stack, the endpoints that are missing are part of the same drift.
  const found = drifts.find(({ kind }) => kind === 'endpoints') ?? (difference.extra.length === 0 ? drifts.find(({ kind }) => kind === 'refused') : undefined);
  if (found !== undefined) return drifts.map((drift) => (drift === found ? { ...drift, ...difference } : drift));
  return [...drifts, { ...base, kind: 'endpoints', affected: [], ...difference }];
}
