// The tables of collectors that share a store, and the step that makes them.
import type { Kysely } from 'kysely';
import type { Migration } from 'kysely/migration';
import type { Engine } from './tables.ts';

export interface ReplicaTables {
  readonly node_states: {
    readonly node: string;
    readonly holder: string;
    readonly token: number;
    readonly stream: string;
    readonly address: string;
    /** The run that was replaced last, and when. */
    readonly former_stream: string;
    readonly former_at: number;
    readonly connected: number;
    readonly since: number;
    readonly state_at: number;
    readonly agent: string | null;
    readonly pending: string | null;
    readonly revision: number;
    readonly facts_revision: number;
    readonly findings_revision: number;
    readonly changes_revision: number;
  };
  readonly node_facts: { readonly node: string; readonly bucket: number; readonly body: Uint8Array; readonly revision: number };
  readonly replicas: { readonly id: string; readonly address: string; readonly version: string; readonly started_at: number; readonly seen_at: number };
  readonly leases: { readonly name: string; readonly holder: string; readonly renewed_at: number };
  readonly questions: {
    readonly id: string;
    readonly replica: string;
    readonly node: string;
    readonly body: string;
    readonly answer: string | null;
    readonly asked_at: number;
  };
  readonly authority: { readonly name: string; readonly key: string; readonly certificate: string };
}

export function replicas(engine: Engine): Migration {
  return {
    async up(db: Kysely<never>) {
      const long = engine === 'sqlite' ? ('integer' as const) : ('bigint' as const);
      const bytes = engine === 'sqlite' ? ('blob' as const) : ('bytea' as const);
      await nodeStates(db, long);
      await db.schema
        .createTable('node_facts')
        .addColumn('node', 'text', (column) => column.notNull())
        .addColumn('bucket', 'integer', (column) => column.notNull())
        .addColumn('body', bytes, (column) => column.notNull())
        .addColumn('revision', long, (column) => column.notNull())
        .addPrimaryKeyConstraint('node_facts_key', ['node', 'bucket'])
        .execute();
      await db.schema
        .createTable('replicas')
        .addColumn('id', 'text', (column) => column.primaryKey())
        .addColumn('address', 'text', (column) => column.notNull())
        .addColumn('version', 'text', (column) => column.notNull())
        .addColumn('started_at', long, (column) => column.notNull())
        .addColumn('seen_at', long, (column) => column.notNull())
        .execute();
      await db.schema
        .createTable('leases')
        .addColumn('name', 'text', (column) => column.primaryKey())
        .addColumn('holder', 'text', (column) => column.notNull())
        .addColumn('renewed_at', long, (column) => column.notNull())
        .execute();
      await db.schema
        .createTable('questions')
        .addColumn('id', 'text', (column) => column.primaryKey())
        .addColumn('replica', 'text', (column) => column.notNull())
        .addColumn('node', 'text', (column) => column.notNull())
        .addColumn('body', 'text', (column) => column.notNull())
        .addColumn('answer', 'text')
        .addColumn('asked_at', long, (column) => column.notNull())
        .execute();
      await db.schema
        .createTable('authority')
        .addColumn('name', 'text', (column) => column.primaryKey())
        .addColumn('key', 'text', (column) => column.notNull())
        .addColumn('certificate', 'text', (column) => column.notNull())
        .execute();
      // What other replicas read of a node's ledger; a single collector never does.
      if (engine === 'postgres') await db.schema.createIndex('changes_node_id').on('changes').columns(['node', 'id']).execute();
    },
  };
}

async function nodeStates(db: Kysely<never>, long: 'integer' | 'bigint'): Promise<void> {
  await db.schema
    .createTable('node_states')
    .addColumn('node', 'text', (column) => column.primaryKey())
    .addColumn('holder', 'text', (column) => column.notNull())
    .addColumn('token', long, (column) => column.notNull())
    .addColumn('stream', 'text', (column) => column.notNull())
    .addColumn('address', 'text', (column) => column.notNull())
    .addColumn('former_stream', 'text', (column) => column.notNull())
    .addColumn('former_at', long, (column) => column.notNull())
    .addColumn('connected', 'integer', (column) => column.notNull())
    .addColumn('since', long, (column) => column.notNull())
    .addColumn('state_at', long, (column) => column.notNull())
    .addColumn('agent', 'text')
    .addColumn('pending', 'text')
    .addColumn('revision', long, (column) => column.notNull())
    .addColumn('facts_revision', long, (column) => column.notNull())
    .addColumn('findings_revision', long, (column) => column.notNull())
    .addColumn('changes_revision', long, (column) => column.notNull())
    .execute();
}
