// Keeps what this replica knows of nodes that others own: reads what their owners have written since it looked last.
import { limits } from '../../shared/limits.ts';
import type { Fact } from '../../shared/model/fact.ts';
import type { Finding } from '../../shared/model/finding.ts';
import type { AgentInfo, CollectorState } from '../state/state.ts';
import type { FindingRecord, NodeState, Store, StoredBucket } from '../store/store.ts';
import { factsOfBucket, storedBucketOf } from './facts.ts';
import type { Owned } from './ownership.ts';

export interface MirrorOptions {
  readonly store: Store;
  readonly state: CollectorState;
  readonly owned: Owned;
  readonly self: string;
  /** Milliseconds since a replica was heard of; undefined for one that is not there. */
  readonly ageOf: (replica: string) => number | undefined;
  /** Another replica owns a node that was owned here. */
  readonly onLost: (node: string) => void;
  readonly onFailure: (error: unknown) => void;
}

/** Nodes that are read at a time. */
const readersMax = 6;
const openFindingsMax = 100_000;
/** Changes of all nodes together that are kept in memory from before. */
const recalledTotalMax = 100_000;
const recalledMin = 50;

interface Known {
  readonly row: NodeState;
  readonly open: readonly FindingRecord[];
  readonly lastChange: number;
}

export class Mirror {
  readonly #options: MirrorOptions;
  readonly #known = new Map<string, Known>();
  readonly #noted = new Set<string>();
  #living: ReadonlySet<string> = new Set();
  #isAllNoted = false;
  #working: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: MirrorOptions) {
    this.#options = options;
  }

  /** The replica that owns a node; undefined where nobody does. */
  holder(node: string): string | undefined {
    const holder = this.#known.get(node)?.row.holder;
    return holder === '' ? undefined : holder;
  }

  /** How many nodes each replica has an agent of. */
  get connectedByHolder(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (const { row } of this.#known.values()) if (row.connected && row.node !== '') counts.set(row.holder, (counts.get(row.holder) ?? 0) + 1);
    return counts;
  }

  /** Whether some node is owned by a replica that does not live. */
  hasOrphans(living: ReadonlySet<string>): boolean {
    return [...this.#known.values()].some(({ row }) => row.node !== '' && row.holder !== this.#options.self && !living.has(row.holder));
  }

  /** There is something new of a node; of all, where none is named. */
  note(node?: string): void {
    if (node === undefined) this.#isAllNoted = true;
    else this.#noted.add(node);
    this.#timer ??= setTimeout(() => void this.#begin(), noteMs);
  }

  /** Reads everything that is new of all nodes. Rejects where the store does. */
  async readAll(): Promise<void> {
    await this.#read(await this.#options.store.nodeStates());
  }

  /** Reads what is new of one node, whoever owns it by now. */
  async load(node: string): Promise<void> {
    const [row] = await this.#options.store.nodeStates([node]);
    if (row !== undefined) await this.#take(row);
  }

  /** What was known of a node that was owned here is not what others know: it is read whole. */
  forget(node: string): void {
    this.#known.delete(node);
  }

  /** Says who is connected where replicas have come or gone, and else that those that live hear of their nodes. */
  review(living: ReadonlySet<string>): void {
    const { owned, state } = this.#options;
    const before = this.#living;
    this.#living = living;
    for (const { row, open } of this.#known.values()) {
      if (owned.token(row.node) !== undefined) continue;
      if (living.has(row.holder) !== before.has(row.holder)) this.#show(row, open);
      else if (row.connected && living.has(row.holder)) state.heard(row.node);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#working;
  }

  async #begin(): Promise<void> {
    await this.#working;
    this.#timer = undefined;
    if (this.#closed) return;
    const nodes = this.#isAllNoted ? undefined : [...this.#noted];
    this.#isAllNoted = false;
    this.#noted.clear();
    this.#working = this.#options.store
      .nodeStates(nodes)
      .then((rows) => this.#read(rows))
      .catch((error: unknown) => this.#options.onFailure(error));
    await this.#working;
  }

  async #read(rows: readonly NodeState[]): Promise<void> {
    const waiting = rows.filter((row) => this.#isNews(row));
    const read = async (): Promise<void> => {
      for (let row = waiting.shift(); row !== undefined && !this.#closed; row = waiting.shift()) await this.#take(row);
    };
    await Promise.all(Array.from({ length: readersMax }, read));
  }

  #isNews({ node, revision, token }: NodeState): boolean {
    const known = this.#known.get(node)?.row;
    return known === undefined || revision > known.revision || token > known.token;
  }

  async #take(row: NodeState): Promise<void> {
    const { owned, self, onLost } = this.#options;
    const token = owned.token(row.node);
    if (token !== undefined && (row.token < token || (row.token === token && row.holder === self))) return this.#keepOwn(row);
    if (token !== undefined) onLost(row.node);
    const known = this.#known.get(row.node);
    const news = await this.#newsOf(row, known);
    // It may have been taken here meanwhile: then what its owner writes is what we know.
    if (owned.token(row.node) !== undefined) return;
    this.#known.set(row.node, { row, open: news.open, lastChange: news.lastChange });
    if (row.node !== '') this.#showFacts(row.node, news.buckets, known === undefined ? 'all' : 'changes');
    this.#show(row, news.open);
    this.#options.state.addChanges(news.changes.filter((change) => !this.#options.state.remembers(change)));
  }

  /** Of a node that is owned here only who owns it is noted. */
  #keepOwn(row: NodeState): void {
    const known = this.#known.get(row.node);
    if (known === undefined || row.revision > known.row.revision)
      this.#known.set(row.node, { row: { ...row, factsRevision: known?.row.factsRevision ?? 0 }, open: [], lastChange: known?.lastChange ?? 0 });
  }

  async #newsOf(row: NodeState, known: Known | undefined) {
    const { store, state } = this.#options;
    const { node } = row;
    if (known === undefined && state.needsRecall(node)) await this.#recall(node);
    const lastChange = known?.lastChange ?? (await store.lastChange());
    const [buckets, open, changes] = await Promise.all([
      row.factsRevision > (known?.row.factsRevision ?? -1) ? store.factBuckets(node, known?.row.factsRevision ?? -1) : [],
      row.findingsRevision > (known?.row.findingsRevision ?? -1) ? store.findings({ node, open: true, limit: openFindingsMax }) : (known?.open ?? []),
      known !== undefined && row.changesRevision > known.row.changesRevision
        ? store.changesAfter(node, lastChange, limits.apiItemsMax)
        : { items: [], last: lastChange },
    ]);
    return { buckets, open, changes: changes.items, lastChange: changes.last };
  }

  async #recall(node: string): Promise<void> {
    const { store, state } = this.#options;
    const limit = Math.max(recalledMin, Math.min(limits.apiItemsMax, Math.floor(recalledTotalMax / Math.max(1, this.#known.size))));
    state.recall(node, (await store.changes({ node, limit })).items);
  }

  #showFacts(node: string, buckets: readonly StoredBucket[], extent: 'all' | 'changes'): void {
    if (buckets.length === 0) return;
    const { state } = this.#options;
    const put = buckets.flatMap(factsOfBucket);
    if (extent === 'all') return state.mirrorFacts(node, { put, delete: [] }, 'all');
    const keys = new Set(put.map(({ key }) => key));
    const read = new Set(buckets.map(({ bucket }) => bucket));
    const gone = [...(state.node(node)?.facts ?? new Map<string, Fact>()).keys()].filter((key) => !keys.has(key) && read.has(storedBucketOf(key)));
    state.mirrorFacts(node, { put, delete: gone }, 'changes');
  }

  #show(row: NodeState, open: readonly FindingRecord[]): void {
    if (row.node === '') return;
    const ageMs = this.#options.ageOf(row.holder);
    const connected = row.connected && ageMs !== undefined && ageMs < limits.replicaDeadMs;
    this.#options.state.mirror(row.node, {
      connected,
      open,
      pending: parsed<readonly Finding[]>(row.pending) ?? [],
      ...(row.since === 0 ? {} : { since: row.since }),
      ...(row.stateAt === 0 ? {} : { stateAt: row.stateAt }),
      ...withAgent(parsed<AgentInfo>(row.agent)),
      heardAt: connected ? Date.now() - (ageMs ?? 0) : Math.max(row.stateAt, row.connected ? 0 : row.since),
    });
  }
}

/** Milliseconds that notes wait for more. */
const noteMs = 50;

const withAgent = (agent: AgentInfo | undefined): { readonly agent?: AgentInfo } => (agent === undefined ? {} : { agent });

const parsed = <T>(text: string | null): T | undefined => (text === null ? undefined : (JSON.parse(text) as T));
