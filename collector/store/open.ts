// Opens the store that the options name.
import { openPostgresStore } from './postgres.store.ts';
import { openSqliteStore } from './sqlite.store.ts';
import type { OpenedStore } from './store.ts';

/** PostgreSQL where a URL is given, else SQLite in the data directory. Throws STORE_FAILED. */
export const openStore = ({ data, databaseUrl }: { readonly data: string; readonly databaseUrl?: string }): Promise<OpenedStore> =>
  databaseUrl === undefined ? openSqliteStore(data) : openPostgresStore(databaseUrl);
