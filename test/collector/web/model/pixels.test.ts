// Cells too small for shapes: each pixel has the colour of the cell it belongs to.
import fc from 'fast-check';
import t from 'tap';
import { matrixOf } from '../../../../collector/web/model/matrix.ts';
import { paintPixels, pixelOf } from '../../../../collector/web/model/pixels.ts';

const [rows, columns] = [7, 9];
const letters = '-odpw?rxt';
const codes = Array.from({ length: rows }, (_, row) => Array.from({ length: columns }, (__, column) => letters[(row * 5 + column) % 9]).join(''));
const matrix = matrixOf({
  columns: Array.from({ length: columns }, (_, at) => ({ port: 30_000 + at, protocol: 'tcp', family: 4, service: 's' })),
  rows: codes.map((text, at) => ({ node: `node${at}`, agent: 'connected', codes: text })),
});
const arrangement = { rows: Uint32Array.from({ length: rows }, (_, at) => at), columns: Uint32Array.from({ length: columns }, (_, at) => at) };
const palette = Uint32Array.from({ length: 9 }, (_, code) => 100 + code);

t.test('each pixel is of the cell that stands there, wherever it is scrolled', async () => {
  const side = fc.integer({ min: 1, max: 40 });
  const frames = fc.record({ cell: fc.integer({ min: 1, max: 6 }), width: side, height: side, left: fc.nat(60), top: fc.nat(60) });
  fc.assert(
    fc.property(frames, ({ cell, width, height, left, top }) => {
      const picture = new Uint32Array(width * height);
      paintPixels(picture, { matrix, arrangement }, { frame: { left, top, width, height, cell, gap: 0 }, palette });
      return picture.every((pixel, at) => {
        const [row, column] = [Math.floor((Math.floor(at / width) + top) / cell), Math.floor(((at % width) + left) / cell)];
        const letter = row < rows && column < columns ? codes[row]?.[column] : '-';
        return pixel === 100 + letters.indexOf(letter as string);
      });
    }),
  );
});

t.test('the gap between cells is ground', async (t) => {
  const picture = new Uint32Array(4 * 4);
  paintPixels(picture, { matrix, arrangement }, { frame: { left: 4, top: 0, width: 4, height: 4, cell: 4, gap: 1 }, palette });
  t.same([...picture], [101, 101, 101, 100, 101, 101, 101, 100, 101, 101, 101, 100, 100, 100, 100, 100]);
});

t.test('a colour as a pixel', async (t) => {
  t.equal(pixelOf('#010203').toString(16), 'ff030201');
  t.equal(pixelOf('rebeccapurple').toString(16), 'ff808080');
});
