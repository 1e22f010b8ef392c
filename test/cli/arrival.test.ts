// Files on their way: all bytes in order, whatever the size, and what happens when a file changes while it is read.
import { appendFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { type Arrival, arrivalOf } from '../../cli/arrival.ts';
import { limits } from '../../shared/limits.ts';

const megabyte = 1024 * 1024;
const content = (size: number): Buffer =>
  Buffer.from(Uint32Array.from({ length: Math.ceil(size / 4) }, (_, i) => Math.imul(i, 0x9e3779b1)).buffer).subarray(0, size);

async function arrivedOf({ bytes, lengths }: Arrival): Promise<{ readonly lengths: readonly number[]; readonly bytes: Buffer }> {
  const all: number[] = [];
  for await (const length of lengths) all.push(length);
  return { lengths: all, bytes: bytes.subarray(0, all.at(-1)) };
}

t.test('files of any size arrive whole, in growing lengths', async (t) => {
  const file = join(t.testdir(), 'file');
  for (const [size, parts] of [
    [0, 1],
    [1, 1],
    [megabyte, 1],
    [megabyte + 1, 1],
    [2 * megabyte, 1],
    [2 * megabyte + 1, 2],
    [10 * megabyte, 2],
    [21 * megabyte + 5, 4],
  ] as const) {
    const expected = content(size);
    writeFileSync(file, expected);
    const arrival = arrivalOf(file);
    t.equal(arrival.bytes.length, size);
    const { bytes, lengths } = await arrivedOf(arrival);
    t.ok(bytes.equals(expected), `${size} bytes in ${lengths.length} parts`);
    t.strictSame(
      lengths,
      [...new Set(lengths)].sort((a, b) => a - b),
    );
    t.equal(lengths.length, parts);
  }
});

t.test('a file that is cut or grows meanwhile', async (t) => {
  const file = join(t.testdir(), 'file');
  const expected = content(30 * megabyte);
  writeFileSync(file, expected);
  const cut = arrivalOf(file);
  truncateSync(file, 18 * megabyte);
  const { bytes } = await arrivedOf(cut);
  t.equal(bytes.length, 18 * megabyte, 'ends where the file ends');
  t.ok(bytes.equals(expected.subarray(0, bytes.length)));
  const grown = arrivalOf(file);
  appendFileSync(file, 'more');
  t.equal((await arrivedOf(grown)).bytes.length, 18 * megabyte, 'what was added later is not read');
});

t.test('what has no size, or is not there', async (t) => {
  t.match((await arrivedOf(arrivalOf('/proc/self/status'))).bytes.toString(), /^Name:/);
  t.throws(() => arrivalOf(join(t.testdir(), 'absent')), { code: 'ENOENT' });
  t.throws(() => arrivalOf(t.testdir()), { code: 'EISDIR' });
});

t.test('a file may have as many bytes as the limit says, and no more', async (t) => {
  const file = join(t.testdir({ file: '' }), 'file');
  truncateSync(file, limits.inputFileBytesMax + 1);
  t.throws(() => arrivalOf(file), { message: `${limits.inputFileBytesMax + 1} bytes are over the limit of ${limits.inputFileBytesMax}` });
  for (const size of [limits.inputFileBytesMax - 1, limits.inputFileBytesMax]) {
    truncateSync(file, size);
    const { bytes, lengths } = arrivalOf(file);
    t.equal(bytes.length, size);
    // Nobody has to ask for all of it.
    for await (const length of lengths) {
      t.equal(length, 2 * megabyte);
      break;
    }
  }
});
