// Alertmanager's webhook, version 4: what it posts, and which Service, NodePort and node each alert is about. Pure.
import Type, { type Static } from 'typebox';
import { parseAddress } from '../../shared/model/address.ts';
import type { Protocol } from '../../shared/model/fact.ts';
import type { ClusterObjects } from '../kubernetes/objects.ts';

const texts = Type.Record(Type.String({ maxLength: 1_024 }), Type.String({ maxLength: 16_384 }));
const alert = Type.Object(
  {
    status: Type.Enum(['firing', 'resolved']),
    labels: texts,
    annotations: Type.Optional(texts),
    startsAt: Type.String({ maxLength: 64 }),
    endsAt: Type.Optional(Type.String({ maxLength: 64 })),
    fingerprint: Type.String({ minLength: 1, maxLength: 64 }),
  },
  { additionalProperties: true },
);

/** The body of a webhook of version 4; more fields may stand in it. */
export const alertsBody = Type.Object(
  { version: Type.Literal('4'), status: Type.Optional(Type.String({ maxLength: 32 })), alerts: Type.Array(alert, { maxItems: 1_000 }) },
  { additionalProperties: true },
);
export type AlertsBody = Static<typeof alertsBody>;
export type Alert = AlertsBody['alerts'][number];

/** What an alert is about; empty and 0 where its labels do not say. */
export interface AlertSubject {
  readonly service: string;
  readonly node: string;
  readonly port: number;
  readonly protocol: Protocol | '';
}

const namespaceLabels = ['exported_namespace', 'kubernetes_namespace', 'namespace'];
const serviceLabels = ['exported_service', 'kubernetes_service', 'kubernetes_service_name', 'service', 'service_name'];
const portLabels = ['nodeport', 'node_port', 'exported_port', 'port'];
const nodeLabels = ['exported_node', 'kubernetes_node', 'node', 'nodename', 'node_name'];
/** Of a probe from outside (blackbox exporter) what was asked stands here, as a URL or HOST:PORT. */
const targetLabels = ['target', 'instance', '__param_target', 'url'];

/**
 * Reads the labels. A name of a Service or node counts only if the cluster has it, so that `service="prometheus"` of a scrape does not hide what the alert is
 * about; a NodePort names its Service, an address its node.
 */
export function subjectOf(labels: Readonly<Record<string, string>>, objects: ClusterObjects): AlertSubject {
  const targets = targetLabels.flatMap((name) => targetOf(labels[name]));
  const port = firstOf(
    portLabels.flatMap((name) => portNumber(labels[name])).concat(targets.map((target) => target.port)),
    (each) => ownerOf(objects, each) !== undefined,
  );
  const named = serviceLabels.flatMap((label) => serviceNames(labels, label)).find((name) => objects.services.has(name));
  const unique = named ?? serviceLabels.map((label) => uniqueService(objects, labels[label])).find((name) => name !== undefined);
  const owner = port === undefined ? undefined : ownerOf(objects, port);
  const node =
    nodeLabels.map((name) => labels[name] ?? '').find((name) => objects.nodes.has(name)) ??
    targets.map(({ host }) => nodeAt(objects, host)).find((name) => name !== undefined);
  const isOwn = owner !== undefined && (unique === undefined || owner.service === unique);
  return { service: unique ?? owner?.service ?? '', node: node ?? '', port: isOwn ? (port ?? 0) : 0, protocol: isOwn ? owner.protocol : '' };
}

function serviceNames(labels: Readonly<Record<string, string>>, label: string): string[] {
  const name = labels[label];
  if (name === undefined || name === '') return [];
  return name.includes('/') ? [name] : namespaceLabels.flatMap((each) => (labels[each] === undefined ? [] : [`${labels[each]}/${name}`]));
}

/** The one Service of a name, where no label tells its namespace. */
function uniqueService(objects: ClusterObjects, name: string | undefined): string | undefined {
  if (name === undefined || name === '') return undefined;
  const found = [...objects.services.values()].filter((service) => service.name === name && service.ports.some(({ nodePort }) => nodePort !== undefined));
  const [only] = found;
  return found.length === 1 && only !== undefined ? `${only.namespace}/${only.name}` : undefined;
}

function targetOf(text: string | undefined): { readonly host: string; readonly port: number }[] {
  if (text === undefined || text === '') return [];
  const url = URL.parse(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `tcp://${text}`);
  return url === null || url.port === '' ? [] : [{ host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port) }];
}

const portNumber = (text: string | undefined): number[] => (/^\d{1,5}$/.test(text ?? '') ? [Number(text)] : []);
const firstOf = <Item>(items: readonly Item[], fits: (item: Item) => boolean): Item | undefined => items.find(fits);

/** The Service that owns a NodePort. */
export function ownerOf({ services }: ClusterObjects, port: number): { readonly service: string; readonly protocol: Protocol } | undefined {
  for (const { namespace, name, ports } of services.values()) {
    const found = ports.find(({ nodePort }) => nodePort === port);
    if (found !== undefined) return { service: `${namespace}/${name}`, protocol: found.protocol };
  }
  return undefined;
}

function nodeAt({ nodes }: ClusterObjects, host: string): string | undefined {
  if (nodes.has(host)) return host;
  const asked = parseAddress(host);
  return [...nodes.values()].find(({ addresses }) => addresses.some(({ address }) => address === host || isSame(asked, parseAddress(address))))?.name;
}

type Address = ReturnType<typeof parseAddress>;
const isSame = (a: Address, b: Address): boolean => a !== undefined && b !== undefined && a.family === b.family && a.value === b.value;
