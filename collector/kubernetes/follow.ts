// Follows one kind of objects: list, then watch, for ever. Whatever breaks a watch ends in a new one without losing a change, and silence is never taken for calm.
import { setTimeout as sleep } from 'node:timers/promises';
import { limits } from '../../shared/limits.ts';
import type { Connection } from './connection.ts';
import { LineSplitter } from './lines.parse.ts';
import { type ListEnvelope, ListSplitter } from './list.parse.ts';
import type { ObjectKind } from './objects.ts';
import { ApiRefusal, open, Silence } from './request.ts';
import { Expired, type Standing, type Step, stepAfter } from './retry.ts';
import type { KindView } from './source.ts';
import { readWatchLine, type WatchEvent } from './watch.parse.ts';

/** Where the objects go. */
export interface FollowedKind {
  /** An object that is there. Gives its key (undefined when it has none), and whether it differs from what was known. */
  put(raw: unknown): { readonly key: string | undefined; readonly changed: boolean };
  delete(raw: unknown): void;
  /** A list is complete: what it does not name is gone. Gives how many that were. */
  keepOnly(keys: ReadonlySet<string>): number;
  /** Objects that are known. */
  count(): number;
  /** Something is worth telling: objects, or how well they are known. */
  changed(): void;
}

export interface FollowOptions {
  readonly kind: ObjectKind;
  readonly connection: Connection;
  readonly into: FollowedKind;
  readonly signal: AbortSignal;
  readonly idleMs: number;
  readonly pauseMaxMs: number;
  /** Milliseconds after which a list checks what the watch has told; absent: by the number of objects. */
  readonly relistMs?: number;
}

/** Where each kind is found, and the part of it that is asked for. */
const places: { readonly [K in ObjectKind]: { readonly path: string; readonly fieldSelector?: string } } = {
  Service: { path: '/api/v1/services' },
  EndpointSlice: { path: '/apis/discovery.k8s.io/v1/endpointslices' },
  Node: { path: '/api/v1/nodes' },
  Pod: { path: '/api/v1/pods' },
  NetworkPolicy: { path: '/apis/networking.k8s.io/v1/networkpolicies' },
  ConfigMap: { path: '/api/v1/namespaces/kube-system/configmaps', fieldSelector: 'metadata.name=kube-proxy' },
  // What went well fills the API with thousands of events an hour.
  Event: { path: '/api/v1/events', fieldSelector: 'type!=Normal' },
};

const listIdleMs = 60_000;
const pageTries = 3;
/** Every now and then a list checks the watch: ten minutes for a small kind, about an hour for 150,000 pods. */
const relistBaseMs = 600_000;
const relistPerObjectMs = 20;

/** How well the kind is known; how much of it, whoever holds the objects says. */
export type FollowView = Omit<KindView, 'objects'>;

interface PageRequest {
  /** `whole`: without pages. */
  readonly extent: 'pages' | 'whole';
  readonly next: string | undefined;
  readonly take: (raw: unknown) => void;
}

/** `run` follows the kind until the signal. */
export class Follower {
  readonly #options: FollowOptions;
  #version: string | undefined;
  #failures = 0;
  #listedAt = 0;
  /** How far the watch had told when it was given up for a list that checks it. */
  #told: string | undefined;
  /** Events in a row whose version was lower than one before. */
  #backwards = 0;
  #view: { -readonly [K in keyof FollowView]: FollowView[K] };

  constructor(options: FollowOptions) {
    this.#options = options;
    this.#view = { kind: options.kind, state: 'listing', confirmedAt: 0, lists: 0, watches: 0, missed: 0 };
  }

  get view(): FollowView {
    return { ...this.#view };
  }

  /** Runs until the signal. Never rejects. */
  async run(): Promise<void> {
    const { signal } = this.#options;
    while (!signal.aborted) {
      const during: Standing['during'] = this.#version === undefined ? 'list' : 'watch';
      try {
        if (this.#version === undefined) await this.#list();
        else await this.#watch(this.#version);
      } catch (error) {
        if (signal.aborted) return;
        await this.#recover(error, during);
      }
    }
  }

  async #recover(error: unknown, during: Standing['during']): Promise<void> {
    const { pauseMaxMs, connection } = this.#options;
    const step = stepAfter(error, { listed: this.#view.lists > 0, failures: this.#failures, during }, pauseMaxMs);
    this.#failures++;
    if (step.next !== 'resume') this.#version = undefined;
    if (step.renew) connection.renew();
    if (step.reason !== undefined) this.#say(stateOf(step, this.#view.lists > 0), step.reason);
    await this.#pause(step.leastMs + Math.random() * step.jitterMs);
  }

  async #pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#options.signal }).catch(() => undefined);
  }

  /** Reads all objects page by page; what is not among them is gone. A list whose continuation has expired is begun again without pages: it is cut as it comes. */
  async #list(extent: 'pages' | 'whole' = 'pages'): Promise<void> {
    const { into } = this.#options;
    const told = Number(this.#told ?? Number.NaN);
    const keys = new Set<string>();
    let missed = 0;
    const take = (raw: unknown): void => {
      const { key, changed } = into.put(raw);
      if (key === undefined) return;
      keys.add(key);
      // Versions are numbers in all but name: what is no newer than the last event ought to have been told by one.
      if (changed && versionOf(raw) <= told) missed++;
    };
    let page: ListEnvelope | undefined;
    do {
      try {
        page = await this.#page({ extent, next: page?.next, take });
      } catch (error) {
        if (!(error instanceof ApiRefusal) || error.status !== 410 || page === undefined) throw error;
        return this.#list('whole');
      }
    } while (page.next !== undefined);
    into.keepOnly(keys);
    this.#version = page.resourceVersion;
    this.#told = undefined;
    this.#listedAt = Date.now();
    this.#view.lists++;
    this.#view.missed += missed;
    this.#confirm();
    into.changed();
  }

  /** One page; one that breaks off is asked for again, so that the list of a large kind is not begun anew for a single lost connection. */
  async #page(page: PageRequest): Promise<ListEnvelope> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.#readPage(page);
      } catch (error) {
        if (error instanceof ApiRefusal || tries >= pageTries || this.#options.signal.aborted) throw error;
        await this.#pause(Math.random() * Math.min(1_000, this.#options.pauseMaxMs));
      }
    }
  }

  async #readPage({ extent, next, take }: PageRequest): Promise<ListEnvelope> {
    const { connection, kind, signal, idleMs } = this.#options;
    const { path, fieldSelector } = places[kind];
    const query = new URLSearchParams({
      ...(extent === 'pages' ? { limit: String(limits.listPageItems) } : {}),
      ...(next === undefined ? {} : { continue: next }),
      ...(fieldSelector === undefined ? {} : { fieldSelector }),
    });
    const response = await open(connection, { path: `${path}?${query}`, idleMs: Math.min(listIdleMs, idleMs), signal });
    const splitter = new ListSplitter(limits.objectBytesMax);
    for await (const chunk of response) for (const item of splitter.push(chunk as Buffer)) take(JSON.parse(item));
    const envelope = splitter.end();
    if (!envelope.kind.endsWith('List'))
      throw new Error(`the API answered with ${envelope.kind === '' ? 'something' : `a ${envelope.kind}`} instead of a list`);
    return envelope;
  }

  /** Follows events until the stream ends, for whatever reason; throws Expired when only a list helps. */
  async #watch(from: string): Promise<void> {
    const { kind, connection, signal, idleMs } = this.#options;
    const { path, fieldSelector } = places[kind];
    const query = new URLSearchParams({
      watch: '1',
      resourceVersion: from,
      allowWatchBookmarks: 'true',
      timeoutSeconds: String(240 + Math.floor(Math.random() * 120)),
      ...(fieldSelector === undefined ? {} : { fieldSelector }),
    });
    const begun = Date.now();
    const response = await open(connection, { path: `${path}?${query}`, idleMs, signal });
    this.#view.watches++;
    this.#say('watching', undefined);
    this.#confirm();
    const lines = new LineSplitter(limits.objectBytesMax);
    try {
      for await (const chunk of response) for (const line of lines.push(chunk as Buffer)) this.#take(readWatchLine(line));
    } catch (error) {
      // A silent stream may be dead or merely quiet (not every server sends bookmarks): a new one tells. A stream that broke after some events has its events taken
      // over, so the next one goes on behind them and loses nothing.
      if (error instanceof Expired || (!(error instanceof Silence) && this.#version === from)) throw error;
    }
    if (signal.aborted) return;
    // A watch that ends at once, again and again, is no success: it would be a loop at full speed.
    if (Date.now() - begun > 1_000 || this.#version !== from) this.#failures = 0;
    else await this.#pause(Math.random() * Math.min(this.#options.pauseMaxMs, 250 * 2 ** Math.min(this.#failures++, 12)));
    this.#checkAfter();
  }

  // A watch may keep an event to itself. Nobody would ever know, but for a list.
  #checkAfter(): void {
    const after = this.#options.relistMs ?? relistBaseMs + relistPerObjectMs * this.#options.into.count();
    if (Date.now() - this.#listedAt < after * (0.9 + 0.2 * Math.random())) return;
    this.#told = this.#version;
    this.#version = undefined;
  }

  #take(event: WatchEvent): void {
    const { into } = this.#options;
    switch (event.kind) {
      case 'put':
        if (into.put(event.object).changed) into.changed();
        break;
      case 'delete':
        into.delete(event.object);
        into.changed();
        break;
      case 'bookmark':
        break;
      case 'error':
        if (event.code === 410) throw new Expired(event.reason);
        throw new Error(`the API reports ${event.code}: ${event.reason}`);
      case 'broken':
        throw new Error(`a line of the watch is broken: ${event.reason}`);
    }
    this.#advance(event.version);
    this.#failures = 0;
    this.#confirm();
  }

  // A server that counts from lower numbers again was restored from a backup: what we know may never have been, and nobody will take it back. One number that is
  // lower may come from a server that lags behind the others.
  #advance(version: string | undefined): void {
    if (version === undefined) return;
    const back = Number(version) < Number(this.#version);
    this.#backwards = back ? this.#backwards + 1 : 0;
    if (this.#backwards >= 2) throw new Expired('versions go backwards');
    if (!back) this.#version = version;
  }

  /** What is known is what there is, as of now. */
  #confirm(): void {
    this.#view.confirmedAt = Date.now();
    if (this.#view.state !== 'polling') this.#say('watching', undefined);
  }

  #say(state: KindView['state'], reason: string | undefined): void {
    if (this.#view.state === state && this.#view.reason === reason) return;
    const { reason: _, ...rest } = this.#view;
    this.#view = { ...rest, state, ...(reason === undefined ? {} : { reason }) };
    this.#options.into.changed();
  }
}

function stateOf({ next }: Step, listed: boolean): KindView['state'] {
  if (next === 'poll') return 'polling';
  if (next === 'unreadable' && !listed) return 'unreadable';
  return listed ? 'failing' : 'listing';
}

function versionOf(raw: unknown): number {
  const version = (raw as { metadata?: { resourceVersion?: unknown } } | null)?.metadata?.resourceVersion;
  return typeof version === 'string' ? Number(version) : Number.NaN;
}
