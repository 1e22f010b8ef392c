// Paints what is seen of the matrix: cells from stamps that are made once for each size and theme, names at the left and the top.
import { type Arrangement, type Column, type Matrix, type MatrixVerdict, type Place, seen, verdicts } from '../model/matrix.ts';
import { type PixelFrame, paintPixels, pixelOf } from '../model/pixels.ts';
import { shapes } from './marks.tsx';

/** What is seen: the part of the scroller that holds cells, and how far it is scrolled, in pixels. */
export interface Frame {
  readonly left: number;
  readonly top: number;
  /** Of the part that holds cells. */
  readonly width: number;
  readonly height: number;
  readonly cell: number;
  readonly head: Head;
}

/** The room for names. */
interface Head {
  readonly left: number;
  readonly top: number;
}

const headOf = (cell: number, width: number): Head => ({ left: Math.min(leftMax, Math.max(72, width * 0.22)), top: topOf(cell) });
const leftMax = 150;
/** Large cells have room for the Service beside the number. */
const topOf = (cell: number): number => (cell >= servedFrom ? 132 : cell >= namedFrom ? 64 : 18);
const servedFrom = 20;
/** From this size of a cell on, each row and column has its name. */
const namedFrom = 12;
/** From this size on cells have shapes; smaller ones only colours. */
const shapedFrom = 12;

/** The size of everything, for the scroll bars. Browsers bound the length of an element: no cluster comes near. */
export const sizeOf = ({ rows, columns }: Arrangement, cell: number) => ({
  width: `${columns.length * cell + leftMax + (cell >= namedFrom ? 60 : 0)}px`,
  height: `${rows.length * cell + topOf(cell) + 12}px`,
});

/** The cell under a pointer; undefined over names and beside the cells. */
export function cellAt(pointed: {
  readonly event: { readonly clientX: number; readonly clientY: number };
  readonly box: { readonly left: number; readonly top: number };
  readonly frame: Frame;
  readonly arrangement: Arrangement;
}): Place | undefined {
  const { event, box, frame, arrangement } = pointed;
  const [x, y] = [event.clientX - box.left - frame.head.left, event.clientY - box.top - frame.head.top];
  if (x < 0 || y < 0) return undefined;
  const place = { row: Math.floor((y + frame.top) / frame.cell), column: Math.floor((x + frame.left) / frame.cell) };
  return place.row < arrangement.rows.length && place.column < arrangement.columns.length ? place : undefined;
}

/** How the scroller must stand so that a cell is seen. */
export function scrolledTo({ row, column }: Place, { left, top, width, height, cell }: Frame): { readonly left: number; readonly top: number } {
  const along = (at: number, scroll: number, length: number): number =>
    at * cell < scroll ? at * cell : (at + 1) * cell > scroll + length ? (at + 1) * cell - length : scroll;
  return { left: along(column, left, width), top: along(row, top, height) };
}

interface Scene {
  readonly matrix: Matrix;
  readonly arrangement: Arrangement;
  readonly focus: Place;
  readonly hovered: Place | undefined;
  readonly cell: number;
  readonly root: HTMLElement;
}

/** How it is seen. */
interface Seeing {
  readonly frame: Frame;
  readonly colours: Colours;
  /** Pixels of the screen for one of the page. */
  readonly ratio: number;
}

interface Colours {
  readonly ink: string;
  readonly faint: string;
  readonly ground: string;
  readonly edge: string;
  readonly accent: string;
  readonly sign: string;
  readonly verdicts: Readonly<Record<MatrixVerdict, string>>;
}

export class MatrixPainter {
  readonly #canvas: HTMLCanvasElement;
  readonly #context: CanvasRenderingContext2D;
  readonly #stamps = new Map<string, HTMLCanvasElement>();
  #colours: Colours | undefined;

  constructor(canvas: HTMLCanvasElement) {
    this.#canvas = canvas;
    const context = canvas.getContext('2d', { alpha: false });
    if (context === null) throw new Error('this browser draws no canvas');
    this.#context = context;
  }

  /** The theme is another one. */
  forgetColours(): void {
    this.#colours = undefined;
    this.#stamps.clear();
  }

  paint(scene: Scene): Frame {
    const { root, cell } = scene;
    const [width, height] = [root.clientWidth, root.clientHeight];
    const ratio = window.devicePixelRatio || 1;
    this.#fit(width, height, ratio);
    const head = headOf(cell, width);
    const frame = { left: root.scrollLeft, top: root.scrollTop, width: width - head.left, height: height - head.top, cell, head };
    const colours = (this.#colours ??= coloursOf(root));
    this.#context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.#context.fillStyle = colours.ground;
    this.#context.fillRect(0, 0, width, height);
    this.#cells(scene, { frame, colours, ratio });
    this.#names(scene, { frame, colours });
    return frame;
  }

  #fit(width: number, height: number, ratio: number): void {
    const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.#canvas.width !== wide) this.#canvas.width = wide;
    if (this.#canvas.height !== high) this.#canvas.height = high;
    this.#canvas.style.width = `${width}px`;
    this.#canvas.style.height = `${height}px`;
  }

  #cells(scene: Scene, seeing: Seeing): void {
    const { frame, colours } = seeing;
    const { cell, head, left, top, width, height } = frame;
    const context = this.#context;
    if (cell < shapedFrom) this.#small(scene, seeing);
    context.save();
    context.beginPath();
    context.rect(head.left, head.top, width, height);
    context.clip();
    if (cell >= shapedFrom) this.#shaped(scene, seeing);
    const outline = (place: Place | undefined, colour: string): void => {
      if (place === undefined) return;
      context.strokeStyle = colour;
      context.lineWidth = 2;
      context.strokeRect(head.left + place.column * cell - left + 1, head.top + place.row * cell - top + 1, Math.max(2, cell - 2), Math.max(2, cell - 2));
    };
    outline(scene.hovered, colours.faint);
    if (document.activeElement === scene.root) outline(scene.focus, colours.accent);
    context.restore();
  }

  #shaped({ matrix, arrangement }: Scene, { frame, colours, ratio }: Seeing): void {
    const { cell, head, left, top, width, height } = frame;
    const [fromRow, toRow] = seen({ scroll: top, length: height, cell, count: arrangement.rows.length });
    const [fromColumn, toColumn] = seen({ scroll: left, length: width, cell, count: arrangement.columns.length });
    const stamps = verdicts.map((verdict) => this.#stamp(verdict, { cell, ratio, colours }));
    for (let row = fromRow; row < toRow; row++) {
      const start = (arrangement.rows[row] as number) * matrix.columns.length;
      const y = head.top + row * cell - top;
      for (let column = fromColumn; column < toColumn; column++) {
        const code = matrix.field[start + (arrangement.columns[column] as number)] as number;
        if (code !== 0) this.#context.drawImage(stamps[code] as HTMLCanvasElement, head.left + column * cell - left, y, cell, cell);
      }
    }
  }

  #small(scene: Scene, { frame, colours, ratio }: Seeing): void {
    const { cell, head, left, top } = frame;
    const [width, height] = [Math.max(1, Math.round(frame.width * ratio)), Math.max(1, Math.round(frame.height * ratio))];
    const image = this.#context.createImageData(width, height);
    const pixels: PixelFrame = {
      left: left * ratio,
      top: top * ratio,
      width,
      height,
      cell: cell * ratio,
      gap: cell >= 5 ? Math.max(1, Math.round((cell * ratio) / 8)) : 0,
    };
    const palette = Uint32Array.from(verdicts, (verdict, code) => pixelOf(code === 0 ? colours.ground : colours.verdicts[verdict]));
    paintPixels(new Uint32Array(image.data.buffer), scene, { frame: pixels, palette });
    this.#context.putImageData(image, Math.round(head.left * ratio), Math.round(head.top * ratio));
  }

  /** A cell of each verdict is drawn once, then stamped. */
  #stamp(verdict: MatrixVerdict, { cell, ratio, colours }: { readonly cell: number; readonly ratio: number; readonly colours: Colours }): HTMLCanvasElement {
    const key = `${verdict} ${cell} ${ratio}`;
    const made = this.#stamps.get(key);
    if (made !== undefined) return made;
    const stamp = document.createElement('canvas');
    stamp.width = stamp.height = Math.round(cell * ratio);
    const context = stamp.getContext('2d');
    if (context !== null) drawStamp(context, verdict, { pixels: stamp.width, colours });
    this.#stamps.set(key, stamp);
    return stamp;
  }

  #names({ matrix, arrangement, hovered, focus }: Scene, { frame, colours }: { readonly frame: Frame; readonly colours: Colours }): void {
    const context = this.#context;
    const { cell, head } = frame;
    context.textBaseline = 'middle';
    const marked = hovered ?? focus;
    const font = (strong: boolean): string => `${strong ? '600 ' : ''}11.5px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace`;
    const [fromRow, toRow] = seen({ scroll: frame.top, length: frame.height, cell, count: arrangement.rows.length });
    context.textAlign = 'right';
    for (let row = fromRow; row < toRow; row++) {
      if (!isNamed(row, { cell, marked: marked.row })) continue;
      const y = head.top + (row + 0.5) * cell - frame.top;
      if (y < head.top + 2) continue;
      this.#name(shortened(matrix.nodes[arrangement.rows[row] as number] ?? '', head.left - 14), {
        x: head.left - 8,
        y,
        colours,
        strong: row === marked.row,
        font,
      });
    }
    const [fromColumn, toColumn] = seen({ scroll: frame.left, length: frame.width, cell, count: arrangement.columns.length });
    context.textAlign = 'left';
    for (let column = fromColumn; column < toColumn; column++) {
      if (!isNamed(column, { cell, marked: marked.column })) continue;
      const x = head.left + (column + 0.5) * cell - frame.left;
      if (x < head.left) continue;
      context.save();
      context.translate(x, head.top - 7);
      context.rotate(cell >= namedFrom ? -Math.PI / 3 : 0);
      this.#name(portText(matrix.columns[arrangement.columns[column] as number], cell), { x: 0, y: 0, colours, strong: column === marked.column, font });
      context.restore();
    }
  }

  #name(
    text: string,
    {
      x,
      y,
      colours,
      strong,
      font,
    }: { readonly x: number; readonly y: number; readonly colours: Colours; readonly strong: boolean; readonly font: (strong: boolean) => string },
  ): void {
    this.#context.font = font(strong);
    this.#context.fillStyle = strong ? colours.ink : colours.faint;
    this.#context.fillText(text, x, y);
  }
}

const isNamed = (index: number, { cell, marked }: { readonly cell: number; readonly marked: number }): boolean => cell >= namedFrom || index === marked;

/** Names of nodes differ at their ends more often than at their beginnings. */
function shortened(name: string, pixels: number): string {
  const characters = Math.floor(pixels / 6.95);
  return name.length <= characters ? name : `…${name.slice(name.length - characters + 1)}`;
}

function portText(column: Column | undefined, cell: number): string {
  if (column === undefined) return '';
  const number = `${column.port}${column.protocol === 'tcp' ? '' : `/${column.protocol}`}`;
  const service = column.service.split(':')[0] ?? '';
  const text = cell >= servedFrom ? `${number} ${service}` : number;
  return text.length <= textMax ? text : `${text.slice(0, textMax - 1)}…`;
}

/** Characters that fit above a column. */
const textMax = 20;

function drawStamp(
  context: CanvasRenderingContext2D,
  verdict: MatrixVerdict,
  { pixels, colours }: { readonly pixels: number; readonly colours: Colours },
): void {
  context.fillStyle = colours.verdicts[verdict];
  const scale = (pixels * 0.78) / 16;
  context.translate(pixels * 0.11, pixels * 0.11);
  context.scale(scale, scale);
  context.fill(new Path2D(shapes[verdict].outline), 'evenodd');
  context.strokeStyle = colours.sign;
  context.lineWidth = 2;
  context.lineCap = 'round';
  context.stroke(new Path2D(shapes[verdict].sign));
}

function coloursOf(root: HTMLElement): Colours {
  const style = getComputedStyle(root);
  const colour = (name: string): string => style.getPropertyValue(name).trim();
  return {
    ink: colour('--ink'),
    faint: colour('--ink-2'),
    ground: colour('--surface'),
    edge: colour('--edge'),
    accent: colour('--accent'),
    sign: colour('--surface'),
    verdicts: Object.fromEntries(verdicts.map((verdict) => [verdict, colour(`--v-${verdict}`)])) as Colours['verdicts'],
  };
}
