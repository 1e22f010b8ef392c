// Text of a foreign hand, made fit to be shown.
import fc from 'fast-check';
import t from 'tap';
import { columnsOf, cutTo, visible } from '../../../shared/netfilter/visible.ts';

t.test('what is not seen is written out', async (t) => {
  for (const [text, shown] of [
    ['-p tcp --comment "shop/web → 10.0.0.1"', '-p tcp --comment "shop/web → 10.0.0.1"'],
    ['\u001b[31mred', '\\u{1b}[31mred'],
    ['a\nb\tc\0', 'a\\u{a}b\\u{9}c\\u{0}'],
    ['evil\u202egnp.exe', 'evil\\u{202e}gnp.exe'],
    ['a\u200bb\ufeff', 'a\\u{200b}b\\u{feff}'],
    ['\ud800', '\\u{d800}'],
    ['日本語 עברית é', '日本語 עברית é'],
    ['e\u0301\u0301\u0301\u0301', 'e\u0301\u0301\\u{301}\\u{301}'],
    ['no\u00a0break', 'no\\u{a0}break'],
  ] as const)
    t.equal(visible(text), shown);
});

t.test('whatever the text, what is shown holds nothing unseen, and shows the same again', async () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (text) => {
      const shown = visible(text);
      return !/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(shown) && visible(shown) === shown;
    }),
  );
});

t.test('columns', async (t) => {
  for (const [text, columns] of [
    ['', 0],
    ['abc', 3],
    ['日本', 4],
    ['e\u0301', 1],
    ['😀', 2],
    ['→', 1],
  ] as const)
    t.equal(columnsOf(text), columns, text);
  t.equal(cutTo(3, 'abc'), 'abc');
  t.equal(cutTo(2, 'abc'), 'a…');
  t.equal(cutTo(4, '日本語'), '日…', 'half of a character is none');
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 60 }), fc.integer({ min: 1, max: 40 }), (text, columns) => columnsOf(cutTo(columns, text)) <= columns),
  );
});
