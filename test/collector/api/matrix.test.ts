// Rows of codes: what is packed comes back, counts agree, columns find their places.
import fc from 'fast-check';
import t from 'tap';
import { byColumn, type Code, codeOf, codes, countCodes, type MatrixColumn, packCodes, reorder, unpackCodes } from '../../../collector/api/matrix.ts';

const plain = fc.array(fc.constantFrom<Code>(...(Object.keys(codes) as Code[]), '-'), { maxLength: 300 }).map((list) => list.join(''));

t.test('unpack(pack(x)) = x, and counts are those of the plain row', async (t) => {
  await fc.assert(
    fc.property(plain, (row) => {
      const packed = packCodes(row);
      const counts = countCodes(packed);
      const sum = Object.values(counts).reduce((all, each) => all + each, 0);
      return unpackCodes(packed) === row && packed.length <= row.length + 1 && sum === row.replaceAll('-', '').length;
    }),
  );
  t.equal(packCodes(`${'o'.repeat(998)}tr`), 'o998tr');
  t.equal(unpackCodes('o999999999', 5), 'ooooo', 'a row from elsewhere does not fill the memory');
});

t.test('a row in the order of other columns', async (t) => {
  const column = (port: number, family: 4 | 6 = 4): MatrixColumn => ({ port, protocol: 'tcp', family, service: 'shop/web' });
  t.equal(reorder('otd', [column(1), column(2), column(3)], [column(3), column(1), column(9)]), 'do-');
  t.strictSame([column(2), column(1, 6), column(1)].sort(byColumn), [column(1), column(1, 6), column(2)]);
});

t.test('every code means one state and symptom', async (t) => {
  for (const [code, { state, symptom }] of Object.entries(codes)) t.equal(codeOf(state, symptom), code);
  t.equal(codeOf('fault', 'unknown'), 'w', 'a fault whose symptom is not known is not told as a time-out');
});
