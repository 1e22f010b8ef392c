// Asks a collector's API: one request, its errors in a person's words.
import { readFileSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { rootCertificates } from 'node:tls';
import { failure, reasonOf } from '../shared/errors.ts';
import { type Parsed, requiredText, textOf } from './command.ts';

const timeoutMs = 30_000;

/** Where the collector is, and what it wants to see. */
export interface Server {
  readonly url: string;
  /** File with a token for the API; read at each request. */
  readonly tokenFile?: string;
  /** PEM file of an authority besides those of the system. */
  readonly authorityFile?: string;
}

/** The server of a command line that has `serverOption` and `accessOptions`. */
export function serverOf(parsed: Parsed): Server {
  const [tokenFile, authorityFile] = [textOf(parsed, 'token-file'), textOf(parsed, 'ca-file')];
  return { url: requiredText(parsed, 'server'), ...(tokenFile === undefined ? {} : { tokenFile }), ...(authorityFile === undefined ? {} : { authorityFile }) };
}

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
  const base = URL.parse(server.url.endsWith('/') ? server.url : `${server.url}/`);
  if (base === null || !/^https?:$/.test(base.protocol))
    throw failure('USAGE', [`--server ${server.url}: a URL http://HOST:PORT or https://HOST:PORT is wanted`]);
  const url = new URL(`api/v1/${path}`, base);
  for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, value);
  const { status, text } = await reach(url, server, { method, ...(body === undefined ? {} : { body }) });
  const value = text === '' ? {} : parse(text);
  const detail = typeof value?.detail === 'string' ? value.detail : text.slice(0, 200);
  if (status === 401 || status === 403) throw failure('COLLECTOR_DENIED', [status, detail]);
  if (status < 200 || status > 299) throw failure('COLLECTOR_REFUSED', [status, detail]);
  if (value === undefined) throw failure('COLLECTOR_REFUSED', [status, `what answers at ${server.url} is no collector`]);
  return value;
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

function reach(url: URL, server: Server, { method, body }: { readonly method: string; readonly body?: object }): Promise<Answer> {
  const content = body === undefined ? undefined : JSON.stringify(body);
  const headers = {
    accept: 'application/json',
    ...(content === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(content) }),
    ...(server.tokenFile === undefined ? {} : { authorization: `Bearer ${fileOf(server.tokenFile)}` }),
  };
  const tls = server.authorityFile === undefined ? {} : { ca: [fileOf(server.authorityFile), ...rootCertificates] };
  return new Promise((resolve, reject) => {
    const unreachable = (error: unknown): void => reject(failure('COLLECTOR_UNREACHABLE', [server.url, sentenceOf(error)], error));
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const sent = send(url, { method, headers, timeout: timeoutMs, ...tls }, (response) => readAll(response).then(resolve, unreachable));
    sent.on('timeout', () => sent.destroy(new Error(`no answer within ${timeoutMs / 1_000} s`)));
    sent.on('error', unreachable);
    sent.end(content);
  });
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
