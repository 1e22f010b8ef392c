// Nodes × NodePorts as a field of bytes, its order, and what of it stands where on the screen. Pure.
import type { Protocol } from '../../../shared/model/fact.ts';
import type { Cell, Node } from '../../api/client.types.ts';

/**
 * What clients meet at a cell, from nothing to worst: the node is not asked to serve the NodePort; it answers; it does not, by design; it differs, but for less than the
 * grace period; it answers and something is amiss; nobody knows; refused; told that it is unreachable; silence.
 */
export const verdicts = ['none', 'ok', 'by-design', 'pending', 'warning', 'unknown', 'refused', 'unreachable', 'timeout'] as const;
export type MatrixVerdict = (typeof verdicts)[number];
/** The letter of each in the rows of the API, in the same order. */
const letters = '-odpw?rxt';

export interface Column {
  readonly port: number;
  readonly protocol: Protocol;
  /** `namespace/name:port`. */
  readonly service: string;
}

export interface Matrix {
  readonly nodes: readonly string[];
  readonly agents: readonly Agent[];
  readonly columns: readonly Column[];
  /** The column of each place of a packed row: both families of a NodePort share one. */
  readonly places: readonly number[];
  /** Index into `verdicts`, node by node: `field[node * columns.length + column]`. */
  readonly field: Uint8Array;
}

/** One node of a matrix as the API gives it: runs of equal letters are counted (`o998t2`). */
export interface PackedRow {
  readonly node: string;
  readonly agent: Agent;
  readonly codes: string;
}

/** Whether the agent of a node speaks, has spoken, or never did. */
export type Agent = 'connected' | 'disconnected' | 'never';

/** A matrix as the API gives it: a row for each node, and a column for each family of a NodePort. */
export interface PackedMatrix {
  readonly columns: readonly (Column & { readonly family: 4 | 6 })[];
  readonly rows: readonly PackedRow[];
}

/** Unpacks a matrix; of both families of a NodePort the worse counts. What is no known letter is taken for unknown. */
export function matrixOf({ columns, rows: unsorted }: PackedMatrix): Matrix {
  const rows = unsorted.toSorted((a, b) => byName(a.node, b.node));
  const distinct = new Map<string, { readonly index: number; readonly column: Column }>();
  const places = columns.map(({ port, protocol, service }) => {
    const key = `${port}/${protocol}`;
    const found = distinct.get(key) ?? { index: distinct.size, column: { port, protocol, service } };
    distinct.set(key, found);
    return found.index;
  });
  const field = new Uint8Array(rows.length * distinct.size);
  for (const [row, { codes }] of rows.entries()) unpack(codes, { field, start: row * distinct.size, places });
  return {
    nodes: rows.map(({ node }) => node),
    agents: rows.map(({ agent }) => agent),
    columns: [...distinct.values()].map(({ column }) => column),
    places,
    field,
  };
}

/** The matrix with newer rows. The field is written in place, as a copy of millions of cells for one row would be felt; the matrix is another object. */
export function withRows(matrix: Matrix, rows: readonly PackedRow[]): Matrix {
  const { nodes, columns, places, field } = matrix;
  const at = new Map(nodes.map((node, index) => [node, index]));
  const agents = [...matrix.agents];
  for (const { node, agent, codes } of rows) {
    const row = at.get(node);
    if (row === undefined) continue;
    agents[row] = agent;
    field.fill(0, row * columns.length, (row + 1) * columns.length);
    unpack(codes, { field, start: row * columns.length, places });
  }
  return { ...matrix, agents };
}

function unpack(codes: string, { field, start, places }: { readonly field: Uint8Array; readonly start: number; readonly places: readonly number[] }): void {
  let at = 0;
  for (const [, letter = '?', count] of codes.matchAll(/(\D)(\d*)/g)) {
    const known = letters.indexOf(letter);
    const code = known < 0 ? letters.indexOf('?') : known;
    for (const end = Math.min(places.length, at + Number(count || 1)); at < end; at++) {
      const place = start + (places[at] as number);
      if (code > (field[place] as number)) field[place] = code;
    }
  }
}

/** The verdict of a cell of the list. */
export function verdictOf({ state, symptom }: Pick<Cell, 'state' | 'symptom'>): MatrixVerdict {
  if (state !== 'fault') return state;
  return symptom === 'ok' ? 'warning' : symptom;
}

/** `node2` before `node10`. */
export const byName = new Intl.Collator('en', { numeric: true }).compare;

export const verdictAt = ({ columns, field }: Matrix, node: number, column: number): MatrixVerdict =>
  verdicts[field[node * columns.length + column] ?? 0] ?? 'none';

/** How many cells have each verdict. */
export function countVerdicts({ field }: Pick<Matrix, 'field'>): Readonly<Record<MatrixVerdict, number>> {
  const counts = new Uint32Array(verdicts.length);
  for (const code of field) counts[code] = (counts[code] as number) + 1;
  return Object.fromEntries(verdicts.map((verdict, code) => [verdict, counts[code] as number])) as Record<MatrixVerdict, number>;
}

/** The same in the words of the lists: what clients are shut out of, in whatever way, is a fault. */
export function countStates(counts: Readonly<Record<MatrixVerdict, number>>): Node['nodePorts'] {
  const { ok, pending, unknown, warning, refused, unreachable, timeout } = counts;
  return { ok, pending, unknown, 'by-design': counts['by-design'], fault: warning + refused + unreachable + timeout };
}

/** Nodes that have cells of a verdict, with how many. */
export function nodesWith({ nodes, columns, field }: Matrix, verdict: MatrixVerdict): { readonly node: string; readonly count: number }[] {
  const code = verdicts.indexOf(verdict);
  const counts = new Map<number, number>();
  for (let at = field.indexOf(code); at >= 0; at = field.indexOf(code, at + 1)) {
    const row = Math.floor(at / columns.length);
    counts.set(row, (counts.get(row) ?? 0) + 1);
  }
  return [...counts].map(([row, count]) => ({ node: nodes[row] as string, count }));
}

/** The first cells of the given verdicts, in their order. */
export function worstCells(matrix: Matrix, wanted: readonly MatrixVerdict[], most: number) {
  const { nodes, columns, field } = matrix;
  const found: { readonly node: string; readonly column: Column; readonly verdict: MatrixVerdict }[] = [];
  for (const verdict of wanted) {
    const code = verdicts.indexOf(verdict);
    for (let at = field.indexOf(code); at >= 0 && found.length < most; at = field.indexOf(code, at + 1))
      found.push({ node: nodes[Math.floor(at / columns.length)] as string, column: columns[at % columns.length] as Column, verdict });
  }
  return found;
}

export interface Arranging {
  /** `name`: nodes by name and NodePorts by number. `worst`: rows and columns with most that is amiss first. */
  readonly order: 'name' | 'worst';
  /** `trouble`: only rows and columns in which something is amiss. */
  readonly only: 'all' | 'trouble';
  /** Text that a node's name, or a NodePort's number or Service, must hold; empty: all. */
  readonly text: string;
}

/** Rows and columns that are shown, in order, as indices of the matrix. */
export interface Arrangement {
  readonly rows: Uint32Array;
  readonly columns: Uint32Array;
}

export function arrange(matrix: Matrix, { order, only, text }: Arranging): Arrangement {
  const scores = scoresOf(matrix);
  const sought = text.trim().toLowerCase();
  const rowFits = (row: number): boolean => (matrix.nodes[row] as string).toLowerCase().includes(sought);
  const columnFits = (column: number): boolean =>
    columnText(matrix.columns[column] as Column)
      .toLowerCase()
      .includes(sought);
  const [rows, columns] = [indices(matrix.nodes.length), indices(matrix.columns.length)];
  // A text that names nodes leaves the columns whole, and the other way round.
  const [rowsNamed, columnsNamed] = [rows.filter(rowFits), columns.filter(columnFits)];
  const found = rowsNamed.length === 0 && columnsNamed.length > 0 ? rows : rowsNamed;
  const foundColumns = columnsNamed.length === 0 && rowsNamed.length > 0 ? columns : columnsNamed;
  return { rows: chosen(found, scores.rows, { order, only }), columns: chosen(foundColumns, scores.columns, { order, only }) };
}

/** `30080/tcp shop/web:http`. */
export const columnText = ({ port, protocol, service }: Column): string => `${port}/${protocol} ${service}`;

const indices = (length: number): Uint32Array => Uint32Array.from({ length }, (_, index) => index);

function chosen(found: Uint32Array, scores: Float64Array, { order, only }: Pick<Arranging, 'order' | 'only'>): Uint32Array {
  const kept = only === 'all' ? found : found.filter((index) => (scores[index] as number) > 0);
  return order === 'name' ? kept : kept.toSorted((a, b) => (scores[b] as number) - (scores[a] as number) || a - b);
}

/** What is amiss in each row and column; one fault outweighs any number of lesser things. */
function scoresOf({ nodes, columns, field }: Matrix): { readonly rows: Float64Array; readonly columns: Float64Array } {
  const scores = { rows: new Float64Array(nodes.length), columns: new Float64Array(columns.length) };
  for (let row = 0, at = 0; row < nodes.length; row++)
    for (let column = 0; column < columns.length; column++, at++) {
      const score = amiss[field[at] as number] as number;
      if (score === 0) continue;
      scores.rows[row] = (scores.rows[row] as number) + score;
      scores.columns[column] = (scores.columns[column] as number) + score;
    }
  return scores;
}

const amiss = [0, 0, 0, 1e4, 1e4, 1, 1e8, 1e8, 1e8] as const;

/** First index and end of what is seen of a line of cells, cells that are cut at the edge included. */
export function seen(line: { readonly scroll: number; readonly length: number; readonly cell: number; readonly count: number }): readonly [number, number] {
  const { scroll, length, cell, count } = line;
  const from = Math.min(count, Math.max(0, Math.floor(scroll / cell)));
  return [from, Math.min(count, Math.max(from, Math.ceil((scroll + length) / cell)))];
}

/** The worst verdict of the cells that fall on each pixel of a small picture of everything, row by row. */
export function overview(matrix: Matrix, { rows, columns }: Arrangement, size: { readonly width: number; readonly height: number }): Uint8Array {
  const { width, height } = size;
  const picture = new Uint8Array(width * height);
  const xs = Uint32Array.from(columns, (_, at) => Math.floor((at * width) / columns.length));
  for (let row = 0; row < rows.length; row++) {
    const line = Math.floor((row * height) / rows.length) * width;
    const start = (rows[row] as number) * matrix.columns.length;
    for (let at = 0; at < columns.length; at++) {
      const pixel = line + (xs[at] as number);
      const code = matrix.field[start + (columns[at] as number)] as number;
      if (code > (picture[pixel] as number)) picture[pixel] = code;
    }
  }
  return picture;
}

/** A place in an arrangement, by row and column as they are shown. */
export interface Place {
  readonly row: number;
  readonly column: number;
}

/** Where a key leads from a place; undefined for keys that lead nowhere. `page`: rows that are seen at once. */
export function moved(
  { row, column }: Place,
  key: string,
  { rows, columns, page }: { readonly rows: number; readonly columns: number; readonly page: number },
) {
  const to = (r: number, c: number): Place => ({ row: Math.min(rows - 1, Math.max(0, r)), column: Math.min(columns - 1, Math.max(0, c)) });
  switch (key) {
    case 'ArrowUp':
      return to(row - 1, column);
    case 'ArrowDown':
      return to(row + 1, column);
    case 'ArrowLeft':
      return to(row, column - 1);
    case 'ArrowRight':
      return to(row, column + 1);
    case 'PageUp':
      return to(row - page, column);
    case 'PageDown':
      return to(row + page, column);
    case 'Home':
      return to(row, 0);
    case 'End':
      return to(row, columns - 1);
    default:
      return undefined;
  }
}

/** The next cell with a fault after a place, row by row and round again; undefined without any. */
export function nextFault(matrix: Matrix, { rows, columns }: Arrangement, from: Place): Place | undefined {
  const total = rows.length * columns.length;
  const fault = verdicts.indexOf('refused');
  for (let step = 1; step <= total; step++) {
    const at = (from.row * columns.length + from.column + step) % total;
    const [row, column] = [Math.floor(at / columns.length), at % columns.length];
    if ((matrix.field[(rows[row] as number) * matrix.columns.length + (columns[column] as number)] as number) >= fault) return { row, column };
  }
  return undefined;
}
