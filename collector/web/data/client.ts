// Asks the collector that served this page.

/** An answer that is an error: what the collector says of it, or that none came. */
export class AskError extends Error {
  /** HTTP status; 0 where the collector did not answer at all. */
  readonly status: number;
  constructor(status: number, detail: string) {
    super(detail);
    this.status = status;
  }
}

/** The answer to a GET below /api/v1. Throws AskError, or the signal's reason when it is aborted. */
export async function ask<T>(path: string, signal?: AbortSignal): Promise<T> {
  const response = await answerOf(path, signal);
  if (!response.ok) throw new AskError(response.status, await detailOf(response));
  return (await response.json()) as T;
}

async function answerOf(path: string, signal: AbortSignal | undefined): Promise<Response> {
  try {
    return await fetch(`/api/v1/${path}`, { credentials: 'same-origin', headers: { accept: 'application/json' }, ...(signal === undefined ? {} : { signal }) });
  } catch (error) {
    if (signal?.aborted === true) throw error;
    throw new AskError(0, 'The collector does not answer. What is shown may be old; it is asked again by itself.');
  }
}

async function detailOf(response: Response): Promise<string> {
  const body = (await response.json().catch(() => undefined)) as { readonly detail?: unknown } | undefined;
  return typeof body?.detail === 'string' ? body.detail : `${response.status} ${response.statusText}`;
}

/** `nodes?at=1`, leaving out what is undefined or empty. */
export function query(path: string, values: Readonly<Record<string, string | number | undefined>>): string {
  const given = Object.entries(values).filter(([, value]) => value !== undefined && value !== '');
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return text === '' ? path : `${path}?${text}`;
}
