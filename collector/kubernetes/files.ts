// Cluster objects from a directory of `kubectl get -o json` or YAML files, watched: an edited file is a change of the cluster.
import { type FSWatcher, watch } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { failure, reasonOf } from '../../shared/errors.ts';
import { limits } from '../../shared/limits.ts';
import type { ActorOf } from './changes.ts';
import { faultsBetween } from './faults.ts';
import { Inventory } from './inventory.ts';
import { type KeyedObject, type ObjectIssue, objectKinds, readFileObjects } from './objects.ts';
import type { KindView, ObjectSource, ObjectsUpdate } from './source.ts';

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
  readonly #inventory = new Inventory();
  #reads = 0;
  /** When the directory was read last, and why it cannot be now. */
  #confirmedAt = 0;
  #failure: string | undefined;
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

  view(): readonly KindView[] {
    const failure = this.#failure;
    const state = failure === undefined ? 'watching' : 'failing';
    const reason = failure === undefined ? {} : { reason: failure };
    return objectKinds.map((kind) => ({
      kind,
      state,
      confirmedAt: this.#confirmedAt,
      objects: this.#inventory.count(kind),
      lists: this.#reads,
      watches: 1,
      missed: 0,
      ...reason,
    }));
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
    const { files, failure } = await readDirectory(this.#options.directory, this.#files);
    if (this.#closed) return;
    const at = Date.now();
    if (failure === undefined) this.#confirmedAt = at;
    const same = files.size === this.#files.size && [...files].every(([name, file]) => this.#files.get(name) === file);
    if (same && failure === this.#failure && turn === 'again') return;
    this.#putAll(files);
    const { objects, changes, touched } = this.#inventory.take({ at, actorOf: actorFrom(this.#files, files) });
    this.#files = files;
    this.#failure = failure;
    this.#reads++;
    const unreadable = failure === undefined ? [] : [{ where: this.#options.directory, reason: failure }];
    const issues = [...unreadable, ...[...files.values()].flatMap((file) => file.issues), ...faultsBetween(objects)];
    this.#options.onUpdate({ objects, changes, issues: issues.slice(0, limits.objectIssuesMax), touched });
  }

  // Later files win over earlier ones of the same name.
  #putAll(files: ReadonlyMap<string, KnownFile>): void {
    const latest = new Map<string, KeyedObject>();
    for (const { objects } of files.values()) for (const each of objects) latest.set(`${each.kind} ${each.key}`, each);
    for (const { kind, key, object } of latest.values()) this.#inventory.put(kind, key, object);
    const keys = Map.groupBy(latest.values(), ({ kind }) => kind);
    for (const kind of objectKinds) this.#inventory.keepOnly(kind, new Set((keys.get(kind) ?? []).map(({ key }) => key)));
  }
}

const isManifest = (name: string): boolean => /\.(json|ya?ml)$/i.test(name) && !name.startsWith('.');

/** The directory as it is now; with `failure` as it was before. */
async function readDirectory(
  directory: string,
  known: ReadonlyMap<string, KnownFile>,
): Promise<{ readonly files: ReadonlyMap<string, KnownFile>; readonly failure?: string }> {
  try {
    const names = (await readdir(directory)).filter(isManifest).sort();
    const read = await Promise.all(names.map(async (name) => [name, await readKnown(join(directory, name), known.get(name))] as const));
    return { files: new Map(read.flatMap(([name, file]) => (file === undefined ? [] : [[name, file] as const]))) };
  } catch (error) {
    return { files: known, failure: `cannot be read: ${reasonOf(error)}` };
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

function actorFrom(before: ReadonlyMap<string, KnownFile>, after: ReadonlyMap<string, KnownFile>): ActorOf {
  return (kind, key) => {
    const names = [...after.keys(), ...before.keys()].filter((name) => before.get(name) !== after.get(name));
    const holds = (file: KnownFile | undefined): boolean => file?.objects.some((each) => each.kind === kind && each.key === key) === true;
    const name = names.find((each) => holds(after.get(each))) ?? names.find((each) => holds(before.get(each)));
    return name === undefined ? { how: 'file' } : { how: 'file', comm: name };
  };
}
