// A small SQLite file with bits flipped all over it, and cut at many lengths: opening never fails, what is lost was said to be, and writing goes on.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { queriesOn } from '../../../collector/store/queries.ts';
import { openSqlite } from '../../../collector/store/sqlite.file.ts';
import { changeOf } from '../ingest/client.ts';
import { getJson, startCollector } from '../ingest/cluster.ts';

t.setTimeout(600_000);
const root = mkdtempSync(join(process.platform === 'linux' ? '/dev/shm' : tmpdir(), 'portreeve-damage-'));
t.teardown(() => rmSync(root, { recursive: true }));
/** One byte in so many is flipped; 1 for all of them. */
const stride = Number(process.env.STRIDE ?? 199);
const rows = 40;

async function soundFile(): Promise<Buffer> {
  const directory = join(root, 'sound');
  mkdirSync(directory);
  const { database, db } = await openSqlite(join(directory, 'portreeve.db'), 1);
  await queriesOn(db, 'sqlite').appendChanges(Array.from({ length: rows }, (_, i) => changeOf(i + 1)));
  await queriesOn(db, 'sqlite').saveNode({ name: 'node1', version: '1', bootId: 'b', stream: 's', lastSeenAt: 5 });
  database.close();
  return readFileSync(join(directory, 'portreeve.db'));
}

let cases = 0;
async function opened(content: Buffer, t: Test, name: string): Promise<'sound' | 'salvaged'> {
  const directory = join(root, String(++cases));
  mkdirSync(directory);
  writeFileSync(join(directory, 'portreeve.db'), content);
  try {
    const { database, db, salvaged } = await openSqlite(join(directory, 'portreeve.db'), 1);
    const queries = queriesOn(db, 'sqlite');
    const { items } = await queries.changes({ limit: 1_000 }).catch(() => ({ items: [] }));
    if (salvaged === undefined && items.length < rows && content.length > 0) t.fail(`${name}: ${items.length} rows are left, and nothing is said`);
    if (salvaged !== undefined) await queries.appendChanges([changeOf(1_000)]);
    database.close();
    return salvaged === undefined ? 'sound' : 'salvaged';
  } finally {
    rmSync(directory, { recursive: true });
  }
}

t.test('bits flipped all over the file, its header and page headers among them', async (t) => {
  const sound = await soundFile();
  const places = Array.from({ length: sound.length }, (_, at) => at).filter((at) => at < 100 || at % 4_096 < 12 || at % stride === 0);
  let salvaged = 0;
  for (const at of places) {
    const flipped = Buffer.from(sound);
    flipped[at] = (flipped[at] as number) ^ (1 << (at % 8));
    if ((await opened(flipped, t, `byte ${at}`)) === 'salvaged') salvaged++;
  }
  t.comment(`${places.length} flipped bits in ${sound.length} bytes: the file opens each time, ${salvaged} times it is salvaged`);
  t.ok(salvaged > 100);
});

t.test('the file cut at the end of each page, and within', async (t) => {
  const sound = readFileSync(join(root, 'sound', 'portreeve.db'));
  const lengths = Array.from({ length: Math.ceil(sound.length / 1_024) }, (_, i) => i * 1_024 + (i % 4 === 3 ? 100 : 0));
  for (const length of lengths) await opened(sound.subarray(0, length), t, `cut at ${length}`);
  t.comment(`${lengths.length} lengths, each survived`);
  t.ok(lengths.length > 30);
});

t.test('a collector on a damaged file starts, and its gap is told', async (t) => {
  const directory = t.testdir({ data: {} });
  const sound = readFileSync(join(root, 'sound', 'portreeve.db'));
  writeFileSync(join(directory, 'data', 'portreeve.db'), sound.fill(0xa5, 4_096 * 3, 4_096 * 5));
  const collector = await startCollector(directory);
  t.teardown(() => collector.close());
  t.ok(await getJson(collector.address, 'nodes'));
  await collector.close();
  const { database } = await openSqlite(join(directory, 'data', 'portreeve.db'), 1);
  t.match(database.prepare("SELECT node, reason, detail FROM gaps WHERE node = ''").all(), [{ reason: 'lost', detail: /^the store was damaged/ }]);
  database.close();
});
