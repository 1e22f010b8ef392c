// What agents are asked to judge: the NodePorts of the cluster's Services, and the addresses of everybody else. Pure, but that it remembers its last answer.
import { limits } from '../../shared/limits.ts';
import type { NodePortKey } from '../../shared/model/fact.ts';
import type { Want } from '../../shared/wire/messages.ts';
import type { ClusterObjects, Service } from '../kubernetes/objects.ts';

/** The message for one node. `left` counts the NodePorts that did not fit in a frame. */
export function wantOf(node: string, objects: ClusterObjects): { readonly want: Want; readonly left: number } {
  const keys = keysOf(objects.services);
  const peers = [...objects.nodes.values()]
    .filter(({ name }) => name !== node)
    .flatMap((other) => other.addresses.filter(({ type }) => type === 'InternalIP').map(({ address }) => address));
  const podNetworks = [...new Set([...objects.nodes.values()].flatMap(({ podCIDRs }) => podCIDRs))];
  const rest = { type: 'want' as const, peers: shortTexts(peers, 45), podNetworks: shortTexts(podNetworks, 49), ...healthPortsOf(objects) };
  const room = limits.frameBytesMax - Buffer.byteLength(JSON.stringify(rest)) - 1_024;
  const most = Math.min(limits.wantedNodePortsMax, Math.max(0, Math.floor(room / keyBytesMax)));
  const nodePorts = firstOf(keys, most);
  return { want: { ...rest, nodePorts }, left: keys.length - nodePorts.length };
}

/** The ports that load balancers ask for health, for a Wanted; nothing where no Service has one. */
export function healthPortsOf({ services }: ClusterObjects): { readonly healthPorts?: number[] } {
  const ports = [...services.values()].flatMap(({ healthCheckNodePort }) => healthCheckNodePort ?? []).slice(0, networksMax);
  return ports.length === 0 ? {} : { healthPorts: ports };
}

/** The NodePorts of all Services: the same list for every node, and as long as a change of the Services makes no difference to it. */
function keysOf(services: ClusterObjects['services']): NodePortKey[] {
  if (latest.services === services) return latest.keys;
  const keys = [...services.values()].flatMap(nodePortKeys);
  const same = keys.length === latest.keys.length && keys.every((key, index) => isSameKey(key, latest.keys[index]));
  latest = same ? { ...latest, services } : { services, keys, first: new Map() };
  return latest.keys;
}

/** As many of the latest keys as fit; again one list for all nodes. */
function firstOf(keys: NodePortKey[], most: number): NodePortKey[] {
  if (keys.length <= most) return keys;
  const known = latest.first.get(most) ?? keys.slice(0, most);
  latest.first.set(most, known);
  return known;
}

interface LatestKeys {
  readonly services: ClusterObjects['services'] | undefined;
  readonly keys: NodePortKey[];
  readonly first: Map<number, NodePortKey[]>;
}
let latest: LatestKeys = { services: undefined, keys: [], first: new Map() };

const isSameKey = (a: NodePortKey, b: NodePortKey | undefined): boolean => a.port === b?.port && a.protocol === b.protocol && a.family === b.family;

const keyBytesMax = '{"protocol":"sctp","family":4,"port":30080},'.length;
const networksMax = 20_000;

const shortTexts = (texts: readonly string[], lengthMax: number): string[] => texts.filter(({ length }) => length <= lengthMax).slice(0, networksMax);

function nodePortKeys(service: Service): NodePortKey[] {
  const families = service.ipFamilies.map((family) => (family === 'IPv6' ? 6 : 4) as NodePortKey['family']);
  return service.ports.flatMap(({ protocol, nodePort }) => (nodePort === undefined ? [] : families.map((family) => ({ protocol, family, port: nodePort }))));
}
