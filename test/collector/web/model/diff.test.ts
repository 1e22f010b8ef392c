// The diff of a change: what it shows of small texts, of very long ones, and that both texts can be read from it.
import fc from 'fast-check';
import t from 'tap';
import { diffLines } from '../../../../collector/web/model/diff.ts';

const shown = (before: string | null, after: string | null, context?: number): string[] =>
  diffLines(before, after, context).map(({ kind, text }) => `${{ same: ' ', removed: '-', added: '+', skipped: '~' }[kind]}${text}`);

t.test('what was removed and added, with what stands around', async (t) => {
  t.same(shown('a\nb\nc', 'a\nx\nc'), [' a', '-b', '+x', ' c']);
  t.same(shown(null, 'a'), ['+a']);
  t.same(shown('a', null), ['-a']);
  t.same(shown(null, null), []);
  t.same(shown('1\n2\n3\n4\n5', '1\n2\n3\n4\nx', 1), ['~3 equal lines', ' 4', '-5', '+x']);
  t.same(shown('a\nb', 'b\na'), ['-a', ' b', '+a']);
});

t.test('a very long text is shown as replaced between its equal ends', async (t) => {
  const lines = (word: string): string => ['first', ...Array.from({ length: 500 }, (_, index) => `${word} ${index}`), 'last'].join('\n');
  const found = diffLines(lines('old'), lines('new'), 0);
  t.same([found.filter(({ kind }) => kind === 'removed').length, found.filter(({ kind }) => kind === 'added').length, found.length], [500, 500, 1_002]);
});

t.test('the parts give both texts back', async () => {
  const text = fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(text, text, (before, after) => {
      const lines = diffLines(before.join('\n'), after.join('\n'), 99);
      const of = (kinds: readonly string[]): string =>
        lines
          .filter(({ kind }) => kinds.includes(kind))
          .map((line) => line.text)
          .join('\n');
      // Equal texts are one skipped part.
      if (before.join() === after.join()) return lines.every(({ kind }) => kind === 'skipped');
      return of(['same', 'removed']) === before.join('\n') && of(['same', 'added']) === after.join('\n');
    }),
  );
});
