// Folds a long spool: of each object the first and the last change stay, what lies between is counted in the last. Pure; two passes over the records.
import { type GivenUp, gapOf, giveUp } from '../../shared/model/change.given-up.ts';
import type { SequencedChange } from '../../shared/model/change.ts';
import type { SpoolRecord } from './record.ts';

/** What the first pass learns: for each object of each node its first and last change, and how many there are. */
export class FoldPlan {
  readonly #objects = new Map<string, Seen>();
  /** How many signs of life of each run there are. */
  readonly #alive = new Map<string, number>();
  #bytes = 0;

  /** Takes the next record in order. `bytes` is its length as a line. */
  see(record: SpoolRecord, bytes: number): void {
    if (record.kind === 'alive') this.#alive.set(record.stream, (this.#alive.get(record.stream) ?? 0) + 1);
    if (record.kind !== 'change') return;
    const { change } = record;
    const key = keyOf(change);
    const seen = this.#objects.get(key);
    if (seen === undefined) {
      this.#objects.set(key, { first: placeOf(change), last: placeOf(change), lastBytes: bytes });
      this.#bytes += bytes;
      return;
    }
    this.#bytes += bytes - (seen.last === seen.first ? 0 : seen.lastBytes);
    seen.last = placeOf(change);
    seen.lastBytes = bytes;
  }

  /** Takes a change that stays as it is. */
  hold(bytes: number): void {
    this.#bytes += bytes;
  }

  /** Bytes that are left after folding, about. */
  get bytes(): number {
    return this.#bytes;
  }

  keeps(change: SequencedChange): boolean {
    const seen = this.#objects.get(keyOf(change));
    const place = placeOf(change);
    return change.kind === 'gap' || seen === undefined || seen.first === place || seen.last === place;
  }

  /** `number`: of the signs of this run, from 1. */
  isLastSign(stream: string, number: number): boolean {
    return this.#alive.get(stream) === number;
  }
}

interface Seen {
  readonly first: string;
  last: string;
  lastBytes: number;
}

const keyOf = ({ kind, subject }: SequencedChange): string => `${kind} ${subject}`;
const placeOf = ({ stream, seq }: SequencedChange): string => `${stream} ${seq}`;

/** The second pass: yields what stays of each record, in order. With `dropBytes`, that many bytes of the oldest changes that stay become a gap. */
export class Folding {
  readonly #plan: FoldPlan;
  #dropBytes: number;
  /** Changes of an object that were left out since the last one that stayed. */
  readonly #left = new Map<string, Left>();
  /** Seqs that the next record of a stream stands for. */
  readonly #covered = new Map<string, number>();
  readonly #runs = new Set<string>();
  readonly #signs = new Map<string, number>();
  #dropped: GivenUp | undefined;

  constructor(plan: FoldPlan, dropBytes = 0) {
    this.#plan = plan;
    this.#dropBytes = dropBytes;
  }

  next(record: SpoolRecord, bytes: number): readonly SpoolRecord[] {
    if (record.kind === 'alive') {
      const number = (this.#signs.get(record.stream) ?? 0) + 1;
      this.#signs.set(record.stream, number);
      return this.#plan.isLastSign(record.stream, number) ? [record] : [];
    }
    if (record.kind === 'replaces') return [];
    if (record.kind === 'run') return this.#firstOf(record);
    const { change } = record;
    if (!this.#plan.keeps(change)) {
      this.#leave(change);
      return [];
    }
    if (this.#dropBytes > 0) {
      this.#dropBytes -= bytes;
      const ended = this.#dropped !== undefined && this.#dropped.last.stream !== change.stream ? this.#endOfDrop() : [];
      this.#drop(change);
      return ended;
    }
    return [...this.#endOfDrop(), this.#keep(change)];
  }

  /** What stays as it is: the changes that memory holds too are sent from there, and would not tell of what was left out before them. */
  held(record: SpoolRecord): readonly SpoolRecord[] {
    return [...this.#endOfDrop(), record];
  }

  /** Each file begins with the run that wrote it; here once is enough. */
  #firstOf(record: Extract<SpoolRecord, { kind: 'run' }>): readonly SpoolRecord[] {
    if (this.#runs.has(record.stream)) return [];
    this.#runs.add(record.stream);
    return [record];
  }

  /** What is still owed at the end. */
  end(): readonly SpoolRecord[] {
    return this.#endOfDrop();
  }

  #leave(change: SequencedChange): void {
    const by = change.actor?.comm;
    const key = keyOf(change);
    const left = this.#left.get(key) ?? { count: 0, from: change.at, to: change.at, by: new Set<string>() };
    left.count += 1 + (change.folded?.count ?? 0);
    // A clock may have been set back meanwhile: the time of all reaches from the earliest to the latest, not from the first to the last.
    left.from = Math.min(left.from, change.at, change.folded?.from ?? change.at);
    left.to = Math.max(left.to, change.at, change.folded?.to ?? change.at);
    for (const name of [...(change.folded?.by ?? []), ...(by === undefined ? [] : [by])]) if (left.by.size < namesMax) left.by.add(name.slice(0, 64));
    this.#left.set(key, left);
    this.#covered.set(change.stream, (this.#covered.get(change.stream) ?? 0) + 1 + (change.covers ?? 0));
  }

  #keep(change: SequencedChange): Extract<SpoolRecord, { kind: 'change' }> {
    const key = keyOf(change);
    const left = this.#left.get(key);
    this.#left.delete(key);
    const covers = (change.covers ?? 0) + (this.#covered.get(change.stream) ?? 0);
    this.#covered.delete(change.stream);
    const folded = left === undefined ? change.folded : join(left, change);
    return { kind: 'change', change: { ...change, ...(covers === 0 ? {} : { covers }), ...(folded === undefined ? {} : { folded }) } };
  }

  #drop(change: SequencedChange): void {
    this.#dropped = giveUp(this.#dropped, this.#keep(change).change);
  }

  #endOfDrop(): readonly SpoolRecord[] {
    const dropped = this.#dropped;
    this.#dropped = undefined;
    return dropped === undefined ? [] : [{ kind: 'change', change: gapOf(dropped, 'the spool was full') }];
  }
}

interface Left {
  count: number;
  from: number;
  to: number;
  readonly by: Set<string>;
}

const namesMax = 8;

function join(left: Left, change: SequencedChange): NonNullable<SequencedChange['folded']> {
  const { folded } = change;
  const by = [...new Set([...left.by, ...(folded?.by ?? [])])].slice(0, namesMax);
  const [from, to] = [Math.min(left.from, folded?.from ?? left.from), Math.max(left.to, folded?.to ?? left.to)];
  return { count: left.count + (folded?.count ?? 0), from, to, by };
}
