// What the collector answers, as the page reads it: the types of its API, and for rules, findings and changes the narrower ones of the model that they are made from.

import type { SequencedChange } from '../../../shared/model/change.ts';
import type { Fact } from '../../../shared/model/fact.ts';
import type { Finding } from '../../../shared/model/finding.ts';
import type { WalkGraph } from '../../../shared/netfilter/walk.graph.model.ts';
import type { OperationName, Operations } from '../../api/client.ts';
import type { Assignment, Cell, Gap, Node, NodePort, View } from '../../api/client.types.ts';
import type { ServiceItem } from '../../api/views.ts';
import type { Correlation } from '../../correlate/index.ts';
import type { Explanation } from '../../explain/explain.ts';

export type { Assignment, Cell, Fact, Finding, Gap, SequencedChange, ServiceItem };
export type NodeItem = Node;
export type NodePortItem = NodePort;
export type Freshness = View;

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
  readonly ports: readonly { readonly port: number; readonly protocol: 'tcp' | 'udp' | 'sctp'; readonly service: string; readonly cell: Cell }[];
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
  /** What had changed before the onset, most telling first. */
  readonly before: readonly Correlation[];
  /** When the fault began. */
  readonly onset?: number;
  readonly drawing?: WalkGraph;
  readonly drawingProblem?: string;
}

/** The API's answers, read as the model's types where they are made from them. */
interface Modelled {
  readonly 'GET /findings': List<FindingItem>;
  readonly 'GET /changes': List<SequencedChange>;
  readonly 'GET /timeline': List<TimelineItem>;
  readonly 'GET /services': List<ServiceItem>;
  readonly 'GET /nodes/{name}': NodeAnswer;
  readonly 'GET /explain': ExplainAnswer;
}

export type Answers<Name extends OperationName> = Name extends keyof Modelled ? Modelled[Name] : Operations[Name]['answer'];
