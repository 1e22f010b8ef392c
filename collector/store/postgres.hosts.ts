// Connections to PostgreSQL: of several hosts, to the one that takes writes, found anew after each failure.
import type { PostgresPool, PostgresPoolClient } from 'kysely';
import pg from 'pg';

const connectionsMax = 10;
const connectTimeoutMs = 3_000;
/** A replica that falls asleep or off the network within a transaction holds what that has locked: the server ends it, so that another may take over. */
const idleTransactionMs = 4_000;

/** A pool as kysely wants one. Commits wait until they are on disk: `synchronous_commit` is set to on for every connection. */
export class PostgresHosts implements PostgresPool {
  readonly #configurations: readonly pg.ClientConfig[];
  /** HOST:PORT/DATABASE of the first, for messages. */
  readonly name: string;
  /** Wanted by the interface; each pool has its own. */
  readonly options = {};
  #pool: pg.Pool | undefined;
  #current = 0;
  #closing = false;

  /** Throws for what is no URL of PostgreSQL. */
  constructor(url: string) {
    this.#configurations = configurationsOf(url);
    const first = this.#configurations[0];
    this.name = `${first?.host}:${first?.port}/${first?.database}${this.#configurations.length > 1 ? ` (and ${this.#configurations.length - 1} more)` : ''}`;
  }

  async connect(): Promise<PostgresPoolClient> {
    let reason: unknown;
    for (let tries = 0; tries < this.#configurations.length; tries++) {
      try {
        return await this.#writable();
      } catch (error) {
        reason = error;
        await this.#next();
      }
    }
    throw reason;
  }

  async end(): Promise<void> {
    this.#closing = true;
    await this.#pool?.end();
  }

  /** A connection of its own, outside the pool, for what lasts (LISTEN). */
  async dedicated(): Promise<pg.Client> {
    (await this.connect()).release();
    const client = new pg.Client(this.#configurations[this.#current]);
    await client.connect();
    return client;
  }

  async #writable(): Promise<pg.PoolClient> {
    this.#pool ??= this.#newPool();
    const client = await this.#pool.connect();
    try {
      const { rows } = await client.query<{ standby: boolean }>('SELECT pg_is_in_recovery() AS standby');
      if (rows[0]?.standby === true) throw new Error(`no host takes writes: ${this.#configurations[this.#current]?.host} is a standby`);
      return client;
    } catch (error) {
      client.release(true);
      throw error;
    }
  }

  #newPool(): pg.Pool {
    const pool = new pg.Pool({
      ...this.#configurations[this.#current],
      max: connectionsMax,
      connectionTimeoutMillis: connectTimeoutMs,
      options: `-c synchronous_commit=on -c idle_in_transaction_session_timeout=${idleTransactionMs}`,
      application_name: 'portreeve-collector',
    });
    // A connection that breaks while nobody uses it, or between two statements, is simply gone: the next statement on it fails.
    pool.on('error', () => {});
    pool.on('connect', (client) => void client.on('error', () => {}));
    return pool;
  }

  async #next(): Promise<void> {
    if (this.#closing || this.#configurations.length === 1) return;
    const old = this.#pool;
    this.#pool = undefined;
    this.#current = (this.#current + 1) % this.#configurations.length;
    void old?.end().catch(() => {});
  }
}

/** `postgres://USER:PASSWORD@HOST1:PORT1,HOST2:PORT2/DATABASE?options` as one configuration for each host. */
export function configurationsOf(url: string): readonly pg.ClientConfig[] {
  const found = /^(postgres(?:ql)?:\/\/)([^@/]*@)?([^/?]*)(.*)$/.exec(url);
  if (found === null) throw new Error('a URL postgres://USER:PASSWORD@HOST:PORT/DATABASE is wanted');
  const [, scheme = '', user = '', hosts = '', rest = ''] = found;
  return hosts.split(',').map((host) => {
    const parsed = new URL(`${scheme}${user}${host}${rest}`);
    const directory = parsed.searchParams.get('host');
    const ssl = parsed.searchParams.get('sslmode');
    return {
      host: directory ?? decodeURIComponent(parsed.hostname || 'localhost').replace(/^\[|\]$/g, ''),
      port: Number(parsed.port || 5432),
      database: decodeURIComponent(parsed.pathname.slice(1)) || 'portreeve',
      ...(parsed.username === '' ? {} : { user: decodeURIComponent(parsed.username) }),
      ...(parsed.password === '' ? {} : { password: decodeURIComponent(parsed.password) }),
      ...(ssl === null || ssl === 'disable' ? {} : { ssl: { rejectUnauthorized: ssl === 'verify-full' || ssl === 'verify-ca' } }),
    };
  });
}
