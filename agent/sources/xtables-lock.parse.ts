// Reads /proc/locks, in which the kernel lists who holds and who waits for locks on files.

/** Processes that hold (and do not merely wait for) a lock on one of these inodes. */
export function holdersOf(text: string, inodes: ReadonlySet<number>): readonly number[] {
  return text.split('\n').flatMap((line) => {
    const [, pid, inode] = /^\d+: (?:FLOCK|POSIX|OFDLCK)\s+\S+\s+\S+\s+(\d+) [0-9a-f]+:[0-9a-f]+:(\d+) /.exec(line) ?? [];
    return pid !== undefined && inodes.has(Number(inode)) ? [Number(pid)] : [];
  });
}
