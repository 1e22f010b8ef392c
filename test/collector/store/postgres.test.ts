// The store in PostgreSQL, on servers of the test's own: the same contract, and what is acknowledged outlives a crash and a failover.
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { configurationsOf } from '../../../collector/store/postgres.hosts.ts';
import { openPostgresStore } from '../../../collector/store/postgres.store.ts';
import type { Store } from '../../../collector/store/store.ts';
import { noPostgres, TestPostgres } from '../../support/postgres.ts';
import { changeOf } from '../ingest/client.ts';
import { storeContract } from './contract.ts';

// Servers start slowly on a busy machine.
t.setTimeout(300_000);

t.test('hosts of a URL', async (t) => {
  t.match(configurationsOf('postgres://u:p%40@a:1,b/db?sslmode=require'), [
    { host: 'a', port: 1, user: 'u', password: 'p@', database: 'db', ssl: { rejectUnauthorized: false } },
    { host: 'b', port: 5432, user: 'u', password: 'p@', database: 'db' },
  ]);
  t.match(configurationsOf('postgresql://[::1]/'), [{ host: '::1', database: 'portreeve' }]);
  t.match(configurationsOf('postgres:///db?host=/run/postgresql'), [{ host: '/run/postgresql', database: 'db' }]);
  for (const url of ['mysql://x', 'x', '']) t.throws(() => configurationsOf(url));
});

const missing = noPostgres();
if (missing === undefined) await testServers();
else t.test('the store in PostgreSQL', { skip: missing }, () => {});

async function testServers(): Promise<void> {
  const server = await TestPostgres.start();
  t.teardown(() => server.close());
  let databases = 0;
  storeContract(t, async () => (await openPostgresStore(server.newDatabase(`contract${++databases}`))).store);

  t.test('several collectors that start at once make the schema once', async (t) => {
    const url = server.newDatabase('together');
    const opened = await Promise.all(Array.from({ length: 4 }, () => openPostgresStore(url)));
    const fresh = await Promise.all(opened.map(({ store }) => store.appendChanges([changeOf(1), changeOf(2)])));
    t.equal(fresh.flat().length, 2, 'and a change is new to one of them');
    await Promise.all(opened.map(({ store }) => store.close()));
  });

  t.test('what is acknowledged outlives kill -9 of the server, and writing goes on when it is back', async (t) => {
    const { store } = await openPostgresStore(server.newDatabase('crash'));
    t.teardown(() => store.close());
    const writer = new Writer(store);
    t.teardown(() => writer.stop().catch(() => {}));
    for (let round = 0; round < 3; round++) {
      await writer.untilAcknowledged(60);
      await server.kill();
      await sleep(300);
      await server.restart();
    }
    await writer.untilAcknowledged(30);
    t.strictSame(await writer.stop(), [], 'nothing acknowledged is missing, nothing is there twice');
  });

  t.test('two servers: the primary is killed, the standby promoted, nothing acknowledged is lost', async (t) => {
    const primary = await TestPostgres.start();
    const standby = await TestPostgres.start({ standbyOf: primary });
    t.teardown(() => Promise.all([primary.close(), standby.close()]));
    primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
    primary.sql('SELECT pg_reload_conf()');
    for (let tries = 0; primary.sql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") !== '1' && tries < 100; tries++) await sleep(100);
    const { store } = await openPostgresStore(`postgres://postgres@${primary.host},${standby.host}/postgres`);
    t.teardown(() => store.close());
    const writer = new Writer(store);
    t.teardown(() => writer.stop().catch(() => {}));
    await writer.untilAcknowledged(100);
    await primary.kill();
    standby.promote();
    const promotedAt = performance.now();
    await writer.untilAcknowledged(50);
    t.comment(`writing went on ${Math.round(performance.now() - promotedAt)} ms after the promotion`);
    t.strictSame(await writer.stop(), []);
  });
}

/** Writes without end, each batch until it is acknowledged, as an agent's session does. */
class Writer {
  readonly #store: Store;
  readonly #running: Promise<void>;
  #acknowledged = 0;
  #isStopped = false;

  constructor(store: Store) {
    this.#store = store;
    this.#running = this.#run();
  }

  async #run(): Promise<void> {
    let seq = 0;
    while (!this.#isStopped) {
      const batch = [changeOf(++seq), changeOf(++seq)];
      for (let stored = false; !stored && !this.#isStopped; ) {
        stored = await this.#store.appendChanges(batch).then(
          () => true,
          () => false,
        );
      }
      if (!this.#isStopped) this.#acknowledged = seq;
    }
  }

  async untilAcknowledged(more: number): Promise<void> {
    const goal = this.#acknowledged + more;
    for (let tries = 0; this.#acknowledged < goal; tries++) {
      if (tries > 1_500) throw new Error(`only ${this.#acknowledged} of ${goal} were acknowledged`);
      await sleep(20);
    }
  }

  /** Seqs that were acknowledged and are missing, and those that are there twice. */
  async stop(): Promise<readonly number[]> {
    this.#isStopped = true;
    await this.#running;
    const counts = new Map<number, number>();
    for (let cursor: string | undefined, isFirst = true; isFirst || cursor !== undefined; isFirst = false) {
      const { items, next } = await this.#store.changes({ limit: 1_000, ...(cursor === undefined ? {} : { cursor }) });
      for (const { seq } of items) counts.set(seq, (counts.get(seq) ?? 0) + 1);
      cursor = next;
    }
    const missing = Array.from({ length: this.#acknowledged }, (_, i) => i + 1).filter((seq) => !counts.has(seq));
    return [...missing, ...[...counts].filter(([, count]) => count > 1).map(([seq]) => seq)];
  }
}
