// Differences between two readings of the cluster's objects as entries of the ledger. Pure.
import { limits } from '../../shared/limits.ts';
import type { Actor, Change } from '../../shared/model/change.ts';
import {
  type ClusterObjects,
  type ConfigMap,
  type EndpointSlice,
  type KindObjects,
  type LabelSelector,
  type NetworkPolicy,
  type Node,
  type ObjectKind,
  objectKinds,
  objectsOfKind,
  type Pod,
  type PolicyPeer,
  type PolicyRule,
  type Service,
} from './objects.ts';

/** An actor for an object that has changed, where its managers do not say who it was. */
export type ActorOf = (kind: ObjectKind, key: string) => Actor;

/** One change for each object that was added, removed, or differs in a field that matters for reaching a NodePort. Nothing else makes an entry. */
export function objectChanges(before: ClusterObjects, after: ClusterObjects, context: { readonly at: number; readonly actorOf: ActorOf }): Change[] {
  return objectKinds.flatMap((kind) => {
    const old = objectsOfKind(before, kind);
    const now = objectsOfKind(after, kind);
    const keys = [...new Set([...old.keys(), ...now.keys()])].filter((key) => old.get(key) !== now.get(key));
    return keys.flatMap((key) => changeOf({ kind, key, before: old.get(key), after: now.get(key) }, context));
  });
}

/** An object as it was and as it is; undefined where it was not there, or is not any more. */
export interface Pair {
  readonly kind: ObjectKind;
  readonly key: string;
  readonly before: KindObjects[ObjectKind] | undefined;
  readonly after: KindObjects[ObjectKind] | undefined;
}

/** The change of one object, if it makes any. Events are no state, so their coming and going is no change. */
export function changeOf({ kind, key, before, after }: Pair, { at, actorOf }: { readonly at: number; readonly actorOf: ActorOf }): Change[] {
  if (kind === 'Event') return [];
  const was = before === undefined ? null : objectText(kind, before);
  const is = after === undefined ? null : objectText(kind, after);
  if (was === is) return [];
  const actor = managerOf(before, after) ?? actorOf(kind, key);
  return [{ at, node: '', kind: changeKinds[kind], subject: `${kind} ${key}`, before: cut(was), after: cut(is), actor }];
}

const changeKinds = {
  Service: 'service',
  EndpointSlice: 'endpoints',
  Node: 'node',
  Pod: 'pod',
  NetworkPolicy: 'network-policy',
  ConfigMap: 'config',
} as const satisfies { readonly [K in Exclude<ObjectKind, 'Event'>]: Change['kind'] };

// A removed object's managers wrote it, they did not remove it; a manager whose last write is no later than before did not make this change either.
function managerOf(before: Pair['before'], after: Pair['after']): Actor | undefined {
  const latest = managersOf(after).reduce<Manager | undefined>((best, each) => (best === undefined || each.at >= best.at ? each : best), undefined);
  const previous = Math.max(-1, ...managersOf(before).map(({ at }) => at));
  return latest === undefined || (before !== undefined && latest.at <= previous) ? undefined : { how: 'api', comm: latest.manager };
}

type Manager = Service['managers'][number];
const managersOf = (object: Pair['after']): readonly Manager[] => (object !== undefined && 'managers' in object ? object.managers : []);

/** The fields of an object that matter, one `name: value` a line, in an order that does not depend on the API's. */
export function objectText(kind: Exclude<ObjectKind, 'Event'>, object: KindObjects[ObjectKind]): string {
  const fields = texts[kind](object as never);
  return Object.entries(fields)
    .filter(([, value]) => value !== '' && value !== undefined)
    .map(([name, value]) => `${name}: ${value}`)
    .join('\n');
}

type Fields = Readonly<Record<string, string | number | boolean | undefined>>;
const texts: { readonly [K in Exclude<ObjectKind, 'Event'>]: (object: KindObjects[K]) => Fields } = {
  Service: serviceFields,
  EndpointSlice: sliceFields,
  Node: nodeFields,
  Pod: podFields,
  NetworkPolicy: policyFields,
  ConfigMap: configFields,
};

const sorted = (texts: readonly string[]): string => [...texts].sort().join(', ');
const pairs = (labels: Readonly<Record<string, string>> | undefined): string => sorted(Object.entries(labels ?? {}).map(([name, value]) => `${name}=${value}`));

function serviceFields(service: Service): Fields {
  const ports = service.ports.map(
    ({ name, protocol, port, targetPort, nodePort }) =>
      `${name === '' ? '' : `${name} `}${port}/${protocol} → ${targetPort}${nodePort === undefined ? '' : ` nodePort ${nodePort}`}`,
  );
  const proxyName = service.labels['service.kubernetes.io/service-proxy-name'];
  return {
    type: service.type,
    ports: sorted(ports),
    selector: service.selector === undefined ? 'none' : pairs(service.selector),
    clusterIPs: service.clusterIPs.join(', '),
    ipFamilies: service.ipFamilies.join(', '),
    externalTrafficPolicy: service.externalTrafficPolicy,
    internalTrafficPolicy: service.internalTrafficPolicy,
    sessionAffinity: service.sessionAffinity,
    sessionAffinityTimeoutSeconds: service.sessionAffinityTimeoutSeconds,
    healthCheckNodePort: service.healthCheckNodePort,
    loadBalancerSourceRanges: sorted(service.loadBalancerSourceRanges),
    externalIPs: sorted(service.externalIPs),
    loadBalancerIPs: sorted(service.loadBalancerIPs),
    publishNotReadyAddresses: service.publishNotReadyAddresses,
    allocateLoadBalancerNodePorts: service.allocateLoadBalancerNodePorts,
    trafficDistribution: service.trafficDistribution,
    'service-proxy-name': proxyName,
  };
}

function sliceFields(slice: EndpointSlice): Fields {
  const endpoints = slice.endpoints.map(({ addresses, ready, serving, terminating, nodeName, hintsForZones, hintsForNodes }) => {
    const hints = [...(hintsForZones ?? []).map((zone) => `zone ${zone}`), ...(hintsForNodes ?? []).map((node) => `node ${node}`)];
    const conditions = `${ready ? 'ready' : 'not ready'}${serving !== ready ? (serving ? ', serving' : ', not serving') : ''}${terminating ? ', terminating' : ''}`;
    return `${addresses.join(' ')} on ${nodeName ?? 'no node'} (${conditions})${hints.length === 0 ? '' : ` for ${sorted(hints)}`}`;
  });
  const ports = slice.ports.map(({ name, port, protocol }) => `${name === '' ? '' : `${name} `}${port ?? 'all'}/${protocol}`);
  return { service: slice.serviceName, addressType: slice.addressType, ports: sorted(ports), endpoints: endpoints.length === 0 ? 'none' : sorted(endpoints) };
}

function nodeFields(node: Node): Fields {
  return {
    addresses: sorted(node.addresses.map(({ type, address }) => `${type} ${address}`)),
    podCIDRs: node.podCIDRs.join(', '),
    ready: node.ready,
    unschedulable: node.unschedulable,
    taints: sorted(node.taints.map(({ key, value, effect }) => `${key}${value === '' ? '' : `=${value}`}:${effect}`)),
    zone: node.labels['topology.kubernetes.io/zone'],
    'exclude-from-load-balancers': node.labels['node.kubernetes.io/exclude-from-external-load-balancers'],
    kubelet: node.kubeletVersion,
  };
}

function podFields(pod: Pod): Fields {
  return {
    node: pod.nodeName,
    phase: pod.phase,
    ready: pod.ready,
    podIPs: pod.podIPs.join(', '),
    labels: pairs(pod.labels),
    hostNetwork: pod.hostNetwork,
    containerPorts: sorted(
      pod.containers.flatMap(({ name, ports }) =>
        ports.map((port) => `${name} ${port.containerPort}/${port.protocol}${port.hostPort === undefined ? '' : ` hostPort ${port.hostPort}`}`),
      ),
    ),
    containers: sorted(
      pod.containerStatuses.map(
        ({ name, ready, restartCount, waitingReason }) =>
          `${name} ${ready ? 'ready' : 'not ready'}, restarts ${restartCount}${waitingReason === undefined ? '' : `, ${waitingReason}`}`,
      ),
    ),
    deleting: pod.deletionTimestamp === undefined ? undefined : true,
  };
}

function policyFields(policy: NetworkPolicy): Fields {
  return {
    pods: selectorText(policy.podSelector),
    isolates: policy.isolatesIngress,
    'lets in': policy.ingress.length === 0 ? 'nobody' : sorted(policy.ingress.map(ruleText)),
  };
}

function ruleText({ from, ports }: PolicyRule): string {
  const who = from.length === 0 ? 'everybody' : sorted(from.map(peerText));
  const where = ports.map(({ protocol, port, endPort }) => `${port ?? 'all'}${endPort === undefined ? '' : `-${endPort}`}/${protocol}`);
  return `${who} at ${where.length === 0 ? 'every port' : sorted(where)}`;
}

function peerText({ ipBlock, podSelector, namespaceSelector }: PolicyPeer): string {
  if (ipBlock !== undefined) return `${ipBlock.cidr}${ipBlock.except.length === 0 ? '' : ` but not ${ipBlock.except.join(', ')}`}`;
  const pods = podSelector === undefined ? 'pods' : `pods ${selectorText(podSelector)}`;
  return namespaceSelector === undefined ? pods : `${pods} of namespaces ${selectorText(namespaceSelector)}`;
}

function selectorText({ matchLabels, matchExpressions }: LabelSelector): string {
  const expressions = matchExpressions.map(({ key, operator, values }) => `${key} ${operator}${values.length === 0 ? '' : ` (${values.join(', ')})`}`);
  return sorted([pairs(matchLabels), ...expressions].filter((each) => each !== '')) || 'all';
}

function configFields({ proxy }: ConfigMap): Fields {
  if (proxy === undefined) return {};
  const { nodePortAddresses, featureGates, ...rest } = proxy;
  const gates = Object.entries(featureGates).map(([name, on]) => `${name}=${on}`);
  return { ...rest, nodePortAddresses: sorted(nodePortAddresses), featureGates: sorted(gates) };
}

function cut(text: string | null): string | null {
  if (text === null || Buffer.byteLength(text) <= limits.changeTextBytesMax) return text;
  const note = `\n… cut, ${Buffer.byteLength(text)} bytes in all`;
  return `${Buffer.from(text)
    .subarray(0, limits.changeTextBytesMax - 64)
    .toString('utf8')}${note}`;
}
