// What a collector says by its live stream (server-sent events), as it comes.
import type { SequencedChange } from '../../shared/model/change.ts';

/** A change of the ledger, and when it came; milliseconds of performance.now(). */
export interface Came {
  readonly at: number;
  readonly change: SequencedChange;
}

export interface Live {
  /** In the order in which they came. */
  readonly changes: readonly Came[];
  /** The first that fits from this index on; undefined when none has come within the time. */
  readonly wait: (from: number, fits: (came: Came) => boolean, timeoutMs: number) => Promise<Came | undefined>;
  readonly close: () => void;
}

/** Follows the changes of the collector at `url` from now on. */
export async function followLive(url: string): Promise<Live> {
  const controller = new AbortController();
  const response = await fetch(`${url}/api/v1/live`, { signal: controller.signal });
  if (!response.ok || response.body === null) throw new Error(`${url}/api/v1/live: ${response.status}`);
  const changes: Came[] = [];
  void read(response.body, changes).catch(() => undefined);
  const wait: Live['wait'] = async (from, fits, timeoutMs) => {
    for (const deadline = performance.now() + timeoutMs; ; await new Promise((resolve) => setTimeout(resolve, 10))) {
      const found = changes.slice(from).find(fits);
      if (found !== undefined || performance.now() > deadline) return found;
    }
  };
  return { changes, wait, close: () => controller.abort() };
}

async function read(body: ReadableStream<Uint8Array>, changes: Came[]): Promise<void> {
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of body) {
    text += decoder.decode(chunk, { stream: true });
    const events = text.split('\n\n');
    text = events.pop() ?? '';
    for (const event of events) {
      const data = /^event: change$/m.test(event) ? /^data: (.*)$/m.exec(event)?.[1] : undefined;
      if (data !== undefined) changes.push({ at: performance.now(), change: JSON.parse(data) as SequencedChange });
    }
  }
}
