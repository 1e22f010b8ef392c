// What a correct kube-proxy does for the NodePorts of one Service, for all nodes that stand alike to it.
import type { Family } from '../../shared/model/address.ts';
import type { Expectation, ExpectedChoice } from '../../shared/model/expectation.ts';
import { type NodePortKey, nodePortFactKey } from '../../shared/model/fact.ts';
import type { EndpointSlice, Service, ServicePort } from '../kubernetes/objects.ts';
import type { ProxyBehaviour } from './behaviour.ts';
import { chooseEndpoints, endpointsOf, type PortEndpoint } from './endpoints.ts';
import type { TakenPorts } from './taken.ts';

/** What of a node and its kube-proxy decides over expectations. */
export interface Standing {
  readonly nodeName: string;
  /** Families in which the node serves NodePorts. */
  readonly families: readonly Family[];
  readonly zone?: string;
  readonly expected: ProxyBehaviour;
  /** What kube-proxy of another release would do, which is right as well. */
  readonly others: readonly ProxyBehaviour[];
  /** NodePorts that another Service takes on the node's addresses. */
  readonly taken: TakenPorts;
  /** Tells states of what is taken apart; absent where that does not matter. */
  readonly takenTurn?: number;
  readonly slicesOf: (service: Service) => readonly EndpointSlice[];
}

/** A Service with its slices. */
export interface Backed {
  readonly service: Service;
  readonly slices: readonly EndpointSlice[];
}

/** The expectations of one Service's NodePorts on a node of this standing, in the order of its ports; none for a Service that kube-proxy does not serve. */
export function serviceExpectations(backed: Backed, standing: Standing): Expectation[] {
  if (!isProxied(backed.service)) return [];
  return nodePortsOf(backed.service, standing.families).map(({ port, nodePort }) => {
    const taker = standing.taken.get(`${nodePort.protocol}/${nodePort.port}`);
    const owned = expectationOf(backed, standing, { port, nodePort });
    if (taker === undefined || taker.service === backed.service) return owned;
    const taking = expectationOf({ service: taker.service, slices: standing.slicesOf(taker.service) }, standing, { port: taker.port, nodePort });
    return { ...taking, service: owned.service };
  });
}

/** What about a Service makes nodes differ. */
export interface Traits {
  /** Nodes that it names: those with an endpoint (externalTrafficPolicy Local), and those that hints are for. */
  readonly nodes: ReadonlySet<string>;
  /** Whether zones count. */
  readonly zoned: boolean;
  /** Whether releases of kube-proxy would treat it differently. */
  readonly releases: boolean;
  /** `tcp/30080` of each NodePort. */
  readonly ports: readonly string[];
}

export function traitsOf({ service, slices }: Backed): Traits {
  const nodes = new Set<string>();
  let [zoned, releases] = [false, false];
  for (const { endpoints } of slices) {
    for (const { nodeName, hintsForZones, hintsForNodes, terminating } of endpoints) {
      if (service.externalTrafficPolicy === 'Local' && nodeName !== undefined) nodes.add(nodeName);
      for (const name of hintsForNodes ?? []) nodes.add(name);
      zoned ||= hintsForZones !== undefined;
      releases ||= terminating || hintsForZones !== undefined || hintsForNodes !== undefined;
    }
  }
  const ports = service.ports.flatMap(({ protocol, nodePort }) => (nodePort === undefined ? [] : [`${protocol}/${nodePort}`]));
  return { nodes, zoned, releases, ports };
}

/**
 * Names what of a standing makes a difference to a Service: nodes of one name have the same expectations of it. Most Services name one for the whole cluster, one
 * with externalTrafficPolicy Local one for each node with an endpoint and one for all others.
 */
export function standingKey({ nodes, zoned, releases, ports }: Traits, { nodeName, families, zone, expected, others, taken, takenTurn }: Standing): string {
  const isTaken = taken.size > 0 && ports.some((port) => taken.has(port));
  const node = isTaken ? `${nodeName} ${takenTurn ?? ''}` : nodes.has(nodeName) ? nodeName : '';
  return `${families.join('')}|${zoned ? (zone ?? '') : ''}|${releases ? `${behaviourName(expected)} ${others.length}` : ''}|${node}`;
}

/** Whether kube-proxy programs NodePorts of this Service at all. */
export function isProxied(service: Service): boolean {
  const exposed = service.type === 'NodePort' || service.type === 'LoadBalancer';
  return exposed && service.clusterIPs[0] !== 'None' && !(proxyNameLabel in service.labels);
}

/** The label that hides a Service from kube-proxy, whatever its value. */
export const proxyNameLabel = 'service.kubernetes.io/service-proxy-name';

/** The NodePorts of a Service in the families asked for. */
export function nodePortsOf(service: Service, families: readonly Family[]): { readonly port: ServicePort; readonly nodePort: NodePortKey }[] {
  const own = families.filter((family) => service.ipFamilies.includes(family === 4 ? 'IPv4' : 'IPv6'));
  return service.ports.flatMap((port) => {
    const number = port.nodePort;
    return number === undefined ? [] : own.map((family) => ({ port, nodePort: { protocol: port.protocol, family, port: number } }));
  });
}

const behaviourName = ({ zoneHints, nodeHints, terminating, ipvsFallback }: ProxyBehaviour): string =>
  `${zoneHints} ${nodeHints} ${terminating} ${ipvsFallback}`;

/** kube-proxy's own default, three hours. */
const affinitySecondsDefault = 10_800;

function expectationOf(
  { service, slices }: Backed,
  standing: Standing,
  { port, nodePort }: { readonly port: ServicePort; readonly nodePort: NodePortKey },
): Expectation {
  const endpoints = endpointsOf(slices, port, nodePort.family);
  const chosen = choiceBy({ endpoints, service, standing, behaviour: standing.expected });
  const alternatives = dependsOnRelease(endpoints)
    ? otherChoices(
        chosen,
        standing.others.map((behaviour) => choiceBy({ endpoints, service, standing, behaviour })),
      )
    : [];
  const sticky = service.sessionAffinity === 'ClientIP';
  return {
    key: nodePortFactKey(nodePort),
    nodePort,
    service: { namespace: service.namespace, name: service.name, port: port.name },
    ...chosen,
    externalTrafficPolicy: service.externalTrafficPolicy,
    sessionAffinity: sticky,
    ...(sticky ? { sessionAffinitySeconds: service.sessionAffinityTimeoutSeconds ?? affinitySecondsDefault } : {}),
    // --masquerade-all is about cluster addresses alone.
    masquerade: service.externalTrafficPolicy === 'Cluster',
    ...(alternatives.length === 0 ? {} : { alternatives }),
  };
}

interface ChoiceBy {
  readonly endpoints: readonly PortEndpoint[];
  readonly service: Service;
  readonly standing: Standing;
  readonly behaviour: ProxyBehaviour;
}

function choiceBy({ endpoints, service, standing, behaviour }: ChoiceBy): ExpectedChoice {
  const { external, usable } = chooseEndpoints(endpoints, {
    policy: service.externalTrafficPolicy,
    nodeName: standing.nodeName,
    behaviour,
    ...(standing.zone === undefined ? {} : { zone: standing.zone }),
    ...(service.annotations === undefined ? {} : { annotations: service.annotations }),
  });
  const expect = external.length > 0 ? 'forward' : usable.length > 0 ? 'drop' : 'reject';
  return { expect, endpoints: external, clusterEndpoints: usable };
}

const dependsOnRelease = (endpoints: readonly PortEndpoint[]): boolean =>
  endpoints.some(({ endpoint }) => endpoint.terminating || endpoint.hintsForZones !== undefined || endpoint.hintsForNodes !== undefined);

function otherChoices(chosen: ExpectedChoice, others: readonly ExpectedChoice[]): ExpectedChoice[] {
  const text = (choice: ExpectedChoice): string => `${choice.expect} ${choice.endpoints.join(' ')}`;
  const found = new Map(others.map((choice) => [text(choice), choice]));
  found.delete(text(chosen));
  return [...found.values()];
}
