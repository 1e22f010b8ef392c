// Asks the collector that served this page.
import { type Call, callOf, type OperationName } from '../../api/client.ts';
import type { Answers } from './types.ts';

/** An answer that is an error: what the collector says of it, or that none came. */
export class AskError extends Error {
  /** HTTP status; 0 where the collector did not answer at all. */
  readonly status: number;
  constructor(status: number, detail: string) {
    super(detail);
    this.status = status;
  }
}

/** A question: an operation of the API and what is given with it, as the path below /api/v1. */
export interface Question<Name extends OperationName> {
  readonly name: Name;
  readonly path: string;
}

export const questionOf = <Name extends OperationName>(name: Name, given: Parameters<typeof callOf<Name>>[1]): Question<Name> => ({
  name,
  path: callOf(name, given).path,
});

/** An answer, and the tag by which the collector knows it again. */
export interface Tagged<Answer> {
  readonly answer: Answer;
  readonly tag: string | undefined;
}

/** Asks for something; `undefined` when it is what `known` is the tag of. Throws AskError, or the signal's reason when it is aborted. */
export async function ask<Name extends OperationName>(
  { path }: Question<Name>,
  { known, signal }: { readonly known?: string | undefined; readonly signal?: AbortSignal } = {},
): Promise<Tagged<Answers<Name>> | undefined> {
  const headers = { accept: 'application/json', ...(known === undefined ? {} : { 'if-none-match': known }) };
  const response = await send(path, { headers, ...(signal === undefined ? {} : { signal }) });
  if (response.status === 304) return undefined;
  return { answer: (await response.json()) as Answers<Name>, tag: response.headers.get('etag') ?? undefined };
}

/** All pages of a list as one answer, up to so many items. */
export async function askAll<Name extends OperationName>(
  question: Question<Name>,
  { most, ...options }: { readonly most: number; readonly known?: string | undefined; readonly signal?: AbortSignal },
): Promise<Tagged<Answers<Name>> | undefined> {
  const first = await ask(question, options);
  const { items, next } = (first?.answer ?? {}) as Page;
  if (first === undefined || items === undefined || next === undefined) return first;
  const all = [...items];
  for (let cursor: string | undefined = next; cursor !== undefined && all.length < most; ) {
    const page = (await ask(pageAfter(question, cursor), options.signal === undefined ? {} : { signal: options.signal })) as Tagged<Page>;
    all.push(...(page.answer.items ?? []));
    cursor = page.answer.next;
  }
  // The tag is that of the first page alone: of several pages it says nothing.
  return { answer: { ...(first.answer as object), items: all, next: undefined } as Answers<Name>, tag: undefined };
}

interface Page {
  readonly items?: readonly unknown[];
  readonly next?: string;
}

/** The page after a cursor. */
export const pageAfter = <Name extends OperationName>({ name, path }: Question<Name>, cursor: string): Question<Name> => ({
  name,
  path: `${path}${path.includes('?') ? '&' : '?'}cursor=${encodeURIComponent(cursor)}`,
});

/** Sends what is no question: a packet to walk, a failure to look into. */
export async function post<Name extends OperationName>({ method, path, body }: Call, _name: Name): Promise<Answers<Name>> {
  const response = await send(path, { method, headers: { accept: 'application/json', 'content-type': 'application/json' }, body: JSON.stringify(body) });
  return (await response.json()) as Answers<Name>;
}

async function send(path: string, options: RequestInit): Promise<Response> {
  const response = await fetch(`/api/v1/${path}`, { credentials: 'same-origin', cache: 'no-store', ...options }).catch((error: unknown) => {
    if (options.signal?.aborted === true) throw error;
    throw new AskError(0, 'The collector does not answer. What is shown may be old; it is asked again by itself.');
  });
  if (response.ok || response.status === 304) return response;
  const told = (await response.json().catch(() => undefined)) as { readonly detail?: unknown } | undefined;
  throw new AskError(response.status, typeof told?.detail === 'string' ? told.detail : `${response.status} ${response.statusText}`);
}
