// Messages between collectors on one PostgreSQL: NOTIFY to tell, and a connection of its own that LISTENs, made anew after each failure.
import { type Kysely, sql } from 'kysely';
import type pg from 'pg';
import type { PostgresHosts } from './postgres.hosts.ts';
import type { StoreNews } from './store.ts';
import type { Tables } from './tables.ts';

const channel = 'portreeve';
const retryMs = 1_000;
/** A connection whose other end is gone without a word is noticed by a question that is not answered. */
const checkMs = 5_000;

export const newsOf = (db: Kysely<Tables>, hosts: PostgresHosts): StoreNews => ({
  // Outside every transaction that writes: commits with a NOTIFY wait for each other, all over the server.
  tell: async (messages) => {
    if (messages.length > 0) await sql`SELECT pg_notify(${channel}, message) FROM unnest(${[...messages]}::text[]) AS message`.execute(db);
  },
  listen: (onMessage) => new Listener(hosts, onMessage),
});

class Listener {
  readonly #hosts: PostgresHosts;
  readonly #onMessage: (message: string | undefined) => void;
  #client: pg.Client | undefined;
  #retry: NodeJS.Timeout | undefined;
  #check: NodeJS.Timeout | undefined;
  #closed = false;
  isListening = false;

  constructor(hosts: PostgresHosts, onMessage: (message: string | undefined) => void) {
    this.#hosts = hosts;
    this.#onMessage = onMessage;
    void this.#connect();
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    clearInterval(this.#check);
    await this.#client?.end().catch(() => {});
  }

  async #connect(): Promise<void> {
    let client: pg.Client | undefined;
    try {
      client = await this.#hosts.dedicated();
      const own = client;
      client.on('error', () => this.#lost(own));
      client.on('end', () => this.#lost(own));
      client.on('notification', ({ payload }) => this.#onMessage(payload ?? ''));
      await client.query(`LISTEN ${channel}`);
      if (this.#closed) return await client.end();
      this.#client = client;
      this.isListening = true;
      this.#check = setInterval(() => void this.#ask(own), checkMs);
      // What was told before this connection stood is not known.
      this.#onMessage(undefined);
    } catch {
      await client?.end().catch(() => {});
      this.#later();
    }
  }

  async #ask(client: pg.Client): Promise<void> {
    const late = setTimeout(() => this.#lost(client), checkMs);
    await client.query('SELECT 1').catch(() => this.#lost(client));
    clearTimeout(late);
  }

  #lost(client: pg.Client): void {
    if (client !== this.#client) return;
    this.#client = undefined;
    this.isListening = false;
    clearInterval(this.#check);
    void client.end().catch(() => {});
    this.#later();
  }

  #later(): void {
    if (this.#closed) return;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => void this.#connect(), retryMs);
  }
}
