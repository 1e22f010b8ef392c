// Server-sent events: findings that open, change and close, changes of the ledger, agents that come and go.
import type { FastifyReply } from 'fastify';
import type { CollectorState, LiveEvent } from '../state/state.ts';

/** Bytes that may wait for a slow reader before it is cut off; it reconnects and asks anew. */
const waitingBytesMax = 1024 * 1024;
const keepAliveMs = 15_000;

/** Streams until the reader goes away or `closeAll` is called. */
export class LiveStreams {
  readonly #state: CollectorState;
  readonly #open = new Set<() => void>();

  constructor(state: CollectorState) {
    this.#state = state;
  }

  begin(reply: FastifyReply): void {
    reply.hijack();
    const { raw } = reply;
    raw.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' });
    raw.write('retry: 2000\n\n');
    const write = (text: string): void => {
      raw.write(text);
      if (raw.writableLength > waitingBytesMax) raw.destroy();
    };
    const unsubscribe = this.#state.subscribe((event) => {
      const text = eventText(event);
      if (text !== undefined) write(text);
    });
    const keepAlive = setInterval(() => write(': still here\n\n'), keepAliveMs);
    const end = (): void => {
      unsubscribe();
      clearInterval(keepAlive);
      this.#open.delete(end);
      raw.end();
    };
    this.#open.add(end);
    raw.on('close', end);
    raw.on('error', end);
  }

  closeAll(): void {
    for (const end of [...this.#open]) end();
  }
}

function eventText(event: LiveEvent): string | undefined {
  switch (event.kind) {
    case 'finding-opened':
    case 'finding-changed':
    case 'finding-closed':
      return `event: ${event.kind}\ndata: ${JSON.stringify({ at: event.at, finding: event.finding })}\n\n`;
    case 'change':
      return `event: change\ndata: ${JSON.stringify(event.change)}\n\n`;
    case 'node':
      return `event: node\ndata: ${JSON.stringify({ at: event.at, node: event.node, connected: event.connected })}\n\n`;
    case 'pending':
    case 'objects':
    case 'failed':
      return undefined;
  }
}
