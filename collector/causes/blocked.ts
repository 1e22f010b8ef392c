// Causes of packets that are dropped or rejected on their way: the decider of each outcome names the program, the program the cause.

import type { Evidence } from '../../shared/model/finding.ts';
import { type Decider, lossOf, type Outcome, type Symptom, symptomOf } from '../../shared/model/outcome.ts';
import { type Drift, deciderOfOutcome, isUncertain } from '../compare/index.ts';
import { type DeciderCause, deciderCauses, type Met } from './decider-causes.ts';
import {
  clientsText,
  consequencesMax,
  counted,
  type Detector,
  type Diagnosed,
  type Diagnosis,
  deciderKey,
  decidersOf,
  findingOf,
  listText,
  nodePortText,
  outcomesOf,
  severityOf,
  shareText,
  subjectOf,
  symptomOfDrift,
  symptomText,
} from './detector.ts';
import { byHardening } from './hardening.ts';
import { deciderText } from './owner.ts';

/** Every drift of kind `blocked`, one finding for each cause that its deciders have. */
export const blocked: Detector = {
  causes: [...new Set([...deciderCauses.map(({ cause }) => cause), 'C18'])],
  detect: (diagnosis) => {
    const drifts = diagnosis.drifts.filter(({ kind }) => kind === 'blocked');
    const keys = keysByDecider(drifts);
    return drifts.flatMap((drift) => findingsOf(diagnosis, drift, keys));
  },
};

/** The cause that a decider has on this node; the last entry of the table takes all. */
export const causeOf = (decider: Decider, diagnosis: Diagnosis, met: Met): DeciderCause =>
  deciderCauses.find(({ matches }) => matches(decider, diagnosis, met)) ?? (deciderCauses.at(-1) as DeciderCause);

type KeysByDecider = ReadonlyMap<string, ReadonlySet<string>>;

function findingsOf(diagnosis: Diagnosis, drift: Drift, keys: KeysByDecider): Diagnosed[] {
  const decided = outcomesOf(drift).flatMap((outcome) => {
    const decider = deciderOfOutcome(outcome);
    return decider === undefined ? [] : [{ outcome, decider, cause: causeOf(decider, diagnosis, { outcome, drift }) }];
  });
  if (decided.length === 0) return [undecided(diagnosis, drift)];
  const byCause = Map.groupBy(decided, ({ cause }) => cause);
  return [...byCause].map(([cause, parts]) => findingOfCause({ diagnosis, drift, keys, cause, outcomes: new Set(parts.map(({ outcome }) => outcome)) }));
}

interface Part {
  readonly diagnosis: Diagnosis;
  readonly drift: Drift;
  readonly keys: KeysByDecider;
  readonly cause: DeciderCause;
  readonly outcomes: ReadonlySet<Outcome>;
}

function findingOfCause({ diagnosis, drift, keys, cause, outcomes }: Part): Diagnosed {
  const affected = drift.affected
    .map((each) => ({ ...each, outcomes: each.outcomes.filter((outcome) => outcomes.has(outcome)) }))
    .filter((each) => each.outcomes.length > 0);
  const part: Drift = { ...drift, affected };
  const deciders = decidersOf([...outcomes]);
  const symptom = symptomOfDrift(part);
  const described = cause.describe({ diagnosis, drift: part, deciders, outcomes: [...outcomes] });
  const finding = findingOf(diagnosis, subjectOf(drift), {
    cause: cause.cause,
    title: described.title,
    confidence: described.confidence ?? 'certain',
    severity: described.severity ?? severityOf(part),
    symptom,
    deciders,
    summary: `${nodePortText(drift.nodePort, drift.expectation)}: ${shareText(part)}${metText(symptom, outcomes)} for ${described.clients ?? clientsText(part)}: ${described.because}.`,
    evidence: [...deciders.map(decidedBy), ...countersOf(deciders), ...(described.evidence ?? []), ...insideServed(drift), ...endpointsReady(drift)],
    remedy: described.remedy,
    consequences: sharing(keys, drift, deciders),
  });
  return { finding: byHardening(finding), explains: [drift] };
}

// The handshake goes well and what follows is lost: whoever looks at a client sees an open connection that hangs.
function metText(symptom: Symptom, outcomes: ReadonlySet<Outcome>): string {
  const hangs = symptom === 'timeout' && [...outcomes].every((outcome) => outcome.later !== undefined && lossOf(outcome) === outcome.later);
  return hangs ? 'connections are opened and then hang' : symptomText[symptom];
}

const decidedBy = (decider: Decider): Evidence => ({
  witness: decider.by === 'sysctl' ? 'settings' : 'rules',
  text: `Decided by ${deciderText(decider)}.`,
  decider,
});

function countersOf(deciders: readonly Decider[]): Evidence[] {
  return deciders
    .filter(({ packets }) => packets !== undefined && packets !== '0')
    .map((decider) => ({ witness: 'counters', text: `${deciderText(decider)} has counted ${decider.packets} packets.` }));
}

// "It works when I try it on the node" is what operators see first, and it is no contradiction.
function insideServed({ affected, fact }: Drift): Evidence[] {
  const outside = affected.some(({ vantage }) => vantage === 'external');
  const own = fact?.outcomes.node ?? [];
  const served = own.length > 0 && own.every((outcome) => symptomOf(outcome) === 'ok' && !isUncertain(outcome) && outcome.dnat !== null);
  return outside && served && !affected.some(({ vantage }) => vantage === 'node')
    ? [{ witness: 'rules', text: 'From the node itself it works: packets of its own processes do not go this way.' }]
    : [];
}

function endpointsReady({ expectation }: Drift): Evidence[] {
  if (expectation === undefined) return [];
  return [
    {
      witness: 'objects',
      text: `The Service is not the cause: it has ${counted(expectation.clusterEndpoints.length, 'ready endpoint')} (${listText(expectation.clusterEndpoints.slice(0, 4))}).`,
    },
  ];
}

// One rule may close thousands of NodePorts: they are grouped once, and a finding names the first of them.
function keysByDecider(drifts: readonly Drift[]): KeysByDecider {
  const found = new Map<string, Set<string>>();
  for (const drift of drifts) {
    for (const decider of decidersOf(outcomesOf(drift))) {
      const name = deciderKey(decider);
      const keys = found.get(name) ?? new Set();
      found.set(name, keys.add(drift.key));
    }
  }
  return found;
}

function sharing(keys: KeysByDecider, drift: Drift, deciders: readonly Decider[]): string[] {
  const shared = new Set<string>();
  for (const decider of deciders) {
    for (const key of keys.get(deciderKey(decider)) ?? []) {
      if (shared.size === consequencesMax) return [...shared];
      if (key !== drift.key) shared.add(key);
    }
  }
  return [...shared];
}

function undecided(diagnosis: Diagnosis, drift: Drift): Diagnosed {
  const symptom = symptomOfDrift(drift);
  const finding = findingOf(diagnosis, subjectOf(drift), {
    cause: 'D17',
    title: 'packets do not reach the endpoints',
    severity: severityOf(drift),
    confidence: 'possible',
    symptom,
    summary: `${nodePortText(drift.nodePort, drift.expectation)}: ${symptomText[symptom]} for ${clientsText(drift)}, and nothing that was read says why.`,
    evidence: endpointsReady(drift),
    remedy: ['ip route', 'ip -br link'],
  });
  return { finding, explains: [drift] };
}
