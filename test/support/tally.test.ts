// What a run came to must be told rightly above all when it went wrong.
import t from 'tap';
import { tallyOf, totalsLine } from './tally.ts';

const tap = `TAP version 14
1..3
# Subtest: test/a.test.ts
    # Subtest: suite
        ok 1 - one
        not ok 2 - differs
          ---
          diff: |
            -2
            +1
          source: >
            not ok 9 - text in a source excerpt
          ...
        # Subtest: deeper
            ok 1 - fine
            1..1
        ok 3 - deeper # time=3ms
        1..3
    not ok 1 - suite # time=27.271ms
      ---
      at: elsewhere
      ...
    ok 2 - needs a kernel # SKIP needs root
    1..2
not ok 1 - test/a.test.ts # time=62.184ms
# Subtest: test/b.test.ts
not ok 2 - test/b.test.ts # time=436.236ms
  ---
  exitCode: 1
  ...
ok 3 - test/c.test.ts # SKIP whole file
`;
const totals = '# { total: 5, pass: 2, fail: 2, skip: 2 }\n';

t.test('failures, skipped tests and totals', async (t) => {
  const tally = tallyOf(tap + totals);
  t.same(tally.failures, [
    { path: ['test/a.test.ts', 'suite', 'differs'], detail: ['diff: |', '  -2', '  +1', 'source: >', '  not ok 9 - text in a source excerpt'] },
    { path: ['test/b.test.ts'], detail: ['exitCode: 1'] },
  ]);
  t.same(tally.skipped, ['test/a.test.ts > needs a kernel: needs root', 'test/c.test.ts: whole file']);
  t.equal(totalsLine(tally), '2 passed, 2 failed');
});

t.test('a run that was killed is no success', async (t) => {
  t.equal(totalsLine(tallyOf(tap)), '2 passed, 3 failed');
  t.equal(totalsLine(tallyOf('')), '0 passed, 1 failed');
});
