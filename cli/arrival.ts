// Reads a file on another thread while this one works on the part that is there.
import { closeSync, fstatSync, openSync, read, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { limits } from '../shared/limits.ts';
import { Machine } from '../shared/netfilter/iptables.machine.ts';

/** A file on its way. */
export interface Arrival {
  /** As large as the file was when it was opened; filled from its start on. */
  readonly bytes: Buffer;
  /** How many bytes are there, whenever there are more. They end below `bytes.length` if the file was cut meanwhile. Rejects if it cannot be read on. */
  readonly lengths: AsyncIterable<number>;
  /** Whose memory the bytes are in; absent where there is no machine code. */
  readonly machine?: Machine | undefined;
}

/** Begins to read a file, `-` for standard input; throws if it cannot. What has no size, or a small one, is there at once. */
export function arrivalOf(path: string): Arrival {
  if (path === '-') return arrivalAtOnce(readFileSync(0));
  const fd = openSync(path, 'r');
  const stat = fstatSync(fd);
  if (!stat.isFile() || stat.size <= atOnceBytes || stat.size > limits.inputFileBytesMax) return arrivalAtOnce(readAndClose(fd, stat.size));
  const machine = machineFor(stat.size);
  // Memory that may be shared is counted to no heap: a large file does not start a collection of garbage.
  const bytes = machine?.text ?? Buffer.from(new SharedArrayBuffer(stat.size));
  const first = readPart(fd, bytes, { from: 0, size: firstPartBytes });
  // Who asks for lengths learns of an error. Until then it is nobody's, which must not end the process.
  first.catch(() => undefined);
  return { bytes, lengths: lengthsOf(fd, bytes, first), machine };
}

/** Machine code as it stands beside a bundle; undefined where there is none, as in a checkout that was not built, or no memory for it. */
function machineFor(size: number): Machine | undefined {
  try {
    return new Machine(readFileSync(join(dirname(process.argv[1] as string), 'skim.wasm')), size);
  } catch {
    return undefined;
  }
}

/** So much is read sooner than another thread has begun to. */
const atOnceBytes = 1024 * 1024;
/** The first part is read while the code that works on it is loaded, each other one while that before is worked on. */
const firstPartBytes = 2 * 1024 * 1024;
const partBytes = 8 * 1024 * 1024;

function readAndClose(fd: number, size: number): Buffer {
  try {
    checkSize(size);
    return readFileSync(fd);
  } finally {
    closeSync(fd);
  }
}

function checkSize(size: number): void {
  if (size > limits.inputFileBytesMax) throw new RangeError(`${size} bytes are over the limit of ${limits.inputFileBytesMax}`);
}

function arrivalAtOnce(bytes: Buffer): Arrival {
  checkSize(bytes.length);
  return { bytes, lengths: once(bytes.length) };
}

async function* once(length: number): AsyncGenerator<number> {
  yield length;
}

async function* lengthsOf(fd: number, bytes: Buffer, first: Promise<number>): AsyncGenerator<number> {
  let part: Promise<number> | undefined = first;
  try {
    for (let length = 0; part !== undefined; ) {
      const count: number = await part;
      length += count;
      part = count > 0 && length < bytes.length ? readPart(fd, bytes, { from: length, size: partBytes }) : undefined;
      yield length;
    }
  } finally {
    // Who asks no further leaves a part on its way.
    await part?.catch(() => undefined);
    closeSync(fd);
  }
}

/** Resolves to the number of bytes read. */
function readPart(fd: number, bytes: Buffer, { from, size }: { readonly from: number; readonly size: number }): Promise<number> {
  return new Promise((resolve, reject) => {
    read(fd, bytes, from, Math.min(size, bytes.length - from), from, (error, count) => (error === null ? resolve(count) : reject(error)));
  });
}
