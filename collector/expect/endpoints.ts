// Which endpoints kube-proxy sends clients to: the rules of its endpoint selection (ready, terminating, local, hints for nodes and zones).

import { type Family, formatAddress, parseAddress } from '../../shared/model/address.ts';
import type { ClusterObjects, Endpoint, EndpointSlice, Service, ServicePort } from '../kubernetes/objects.ts';
import { type ProxyBehaviour, usesZoneHints } from './behaviour.ts';

/** One address and port of a Service port, with its conditions. */
export interface PortEndpoint {
  /** `ADDRESS:PORT`, IPv6 in brackets. */
  readonly text: string;
  readonly endpoint: Endpoint;
}

export interface EndpointChoice {
  readonly policy: 'Cluster' | 'Local';
  readonly nodeName: string;
  /** Zone of the node; absent when it has no zone label. */
  readonly zone?: string;
  readonly behaviour: ProxyBehaviour;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface ChosenEndpoints {
  /** Where clients outside are sent on this node, sorted. */
  readonly external: readonly string[];
  /** All that are ready (or, when none is, serving while they terminate), wherever they are, sorted. */
  readonly usable: readonly string[];
}

/** Chooses among a port's endpoints as kube-proxy does. Not-ready addresses that a Service publishes are ready in its slices already. */
export function chooseEndpoints(endpoints: readonly PortEndpoint[], choice: EndpointChoice): ChosenEndpoints {
  const usable = usableOf(endpoints, choice.behaviour);
  if (choice.policy === 'Cluster') return { external: texts(nearest(usable, choice)), usable: texts(usable) };
  const local = endpoints.filter(({ endpoint }) => endpoint.nodeName === choice.nodeName);
  return { external: texts(usableOf(local, choice.behaviour)), usable: texts(usable) };
}

/** The endpoints of one Service port in one family, from all slices of the Service, each address once; a ready entry wins over a second one that is not. */
export function endpointsOf(slices: readonly EndpointSlice[], port: ServicePort, family: Family): PortEndpoint[] {
  const found = new Map<string, PortEndpoint>();
  for (const slice of slices) {
    const number = slice.ports.find((each) => each.name === port.name && each.protocol === port.protocol)?.port;
    if (number === undefined || slice.addressType !== (family === 4 ? 'IPv4' : 'IPv6')) continue;
    for (const endpoint of slice.endpoints) addEndpoint(found, endpoint, number);
  }
  return [...found.values()];
}

/** The slices of a Service. */
export const slicesOf = (objects: ClusterObjects, service: Pick<Service, 'namespace' | 'name'>): readonly EndpointSlice[] =>
  objects.slicesByService.get(`${service.namespace}/${service.name}`) ?? [];

// kube-proxy reads the first address of an endpoint only.
function addEndpoint(found: Map<string, PortEndpoint>, endpoint: Endpoint, port: number): void {
  const address = parseAddress(endpoint.addresses[0] ?? '');
  if (address === undefined) return;
  const plain = formatAddress(address.family, address.value);
  const text = address.family === 4 ? `${plain}:${port}` : `[${plain}]:${port}`;
  const known = found.get(text);
  if (known === undefined || (!known.endpoint.ready && endpoint.ready)) found.set(text, { text, endpoint });
}

function usableOf(endpoints: readonly PortEndpoint[], { terminating }: ProxyBehaviour): readonly PortEndpoint[] {
  const ready = endpoints.filter(({ endpoint }) => endpoint.ready);
  return ready.length > 0 || !terminating ? ready : endpoints.filter(({ endpoint }) => endpoint.serving && endpoint.terminating);
}

// Hints count only when every ready endpoint has some and at least one is for this node (else: this zone); otherwise kube-proxy ignores them all.
function nearest(usable: readonly PortEndpoint[], { behaviour, nodeName, zone, annotations }: EndpointChoice): readonly PortEndpoint[] {
  const ready = usable.filter(({ endpoint }) => endpoint.ready);
  const node = behaviour.nodeHints ? hintedFor(ready, (endpoint) => endpoint.hintsForNodes, nodeName) : [];
  if (node.length > 0) return node;
  const own = zone === undefined || !usesZoneHints(behaviour, annotations) ? [] : hintedFor(ready, (endpoint) => endpoint.hintsForZones, zone);
  return own.length > 0 ? own : usable;
}

function hintedFor(ready: readonly PortEndpoint[], hintsOf: (endpoint: Endpoint) => readonly string[] | undefined, name: string): readonly PortEndpoint[] {
  if (ready.some(({ endpoint }) => (hintsOf(endpoint) ?? []).length === 0)) return [];
  return ready.filter(({ endpoint }) => hintsOf(endpoint)?.includes(name));
}

const texts = (endpoints: readonly PortEndpoint[]): string[] => endpoints.map(({ text }) => text).sort();
