// What a correct kube-proxy does for every NodePort on one node, derived from Service, EndpointSlice and Node objects.

import { contains, type Family, parseAddress, parsePrefix } from '../../shared/model/address.ts';
import type { Expectation } from '../../shared/model/expectation.ts';
import { type NodePortKey, nodePortFactKey } from '../../shared/model/fact.ts';
import type { ClusterObjects, Node, Service, ServicePort } from '../kubernetes/objects.ts';
import { chooseEndpoints, endpointsOf, slicesOf } from './endpoints.ts';

/** What is known of the node's kube-proxy configuration; everything absent is kube-proxy's default. */
export interface ProxyConfiguration {
  readonly mode?: string;
  /** `--nodeport-addresses`: prefixes, or the word `primary`. Empty or absent: every address of the node. */
  readonly nodePortAddresses?: readonly string[];
}

/**
 * The expectations of one node, in the order of Services and their ports: one for each NodePort, protocol and family. A Service that kube-proxy leaves to
 * others (label `service.kubernetes.io/service-proxy-name`), that is headless or that has no nodePort yields none. A node that is not among the objects is
 * taken to have addresses of every family.
 */
export function expectationsFor(nodeName: string, objects: ClusterObjects, proxy: ProxyConfiguration = {}): Expectation[] {
  const node = objects.nodes.get(nodeName);
  const families = familiesOf(node, proxy.nodePortAddresses ?? []);
  return [...objects.services.values()]
    .filter(isProxied)
    .flatMap((service) => nodePortsOf(service, families).map(({ port, nodePort }) => expectationOf({ nodeName, node, objects, service, port, nodePort })));
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

const allFamilies: readonly Family[] = [4, 6];

function familiesOf(node: Node | undefined, nodePortAddresses: readonly string[]): readonly Family[] {
  const addresses = (node?.addresses ?? []).filter(({ type }) => type === 'InternalIP' || type === 'ExternalIP').map(({ address }) => parseAddress(address));
  if (addresses.every((address) => address === undefined)) return allFamilies;
  const serving =
    nodePortAddresses.length === 0 || nodePortAddresses.includes('primary') ? addresses : addresses.filter((address) => isIn(address, nodePortAddresses));
  return allFamilies.filter((family) => serving.some((address) => address?.family === family));
}

function isIn(address: ReturnType<typeof parseAddress>, prefixes: readonly string[]): boolean {
  return prefixes.map(parsePrefix).some((prefix) => prefix !== undefined && prefix.family === address?.family && contains([prefix.interval], address.value));
}

interface ExpectationOf {
  readonly nodeName: string;
  readonly node: Node | undefined;
  readonly objects: ClusterObjects;
  readonly service: Service;
  readonly port: ServicePort;
  readonly nodePort: NodePortKey;
}

function expectationOf({ nodeName, node, objects, service, port, nodePort }: ExpectationOf): Expectation {
  const endpoints = endpointsOf(slicesOf(objects, service), port, nodePort.family);
  const zone = node?.labels['topology.kubernetes.io/zone'];
  const chosen = chooseEndpoints(endpoints, { policy: service.externalTrafficPolicy, nodeName, ...(zone === undefined ? {} : { zone }) });
  const expect = chosen.external.length > 0 ? 'forward' : chosen.usable.length > 0 ? 'drop' : 'reject';
  return {
    key: nodePortFactKey(nodePort),
    node: nodeName,
    nodePort,
    service: { namespace: service.namespace, name: service.name, port: port.name },
    expect,
    endpoints: chosen.external,
    clusterEndpoints: chosen.usable,
    externalTrafficPolicy: service.externalTrafficPolicy,
    sessionAffinity: service.sessionAffinity === 'ClientIP',
  };
}
