// A directory tree in the making: what goes into a package, with modes and dates that do not depend on who builds it, when and where.
import { chmodSync, copyFileSync, lutimesSync, mkdirSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';

export class Tree {
  /** The directory that stands for `/`. */
  readonly directory: string;

  constructor(directory: string) {
    this.directory = directory;
    this.#makeDirectory(directory);
  }

  /** Copies a file of the checkout. `mode` is 0644 unless it is said otherwise. */
  copy(from: string, to: string, mode = 0o644): void {
    copyFileSync(from, this.#place(to));
    chmodSync(this.#place(to), mode);
  }

  write(to: string, content: string | Buffer, mode = 0o644): void {
    writeFileSync(this.#place(to), content);
    chmodSync(this.#place(to), mode);
  }

  /** Writes compressed, without the date and the name that gzip would add. */
  gzip(to: string, content: string): void {
    this.write(to, gzipSync(content, { level: 9 }));
  }

  link(to: string, target: string): void {
    symlinkSync(target, this.#place(to));
  }

  /** Copies all files of a directory that `keep` takes; paths are relative to it. */
  copyAll(from: string, to: string, keep: (path: string) => boolean = () => true): void {
    for (const name of readdirSync(from, { recursive: true, encoding: 'utf8' }).sort())
      if (statSync(join(from, name)).isFile() && keep(name)) this.copy(join(from, name), join(to, name));
  }

  /** Dates everything. To be called last. */
  date(seconds: number): void {
    for (const name of readdirSync(this.directory, { recursive: true, encoding: 'utf8' })) lutimesSync(join(this.directory, name), seconds, seconds);
    lutimesSync(this.directory, seconds, seconds);
  }

  /** Kibibytes that it takes on disk, directories included: what Debian's Installed-Size says. */
  kibibytes(): number {
    const all = readdirSync(this.directory, { recursive: true, withFileTypes: true });
    return all.reduce((sum, entry) => sum + (entry.isFile() ? Math.ceil(statSync(join(entry.parentPath, entry.name)).size / 1024) : 1), 0);
  }

  #place(path: string): string {
    const place = join(this.directory, path);
    this.#makeDirectory(dirname(place));
    return place;
  }

  // Whatever the umask of who builds: a package's directories are open to all.
  #makeDirectory(path: string): void {
    for (let made = mkdirSync(path, { recursive: true }), at = path; made !== undefined; at = dirname(at)) {
      chmodSync(at, 0o755);
      if (at === made) return;
    }
  }
}
