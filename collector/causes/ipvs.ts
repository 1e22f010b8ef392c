// Causes of kube-proxy's IPVS mode that its virtual servers and its ipsets show.

import type { Expectation } from '../../shared/model/expectation.ts';
import type { Finding } from '../../shared/model/finding.ts';
import type { Drift } from '../compare/index.ts';
import {
  clientsText,
  type Detector,
  type Diagnosed,
  type Diagnosis,
  findingOf,
  isHairpin,
  listText,
  nodePortText,
  proxyOf,
  severityOf,
  subjectOf,
  symptomOfDrift,
  symptomText,
} from './detector.ts';
import { bareTargets, nodePortSet, setFault } from './masquerade.ts';
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

/**
 * B11: virtual servers take the packets, and an ipset that the rules beside them need is not there or lacks the entry: KUBE-NODE-PORT-… says whose address is replaced,
 * KUBE-LOOP-BACK does so for a pod that reaches itself.
 */
export const setNotFilled: Detector = {
  causes: ['B11'],
  detect: (diagnosis) =>
    proxyOf(diagnosis)?.mode !== 'ipvs'
      ? []
      : [
          ...diagnosis.expectations.flatMap((expectation) => unmarkedFinding(diagnosis, expectation)),
          ...diagnosis.drifts.filter(isHairpin).map((drift) => loopBackFinding(diagnosis, drift)),
        ],
};

function unmarkedFinding(diagnosis: Diagnosis, expectation: Expectation): Diagnosed[] {
  const fault = expectation.expect === 'forward' && expectation.externalTrafficPolicy === 'Cluster' ? setFault(diagnosis, expectation) : undefined;
  const targets = fault === undefined ? [] : bareTargets(diagnosis, expectation);
  if (fault === undefined || targets.length === 0) return [];
  const set = nodePortSet(expectation);
  const { port } = expectation.nodePort;
  return [
    {
      finding: setFinding(diagnosis, expectation, {
        severity: 'error',
        symptom: 'timeout',
        summary: `${nodePortText(expectation.nodePort, expectation)}: connections time out for clients outside that are sent to ${listText(targets.slice(0, 4))} on other nodes: the ipset ${set} ${fault === 'missing' ? 'is not there' : `does not have ${port}`}, so ${diagnosis.node} does not put its own address in place of theirs.`,
        evidence: `${fault === 'missing' ? `There is no ipset ${set}` : `ipset ${set} has no entry ${port}`}, while IPVS has a virtual server for the port.`,
        removed: [set, String(port)],
        set,
      }),
      explains: diagnosis.drifts.filter(({ key, kind }) => key === expectation.key && kind === 'masquerade'),
    },
  ];
}

function loopBackFinding(diagnosis: Diagnosis, drift: Drift): Diagnosed {
  const set = `KUBE-${drift.nodePort.family === 6 ? '6-' : ''}LOOP-BACK`;
  const targets = [...new Set(drift.affected.flatMap(({ outcomes }) => outcomes.flatMap(({ dnat }) => dnat ?? [])))];
  const finding = setFinding(diagnosis, subjectOf(drift), {
    severity: severityOf(drift),
    symptom: symptomOfDrift(drift),
    summary: `${nodePortText(drift.nodePort, drift.expectation)}: ${symptomText[symptomOfDrift(drift)]} for pods that reach themselves: the ipset ${set} does not have ${listText(targets.slice(0, 4))}, so their address is not replaced.`,
    evidence: `ipset ${set} has no entry for ${listText(targets.slice(0, 4))}.`,
    removed: [set],
    set,
  });
  return { finding, explains: [drift] };
}

interface SetFault extends Pick<Finding, 'severity' | 'symptom' | 'summary'> {
  readonly evidence: string;
  readonly removed: readonly string[];
  readonly set: string;
}

function setFinding(diagnosis: Diagnosis, subject: Parameters<typeof findingOf>[1], { evidence, set, ...given }: SetFault): Finding {
  return findingOf(diagnosis, subject, {
    cause: 'B11',
    title: 'an ipset of IPVS mode is missing or not filled',
    confidence: 'certain',
    ...given,
    evidence: [{ witness: 'rules', text: evidence }],
    remedy: [
      `ipset list ${set}  # and what kube-proxy says of it: kubectl -n kube-system logs -l k8s-app=kube-proxy --tail=200 | grep -i ipset`,
      ...restartProxy(diagnosis.objects, diagnosis.node, proxyOf(diagnosis)),
    ],
  });
}

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
