// Reads files of the host: the only place that does. Nothing of the host is ever written; a capture goes where a person says.
import { closeSync, constants, openSync, readFileSync, readlinkSync, readSync, statSync } from 'node:fs';
import { mkdir, open, readdir, writeFile } from 'node:fs/promises';
import os from 'node:os';
import { join } from 'node:path';
import { reasonOf } from '../../shared/errors.ts';

/** `absent`: there is no such file; `failed`: it is there and cannot be read. */
export type FileOutcome =
  | { readonly kind: 'done'; readonly content: Buffer }
  | { readonly kind: 'absent' }
  | { readonly kind: 'failed'; readonly reason: string };

const fileBytesMax = 16 * 1024 * 1024;

/**
 * Reads a whole file, up to 16 MiB. Never rejects. Files of /proc say a size of 0, so it is read until it ends.
 * /proc and /sys are no disks: reading them at once costs a tenth of going through the thread pool, and hundreds of them are read every few seconds.
 */
export async function readText(path: string): Promise<FileOutcome> {
  try {
    if (isKernels(path)) return { kind: 'done', content: readKernelsNow(path) };
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      if (!(await file.stat()).isFile()) return { kind: 'failed', reason: 'is no regular file' };
      const chunks: Buffer[] = [];
      let size = 0;
      for (;;) {
        const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(size === 0 ? 4 * 1024 : 64 * 1024));
        if (bytesRead === 0) return { kind: 'done', content: Buffer.concat(chunks, size) };
        chunks.push(buffer.subarray(0, bytesRead));
        size += bytesRead;
        if (size > fileBytesMax) return { kind: 'failed', reason: `is larger than ${fileBytesMax} bytes` };
      }
    } finally {
      await file.close();
    }
  } catch (error) {
    return isAbsent(error) ? { kind: 'absent' } : { kind: 'failed', reason: reasonOf(error) };
  }
}

// What lies below /proc/PID/root is a file system like any other, and that of a container may be made by somebody who means harm.
const isKernels = (path: string): boolean => (path.startsWith('/proc/') && !/^\/proc\/[^/]+\/(?:root|cwd|fd)\//.test(path)) || path.startsWith('/sys/');

/** What files of /proc and /sys are read into: a buffer for each of them, of a size that they do not tell, would keep the garbage collector busy. */
const kernels = Buffer.allocUnsafeSlow(64 * 1024);

/** A file of /proc or /sys, which says a size of 0 and is read until it ends. Throws what the file system says. */
export function readKernelsNow(path: string): Buffer {
  const file = openSync(path, 'r');
  try {
    const chunks: Buffer[] = [];
    let used = 0;
    for (;;) {
      const read = readSync(file, kernels, used, kernels.length - used, null);
      used += read;
      if (read > 0 && used < kernels.length) continue;
      const chunk = Buffer.from(kernels.subarray(0, used));
      if (read === 0) return chunks.length === 0 ? chunk : Buffer.concat([...chunks, chunk]);
      chunks.push(chunk);
      used = 0;
    }
  } finally {
    closeSync(file);
  }
}

/** Names in a directory; empty when it is absent or closed to us. */
export async function list(path: string): Promise<readonly string[]> {
  try {
    return await readdir(path);
  } catch {
    return [];
  }
}

/** Where a link leads (`net:[4026531840]` of /proc/PID/ns/net); undefined when it is absent or closed to us. */
export function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

/** The number of a file in its file system; undefined when it is absent or closed to us. */
export function inodeOf(path: string): number | undefined {
  try {
    return statSync(path).ino;
  } catch {
    return undefined;
  }
}

/** What /proc says of a process at this moment. Everything may be missing: most processes that change rules live for milliseconds. */
export interface ProcessGlimpse {
  readonly comm?: string;
  readonly argv?: readonly string[];
  /** systemd unit or container of its control group. */
  readonly unit?: string;
  readonly uid?: number;
  /** Who started it, the parent first. */
  readonly parents?: readonly { readonly pid: number; readonly comm: string }[];
}

/** The pid namespace that the machine began with has this number on every kernel (PROC_PID_INIT_INO). */
const firstPidNamespace = 'pid:[4026531836]';

/** Whether the numbers of processes that the kernel tells are those of /proc here: not so in a container without the host's processes. */
export const seesAllProcesses = (): boolean => linkOf('/proc/self/ns/pid') === firstPidNamespace;

/** Looks at a process at once, without giving the event loop a chance to let it end first. `pid` is a number of the machine: where /proc has others, nothing is said. */
export function glimpse(pid: number): ProcessGlimpse {
  if (!seesAllProcesses()) return {};
  const comm = readNow(`/proc/${pid}/comm`)?.trim();
  const argv = readNow(`/proc/${pid}/cmdline`)
    ?.split('\0')
    .filter((word) => word !== '');
  const unit = unitOf(readNow(`/proc/${pid}/cgroup`) ?? '');
  const status = statusOf(pid);
  return {
    ...(comm ? { comm } : {}),
    ...(argv === undefined || argv.length === 0 ? {} : { argv }),
    ...(unit === undefined ? {} : { unit }),
    ...(status === undefined ? {} : { uid: status.uid, parents: ancestorsOf(status.parentPid) }),
  };
}

const ancestorsMax = 6;

function ancestorsOf(pid: number): { pid: number; comm: string }[] {
  const found: { pid: number; comm: string }[] = [];
  for (let at = pid; at > 0 && found.length < ancestorsMax; ) {
    const status = statusOf(at);
    if (status === undefined) break;
    found.push({ pid: at, comm: status.name });
    at = status.parentPid;
  }
  return found;
}

function statusOf(pid: number): { readonly name: string; readonly parentPid: number; readonly uid: number } | undefined {
  const text = readNow(`/proc/${pid}/status`);
  const field = (name: string): string => new RegExp(`^${name}:\\t(\\S+)`, 'm').exec(text ?? '')?.[1] ?? '';
  return text === undefined ? undefined : { name: /^Name:\t(.*)$/m.exec(text)?.[1] ?? '', parentPid: Number(field('PPid')), uid: Number(field('Uid')) };
}

/** The unit (`ssh.service`) or container id that the text of /proc/PID/cgroup names; undefined when it names neither. */
export function unitOf(cgroup: string): string | undefined {
  const container = /(?:docker-|cri-containerd-|crio-|\/docker\/|\/kubepods[^\n]*\/)([0-9a-f]{64})/.exec(cgroup);
  if (container?.[1] !== undefined) return `container ${container[1].slice(0, 12)}`;
  const units = cgroup.match(/[^/\n]+\.(?:service|scope)(?=\/|$|\n)/gm);
  return units?.at(-1);
}

/** The text of a secret, without the newline at its end. Throws when it cannot be read. */
export const readSecret = (path: string): string => readFileSync(path, 'utf8').trim();

/** Writes files to a directory, which is made if it is not there: only for captures, that a person asked for. Throws what the file system says. */
export async function writeFiles(directory: string, files: ReadonlyMap<string, Buffer | string>): Promise<void> {
  await mkdir(directory, { recursive: true });
  for (const [name, content] of files) await writeFile(join(directory, name), content);
}

export const hostname = (): string => os.hostname();

function readNow(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function isAbsent(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ENOENT' || code === 'ENOTDIR' || code === 'ESRCH';
}
