// Answers "why": one NodePort on one node as a person wants to read it, first as data, then as text.

import { actorText, type Change } from '../../shared/model/change.ts';
import type { Expectation } from '../../shared/model/expectation.ts';
import { type Fact, type NodePortFact, nodePortFactKey, type Protocol } from '../../shared/model/fact.ts';
import type { Finding, Severity } from '../../shared/model/finding.ts';
import { lossOf, type Outcome, type Vantage, vantages } from '../../shared/model/outcome.ts';
import { type Diagnosis, listText, nodePortText, symptomText } from '../causes/detector.ts';
import { coversMost, type Drift, isUncertain } from '../compare/index.ts';
import { durationText, windows } from '../correlate/index.ts';
import { notTheCause } from './not-the-cause.ts';
import { type WalkStep, walkSteps } from './walk-steps.ts';

export interface ExplainQuestion extends Diagnosis {
  readonly port: number;
  readonly protocol: Protocol;
  /** What diagnoseNode said of the node. */
  readonly findings: readonly Finding[];
  /** The other nodes and what they have reported: where they answer, the difference is the cause. Absent offline. */
  readonly others?: readonly { readonly node: string; readonly facts: ReadonlyMap<string, Fact> }[];
}

/** `faulty`: some client is shut out. `by-design`: shut out as the objects say. `none`: no Service has the NodePort. */
export type ExplanationKind = 'faulty' | 'by-design' | 'healthy' | 'unknown' | 'none';

/** The answer for one NodePort on one node. Lists are empty where there is nothing to say. */
export interface Explanation {
  readonly kind: ExplanationKind;
  readonly node: string;
  readonly port: number;
  readonly protocol: Protocol;
  /** `namespace/name`; empty without a Service. */
  readonly service: string;
  /** The address of the node that clients ask, where it is known. */
  readonly address?: string;
  /** One or two sentences: who meets what, and why. */
  readonly summary: string;
  readonly walk: readonly WalkStep[];
  readonly cause?: Pick<Finding, 'cause' | 'title' | 'confidence'>;
  /** Who made it so, when; absent when nobody broke anything. */
  readonly who?: string;
  /** The witnesses and what each says. */
  readonly seenBy: readonly string[];
  /** What was looked at and is well. */
  readonly notIt: readonly string[];
  /** Commands, in order. */
  readonly fix: readonly string[];
  /** Every finding that concerns the NodePort, worst first. */
  readonly findings: readonly Finding[];
}

/** Explains a NodePort: of its address families the one that is worst off. */
export function explainNodePort(question: ExplainQuestion): Explanation {
  const views = ([4, 6] as const).map((family) => viewOf(question, nodePortFactKey({ protocol: question.protocol, family, port: question.port })));
  const known = views.filter(({ expectation, fact }) => expectation !== undefined || fact?.claimed.by === 'rule');
  const view = known.sort((a, b) => rankOf(a) - rankOf(b))[0];
  if (view === undefined) return noSuchNodePort(question, views.find(({ fact }) => fact !== undefined)?.fact);
  const kind = kindOf(view);
  const finding = view.findings[0];
  const common = {
    kind,
    ...identityOf(question, view),
    walk: walkSteps(question, view, outcomeToShow(view, finding)),
    notIt: notTheCause(question, view),
    findings: view.findings,
  };
  if (finding === undefined || kind === 'healthy') return { ...common, summary: healthySummary(question, view), seenBy: seenBy(view, undefined), fix: [] };
  return {
    ...common,
    summary: kind === 'faulty' ? faultSummary(question, view, finding) : finding.summary,
    cause: { cause: finding.cause, title: finding.title, confidence: finding.confidence },
    ...(kind === 'faulty' && (finding.trigger !== undefined || !finding.cause.startsWith('A')) ? { who: whoText(question, finding) } : {}),
    seenBy: seenBy(view, finding),
    fix: finding.remedy,
  };
}

/** What is known of one NodePort in one family. */
export interface View {
  readonly key: string;
  readonly expectation: Expectation | undefined;
  readonly fact: NodePortFact | undefined;
  readonly drifts: readonly Drift[];
  /** Worst first; those that name the NodePort itself before those it is a consequence of. */
  readonly findings: readonly Finding[];
}

function viewOf(question: ExplainQuestion, key: string): View {
  const fact = question.facts.get(key);
  const own = question.findings.filter(({ id }) => id.startsWith(`${question.node}/${key}/`));
  const shared = question.findings.filter((finding) => finding.port === 0 && finding.consequences?.includes(key));
  return {
    key,
    expectation: question.expectations.find((expectation) => expectation.key === key),
    fact: fact?.kind === 'nodeport' ? fact : undefined,
    drifts: question.drifts.filter((drift) => drift.key === key),
    findings: [...own, ...shared].sort((a, b) => severityRanks[a.severity] - severityRanks[b.severity]),
  };
}

const severityRanks: Readonly<Record<Severity, number>> = { error: 0, warning: 1, info: 2 };
const kindRanks: Readonly<Record<ExplanationKind, number>> = { faulty: 0, unknown: 1, 'by-design': 2, healthy: 3, none: 4 };
const rankOf = (view: View): number => kindRanks[kindOf(view)];

function kindOf({ findings, expectation, drifts }: View): ExplanationKind {
  if (findings.some(({ severity }) => severity !== 'info')) return 'faulty';
  if (drifts.some(({ kind }) => kind === 'unknown')) return 'unknown';
  if (expectation?.expect === 'drop') return 'by-design';
  return 'healthy';
}

function identityOf(
  { node, port, protocol }: ExplainQuestion,
  { expectation, fact }: View,
): Pick<Explanation, 'node' | 'port' | 'protocol' | 'service' | 'address'> {
  const service = expectation === undefined ? (fact?.claimed.service ?? '').split(':')[0] : `${expectation.service.namespace}/${expectation.service.name}`;
  return { node, port, protocol, service: service ?? '', ...(fact === undefined || fact.address === '' ? {} : { address: fact.address }) };
}

// The outcome that the finding is about where there is one, else what becomes of an outside client.
function outcomeToShow({ drifts, fact }: View, finding: Finding | undefined): Outcome | undefined {
  const drift = finding === undefined || finding.severity === 'info' ? undefined : drifts.find(({ affected }) => affected.length > 0);
  return widest(drift?.affected[0]?.outcomes) ?? externalOutcome(fact);
}

/** What becomes of most outside clients. */
const externalOutcome = (fact: NodePortFact | undefined): Outcome | undefined => widest(fact?.outcomes.external);

const widest = (outcomes: readonly Outcome[] | undefined): Outcome | undefined => {
  const weighty = outcomes?.filter(({ weight }) => weight > 0) ?? [];
  return weighty.find(({ sources }) => coversMost(sources)) ?? weighty[0];
};

function faultSummary(question: ExplainQuestion, { expectation, fact }: View, finding: Finding): string {
  const name = nodePortText((expectation ?? fact)?.nodePort ?? { protocol: question.protocol, family: 4, port: question.port }, expectation);
  const since = finding.since === undefined ? '' : `, since ${clockText(finding.since)}`;
  // The finding names the NodePort itself; here the node is named as well.
  const rest = finding.summary.startsWith(`${name}: `) ? finding.summary.slice(name.length + 2) : finding.summary;
  const word = wordOf(finding);
  return `${name}, ${word} on ${question.node}${since}: ${rest}`;
}

function wordOf({ severity, symptom, confidence }: Finding): string {
  if (severity === 'error') return 'does not answer';
  if (symptom === 'ok') return 'is not as it should be';
  return confidence === 'certain' ? 'does not answer everybody' : 'is likely not to answer';
}

function healthySummary(question: ExplainQuestion, { expectation, fact }: View): string {
  const name = nodePortText((expectation ?? fact)?.nodePort ?? { protocol: question.protocol, family: 4, port: question.port }, expectation);
  if (fact === undefined) return `${name}: what ${question.node} does with its clients is not known, as nothing has been reported of it.`;
  const all = fact.outcomes.external ?? fact.outcomes.peer ?? [];
  const most = all.filter((outcome) => coversMost(outcome.sources) && lossOf(outcome) === undefined);
  const outcomes = most.length > 0 ? most : all;
  const targets = [...new Set(outcomes.flatMap(({ dnat }) => dnat ?? []))];
  // A data plane in eBPF does not say whether it keeps the client's address.
  const told = outcomes.filter(({ decidedBy }) => decidedBy?.by !== 'map');
  const kept =
    told.length === 0
      ? ''
      : outcomes.every(({ masquerade }) => !masquerade)
        ? "keeps the client's address"
        : outcomes.every(({ masquerade }) => masquerade)
          ? "replaces the client's address by the node's"
          : '';
  const address = fact.address === '' ? '' : ` (address ${fact.address})`;
  if (targets.length === 0) return `${name}: whether it answers on ${question.node}${address} is not known.`;
  return `${name}, answers on ${question.node}${address}: ${listText(servedVantages(fact))} are sent to ${targets.slice(0, 6).join(' or ')}${targets.length > 6 ? ' …' : ''}${kept === '' ? '' : `; the node ${kept}`}.`;
}

const vantageNames: Readonly<Record<Vantage, string>> = { external: 'clients outside', peer: 'other nodes', pod: 'pods', node: 'processes on the node' };

function servedVantages(fact: NodePortFact | undefined): string[] {
  return vantages
    .filter((vantage) => fact?.outcomes[vantage]?.every((outcome) => outcome.dnat !== null && !isUncertain(outcome)))
    .map((vantage) => vantageNames[vantage]);
}

function whoText({ changes }: ExplainQuestion, finding: Finding): string {
  if (finding.trigger === undefined) return changes.length === 0 ? 'not known: there is no record of changes' : 'not known: no change on record made it';
  return whoMade(finding.trigger, finding.since);
}

// `at`: by the collector's clock, where the node's is not right.
const whoMade = (change: Change, at = change.at): string =>
  [actorText(change.actor), clockText(at), ownerText(change)].filter((part) => part !== '').join(', ');

const ownerText = ({ owner, subject }: Change): string => `${subject}${owner === undefined || owner === 'unknown' ? '' : ` (${owner})`}`;

function seenBy({ fact }: View, finding: Finding | undefined): string[] {
  const outcome = externalOutcome(fact);
  // The rules were read before; what the kernel saw may bring a later count of the same rule.
  const counts = (finding?.evidence ?? []).flatMap(({ decider }) => Number(decider?.packets ?? 0));
  const most = Math.max(0, ...counts);
  const packets = most === 0 ? undefined : String(most);
  return [
    ...(outcome === undefined ? [] : [`rules: ${isUncertain(outcome) ? 'not known' : outcome.verdict}`]),
    ...(packets === undefined ? [] : [`counter: ${packets} ${packets === '1' ? 'packet' : 'packets'}`]),
    ...otherWitnesses(finding),
  ];
}

// That the objects are well stands under "not it"; they are witnesses where the fault is theirs.
function otherWitnesses(finding: Finding | undefined): string[] {
  const evidence = (finding?.evidence ?? []).filter(
    ({ witness }) => !['rules', 'counters', ...(finding?.cause.startsWith('A') ? [] : ['objects'])].includes(witness),
  );
  const byWitness = Map.groupBy(evidence, ({ witness }) => witness);
  return [...byWitness].map(([witness, [first]]) => `${witness}: ${first?.text.replace(/\.$/, '')}`);
}

function noSuchNodePort(question: ExplainQuestion, fact: NodePortFact | undefined): Explanation {
  const near = [
    ...new Map(question.expectations.map((expectation) => [`${expectation.nodePort.port}/${expectation.nodePort.protocol}`, expectation])).entries(),
  ]
    .sort(([, a], [, b]) => Math.abs(a.nodePort.port - question.port) - Math.abs(b.nodePort.port - question.port))
    .slice(0, 3)
    .map(([text, { service }]) => `${text} (${service.namespace}/${service.name})`);
  const met = fact?.outcomes.external?.[0];
  const says =
    met === undefined
      ? ''
      : ` A client outside meets: ${met.verdict === 'local' ? 'a process of the node itself' : symptomText[met.verdict === 'refused' ? 'refused' : 'timeout']}.`;
  const moved = movedFrom(question);
  const changed = moved === undefined ? '' : ` ${moved.subject} had it until ${clockText(moved.at)}: ${movedText(moved)}.`;
  return {
    kind: 'none',
    node: question.node,
    port: question.port,
    protocol: question.protocol,
    service: moved?.subject.replace(/^Service /, '') ?? '',
    walk: [],
    ...(moved === undefined ? {} : { who: whoMade(moved) }),
    seenBy:
      moved === undefined
        ? []
        : [`changes: ${moved.subject} changed, a service change ${durationText(question.now - moved.at)} ago, window ${windows.service} min`],
    notIt: [],
    fix: [],
    findings: [],
    summary: `No Service has NodePort ${question.port}/${question.protocol}.${changed}${says}${near.length === 0 ? '' : ` The nearest NodePorts are ${listText(near)}.`}`,
  };
}

/** The latest change by which a Service gave the number up; undefined where the ledger has none. */
function movedFrom({ changes, port, protocol }: ExplainQuestion): Change | undefined {
  const had = (text: string | null): boolean => new RegExp(`/${protocol} → \\S+ nodePort ${port}\\b`).test(text ?? '');
  return changes.findLast(({ kind, before, after }) => kind === 'service' && had(before) && !had(after));
}

const portsOf = (text: string | null): string => /^ports: (.*)$/m.exec(text ?? '')?.[1] ?? '';
const movedText = ({ before, after }: Change): string =>
  after === null ? 'it was deleted' : `its ports were ${portsOf(before)} and are now ${portsOf(after)}`;

/** `14:03:22` UTC. */
const clockText = (at: number): string => `${new Date(at).toISOString().slice(11, 19)} UTC`;
