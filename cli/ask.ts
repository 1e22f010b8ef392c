// Asks a collector's API: one GET, its errors in a person's words.
import { failure, reasonOf } from '../shared/errors.ts';

const timeoutMs = 30_000;

/** GETs a resource under /api/v1. Throws COLLECTOR_UNREACHABLE when nobody answers, COLLECTOR_REFUSED with the collector's own sentence when it refuses. */
export async function ask(server: string, path: string, query: Readonly<Record<string, string | undefined>> = {}): Promise<Record<string, unknown>> {
  const base = URL.parse(server.endsWith('/') ? server : `${server}/`);
  if (base === null || !/^https?:$/.test(base.protocol)) throw failure('USAGE', [`--server ${server}: a URL http://HOST:PORT is wanted`]);
  const url = new URL(`api/v1/${path}`, base);
  for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, value);
  const response = await reach(url, server);
  const body = await response.text();
  const value = parse(body);
  if (!response.ok) throw failure('COLLECTOR_REFUSED', [response.status, typeof value?.detail === 'string' ? value.detail : body.slice(0, 200)]);
  if (value === undefined) throw failure('COLLECTOR_REFUSED', [response.status, `what answers at ${server} is no collector`]);
  return value;
}

async function reach(url: URL, server: string): Promise<Response> {
  try {
    return await fetch(url, { signal: AbortSignal.timeout(timeoutMs), headers: { accept: 'application/json' } });
  } catch (error) {
    const cause = (error as { cause?: unknown }).cause;
    throw failure('COLLECTOR_UNREACHABLE', [server, causeText(cause) ?? reasonOf(error)], error);
  }
}

// A host name with several addresses fails with one error for each, and no message of its own.
function causeText(cause: unknown): string | undefined {
  if (cause instanceof AggregateError) return cause.errors.map(reasonOf).join(', ');
  return cause === undefined ? undefined : reasonOf(cause);
}

function parse(body: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
