// Draws the matrix on a canvas: only the cells that are seen, so that 5,000 nodes × 1,000 NodePorts scroll as a dozen do. Keys move, Enter opens, n goes to the next fault.
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { type Arrangement, columnText, type Matrix, moved, nextFault, type Place, verdictAt } from '../model/matrix.ts';
import { verdictTitles } from './marks.tsx';
import { MatrixOverview } from './matrix-overview.tsx';
import { cellAt, type Frame, MatrixPainter, scrolledTo, sizeOf } from './matrix-paint.ts';

interface CanvasProps {
  readonly matrix: Matrix;
  readonly arrangement: Arrangement;
  readonly focus: Place;
  readonly setFocus: (place: Place) => void;
  readonly open: (place: Place) => void;
}

export function MatrixCanvas(props: CanvasProps) {
  const { matrix, arrangement, focus, setFocus, open } = props;
  const scroller = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [cell, setCell] = useState(cellFor(arrangement));
  const [hovered, setHovered] = useState<Place | undefined>(undefined);
  const frame = usePainting({ ...props, cell, hovered, scroller, canvas });
  const id = useId();
  const press = (event: KeyboardEvent): void => {
    const size = { rows: arrangement.rows.length, columns: arrangement.columns.length, page: Math.floor((frame?.height ?? 0) / cell) };
    const to = event.key === 'n' ? nextFault(matrix, arrangement, focus) : moved(focus, event.key, size);
    if (event.key === 'Enter' || event.key === ' ') open(focus);
    else if (event.key === '+' || event.key === '-') setCell(zoomed(cell, event.key === '+' ? 1 : -1));
    else if (to === undefined) return;
    else {
      setFocus(to);
      if (scroller.current !== null && frame !== undefined) scrollTo(scroller.current, scrolledTo(to, frame));
    }
    event.preventDefault();
  };
  const pointed = (event: MouseEvent): Place | undefined =>
    frame === undefined || canvas.current === null ? undefined : cellAt({ event, box: canvas.current.getBoundingClientRect(), frame, arrangement });
  const told = hovered ?? focus;
  return (
    <div class="matrix">
      <div
        ref={scroller}
        class="matrix-scroller"
        role="grid"
        tabIndex={0}
        aria-label="Nodes by NodePorts. Arrow keys move, Enter opens the story, n goes to the next fault, plus and minus change the size"
        aria-rowcount={arrangement.rows.length}
        aria-colcount={arrangement.columns.length}
        style={{ height: `min(66vh, 760px, ${sizeOf(arrangement, cell).height} + 16px)` }}
        aria-activedescendant={`${id}-cell`}
        onKeyDown={press}
      >
        <div class="matrix-extent" style={sizeOf(arrangement, cell)} role="presentation">
          <canvas
            ref={canvas}
            aria-hidden="true"
            onMouseMove={(event) => setHovered(pointed(event))}
            onMouseLeave={() => setHovered(undefined)}
            onClick={(event) => {
              const place = pointed(event);
              if (place === undefined) return;
              setFocus(place);
              open(place);
            }}
          />
        </div>
        <div role="row" aria-rowindex={focus.row + 1} class="only-said">
          <div role="gridcell" id={`${id}-cell`} aria-colindex={focus.column + 1}>
            {cellText(matrix, arrangement, focus)}
          </div>
        </div>
      </div>
      <div class="matrix-foot">
        <output class="matrix-told">{cellText(matrix, arrangement, told)}</output>
        <span class="matrix-zoom">
          <button type="button" class="icon" aria-label="Smaller cells" onClick={() => setCell(zoomed(cell, -1))}>
            −
          </button>
          <button type="button" class="icon" aria-label="Larger cells" onClick={() => setCell(zoomed(cell, 1))}>
            +
          </button>
        </span>
      </div>
      <MatrixOverview matrix={matrix} arrangement={arrangement} frame={frame} scroller={scroller} />
    </div>
  );
}

const cells = [3, 5, 8, 12, 16, 20, 26] as const;
const zoomed = (cell: number, step: number): number => cells[Math.min(cells.length - 1, Math.max(0, cells.indexOf(cell as never) + step))] as number;

/** A few cells may be large; of thousands one wants to see many. */
const cellFor = ({ rows, columns }: Arrangement): number => (columns.length <= 24 && rows.length <= 40 ? 26 : columns.length <= 80 ? 20 : 12);

const scrollTo = (scroller: HTMLElement, { left, top }: { readonly left: number; readonly top: number }): void => scroller.scrollTo({ left, top });

function cellText(matrix: Matrix, { rows, columns }: Arrangement, { row, column }: Place): string {
  const [at, of] = [rows[row], columns[column]];
  if (at === undefined || of === undefined) return '';
  const found = matrix.columns[of];
  return found === undefined ? '' : `${matrix.nodes[at]} · ${columnText(found)}: ${verdictTitles[verdictAt(matrix, at, of)]}`;
}

interface Painting extends CanvasProps {
  readonly cell: number;
  readonly hovered: Place | undefined;
  readonly scroller: { readonly current: HTMLDivElement | null };
  readonly canvas: { readonly current: HTMLCanvasElement | null };
}

/** Paints when something has changed, at most once for each picture of the screen; returns what is seen. */
function usePainting({ matrix, arrangement, focus, cell, hovered, scroller, canvas }: Painting): Frame | undefined {
  const [frame, setFrame] = useState<Frame | undefined>(undefined);
  const painter = useRef<MatrixPainter | undefined>(undefined);
  const latest = useRef({ matrix, arrangement, focus, cell, hovered });
  latest.current = { matrix, arrangement, focus, cell, hovered };
  const repaint = useRef<() => void>(() => undefined);
  useEffect(() => {
    const [root, board] = [scroller.current, canvas.current];
    if (root === null || board === null) return undefined;
    painter.current = new MatrixPainter(board);
    let due = 0;
    const request = (): void => {
      if (due === 0)
        due = requestAnimationFrame(() => {
          due = 0;
          setFrame(painter.current?.paint({ ...latest.current, root }));
        });
    };
    repaint.current = request;
    const sizes = new ResizeObserver(request);
    sizes.observe(root);
    const theme = new MutationObserver(() => {
      painter.current?.forgetColours();
      request();
    });
    theme.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] });
    root.addEventListener('scroll', request, { passive: true });
    root.addEventListener('focus', request);
    root.addEventListener('blur', request);
    return () => {
      cancelAnimationFrame(due);
      sizes.disconnect();
      theme.disconnect();
      for (const name of ['scroll', 'focus', 'blur']) root.removeEventListener(name, request);
    };
  }, []);
  useEffect(() => repaint.current(), [matrix, arrangement, focus, cell, hovered]);
  return frame;
}
