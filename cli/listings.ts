// What each list of the collector looks like in a terminal: its columns, its filters, and which items mean that something is wrong.
import type { FindingItem } from '../collector/api/answers.ts';
import type { NodeItem, NodePortItem, ServiceItem } from '../collector/api/views.ts';
import type { Assignment } from '../collector/lint/register.ts';
import type { Incident } from '../collector/store/records.ts';
import { actorText, type SequencedChange } from '../shared/model/change.ts';
import { coverage, gaps, replicas } from './listings.fleet.ts';
import { printable, spanText, tableText } from './table.ts';

export interface Listing<Item> {
  /** Options of `get` that it understands. */
  readonly filters: readonly string[];
  readonly head: readonly string[];
  readonly wideHead: readonly string[];
  readonly row: (item: Item, now: number) => readonly string[];
  readonly wide: (item: Item, now: number) => readonly string[];
  /** What other commands call it; unique within the list. */
  readonly nameOf: (item: Item) => string;
  readonly faulty: (item: Item) => boolean;
}

/** The items as a table; `wide` with more columns, `name` as bare names. */
export function listText<Item>(listing: Listing<Item>, items: readonly Item[], { form, now }: { readonly form: string; readonly now: number }): string {
  if (form === 'name') return items.map((item) => `${printable(listing.nameOf(item))}\n`).join('');
  if (form !== 'wide')
    return tableText(
      listing.head,
      items.map((item) => listing.row(item, now)),
    );
  return tableText(
    [...listing.head, ...listing.wideHead],
    items.map((item) => [...listing.row(item, now), ...listing.wide(item, now)]),
  );
}

const nodes: Listing<NodeItem> = {
  filters: ['at', 'limit'],
  head: ['NODE', 'AGENT', 'SINCE', 'PROXY', 'OK', 'FAULT', 'BY DESIGN', 'PENDING', 'UNKNOWN', 'FINDINGS'],
  wideHead: ['ADDRESSES', 'VERSION', 'HEARD', 'READY', 'FAILED SOURCES'],
  row: ({ name, agent, since, proxy, nodePorts, findings: counts }, now) => [
    name,
    agent,
    since === null ? '-' : spanText(now - since),
    proxy,
    ...[nodePorts.ok, nodePorts.fault, nodePorts['by-design'], nodePorts.pending, nodePorts.unknown].map(String),
    String(counts.error + counts.warning),
  ],
  wide: ({ addresses, version, viewAgeMs, ready, failedSources }) => [
    addresses.join(',') || '-',
    version ?? '-',
    viewAgeMs === null ? '-' : spanText(viewAgeMs),
    ready === null ? '-' : ready ? 'yes' : 'no',
    failedSources.map(({ source }) => source).join(',') || '-',
  ],
  nameOf: ({ name }) => name,
  faulty: ({ findings: counts }) => counts.error + counts.warning > 0,
};

const nodeports: Listing<NodePortItem> = {
  filters: ['namespace', 'service', 'node', 'at', 'limit'],
  head: ['NODEPORT', 'SERVICE', 'STATE', 'NODES OK', 'NOT OK', 'CAUSES'],
  wideHead: ['NODES'],
  row: ({ port, protocol, service, state, nodes: cells }) => {
    const well = cells.filter((cell) => cell.state === 'ok').length;
    const wrong = [...new Set(cells.filter((cell) => cell.state !== 'ok').map(({ node }) => node))];
    const causes = [...new Set(cells.flatMap((cell) => cell.causes))];
    return [`${port}/${protocol}`, service, state, `${well}/${cells.length}`, shortList(wrong) || '-', causes.join(',') || '-'];
  },
  wide: ({ nodes: cells }) => [
    cells.map(({ node, family, state, symptom }) => `${node}/${family}:${state}${state === 'fault' ? `(${symptom})` : ''}`).join(' '),
  ],
  nameOf: ({ port, protocol }) => `${port}/${protocol}`,
  faulty: ({ state }) => state === 'fault',
};

const findings: Listing<FindingItem> = {
  filters: ['node', 'cause', 'namespace', 'service', 'state', 'at', 'limit'],
  head: ['NODE', 'NODEPORT', 'SERVICE', 'CAUSE', 'SEVERITY', 'SINCE', 'SUMMARY'],
  wideHead: ['WHO', 'FIX'],
  row: ({ node, port, protocol, service, cause, severity, since, closedAt, summary }, now) => [
    node,
    port === 0 ? '-' : `${port}/${protocol}`,
    service || '-',
    cause,
    severity,
    since === undefined ? '-' : spanText(now - since),
    `${closedAt === null ? '' : '(over) '}${summary}`,
  ],
  wide: ({ actor, remedy }) => [actorText(actor), remedy[0] ?? '-'],
  nameOf: ({ id }) => id,
  faulty: ({ severity, closedAt }) => closedAt === null && severity !== 'info',
};

const changes: Listing<SequencedChange> = {
  filters: ['node', 'kind', 'subject', 'text', 'at', 'since', 'limit'],
  head: ['TIME', 'NODE', 'KIND', 'SUBJECT', 'WHO', 'CHANGE'],
  wideHead: ['OWNER', 'STREAM', 'SEQ'],
  row: ({ at, node, kind, subject, actor, before, after }) => [
    new Date(at).toISOString(),
    node || '(cluster)',
    kind,
    subject,
    actorText(actor),
    differenceText(before, after),
  ],
  wide: ({ owner, stream, seq }) => [owner ?? '-', stream, String(seq)],
  nameOf: ({ stream, seq }) => `${stream}/${seq}`,
  faulty: () => false,
};

const services: Listing<ServiceItem> = {
  filters: ['namespace', 'limit'],
  head: ['SERVICE', 'TYPE', 'NODEPORTS', 'ENDPOINTS', 'POLICY', 'FINDINGS'],
  wideHead: ['TARGETS'],
  row: ({ namespace, name, type, ports, endpoints, externalTrafficPolicy, findings: counts }) => [
    `${namespace}/${name}`,
    type,
    ports.flatMap(({ nodePort, protocol }) => (nodePort === undefined ? [] : [`${nodePort}/${protocol}`])).join(','),
    `${endpoints.ready}/${endpoints.total}`,
    externalTrafficPolicy,
    String(counts.error + counts.warning),
  ],
  wide: ({ ports }) => [ports.map(({ port, targetPort }) => `${port}→${targetPort}`).join(',')],
  nameOf: ({ namespace, name }) => `${namespace}/${name}`,
  faulty: ({ findings: counts }) => counts.error + counts.warning > 0,
};

const incidents: Listing<Incident> = {
  filters: ['service', 'node', 'state', 'since', 'limit'],
  head: ['TIME', 'SERVICE', 'NODEPORT', 'NODE', 'FROM', 'STATE', 'LIKELY CAUSE'],
  wideHead: ['ID', 'TEXT'],
  row: ({ at, service, port, protocol, node, origin, endedAt, causes }) => [
    new Date(at).toISOString(),
    service || '-',
    port === 0 ? '-' : `${port}/${protocol}`,
    node || '-',
    origin,
    endedAt === null ? 'open' : 'over',
    causes[0] === undefined ? 'none found' : `${causes[0].cause || 'change'}  ${causes[0].summary}`,
  ],
  wide: ({ id, text }) => [id, text || '-'],
  nameOf: ({ id }) => id,
  faulty: () => false,
};

const register: Listing<Assignment> = {
  filters: ['namespace'],
  head: ['PORT', 'PROTO', 'SERVICE', 'NAME', 'TARGET', 'POLICY', 'OWNER'],
  wideHead: ['KIND', 'PURPOSE'],
  row: ({ port, protocol, service, portName, targetPort, externalTrafficPolicy, owner }) => [
    String(port),
    protocol,
    service,
    portName || '-',
    String(targetPort),
    externalTrafficPolicy,
    owner || '-',
  ],
  wide: ({ kind, purpose }) => [kind, purpose || '-'],
  nameOf: ({ port, protocol }) => `${port}/${protocol}`,
  faulty: () => false,
};

/** The lists by name. */
export const listings = { nodes, nodeports, findings, changes, services, incidents, register, gaps, coverage, replicas };
export type ListName = keyof typeof listings;

/** The word in the singular, and short ones, are understood as well. */
const aliases: Readonly<Record<string, ListName>> = {
  node: 'nodes',
  no: 'nodes',
  nodeport: 'nodeports',
  np: 'nodeports',
  finding: 'findings',
  change: 'changes',
  service: 'services',
  svc: 'services',
  incident: 'incidents',
  gap: 'gaps',
  replica: 'replicas',
};

/** The list that a word names. */
export const listNameOf = (word: string): ListName | undefined => (Object.hasOwn(listings, word) ? (word as ListName) : aliases[word]);

const shortList = (names: readonly string[]): string => (names.length > 3 ? `${names.slice(0, 3).join(',')} +${names.length - 3}` : names.join(','));

/** The first line that came and the first that went, as a diff marks them. */
export function differenceText(before: string | null, after: string | null): string {
  const was = (before ?? '').split('\n').filter((line) => line !== '');
  const is = (after ?? '').split('\n').filter((line) => line !== '');
  const gone = was.filter((line) => !is.includes(line));
  const come = is.filter((line) => !was.includes(line));
  const more = gone.length + come.length - Math.min(1, gone.length) - Math.min(1, come.length);
  const parts = [gone[0] === undefined ? '' : `- ${gone[0]}`, come[0] === undefined ? '' : `+ ${come[0]}`].filter((part) => part !== '');
  return printable(`${parts.join('  ') || 'order only'}${more > 0 ? `  (${more} more)` : ''}`);
}
