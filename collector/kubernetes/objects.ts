// Cluster objects reduced to the fields that are used: Services, EndpointSlices, Nodes and Pods, whatever file or API they came from.
import type { Protocol } from '../../shared/model/fact.ts';
import { type Document, type ObjectFile, readDocuments } from './documents.parse.ts';

export type { ObjectFile } from './documents.parse.ts';

/** All objects known now. Services, slices and Pods are keyed `namespace/name`, Nodes by name. */
export interface ClusterObjects {
  readonly services: ReadonlyMap<string, Service>;
  readonly endpointSlices: ReadonlyMap<string, EndpointSlice>;
  readonly nodes: ReadonlyMap<string, Node>;
  readonly pods: ReadonlyMap<string, Pod>;
  /** Milliseconds since 1970 when they were read; 0 when nothing was read yet. */
  readonly readAt: number;
}

type Labels = Readonly<Record<string, string>>;

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
}

export interface Container {
  readonly name: string;
  readonly ports: readonly { readonly name?: string; readonly containerPort: number; readonly protocol: Protocol; readonly hostPort?: number }[];
  /** Whether it has a readiness probe. */
  readonly readinessProbe: boolean;
}

export interface ContainerStatus {
  readonly name: string;
  readonly ready: boolean;
  readonly restartCount: number;
  /** `CrashLoopBackOff`, `ImagePullBackOff` … while it waits. */
  readonly waitingReason?: string;
  /** `OOMKilled`, `Error` … of the run before. */
  readonly lastTerminationReason?: string;
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
  readonly podIPs: readonly string[];
  readonly hostNetwork: boolean;
  readonly containers: readonly Container[];
  readonly containerStatuses: readonly ContainerStatus[];
  /** Milliseconds since 1970; present while it is being deleted. */
  readonly deletionTimestamp?: number;
}

export interface KindObjects {
  readonly Service: Service;
  readonly EndpointSlice: EndpointSlice;
  readonly Node: Node;
  readonly Pod: Pod;
}
export type ObjectKind = keyof KindObjects;
export const objectKinds: readonly ObjectKind[] = ['Service', 'EndpointSlice', 'Node', 'Pod'];

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

export const noObjects: ClusterObjects = { services: new Map(), endpointSlices: new Map(), nodes: new Map(), pods: new Map(), readAt: 0 };

/**
 * Reads one object as the API or a manifest gives it. Never throws: what is missing or absurd becomes an issue, and the object is returned without it; an
 * object without a name is not returned at all.
 */
export function readObject<K extends ObjectKind>(
  kind: K,
  raw: unknown,
  where: string,
): { readonly object?: KindObjects[K]; readonly issues: readonly ObjectIssue[] } {
  const value = record(raw);
  const metadata = record(value.metadata);
  const name = text(metadata.name);
  const namespace = text(metadata.namespace) || 'default';
  if (name === '' || name.length > 253) return { issues: [{ where, object: kind, reason: 'metadata.name is missing' }] };
  const issues: ObjectIssue[] = [];
  const object = kind === 'Node' ? `${kind} ${name}` : `${kind} ${namespace}/${name}`;
  const source: Source = {
    value,
    metadata,
    spec: record(value.spec),
    status: record(value.status),
    namespace,
    name,
    issue: (reason) => issues.push({ where, object, reason }),
  };
  return { object: readers[kind](source), issues };
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
  const maps = {
    Service: new Map<string, Service>(),
    EndpointSlice: new Map<string, EndpointSlice>(),
    Node: new Map<string, Node>(),
    Pod: new Map<string, Pod>(),
  };
  for (const { kind, key, object } of all) (maps[kind] as Map<string, unknown>).set(key, object);
  return { services: maps.Service, endpointSlices: maps.EndpointSlice, nodes: maps.Node, pods: maps.Pod, readAt };
}

/** The key under which an object is kept. */
export const objectKey = (object: { readonly namespace?: string; readonly name: string }): string =>
  object.namespace === undefined ? object.name : `${object.namespace}/${object.name}`;

/** The map of one kind. */
export function objectsOfKind(objects: ClusterObjects, kind: ObjectKind): ReadonlyMap<string, KindObjects[ObjectKind]> {
  switch (kind) {
    case 'Service':
      return objects.services;
    case 'EndpointSlice':
      return objects.endpointSlices;
    case 'Node':
      return objects.nodes;
    case 'Pod':
      return objects.pods;
  }
}

function readDocument(document: Document, where: string): { readonly objects: readonly KeyedObject[]; readonly issues: readonly ObjectIssue[] } {
  const { kind } = document;
  const at = document.line === undefined ? {} : { line: document.line };
  if (!isObjectKind(kind)) return { objects: [], issues: [] };
  const { object, issues } = readObject(kind, document.value, where);
  const objects = object === undefined ? [] : [{ kind, key: objectKey(object), object } as KeyedObject];
  return { objects, issues: issues.map((issue) => ({ ...issue, ...at })) };
}

const isObjectKind = (kind: string): kind is ObjectKind => (objectKinds as readonly string[]).includes(kind);

interface Source {
  readonly value: Raw;
  readonly metadata: Raw;
  readonly spec: Raw;
  readonly status: Raw;
  readonly namespace: string;
  readonly name: string;
  readonly issue: (reason: string) => void;
}

const readers: { readonly [K in ObjectKind]: (source: Source) => KindObjects[K] } = {
  Service: readService,
  EndpointSlice: readEndpointSlice,
  Node: readNode,
  Pod: readPod,
};

function readService({ metadata, spec, status, namespace, name, issue }: Source): Service {
  const clusterIPs = texts(spec.clusterIPs).length > 0 ? texts(spec.clusterIPs) : texts([spec.clusterIP]);
  const affinity = record(record(spec.sessionAffinityConfig).clientIP).timeoutSeconds;
  return {
    namespace,
    name,
    uid: text(metadata.uid),
    labels: labels(metadata.labels),
    ...given('annotations', metadata.annotations === undefined ? undefined : labels(metadata.annotations)),
    type: text(spec.type) || 'ClusterIP',
    clusterIPs,
    ipFamilies: texts(spec.ipFamilies).length > 0 ? texts(spec.ipFamilies) : familiesOf(clusterIPs),
    ...given('selector', Object.keys(labels(spec.selector)).length === 0 ? undefined : labels(spec.selector)),
    ports: list(spec.ports).flatMap((port, index) => readServicePort(record(port), `spec.ports[${index}]`, issue)),
    externalTrafficPolicy: trafficPolicy(spec.externalTrafficPolicy) ?? 'Cluster',
    ...given('internalTrafficPolicy', trafficPolicy(spec.internalTrafficPolicy)),
    sessionAffinity: spec.sessionAffinity === 'ClientIP' ? 'ClientIP' : 'None',
    ...given('sessionAffinityTimeoutSeconds', typeof affinity === 'number' ? affinity : undefined),
    ...given('healthCheckNodePort', optionalPort(spec.healthCheckNodePort, 'spec.healthCheckNodePort', issue)),
    loadBalancerSourceRanges: texts(spec.loadBalancerSourceRanges),
    externalIPs: texts(spec.externalIPs),
    loadBalancerIPs: texts(list(record(status.loadBalancer).ingress).map((ingress) => record(ingress).ip)),
    publishNotReadyAddresses: spec.publishNotReadyAddresses === true,
    allocateLoadBalancerNodePorts: spec.allocateLoadBalancerNodePorts !== false,
    ...given('trafficDistribution', text(spec.trafficDistribution) || undefined),
    ...given('createdAt', time(metadata.creationTimestamp)),
    managers: managersOf(metadata),
  };
}

const trafficPolicy = (raw: unknown): 'Cluster' | 'Local' | undefined => (raw === 'Local' || raw === 'Cluster' ? raw : undefined);

function readServicePort(raw: Raw, path: string, issue: (reason: string) => void): ServicePort[] {
  const protocol = protocolOf(raw.protocol, `${path}.protocol`, issue);
  const port = requiredPort(raw.port, `${path}.port`, issue);
  if (protocol === undefined || port === undefined) return [];
  const nodePort = optionalPort(raw.nodePort, `${path}.nodePort`, issue);
  return [
    {
      name: text(raw.name),
      protocol,
      port,
      targetPort: targetPortOf(raw.targetPort, port, (reason) => issue(`${path}.targetPort ${reason}`)),
      ...given('nodePort', nodePort),
    },
  ];
}

function targetPortOf(raw: unknown, port: number, issue: (reason: string) => void): number | string {
  if (raw === undefined || raw === null || raw === 0) return port;
  if (isPort(raw)) return raw;
  if (typeof raw === 'string' && /^[a-z0-9-]{1,63}$/i.test(raw)) return /^\d+$/.test(raw) && isPort(Number(raw)) ? Number(raw) : raw;
  issue(`is ${shown(raw)}, neither a port from 1 to 65535 nor a name`);
  return port;
}

function readEndpointSlice({ value, metadata, namespace, name, issue }: Source): EndpointSlice {
  return {
    namespace,
    name,
    serviceName: labels(metadata.labels)['kubernetes.io/service-name'] ?? '',
    addressType: text(value.addressType) || 'IPv4',
    ports: list(value.ports).flatMap((port, index) => readSlicePort(record(port), `ports[${index}]`, issue)),
    endpoints: list(value.endpoints).map((endpoint) => readEndpoint(record(endpoint), namespace)),
    managers: managersOf(metadata),
  };
}

function readSlicePort(raw: Raw, path: string, issue: (reason: string) => void): EndpointSlice['ports'][number][] {
  const protocol = protocolOf(raw.protocol, `${path}.protocol`, issue);
  const whole = raw.port === undefined || raw.port === null;
  const port = whole ? undefined : requiredPort(raw.port, `${path}.port`, issue);
  if (protocol === undefined || (!whole && port === undefined)) return [];
  return [{ name: text(raw.name), port, protocol }];
}

function readEndpoint(raw: Raw, namespace: string): Endpoint {
  const conditions = record(raw.conditions);
  const ready = conditions.ready !== false;
  const zones = texts(list(record(raw.hints).forZones).map((zone) => record(zone).name));
  const target = record(raw.targetRef);
  return {
    addresses: texts(raw.addresses),
    ready,
    serving: typeof conditions.serving === 'boolean' ? conditions.serving : ready,
    terminating: conditions.terminating === true,
    ...given('nodeName', text(raw.nodeName) || undefined),
    ...given('zone', text(raw.zone) || undefined),
    ...given('hintsForZones', zones.length === 0 ? undefined : zones),
    ...given(
      'targetRef',
      text(target.name) === '' ? undefined : { kind: text(target.kind), namespace: text(target.namespace) || namespace, name: text(target.name) },
    ),
  };
}

function readNode({ metadata, spec, status, name }: Source): Node {
  const podCIDRs = texts(spec.podCIDRs).length > 0 ? texts(spec.podCIDRs) : texts([spec.podCIDR]);
  const ready = conditionStatus(status.conditions, 'Ready');
  return {
    name,
    uid: text(metadata.uid),
    addresses: list(status.addresses)
      .map((address) => ({ type: text(record(address).type), address: text(record(address).address) }))
      .filter(({ address }) => address !== ''),
    podCIDRs,
    labels: labels(metadata.labels),
    unschedulable: spec.unschedulable === true,
    ready: ready === undefined || ready === 'True',
    taints: list(spec.taints)
      .map(record)
      .map((taint) => ({ key: text(taint.key), value: text(taint.value), effect: text(taint.effect) })),
  };
}

function readPod({ metadata, spec, status, namespace, name, issue }: Source): Pod {
  const podIPs = texts(list(status.podIPs).map((each) => record(each).ip));
  return {
    namespace,
    name,
    uid: text(metadata.uid),
    labels: labels(metadata.labels),
    ...given('nodeName', text(spec.nodeName) || undefined),
    phase: text(status.phase),
    ready: conditionStatus(status.conditions, 'Ready') === 'True',
    podIPs: podIPs.length > 0 ? podIPs : texts([status.podIP]),
    hostNetwork: spec.hostNetwork === true,
    containers: list(spec.containers).map((container, index) => readContainer(record(container), `spec.containers[${index}]`, issue)),
    containerStatuses: list(status.containerStatuses).map((each) => readContainerStatus(record(each))),
    ...given('deletionTimestamp', time(metadata.deletionTimestamp)),
  };
}

function readContainer(raw: Raw, path: string, issue: (reason: string) => void): Container {
  const ports = list(raw.ports)
    .map(record)
    .flatMap((port, index) => {
      const protocol = protocolOf(port.protocol, `${path}.ports[${index}].protocol`, issue);
      const containerPort = requiredPort(port.containerPort, `${path}.ports[${index}].containerPort`, issue);
      if (protocol === undefined || containerPort === undefined) return [];
      const hostPort = optionalPort(port.hostPort, `${path}.ports[${index}].hostPort`, issue);
      return [{ ...given('name', text(port.name) || undefined), containerPort, protocol, ...given('hostPort', hostPort) }];
    });
  return { name: text(raw.name), ports, readinessProbe: typeof raw.readinessProbe === 'object' && raw.readinessProbe !== null };
}

function readContainerStatus(raw: Raw): ContainerStatus {
  const waiting = text(record(record(raw.state).waiting).reason);
  const terminated = text(record(record(raw.lastState).terminated).reason);
  return {
    name: text(raw.name),
    ready: raw.ready === true,
    restartCount: typeof raw.restartCount === 'number' ? raw.restartCount : 0,
    ...given('waitingReason', waiting || undefined),
    ...given('lastTerminationReason', terminated || undefined),
  };
}

type Raw = Readonly<Record<string, unknown>>;

const record = (raw: unknown): Raw => (typeof raw === 'object' && raw !== null && !Array.isArray(raw) ? (raw as Raw) : {});
const list = (raw: unknown): readonly unknown[] => (Array.isArray(raw) ? raw : []);
const text = (raw: unknown): string => (typeof raw === 'string' ? raw : '');
const texts = (raw: unknown): string[] => list(raw).filter((each): each is string => typeof each === 'string' && each !== '');
const labels = (raw: unknown): Labels =>
  Object.fromEntries(Object.entries(record(raw)).filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
const isPort = (raw: unknown): raw is number => Number.isInteger(raw) && (raw as number) >= 1 && (raw as number) <= 65535;
const shown = (raw: unknown): string => (raw === undefined ? 'missing' : (JSON.stringify(raw) ?? String(raw)).slice(0, 60));

/** An optional property: nothing at all when the value is undefined. */
function given<Name extends string, Value>(name: Name, value: Value | undefined): { readonly [N in Name]?: Value } {
  return (value === undefined ? {} : { [name]: value }) as { readonly [N in Name]?: Value };
}

function requiredPort(raw: unknown, path: string, issue: (reason: string) => void): number | undefined {
  if (isPort(raw)) return raw;
  issue(`${path} is ${shown(raw)}, not a port from 1 to 65535`);
  return undefined;
}

const optionalPort = (raw: unknown, path: string, issue: (reason: string) => void): number | undefined =>
  raw === undefined || raw === null || raw === 0 ? undefined : requiredPort(raw, path, issue);

function protocolOf(raw: unknown, path: string, issue: (reason: string) => void): Protocol | undefined {
  switch (raw ?? 'TCP') {
    case 'TCP':
      return 'tcp';
    case 'UDP':
      return 'udp';
    case 'SCTP':
      return 'sctp';
    default:
      issue(`${path} is ${shown(raw)}, not TCP, UDP or SCTP`);
      return undefined;
  }
}

function time(raw: unknown): number | undefined {
  const at = raw instanceof Date ? raw.getTime() : Date.parse(text(raw));
  return Number.isNaN(at) ? undefined : at;
}

function managersOf(metadata: Raw): FieldManager[] {
  return list(metadata.managedFields)
    .map(record)
    .filter((each) => text(each.manager) !== '')
    .map((each) => ({ manager: text(each.manager), at: time(each.time) ?? 0 }));
}

function familiesOf(clusterIPs: readonly string[]): string[] {
  const families = clusterIPs.filter((address) => address !== 'None').map((address) => (address.includes(':') ? 'IPv6' : 'IPv4'));
  return families.length > 0 ? families : ['IPv4'];
}

function conditionStatus(raw: unknown, type: string): string | undefined {
  const found = list(raw)
    .map(record)
    .find((condition) => condition.type === type);
  return found === undefined ? undefined : text(found.status);
}
