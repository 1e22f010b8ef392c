// The collector's own stream of the ledger: changes of cluster objects, and holes in the streams of agents.
import { randomUUID } from 'node:crypto';
import type { Change, SequencedChange } from '../../shared/model/change.ts';
import type { Ownership } from '../replicas/ownership.ts';
import type { Store } from '../store/store.ts';
import type { CollectorState } from './state.ts';

/**
 * Numbers changes from 1, stores them and hands them to the state. Resolves after the commit. What concerns a node may be told by whoever sees it; the ledger of
 * the cluster is written by its owner alone.
 */
export function ownStream(store: Pick<Store, 'appendChanges'>, state: CollectorState, ownership: Ownership): (changes: readonly Change[]) => Promise<void> {
  const stream = `collector-${randomUUID()}`;
  let seq = 0;
  return async (changes) => {
    if (changes.length === 0) return;
    const numbered: SequencedChange[] = changes.map((change) => ({ ...change, stream, seq: ++seq }));
    const isOfCluster = ({ node }: Change): boolean => node === '';
    const [ofCluster, ofNodes] = [numbered.filter(isOfCluster), numbered.filter((change) => !isOfCluster(change))];
    if (ofCluster.length > 0) state.addChanges(await store.appendChanges(ofCluster, ownership.fence('')));
    if (ofNodes.length > 0) state.addChanges(await store.appendChanges(ofNodes));
  };
}
