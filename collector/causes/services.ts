// Causes in the objects themselves: Services without usable endpoints, selectors and target ports that miss, and what is by design.

import type { Expectation } from '../../shared/model/expectation.ts';
import type { Evidence, Finding } from '../../shared/model/finding.ts';
import { type Outcome, symptomOf } from '../../shared/model/outcome.ts';
import type { Drift } from '../compare/index.ts';
import { endpointsOf, slicesOf } from '../expect/endpoints.ts';
import { proxyNameLabel } from '../expect/index.ts';
import type { Pod, Service, ServicePort } from '../kubernetes/objects.ts';
import { counted, type Detector, type Diagnosed, type Diagnosing, type Diagnosis, findingOf, listText, nodePortText, proxyOf, serviceOf } from './detector.ts';
import { eventEvidence } from './events.ts';
import { kubectl, patchService, shellWord, splitTarget } from './remedy.ts';
import { type HeardTargetPort, heardTargetPort, wrongTargetPort } from './target-port.ts';

/** A01, A02, A03, A10: a Service that has no usable endpoint anywhere; its NodePort refuses clients, rightly. */
export const withoutEndpoints: Detector = {
  causes: ['A01', 'A02', 'A03', 'A10'],
  detect: (diagnosis) =>
    diagnosis.expectations
      .filter(({ expect }) => expect === 'reject')
      .map((expectation) => ({ finding: whyNoEndpoints(diagnosis, expectation), explains: [] })),
};

/** A04, A06: externalTrafficPolicy Local and no endpoint on this node. By design, said so that nobody searches; old IPVS proxies send clients on all the same. */
export const localWithoutEndpoint: Detector = {
  causes: ['A04', 'A06'],
  detect: (diagnosis) =>
    diagnosis.expectations.filter(({ expect }) => expect === 'drop').map((expectation) => ({ finding: localFinding(diagnosis, expectation), explains: [] })),
};

/** A03: endpoints are there and rules lead to them, but their containers do not seem to listen on that port. */
export const targetPort: Detector = {
  causes: ['A03'],
  detect: (diagnosis) =>
    diagnosis.expectations.filter(({ expect }) => expect === 'forward').flatMap((expectation) => targetPortFinding(diagnosis, expectation)),
};

/** A07: every endpoint is terminating; they serve until they are gone. */
export const terminatingOnly: Detector = {
  causes: ['A07'],
  detect: (diagnosis) =>
    diagnosis.expectations.filter(({ expect }) => expect === 'forward').flatMap((expectation) => terminatingFinding(diagnosis, expectation)),
};

/** A02: pods of a Service that others still serve end again and again. */
export const podsFailing: Detector = {
  causes: ['A02'],
  detect: (diagnosis) => diagnosis.expectations.filter(({ expect }) => expect === 'forward').flatMap((expectation) => failingFinding(diagnosis, expectation)),
};

/** A15: a hostPort of a pod on this node has the NodePort's number and takes its packets. */
export const hostPortShadows: Detector = {
  causes: ['A15'],
  detect: (diagnosis) => diagnosis.drifts.filter(({ kind }) => kind === 'endpoints').flatMap((drift) => hostPortFinding(diagnosis, drift)),
};

/** A11: a label hides the Service from kube-proxy; its NodePort is another program's business. */
export const hiddenService: Detector = {
  causes: ['A11'],
  detect: (diagnosis) => [...diagnosis.objects.services.values()].filter(isHidden).flatMap((service) => hiddenFindings(diagnosis, service)),
};

const portOf = (service: Service | undefined, expectation: Expectation): ServicePort | undefined =>
  service?.ports.find((port) => port.name === expectation.service.port && port.protocol === expectation.nodePort.protocol);

function whyNoEndpoints(diagnosis: Diagnosis, expectation: Expectation): Finding {
  const service = serviceOf(diagnosis, expectation);
  const pods = service === undefined ? [] : podsOf(diagnosis, service.namespace);
  const why = explanationsOf({ diagnosis, expectation, service, pods }).find((each) => each !== undefined) ?? noReadyEndpoints(expectation);
  const symptom = observedSymptom(diagnosis, expectation) ?? 'refused';
  return findingOf(diagnosis, expectation, {
    severity: 'error',
    confidence: 'certain',
    symptom,
    ...why,
    evidence: [...why.evidence, ...eventEvidence(diagnosis, expectation.service, selectedOf(service, pods)), ...ruleEvidence(diagnosis, expectation)],
  });
}

const selectedOf = (service: Service | undefined, pods: readonly Pod[]): readonly Pod[] => {
  const selector = service?.selector;
  return selector === undefined ? [] : pods.filter((pod) => selects(selector, pod.labels));
};

type Why = Pick<Diagnosing, 'cause' | 'title' | 'summary' | 'evidence' | 'remedy'>;

interface Question {
  readonly diagnosis: Diagnosis;
  readonly expectation: Expectation;
  readonly service: Service | undefined;
  readonly pods: readonly Pod[];
}

const explanationsOf = (question: Question): readonly (Why | undefined)[] => [selectorMisses(question), portNameMisses(question), podsNotReady(question)];

function selectorMisses({ diagnosis, expectation, service, pods }: Question): Why | undefined {
  // Without any pod among the objects they were not read: then nothing can be said of them.
  if (service?.selector === undefined || diagnosis.objects.pods.size === 0 || pods.some((pod) => selects(service.selector ?? {}, pod.labels))) return undefined;
  const wanted = labelsText(service.selector);
  const near = nearestPod(service.selector, pods);
  const name = nodePortText(expectation.nodePort, expectation);
  return {
    cause: 'A02',
    title: 'the selector matches no pod',
    summary: `${name}: the selector ${wanted} matches no pod in namespace ${service.namespace}, so the Service has no endpoint and clients are refused.`,
    evidence: [
      { witness: 'objects', text: `Of ${counted(pods.length, 'pod')} in namespace ${service.namespace}, none has ${wanted}.` },
      ...(near === undefined
        ? otherValues(service.selector, pods)
        : [{ witness: 'objects', text: `The nearest is ${near.name} with ${labelsText(near.labels)}.` } satisfies Evidence]),
    ],
    remedy: near === undefined ? [`${kubectl(service.namespace)} get pods --show-labels`] : selectorRemedy(service, near, pods),
  };
}

function otherValues(selector: Readonly<Record<string, string>>, pods: readonly Pod[]): Evidence[] {
  const pairs = pods.flatMap(({ labels }) =>
    Object.entries(labels)
      .filter(([key]) => key in selector)
      .map(([key, value]) => `${key}=${value}`),
  );
  const distinct = [...new Set(pairs)].sort();
  return distinct.length === 0 ? [] : [{ witness: 'objects', text: `Pods there have ${listText(distinct.slice(0, 6))}.` }];
}

// Either side may be the one that is wrong: the Service's selector, or the labels of the pods.
function selectorRemedy(service: Service, near: Pod, pods: readonly Pod[]): string[] {
  const selector = service.selector ?? {};
  const shared = Object.entries(near.labels).filter(([key]) => key in selector);
  const taken = shared.length > 0 ? shared : Object.entries(near.labels).slice(0, 1);
  const dropped = Object.keys(selector)
    .filter((key) => !taken.some(([name]) => name === key))
    .map((key) => [key, null] as const);
  const alike = pods.filter((pod) => taken.every(([key, value]) => pod.labels[key] === value));
  const relabel = Object.entries(selector)
    .map(([key, value]) => shellWord(`${key}=${value}`))
    .join(' ');
  return [
    patchService(service, { spec: { selector: Object.fromEntries([...taken, ...dropped]) } }),
    `${kubectl(service.namespace)} label --overwrite pod ${alike
      .slice(0, 5)
      .map(({ name }) => shellWord(name))
      .join(' ')} ${relabel}  # instead, if the labels are wrong; lasting: in the pod template`,
  ];
}

function portNameMisses({ expectation, service, pods }: Question): Why | undefined {
  const port = portOf(service, expectation);
  if (service === undefined || port === undefined || typeof port.targetPort !== 'string') return undefined;
  const selected = pods.filter((pod) => selects(service.selector ?? {}, pod.labels));
  const declared = selected.flatMap((pod) => pod.containers.flatMap((container) => container.ports)).filter((each) => each.protocol === port.protocol);
  if (selected.length === 0 || declared.some(({ name }) => name === port.targetPort)) return undefined;
  const names = [...new Set(declared.map((each) => (each.name === undefined ? `${each.containerPort}` : `${each.name} (${each.containerPort})`)))];
  const first = declared[0];
  return {
    cause: 'A03',
    title: 'no container has a port of the name that targetPort gives',
    summary: `${nodePortText(expectation.nodePort, expectation)}: targetPort is "${port.targetPort}", but no container of its ${selected.length} pods names a port so: there is no endpoint and clients are refused.`,
    evidence: [{ witness: 'objects', text: names.length === 0 ? `The pods declare no ${port.protocol} port.` : `The pods declare ${listText(names)}.` }],
    remedy:
      first === undefined
        ? [`${kubectl(service.namespace)} edit service ${shellWord(service.name)}`]
        : [patchTargetPort(service, port, first.name ?? first.containerPort)],
  };
}

function podsNotReady({ diagnosis, expectation, service, pods }: Question): Why | undefined {
  if (service?.selector === undefined) return undefined;
  const selected = pods.filter((pod) => selects(service.selector ?? {}, pod.labels));
  if (selected.length === 0) return undefined;
  const port = portOf(service, expectation);
  const known = port === undefined ? [] : endpointsOf(slicesOf(diagnosis.objects, service), port, expectation.nodePort.family);
  const waiting = selected.filter((pod) => !pod.ready);
  if (waiting.length === 0 && known.length === 0) return noEndpointOfFamily(expectation, selected);
  return {
    cause: 'A02',
    title: 'no pod of the Service is Ready',
    summary: `${nodePortText(expectation.nodePort, expectation)}: ${selected.length === 1 ? 'its only pod is not' : `none of its ${selected.length} pods is`} Ready, so there is no endpoint and clients are refused.`,
    evidence: [{ witness: 'objects', text: `${listText(selected.slice(0, 5).map(podText))}.` }],
    remedy: waiting
      .slice(0, 2)
      .flatMap(({ namespace, name }) => [
        `${kubectl(namespace)} describe pod ${shellWord(name)}`,
        `${kubectl(namespace)} logs ${shellWord(name)} --all-containers --tail=50`,
      ]),
  };
}

function noEndpointOfFamily(expectation: Expectation, selected: readonly Pod[]): Why {
  const { family } = expectation.nodePort;
  const lacks = selected.every((pod) => pod.podIPs.every((address) => address.includes(':') !== (family === 6)));
  return lacks
    ? {
        cause: 'A10',
        title: `the pods have no IPv${family} address`,
        summary: `${nodePortText(expectation.nodePort, expectation)}: the Service has an IPv${family} address but its pods have none, so clients are refused over IPv${family}.`,
        evidence: [{ witness: 'objects', text: `${listText(selected.slice(0, 5).map(({ name, podIPs }) => `${name} has ${podIPs.join(' and ')}`))}.` }],
        remedy: [`${kubectl(expectation.service.namespace)} get pods -o wide`],
      }
    : noReadyEndpoints(expectation);
}

function noReadyEndpoints(expectation: Expectation): Why {
  const { namespace, name } = expectation.service;
  return {
    cause: 'A01',
    title: 'the Service has no ready endpoint',
    summary: `${nodePortText(expectation.nodePort, expectation)}: the Service has no ready endpoint, so clients are refused.`,
    evidence: [{ witness: 'objects', text: `No EndpointSlice of ${namespace}/${name} holds a ready endpoint for this port.` }],
    remedy: [`${kubectl(namespace)} get endpointslices -l kubernetes.io/service-name=${shellWord(name)} -o wide`, `${kubectl(namespace)} get pods -o wide`],
  };
}

function podText(pod: Pod): string {
  const phase = pod.deletionTimestamp === undefined ? pod.phase : 'terminating';
  return `${pod.name} is ${pod.ready ? 'Ready' : 'not Ready'} (${[phase, ...containerTexts(pod)].filter((part) => part !== '').join(', ')})`;
}

/** What its containers wait for and what ended them last: `CrashLoopBackOff`, `last ended by OOMKilled`, `7 restarts`. */
function containerTexts({ containerStatuses }: Pod): string[] {
  const waiting = containerStatuses.find(({ waitingReason }) => waitingReason !== undefined)?.waitingReason;
  const ended = containerStatuses.find(({ lastTerminationReason }) => lastTerminationReason !== undefined)?.lastTerminationReason;
  const restarts = containerStatuses.reduce((sum, { restartCount }) => sum + restartCount, 0);
  return [
    ...(waiting === undefined ? [] : [waiting]),
    ...(ended === undefined ? [] : [`last ended by ${ended}`]),
    ...(restarts === 0 ? [] : [counted(restarts, 'restart')]),
  ];
}

/** Restarts after which a pod is taken for one that keeps failing. */
const restartsMin = 3;

const isFailing = (pod: Pod): boolean =>
  pod.containerStatuses.some(
    ({ waitingReason, lastTerminationReason, restartCount, ready }) =>
      waitingReason === 'CrashLoopBackOff' || (lastTerminationReason === 'OOMKilled' && restartCount >= restartsMin) || (!ready && restartCount >= restartsMin),
  );

// Few pods fail and many Services are asked about: the failing ones are looked up once for each state of the objects.
function failingPods({ objects }: Diagnosis, namespace: string): readonly Pod[] {
  let index = failingIndexes.get(objects);
  if (index === undefined) {
    index = Map.groupBy([...objects.pods.values()].filter(isFailing), (pod) => pod.namespace);
    failingIndexes.set(objects, index);
  }
  return index.get(namespace) ?? [];
}

const failingIndexes = new WeakMap<Diagnosis['objects'], ReadonlyMap<string, readonly Pod[]>>();

function failingFinding(diagnosis: Diagnosis, expectation: Expectation): Diagnosed[] {
  const service = serviceOf(diagnosis, expectation);
  if (service?.selector === undefined) return [];
  const failing = failingPods(diagnosis, service.namespace).filter((pod) => selects(service.selector ?? {}, pod.labels));
  const [first] = failing;
  if (first === undefined) return [];
  const selected = podsOf(diagnosis, service.namespace).filter((pod) => selects(service.selector ?? {}, pod.labels));
  const finding = findingOf(diagnosis, expectation, {
    cause: 'A02',
    title: 'some pods of the Service keep failing',
    severity: 'info',
    confidence: 'likely',
    symptom: 'ok',
    summary: `${nodePortText(expectation.nodePort, expectation)}: ${failing.length} of its ${counted(selected.length, 'pod')} ${failing.length === 1 ? 'keeps' : 'keep'} failing; the others serve, and clients may be refused at the moments when one of them ends.`,
    evidence: [{ witness: 'objects', text: `${listText(failing.slice(0, 5).map(podText))}.` }],
    remedy: [
      `${kubectl(first.namespace)} logs ${shellWord(first.name)} --previous --tail=50`,
      `${kubectl(first.namespace)} describe pod ${shellWord(first.name)}`,
    ],
  });
  return [{ finding, explains: [] }];
}

function localFinding(diagnosis: Diagnosis, expectation: Expectation): Finding {
  const { namespace, name } = expectation.service;
  const count = expectation.clusterEndpoints.length;
  const others = nodesWithEndpoints(diagnosis, expectation);
  const where = count === 1 ? 'its only ready endpoint does not run here' : `none of its ${count} ready endpoints runs here`;
  const use = others.length === 0 ? '' : ` Use ${listOr(others.slice(0, 5))}, or set externalTrafficPolicy: Cluster (the client's address is then lost).`;
  const sentOn = proxyOf(diagnosis)?.mode === 'ipvs' ? externalOutcome(diagnosis, expectation) : undefined;
  const bare = sentOn !== undefined && sentOn.dnat !== null && !sentOn.masquerade;
  return findingOf(diagnosis, expectation, {
    cause: bare ? 'A06' : 'A04',
    title: bare
      ? 'externalTrafficPolicy Local, and IPVS sends clients to other nodes without masquerade'
      : 'externalTrafficPolicy Local and no endpoint on this node: by design',
    severity: 'info',
    confidence: 'certain',
    symptom: observedSymptom(diagnosis, expectation) ?? 'timeout',
    summary: `${nodePortText(expectation.nodePort, expectation)}, drops clients on ${diagnosis.node} by design: externalTrafficPolicy is Local and ${where}${bare ? `; IPVS here sends them to ${sentOn.dnat} with their own address, and the answer does not come back this way` : ''}.${use}`,
    evidence: [
      {
        witness: 'objects',
        text: `Endpoints: ${listText(expectation.clusterEndpoints.slice(0, 10))}${others.length === 0 ? '' : `, on ${listText(others.slice(0, 5))}`}.`,
      },
      ...ruleEvidence(diagnosis, expectation),
    ],
    remedy: [patchService({ namespace, name }, { spec: { externalTrafficPolicy: 'Cluster' } })],
  });
}

function nodesWithEndpoints(diagnosis: Diagnosis, expectation: Expectation): string[] {
  const service = serviceOf(diagnosis, expectation);
  const port = portOf(service, expectation);
  if (service === undefined || port === undefined) return [];
  const usable = endpointsOf(slicesOf(diagnosis.objects, service), port, expectation.nodePort.family).filter(({ text }) =>
    expectation.clusterEndpoints.includes(text),
  );
  return [...new Set(usable.flatMap(({ endpoint }) => endpoint.nodeName ?? []))].sort();
}

function targetPortFinding(diagnosis: Diagnosis, expectation: Expectation): Diagnosed[] {
  const service = serviceOf(diagnosis, expectation);
  const port = portOf(service, expectation);
  if (service === undefined || port === undefined) return [];
  // What the pods' sockets say counts more than what their containers declare.
  const sockets = heardTargetPort(diagnosis.facts, expectation);
  if (sockets !== undefined) return sockets.heard === 'heard' ? [] : [unheardFinding(diagnosis, expectation, { service, port, sockets })];
  const wrong = wrongTargetPort({ objects: diagnosis.objects, service, port, expectation });
  if (wrong === undefined) return [];
  const drifts = diagnosis.drifts.filter((drift) => drift.key === expectation.key && drift.kind !== 'unknown');
  const finding = findingOf(diagnosis, expectation, {
    cause: 'A03',
    title: 'targetPort names a port that the containers do not declare',
    // Clients get as far as the pod only where nothing else stands in the way.
    severity: drifts.length > 0 ? 'info' : wrong.severity,
    confidence: wrong.confidence,
    symptom: 'refused',
    summary: `${nodePortText(expectation.nodePort, expectation)}: rules lead to port ${wrong.port} of the pods, which none of their containers declares (they declare ${listText(wrong.declared)}): the pods are likely to refuse.`,
    evidence: [
      ...wrong.evidence,
      { witness: 'rules', text: `The rules of ${diagnosis.node} lead to ${listText(expectation.endpoints.slice(0, 4))}, as the EndpointSlices say.` },
    ],
    remedy: [
      patchTargetPort(service, port, wrong.suggestion),
      `${kubectl(service.namespace)} exec ${shellWord(wrong.pod)} -- ss -ltn  # shows the ports that the pod listens on`,
    ],
  });
  return [{ finding, explains: [] }];
}

interface Unheard {
  readonly service: Service;
  readonly port: ServicePort;
  readonly sockets: HeardTargetPort;
}

// A container may have been between two starts when it was looked at: likely, not certain.
function unheardFinding(diagnosis: Diagnosis, expectation: Expectation, { service, port, sockets }: Unheard): Diagnosed {
  const { port: number, addresses, heard, others } = sockets;
  const drifts = diagnosis.drifts.filter((drift) => drift.key === expectation.key && drift.kind !== 'unknown');
  const where = listText(addresses.slice(0, 4));
  const instead = others.length === 0 ? 'nor on any other port' : `but on ${listText(others.slice(0, 6).map(String))}`;
  const says = heard === 'loopback' ? `listens on ${number} for itself alone (127.0.0.1 or ::1)` : `listens on ${number}, ${instead}`;
  const finding = findingOf(diagnosis, expectation, {
    cause: 'A03',
    title: heard === 'loopback' ? 'the containers listen on the target port for themselves alone' : 'no container listens on the target port',
    severity: drifts.length > 0 ? 'info' : 'warning',
    confidence: 'likely',
    symptom: 'refused',
    summary: `${nodePortText(expectation.nodePort, expectation)}: rules lead to port ${number} of ${where}, and ${heard === 'loopback' ? `the pod there ${says}` : `none of their containers ${says}`}: clients that are sent there are refused.`,
    evidence: [
      {
        witness: 'sockets',
        text: `Sockets of ${where} on ${diagnosis.node}: ${others.length === 0 ? 'none' : listText(others.slice(0, 10).map((each) => `${expectation.nodePort.protocol} ${each}`))}.`,
      },
    ],
    remedy: [
      ...(heard === 'loopback' || others.length !== 1 ? [] : [patchTargetPort(service, port, others[0] as number)]),
      heard === 'loopback'
        ? '# let the program listen on 0.0.0.0 (or ::) instead of 127.0.0.1'
        : `${kubectl(service.namespace)} get pods -o wide | grep -F ${shellWord(addresses[0] ?? '')}  # whose sockets are meant`,
    ],
  });
  return { finding, explains: [] };
}

// Ports are a list that merges by `port`; the whole list is not replaced.
const patchTargetPort = (service: Service, port: ServicePort, target: number | string): string =>
  patchService(service, { spec: { ports: [{ port: port.port, protocol: port.protocol.toUpperCase(), targetPort: target }] } });

function terminatingFinding(diagnosis: Diagnosis, expectation: Expectation): Diagnosed[] {
  const service = serviceOf(diagnosis, expectation);
  const port = portOf(service, expectation);
  if (service === undefined || port === undefined) return [];
  const used = endpointsOf(slicesOf(diagnosis.objects, service), port, expectation.nodePort.family).filter(({ text }) => expectation.endpoints.includes(text));
  if (used.length === 0 || used.some(({ endpoint }) => endpoint.ready)) return [];
  const finding = findingOf(diagnosis, expectation, {
    cause: 'A07',
    title: 'only terminating endpoints serve',
    severity: 'warning',
    confidence: 'certain',
    symptom: 'ok',
    summary: `${nodePortText(expectation.nodePort, expectation)}: no endpoint that ${diagnosis.node} may use is ready; ${listText(expectation.endpoints.slice(0, 4))} still serve${used.length === 1 ? 's' : ''} while terminating.`,
    evidence: [{ witness: 'objects', text: `${listText(expectation.endpoints.slice(0, 6))}: serving and terminating, not ready.` }],
    remedy: [`${kubectl(service.namespace)} get pods -o wide`],
  });
  return [{ finding, explains: [] }];
}

function hostPortFinding(diagnosis: Diagnosis, drift: Drift): Diagnosed[] {
  const { nodePort, expectation, extra } = drift;
  const takers = [...diagnosis.objects.pods.values()].filter(
    ({ nodeName, containers }) =>
      nodeName === diagnosis.node &&
      containers.some(({ ports }) => ports.some(({ hostPort, protocol }) => hostPort === nodePort.port && protocol === nodePort.protocol)),
  );
  const pod = takers.find(({ podIPs }) => extra.some((target) => podIPs.includes(splitTarget(target).address)));
  if (pod === undefined) return [];
  const finding = findingOf(diagnosis, expectation ?? drift, {
    cause: 'A15',
    title: 'a hostPort takes the packets of the NodePort',
    severity: 'error',
    confidence: 'certain',
    symptom: 'ok',
    summary: `${nodePortText(nodePort, expectation)}: pod ${pod.namespace}/${pod.name} has hostPort ${nodePort.port} on ${diagnosis.node}, and clients are sent to it instead of the Service.`,
    evidence: [
      { witness: 'objects', text: `Pod ${pod.namespace}/${pod.name} has hostPort ${nodePort.port}.` },
      { witness: 'rules', text: `Clients are sent to ${listText(extra.slice(0, 4))}.` },
    ],
    remedy: [`${kubectl(pod.namespace)} get pod ${shellWord(pod.name)} -o yaml  # give its hostPort, or the Service's nodePort, another number`],
  });
  return [{ finding, explains: [drift] }];
}

const isHidden = (service: Service): boolean => proxyNameLabel in service.labels && (service.type === 'NodePort' || service.type === 'LoadBalancer');

function hiddenFindings(diagnosis: Diagnosis, service: Service): Diagnosed[] {
  return service.ports.flatMap((port) => {
    if (port.nodePort === undefined) return [];
    const nodePort = { protocol: port.protocol, family: service.ipFamilies[0] === 'IPv6' ? 6 : 4, port: port.nodePort } as const;
    const subject = {
      key: `nodeport/${port.protocol}/${nodePort.family}/${port.nodePort}`,
      nodePort,
      service: { namespace: service.namespace, name: service.name, port: port.name },
    };
    const proxy = service.labels[proxyNameLabel];
    const finding = findingOf(diagnosis, subject, {
      cause: 'A11',
      title: 'a label leaves the Service to another proxy',
      severity: 'info',
      confidence: 'certain',
      symptom: 'refused',
      summary: `${nodePortText(nodePort, subject)}: the label ${proxyNameLabel}=${proxy} tells kube-proxy to leave this Service to "${proxy}"; unless that program runs, nothing serves the NodePort.`,
      evidence: [{ witness: 'objects', text: `Service ${service.namespace}/${service.name} has the label ${proxyNameLabel}=${proxy}.` }],
      remedy: [`${kubectl(service.namespace)} label service ${shellWord(service.name)} ${proxyNameLabel}-`],
    });
    return [{ finding, explains: [] }];
  });
}

function podsOf({ objects }: Diagnosis, namespace: string): readonly Pod[] {
  let index = podIndexes.get(objects);
  if (index === undefined) {
    index = Map.groupBy(objects.pods.values(), (pod) => pod.namespace);
    podIndexes.set(objects, index);
  }
  return index.get(namespace) ?? [];
}

const podIndexes = new WeakMap<Diagnosis['objects'], ReadonlyMap<string, readonly Pod[]>>();

const selects = (selector: Readonly<Record<string, string>>, labels: Readonly<Record<string, string>>): boolean =>
  Object.entries(selector).every(([key, value]) => labels[key] === value);

/**
 * The pod whose labels come nearest to a selector: most pairs in common, then values that begin alike. Undefined when none has a pair in common or a value that
 * begins with the same two letters: a guess would send clients to another program.
 */
export function nearestPod(selector: Readonly<Record<string, string>>, pods: readonly Pod[]): Pod | undefined {
  const score = (pod: Pod): number =>
    Object.entries(selector).reduce((sum, [key, value]) => sum + (pod.labels[key] === value ? 100 : similarity(value, pod.labels[key] ?? '')), 0);
  const ranked = pods.filter((pod) => pod.deletionTimestamp === undefined).map((pod) => ({ pod, score: score(pod) }));
  ranked.sort((a, b) => b.score - a.score || (a.pod.name < b.pod.name ? -1 : 1));
  const best = ranked[0];
  return best === undefined || best.score < 2 ? undefined : best.pod;
}

function similarity(a: string, b: string): number {
  let prefix = 0;
  while (prefix < Math.min(a.length, b.length) && a[prefix] === b[prefix]) prefix++;
  return Math.min(9, prefix);
}

const labelsText = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
const listOr = (words: readonly string[]): string => (words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`);

function externalOutcome(diagnosis: Diagnosis, expectation: Expectation): Outcome | undefined {
  const fact = diagnosis.facts.get(expectation.key);
  return fact?.kind === 'nodeport' ? fact.outcomes.external?.find(({ weight }) => weight > 0) : undefined;
}

function observedSymptom(diagnosis: Diagnosis, expectation: Expectation): Finding['symptom'] | undefined {
  const outcome = externalOutcome(diagnosis, expectation);
  const symptom = outcome === undefined ? undefined : symptomOf(outcome);
  return symptom === 'ok' || symptom === 'unknown' ? undefined : symptom;
}

function ruleEvidence(diagnosis: Diagnosis, expectation: Expectation): Evidence[] {
  const decider = externalOutcome(diagnosis, expectation)?.decidedBy;
  return decider === undefined ? [] : [{ witness: 'rules', text: `The rules of ${diagnosis.node} agree with the objects: ${decider.text}`, decider }];
}
