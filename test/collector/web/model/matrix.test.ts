// The matrix of nodes and NodePorts: unpacking, arranging, what is seen, and moving by keys.
import fc from 'fast-check';
import t from 'tap';
import { packCodes } from '../../../../collector/api/matrix.ts';
import {
  arrange,
  countStates,
  countVerdicts,
  type Matrix,
  matrixOf,
  moved,
  nextFault,
  nodesWith,
  overview,
  seen,
  verdictAt,
  verdictOf,
  verdicts,
  withRows,
  worstCells,
} from '../../../../collector/web/model/matrix.ts';

const column = (port: number, family: 4 | 6 = 4) => ({ port, protocol: 'tcp' as const, family, service: `shop/s${port}:http` });
const packed = (rows: Readonly<Record<string, string>>, columns = [30080, 30081, 30082].map((port) => column(port))): Matrix =>
  matrixOf({ columns, rows: Object.entries(rows).map(([node, codes]) => ({ node, agent: 'connected', codes })) });
const shown = (matrix: Matrix): Record<string, string> =>
  Object.fromEntries(matrix.nodes.map((node, row) => [node, matrix.columns.map((_, at) => verdictAt(matrix, row, at)).join(' ')]));
const all = { order: 'name', only: 'all', text: '' } as const;
const names = (matrix: Matrix, rows: Uint32Array): string[] => [...rows].map((row) => matrix.nodes[row] as string);

t.test('runs of letters become cells, nodes in the order of their numbers', async (t) => {
  t.same(shown(packed({ node10: 'o2t', node2: 'd-?' })), { node2: 'by-design none unknown', node10: 'ok ok timeout' });
  t.same(shown(packed({ node1: 'xrw' })), { node1: 'unreachable refused warning' });
});

t.test('what is no known letter is unknown, and what is too much is left out', async (t) => {
  t.same(shown(packed({ node1: 'zo99' })), { node1: 'unknown ok ok' });
  t.same(shown(packed({ node1: 'o' })), { node1: 'ok none none' });
});

t.test('of both families of a NodePort the worse counts', async (t) => {
  const matrix = packed({ node1: 'oto' }, [column(30080), column(30080, 6), column(30081)]);
  t.same(
    matrix.columns.map(({ port }) => port),
    [30080, 30081],
  );
  t.same(shown(matrix), { node1: 'timeout ok' });
});

t.test('what the collector packs is unpacked cell by cell', async () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...'-odpw?rxt'), { minLength: 1, maxLength: 200 }), (letters) => {
      const columns = letters.map((_, index) => column(30_000 + index));
      const matrix = packed({ node1: packCodes(letters.join('')) }, columns);
      return letters.every((letter, at) => '-odpw?rxt'.indexOf(letter) === matrix.field[at]);
    }),
  );
});

t.test('a newer row takes the place of the one before', async (t) => {
  const before = packed({ node1: 'o3', node2: 't3' });
  const after = withRows(before, [
    { node: 'node2', agent: 'disconnected', codes: 'o2d' },
    { node: 'node9', agent: 'connected', codes: 't3' },
  ]);
  t.not(after, before, 'another object, so that it is drawn anew');
  t.same(shown(after), { node1: 'ok ok ok', node2: 'ok ok by-design' });
  t.same(after.agents, ['connected', 'disconnected']);
});

t.test('rows and columns are arranged', async (t) => {
  const matrix = packed({ node1: 'o3', node2: 'o2t', node3: 'po2' });
  const worst = arrange(matrix, { ...all, order: 'worst' });
  t.same(names(matrix, worst.rows), ['node2', 'node3', 'node1']);
  t.same([...worst.columns], [2, 0, 1]);
  const trouble = arrange(matrix, { ...all, only: 'trouble' });
  t.same(names(matrix, trouble.rows), ['node2', 'node3']);
  t.same([...trouble.columns], [0, 2]);
  const named = arrange(matrix, { ...all, text: ' NODE3 ' });
  t.same([names(matrix, named.rows), named.columns.length], [['node3'], 3], 'the name of a node leaves the columns whole');
  const port = arrange(matrix, { ...all, text: '30081' });
  t.same([port.rows.length, [...port.columns]], [3, [1]]);
  t.same([arrange(matrix, { ...all, text: 'nothing' }).rows.length, arrange(matrix, { ...all, text: 'nothing' }).columns.length], [0, 0]);
});

t.test('what is by design or answers is no trouble', async (t) => {
  const { rows, columns } = arrange(packed({ node1: 'od-' }), { ...all, only: 'trouble' });
  t.same([rows.length, columns.length], [0, 0]);
});

t.test('only what is seen is drawn', async (t) => {
  t.same(seen({ scroll: 0, length: 100, cell: 20, count: 1_000 }), [0, 5]);
  t.same(seen({ scroll: 30, length: 100, cell: 20, count: 1_000 }), [1, 7]);
  t.same(seen({ scroll: 0, length: 100, cell: 20, count: 3 }), [0, 3]);
  t.same(seen({ scroll: 990, length: 100, cell: 20, count: 10 }), [10, 10]);
});

t.test('an overview keeps every fault, however small it is', async (t) => {
  const columns = Array.from({ length: 1_000 }, (_, index) => column(30_000 + index));
  const rows = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`node${index}`, index === 333 ? 'o777to222' : 'o1000']));
  const matrix = packed(rows, columns);
  const size = { width: 100, height: 50 };
  const picture = overview(matrix, arrange(matrix, all), size);
  const worst = verdicts.indexOf('timeout');
  t.same([picture.indexOf(worst), picture.filter((code) => code === worst).length], [33 * 100 + 77, 1]);
  t.equal(picture.filter((code) => code === verdicts.indexOf('ok')).length, 4_999);
});

t.test('keys lead from cell to cell and stay within', async (t) => {
  const size = { rows: 10, columns: 5, page: 4 };
  t.same(moved({ row: 0, column: 0 }, 'ArrowDown', size), { row: 1, column: 0 });
  t.same(moved({ row: 0, column: 0 }, 'ArrowUp', size), { row: 0, column: 0 });
  t.same(moved({ row: 8, column: 2 }, 'PageDown', size), { row: 9, column: 2 });
  t.same(moved({ row: 8, column: 2 }, 'Home', size), { row: 8, column: 0 });
  t.same(moved({ row: 8, column: 2 }, 'End', size), { row: 8, column: 4 });
  t.equal(moved({ row: 8, column: 2 }, 'x', size), undefined);
});

t.test('the next fault is found, round the end too', async (t) => {
  const matrix = packed({ node1: 'oto', node2: 'o2r', node3: '?3' });
  const arrangement = arrange(matrix, all);
  t.same(nextFault(matrix, arrangement, { row: 0, column: 1 }), { row: 1, column: 2 });
  t.same(nextFault(matrix, arrangement, { row: 1, column: 2 }), { row: 0, column: 1 });
  t.equal(nextFault(packed({ node1: 'o3' }), { rows: Uint32Array.of(0), columns: Uint32Array.of(0, 1, 2) }, { row: 0, column: 0 }), undefined);
});

t.test('cells are counted and listed, worst first', async (t) => {
  const matrix = packed({ node1: 'ot?', node2: 'o2t' });
  t.match(countVerdicts(matrix), { ok: 3, timeout: 2, unknown: 1, none: 0 });
  t.same(countStates(countVerdicts(matrix)), { ok: 3, fault: 2, unknown: 1, pending: 0, 'by-design': 0 });
  t.same(nodesWith(matrix, 'unknown'), [{ node: 'node1', count: 1 }]);
  t.same(
    worstCells(matrix, ['timeout', 'unknown'], 2).map(({ node, column: { port } }) => `${node} ${port}`),
    ['node1 30081', 'node2 30082'],
  );
});

t.test('a fault has the verdict that clients meet', async (t) => {
  t.equal(verdictOf({ state: 'fault', symptom: 'refused' }), 'refused');
  t.equal(verdictOf({ state: 'fault', symptom: 'ok' }), 'warning');
  t.equal(verdictOf({ state: 'by-design', symptom: 'timeout' }), 'by-design');
});
