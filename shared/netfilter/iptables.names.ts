// Finds chains by their names as the text has them. A dump may have hundreds of thousands of chains, most of which are never asked for: no strings are made.
import { space } from './iptables.bytes.ts';
import { Numbers } from './iptables.numbers.ts';

/** All chains of a dump by table and name. Chains are numbered from 0 in the order of their first mention. */
export class ChainNames {
  readonly #bytes: Buffer;
  /** For each chain: where its name starts and ends, its table, and the hash of both. One array, so that a look-up touches few cache lines. */
  #records = new Int32Array(256 * recordSize);
  #length = 0;
  /** Open addressing: the number of a chain and one, 0 for a free slot. A power of two, at most half full. */
  #slots = new Int32Array(512);

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get length(): number {
    return this.#length;
  }

  startOf(id: number): number {
    return this.#records[id * recordSize] as number;
  }

  endOf(id: number): number {
    return this.#records[id * recordSize + 1] as number;
  }

  tableOf(id: number): number {
    return this.#records[id * recordSize + 2] as number;
  }

  /** In bytes. */
  lengthOf(id: number): number {
    return this.endOf(id) - this.startOf(id);
  }

  text(id: number): string {
    return this.#bytes.toString('utf8', this.startOf(id), this.endOf(id));
  }

  /** Adds the chain of a table whose name stands between two offsets. Yields its number, which is what `length` was; -1 if the table has it already. */
  add(table: number, start: number, end: number): number {
    if (this.#length * 2 >= this.#slots.length) this.#grow();
    const hash = this.#hash(table, start, end);
    const mask = this.#slots.length - 1;
    let slot = hash & mask;
    for (; this.#slots[slot] !== 0; slot = (slot + 1) & mask) {
      const id = (this.#slots[slot] as number) - 1;
      if (this.#isOf(id, table, hash) && this.#isAt(id, start, end)) return -1;
    }
    const record = this.#length * recordSize;
    this.#records[record] = start;
    this.#records[record + 1] = end;
    this.#records[record + 2] = table;
    this.#records[record + 3] = hash;
    this.#slots[slot] = ++this.#length;
    return this.#length - 1;
  }

  /** The chain of a table whose name stands between two offsets; -1 if there is none. */
  find(table: number, start: number, end: number): number {
    const hash = this.#hash(table, start, end);
    const mask = this.#slots.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const id = (this.#slots[slot] as number) - 1;
      if (id < 0 || (this.#isOf(id, table, hash) && this.#isAt(id, start, end))) return id;
    }
  }

  /** As `find`, for many names: step by step, as the processor then fetches the next while it waits for one. */
  findAll({ tables, starts, ends }: NamesToFind): Int32Array {
    const found = new Int32Array(tables.length);
    const hashes = new Int32Array(tables.length);
    for (let i = 0; i < found.length; i++) hashes[i] = this.#hash(tables.at(i), starts.at(i), ends.at(i));
    const mask = this.#slots.length - 1;
    for (let i = 0; i < found.length; i++) found[i] = (this.#slots[(hashes[i] as number) & mask] as number) - 1;
    for (let i = 0; i < found.length; i++) {
      const id = found[i] as number;
      if (id < 0) continue;
      const isFound = this.#isOf(id, tables.at(i), hashes[i] as number) && this.#isAt(id, starts.at(i), ends.at(i));
      if (!isFound) found[i] = this.find(tables.at(i), starts.at(i), ends.at(i));
    }
    return found;
  }

  /** As `find`, by a string. */
  named(table: number, name: string): number {
    let hash = table + 1;
    for (let i = 0; i < name.length; i++) {
      const code = name.charCodeAt(i);
      if (code > 127) return this.#search(table, name);
      hash = mix(hash, code);
    }
    const mask = this.#slots.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const id = (this.#slots[slot] as number) - 1;
      if (id < 0 || (this.#isOf(id, table, hash) && this.#isText(id, name))) return id;
    }
  }

  /** Whether the word at an offset is the name of a chain: compares while it reads. */
  isWordAt(id: number, start: number, stop: number): boolean {
    const bytes = this.#bytes;
    const known = this.startOf(id);
    const end = start + this.endOf(id) - known;
    if (end > stop || (end < stop && (bytes[end] as number) > space)) return false;
    for (let at = start; at < end; at++) if (bytes[at] !== bytes[known + at - start]) return false;
    return true;
  }

  #hash(table: number, start: number, end: number): number {
    const bytes = this.#bytes;
    let hash = table + 1;
    for (let at = start; at < end; at++) hash = mix(hash, bytes[at] as number);
    return hash;
  }

  #isOf(id: number, table: number, hash: number): boolean {
    return this.#records[id * recordSize + 3] === hash && this.#records[id * recordSize + 2] === table;
  }

  #isAt(id: number, start: number, end: number): boolean {
    const bytes = this.#bytes;
    const known = this.startOf(id);
    if (this.endOf(id) - known !== end - start) return false;
    for (let at = start; at < end; at++) if (bytes[at] !== bytes[known + at - start]) return false;
    return true;
  }

  #isText(id: number, name: string): boolean {
    const start = this.startOf(id);
    if (this.endOf(id) - start !== name.length) return false;
    for (let i = 0; i < name.length; i++) if (this.#bytes[start + i] !== name.charCodeAt(i)) return false;
    return true;
  }

  /** Names beyond ASCII are rare; invalid UTF-8 among them reads as the string that `text` gives. */
  #search(table: number, name: string): number {
    for (let id = 0; id < this.#length; id++) if (this.tableOf(id) === table && this.text(id) === name) return id;
    return -1;
  }

  #grow(): void {
    const records = new Int32Array(this.#records.length * 4);
    records.set(this.#records);
    this.#records = records;
    this.#slots = new Int32Array(this.#slots.length * 4);
    const mask = this.#slots.length - 1;
    for (let id = 0; id < this.#length; id++) {
      let slot = (records[id * recordSize + 3] as number) & mask;
      while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
      this.#slots[slot] = id + 1;
    }
  }
}

const recordSize = 4;

/** One step of FNV-1a. The hash stays a signed 32 bit number: V8 makes an object of a larger one. */
const mix = (hash: number, code: number): number => Math.imul(hash ^ code, 0x01000193);

/** Names that stand between two offsets, to be found in a table. */
export class NamesToFind {
  readonly tables: Numbers;
  readonly starts: Numbers;
  readonly ends: Numbers;

  constructor(capacity: number) {
    this.tables = new Numbers(capacity);
    this.starts = new Numbers(capacity);
    this.ends = new Numbers(capacity);
  }

  push(table: number, start: number, end: number): void {
    this.tables.push(table);
    this.starts.push(start);
    this.ends.push(end);
  }
}
