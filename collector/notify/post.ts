// Sends JSON to a receiver of notifications.
import { failure } from '../../shared/errors.ts';
import { Unwelcome } from './notifier.ts';

export interface Posted {
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Posts to a URL; rejects with Unwelcome for a status that is no success. No redirect is followed: where findings go is the operator's word alone. */
export async function post(url: URL, { body, headers = {} }: Posted, signal: AbortSignal): Promise<void> {
  const response = await fetch(url, {
    method: 'POST',
    redirect: 'manual',
    signal,
    body,
    headers: { 'content-type': 'application/json', 'user-agent': 'portreeve', ...headers },
  });
  const text = response.ok ? '' : await response.text().catch(() => '');
  await response.body?.cancel().catch(() => undefined);
  if (!response.ok)
    throw new Unwelcome(response.status, `${url.origin}${url.pathname} answered ${response.status}${text === '' ? '' : `: ${text.slice(0, 200)}`}`);
}

/** The URL of an option; throws USAGE that names it. */
export function receiverUrl(option: string, text: string): URL {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol)) throw failure('USAGE', [`--${option} ${text}: a URL http://… or https://… is wanted`]);
  return url;
}
