// Causes in how a Service is exposed: a NodePort that was never given, source ranges that guard another door, health checks and helper pods of load balancers.

import { type ServicePortRef, servicePortText } from '../../shared/model/expectation.ts';
import { nodePortFactKey, type PortFact } from '../../shared/model/fact.ts';
import { symptomOf } from '../../shared/model/outcome.ts';
import { coversMost, deciderOfOutcome } from '../compare/index.ts';
import type { Pod, Service, ServicePort } from '../kubernetes/objects.ts';
import {
  counted,
  type Detector,
  type Diagnosed,
  type Diagnosis,
  decidersOf,
  factsOf,
  findingOf,
  listText,
  nodePortText,
  serviceOf,
  symptomText,
} from './detector.ts';
import { eventEvidence } from './events.ts';
import { deciderText } from './owner.ts';
import { kubectl, openPort, patchService, shellWord } from './remedy.ts';

/** A08, A09: a Service that clients expect at a NodePort has none, or one that the API server does not give. */
export const notAllocated: Detector = {
  causes: ['A08', 'A09'],
  detect: (diagnosis) => {
    const clashes = clashing(diagnosis);
    return [...diagnosis.objects.services.values()]
      .filter((service) => isExposed(service) && service.clusterIPs[0] !== 'None')
      .flatMap((service) => service.ports.flatMap((port) => allocationFindings(diagnosis, { service, port, clashes })));
  },
};

/** A13: the source ranges of a load balancer guard its own addresses; the NodePort stands open. */
export const rangesElsewhere: Detector = {
  causes: ['A13'],
  detect: (diagnosis) =>
    diagnosis.expectations.flatMap((expectation) => {
      const service = serviceOf(diagnosis, expectation);
      const fact = diagnosis.facts.get(expectation.key);
      const open = fact?.kind === 'nodeport' && (fact.outcomes.external ?? []).some((outcome) => symptomOf(outcome) === 'ok' && coversMost(outcome.sources));
      if (service === undefined || service.loadBalancerSourceRanges.length === 0 || !open) return [];
      const finding = findingOf(diagnosis, expectation, {
        cause: 'A13',
        title: 'loadBalancerSourceRanges does not guard the NodePort',
        severity: 'info',
        confidence: 'certain',
        symptom: 'ok',
        summary: `${nodePortText(expectation.nodePort, expectation)}: loadBalancerSourceRanges (${listText(service.loadBalancerSourceRanges.slice(0, 3))}) filters clients of the load balancer's address only; the NodePort of ${diagnosis.node} is open to everybody who reaches the node.`,
        evidence: [
          { witness: 'objects', text: `Service ${service.namespace}/${service.name} has loadBalancerSourceRanges.` },
          { witness: 'rules', text: 'Clients from outside the ranges are sent to the endpoints through the NodePort.' },
        ],
        remedy: [
          `# where nobody needs the NodePort: ${patchService(service, { spec: { allocateLoadBalancerNodePorts: false } })}`,
          '# else let the firewall of the nodes admit the load balancer alone',
        ],
      });
      return [{ finding, explains: [] }];
    }),
};

/** A14: load balancers ask a port of the node whether it takes clients; a firewall shuts it, so they send none. */
export const healthCheckBlocked: Detector = {
  causes: ['A14'],
  detect: (diagnosis) =>
    factsOf(diagnosis, 'port')
      .filter(({ purpose }) => purpose === 'health-check')
      .flatMap((fact) => healthFindings(diagnosis, fact)),
};

/** A16: the pod of k3s' ServiceLB that was to listen on this node waits, as a rule because its port is taken. */
export const balancerPending: Detector = {
  causes: ['A16'],
  detect: (diagnosis) => {
    const pods = [...diagnosis.objects.pods.values()].filter(({ labels }) => labels[balancerLabel] !== undefined);
    const waiting = pods.filter(({ phase, nodeName }) => phase === 'Pending' && (nodeName === undefined || nodeName === diagnosis.node));
    return waiting.flatMap((pod) => balancerFindings(diagnosis, pod, pods));
  },
};

const isExposed = ({ type }: Service): boolean => type === 'NodePort' || type === 'LoadBalancer';

interface Allocation {
  readonly service: Service;
  readonly port: ServicePort;
  /** Names of the Services that ask for one number, by `protocol/port`. */
  readonly clashes: ReadonlyMap<string, readonly string[]>;
}

// A manifest that was never applied has no number yet, rightly; an object of the API has a uid.
function allocationFindings(diagnosis: Diagnosis, { service, port, clashes }: Allocation): Diagnosed[] {
  if (port.nodePort === undefined) return service.uid === '' ? [] : [withoutNumber(diagnosis, service, port)];
  const rivals = clashes.get(`${port.protocol}/${port.nodePort}`) ?? [];
  const own = `${service.namespace}/${service.name}`;
  const others = rivals.filter((name) => name !== own);
  if (others.length > 0) return [refusedNumber(diagnosis, { service, port, why: `${listText(others)} asks for it as well` })];
  const outside = service.uid === '' && (port.nodePort < 30000 || port.nodePort > 32767);
  return outside ? [refusedNumber(diagnosis, { service, port, why: "it is outside 30000-32767, the API server's range unless it was set otherwise" })] : [];
}

function withoutNumber(diagnosis: Diagnosis, service: Service, port: ServicePort): Diagnosed {
  const ref: ServicePortRef = { namespace: service.namespace, name: service.name, port: port.name };
  const chosen = service.type === 'LoadBalancer' && !service.allocateLoadBalancerNodePorts;
  const finding = findingOf(diagnosis, undefined, {
    cause: chosen ? 'A09' : 'A08',
    about: `service/${servicePortText(ref)}`,
    title: chosen ? 'the Service asks for no NodePort' : 'the Service was given no NodePort',
    severity: chosen ? 'info' : 'error',
    confidence: 'certain',
    symptom: 'refused',
    summary: chosen
      ? `${servicePortText(ref)} has no NodePort by design: allocateLoadBalancerNodePorts is false, so it is reached through its load balancer only.`
      : `${servicePortText(ref)} is of type ${service.type} and has no NodePort for its port ${port.port}: the API server has given none, so no node serves it.`,
    evidence: [
      {
        witness: 'objects',
        text: `spec.ports of ${service.namespace}/${service.name} holds no nodePort for ${port.port}/${port.protocol}${chosen ? ', and allocateLoadBalancerNodePorts is false' : ''}.`,
      },
      ...(chosen ? [] : eventEvidence(diagnosis, service)),
    ],
    remedy: chosen
      ? [patchService(service, { spec: { allocateLoadBalancerNodePorts: true } })]
      : [
          `${kubectl(service.namespace)} describe service ${shellWord(service.name)}  # its events say why ("provided port is already allocated", range exhausted)`,
          'kubectl get services -A -o wide | grep -c NodePort',
        ],
  });
  return { finding: { ...finding, service: servicePortText(ref) }, explains: [] };
}

interface Refused {
  readonly service: Service;
  readonly port: ServicePort;
  readonly why: string;
}

function refusedNumber(diagnosis: Diagnosis, { service, port, why }: Refused): Diagnosed {
  const nodePort = { protocol: port.protocol, family: service.ipFamilies[0] === 'IPv6' ? 6 : 4, port: port.nodePort as number } as const;
  const ref: ServicePortRef = { namespace: service.namespace, name: service.name, port: port.name };
  const subject = { key: nodePortFactKey(nodePort), nodePort, service: ref };
  const finding = findingOf(diagnosis, subject, {
    cause: 'A08',
    about: `service/${servicePortText(ref)}`,
    title: 'the API server does not give this NodePort',
    severity: 'error',
    confidence: 'likely',
    symptom: 'refused',
    summary: `${nodePortText(nodePort, subject)}: the API server refuses the number: ${why}.`,
    evidence: [{ witness: 'objects', text: `Service ${servicePortText(ref)} asks for nodePort ${nodePort.port}/${nodePort.protocol}.` }],
    remedy: [
      `kubectl get services -A -o jsonpath='{range .items[*]}{.metadata.namespace}/{.metadata.name} {.spec.ports[*].nodePort}{"\\n"}{end}' | grep -w ${nodePort.port}`,
      '# choose a free number from 30000-32767, or leave nodePort out and let the API server choose',
    ],
  });
  return { finding, explains: [] };
}

function clashing({ objects }: Diagnosis): ReadonlyMap<string, readonly string[]> {
  const askers = new Map<string, Set<string>>();
  for (const { namespace, name, ports } of [...objects.services.values()].filter(isExposed))
    for (const { protocol, nodePort } of ports)
      if (nodePort !== undefined) askers.set(`${protocol}/${nodePort}`, (askers.get(`${protocol}/${nodePort}`) ?? new Set()).add(`${namespace}/${name}`));
  return new Map([...askers].filter(([, names]) => names.size > 1).map(([key, names]) => [key, [...names]]));
}

function healthFindings(diagnosis: Diagnosis, fact: PortFact): Diagnosed[] {
  const service = [...diagnosis.objects.services.values()].find(({ healthCheckNodePort }) => healthCheckNodePort === fact.port.port);
  const outcomes = (fact.outcomes.external ?? []).filter(
    (outcome) => outcome.weight > 0 && coversMost(outcome.sources) && (symptomOf(outcome) === 'timeout' || symptomOf(outcome) === 'unreachable'),
  );
  const [first] = outcomes;
  if (service === undefined || !service.ipFamilies.includes(fact.port.family === 6 ? 'IPv6' : 'IPv4')) return [];
  if (first === undefined || (first.unless?.length ?? 0) > 0) return [];
  const deciders = decidersOf(outcomes);
  const finding = findingOf(diagnosis, undefined, {
    cause: 'A14',
    about: `port/${fact.port.family}/${fact.port.port}`,
    title: 'the health check of the load balancer does not reach the node',
    severity: 'warning',
    confidence: 'certain',
    symptom: symptomOf(first),
    deciders,
    summary: `${service.namespace}/${service.name}: load balancers ask healthCheckNodePort ${fact.port.port} of ${diagnosis.node} whether it takes clients, and ${symptomText[symptomOf(first)]} by ${listText(deciders.slice(0, 2).map(deciderText))}: they take the node for dead and send it no client, though its NodePorts answer.`,
    evidence: [
      { witness: 'objects', text: `Service ${service.namespace}/${service.name} has healthCheckNodePort ${fact.port.port}.` },
      ...deciders.map((decider) => ({ witness: 'rules' as const, text: `Decided by ${deciderText(decider)}.`, decider })),
    ],
    remedy: openPort(fact.port, deciderOfOutcome(first)),
  });
  return [{ finding: { ...finding, service: `${service.namespace}/${service.name}`, family: fact.port.family }, explains: [] }];
}

const balancerLabel = 'svccontroller.k3s.cattle.io/svcname';
const balancerNamespaceLabel = 'svccontroller.k3s.cattle.io/svcnamespace';

function balancerFindings(diagnosis: Diagnosis, pod: Pod, pods: readonly Pod[]): Diagnosed[] {
  const [name = '', namespace = ''] = [pod.labels[balancerLabel], pod.labels[balancerNamespaceLabel]];
  const isSame = ({ labels }: Pod): boolean => labels[balancerLabel] === name && labels[balancerNamespaceLabel] === namespace;
  const running = pods.some((other) => isSame(other) && other.nodeName === diagnosis.node && other.phase === 'Running');
  if (running && pod.nodeName === undefined) return [];
  const ports = pod.containers.flatMap((container) =>
    container.ports.flatMap(({ hostPort, protocol }) => (hostPort === undefined ? [] : [{ hostPort, protocol }])),
  );
  const takers = ports.flatMap(({ hostPort, protocol }) => takersOf(diagnosis, pod, `${protocol}/${hostPort}`));
  const finding = findingOf(diagnosis, undefined, {
    cause: 'A16',
    about: `service/${namespace}/${name}`,
    title: "a pod of ServiceLB waits: its Service's load balancer does not listen here",
    severity: 'warning',
    confidence: takers.length > 0 ? 'certain' : 'likely',
    symptom: 'refused',
    summary: `${namespace}/${name}: pod ${pod.name} of ServiceLB is Pending, so ${diagnosis.node} does not take clients of the load balancer's port ${listText(ports.map(({ hostPort }) => String(hostPort)))}${takers.length > 0 ? `, which ${listText([...new Set(takers)].slice(0, 3))} has already` : ''}; its NodePorts are not concerned.`,
    evidence: [{ witness: 'objects', text: `Pod ${pod.namespace}/${pod.name} is Pending; it asks for ${counted(ports.length, 'hostPort')}.` }],
    remedy: [
      `${kubectl(pod.namespace)} describe pod ${shellWord(pod.name)}  # "didn't have free ports" names the clash`,
      '# give one of the two Services another port, or turn ServiceLB or Traefik of k3s off (--disable servicelb, --disable traefik)',
    ],
  });
  return [{ finding: { ...finding, service: `${namespace}/${name}` }, explains: [] }];
}

function takersOf(diagnosis: Diagnosis, pod: Pod, wanted: string): string[] {
  const pods = [...diagnosis.objects.pods.values()].filter(
    (other) =>
      other !== pod &&
      other.nodeName === diagnosis.node &&
      other.containers.some(({ ports }) => ports.some(({ hostPort, protocol }) => `${protocol}/${hostPort}` === wanted)),
  );
  const sockets = factsOf(diagnosis, 'listener').filter(({ protocol, port, address }) => `${protocol}/${port}` === wanted && !/^127\./.test(address));
  return [
    ...pods.map(({ namespace, name }) => `pod ${namespace}/${name}`),
    ...sockets.flatMap(({ processes }) => processes.map(({ comm, pid }) => `${comm} (pid ${pid})`)),
  ];
}
