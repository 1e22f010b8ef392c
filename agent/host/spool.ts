// Keeps changes on disk while no collector takes them, so that an agent that is restarted or killed meanwhile still delivers them. Nothing is written while connected.
import { appendFileSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { failure, reasonOf } from '../../shared/errors.ts';
import type { SequencedChange } from '../../shared/model/change.ts';

/** Bytes of the file; what comes after is only in memory. */
const spoolBytesMax = 32 * 1024 * 1024;

/** A file of one JSON change a line, `changes.ndjson` in the directory given. */
export class Spool {
  readonly #path: string;
  #bytes = 0;
  /** The last seq in the file; 0 when there is none. */
  #last = 0;

  /** Makes the directory. Throws STORE_FAILED when it cannot be made. */
  constructor(directory: string) {
    this.#path = join(directory, 'changes.ndjson');
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw failure('STORE_FAILED', [directory, reasonOf(error)], error);
    }
  }

  /** What an earlier run left, in order of seq; all of one stream. A last line that was cut by a crash is left out. */
  load(): readonly SequencedChange[] {
    const text = readIfThere(this.#path);
    const [first, ...more] = text.split('\n').flatMap(readLine);
    const changes = first === undefined ? [] : [first, ...more.filter(({ stream }) => stream === first.stream)].sort((x, y) => x.seq - y.seq);
    const kept = changes.filter(({ seq }, i) => seq !== changes[i - 1]?.seq);
    this.#bytes = Buffer.byteLength(text);
    this.#last = kept.at(-1)?.seq ?? 0;
    if (text !== '' && !text.endsWith('\n')) this.#append('\n');
    return kept;
  }

  /** Adds the changes that the file does not have yet. */
  keep(changes: readonly SequencedChange[]): void {
    const added = changes.filter(({ seq }) => seq > this.#last);
    const text = added.map((change) => `${JSON.stringify(change)}\n`).join('');
    if (added.length === 0 || this.#bytes + text.length > spoolBytesMax) return;
    this.#append(text);
    this.#last = added.at(-1)?.seq ?? this.#last;
  }

  /** Empties it once everything in it is acknowledged. */
  settle(acknowledged: number): void {
    if (this.#last === 0 || acknowledged < this.#last) return;
    rmSync(this.#path, { force: true });
    this.#bytes = 0;
    this.#last = 0;
  }

  /** Starts anew with what is still waiting: the numbers of what the file holds no longer count. */
  replace(changes: readonly SequencedChange[]): void {
    this.settle(Number.MAX_SAFE_INTEGER);
    this.keep(changes);
  }

  #append(text: string): void {
    appendFileSync(this.#path, text, { mode: 0o600 });
    this.#bytes += Buffer.byteLength(text);
  }
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function readLine(line: string): SequencedChange[] {
  try {
    const change = JSON.parse(line) as SequencedChange | null;
    return typeof change === 'object' && change !== null && Number.isSafeInteger(change.seq) && typeof change.stream === 'string' ? [change] : [];
  } catch {
    return [];
  }
}
