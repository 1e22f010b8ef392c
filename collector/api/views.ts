// What the API shows of nodes, NodePorts and Services, made from the state. Pure.
import { servicePortText } from '../../shared/model/expectation.ts';
import { type Fact, type NodePortKey, nodePortFactKey, type Protocol } from '../../shared/model/fact.ts';
import type { Finding } from '../../shared/model/finding.ts';
import { type Symptom, symptomOf } from '../../shared/model/outcome.ts';
import type { ClusterObjects, EndpointSlice, Service } from '../kubernetes/objects.ts';
import { otherFacts } from '../state/node-facts.ts';
import type { LatencySummary, ProgrammingLatency } from '../state/programming.ts';
import type { NodeView } from '../state/state.ts';
import type { CellState } from './matrix.ts';

export type { CellState } from './matrix.ts';

interface Counts {
  readonly error: number;
  readonly warning: number;
  readonly info: number;
}

export interface NodeItem {
  readonly name: string;
  /** `connected`, `disconnected`, or `never` when no agent has spoken for it. */
  readonly agent: 'connected' | 'disconnected' | 'never';
  readonly since: number | null;
  readonly version: string | null;
  readonly clockOffsetMs: number | null;
  /** Milliseconds since anything was heard of it: how old the view of it may be. */
  readonly viewAgeMs: number | null;
  readonly stateAt: number | null;
  /** The Ready condition; null when the cluster has no such Node. */
  readonly ready: boolean | null;
  readonly addresses: readonly string[];
  readonly proxy: string;
  readonly nodePorts: { readonly [S in CellState]: number };
  readonly findings: Counts;
  readonly pending: number;
  /** How long its rules take to follow a change of objects; null before any was seen. */
  readonly programming: LatencySummary | null;
  /** Sources that could not be read. */
  readonly failedSources: readonly { readonly source: string; readonly reason: string }[];
}

/** One NodePort on one node in one family. */
export interface Cell {
  readonly node: string;
  readonly family: 4 | 6;
  readonly state: CellState;
  readonly expect: 'forward' | 'reject' | 'drop';
  /** What a client outside meets. */
  readonly symptom: Symptom;
  readonly endpoints: number;
  /** Causes of the findings on it. */
  readonly causes: readonly string[];
}

export interface NodePortItem {
  readonly port: number;
  readonly protocol: Protocol;
  readonly service: string;
  readonly state: CellState;
  readonly nodes: readonly Cell[];
}

export interface ServiceItem {
  readonly namespace: string;
  readonly name: string;
  readonly type: string;
  readonly externalTrafficPolicy: string;
  readonly ports: Service['ports'];
  readonly endpoints: { readonly ready: number; readonly total: number };
  readonly findings: Counts;
  /** How long rules take to follow a change of it; null before any was seen. */
  readonly programming: LatencySummary | null;
}

/** What is known beside the view of a node. */
export interface ItemContext {
  readonly objects: ClusterObjects;
  readonly latency: ProgrammingLatency;
  /** How many NodePorts of a node are in each state. */
  readonly countsOf: (node: string) => { readonly [S in CellState]: number };
  readonly now: number;
}

/** Which NodePorts are meant. */
export type NodePortFilter = (nodePort: NodePortKey) => boolean;

/** One node, as `nodes` lists it. */
export function nodeItem(view: NodeView, { objects, latency, countsOf, now }: ItemContext): NodeItem {
  const node = objects.nodes.get(view.name);
  const others = [...otherFacts(view.facts)];
  const proxy = others.find((fact) => fact.kind === 'proxy');
  return {
    name: view.name,
    agent: view.connected ? 'connected' : view.agent === undefined ? 'never' : 'disconnected',
    since: view.since ?? null,
    version: view.agent?.version ?? null,
    clockOffsetMs: view.agent?.clockOffsetMs ?? null,
    viewAgeMs: view.heardAt === undefined ? null : Math.max(0, now - view.heardAt),
    stateAt: view.stateAt ?? null,
    ready: node?.ready ?? null,
    addresses: node?.addresses.filter(({ type }) => type === 'InternalIP').map(({ address }) => address) ?? [],
    proxy: proxy?.kind === 'proxy' ? proxy.mode : 'unknown',
    nodePorts: countsOf(view.name),
    findings: countFindings(view.findings),
    pending: view.pending.length,
    programming: latency.ofNode(view.name) ?? null,
    failedSources: others.flatMap((fact) => (fact.kind === 'source' && fact.outcome === 'failed' ? [{ source: fact.source, reason: fact.reason ?? '' }] : [])),
  };
}

/** Every NodePort of the cluster (or those that are meant) with its state on each node, by port and protocol. */
export function nodePortItems(views: readonly NodeView[], isMeant?: NodePortFilter): NodePortItem[] {
  const grouped = new Map<string, { port: number; protocol: Protocol; service: string; nodes: Cell[] }>();
  for (const { port, protocol, service, cell } of views.flatMap((view) => cellsOf(view, isMeant))) {
    const key = `${port}/${protocol}`;
    const item = grouped.get(key) ?? { port, protocol, service, nodes: [] };
    item.nodes.push(cell);
    grouped.set(key, item);
  }
  const items = [...grouped.values()].map((item) => ({ ...item, state: worst(item.nodes.map(({ state }) => state)) }));
  return items.sort((a, b) => a.port - b.port || a.protocol.localeCompare(b.protocol));
}

/** Services that own a NodePort, by namespace and name. */
export function serviceItems({ objects, latency }: ItemContext, views: readonly NodeView[]): ServiceItem[] {
  const findings = Map.groupBy(
    views.flatMap((view) => view.findings),
    ({ service }) => service.split(':')[0] ?? '',
  );
  const exposed = [...objects.services.values()].filter(({ ports }) => ports.some(({ nodePort }) => nodePort !== undefined));
  return exposed
    .map((service) => {
      const name = `${service.namespace}/${service.name}`;
      return { ...serviceItem(service, objects.slicesByService.get(name) ?? [], findings.get(name) ?? []), programming: latency.ofService(name) ?? null };
    })
    .sort((a, b) => a.namespace.localeCompare(b.namespace) || a.name.localeCompare(b.name));
}

function serviceItem(service: Service, slices: readonly EndpointSlice[], findings: readonly Finding[]): Omit<ServiceItem, 'programming'> {
  const { namespace, name, type, externalTrafficPolicy, ports } = service;
  const endpoints = slices.filter(({ addressType }) => addressType === (service.ipFamilies[0] ?? 'IPv4')).flatMap((slice) => slice.endpoints);
  return {
    namespace,
    name,
    type,
    externalTrafficPolicy,
    ports,
    endpoints: { ready: endpoints.filter(({ ready }) => ready).length, total: endpoints.length },
    findings: countFindings(findings),
  };
}

/** The NodePorts that one node should serve (or those that are meant), each with its state there. */
export function cellsOf(
  view: NodeView,
  isMeant?: NodePortFilter,
): { readonly port: number; readonly protocol: Protocol; readonly service: string; readonly cell: Cell }[] {
  const open = findingsByKey(view.findings, view);
  const pending = findingsByKey(view.pending, view);
  const unjudged = new Set(view.drifts.filter(({ kind }) => kind === 'unknown').map(({ key }) => key));
  const expectations = isMeant === undefined ? view.expectations : view.expectations.filter(({ nodePort }) => isMeant(nodePort));
  return expectations.map((expectation) => {
    const { port, protocol, family } = expectation.nodePort;
    const key = nodePortFactKey(expectation.nodePort);
    const findings = open.get(key) ?? [];
    const seen = symptomOfFact(view.facts.get(key));
    // A finding of before a restart says what clients met, until its node reports again.
    const symptom = seen === 'unknown' ? (findings.find(({ severity }) => severity !== 'info')?.symptom ?? seen) : seen;
    const unknown = !view.connected || unjudged.has(key) || seen === 'unknown';
    const state = stateOf({ findings, pending: pending.has(key), unknown, expect: expectation.expect, symptom });
    const cell: Cell = {
      node: view.name,
      family,
      state,
      expect: expectation.expect,
      symptom,
      endpoints: expectation.endpoints.length,
      causes: [...new Set(findings.map(({ cause }) => cause))],
    };
    return { port, protocol, service: servicePortText(expectation.service), cell };
  });
}

function stateOf(judged: { findings: readonly Finding[]; pending: boolean; unknown: boolean; expect: Cell['expect']; symptom: Symptom }): CellState {
  if (judged.findings.some(({ severity, symptom }) => severity !== 'info' && symptom !== 'unknown')) return 'fault';
  if (judged.unknown) return 'unknown';
  if (judged.pending) return 'pending';
  if (judged.expect !== 'forward') return 'by-design';
  // Something may be said of a NodePort (an info) that serves its clients all the same.
  if (judged.symptom === 'ok') return 'ok';
  return judged.findings.length > 0 ? 'by-design' : 'unknown';
}

/** What clients outside meet: the worst of what some of them meet. */
export function symptomOfFact(fact: Fact | undefined): Symptom {
  if (fact?.kind !== 'nodeport') return 'unknown';
  const symptoms = (fact.outcomes.external ?? fact.outcomes.peer ?? []).map(symptomOf);
  const order: readonly Symptom[] = ['timeout', 'unreachable', 'refused', 'unknown', 'ok'];
  return order.find((symptom) => symptoms.includes(symptom)) ?? 'unknown';
}

function findingsByKey(findings: readonly Finding[], view: NodeView): ReadonlyMap<string, readonly Finding[]> {
  const byKey = new Map<string, Finding[]>();
  if (findings.length === 0) return byKey;
  const byPort = Map.groupBy(
    view.expectations.map(({ nodePort }) => nodePort),
    ({ port }) => port,
  );
  for (const finding of findings) for (const key of keysOf(finding, byPort.get(finding.port) ?? [])) byKey.set(key, [...(byKey.get(key) ?? []), finding]);
  return byKey;
}

function keysOf(finding: Finding, nodePorts: readonly NodePortKey[]): ReadonlySet<string> {
  const own = nodePorts.filter(
    ({ protocol, family }) => (finding.protocol === '' || finding.protocol === protocol) && (finding.family === 0 || finding.family === family),
  );
  return new Set([...own.map(nodePortFactKey), ...(finding.consequences ?? [])]);
}

export function countFindings(findings: readonly Finding[]): Counts {
  const count = (severity: Finding['severity']): number => findings.filter((finding) => finding.severity === severity).length;
  return { error: count('error'), warning: count('warning'), info: count('info') };
}

export function worst(states: readonly CellState[]): CellState {
  const order: readonly CellState[] = ['fault', 'pending', 'unknown', 'by-design', 'ok'];
  return order.find((state) => states.includes(state)) ?? 'unknown';
}
