// The matrix of nodes and NodePorts: asked whole once, then kept up with the rows that the collector tells.
import { useMemo } from 'preact/hooks';
import { type Matrix, matrixOfList } from '../model/matrix.ts';
import { type Answered, useAnswer } from './answer.ts';
import { query } from './client.ts';
import { findingTopics } from './live.ts';
import type { List, NodePortItem } from './types.ts';

export function useMatrix(at: number | undefined): Answered<Matrix> {
  const answered = useAnswer<List<NodePortItem>>(query('nodeports', { at }), { topics: [...findingTopics, 'node', 'nodeports', 'columns'], everyMs: 15_000 });
  const matrix = useMemo(() => (answered.answer === undefined ? undefined : matrixOfList(answered.answer.items)), [answered.answer]);
  return { ...answered, answer: matrix };
}
