// What the collector tells by itself, over one stream of server-sent events for the whole page.

export type LiveStatus = 'connecting' | 'live' | 'lost';
export const findingTopics = ['finding-opened', 'finding-changed', 'finding-closed'] as const;
const topics = [...findingTopics, 'change', 'node', 'nodeports', 'columns', 'services', 'heartbeat', 'reset'] as const;
/** The names of events that a view may wait for. After `reset` everything is to be asked anew: something was missed. */
export type Topic = (typeof topics)[number];

export interface News {
  readonly topic: Topic;
  readonly data: unknown;
}

/** Begins to listen when somebody first asks; the browser connects again by itself. */
class LiveNews {
  #source: EventSource | undefined;
  #status: LiveStatus = 'connecting';
  #wasLive = false;
  readonly #listeners = new Set<(news: News) => void>();
  readonly #watchers = new Set<(status: LiveStatus) => void>();

  get status(): LiveStatus {
    return this.#status;
  }

  subscribe(listener: (news: News) => void): () => void {
    this.#listeners.add(listener);
    this.connect();
    return () => this.#listeners.delete(listener);
  }

  watchStatus(watcher: (status: LiveStatus) => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** Connects where nothing is connected or being tried: at first, and after a token was given. */
  connect(): void {
    if (this.#source !== undefined && this.#source.readyState !== EventSource.CLOSED) return;
    const source = new EventSource('/api/v1/live');
    this.#source = source;
    source.addEventListener('open', () => this.#opened());
    source.addEventListener('error', () => this.#failed(source));
    for (const topic of topics) source.addEventListener(topic, ({ data }) => this.#tell({ topic, data: parsed(data) }));
  }

  #opened(): void {
    this.#enter('live');
    if (this.#wasLive) this.#tell({ topic: 'reset', data: undefined });
    this.#wasLive = true;
  }

  // A refusal (no token, no right) closes the stream for good; it is tried again now and then, as rights may come.
  #failed(source: EventSource): void {
    this.#enter('lost');
    if (source.readyState === EventSource.CLOSED) setTimeout(() => this.connect(), retryMs);
  }

  #enter(status: LiveStatus): void {
    this.#status = status;
    for (const watcher of this.#watchers) watcher(status);
  }

  #tell(news: News): void {
    for (const listener of this.#listeners) listener(news);
  }
}

const retryMs = 5_000;
export const live = new LiveNews();

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
