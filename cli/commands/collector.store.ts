// `portreeve collector backup` and `portreeve collector verify`: a copy of the store, and whether it is sound.
import { failure } from '../../shared/errors.ts';
import { type Io, type Parsed, requiredText, textOf } from '../command.ts';

/** Writes a copy of the store; exit code 0. PostgreSQL is backed up by its own tools. */
export async function backup(parsed: Parsed, io: Io): Promise<number> {
  if (textOf(parsed, 'database-url') !== undefined)
    throw failure('USAGE', [
      'collector backup copies the SQLite store of --data. PostgreSQL is backed up by its own tools: pg_dump of the database that --database-url names for a copy, pg_basebackup with archived WAL for any moment. All that a collector needs is in that database',
    ]);
  const [directory, file] = [requiredText(parsed, 'data'), requiredText(parsed, 'out')];
  const { backUp } = await import('../../collector/store/sqlite.backup.ts');
  const { bytes, changes, hasAuthority } = await backUp(directory, file);
  io.stdout.write(`${file}: ${bytes} bytes, ${changes} changes, ${hasAuthority ? 'with' : 'without'} the authority that agents know the collector by\n`);
  io.stderr.write(`to restore: start a collector with --data on a directory that holds a copy of it as portreeve.db\n`);
  return 0;
}

/** Reads all of the store; exit code 0 when it is sound, 1 with what is wrong otherwise. */
export async function verify(parsed: Parsed, io: Io): Promise<number> {
  const databaseUrl = textOf(parsed, 'database-url');
  const faults = databaseUrl === undefined ? await faultsOfFile(requiredText(parsed, 'data')) : await faultsOfDatabase(databaseUrl);
  for (const fault of faults) io.stdout.write(`${fault}\n`);
  if (faults.length === 0) io.stdout.write('the store is sound\n');
  return faults.length === 0 ? 0 : 1;
}

async function faultsOfFile(directory: string): Promise<readonly string[]> {
  const { verifyStored } = await import('../../collector/store/sqlite.backup.ts');
  return await verifyStored(directory);
}

async function faultsOfDatabase(databaseUrl: string): Promise<readonly string[]> {
  const { openPostgresStore } = await import('../../collector/store/postgres.store.ts');
  const { store } = await openPostgresStore(databaseUrl);
  try {
    return await store.verify();
  } finally {
    await store.close();
  }
}
