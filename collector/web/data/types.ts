// The answers of the collector's API, as the page reads them.

import type { SequencedChange } from '../../../shared/model/change.ts';
import type { Fact, Protocol } from '../../../shared/model/fact.ts';
import type { Finding } from '../../../shared/model/finding.ts';
import type { WalkGraph } from '../../../shared/netfilter/walk.graph.model.ts';
import type { Freshness } from '../../api/freshness.ts';
import type { Cell, CellState, NodeItem, NodePortItem, ServiceItem } from '../../api/views.ts';
import type { Explanation } from '../../explain/explain.ts';
import type { Assignment } from '../../lint/register.ts';

export type { Assignment, Cell, CellState, Fact, Finding, NodeItem, NodePortItem, SequencedChange, ServiceItem };

/** A finding with when it opened; a closed one also says when it ended. */
export type FindingItem = Finding & { readonly openedAt?: number; readonly closedAt: number | null };

export type TimelineItem =
  | { readonly at: number; readonly event: 'change'; readonly node: string; readonly change: SequencedChange }
  | { readonly at: number; readonly event: 'finding-opened' | 'finding-closed'; readonly node: string; readonly finding: Finding };

export interface List<Item> {
  readonly view: Freshness;
  readonly items: readonly Item[];
  readonly next?: string;
}

export interface NodeAnswer extends NodeItem {
  readonly view: Freshness;
  readonly ports: readonly { readonly port: number; readonly protocol: Protocol; readonly service: string; readonly cell: Cell }[];
  readonly facts: readonly Fact[];
  readonly open: readonly Finding[];
  readonly waiting: readonly Finding[];
}

export interface ExplainAnswer {
  readonly view: Freshness;
  readonly explanation: Explanation;
  readonly connected: boolean;
  readonly caution?: string;
  /** As the command line prints it. */
  readonly text: string;
  readonly drawing?: WalkGraph;
  readonly drawingProblem?: string;
  /** When the fault began, where the collector says so. */
  readonly onset?: number;
}
