// What every origin of cluster objects (a directory of files, an API server) gives: readings, each with what it changed, and how fresh the view is.
import type { Change } from '../../shared/model/change.ts';
import type { ClusterObjects, ObjectIssue, ObjectKind } from './objects.ts';

/** What a reading concerns, so that nothing else need be judged again. */
export interface Touched {
  /** Services (`namespace/name`) that have changed, or whose slices have. */
  readonly services: ReadonlySet<string>;
  readonly nodes: ReadonlySet<string>;
  readonly kinds: ReadonlySet<ObjectKind>;
  /** Everything must be judged anew: the first reading, or a kind that can be read (or not) any more. */
  readonly all: boolean;
}

/** One reading that differs from the one before. */
export interface ObjectsUpdate {
  readonly objects: ClusterObjects;
  /** Empty for the first reading: what was there before us is no change. */
  readonly changes: readonly Change[];
  /** Everything that is wrong now. */
  readonly issues: readonly ObjectIssue[];
  readonly touched: Touched;
}

/** How well one kind of objects is known. */
export interface KindView {
  readonly kind: ObjectKind;
  /**
   * `listing`: not known yet. `watching`: changes come as they happen. `polling`: they may not be watched and are listed now and then. `failing`: what is known
   * grows old, the reason says why. `unreadable`: the API does not let us, or does not have the kind.
   */
  readonly state: 'listing' | 'watching' | 'polling' | 'failing' | 'unreadable';
  /** Milliseconds since 1970 of the last sign that what is known is what there is: a list, an event, a bookmark; 0 before the first. */
  readonly confirmedAt: number;
  readonly objects: number;
  /** Since the start: lists, watches that were begun, and objects that a later list showed to have changed without a word of the watch. */
  readonly lists: number;
  readonly watches: number;
  readonly missed: number;
  readonly reason?: string;
}

/** A running watch; after `close()` resolves, nothing is reported any more. */
export interface ObjectSource {
  view(): readonly KindView[];
  close(): Promise<void>;
}
