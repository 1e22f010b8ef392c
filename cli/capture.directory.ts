// Reads the files of a directory, for the commands that work offline on a capture.
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { failure, reasonOf } from '../shared/errors.ts';
import { limits } from '../shared/limits.ts';
import { readNode, ruleFileNames } from '../shared/netfilter/node.read.ts';
import type { CaptureFiles, NodeState } from '../shared/netfilter/node.ts';
import type { Io } from './command.ts';

/** Every file of a directory by its name; subdirectories are left out. Throws INPUT_UNREADABLE. */
export async function readDirectory(directory: string): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  for (const name of await namesIn(directory)) {
    const path = join(directory, name);
    const known = await stat(path).catch(() => undefined);
    if (known?.isFile() !== true) continue;
    if (known.size > limits.inputFileBytesMax)
      throw failure('INPUT_UNREADABLE', [path, `${known.size} bytes are over the limit of ${limits.inputFileBytesMax}`]);
    files.set(name, await readFile(path).catch((error: unknown) => Promise.reject(failure('INPUT_UNREADABLE', [path, reasonOf(error)], error))));
  }
  return files;
}

/** Refuses a directory that holds no file of a capture. */
export function assertCapture(directory: string, files: CaptureFiles): void {
  if (![...ruleFileNames, 'ip-addr.json'].some((name) => files.has(name))) throw failure('CAPTURE_EMPTY', [directory]);
}

/** Reads a capture directory into a node's state, and says on stderr what could not be read. Throws INPUT_UNREADABLE or CAPTURE_EMPTY. */
export async function readCapture(directory: string, io: Pick<Io, 'stderr'>): Promise<NodeState> {
  const files = await readDirectory(directory);
  assertCapture(directory, files);
  const node = readNode(files);
  for (const { file, line, reason, text } of node.issues.slice(0, shownIssuesMax))
    io.stderr.write(`${join(directory, file ?? '')}:${line}: ${reason}: ${text}\n`);
  if (node.issues.length > shownIssuesMax) io.stderr.write(`… and ${node.issues.length - shownIssuesMax} more lines that could not be read\n`);
  for (const what of node.unread) io.stderr.write(`not read: ${what}; answers that depend on it are unknown\n`);
  return node;
}

const shownIssuesMax = 10;

async function namesIn(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).sort();
  } catch (error) {
    throw failure('INPUT_UNREADABLE', [directory, reasonOf(error)], error);
  }
}
