// The store in PostgreSQL (14 or newer), for several collectors at once. `postgres://USER:PASSWORD@HOST1,HOST2/DB`: of several hosts the one that takes writes is used.
import { Kysely, PostgresDialect, sql } from 'kysely';
import { Migrator } from 'kysely/migration';
import pg from 'pg';
import { failure, PortreeveError, reasonOf } from '../../shared/errors.ts';
import { PostgresHosts } from './postgres.hosts.ts';
import { newsOf } from './postgres.news.ts';
import { queriesOn } from './queries.ts';
import { migrationError } from './sqlite.file.ts';
import type { OpenedStore, Store, StoreQueries } from './store.ts';
import { migrationsFor, type Tables } from './tables.ts';

// All our numbers are below 2^53: counts, sequence numbers, milliseconds.
pg.types.setTypeParser(pg.types.builtins.INT8, Number);

/** Milliseconds that a call goes on trying while no host takes writes: a standby is promoted meanwhile. */
const patienceMs = 15_000;
const retryMs = 250;

/** Connects and brings the schema to the newest version. Throws STORE_FAILED with the host that was meant, never with the password. */
export async function openPostgresStore(url: string): Promise<OpenedStore> {
  const hosts = hostsOf(url);
  const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: hosts }) });
  try {
    await patiently(async () => {
      const { error } = await new Migrator({ db, provider: migrationsFor('postgres') }).migrateToLatest();
      if (error !== undefined) throw migrationError(error);
    });
  } catch (error) {
    await db.destroy().catch(() => {});
    throw failure('STORE_FAILED', [hosts.name, reasonOf(error)], error);
  }
  return { store: storeOf(db, hosts) };
}

function hostsOf(url: string): PostgresHosts {
  try {
    return new PostgresHosts(url);
  } catch (error) {
    throw failure('STORE_FAILED', ['named by --database-url', reasonOf(error)], error);
  }
}

/** Tries again while the server is away, starting, or not the one that takes writes. What was sent and not answered may be done: every write here may be done twice. */
async function patiently<Result>(act: () => Promise<Result>): Promise<Result> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    try {
      return await act();
    } catch (error) {
      if (!isPassing(error) || performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, retryMs));
    }
  }
}

/** Classes of SQLSTATE that pass by themselves: connection failures, shut-downs and start-ups, read-only standbys, transactions that idled, deadlocks, serialisation. */
const passingStates = /^(08|57P0|25006|25P0|40001|40P01|53300)/;

function isPassing(error: unknown): boolean {
  const { code, message } = error as { readonly code?: string; readonly message?: string };
  if (code !== undefined && (passingStates.test(code) || /^(ECONN|ETIMEDOUT|EPIPE|EHOST|ENET|ENOTFOUND|EAI_AGAIN|ENOENT)/.test(code))) return true;
  return /Connection terminated|connection timeout|not queryable|no host takes writes/i.test(message ?? '');
}

function storeOf(db: Kysely<Tables>, hosts: PostgresHosts): Store {
  const { name } = hosts;
  let waiting = 0;
  const failed = (error: unknown): never => {
    if (error instanceof PortreeveError) throw error;
    throw failure('STORE_FAILED', [name, reasonOf(error)], error);
  };
  const inTransaction =
    (method: keyof StoreQueries) =>
    (...args: readonly unknown[]) => {
      waiting++;
      return patiently(() =>
        db.transaction().execute((transaction) => (queriesOn(transaction, 'postgres')[method] as (...args: readonly unknown[]) => Promise<unknown>)(...args)),
      )
        .catch(failed)
        .finally(() => {
          waiting--;
        });
    };
  const methods = Object.keys(queriesOn(db, 'postgres')) as (keyof StoreQueries)[];
  const queries = Object.fromEntries(methods.map((method) => [method, inTransaction(method)])) as unknown as StoreQueries;
  return {
    ...queries,
    verify: () => verify(db).catch(failed),
    waiting: () => waiting,
    news: newsOf(db, hosts),
    close: () => db.destroy(),
  };
}

/** PostgreSQL checks its pages itself; here: that commits are durable. */
async function verify(db: Kysely<Tables>): Promise<readonly string[]> {
  const { rows } = await sql<{ name: string; setting: string }>`SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'full_page_writes')`.execute(db);
  return rows
    .filter(({ setting }) => setting !== 'on')
    .map(({ name, setting }) => `${name} is ${setting}: a crash of the server can lose what was acknowledged`);
}
