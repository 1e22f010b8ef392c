// A small cluster for tests, built from the objects as the API gives them.
import { type ClusterObjects, clusterObjects, type KeyedObject, type ObjectKind, objectKey, readObject } from '../../../collector/kubernetes/objects.ts';

type Raw = Readonly<Record<string, unknown>>;

/** An endpoint in short: address, node, and whatever differs from a ready one. */
export interface EndpointShort {
  readonly address: string;
  readonly node?: string;
  readonly pod?: string;
  readonly ready?: boolean;
  readonly serving?: boolean;
  readonly terminating?: boolean;
  readonly zones?: readonly string[];
  /** Nodes that hints are for. */
  readonly nodes?: readonly string[];
}

/** Puts raw objects (with `kind`) together. */
export function clusterOf(raws: readonly (Raw & { readonly kind: ObjectKind })[]): ClusterObjects {
  const keyed = raws.flatMap((raw) => {
    const { object } = readObject(raw.kind, raw, { where: 'test' });
    return object === undefined ? [] : [{ kind: raw.kind, key: objectKey(object), object } as KeyedObject];
  });
  return clusterObjects(keyed, 0);
}

export const node = (
  name: string,
  address: string,
  more: { readonly zone?: string; readonly address6?: string; readonly podCIDRs?: readonly string[] } = {},
) => ({
  kind: 'Node' as const,
  metadata: { name, labels: more.zone === undefined ? {} : { 'topology.kubernetes.io/zone': more.zone } },
  spec: { podCIDRs: more.podCIDRs ?? [] },
  status: { addresses: [address, ...(more.address6 === undefined ? [] : [more.address6])].map((each) => ({ type: 'InternalIP', address: each })) },
});

export const service = (name: string, spec: Raw = {}, metadata: Raw = {}) => ({
  kind: 'Service' as const,
  metadata: { name, namespace: 'shop', ...metadata },
  spec: {
    type: 'NodePort',
    clusterIP: '10.96.0.1',
    selector: { app: name },
    ports: [{ name: 'http', port: 80, targetPort: 8080, nodePort: 30080, protocol: 'TCP' }],
    ...spec,
  },
});

export const slice = (serviceName: string, endpoints: readonly EndpointShort[], more: Raw = {}) => ({
  kind: 'EndpointSlice' as const,
  metadata: {
    name: `${serviceName}-${JSON.stringify(more).length}-${endpoints[0]?.address ?? 'none'}`,
    namespace: 'shop',
    labels: { 'kubernetes.io/service-name': serviceName },
  },
  addressType: 'IPv4',
  ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
  endpoints: endpoints.map((endpoint) => ({
    addresses: [endpoint.address],
    conditions: { ready: endpoint.ready, serving: endpoint.serving, terminating: endpoint.terminating },
    ...(endpoint.node === undefined ? {} : { nodeName: endpoint.node }),
    ...(endpoint.pod === undefined ? {} : { targetRef: { kind: 'Pod', namespace: 'shop', name: endpoint.pod } }),
    ...(endpoint.zones === undefined && endpoint.nodes === undefined
      ? {}
      : { hints: { forZones: (endpoint.zones ?? []).map((name) => ({ name })), forNodes: (endpoint.nodes ?? []).map((name) => ({ name })) } }),
  })),
  ...more,
});

export const pod = (
  name: string,
  labels: Readonly<Record<string, string>>,
  more: { readonly ports?: readonly Raw[]; readonly ready?: boolean; readonly ip?: string; readonly node?: string } = {},
) => ({
  kind: 'Pod' as const,
  metadata: { name, namespace: 'shop', labels },
  spec: { nodeName: more.node ?? 'node1', containers: [{ name: 'main', ports: more.ports ?? [{ name: 'http', containerPort: 8080, protocol: 'TCP' }] }] },
  status: { phase: 'Running', podIP: more.ip ?? '10.244.1.5', conditions: [{ type: 'Ready', status: more.ready === false ? 'False' : 'True' }] },
});
