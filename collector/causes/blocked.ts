// Causes of packets that are dropped or rejected on their way: the decider of each outcome names the program, the program the cause.
import { deciderOfOutcome, type Drift } from '../compare/index.ts';
import type { Evidence } from '../../shared/model/finding.ts';
import type { Decider, Outcome } from '../../shared/model/outcome.ts';
import { type DeciderCause, deciderCauses } from './decider-causes.ts';
import {
  clientsText, decidersOf, deciderKey, type Detector, type Diagnosed, type Diagnosis, findingOf, listText, nodePortText, outcomesOf, severityOf, subjectOf, symptomOfDrift, symptomText,
} from './detector.ts';
import { deciderText } from './owner.ts';

/** Every drift of kind `blocked`, one finding for each cause that its deciders have. */
export const blocked: Detector = {
  causes: [...new Set(deciderCauses.map(({ cause }) => cause))],
  detect: (diagnosis) => {
    const drifts = diagnosis.drifts.filter(({ kind }) => kind === 'blocked');
    return drifts.flatMap((drift) => findingsOf(diagnosis, drift, drifts));
  },
};

/** The cause that a decider has on this node; the last entry of the table takes all. */
export const causeOf = (decider: Decider, diagnosis: Diagnosis, outcome: Outcome): DeciderCause =>
  deciderCauses.find(({ matches }) => matches(decider, diagnosis, outcome)) ?? (deciderCauses.at(-1) as DeciderCause);

function findingsOf(diagnosis: Diagnosis, drift: Drift, all: readonly Drift[]): Diagnosed[] {
  const decided = outcomesOf(drift).flatMap((outcome) => {
    const decider = deciderOfOutcome(outcome);
    return decider === undefined ? [] : [{ outcome, decider, cause: causeOf(decider, diagnosis, outcome) }];
  });
  if (decided.length === 0) return [undecided(diagnosis, drift)];
  const byCause = Map.groupBy(decided, ({ cause }) => cause);
  return [...byCause].map(([cause, parts]) => findingOfCause({ diagnosis, drift, all, cause, outcomes: new Set(parts.map(({ outcome }) => outcome)) }));
}

interface Part {
  readonly diagnosis: Diagnosis;
  readonly drift: Drift;
  readonly all: readonly Drift[];
  readonly cause: DeciderCause;
  readonly outcomes: ReadonlySet<Outcome>;
}

function findingOfCause({ diagnosis, drift, all, cause, outcomes }: Part): Diagnosed {
  const affected = drift.affected.map((each) => ({ ...each, outcomes: each.outcomes.filter((outcome) => outcomes.has(outcome)) })).filter((each) => each.outcomes.length > 0);
  const part: Drift = { ...drift, affected };
  const deciders = decidersOf([...outcomes]);
  const symptom = symptomOfDrift(part);
  const described = cause.describe({ diagnosis, drift: part, deciders, outcomes: [...outcomes] });
  const finding = findingOf(diagnosis, subjectOf(drift), {
    cause: cause.cause, title: described.title, confidence: described.confidence ?? 'certain', severity: described.severity ?? severityOf(part), symptom, deciders,
    summary: `${nodePortText(drift.nodePort, drift.expectation)}: ${shareText(part)}${symptomText[symptom]} for ${clientsText(part)}: ${described.because}.`,
    evidence: [...deciders.map(decidedBy), ...countersOf(deciders), ...(described.evidence ?? []), ...endpointsReady(drift)],
    remedy: described.remedy,
    consequences: sharing(all, drift, new Set(deciders.map(deciderKey))),
  });
  return { finding, explains: [drift] };
}

const decidedBy = (decider: Decider): Evidence => ({ witness: decider.by === 'sysctl' ? 'settings' : 'rules', text: `Decided by ${deciderText(decider)}.`, decider });

function countersOf(deciders: readonly Decider[]): Evidence[] {
  return deciders.filter(({ packets }) => packets !== undefined && packets !== '0').map((decider) => ({ witness: 'counters', text: `${deciderText(decider)} has counted ${decider.packets} packets.` }));
}

function endpointsReady({ expectation }: Drift): Evidence[] {
  if (expectation === undefined) return [];
  return [{ witness: 'objects', text: `The Service is not the cause: ${expectation.clusterEndpoints.length} endpoints are ready (${listText(expectation.clusterEndpoints.slice(0, 4))}).` }];
}

// With several endpoints a part of the connections may get through.
function shareText({ affected }: Drift): string {
  const first = affected[0];
  const weight = first?.outcomes.reduce((sum, outcome) => sum + outcome.weight, 0) ?? 1;
  const split = first?.outcomes.some(({ sources }) => sources !== undefined) ?? false;
  return split || weight > 0.995 || weight <= 0 ? '' : `about ${Math.round(weight * 100)} % of `;
}

const sharing = (all: readonly Drift[], drift: Drift, keys: ReadonlySet<string>): string[] =>
  all.filter((other) => other.key !== drift.key && decidersOf(outcomesOf(other)).some((decider) => keys.has(deciderKey(decider)))).map(({ key }) => key);

function undecided(diagnosis: Diagnosis, drift: Drift): Diagnosed {
  const symptom = symptomOfDrift(drift);
  const finding = findingOf(diagnosis, subjectOf(drift), {
    cause: 'D17', title: 'packets do not reach the endpoints', severity: severityOf(drift), confidence: 'possible', symptom,
    summary: `${nodePortText(drift.nodePort, drift.expectation)}: ${symptomText[symptom]} for ${clientsText(drift)}, and nothing that was read says why.`,
    evidence: endpointsReady(drift), remedy: ['ip route', 'ip -br link'],
  });
  return { finding, explains: [drift] };
}
