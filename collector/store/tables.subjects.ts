// What changes were ever about, each once: a word in a subject is looked for there, and not in every change of a month. And what else history of a month needs.
import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';

export interface SubjectTables {
  readonly subjects: { readonly subject: string; readonly kind: string };
}

export const subjects: Migration = {
  async up(db: Kysely<never>) {
    await db.schema
      .createTable('subjects')
      .addColumn('subject', 'text', (column) => column.notNull())
      .addColumn('kind', 'text', (column) => column.notNull())
      .addPrimaryKeyConstraint('subjects_key', ['subject', 'kind'])
      .execute();
    await db.schema.createIndex('subjects_kind').on('subjects').columns(['kind']).execute();
    await sql`INSERT INTO subjects (subject, kind) SELECT DISTINCT subject, kind FROM changes`.execute(db);
    await db.schema.createIndex('findings_node_opened_at').on('findings').columns(['node', 'opened_at']).execute();
    await db.schema.createIndex('changes_subject_at').on('changes').columns(['subject', 'at', 'id']).execute();
  },
};
