// What every origin of cluster objects (a directory of files, an API server) gives: readings, each with what it changed.
import type { Change } from '../../shared/model/change.ts';
import type { ClusterObjects, ObjectIssue } from './objects.ts';

/** One reading that differs from the one before. */
export interface ObjectsUpdate {
  readonly objects: ClusterObjects;
  /** Empty for the first reading: what was there before us is no change. */
  readonly changes: readonly Change[];
  /** Everything that is wrong now. */
  readonly issues: readonly ObjectIssue[];
}

/** A running watch; after `close()` resolves, nothing is reported any more. */
export interface ObjectSource {
  close(): Promise<void>;
}
