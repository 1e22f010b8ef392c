// Copies and checks the SQLite file of a collector that may be running: for `portreeve collector backup` and `verify`.
import { existsSync, rmSync } from 'node:fs';
import { chmod, open, readFile, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import Sqlite, { type Database } from 'better-sqlite3';
import { failure, PortreeveError, reasonOf } from '../../shared/errors.ts';
import { verifySqlite } from './sqlite.file.ts';

export interface Backup {
  /** Bytes of the copy. */
  readonly bytes: number;
  readonly changes: number;
  /** Whether the collector's authority, which agents know it by, is in the copy. */
  readonly hasAuthority: boolean;
}

/**
 * Writes a copy of the store in a directory, as it is at one moment, with the collector's authority in it; writers are not kept waiting. The file appears when it is
 * whole, checked and on disk; the directory with it in place of `portreeve.db` is a collector's that was restored. Throws INPUT_UNREADABLE and STORE_FAILED.
 */
export async function backUp(directory: string, file: string): Promise<Backup> {
  if (existsSync(file)) throw failure('STORE_FAILED', [file, 'it is there already: give the name of a new file']);
  const part = `${file}.part`;
  const source = openStored(directory);
  try {
    rmSync(part, { force: true });
    // Closed to others before there is anything in it: it will hold the key of the authority.
    await (await open(part, 'w', 0o600)).close();
    source.prepare('VACUUM INTO ?').run(part);
    const finished = await finish(part, directory);
    await synced(part);
    await rename(part, file);
    await synced(dirname(file));
    return finished;
  } catch (error) {
    rmSync(part, { force: true });
    throw error instanceof PortreeveError ? error : failure('STORE_FAILED', [file, reasonOf(error)], error);
  } finally {
    source.close();
  }
}

/** Faults of the store in a directory in sentences; none when it is sound. A running collector is not disturbed. Throws INPUT_UNREADABLE. */
export async function verifyStored(directory: string): Promise<readonly string[]> {
  let database: Database | undefined;
  try {
    database = openStored(directory);
    return verifySqlite(database);
  } catch (error) {
    if (error instanceof PortreeveError) throw error;
    return [reasonOf(error)];
  } finally {
    database?.close();
  }
}

function openStored(directory: string): Database {
  const file = join(directory, 'portreeve.db');
  if (!existsSync(file)) throw failure('INPUT_UNREADABLE', [file, 'there is no store: --data names the directory of a collector']);
  return new Sqlite(file, { readonly: true, timeout: 10_000 });
}

async function finish(part: string, directory: string): Promise<Backup> {
  await chmod(part, 0o600);
  const copy = new Sqlite(part);
  try {
    const faults = verifySqlite(copy);
    if (faults.length > 0) throw failure('STORE_FAILED', [part, `the copy is not sound: ${faults.slice(0, 3).join('; ')}`]);
    const hasAuthority = await addAuthority(copy, directory);
    const { changes } = copy.prepare('SELECT count(*) AS changes FROM changes').get() as { changes: number };
    const { bytes } = copy.prepare('SELECT page_count * page_size AS bytes FROM pragma_page_count, pragma_page_size').get() as { bytes: number };
    return { bytes, changes, hasAuthority };
  } finally {
    copy.close();
  }
}

async function addAuthority(copy: Database, directory: string): Promise<boolean> {
  try {
    const [key, certificate] = await Promise.all(['ca.key', 'ca.crt'].map((name) => readFile(join(directory, name), 'utf8')));
    copy.prepare("INSERT OR REPLACE INTO authority (name, key, certificate) VALUES ('own', ?, ?)").run(key, certificate);
    return true;
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return false;
    throw error;
  }
}

async function synced(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
