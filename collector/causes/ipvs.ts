// Causes of kube-proxy's IPVS mode that its virtual servers show.

import type { Drift } from '../compare/index.ts';
import {
  clientsText,
  type Detector,
  type Diagnosed,
  type Diagnosis,
  findingOf,
  nodePortText,
  proxyOf,
  severityOf,
  subjectOf,
  symptomOfDrift,
  symptomText,
} from './detector.ts';
import { restartProxy } from './remedy.ts';

/** B14: kube-proxy's sets hold the NodePort, and no virtual server takes its packets at the address that was asked: each address of the node needs one of its own. */
export const virtualServerMissing: Detector = {
  causes: ['B14'],
  detect: (diagnosis) =>
    proxyOf(diagnosis)?.mode === 'ipvs'
      ? diagnosis.drifts
          .filter(({ kind, fact, expectation }) => kind === 'refused' && fact !== undefined && expectation !== undefined)
          .map((drift) => missingFinding(diagnosis, drift))
      : [],
};

function missingFinding(diagnosis: Diagnosis, drift: Drift): Diagnosed {
  const { nodePort, fact, expectation } = drift;
  const at = virtualServerText(fact?.address ?? '', drift);
  const symptom = symptomOfDrift(drift);
  const met = symptom === 'unknown' ? 'connections do not reach the Service' : symptomText[symptom];
  const finding = findingOf(diagnosis, subjectOf(drift), {
    cause: 'B14',
    confidence: 'certain',
    severity: severityOf(drift),
    symptom: symptom === 'unknown' ? 'refused' : symptom,
    title: 'IPVS has no virtual server for an address of the node',
    summary: `${nodePortText(nodePort, expectation)}: ${met} for ${clientsText(drift)}: IPVS has no virtual server ${at}, although kube-proxy's sets hold the port.`,
    evidence: [
      { witness: 'rules', text: `ipvsadm -Sn shows no ${at}; port ${nodePort.port} is in kube-proxy's set of NodePorts.` },
      { witness: 'objects', text: `The Service has the endpoints ${(expectation?.endpoints ?? []).slice(0, 4).join(', ')}.` },
    ],
    remedy: restartProxy(diagnosis.objects, diagnosis.node, proxyOf(diagnosis)),
    removed: ['ipvs', at],
  });
  return { finding, explains: [drift] };
}

/** `-t 192.0.2.11:30443`, as ipvsadm names it. */
function virtualServerText(address: string, { nodePort }: Drift): string {
  const option = nodePort.protocol === 'tcp' ? '-t' : nodePort.protocol === 'udp' ? '-u' : '--sctp-service';
  return `${option} ${nodePort.family === 6 ? `[${address}]` : address}:${nodePort.port}`;
}
