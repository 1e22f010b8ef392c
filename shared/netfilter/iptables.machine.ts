// Skims over the lines of a large dump by machine code: machine/skim.ts, compiled for the memory that the dump is read into.
import { type Arrays, heapArrays } from './iptables.arrays.ts';
import type { IdRange } from './iptables.order.ts';
import type { Scan, TableScan } from './iptables.scan.ts';
import * as fields from './machine/layout.ts';

/** Machine code and its memory: the text of one dump, and what is noted of it. */
export class Machine implements Arrays {
  /** Where the text is to be put. */
  readonly text: Buffer;
  /** How many lines it has read. */
  skimmed = 0;
  readonly #code: MachineCode;
  readonly #buffer: ArrayBufferLike;
  readonly #fields: Int32Array;
  #used: number;

  /** `code`: what machine/skim.ts was compiled to; `size`: bytes of the text. Throws if there is no such memory, or the code is another's. */
  constructor(code: Uint8Array<ArrayBuffer>, size: number) {
    const behindText = fieldBytes + size + overrun;
    const pages = Math.ceil((behindText + arrayBytes + size * arrayShare) / pageBytes);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pagesMax, shared: true });
    this.#code = new WebAssembly.Instance(new WebAssembly.Module(code), { env: { memory } }).exports as MachineCode;
    this.#buffer = memory.buffer;
    this.#fields = new Int32Array(memory.buffer, 0, fieldBytes / 4);
    this.#used = behindText;
    this.text = Buffer.from(memory.buffer, fieldBytes, size);
  }

  readonly int32 = (length: number): Int32Array => this.#array(Int32Array, length) ?? heapArrays.int32(length);

  readonly uint32 = (length: number): Uint32Array => this.#array(Uint32Array, length) ?? heapArrays.uint32(length);

  readonly uint8 = (length: number): Uint8Array => this.#array(Uint8Array, length) ?? heapArrays.uint8(length);

  /** Does what `skim` of iptables.skim.ts does; undefined if not all that it works on is in this memory. */
  skim(scan: Scan, until: number): boolean | undefined {
    const { lines, table } = scan;
    if (lines.length === lines.capacity) lines.grow();
    if (table === undefined || !this.#hasArrays(scan, table)) return undefined;
    const before = scan.at;
    this.#give(scan, table, until);
    for (let count = -1; count !== this.#fields[fields.lineCount]; ) {
      count = this.#fields[fields.lineCount] as number;
      this.#code.skim(linesAtOnce);
    }
    this.#take(scan, table);
    return scan.at > before;
  }

  #array<Values>(type: new (buffer: ArrayBufferLike, offset: number, length: number) => Values, length: number): Values | undefined {
    const offset = Math.ceil(this.#used / cacheLine) * cacheLine;
    if (offset + length * 4 > this.#buffer.byteLength) return undefined;
    this.#used = offset + length * 4;
    return new type(this.#buffer, offset, length);
  }

  /** Says where the arrays are; false if one of them is elsewhere. */
  #hasArrays({ lines, names, look }: Scan, { stencils }: TableScan): boolean {
    const { records, slots } = names.arrays;
    const { jumps } = look;
    return (
      this.#has(fields.lineStarts, lines.starts) &&
      this.#has(fields.lineKinds, lines.kinds) &&
      this.#has(fields.lineChains, lines.chains) &&
      this.#has(fields.records, records) &&
      this.#has(fields.slots, slots) &&
      this.#has(fields.code, stencils.code.numbers) &&
      this.#has(fields.offsets, stencils.code.offsets) &&
      this.#has(fields.next, stencils.next) &&
      this.#has(fields.jumpLines, look.jumpLines) &&
      this.#has(fields.jumpTables, jumps.tables) &&
      this.#has(fields.jumpStarts, jumps.starts) &&
      this.#has(fields.jumpEnds, jumps.ends) &&
      this.#has(fields.jumpHashes, jumps.hashes) &&
      this.#has(fields.jumpFound, jumps.found)
    );
  }

  #has(field: number, { buffer, byteOffset }: ArrayBufferView): boolean {
    this.#fields[field] = byteOffset;
    return buffer === this.#buffer;
  }

  #give({ at, lastId, implicit, lines, names, look }: Scan, { number, stencils }: TableScan, until: number): void {
    const given = this.#fields;
    const { records, slots } = names.arrays;
    given[fields.text] = fieldBytes;
    given[fields.at] = at;
    given[fields.until] = until;
    given[fields.lastId] = lastId;
    given[fields.implicit] = implicit ? 1 : 0;
    given[fields.table] = number;
    given[fields.ruleCount] = 0;
    given[fields.lineCount] = lines.length;
    given[fields.lineCapacity] = lines.capacity;
    given[fields.nameCount] = names.length;
    given[fields.nameCapacity] = records.length >> 2;
    given[fields.slotMask] = slots.length - 1;
    given[fields.declaration] = stencils.declaration;
    given[fields.lastStencil] = stencils.last;
    given[fields.fitted] = stencils.fitted;
    given[fields.jumpCount] = look.jumps.length;
    given[fields.jumpCapacity] = look.jumpLines.length;
  }

  #take(scan: Scan, table: TableScan): void {
    const taken = this.#fields;
    const { lines, names, look } = scan;
    scan.at = taken[fields.at] as number;
    scan.lastId = taken[fields.lastId] as number;
    table.ruleCount += taken[fields.ruleCount] as number;
    table.stencils.last = taken[fields.lastStencil] as number;
    table.stencils.fitted = taken[fields.fitted] as number;
    this.skimmed += (taken[fields.lineCount] as number) - lines.length;
    lines.length = taken[fields.lineCount] as number;
    look.jumps.length = taken[fields.jumpCount] as number;
    const nameCount = taken[fields.nameCount] as number;
    if (nameCount === names.length) return;
    names.added(nameCount);
    (table.ranges.at(-1) as IdRange).end = nameCount;
  }
}

interface MachineCode {
  readonly skim: (linesMax: number) => void;
}

/** What is used of it: the types of Node.js do not name it. */
declare const WebAssembly: {
  /** Sizes are in pages. Throws a RangeError if there is no such memory. */
  readonly Memory: new (size: {
    readonly initial: number;
    readonly maximum: number;
    readonly shared: true;
  }) => { readonly buffer: SharedArrayBuffer };
  readonly Module: new (code: Uint8Array<ArrayBuffer>) => object;
  readonly Instance: new (module: object, imports: { readonly env: { readonly memory: object } }) => { readonly exports: object };
};

const pageBytes = 65_536;
/** 4 GiB, all that an address of 32 bits reaches: memory that is shared has to say. */
const pagesMax = 65_536;
const cacheLine = 64;
/** The fields of machine/layout.ts, in front of the text. */
const fieldBytes = 256;
/** So much behind the text may be read with its last bytes. */
const overrun = 64;
/** Room for arrays: some of each table, and for each byte of the text. What is not touched is no memory. */
const arrayBytes = 1024 * 1024;
const arrayShare = 1;
/** A call uses the code that was compiled before it began: it must not be one for all lines. */
const linesAtOnce = 512;
