// The SQLite file: opened with what its promises need, checked, brought to the newest schema; a damaged one is set aside, and what can be read of it taken over.
import {
  accessSync,
  closeSync,
  copyFileSync,
  existsSync,
  constants as fsConstants,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import Sqlite, { type Database, type Statement } from 'better-sqlite3';
import { Kysely, SqliteDialect, sql } from 'kysely';
import { Migrator } from 'kysely/migration';
import { reasonOf } from '../../shared/errors.ts';
import type { Salvaged } from './store.ts';
import { migrationsFor, type Tables } from './tables.ts';

export interface SqliteFile {
  readonly database: Database;
  readonly db: Kysely<Tables>;
  readonly salvaged?: Salvaged;
}

/** Below it FULL loses commits after some crashes of a WAL that is being reset (fixed in 3.51.3). */
const sqliteVersionMin = [3, 51, 3] as const;
/** A check reads the whole file, so at the start it is made only where that takes a moment; damage in a larger one is met when the page is read, or by `verify`. */
const checkedFileBytesMax = 256 * 1024 * 1024;

/** Opens or creates the file. `now`: milliseconds since 1970, for the name of a file that is set aside. Throws when it cannot be created or is of a newer version. */
export async function openSqlite(file: string, now: number): Promise<SqliteFile> {
  try {
    return await openSound(file);
  } catch (error) {
    if (!isDamage(error) && !isRefusedForNoReason(error, file)) throw error;
    const setAside = `${file}.damaged-${new Date(now).toISOString().replaceAll(/[-:]|\.\d+/g, '')}`;
    for (const suffix of ['', '-wal', '-shm']) if (existsSync(`${file}${suffix}`)) renameSync(`${file}${suffix}`, `${setAside}${suffix}`);
    const opened = await openSound(file);
    return { ...opened, salvaged: { setAside, records: salvage(setAside, opened.database), reason: reasonOf(error) } };
  }
}

async function openSound(file: string): Promise<SqliteFile> {
  const isNew = !existsSync(file) || statSync(file).size === 0;
  const database = new Sqlite(file, { timeout: 5_000 });
  try {
    requireVersion(database);
    database.pragma('journal_mode = WAL');
    database.pragma('synchronous = FULL');
    database.pragma('journal_size_limit = 67108864');
    if (!isNew && statSync(file).size <= checkedFileBytesMax) checkQuickly(database);
    const db = new Kysely<Tables>({ dialect: new SqliteDialect({ database }) });
    await migrate(db);
    if (!isNew) await checkSchema(database);
    return { database, db };
  } catch (error) {
    database.close();
    throw error;
  }
}

function requireVersion(database: Database): void {
  const { version } = database.prepare('SELECT sqlite_version() AS version').get() as { version: string };
  const parts = version.split('.').map(Number);
  const differs = sqliteVersionMin.findIndex((least, i) => (parts[i] ?? 0) !== least);
  if (differs >= 0 && (parts[differs] ?? 0) < (sqliteVersionMin[differs] ?? 0))
    throw new Error(`SQLite ${version} is in use, ${sqliteVersionMin.join('.')} or newer is needed: commits of older ones can be lost`);
}

async function migrate(db: Kysely<Tables>): Promise<void> {
  await checkMigrations(db);
  const { error } = await new Migrator({ db, provider: migrationsFor('sqlite') }).migrateToLatest();
  if (error !== undefined) throw migrationError(error);
}

/** The error of a migration in words: a store that has more steps than are known was written by a newer version. */
export function migrationError(error: unknown): Error {
  const reason = reasonOf(error);
  if (isDamage(error) || !/corrupted migrations|previously executed migration/.test(reason)) return error instanceof Error ? error : new Error(reason);
  return new Error(`it has a newer schema than this version knows (${reason}): use the version of Portreeve that wrote it`);
}

class Damage extends Error {}

function checkQuickly(database: Database): void {
  const answer = database.pragma('quick_check(1)', { simple: true });
  if (answer !== 'ok') throw new Damage(String(answer));
}

const codeOf = (error: unknown): string => (error as { code?: string }).code ?? '';
// SQLITE_ERROR is of statements: ours are right, so that what they work on is not.
const isDamage = (error: unknown): boolean => error instanceof Damage || /^SQLITE_(CORRUPT|NOTADB|FORMAT|ERROR)/.test(codeOf(error));

/** One byte of the header makes a file read-only, and another unknown; where the file itself may be written to, that is damage. */
function isRefusedForNoReason(error: unknown, file: string): boolean {
  if (!/^SQLITE_READONLY/.test(codeOf(error))) return false;
  try {
    accessSync(file, fsConstants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** A name of a table or column that has changed is found by no other check. What the schema is to be says a database that was made just now. */
async function checkSchema(database: Database): Promise<void> {
  const fresh = new Sqlite(':memory:');
  try {
    await migrate(new Kysely<Tables>({ dialect: new SqliteDialect({ database: fresh }) }));
    const schemaOf = (of: Database): string =>
      JSON.stringify(of.prepare("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY type, name").all());
    if (schemaOf(database) !== schemaOf(fresh)) throw new Damage('its schema is not as it was made');
  } finally {
    fresh.close();
  }
}

/** Steps that are not known are of a newer version, but only behind all that are. */
async function checkMigrations(db: Kysely<Tables>): Promise<void> {
  const known = Object.keys(await migrationsFor('sqlite').getMigrations());
  const table = await sql<{ name: string }>`SELECT name FROM sqlite_master WHERE name = 'kysely_migration'`.execute(db);
  if (table.rows.length === 0) return;
  const names = async (how: 'NOT INDEXED' | 'INDEXED BY sqlite_autoindex_kysely_migration_1'): Promise<readonly string[]> =>
    (await sql<{ name: string }>`SELECT name FROM kysely_migration ${sql.raw(how)} ORDER BY name`.execute(db)).rows.map(({ name }) => name);
  const rows = await names('NOT INDEXED');
  // A row and its entry in the index are two places; where they differ one of them is damaged.
  const isStrange =
    rows.join() !== (await names('INDEXED BY sqlite_autoindex_kysely_migration_1')).join() || rows.some((name, i) => i < known.length && name !== known[i]);
  if (isStrange) throw new Damage('its list of migrations is not as it was written');
}

/** Faults in sentences; none when the file is sound. */
export function verifySqlite(database: Database): readonly string[] {
  try {
    const rows = database.pragma('integrity_check(20)') as { readonly integrity_check: string }[];
    return rows.map(({ integrity_check }) => integrity_check).filter((each) => each !== 'ok');
  } catch (error) {
    return [reasonOf(error)];
  }
}

const salvagedTables = [
  'nodes',
  'changes',
  'subjects',
  'findings',
  'gaps',
  'credentials',
  'identities',
  'audit',
  'incidents',
  'verdicts',
  'verdict_columns',
] as const;

/** Takes over what can be read of a damaged file, row by row: a page that cannot be read costs the rows on it. Yields the number of rows. */
function salvage(file: string, into: Database): number {
  const copy = `${file}.reading`;
  let source: Database | undefined;
  try {
    copyAsLongAsItSays(file, copy);
    source = new Sqlite(copy);
    return salvagedTables.reduce((sum, table) => sum + salvageTable(source as Database, into, table), 0);
  } catch {
    return 0;
  } finally {
    source?.close();
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${copy}${suffix}`, { force: true });
  }
}

/** SQLite reads nothing of a file that is shorter than its header says: the pages that are missing are made, empty. */
function copyAsLongAsItSays(file: string, copy: string): void {
  copyFileSync(file, copy);
  if (existsSync(`${file}-wal`)) copyFileSync(`${file}-wal`, `${copy}-wal`);
  const header = Buffer.alloc(100);
  const handle = openSync(copy, 'r+');
  try {
    readSync(handle, header, 0, 100, 0);
    const pageBytes = header.readUInt16BE(16) === 1 ? 65_536 : header.readUInt16BE(16);
    const said = pageBytes * header.readUInt32BE(28);
    if (header.toString('latin1', 0, 15) === 'SQLite format 3' && said > fstatSync(handle).size) ftruncateSync(handle, said);
  } finally {
    closeSync(handle);
  }
}

function salvageTable(source: Database, into: Database, table: string): number {
  const names = (into.pragma(`table_info(${table})`) as { readonly name: string }[]).map(({ name }) => name);
  const insert = into.prepare(
    `INSERT OR IGNORE INTO ${table} (${names.map((name) => `"${name}"`).join(', ')}) VALUES (${names.map((name) => `@${name}`).join(', ')})`,
  );
  const rows = rowsOf(source, { table, names });
  if (rows === undefined) return 0;
  let kept = 0;
  const keep = (row: unknown): void => {
    if (insert.run(row as Record<string, unknown>).changes === 1) kept++;
  };
  // From both ends: what stops one way may not stop the other. Between them, rows are asked for one by one, as long as that is not for ever.
  into.transaction(() => {
    const last = keepWhilePossible(rows.ascending.iterate(0), keep) ?? 0;
    const first = keepWhilePossible(rows.descending.iterate(last), keep) ?? last;
    for (let id = last + 1; id < first && id <= last + singleRowsMax; id++) keepOne(rows.single, id, keep);
  })();
  return kept;
}

/** Rows that are asked for one by one between the readable ends of a table. */
const singleRowsMax = 100_000;

interface Rows {
  /** Those with a number above the one given. */
  readonly ascending: Statement;
  readonly descending: Statement;
  readonly single: Statement;
}

/** The ways to read a table; undefined where not even its schema can be read. */
function rowsOf(source: Database, { table, names }: { readonly table: string; readonly names: readonly string[] }): Rows | undefined {
  const columns = names.map((name) => `"${name}"`).join(', ');
  try {
    const inOrder = (order: 'ASC' | 'DESC') => source.prepare(`SELECT rowid AS "_rowid", ${columns} FROM ${table} WHERE rowid > ? ORDER BY rowid ${order}`);
    return { ascending: inOrder('ASC'), descending: inOrder('DESC'), single: source.prepare(`SELECT ${columns} FROM ${table} WHERE rowid = ?`) };
  } catch {
    return undefined;
  }
}

/** Keeps rows until one cannot be read. Yields the number of the last; undefined when there was none. */
function keepWhilePossible(rows: IterableIterator<unknown>, keep: (row: unknown) => void): number | undefined {
  let last: number | undefined;
  try {
    for (const row of rows) {
      const { _rowid, ...values } = row as Record<string, unknown> & { readonly _rowid: number };
      keep(values);
      last = _rowid;
    }
  } catch {
    // The end of what can be read this way.
  }
  return last;
}

function keepOne(single: Statement, id: number, keep: (row: unknown) => void): void {
  try {
    const row = single.get(id);
    if (row !== undefined) keep(row);
  } catch {
    // This row is on a page that is lost.
  }
}
