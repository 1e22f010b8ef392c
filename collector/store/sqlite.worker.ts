// The thread that owns the SQLite file: takes all requests that wait, commits them together, answers after the commit.
import { parentPort, workerData } from 'node:worker_threads';
import type { Database } from 'better-sqlite3';
import type { Kysely } from 'kysely';
import { PortreeveError, reasonOf } from '../../shared/errors.ts';
import { queriesOn } from './queries.ts';
import { openSqlite, type SqliteFile, verifySqlite } from './sqlite.file.ts';
import type { StoreReply, StoreRequest } from './sqlite.messages.ts';
import type { Fence, StoreQueries } from './store.ts';
import type { Tables } from './tables.ts';

if (parentPort === null) throw new Error('the store thread is started by openSqliteStore');
const port = parentPort;
const waiting: StoreRequest[] = [];
let isBusy = false;

try {
  const opened = await openSqlite((workerData as { file: string }).file, Date.now());
  port.on('message', (request: StoreRequest) => {
    waiting.push(request);
    if (!isBusy) void work(opened);
  });
  answer({ kind: 'opened', ...(opened.salvaged === undefined ? {} : { salvaged: opened.salvaged }) });
} catch (error) {
  answer({ kind: 'unusable', reason: reasonOf(error) });
}

/** Until nothing waits. What comes while one commit is made goes with the next. */
async function work({ database, db }: SqliteFile): Promise<void> {
  isBusy = true;
  while (waiting.length > 0) {
    const requests = waiting.splice(0);
    const queries = requests.filter(isQuery);
    const replies = queries.length === 0 ? [] : await commitTogether(database, db, queries);
    for (const reply of replies) answer(reply);
    for (const request of requests) if (!isQuery(request)) operate(database, request);
  }
  isBusy = false;
}

type QueryRequest = Extract<StoreRequest, { readonly method: keyof StoreQueries }>;
const operations: ReadonlySet<string> = new Set(['verify', 'close']);
const isQuery = (request: StoreRequest): request is QueryRequest => !operations.has(request.method);

async function commitTogether(database: Database, db: Kysely<Tables>, requests: readonly QueryRequest[]): Promise<readonly StoreReply[]> {
  try {
    database.exec('BEGIN IMMEDIATE');
    const replies: StoreReply[] = [];
    for (const request of requests) replies.push(await runAlone(database, db, request));
    database.exec('COMMIT');
    return replies;
  } catch (error) {
    if (database.inTransaction) database.exec('ROLLBACK');
    return requests.map(({ id }) => ({ kind: 'failed', id, reason: reasonOf(error) }));
  }
}

/** In a savepoint of its own: a request that fails takes no other of the same commit with it. */
async function runAlone(database: Database, db: Kysely<Tables>, { id, method, arguments: args }: QueryRequest): Promise<StoreReply> {
  database.exec('SAVEPOINT request');
  try {
    const query = queriesOn(db, 'sqlite')[method] as (...args: readonly unknown[]) => Promise<unknown>;
    const value = await query(...args);
    database.exec('RELEASE request');
    return { kind: 'result', id, value };
  } catch (error) {
    database.exec('ROLLBACK TO request; RELEASE request');
    return { kind: 'failed', id, reason: reasonOf(error), ...(isLeaseLost(error) ? { lost: nodeOf(args) } : {}) };
  }
}

const isLeaseLost = (error: unknown): boolean => error instanceof PortreeveError && error.code === 'LEASE_LOST';
const nodeOf = (args: readonly unknown[]): string => args.map((arg) => (arg as Partial<Fence> | undefined)?.node).findLast((node) => node !== undefined) ?? '';

function operate(database: Database, request: Exclude<StoreRequest, QueryRequest>): void {
  const { id } = request;
  try {
    if (request.method === 'close') {
      database.close();
      answer({ kind: 'result', id, value: undefined });
      return port.close();
    }
    answer({ kind: 'result', id, value: verifySqlite(database) });
  } catch (error) {
    answer({ kind: 'failed', id, reason: reasonOf(error) });
  }
}

function answer(reply: StoreReply): void {
  port.postMessage(reply);
}
