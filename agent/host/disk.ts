// A directory of this machine as the disk of the spool.
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { failure, reasonOf } from '../../shared/errors.ts';
import type { Disk } from '../spool/disk.ts';

/** Makes the directory, closed to others. Throws STORE_FAILED when it cannot be made. */
export async function openDisk(directory: string): Promise<HostDisk> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    return new HostDisk(directory);
  } catch (error) {
    throw failure('STORE_FAILED', [directory, reasonOf(error)], error);
  }
}

export class HostDisk implements Disk {
  readonly #directory: string;
  /** The file that was written last: errors of writing back are told to whoever had it open. */
  #file: { readonly name: string; readonly handle: FileHandle } | undefined;

  constructor(directory: string) {
    this.#directory = directory;
  }

  async list(): Promise<readonly { readonly name: string; readonly bytes: number }[]> {
    const names = await readdir(this.#directory);
    return Promise.all(names.map(async (name) => ({ name, bytes: (await stat(join(this.#directory, name))).size })));
  }

  async read(name: string): Promise<Buffer> {
    return await readFile(join(this.#directory, name));
  }

  async append(name: string, content: Buffer): Promise<void> {
    const handle = await this.#opened(name);
    for (let at = 0; at < content.length; ) at += (await handle.write(content, at)).bytesWritten;
  }

  async sync(name: string): Promise<void> {
    const handle = await this.#opened(name);
    await handle.datasync();
  }

  async rename(from: string, to: string): Promise<void> {
    await this.close();
    await rename(join(this.#directory, from), join(this.#directory, to));
  }

  async remove(name: string): Promise<void> {
    if (this.#file?.name === name) await this.close();
    await rm(join(this.#directory, name), { force: true });
  }

  async syncDirectory(): Promise<void> {
    const handle = await open(this.#directory, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.handle.close();
  }

  async #opened(name: string): Promise<FileHandle> {
    if (this.#file?.name === name) return this.#file.handle;
    await this.close();
    this.#file = { name, handle: await open(join(this.#directory, name), 'a', 0o600) };
    return this.#file.handle;
  }
}
