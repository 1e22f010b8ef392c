// The objects of the cluster as they become known one by one, and the states of the whole that are told: each with what it changed.
import { isDeepStrictEqual } from 'node:util';
import { limits } from '../../shared/limits.ts';
import type { Change } from '../../shared/model/change.ts';
import { type ActorOf, changeOf } from './changes.ts';
import { LayeredMap } from './layered.ts';
import {
  type ClusterEvent,
  type ClusterObjects,
  type EndpointSlice,
  type KindObjects,
  mapNames,
  noObjects,
  type ObjectKind,
  objectKinds,
  objectsOfKind,
  type Pod,
  proxyImageOf,
  serviceOfSlice,
} from './objects.ts';
import type { Touched } from './source.ts';

type Known = KindObjects[ObjectKind];

/** A state of the cluster, and what made it from the one before. */
export interface Taken {
  readonly objects: ClusterObjects;
  readonly changes: readonly Change[];
  readonly touched: Touched;
}

/** Takes objects in; `take` gives the next state. An object that is put again as it was is no change and keeps its identity. */
export class Inventory {
  #objects: ClusterObjects = withLayers(noObjects);
  /** What was put (undefined: deleted) since the last state. */
  readonly #waiting = new Map<ObjectKind, Map<string, Known | undefined>>(objectKinds.map((kind) => [kind, new Map<string, Known | undefined>()]));
  #unread: ReadonlyMap<ObjectKind, string> = new Map();
  #unreadChanged = false;

  /** The last state that was taken. */
  get objects(): ClusterObjects {
    return this.#objects;
  }

  /** Objects of a kind that are known now, those that wait included. */
  count(kind: ObjectKind): number {
    const held = objectsOfKind(this.#objects, kind);
    let count = held.size;
    for (const [key, value] of this.#of(kind)) count += (value === undefined ? 0 : 1) - (held.has(key) ? 1 : 0);
    return count;
  }

  /** Takes an object in. Gives whether it differs from what was known. */
  put<K extends ObjectKind>(kind: K, key: string, object: KindObjects[K]): boolean {
    const held = objectsOfKind(this.#objects, kind).get(key);
    const waiting = this.#of(kind);
    const known = waiting.has(key) ? waiting.get(key) : held;
    if (known !== undefined && isDeepStrictEqual(known, object)) return false;
    if (held !== undefined && isDeepStrictEqual(held, object)) waiting.delete(key);
    else waiting.set(key, object);
    if (kind === 'Event' && waiting.size > 2 * limits.clusterEventsMax) this.#boundEvents();
    return true;
  }

  delete(kind: ObjectKind, key: string): void {
    const waiting = this.#of(kind);
    if (objectsOfKind(this.#objects, kind).has(key)) waiting.set(key, undefined);
    else waiting.delete(key);
  }

  /** Deletes all objects of a kind but those named: what a list does not hold is gone. Gives how many that were. */
  keepOnly(kind: ObjectKind, keys: ReadonlySet<string>): number {
    const waiting = this.#of(kind);
    const gone = [...objectsOfKind(this.#objects, kind).keys()].filter((key) => !keys.has(key) && !(waiting.has(key) && waiting.get(key) === undefined));
    for (const key of gone) waiting.set(key, undefined);
    for (const key of [...waiting.keys()]) if (!keys.has(key) && waiting.get(key) !== undefined) this.delete(kind, key);
    return gone.length;
  }

  /** Says which kinds cannot be read, and why. */
  setUnread(unread: ReadonlyMap<ObjectKind, string>): void {
    this.#unreadChanged ||= !isDeepStrictEqual(unread, this.#unread);
    this.#unread = unread;
  }

  /** The next state; the same objects as before when nothing has changed. Times and actors of the changes come from the context. */
  take(context: { readonly at: number; readonly actorOf: ActorOf }): Taken {
    this.#boundEvents();
    const before = this.#objects;
    const changes: Change[] = [];
    const services = new Set<string>();
    const nodes = new Set<string>();
    const kinds = new Set<ObjectKind>();
    const images = new Map<string, string | undefined>();
    const next: Record<string, unknown> = { ...before, readAt: context.at, unread: this.#unread };
    for (const kind of objectKinds) {
      const waiting = this.#of(kind);
      if (waiting.size === 0) continue;
      kinds.add(kind);
      const held = objectsOfKind(before, kind) as LayeredMap<Known>;
      for (const [key, after] of waiting) {
        const old = held.get(key);
        // What was there before us is no change.
        if (before.readAt !== 0) changes.push(...changeOf({ kind, key, before: old, after }, context));
        for (const service of servicesOf(kind, old, after)) services.add(service);
        if (kind === 'Node') nodes.add(key);
        if (kind === 'Pod') notePod({ before: old as Pod | undefined, after: after as Pod | undefined, images, nodes });
      }
      next[mapNames[kind]] = held.with(waiting);
      if (kind === 'EndpointSlice') next.slicesByService = reindexed(before, waiting as ReadonlyMap<string, EndpointSlice | undefined>);
      waiting.clear();
    }
    if (images.size > 0) next.proxyImages = (before.proxyImages as LayeredMap<string>).with(images);
    if (kinds.size > 0 || this.#unreadChanged || before.readAt === 0) this.#objects = next as unknown as ClusterObjects;
    const touched: Touched = { services, nodes, kinds, all: this.#unreadChanged || before.readAt === 0 };
    this.#unreadChanged = false;
    return { objects: this.#objects, changes, touched };
  }

  #of(kind: ObjectKind): Map<string, Known | undefined> {
    return this.#waiting.get(kind) as Map<string, Known | undefined>;
  }

  // A cluster in trouble makes events without end; the oldest go first.
  #boundEvents(): void {
    const over = this.count('Event') - limits.clusterEventsMax;
    if (over <= 0) return;
    const waiting = this.#of('Event') as Map<string, ClusterEvent | undefined>;
    const all = [...new Map([...this.#objects.events, ...waiting])].flatMap(([key, event]) => (event === undefined ? [] : [{ key, at: event.lastAt }]));
    all.sort((a, b) => a.at - b.at);
    // A tenth more than needed, so that not every new event sorts them all again.
    for (const { key } of all.slice(0, over + Math.ceil(limits.clusterEventsMax / 10))) this.delete('Event', key);
  }
}

const withLayers = (objects: ClusterObjects): ClusterObjects => ({
  ...objects,
  ...Object.fromEntries(objectKinds.map((kind) => [mapNames[kind], new LayeredMap()])),
  slicesByService: new LayeredMap(),
  proxyImages: new LayeredMap(),
});

interface NotedPod {
  readonly before: Pod | undefined;
  readonly after: Pod | undefined;
  readonly images: Map<string, string | undefined>;
  readonly nodes: Set<string>;
}

// The image of a node's kube-proxy says what to expect of its rules.
function notePod({ before, after, images, nodes }: NotedPod): void {
  for (const [node] of before === undefined ? [] : proxyImageOf(before)) {
    // Its successor may be known already.
    if (!images.has(node)) images.set(node, undefined);
    nodes.add(node);
  }
  for (const [node, image] of after === undefined ? [] : proxyImageOf(after)) {
    images.set(node, image);
    nodes.add(node);
  }
}

function servicesOf(kind: ObjectKind, ...versions: readonly (Known | undefined)[]): string[] {
  if (kind === 'Service') return versions.flatMap((each) => (each === undefined ? [] : [`${(each as { namespace: string }).namespace}/${each.name}`]));
  if (kind === 'EndpointSlice') return versions.flatMap((each) => (each === undefined ? [] : [serviceOfSlice(each as EndpointSlice)]));
  return [];
}

/** The index of slices by Service, with the lists of those Services anew whose slices have changed. */
function reindexed(before: ClusterObjects, waiting: ReadonlyMap<string, EndpointSlice | undefined>): ClusterObjects['slicesByService'] {
  const changed = new Map<string, EndpointSlice[]>();
  const slicesOf = (service: string): EndpointSlice[] => {
    const known = changed.get(service) ?? [...(before.slicesByService.get(service) ?? [])];
    changed.set(service, known);
    return known;
  };
  for (const [key, after] of waiting) {
    const old = before.endpointSlices.get(key);
    if (old !== undefined) {
      const slices = slicesOf(serviceOfSlice(old));
      slices.splice(slices.indexOf(old), 1);
    }
    if (after !== undefined) slicesOf(serviceOfSlice(after)).push(after);
  }
  const index = before.slicesByService as LayeredMap<readonly EndpointSlice[]>;
  return index.with(new Map([...changed].map(([service, slices]) => [service, slices.length === 0 ? undefined : slices])));
}
