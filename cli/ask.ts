// Asks a collector's API: one request, its errors in a person's words.
import { readFileSync } from 'node:fs';
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { setTimeout as pause } from 'node:timers/promises';
import { rootCertificates } from 'node:tls';
import { type Call, type OperationName, request, requestAll } from '../collector/api/client.ts';
import { failure, PortreeveError, reasonOf } from '../shared/errors.ts';
import { durationOf, type Parsed, requiredText, textOf } from './command.ts';

const defaultTimeoutMs = 30_000;

/** Where the collector is, and what it wants to see. */
export interface Server {
  readonly url: string;
  /** File with a token for the API; read at each request. */
  readonly tokenFile?: string;
  /** PEM file of an authority besides those of the system. */
  readonly authorityFile?: string;
  /** Milliseconds to wait for an answer; half a minute when absent. */
  readonly timeoutMs?: number;
}

/** The server of a command line that has `serverOption` and `accessOptions`. */
export function serverOf(parsed: Parsed): Server {
  const [tokenFile, authorityFile] = [textOf(parsed, 'token-file'), textOf(parsed, 'ca-file')];
  const timeout = textOf(parsed, 'timeout');
  return {
    url: requiredText(parsed, 'server'),
    ...(tokenFile === undefined ? {} : { tokenFile }),
    ...(authorityFile === undefined ? {} : { authorityFile }),
    ...(timeout === undefined ? {} : { timeoutMs: Math.max(1, durationOf('timeout', timeout)) }),
  };
}

/** Sends the calls of the API's client. */
export const sender =
  (server: Server) =>
  ({ method, path, body }: Call): Promise<unknown> =>
    ask(server, path, { method: method as 'GET' | 'POST' | 'DELETE', ...(body === undefined ? {} : { body: body as object }) });

/** Asks for one operation of the API, with its types. Throws as `ask` does. */
export const askFor = <Name extends OperationName>(server: Server, name: Name, given: Parameters<typeof request<Name>>[2]) =>
  request(sender(server), name, given);

/** Whether what was thrown says that nobody answers, which passes. */
export const isAway = (error: unknown): boolean => error instanceof PortreeveError && error.code === 'COLLECTOR_UNREACHABLE';

/** The same for all pages of a list. */
export const askForAll = <Name extends Parameters<typeof requestAll>[1]>(server: Server, name: Name, given: Parameters<typeof requestAll<Name>>[2]) =>
  requestAll(sender(server), name, given);

export interface Asked {
  readonly method?: 'GET' | 'POST' | 'DELETE';
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly body?: object;
}

/**
 * Asks for a resource under /api/v1. Throws COLLECTOR_UNREACHABLE when nobody answers, COLLECTOR_DENIED when the token is missing or does not suffice, and
 * COLLECTOR_REFUSED with the collector's own sentence when it refuses. An answer without content is an empty object.
 */
export async function ask(server: Server, path: string, { method = 'GET', query = {}, body }: Asked = {}): Promise<Record<string, unknown>> {
  const url = urlOf(server, path);
  for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, value);
  return refused(await reach(url, server, { method, ...(body === undefined ? {} : { body }) }), server);
}

/** The answer as an object; throws where it is a refusal or no answer of a collector. */
function refused({ status, text }: Answer, server: Server): Record<string, unknown> {
  const value = text === '' ? {} : parse(text);
  const detail = typeof value?.detail === 'string' ? value.detail : text.slice(0, 200);
  if (status === 401 || status === 403) throw failure('COLLECTOR_DENIED', [status, detail]);
  if (status < 200 || status > 299) throw failure('COLLECTOR_REFUSED', [status, detail]);
  if (value === undefined) throw failure('COLLECTOR_REFUSED', [status, `what answers at ${server.url} is no collector`]);
  return value;
}

function urlOf(server: Server, path: string): URL {
  const base = URL.parse(server.url.endsWith('/') ? server.url : `${server.url}/`);
  if (base === null || !/^https?:$/.test(base.protocol))
    throw failure('USAGE', [`--server ${server.url}: a URL http://HOST:PORT or https://HOST:PORT is wanted`]);
  return new URL(`api/v1/${path}`, base);
}

/** An event of the collector's stream. */
export interface ServerEvent {
  readonly id: string;
  readonly event: string;
  readonly data: string;
}

/**
 * Events from now on, until the signal. A connection that ends is made anew, and what was missed meanwhile comes after all, as far as the collector still knows it
 * (`reset` says when not). Throws as `ask` does: at once where nobody answers at first, later when nobody has for as long as is waited for an answer.
 */
export async function* listen(server: Server, path: string, signal: AbortSignal): AsyncGenerator<ServerEvent> {
  let [last, heardAt] = ['', 0];
  while (!signal.aborted) {
    try {
      for await (const event of eventsOnce(server, last === '' ? path : `${path}&after=${encodeURIComponent(last)}`, signal)) {
        // Who had seen nothing yet cannot say from where to go on.
        if (event.event === 'open' && heardAt > 0 && last === '') yield { id: '', event: 'reset', data: JSON.stringify({ at: Date.now() }) };
        heardAt = Date.now();
        if (event.id !== '') last = event.id;
        if (event.event !== 'open') yield event;
      }
    } catch (error) {
      if (!isAway(error) || heardAt === 0 || Date.now() - heardAt > (server.timeoutMs ?? defaultTimeoutMs)) throw error;
    }
    await pause(reconnectMs, undefined, { signal }).catch(() => undefined);
  }
}

const reconnectMs = 1_000;

/** Events of one connection; the first is `open`. Silence for a minute is an end, as heartbeats come more often. */
async function* eventsOnce(server: Server, path: string, signal: AbortSignal): AsyncGenerator<ServerEvent> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const sent = begin(urlOf(server, path), server, { method: 'GET', accept: 'text/event-stream' }, resolve);
  const stop = (): void => void sent.destroy();
  signal.addEventListener('abort', stop, { once: true });
  sent.setTimeout(silenceMs, () => sent.destroy(new Error('nothing was heard for a minute')));
  sent.on('error', (error) => reject(failure('COLLECTOR_UNREACHABLE', [server.url, sentenceOf(error)], error)));
  sent.end();
  try {
    const response = await promise;
    if (response.statusCode !== 200) refused(await readAll(response), server);
    yield { id: '', event: 'open', data: '' };
    yield* eventsOf(response);
  } catch (error) {
    if (!signal.aborted) throw error instanceof PortreeveError ? error : failure('COLLECTOR_UNREACHABLE', [server.url, sentenceOf(error)], error);
  } finally {
    signal.removeEventListener('abort', stop);
    sent.destroy();
  }
}

const silenceMs = 60_000;

async function* eventsOf(response: IncomingMessage): AsyncGenerator<ServerEvent> {
  let text = '';
  response.setEncoding('utf8');
  for await (const chunk of response) {
    text += chunk as string;
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const fields = new Map(
        text
          .slice(0, end)
          .split('\n')
          .map((line) => /^(\w+): ?(.*)$/.exec(line))
          .flatMap((found) => (found === null ? [] : [[found[1] as string, found[2] as string] as const])),
      );
      text = text.slice(end + 2);
      if (fields.has('data')) yield { id: fields.get('id') ?? '', event: fields.get('event') ?? 'message', data: fields.get('data') ?? '' };
    }
  }
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

function reach(url: URL, server: Server, { method, body }: { readonly method: string; readonly body?: object }): Promise<Answer> {
  const timeoutMs = server.timeoutMs ?? defaultTimeoutMs;
  return new Promise((resolve, reject) => {
    const unreachable = (error: unknown): void => reject(failure('COLLECTOR_UNREACHABLE', [server.url, sentenceOf(error)], error));
    const content = body === undefined ? undefined : JSON.stringify(body);
    const sent = begin(url, server, { method, accept: 'application/json', ...(content === undefined ? {} : { content }) }, (response) =>
      readAll(response).then(resolve, unreachable),
    );
    // The whole answer has to come in time, not each byte of it.
    const timer = setTimeout(() => sent.destroy(new Error(`no answer within ${timeoutMs / 1_000} s`)), timeoutMs);
    sent.on('close', () => clearTimeout(timer));
    sent.on('error', unreachable);
    sent.end(content);
  });
}

interface Sending {
  readonly method: string;
  readonly accept: string;
  readonly content?: string;
}

function begin(url: URL, server: Server, ...[{ method, accept, content }, take]: [Sending, (response: IncomingMessage) => unknown]): ClientRequest {
  const headers = {
    accept,
    ...(content === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(content) }),
    ...(server.tokenFile === undefined ? {} : { authorization: `Bearer ${fileOf(server.tokenFile)}` }),
  };
  const tls = server.authorityFile === undefined ? {} : { ca: [fileOf(server.authorityFile), ...rootCertificates] };
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
  return send(url, { method, headers, ...tls }, take);
}

async function readAll(response: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return { status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') };
}

function fileOf(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw failure('INPUT_UNREADABLE', [file, reasonOf(error)], error);
  }
}

// A host name with several addresses fails with one error for each, and no message of its own.
function sentenceOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(reasonOf).join(', ');
  const { code } = error as { readonly code?: string };
  if (code !== undefined && /^(SELF_SIGNED|DEPTH_ZERO|UNABLE_TO_(GET|VERIFY))/.test(code)) return `${reasonOf(error)}: give its authority with --ca-file`;
  return reasonOf(error);
}

function parse(body: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
