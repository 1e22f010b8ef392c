// The store in SQLite: nothing acknowledged is lost or doubled, not even by kill -9; what is damaged is salvaged, what is of another version is said so.
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, statSync, truncateSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import Sqlite from 'better-sqlite3';
import t from 'tap';
import { openSqliteStore } from '../../../collector/store/sqlite.store.ts';
import { changeOf } from '../ingest/client.ts';
import { storeContract } from './contract.ts';

// Many commits and processes, which take their time on a busy machine.
t.setTimeout(180_000);

let stores = 0;
const directory = t.testdir({});
storeContract(t, async () => (await openSqliteStore(join(directory, `contract-${++stores}`))).store);

t.test('every acknowledged change is there once after kill -9', async (t) => {
  const directory = t.testdir();
  let acknowledged = 0;
  for (let round = 0; round < 3; round++) {
    acknowledged = Math.max(acknowledged, await appendUntilKilled(directory, 150 + round * 70));
    const { store } = await openSqliteStore(directory);
    t.ok((await store.lastSeq('node1', 'run-1')) >= acknowledged, `round ${round}: ${acknowledged} acknowledged`);
    await store.close();
  }
  const database = new Sqlite(join(directory, 'portreeve.db'), { readonly: true });
  const { count, last } = database.prepare('SELECT count(*) AS count, max(seq) AS last FROM changes').get() as { count: number; last: number };
  database.close();
  t.ok(acknowledged > 0, 'something was acknowledged at all');
  t.equal(count, last, 'each seq is there, and once');
});

async function appendUntilKilled(directory: string, afterMs: number): Promise<number> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'appender.ts'), directory], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  const ended = new Promise((resolve) => child.once('close', resolve));
  while (output === '' && child.exitCode === null) await sleep(10);
  await sleep(afterMs);
  child.kill('SIGKILL');
  await ended;
  return Number(output.slice(0, output.lastIndexOf('\n')).split('\n').at(-1));
}

t.test('a closed store says so', async (t) => {
  const { store } = await openSqliteStore(t.testdir());
  await store.close();
  await t.rejects(store.changes({ limit: 1 }), { code: 'STORE_FAILED' });
});

t.test('what is no database is set aside', async (t) => {
  const directory = t.testdir({ 'portreeve.db': 'this was once a database '.repeat(100) });
  const { store, salvaged } = await openSqliteStore(directory);
  t.match(salvaged, { setAside: /portreeve\.db\.damaged-\d{8}T\d{6}Z$/, records: 0 });
  await store.appendChanges([changeOf(1)]);
  t.equal(readdirSync(directory).filter((name) => name.includes('damaged')).length, 1);
  await store.close();
});

for (const damage of ['pages in the middle', 'the end is missing'] as const) {
  t.test(`of a database of which ${damage}, what can be read goes on`, async (t) => {
    const directory = t.testdir();
    const first = await openSqliteStore(directory);
    await first.store.saveNode({ name: 'node1', version: '1', bootId: 'b', stream: 's', lastSeenAt: 5 });
    for (let batch = 0; batch < 20; batch++) await first.store.appendChanges(Array.from({ length: 200 }, (_, i) => changeOf(batch * 200 + i + 1)));
    await first.store.close();
    harm(join(directory, 'portreeve.db'), damage);
    const { store, salvaged } = await openSqliteStore(directory);
    t.ok((salvaged?.records ?? 0) > 1_500, `${salvaged?.records} records`);
    t.ok(await store.node('node1'));
    const { items } = await store.changes({ limit: 5_000 });
    for (const item of items) if (!isDeepStrictEqual(item, changeOf(item.seq))) t.fail('a change is not as it was written');
    t.equal((await store.appendChanges([changeOf(10_000)])).length, 1);
    t.strictSame(await store.verify(), []);
    await store.close();
  });
}

function harm(file: string, damage: 'pages in the middle' | 'the end is missing'): void {
  const { size } = statSync(file);
  const handle = openSync(file, 'r+');
  if (damage === 'pages in the middle') writeSync(handle, Buffer.alloc(4096 * 6, 0xa5), 0, 4096 * 6, Math.floor(size / 2 / 4096) * 4096);
  closeSync(handle);
  if (damage === 'the end is missing') truncateSync(file, Math.floor((size * 0.8) / 4096) * 4096);
}

t.test('what cannot be used is said with the file and the reason', async (t) => {
  const directory = t.testdir({ file: 'not a directory' });
  await t.rejects(openSqliteStore(join(directory, 'file')), { code: 'STORE_FAILED', message: /file\/portreeve\.db cannot be used/ });
  mkdirSync(join(directory, 'taken', 'portreeve.db'), { recursive: true });
  await t.rejects(openSqliteStore(join(directory, 'taken')), { code: 'STORE_FAILED' });
  const newer = join(directory, 'newer');
  await (await openSqliteStore(newer)).store.close();
  const database = new Sqlite(join(newer, 'portreeve.db'));
  database.exec("INSERT INTO kysely_migration (name, timestamp) VALUES ('9999-later', 'x')");
  database.close();
  await t.rejects(openSqliteStore(newer), { message: /newer schema.*9999-later.*use the version/ });
});
