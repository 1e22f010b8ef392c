// Reads a file of the host by its path on the host, from wherever the agent runs: in a container the host's root is that of process 1.
import type { FileOutcome } from '../host/files.ts';
import type { Machine } from '../host/machine.ts';

/**
 * Where the file is not in our own file system, it is looked for in that of process 1, which a container sees when it shares the host's processes. That this
 * root is closed to us (it takes CAP_SYS_PTRACE) matters only in a container: elsewhere both roots are one.
 */
export async function readHostFile(machine: Machine, path: string): Promise<FileOutcome> {
  const own = await machine.read(path);
  if (own.kind !== 'absent') return own;
  const host = await machine.read(`/proc/1/root${path}`);
  if (host.kind !== 'failed' || (await inContainer(machine))) return host;
  return { kind: 'absent' };
}

/** Containers of all runtimes have an overlay for a root. */
async function inContainer(machine: Machine): Promise<boolean> {
  const mounts = await machine.read('/proc/self/mountinfo');
  return mounts.kind === 'done' && /^\d+ \d+ \S+ \/ \/ .* - (?:overlay|aufs|fuse\.fuse-overlayfs) /m.test(mounts.content.toString('latin1'));
}
