// The answers of the API: questions to state and store, without HTTP.

import { limits } from '../../shared/limits.ts';
import type { Change, SequencedChange } from '../../shared/model/change.ts';
import type { Finding } from '../../shared/model/finding.ts';
import { type Correlation, classOf, correlate, windows } from '../correlate/index.ts';
import { type Explanation, explainNodePort } from '../explain/explain.ts';
import { explanationText } from '../explain/text.ts';
import { registerOf } from '../lint/register.ts';
import type { NodeView } from '../state/state.ts';
import type { FindingRecord } from '../store/store.ts';
import { type Freshness, freshnessOf } from './freshness.ts';
import { Incidents } from './incidents.ts';
import { pageOf, spanOf, storeCursor, timeOf } from './paging.ts';
import { explanationAt, findingsAt, matrixAt, pastNodePorts, pastNodes } from './past.ts';
import { Problem } from './problem.ts';
import type {
  CaptureBody,
  ChangesQuery,
  ExplainQuery,
  FindingsQuery,
  IncidentBody,
  IncidentsQuery,
  NodePortsQuery,
  NodesQuery,
  RegisterQuery,
  ServicesQuery,
  TimelineQuery,
  TraceBody,
} from './schemas.ts';
import type { ApiOptions } from './server.ts';
import type { Telemetry } from './telemetry.ts';
import type { VerdictBook } from './verdict-book.ts';
import { agentOf, cellsOf, type ItemContext, type NodeItem, type NodePortItem, nodeItem, nodePortItems, serviceItems } from './views.ts';
import { captured, drawn, drawnExplanation, traced } from './walks.ts';

/** One method for each resource; they throw Problem for what does not exist. */
export type Answers = ReturnType<typeof answersOf>;

/** A lane of the timeline: the class of a change, whose window an operator's playbook has. */
export type Lane = keyof typeof windows | 'other';

/** An entry of the timeline. */
export type TimelineItem =
  | { readonly at: number; readonly event: 'change'; readonly node: string; readonly lane: Lane; readonly change: SequencedChange }
  | { readonly at: number; readonly event: 'finding-opened' | 'finding-closed'; readonly node: string; readonly finding: Finding };

/** An open finding says since when; a closed one also until when. */
export type FindingItem = Finding & { readonly openedAt?: number; readonly closedAt: number | null };

export interface AnswerOptions extends Pick<ApiOptions, 'state' | 'store' | 'session' | 'view'> {
  readonly book: VerdictBook;
  readonly telemetry: Telemetry;
  readonly audit: ApiOptions['resources']['audit'];
}

export function answersOf(options: AnswerOptions) {
  const { state, session } = options;
  const incidents = new Incidents(options);
  return {
    ...nodeAnswers(options),
    ...nodePortAnswers(options),
    ...findingAnswers(options),
    ...ledgerAnswers(options),
    services: async (query: ServicesQuery, sees: Sight) => {
      const { namespace, name, faulty } = query;
      const items = serviceItems(contextOf(options), state.nodes).filter(
        (item) =>
          sees(item.namespace) && (namespace ?? item.namespace) === item.namespace && item.name.includes(name ?? '') && (faulty !== true || isFaulty(item)),
      );
      return pageOf(items, (item) => `${item.namespace}/${item.name}`, query);
    },
    register: ({ namespace }: RegisterQuery) => ({
      items: registerOf(state.objects).filter(({ service }) => namespace === undefined || service.startsWith(`${namespace}/`)),
    }),
    explain: (query: ExplainQuery) => (query.at === undefined ? explainNow(options, query) : explainThen(options, { ...query, at: pastTime(query.at) })),
    trace: async ({ node, packet, drawing }: TraceBody) => {
      viewOf(options, node);
      const result = await traced(session, node, packet);
      return drawing === undefined ? { node, result } : { node, result, drawing: drawn(node, result, { form: drawing }) };
    },
    capture: async ({ node }: CaptureBody, asker: { readonly who: string; readonly address: string }) => {
      const told = (outcome: 'done' | 'refused') => options.audit({ ...asker, action: 'capture', subject: node, outcome });
      viewOf(options, node);
      try {
        const { archive } = await captured(session, node);
        told('done');
        return { node, archive };
      } catch (error) {
        told('refused');
        throw error;
      }
    },
    report: (body: IncidentBody, by: string) => incidents.report(body, by),
    alerts: async (body: Parameters<Incidents['alerts']>[0], by: string) => ({ items: await incidents.alerts(body, by) }),
    incident: (id: string) => incidents.get(id),
    incidents: ({ state: lasting, from, to, cursor, ...query }: IncidentsQuery) =>
      incidents.list({ ...query, ...spanOf(defined({ from, to })), ...storeCursor(cursor), ...(lasting === 'all' ? {} : { open: lasting === 'open' }) }),
    matrix: async ({ at: text }: { readonly at?: string }) => {
      if (text === undefined) return options.book.matrix();
      const at = pastTime(text);
      const { columns, rows } = await matrixThen(options, at);
      return { at, columnsId: `at-${at}`, columns, rows };
    },
  };
}

/** Whether the Services of a namespace are for who asks. */
type Sight = (namespace: string) => boolean;
const namespaceOf = ({ service }: { readonly service: string }): string => service.split('/')[0] as string;

const contextOf = ({ state, book }: AnswerOptions): ItemContext => ({
  objects: state.objects,
  latency: state.latency,
  countsOf: (node) => book.counts(node),
  now: Date.now(),
});
const isFaulty = ({ findings }: Pick<NodeItem, 'findings'>): boolean => findings.error + findings.warning > 0;

type Defined<T> = { readonly [K in keyof T]?: Exclude<T[K], undefined> };
const defined = <T extends object>(values: T): Defined<T> =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Defined<T>;

/** A time that was; nothing is believed yet of one that is to come. */
function pastTime(text: string): number {
  const at = timeOf('at', text);
  if (at > Date.now()) throw new Problem(400, `at ${new Date(at).toISOString()} is yet to come: without "at" the answer is that of now`);
  return at;
}

// What was believed a moment ago may not have been written yet.
async function matrixThen({ book, store }: AnswerOptions, at: number) {
  await book.written();
  return matrixAt(store, at);
}

function viewOf({ state }: Pick<AnswerOptions, 'state'>, name: string): NodeView {
  const view = state.node(name);
  if (view !== undefined) return view;
  const known = state.nodes.map((node) => node.name).slice(0, 20);
  throw new Problem(404, `no node ${JSON.stringify(name)}: neither the cluster nor an agent has named it. Known: ${known.join(', ') || 'none'}`);
}

function nodeAnswers(options: AnswerOptions) {
  const { state, store } = options;
  const past = async (at: number) => {
    const [matrix, findings] = await Promise.all([matrixThen(options, at), findingsAt(store, at)]);
    return { items: pastNodes(matrix, findings), matrix, findings };
  };
  return {
    nodes: async (query: NodesQuery) => {
      const at = query.at === undefined ? undefined : pastTime(query.at);
      if (at === undefined && query.faulty !== true) {
        // Of thousands of nodes only those of the page are looked at closely.
        const views = state.nodes.filter((view) => view.name.includes(query.name ?? '') && (query.agent ?? agentOf(view)) === agentOf(view));
        const page = pageOf(views, ({ name }) => name, query);
        return { ...page, items: page.items.map((view) => nodeItem(view, contextOf(options))) };
      }
      const all = at === undefined ? state.nodes.map((view) => nodeItem(view, contextOf(options))) : (await past(at)).items;
      const items = all.filter(
        ({ name, agent, nodePorts }) => name.includes(query.name ?? '') && (query.agent ?? agent) === agent && (query.faulty !== true || nodePorts.fault > 0),
      );
      return { ...defined({ at }), ...pageOf(items, ({ name }) => name, query) };
    },
    node: async (name: string, text: string | undefined) => {
      if (text === undefined) {
        const view = viewOf(options, name);
        return {
          ...nodeItem(view, contextOf(options)),
          ports: cellsOf(view), // In one order, whichever replica answers.
          facts: [...view.facts.values()].sort((a, b) => (a.key < b.key ? -1 : 1)),
          open: view.findings,
          waiting: view.pending,
        };
      }
      const at = pastTime(text);
      const { items, matrix, findings } = await past(at);
      const item = items.find((each) => each.name === name);
      if (item === undefined) throw new Problem(404, `nothing is on record of node ${JSON.stringify(name)} at ${new Date(at).toISOString()}`);
      const ports = pastNodePorts({ ...matrix, rows: matrix.rows.filter(({ node }) => node === name) }, findings).flatMap(
        ({ port, protocol, service, nodes }) => nodes.map((cell) => ({ port, protocol, service, cell })),
      );
      const open = findings.filter(({ finding }) => finding.node === name).map(findingItem);
      return { at, ...item, ports, facts: [], open, waiting: [] };
    },
  };
}

function nodePortAnswers(options: AnswerOptions) {
  const { state, store, book } = options;
  const past = async (at: number): Promise<NodePortItem[]> => pastNodePorts(...(await Promise.all([matrixThen(options, at), findingsAt(store, at)])));
  return {
    nodePorts: async (query: NodePortsQuery, sees: Sight) => {
      const at = query.at === undefined ? undefined : pastTime(query.at);
      const { node, state: wanted, limit } = query;
      const isOfQuery = nodePortFilter(query);
      const views = node === undefined ? state.nodes : state.nodes.filter(({ name }) => name === node);
      // A page of many nodes holds fewer NodePorts: the answer is bounded by its cells.
      const page = { ...query, limit: Math.max(1, Math.min(limit, Math.floor(limits.apiCellsMax / Math.max(1, views.length)))) };
      const all = at === undefined ? namesOf(book.matrix().columns) : await past(at);
      const { items, ...rest } = pageOf(
        all.filter((item) => isOfQuery(item) && sees(namespaceOf(item))),
        nodePortKey,
        page,
      );
      const shown = new Set(items.map(nodePortKey));
      const whole = at === undefined ? nodePortItems(views, (nodePort) => shown.has(nodePortKey(nodePort))) : (items as readonly NodePortItem[]);
      const kept = whole
        .map((item) => (node === undefined ? item : { ...item, nodes: item.nodes.filter((cell) => cell.node === node) }))
        .filter((item) => item.nodes.length > 0 && isOfQuery(item) && (wanted === undefined || item.nodes.some((cell) => cell.state === wanted)));
      return { ...defined({ at }), ...rest, items: kept };
    },
    nodePort: async (port: number, text: string | undefined) => {
      const at = text === undefined ? undefined : pastTime(text);
      const isMeant = (nodePort: { readonly port: number }): boolean => nodePort.port === port;
      const items = at === undefined ? nodePortItems(state.nodes, isMeant) : (await past(at)).filter(isMeant);
      if (items.length === 0) throw new Problem(404, `no Service has the NodePort ${port}`);
      return { ...defined({ at }), items };
    },
  };
}

type NodePortName = Pick<NodePortItem, 'port' | 'protocol' | 'service'>;

const nodePortKey = ({ port, protocol }: Pick<NodePortItem, 'port' | 'protocol'>): string => `${String(port).padStart(5, '0')}/${protocol}`;

/** NodePorts without their families. */
const namesOf = (columns: readonly NodePortName[]): NodePortName[] => [...new Map(columns.map((column) => [nodePortKey(column), column])).values()];

const nodePortFilter =
  ({ namespace, service, protocol }: NodePortsQuery) =>
  (item: NodePortName): boolean =>
    (namespace === undefined || item.service.startsWith(`${namespace}/`)) &&
    (service === undefined || item.service === service || item.service.startsWith(`${service}:`)) &&
    (protocol ?? item.protocol) === item.protocol;

const severityRanks: Readonly<Record<Finding['severity'], number>> = { error: 0, warning: 1, info: 2 };
/** Worst first, and of those the newest. */
const openKey = ({ finding, openedAt }: FindingRecord): string =>
  `${severityRanks[finding.severity]} ${String(9e15 - openedAt).padStart(16, '0')} ${finding.id}`;

function findingAnswers({ state, store }: AnswerOptions) {
  const past = async (query: FindingsQuery, at: number | undefined) => {
    const when = at === undefined ? {} : { from: at, to: at };
    const open = at !== undefined && query.state === 'open';
    const asked = { ...spanOf(defined({ from: query.from, to: query.to })), ...when, ...defined({ node: query.node, cause: query.cause }) };
    const kept: FindingRecord[] = [];
    // What the store cannot filter by is filtered here, until a page is full.
    for (let cursor = query.cursor; ; ) {
      const limit = Math.max(1, query.limit - kept.length);
      const page = await store.findingPage({ ...asked, ...storeCursor(cursor), limit, ...(query.state === 'closed' ? { open: false } : {}) });
      kept.push(
        ...page.items.filter((record) => fits(record, query) && (!open || (record.openedAt <= at && (record.closedAt === null || record.closedAt > at)))),
      );
      cursor = page.next;
      if (cursor === undefined || kept.length >= query.limit) return { items: kept.map(findingItem), ...defined({ next: cursor }) };
    }
  };
  return {
    findings: async (query: FindingsQuery, sees: Sight) => {
      const at = query.at === undefined ? undefined : pastTime(query.at);
      if (at !== undefined || query.state !== 'open') return { ...defined({ at }), ...(await past(query, at)) };
      const { from, to } = spanOf(defined({ from: query.from, to: query.to }));
      const records = openRecords(state.nodes).filter(
        (record) => sees(namespaceOf(record.finding)) && fits(record, query) && record.openedAt <= (to ?? Infinity) && (from ?? 0) <= Date.now(),
      );
      const page = pageOf(records, openKey, query);
      return { ...page, items: page.items.map(findingItem) };
    },
  };
}

function ledgerAnswers({ store }: AnswerOptions) {
  return {
    changes: async ({ at, from, to, cursor, ...query }: ChangesQuery) => {
      const end = at === undefined ? to : String(pastTime(at));
      return {
        ...defined({ at: at === undefined ? undefined : pastTime(at) }),
        ...(await store.changes({ ...query, ...spanOf(defined({ from, to: end })), ...storeCursor(cursor) })),
      };
    },
    timeline: async ({ limit, node, service, at, ...query }: TimelineQuery) => {
      const { from, to } = spanOf(defined({ from: query.from, to: at ?? query.to }));
      const asked = { limit, ...defined({ node, from, to }) };
      const [own, cluster, records] = await Promise.all([
        store.changes(asked),
        // What Services did belongs to the story of a node as well.
        node === undefined || node === '' || service === undefined ? { items: [] } : store.changes({ ...asked, node: '', subject: service }),
        store.findings(asked),
      ]);
      const told = records.filter(({ finding }) => service === undefined || finding.service === service || finding.service.startsWith(`${service}:`));
      const changes = [...own.items, ...cluster.items].filter((change) => service === undefined || change.node !== '' || change.subject.includes(service));
      const all = [...changes.map(changeEvent), ...told.flatMap(findingEvents)].filter((item) => item.at >= (from ?? 0) && item.at <= (to ?? Infinity));
      return { items: all.sort((a, b) => a.at - b.at).slice(-limit), windows };
    },
  };
}

type Then = Omit<ExplainQuery, 'at'> & { readonly at: number };

async function explainThen(options: AnswerOptions, { node, port, protocol, at }: Then) {
  const { store } = options;
  const [matrix, findings, changes] = await Promise.all([
    matrixThen(options, at),
    findingsAt(store, at),
    store.changes({ from: at - dayMs, to: at, limit: ledgerMax }).then(({ items }) => [...items].reverse()),
  ]);
  const explanation = explanationAt({ node, port, protocol, at }, pastNodePorts(matrix, findings), findings);
  const connected = matrix.rows.find((row) => row.node === node)?.agent === 'connected';
  const caution = `This is what was believed at ${new Date(at).toISOString()}; the walk of the packets is not on record.`;
  const onset = onsetOf(explanation);
  const before = onset === undefined ? [] : beforeOf(changes, explanation, onset);
  return { at, explanation, connected, caution, text: `${caution}\n\n${explanationText(explanation)}`, before, ...defined({ onset }) };
}

const dayMs = 86_400_000;
const ledgerMax = 10_000;

async function explainNow(options: AnswerOptions, { node, port, protocol, drawing }: ExplainQuery) {
  const { state, session, view: kinds } = options;
  state.settle(node);
  const view = viewOf(options, node);
  const others = state.nodes.filter((other) => other !== view && other.connected).map(({ name, facts }) => ({ node: name, facts }));
  const asked = { port, protocol: protocol ?? protocolOf(view, port), changes: state.recentChanges(node), objects: state.objects, others };
  const answer = explain(view, asked, freshnessOf(kinds(), Date.now()));
  return drawing === undefined ? answer : { ...answer, ...(await drawnExplanation(session, view, { explanation: answer.explanation, form: drawing })) };
}

type Asked = Pick<Parameters<typeof explainNodePort>[0], 'port' | 'protocol' | 'changes' | 'objects' | 'others'>;

/** The explanation as data and as text, with a word on how old the view is. Differences within the grace period are explained too: somebody is asking. */
function explain(view: NodeView, asked: Asked, freshness: Freshness) {
  const now = Date.now();
  const { name, facts, expectations, drifts } = view;
  const explanation = explainNodePort({ ...asked, node: name, facts, expectations, drifts, findings: [...view.findings, ...view.pending], now });
  const caution = [cautionOf(view, now), staleText(freshness)].filter((text) => text !== undefined).join(' ') || undefined;
  const text = `${caution === undefined ? '' : `${caution}\n\n`}${explanationText(explanation)}`;
  // An agent that has gone away cannot say that all is well.
  const kind = explanation.kind === 'healthy' && !view.connected ? 'unknown' : explanation.kind;
  const onset = onsetOf(explanation);
  const before = onset === undefined ? [] : beforeOf(asked.changes, explanation, onset, view.agent?.clockOffsetMs);
  return { explanation: { ...explanation, kind }, connected: view.connected, ...defined({ caution }), text, before, ...defined({ onset }) };
}

/** When the fault that an explanation is about began; undefined where nothing is wrong. */
const onsetOf = ({ findings, kind }: Explanation): number | undefined => (kind === 'faulty' ? findings[0]?.since : undefined);

/** Changes before the onset that are shown at most. */
const beforeMax = 10;

function beforeOf(
  changes: readonly Change[],
  { node, service, port, findings }: Explanation,
  ...[at, offset = 0]: [at: number, offset?: number]
): readonly Correlation[] {
  const trigger = findings[0]?.trigger;
  const { candidates } = correlate(changes, {
    at,
    node,
    ...(service === '' ? {} : { service }),
    mentions: [String(port)],
    clockOffsetsMs: new Map([[node, offset]]),
  });
  const isTrigger = ({ change }: Correlation): boolean => trigger !== undefined && change.at === trigger.at && change.subject === trigger.subject;
  return [...candidates.filter(isTrigger), ...candidates.filter((candidate) => !isTrigger(candidate))].slice(0, beforeMax).map(inOneOrder);
}

/** The fields of changes come in one order, whether this collector has them from an agent or from the store: so the tag is the same whichever replica answers. */
const inOneOrder = (candidate: Correlation): Correlation => ({
  ...candidate,
  change: sorted(candidate.change),
  ...(candidate.steps === undefined ? {} : { steps: candidate.steps.map(sorted) }),
});
const sorted = <T extends object>(value: T): T =>
  Object.fromEntries(Object.entries(value).sort(([a], [b]) => placeOf(a) - placeOf(b) || (a < b ? -1 : 1))) as T;
const changeFields = ['stream', 'seq', 'at', 'node', 'kind', 'subject', 'before', 'after'];
const placeOf = (field: string): number => (changeFields.includes(field) ? changeFields.indexOf(field) : changeFields.length);

// An answer that rests on an old view of the cluster says so before anything else.
function staleText({ objectsAgeMs, stale, doubts }: Freshness): string | undefined {
  if (!stale) return undefined;
  const age =
    objectsAgeMs === null ? 'The cluster objects have not all been read' : `What is known of the cluster is ${Math.round(objectsAgeMs / 1_000)} s old`;
  return `${age}${doubts.length === 0 ? '' : ` (${doubts.join('; ')})`}.`;
}

function cautionOf(view: NodeView, now: number): string | undefined {
  if (view.connected) return view.stateAt === undefined ? `The agent of ${view.name} has just connected and has not reported yet.` : undefined;
  if (view.heardAt === undefined) return `No agent on ${view.name} has reported to this collector: what its rules do is not known.`;
  return `The agent of ${view.name} is not connected; this is what it said ${Math.round((now - view.heardAt) / 1_000)} s ago.`;
}

const protocolOf = (view: NodeView, port: number) => view.expectations.find(({ nodePort }) => nodePort.port === port)?.nodePort.protocol ?? 'tcp';

const openRecords = (nodes: readonly NodeView[]): FindingRecord[] =>
  nodes.flatMap(({ findings }) => findings.map((finding) => ({ finding, openedAt: finding.since ?? 0, closedAt: null })));

const fits = ({ finding }: FindingRecord, { node, cause, namespace, service, severity, port }: FindingsQuery): boolean =>
  (node === undefined || finding.node === node) &&
  (cause === undefined || finding.cause === cause) &&
  (severity === undefined || finding.severity === severity) &&
  (port === undefined || finding.port === port) &&
  (namespace === undefined || finding.service.startsWith(`${namespace}/`)) &&
  (service === undefined || finding.service === service || finding.service.startsWith(`${service}:`));

const findingItem = ({ finding, openedAt, closedAt }: FindingRecord): FindingItem => ({ ...finding, openedAt, closedAt });

const changeEvent = (change: SequencedChange): TimelineItem => ({
  at: change.at,
  event: 'change',
  node: change.node,
  lane: classOf(change) ?? 'other',
  change,
});

function findingEvents({ finding, openedAt, closedAt }: FindingRecord): TimelineItem[] {
  const opened: TimelineItem = { at: openedAt, event: 'finding-opened', node: finding.node, finding };
  return closedAt === null ? [opened] : [opened, { at: closedAt, event: 'finding-closed', node: finding.node, finding }];
}
