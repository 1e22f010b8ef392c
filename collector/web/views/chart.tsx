// Nodes × NodePorts at a glance: every cell by its verdict, in colour and shape; a click or Enter opens its story.
import { useMemo, useState } from 'preact/hooks';
import { useMatrix } from '../data/matrix.ts';
import { type Arranging, arrange, columnText, countVerdicts, type Matrix, type MatrixVerdict, type Place, verdicts, worstCells } from '../model/matrix.ts';
import { VerdictMark, verdictTitles } from '../parts/marks.tsx';
import { MatrixCanvas } from '../parts/matrix-canvas.tsx';
import { Answer, Nothing } from '../parts/states.tsx';
import { counted } from '../parts/text.tsx';
import { Link, usePlace } from '../shell/location.tsx';
import { useTitle } from '../shell/title.ts';

export function ChartView() {
  useTitle('Chart');
  const answered = useMatrix(usePlace().at);
  return (
    <div class="view chart">
      <h1 class="only-said">Nodes and NodePorts</h1>
      <Answer answered={answered}>
        {({ matrix }) => (matrix.field.length === 0 ? <Nothing>No node is asked to serve a NodePort.</Nothing> : <Chart matrix={matrix} />)}
      </Answer>
    </div>
  );
}

function Chart({ matrix }: { readonly matrix: Matrix }) {
  const { query, set, go } = usePlace();
  const arranging: Arranging = {
    order: query.get('order') === 'worst' ? 'worst' : 'name',
    only: query.get('only') === 'trouble' ? 'trouble' : 'all',
    text: query.get('text') ?? '',
  };
  const { order, only, text } = arranging;
  const arrangement = useMemo(() => arrange(matrix, { order, only, text }), [matrix, order, only, text]);
  const [focus, setFocus] = useState<Place>({ row: 0, column: 0 });
  const open = ({ row, column }: Place): void => {
    const found = matrix.columns[arrangement.columns[column] ?? -1];
    const node = matrix.nodes[arrangement.rows[row] ?? -1];
    if (found !== undefined && node !== undefined) go({ view: 'story', node, port: found.port, protocol: found.protocol });
  };
  return (
    <>
      <Controls arranging={arranging} set={set} counted={`${counted(arrangement.rows.length, 'node')} × ${counted(arrangement.columns.length, 'NodePort')}`} />
      <Legend matrix={matrix} />
      {arrangement.rows.length === 0 || arrangement.columns.length === 0 ? (
        <Nothing>{only === 'trouble' ? 'Nothing is amiss.' : 'No node and no NodePort is named so.'}</Nothing>
      ) : (
        <MatrixCanvas matrix={matrix} arrangement={arrangement} focus={focus} setFocus={setFocus} open={open} />
      )}
      <Troubled matrix={matrix} />
    </>
  );
}

interface ControlsProps {
  readonly arranging: Arranging;
  readonly set: (values: Readonly<Record<string, string | undefined>>, how?: 'push' | 'replace') => void;
  readonly counted: string;
}

function Controls({ arranging: { order, only, text }, set, counted: size }: ControlsProps) {
  return (
    <form class="controls" role="search" onSubmit={(event) => event.preventDefault()}>
      <input
        type="search"
        aria-label="Only nodes, NodePorts or Services named so"
        placeholder="Node, port or Service"
        value={text}
        onInput={(event) => set({ text: event.currentTarget.value }, 'replace')}
      />
      <label>
        <input type="checkbox" checked={only === 'trouble'} onChange={(event) => set({ only: event.currentTarget.checked ? 'trouble' : undefined })} /> only
        what is amiss
      </label>
      <label>
        <input type="checkbox" checked={order === 'worst'} onChange={(event) => set({ order: event.currentTarget.checked ? 'worst' : undefined })} /> worst
        first
      </label>
      <span class="quiet" role="status">
        {size}
      </span>
    </form>
  );
}

function Legend({ matrix }: { readonly matrix: Matrix }) {
  const counts = useMemo(() => countVerdicts(matrix), [matrix]);
  const present = verdicts.filter((verdict) => counts[verdict] > 0).reverse();
  return (
    <ul class="legend" aria-label="Legend">
      {present.map((verdict) => (
        <li key={verdict}>
          <VerdictMark verdict={verdict} size={14} label="" /> {verdictTitles[verdict]} <span class="quiet">{counts[verdict].toLocaleString('en')}</span>
        </li>
      ))}
    </ul>
  );
}

/** Cells that are told as a list, for who does not see the picture. */
const listedMax = 200;
/** Worst first. */
const amiss: readonly MatrixVerdict[] = ['timeout', 'unreachable', 'refused', 'unknown', 'warning', 'pending'];

function Troubled({ matrix }: { readonly matrix: Matrix }) {
  const [open, setOpen] = useState(false);
  const counts = useMemo(() => countVerdicts(matrix), [matrix]);
  const total = amiss.reduce((sum, verdict) => sum + counts[verdict], 0);
  // Of millions of cells none is looked through for a list that nobody has opened.
  const cells = useMemo(() => (open ? worstCells(matrix, amiss, listedMax) : []), [matrix, open]);
  if (total === 0) return null;
  return (
    <details class="troubled" open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        What is amiss, as a list <span class="count">{total.toLocaleString('en')}</span>
      </summary>
      <ul>
        {cells.map(({ node, column, verdict }) => (
          <li key={`${node} ${columnText(column)}`}>
            <VerdictMark verdict={verdict} size={14} label="" />{' '}
            <Link to={{ view: 'story', node, port: column.port, protocol: column.protocol }}>
              {node} {columnText(column)}
            </Link>{' '}
            <span class="quiet">{verdictTitles[verdict]}</span>
          </li>
        ))}
        {total > cells.length && <li class="quiet">… and {(total - cells.length).toLocaleString('en')} more</li>}
      </ul>
    </details>
  );
}
