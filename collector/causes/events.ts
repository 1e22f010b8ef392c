// What the cluster has written down of a Service and its pods: warnings of controllers, kubelets and the API server, as evidence and, where endpoints are not written, as a cause.

import type { Expectation } from '../../shared/model/expectation.ts';
import type { Evidence } from '../../shared/model/finding.ts';
import { durationText } from '../correlate/index.ts';
import type { ClusterEvent, Service } from '../kubernetes/objects.ts';
import { type Detector, type Diagnosed, type Diagnosis, findingOf, nodePortText } from './detector.ts';
import { kubectl, printable, shellWord } from './remedy.ts';

/** A01: the controller says that it cannot write the endpoints of a Service that is served: they are as they were, and fall behind the pods. */
export const endpointsNotWritten: Detector = {
  causes: ['A01'],
  detect: (diagnosis) =>
    diagnosis.expectations
      .filter(({ expect }) => expect === 'forward')
      .flatMap((expectation) => {
        const event = warningsOf(diagnosis, serviceObjects(expectation.service)).find(
          ({ reason, lastAt }) => notWritten.test(reason) && diagnosis.now - lastAt <= recentMs,
        );
        return event === undefined ? [] : [notWrittenFinding(diagnosis, expectation, event)];
      }),
};

/** Warnings on a Service and on some of its pods, the latest first, as evidence; none where there are none. */
export function eventEvidence(diagnosis: Diagnosis, service: Pick<Service, 'namespace' | 'name'>, pods: readonly { readonly name: string }[] = []): Evidence[] {
  const objects = [...serviceObjects(service), ...pods.slice(0, podsMax).map(({ name }) => `Pod/${service.namespace}/${name}`)];
  return warningsOf(diagnosis, objects)
    .slice(0, shownMax)
    .map((event) => ({ witness: 'objects', text: `${eventText(event, diagnosis.now)}.` }));
}

/** `FailedToUpdateEndpointSlices` and its kin. */
const notWritten = /^FailedTo(Create|Update|Delete)Endpoint/;
const recentMs = 10 * 60_000;
const shownMax = 2;
const podsMax = 20;
const messageMax = 200;

// Controllers write on the Service, or on the Endpoints of the same name.
const serviceObjects = ({ namespace, name }: Pick<Service, 'namespace' | 'name'>): string[] => [
  `Service/${namespace}/${name}`,
  `Endpoints/${namespace}/${name}`,
];

function warningsOf({ objects }: Diagnosis, about: readonly string[]): ClusterEvent[] {
  if (objects.events.size === 0) return [];
  let index = indexes.get(objects);
  if (index === undefined) {
    const warnings = [...objects.events.values()].filter(({ type }) => type !== 'Normal');
    indexes.set(objects, (index = Map.groupBy(warnings, ({ object: { kind, namespace, name } }) => `${kind}/${namespace}/${name}`)));
  }
  return about.flatMap((key) => index.get(key) ?? []).sort((a, b) => b.lastAt - a.lastAt);
}

const indexes = new WeakMap<Diagnosis['objects'], ReadonlyMap<string, readonly ClusterEvent[]>>();

function eventText({ reason, message, object, count, lastAt, component }: ClusterEvent, now: number): string {
  const times = count > 1 ? `, ${count} times` : '';
  const ago = now > lastAt && lastAt > 0 ? `, last ${durationText(now - lastAt)} ago` : '';
  const said = printable(message).slice(0, messageMax).replace(/\.$/, '');
  return `Event ${reason} of ${object.kind} ${object.name}${component === undefined ? '' : ` by ${component}`}${times}${ago}: ${said}`;
}

function notWrittenFinding(diagnosis: Diagnosis, expectation: Expectation, event: ClusterEvent): Diagnosed {
  const { namespace, name } = expectation.service;
  const finding = findingOf(diagnosis, expectation, {
    cause: 'A01',
    title: 'the endpoints of the Service are not written',
    severity: 'warning',
    confidence: 'likely',
    symptom: 'ok',
    summary: `${nodePortText(expectation.nodePort, expectation)}: the controller cannot write its endpoints (${event.reason}): rules follow those of before, and clients are lost as soon as pods are replaced.`,
    evidence: [{ witness: 'objects', text: `${eventText(event, diagnosis.now)}.` }],
    remedy: [
      `${kubectl(namespace)} describe service ${shellWord(name)}`,
      `${kubectl(namespace)} get endpointslices -l kubernetes.io/service-name=${shellWord(name)} -o wide`,
      'kubectl -n kube-system logs -l component=kube-controller-manager --tail=200 | grep -i endpoint',
    ],
  });
  return { finding, explains: [] };
}
