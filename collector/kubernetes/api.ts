// Cluster objects from the Kubernetes API: one follower for each kind, and from what they find the states of the whole.
import { limits } from '../../shared/limits.ts';
import { type Connection, connectionOf } from './connection.ts';
import { faultsBetween } from './faults.ts';
import { type FollowedKind, Follower } from './follow.ts';
import { Inventory } from './inventory.ts';
import { noObjects, type ObjectIssue, type ObjectKind, objectKey, objectKinds, readObject } from './objects.ts';
import { sharing } from './share.ts';
import type { KindView, ObjectSource, ObjectsUpdate } from './source.ts';

export interface ApiSourceOptions {
  /** File; absent: the in-cluster configuration. */
  readonly kubeconfig?: string;
  /** Where a pod's file system begins, for the in-cluster configuration; empty when absent. */
  readonly root?: string;
  readonly onUpdate: (update: ObjectsUpdate) => void;
  /** Milliseconds to collect events before they are reported together. */
  readonly debounceMs?: number;
  /** Milliseconds that a watch may be silent; bookmarks come about once a minute, so a longer silence means that it may be dead. */
  readonly idleMs?: number;
  /** The largest pause between tries, in milliseconds. */
  readonly pauseMaxMs?: number;
  /** Milliseconds after which a list checks what the watch has told; absent: ten minutes to an hour, by the number of objects. */
  readonly relistMs?: number;
  /** Milliseconds that things between objects may be at odds: a Service and its slices come by different watches. */
  readonly settleMs?: number;
}

/** Starts to watch. Resolves once the configuration is read, not once the API has answered: an outage is an issue, and is waited out. Throws INPUT_INVALID. */
export async function watchApi(options: ApiSourceOptions): Promise<ObjectSource> {
  const { kubeconfig, root } = options;
  return new ApiSource(options, await connectionOf({ ...(kubeconfig === undefined ? {} : { kubeconfig }), ...(root === undefined ? {} : { root }) }));
}

const idleMs = 120_000;
const pauseMaxMs = 30_000;
const settleMs = 15_000;

class ApiSource implements ObjectSource {
  readonly #options: ApiSourceOptions;
  readonly #connection: Connection;
  readonly #stop = new AbortController();
  readonly #inventory = new Inventory();
  readonly #followers: readonly Follower[];
  readonly #loops: Promise<unknown>;
  readonly #share = sharing();
  /** Faults of single objects, by kind and key. */
  readonly #objectIssues = new Map<string, readonly ObjectIssue[]>();
  /** Faults between objects as they are now, each with the time it was first seen. */
  #between = new Map<string, { readonly issue: ObjectIssue; readonly since: number }>();
  #timer: NodeJS.Timeout | undefined;
  #looking: NodeJS.Timeout | undefined;

  constructor(options: ApiSourceOptions, connection: Connection) {
    this.#options = options;
    this.#connection = connection;
    this.#followers = objectKinds.map((kind) => this.#follower(kind));
    this.#loops = Promise.all(this.#followers.map((follower) => follower.run()));
  }

  view(): readonly KindView[] {
    return this.#followers.map(({ view }) => ({ ...view, objects: this.#inventory.count(view.kind) }));
  }

  async close(): Promise<void> {
    this.#stop.abort();
    clearTimeout(this.#timer);
    clearTimeout(this.#looking);
    await this.#loops;
    this.#connection.close();
  }

  #follower(kind: ObjectKind): Follower {
    const { relistMs } = this.#options;
    return new Follower({
      kind,
      connection: this.#connection,
      into: this.#into(kind),
      signal: this.#stop.signal,
      idleMs: this.#options.idleMs ?? idleMs,
      pauseMaxMs: this.#options.pauseMaxMs ?? pauseMaxMs,
      ...(relistMs === undefined ? {} : { relistMs }),
    });
  }

  #into(kind: ObjectKind): FollowedKind {
    const inventory = this.#inventory;
    const where = this.#connection.server.origin;
    const noteIssues = (key: string, issues: readonly ObjectIssue[]): void => {
      const name = `${kind} ${key}`;
      if (issues.length === 0) this.#objectIssues.delete(name);
      // Where everything is absurd, some of it is enough.
      else if (this.#objectIssues.has(name) || this.#objectIssues.size < 2 * limits.objectIssuesMax) this.#objectIssues.set(name, issues);
    };
    return {
      put: (raw) => {
        const { object, issues } = readObject(kind, raw, { where, share: this.#share });
        if (object === undefined) return { key: undefined, changed: false };
        const key = objectKey(object);
        noteIssues(key, issues);
        return { key, changed: inventory.put(kind, key, object) };
      },
      delete: (raw) => {
        const { object } = readObject(kind, raw, { where });
        if (object === undefined) return;
        const key = objectKey(object);
        noteIssues(key, []);
        inventory.delete(kind, key);
      },
      keepOnly: (keys) => {
        for (const name of this.#objectIssues.keys())
          if (name.startsWith(`${kind} `) && !keys.has(name.slice(kind.length + 1))) this.#objectIssues.delete(name);
        return inventory.keepOnly(kind, keys);
      },
      count: () => inventory.count(kind),
      changed: () => this.#soon(),
    };
  }

  #soon(): void {
    if (this.#stop.signal.aborted || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#report();
    }, this.#options.debounceMs ?? 100);
  }

  #report(): void {
    const at = Date.now();
    const views = this.view();
    // Until every kind was listed once (or cannot be), Services without their endpoints would look like faults: only issues are told before.
    if (views.some(({ lists, state }) => lists === 0 && state !== 'unreadable')) {
      this.#options.onUpdate({ objects: noObjects, changes: [], issues: this.#issues(views), touched: untouched });
      return;
    }
    const unread = views.filter(({ lists }) => lists === 0).map(({ kind, reason }) => [kind, reason ?? 'the API does not let us read it'] as const);
    this.#inventory.setUnread(new Map(unread));
    const { objects, changes, touched } = this.#inventory.take({ at, actorOf: () => ({ how: 'unknown' }) });
    if ((['Service', 'EndpointSlice', 'Node'] as const).some((kind) => touched.kinds.has(kind))) this.#lookLater();
    this.#options.onUpdate({ objects, changes, issues: this.#issues(views), touched });
  }

  // What is at odds for a moment settles by itself, and is told when it does not. Looking through everything is not for every single change either.
  #lookLater(): void {
    if (this.#stop.signal.aborted) return;
    this.#looking ??= setTimeout(() => {
      this.#looking = undefined;
      this.#look(Date.now());
    }, this.#options.settleMs ?? settleMs);
  }

  #look(at: number): void {
    const before = this.#settled(at).length;
    const found = faultsBetween(this.#inventory.objects).slice(0, limits.objectIssuesMax);
    this.#between = new Map(
      found.map((issue) => {
        const key = `${issue.object} ${issue.reason}`;
        return [key, this.#between.get(key) ?? { issue, since: at }];
      }),
    );
    const settled = this.#settled(at).length;
    if (settled > 0 || settled !== before) this.#soon();
    if (settled < this.#between.size) this.#lookLater();
  }

  #settled(at: number): readonly ObjectIssue[] {
    return [...this.#between.values()].filter(({ since }) => since <= at - (this.#options.settleMs ?? settleMs)).map(({ issue }) => issue);
  }

  #issues(views: readonly KindView[]): readonly ObjectIssue[] {
    const { server } = this.#connection;
    const ofKinds = views.flatMap(({ kind, state, reason }) =>
      reason === undefined ? [] : [{ where: server.origin, object: kind, reason: `${reason}: ${states[state]}` }],
    );
    const all = [...ofKinds, ...[...this.#objectIssues.values()].flat(), ...this.#settled(Date.now())];
    const left = all.length - limits.objectIssuesMax;
    return left <= 0 ? all : [...all.slice(0, limits.objectIssuesMax), { where: server.origin, reason: `and ${left} more faults in objects` }];
  }
}

const untouched: ObjectsUpdate['touched'] = { services: new Set(), nodes: new Set(), kinds: new Set(), all: false };

/** What each state of a kind means to whoever reads the issue. */
const states: { readonly [S in KindView['state']]: string } = {
  listing: 'asked again',
  watching: 'watched',
  polling: 'listed now and then, so changes are seen late',
  failing: 'tried again, and what is known of it grows old',
  unreadable: 'everything that hangs on it is left out',
};
