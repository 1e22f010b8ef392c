// A page for Prometheus on a port of the node: plain HTTP, one page, nothing that could be changed by it.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { failure, reasonOf } from '../../shared/errors.ts';
import { prometheusType } from '../../shared/prometheus.ts';

export interface ServedMetrics {
  /** `http://HOST:PORT/metrics` with the port that is bound. */
  readonly address: string;
  close(): Promise<void>;
}

const connectionsMax = 8;
const timeoutMs = 10_000;

/** Serves the page at HOST:PORT (port 0 takes a free one). Throws USAGE for what is no such place, or is taken. */
export async function serveMetrics(place: string, page: () => Promise<string>): Promise<ServedMetrics> {
  const found = /^(\[[0-9a-f:.]+\]|[^:[\]]+):(\d{1,5})$/i.exec(place);
  if (found === null || Number(found[2]) > 65_535) throw failure('USAGE', [`--metrics ${place}: HOST:PORT is wanted, e.g. 127.0.0.1:7301`]);
  const server = createServer({ requestTimeout: timeoutMs, headersTimeout: timeoutMs }, (request, response) => {
    if (request.method !== 'GET' || request.url?.split('?')[0] !== '/metrics') {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('metrics are at /metrics\n');
      return;
    }
    page().then(
      (text) => response.writeHead(200, { 'content-type': prometheusType, 'x-content-type-options': 'nosniff' }).end(text),
      (error: unknown) => response.writeHead(500, { 'content-type': 'text/plain' }).end(`${reasonOf(error)}\n`),
    );
  });
  server.maxConnections = connectionsMax;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(failure('USAGE', [`--metrics ${place}: ${reasonOf(error)}`], error)));
    server.listen(Number(found[2]), (found[1] as string).replace(/^\[|\]$/g, ''), resolve);
  });
  server.on('error', () => undefined);
  const { address, port, family } = server.address() as AddressInfo;
  return {
    address: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}/metrics`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
