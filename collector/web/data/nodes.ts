// The list of all nodes, as several views need it.
import { usePlace } from '../shell/location.tsx';
import { type Answered, useAnswer } from './answer.ts';
import { questionOf } from './client.ts';
import type { Topic } from './live.ts';
import type { Answers } from './types.ts';

/** More nodes than any cluster has. */
const nodesMax = 20_000;

/** With `isAsked` false nothing is asked. */
export function useNodes({ topics, isAsked = true }: { readonly topics: readonly Topic[]; readonly isAsked?: boolean }): Answered<Answers<'GET /nodes'>> {
  const { asOf } = usePlace();
  return useAnswer(isAsked ? questionOf('GET /nodes', { query: { ...asOf, limit: 1_000 } }) : undefined, { topics, everyMs: 5_000, most: nodesMax });
}
