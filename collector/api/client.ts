// A client of the API, for the command line and the page alike: knows the operations and their types, and leaves the sending to whoever calls it.
import type { Operations } from './client.types.ts';

export type { Operations } from './client.types.ts';
export type OperationName = keyof Operations;

/** What goes over the line: a method, a path below /api/v1 with its query, and a body. */
export interface Call {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
}

type Given<Name extends OperationName> = (undefined extends Operations[Name]['path']
  ? { readonly path?: undefined }
  : { readonly path: Operations[Name]['path'] }) &
  (undefined extends Operations[Name]['query'] ? { readonly query?: undefined } : { readonly query?: Operations[Name]['query'] }) &
  (undefined extends Operations[Name]['body'] ? { readonly body?: undefined } : { readonly body: Operations[Name]['body'] });

/** The call of an operation. */
export function callOf<Name extends OperationName>(name: Name, given: Given<Name>): Call {
  const [method = 'GET', template = ''] = name.split(' ');
  const { path: parts = {}, query = {}, body } = given as { readonly path?: object; readonly query?: object; readonly body?: unknown };
  const path = Object.entries(parts).reduce((text, [part, value]) => text.replace(`{${part}}`, encodeURIComponent(String(value))), template.slice(1));
  const asked = new URLSearchParams(Object.entries(query).flatMap(([key, value]) => (value === undefined ? [] : [[key, String(value)] as [string, string]])));
  const text = asked.toString();
  return { method, path: text === '' ? path : `${path}?${text}`, ...(body === undefined ? {} : { body }) };
}

/** Sends a call and gives what was answered, as JSON; rejects with whatever `send` rejects with. */
export async function request<Name extends OperationName>(
  send: (call: Call) => Promise<unknown>,
  name: Name,
  given: Given<Name>,
): Promise<Operations[Name]['answer']> {
  return (await send(callOf(name, given))) as Operations[Name]['answer'];
}

type Lists = { readonly [Name in OperationName]: Operations[Name]['answer'] extends { readonly items: readonly unknown[] } ? Name : never }[OperationName];

/** All pages of a list as one; of the last page everything else. Stops after `most` items. */
export async function requestAll<Name extends Lists>(
  send: (call: Call) => Promise<unknown>,
  name: Name,
  { most = 100_000, ...given }: Given<Name> & { readonly most?: number },
): Promise<Operations[Name]['answer']> {
  const items: unknown[] = [];
  for (let cursor: string | undefined; ; ) {
    const { query = {}, ...rest } = given as { readonly query?: object };
    const page = (await send(callOf(name, { ...rest, query: { ...query, ...(cursor === undefined ? {} : { cursor }) } } as Given<Name>))) as {
      readonly items: readonly unknown[];
      readonly next?: string;
    };
    items.push(...page.items);
    cursor = page.next;
    if (cursor === undefined || items.length >= most) return { ...page, items: items.slice(0, most) } as unknown as Operations[Name]['answer'];
  }
}
