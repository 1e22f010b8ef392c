// One line of a Kubernetes watch into an event.

/** `version` is the resourceVersion to go on from. `broken`: the line is no event at all. */
export type WatchEvent =
  | { readonly kind: 'put' | 'delete'; readonly object: unknown; readonly version: string | undefined }
  | { readonly kind: 'bookmark'; readonly version: string | undefined }
  | { readonly kind: 'error'; readonly code: number; readonly reason: string }
  | { readonly kind: 'broken'; readonly reason: string };

/** Reads a line; never throws. */
export function readWatchLine(line: string): WatchEvent {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    return { kind: 'broken', reason: (error as Error).message };
  }
  const { type, object } = (value ?? {}) as { type?: unknown; object?: { metadata?: { resourceVersion?: unknown }; code?: unknown; message?: unknown } };
  if (typeof object !== 'object' || object === null) return { kind: 'broken', reason: 'it holds no object' };
  const raw = object.metadata?.resourceVersion;
  const version = typeof raw === 'string' && raw !== '' ? raw : undefined;
  switch (type) {
    case 'ADDED':
    case 'MODIFIED':
      return { kind: 'put', object, version };
    case 'DELETED':
      return { kind: 'delete', object, version };
    case 'BOOKMARK':
      return { kind: 'bookmark', version };
    case 'ERROR':
      return { kind: 'error', code: typeof object.code === 'number' ? object.code : 0, reason: String(object.message ?? 'no message') };
    default:
      return { kind: 'broken', reason: `type is ${JSON.stringify(type) ?? 'missing'}` };
  }
}
