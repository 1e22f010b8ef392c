// The queries of collectors that share a store, once for both engines; and the check that a write is its owner's.
import { type Kysely, type Selectable, sql } from 'kysely';
import { failure } from '../../shared/errors.ts';
import { changeOfRow } from './change.row.ts';
import type { Claim, Claimed, Fence, NodeNews, NodeState, ReplicaQueries, ReplicaRecord } from './replica.records.ts';
import type { Engine, Tables } from './tables.ts';

/** Replicas that are gone this long are forgotten, and questions that nobody fetched the answer of. */
const forgottenMs = 86_400_000;
const questionMs = 60_000;

export function replicaQueriesOn(db: Kysely<Tables>, engine: Engine): ReplicaQueries {
  return {
    attend: (replica, deadMs) => attend(db, engine, { replica, deadMs }),
    leave: async (id) => {
      await db.deleteFrom('replicas').where('id', '=', id).execute();
      await db.updateTable('leases').set({ renewed_at: 0 }).where('holder', '=', id).execute();
      await db
        .updateTable('node_states')
        .set(({ eb }) => ({ connected: 0, since: nowOf(engine), revision: eb('revision', '+', 1) }))
        .where('holder', '=', id)
        .where('connected', '=', 1)
        .execute();
    },
    takeNode: (claim) => takeNode(db, engine, claim),
    adoptNodes: async (holder, living) => {
      const rows = await db
        .updateTable('node_states')
        .set(({ eb }) => ({ holder, token: eb('token', '+', 1), connected: 0, since: nowOf(engine), revision: eb('revision', '+', 1) }))
        .where('holder', 'not in', [holder, ...living])
        .where('node', '<>', '')
        .returning(['node', 'token'])
        .execute();
      return rows;
    },
    nodeStates: async (nodes) => {
      if (nodes?.length === 0) return [];
      const select = db.selectFrom('node_states').selectAll();
      return (await (nodes === undefined ? select : select.where('node', 'in', [...nodes])).execute()).map(stateOfRow);
    },
    saveNodeState: (fence, news) => saveNodeState(db, fence, news),
    factBuckets: (node, after) => db.selectFrom('node_facts').select(['bucket', 'body']).where('node', '=', node).where('revision', '>', after).execute(),
    changesAfter: async (node, after, limit) => {
      const rows = await db.selectFrom('changes').selectAll().where('node', '=', node).where('id', '>', after).orderBy('id').limit(limit).execute();
      return { items: rows.map(changeOfRow), last: rows.at(-1)?.id ?? after };
    },
    lastChange: async () => {
      const row = await db
        .selectFrom('changes')
        .select(({ fn }) => fn.max('id').as('id'))
        .executeTakeFirst();
      return Number(row?.id ?? 0);
    },
    ...questionQueries(db, engine),
    sharedAuthority: async (own) => {
      const insert = db.insertInto('authority').onConflict((conflict) => conflict.column('name').doNothing());
      if (own !== undefined) await insert.values({ name: 'own', ...own }).execute();
      return await db.selectFrom('authority').select(['key', 'certificate']).where('name', '=', 'own').executeTakeFirst();
    },
  };
}

/** Which part of what is known of a node a write changes. */
export type Part = 'findings_revision' | 'changes_revision' | 'revision';

/**
 * Makes sure that a write is its owner's, in the write's own transaction: the row is locked until its end, so that whoever takes the node over meanwhile waits,
 * and reads what was written. Throws LEASE_LOST. Without a fence (a store of one collector) nothing is checked.
 */
export async function guard(db: Kysely<Tables>, fence: Fence | undefined, part: Part): Promise<void> {
  if (fence === undefined) return;
  const { numUpdatedRows } = await db
    .updateTable('node_states')
    .set(({ eb }) => {
      const next = eb('revision', '+', 1);
      return { revision: next, ...(part === 'revision' ? {} : { [part]: next }) };
    })
    .where('node', '=', fence.node)
    .where('holder', '=', fence.holder)
    .where('token', '=', fence.token)
    .executeTakeFirst();
  if (numUpdatedRows === 0n) throw failure('LEASE_LOST', [fence.node]);
}

/** The time by the clock of the database. */
const nowOf = (engine: Engine) =>
  engine === 'sqlite' ? sql<number>`CAST(unixepoch('subsec') * 1000 AS INTEGER)` : sql<number>`CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)`;

async function attend(
  db: Kysely<Tables>,
  engine: Engine,
  { replica, deadMs }: { readonly replica: Omit<ReplicaRecord, 'ageMs'>; readonly deadMs: number },
): Promise<{ readonly replicas: readonly ReplicaRecord[]; readonly leader: string }> {
  const { id, address, version, startedAt } = replica;
  const now = nowOf(engine);
  await db
    .insertInto('replicas')
    .values({ id, address, version, started_at: startedAt, seen_at: now })
    .onConflict((conflict) => conflict.column('id').doUpdateSet({ address, version, started_at: startedAt, seen_at: now }))
    .execute();
  await sql`INSERT INTO leases (name, holder, renewed_at) VALUES ('leader', ${id}, ${now})
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, renewed_at = excluded.renewed_at
    WHERE leases.holder = excluded.holder OR leases.renewed_at < excluded.renewed_at - ${sql.lit(deadMs)}`.execute(db);
  const rows = await db
    .selectFrom('replicas')
    .select(['id', 'address', 'version', 'started_at as startedAt', sql<number>`${now} - seen_at`.as('ageMs')])
    .orderBy('id')
    .execute();
  const { holder } = await db.selectFrom('leases').select('holder').where('name', '=', 'leader').executeTakeFirstOrThrow();
  if (holder === id) {
    await db
      .deleteFrom('replicas')
      .where('seen_at', '<', sql<number>`${now} - ${sql.lit(forgottenMs)}`)
      .execute();
    await db
      .deleteFrom('questions')
      .where('asked_at', '<', sql<number>`${now} - ${sql.lit(questionMs)}`)
      .execute();
  }
  return { replicas: rows.map((row) => ({ ...row, ageMs: Math.max(0, Number(row.ageMs)) })), leader: holder };
}

async function takeNode(db: Kysely<Tables>, engine: Engine, { node, holder, stream, address, cloneMs, deadMs }: Claim): Promise<Claimed> {
  const at = { since: 0, state_at: 0, agent: null, pending: null, revision: 0, facts_revision: 0, findings_revision: 0, changes_revision: 0 };
  await db
    .insertInto('node_states')
    .values({ node, holder: '', token: 0, stream: '', address: '', former_stream: '', former_at: 0, connected: 0, ...at })
    .onConflict((conflict) => conflict.column('node').doNothing())
    .execute();
  // Locked by a write before it is read: of two that take a node at once, the second sees what the first has made of it.
  const { now, ...before } = await db
    .updateTable('node_states')
    // An agent that comes back to the same replica makes none of its writes invalid.
    .set(({ eb }) => ({
      token: eb
        .case()
        .when('holder', '=', holder)
        .then(eb.ref('token'))
        .else(eb('token', '+', 1))
        .end(),
      revision: eb('revision', '+', 1),
    }))
    .where('node', '=', node)
    .returning(['token', 'holder', 'stream', 'address', 'connected', 'former_stream', 'former_at', nowOf(engine).as('now')])
    .executeTakeFirstOrThrow();
  const isOther = before.stream !== '' && before.stream !== stream;
  const former = isOther ? { former_stream: before.stream, former_at: Number(now) } : {};
  await db
    .updateTable('node_states')
    .set({ holder, stream, address, ...former })
    .where('node', '=', node)
    .execute();
  // Asked here: a replica that has come since the last look at all of them owns nodes already.
  const seen = await db.selectFrom('replicas').select('seen_at').where('id', '=', before.holder).executeTakeFirst();
  const lives = seen !== undefined && Number(now) - Number(seen.seen_at) < deadMs;
  return {
    token: before.token,
    isClone: isOther && stream !== '' && before.former_stream === stream && Number(now) - before.former_at <= cloneMs,
    ...(before.holder === ''
      ? {}
      : { before: { holder: before.holder, lives, stream: before.stream, address: before.address, connected: before.connected === 1 } }),
  };
}

async function saveNodeState(db: Kysely<Tables>, fence: Fence, news: NodeNews): Promise<void> {
  await guard(db, fence, 'revision');
  const { revision } = await db.selectFrom('node_states').select('revision').where('node', '=', fence.node).executeTakeFirstOrThrow();
  let changed = 0n;
  for (const { bucket, body } of news.buckets) {
    const { numInsertedOrUpdatedRows } = await db
      .insertInto('node_facts')
      .values({ node: fence.node, bucket, body, revision })
      .onConflict((conflict) => conflict.columns(['node', 'bucket']).doUpdateSet({ body, revision }).where('node_facts.body', '<>', body))
      .executeTakeFirst();
    changed += numInsertedOrUpdatedRows ?? 0n;
  }
  if (news.whole) changed += await emptyOthers(db, { node: fence.node, revision, buckets: news.buckets.map(({ bucket }) => bucket) });
  const { agent, pending, since } = news;
  await db
    .updateTable('node_states')
    .set({
      agent,
      pending,
      since: Math.round(since),
      connected: news.connected ? 1 : 0,
      state_at: Math.round(news.stateAt),
      ...(changed > 0n ? { facts_revision: revision } : {}),
    })
    .where('node', '=', fence.node)
    .execute();
}

/** Buckets that a whole state does not name hold nothing any more; the row stays, so that others learn of it. */
async function emptyOthers(
  db: Kysely<Tables>,
  { node, revision, buckets }: { readonly node: string; readonly revision: number; readonly buckets: readonly number[] },
): Promise<bigint> {
  const nothing = new Uint8Array();
  const update = db.updateTable('node_facts').set({ body: nothing, revision }).where('node', '=', node).where('body', '<>', nothing);
  const { numUpdatedRows } = await (buckets.length === 0 ? update : update.where('bucket', 'not in', [...buckets])).executeTakeFirst();
  return numUpdatedRows;
}

function stateOfRow(row: Selectable<Tables['node_states']>): NodeState {
  const { node, holder, token, connected, since, state_at, agent, pending, revision, facts_revision, findings_revision, changes_revision } = row;
  const revisions = { revision, factsRevision: facts_revision, findingsRevision: findings_revision, changesRevision: changes_revision };
  return { node, holder, token, connected: connected === 1, since, stateAt: state_at, agent, pending, ...revisions };
}

function questionQueries(db: Kysely<Tables>, engine: Engine): Pick<ReplicaQueries, 'saveQuestion' | 'questions' | 'answerQuestion' | 'takeAnswer'> {
  return {
    saveQuestion: async (question) => {
      await db
        .insertInto('questions')
        .values({ ...question, answer: null, asked_at: nowOf(engine) })
        .onConflict((conflict) => conflict.column('id').doNothing())
        .execute();
    },
    questions: (replica) =>
      db.selectFrom('questions').select(['id', 'replica', 'node', 'body']).where('replica', '=', replica).where('answer', 'is', null).execute(),
    answerQuestion: async (id, answer) => {
      await db.updateTable('questions').set({ answer }).where('id', '=', id).execute();
    },
    takeAnswer: async (id, givesUp) => {
      const row = await db.selectFrom('questions').select('answer').where('id', '=', id).executeTakeFirst();
      if (row !== undefined && (row.answer !== null || givesUp === 'gives up')) await db.deleteFrom('questions').where('id', '=', id).execute();
      return row?.answer ?? undefined;
    },
  };
}
