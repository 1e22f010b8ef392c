// The tables, for both engines, and the steps from one version of the schema to the next.
import { type Generated, type Kysely, sql } from 'kysely';
import type { Migration, MigrationProvider } from 'kysely/migration';
import { type ReplicaTables, replicas } from './tables.replicas.ts';
import { type SubjectTables, subjects } from './tables.subjects.ts';

export type Engine = 'sqlite' | 'postgres';

export interface Tables extends ReplicaTables, SubjectTables {
  readonly nodes: {
    readonly name: string;
    readonly version: string;
    readonly boot_id: string;
    readonly stream: string;
    readonly first_seen_at: number;
    readonly last_seen_at: number;
  };
  readonly changes: {
    readonly id: Generated<number>;
    readonly node: string;
    readonly stream: string;
    readonly seq: number;
    readonly at: number;
    readonly kind: string;
    readonly subject: string;
    readonly before: string | null;
    readonly after: string | null;
    /** JSON. */
    readonly actor: string | null;
    readonly owner: string | null;
    readonly received_at: number;
    /** JSON of what few changes have: covers, folded, gap. */
    readonly more: string | null;
  };
  readonly findings: {
    readonly episode: Generated<number>;
    readonly id: string;
    readonly node: string;
    readonly cause: string;
    readonly opened_at: number;
    readonly closed_at: number | null;
    /** JSON of the finding. */
    readonly body: string;
  };
  readonly gaps: {
    readonly id: Generated<number>;
    readonly node: string;
    readonly reason: string;
    readonly from_at: number;
    readonly to_at: number;
    readonly detail: string;
    /** Empty, and the seqs 0, where no numbers are known. */
    readonly stream: string;
    readonly from_seq: number;
    readonly to_seq: number;
  };
  readonly credentials: {
    readonly id: string;
    readonly kind: string;
    readonly name: string;
    readonly role: string | null;
    readonly hash: string;
    readonly created_at: number;
    readonly created_by: string;
    readonly expires_at: number | null;
    readonly used_at: number | null;
    readonly revoked_at: number | null;
  };
  readonly identities: {
    readonly node: string;
    readonly key_hash: string;
    readonly serial: string;
    readonly issued_at: number;
    readonly expires_at: number;
    readonly revoked_at: number | null;
  };
  readonly audit: {
    readonly id: Generated<number>;
    readonly at: number;
    readonly who: string;
    readonly action: string;
    readonly subject: string;
    readonly outcome: string;
    readonly address: string;
  };
  readonly incidents: {
    readonly id: string;
    readonly at: number;
    readonly ended_at: number | null;
    readonly service: string;
    readonly node: string;
    /** JSON of the incident. */
    readonly body: string;
  };
  readonly verdicts: {
    readonly id: Generated<number>;
    readonly node: string;
    readonly at: number;
    readonly agent: string;
    readonly columns: string;
    readonly codes: string;
  };
  readonly verdict_columns: {
    readonly id: string;
    readonly body: string;
  };
}

/** The steps in order. One that has been released is never changed: a new one is added behind it. */
export const migrationsFor = (engine: Engine): MigrationProvider => ({
  getMigrations: async () =>
    ({
      '0001-ledger': ledger(engine),
      '0002-access': access(engine),
      '0003-replicas': replicas(engine),
      '0004-subjects': subjects,
      '0005-operations': operations(engine),
    }) satisfies Record<string, Migration>,
});

function ledger(engine: Engine): Migration {
  return {
    async up(db: Kysely<never>) {
      const long = longOf(engine);
      await db.schema
        .createTable('nodes')
        .addColumn('name', 'text', (column) => column.primaryKey())
        .addColumn('version', 'text', (column) => column.notNull())
        .addColumn('boot_id', 'text', (column) => column.notNull())
        .addColumn('stream', 'text', (column) => column.notNull())
        .addColumn('first_seen_at', long, (column) => column.notNull())
        .addColumn('last_seen_at', long, (column) => column.notNull())
        .execute();
      await numbered(db, engine, ['changes', 'id'])
        .addColumn('node', 'text', (column) => column.notNull())
        .addColumn('stream', 'text', (column) => column.notNull())
        .addColumn('seq', long, (column) => column.notNull())
        .addColumn('at', long, (column) => column.notNull())
        .addColumn('kind', 'text', (column) => column.notNull())
        .addColumn('subject', 'text', (column) => column.notNull())
        .addColumn('before', 'text')
        .addColumn('after', 'text')
        .addColumn('actor', 'text')
        .addColumn('owner', 'text')
        .addColumn('received_at', long, (column) => column.notNull())
        .addColumn('more', 'text')
        .addUniqueConstraint('changes_node_stream_seq', ['node', 'stream', 'seq'])
        .execute();
      await db.schema.createIndex('changes_at').on('changes').columns(['at', 'id']).execute();
      await db.schema.createIndex('changes_node_at').on('changes').columns(['node', 'at', 'id']).execute();
      await numbered(db, engine, ['findings', 'episode'])
        .addColumn('id', 'text', (column) => column.notNull())
        .addColumn('node', 'text', (column) => column.notNull())
        .addColumn('cause', 'text', (column) => column.notNull())
        .addColumn('opened_at', long, (column) => column.notNull())
        .addColumn('closed_at', long)
        .addColumn('body', 'text', (column) => column.notNull())
        .execute();
      // One open finding of an id: two replicas that see the same fault open it once.
      await sql`CREATE UNIQUE INDEX findings_open ON findings (id) WHERE closed_at IS NULL`.execute(db);
      await db.schema.createIndex('findings_opened_at').on('findings').columns(['opened_at', 'episode']).execute();
      await numbered(db, engine, ['gaps', 'id'])
        .addColumn('node', 'text', (column) => column.notNull())
        .addColumn('reason', 'text', (column) => column.notNull())
        .addColumn('from_at', long, (column) => column.notNull())
        .addColumn('to_at', long, (column) => column.notNull())
        .addColumn('detail', 'text', (column) => column.notNull())
        .addColumn('stream', 'text', (column) => column.notNull())
        .addColumn('from_seq', long, (column) => column.notNull())
        .addColumn('to_seq', long, (column) => column.notNull())
        .addUniqueConstraint('gaps_once', ['node', 'reason', 'stream', 'from_seq', 'from_at'])
        .execute();
      await db.schema.createIndex('gaps_to').on('gaps').columns(['to_at', 'id']).execute();
    },
  };
}

function access(engine: Engine): Migration {
  return {
    async up(db: Kysely<never>) {
      const long = longOf(engine);
      await db.schema
        .createTable('credentials')
        .addColumn('id', 'text', (column) => column.primaryKey())
        .addColumn('kind', 'text', (column) => column.notNull())
        .addColumn('name', 'text', (column) => column.notNull())
        .addColumn('role', 'text')
        .addColumn('hash', 'text', (column) => column.notNull())
        .addColumn('created_at', long, (column) => column.notNull())
        .addColumn('created_by', 'text', (column) => column.notNull())
        .addColumn('expires_at', long)
        .addColumn('used_at', long)
        .addColumn('revoked_at', long)
        .execute();
      await db.schema
        .createTable('identities')
        .addColumn('node', 'text', (column) => column.notNull())
        .addColumn('key_hash', 'text', (column) => column.notNull())
        .addColumn('serial', 'text', (column) => column.notNull())
        .addColumn('issued_at', long, (column) => column.notNull())
        .addColumn('expires_at', long, (column) => column.notNull())
        .addColumn('revoked_at', long)
        .addPrimaryKeyConstraint('identities_key', ['node', 'key_hash'])
        .execute();
      await numbered(db, engine, ['audit', 'id'])
        .addColumn('at', long, (column) => column.notNull())
        .addColumn('who', 'text', (column) => column.notNull())
        .addColumn('action', 'text', (column) => column.notNull())
        .addColumn('subject', 'text', (column) => column.notNull())
        .addColumn('outcome', 'text', (column) => column.notNull())
        .addColumn('address', 'text', (column) => column.notNull())
        .execute();
      await db.schema.createIndex('audit_at').on('audit').columns(['at', 'id']).execute();
    },
  };
}

function operations(engine: Engine): Migration {
  return {
    async up(db: Kysely<never>) {
      const long = longOf(engine);
      await db.schema
        .createTable('incidents')
        .addColumn('id', 'text', (column) => column.primaryKey())
        .addColumn('at', long, (column) => column.notNull())
        .addColumn('ended_at', long)
        .addColumn('service', 'text', (column) => column.notNull())
        .addColumn('node', 'text', (column) => column.notNull())
        .addColumn('body', 'text', (column) => column.notNull())
        .execute();
      await db.schema.createIndex('incidents_at').on('incidents').columns(['at', 'id']).execute();
      await numbered(db, engine, ['verdicts', 'id'])
        .addColumn('node', 'text', (column) => column.notNull())
        .addColumn('at', long, (column) => column.notNull())
        .addColumn('agent', 'text', (column) => column.notNull())
        .addColumn('columns', 'text', (column) => column.notNull())
        .addColumn('codes', 'text', (column) => column.notNull())
        .execute();
      await db.schema.createIndex('verdicts_node_at').on('verdicts').columns(['node', 'at', 'id']).execute();
      await db.schema
        .createTable('verdict_columns')
        .addColumn('id', 'text', (column) => column.primaryKey())
        .addColumn('body', 'text', (column) => column.notNull())
        .execute();
    },
  };
}

/** Numbers of up to 53 bits. */
const longOf = (engine: Engine) => (engine === 'sqlite' ? ('integer' as const) : ('bigint' as const));

/** A table whose rows the engine numbers in the order of their coming. */
function numbered({ schema }: Kysely<never>, engine: Engine, [table, column]: readonly [table: string, column: string]) {
  const begun = schema.createTable(table);
  return engine === 'sqlite'
    ? begun.addColumn(column, 'integer', (id) => id.primaryKey().autoIncrement())
    : begun.addColumn(column, 'bigint', (id) => id.primaryKey().generatedAlwaysAsIdentity());
}
