// Asks the Kubernetes API who holds a token, what they may do, and where a pod runs; and tells it of events.
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { ReviewApi } from '../identity/service-accounts.ts';
import { type Connection, connectionOf } from './connection.ts';

const timeoutMs = 10_000;
const answerBytesMax = 1024 * 1024;

/** Reads the configuration as the watch of objects does. Throws INPUT_INVALID. */
export async function reviewApi(options: { readonly kubeconfig?: string }): Promise<ReviewApi & { close(): void }> {
  const connection = await connectionOf(options);
  const post = (path: string) => (body: object) => ask(connection, { method: 'POST', path, body });
  return {
    reviewToken: post('/apis/authentication.k8s.io/v1/tokenreviews'),
    reviewAccess: post('/apis/authorization.k8s.io/v1/subjectaccessreviews'),
    pod: (namespace, name) => ask(connection, { method: 'GET', path: `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}` }),
    close: () => connection.close(),
  };
}

/** Creates Events; the right to create `events` is wanted. Throws INPUT_INVALID. */
export async function eventApi(options: {
  readonly kubeconfig?: string;
}): Promise<{ create(namespace: string, event: object): Promise<unknown>; close(): void }> {
  const connection = await connectionOf(options);
  return {
    create: (namespace, event) => ask(connection, { method: 'POST', path: `/api/v1/namespaces/${encodeURIComponent(namespace)}/events`, body: event }),
    close: () => connection.close(),
  };
}

interface Asked {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: object;
}

/** The answer as JSON; rejects for any status but 200 and 201. */
async function ask(connection: Connection, { method, path, body }: Asked): Promise<unknown> {
  const { server } = connection;
  const settings = await connection.options();
  const target = new URL(`${server.pathname.replace(/\/$/, '')}${path}`, server);
  const send = server.protocol === 'https:' ? httpsRequest : httpRequest;
  const content = body === undefined ? undefined : JSON.stringify(body);
  const headers = {
    ...settings.headers,
    accept: 'application/json',
    'user-agent': 'portreeve',
    ...(content === undefined ? {} : { 'content-type': 'application/json' }),
  };
  return await new Promise((resolve, reject) => {
    const sent = send(target, { ...settings, method, headers, timeout: timeoutMs }, (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > answerBytesMax) sent.destroy(new Error('the answer is too long'));
        else chunks.push(chunk);
      });
      response.on('error', reject);
      response.on('end', () => {
        const { statusCode = 0 } = response;
        if (statusCode === 401) connection.renew();
        if (statusCode !== 200 && statusCode !== 201) return reject(new Error(`the API answered ${statusCode} to ${method} ${path}`));
        try {
          return resolve(JSON.parse(Buffer.concat(chunks).toString('utf8')));
        } catch (error) {
          return reject(error);
        }
      });
    });
    sent.on('timeout', () => sent.destroy(new Error(`no answer within ${timeoutMs / 1_000} s`)));
    sent.on('error', reject);
    sent.end(content);
  });
}
