// What a detector of causes gets and gives, and how a finding is put together from it.

import { actorText, type Change } from '../../shared/model/change.ts';
import { type Expectation, servicePortText } from '../../shared/model/expectation.ts';
import type { ChainsFact, Fact, NeighbourChain, NodePortKey, ProxyFact } from '../../shared/model/fact.ts';
import type { Evidence, Finding } from '../../shared/model/finding.ts';
import { type Decider, lossOf, type Outcome, type Symptom, symptomOf } from '../../shared/model/outcome.ts';
import { coversMost, type Drift, deciderOfOutcome } from '../compare/index.ts';
import { type Correlated, changeThatMade, changeThatRemoved, classOf, correlate, durationText, standsOut, windows } from '../correlate/index.ts';
import type { ClusterObjects, Service } from '../kubernetes/objects.ts';
import { kernelSaw } from './drops.ts';

/** Everything known of one node when its causes are looked for. */
export interface Diagnosis {
  readonly node: string;
  readonly facts: ReadonlyMap<string, Fact>;
  readonly expectations: readonly Expectation[];
  readonly drifts: readonly Drift[];
  readonly objects: ClusterObjects;
  /** The ledger of the node and of the cluster, in any order; empty offline. */
  readonly changes: readonly Change[];
  /** Milliseconds since 1970. */
  readonly now: number;
  /** When each NodePort's drift was first seen, by key; absent offline. Lets changes be weighed by time where none is known to have caused it. */
  readonly onsets?: ReadonlyMap<string, number>;
  /** How far the node's clock is ahead of the collector's, in milliseconds; absent: not at all. The ledger has its changes by its own clock. */
  readonly clockOffsetMs?: number;
}

/** A finding and the drifts it explains: later detectors do not look at those again. */
export interface Diagnosed {
  readonly finding: Finding;
  readonly explains: readonly Drift[];
}

export interface Detector {
  /** Ids of the catalogue. */
  readonly causes: readonly string[];
  /** Gets the drifts that no earlier detector has explained. */
  detect(diagnosis: Diagnosis): readonly Diagnosed[];
}

/** A finding but for what follows from the NodePort and the ledger. */
export interface Diagnosing
  extends Pick<Finding, 'cause' | 'title' | 'severity' | 'confidence' | 'symptom' | 'summary' | 'evidence' | 'remedy' | 'consequences'> {
  /** The rules, policies or settings that decide: their making is looked up in the ledger. */
  readonly deciders?: readonly Decider[];
  /** Words of a rule that is missing: its removal is looked up in the ledger. */
  readonly removed?: readonly string[];
  /** What tells findings of one cause on one node apart where it is not the NodePort: `service/shop/web`, `device/flannel.1`. */
  readonly about?: string;
  /** The change that caused it, where the detector has found it itself. */
  readonly trigger?: Change;
}

/** What a finding is about: a NodePort of a Service, a NodePort without one, or the node. */
export type Subject = Pick<Expectation, 'key' | 'nodePort' | 'service'> | Pick<Drift, 'key' | 'nodePort'> | undefined;

/** Whether nothing is wrong but for pods that are sent to themselves, and see their own address. */
export const isHairpin = (drift: Drift): boolean =>
  drift.kind === 'blocked' &&
  drift.affected.every(({ outcomes }) => outcomes.every((outcome) => /\(hairpin\)/.test((lossOf(outcome) ?? outcome).decidedBy?.text ?? '')));

/** Puts a finding together: identity, NodePort, and the change that caused it where the ledger holds it. */
export function findingOf(diagnosis: Diagnosis, subject: Subject, diagnosed: Diagnosing): Finding {
  const { deciders, removed, consequences, about, trigger: found, ...rest } = diagnosed;
  const trigger = found ?? (ofObjects.has(rest.cause) ? objectChange(diagnosis, subject) : triggerOf(diagnosis, deciders ?? [], removed ?? []));
  const since = trigger === undefined ? (subject === undefined ? undefined : diagnosis.onsets?.get(subject.key)) : timeOf(diagnosis, trigger);
  const given = { ...diagnosed, evidence: [...diagnosed.evidence, ...kernelSaw(diagnosis.facts, subject?.nodePort, { ...diagnosed, since })] };
  return {
    id: `${diagnosis.node}/${about ?? subject?.key ?? 'node'}/${given.cause}`,
    ...rest,
    evidence: given.evidence,
    node: diagnosis.node,
    service: subject !== undefined && 'service' in subject ? servicePortText(subject.service) : '',
    port: subject?.nodePort.port ?? 0,
    protocol: subject?.nodePort.protocol ?? '',
    family: subject?.nodePort.family ?? 0,
    ...(consequences === undefined || consequences.length === 0 ? {} : { consequences }),
    ...(trigger === undefined
      ? suspicionParts(diagnosis, subject, given)
      : triggerParts(diagnosis, trigger, { ...given, onset: onsetOf(diagnosis, subject, given) })),
  };
}

/** Causes in the objects: the rules only follow, so the change that counts is that of an object. */
const ofObjects: ReadonlySet<string> = new Set(['A01', 'A02']);

/** The latest change of a Service's own endpoints, or of itself: what took its endpoints away. */
function objectChange({ changes }: Diagnosis, subject: Subject): Change | undefined {
  if (subject === undefined || !('service' in subject)) return undefined;
  const name = `${subject.service.namespace}/${subject.service.name}`;
  const concerns = (change: Change): boolean =>
    (change.kind === 'endpoints' && (change.subject === `EndpointSlice ${name}` || change.subject.startsWith(`EndpointSlice ${name}-`))) ||
    (change.kind === 'service' && change.subject === `Service ${name}`);
  return changes.reduce<Change | undefined>((latest, change) => (concerns(change) && change.at >= (latest?.at ?? 0) ? change : latest), undefined);
}

/** Keys that one finding names as consequences of the same root: enough to see that it is not alone. */
export const consequencesMax = 100;

/** What a drift is about. */
export const subjectOf = (drift: Drift): NonNullable<Subject> => drift.expectation ?? drift;

export const proxyOf = (diagnosis: Diagnosis): ProxyFact | undefined => {
  const fact = diagnosis.facts.get('proxy/kube-proxy');
  return fact?.kind === 'proxy' ? fact : undefined;
};

export const chainsOf = (diagnosis: Diagnosis, family: number): ChainsFact | undefined => {
  const fact = diagnosis.facts.get(`chains/${family}`);
  return fact?.kind === 'chains' ? fact : undefined;
};

/** Chains of programs other than kube-proxy; empty when the node has not said. */
export const neighboursOf = (diagnosis: Diagnosis): readonly NeighbourChain[] => {
  const fact = diagnosis.facts.get('neighbours');
  return fact?.kind === 'neighbours' ? fact.chains : [];
};

/** All facts of one kind. Indexed once for each state of the node. */
export function factsOf<K extends Fact['kind']>({ facts }: Diagnosis, kind: K): readonly Extract<Fact, { readonly kind: K }>[] {
  let index = kindIndexes.get(facts);
  if (index === undefined) kindIndexes.set(facts, (index = Map.groupBy(facts.values(), (fact) => fact.kind)));
  return (index.get(kind) ?? []) as unknown as readonly Extract<Fact, { readonly kind: K }>[];
}

const kindIndexes = new WeakMap<Diagnosis['facts'], ReadonlyMap<Fact['kind'], readonly Fact[]>>();

/** The value of a kernel setting; undefined when it was not read. */
export function settingOf({ facts }: Diagnosis, name: string): string | undefined {
  const fact = facts.get(`sysctl/${name}`);
  return fact?.kind === 'sysctl' ? fact.value.trim() : undefined;
}

/** The value of a counter; undefined when it was not read. */
export function counterOf({ facts }: Diagnosis, name: string): number | undefined {
  const fact = facts.get(`counter/${name}`);
  return fact?.kind === 'counter' ? fact.value : undefined;
}

export const serviceOf = (diagnosis: Diagnosis, expectation: Expectation): Service | undefined =>
  diagnosis.objects.services.get(`${expectation.service.namespace}/${expectation.service.name}`);

/** `shop/web, NodePort 30080/tcp`; `NodePort 30080/tcp` without a Service; `(IPv6)` is added where it is. */
export function nodePortText(nodePort: NodePortKey, expectation?: Pick<Expectation, 'service'>): string {
  const name = expectation === undefined ? '' : `${expectation.service.namespace}/${expectation.service.name}, `;
  return `${name}NodePort ${nodePort.port}/${nodePort.protocol}${nodePort.family === 6 ? ' (IPv6)' : ''}`;
}

/** Which clients meet the outcomes of a drift: `every client outside the node`, `clients from 10.0.0.0/8`, `other nodes`, `pods` … */
export function clientsText(drift: Pick<Drift, 'affected'>): string {
  const words = drift.affected.map(({ vantage, outcomes }) => (vantage === 'external' ? externalText(outcomes) : vantageWords[vantage]));
  // Whoever shuts out all the world says the same of the other nodes.
  const distinct = words.includes(everyone) ? words.filter((word) => word !== vantageWords.peer) : words;
  const [first = '', ...rest] = distinct;
  return [first, ...(rest.length === 0 ? [] : [`and for ${listText(rest)}`])].join(', ');
}

/** The symptom of a drift: the first vantage's first outcome that is not fine. */
export function symptomOfDrift(drift: Pick<Drift, 'affected'>): Symptom {
  const symptoms = drift.affected.flatMap(({ outcomes }) => outcomes.map(symptomOf));
  return symptoms.find((symptom) => symptom !== 'ok') ?? symptoms[0] ?? 'ok';
}

/** What clients meet, as a verb: `connections time out`. */
export const symptomText: Readonly<Record<Symptom, string>> = {
  ok: 'connections are answered',
  refused: 'connections are refused',
  timeout: 'connections time out',
  unreachable: 'connections fail with "host unreachable"',
  unknown: 'the outcome is not known',
};

/** `about 50 % of ` where only a part of the connections meets the drift, as with several endpoints; else nothing. */
export function shareText({ affected }: Pick<Drift, 'affected'>): string {
  const first = affected[0];
  const weight = first?.outcomes.reduce((sum, outcome) => sum + outcome.weight, 0) ?? 1;
  const split = first?.outcomes.some(({ sources }) => sources !== undefined) ?? false;
  return split || weight > 0.995 || weight <= 0 ? '' : `about ${Math.round(weight * 100)} % of `;
}

/** Whether any outside client is shut out, all of them, or only clients inside (pods, the node itself). */
export function severityOf(drift: Pick<Drift, 'affected'>): 'error' | 'warning' {
  return drift.affected.some(({ vantage, outcomes }) => vantage === 'external' && outcomes.some((outcome) => coversMost(outcome.sources)))
    ? 'error'
    : 'warning';
}

/** Whether a drift is a matter of kube-proxy's rules, not of somebody who stands in the way. */
export const isRuleDrift = ({ kind }: Drift): boolean => kind === 'missing' || kind === 'refused' || kind === 'endpoints' || kind === 'unexpected';

/** The outcomes of a drift at all vantages. */
export const outcomesOf = (drift: Pick<Drift, 'affected'>): readonly Outcome[] => drift.affected.flatMap(({ outcomes }) => outcomes);

/** The distinct deciders of outcomes, in order. */
export function decidersOf(outcomes: readonly Outcome[]): Decider[] {
  const found = new Map<string, Decider>();
  for (const outcome of outcomes) {
    const decider = deciderOfOutcome(outcome);
    if (decider !== undefined) found.set(deciderKey(decider), decider);
  }
  return [...found.values()];
}

export const deciderKey = ({ family, table, chain, rule, text, backend }: Decider): string => [backend, family, table, chain, rule, text].join(' ');

/** `1 endpoint`, `2 endpoints`. */
export const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`;

/** `a`, `a and b`, `a, b and c`. */
export const listText = (words: readonly string[]): string => (words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`);

const everyone = 'every client outside the node';
const vantageWords = { peer: 'the other nodes', pod: 'pods', node: 'processes on the node itself' } as const;

function externalText(outcomes: readonly Outcome[]): string {
  if (outcomes.some((outcome) => coversMost(outcome.sources))) return everyone;
  const sources = [...new Set(outcomes.flatMap((outcome) => outcome.sources ?? []))];
  return `clients from ${listText(sources.slice(0, 4))}${sources.length > 4 ? ' …' : ''}`;
}

function triggerOf(diagnosis: Diagnosis, deciders: readonly Decider[], removed: readonly string[]): Change | undefined {
  const made = deciders.flatMap((decider) => makingOf(diagnosis, decider) ?? []);
  return made[0] ?? changeThatRemoved(diagnosis.changes, diagnosis.node, removed);
}

// One rule may close thousands of NodePorts; the ledger is searched once for it.
function makingOf({ changes, node }: Diagnosis, decider: Decider): Change | undefined {
  const found = makings.get(changes) ?? new Map<string, Change | undefined>();
  makings.set(changes, found);
  const key = `${node} ${deciderKey(decider)}`;
  if (!found.has(key)) found.set(key, changeThatMade(changes, node, decider));
  return found.get(key);
}

const makings = new WeakMap<Diagnosis['changes'], Map<string, Change | undefined>>();

/** When a change was made, by the collector's clock. */
const timeOf = ({ node, clockOffsetMs = 0 }: Diagnosis, change: Change): number => change.at - (change.node === node ? clockOffsetMs : 0);

/** When the first of the NodePorts that a finding concerns was seen to fail; undefined offline. */
function onsetOf({ onsets }: Diagnosis, subject: Subject, { consequences = [] }: Pick<Diagnosing, 'consequences'>): number | undefined {
  const keys = subject === undefined ? consequences : [subject.key];
  const times = keys.flatMap((key) => onsets?.get(key) ?? []);
  return times.length === 0 ? undefined : Math.min(...times);
}

// Without a cause on record: what changed before is named as a suspicion, never as the trigger; and what was looked for in vain is said too.
function suspicionParts(diagnosis: Diagnosis, subject: Subject, { severity, evidence, consequences }: Diagnosing): Partial<Finding> {
  const onset = severity === 'info' ? undefined : onsetOf(diagnosis, subject, consequences === undefined ? {} : { consequences });
  if (onset === undefined) return {};
  const correlated = suspected(diagnosis, subject, onset);
  return { since: onset, evidence: [...evidence, ...(correlated === undefined ? [] : suspicionsOf(diagnosis, correlated, onset))] };
}

function suspicionsOf(diagnosis: Diagnosis, { candidates, notFound }: Correlated, onset: number): Evidence[] {
  const [best] = candidates;
  const named = best === undefined ? [] : [best, ...candidates.slice(1, suspicionsMax).filter(({ score }) => score >= standsOut)];
  const seen = named.map(({ change, reasons, score }): Evidence => {
    const by = change.actor === undefined || change.actor.how === 'unknown' ? '' : `, by ${actorText(change.actor)}`;
    return {
      witness: 'changes',
      text: `${change.subject} changed ${durationText(Math.max(0, onset - timeOf(diagnosis, change)))} before${by}; by time only (score ${score}): ${reasons.join(', ')}.`,
    };
  });
  return [...seen, ...(notFound.length === 0 ? [] : [{ witness: 'changes' as const, text: `Looked for and not found: ${notFound.join('; ')}.` }])];
}

const suspicionsMax = 3;

/** NodePorts that fail at one time for which the ledger is searched: what thousands have in common is found with the first of them. */
const suspectedMax = 50;

function suspected({ changes, node, clockOffsetMs = 0 }: Diagnosis, subject: Subject, onset: number): Correlated | undefined {
  const known = suspicions.get(changes) ?? new Map<string, Correlated>();
  suspicions.set(changes, known);
  const service = subject !== undefined && 'service' in subject ? { service: `${subject.service.namespace}/${subject.service.name}` } : {};
  const mentions = subject === undefined ? [] : [String(subject.nodePort.port)];
  const key = `${node} ${onset} ${service.service ?? ''} ${mentions.join()}`;
  if (!known.has(key) && known.size < suspectedMax)
    known.set(key, correlate(changes, { at: onset, node, ...service, mentions, clockOffsetsMs: new Map([[node, clockOffsetMs]]) }));
  return known.get(key);
}

const suspicions = new WeakMap<Diagnosis['changes'], Map<string, Correlated>>();

interface Triggered extends Pick<Diagnosing, 'evidence'> {
  readonly onset: number | undefined;
}

function triggerParts(diagnosis: Diagnosis, trigger: Change, { evidence, onset }: Triggered): Partial<Finding> {
  const at = timeOf(diagnosis, trigger);
  const seen: Evidence = {
    witness: 'changes',
    text: `${trigger.subject} changed at ${new Date(at).toISOString()}${windowText(trigger, (onset ?? diagnosis.now) - at)}.`,
  };
  return { since: at, trigger, evidence: [...evidence, seen], ...(trigger.actor === undefined ? {} : { actor: trigger.actor }) };
}

/** Where a change that is known to be the cause stands in the playbook: `, 2 s before the fault was seen: in the window of 10 min for firewall changes`. */
function windowText(change: Change, ageMs: number): string {
  const kind = classOf(change);
  if (kind === undefined) return '';
  const within = ageMs <= windows[kind] * 60_000;
  return `, ${durationText(Math.max(0, ageMs))} before the fault was seen: ${within ? 'in' : 'outside'} the window of ${windows[kind]} min for ${kind} changes`;
}
