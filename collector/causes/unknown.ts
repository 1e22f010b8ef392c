// What could not be judged is said, so that nobody takes it for healthy.

import type { Decider } from '../../shared/model/outcome.ts';
import type { Drift } from '../compare/index.ts';
import { type Detector, type Diagnosed, type Diagnosis, findingOf, listText, nodePortText, outcomesOf, subjectOf } from './detector.ts';
import { deciderText } from './owner.ts';

/** C14 where a rule was printed by a tool that does not understand it; else `unknown`, which is no cause: the rules that stand in the way are named. */
export const notJudged: Detector = {
  causes: ['C14', 'unknown'],
  detect: (diagnosis) => diagnosis.drifts.filter(({ kind }) => kind === 'unknown').map((drift) => unknownFinding(diagnosis, drift)),
};

function unknownFinding(diagnosis: Diagnosis, drift: Drift): Diagnosed {
  const rules = distinct(
    outcomesOf(drift).flatMap((outcome) => [
      ...(outcome.unless ?? []),
      ...(outcome.verdict === 'unknown' && outcome.decidedBy !== undefined ? [outcome.decidedBy] : []),
    ]),
  );
  const unsupported = rules.some(({ text }) => /unsupported revision/.test(text));
  const why =
    drift.fact === undefined
      ? `${diagnosis.node} has not reported on it`
      : rules.length === 0
        ? 'not everything that decides could be read'
        : `it depends on ${listText(rules.slice(0, 3).map(deciderText))}`;
  const finding = findingOf(diagnosis, subjectOf(drift), {
    cause: unsupported ? 'C14' : 'unknown',
    title: unsupported ? 'rules that the tool which printed them does not understand' : 'not judged',
    severity: 'info',
    confidence: 'possible',
    symptom: 'unknown',
    summary: `${nodePortText(drift.nodePort, drift.expectation)}: whether clients get in on ${diagnosis.node} is not known: ${why}.`,
    evidence: rules.slice(0, 5).map((decider) => ({ witness: 'rules', text: `Not judged: ${deciderText(decider)}.`, decider })),
    remedy: unsupported ? ['iptables-legacy-save; iptables-nft-save  # read with the tool that wrote the rules'] : [],
  });
  return { finding, explains: [drift] };
}

const distinct = (deciders: readonly Decider[]): Decider[] => [...new Map(deciders.map((decider) => [deciderText(decider), decider])).values()];
