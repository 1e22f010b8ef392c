// What the collector knows now: the nodes with their facts, the cluster objects, and per node what follows from both. History is the store's.
import type { SequencedChange } from '../../shared/model/change.ts';
import type { Expectation } from '../../shared/model/expectation.ts';
import type { Fact } from '../../shared/model/fact.ts';
import type { Finding } from '../../shared/model/finding.ts';
import { diagnoseNode } from '../causes/index.ts';
import { compareNode, type Drift } from '../compare/index.ts';
import { expectationsFor } from '../expect/index.ts';
import { type ClusterObjects, noObjects } from '../kubernetes/objects.ts';
import type { FindingRecord } from '../store/store.ts';
import { type Episodes, newEpisodes, onsetsBefore, onsetsOf, stepEpisodes } from './episodes.ts';

/** Who speaks for a node while it is connected. */
export interface AgentInfo {
  readonly session: string;
  readonly version: string;
  readonly bootId: string;
  readonly stream: string;
  readonly capabilities: readonly string[];
  /** The agent's clock minus the collector's, in milliseconds, transit time included. */
  readonly clockOffsetMs: number;
}

/** One node as it is known now. All times are milliseconds since 1970 by the collector's clock. */
export interface NodeView {
  readonly name: string;
  readonly connected: boolean;
  /** Since when it is connected, or not; absent for a node that no agent ever spoke for in this run. */
  readonly since?: number;
  /** The last session's; absent before the first. */
  readonly agent?: AgentInfo;
  /** When anything was heard of it last, heartbeats included. */
  readonly heardAt?: number;
  /** When facts arrived last. */
  readonly stateAt?: number;
  /** Empty until the first full state has come in whole. */
  readonly facts: ReadonlyMap<string, Fact>;
  readonly expectations: readonly Expectation[];
  readonly drifts: readonly Drift[];
  /** Open findings, past the grace period. */
  readonly findings: readonly Finding[];
  /** Findings younger than the grace period. */
  readonly pending: readonly Finding[];
}

/** What subscribers are told. */
export type LiveEvent =
  | { readonly kind: 'finding-opened'; readonly finding: Finding; readonly at: number }
  | { readonly kind: 'finding-changed'; readonly finding: Finding; readonly at: number }
  | { readonly kind: 'finding-closed'; readonly finding: Finding; readonly at: number }
  | { readonly kind: 'change'; readonly change: SequencedChange }
  | { readonly kind: 'node'; readonly node: string; readonly connected: boolean; readonly at: number }
  | { readonly kind: 'objects'; readonly objects: ClusterObjects }
  | { readonly kind: 'failed'; readonly node: string; readonly error: unknown };

export interface StateOptions {
  readonly graceMs: number;
  /** Milliseconds after which several inputs are evaluated as one. */
  readonly debounceMs?: number;
  readonly now?: () => number;
  /** Findings that were open when the collector stopped, so that a restart does not open them again. */
  readonly open?: readonly FindingRecord[];
}

/** Changes kept in memory for each node, and for the cluster: what diagnosis looks through. */
const recentChangesMax = 2_000;

interface MutableNode {
  name: string;
  connected: boolean;
  since?: number;
  agent?: AgentInfo;
  heardAt?: number;
  stateAt?: number;
  facts: ReadonlyMap<string, Fact>;
  expectations: readonly Expectation[];
  /** The objects that `expectations` were made of. */
  expectedFrom?: ClusterObjects;
  drifts: readonly Drift[];
  findings: readonly Finding[];
  pending: readonly Finding[];
  episodes: Episodes;
  /** When the drift of each NodePort was first seen, by key. */
  onsets: ReadonlyMap<string, number>;
  timer?: NodeJS.Timeout | undefined;
  /** When the timer fires. */
  dueAt: number;
}

/** Owns the timers of evaluation; `close()` ends them. Inputs are methods, results are views and events. */
export class CollectorState {
  readonly #graceMs: number;
  readonly #debounceMs: number;
  readonly #now: () => number;
  readonly #nodes = new Map<string, MutableNode>();
  readonly #recent = new Map<string, SequencedChange[]>();
  readonly #openBefore = new Map<string, FindingRecord[]>();
  readonly #listeners = new Set<(event: LiveEvent) => void>();
  #objects: ClusterObjects = noObjects;
  /** Nodes whose time has come, in order. */
  readonly #due = new Set<MutableNode>();
  #turn: NodeJS.Immediate | undefined;
  readonly #recalled = new Set<string>();
  #changesTotal = 0;
  #closed = false;

  constructor(options: StateOptions) {
    this.#graceMs = options.graceMs;
    this.#debounceMs = options.debounceMs ?? 50;
    this.#now = options.now ?? Date.now;
    for (const record of options.open ?? []) this.#openBefore.set(record.finding.node, [...(this.#openBefore.get(record.finding.node) ?? []), record]);
    for (const node of this.#openBefore.keys()) this.#node(node);
  }

  /** Nodes of the cluster and nodes that an agent spoke for, by name. */
  get nodes(): readonly NodeView[] {
    return [...this.#nodes.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  get objects(): ClusterObjects {
    return this.#objects;
  }

  /** Changes taken in since the start. */
  get changesTotal(): number {
    return this.#changesTotal;
  }

  node(name: string): NodeView | undefined {
    return this.#nodes.get(name);
  }

  /** Changes of a node and of the cluster that are kept in memory, oldest first. */
  recentChanges(node: string): readonly SequencedChange[] {
    return [...(this.#recent.get('') ?? []), ...(node === '' ? [] : (this.#recent.get(node) ?? []))].sort((a, b) => a.at - b.at);
  }

  /** Calls back for every event until the returned function is called. */
  subscribe(listener: (event: LiveEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Takes over new objects; every node is compared again. */
  setObjects(objects: ClusterObjects): void {
    const first = this.#objects.readAt === 0;
    this.#objects = objects;
    for (const name of objects.nodes.keys()) this.#node(name);
    for (const [name, node] of this.#nodes) {
      const known = objects.nodes.has(name) || node.connected || node.findings.length > 0 || this.#openBefore.has(name);
      if (known) this.#schedule(node);
      else this.#nodes.delete(name);
    }
    // Whoever asks right after the start shall not be told that there is nothing.
    if (first) for (const name of this.#nodes.keys()) this.settle(name);
    this.#tell({ kind: 'objects', objects });
  }

  connect(name: string, agent: AgentInfo): void {
    const node = this.#node(name);
    const at = this.#now();
    Object.assign(node, { connected: true, since: at, heardAt: at, agent });
    this.#tell({ kind: 'node', node: name, connected: true, at });
  }

  /** Says that a session has ended; nothing happens when another session speaks for the node already. What was known of it stays. */
  disconnect(name: string, session: string): void {
    const node = this.#nodes.get(name);
    if (node?.agent?.session !== session || !node.connected) return;
    const at = this.#now();
    Object.assign(node, { connected: false, since: at });
    this.#tell({ kind: 'node', node: name, connected: false, at });
  }

  /** Notes a sign of life. */
  heard(name: string): void {
    const node = this.#nodes.get(name);
    if (node !== undefined) node.heardAt = this.#now();
  }

  /** Replaces all facts of a node. */
  setFacts(name: string, facts: ReadonlyMap<string, Fact>): void {
    const node = this.#node(name);
    Object.assign(node, { facts, stateAt: this.#now() });
    this.#schedule(node);
  }

  /** Takes over changes that are committed. */
  addChanges(changes: readonly SequencedChange[]): void {
    this.#changesTotal += changes.length;
    for (const change of changes) {
      this.#remember(change);
      this.#tell({ kind: 'change', change });
    }
    for (const name of new Set(changes.map(({ node }) => node))) {
      const node = this.#nodes.get(name);
      if (node !== undefined) this.#schedule(node);
    }
  }

  /** Evaluates a node now if it waits for that, for a caller that wants the answer of this moment. */
  settle(name: string): void {
    const node = this.#nodes.get(name);
    if (node?.timer !== undefined) this.#evaluate(node);
  }

  /** Whether the stored changes of a node (empty: of the cluster) are still to be given to `recall`. */
  needsRecall(node: string): boolean {
    return !this.#recalled.has(node);
  }

  /** Takes over changes of before this run, so that a fault that outlived a restart still finds its trigger. They are told to nobody. */
  recall(node: string, changes: readonly SequencedChange[]): void {
    this.#recalled.add(node);
    const known = this.#recent.get(node) ?? [];
    const seen = new Set(known.map(({ stream, seq }) => `${stream} ${seq}`));
    const older = changes.filter(({ stream, seq }) => !seen.has(`${stream} ${seq}`));
    this.#recent.set(
      node,
      [...older, ...known].sort((a, b) => a.at - b.at),
    );
  }

  close(): void {
    this.#closed = true;
    clearImmediate(this.#turn);
    for (const node of this.#nodes.values()) clearTimeout(node.timer);
    this.#listeners.clear();
  }

  #node(name: string): MutableNode {
    const existing = this.#nodes.get(name);
    if (existing !== undefined) return existing;
    const before = this.#openBefore.get(name) ?? [];
    const findings = before.map(({ finding }) => finding);
    const node: MutableNode = {
      name,
      connected: false,
      facts: new Map(),
      expectations: [],
      drifts: [],
      findings,
      pending: [],
      episodes: newEpisodes(before),
      onsets: onsetsBefore(findings),
      dueAt: 0,
    };
    this.#nodes.set(name, node);
    return node;
  }

  #remember(change: SequencedChange): void {
    const recent = this.#recent.get(change.node) ?? [];
    recent.push(change);
    if (recent.length > recentChangesMax * 1.1) recent.splice(0, recent.length - recentChangesMax);
    this.#recent.set(change.node, recent);
  }

  // The first input of a burst starts the clock and later ones do not push it back: a node under constant change is still evaluated.
  #schedule(node: MutableNode, afterMs = this.#debounceMs): void {
    const dueAt = this.#now() + afterMs;
    if (this.#closed || (node.timer !== undefined && node.dueAt <= dueAt)) return;
    clearTimeout(node.timer);
    node.dueAt = dueAt;
    node.timer = setTimeout(() => this.#await(node), afterMs);
  }

  // One node a turn of the event loop: an edited Service concerns every node, and heartbeats and answers go on in between.
  #await(node: MutableNode): void {
    this.#due.add(node);
    this.#turn ??= setImmediate(() => this.#next());
  }

  #next(): void {
    this.#turn = undefined;
    const [node] = this.#due;
    if (node === undefined || this.#closed) return;
    this.#evaluate(node);
    if (this.#due.size > 0) this.#turn = setImmediate(() => this.#next());
  }

  #evaluate(node: MutableNode): void {
    clearTimeout(node.timer);
    node.timer = undefined;
    this.#due.delete(node);
    try {
      this.#compare(node);
      // Without a full state nothing is known: findings of before neither end nor begin.
      if (node.stateAt !== undefined) this.#diagnose(node);
    } catch (error) {
      this.#tell({ kind: 'failed', node: node.name, error });
    }
  }

  #compare(node: MutableNode): void {
    const objects = this.#objects;
    const { name, facts } = node;
    if (node.expectedFrom !== objects) Object.assign(node, { expectations: expectationsFor(name, objects), expectedFrom: objects });
    node.drifts = compareNode({ node: name, facts, expectations: node.expectations, objects });
  }

  #diagnose(node: MutableNode): void {
    const now = this.#now();
    const objects = this.#objects;
    const { name, facts, expectations, drifts } = node;
    const onsets = onsetsOf(node.onsets, drifts, now);
    node.onsets = onsets;
    const found = diagnoseNode({ node: name, facts, expectations, drifts, objects, changes: this.recentChanges(name), now, onsets });
    const { episodes, open, pending, events } = stepEpisodes(node.episodes, { found, now, graceMs: this.#graceMs });
    Object.assign(node, { episodes, findings: open, pending });
    for (const event of events) this.#tell(event);
    if (episodes.dueAt !== undefined) this.#schedule(node, Math.max(0, episodes.dueAt - now));
  }

  #tell(event: LiveEvent): void {
    for (const listener of [...this.#listeners]) listener(event);
  }
}
