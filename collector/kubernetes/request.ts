// One GET to the Kubernetes API, and what its refusals mean.
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Connection } from './connection.ts';

export interface Asking {
  /** Path and query below the server's own path. */
  readonly path: string;
  /** Milliseconds that may pass without a byte. */
  readonly idleMs: number;
  readonly signal: AbortSignal;
}

/** The API answered, but not with what was asked for. */
export class ApiRefusal extends Error {
  readonly status: number;
  /** Milliseconds that the API asks us to wait; 0 when it does not say. */
  readonly retryAfterMs: number;
  constructor(status: number, message: string, retryAfterMs: number) {
    super(message);
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Nothing came for as long as we were ready to wait. */
export class Silence extends Error {}

/** Sends a GET; resolves with an answer of status 200. Throws ApiRefusal for any other, and what Node.js throws when there is none. */
export async function open(connection: Connection, { path, idleMs, signal }: Asking): Promise<IncomingMessage> {
  const { server } = connection;
  // Credentials may come from a program of somebody else, which may never end.
  const settings = await within(connection.options(), { ms: Math.min(credentialsMs, idleMs), signal, what: 'the credentials' });
  const target = new URL(`${server.pathname.replace(/\/$/, '')}${path}`, server);
  const send = server.protocol === 'https:' ? httpsRequest : httpRequest;
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const sent = send(target, { ...settings, signal, headers: { ...settings.headers, accept: 'application/json', 'user-agent': 'portreeve' } }, resolve);
  // A peer that vanishes without a word (a load balancer that forgot the connection) is found by the kernel, too.
  sent.setSocketKeepAlive(true, keepAliveMs);
  sent.setTimeout(idleMs, () => sent.destroy(new Silence(`nothing came for ${Math.round(idleMs / 1_000)} s`)));
  sent.on('error', reject);
  sent.end();
  // Until a connection stands, its own clock does not run.
  const response = await within(promise, { ms: idleMs, signal, what: 'an answer' }).catch((error: unknown) => {
    sent.destroy();
    throw error;
  });
  // A request that is destroyed later tells so through the response, which whoever reads it sees.
  sent.on('error', (error) => response.destroy(error));
  if (response.statusCode === 200) return response;
  throw await refusalOf(response);
}

const credentialsMs = 30_000;
const keepAliveMs = 30_000;
const refusalBytesMax = 16 * 1024;
const retryAfterMaxMs = 300_000;

async function refusalOf(response: IncomingMessage): Promise<ApiRefusal> {
  const { statusCode = 0, headers } = response;
  const said = await statusMessage(response);
  const text = `the API answered ${statusCode || 'nothing'}${hints[statusCode] ?? ''}${said === '' ? '' : `: ${said}`}`;
  return new ApiRefusal(statusCode, text, retryAfterOf(headers['retry-after']));
}

interface Waiting {
  readonly ms: number;
  readonly signal: AbortSignal;
  /** What is waited for, in the words of the error. */
  readonly what: string;
}

/** What is promised, if it comes in time and before the signal. */
async function within<Result>(promised: Promise<Result>, { ms, signal, what }: Waiting): Promise<Result> {
  const { promise: over, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`${what} did not come within ${Math.round(ms / 1_000)} s`)), ms);
  const stop = (): void => reject(signal.reason as Error);
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await Promise.race([promised, over]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
  }
}

const hints: Readonly<Record<number, string>> = {
  401: ' (the credentials are not accepted)',
  403: ' (a ClusterRole must allow list and watch)',
  404: ' (the API does not have this kind)',
  410: ' (the version is too old)',
  429: ' (too many requests)',
};

/** Seconds, or a date, as HTTP allows. */
function retryAfterOf(header: string | undefined): number {
  if (header === undefined) return 0;
  const ms = /^\d+$/.test(header.trim()) ? Number(header) * 1_000 : Date.parse(header) - Date.now();
  return Number.isNaN(ms) ? 0 : Math.min(Math.max(0, ms), retryAfterMaxMs);
}

/** What the Status object in the answer says; empty when there is none. */
async function statusMessage(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response) {
      bytes += (chunk as Buffer).length;
      if (bytes > refusalBytesMax) break;
      chunks.push(chunk as Buffer);
    }
    const { message } = JSON.parse(Buffer.concat(chunks).toString('utf8')) as { message?: unknown };
    return typeof message === 'string' ? message.slice(0, 300) : '';
  } catch {
    return '';
  }
}
