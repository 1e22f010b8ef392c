// All of the matrix in one small picture, the worst of what falls on each pixel, with a frame around what is seen; a click goes there.
import { useEffect, useRef } from 'preact/hooks';
import { type Arrangement, type Matrix, overview, verdicts } from '../model/matrix.ts';
import { pixelOf } from '../model/pixels.ts';
import type { Frame } from './matrix-paint.ts';

interface OverviewProps {
  readonly matrix: Matrix;
  readonly arrangement: Arrangement;
  readonly frame: Frame | undefined;
  readonly scroller: { readonly current: HTMLDivElement | null };
}

/** Pixels of the picture at most. */
const most = { width: 320, height: 120 } as const;

export function MatrixOverview({ matrix, arrangement, frame, scroller }: OverviewProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { rows, columns } = arrangement;
  const size = { width: Math.min(most.width, columns.length), height: Math.min(most.height, rows.length) };
  useEffect(() => {
    if (canvas.current !== null) paint(canvas.current, overview(matrix, arrangement, size), size);
  }, [matrix, arrangement, document.documentElement.dataset['theme']]);
  if (frame === undefined || (rows.length * frame.cell <= frame.height && columns.length * frame.cell <= frame.width)) return null;
  const go = (event: MouseEvent & { readonly currentTarget: HTMLElement }): void => {
    const box = event.currentTarget.getBoundingClientRect();
    const share = { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
    scroller.current?.scrollTo({ left: share.x * columns.length * frame.cell - frame.width / 2, top: share.y * rows.length * frame.cell - frame.height / 2 });
  };
  const part = (from: number, length: number, whole: number) => ({ from: `${(100 * from) / whole}%`, length: `${Math.min(100, (100 * length) / whole)}%` });
  const [across, down] = [part(frame.left, frame.width, columns.length * frame.cell), part(frame.top, frame.height, rows.length * frame.cell)];
  return (
    <div class="matrix-overview" aria-hidden="true" onClick={go}>
      <canvas ref={canvas} width={size.width} height={size.height} />
      <span class="seen" style={{ left: across.from, width: across.length, top: down.from, height: down.length }} />
    </div>
  );
}

function paint(canvas: HTMLCanvasElement, picture: Uint8Array, { width, height }: { readonly width: number; readonly height: number }): void {
  const context = canvas.getContext('2d');
  if (context === null || width === 0 || height === 0) return;
  const style = getComputedStyle(canvas);
  const palette = Uint32Array.from(verdicts, (verdict, code) => (code === 0 ? 0 : pixelOf(style.getPropertyValue(`--v-${verdict}`).trim())));
  const image = context.createImageData(width, height);
  new Uint32Array(image.data.buffer).set(Uint32Array.from(picture, (code) => palette[code] as number));
  context.putImageData(image, 0, 0);
}
