// Queries on incidents and on the history of what was believed of NodePorts, once for both engines.
import { type Kysely, sql } from 'kysely';
import { limits } from '../../shared/limits.ts';
import type { Incident, IncidentQuery, Page, VerdictColumns, VerdictRow } from './records.ts';
import type { StoreQueries } from './store.ts';
import type { Tables } from './tables.ts';

type OperationsQueries = Pick<StoreQueries, 'saveIncident' | 'incident' | 'incidents' | 'appendVerdicts' | 'verdictsAt'>;

export function operationsQueries(db: Kysely<Tables>): OperationsQueries {
  return {
    saveIncident: async (incident) => {
      const { id, at, endedAt, service, node } = incident;
      const row = {
        at: Math.round(at),
        ended_at: endedAt === null ? null : Math.round(endedAt),
        service: storable(service),
        node: storable(node),
        body: JSON.stringify(incident),
      };
      await db
        .insertInto('incidents')
        .values({ id, ...row })
        .onConflict((conflict) => conflict.column('id').doUpdateSet(row))
        .execute();
    },
    incident: async (id) => {
      const row = await db.selectFrom('incidents').select('body').where('id', '=', id).executeTakeFirst();
      return row === undefined ? undefined : (JSON.parse(row.body) as Incident);
    },
    incidents: (query) => incidentPage(db, query),
    appendVerdicts: async (rows, columns) => {
      if (columns.length > 0)
        await db
          .insertInto('verdict_columns')
          .values([...columns])
          .onConflict((conflict) => conflict.column('id').doNothing())
          .execute();
      for (let at = 0; at < rows.length; at += insertRowsMax)
        await db
          .insertInto('verdicts')
          .values(rows.slice(at, at + insertRowsMax).map(rounded))
          .execute();
    },
    verdictsAt: (at) => verdictsAt(db, at),
  };
}

/**
 * Forgets incidents and rows of before a time; of each node the row that still held then is kept, so that a question for that time has its answer. Of rows no more
 * than `limits.retentionRowsMax`: how many they were is returned.
 */
export async function forgetOperations(db: Kysely<Tables>, before: number): Promise<number> {
  await db.deleteFrom('incidents').where('at', '<', before).execute();
  const held = db
    .selectFrom('verdicts')
    .select(({ fn }) => fn.max('id').as('id'))
    .where('at', '<', before)
    .groupBy('node');
  const oldest = db.selectFrom('verdicts').select('id').where('at', '<', before).where('id', 'not in', held).orderBy('id').limit(limits.retentionRowsMax);
  const { numDeletedRows } = await db.deleteFrom('verdicts').where('id', 'in', oldest).executeTakeFirst();
  const deleted = Number(numDeletedRows);
  // Columns of rows that are about to go are looked for once they are gone.
  if (deleted < limits.retentionRowsMax) await forgetColumns(db);
  return deleted;
}

async function forgetColumns(db: Kysely<Tables>): Promise<void> {
  await db
    .deleteFrom('verdict_columns')
    .where('id', 'not in', (query) => query.selectFrom('verdicts').select('columns').distinct())
    .execute();
}

/** Rows of one statement: engines bound the number of their parameters. */
const insertRowsMax = 500;

/** PostgreSQL takes no NUL in text; in JSON it is written otherwise. */
const storable = (text: string): string => text.replaceAll('\0', '\u2400');
const rounded = (row: VerdictRow): VerdictRow => ({ ...row, at: Math.round(row.at) });

async function incidentPage(db: Kysely<Tables>, { service, node, open, from, to, limit, cursor }: IncidentQuery): Promise<Page<Incident>> {
  const place = /^(\d+)-([\w-]+)$/.exec(cursor ?? '');
  let select = db.selectFrom('incidents').select(['at', 'id', 'body']);
  if (service !== undefined) select = select.where('service', '=', service);
  if (node !== undefined) select = select.where('node', '=', node);
  if (open !== undefined) select = select.where('ended_at', open ? 'is' : 'is not', null);
  if (from !== undefined) select = select.where(({ or, eb }) => or([eb('ended_at', 'is', null), eb('ended_at', '>=', Math.ceil(from))]));
  if (to !== undefined) select = select.where('at', '<=', Math.floor(to));
  if (place !== null) select = select.where(sql<boolean>`(at, id) < (${Number(place[1])}, ${place[2]})`);
  const rows = await select
    .orderBy('at', 'desc')
    .orderBy('id', 'desc')
    .limit(limit + 1)
    .execute();
  const page = rows.slice(0, limit);
  const last = page.at(-1);
  const items = page.map(({ body }) => JSON.parse(body) as Incident);
  return { items, ...(rows.length > page.length && last !== undefined ? { next: `${last.at}-${last.id}` } : {}) };
}

async function verdictsAt(db: Kysely<Tables>, at: number): Promise<{ readonly rows: readonly VerdictRow[]; readonly columns: readonly VerdictColumns[] }> {
  const last = db
    .selectFrom('verdicts')
    .select(({ fn }) => ['node', fn.max('id').as('id')])
    .where('at', '<=', Math.floor(at))
    .groupBy('node')
    .as('last');
  const rows = (await db
    .selectFrom('verdicts')
    .innerJoin(last, 'last.id', 'verdicts.id')
    .select(['verdicts.node', 'verdicts.at', 'verdicts.agent', 'verdicts.columns', 'verdicts.codes'])
    .orderBy('verdicts.node')
    .execute()) as readonly VerdictRow[];
  const ids = [...new Set(rows.map(({ columns }) => columns))];
  const columns = ids.length === 0 ? [] : await db.selectFrom('verdict_columns').selectAll().where('id', 'in', ids).execute();
  return { rows, columns };
}
