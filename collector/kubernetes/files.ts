// Cluster objects from a directory of `kubectl get -o json` or YAML files, watched: an edited file is a change of the cluster.
import { type FSWatcher, watch } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { failure, reasonOf } from '../../shared/errors.ts';
import { limits } from '../../shared/limits.ts';
import { objectChanges } from './changes.ts';
import { type ClusterObjects, clusterObjects, type KeyedObject, noObjects, type ObjectIssue, readFileObjects } from './objects.ts';
import type { ObjectSource, ObjectsUpdate } from './source.ts';

export interface FilesOptions {
  readonly directory: string;
  /** Called for the first reading before `watchFiles` resolves, then after each change. */
  readonly onUpdate: (update: ObjectsUpdate) => void;
  /** Milliseconds between looks at the directory, for file systems without events. */
  readonly pollMs?: number;
  /** Milliseconds to wait for the rest of a burst of events. */
  readonly debounceMs?: number;
}

/**
 * Reads the directory's `*.json`, `*.yaml` and `*.yml` and watches them. A file whose syntax is broken (half written, for instance) keeps the objects it had
 * before and becomes an issue. Throws INPUT_UNREADABLE when the directory cannot be read at first; later it becomes an issue.
 */
export async function watchFiles(options: FilesOptions): Promise<ObjectSource> {
  const source = new FileSource(options);
  await source.start();
  return source;
}

interface KnownFile {
  readonly mtimeMs: number;
  readonly size: number;
  readonly inode: number;
  readonly objects: readonly KeyedObject[];
  readonly issues: readonly ObjectIssue[];
}

class FileSource implements ObjectSource {
  readonly #options: FilesOptions;
  #files: ReadonlyMap<string, KnownFile> = new Map();
  #objects: ClusterObjects = noObjects;
  #lastIssues = '';
  #watcher: FSWatcher | undefined;
  #poll: NodeJS.Timeout | undefined;
  #debounce: NodeJS.Timeout | undefined;
  #reading: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: FilesOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { directory, pollMs = 5_000 } = this.#options;
    try {
      await readdir(directory);
    } catch (error) {
      throw failure('INPUT_UNREADABLE', [directory, reasonOf(error)], error);
    }
    this.#watch();
    await this.#read('first');
    this.#poll = setInterval(() => this.#soon(), pollMs);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#watcher?.close();
    clearInterval(this.#poll);
    clearTimeout(this.#debounce);
    await this.#reading;
  }

  // Without events (inotify exhausted, a network file system) the poll still sees every change, later.
  #watch(): void {
    try {
      this.#watcher = watch(this.#options.directory, () => this.#soon());
      this.#watcher.on('error', () => this.#watcher?.close());
    } catch {
      this.#watcher = undefined;
    }
  }

  #soon(): void {
    if (this.#closed || this.#debounce !== undefined) return;
    this.#debounce = setTimeout(() => {
      this.#debounce = undefined;
      this.#reading = this.#reading.then(() => this.#read('again'));
    }, this.#options.debounceMs ?? 50);
  }

  async #read(turn: 'first' | 'again'): Promise<void> {
    const { files, issues } = await readDirectory(this.#options.directory, this.#files);
    if (this.#closed) return;
    const same = files.size === this.#files.size && [...files].every(([name, file]) => this.#files.get(name) === file);
    const issueText = JSON.stringify(issues);
    if (same && issueText === this.#lastIssues && turn === 'again') return;
    const at = Date.now();
    const before = this.#objects;
    const actorOf = actorFrom(this.#files, files);
    this.#files = files;
    this.#lastIssues = issueText;
    this.#objects = clusterObjects(
      [...files.values()].flatMap(({ objects }) => objects),
      at,
    );
    const changes = turn === 'first' ? [] : objectChanges(before, this.#objects, { at, actorOf });
    this.#options.onUpdate({ objects: this.#objects, changes, issues });
  }
}

const isManifest = (name: string): boolean => /\.(json|ya?ml)$/i.test(name) && !name.startsWith('.');

async function readDirectory(
  directory: string,
  known: ReadonlyMap<string, KnownFile>,
): Promise<{ files: ReadonlyMap<string, KnownFile>; issues: readonly ObjectIssue[] }> {
  try {
    const names = (await readdir(directory)).filter(isManifest).sort();
    const read = await Promise.all(names.map(async (name) => [name, await readKnown(join(directory, name), known.get(name))] as const));
    const files = new Map(read.flatMap(([name, file]) => (file === undefined ? [] : [[name, file] as const])));
    return { files, issues: [...files.values()].flatMap(({ issues }) => issues) };
  } catch (error) {
    return { files: known, issues: [{ where: directory, reason: `cannot be read: ${reasonOf(error)}` }] };
  }
}

/** The file as it is now; the same value as before when it has not changed, undefined when it is gone. */
async function readKnown(path: string, before: KnownFile | undefined): Promise<KnownFile | undefined> {
  const name = basename(path);
  try {
    const { mtimeMs, size, ino: inode } = await stat(path);
    if (before?.mtimeMs === mtimeMs && before.size === size && before.inode === inode) return before;
    if (size > limits.inputFileBytesMax)
      return kept({ mtimeMs, size, inode }, before, { where: name, reason: `has ${size} bytes, over the limit of ${limits.inputFileBytesMax}` });
    const { objects, issues, broken } = readFileObjects({ name, text: await readFile(path, 'utf8') });
    return { mtimeMs, size, inode, objects: broken ? withObjects(before, objects) : objects, issues };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    return kept({ mtimeMs: 0, size: 0, inode: 0 }, before, { where: name, reason: `cannot be read: ${reasonOf(error)}` });
  }
}

const kept = (seen: Pick<KnownFile, 'mtimeMs' | 'size' | 'inode'>, before: KnownFile | undefined, issue: ObjectIssue): KnownFile => ({
  ...seen,
  objects: before?.objects ?? [],
  issues: [issue],
});

// Of a broken file the documents that could be read are new, the others are as they were.
const withObjects = (before: KnownFile | undefined, objects: readonly KeyedObject[]): readonly KeyedObject[] => [...(before?.objects ?? []), ...objects];

function actorFrom(before: ReadonlyMap<string, KnownFile>, after: ReadonlyMap<string, KnownFile>): Parameters<typeof objectChanges>[2]['actorOf'] {
  return (kind, key) => {
    const names = [...after.keys(), ...before.keys()].filter((name) => before.get(name) !== after.get(name));
    const holds = (file: KnownFile | undefined): boolean => file?.objects.some((each) => each.kind === kind && each.key === key) === true;
    const name = names.find((each) => holds(after.get(each))) ?? names.find((each) => holds(before.get(each)));
    return name === undefined ? { how: 'file' } : { how: 'file', comm: name };
  };
}
