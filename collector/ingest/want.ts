// What agents are asked to judge: the NodePorts of the cluster's Services, and the addresses of everybody else. Pure.
import { limits } from '../../shared/limits.ts';
import type { NodePortKey } from '../../shared/model/fact.ts';
import type { Want } from '../../shared/wire/messages.ts';
import type { ClusterObjects, Service } from '../kubernetes/objects.ts';

/** The message for one node. `left` counts the NodePorts that did not fit in a frame. */
export function wantOf(node: string, objects: ClusterObjects): { readonly want: Want; readonly left: number } {
  const keys = [...objects.services.values()].flatMap(nodePortKeys);
  const peers = [...objects.nodes.values()]
    .filter(({ name }) => name !== node)
    .flatMap((other) => other.addresses.filter(({ type }) => type === 'InternalIP').map(({ address }) => address));
  const podNetworks = [...new Set([...objects.nodes.values()].flatMap(({ podCIDRs }) => podCIDRs))];
  const rest = { type: 'want' as const, peers: shortTexts(peers, 45), podNetworks: shortTexts(podNetworks, 49), ...healthPortsOf(objects) };
  const room = limits.frameBytesMax - Buffer.byteLength(JSON.stringify(rest)) - 1_024;
  const nodePorts = keys.slice(0, Math.min(limits.wantedNodePortsMax, Math.max(0, Math.floor(room / keyBytesMax))));
  return { want: { ...rest, nodePorts }, left: keys.length - nodePorts.length };
}

/** The ports that load balancers ask for health, for a Wanted; nothing where no Service has one. */
export function healthPortsOf({ services }: ClusterObjects): { readonly healthPorts?: number[] } {
  const ports = [...services.values()].flatMap(({ healthCheckNodePort }) => healthCheckNodePort ?? []).slice(0, networksMax);
  return ports.length === 0 ? {} : { healthPorts: ports };
}

const keyBytesMax = '{"protocol":"sctp","family":4,"port":30080},'.length;
const networksMax = 20_000;

const shortTexts = (texts: readonly string[], lengthMax: number): string[] => texts.filter(({ length }) => length <= lengthMax).slice(0, networksMax);

function nodePortKeys(service: Service): NodePortKey[] {
  const families = service.ipFamilies.map((family) => (family === 'IPv6' ? 6 : 4) as NodePortKey['family']);
  return service.ports.flatMap(({ protocol, nodePort }) => (nodePort === undefined ? [] : families.map((family) => ({ protocol, family, port: nodePort }))));
}
