// Writes what the state says of findings into the store: of one node one thing after the other, as an older word must not come after a newer; of several at once.
import { PortreeveError } from '../../shared/errors.ts';
import type { Ownership } from '../replicas/ownership.ts';
import type { Store } from '../store/store.ts';
import type { CollectorState, LiveEvent } from './state.ts';

export type FindingEvent = Extract<LiveEvent, { readonly finding: unknown }>;

export interface FindingWriterOptions {
  readonly state: Pick<CollectorState, 'subscribe'>;
  readonly store: Pick<Store, 'upsertFindings' | 'closeFindings'>;
  readonly ownership: Ownership;
  readonly onFailure: (error: unknown) => void;
  /** Milliseconds after which what the store did not take is tried again. */
  readonly retryMs?: number;
}

/** Waiting events of one node; more are not kept while the store is away, the oldest go first. */
const waitingMax = 20_000;
const retryMs = 5_000;

/** A finding that was made here, and not by another replica. */
export const isOwnFinding = (event: LiveEvent): event is FindingEvent => 'finding' in event && event.elsewhere !== true;

export class FindingWriter {
  readonly #options: FindingWriterOptions;
  readonly #waiting = new Map<string, FindingEvent[]>();
  readonly #writing = new Map<string, Promise<void>>();
  readonly #unsubscribe: () => void;
  readonly #retries = new Set<NodeJS.Timeout>();
  #closed = false;

  constructor(options: FindingWriterOptions) {
    this.#options = options;
    this.#unsubscribe = options.state.subscribe((event) => {
      if (isOwnFinding(event)) this.#take(event);
    });
  }

  /** Resolves when everything that was told by now is written, or could not be. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#unsubscribe();
    for (const retry of this.#retries) clearTimeout(retry);
    for (const node of this.#waiting.keys()) this.#begin(node);
    await Promise.all(this.#writing.values());
  }

  #take(event: FindingEvent): void {
    const { node } = event.finding;
    const waiting = this.#waiting.get(node) ?? [];
    waiting.push(event);
    if (waiting.length > waitingMax) waiting.shift();
    this.#waiting.set(node, waiting);
    this.#begin(node);
  }

  #begin(node: string): void {
    if (this.#writing.has(node)) return;
    const writing = this.#write(node).finally(() => this.#writing.delete(node));
    this.#writing.set(node, writing);
  }

  /** Until nothing waits. What comes while one commit is made goes with the next. */
  async #write(node: string): Promise<void> {
    for (let events = this.#waiting.get(node); events !== undefined; events = this.#waiting.get(node)) {
      this.#waiting.delete(node);
      const runs = runsOf(events);
      for (let run = runs.shift(); run !== undefined; run = runs.shift()) {
        try {
          await this.#writeRun(node, run);
        } catch (error) {
          // Where another replica owns the node by now, that one finds the same.
          if (error instanceof PortreeveError && error.code === 'LEASE_LOST') return void this.#waiting.delete(node);
          this.#options.onFailure(error);
          if (this.#closed) return;
          this.#waiting.set(node, [...run, ...runs.flat(), ...(this.#waiting.get(node) ?? [])]);
          return this.#later(node);
        }
      }
    }
  }

  async #writeRun(node: string, run: readonly FindingEvent[]): Promise<void> {
    const { store, ownership } = this.#options;
    const [first] = run;
    if (first === undefined) return;
    const fence = ownership.fence(node);
    if (first.kind === 'finding-closed')
      await store.closeFindings(
        run.map(({ finding }) => finding.id),
        first.at,
        fence,
      );
    else
      await store.upsertFindings(
        run.map(({ finding, at }) => ({ finding, openedAt: finding.since ?? at })),
        fence,
      );
  }

  #later(node: string): void {
    const retry = setTimeout(() => {
      this.#retries.delete(retry);
      this.#begin(node);
    }, this.#options.retryMs ?? retryMs);
    this.#retries.add(retry);
  }
}

/** Events in runs that one call of the store can write: words of findings, or ends at one time. Of several words of one finding in a run the last counts. */
function runsOf(events: readonly FindingEvent[]): FindingEvent[][] {
  const runs: FindingEvent[][] = [];
  for (const event of events) {
    const last = runs.at(-1);
    const isClosed = event.kind === 'finding-closed';
    const fits = last !== undefined && (last[0]?.kind === 'finding-closed') === isClosed && (!isClosed || last[0]?.at === event.at);
    if (fits) last.push(event);
    else runs.push([event]);
  }
  return runs.map((run) => [...new Map(run.map((event) => [event.finding.id, event])).values()]);
}
