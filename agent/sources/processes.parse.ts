// Turns the texts of /proc/PID/comm, cmdline and stat into one entry of processes.json.

export interface ProcessEntry {
  readonly pid: number;
  readonly comm: string;
  /** As it was started; secrets in arguments are not looked for, so only processes of a known list are read. */
  readonly argv: readonly string[];
  /** Milliseconds since 1970; absent when /proc does not say. */
  readonly startedAt?: number;
}

export interface ProcessTexts {
  readonly pid: number;
  /** Milliseconds since 1970 of the boot; NaN when unknown. */
  readonly bootedAt: number;
  readonly comm: string;
  readonly cmdline: string;
  readonly stat: string;
}

/** Clock ticks of a second, as /proc/PID/stat counts: 100 on every architecture that Linux runs on (proc_pid_stat(5), sysconf(_SC_CLK_TCK)). */
const ticksPerSecond = 100;
const argumentsMax = 64;

export function readProcess({ pid, bootedAt, comm, cmdline, stat }: ProcessTexts): ProcessEntry {
  const argv = cmdline
    .split('\0')
    .filter((word) => word !== '')
    .slice(0, argumentsMax);
  // The name in parentheses may itself hold spaces and parentheses; field 22 is the start time, 20th after it.
  const ticks = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
  const startedAt = Math.round(bootedAt + (ticks * 1000) / ticksPerSecond);
  return { pid, comm: comm.trimEnd(), argv, ...(Number.isFinite(startedAt) ? { startedAt } : {}) };
}
