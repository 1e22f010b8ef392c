// Cluster objects reduced to the fields that are used, whatever file or API they came from: Services and all that decides whether their NodePorts answer.
import type { Protocol } from '../../shared/model/fact.ts';
import { readConfigMap } from './config-map.read.ts';
import { type Document, type ObjectFile, readDocuments } from './documents.parse.ts';
import { readEndpointSlice } from './endpoint-slice.read.ts';
import { readEvent } from './event.read.ts';
import { readNetworkPolicy } from './network-policy.read.ts';
import { readNode } from './node.read.ts';
import { readPod } from './pod.read.ts';
import { type RawObject, record, type Share, shown, text } from './raw.ts';
import { readService } from './service.read.ts';

export type { ObjectFile } from './documents.parse.ts';

/** All objects known now. All but Nodes are keyed `namespace/name`, Nodes by name. A state of the cluster is never changed in place: a new one takes its place. */
export interface ClusterObjects {
  readonly services: ReadonlyMap<string, Service>;
  readonly endpointSlices: ReadonlyMap<string, EndpointSlice>;
  readonly nodes: ReadonlyMap<string, Node>;
  readonly pods: ReadonlyMap<string, Pod>;
  readonly networkPolicies: ReadonlyMap<string, NetworkPolicy>;
  /** kube-proxy's configuration, where the cluster keeps it so. */
  readonly configMaps: ReadonlyMap<string, ConfigMap>;
  /** Warnings of the last hour or so, the newest few thousand. */
  readonly events: ReadonlyMap<string, ClusterEvent>;
  /** The slices of each Service (`namespace/name`), whether the Service exists or not. */
  readonly slicesByService: ReadonlyMap<string, readonly EndpointSlice[]>;
  /** kube-proxy's image on each node where it runs as a pod. */
  readonly proxyImages: ReadonlyMap<string, string>;
  /** Kinds that could not be read, and why: that nothing is there of them says nothing. */
  readonly unread: ReadonlyMap<ObjectKind, string>;
  /** Milliseconds since 1970 when they were read; 0 when nothing was read yet. */
  readonly readAt: number;
}

export type Labels = Readonly<Record<string, string>>;

/** A field manager of an object (metadata.managedFields) and its last write. */
export interface FieldManager {
  readonly manager: string;
  /** Milliseconds since 1970; 0 when the object does not say. */
  readonly at: number;
}

export interface ServicePort {
  /** Empty for the unnamed port. */
  readonly name: string;
  readonly protocol: Protocol;
  readonly port: number;
  /** A number, or the name of a container port; equal to `port` when the manifest leaves it out. */
  readonly targetPort: number | string;
  readonly nodePort?: number;
}

export interface Service {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly labels: Labels;
  readonly annotations?: Labels;
  /** `ClusterIP`, `NodePort`, `LoadBalancer` or `ExternalName`. */
  readonly type: string;
  /** `None` for a headless Service. */
  readonly clusterIPs: readonly string[];
  /** `IPv4`, `IPv6`; taken from the cluster addresses when the manifest leaves them out, IPv4 when there are none either. */
  readonly ipFamilies: readonly string[];
  /** Absent when the Service has none: its endpoints are then made by somebody else. */
  readonly selector?: Labels;
  readonly ports: readonly ServicePort[];
  readonly externalTrafficPolicy: 'Cluster' | 'Local';
  readonly internalTrafficPolicy?: 'Cluster' | 'Local';
  readonly sessionAffinity: 'None' | 'ClientIP';
  readonly sessionAffinityTimeoutSeconds?: number;
  readonly healthCheckNodePort?: number;
  readonly loadBalancerSourceRanges: readonly string[];
  readonly externalIPs: readonly string[];
  /** Addresses that a load balancer has given (status.loadBalancer.ingress). */
  readonly loadBalancerIPs: readonly string[];
  readonly publishNotReadyAddresses: boolean;
  readonly allocateLoadBalancerNodePorts: boolean;
  readonly trafficDistribution?: string;
  /** Milliseconds since 1970. */
  readonly createdAt?: number;
  readonly managers: readonly FieldManager[];
}

export interface Endpoint {
  readonly addresses: readonly string[];
  /** An absent condition counts as true, as the API says. */
  readonly ready: boolean;
  /** Equal to `ready` when absent. */
  readonly serving: boolean;
  readonly terminating: boolean;
  readonly nodeName?: string;
  readonly zone?: string;
  readonly hintsForZones?: readonly string[];
  /** From 1.33 on, where the Service prefers endpoints of the client's node. */
  readonly hintsForNodes?: readonly string[];
  readonly targetRef?: { readonly kind: string; readonly namespace: string; readonly name: string };
}

export interface EndpointSlice {
  readonly namespace: string;
  readonly name: string;
  /** Of the label kubernetes.io/service-name; empty without it. */
  readonly serviceName: string;
  /** `IPv4`, `IPv6` or `FQDN`. */
  readonly addressType: string;
  /** `port` is undefined when the slice says "all ports". */
  readonly ports: readonly { readonly name: string; readonly port: number | undefined; readonly protocol: Protocol }[];
  readonly endpoints: readonly Endpoint[];
  readonly managers: readonly FieldManager[];
}

export interface Node {
  readonly name: string;
  readonly uid: string;
  /** `InternalIP`, `ExternalIP`, `Hostname` … */
  readonly addresses: readonly { readonly type: string; readonly address: string }[];
  readonly podCIDRs: readonly string[];
  readonly labels: Labels;
  readonly unschedulable: boolean;
  /** False only when a Ready condition says so: a manifest without a status says nothing against its node. */
  readonly ready: boolean;
  readonly taints: readonly { readonly key: string; readonly value: string; readonly effect: string }[];
  /** `v1.32.0`, `v1.30.4+k3s1`. */
  readonly kubeletVersion?: string;
}

export interface Container {
  readonly name: string;
  readonly ports: readonly { readonly name?: string; readonly containerPort: number; readonly protocol: Protocol; readonly hostPort?: number }[];
  /** Whether it has a readiness probe. */
  readonly readinessProbe: boolean;
  /** Of a container named kube-proxy only. */
  readonly image?: string;
}

export interface ContainerStatus {
  readonly name: string;
  readonly ready: boolean;
  readonly restartCount: number;
  /** `CrashLoopBackOff`, `ImagePullBackOff` … while it waits. */
  readonly waitingReason?: string;
  readonly waitingMessage?: string;
  /** `OOMKilled`, `Error` … of the run before. */
  readonly lastTerminationReason?: string;
  readonly lastExitCode?: number;
  /** Milliseconds since 1970 when the run before ended. */
  readonly lastFinishedAt?: number;
}

export interface Pod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly labels: Labels;
  /** Absent while it is not scheduled. */
  readonly nodeName?: string;
  /** `Pending`, `Running`, `Succeeded`, `Failed`, `Unknown`; empty when the manifest has no status. */
  readonly phase: string;
  readonly ready: boolean;
  /** `Evicted`, `NodeLost` … where the pod as a whole has one. */
  readonly reason?: string;
  readonly podIPs: readonly string[];
  readonly hostNetwork: boolean;
  readonly containers: readonly Container[];
  readonly containerStatuses: readonly ContainerStatus[];
  /** Milliseconds since 1970; present while it is being deleted. */
  readonly deletionTimestamp?: number;
}

export interface LabelSelector {
  readonly matchLabels: Labels;
  readonly matchExpressions: readonly { readonly key: string; readonly operator: string; readonly values: readonly string[] }[];
}

/** Who may come in: an address range, or pods of some namespaces (of the policy's own where there is no namespaceSelector). */
export interface PolicyPeer {
  readonly ipBlock?: { readonly cidr: string; readonly except: readonly string[] };
  readonly podSelector?: LabelSelector;
  readonly namespaceSelector?: LabelSelector;
}

export interface PolicyPort {
  readonly protocol: Protocol;
  /** A number or a container port's name; absent: every port. */
  readonly port?: number | string;
  /** With a number as `port`: the last port of a range. */
  readonly endPort?: number;
}

/** Without peers everybody may come in, without ports at every port. */
export interface PolicyRule {
  readonly from: readonly PolicyPeer[];
  readonly ports: readonly PolicyPort[];
}

/** What a NetworkPolicy says about connections that come in; what it says about those that go out is left away. */
export interface NetworkPolicy {
  readonly namespace: string;
  readonly name: string;
  readonly podSelector: LabelSelector;
  /** Whether the pods it selects take nothing but what some policy allows. */
  readonly isolatesIngress: boolean;
  readonly ingress: readonly PolicyRule[];
  readonly managers: readonly FieldManager[];
}

/** KubeProxyConfiguration as far as it shows in rules; what is absent is kube-proxy's default, or set by its command line. */
export interface ProxySettings {
  readonly mode?: string;
  readonly clusterCIDR?: string;
  readonly detectLocalMode?: string;
  readonly hostnameOverride?: string;
  readonly masqueradeAll?: boolean;
  readonly localhostNodePorts?: boolean;
  readonly syncPeriod?: string;
  readonly minSyncPeriod?: string;
  /** Prefixes, or the word `primary`; empty: every address. */
  readonly nodePortAddresses: readonly string[];
  readonly featureGates: Readonly<Record<string, boolean>>;
}

export interface ConfigMap {
  readonly namespace: string;
  readonly name: string;
  /** Present where it is kube-proxy's and could be read. */
  readonly proxy?: ProxySettings;
  readonly managers: readonly FieldManager[];
}

export interface ClusterEvent {
  readonly namespace: string;
  readonly name: string;
  /** `Warning`, as a rule: others are not asked for. */
  readonly type: string;
  /** `FailedToUpdateEndpoint`, `Unhealthy`, `BackOff`, `PortAlreadyAllocated` … */
  readonly reason: string;
  readonly message: string;
  /** What it is about; an empty namespace for Nodes. */
  readonly object: { readonly kind: string; readonly namespace: string; readonly name: string };
  readonly count: number;
  /** Milliseconds since 1970. */
  readonly firstAt: number;
  readonly lastAt: number;
  /** `kubelet`, `endpoint-slice-controller` … */
  readonly component?: string;
  readonly node?: string;
}

export interface KindObjects {
  readonly Service: Service;
  readonly EndpointSlice: EndpointSlice;
  readonly Node: Node;
  readonly Pod: Pod;
  readonly NetworkPolicy: NetworkPolicy;
  readonly ConfigMap: ConfigMap;
  readonly Event: ClusterEvent;
}
export type ObjectKind = keyof KindObjects;
export const objectKinds: readonly ObjectKind[] = ['Service', 'EndpointSlice', 'Node', 'Pod', 'NetworkPolicy', 'ConfigMap', 'Event'];

/** What is wrong with a file or an object; the rest of it was used. */
export interface ObjectIssue {
  /** File name, or the URL of the API. */
  readonly where: string;
  /** From 1, where the syntax names one. */
  readonly line?: number;
  /** `Service shop/web`, where it is known. */
  readonly object?: string;
  readonly reason: string;
}

/** An object with its key (`namespace/name`, or the name of a Node). */
export type KeyedObject = { readonly [K in ObjectKind]: { readonly kind: K; readonly key: string; readonly object: KindObjects[K] } }[ObjectKind];

export const noObjects: ClusterObjects = {
  services: new Map(),
  endpointSlices: new Map(),
  nodes: new Map(),
  pods: new Map(),
  networkPolicies: new Map(),
  configMaps: new Map(),
  events: new Map(),
  slicesByService: new Map(),
  proxyImages: new Map(),
  unread: new Map(),
  readAt: 0,
};

export interface ReadingOptions {
  /** File name, or the URL of the API. */
  readonly where: string;
  /** Gives a value equal to an earlier one as that one; absent: nothing is shared. */
  readonly share?: Share;
}

/**
 * Reads one object as the API or a manifest gives it. Never throws: what is missing or absurd becomes an issue, and the object is returned without it; an
 * object without a name is not returned at all, and neither is one of another API group that only has the name of a kind in common (a Service of Knative).
 */
export function readObject<K extends ObjectKind>(
  kind: K,
  raw: unknown,
  { where, share = same }: ReadingOptions,
): { readonly object?: KindObjects[K]; readonly issues: readonly ObjectIssue[] } {
  const value = record(raw);
  if (isForeign(kind, value.apiVersion)) return { issues: [] };
  const metadata = record(value.metadata);
  const name = text(metadata.name);
  const namespace = text(metadata.namespace) || (kind === 'Node' ? '' : 'default');
  const nameless = nameProblem(name, namespace);
  if (nameless !== undefined) return { issues: [{ where, object: kind, reason: nameless }] };
  const issues: ObjectIssue[] = [];
  const object = kind === 'Node' ? `${kind} ${name}` : `${kind} ${namespace}/${name}`;
  const issue = (reason: string): void => void (issues.length < objectIssuesMax && issues.push({ where, object, reason }));
  const version = versionProblem(kind, value.apiVersion);
  if (version !== undefined) issue(version);
  const parts: RawObject = {
    value,
    metadata,
    spec: record(value.spec),
    status: record(value.status),
    namespace: share(namespace),
    name,
    issue,
    share,
  };
  return { object: readers[kind](parts), issues };
}

/** Reads files of objects (JSON or YAML, single objects, Lists, several documents in one file). Later files win over earlier ones of the same name. */
export function readObjects(files: readonly ObjectFile[]): { readonly objects: ClusterObjects; readonly issues: readonly ObjectIssue[] } {
  const read = files.map((file) => readFileObjects(file));
  return {
    objects: clusterObjects(
      read.flatMap((file) => file.objects),
      0,
    ),
    issues: read.flatMap((file) => file.issues),
  };
}

/** Reads one file. `broken` when its syntax could not be read to the end: what it held before is then worth keeping. */
export function readFileObjects(file: ObjectFile): {
  readonly objects: readonly KeyedObject[];
  readonly issues: readonly ObjectIssue[];
  readonly broken: boolean;
} {
  const { documents, issues } = readDocuments(file);
  const read = documents.map((document) => readDocument(document, file.name));
  const found = issues.map((issue) => ({ where: file.name, ...issue }));
  return { objects: read.flatMap((each) => each.objects), issues: [...found, ...read.flatMap((each) => each.issues)], broken: issues.length > 0 };
}

/** Puts objects into maps; a later object replaces an earlier one of the same kind and key. */
export function clusterObjects(all: readonly KeyedObject[], readAt: number): ClusterObjects {
  const maps = new Map<ObjectKind, Map<string, unknown>>(objectKinds.map((kind) => [kind, new Map<string, unknown>()]));
  for (const { kind, key, object } of all) maps.get(kind)?.set(key, object);
  const of = <K extends ObjectKind>(kind: K): ReadonlyMap<string, KindObjects[K]> => maps.get(kind) as ReadonlyMap<string, KindObjects[K]>;
  return {
    services: of('Service'),
    endpointSlices: of('EndpointSlice'),
    nodes: of('Node'),
    pods: of('Pod'),
    networkPolicies: of('NetworkPolicy'),
    configMaps: of('ConfigMap'),
    events: of('Event'),
    slicesByService: Map.groupBy(of('EndpointSlice').values(), serviceOfSlice),
    proxyImages: new Map([...of('Pod').values()].flatMap(proxyImageOf)),
    unread: new Map(),
    readAt,
  };
}

/** The Service that a slice belongs to, `namespace/name`. */
export const serviceOfSlice = ({ namespace, serviceName }: Pick<EndpointSlice, 'namespace' | 'serviceName'>): string => `${namespace}/${serviceName}`;

/** The node of a kube-proxy pod and its image; nothing for other pods. */
export function proxyImageOf({ nodeName, containers }: Pod): (readonly [string, string])[] {
  const image = containers.find((container) => container.image !== undefined)?.image;
  return nodeName === undefined || image === undefined ? [] : [[nodeName, image]];
}

/** The key under which an object is kept. */
export const objectKey = (object: { readonly namespace?: string; readonly name: string }): string =>
  object.namespace === undefined ? object.name : `${object.namespace}/${object.name}`;

/** The map of one kind. */
export const objectsOfKind = <K extends ObjectKind>(objects: ClusterObjects, kind: K): ReadonlyMap<string, KindObjects[K]> =>
  objects[mapNames[kind]] as unknown as ReadonlyMap<string, KindObjects[K]>;

/** Where the objects of each kind stand in ClusterObjects. */
export const mapNames = {
  Service: 'services',
  EndpointSlice: 'endpointSlices',
  Node: 'nodes',
  Pod: 'pods',
  NetworkPolicy: 'networkPolicies',
  ConfigMap: 'configMaps',
  Event: 'events',
} as const satisfies Readonly<Record<ObjectKind, keyof ClusterObjects>>;

function readDocument(document: Document, where: string): { readonly objects: readonly KeyedObject[]; readonly issues: readonly ObjectIssue[] } {
  const { kind } = document;
  const at = document.line === undefined ? {} : { line: document.line };
  if (!isObjectKind(kind)) return { objects: [], issues: [] };
  const { object, issues } = readObject(kind, document.value, { where });
  const objects = object === undefined ? [] : [{ kind, key: objectKey(object), object } as KeyedObject];
  return { objects, issues: issues.map((issue) => ({ ...issue, ...at })) };
}

const isObjectKind = (kind: string): kind is ObjectKind => (objectKinds as readonly string[]).includes(kind);

const same: Share = (value) => value;

/** Faults of one object that are told; one that has more has been told about enough. */
const objectIssuesMax = 20;
const nameLengthMax = 253;

function nameProblem(name: string, namespace: string): string | undefined {
  if (name === '') return 'metadata.name is missing';
  if (name.length > nameLengthMax) return `metadata.name has ${name.length} characters, more than ${nameLengthMax}`;
  return namespace.length > nameLengthMax ? `metadata.namespace has ${namespace.length} characters, more than ${nameLengthMax}` : undefined;
}

/** Versions of the API whose fields are read. */
const versions: { readonly [K in ObjectKind]: readonly string[] } = {
  Service: ['v1'],
  EndpointSlice: ['discovery.k8s.io/v1', 'discovery.k8s.io/v1beta1'],
  Node: ['v1'],
  Pod: ['v1'],
  NetworkPolicy: ['networking.k8s.io/v1'],
  ConfigMap: ['v1'],
  Event: ['v1', 'events.k8s.io/v1', 'events.k8s.io/v1beta1'],
};

const groupOf = (version: string): string => (version.includes('/') ? (version.split('/')[0] ?? '') : '');
const isForeign = (kind: ObjectKind, raw: unknown): boolean => typeof raw === 'string' && !versions[kind].some((known) => groupOf(known) === groupOf(raw));

// Items of a list do not say their version.
function versionProblem(kind: ObjectKind, raw: unknown): string | undefined {
  if (raw === undefined || versions[kind].includes(text(raw))) return undefined;
  return `apiVersion is ${shown(raw)}: it is read as ${versions[kind][0] ?? ''}`;
}

const readers: { readonly [K in ObjectKind]: (object: RawObject) => KindObjects[K] } = {
  Service: readService,
  EndpointSlice: readEndpointSlice,
  Node: readNode,
  Pod: readPod,
  NetworkPolicy: readNetworkPolicy,
  ConfigMap: readConfigMap,
  Event: readEvent,
};
