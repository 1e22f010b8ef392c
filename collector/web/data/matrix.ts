// The matrix of nodes and NodePorts: asked whole once, then kept up with the rows that the collector tells.
import { useEffect, useRef, useState } from 'preact/hooks';
import { type Matrix, matrixOf, type PackedRow, withRows } from '../model/matrix.ts';
import { isoText } from '../model/time.ts';
import { type Answered, useAnswer } from './answer.ts';
import { questionOf } from './client.ts';
import { live } from './live.ts';
import type { Freshness } from './types.ts';

/** Rows that were told are put in together so often, in milliseconds: in a storm each would draw everything anew. */
const gatherMs = 200;

export interface MatrixAnswer {
  readonly matrix: Matrix;
  /** How old what is known of the cluster is, as last told. */
  readonly view: Freshness;
}

export function useMatrix(at: number | undefined): Answered<MatrixAnswer> {
  const query = at === undefined ? {} : { at: isoText(at) };
  // Rows tell what has changed: the whole is asked again when the columns are others, and now and then as a check.
  const answered = useAnswer(questionOf('GET /matrix', { query }), { topics: ['columns', 'node'], ...(at === undefined ? { everyMs: 60_000 } : {}) });
  const [matrix, setMatrix] = useState<Matrix | undefined>(undefined);
  const [view, setView] = useState<Freshness | undefined>(undefined);
  const columnsId = useRef('');
  useEffect(() => {
    if (answered.answer === undefined) return;
    columnsId.current = answered.answer.columnsId;
    setMatrix(matrixOf(answered.answer));
    setView(answered.answer.view);
  }, [answered.answer]);
  useEffect(() => {
    if (at !== undefined) return undefined;
    const waiting = new Map<string, PackedRow>();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const put = (): void => {
      timer = undefined;
      const rows = [...waiting.values()];
      waiting.clear();
      setMatrix((last) => (last === undefined ? last : withRows(last, rows)));
    };
    const unsubscribe = live.subscribe(({ topic, data }) => {
      if (topic === 'heartbeat') setView((last) => (data as { readonly view?: Freshness } | undefined)?.view ?? last);
      const row = data as (PackedRow & { readonly columnsId?: string }) | undefined;
      if (topic !== 'nodeports' || row === undefined || row.columnsId !== columnsId.current) return;
      waiting.set(row.node, row);
      timer ??= setTimeout(put, gatherMs);
    });
    return () => {
      unsubscribe();
      clearTimeout(timer);
    };
  }, [at]);
  return { ...answered, answer: matrix === undefined || view === undefined ? undefined : { matrix, view } };
}
