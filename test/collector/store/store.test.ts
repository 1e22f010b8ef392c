// The store: nothing acknowledged is lost or doubled, not even by kill -9; what is damaged or of another version is said so.
import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Sqlite from 'better-sqlite3';
import t from 'tap';
import { openStore } from '../../../collector/store/store.ts';
import type { Finding } from '../../../shared/model/finding.ts';
import { changeOf } from '../ingest/client.ts';

const finding = (id: string, given: Partial<Finding> = {}): Finding => ({
  id,
  cause: 'C08',
  title: '',
  severity: 'error',
  confidence: 'certain',
  node: 'node1',
  service: 'shop/web:http',
  port: 30080,
  protocol: 'tcp',
  family: 4,
  symptom: 'timeout',
  summary: 'before',
  evidence: [],
  remedy: [],
  ...given,
});

t.test('every acknowledged change is there once after kill -9', async (t) => {
  const directory = t.testdir();
  let acknowledged = 0;
  for (let round = 0; round < 3; round++) {
    acknowledged = Math.max(acknowledged, await appendUntilKilled(directory, 150 + round * 70));
    const { store } = await openStore(directory);
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

t.test('changes come back as they were, newest first, page by page', async (t) => {
  const { store } = await openStore(t.testdir());
  const whole = changeOf(1, { actor: { how: 'nft-generation', comm: 'iptables', pid: 4711, argv: ['iptables', '-I'] }, owner: 'admin', before: 'a' });
  t.strictSame(await store.appendChanges([whole, changeOf(2), changeOf(3, { node: 'node2', kind: 'sysctl', subject: 'net.ipv4.ip_forward' })]), [
    whole,
    changeOf(2),
    changeOf(3, { node: 'node2', kind: 'sysctl', subject: 'net.ipv4.ip_forward' }),
  ]);
  t.strictSame(await store.appendChanges([whole, changeOf(4)]), [changeOf(4)], 'only what is new');
  const first = await store.changes({ limit: 2 });
  t.strictSame(
    first.items.map(({ seq }) => seq),
    [4, 3],
  );
  const second = await store.changes({ limit: 2, cursor: first.next as string });
  t.strictSame(second, { items: [changeOf(2), whole] }, 'the last page has no cursor');
  const seqs = async (query: object) => (await store.changes({ limit: 10, ...query })).items.map(({ seq }) => seq);
  t.strictSame(await seqs({ node: 'node2' }), [3]);
  t.strictSame(await seqs({ kind: 'rule' }), [4, 2, 1]);
  t.strictSame(await seqs({ subject: 'ip_forward' }), [3]);
  t.strictSame(await seqs({ subject: '%' }), [], 'the text is no pattern');
  t.strictSame(await seqs({ from: whole.at + 1, to: whole.at + 2 }), [3, 2]);
  await store.close();
  await t.rejects(store.changes({ limit: 1 }), { code: 'STORE_FAILED' });
});

t.test('findings have a beginning and an end, and may come again', async (t) => {
  const directory = t.testdir();
  const { store } = await openStore(directory);
  await store.upsertFindings([
    { finding: finding('a'), openedAt: 10 },
    { finding: finding('b', { node: 'node2' }), openedAt: 15 },
  ]);
  await store.upsertFindings([{ finding: finding('a', { summary: 'after' }), openedAt: 99 }]);
  await store.closeFindings(['a'], 20);
  await store.upsertFindings([{ finding: finding('a'), openedAt: 30 }]);
  const times = async (query: object) =>
    (await store.findings({ limit: 10, ...query })).map((each) => [each.finding.id, each.finding.summary, each.openedAt, each.closedAt]);
  t.strictSame(await times({}), [
    ['a', 'before', 30, null],
    ['b', 'before', 15, null],
    ['a', 'after', 10, 20],
  ]);
  t.strictSame(await times({ open: true, node: 'node1' }), [['a', 'before', 30, null]]);
  t.strictSame(await times({ from: 21, to: 29 }), [['b', 'before', 15, null]], 'those that lasted at that time');
  await store.close();
});

t.test('nodes and gaps', async (t) => {
  const { store } = await openStore(t.testdir());
  const node = { name: 'node1', version: '1', bootId: 'b', stream: 's' };
  await store.saveNode({ ...node, lastSeenAt: 5 });
  await store.saveNode({ ...node, stream: 't', lastSeenAt: 9 });
  t.strictSame(await store.nodes(), [{ ...node, stream: 't', firstSeenAt: 5, lastSeenAt: 9 }]);
  const gap = { node: 'node1', reason: 'lost', from: 10, to: 20, detail: 'x' } as const;
  const numbered = { ...gap, from: 30, to: 40, seqs: { stream: 's', from: 2, to: 4 } };
  await store.recordGaps([gap, numbered, gap]);
  await store.recordGaps([numbered]);
  t.strictSame(await store.gaps({ node: 'node1', limit: 10 }), [numbered, gap]);
  t.strictSame(await store.gaps({ node: 'node1', to: 25, limit: 10 }), [gap]);
  t.strictSame(await store.gaps({ from: 21, limit: 10 }), [numbered]);
  t.strictSame(await store.gaps({ node: 'node2', limit: 10 }), []);
  await store.close();
});

t.test('one request that fails takes no other with it', async (t) => {
  const { store } = await openStore(t.testdir());
  const results = await Promise.allSettled([
    store.appendChanges([changeOf(1)]),
    store.appendChanges([{ ...changeOf(2), kind: null as never }]),
    store.appendChanges([changeOf(3)]),
  ]);
  t.strictSame(
    results.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  );
  t.strictSame(
    (await store.changes({ limit: 9 })).items.map(({ seq }) => seq),
    [3, 1],
  );
  await store.close();
});

t.test('a damaged file is set aside', async (t) => {
  const directory = t.testdir({ 'portreeve.db': 'this was once a database '.repeat(100) });
  const { store, setAside } = await openStore(directory);
  t.match(setAside, /portreeve\.db\.damaged-\d{8}T\d{6}Z$/);
  await store.appendChanges([changeOf(1)]);
  t.equal(readdirSync(directory).filter((name) => name.includes('damaged')).length, 1);
  await store.close();
});

t.test('what cannot be used is said with the file and the reason', async (t) => {
  const directory = t.testdir({ file: 'not a directory' });
  await t.rejects(openStore(join(directory, 'file')), { code: 'STORE_FAILED', message: /file\/portreeve\.db cannot be used/ });
  mkdirSync(join(directory, 'taken', 'portreeve.db'), { recursive: true });
  await t.rejects(openStore(join(directory, 'taken')), { code: 'STORE_FAILED' });
  mkdirSync(join(directory, 'newer'));
  const database = new Sqlite(join(directory, 'newer', 'portreeve.db'));
  database.pragma('user_version = 99');
  database.close();
  await t.rejects(openStore(join(directory, 'newer')), { message: /schema 99.*use the version/ });
});
