// Keeps changes on disk while no collector takes them, so that an agent that is restarted, killed or cut from power meanwhile still delivers them. What it says to
// have spooled is on disk (file and directory are synced); it is removed only when a collector has committed it. Nothing is written while connected.
import { reasonOf } from '../../shared/errors.ts';
import { limits } from '../../shared/limits.ts';
import type { SequencedChange } from '../../shared/model/change.ts';
import type { Place } from '../../shared/wire/session.outbox.ts';
import type { EarlierRun } from '../../shared/wire/session.ts';
import type { Disk } from './disk.ts';
import { Folding, FoldPlan } from './fold.ts';
import { decodeRecords, encodeRecord, type SpoolRecord } from './record.ts';

export interface SpoolOptions {
  /** Bytes of all files together; `limits.spoolBytesMax` if absent. */
  readonly bytesMax?: number;
  /** Bytes after which a new file is begun. */
  readonly segmentBytes?: number;
  /** This run of the agent; milliseconds since 1970. */
  readonly run: { readonly stream: string; readonly startedAt: number };
  readonly node: string;
  /** Milliseconds since 1970 when the run began, and how long it has lasted by a clock that nobody sets: runs keep their length whatever is done to the clock. */
  readonly now: () => number;
  readonly onNotice: (text: string, details: Readonly<Record<string, unknown>>) => void;
}

export interface OpenedSpool {
  readonly spool: Spool;
  /** Runs that it holds changes or signs of life of, oldest first. */
  readonly earlier: readonly EarlierRun[];
  /** Records that could not be read back; the files are kept aside. 0: none. */
  readonly damaged: number;
}

/** Share of the bound at which the spool is folded, and what folding should leave. */
const foldAt = 0.8;
const foldTo = 0.5;
/** Damaged files that are kept aside for somebody to look at. */
const asideMax = 4;

const nameOf = (number: number): string => `spool-${String(number).padStart(10, '0')}.log`;
const numberOf = (name: string): number | undefined => {
  const found = /^spool-(\d{10})\.log$/.exec(name);
  return found === null ? undefined : Number(found[1]);
};

/** A file of the spool: for each stream the seqs of its first and last change. */
interface Segment {
  readonly number: number;
  bytes: number;
  readonly last: Map<string, number>;
}

export class Spool {
  readonly #disk: Disk;
  readonly #options: Required<Pick<SpoolOptions, 'bytesMax' | 'segmentBytes'>> & SpoolOptions;
  #segments: Segment[] = [];
  /** The file that is written to; undefined: the next record begins one. */
  #open: Segment | undefined;
  #nextNumber = 1;
  readonly #settled = new Map<string, number>();
  #work: Promise<unknown> = Promise.resolve();
  #failing = false;
  /** Changes could not be written and are still only in memory. */
  #isBehind = false;

  private constructor(disk: Disk, options: SpoolOptions) {
    this.#disk = disk;
    this.#options = { ...options, bytesMax: options.bytesMax ?? limits.spoolBytesMax, segmentBytes: options.segmentBytes ?? limits.spoolSegmentBytes };
  }

  /**
   * Reads what earlier runs left. A damaged file never stops it: what can be read is kept, the file itself is renamed aside. Rejects only when the directory
   * cannot be listed.
   */
  static async open(disk: Disk, options: SpoolOptions): Promise<OpenedSpool> {
    const spool = new Spool(disk, options);
    const read = await spool.#readAll();
    return { spool, ...read };
  }

  /** Bytes on disk. */
  get bytes(): number {
    return this.#segments.reduce((total, { bytes }) => total + bytes, 0);
  }

  /**
   * Resolves when the changes are safe on disk; rejects when they are not, and they are then to be given again. Calls are done in order. What is held in memory too,
   * from `heldFrom` on, is not folded: it is sent as it is there, without what a folded record tells of those before it.
   */
  append(changes: readonly SequencedChange[], heldFrom?: Place): Promise<void> {
    const sign = this.#sign();
    return this.#inOrder(async () => {
      if (this.bytes > this.#options.bytesMax * foldAt) await this.#fold(heldFrom);
      this.#isBehind = true;
      await this.#write([...changes.map((change): SpoolRecord => ({ kind: 'change', change })), sign]);
      this.#isBehind = false;
    });
  }

  /** Notes that the run is alive and that everything until now is here; not while it is not. A failure is told of and ends nothing. */
  alive(): Promise<void> {
    const sign = this.#sign();
    return this.#inOrder(async () => (this.#isBehind ? undefined : await this.#write([sign]))).catch(() => {});
  }

  /** Until now everything is here, once this is. */
  #sign(): SpoolRecord {
    return { kind: 'alive', stream: this.#options.run.stream, at: this.#options.now() };
  }

  /**
   * Changes behind `after` (from the start where it is absent) and before `before`, up to some hundred kilobytes; those that are settled are left out. What cannot
   * be read is told of and passed over. Never rejects.
   */
  read({
    after,
    before,
  }: {
    readonly after?: Place;
    readonly before?: Place;
  }): Promise<{ readonly changes: readonly SequencedChange[]; readonly done: boolean }> {
    return this.#inOrder(() => this.#readBetween(after, before));
  }

  /** A collector has committed this stream up to here: files of which nothing else is left are removed. */
  settle({ stream, seq }: Place): Promise<void> {
    return this.#inOrder(() => this.#settle(stream, seq)).catch((error: unknown) => this.#notice('the spool cannot be cleared', { reason: reasonOf(error) }));
  }

  /** Waits for what is under way. */
  async close(): Promise<void> {
    await this.#work.catch(() => {});
  }

  #inOrder<Result>(act: () => Promise<Result>): Promise<Result> {
    const result = this.#work.then(act, act);
    this.#work = result.catch(() => {});
    return result;
  }

  async #write(news: readonly SpoolRecord[]): Promise<void> {
    const isNew = this.#open === undefined;
    const records: readonly SpoolRecord[] = isNew ? [{ kind: 'run', ...this.#options.run }, ...news] : news;
    const content = Buffer.from(records.map(encodeRecord).join(''));
    if (this.bytes + content.length > this.#options.bytesMax) throw new Error(`it holds ${this.bytes} bytes, and ${this.#options.bytesMax} is the limit`);
    const segment = this.#open ?? { number: this.#nextNumber, bytes: 0, last: new Map<string, number>() };
    const name = nameOf(segment.number);
    try {
      await this.#disk.append(name, content);
      await this.#disk.sync(name);
      if (isNew) await this.#disk.syncDirectory();
    } catch (error) {
      // What a failed write or sync left is not to be trusted, nor what comes behind it in the same file.
      this.#abandon(segment, isNew);
      if (!this.#failing) this.#notice('changes cannot be kept on disk', { reason: reasonOf(error) });
      this.#failing = true;
      throw error;
    }
    this.#failing = false;
    if (isNew) {
      this.#nextNumber++;
      this.#segments.push(segment);
    }
    segment.bytes += content.length;
    note(segment, records);
    this.#open = segment.bytes >= this.#options.segmentBytes ? undefined : segment;
  }

  #abandon(segment: Segment, isNew: boolean): void {
    this.#open = undefined;
    if (isNew) this.#nextNumber++;
    // A file that was begun for what failed holds nothing that counts; it is removed if the disk allows, and read as damaged by the next run if not.
    if (isNew) void this.#disk.remove(nameOf(segment.number)).catch(() => {});
  }

  async #settle(stream: string, seq: number): Promise<void> {
    this.#settled.set(stream, Math.max(seq, this.#settled.get(stream) ?? 0));
    const isSettled = ({ last }: Segment): boolean => [...last].every(([name, end]) => end <= (this.#settled.get(name) ?? 0));
    // From the oldest on, so that the order of what is left never changes. A collector that has welcomed us knows of every run.
    let count = 0;
    while (count < this.#segments.length && isSettled(this.#segments[count] as Segment)) count++;
    if (count === 0) return;
    for (; count > 0; count--) {
      const [oldest] = this.#segments as [Segment];
      // Nothing is written to it any more, whatever comes of removing it: a file that is gone would be made anew, without what a new file is given.
      if (this.#open === oldest) this.#open = undefined;
      await this.#disk.remove(nameOf(oldest.number));
      this.#segments = this.#segments.slice(1);
    }
    await this.#disk.syncDirectory();
  }

  async #readBetween(after: Place | undefined, before: Place | undefined): Promise<{ changes: SequencedChange[]; done: boolean }> {
    const changes: SequencedChange[] = [];
    let bytes = 0;
    let begun = after === undefined;
    for await (const record of this.#records(this.#segments, (segment) => begun || holds(segment, after as Place))) {
      if (record.kind !== 'change') continue;
      const { change } = record;
      if (isAt(change, before)) return { changes, done: true };
      if (!begun) {
        begun = isAt(change, after);
        continue;
      }
      changes.push(change);
      bytes += change.subject.length + (change.before?.length ?? 0) + (change.after?.length ?? 0) + 200;
      if (changes.length >= readChangesMax || bytes >= readBytesMax) return { changes, done: false };
    }
    return { changes, done: true };
  }

  /**
   * The records of some files in order, but for changes that are settled. Where a write has failed half-way, or a crash has interrupted folding, a change is there
   * twice: the first counts.
   */
  async *#records(segments: readonly Segment[], isWanted: (segment: Segment) => boolean = () => true): AsyncGenerator<SpoolRecord> {
    const upTo = new Map(this.#settled);
    for (const segment of segments) {
      for (const record of isWanted(segment) ? await this.#readSegment(segment) : []) {
        if (record.kind !== 'change' || record.change.seq > (upTo.get(record.change.stream) ?? 0)) yield record;
      }
      for (const [stream, seq] of segment.last) upTo.set(stream, Math.max(seq, upTo.get(stream) ?? 0));
    }
  }

  async #readSegment(segment: Segment): Promise<readonly SpoolRecord[]> {
    try {
      return decodeRecords(await this.#disk.read(nameOf(segment.number))).records;
    } catch (error) {
      this.#notice('a file of the spool cannot be read', { file: nameOf(segment.number), reason: reasonOf(error) });
      return [];
    }
  }

  /** Reads all files once: what they hold, which runs, and what of it is damaged. */
  async #readAll(): Promise<{ readonly earlier: readonly EarlierRun[]; readonly damaged: number }> {
    const files = (await this.#disk.list()).flatMap(({ name }) => numberOf(name) ?? []).sort((a, b) => a - b);
    const runs = new Map<string, EarlierRun>();
    const replaced = new Set<number>();
    let damaged = 0;
    this.#nextNumber = (files.at(-1) ?? 0) + 1;
    // The newest first: a folded file names those that it replaces, which a crash may have left.
    for (const number of files.toReversed()) {
      if (replaced.has(number)) await this.#disk.remove(nameOf(number)).catch(() => {});
      else damaged += await this.#adopt(number, replaced);
    }
    this.#segments.reverse();
    for (const segment of this.#segments) for (const record of await this.#readSegment(segment)) noteRun(runs, record);
    await this.#clearAside();
    const earlier = [...runs.values()].filter(({ stream }) => stream !== this.#options.run.stream).slice(-limits.earlierStreamsMax);
    return { earlier, damaged };
  }

  async #adopt(number: number, replaced: Set<number>): Promise<number> {
    const name = nameOf(number);
    let content: Buffer;
    try {
      content = await this.#disk.read(name);
    } catch (error) {
      this.#notice('a file of the spool cannot be read', { file: name, reason: reasonOf(error) });
      return 1;
    }
    const { records, damaged } = decodeRecords(content);
    for (const record of records)
      if (record.kind === 'replaces') for (let each = record.from; each <= record.to; each++) if (each !== number) replaced.add(each);
    if (damaged > 0) await this.#setAside(name, content, { records, damaged });
    if (records.length === 0) {
      await this.#disk.remove(name).catch(() => {});
      return damaged;
    }
    const segment: Segment = { number, bytes: damaged > 0 ? sizeOf(records) : content.length, last: new Map() };
    note(segment, records);
    this.#segments.push(segment);
    return damaged;
  }

  /** What can be read takes the place of the damaged file in one renaming; a copy of that stays beside it. */
  async #setAside(name: string, content: Buffer, { records, damaged }: { readonly records: readonly SpoolRecord[]; readonly damaged: number }): Promise<void> {
    const aside = `damaged-${new Date(this.#options.now()).toISOString().replaceAll(/[-:]|\.\d+/g, '')}-${name}`;
    this.#notice('a file of the spool is damaged: what can be read of it goes on, a copy is kept aside', { file: name, aside, damaged, kept: records.length });
    try {
      const part = `${name}.part`;
      await this.#disk.remove(part);
      await this.#disk.append(part, Buffer.from(records.map(encodeRecord).join('')));
      await this.#disk.sync(part);
      await this.#disk.remove(aside);
      await this.#disk.append(aside, content);
      await this.#disk.sync(aside);
      await this.#disk.rename(part, name);
      await this.#disk.syncDirectory();
    } catch (error) {
      this.#notice('the damaged file could not be set aside', { file: name, reason: reasonOf(error) });
    }
  }

  async #clearAside(): Promise<void> {
    const names = (await this.#disk.list().catch(() => [])).map(({ name }) => name);
    const aside = names.filter((name) => name.startsWith('damaged-')).sort();
    for (const name of [...aside.slice(0, -asideMax), ...names.filter((name) => name.endsWith('.part'))]) await this.#disk.remove(name).catch(() => {});
  }

  /**
   * Makes room: two passes over all files, one at a time in memory, into new ones. A last new file says that they take the place of the old ones; until it has its
   * name, the old ones count and the new ones repeat them.
   */
  async #fold(heldFrom: Place | undefined): Promise<void> {
    this.#open = undefined;
    const old = this.#segments;
    const before = this.bytes;
    const files = new FoldedFiles(this.#disk, { number: this.#nextNumber, segmentBytes: this.#options.segmentBytes });
    try {
      await this.#foldInto(files, old, heldFrom);
      await files.finish({ from: old[0]?.number ?? 0, to: old.at(-1)?.number ?? 0 });
    } catch (error) {
      this.#nextNumber = files.nextNumber;
      this.#notice('the spool could not be folded', { reason: reasonOf(error) });
      await files.abandon();
      return;
    }
    this.#nextNumber = files.nextNumber;
    this.#segments = [...files.segments];
    this.#notice('the spool was folded: of each object the first and the last change stay', { before, bytes: this.bytes });
    for (const segment of old) await this.#disk.remove(nameOf(segment.number)).catch(() => {});
    await this.#disk.syncDirectory().catch(() => {});
  }

  async #foldInto(files: FoldedFiles, old: readonly Segment[], heldFrom: Place | undefined): Promise<void> {
    const plan = new FoldPlan();
    const isHeld = (record: SpoolRecord): boolean => record.kind === 'change' && record.change.stream === heldFrom?.stream && record.change.seq >= heldFrom.seq;
    const bytesOf = (record: SpoolRecord): number => Buffer.byteLength(encodeRecord(record));
    for await (const record of this.#records(old)) {
      if (isHeld(record)) plan.hold(bytesOf(record));
      else plan.see(record, bytesOf(record));
    }
    const folding = new Folding(plan, Math.max(0, plan.bytes - this.#options.bytesMax * foldTo));
    for await (const record of this.#records(old)) await files.put(isHeld(record) ? folding.held(record) : folding.next(record, bytesOf(record)));
    await files.put(folding.end());
  }

  #notice(text: string, details: Readonly<Record<string, unknown>>): void {
    this.#options.onNotice(text, details);
  }
}

/** The files that a folding makes; none of them counts before `finish`. */
class FoldedFiles {
  readonly #disk: Disk;
  readonly #segmentBytes: number;
  readonly segments: Segment[] = [];
  #waiting: SpoolRecord[] = [];
  #waitingBytes = 0;
  nextNumber: number;

  constructor(disk: Disk, { number, segmentBytes }: { readonly number: number; readonly segmentBytes: number }) {
    this.#disk = disk;
    this.#segmentBytes = segmentBytes;
    this.nextNumber = number;
  }

  async put(records: readonly SpoolRecord[]): Promise<void> {
    for (const record of records) {
      this.#waiting.push(record);
      this.#waitingBytes += Buffer.byteLength(encodeRecord(record));
    }
    if (this.#waitingBytes >= this.#segmentBytes) await this.#write();
  }

  async finish(replaces: { readonly from: number; readonly to: number }): Promise<void> {
    if (this.#waiting.length > 0) await this.#write();
    for (const { number } of this.segments) await this.#disk.rename(partOf(number), nameOf(number));
    await this.#disk.syncDirectory();
    this.#waiting = [{ kind: 'replaces', ...replaces }];
    const last = await this.#write();
    await this.#disk.rename(partOf(last), nameOf(last));
    await this.#disk.syncDirectory();
  }

  async abandon(): Promise<void> {
    for (const { number } of this.segments) for (const name of [partOf(number), nameOf(number)]) await this.#disk.remove(name).catch(() => {});
  }

  async #write(): Promise<number> {
    const number = this.nextNumber++;
    const content = Buffer.from(this.#waiting.map(encodeRecord).join(''));
    const segment: Segment = { number, bytes: content.length, last: new Map() };
    note(segment, this.#waiting);
    this.segments.push(segment);
    this.#waiting = [];
    this.#waitingBytes = 0;
    await this.#disk.remove(partOf(number));
    await this.#disk.append(partOf(number), content);
    await this.#disk.sync(partOf(number));
    return number;
  }
}

const partOf = (number: number): string => `${nameOf(number)}.part`;

/** Changes and bytes of one answer of `read`. */
const readChangesMax = limits.changesBatchMax * 2;
const readBytesMax = 512 * 1024;

function note(segment: Segment, records: readonly SpoolRecord[]): void {
  for (const record of records) {
    if (record.kind !== 'change') continue;
    const { stream, seq } = record.change;
    segment.last.set(stream, Math.max(seq, segment.last.get(stream) ?? 0));
  }
}

function noteRun(runs: Map<string, EarlierRun>, record: SpoolRecord): void {
  if (record.kind === 'replaces') return;
  if (record.kind === 'change') {
    // Its time is that of the clock on the wall; it says that there was such a run, and not for how long.
    const { stream, at } = record.change;
    if (!runs.has(stream)) runs.set(stream, { stream, startedAt: at, aliveAt: at });
    return;
  }
  const { stream } = record;
  const known = runs.get(stream);
  if (record.kind === 'alive') runs.set(stream, { stream, startedAt: known?.startedAt ?? record.at, aliveAt: record.at });
  else runs.set(stream, { stream, startedAt: record.startedAt, aliveAt: Math.max(record.startedAt, known?.aliveAt ?? 0) });
}

const isAt = (change: SequencedChange, place: Place | undefined): boolean => place !== undefined && change.stream === place.stream && change.seq === place.seq;
const holds = ({ last }: Segment, { stream, seq }: Place): boolean => (last.get(stream) ?? 0) >= seq;
const sizeOf = (records: readonly SpoolRecord[]): number => records.reduce((sum, record) => sum + Buffer.byteLength(encodeRecord(record)), 0);
