// What every store must do, whatever its engine: run by store.test.ts on SQLite and by postgres.test.ts on PostgreSQL.
import fc from 'fast-check';
import type { Credential, Store } from '../../../collector/store/store.ts';
import type { SequencedChange } from '../../../shared/model/change.ts';
import type { Finding } from '../../../shared/model/finding.ts';
import { changeOf } from '../ingest/client.ts';
import { operationsContract } from './contract.operations.ts';
import { replicaContract } from './contract.replicas.ts';

type Test = typeof import('tap').t;

export const finding = (id: string, given: Partial<Finding> = {}): Finding => ({
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

/** `open` yields an empty store. */
export function storeContract(t: Test, open: () => Promise<Store>): void {
  const onStore = (name: string, act: (t: Test, store: Store) => Promise<void>): void => {
    t.test(name, async (t) => {
      const store = await open();
      t.teardown(() => store.close());
      await act(t as unknown as Test, store);
    });
  };
  onStore('changes come back as they were, newest first, page by page', testChanges);
  onStore('any changes come back as they were', testAnyChanges);
  onStore('pages of any question hold what it asks for, all of it, in order', testPages);
  onStore('findings have a beginning and an end, and may come again', testFindings);
  onStore('nodes and gaps', testNodesAndGaps);
  onStore('one request that fails takes no other with it', testFailure);
  onStore('credentials are used once, until they expire or are revoked', testCredentials);
  onStore('the keys of a node', testIdentities);
  onStore('what is old is forgotten, what lasts is not', testForgetting);
  for (const [name, act] of replicaContract) onStore(name, act);
  operationsContract(onStore);
  onStore('a sound store has no faults', async (t, store) => {
    await store.appendChanges([changeOf(1)]);
    t.strictSame(await store.verify(), []);
  });
}

async function testChanges(t: Test, store: Store): Promise<void> {
  const whole = changeOf(1, { actor: { how: 'nft-generation', comm: 'iptables', pid: 4711, argv: ['iptables', '-I'] }, owner: 'admin', before: 'a' });
  const others = [changeOf(2), changeOf(3, { node: 'node2', kind: 'sysctl', subject: 'net.ipv4.ip_forward' })];
  t.strictSame(await store.appendChanges([whole, ...others]), [whole, ...others]);
  t.strictSame(await store.appendChanges([whole, changeOf(4)]), [changeOf(4)], 'only what is new');
  t.strictSame(await store.appendChanges([changeOf(4), changeOf(4)]), []);
  t.strictSame(await store.appendChanges([]), []);
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
  t.strictSame([await store.lastSeq('node1', 'run-1'), await store.lastSeq('node1', 'never')], [4, 0]);
}

async function testAnyChanges(t: Test, store: Store): Promise<void> {
  const text = fc.oneof(fc.string({ unit: 'binary' }), fc.constant("'; DROP TABLE changes; --"), fc.constant('\u0000x'));
  const any = fc.record({ subject: text, before: fc.option(text), after: fc.option(text), at: fc.integer({ min: 0, max: 4e12 }) });
  const changes = fc.sample(any, { numRuns: 200, seed: 7 }).map((given, i) => changeOf(i + 1, given as Partial<SequencedChange>));
  t.equal((await store.appendChanges(changes)).length, 200);
  const back = (await store.changes({ limit: 1_000 })).items;
  // A NUL is no text for PostgreSQL: it comes back as the sign for it, from both engines.
  const plain = (value: string | null): string | null => value?.replaceAll('\0', '\u2400').toWellFormed() ?? null;
  const expected = changes.map((change) => ({ ...change, subject: plain(change.subject), before: plain(change.before), after: plain(change.after) }));
  const bySeq = (list: readonly { readonly seq: number }[]) => [...list].sort((a, b) => a.seq - b.seq);
  t.strictSame(
    bySeq(back).map((change) => ({ ...change, subject: plain((change as SequencedChange).subject) })),
    bySeq(expected),
  );
}

/** Few and many subjects, on all nodes and on one: they are looked for in different ways. */
async function testPages(t: Test, store: Store): Promise<void> {
  const changes = Array.from({ length: 900 }, (_, i) =>
    changeOf(i + 1, {
      // Several at one time, and later numbers at earlier times.
      at: 1_000 + Math.floor(((i * 37) % 900) / 3),
      node: `node${i % 7}`,
      kind: i % 50 === 0 ? 'sysctl' : 'rule',
      subject: i % 50 === 0 ? 'net.ipv4.ip_forward' : i % 3 === 0 ? `ip filter FEW-${i % 5}` : `ip filter MANY-${i}`,
    }),
  );
  for (let at = 0; at < changes.length; at += 100) await store.appendChanges(changes.slice(at, at + 100));
  const words = [undefined, 'FEW', 'FEW-1', 'MANY', 'MANY-77', 'ip_forward', 'nothing of the kind', '%'];
  for (const subject of words)
    for (const kind of [undefined, 'sysctl', 'rule', 'route'])
      for (const more of [{}, { node: 'node3' }, { from: 1_050.4, to: 1_200.6 }]) {
        const query = { ...(subject === undefined ? {} : { subject }), ...(kind === undefined ? {} : { kind }), ...more };
        const { node, from = 0, to = Number.POSITIVE_INFINITY } = query as { node?: string; from?: number; to?: number };
        const wanted = changes.filter(
          (each) =>
            each.subject.includes(subject ?? '') && each.kind === (kind ?? each.kind) && each.node === (node ?? each.node) && each.at >= from && each.at <= to,
        );
        const found: SequencedChange[] = [];
        for (let cursor: string | undefined, isFirst = true; isFirst || cursor !== undefined; isFirst = false) {
          const page = await store.changes({ ...query, limit: 97, ...(cursor === undefined ? {} : { cursor }) });
          found.push(...page.items);
          cursor = page.next;
        }
        const isOrdered = found.every(({ at }, i) => i === 0 || at <= (found[i - 1]?.at ?? 0));
        const numbers = (list: readonly SequencedChange[]) => list.map(({ seq }) => seq).sort((a, b) => a - b);
        t.strictSame([isOrdered, numbers(found)], [true, numbers(wanted)], JSON.stringify(query));
      }
}

async function testFindings(t: Test, store: Store): Promise<void> {
  await store.upsertFindings([
    { finding: finding('a'), openedAt: 10 },
    { finding: finding('b', { node: 'node2' }), openedAt: 15 },
  ]);
  await store.upsertFindings([{ finding: finding('a', { summary: 'after' }), openedAt: 99 }]);
  await store.closeFindings(['a'], 20);
  await store.closeFindings([], 20);
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
}

async function testNodesAndGaps(t: Test, store: Store): Promise<void> {
  const node = { name: 'node1', version: '1', bootId: 'b', stream: 's' };
  await store.saveNode({ ...node, lastSeenAt: 5 });
  await store.saveNode({ ...node, stream: 't', lastSeenAt: 9 });
  const saved = { ...node, stream: 't', firstSeenAt: 5, lastSeenAt: 9 };
  t.strictSame(await store.nodes(), [saved]);
  t.strictSame([await store.node('node1'), await store.node('node2')], [saved, undefined]);
  const gap = { node: 'node1', reason: 'lost', from: 10, to: 20, detail: 'x' } as const;
  const numbered = { ...gap, from: 30, to: 40, seqs: { stream: 's', from: 2, to: 4 } };
  await store.recordGaps([gap, numbered, gap]);
  await store.recordGaps([numbered]);
  await store.recordGaps([]);
  t.strictSame(await store.gaps({ node: 'node1', limit: 10 }), [numbered, gap]);
  t.strictSame(await store.gaps({ node: 'node1', to: 25, limit: 10 }), [gap]);
  t.strictSame(await store.gaps({ from: 21, limit: 10 }), [numbered]);
  t.strictSame(await store.gaps({ node: 'node2', limit: 10 }), []);
}

async function testFailure(t: Test, store: Store): Promise<void> {
  const results = await Promise.allSettled([
    store.appendChanges([changeOf(1)]),
    store.appendChanges([changeOf(4), { ...changeOf(2), kind: null as never }]),
    store.appendChanges([changeOf(3)]),
  ]);
  t.strictSame(
    results.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  );
  t.match(results[1], { reason: { code: 'STORE_FAILED' } });
  t.strictSame(
    (await store.changes({ limit: 9 })).items.map(({ seq }) => seq),
    [3, 1],
  );
}

const credential = (id: string, given: Partial<Credential> = {}): Credential => ({
  id,
  kind: 'join',
  name: 'node1',
  role: null,
  hash: 'h',
  createdAt: 1,
  createdBy: 'test',
  expiresAt: 100,
  usedAt: null,
  revokedAt: null,
  ...given,
});

async function testCredentials(t: Test, store: Store): Promise<void> {
  await store.saveCredential(credential('a'));
  await store.saveCredential(credential('b', { kind: 'api', role: 'view', createdAt: 2, expiresAt: null }));
  t.strictSame(await store.credentials(), [credential('b', { kind: 'api', role: 'view', createdAt: 2, expiresAt: null }), credential('a')]);
  const used = await Promise.all(Array.from({ length: 5 }, () => store.useCredential('a', 50)));
  t.equal(used.filter(Boolean).length, 1, 'of many at once one');
  t.match(await store.credential('a'), { usedAt: 50 });
  t.equal(await store.revokeCredential('b', 60), true);
  t.equal(await store.revokeCredential('b', 61), false);
  t.equal(await store.useCredential('b', 62), false);
  await store.saveCredential(credential('late'));
  t.equal(await store.useCredential('late', 100), false);
  t.equal(await store.credential('none'), undefined);
  await t.rejects(store.saveCredential(credential('a')), { code: 'STORE_FAILED' });
}

async function testIdentities(t: Test, store: Store): Promise<void> {
  const first = { node: 'node1', keyHash: 'k1', serial: '01', issuedAt: 1, expiresAt: 10, revokedAt: null };
  const second = { ...first, keyHash: 'k2', issuedAt: 5 };
  await store.saveIdentity(first);
  await store.saveIdentity(second);
  await store.saveIdentity({ ...first, serial: '02', issuedAt: 7 });
  t.strictSame(await store.identities('node1'), [{ ...first, serial: '02', issuedAt: 7 }, second]);
  t.equal(await store.revokeIdentities('node1', 9), 2);
  t.equal(await store.revokeIdentities('node1', 9), 0);
  t.match(await store.identities('node1'), [{ revokedAt: 9 }, { revokedAt: 9 }]);
  await store.appendAudit([{ at: 3, who: 'token:x', action: 'revoke', subject: 'node1', outcome: 'done', address: '::1' }]);
  t.strictSame(await store.audit(5), [{ at: 3, who: 'token:x', action: 'revoke', subject: 'node1', outcome: 'done', address: '::1' }]);
}

async function testForgetting(t: Test, store: Store): Promise<void> {
  const many = Array.from({ length: 300 }, (_, i) => changeOf(i + 1, { at: 1_000 + i, after: 'x'.repeat(200) }));
  await store.appendChanges([changeOf(1, { stream: 'old', at: 10 }), ...many]);
  await store.upsertFindings([
    { finding: finding('open'), openedAt: 5 },
    { finding: finding('closed'), openedAt: 5 },
  ]);
  await store.closeFindings(['closed'], 20);
  await store.recordGaps([{ node: 'n', reason: 'lost', from: 1, to: 2, detail: '' }]);
  await store.appendAudit([{ at: 3, who: 'x', action: 'y', subject: 'z', outcome: 'done', address: '' }]);
  await store.saveCredential(credential('gone'));
  t.strictSame(await store.forget({ before: 1_000, bytesMax: 1e12 }), { changes: 1, verdicts: 0, findings: 1, gaps: 1, audit: 1 });
  t.match(await store.findings({ limit: 9 }), [{ finding: { id: 'open' } }]);
  t.strictSame(await store.credentials(), []);
  t.equal((await store.forget({ before: 0, bytesMax: 1 })).changes, 30, 'over its size a tenth');
  t.equal((await store.changes({ limit: 1_000 })).items.at(-1)?.seq, 31, 'the oldest');
}
