// What the agent costs its node: processor time of itself and of all that it starts, and memory, as the kernel counts them.
import { readKernelsNow } from './files.ts';

/** Clock ticks of a second, as /proc counts: 100 on every architecture that Linux runs on (proc_pid_stat(5), sysconf(_SC_CLK_TCK)). */
const ticksPerSecond = 100;

/**
 * Milliseconds of processor time that this process, its ended children and `running` ones have used. Ended children are counted by the kernel when they are
 * waited for, with those of their own; it adds nanoseconds and shows ticks, so that sums are right although a single short program shows as nothing.
 */
export function spentMs(running: readonly number[]): number {
  const { user, system } = process.cpuUsage();
  const own = statOf('self');
  const alive = running.map(statOf).reduce((sum, stat) => sum + (stat?.ownTicks ?? 0) + (stat?.endedTicks ?? 0), 0);
  return (user + system) / 1000 + (((own?.endedTicks ?? 0) + alive) * 1000) / ticksPerSecond;
}

/** Bytes of memory that this process and `running` ones hold; what is shared between them counts for each. */
export function residentBytes(running: readonly number[]): number {
  return process.memoryUsage.rss() + running.map(residentOf).reduce((sum, bytes) => sum + bytes, 0);
}

/** Milliseconds of processor time that a process and its ended children have used so far; 0 when it is gone. */
export function processorMs(pid: number): number {
  const stat = statOf(pid);
  return stat === undefined ? 0 : ((stat.ownTicks + stat.endedTicks) * 1000) / ticksPerSecond;
}

interface Stat {
  readonly ownTicks: number;
  readonly endedTicks: number;
}

function statOf(pid: number | 'self'): Stat | undefined {
  const text = readNow(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  // The name in parentheses may itself hold spaces and parentheses; utime, stime, cutime and cstime are the 12th to 15th after it.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const ticks = (index: number): number => Number(fields[index]) || 0;
  return { ownTicks: ticks(11) + ticks(12), endedTicks: ticks(13) + ticks(14) };
}

const residentOf = (pid: number): number => Number(/^VmRSS:\s+(\d+)/m.exec(readNow(`/proc/${pid}/status`) ?? '')?.[1] ?? 0) * 1024;

// A process may be gone between being named and being looked at.
function readNow(path: string): string | undefined {
  try {
    return readKernelsNow(path).toString('latin1');
  } catch {
    return undefined;
  }
}
