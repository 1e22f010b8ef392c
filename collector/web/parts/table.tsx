// A table of a list: its heads sort it, a field filters it, and rows beyond the first some hundred are shown when asked for.
import type { ComponentChildren } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import { usePlace } from '../shell/location.tsx';
import { Nothing } from './states.tsx';

export interface TableColumn<Row> {
  readonly title: string;
  readonly cell: (row: Row) => ComponentChildren;
  /** What the rows are sorted by; absent: not by this. */
  readonly by?: (row: Row) => string | number;
  readonly class?: string;
}

interface TableProps<Row> {
  /** Said by a screen reader, and the name of the filter. */
  readonly label: string;
  readonly rows: readonly Row[];
  readonly columns: readonly TableColumn<Row>[];
  readonly keyOf: (row: Row) => string;
  /** Everything of a row that the filter looks at. */
  readonly textOf: (row: Row) => string;
  /** What is said when the list has nothing. */
  readonly nothing: string;
  readonly children?: ComponentChildren;
}

const pageRows = 300;

export function Table<Row>({ label, rows, columns, keyOf, textOf, nothing, children }: TableProps<Row>) {
  const { query, set } = usePlace();
  const text = query.get('text') ?? '';
  const sort = query.get('sort') ?? '';
  const [shown, setShown] = useState(pageRows);
  const found = useMemo(() => sorted(filtered(rows, text, textOf), sort, columns), [rows, text, sort, columns]);
  return (
    <>
      <form class="controls" role="search" onSubmit={(event) => event.preventDefault()}>
        <input
          type="search"
          aria-label={`Filter: ${label}`}
          placeholder="Filter"
          value={text}
          onInput={(event) => set({ text: event.currentTarget.value }, 'replace')}
        />
        <span class="quiet" role="status">
          {found.length === rows.length ? rows.length.toLocaleString('en') : `${found.length.toLocaleString('en')} of ${rows.length.toLocaleString('en')}`}
        </span>
        {children}
      </form>
      {found.length === 0 ? (
        <Nothing>{rows.length === 0 ? nothing : 'Nothing is named so.'}</Nothing>
      ) : (
        <div class="table-scroller" tabIndex={0} role="group" aria-label={label}>
          <table>
            <thead>
              <tr>
                {columns.map((column) => (
                  <Head key={column.title} column={column} sort={sort} set={(value) => set({ sort: value })} />
                ))}
              </tr>
            </thead>
            <tbody>
              {found.slice(0, shown).map((row) => (
                <tr key={keyOf(row)}>
                  {columns.map(({ title, cell, class: look }) => (
                    <td key={title} class={look} data-title={title}>
                      {cell(row)}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {found.length > shown && (
        <button type="button" onClick={() => setShown(shown + pageRows)}>
          Show {Math.min(pageRows, found.length - shown)} more
        </button>
      )}
    </>
  );
}

interface HeadProps<Row> {
  readonly column: TableColumn<Row>;
  /** Title of the column that sorts, with `-` before it when downwards. */
  readonly sort: string;
  readonly set: (sort: string | undefined) => void;
}

function Head<Row>({ column: { title, by, class: look }, sort, set }: HeadProps<Row>) {
  if (by === undefined) return <th class={look}>{title}</th>;
  const direction = sort === title ? 'ascending' : sort === `-${title}` ? 'descending' : 'none';
  const next = direction === 'none' ? title : direction === 'ascending' ? `-${title}` : undefined;
  return (
    <th class={look} aria-sort={direction}>
      <button type="button" class="sort" onClick={() => set(next)}>
        {title}
        <span aria-hidden="true">{direction === 'ascending' ? ' ▲' : direction === 'descending' ? ' ▼' : ''}</span>
      </button>
    </th>
  );
}

function filtered<Row>(rows: readonly Row[], text: string, textOf: (row: Row) => string): readonly Row[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return words.length === 0 ? rows : rows.filter((row) => words.every((word) => textOf(row).toLowerCase().includes(word)));
}

const collator = new Intl.Collator('en', { numeric: true });

function sorted<Row>(rows: readonly Row[], sort: string, columns: readonly TableColumn<Row>[]): readonly Row[] {
  const by = columns.find(({ title }) => title === sort.replace(/^-/, ''))?.by;
  if (by === undefined) return rows;
  const sign = sort.startsWith('-') ? -1 : 1;
  return rows.toSorted((a, b) => {
    const [left, right] = [by(a), by(b)];
    return sign * (typeof left === 'number' && typeof right === 'number' ? left - right : collator.compare(String(left), String(right)));
  });
}
