// "It failed at T": ranks what may have been the cause, from the findings of that time and from what had changed before. Pure.
import type { Change } from '../../shared/model/change.ts';
import type { Finding } from '../../shared/model/finding.ts';
import { type Correlated, correlate, type Onset } from './index.ts';
import { durationText } from './windows.ts';

/** A likely cause of an incident: a finding, or a change alone. */
export interface RankedCause {
  /** Of the catalogue; empty for a change alone. */
  readonly cause: string;
  readonly title: string;
  readonly confidence: Finding['confidence'];
  /** 0…1. */
  readonly score: number;
  readonly node: string;
  readonly summary: string;
  readonly remedy: readonly string[];
  readonly reasons: readonly string[];
  /** Id of the finding. */
  readonly finding?: string;
  readonly change?: Change;
}

export interface IncidentQuestion {
  /** Milliseconds since 1970 when clients could not get in. */
  readonly at: number;
  /** `namespace/name`; empty when it is not known. */
  readonly service: string;
  /** Empty: any node. */
  readonly node: string;
  /** 0: any. */
  readonly port: number;
  /** Texts that make a change more likely: target ports, addresses of endpoints, the client. */
  readonly mentions: readonly string[];
  /** Findings of about that time, with the time they lasted; `closedAt` null while one does. */
  readonly findings: readonly { readonly finding: Finding; readonly openedAt: number; readonly closedAt: number | null }[];
  /** The ledger of the day before, oldest first. */
  readonly changes: readonly Change[];
  readonly clockOffsetsMs?: ReadonlyMap<string, number>;
}

export interface IncidentAnswer {
  /** Most likely first. */
  readonly causes: readonly RankedCause[];
  readonly notFound: readonly string[];
}

/** A report comes after the fault, and its time is a person's: findings that ended so long before still count. */
const memoryMs = 10 * 60_000;
/** A finding that opened so long after is of the same fault: the grace period, and people who are quicker than it. */
const foresightMs = 5 * 60_000;
const causesMax = 20;
/** Nodes whose changes are weighed when nobody says which one it was. */
const nodesMax = 50;

/** Ranks the causes: findings that held at the time, findings near it, then changes that no finding names. */
export function rankCauses(question: IncidentQuestion): IncidentAnswer {
  const found = question.findings.filter((record) => concerns(record.finding, question)).flatMap((record) => byFinding(record, question));
  const { candidates, notFound } = changesFor(question, [...new Set(found.map(({ node }) => node))]);
  const named = new Set(found.flatMap(({ change }) => (change === undefined ? [] : [changeKey(change)])));
  const changes = candidates.filter(({ change }) => !named.has(changeKey(change))).map(byChange);
  const causes = [...found, ...changes].sort((a, b) => b.score - a.score || (a.node < b.node ? -1 : 1)).slice(0, causesMax);
  return { causes, notFound };
}

function concerns(finding: Finding, { service, node, port }: IncidentQuestion): boolean {
  if (node !== '' && finding.node !== node) return false;
  const isWhole = finding.port === 0 && finding.service === '';
  const isOfService = service === '' || finding.service === service || finding.service.startsWith(`${service}:`) || isWhole;
  const isOfPort = port === 0 || finding.port === port || finding.port === 0 || (finding.consequences ?? []).some((key) => key.endsWith(`/${port}`));
  return isOfService && isOfPort;
}

const certainty: Readonly<Record<Finding['confidence'], number>> = { certain: 0.95, likely: 0.85, possible: 0.65 };

function byFinding({ finding, openedAt, closedAt }: IncidentQuestion['findings'][number], { at, port }: IncidentQuestion): RankedCause[] {
  const began = Math.min(openedAt, finding.since ?? openedAt);
  const [late, over] = [began - at, closedAt === null ? 0 : at - closedAt];
  if (late > foresightMs || over > memoryMs) return [];
  const weights = [
    { factor: over > 0 ? 0.6 : 1, reason: over > 0 ? `it had ended ${durationText(over)} before` : 'it held at the time' },
    ...(late > 0 ? [{ factor: 0.9, reason: `it was seen first ${durationText(late)} after` }] : []),
    // What is by design shuts clients out as well as a fault does, but seldom alarms anybody.
    ...(finding.severity === 'info' ? [{ factor: finding.symptom === 'ok' ? 0.3 : 0.7, reason: 'it is by design' }] : []),
    ...(port !== 0 && finding.port === 0 ? [{ factor: 0.9, reason: 'it concerns the node, not this NodePort alone' }] : []),
  ];
  const score = weights.reduce((product, { factor }) => product * factor, certainty[finding.confidence]);
  const { id, cause, title, confidence, node, summary, remedy, trigger } = finding;
  const reasons = weights.map(({ reason }) => reason);
  const common = { cause, title, confidence, node, summary, remedy, reasons, finding: id, score: Math.round(score * 1_000) / 1_000 };
  return [trigger === undefined ? common : { ...common, change: trigger }];
}

/** Weighs the changes of the node that was named, of those with findings, or else of all that changed anything. */
function changesFor(question: IncidentQuestion, faulty: readonly string[]): Correlated {
  const { at, service, node, port, mentions, changes, clockOffsetsMs } = question;
  const others = faulty.length > 0 ? faulty : [...new Set(changes.map((change) => change.node))].filter((name) => name !== '').slice(-nodesMax);
  const nodes = node !== '' ? [node] : others.length > 0 ? others : [''];
  const words = [...(port === 0 ? [] : [String(port)]), ...mentions];
  const answers = nodes.map((name) => {
    const onset: Onset = {
      at,
      node: name,
      ...(service === '' ? {} : { service }),
      mentions: words,
      ...(clockOffsetsMs === undefined ? {} : { clockOffsetsMs }),
    };
    return correlate(changes, onset);
  });
  const candidates = new Map(answers.flatMap((answer) => answer.candidates.map((candidate) => [changeKey(candidate.change), candidate] as const)));
  return { candidates: [...candidates.values()], notFound: answers.length === 1 ? (answers[0]?.notFound ?? []) : [] };
}

function byChange({ change, score, reasons }: Correlated['candidates'][number]): RankedCause {
  // A change alone is a suspicion: it never outranks a rule that is known to decide.
  return {
    cause: '',
    title: `${change.kind} change of ${change.subject}`,
    confidence: score >= 0.7 ? 'likely' : 'possible',
    score: Math.round(score * 800) / 1_000,
    node: change.node,
    summary: `${change.subject} changed`,
    remedy: [],
    reasons,
    change,
  };
}

const changeKey = ({ node, at, kind, subject, after }: Change): string => `${node}\0${at}\0${kind}\0${subject}\0${after ?? ''}`;
