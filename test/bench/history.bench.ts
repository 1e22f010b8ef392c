// How fast history answers: 30 days of 5,000 nodes, in SQLite and in PostgreSQL. ROWS changes are spread over them as they would lie in a store that grew (default
// 1,500,000: ten a day and node); a second, smaller store says how answers grow with the number of rows. ENGINE=sqlite or postgres measures one of them.
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { openPostgresStore } from '../../collector/store/postgres.store.ts';
import { openSqliteStore } from '../../collector/store/sqlite.store.ts';
import type { Store } from '../../collector/store/store.ts';
import { noPostgres, TestPostgres } from '../support/postgres.ts';

const rowsMax = Number(process.env['ROWS'] ?? 1_500_000);
const nodes = 5_000;
const days = 30;
const dayMs = 86_400_000;
const end = Math.floor(Date.now() / 1_000) * 1_000;
const begin = end - days * dayMs;
const rounds = Number(process.env['ROUNDS'] ?? 60);
const goalMs = 200;

/** The n-th change: nodes in turn, so that those of one node lie far apart; one in 50 of a rare kind. The same expressions in both engines. */
const columns = 'node, stream, seq, at, kind, subject, before, after, actor, owner, received_at';
const select = (series: string, text: (n: number) => string) => `
  SELECT 'node' || ((n * 7919) % ${nodes}), 'run-' || ((n * 7919) % ${nodes}), n, ${begin} + CAST(n * ${((days * dayMs) / rowsMax).toFixed(6)} AS ${series === 'sqlite' ? 'INTEGER' : 'bigint'}),
    CASE WHEN n % 50 = 0 THEN 'sysctl' ELSE 'rule' END, CASE WHEN n % 50 = 0 THEN 'net.ipv4.ip_forward' ELSE 'ip filter KUBE-SVC-' || (n % 10000) END,
    ${text(250)}, ${text(260)}, '{"how":"nft-generation","comm":"iptables-restor","pid":4711}', 'kube-proxy', ${begin}`;

interface Loaded {
  readonly store: Store;
  readonly bytes: () => number;
  readonly close: () => Promise<void>;
}

async function loadSqlite(rows: number): Promise<Loaded> {
  const directory = mkdtempSync(join(tmpdir(), 'portreeve-history-'));
  await (await openSqliteStore(directory)).store.close();
  const file = join(directory, 'portreeve.db');
  const database = new Sqlite(file);
  database.pragma('synchronous = OFF');
  database.exec(`WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < ${rows})
    INSERT INTO changes (${columns}) ${select('sqlite', (length) => `'-A KUBE-SVC-' || n || substr(hex(zeroblob(200)), 1, ${length})`)} FROM s`);
  database.exec(`WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < ${Math.ceil(rows / 50)})
    INSERT INTO findings (id, node, cause, opened_at, closed_at, body) SELECT 'f' || n, 'node' || (n % ${nodes}), 'C08', ${begin} + n * ${Math.floor((days * dayMs) / Math.ceil(rowsMax / 50))},
    ${begin} + n * ${Math.floor((days * dayMs) / Math.ceil(rowsMax / 50))} + 600000, '${body}' FROM s`);
  database.exec(`WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < ${nodes * 4})
    INSERT INTO gaps (node, reason, from_at, to_at, detail, stream, from_seq, to_seq) SELECT 'node' || (n % ${nodes}), 'agent-down', ${begin} + n * 100000, ${begin} + n * 100000 + 60000, 'x', '', 0, n FROM s`);
  database.exec('INSERT INTO subjects (subject, kind) SELECT DISTINCT subject, kind FROM changes; ANALYZE');
  database.close();
  const { store } = await openSqliteStore(directory);
  return {
    store,
    bytes: () => statSync(file).size,
    close: async () => {
      await store.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

const body = JSON.stringify({
  id: 'f',
  cause: 'C08',
  node: 'n',
  service: 'shop/web:http',
  severity: 'error',
  port: 30080,
  summary: 'x'.repeat(300),
  evidence: [],
  remedy: [],
});

async function loadPostgres(server: TestPostgres, rows: number): Promise<Loaded> {
  const name = `history${rows}`;
  const url = server.newDatabase(name);
  const { store } = await openPostgresStore(url);
  const sql = (text: string) => server.sql(`SET synchronous_commit = off; ${text}`, name);
  sql(
    `INSERT INTO changes (${columns}) ${select('postgres', (length) => `'-A KUBE-SVC-' || n || repeat('0', ${length})`)} FROM generate_series(1::bigint, ${rows}) AS n`,
  );
  const everyMs = Math.floor((days * dayMs) / Math.ceil(rowsMax / 50));
  sql(`INSERT INTO findings (id, node, cause, opened_at, closed_at, body)
    SELECT 'f' || n, 'node' || (n % ${nodes}), 'C08', ${begin} + n * ${everyMs}, ${begin} + n * ${everyMs} + 600000, '${body}' FROM generate_series(1::bigint, ${Math.ceil(rows / 50)}) AS n`);
  sql(`INSERT INTO gaps (node, reason, from_at, to_at, detail, stream, from_seq, to_seq)
    SELECT 'node' || (n % ${nodes}), 'agent-down', ${begin} + n * 100000, ${begin} + n * 100000 + 60000, 'x', '', 0, n FROM generate_series(1::bigint, ${nodes * 4}) AS n`);
  sql('INSERT INTO subjects (subject, kind) SELECT DISTINCT subject, kind FROM changes');
  server.sql('VACUUM ANALYZE', name);
  return { store, bytes: () => Number(server.sql("SELECT pg_total_relation_size('changes')", name)), close: () => store.close() };
}

const anyNode = (): string => `node${Math.floor(Math.random() * nodes)}`;
const anyTime = (): number => begin + Math.random() * days * dayMs * 0.9;

const questions: Readonly<Record<string, (store: Store) => Promise<unknown>>> = {
  'the latest 100 changes': (store) => store.changes({ limit: 100 }),
  'an hour of the past, 100 changes': (store) => {
    const from = anyTime();
    return store.changes({ from, to: from + 3_600_000, limit: 100 });
  },
  'one node, 7 days, 1,000 changes': (store) => store.changes({ node: anyNode(), from: end - 7 * dayMs, limit: 1_000 }),
  'one node, 30 days, a word in the subject': (store) => store.changes({ node: anyNode(), from: begin, subject: 'ip_forward', limit: 100 }),
  'all nodes, 30 days, a rare kind': (store) => store.changes({ kind: 'sysctl', from: begin, to: anyTime(), limit: 100 }),
  'all nodes, 30 days, one chain': (store) => store.changes({ subject: `KUBE-SVC-${Math.floor(Math.random() * 10_000)}`, from: begin, limit: 10 }),
  'a timeline of one node, 7 days': (store) => {
    const node = anyNode();
    return Promise.all([store.changes({ node, from: end - 7 * dayMs, limit: 500 }), store.findings({ node, from: end - 7 * dayMs, limit: 500 })]);
  },
  'findings of a day, 100': (store) => {
    const from = anyTime();
    return store.findings({ from, to: from + dayMs, limit: 100 });
  },
  'gaps of 30 days': (store) => store.gaps({ from: begin, limit: 1_000 }),
  'gaps of one node': (store) => store.gaps({ node: anyNode(), from: begin, limit: 100 }),
};

async function measure(question: (store: Store) => Promise<unknown>, store: Store): Promise<readonly number[]> {
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const started = performance.now();
    await question(store);
    times.push(performance.now() - started);
  }
  return times.sort((a, b) => a - b);
}

const at = (times: readonly number[], share: number): number => times[Math.min(times.length - 1, Math.ceil(times.length * share) - 1)] ?? 0;

async function report(engine: string, load: (rows: number) => Promise<Loaded>): Promise<void> {
  const sizes = [Math.round(rowsMax / 5), rowsMax];
  const found = new Map<string, number[][]>();
  for (const rows of sizes) {
    const begun = performance.now();
    const loaded = await load(rows);
    process.stdout.write(
      `${engine}: ${rows} changes, ${Math.round(loaded.bytes() / 1024 ** 2)} MiB, loaded in ${Math.round((performance.now() - begun) / 1_000)} s\n`,
    );
    for (const [name, question] of Object.entries(questions)) found.set(name, [...(found.get(name) ?? []), [...(await measure(question, loaded.store))]]);
    await loaded.close();
  }
  for (const [name, [small = [], large = []]] of found) {
    const p95 = at(large, 0.95);
    process.stdout.write(
      `  ${name.padEnd(42)} p50 ${at(large, 0.5).toFixed(1).padStart(7)} ms  p95 ${p95.toFixed(1).padStart(7)} ms  ${p95 <= goalMs ? 'within' : 'OVER  '} ${goalMs} ms; of a fifth of the rows p95 ${at(small, 0.95).toFixed(1)} ms\n`,
    );
  }
}

const engine = process.env['ENGINE'];
if (engine !== 'postgres') await report('SQLite', loadSqlite);
if (engine !== 'sqlite' && noPostgres() === undefined) {
  const server = await TestPostgres.start();
  try {
    await report('PostgreSQL', (rows) => loadPostgres(server, rows));
  } finally {
    await server.close();
  }
} else if (engine !== 'sqlite') process.stdout.write(`PostgreSQL: ${noPostgres()}\n`);
