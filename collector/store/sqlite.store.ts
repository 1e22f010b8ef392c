// The store in a SQLite file: `portreeve.db` in the data directory, written by a thread of its own, so that a commit never blocks the sockets.
import { mkdir } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { failure, reasonOf } from '../../shared/errors.ts';
import type { StoreMethod, StoreReply, StoreRequest } from './sqlite.messages.ts';
import type { OpenedStore, Store } from './store.ts';

// Beside this file in a checkout, beside the bundle in a package.
const program = `./sqlite.worker${extname(import.meta.url)}`;

/**
 * Opens the store in a directory (made when missing). A damaged file is set aside, and what can be read of it taken over. Throws STORE_FAILED when the directory
 * cannot be written or the file is of a newer version.
 */
export async function openSqliteStore(directory: string): Promise<OpenedStore> {
  const file = join(directory, 'portreeve.db');
  try {
    await mkdir(directory, { recursive: true, mode: 0o750 });
  } catch (error) {
    throw failure('STORE_FAILED', [file, reasonOf(error)], error);
  }
  const worker = new Worker(new URL(program, import.meta.url), { workerData: { file } });
  const opened = await firstReply(worker);
  if (opened.kind === 'opened')
    return { store: storeOf(new WorkerCalls(worker, file)), ...(opened.salvaged === undefined ? {} : { salvaged: opened.salvaged }) };
  await worker.terminate();
  throw failure('STORE_FAILED', [file, opened.kind === 'unusable' ? opened.reason : 'its thread answered nonsense']);
}

function firstReply(worker: Worker): Promise<StoreReply> {
  return new Promise((resolve) => {
    worker.once('message', resolve);
    worker.once('error', (error) => resolve({ kind: 'unusable', reason: reasonOf(error) }));
    worker.once('exit', () => resolve({ kind: 'unusable', reason: 'its thread ended' }));
  });
}

const methods = [
  'appendChanges',
  'lastSeq',
  'changes',
  'upsertFindings',
  'closeFindings',
  'findings',
  'findingPage',
  'saveIncident',
  'incident',
  'incidents',
  'appendVerdicts',
  'verdictsAt',
  'saveNode',
  'node',
  'nodes',
  'recordGaps',
  'gaps',
  'gapPage',
  'saveCredential',
  'credential',
  'credentials',
  'useCredential',
  'revokeCredential',
  'saveIdentity',
  'identities',
  'revokeIdentities',
  'appendAudit',
  'audit',
  'forget',
  'attend',
  'leave',
  'takeNode',
  'adoptNodes',
  'nodeStates',
  'saveNodeState',
  'factBuckets',
  'changesAfter',
  'lastChange',
  'saveQuestion',
  'questions',
  'answerQuestion',
  'takeAnswer',
  'sharedAuthority',
  'verify',
] as const satisfies readonly StoreMethod[];

/** The interface: each method is a message to the thread. */
function storeOf(calls: WorkerCalls): Store {
  const through = Object.fromEntries(methods.map((method) => [method, (...args: readonly unknown[]) => calls.call(method, args)]));
  return { ...(through as unknown as Omit<Store, 'close' | 'news' | 'waiting'>), waiting: () => calls.waiting, close: () => calls.close() };
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** Answers are matched to calls by id. */
class WorkerCalls {
  readonly #worker: Worker;
  readonly #file: string;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;
  #broken: string | undefined;

  constructor(worker: Worker, file: string) {
    this.#worker = worker;
    this.#file = file;
    worker.on('message', (reply: StoreReply) => this.#settle(reply));
    worker.on('error', (error) => this.#fail(reasonOf(error)));
    worker.on('exit', () => this.#fail('it is closed'));
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  call(method: StoreMethod, args: readonly unknown[]): Promise<unknown> {
    if (this.#broken !== undefined) return Promise.reject(failure('STORE_FAILED', [this.#file, this.#broken]));
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, method, arguments: args } as StoreRequest);
    });
  }

  async close(): Promise<void> {
    if (this.#broken !== undefined) return;
    const exited = new Promise((resolve) => this.#worker.once('exit', resolve));
    await this.call('close', []);
    await exited;
  }

  #settle(reply: StoreReply): void {
    if (reply.kind !== 'result' && reply.kind !== 'failed') return;
    const waiting = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if (reply.kind === 'result') waiting?.resolve(reply.value);
    else waiting?.reject(reply.lost === undefined ? failure('STORE_FAILED', [this.#file, reply.reason]) : failure('LEASE_LOST', [reply.lost]));
  }

  #fail(reason: string): void {
    this.#broken ??= reason;
    for (const { reject } of this.#waiting.values()) reject(failure('STORE_FAILED', [this.#file, reason]));
    this.#waiting.clear();
  }
}
