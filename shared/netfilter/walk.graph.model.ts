// The drawing of a walk as data: plain JSON that a page, Mermaid and SVG are made from.
import { limits } from '../limits.ts';
import type { Owner } from '../model/change.ts';
import type { Decider, VerdictWord } from '../model/outcome.ts';

/** The drawing of a walk as data. Nodes stand in order: no edge leads back to a node before it. */
export interface WalkGraph {
  /** The packet in words. */
  readonly packet: string;
  readonly verdict: VerdictWord | 'mixed';
  /** In the order in which packets pass them. */
  readonly lanes: readonly Lane[];
  readonly nodes: readonly GraphNode[];
  readonly edges: readonly GraphEdge[];
  /** Ways that are not drawn, as there are too many. */
  readonly more: number;
}

export interface Lane {
  readonly id: string;
  /** A hook, `routing`, or what stands before and after them: the client, the ends, answers and later packets that are lost. */
  readonly kind: string;
  readonly title: string;
}

/** The first items of a list, and how many there are besides. */
export interface Listed<Item> {
  readonly shown: readonly Item[];
  readonly more: number;
}

interface Placed {
  readonly id: string;
  /** Id of its lane. */
  readonly lane: string;
  /** Largest share of one client's new connections that comes here, 0…1. */
  readonly share: number;
}

/** A rule of a node and what it did to the packet. */
export interface GraphRule {
  readonly decider: Decider;
  readonly effect: string;
  readonly share: number;
}

export interface ClientNode extends Placed {
  readonly kind: 'client';
  readonly text: string;
}

/** A base chain that the packet enters. */
export interface ChainNode extends Placed {
  readonly kind: 'chain';
  readonly hook: string;
  readonly priority: number;
  readonly backend: string;
  readonly family: string;
  readonly table: string;
  readonly chain: string;
}

/** A rule; several where alike branches choose different endpoints. */
export interface RuleNode extends Placed {
  readonly kind: 'rule';
  readonly rules: Listed<GraphRule>;
  /** `jumps`, `translates` the destination, or something else. */
  readonly does: 'jumps' | 'translates' | 'other';
  /** Whether it is known that the rule matches. */
  readonly certain: boolean;
  /** Whether the packet comes to its end here. */
  readonly decides: boolean;
  readonly owner: Owner;
  /** Who made it so, where somebody knows: `iptables, pid 4711`. */
  readonly actor?: string;
}

export interface PolicyNode extends Placed {
  readonly kind: 'policy';
  readonly decider: Decider;
  readonly decides: boolean;
  readonly actor?: string;
}

export interface RouteNode extends Placed {
  readonly kind: 'route';
  readonly routes: Listed<string>;
}

/** Jumps in a row to chains where nothing matches. */
export interface PassedNode extends Placed {
  readonly kind: 'passed';
  readonly jumps: Listed<GraphRule>;
}

/** Steps that are left out of a long way. */
export interface GapNode extends Placed {
  readonly kind: 'gap';
  readonly steps: number;
}

export interface EndNode extends Placed {
  readonly kind: 'end';
  readonly verdict: VerdictWord;
  readonly rejectWith?: string;
  readonly masquerade: boolean;
  /** Where the packets go after translation. */
  readonly targets: Listed<{ readonly address: string; readonly share: number }>;
  /** What decided: rules, which stand in the graph as well, or routes, settings, sockets. */
  readonly deciders: Listed<Decider>;
  /** What all packets that end here depend on. */
  readonly unless: Listed<Decider>;
}

/** A packet that is lost after the first got through: the answer, or a later one of the client. */
export interface LossNode extends Placed {
  readonly kind: 'loss';
  readonly lost: 'reply' | 'later';
  readonly verdict: 'drop' | 'reject' | 'unknown';
  readonly deciders: Listed<Decider>;
}

export type GraphNode = ClientNode | ChainNode | RuleNode | PolicyNode | RouteNode | PassedNode | GapNode | EndNode | LossNode;

/** A step from node to node. Several lead from one to the other where it is taken by different clients in different shares. */
export interface GraphEdge {
  readonly from: string;
  readonly to: string;
  /** Share of one client's new connections, 0…1. */
  readonly weight: number;
  /** The clients that take it, as prefixes; absent: all that come to `from`. */
  readonly sources?: Listed<string>;
  /** Those are more than half of the addresses that come to `from`. */
  readonly most?: true;
  /** What is assumed of rules that cannot be judged; absent: nothing that is not assumed at `from` already. */
  readonly unless?: readonly EdgeDoubt[];
}

export interface EdgeDoubt {
  readonly decider: Decider;
  /** Assumed to match, or not to. */
  readonly matched: boolean | 'either';
  /** Alike rules of other endpoints that the same is assumed of. */
  readonly more: number;
}

/** The beginning of a list, as a drawing names no more. */
export const listed = <Item>(items: readonly Item[]): Listed<Item> => ({
  shown: items.slice(0, limits.drawingListMax),
  more: Math.max(0, items.length - limits.drawingListMax),
});
