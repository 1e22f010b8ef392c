// The ledger's queries: what is appended, and pages of it.
import { type Kysely, sql } from 'kysely';
import type { SequencedChange } from '../../shared/model/change.ts';
import { changeOfRow } from './change.row.ts';
import type { ChangePage, ChangeQuery } from './records.ts';
import type { Engine, Tables } from './tables.ts';

/** Rows of one statement: engines bound the number of their parameters. */
const insertRowsMax = 500;

/** Stores what is new. Resolves to the changes that were new. */
export async function appendChanges(db: Kysely<Tables>, changes: readonly SequencedChange[]): Promise<readonly SequencedChange[]> {
  const fresh = new Set<string>();
  for (let at = 0; at < changes.length; at += insertRowsMax) {
    // Of two of the same number in one batch the first counts, as it would in two.
    const rows = [
      ...new Map(
        changes
          .slice(at, at + insertRowsMax)
          .map((change) => [placeOf(change), rowOfChange(change)] as const)
          .reverse(),
      ).values(),
    ].reverse();
    await noteSubjects(db, rows);
    const stored = await db
      .insertInto('changes')
      .values(rows)
      .onConflict((conflict) => conflict.columns(['node', 'stream', 'seq']).doNothing())
      .returning(['node', 'stream', 'seq'])
      .execute();
    for (const row of stored) fresh.add(placeOf(row));
  }
  return changes.filter((change) => fresh.delete(placeOf(change)));
}

// In one order, so that two transactions with the same new subjects wait for each other and do not stand in each other's way.
async function noteSubjects(db: Kysely<Tables>, rows: readonly { readonly subject: string; readonly kind: string }[]): Promise<void> {
  const found = new Map(rows.map(({ subject, kind }) => [`${subject}\0${kind}`, { subject, kind }]));
  const values = [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => value);
  await db
    .insertInto('subjects')
    .values(values)
    .onConflict((conflict) => conflict.columns(['subject', 'kind']).doNothing())
    .execute();
}

const placeOf = ({ node, stream, seq }: { readonly node: string; readonly stream: string; readonly seq: number }): string => `${node}\0${stream}\0${seq}`;

function rowOfChange(change: SequencedChange) {
  const { node, stream, seq, at, kind, subject, before, after, actor, owner, covers, folded, gap } = change;
  const more = { ...(covers === undefined ? {} : { covers }), ...(folded === undefined ? {} : { folded }), ...(gap === undefined ? {} : { gap }) };
  return {
    node,
    stream,
    seq,
    at: Math.round(at),
    kind,
    subject: storable(subject),
    before: before === null ? null : storable(before),
    after: after === null ? null : storable(after),
    actor: actor === undefined ? null : storable(JSON.stringify(actor)),
    owner: owner ?? null,
    received_at: Date.now(),
    more: Object.keys(more).length === 0 ? null : JSON.stringify(more),
  };
}

/** PostgreSQL takes no NUL in text, and what tools print may hold one. */
export const storable = (text: string): string => (text.includes('\0') ? text.replaceAll('\0', '\u2400') : text);

/** More subjects than this are not asked for one by one: so many have changes enough that looking back in time soon finds a page of them. */
const subjectsMax = 64;

/** A page of the ledger, newest first. */
export async function changePage(db: Kysely<Tables>, engine: Engine, query: ChangeQuery): Promise<ChangePage> {
  const subjects = await subjectsOf(db, engine, query);
  const rows = subjects === undefined ? await inOrder(conditions(db, engine, query), query) : await ofSubjects(db, query, { engine, subjects });
  const page = rows.slice(0, query.limit);
  const last = page.at(-1);
  return { items: page.map(changeOfRow), ...(rows.length > page.length && last !== undefined ? { next: `${last.at}-${last.id}` } : {}) };
}

/** The subjects that a query of all nodes is about; undefined where it names none, or too many. One node's changes are few enough to be looked through. */
async function subjectsOf(db: Kysely<Tables>, engine: Engine, { node, kind, subject }: ChangeQuery): Promise<readonly string[] | undefined> {
  if ((node !== undefined && node !== '') || (kind === undefined && subject === undefined)) return undefined;
  let select = db.selectFrom('subjects').select('subject').distinct();
  if (kind !== undefined) select = select.where('kind', '=', kind);
  if (subject !== undefined) select = select.where(contains(engine, 'subject', subject));
  const found = await select.limit(subjectsMax + 1).execute();
  return found.length > subjectsMax ? undefined : found.map((row) => row.subject);
}

async function ofSubjects(db: Kysely<Tables>, query: ChangeQuery, { engine, subjects }: { readonly engine: Engine; readonly subjects: readonly string[] }) {
  const { subject: _, ...others } = query;
  const pages = await Promise.all(subjects.map((subject) => inOrder(conditions(db, engine, others).where('subject', '=', subject), query)));
  return pages.flat().sort((a, b) => b.at - a.at || b.id - a.id);
}

function conditions(db: Kysely<Tables>, engine: Engine, query: Omit<ChangeQuery, 'limit'>) {
  const cursor = /^(\d+)-(\d+)$/.exec(query.cursor ?? '');
  let select = db.selectFrom('changes').selectAll();
  if (query.node !== undefined) select = select.where('node', '=', query.node);
  if (query.kind !== undefined) select = select.where('kind', '=', query.kind);
  if (query.subject !== undefined) select = select.where(contains(engine, 'subject', query.subject));
  if (query.owner !== undefined) select = select.where('owner', '=', query.owner);
  const { text } = query;
  if (text !== undefined) select = select.where(({ or }) => or(['subject', 'before', 'after', 'actor'].map((column) => contains(engine, column, text))));
  if (query.from !== undefined) select = select.where('at', '>=', Math.ceil(query.from));
  if (query.to !== undefined) select = select.where('at', '<=', Math.floor(query.to));
  if (cursor !== null) select = select.where(sql<boolean>`(at, id) < (${Number(cursor[1])}, ${Number(cursor[2])})`);
  return select;
}

/** One more than the page holds says whether there is another. */
const inOrder = (select: ReturnType<typeof conditions>, { limit }: ChangeQuery) =>
  select
    .orderBy('at', 'desc')
    .orderBy('id', 'desc')
    .limit(limit + 1)
    .execute();

/** Whether a column contains a text; the text is no pattern. */
function contains(engine: Engine, column: string, text: string) {
  return engine === 'sqlite' ? sql<boolean>`instr(${sql.ref(column)}, ${text}) > 0` : sql<boolean>`strpos(${sql.ref(column)}, ${text}) > 0`;
}
