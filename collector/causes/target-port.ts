// Whether a Service's target port looks wrong: nobody listens on it in the pods of this node, or no container declares it. Declaring ports is voluntary, so there
// it takes a second sign before anybody is alarmed.

import type { Expectation } from '../../shared/model/expectation.ts';
import type { Fact } from '../../shared/model/fact.ts';
import type { Evidence, Finding } from '../../shared/model/finding.ts';
import { endpointsOf, slicesOf } from '../expect/endpoints.ts';
import type { ClusterObjects, Pod, Service, ServicePort } from '../kubernetes/objects.ts';
import { splitTarget } from './remedy.ts';

export interface WrongTargetPort {
  /** The port that rules lead to. */
  readonly port: number;
  /** The ports that the containers declare, as text. */
  readonly declared: readonly string[];
  /** The declared port that was most likely meant. */
  readonly suggestion: number;
  /** One of the endpoint pods, for a look into it. */
  readonly pod: string;
  readonly severity: Finding['severity'];
  readonly confidence: Finding['confidence'];
  readonly evidence: readonly Evidence[];
}

export interface TargetPortQuestion {
  readonly objects: ClusterObjects;
  readonly service: Service;
  readonly port: ServicePort;
  /** Of a NodePort of that port, with endpoints. */
  readonly expectation: Expectation;
}

/**
 * Judges the target port of a Service port by the container ports of its endpoint pods. Undefined when a pod declares the port, when pods are unknown or
 * declare nothing, or when another Service leads to the same number (then it is in use, merely not declared). `warning` with a second sign: a slip of a
 * digit, the Service's own port left as the default, or a single port that the pods declare; `info` without one.
 */
export function wrongTargetPort(question: TargetPortQuestion): WrongTargetPort | undefined {
  const { objects, service, port, expectation } = question;
  const pods = endpointPods(question);
  const number = splitTarget(expectation.endpoints[0] ?? '').port;
  const declared = declaredPorts(pods, port.protocol);
  const first = pods[0];
  if (first === undefined || declared.length === 0 || declared.includes(number) || usedElsewhere(objects, service, number)) return undefined;
  const sign = secondSign(number, port, declared);
  return {
    port: number,
    declared: declared.map(String),
    suggestion: sign?.meant ?? (declared[0] as number),
    pod: first.name,
    severity: sign === undefined ? 'info' : 'warning',
    confidence: sign === undefined ? 'possible' : 'likely',
    evidence: [
      {
        witness: 'objects',
        text: `The containers of ${pods.length === 1 ? first.name : `all ${pods.length} endpoint pods`} declare ${port.protocol} ${declared.join(', ')}, not ${number}.`,
      },
      ...(sign === undefined ? [] : [{ witness: 'objects', text: sign.text } satisfies Evidence]),
    ],
  };
}

/** What the sockets of this node's own endpoint pods say of the target port. */
export interface HeardTargetPort {
  readonly port: number;
  /** Pods that were looked at, by address. */
  readonly addresses: readonly string[];
  /** `heard`: one of them listens. `loopback`: only the pod itself would be heard. `unheard`: none listens. */
  readonly heard: 'heard' | 'loopback' | 'unheard';
  /** Ports of the protocol on which they do listen. */
  readonly others: readonly number[];
}

/** Undefined where no endpoint's sockets were read: those of other nodes, of pods in the node's own network, and of SCTP never are. */
export function heardTargetPort(facts: ReadonlyMap<string, Fact>, { endpoints, nodePort }: Expectation): HeardTargetPort | undefined {
  if (nodePort.protocol === 'sctp') return undefined;
  const targets = endpoints.map(splitTarget);
  const pods = targets.flatMap(({ address }) => {
    const fact = facts.get(`podlisten/${address}`);
    return fact?.kind === 'pod-sockets' ? [fact] : [];
  });
  const port = targets[0]?.port;
  if (port === undefined || pods.length === 0 || targets.some((target) => target.port !== port)) return undefined;
  const name = `${nodePort.protocol}/${port}`;
  const heard = pods.some(({ ports }) => ports.includes(name))
    ? 'heard'
    : pods.some(({ loopbackPorts }) => loopbackPorts.includes(name))
      ? 'loopback'
      : 'unheard';
  const others = pods.flatMap(({ ports }) => ports.filter((each) => each.startsWith(`${nodePort.protocol}/`)).map((each) => Number(each.split('/')[1])));
  return { port, addresses: pods.map(({ address }) => address), heard, others: [...new Set(others)].sort((a, b) => a - b) };
}

// Only when every endpoint is a known pod that declares something can the absence of a port mean anything.
function endpointPods({ objects, service, port, expectation }: TargetPortQuestion): Pod[] {
  const endpoints = endpointsOf(slicesOf(objects, service), port, expectation.nodePort.family).filter(({ text }) =>
    expectation.clusterEndpoints.includes(text),
  );
  const pods = endpoints.flatMap(({ endpoint: { targetRef } }) =>
    targetRef?.kind === 'Pod' ? (objects.pods.get(`${targetRef.namespace}/${targetRef.name}`) ?? []) : [],
  );
  const complete = pods.length === endpoints.length && pods.every((pod) => pod.containers.some(({ ports }) => ports.length > 0));
  return complete ? pods : [];
}

const declaredPorts = (pods: readonly Pod[], protocol: string): number[] =>
  [
    ...new Set(
      pods.flatMap((pod) =>
        pod.containers.flatMap(({ ports }) => ports.filter((each) => each.protocol === protocol).map(({ containerPort }) => containerPort)),
      ),
    ),
  ].sort((a, b) => a - b);

// Whether those endpoints are ready at this moment says nothing of the number: the answer must not come and go with them.
function usedElsewhere(objects: ClusterObjects, service: Service, number: number): boolean {
  return [...objects.services.values()].some((other) => {
    const same = other.namespace === service.namespace && other.name === service.name;
    const asked = other.ports.some(({ targetPort }) => targetPort === number);
    return !same && (asked || slicesOf(objects, other).some(({ ports, endpoints }) => endpoints.length > 0 && ports.some((each) => each.port === number)));
  });
}

function secondSign(number: number, port: ServicePort, declared: readonly number[]): { readonly meant: number; readonly text: string } | undefined {
  const slip = declared.find((each) => isSlip(String(number), String(each)));
  if (slip !== undefined) return { meant: slip, text: `${number} differs from the declared port ${slip} by one slip of the keyboard.` };
  if (number === port.port && number === port.targetPort)
    return { meant: declared[0] as number, text: `${number} is the Service's own port: targetPort may have been left out.` };
  return declared.length === 1 ? { meant: declared[0] as number, text: `${declared[0]} is the only ${port.protocol} port that the pods declare.` } : undefined;
}

// One digit replaced, added, left out, or two neighbours swapped.
function isSlip(a: string, b: string): boolean {
  if (a === b) return false;
  let start = 0;
  while (start < Math.min(a.length, b.length) && a[start] === b[start]) start++;
  const [restA, restB] = [a.slice(start), b.slice(start)];
  if (restA.slice(1) === restB.slice(1) || restA.slice(1) === restB || restA === restB.slice(1)) return true;
  return restA.length > 1 && restA[0] === restB[1] && restA[1] === restB[0] && restA.slice(2) === restB.slice(2);
}
