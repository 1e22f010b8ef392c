// The collector's own stream of the ledger: changes of cluster objects, and holes in the streams of agents.
import { randomUUID } from 'node:crypto';
import type { Change, SequencedChange } from '../../shared/model/change.ts';
import type { Store } from '../store/store.ts';
import type { CollectorState } from './state.ts';

/** Numbers changes from 1, stores them and hands them to the state. Resolves after the commit. */
export function ownStream(store: Store, state: CollectorState): (changes: readonly Change[]) => Promise<void> {
  const stream = `collector-${randomUUID()}`;
  let seq = 0;
  return async (changes) => {
    if (changes.length === 0) return;
    const numbered: SequencedChange[] = changes.map((change) => ({ ...change, stream, seq: ++seq }));
    state.addChanges(await store.appendChanges(numbered));
  };
}
