// Asks a service of this very host over HTTP: for the health and the metrics that kube-proxy shows on a loopback address. No redirects, no proxies, no TLS.
import { get } from 'node:http';
import { reasonOf } from '../../shared/errors.ts';

/** `absent`: nobody listens there. */
export type HttpOutcome =
  | { readonly kind: 'done'; readonly status: number; readonly body: string }
  | { readonly kind: 'absent' }
  | { readonly kind: 'failed'; readonly reason: string };

export interface HttpQuestion {
  /** An address of this host. */
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly timeoutMs: number;
  readonly bodyBytesMax: number;
}

/** One GET. Never rejects. */
export function ask({ host, port, path, timeoutMs, bodyBytesMax }: HttpQuestion): Promise<HttpOutcome> {
  return new Promise((resolve) => {
    const request = get({ host, port, path, agent: false, headers: { accept: 'text/plain, application/json', connection: 'close' } }, (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        size += chunk.length;
        if (size > bodyBytesMax) request.destroy(new Error(`it answers with more than ${bodyBytesMax} bytes`));
      });
      response.on('end', () => end({ kind: 'done', status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') }));
      response.on('error', failed);
    });
    // The limit is on the whole of it: a service that trickles must not hold a reading.
    const timer = setTimeout(() => request.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    const end = (outcome: HttpOutcome) => {
      clearTimeout(timer);
      resolve(outcome);
    };
    const failed = (error: Error) =>
      end((error as NodeJS.ErrnoException).code === 'ECONNREFUSED' ? { kind: 'absent' } : { kind: 'failed', reason: reasonOf(error) });
    request.on('error', failed);
  });
}
