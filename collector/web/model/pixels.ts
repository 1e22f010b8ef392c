// Cells that are too small for shapes, painted pixel by pixel: a hundred thousand of them fit into one picture of the screen. Pure.
import { type Arrangement, type Matrix, seen } from './matrix.ts';

/** What is seen, in pixels of the screen. */
export interface PixelFrame {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
  /** Length of a cell's side; at least 1. */
  readonly cell: number;
  /** Between cells. */
  readonly gap: number;
}

/** Fills the picture, row by row of its pixels. `palette`: the colour of each verdict; the first one is the ground. */
export function paintPixels(
  picture: Uint32Array,
  { matrix, arrangement }: { readonly matrix: Matrix; readonly arrangement: Arrangement },
  { frame, palette }: { readonly frame: PixelFrame; readonly palette: Uint32Array },
): void {
  const { left, top, width, height, cell, gap } = frame;
  const ground = palette[0] as number;
  picture.fill(ground);
  const [fromRow, toRow] = seen({ scroll: top, length: height, cell, count: arrangement.rows.length });
  const [fromColumn, toColumn] = seen({ scroll: left, length: width, cell, count: arrangement.columns.length });
  const line = new Uint32Array(width);
  for (let row = fromRow; row < toRow; row++) {
    const start = (arrangement.rows[row] as number) * matrix.columns.length;
    line.fill(ground);
    for (let column = fromColumn; column < toColumn; column++) {
      const colour = palette[matrix.field[start + (arrangement.columns[column] as number)] as number] as number;
      const x = Math.round(column * cell - left);
      line.fill(colour, Math.max(0, x), Math.max(0, Math.round((column + 1) * cell - left) - gap));
    }
    const end = Math.min(height, Math.round((row + 1) * cell - top) - gap);
    for (let y = Math.max(0, Math.round(row * cell - top)); y < end; y++) picture.set(line, y * width);
  }
}

/** `#rrggbb` as a pixel of a canvas on a machine with its low byte first, as all that browsers run on are; grey for anything else. */
export function pixelOf(colour: string): number {
  const [, red, green, blue] = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(colour) ?? [];
  const [r, g, b] = red === undefined ? [128, 128, 128] : [red, green as string, blue as string].map((part) => Number.parseInt(part, 16));
  return ((255 << 24) | ((b as number) << 16) | ((g as number) << 8) | (r as number)) >>> 0;
}
