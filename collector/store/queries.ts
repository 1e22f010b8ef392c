// Every query of the store, once for both engines.
import { type Kysely, type Selectable, sql } from 'kysely';
import { limits } from '../../shared/limits.ts';
import type { Finding } from '../../shared/model/finding.ts';
import { appendChanges, changePage, storable } from './change.queries.ts';
import { forgetOperations, operationsQueries } from './operations.queries.ts';
import type { AuditRecord, Credential, FindingQuery, FindingRecord, Forgotten, Gap, GapQuery, IdentityRecord, Page, Retention } from './records.ts';
import { guard, replicaQueriesOn } from './replica.queries.ts';
import type { StoreQueries } from './store.ts';
import type { Engine, Tables } from './tables.ts';

/** The queries on one connection or pool. Each is one statement, or several that are to be in one transaction: the caller sees to that. */
export function queriesOn(db: Kysely<Tables>, engine: Engine): StoreQueries {
  return {
    appendChanges: async (changes, fence) => {
      if (changes.length > 0) await guard(db, fence, 'changes_revision');
      return await appendChanges(db, changes);
    },
    lastSeq: async (node, stream) => {
      const row = await db
        .selectFrom('changes')
        .select(({ fn }) => fn.max('seq').as('seq'))
        .where('node', '=', node)
        .where('stream', '=', stream)
        .executeTakeFirst();
      return Number(row?.seq ?? 0);
    },
    changes: (query) => changePage(db, engine, query),
    upsertFindings: async (records, fence) => {
      await guard(db, fence, 'findings_revision');
      for (const record of records) await upsertFinding(db, record);
    },
    closeFindings: async (ids, at, fence) => {
      if (ids.length === 0) return;
      await guard(db, fence, 'findings_revision');
      await db
        .updateTable('findings')
        .set({ closed_at: Math.round(at) })
        .where('id', 'in', [...ids])
        .where('closed_at', 'is', null)
        .execute();
    },
    findings: async (query) => (await findingPage(db, query)).items,
    findingPage: (query) => findingPage(db, query),
    ...operationsQueries(db),
    ...nodeQueries(db),
    recordGaps: async (gaps, fence) => {
      if (gaps.length === 0) return;
      await guard(db, fence, 'revision');
      const rows = await newGaps(db, gaps);
      if (rows.length === 0) return;
      await db
        .insertInto('gaps')
        .values(rows)
        .onConflict((conflict) => conflict.columns(['node', 'reason', 'stream', 'from_seq', 'from_at']).doNothing())
        .execute();
    },
    gaps: async (query) => (await gapPage(db, query)).items,
    gapPage: (query) => gapPage(db, query),
    ...credentialQueries(db),
    ...identityQueries(db),
    appendAudit: async (records) => {
      if (records.length > 0)
        await db
          .insertInto('audit')
          .values(records.map((record) => ({ ...record, at: Math.round(record.at) })))
          .execute();
    },
    audit: async (limit) => {
      const rows = await db
        .selectFrom('audit')
        .select(['at', 'who', 'action', 'subject', 'outcome', 'address'])
        .orderBy('at', 'desc')
        .orderBy('id', 'desc')
        .limit(limit)
        .execute();
      return rows as readonly AuditRecord[];
    },
    forget: async (retention, fence) => {
      await guard(db, fence, 'revision');
      return await forget(db, engine, retention);
    },
    ...replicaQueriesOn(db, engine),
  };
}

async function upsertFinding(db: Kysely<Tables>, { finding, openedAt }: { readonly finding: Finding; readonly openedAt: number }): Promise<void> {
  const { id, node, cause } = finding;
  const body = storable(JSON.stringify(finding));
  await db
    .insertInto('findings')
    .values({ id, node, cause, opened_at: Math.round(openedAt), closed_at: null, body })
    .onConflict((conflict) => conflict.column('id').where('closed_at', 'is', null).doUpdateSet({ cause, body }))
    .execute();
}

async function findingPage(db: Kysely<Tables>, query: FindingQuery): Promise<Page<FindingRecord>> {
  let select = db.selectFrom('findings').select(['episode', 'opened_at', 'closed_at', 'body']);
  const { node, open, from, to, cause } = query;
  const cursor = /^(\d+)-(\d+)$/.exec(query.cursor ?? '');
  if (node !== undefined) select = select.where('node', '=', node);
  if (cause !== undefined) select = select.where('cause', '=', cause);
  if (open !== undefined) select = select.where('closed_at', open ? 'is' : 'is not', null);
  if (from !== undefined) select = select.where(({ or, eb }) => or([eb('closed_at', 'is', null), eb('closed_at', '>=', Math.ceil(from))]));
  if (to !== undefined) select = select.where('opened_at', '<=', Math.floor(to));
  if (cursor !== null) select = select.where(sql<boolean>`(opened_at, episode) < (${Number(cursor[1])}, ${Number(cursor[2])})`);
  const rows = await select
    .orderBy('opened_at', 'desc')
    .orderBy('episode', 'desc')
    .limit(query.limit + 1)
    .execute();
  const page = rows.slice(0, query.limit);
  const last = page.at(-1);
  return {
    items: page.map(({ opened_at, closed_at, body }) => ({ finding: JSON.parse(body) as Finding, openedAt: opened_at, closedAt: closed_at })),
    ...(rows.length > page.length && last !== undefined ? { next: `${last.opened_at}-${last.episode}` } : {}),
  };
}

function nodeQueries(db: Kysely<Tables>): Pick<StoreQueries, 'saveNode' | 'node' | 'nodes'> {
  const select = () =>
    db.selectFrom('nodes').select(['name', 'version', 'boot_id as bootId', 'stream', 'first_seen_at as firstSeenAt', 'last_seen_at as lastSeenAt']);
  return {
    saveNode: async ({ name, version, bootId, stream, lastSeenAt }, fence) => {
      await guard(db, fence, 'revision');
      const news = { version, boot_id: bootId, stream, last_seen_at: Math.round(lastSeenAt) };
      await db
        .insertInto('nodes')
        .values({ name, ...news, first_seen_at: news.last_seen_at })
        .onConflict((conflict) => conflict.column('name').doUpdateSet(news))
        .execute();
    },
    node: (name) => select().where('name', '=', name).executeTakeFirst(),
    nodes: () => select().orderBy('name').execute(),
  };
}

type GapRow = ReturnType<typeof rowOfGap>;

/**
 * Rows of those that are not there yet. A gap of numbers is known by them, as its times differ when an agent tells of it on another connection; one of time alone
 * grows by what overlaps it.
 */
async function newGaps(db: Kysely<Tables>, gaps: readonly Gap[]): Promise<readonly GapRow[]> {
  const fresh: GapRow[] = [];
  for (const row of gaps.map(rowOfGap)) {
    const same = fresh.findIndex((each) => each.node === row.node && each.reason === row.reason && isSamePlace(each, row));
    const known = fresh[same];
    if (known !== undefined) fresh[same] = known.to_at >= row.to_at ? known : row;
    else if (!(await (row.stream === '' ? isGapGrown(db, row) : isGapKnown(db, row)))) fresh.push(row);
  }
  return fresh;
}

const isSamePlace = (a: GapRow, b: GapRow): boolean => a.stream === b.stream && a.from_seq === b.from_seq && (a.stream !== '' || a.from_at === b.from_at);

async function isGapKnown(db: Kysely<Tables>, { node, reason, stream, from_seq }: GapRow): Promise<boolean> {
  const query = db.selectFrom('gaps').select('id').where('node', '=', node).where('reason', '=', reason).where('stream', '=', stream);
  return (await query.where('from_seq', '=', from_seq).executeTakeFirst()) !== undefined;
}

/** Makes one of all that a gap overlaps; false when it overlaps none. */
async function isGapGrown(db: Kysely<Tables>, { node, reason, from_at, to_at, detail }: GapRow): Promise<boolean> {
  const query = db.selectFrom('gaps').select(['id', 'from_at', 'to_at']).where('node', '=', node).where('reason', '=', reason).where('stream', '=', '');
  const [first, ...others] = await query.where('from_at', '<=', to_at).where('to_at', '>=', from_at).orderBy('id').execute();
  if (first === undefined) return false;
  const known = [first, ...others];
  const [from, to] = [Math.min(from_at, ...known.map((each) => each.from_at)), Math.max(to_at, ...known.map((each) => each.to_at))];
  if (from === first.from_at && to === first.to_at) return true;
  for (const { id } of others) await db.deleteFrom('gaps').where('id', '=', id).execute();
  const isLonger = to_at - from_at > first.to_at - first.from_at;
  await db
    .updateTable('gaps')
    .set({ from_at: from, to_at: to, ...(isLonger ? { detail } : {}) })
    .where('id', '=', first.id)
    .execute();
  return true;
}

/** What every engine and every reader can tell, whatever the clock of a node says. */
const tellable = (time: number): number => Math.round(Math.min(limits.timeMsMax, Math.max(0, time)));

function rowOfGap({ node, reason, from, to, detail, seqs }: Gap) {
  const numbers = { stream: seqs?.stream ?? '', from_seq: seqs?.from ?? 0, to_seq: seqs?.to ?? 0 };
  return { node, reason, from_at: tellable(from), to_at: tellable(to), detail: storable(detail), ...numbers };
}

async function gapPage(db: Kysely<Tables>, query: GapQuery): Promise<Page<Gap>> {
  const cursor = /^(\d+)-(\d+)$/.exec(query.cursor ?? '');
  let select = db.selectFrom('gaps').selectAll();
  if (query.reason !== undefined) select = select.where('reason', '=', query.reason);
  if (query.node !== undefined) select = select.where('node', '=', query.node);
  if (query.from !== undefined) select = select.where('to_at', '>=', Math.ceil(query.from));
  if (query.to !== undefined) select = select.where('from_at', '<=', Math.floor(query.to));
  if (cursor !== null) select = select.where(sql<boolean>`(to_at, id) < (${Number(cursor[1])}, ${Number(cursor[2])})`);
  const rows = await select
    .orderBy('to_at', 'desc')
    .orderBy('id', 'desc')
    .limit(query.limit + 1)
    .execute();
  const page = rows.slice(0, query.limit);
  const last = page.at(-1);
  return { items: page.map(gapOfRow), ...(rows.length > page.length && last !== undefined ? { next: `${last.to_at}-${last.id}` } : {}) };
}

function gapOfRow({ node, reason, from_at, to_at, detail, stream, from_seq, to_seq }: Selectable<Tables['gaps']>): Gap {
  return {
    node,
    reason: reason as Gap['reason'],
    from: from_at,
    to: to_at,
    detail,
    ...(stream === '' ? {} : { seqs: { stream, from: from_seq, to: to_seq } }),
  };
}

function credentialQueries(db: Kysely<Tables>): Pick<StoreQueries, 'saveCredential' | 'credential' | 'credentials' | 'useCredential' | 'revokeCredential'> {
  const select = () =>
    db
      .selectFrom('credentials')
      .select([
        'id',
        'kind',
        'name',
        'role',
        'hash',
        'created_at as createdAt',
        'created_by as createdBy',
        'expires_at as expiresAt',
        'used_at as usedAt',
        'revoked_at as revokedAt',
      ]);
  return {
    saveCredential: async ({ createdAt, createdBy, expiresAt, usedAt, revokedAt, ...same }) => {
      const row = { ...same, created_at: createdAt, created_by: createdBy, expires_at: expiresAt, used_at: usedAt, revoked_at: revokedAt };
      await db.insertInto('credentials').values(row).execute();
    },
    credential: async (id) => (await select().where('id', '=', id).executeTakeFirst()) as Credential | undefined,
    credentials: async () => (await select().orderBy('created_at', 'desc').orderBy('id').execute()) as readonly Credential[],
    useCredential: async (id, at) => {
      const { numUpdatedRows } = await db
        .updateTable('credentials')
        .set({ used_at: at })
        .where('id', '=', id)
        .where('used_at', 'is', null)
        .where('revoked_at', 'is', null)
        .where(({ or, eb }) => or([eb('expires_at', 'is', null), eb('expires_at', '>', at)]))
        .executeTakeFirst();
      return numUpdatedRows > 0n;
    },
    revokeCredential: async (id, at) => {
      const { numUpdatedRows } = await db
        .updateTable('credentials')
        .set({ revoked_at: at })
        .where('id', '=', id)
        .where('revoked_at', 'is', null)
        .executeTakeFirst();
      return numUpdatedRows > 0n;
    },
  };
}

function identityQueries(db: Kysely<Tables>): Pick<StoreQueries, 'saveIdentity' | 'identities' | 'revokeIdentities'> {
  return {
    saveIdentity: async ({ node, keyHash, serial, issuedAt, expiresAt, revokedAt }) => {
      const news = { serial, issued_at: issuedAt, expires_at: expiresAt, revoked_at: revokedAt };
      await db
        .insertInto('identities')
        .values({ node, key_hash: keyHash, ...news })
        .onConflict((conflict) => conflict.columns(['node', 'key_hash']).doUpdateSet(news))
        .execute();
    },
    identities: async (node) => {
      const rows: readonly IdentityRecord[] = await db
        .selectFrom('identities')
        .select(['node', 'key_hash as keyHash', 'serial', 'issued_at as issuedAt', 'expires_at as expiresAt', 'revoked_at as revokedAt'])
        .where('node', '=', node)
        .orderBy('issued_at', 'desc')
        .execute();
      return rows;
    },
    revokeIdentities: async (node, at) => {
      const { numUpdatedRows } = await db
        .updateTable('identities')
        .set({ revoked_at: at })
        .where('node', '=', node)
        .where('revoked_at', 'is', null)
        .executeTakeFirst();
      return Number(numUpdatedRows);
    },
  };
}

/** Share of the changes that is forgotten at once when the store is over its size: often a little would cost more than seldom a tenth. */
const forgottenShare = 0.1;

async function forget(db: Kysely<Tables>, engine: Engine, { before: exactly, bytesMax }: Retention): Promise<Forgotten> {
  const before = Math.round(exactly);
  const deleted = async (query: { executeTakeFirst(): Promise<{ numDeletedRows: bigint }> }): Promise<number> =>
    Number((await query.executeTakeFirst()).numDeletedRows);
  const changes = await forgetOldest(db, { rows: limits.retentionRowsMax, before });
  const findings = await deleted(db.deleteFrom('findings').where('closed_at', '<', before));
  const gaps = await deleted(db.deleteFrom('gaps').where('to_at', '<', before));
  const audit = await deleted(db.deleteFrom('audit').where('at', '<', before));
  await db.deleteFrom('credentials').where('expires_at', '<', before).execute();
  const verdicts = await forgetOperations(db, before);
  const gone = db.selectFrom('node_states').select('node').where('connected', '=', 0).where('since', '<', before).where('node', '<>', '');
  await db.deleteFrom('node_facts').where('node', 'in', gone).execute();
  const over = changes < limits.retentionRowsMax && bytesMax !== undefined && (await sizeOf(db, engine)) > bytesMax;
  const more = over ? await forgetOldest(db, { rows: await tenthOf(db) }) : 0;
  if (changes + more > 0 && changes < limits.retentionRowsMax) await forgetSubjects(db);
  return { changes: changes + more, verdicts, findings, gaps, audit };
}

/** Subjects that no change is about any more. */
async function forgetSubjects(db: Kysely<Tables>): Promise<void> {
  await db
    .deleteFrom('subjects')
    .where(({ not, exists, selectFrom }) => not(exists(selectFrom('changes').select('changes.id').whereRef('changes.subject', '=', 'subjects.subject'))))
    .execute();
}

/** A tenth of the changes, and no more than are forgotten at a time. */
async function tenthOf(db: Kysely<Tables>): Promise<number> {
  const some = db
    .selectFrom('changes')
    .select('id')
    .limit(limits.retentionRowsMax / forgottenShare);
  const { count } = await db
    .selectFrom(some.as('some'))
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow();
  return Math.ceil(Number(count) * forgottenShare);
}

async function forgetOldest(db: Kysely<Tables>, { rows, before }: { readonly rows: number; readonly before?: number }): Promise<number> {
  const all = db.selectFrom('changes').select('id').orderBy('at').orderBy('id').limit(rows);
  const oldest = before === undefined ? all : all.where('at', '<', before);
  const { numDeletedRows } = await db.deleteFrom('changes').where('id', 'in', oldest).executeTakeFirst();
  return Number(numDeletedRows);
}

/** Bytes in use: what was deleted and can be used again does not count, so that in PostgreSQL, whose files stay as large as they were, rows are counted. */
async function sizeOf(db: Kysely<Tables>, engine: Engine): Promise<number> {
  const query =
    engine === 'sqlite'
      ? sql<{
          bytes: number;
        }>`SELECT (p.page_count - f.freelist_count) * s.page_size AS bytes FROM pragma_page_count p, pragma_freelist_count f, pragma_page_size s`
      : sql<{ bytes: number }>`SELECT least(pg_total_relation_size('changes'), count(*) * (SELECT coalesce(avg(pg_column_size(c.*)), 0) + ${sql.lit(indexBytes)}
          FROM (SELECT * FROM changes ORDER BY id DESC LIMIT 1000) c)) AS bytes FROM changes`;
  return Number((await query.execute(db)).rows[0]?.bytes ?? 0);
}

/** What a change takes in the indexes of PostgreSQL, about. */
const indexBytes = 250;
