import { appendFileSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Spool } from '../../../agent/host/spool.ts';
import type { SequencedChange } from '../../../shared/model/change.ts';

const change = (seq: number, stream = 's', after = 'x'): SequencedChange => ({
  stream,
  seq,
  at: 1,
  node: 'n',
  kind: 'rule',
  subject: 'y',
  before: null,
  after,
});
const seqs = (changes: readonly SequencedChange[]) => changes.map(({ seq }) => seq);

t.test('each change is kept once and comes back in order', async (t) => {
  const directory = join(t.testdir({}), 'deep', 'state');
  const spool = new Spool(directory);
  t.strictSame(spool.load(), []);
  spool.keep([change(1), change(2)]);
  spool.keep([change(1), change(2), change(3)]);
  t.strictSame(seqs(new Spool(directory).load()), [1, 2, 3]);
  spool.settle(2);
  t.strictSame(seqs(new Spool(directory).load()), [1, 2, 3], 'it goes only as a whole');
  spool.settle(3);
  t.notOk(existsSync(join(directory, 'changes.ndjson')));
});

t.test('a line that was cut, other nonsense and another stream', async (t) => {
  const directory = t.testdir({
    'changes.ndjson': `${JSON.stringify(change(4))}\nnull\n{"seq":"x"}\n${JSON.stringify(change(5, 'other'))}\n{"stream":"s","se`,
  });
  const spool = new Spool(directory);
  t.strictSame(seqs(spool.load()), [4]);
  spool.keep([change(5)]);
  t.strictSame(seqs(new Spool(directory).load()), [4, 5]);
});

t.test('a bound on the file', async (t) => {
  const directory = t.testdir({ 'changes.ndjson': '' });
  const path = join(directory, 'changes.ndjson');
  appendFileSync(path, `${JSON.stringify(change(1))}\n`);
  appendFileSync(path, `${' '.repeat(32 * 1024 * 1024)}\n`);
  const spool = new Spool(directory);
  spool.load();
  spool.keep([change(2)]);
  t.strictSame(seqs(new Spool(directory).load()), [1]);
});

t.test('a directory that cannot be made', async (t) => {
  const file = join(t.testdir({}), 'file');
  writeFileSync(file, '');
  t.throws(() => new Spool(join(file, 'state')), { code: 'STORE_FAILED' });
});
