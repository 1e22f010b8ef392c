// The oracle: compares what happened on a node, and what agent and collector said of it, with what the store holds in the end.
import Sqlite from 'better-sqlite3';

interface Place {
  readonly stream: string;
  readonly seq: number;
}

/** Something that happened on the node. Times in milliseconds since 1970, by the true clock. */
export interface Made {
  readonly id: string;
  readonly at: number;
  readonly subject: string;
  /** Its place in the ledger; absent: no agent ran. */
  readonly place?: Place;
}

export interface Promised {
  readonly made: readonly Made[];
  /** Highest number that a collector has acknowledged, by stream. */
  readonly acknowledged: ReadonlyMap<string, number>;
  /** What the spool said to be safe. */
  readonly spooled: readonly Place[];
  /** By how much clocks may disagree. */
  readonly toleranceMs: number;
  /** By how much more a time without an agent may lie beside its place: where a clock was set, it may be told on the other side of a run. 0 where none was. */
  readonly besideMs?: number;
}

/** What is wrong, in sentences: acknowledged or spooled and lost, there twice, or missing without a gap that says so. */
export function faultsOf(stored: Ledger, { made, acknowledged, spooled, toleranceMs, besideMs = 0 }: Promised): string[] {
  const faults: string[] = [];
  for (const each of made) {
    const count = stored.ids.get(each.id) ?? 0;
    if (count > 1) faults.push(`${each.id} is stored ${count} times`);
    if (count > 0) continue;
    if (each.place !== undefined && each.place.seq <= (acknowledged.get(each.place.stream) ?? 0) && !stored.covers(each.place))
      faults.push(`${each.id} (${each.place.stream} ${each.place.seq}) was acknowledged and is not there`);
    else if (!stored.isGap(each, { toleranceMs, besideMs })) faults.push(`${JSON.stringify(each)} is missing and no gap says so`);
  }
  const places = new Map(made.flatMap((each) => (each.place === undefined ? [] : [[`${each.place.stream} ${each.place.seq}`, each] as const])));
  for (const place of spooled) {
    const each = places.get(`${place.stream} ${place.seq}`);
    if (each !== undefined && !stored.ids.has(each.id) && !stored.covers(place) && !stored.isLeftOut(each, toleranceMs))
      faults.push(`${each.id} (${place.stream} ${place.seq}) was spooled and is not there`);
  }
  return faults;
}

/** Reads what `agent.program.ts` has noted. */
export function promisedBy(notes: string) {
  const made: Made[] = [];
  const acknowledged = new Map<string, number>();
  const spooled: { stream: string; seq: number }[] = [];
  for (const line of notes.split('\n').filter((each) => each !== '')) {
    const note = JSON.parse(line);
    if (note.made !== undefined) made.push(note.made);
    if (note.acknowledged !== undefined)
      acknowledged.set(note.acknowledged.stream, Math.max(note.acknowledged.seq, acknowledged.get(note.acknowledged.stream) ?? 0));
    if (note.spooled !== undefined) spooled.push(...note.spooled);
  }
  return { made, acknowledged, spooled };
}

/** What the store holds in the end. */
export class Ledger {
  readonly ids = new Map<string, number>();
  readonly #covered: { readonly stream: string; readonly from: number; readonly to: number }[] = [];
  readonly #gaps: readonly StoredGap[];

  private constructor(
    changes: readonly { readonly stream: string; readonly seq: number; readonly after: string | null; readonly more: string | null }[],
    gaps: readonly StoredGap[],
  ) {
    this.#gaps = gaps;
    for (const { stream, seq, after, more } of changes) {
      this.ids.set(String(after), (this.ids.get(String(after)) ?? 0) + 1);
      const { covers } = (more === null ? {} : JSON.parse(more)) as { readonly covers?: number };
      if (covers !== undefined) this.#covered.push({ stream, from: seq - covers, to: seq });
    }
    for (const gap of gaps) if (gap.stream !== '') this.#covered.push({ stream: gap.stream, from: gap.from_seq, to: gap.to_seq });
  }

  static read(file: string, node: string): Ledger {
    const database = new Sqlite(file, { readonly: true });
    try {
      return new Ledger(
        database.prepare('SELECT stream, seq, after, more FROM changes WHERE node = ?').all(node) as never,
        database.prepare('SELECT reason, from_at, to_at, stream, from_seq, to_seq, detail FROM gaps WHERE node = ?').all(node) as never,
      );
    } finally {
      database.close();
    }
  }

  /** Whether a record stands for a number. */
  covers({ stream, seq }: { readonly stream: string; readonly seq: number }): boolean {
    return this.#covered.some((each) => each.stream === stream && each.from <= seq && seq <= each.to);
  }

  /** Whether a record says that the spool had no room: for all that was made on the object, or for all of that time (what was folded into a record goes with it). */
  isLeftOut(made: Made, toleranceMs: number): boolean {
    const says = ({ reason, detail }: StoredGap): boolean => reason === 'spool-full' || (reason === 'folded' && detail.includes(`of ${made.subject} `));
    return this.#gaps.some((gap) => says(gap) && holds(gap, made.at, toleranceMs));
  }

  isGap(made: Made, { toleranceMs, besideMs }: Required<Pick<Promised, 'toleranceMs' | 'besideMs'>>): boolean {
    const offMs = ({ reason }: StoredGap): number => toleranceMs + (reason === 'agent-down' ? besideMs : 0);
    return (made.place !== undefined && this.covers(made.place)) || this.#gaps.some((gap) => holds(gap, made.at, offMs(gap)));
  }
}

interface StoredGap {
  readonly reason: string;
  readonly from_at: number;
  readonly to_at: number;
  readonly stream: string;
  readonly from_seq: number;
  readonly to_seq: number;
  readonly detail: string;
}

/** Where clocks were set, times are off by as much. */
const holds = ({ from_at, to_at }: StoredGap, at: number, toleranceMs: number): boolean => from_at - toleranceMs <= at && at <= to_at + toleranceMs;
