// Writes what this replica knows of the nodes that it owns, so that the others know it as well.
import { createHash } from 'node:crypto';
import { limits } from '../../shared/limits.ts';
import type { CollectorState, NodeView } from '../state/state.ts';
import type { NodeNews, Store } from '../store/store.ts';
import { bucketsOf, storedBucketOf } from './facts.ts';
import type { Owned } from './ownership.ts';

export interface PublisherOptions {
  readonly store: Pick<Store, 'saveNodeState'>;
  readonly state: CollectorState;
  readonly owned: Owned;
  /** A node could not be written; one that another replica owns by now is no failure. */
  readonly onFailure: (node: string, error: unknown) => void;
}

interface Dirt {
  buckets: 'all' | Set<number>;
}

/** Milliseconds after which what could not be written is tried again. */
const retryMs = 2_000;
const writersMax = 4;

export class Publisher {
  readonly #options: PublisherOptions;
  readonly #dirty = new Map<string, Dirt>();
  /** Digests of the buckets as they were written, by node: what did not change is not written again. */
  readonly #written = new Map<string, Map<number, string>>();
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> = Promise.resolve();

  constructor(options: PublisherOptions) {
    this.#options = options;
  }

  /** Facts of an own node have changed: all, or those with these keys; with none, what is known besides facts. */
  changed(node: string, keys: 'all' | Iterable<string> = []): void {
    const dirt = this.#dirty.get(node) ?? { buckets: new Set<number>() };
    if (keys === 'all') dirt.buckets = 'all';
    else if (dirt.buckets !== 'all') for (const key of keys) dirt.buckets.add(storedBucketOf(key));
    this.#dirty.set(node, dirt);
    this.#schedule(limits.replicaPublishMs);
  }

  /** Nothing more is written of a node. */
  forget(node: string): void {
    this.#dirty.delete(node);
    this.#written.delete(node);
  }

  /** Writes what waits. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#flushing = this.#flushing.then(() => this.#write());
    await this.#flushing;
  }

  async close(): Promise<void> {
    await this.flush();
    clearTimeout(this.#timer);
  }

  #schedule(ms: number): void {
    this.#timer ??= setTimeout(() => void this.flush(), ms);
  }

  async #write(): Promise<void> {
    const waiting = [...this.#dirty];
    this.#dirty.clear();
    const write = async (): Promise<void> => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) await this.#writeNode(...next);
    };
    await Promise.all(Array.from({ length: writersMax }, write));
  }

  async #writeNode(node: string, dirt: Dirt): Promise<void> {
    const { state, store, owned, onFailure } = this.#options;
    const view = state.node(node);
    if (view === undefined || owned.token(node) === undefined) return this.forget(node);
    const whole = dirt.buckets === 'all';
    const written = this.#written.get(node) ?? new Map<number, string>();
    const buckets = bucketsOf(view.facts.values(), dirt.buckets).map((each) => ({ ...each, digest: createHash('sha1').update(each.body).digest('base64') }));
    const news = whole ? buckets : buckets.filter(({ bucket, digest }) => written.get(bucket) !== digest);
    try {
      await store.saveNodeState(owned.fence(node), { ...newsOf(view), buckets: news.map(({ bucket, body }) => ({ bucket, body })), whole });
      if (whole) written.clear();
      for (const { bucket, digest } of news) written.set(bucket, digest);
      this.#written.set(node, written);
    } catch (error) {
      onFailure(node, error);
      this.#written.delete(node);
      if (owned.token(node) === undefined) return;
      this.changed(node, 'all');
      clearTimeout(this.#timer);
      this.#timer = undefined;
      this.#schedule(retryMs);
    }
  }
}

function newsOf({ connected, since, stateAt, agent, pending }: NodeView): Omit<NodeNews, 'buckets' | 'whole'> {
  return {
    connected,
    since: since ?? 0,
    stateAt: stateAt ?? 0,
    agent: agent === undefined ? null : JSON.stringify(agent),
    pending: pending.length === 0 ? null : JSON.stringify(pending),
  };
}
