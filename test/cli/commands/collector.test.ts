// What an operator does with a collector's store: back it up while it runs, check it, restore it. Real processes, a real store.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, copyFileSync, mkdirSync, openSync, readFileSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import t from 'tap';
import { openSqliteStore } from '../../../collector/store/sqlite.store.ts';
import { changeOf } from '../../collector/ingest/client.ts';
import { startCollector } from '../../collector/ingest/cluster.ts';

// Many commits and processes, which take their time on a busy machine.
t.setTimeout(180_000);

const launcher = new URL('../../../cli/portreeve', import.meta.url).pathname;

function portreeve(...words: readonly string[]): { readonly code: number | null; readonly out: string; readonly err: string } {
  const { status, stdout, stderr } = spawnSync(launcher, ['collector', ...words], { encoding: 'utf8', env: { ...process.env, DATABASE_URL: '' } });
  return { code: status, out: stdout, err: stderr };
}

/** The same without stopping this process, in which somebody writes. */
async function whileOthersRun(...words: readonly string[]): Promise<{ readonly code: number | null; readonly out: string; readonly err: string }> {
  const child = spawn(launcher, ['collector', ...words], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, DATABASE_URL: '' } });
  const [out, err, [code]] = await Promise.all([textOf(child.stdout), textOf(child.stderr), once(child, 'exit')]);
  return { code: code as number | null, out, err };
}

t.test('a backup of a store that is written to, restored, is a collector that agents know', async (t) => {
  const directory = t.testdir({ restored: {} });
  const data = join(directory, 'data');
  const collector = await startCollector(directory, { tls: true, noAuth: false });
  t.teardown(() => collector.close());
  const { store } = await openSqliteStore(data);
  let acknowledged = 0;
  let isWriting = true;
  const writing = (async () => {
    for (let seq = 1; isWriting; seq += 20) {
      await store.appendChanges(Array.from({ length: 20 }, (_, i) => changeOf(seq + i)));
      acknowledged = seq + 19;
    }
  })();
  while (acknowledged < 200) await new Promise((resolve) => setTimeout(resolve, 10));
  const file = join(directory, 'copy.db');
  const before = acknowledged;
  const made = await whileOthersRun('backup', '--data', data, '--out', file);
  t.ok(acknowledged > before, 'writing went on meanwhile');
  isWriting = false;
  await writing;
  await store.close();
  t.match(made, { code: 0, out: /copy\.db: \d+ bytes, \d+ changes, with the authority/, err: /to restore/ });
  t.equal(statSync(file).mode & 0o777, 0o600, 'it is closed to others');
  t.match(portreeve('backup', '--data', data, '--out', file), { code: 2, err: /there already/ });

  copyFileSync(file, join(directory, 'restored', 'portreeve.db'));
  t.match(portreeve('verify', '--data', join(directory, 'restored')), { code: 0, out: 'the store is sound\n' });
  const restored = await startCollector(join(directory, 'again'), { data: join(directory, 'restored'), tls: true, noAuth: false });
  await restored.close();
  const certificate = (of: string) => readFileSync(join(of, 'ca.crt'), 'utf8');
  t.equal(certificate(join(directory, 'restored')), certificate(data), 'its authority is the one of before');
  const copy = await openSqliteStore(join(directory, 'restored'));
  t.ok((await copy.store.lastSeq('node1', 'run-1')) >= before, 'with everything that was acknowledged before it was made');
  await copy.store.close();
});

t.test('a damaged store is told from a sound one, and mistakes are named', async (t) => {
  const directory = t.testdir({ data: {} });
  const data = join(directory, 'data');
  const { store } = await openSqliteStore(data);
  await store.appendChanges(Array.from({ length: 500 }, (_, i) => changeOf(i + 1, { after: 'x'.repeat(400) })));
  await store.close();
  t.match(portreeve('verify', '--data', data), { code: 0 });
  const file = join(data, 'portreeve.db');
  const handle = openSync(file, 'r+');
  writeSync(handle, Buffer.alloc(4096 * 4, 0xa5), 0, 4096 * 4, Math.floor(statSync(file).size / 2 / 4096) * 4096);
  closeSync(handle);
  const found = portreeve('verify', '--data', data);
  t.equal(found.code, 1);
  t.match(found.out, /\S/);
  t.match(portreeve('backup', '--data', data, '--out', join(directory, 'copy.db')), { code: 2, err: /copy\.db/ }, 'and no copy of it is taken for a backup');
  t.match(portreeve('verify', '--data', join(directory, 'none')), { code: 2, err: /there is no store/ });
  t.match(portreeve('backup', '--data', data), { code: 2, err: /--out is missing/ });
  t.match(portreeve('backup', '--data', data, '--out', 'x', '--database-url', 'postgres://x/y'), { code: 2, err: /pg_dump.*pg_basebackup/ });
  t.match(portreeve('restore', '--data', data), { code: 2, err: /backup, verify or nothing/ });
  mkdirSync(join(directory, 'new'));
  t.match(portreeve('--data', join(directory, 'new'), '--out', 'x'), { code: 2, err: /--out goes with/ });
});
