// The answers of the API: questions to state and store, without HTTP.

import type { SequencedChange } from '../../shared/model/change.ts';
import type { Finding } from '../../shared/model/finding.ts';
import { explainNodePort } from '../explain/explain.ts';
import { explanationText } from '../explain/text.ts';
import type { NodeView } from '../state/state.ts';
import type { FindingRecord } from '../store/store.ts';
import { type Freshness, freshnessOf } from './freshness.ts';
import { Problem } from './problem.ts';
import type { ChangesQuery, ExplainQuery, FindingsQuery, TimelineQuery, TraceBody } from './schemas.ts';
import type { ApiOptions } from './server.ts';
import { cellsOf, type ItemContext, nodeItem, nodePortItems, serviceItems } from './views.ts';
import { drawn, drawnExplanation, traced } from './walks.ts';

/** One method for each resource; they throw Problem for what does not exist. */
export type Answers = ReturnType<typeof answersOf>;

/** An entry of the timeline. */
export type TimelineItem =
  | { readonly at: number; readonly event: 'change'; readonly node: string; readonly change: SequencedChange }
  | { readonly at: number; readonly event: 'finding-opened' | 'finding-closed'; readonly node: string; readonly finding: Finding };

/** An open finding says since when; a closed one also until when. */
export type FindingItem = Finding & { readonly openedAt?: number; readonly closedAt: number | null };

export function answersOf({ state, store, session, view: kinds }: ApiOptions) {
  const context = (): ItemContext => ({ objects: state.objects, latency: state.latency, now: Date.now() });
  const viewOf = (name: string): NodeView => {
    const view = state.node(name);
    if (view === undefined)
      throw new Problem(
        404,
        `no node ${JSON.stringify(name)}: neither the cluster nor an agent has named it. Known: ${
          state.nodes
            .map((node) => node.name)
            .slice(0, 20)
            .join(', ') || 'none'
        }`,
      );
    return view;
  };
  return {
    nodes: () => ({ items: state.nodes.map((view) => nodeItem(view, context())) }),
    node: (name: string) => {
      const view = viewOf(name);
      return {
        ...nodeItem(view, context()),
        ports: cellsOf(view),
        // In one order, whichever replica answers.
        facts: [...view.facts.values()].sort((a, b) => (a.key < b.key ? -1 : 1)),
        open: view.findings,
        waiting: view.pending,
      };
    },
    nodePorts: () => ({ items: nodePortItems(state.nodes) }),
    nodePort: (port: number) => {
      const items = nodePortItems(state.nodes).filter((item) => item.port === port);
      if (items.length === 0) throw new Problem(404, `no Service has the NodePort ${port}`);
      return { items };
    },
    services: () => ({ items: serviceItems(context(), state.nodes) }),
    findings: async (query: FindingsQuery) => {
      const records =
        query.state === 'open'
          ? openRecords(state.nodes)
          : await store.findings({ ...historyQuery(query), ...(query.state === 'closed' ? { open: false } : {}) });
      return {
        items: records
          .filter((record) => fits(record, query))
          .slice(0, query.limit)
          .map(findingItem),
      };
    },
    changes: async (query: ChangesQuery) => {
      if (query.cursor !== undefined && !/^\d+-\d+$/.test(query.cursor)) throw new Problem(400, 'cursor is not the "next" of a page before');
      return store.changes(query);
    },
    timeline: async ({ limit, ...query }: TimelineQuery) => {
      const [{ items: changes }, records] = await Promise.all([store.changes({ ...query, limit }), store.findings({ ...query, limit })]);
      const all = [...changes.map(changeEvent), ...records.flatMap(findingEvents)].filter(({ at }) => at >= (query.from ?? 0) && at <= (query.to ?? Infinity));
      return { items: all.sort((a, b) => a.at - b.at).slice(-limit) };
    },
    explain: async ({ node, port, protocol, drawing }: ExplainQuery) => {
      state.settle(node);
      const view = viewOf(node);
      const others = state.nodes.filter((other) => other !== view && other.connected).map(({ name, facts }) => ({ node: name, facts }));
      const asked = { port, protocol: protocol ?? protocolOf(view, port), changes: state.recentChanges(node), objects: state.objects, others };
      const answer = explain(view, asked, freshnessOf(kinds(), Date.now()));
      return drawing === undefined ? answer : { ...answer, ...(await drawnExplanation(session, view, { explanation: answer.explanation, form: drawing })) };
    },
    trace: async ({ node, packet, drawing }: TraceBody) => {
      viewOf(node);
      const result = await traced(session, node, packet);
      return drawing === undefined ? { node, result } : { node, result, drawing: drawn(node, result, { form: drawing }) };
    },
  };
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
  return { explanation: { ...explanation, kind }, connected: view.connected, ...(caution === undefined ? {} : { caution }), text };
}

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

function historyQuery({ node, from, to, limit }: FindingsQuery): { limit: number; node?: string; from?: number; to?: number } {
  return { limit, ...(node === undefined ? {} : { node }), ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) };
}

const fits = ({ finding }: FindingRecord, { node, cause, service, severity }: FindingsQuery): boolean =>
  (node === undefined || finding.node === node) &&
  (cause === undefined || finding.cause === cause) &&
  (severity === undefined || finding.severity === severity) &&
  (service === undefined || finding.service === service || finding.service.startsWith(`${service}:`));

const findingItem = ({ finding, openedAt, closedAt }: FindingRecord): FindingItem => ({ ...finding, openedAt, closedAt });

const changeEvent = (change: SequencedChange): TimelineItem => ({ at: change.at, event: 'change', node: change.node, change });

function findingEvents({ finding, openedAt, closedAt }: FindingRecord): TimelineItem[] {
  const opened: TimelineItem = { at: openedAt, event: 'finding-opened', node: finding.node, finding };
  return closedAt === null ? [opened] : [opened, { at: closedAt, event: 'finding-closed', node: finding.node, finding }];
}
