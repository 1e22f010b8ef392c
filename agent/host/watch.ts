// Watches directories of the host through inotify. Reading is not seen, only what is written, made, moved or deleted.
import { existsSync, type FSWatcher, watch } from 'node:fs';

export interface WatchedDirectories {
  readonly directories: readonly string[];
  /** Called with the path of what changed. */
  readonly onChange: (path: string) => void;
}

/** Directories that are not there are looked for this often, in milliseconds. */
const retryMs = 60_000;

/** Watches until it is closed. Directories that do not exist, or are gone, are watched once they are there. Never throws. */
export function watchDirectories({ directories, onChange }: WatchedDirectories): { close(): void } {
  const watchers = new Map<string, FSWatcher>();
  const open = (directory: string, isLate: boolean): void => {
    try {
      const drop = () => {
        watcher.close();
        if (watchers.get(directory) === watcher) watchers.delete(directory);
      };
      const watcher = watch(directory, { persistent: false }, (_event, name) => {
        onChange(`${directory}/${name ?? ''}`);
        // A directory that was deleted is told of once, and never again under this watch.
        if (!existsSync(directory)) drop();
      });
      watcher.on('error', drop);
      watchers.set(directory, watcher);
      if (isLate) onChange(directory);
    } catch {
      // Not there, or no more inotify watches: tried again later.
    }
  };
  for (const directory of directories) open(directory, false);
  const timer = setInterval(() => {
    for (const directory of directories) if (!watchers.has(directory)) open(directory, true);
  }, retryMs);
  timer.unref();
  return {
    close: () => {
      clearInterval(timer);
      for (const watcher of watchers.values()) watcher.close();
      watchers.clear();
    },
  };
}
