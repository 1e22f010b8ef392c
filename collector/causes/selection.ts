// Causes in which endpoints a client is given: by zone, by affinity, by what tracked connections remember. Rules and objects may agree and a client still be lost.

import type { Expectation } from '../../shared/model/expectation.ts';
import type { FlowsFact } from '../../shared/model/fact.ts';
import type { Finding } from '../../shared/model/finding.ts';
import type { Drift } from '../compare/index.ts';
import {
  counted,
  type Detector,
  type Diagnosed,
  type Diagnosis,
  factsOf,
  findingOf,
  isRuleDrift,
  listText,
  nodePortText,
  proxyOf,
  subjectOf,
} from './detector.ts';
import { kubectl, patchService, restartProxy, splitTarget } from './remedy.ts';

/** A12: hints of the EndpointSlices keep clients of this node in its zone. By design, said because endpoints seem to be missing. */
export const zoneFiltered: Detector = {
  causes: ['A12'],
  detect: (diagnosis) =>
    diagnosis.expectations
      .filter(({ expect, externalTrafficPolicy, endpoints, clusterEndpoints }) => {
        return expect === 'forward' && externalTrafficPolicy === 'Cluster' && endpoints.length < clusterEndpoints.length;
      })
      .map((expectation) => ({ finding: zoneFinding(diagnosis, expectation), explains: [] })),
};

/** A17: rules still know an endpoint that is gone, and session affinity sends its clients there again and again instead of trying another. */
export const affinityPins: Detector = {
  causes: ['A17'],
  detect: (diagnosis) =>
    diagnosis.drifts
      .filter(({ kind, expectation, extra }) => kind === 'endpoints' && expectation?.sessionAffinity === true && extra.length > 0)
      // Where other Services' rules are out of date as well, that is the wider cause.
      .filter((drift) => diagnosis.drifts.every((other) => other === drift || !isRuleDrift(other)))
      .map((drift) => ({ finding: pinnedFinding(diagnosis, drift), explains: [drift] })),
};

/** B24: connections tracked by the kernel still lead UDP clients to endpoints that are gone: they outlive the rules that made them. */
export const staleFlows: Detector = {
  causes: ['B24'],
  detect: (diagnosis) => {
    const byKey = new Map(diagnosis.expectations.map((expectation) => [expectation.key, expectation]));
    return factsOf(diagnosis, 'flows').flatMap((fact) => {
      const expectation = byKey.get(`nodeport/${fact.nodePort.protocol}/${fact.nodePort.family}/${fact.nodePort.port}`);
      return expectation === undefined ? [] : flowFindings(diagnosis, expectation, fact);
    });
  },
};

function zoneFinding(diagnosis: Diagnosis, expectation: Expectation): Finding {
  const zone = diagnosis.objects.nodes.get(diagnosis.node)?.labels['topology.kubernetes.io/zone'] ?? '';
  return findingOf(diagnosis, expectation, {
    cause: 'A12',
    title: 'hints keep clients in the zone of the node: by design',
    severity: 'info',
    confidence: 'certain',
    symptom: 'ok',
    summary: `${nodePortText(expectation.nodePort, expectation)}: clients on ${diagnosis.node} are sent to ${expectation.endpoints.length} of ${counted(expectation.clusterEndpoints.length, 'endpoint')} by design: the EndpointSlices' hints keep them in zone ${zone}.`,
    evidence: [
      { witness: 'objects', text: `Endpoints with a hint for zone ${zone}: ${listText(expectation.endpoints.slice(0, 6))}.` },
      {
        witness: 'objects',
        text: `Others: ${listText(expectation.clusterEndpoints.filter((endpoint) => !expectation.endpoints.includes(endpoint)).slice(0, 6))}.`,
      },
    ],
    remedy: [
      `# to use all endpoints: ${patchService(expectation.service, { spec: { trafficDistribution: null }, metadata: { annotations: { 'service.kubernetes.io/topology-mode': null } } })}`,
    ],
  });
}

function pinnedFinding(diagnosis: Diagnosis, drift: Drift): Finding {
  const expectation = drift.expectation as Expectation;
  return findingOf(diagnosis, subjectOf(drift), {
    cause: 'A17',
    title: 'session affinity holds clients at an endpoint that is gone',
    severity: 'error',
    confidence: 'likely',
    symptom: 'timeout',
    summary: `${nodePortText(drift.nodePort, expectation)}: rules still send clients to ${listText(drift.extra.slice(0, 4))}, which the Service does not have, and sessionAffinity ClientIP sends the same clients there each time: they fail on every try while others are served.`,
    evidence: [
      { witness: 'rules', text: `The rules lead to ${listText(drift.extra.slice(0, 4))}.` },
      {
        witness: 'objects',
        text: `The EndpointSlices give ${listText(expectation.clusterEndpoints.slice(0, 6)) || 'no endpoint'}; sessionAffinity is ClientIP.`,
      },
    ],
    remedy: restartProxy(diagnosis.objects, diagnosis.node, proxyOf(diagnosis)),
  });
}

function flowFindings(diagnosis: Diagnosis, expectation: Expectation, { targets, nodePort }: FlowsFact): Diagnosed[] {
  const pods = new Set(expectation.clusterEndpoints);
  const own = ownAddresses(diagnosis);
  const gone = Object.entries(targets).filter(([target]) => !pods.has(target));
  if (gone.length === 0) return [];
  const unanswered = gone.reduce((sum, [, { unanswered: count }]) => sum + count, 0);
  const all = gone.reduce((sum, [, { count }]) => sum + count, 0);
  // A connection that was not translated ends at the node itself: it began before the Service had an endpoint.
  const names = gone.map(([target]) => (own.has(splitTarget(target).address) ? `${target} (the node itself)` : target));
  const finding = findingOf(diagnosis, expectation, {
    cause: 'B24',
    title: 'tracked connections still lead to endpoints that are gone',
    severity: 'warning',
    confidence: unanswered > 0 ? 'certain' : 'likely',
    symptom: 'timeout',
    summary: `${nodePortText(nodePort, expectation)}: ${counted(all, 'tracked connection')} on ${diagnosis.node} still ${all === 1 ? 'leads' : 'lead'} to ${listText(names.slice(0, 3))}, which the Service does not have; their clients get no answer as long as they keep sending from the same port, while new clients are served.`,
    evidence: [
      { witness: 'counters', text: `${all} entries of conntrack lead there, ${unanswered} of them without an answer.` },
      { witness: 'objects', text: `The EndpointSlices give ${listText(expectation.clusterEndpoints.slice(0, 6)) || 'no endpoint'}.` },
    ],
    remedy: [
      `conntrack -D -p ${nodePort.protocol} --orig-port-dst ${nodePort.port}${nodePort.family === 6 ? ' -f ipv6' : ''}`,
      `${kubectl(expectation.service.namespace)} get endpointslices -l kubernetes.io/service-name=${expectation.service.name} -o wide`,
    ],
  });
  return [{ finding, explains: [] }];
}

const ownAddresses = (diagnosis: Diagnosis): ReadonlySet<string> =>
  new Set(factsOf(diagnosis, 'interface').flatMap(({ addresses }) => addresses.map((address) => address.split('/')[0] as string)));
