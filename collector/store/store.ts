// The store: what outlives a restart (ledger, findings, nodes seen, gaps), behind an interface that knows nothing of its engine.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { failure, reasonOf } from '../../shared/errors.ts';
import type { GapReason, SequencedChange } from '../../shared/model/change.ts';
import type { Finding } from '../../shared/model/finding.ts';

/** A finding with the time it lasted. */
export interface FindingRecord {
  readonly finding: Finding;
  /** Milliseconds since 1970. */
  readonly openedAt: number;
  /** Null while it lasts. */
  readonly closedAt: number | null;
}

/** A node whose agent was seen at some time. */
export interface NodeRecord {
  readonly name: string;
  readonly version: string;
  readonly bootId: string;
  /** The stream of the last session. */
  readonly stream: string;
  readonly firstSeenAt: number;
  readonly lastSeenAt: number;
}

/** A time of which a node's ledger does not tell everything, and why. */
export interface Gap {
  readonly node: string;
  readonly reason: GapReason;
  /** Milliseconds since 1970 by the collector's clock, both ends included. */
  readonly from: number;
  readonly to: number;
  /** A sentence for a person. */
  readonly detail: string;
  /** The numbers that are missing, where they are known, both ends included. */
  readonly seqs?: { readonly stream: string; readonly from: number; readonly to: number };
}

export interface GapQuery {
  readonly node?: string;
  /** Gaps that touch the time from here … */
  readonly from?: number;
  /** … to here. */
  readonly to?: number;
  readonly limit: number;
}

/** Every condition given must hold. Times are milliseconds since 1970, both ends included. */
export interface ChangeQuery {
  /** Empty text asks for the changes of cluster objects. */
  readonly node?: string;
  readonly kind?: string;
  /** Text that the subject contains. */
  readonly subject?: string;
  readonly from?: number;
  readonly to?: number;
  readonly limit: number;
  /** `next` of the page before. */
  readonly cursor?: string;
}

export interface FindingQuery {
  readonly node?: string;
  readonly open?: boolean;
  /** Findings that lasted at some time from here … */
  readonly from?: number;
  /** … to here. */
  readonly to?: number;
  readonly limit: number;
}

export interface ChangePage {
  /** Newest first. */
  readonly items: readonly SequencedChange[];
  /** Cursor of the next page; absent on the last. */
  readonly next?: string;
}

/** Every method resolves when its writes are committed to disk, and rejects with STORE_FAILED when they are not. */
export interface Store {
  /** Stores what is new; a change that is there already (by node, stream and seq) is left alone. Resolves to the changes that were new. */
  appendChanges(changes: readonly SequencedChange[]): Promise<readonly SequencedChange[]>;
  /** The highest seq stored of a stream; 0 when there is none. */
  lastSeq(node: string, stream: string): Promise<number>;
  changes(query: ChangeQuery): Promise<ChangePage>;
  /** Opens findings, or writes the newer text of open ones. */
  upsertFindings(records: readonly { readonly finding: Finding; readonly openedAt: number }[]): Promise<void>;
  closeFindings(ids: readonly string[], at: number): Promise<void>;
  /** Newest first. */
  findings(query: FindingQuery): Promise<readonly FindingRecord[]>;
  saveNode(node: Omit<NodeRecord, 'firstSeenAt'>): Promise<void>;
  nodes(): Promise<readonly NodeRecord[]>;
  /** Stores what is new; a gap that is there already (by node, reason, seqs and start) is left alone. */
  recordGaps(gaps: readonly Gap[]): Promise<void>;
  /** Newest first. */
  gaps(query: GapQuery): Promise<readonly Gap[]>;
  close(): Promise<void>;
}

/** One call of a store method, as it goes to the worker. */
export type Request = {
  readonly [M in Exclude<keyof Store, never>]: { readonly id: number; readonly method: M; readonly arguments: Parameters<Store[M]> };
}[keyof Store];
export type Reply =
  | { readonly kind: 'result'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'failed'; readonly id: number; readonly reason: string }
  | { readonly kind: 'opened'; readonly setAside?: string }
  | { readonly kind: 'unusable'; readonly reason: string };

export interface OpenedStore {
  readonly store: Store;
  /** Where the file of before lies now, when it was damaged and a new store was begun. */
  readonly setAside?: string;
}

/**
 * Opens the store in a directory (made when missing): `portreeve.db`, written by a thread of its own. A damaged file is renamed aside and a new one begun.
 * Throws STORE_FAILED when the directory cannot be written or the file is of a newer version.
 */
export async function openStore(directory: string): Promise<OpenedStore> {
  const file = join(directory, 'portreeve.db');
  try {
    await mkdir(directory, { recursive: true, mode: 0o750 });
  } catch (error) {
    throw failure('STORE_FAILED', [file, reasonOf(error)], error);
  }
  const worker = new Worker(new URL('./sqlite.worker.ts', import.meta.url), { workerData: { file } });
  const opened = await firstReply(worker);
  if (opened.kind === 'opened') return { store: new WorkerStore(worker, file), ...(opened.setAside === undefined ? {} : { setAside: opened.setAside }) };
  await worker.terminate();
  throw failure('STORE_FAILED', [file, opened.kind === 'unusable' ? opened.reason : 'its thread answered nonsense']);
}

function firstReply(worker: Worker): Promise<Reply> {
  return new Promise((resolve) => {
    worker.once('message', resolve);
    worker.once('error', (error) => resolve({ kind: 'unusable', reason: reasonOf(error) }));
    worker.once('exit', () => resolve({ kind: 'unusable', reason: 'its thread ended' }));
  });
}

interface Waiting {
  readonly resolve: (value: never) => void;
  readonly reject: (error: Error) => void;
}

/** Calls of the interface as messages to the thread; answers are matched by id. */
class WorkerStore implements Store {
  readonly #worker: Worker;
  readonly #file: string;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;
  #broken: string | undefined;

  constructor(worker: Worker, file: string) {
    this.#worker = worker;
    this.#file = file;
    worker.on('message', (reply: Reply) => this.#settle(reply));
    worker.on('error', (error) => this.#fail(reasonOf(error)));
    worker.on('exit', () => this.#fail('it is closed'));
  }

  appendChanges(...args: Parameters<Store['appendChanges']>): ReturnType<Store['appendChanges']> {
    return this.#call('appendChanges', args);
  }
  lastSeq(...args: Parameters<Store['lastSeq']>): ReturnType<Store['lastSeq']> {
    return this.#call('lastSeq', args);
  }
  changes(...args: Parameters<Store['changes']>): ReturnType<Store['changes']> {
    return this.#call('changes', args);
  }
  upsertFindings(...args: Parameters<Store['upsertFindings']>): Promise<void> {
    return this.#call('upsertFindings', args);
  }
  closeFindings(...args: Parameters<Store['closeFindings']>): Promise<void> {
    return this.#call('closeFindings', args);
  }
  findings(...args: Parameters<Store['findings']>): ReturnType<Store['findings']> {
    return this.#call('findings', args);
  }
  saveNode(...args: Parameters<Store['saveNode']>): Promise<void> {
    return this.#call('saveNode', args);
  }
  nodes(): ReturnType<Store['nodes']> {
    return this.#call('nodes', []);
  }
  recordGaps(...args: Parameters<Store['recordGaps']>): Promise<void> {
    return this.#call('recordGaps', args);
  }
  gaps(...args: Parameters<Store['gaps']>): ReturnType<Store['gaps']> {
    return this.#call('gaps', args);
  }

  async close(): Promise<void> {
    if (this.#broken !== undefined) return;
    const exited = new Promise((resolve) => this.#worker.once('exit', resolve));
    await this.#call('close', []);
    await exited;
  }

  #call<M extends keyof Store>(method: M, args: Parameters<Store[M]>): ReturnType<Store[M]> {
    if (this.#broken !== undefined) return Promise.reject(failure('STORE_FAILED', [this.#file, this.#broken])) as ReturnType<Store[M]>;
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, method, arguments: args });
    }) as ReturnType<Store[M]>;
  }

  #settle(reply: Reply): void {
    if (reply.kind !== 'result' && reply.kind !== 'failed') return;
    const waiting = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if (reply.kind === 'result') waiting?.resolve(reply.value as never);
    else waiting?.reject(failure('STORE_FAILED', [this.#file, reply.reason]));
  }

  #fail(reason: string): void {
    this.#broken ??= reason;
    for (const { reject } of this.#waiting.values()) reject(failure('STORE_FAILED', [this.#file, reason]));
    this.#waiting.clear();
  }
}
