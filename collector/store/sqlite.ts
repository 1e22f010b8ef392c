// The store's schema and every SQL statement, for SQLite.
import { existsSync, renameSync, statSync } from 'node:fs';
import Sqlite, { type Database } from 'better-sqlite3';
import { reasonOf } from '../../shared/errors.ts';
import type { Actor, Change, SequencedChange } from '../../shared/model/change.ts';
import type { Finding } from '../../shared/model/finding.ts';
import type { ChangePage, ChangeQuery, FindingQuery, FindingRecord, Gap, GapQuery, NodeRecord, Reply, Request, Store } from './store.ts';

/** An open file: runs requests in order within one transaction, and gives their answers once it is committed. */
export interface StoreDatabase {
  commit(requests: readonly Request[]): readonly Reply[];
}

/**
 * Opens or creates the file. A damaged one is renamed to `FILE.damaged-TIME`, named in `setAside`. Throws when it cannot be created or is of a newer version.
 */
export function openDatabase(file: string, now: number): { readonly database: StoreDatabase; readonly setAside?: string } {
  try {
    return { database: databaseOf(openFile(file)) };
  } catch (error) {
    if (!isDamage(error)) throw error;
    const setAside = `${file}.damaged-${new Date(now).toISOString().replaceAll(/[-:]|\.\d+/g, '')}`;
    for (const suffix of ['', '-wal', '-shm']) if (existsSync(`${file}${suffix}`)) renameSync(`${file}${suffix}`, `${setAside}${suffix}`);
    return { database: databaseOf(openFile(file)), setAside };
  }
}

/** Steps from one version of the schema to the next; a new file takes them all. A step that has been released is never changed. */
const migrations: readonly string[] = [
  `
  CREATE TABLE nodes (
    name TEXT PRIMARY KEY, version TEXT NOT NULL, boot_id TEXT NOT NULL, stream TEXT NOT NULL, first_seen_at INTEGER NOT NULL, last_seen_at INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE changes (
    id INTEGER PRIMARY KEY, node TEXT NOT NULL, stream TEXT NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
    before TEXT, after TEXT, actor TEXT, owner TEXT, received_at INTEGER NOT NULL, UNIQUE (node, stream, seq)
  ) STRICT;
  CREATE INDEX changes_at ON changes (at, id);
  CREATE INDEX changes_node_at ON changes (node, at, id);
  CREATE TABLE findings (
    episode INTEGER PRIMARY KEY, id TEXT NOT NULL, node TEXT NOT NULL, cause TEXT NOT NULL, opened_at INTEGER NOT NULL, closed_at INTEGER, body TEXT NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX findings_open ON findings (id) WHERE closed_at IS NULL;
  CREATE INDEX findings_opened_at ON findings (opened_at);
  CREATE TABLE gaps (
    node TEXT NOT NULL, stream TEXT NOT NULL, from_seq INTEGER NOT NULL, to_seq INTEGER NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (node, stream, from_seq)
  ) STRICT;
  `,
  `
  ALTER TABLE changes ADD COLUMN more TEXT;
  ALTER TABLE gaps RENAME TO gaps_1;
  CREATE TABLE gaps (
    id INTEGER PRIMARY KEY, node TEXT NOT NULL, reason TEXT NOT NULL, from_at INTEGER NOT NULL, to_at INTEGER NOT NULL, detail TEXT NOT NULL,
    stream TEXT NOT NULL, from_seq INTEGER NOT NULL, to_seq INTEGER NOT NULL, UNIQUE (node, reason, stream, from_seq, from_at)
  ) STRICT;
  CREATE INDEX gaps_node_to ON gaps (node, to_at);
  INSERT INTO gaps (node, reason, from_at, to_at, detail, stream, from_seq, to_seq)
    SELECT node, 'lost', at, at, 'changes ' || from_seq || ' to ' || to_seq || ' never arrived', stream, from_seq, to_seq FROM gaps_1;
  DROP TABLE gaps_1;
  `,
];
const schemaVersion = migrations.length;

const statements = {
  // Not INSERT OR IGNORE: that would swallow every other constraint too, and a change that is refused would be acknowledged.
  insertChange: `INSERT INTO changes (node, stream, seq, at, kind, subject, before, after, actor, owner, received_at, more)
    VALUES (@node, @stream, @seq, @at, @kind, @subject, @before, @after, @actor, @owner, @receivedAt, @more) ON CONFLICT (node, stream, seq) DO NOTHING`,
  lastSeq: 'SELECT max(seq) AS seq FROM changes WHERE node = ? AND stream = ?',
  updateFinding: 'UPDATE findings SET body = @body, cause = @cause WHERE id = @id AND closed_at IS NULL',
  openFinding: 'INSERT INTO findings (id, node, cause, opened_at, closed_at, body) VALUES (@id, @node, @cause, @openedAt, NULL, @body)',
  closeFinding: 'UPDATE findings SET closed_at = ? WHERE id = ? AND closed_at IS NULL',
  saveNode: `INSERT INTO nodes (name, version, boot_id, stream, first_seen_at, last_seen_at) VALUES (@name, @version, @bootId, @stream, @lastSeenAt, @lastSeenAt)
    ON CONFLICT (name) DO UPDATE SET version = @version, boot_id = @bootId, stream = @stream, last_seen_at = @lastSeenAt`,
  nodes: 'SELECT name, version, boot_id AS bootId, stream, first_seen_at AS firstSeenAt, last_seen_at AS lastSeenAt FROM nodes ORDER BY name',
  recordGap: `INSERT INTO gaps (node, reason, from_at, to_at, detail, stream, from_seq, to_seq)
    VALUES (@node, @reason, @from, @to, @detail, @stream, @fromSeq, @toSeq) ON CONFLICT DO NOTHING`,
} as const;

// A check reads the whole file, so it is made only where that takes a moment; damage in a larger one is met when the page is read.
const checkedFileBytesMax = 256 * 1024 * 1024;

function openFile(file: string): Database {
  const database = new Sqlite(file, { timeout: 5_000 });
  try {
    const version = database.pragma('user_version', { simple: true }) as number;
    if (version > schemaVersion) throw new Error(`it has schema ${version}, this version knows ${schemaVersion}: use the version of Portreeve that wrote it`);
    database.pragma('journal_mode = WAL');
    database.pragma('synchronous = FULL');
    if (version > 0 && statSync(file).size <= checkedFileBytesMax) check(database);
    migrate(database, version);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

function migrate(database: Database, version: number): void {
  for (const [index, step] of migrations.entries()) {
    if (index < version) continue;
    database.transaction(() => database.exec(`${step}; PRAGMA user_version = ${index + 1};`)).immediate();
  }
}

class Damage extends Error {}

function check(database: Database): void {
  const answer = database.pragma('quick_check(1)', { simple: true });
  if (answer !== 'ok') throw new Damage(String(answer));
}

const isDamage = (error: unknown): boolean => error instanceof Damage || /^SQLITE_(CORRUPT|NOTADB)/.test((error as { code?: string }).code ?? '');

type Methods = { readonly [M in keyof Store]: (...args: Parameters<Store[M]>) => Awaited<ReturnType<Store[M]>> };

function databaseOf(database: Database): StoreDatabase {
  const methods = methodsOf(database);
  const run = (request: Request): Reply => {
    try {
      const method = methods[request.method] as (...args: readonly unknown[]) => unknown;
      // A savepoint of its own: a request that fails takes no other of the same commit with it.
      return { kind: 'result', id: request.id, value: database.transaction(() => method(...request.arguments))() };
    } catch (error) {
      return { kind: 'failed', id: request.id, reason: reasonOf(error) };
    }
  };
  return {
    commit(requests) {
      const work = requests.filter(({ method }) => method !== 'close');
      const closing = requests.filter(({ method }) => method === 'close');
      const replies = commitTogether(database, work, run);
      if (closing.length > 0) database.close();
      return [...replies, ...closing.map(({ id }): Reply => ({ kind: 'result', id, value: undefined }))];
    },
  };
}

function commitTogether(database: Database, requests: readonly Request[], run: (request: Request) => Reply): readonly Reply[] {
  try {
    return database.transaction(() => requests.map(run)).immediate();
  } catch (error) {
    return requests.map(({ id }) => ({ kind: 'failed', id, reason: reasonOf(error) }));
  }
}

function methodsOf(database: Database): Methods {
  const prepared = Object.fromEntries(Object.entries(statements).map(([name, sql]) => [name, database.prepare(sql)])) as Record<
    keyof typeof statements,
    Sqlite.Statement
  >;
  return {
    appendChanges: (changes) => changes.filter((change) => prepared.insertChange.run(rowOfChange(change)).changes === 1),
    lastSeq: (node, stream) => (prepared.lastSeq.get(node, stream) as { seq: number | null }).seq ?? 0,
    changes: (query) => changePage(database, query),
    upsertFindings: (records) => {
      for (const { finding, openedAt } of records) {
        const row = { id: finding.id, node: finding.node, cause: finding.cause, openedAt: Math.round(openedAt), body: JSON.stringify(finding) };
        if (prepared.updateFinding.run(row).changes === 0) prepared.openFinding.run(row);
      }
    },
    closeFindings: (ids, at) => {
      for (const id of ids) prepared.closeFinding.run(Math.round(at), id);
    },
    findings: (query) => findingRecords(database, query),
    saveNode: (node) => void prepared.saveNode.run({ ...node, lastSeenAt: Math.round(node.lastSeenAt) }),
    nodes: () => prepared.nodes.all() as NodeRecord[],
    recordGaps: (gaps) => {
      for (const gap of gaps) prepared.recordGap.run(rowOfGap(gap));
    },
    gaps: (query) => gapRecords(database, query),
    close: () => undefined,
  };
}

function rowOfChange(change: SequencedChange): Record<string, unknown> {
  const { node, stream, seq, at, kind, subject, before, after, actor, owner, covers, folded, gap } = change;
  const more = { ...(covers === undefined ? {} : { covers }), ...(folded === undefined ? {} : { folded }), ...(gap === undefined ? {} : { gap }) };
  return {
    node,
    stream,
    seq,
    at: Math.round(at),
    kind,
    subject,
    before,
    after,
    actor: actor === undefined ? null : JSON.stringify(actor),
    owner: owner ?? null,
    receivedAt: Date.now(),
    more: Object.keys(more).length === 0 ? null : JSON.stringify(more),
  };
}

interface ChangeRow {
  readonly id: number;
  readonly node: string;
  readonly stream: string;
  readonly seq: number;
  readonly at: number;
  readonly kind: Change['kind'];
  readonly subject: string;
  readonly before: string | null;
  readonly after: string | null;
  readonly actor: string | null;
  readonly owner: NonNullable<Change['owner']> | null;
  /** What few changes have: covers, folded, gap. */
  readonly more: string | null;
}

function changePage(database: Database, query: ChangeQuery): ChangePage {
  const cursor = /^(\d+)-(\d+)$/.exec(query.cursor ?? '');
  const conditions: (readonly [string, ...(string | number)[]] | undefined)[] = [
    query.node === undefined ? undefined : ['node = ?', query.node],
    query.kind === undefined ? undefined : ['kind = ?', query.kind],
    query.subject === undefined ? undefined : ['instr(subject, ?) > 0', query.subject],
    query.from === undefined ? undefined : ['at >= ?', query.from],
    query.to === undefined ? undefined : ['at <= ?', query.to],
    cursor === null ? undefined : ['(at, id) < (?, ?)', Number(cursor[1]), Number(cursor[2])],
  ];
  const { where, values } = whereOf(conditions);
  const sql = `SELECT id, node, stream, seq, at, kind, subject, before, after, actor, owner, more FROM changes ${where} ORDER BY at DESC, id DESC LIMIT ?`;
  const rows = database.prepare(sql).all(...values, query.limit + 1) as ChangeRow[];
  const page = rows.slice(0, query.limit);
  const last = page.at(-1);
  return { items: page.map(changeOfRow), ...(rows.length > page.length && last !== undefined ? { next: `${last.at}-${last.id}` } : {}) };
}

function changeOfRow({ node, stream, seq, at, kind, subject, before, after, actor, owner, more }: ChangeRow): SequencedChange {
  return {
    node,
    stream,
    seq,
    at,
    kind,
    subject,
    before,
    after,
    ...(actor === null ? {} : { actor: JSON.parse(actor) as Actor }),
    ...(owner === null ? {} : { owner }),
    ...(more === null ? {} : (JSON.parse(more) as Pick<SequencedChange, 'covers' | 'folded' | 'gap'>)),
  };
}

function rowOfGap({ node, reason, from, to, detail, seqs }: Gap): Record<string, unknown> {
  const numbers = { stream: seqs?.stream ?? '', fromSeq: seqs?.from ?? 0, toSeq: seqs?.to ?? 0 };
  return { node, reason, from: Math.round(from), to: Math.round(to), detail, ...numbers };
}

interface GapRow extends Omit<Gap, 'seqs'> {
  readonly stream: string;
  readonly fromSeq: number;
  readonly toSeq: number;
}

function gapRecords(database: Database, query: GapQuery): Gap[] {
  const { where, values } = whereOf([
    query.node === undefined ? undefined : ['node = ?', query.node],
    query.from === undefined ? undefined : ['to_at >= ?', query.from],
    query.to === undefined ? undefined : ['from_at <= ?', query.to],
  ]);
  const columns = 'node, reason, from_at AS "from", to_at AS "to", detail, stream, from_seq AS fromSeq, to_seq AS toSeq';
  const rows = database.prepare(`SELECT ${columns} FROM gaps ${where} ORDER BY to_at DESC, id DESC LIMIT ?`).all(...values, query.limit) as GapRow[];
  return rows.map(({ stream, fromSeq, toSeq, ...gap }) => (stream === '' ? gap : { ...gap, seqs: { stream, from: fromSeq, to: toSeq } }));
}

function findingRecords(database: Database, query: FindingQuery): FindingRecord[] {
  const { where, values } = whereOf([
    query.node === undefined ? undefined : ['node = ?', query.node],
    query.open === undefined ? undefined : [query.open ? 'closed_at IS NULL' : 'closed_at IS NOT NULL'],
    query.from === undefined ? undefined : ['(closed_at IS NULL OR closed_at >= ?)', query.from],
    query.to === undefined ? undefined : ['opened_at <= ?', query.to],
  ]);
  const sql = `SELECT opened_at AS openedAt, closed_at AS closedAt, body FROM findings ${where} ORDER BY opened_at DESC, episode DESC LIMIT ?`;
  const rows = database.prepare(sql).all(...values, query.limit) as { openedAt: number; closedAt: number | null; body: string }[];
  return rows.map(({ openedAt, closedAt, body }) => ({ finding: JSON.parse(body) as Finding, openedAt, closedAt }));
}

function whereOf(conditions: readonly (readonly [string, ...(string | number)[]] | undefined)[]): {
  readonly where: string;
  readonly values: readonly (string | number)[];
} {
  const given = conditions.filter((condition) => condition !== undefined);
  const where = given.length === 0 ? '' : `WHERE ${given.map(([sql]) => sql).join(' AND ')}`;
  return { where, values: given.flatMap(([, ...values]) => values) };
}
