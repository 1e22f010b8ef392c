// What a process and its children cost, as the kernel counts them.
import { readdirSync, readFileSync } from 'node:fs';

export interface Figures {
  /** Megabytes. */
  readonly rss: number;
  readonly peak: number;
  /** Of the running children, together. */
  readonly childrenRss: number;
  /** Seconds of processor time so far: of the process, and of all its children, ended ones included. */
  readonly cpu: number;
  readonly childrenCpu: number;
  /** Bytes written to disk so far, by the process and its running children. */
  readonly written: number;
}

export function figuresOf(pid: number): Figures {
  const children = childrenOf(pid);
  const own = statOf(pid);
  const running = children.map(statOf);
  return {
    rss: memoryOf(pid, 'VmRSS'),
    peak: memoryOf(pid, 'VmHWM'),
    childrenRss: children.reduce((sum, child) => sum + memoryOf(child, 'VmRSS'), 0),
    cpu: own.self,
    childrenCpu: own.ended + running.reduce((sum, { self, ended }) => sum + self + ended, 0),
    written: [pid, ...children].reduce((sum, each) => sum + writtenBy(each), 0),
  };
}

/** Direct children of a process. */
export function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((each) => fieldsOf(each)?.[1] === String(pid));
}

function statOf(pid: number): { readonly self: number; readonly ended: number } {
  const fields = fieldsOf(pid) ?? [];
  const seconds = (index: number): number => Number(fields[index] ?? 0) / 100;
  return { self: seconds(11) + seconds(12), ended: seconds(13) + seconds(14) };
}

/** Fields of /proc/PID/stat from the state on: the parent is the second. */
function fieldsOf(pid: number): readonly string[] | undefined {
  const text = read(`/proc/${pid}/stat`);
  return text?.slice(text.lastIndexOf(')') + 2).split(' ');
}

const memoryOf = (pid: number, name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(read(`/proc/${pid}/status`) ?? '')?.[1] ?? 0) / 1024;
const writtenBy = (pid: number): number => Number(/^write_bytes: (\d+)/m.exec(read(`/proc/${pid}/io`) ?? '')?.[1] ?? 0);

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return undefined;
  }
}
