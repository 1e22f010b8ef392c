// Agents that are not who they say: one that spoke for another node, or two with one identity. The ledger has it from where they connect.
import type { Change } from '../../shared/model/change.ts';
import { type Detector, type Diagnosis, findingOf } from './detector.ts';

/** How long it is said after it happened last. */
const saidMs = 86_400_000;

/** E01 */
export const foreignIdentity: Detector = {
  causes: ['E01'],
  detect(diagnosis) {
    const found = actsOf(diagnosis);
    const last = found.at(-1);
    if (last === undefined) return [];
    const { node } = diagnosis;
    const finding = findingOf(diagnosis, undefined, {
      cause: 'E01',
      title: 'an agent is not who it says',
      severity: 'warning',
      confidence: 'certain',
      symptom: 'ok',
      summary: `${last.after ?? ''}: what is said of a node may be somebody else's word.`,
      evidence: found.slice(-3).map(({ at, after }) => ({ witness: 'changes', text: `${new Date(at).toISOString()}: ${after ?? ''}.` })),
      remedy: [
        `portreeve get changes --kind agent --node ${node}`,
        `portreeve token revoke --node ${node}   # then enrol it anew: portreeve token create --node ${node}`,
      ],
      about: 'identity',
      trigger: last,
    });
    return [{ finding, explains: [] }];
  },
};

function actsOf({ node, changes, now }: Diagnosis): readonly Change[] {
  const own = changes.filter(
    (change) => change.kind === 'agent' && change.node === node && change.subject === `identity of ${node}` && change.at > now - saidMs,
  );
  return own.toSorted((a, b) => a.at - b.at);
}
