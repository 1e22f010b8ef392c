// Resources that tell how well the cluster is observed: gaps of the ledger, the coverage of each node, and the replicas of the collector.
import type { GapReason } from '../../shared/model/change.ts';
import type { ReplicaItem } from '../replicas/replicas.ts';
import type { NodeView } from '../state/state.ts';
import type { Gap, Store } from '../store/store.ts';
import { pageOf, spanOf, storeCursor } from './paging.ts';
import type { Resource } from './resources.ts';
import { type CoverageQuery, coverageQuery, type GapsQuery, gapsQuery } from './schemas.ts';

export interface FleetOptions {
  readonly state: { readonly nodes: readonly NodeView[] };
  readonly store: Pick<Store, 'gaps' | 'gapPage'>;
  readonly replicas: () => readonly ReplicaItem[];
}

/** How well one node was observed in a span of time. */
export interface CoverageItem {
  readonly node: string;
  readonly agent: 'connected' | 'disconnected' | 'never';
  /** Milliseconds since 1970: the span. */
  readonly from: number;
  readonly to: number;
  /** Share of the span that an agent observed, 0 … 1, as far as gaps tell. */
  readonly observed: number;
  readonly unobservedMs: number;
  /** Gaps in the span by reason. */
  readonly gaps: Readonly<Partial<Record<GapReason, number>>>;
  /** The end of the last gap; null when there was none in the span. */
  readonly lastGapAt: number | null;
}

const dayMs = 86_400_000;
const gapsReadMax = 100_000;

/** Like the ledger of nodes they are for those who may see all namespaces. */
export function fleetResources({ state, store, replicas }: FleetOptions): readonly Resource[] {
  return [
    {
      url: '/gaps',
      summary: 'Times of which the ledger does not tell everything, and why; the latest first.',
      kind: 'GapList',
      schema: { querystring: gapsQuery },
      answer: ({ query }) => {
        const { from, to, cursor, ...asked } = query as GapsQuery;
        return store.gapPage({ ...asked, ...spanOf(query as GapsQuery), ...storeCursor(cursor) });
      },
    },
    {
      url: '/coverage',
      summary: 'How much of a span of time each node was observed; of the last day, where none is given.',
      kind: 'CoverageList',
      schema: { querystring: coverageQuery },
      answer: async ({ query }) => {
        const { node } = query as CoverageQuery;
        const { from, to } = spanOf(query as CoverageQuery);
        const now = Date.now();
        const span = { from: from ?? (to ?? now) - dayMs, to: to ?? now };
        const gaps = await store.gaps({ ...(node === undefined ? {} : { node }), ...span, limit: gapsReadMax });
        const byNode = Map.groupBy(gaps, (gap) => gap.node);
        const views = state.nodes.filter(({ name }) => node === undefined || name === node);
        const items = views.map((view) => coverageOf(view, byNode.get(view.name) ?? [], { ...span, now }));
        return pageOf(items, (item) => item.node, query as CoverageQuery);
      },
    },
    { url: '/replicas', summary: 'The collectors that share the store.', kind: 'ReplicaList', answer: () => ({ items: replicas() }) },
  ];
}

/** Only these say that nothing was seen; the others that some of what was seen was lost. */
const unseen: ReadonlySet<GapReason> = new Set(['agent-down']);

/** What gaps say of a node in a span. Times that several gaps tell of count once. Pure. */
export function coverageOf(
  { name, connected, since, agent }: Pick<NodeView, 'name' | 'connected' | 'since' | 'agent'>,
  gaps: readonly Gap[],
  { from, to, now }: { readonly from: number; readonly to: number; readonly now: number },
): CoverageItem {
  const spans = gaps.filter(({ reason }) => unseen.has(reason)).map((gap) => ({ from: gap.from, to: gap.to }));
  // What lasts is no gap yet: it becomes one when the agent comes back.
  if (!connected) spans.push({ from: since ?? 0, to: now });
  const unobservedMs = lengthOf(spans, { from, to: Math.min(to, now) });
  const length = Math.max(1, Math.min(to, now) - from);
  const counts: Partial<Record<GapReason, number>> = {};
  for (const { reason } of gaps) counts[reason] = (counts[reason] ?? 0) + 1;
  return {
    node: name,
    agent: connected ? 'connected' : agent === undefined ? 'never' : 'disconnected',
    from,
    to,
    observed: Math.round((1 - unobservedMs / length) * 1e6) / 1e6,
    unobservedMs,
    gaps: counts,
    lastGapAt: gaps.length === 0 ? null : Math.max(...gaps.map((gap) => gap.to)),
  };
}

interface Span {
  readonly from: number;
  readonly to: number;
}

/** Milliseconds within a span that some of others cover. */
function lengthOf(spans: readonly Span[], within: Span): number {
  let covered = within.from;
  let sum = 0;
  for (const span of spans.toSorted((a, b) => a.from - b.from)) {
    const [begin, end] = [Math.max(covered, span.from), Math.min(within.to, span.to)];
    if (end <= begin) continue;
    sum += end - begin;
    covered = end;
  }
  return sum;
}
