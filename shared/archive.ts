// Files of a capture as one archive, as tar writes and reads it (POSIX ustar): plain files with short names, in one directory. Pure.

const block = 512;

/** The archive of files by name; names are ASCII of up to 99 characters. `at`: when they were made, in milliseconds since 1970. */
export function archiveOf(files: ReadonlyMap<string, Buffer>, at: number): Buffer {
  const parts = [...files].flatMap(([name, content]) => [headerOf(name, content.length, at), content, Buffer.alloc(paddingOf(content.length))]);
  return Buffer.concat([...parts, Buffer.alloc(2 * block)]);
}

/** The files of an archive; undefined where it is none, is cut, or holds anything but plain files with plain names: it came from another machine. */
export function filesOfArchive(archive: Buffer): ReadonlyMap<string, Buffer> | undefined {
  const files = new Map<string, Buffer>();
  for (let at = 0; at + block <= archive.length; ) {
    const header = archive.subarray(at, at + block);
    if (header.every((byte) => byte === 0)) return files;
    const [name, size] = [textAt(header, 0, 100), Number.parseInt(textAt(header, 124, 12), 8)];
    if (!plainName.test(name) || !(size >= 0) || header[156] !== plainFile || Number.parseInt(textAt(header, 148, 8), 8) !== sumOf(header)) return undefined;
    const start = at + block;
    if (start + size > archive.length) return undefined;
    files.set(name, archive.subarray(start, start + size));
    at = start + size + paddingOf(size);
  }
  return undefined;
}

/** No directory, nothing hidden, nothing that could lead elsewhere. */
const plainName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,98}$/;
const plainFile = '0'.charCodeAt(0);

const paddingOf = (size: number): number => (block - (size % block)) % block;

function headerOf(name: string, size: number, at: number): Buffer {
  const header = Buffer.alloc(block);
  const fields: readonly (readonly [number, string])[] = [
    [0, name],
    [100, '0000644\0'],
    [108, '0000000\0'],
    [116, '0000000\0'],
    [124, `${size.toString(8).padStart(11, '0')}\0`],
    [
      136,
      `${Math.floor(at / 1_000)
        .toString(8)
        .padStart(11, '0')}\0`,
    ],
    [156, '0'],
    [257, 'ustar\x0000'],
  ];
  for (const [offset, text] of fields) header.write(text, offset, 'latin1');
  header.write(`${sumOf(header).toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}

/** Of all bytes, those of the sum itself taken for spaces. */
const sumOf = (header: Buffer): number => header.reduce((sum, byte, at) => sum + (at >= 148 && at < 156 ? 32 : byte), 0);

const textAt = (header: Buffer, start: number, length: number): string => header.toString('latin1', start, start + length).replace(/[\0 ].*$/s, '');
