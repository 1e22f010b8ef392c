// What the collector knows now: the nodes with their facts, the cluster objects, and per node what follows from both. History is the store's.

import { limits } from '../../shared/limits.ts';
import type { SequencedChange } from '../../shared/model/change.ts';
import type { Expectation } from '../../shared/model/expectation.ts';
import type { Fact } from '../../shared/model/fact.ts';
import type { Finding } from '../../shared/model/finding.ts';
import { diagnoseNode } from '../causes/index.ts';
import type { Drift } from '../compare/index.ts';
import { type ClusterObjects, noObjects, objectKinds } from '../kubernetes/objects.ts';
import type { Touched } from '../kubernetes/source.ts';
import type { FindingRecord } from '../store/store.ts';
import { Board, type BoardUpdate, type FactChanges } from './board.ts';
import { type Episodes, episodeEvents, newEpisodes, onsetsBefore, onsetsOf, stepEpisodes } from './episodes.ts';
import { ProgrammingLatency } from './programming.ts';

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
  /** `elsewhere`: another replica of the collector owns the node, and has stored it. */
  | { readonly kind: 'finding-opened' | 'finding-changed' | 'finding-closed'; readonly finding: Finding; readonly at: number; readonly elsewhere?: true }
  | { readonly kind: 'change'; readonly change: SequencedChange }
  | { readonly kind: 'node'; readonly node: string; readonly connected: boolean; readonly at: number }
  /** Which findings are younger than the grace period has changed. */
  | { readonly kind: 'pending'; readonly node: string }
  | { readonly kind: 'objects'; readonly objects: ClusterObjects; readonly touched: Touched }
  /** A node was looked at: what is known of its NodePorts may be other than before. */
  | { readonly kind: 'judged'; readonly node: string }
  | { readonly kind: 'failed'; readonly node: string; readonly error: unknown };

export interface StateOptions {
  /** The grace period in milliseconds; absent: learned from what kube-proxy is measured to need. */
  readonly graceMs?: number;
  /** Milliseconds after which several inputs are evaluated as one. */
  readonly debounceMs?: number;
  readonly now?: () => number;
  /** Findings that were open when the collector stopped, so that a restart does not open them again. */
  readonly open?: readonly FindingRecord[];
  /** Several collectors share the work: nodes are judged where they are owned (`own`), and mirrored elsewhere (`mirror`). */
  readonly isShared?: boolean;
}

/** What the owner of a node says of it to the other replicas. Times as in `NodeView`. */
export interface Mirrored {
  readonly connected: boolean;
  readonly since?: number;
  readonly agent?: AgentInfo;
  readonly heardAt?: number;
  readonly stateAt?: number;
  readonly open: readonly FindingRecord[];
  readonly pending: readonly Finding[];
}

/** Changes kept in memory for each node, and for the cluster, and for all together: what diagnosis looks through. */
const recentChangesMax = 2_000;
const recentChangesMin = 100;
const recentChangesTotalMax = 200_000;
/** Milliseconds that rules have to follow a change of objects before it is looked for the cause of the difference. */
const convergenceMs = 2_000;
/** The longest time between a change that is not urgent and a look at what it means; the part of the processor that may go into such looks. */
const reviewMaxMs = 60_000;
const reviewShare = 1 / 4;

/** Everything is new. */
export const everything: Touched = { services: new Set(), nodes: new Set(), kinds: new Set(objectKinds), all: true };

/** A node: what is written here, and what the board knows of it. */
class StateNode implements NodeView {
  readonly name: string;
  readonly #board: Board;
  connected = false;
  since?: number;
  agent?: AgentInfo;
  heardAt?: number;
  stateAt?: number;
  findings: readonly Finding[];
  pending: readonly Finding[] = [];
  episodes: Episodes;
  /** When the drift of each NodePort was first seen, by key. */
  onsets: ReadonlyMap<string, number>;
  /** The drifts that were diagnosed last. */
  diagnosed: readonly Drift[] = [];
  timer: NodeJS.Timeout | undefined;
  /** When the timer fires. */
  dueAt = 0;
  /** Whether it is judged here. */
  isOwn: boolean;

  constructor(name: string, board: Board, { before, isOwn }: { readonly before: readonly FindingRecord[]; readonly isOwn: boolean }) {
    this.name = name;
    this.#board = board;
    this.isOwn = isOwn;
    this.findings = before.map(({ finding }) => finding);
    this.episodes = newEpisodes(before);
    this.onsets = onsetsBefore(this.findings);
  }

  get facts(): ReadonlyMap<string, Fact> {
    return this.#board.facts(this.name);
  }

  get expectations(): readonly Expectation[] {
    return this.#board.expectations(this.name);
  }

  get drifts(): readonly Drift[] {
    return this.#board.drifts(this.name);
  }
}

/** Owns the timers of evaluation; `close()` ends them. Inputs are methods, results are views and events. */
export class CollectorState {
  readonly #fixedGraceMs: number | undefined;
  readonly #debounceMs: number;
  readonly #now: () => number;
  readonly #isShared: boolean;
  readonly #board = new Board();
  readonly #latency = new ProgrammingLatency(limits.graceMs);
  readonly #nodes = new Map<string, StateNode>();
  readonly #recent = new Map<string, SequencedChange[]>();
  readonly #openBefore = new Map<string, FindingRecord[]>();
  readonly #listeners = new Set<(event: LiveEvent) => void>();
  #objects: ClusterObjects = noObjects;
  /** Nodes whose time has come, in order. */
  readonly #due = new Set<StateNode>();
  #turn: NodeJS.Immediate | undefined;
  /** What one diagnosis takes, in milliseconds: a moving average. */
  #diagnosisMs = 0;
  readonly #recalled = new Set<string>();
  #changesTotal = 0;
  #closed = false;

  constructor(options: StateOptions) {
    this.#fixedGraceMs = options.graceMs;
    this.#debounceMs = options.debounceMs ?? 50;
    this.#now = options.now ?? Date.now;
    this.#isShared = options.isShared ?? false;
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

  /** Nodes that wait for a look at them, and milliseconds that one takes. */
  get load(): { readonly waiting: number; readonly diagnosisMs: number } {
    const waiting = [...this.#nodes.values()].filter(({ timer }) => timer !== undefined).length;
    return { waiting: waiting + this.#due.size, diagnosisMs: this.#diagnosisMs };
  }

  /** Changes taken in since the start. */
  get changesTotal(): number {
    return this.#changesTotal;
  }

  /** How long rules take to follow a change of objects. */
  get latency(): ProgrammingLatency {
    return this.#latency;
  }

  /** Milliseconds that a difference must last before it is a finding. */
  get graceMs(): number {
    return this.#fixedGraceMs ?? this.#latency.graceMs;
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

  /** Takes over new objects; what hangs on those that are touched is compared again. */
  setObjects(objects: ClusterObjects, touched: Touched = everything): void {
    const first = this.#objects.readAt === 0;
    const at = this.#now();
    this.#objects = objects;
    if (touched.all || touched.nodes.size > 0) this.#matchNodes(objects);
    const update = this.#board.setObjects(objects, touched);
    this.#expect(update, at);
    for (const name of touched.kinds.has('Service') ? touched.services : []) if (!objects.services.has(name)) this.#latency.forgetService(name);
    for (const name of update.nodes) this.#scheduleName(name, Math.min(this.graceMs, convergenceMs));
    if (touched.kinds.size > 0 || touched.all) for (const node of this.#nodes.values()) this.#schedule(node, this.#reviewMs());
    // Whoever asks right after the start shall not be told that there is nothing.
    if (first) for (const name of this.#nodes.keys()) this.settle(name);
    this.#tell({ kind: 'objects', objects, touched });
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
    this.#latency.forget(name);
    this.#tell({ kind: 'node', node: name, connected: false, at });
  }

  /** Notes a sign of life. */
  heard(name: string): void {
    const node = this.#nodes.get(name);
    if (node !== undefined) node.heardAt = this.#now();
  }

  /** Replaces all facts of a node. `at`: when they were read, by the node's clock. */
  setFacts(name: string, facts: ReadonlyMap<string, Fact>, at?: number): void {
    this.#takeFacts(name, this.#board.setFacts(name, { put: facts.values(), delete: [] }, 'all'), at);
  }

  /** Puts and deletes facts of a node. `at`: when they were read, by the node's clock. */
  changeFacts(name: string, changes: FactChanges, at?: number): void {
    this.#takeFacts(name, this.#board.setFacts(name, changes, 'changes'), at);
  }

  /** Judges a node here from now on, beginning with what is known of it. */
  own(name: string): void {
    const node = this.#node(name);
    if (node.isOwn) return;
    node.isOwn = true;
    node.onsets = onsetsBefore([...node.findings, ...node.pending]);
    this.#schedule(node, this.#debounceMs);
  }

  /** Judges a node here no more: another replica does. What is known of it stays. */
  disown(name: string): void {
    const node = this.#nodes.get(name);
    if (node === undefined || !node.isOwn) return;
    node.isOwn = false;
    clearTimeout(node.timer);
    node.timer = undefined;
    this.#due.delete(node);
    this.#latency.forget(name);
  }

  /** Takes over what the owner of a node says of it. Facts come by `mirrorFacts`. */
  mirror(name: string, { connected, open, pending, since, agent, heardAt, stateAt }: Mirrored): void {
    const node = this.#node(name);
    if (node.isOwn) return;
    const at = this.#now();
    const wasConnected = node.connected;
    const before = node.episodes;
    const wereOthers = !isSameFindings(node.pending, pending);
    node.episodes = newEpisodes(open, pending);
    const events = episodeEvents(before, node.episodes, at);
    const known = { ...(agent === undefined ? {} : { agent }), ...(heardAt === undefined ? {} : { heardAt }), ...(stateAt === undefined ? {} : { stateAt }) };
    Object.assign(node, { connected, findings: open.map(({ finding }) => finding), pending, ...(since === undefined ? {} : { since }), ...known });
    for (const event of events) this.#tell({ ...event, elsewhere: true });
    if (connected !== wasConnected) this.#tell({ kind: 'node', node: name, connected, at });
    if (events.length > 0 || wereOthers) this.#tell({ kind: 'judged', node: name });
  }

  /** Takes over facts of a node that is judged elsewhere: all of them, or some. */
  mirrorFacts(name: string, changes: FactChanges, extent: 'all' | 'changes'): void {
    const node = this.#node(name);
    if (node.isOwn) return;
    this.#board.setFacts(name, changes, extent);
    this.#tell({ kind: 'judged', node: name });
  }

  /** Whether a change is among those that are kept in memory. */
  remembers({ node, stream, seq }: SequencedChange): boolean {
    return (this.#recent.get(node) ?? []).some((known) => known.stream === stream && known.seq === seq);
  }

  /** A fact that holds what is common to many nodes once, for one that has to wait until its state is whole. */
  sharedFact(fact: Fact): Fact {
    return this.#board.shared(fact);
  }

  /** Takes over changes that are committed. */
  addChanges(changes: readonly SequencedChange[]): void {
    this.#changesTotal += changes.length;
    for (const change of changes) {
      this.#remember(change);
      this.#tell({ kind: 'change', change });
    }
    // A change is what diagnosis explains with; where there is nothing to explain it can wait.
    for (const name of new Set(changes.map(({ node }) => node))) {
      const node = this.#nodes.get(name);
      if (node !== undefined) this.#schedule(node, isQuiet(node) ? this.#reviewMs() : this.#debounceMs);
    }
  }

  /** Evaluates a node now if it waits for that, for a caller that wants the answer of this moment. */
  settle(name: string): void {
    const node = this.#nodes.get(name);
    if (node?.timer !== undefined || (node !== undefined && this.#due.has(node))) this.#evaluate(node);
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

  #node(name: string): StateNode {
    const existing = this.#nodes.get(name);
    if (existing !== undefined) return existing;
    const node = new StateNode(name, this.#board, { before: this.#openBefore.get(name) ?? [], isOwn: !this.#isShared });
    this.#board.addNode(name);
    this.#nodes.set(name, node);
    return node;
  }

  /** Adds the nodes of the cluster, and forgets those that neither it nor an agent nor a finding knows. */
  #matchNodes(objects: ClusterObjects): void {
    for (const name of objects.nodes.keys()) this.#node(name);
    for (const [name, node] of this.#nodes) {
      if (objects.nodes.has(name) || node.connected || node.findings.length > 0 || this.#openBefore.has(name)) continue;
      clearTimeout(node.timer);
      this.#due.delete(node);
      this.#nodes.delete(name);
      this.#board.removeNode(name);
      this.#latency.forget(name);
    }
  }

  #takeFacts(name: string, update: BoardUpdate, at: number | undefined): void {
    const node = this.#node(name);
    const now = this.#now();
    node.stateAt = now;
    // By our clock; what the node says of a time to come is not believed.
    const seenAt = at === undefined ? now : Math.min(now, at - (node.agent?.clockOffsetMs ?? 0));
    for (const key of this.#latency.waiting(name))
      if (this.#board.isProgrammed(name, key)) this.#latency.programmed(name, { key, service: this.#board.serviceOf(name, key) }, seenAt);
    const urgent = update.others || (update.nodes.has(name) && !isSame(node.diagnosed, node.drifts));
    this.#schedule(node, urgent ? this.#debounceMs : this.#reviewMs());
  }

  /** Begins to measure how long the rules of NodePorts take of which something else is expected now. */
  #expect({ expected }: BoardUpdate, at: number): void {
    for (const [name, keys] of expected ?? []) {
      const node = this.#nodes.get(name);
      if (node === undefined || !node.isOwn || !node.connected || node.stateAt === undefined) continue;
      for (const key of keys) {
        this.#latency.expect(name, key, at);
        // The node was faster than the API's word to us.
        if (this.#board.isProgrammed(name, key)) this.#latency.programmed(name, { key, service: this.#board.serviceOf(name, key) }, at);
      }
    }
  }

  #remember(change: SequencedChange): void {
    const recent = this.#recent.get(change.node) ?? [];
    recent.push(change);
    const most = Math.max(recentChangesMin, Math.min(recentChangesMax, Math.floor(recentChangesTotalMax / Math.max(1, this.#nodes.size))));
    if (recent.length > most * 1.1) recent.splice(0, recent.length - most);
    this.#recent.set(change.node, recent);
  }

  /** Milliseconds after which a change that is not urgent is looked at: soon in a small cluster, and never so often that there is time for nothing else. */
  #reviewMs(): number {
    return Math.max(this.#debounceMs, Math.min(reviewMaxMs, (this.#diagnosisMs * this.#nodes.size) / reviewShare));
  }

  #scheduleName(name: string, afterMs: number): void {
    const node = this.#nodes.get(name);
    if (node !== undefined) this.#schedule(node, Math.max(this.#debounceMs, afterMs));
  }

  // The first input of a burst starts the clock and later ones do not push it back: a node under constant change is still evaluated.
  #schedule(node: StateNode, afterMs: number): void {
    const dueAt = this.#now() + afterMs;
    if (this.#closed || !node.isOwn || this.#due.has(node) || (node.timer !== undefined && node.dueAt <= dueAt)) return;
    clearTimeout(node.timer);
    node.dueAt = dueAt;
    node.timer = setTimeout(() => this.#await(node), afterMs);
  }

  // One node a turn of the event loop: an edited Service concerns every node, and heartbeats and answers go on in between.
  #await(node: StateNode): void {
    node.timer = undefined;
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

  #evaluate(node: StateNode): void {
    clearTimeout(node.timer);
    node.timer = undefined;
    this.#due.delete(node);
    // Without a full state nothing is known: findings of before neither end nor begin.
    if (node.stateAt === undefined) return;
    const begun = performance.now();
    try {
      this.#diagnose(node);
    } catch (error) {
      this.#tell({ kind: 'failed', node: node.name, error });
    }
    this.#diagnosisMs += (performance.now() - begun - this.#diagnosisMs) / 16;
  }

  #diagnose(node: StateNode): void {
    const now = this.#now();
    const objects = this.#objects;
    const { name, facts, expectations, drifts } = node;
    const onsets = onsetsOf(node.onsets, drifts, now);
    node.onsets = onsets;
    node.diagnosed = drifts;
    const found = diagnoseNode({
      node: name,
      facts,
      expectations,
      drifts,
      objects,
      changes: this.recentChanges(name),
      now,
      onsets,
      clockOffsetMs: node.agent?.clockOffsetMs ?? 0,
    });
    const { episodes, open, pending, events } = stepEpisodes(node.episodes, { found, now, graceMs: this.graceMs });
    const wereOthers = !isSameFindings(node.pending, pending);
    Object.assign(node, { episodes, findings: open, pending });
    if (wereOthers) this.#tell({ kind: 'pending', node: name });
    for (const event of events) this.#tell(event);
    this.#tell({ kind: 'judged', node: name });
    if (episodes.dueAt !== undefined) this.#schedule(node, Math.max(this.#debounceMs, episodes.dueAt - now));
  }

  #tell(event: LiveEvent): void {
    for (const listener of [...this.#listeners]) listener(event);
  }
}

const isQuiet = ({ findings, pending, drifts }: StateNode): boolean => findings.length + pending.length + drifts.length === 0;

const isSameFindings = (a: readonly Finding[], b: readonly Finding[]): boolean => a.length === b.length && a.every(({ id }, index) => id === b[index]?.id);

/** Drifts that are worth comparing one by one; of more it is likely that they are others. */
const comparedMax = 1_000;

/** Whether two lists of drifts say the same. */
function isSame(a: readonly Drift[], b: readonly Drift[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length || a.length > comparedMax) return false;
  return a.every(({ key, kind, fact }, index) => key === b[index]?.key && kind === b[index]?.kind && fact?.outcomes === b[index]?.fact?.outcomes);
}
