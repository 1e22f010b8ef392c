// Pages of lists that are in memory, and the times of questions. A cursor is the key of the last item, so that pages fit together while the list changes. Pure.
import { Problem } from './problem.ts';

export interface PageQuery {
  readonly limit: number;
  readonly cursor?: string;
}

export interface Paged<Item> {
  readonly items: readonly Item[];
  /** Cursor of the next page; absent on the last. */
  readonly next?: string;
}

/** The page after the cursor. `keyOf` tells items apart and sorts them as they are listed. Throws Problem 400 for what is no cursor. */
export function pageOf<Item>(items: readonly Item[], keyOf: (item: Item) => string, { limit, cursor }: PageQuery): Paged<Item> {
  const after = cursor === undefined ? undefined : keyOfCursor(cursor);
  const keyed = items.map((item) => ({ item, key: keyOf(item) })).sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  const rest = after === undefined ? keyed : keyed.filter(({ key }) => key > after);
  const page = rest.slice(0, limit);
  const last = page.at(-1);
  return { items: page.map(({ item }) => item), ...(rest.length > page.length && last !== undefined ? { next: cursorOf(last.key) } : {}) };
}

const prefix = 'k.';
const cursorOf = (key: string): string => `${prefix}${Buffer.from(key).toString('base64url')}`;

function keyOfCursor(cursor: string): string {
  if (!/^k\.[\w-]*$/.test(cursor)) throw new Problem(400, 'cursor is not the "next" of a page before');
  return Buffer.from(cursor.slice(prefix.length), 'base64url').toString('utf8');
}

/** A cursor of the store; throws Problem 400 for another one. */
export function storeCursor(cursor: string | undefined): { readonly cursor?: string } {
  if (cursor === undefined) return {};
  if (!/^\d+-[\w-]{1,64}$/.test(cursor)) throw new Problem(400, 'cursor is not the "next" of a page before');
  return { cursor };
}

/** Milliseconds since 1970 of an RFC 3339 time or a number of milliseconds; throws Problem 400 that names the field. */
export function timeOf(name: string, text: string | number): number {
  const ms =
    typeof text === 'number' || /^\d{1,16}(\.\d+)?$/.test(text) ? Number(text) : /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms) || Math.abs(ms) > 8.64e15)
    throw new Problem(400, `${name} ${JSON.stringify(text)}: a time like 2026-01-31T14:03:22Z, or milliseconds since 1970, is wanted`);
  return ms;
}

/** The times of a query, where they are given. */
export function spanOf({ from, to }: { readonly from?: string; readonly to?: string }): { readonly from?: number; readonly to?: number } {
  return { ...(from === undefined ? {} : { from: timeOf('from', from) }), ...(to === undefined ? {} : { to: timeOf('to', to) }) };
}
