// The collector's SQLite store in this thread, so that it can be killed at any call: before its commit, in the middle of the commit's write, or behind it and unanswered.
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { queriesOn } from '../../collector/store/queries.ts';
import { openSqlite, type SqliteFile } from '../../collector/store/sqlite.file.ts';
import type { Store, StoreQueries } from '../../collector/store/store.ts';
import { failure } from '../../shared/errors.ts';

export type StoreFault = 'before the commit' | 'within the commit' | 'behind the commit' | 'refused';

const block = 512;

/** One opening of the file. After a crash `directory` is where the machine finds what is left of it. */
export class CrashingStore {
  readonly store: Store;
  readonly #file: SqliteFile;
  readonly #random: () => number;
  readonly #root: string;
  #generation: number;
  #work: Promise<unknown> = Promise.resolve();
  #isDead = false;
  /** What happens to the write after so many others. */
  #fault: { readonly kind: StoreFault; writes: number } | undefined;
  readonly #onCrash: () => void;

  private constructor(file: SqliteFile, { root, generation, random, onCrash }: Opening) {
    this.#file = file;
    this.#root = root;
    this.#generation = generation;
    this.#random = random;
    this.#onCrash = onCrash;
    const call = (_: unknown, method: string) => (this.#isQuery(method) ? (...args: unknown[]) => this.#call(method, args) : undefined);
    this.store = new Proxy({}, { get: call }) as Store;
  }

  static async open(opening: Opening): Promise<CrashingStore> {
    const directory = join(opening.root, String(opening.generation));
    mkdirSync(directory, { recursive: true });
    return new CrashingStore(await openSqlite(join(directory, 'portreeve.db'), Date.now()), opening);
  }

  get generation(): number {
    return this.#generation;
  }

  /** Plans what happens to a write that is to come. */
  plan(kind: StoreFault, writes: number): void {
    this.#fault = { kind, writes };
  }

  /** kill -9: what was written is there, no call is answered any more. */
  crash(spoil: (wal: Buffer) => Buffer = (wal) => wal): void {
    if (this.#isDead) return;
    this.#isDead = true;
    const [from, to] = [join(this.#root, String(this.#generation)), join(this.#root, String(++this.#generation))];
    mkdirSync(to);
    for (const name of ['portreeve.db', 'portreeve.db-wal']) if (existsSync(join(from, name))) copyFileSync(join(from, name), join(to, name));
    const wal = join(to, 'portreeve.db-wal');
    if (existsSync(wal)) writeFileSync(wal, spoil(readFileSync(wal)));
    this.#file.database.close();
    rmSync(from, { recursive: true });
    this.#onCrash();
  }

  close(): void {
    this.#isDead = true;
    this.#file.database.close();
  }

  #isQuery(method: string): method is keyof StoreQueries {
    return method in queriesOn(this.#file.db, 'sqlite');
  }

  #call(method: keyof StoreQueries, args: readonly unknown[]): Promise<unknown> {
    const result = this.#work.then(() => this.#run(method, args));
    this.#work = result.catch(() => {});
    return result;
  }

  async #run(method: keyof StoreQueries, args: readonly unknown[]): Promise<unknown> {
    if (this.#isDead) return await never;
    const { database, db } = this.#file;
    const isWrite = /^(append|record|save)/.test(method) && this.#fault !== undefined;
    const fault = isWrite && this.#fault !== undefined && --this.#fault.writes <= 0 ? this.#fault.kind : undefined;
    if (fault !== undefined) this.#fault = undefined;
    if (fault === 'refused') throw failure('STORE_FAILED', ['portreeve.db', 'SQLITE_FULL: database or disk is full']);
    database.exec('BEGIN IMMEDIATE');
    const value = await (queriesOn(db, 'sqlite')[method] as (...args: readonly unknown[]) => Promise<unknown>)(...args);
    if (this.#isDead) return await never;
    if (fault === 'before the commit') return await this.#die();
    const before = this.#walBytes();
    database.exec('COMMIT');
    if (fault === 'within the commit') return await this.#die((wal) => this.#torn(wal, before));
    if (fault === 'behind the commit') return await this.#die();
    return value;
  }

  #die(spoil?: (wal: Buffer) => Buffer): Promise<never> {
    this.crash(spoil);
    return never;
  }

  #walBytes(): number {
    const wal = join(this.#root, String(this.#generation), 'portreeve.db-wal');
    return existsSync(wal) ? statSync(wal).size : 0;
  }

  /** Power was lost while the commit was being written: of its blocks any may be there, others are as they were, and one may be garbage. */
  #torn(wal: Buffer, synced: number): Buffer {
    const torn = Buffer.from(wal.subarray(0, synced + Math.floor(this.#random() * (wal.length - synced + 1))));
    for (let at = synced; at < torn.length; at += block) {
      const fate = this.#random();
      const end = Math.min(at + block, torn.length);
      if (fate < 0.2) torn.fill(0, at, end);
      else if (fate < 0.3) torn.fill(Math.floor(this.#random() * 256), at, end);
    }
    return torn;
  }
}

interface Opening {
  readonly root: string;
  /** Which of the folders below `root`. */
  readonly generation: number;
  readonly random: () => number;
  readonly onCrash: () => void;
}

const never = new Promise<never>(() => {});
