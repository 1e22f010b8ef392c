// Finds chains by their names as the text has them. A dump may have hundreds of thousands of chains, most of which are never asked for: no strings are made.
import { type Arrays, heapArrays } from './iptables.arrays.ts';
import { space } from './iptables.bytes.ts';
import { type DumpText, hashOf } from './iptables.text.ts';

/** All chains of a dump by table and name. Chains are numbered from 0 in the order of their first mention. */
export class ChainNames {
  readonly #text: DumpText;
  readonly #arrays: Arrays;
  /** For each chain where its name starts and ends, its table, and the line of its declaration: in one array, so that a look-up touches few cache lines. */
  #records: Int32Array;
  #length = 0;
  /** Open addressing: the number of a chain and one, and some bits of its hash (see `tagOf`); 0 for a free slot. A power of two, at most half full. */
  #slots: Int32Array;

  constructor(text: DumpText, expected: number, arrays = heapArrays) {
    const capacity = 2 ** Math.ceil(Math.log2(Math.max(64, expected)));
    this.#text = text;
    this.#arrays = arrays;
    this.#records = arrays.int32(capacity * recordSize);
    // Written before it is read: memory that is read first is mapped twice, and each time all processors are asked to forget what they know of it.
    this.#slots = arrays.int32(capacity * 2).fill(0);
  }

  /** What machine code adds chains to, as `add` does. */
  get arrays(): { readonly records: Int32Array; readonly slots: Int32Array } {
    return { records: this.#records, slots: this.#slots };
  }

  /** Machine code has added chains, of which there are so many now. */
  added(length: number): void {
    this.#length = length;
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

  /** The line of its declaration, from 1; 0 for a chain that only rules name. */
  lineOf(id: number): number {
    return this.#records[id * recordSize + 3] as number;
  }

  /** In bytes. */
  lengthOf(id: number): number {
    return this.endOf(id) - this.startOf(id);
  }

  text(id: number): string {
    return this.#text.bytes.toString('utf8', this.startOf(id), this.endOf(id));
  }

  /** Adds a chain to a table. Yields its number, which is what `length` was; -1 if the table has it already. */
  add(table: number, name: Name, line: number): number {
    if (this.#length * recordSize === this.#records.length) this.#grow();
    const { start, end } = name;
    const hash = inTable(name.hash, table);
    const tag = tagOf(hash);
    const slots = this.#slots;
    const last = slots.length - 1;
    let slot = hash & last;
    let entry = slots[slot] as number;
    while (entry !== 0) {
      if ((entry & tagBits) === tag && this.#isAt((entry & idBits) - 1, start, end) && this.tableOf((entry & idBits) - 1) === table) return -1;
      slot = (slot + 1) & last;
      entry = slots[slot] as number;
    }
    const id = this.#length++;
    const records = this.#records;
    const record = id * recordSize;
    records[record] = start;
    records[record + 1] = end;
    records[record + 2] = table;
    records[record + 3] = line;
    slots[slot] = tag | (id + 1);
    return id;
  }

  /** The chain of a table whose name stands between two offsets; -1 if there is none. */
  find(table: number, start: number, end: number): number {
    const hash = inTable(this.#text.hash(start, end), table);
    const tag = tagOf(hash);
    const slots = this.#slots;
    const last = slots.length - 1;
    for (let slot = hash & last; ; slot = (slot + 1) & last) {
      const entry = slots[slot] as number;
      const id = (entry & idBits) - 1;
      if (id < 0 || ((entry & tagBits) === tag && this.#isAt(id, start, end) && this.tableOf(id) === table)) return id;
    }
  }

  /** As `find`, for many names: step by step, as the processor then fetches what it needs for the next while it waits for one. */
  findAll(names: NamesToFind): void {
    const { tables, starts, ends, found, length } = names;
    this.#guess(names);
    for (let i = 0; i < length; i++) {
      const id = found[i] as number;
      if (id < 0 || (this.#isAt(id, starts[i] as number, ends[i] as number) && this.tableOf(id) === tables[i])) continue;
      found[i] = this.find(tables[i] as number, starts[i] as number, ends[i] as number);
    }
  }

  /** As `find`, by a string. */
  named(table: number, name: string): number {
    if (!isAscii(name)) return this.#search(table, name);
    const hash = inTable(hashOf(name), table);
    const tag = tagOf(hash);
    const slots = this.#slots;
    const last = slots.length - 1;
    for (let slot = hash & last; ; slot = (slot + 1) & last) {
      const entry = slots[slot] as number;
      const id = (entry & idBits) - 1;
      if (id < 0 || ((entry & tagBits) === tag && this.tableOf(id) === table && this.#isText(id, name))) return id;
    }
  }

  /** Whether the word at an offset is the name of a chain: compares while it reads. */
  isWordAt(id: number, start: number, stop: number): boolean {
    const length = this.lengthOf(id);
    const end = start + length;
    if (end > stop || !this.#text.isSame(this.startOf(id), start, length)) return false;
    return end === stop || (this.#text.bytes[end] as number) <= space;
  }

  /** The first chain for each name that has the hash's tag, and a look at the text of its name. */
  #guess({ hashes, found, length }: NamesToFind): void {
    const slots = this.#slots;
    const last = slots.length - 1;
    for (let i = 0; i < length; i++) {
      const hash = hashes[i] as number;
      const tag = tagOf(hash);
      let slot = hash & last;
      let entry = slots[slot] as number;
      while ((entry & tagBits) !== tag && entry !== 0) {
        slot = (slot + 1) & last;
        entry = slots[slot] as number;
      }
      found[i] = (entry & idBits) - 1;
    }
    for (let i = 0; i < length; i++) if ((found[i] as number) >= 0) hashes[i] = this.#text.quad(this.startOf(found[i] as number));
  }

  #isAt(id: number, start: number, end: number): boolean {
    return this.lengthOf(id) === end - start && this.#text.isSame(this.startOf(id), start, end - start);
  }

  #isText(id: number, name: string): boolean {
    const start = this.startOf(id);
    if (this.lengthOf(id) !== name.length) return false;
    for (let i = 0; i < name.length; i++) if (this.#text.bytes[start + i] !== name.charCodeAt(i)) return false;
    return true;
  }

  /** Names beyond ASCII are rare; invalid UTF-8 among them reads as the string that `text` gives. */
  #search(table: number, name: string): number {
    for (let id = 0; id < this.#length; id++) if (this.tableOf(id) === table && this.text(id) === name) return id;
    return -1;
  }

  #grow(): void {
    const records = this.#arrays.int32(this.#records.length * 2);
    records.set(this.#records);
    this.#records = records;
    const slots = this.#arrays.int32(this.#slots.length * 2);
    const last = slots.length - 1;
    for (let id = 0; id < this.#length; id++) {
      const hash = inTable(this.#text.hash(this.startOf(id), this.endOf(id)), this.tableOf(id));
      let slot = hash & last;
      while (slots[slot] !== 0) slot = (slot + 1) & last;
      slots[slot] = tagOf(hash) | (id + 1);
    }
    this.#slots = slots;
  }
}

/** Where a name stands in the text, and its hash. Loops over many names use one object for all. */
export class Name {
  start = 0;
  end = 0;
  hash = 0;
}

/** The name between two offsets. */
export function nameAt(text: DumpText, start: number, end: number): Name {
  return Object.assign(new Name(), { start, end, hash: text.hash(start, end) });
}

const recordSize = 4;
/** Of a slot: the number of a chain and one. A dump of 512 MB, the largest that is read, has fewer lines. */
const idBits = 0x07ffffff;
const tagBits = ~idBits;

/** Bits of a hash that stand in the slot, as other chains may have come into its neighbourhood: most are told apart without a look at their names. */
const tagOf = (hash: number): number => hash & tagBits;

/** Spreads the hash of a name over all bits, as a slot is chosen by the low ones. */
function inTable(hash: number, table: number): number {
  const both = Math.imul(hash ^ (hash >>> 15), 0x297a2d39) + Math.imul(table, 0x9e3779b1);
  return (both ^ (both >>> 15)) | 0;
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) return false;
  return true;
}

/** Names to be found, a number of them at once. */
export class NamesToFind {
  length = 0;
  readonly tables: Int32Array;
  readonly starts: Int32Array;
  readonly ends: Int32Array;
  readonly hashes: Int32Array;
  /** The number of each chain, when they have been looked up; -1 if there is none. */
  readonly found: Int32Array;

  /** `places`: how many at once. */
  constructor(places: number, arrays = heapArrays) {
    this.tables = arrays.int32(places);
    this.starts = arrays.int32(places);
    this.ends = arrays.int32(places);
    this.hashes = arrays.int32(places);
    this.found = arrays.int32(places);
  }

  get isFull(): boolean {
    return this.length === this.tables.length;
  }

  push(table: number, { start, end, hash }: Name): void {
    const place = this.length++;
    this.tables[place] = table;
    this.starts[place] = start;
    this.ends[place] = end;
    this.hashes[place] = inTable(hash, table);
  }
}

/** As many as the first cache of a processor has room for, with what is looked at for them. */
export const namesAtOnce = 256;
