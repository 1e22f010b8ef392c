// What every store must do for collectors that share it, whatever its engine; run with the rest of the contract.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Fence, Store } from '../../../collector/store/store.ts';
import { changeOf } from '../ingest/client.ts';
import { finding } from './contract.ts';

type Test = typeof import('tap').t;

const claim = (holder: string, given: object = {}) => ({
  node: 'node1',
  holder,
  stream: 'run-1',
  address: '192.0.2.1',
  cloneMs: 60_000,
  deadMs: 10_000,
  ...given,
});
const lost = { code: 'LEASE_LOST' };

/** Each `[name, test]`. */
export const replicaContract: readonly (readonly [name: string, act: (t: Test, store: Store) => Promise<void>])[] = [
  ['who owns a node writes of it, and nobody who did before', testFences],
  ['who owned a node lives, or is dead', testLives],
  ['an agent that changes places is told from two that take turns', testClones],
  ['what an owner writes comes to the others once', testNodeStates],
  ['replicas come, go and lead', testAttendance],
  ['questions have one answer', testQuestions],
  ['the first authority is that of all', testAuthority],
];

async function testFences(t: Test, store: Store): Promise<void> {
  t.same(await store.takeNode(claim('a')), { token: 1, isClone: false });
  const a: Fence = { node: 'node1', holder: 'a', token: 1 };
  t.strictSame(await store.appendChanges([changeOf(1)], a), [changeOf(1)]);
  t.match(
    await store.takeNode(claim('a', { address: '192.0.2.2' })),
    { token: 1, before: { holder: 'a', address: '192.0.2.1' } },
    'again at the same: the same token',
  );
  await store.recordGaps([{ node: 'node1', reason: 'lost', from: 1, to: 2, detail: '' }], a);
  t.match(await store.takeNode(claim('b')), { token: 2, before: { holder: 'a', lives: false } }, 'one that was never there does not live');
  const b: Fence = { node: 'node1', holder: 'b', token: 2 };
  const news = { buckets: [], whole: false, connected: true, since: 1, stateAt: 1, agent: null, pending: null };
  const node = { name: 'node1', version: '1', bootId: 'b', stream: 's', lastSeenAt: 1 };
  for (const fence of [a, { ...a, token: 2 }, { ...b, token: 1 }, { ...b, node: 'node2' }]) {
    await t.rejects(store.appendChanges([changeOf(2)], fence), lost);
    await t.rejects(store.upsertFindings([{ finding: finding('x'), openedAt: 1 }], fence), lost);
    await t.rejects(store.closeFindings(['x'], 1, fence), lost);
    await t.rejects(store.recordGaps([{ node: 'node1', reason: 'lost', from: 5, to: 6, detail: '' }], fence), lost);
    await t.rejects(store.saveNode(node, fence), lost);
    await t.rejects(store.saveNodeState(fence, news), lost);
    await t.rejects(store.forget({ before: 9e15 }, fence), lost);
  }
  t.strictSame(
    [(await store.changes({ limit: 9 })).items.length, (await store.findings({ limit: 9 })).length, (await store.gaps({ limit: 9 })).length],
    [1, 0, 1],
  );
  t.equal((await store.appendChanges([changeOf(1), changeOf(2)], b)).length, 1, 'the new owner goes on behind what is there');
  const racing = await Promise.allSettled([
    store.takeNode(claim('c')),
    store.appendChanges([changeOf(3)], b),
    store.takeNode(claim('d')),
    store.appendChanges([changeOf(4)], b),
  ]);
  const [row] = await store.nodeStates(['node1']);
  t.equal(row?.token, 4, 'two that take it at once have two tokens');
  t.equal(
    (await store.changes({ limit: 9 })).items.length,
    2 + racing.filter(({ status }, i) => i % 2 === 1 && status === 'fulfilled').length,
    'what was not refused is there',
  );
}

async function testLives(t: Test, store: Store): Promise<void> {
  for (const id of ['a', 'b']) await store.attend({ id, address: `http://${id}`, version: '1', startedAt: 1 }, 10_000);
  const taken = async (holder: string, deadMs = 10_000) => (await store.takeNode(claim(holder, { deadMs }))).before;
  t.equal(await taken('a'), undefined);
  t.match(await taken('b'), { holder: 'a', lives: true }, 'it has come a moment ago');
  await sleep(20);
  t.match(await taken('a', 10), { holder: 'b', lives: false }, 'nothing was heard of it for too long');
  await store.leave('a');
  t.match(await taken('b'), { holder: 'a', lives: false }, 'it has gone');
}

async function testClones(t: Test, store: Store): Promise<void> {
  const take = async (holder: string, stream: string, cloneMs = 60_000) => (await store.takeNode(claim(holder, { stream, cloneMs }))).isClone;
  t.equal(await take('a', 'one'), false);
  t.equal(await take('b', 'one'), false, 'the same agent at another replica');
  t.equal(await take('a', 'two'), false, 'it was started again');
  t.equal(await take('a', 'one'), true, 'the former run lives as well');
  t.equal(await take('b', 'two', 0 - 1), false, 'but not after a long time');
}

async function testNodeStates(t: Test, store: Store): Promise<void> {
  const { token } = await store.takeNode(claim('a'));
  const fence: Fence = { node: 'node1', holder: 'a', token };
  const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
  const news = { connected: true, since: 5, stateAt: 6, agent: '{}', pending: null };
  await store.saveNodeState(fence, {
    ...news,
    buckets: [
      { bucket: 1, body: bytes('one') },
      { bucket: 2, body: bytes('two') },
    ],
    whole: true,
  });
  const read = async (after: number) => (await store.factBuckets('node1', after)).map(({ bucket, body }) => [bucket, Buffer.from(body).toString()]).sort();
  const row = async () => (await store.nodeStates(['node1']))[0];
  t.strictSame(await read(-1), [
    [1, 'one'],
    [2, 'two'],
  ]);
  const first = await row();
  t.match(first, { node: 'node1', holder: 'a', token, connected: true, since: 5, stateAt: 6, agent: '{}', pending: null });
  await store.saveNodeState(fence, {
    ...news,
    buckets: [
      { bucket: 1, body: bytes('one') },
      { bucket: 2, body: bytes('TWO') },
    ],
    whole: false,
  });
  t.strictSame(await read(first?.factsRevision ?? 0), [[2, 'TWO']], 'only what differs is new');
  const second = await row();
  await store.saveNodeState(fence, { ...news, connected: false, buckets: [{ bucket: 1, body: bytes('one') }], whole: false });
  const third = await row();
  t.equal(third?.factsRevision, second?.factsRevision, 'the same facts are no news');
  t.ok((third?.revision ?? 0) > (second?.revision ?? 0) && third?.connected === false);
  await store.saveNodeState(fence, { ...news, buckets: [{ bucket: 2, body: bytes('TWO') }], whole: true });
  t.strictSame(await read(third?.factsRevision ?? 0), [[1, '']], 'a bucket that a whole state leaves out is empty');
  const before = await row();
  await store.appendChanges([changeOf(1), changeOf(2)], fence);
  await store.upsertFindings([{ finding: finding('x'), openedAt: 1 }], fence);
  const after = await row();
  t.ok((after?.changesRevision ?? 0) > (before?.revision ?? 0) && (after?.findingsRevision ?? 0) > (after?.changesRevision ?? 0));
  const { items, last } = await store.changesAfter('node1', 0, 1);
  t.strictSame(items, [changeOf(1)]);
  t.strictSame((await store.changesAfter('node1', last, 9)).items, [changeOf(2)]);
  t.equal(await store.lastChange(), (await store.changesAfter('node1', last, 9)).last);
  t.strictSame(await store.nodeStates([]), []);
  await store.takeNode(claim('a', { node: '' }));
  t.strictSame(await store.adoptNodes('b', ['a']), [], 'nothing of the living');
  t.strictSame(await store.adoptNodes('b', []), [{ node: 'node1', token: token + 1 }], 'all of the dead, but for the ledger of the cluster');
}

async function testAttendance(t: Test, store: Store): Promise<void> {
  const replica = (id: string) => ({ id, address: `${id}:1`, version: '1', startedAt: 1 });
  const leads = async (id: string, deadMs = 60_000) => (await store.attend(replica(id), deadMs)).leader;
  t.strictSame([await leads('a'), await leads('b'), await leads('a')], ['a', 'a', 'a']);
  t.match((await store.attend(replica('b'), 60_000)).replicas, [
    { ...replica('a'), ageMs: Number },
    { ...replica('b'), ageMs: Number },
  ]);
  const { token } = await store.takeNode(claim('a'));
  await store.saveNodeState(
    { node: 'node1', holder: 'a', token },
    { buckets: [], whole: false, connected: true, since: 1, stateAt: 1, agent: null, pending: null },
  );
  await store.leave('a');
  t.match(await store.nodeStates(), [{ node: 'node1', holder: 'a', connected: false }]);
  t.equal(await leads('b'), 'b', 'at once');
  await new Promise((resolve) => setTimeout(resolve, 30));
  t.equal(await leads('c', 5), 'c', 'one that says nothing leads no more');
  t.equal(await leads('b', 60_000), 'c', 'and does not take it back');
}

async function testQuestions(t: Test, store: Store): Promise<void> {
  const question = { id: 'q1', replica: 'a', node: 'node1', body: '{}' };
  await store.saveQuestion(question);
  await store.saveQuestion({ ...question, id: 'q2', replica: 'b' });
  t.strictSame(await store.questions('a'), [question]);
  t.equal(await store.takeAnswer('q1', 'waits'), undefined);
  await store.answerQuestion('q1', '"yes"');
  t.strictSame(await store.questions('a'), []);
  t.strictSame([await store.takeAnswer('q1', 'waits'), await store.takeAnswer('q1', 'waits')], ['"yes"', undefined]);
  t.equal(await store.takeAnswer('q2', 'gives up'), undefined);
  t.strictSame(await store.questions('b'), []);
}

async function testAuthority(t: Test, store: Store): Promise<void> {
  const [first, second] = [
    { key: 'k1', certificate: 'c1' },
    { key: 'k2', certificate: 'c2' },
  ];
  t.strictSame(await store.sharedAuthority(first), first);
  t.strictSame(await store.sharedAuthority(second), first);
}
