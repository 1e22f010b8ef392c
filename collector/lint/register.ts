// The register of NodePorts: which number belongs to which Service, and who owns it. Pure.

import type { Protocol } from '../../shared/model/fact.ts';
import { printable } from '../causes/remedy.ts';
import type { ClusterObjects, Service } from '../kubernetes/objects.ts';

/** One assignment of a NodePort. */
export interface Assignment {
  readonly port: number;
  readonly protocol: Protocol;
  /** `namespace/name`. */
  readonly service: string;
  /** Name of the Service port; empty for the unnamed one. */
  readonly portName: string;
  readonly targetPort: number | string;
  readonly externalTrafficPolicy: 'Cluster' | 'Local';
  /** Who owns it, by label or annotation, else who wrote the object last; empty when nothing says. */
  readonly owner: string;
  /** What it is for, by annotation; empty when nothing says. */
  readonly purpose: string;
  readonly kind: 'nodePort' | 'healthCheckNodePort';
}

/** Every assignment, by number, then protocol, then Service. */
export function registerOf({ services }: Pick<ClusterObjects, 'services'>): Assignment[] {
  return [...services.values()]
    .filter(({ type }) => type === 'NodePort' || type === 'LoadBalancer')
    .flatMap(assignmentsOf)
    .sort((a, b) => a.port - b.port || (a.protocol < b.protocol ? -1 : a.protocol > b.protocol ? 1 : a.service < b.service ? -1 : 1));
}

/** Labels and annotations that say who owns an object, most telling first. */
const ownerKeys = ['owner', 'team', 'app.kubernetes.io/managed-by', 'meta.helm.sh/release-name', 'argocd.argoproj.io/instance', 'app.kubernetes.io/part-of'];
/** Annotations that say what an object is for. */
const purposeKeys = ['description', 'kubernetes.io/description', 'portreeve.io/purpose'];

function assignmentsOf(service: Service): Assignment[] {
  const common = {
    service: `${service.namespace}/${service.name}`,
    externalTrafficPolicy: service.externalTrafficPolicy,
    owner: ownerOf(service),
    purpose: purposeOf(service),
  };
  const ports = service.ports.flatMap(({ nodePort, protocol, name, targetPort }): Assignment[] =>
    nodePort === undefined ? [] : [{ port: nodePort, protocol, portName: name, targetPort, kind: 'nodePort', ...common }],
  );
  const { healthCheckNodePort } = service;
  return healthCheckNodePort === undefined
    ? ports
    : [...ports, { port: healthCheckNodePort, protocol: 'tcp', portName: '', targetPort: healthCheckNodePort, kind: 'healthCheckNodePort', ...common }];
}

function ownerOf({ labels, annotations = {}, managers }: Service): string {
  const named = ownerKeys.map((key) => annotations[key] ?? labels[key]).find((value) => value !== undefined && value !== '');
  return named ?? managers.toSorted((a, b) => b.at - a.at)[0]?.manager ?? '';
}

/** What a Service says it is for; empty when it does not. */
export const purposeOf = ({ annotations = {} }: Pick<Service, 'annotations'>): string =>
  purposeKeys.map((key) => annotations[key]).find((value) => value !== undefined && value !== '') ?? '';

/** Columns of the register, in order. */
export const registerColumns = ['port', 'protocol', 'service', 'portName', 'targetPort', 'externalTrafficPolicy', 'kind', 'owner', 'purpose'] as const;

/** The register as CSV of RFC 4180 with a head; a cell that a spreadsheet would run as a formula is made text. */
export function registerCsv(items: readonly Assignment[]): string {
  const rows = items.map((item) => registerColumns.map((column) => String(item[column])));
  return [registerColumns as readonly string[], ...rows].map((row) => `${row.map(csvCell).join(',')}\r\n`).join('');
}

function csvCell(raw: string): string {
  const text = printable(/^[=+\-@]/.test(raw) ? `'${raw}` : raw);
  return /[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
