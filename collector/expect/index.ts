// What a correct kube-proxy does for every NodePort on one node, derived from Service, EndpointSlice and Node objects.

import { contains, type Family, parseAddress, parsePrefix } from '../../shared/model/address.ts';
import type { Expectation } from '../../shared/model/expectation.ts';
import type { ClusterObjects, Node } from '../kubernetes/objects.ts';
import { slicesOf } from './endpoints.ts';
import { behavioursOf, type ProxyConfiguration } from './proxy.ts';
import { type Standing, serviceExpectations } from './service.ts';
import { takenPorts } from './taken.ts';

export { slicesOf } from './endpoints.ts';
export type { ProxyConfiguration } from './proxy.ts';
export { isProxied, nodePortsOf, proxyNameLabel } from './service.ts';

/**
 * The expectations of one node, in the order of Services and their ports: one for each NodePort, protocol and family. A Service that kube-proxy leaves to
 * others (label `service.kubernetes.io/service-proxy-name`), that is headless or that has no nodePort yields none. A node that is not among the objects is
 * taken to have addresses of every family. Without the slices nothing is expected, as nothing can be known.
 */
export function expectationsFor(nodeName: string, objects: ClusterObjects, proxy: ProxyConfiguration = {}): Expectation[] {
  const standing = standingOf(nodeName, objects, proxy);
  if (standing === undefined) return [];
  return [...objects.services.values()].flatMap((service) => serviceExpectations({ service, slices: slicesOf(objects, service) }, standing));
}

/** How a node stands; undefined where nothing can be expected of it: no kube-proxy of Linux runs there, or the slices could not be read. */
export function standingOf(nodeName: string, objects: ClusterObjects, proxy: ProxyConfiguration = {}): Standing | undefined {
  const node = objects.nodes.get(nodeName);
  if (objects.unread.has('EndpointSlice') || (node !== undefined && !runsProxy(node))) return undefined;
  const zone = node?.labels['topology.kubernetes.io/zone'] || undefined;
  return {
    nodeName,
    families: familiesOf(node, proxy),
    ...(zone === undefined ? {} : { zone }),
    ...behavioursOf(proxy),
    taken: takenPorts(objects, node?.addresses.map(({ address }) => address) ?? []),
    slicesOf: (service) => slicesOf(objects, service),
  };
}

// kube-proxy of Windows has no rules that anybody could read, and a virtual kubelet has no node at all.
const runsProxy = ({ labels }: Node): boolean => labels['kubernetes.io/os'] !== 'windows' && labels['type'] !== 'virtual-kubelet';

const allFamilies: readonly Family[] = [4, 6];

function familiesOf(node: Node | undefined, { nodePortAddresses = [], families = allFamilies }: ProxyConfiguration): readonly Family[] {
  const addresses = (node?.addresses ?? []).filter(({ type }) => type === 'InternalIP' || type === 'ExternalIP').map(({ address }) => parseAddress(address));
  if (addresses.every((address) => address === undefined)) return families;
  const serving =
    nodePortAddresses.length === 0 || nodePortAddresses.includes('primary') ? addresses : addresses.filter((address) => isIn(address, nodePortAddresses));
  return families.filter((family) => serving.some((address) => address?.family === family));
}

function isIn(address: ReturnType<typeof parseAddress>, prefixes: readonly string[]): boolean {
  return prefixes.map(parsePrefix).some((prefix) => prefix !== undefined && prefix.family === address?.family && contains([prefix.interval], address.value));
}
