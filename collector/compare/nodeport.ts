// Compares what a node's rules do to the clients of one NodePort with what they should do, vantage by vantage.

import type { Expectation, ExpectedChoice } from '../../shared/model/expectation.ts';
import type { Fact, NodePortFact, NodePortKey, ProxyFact } from '../../shared/model/fact.ts';
import { type Outcome, type Vantage, vantages } from '../../shared/model/outcome.ts';
import { aloneText } from '../../shared/netfilter/ipvs.text.ts';
import { coversMost, deciderOfOutcome, isNoEndpointRule, isServed, isUncertain } from './outcomes.ts';

/**
 * `blocked`: dropped or rejected on the way, or the answer or a later packet is lost. `refused`: reaches the node's own stack although rules claim the port. `missing`: the same,
 * and no rule claims the port. `endpoints`: sent to other endpoints than the Service has. `unexpected`: rules claim a port that no Service has. `masquerade`: served, but the
 * client's address is kept where it should be replaced, or the other way round. `statement`: kube-proxy's rule that refuses or drops clients of a Service without (local)
 * endpoints is not there, or is the other one; clients are not served either way.
 * `unknown`: rules that cannot be judged keep the answer open, or the node has not said anything: neither healthy nor a fault.
 */
export type DriftKind = 'blocked' | 'refused' | 'missing' | 'endpoints' | 'unexpected' | 'masquerade' | 'statement' | 'unknown';

/** The outcomes of one vantage that differ from what is expected. */
export interface VantageDrift {
  readonly vantage: Vantage;
  readonly outcomes: readonly Outcome[];
}

/** A difference at one NodePort, on whatever node. */
export interface NodePortDrift {
  readonly kind: DriftKind;
  /** `nodeport/<proto>/<family>/<port>`. */
  readonly key: string;
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

export type ProxyMode = ProxyFact['mode'];

/** The drifts of one NodePort: one of each kind at most. `mode` is that of the node's kube-proxy, as its ProxyFact says. */
export function compareNodePort(expectation: Expectation, fact: Fact | undefined, mode: ProxyMode = 'none'): NodePortDrift[] {
  if (fact?.kind !== 'nodeport') return [{ ...driftOf(expectation), kind: 'unknown', affected: [] }];
  const drifts = compareChoice(expectation, fact, mode);
  // What kube-proxy of another release would do is right as well, where the release is not known.
  if (drifts.length > 0 && expectation.alternatives?.some((other) => compareChoice({ ...expectation, ...other }, fact, mode).length === 0)) return [];
  return drifts;
}

/** The drift of a NodePort that rules claim and that no Service has; nothing where the rules never get to clients. */
export function compareUnclaimed(fact: NodePortFact): NodePortDrift[] {
  if (fact.claimed.by !== 'rule') return [];
  const affected = vantages.flatMap((vantage) => {
    const outcomes = fact.outcomes[vantage]?.filter((outcome) => outcome.weight > 0) ?? [];
    return outcomes.length === 0 ? [] : [{ vantage, outcomes }];
  });
  // Of addresses and families that --nodeport-addresses leaves out there are rules as well: in a chain that nothing jumps to, and those that refuse clients of Services
  // without endpoints. They change nothing for anybody.
  if (affected.length > 0 && affected.every(({ outcomes }) => outcomes.every((outcome) => isOwnStack(outcome) || isRefusalByRule(outcome)))) return [];
  return [{ kind: 'unexpected', key: fact.key, nodePort: fact.nodePort, fact, affected, extra: targetsOf(fact, ['external', 'peer']), missing: [] }];
}

function compareChoice(expectation: Expectation, fact: NodePortFact, mode: ProxyMode): NodePortDrift[] {
  if (isRight(expectation, fact, mode)) return [];
  const base = { ...driftOf(expectation), fact };
  if (fact.outcomes.external === undefined && fact.outcomes.peer === undefined) return [{ ...base, kind: 'unknown', affected: [] }];
  const wrong = judgedVantages(expectation, fact).flatMap(({ vantage, outcomes }) =>
    outcomes
      .filter((outcome) => outcome.weight > 0)
      .flatMap((outcome) => {
        const kind = kindOf({ expectation, fact, vantage, outcome, mode });
        return kind === undefined ? [] : [{ vantage, outcome, kind }];
      }),
  );
  const drifts = kinds.flatMap((kind) => {
    const affected = groupByVantage(wrong.filter((each) => each.kind === kind));
    return affected.length === 0 ? [] : [{ ...base, kind, affected }];
  });
  return withEndpoints(drifts, base, endpointDifference(expectation, fact, mode));
}

/** Whether everybody meets what is expected, and every endpoint gets its share: true of nearly every NodePort, and found out without making anything. */
function isRight(expectation: Expectation, fact: NodePortFact, mode: ProxyMode): boolean {
  const { external, peer } = fact.outcomes;
  if (external === undefined && peer === undefined) return false;
  for (const vantage of judgedBy(expectation)) {
    const outcomes = fact.outcomes[vantage];
    // What is the same list is the same answer; it was asked for before.
    if (outcomes === undefined || (vantage === 'peer' && outcomes === external)) continue;
    for (const outcome of outcomes) if (outcome.weight > 0 && kindOf({ expectation, fact, vantage, outcome, mode }) !== undefined) return false;
  }
  const leads = (outcomes: readonly Outcome[] | undefined, endpoint: string): boolean =>
    outcomes?.some(({ dnat, weight, sources }) => dnat === endpoint && weight > 0 && coversMost(sources)) === true;
  return expectation.endpoints.every((endpoint) => leads(external, endpoint) || leads(peer, endpoint));
}

const kinds: readonly DriftKind[] = ['missing', 'refused', 'blocked', 'endpoints', 'masquerade', 'statement', 'unknown'];

type DriftBase = Omit<NodePortDrift, 'kind' | 'affected'>;

function driftOf(expectation: Expectation): DriftBase {
  const { key, nodePort } = expectation;
  return { key, nodePort, expectation, extra: [], missing: [] };
}

// With externalTrafficPolicy Local, kube-proxy serves pods and the node itself from all endpoints where it can tell them from others, and as external clients
// where it cannot (no cluster CIDR); on a node without a local endpoint either answer is right, so nothing is said about them.
const judgedBy = ({ externalTrafficPolicy, expect }: Expectation): readonly Vantage[] =>
  externalTrafficPolicy === 'Local' && expect !== 'forward' ? outsideVantages : vantages;

function judgedVantages(expectation: Expectation, fact: NodePortFact): VantageDrift[] {
  return judgedBy(expectation).flatMap((vantage) => {
    const outcomes = fact.outcomes[vantage];
    return outcomes === undefined ? [] : [{ vantage, outcomes }];
  });
}

const isOutside = (vantage: Vantage): boolean => vantage === 'external' || vantage === 'peer';
const outsideVantages: readonly Vantage[] = vantages.filter(isOutside);

interface Judged {
  readonly expectation: Expectation;
  readonly fact: NodePortFact;
  readonly vantage: Vantage;
  readonly outcome: Outcome;
  readonly mode: ProxyMode;
}

/** In what an outcome differs from what is expected; undefined when it does not. */
function kindOf(judged: Judged): DriftKind | undefined {
  const { expectation, fact, vantage, outcome, mode } = judged;
  if (expectation.expect === 'forward')
    return isServed(outcome) && isAllowed(judged) ? (isMasqueradedAs(expectation, vantage, outcome) ? undefined : 'masquerade') : wrongKind(fact, outcome);
  if (outcome.dnat !== null) return isAllowed(judged) ? undefined : wrongKind(fact, outcome);
  if (outcome.verdict !== 'refused' && outcome.verdict !== 'drop' && outcome.verdict !== 'reject') return wrongKind(fact, outcome);
  return !isOutside(vantage) || isUncertain(outcome) || isStated(expectation, outcome, mode) ? undefined : 'statement';
}

// With externalTrafficPolicy Local, the pods' networks are served from everywhere, also those of no node that is known: a narrow part of the outside.
function isAllowed({ expectation, vantage, outcome: { dnat, sources }, mode }: Judged): boolean {
  const wide = expectation.externalTrafficPolicy === 'Local' && (!isOutside(vantage) || !coversMost(sources) || isIpvsFallback(expectation, mode));
  return expectation.endpoints.includes(dnat ?? '') || (wide && expectation.clusterEndpoints.includes(dnat ?? ''));
}

// From 1.24 on, IPVS sends clients of a Local Service without a local endpoint to remote ones, whose answers the client discards: by design either way.
const isIpvsFallback = ({ expect }: ExpectedChoice, mode: ProxyMode): boolean => mode === 'ipvs' && expect === 'drop';

// Of clients inside, and of those whose sources are few, others than kube-proxy may replace the address as well (a CNI does for what leaves the pods' network).
function isMasqueradedAs(expectation: Expectation, vantage: Vantage, outcome: Outcome): boolean {
  if (!isOutside(vantage) || outcome.verdict !== 'forward' || isUncertain(outcome) || !coversMost(outcome.sources)) return true;
  return outcome.masquerade === expectation.masquerade;
}

// kube-proxy says itself that a Service has no endpoint: by a rule, or (IPVS) by a virtual service without a real server. A firewall that ends packets before that is a
// matter for another day: nobody would be served without it either.
function isStated({ expect }: ExpectedChoice, outcome: Outcome, mode: ProxyMode): boolean {
  const decider = deciderOfOutcome(outcome);
  if (isOwnStack(outcome)) return false;
  if (mode === 'ipvs' || !isNoEndpointRule(decider)) return true;
  return outcome.verdict === expect;
}

const isOwnStack = ({ verdict, dnat, decidedBy }: Outcome): boolean =>
  dnat === null && (verdict === 'refused' || verdict === 'local') && decidedBy?.by === 'socket';

const isRefusalByRule = (outcome: Outcome): boolean => outcome.dnat === null && outcome.decidedBy?.by === 'rule' && isNoEndpointRule(outcome.decidedBy);

function wrongKind(fact: NodePortFact, outcome: Outcome): DriftKind {
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

function endpointDifference(expectation: Expectation, fact: NodePortFact, mode: ProxyMode): EndpointDifference {
  const extra = judgedVantages(expectation, fact).flatMap(({ vantage, outcomes }) =>
    outcomes.filter((outcome) => isCertainTarget(outcome) && !isAllowed({ expectation, fact, vantage, outcome, mode })).map(({ dnat }) => dnat as string),
  );
  return { extra: [...new Set(extra)].sort(), missing: missingEndpoints(expectation, fact) };
}

const isCertainTarget = (outcome: Outcome): boolean => outcome.weight > 0 && outcome.dnat !== null && !isUncertain(outcome);

// Where packets are lost before DNAT, or nothing is translated at all, absent endpoints say nothing: another drift does.
function missingEndpoints(expectation: Expectation, fact: NodePortFact): string[] {
  const outcomes = [...(fact.outcomes.external ?? []), ...(fact.outcomes.peer ?? [])];
  if (outcomes.some(isUncertain)) return [];
  // A few sources (pods of networks that no node has) may be sent elsewhere than everybody else.
  const usual = outcomes.filter(({ sources }) => coversMost(sources));
  const served = usual.some(({ dnat }) => dnat !== null) ? usual : outcomes;
  const targets = served.filter(isCertainTarget).map(({ dnat }) => dnat);
  const denied = outcomes.some((outcome) => isNoEndpointRule(deciderOfOutcome(outcome)));
  if (targets.length === 0 && !denied) return [];
  return expectation.endpoints.filter((endpoint) => !targets.includes(endpoint));
}

function targetsOf(fact: NodePortFact, from: readonly Vantage[]): string[] {
  const certain = from.flatMap((vantage) => fact.outcomes[vantage] ?? []).filter(isCertainTarget);
  return [...new Set(certain.map((outcome) => outcome.dnat as string))].sort();
}

// A difference of endpoints shows either as outcomes that lead to a wrong one or, when some are only missing, not as a wrong outcome at all.
function withEndpoints(drifts: readonly NodePortDrift[], base: DriftBase, difference: EndpointDifference): NodePortDrift[] {
  if (difference.extra.length === 0 && difference.missing.length === 0) return [...drifts];
  // Where packets fall through to the node's own stack, the endpoints that are missing are part of the same drift.
  const found = drifts.find(({ kind }) => kind === 'endpoints') ?? (difference.extra.length === 0 ? drifts.find(({ kind }) => kind === 'refused') : undefined);
  if (found !== undefined) return drifts.map((drift) => (drift === found ? { ...drift, ...difference } : drift));
  return [...drifts, { ...base, kind: 'endpoints', affected: [], ...difference }];
}
