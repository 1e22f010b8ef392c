// Turns the texts of /proc/PID/comm, cmdline and stat into one entry of processes.json.

export interface ProcessEntry {
  readonly pid: number;
  readonly comm: string;
  /** As it was started, without the values of flags that hold secrets; only processes of a known list are read. */
  readonly argv: readonly string[];
  /** Milliseconds since 1970; absent when /proc does not say. */
  readonly startedAt?: number;
  /** systemd unit or container; absent when its control group names neither. */
  readonly unit?: string;
}

export interface ProcessTexts {
  readonly pid: number;
  /** Milliseconds since 1970 of the boot; NaN when unknown. */
  readonly bootedAt: number;
  readonly comm: string;
  readonly cmdline: string;
  readonly stat: string;
  readonly unit?: string | undefined;
}

/** Clock ticks of a second, as /proc/PID/stat counts: 100 on every architecture that Linux runs on (proc_pid_stat(5), sysconf(_SC_CLK_TCK)). */
const ticksPerSecond = 100;
const argumentsMax = 64;
const argumentLengthMax = 1024;

export function readProcess({ pid, bootedAt, comm, cmdline, stat, unit }: ProcessTexts): ProcessEntry {
  const argv = withoutSecrets(
    cmdline
      .split('\0')
      .filter((word) => word !== '')
      .slice(0, argumentsMax)
      .map((word) => word.slice(0, argumentLengthMax)),
  );
  const startedAt = Math.round(bootedAt + (startTicks(stat) * 1000) / ticksPerSecond);
  return { pid, comm: comm.replace(/\n$/, ''), argv, ...(Number.isFinite(startedAt) ? { startedAt } : {}), ...(unit === undefined ? {} : { unit }) };
}

/** The start in clock ticks since the boot. The name in parentheses may itself hold spaces and parentheses; field 22 is the start time, 20th after it. */
export const startTicks = (stat: string): number => Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);

/** Whether a process is one no longer, although its parent has not asked for its end yet: a zombie, or on its way there, when it has no arguments any more. */
export const hasEnded = (stat: string, cmdline: Uint8Array): boolean => /^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2)) || cmdline.length === 0;

const secret = /(?:token|passw(?:or)?d|secret|credential|auth-?key|private-?key|api-?key|pre-?shared-?key|datastore-endpoint)/i;
/** Flags whose names only look so: what they name is a file, or nothing. */
const harmless = /(?:-file|-path|-dir|-ttl|-webhook[\w-]*|-issuer|-audience)$/i;
const hidden = '***';

/** Command lines are told to the collector and kept there; k3s, for one, may be started with its token. */
export function withoutSecrets(argv: readonly string[]): readonly string[] {
  return argv.map((word, index) => {
    const [, flag, value] = /^(--?[\w.-]+)(?:=([\s\S]*))?$/.exec(word) ?? [];
    if (flag !== undefined && value !== undefined && holds(flag)) return `${flag}=${hidden}`;
    const before = /^--?[\w.-]+$/.exec(argv[index - 1] ?? '')?.[0];
    if (before !== undefined && holds(before) && flag === undefined) return hidden;
    return word.replace(/(\w:\/\/)[^/@\s]+@/, `$1${hidden}@`);
  });
}

const holds = (flag: string): boolean => secret.test(flag) && !harmless.test(flag);

/** The entries of a processes.json; empty when it is not there or is none. */
export function processEntries(file: Buffer | undefined): readonly ProcessEntry[] {
  try {
    const list: unknown = JSON.parse(file?.toString('utf8') ?? '[]');
    return (Array.isArray(list) ? list : []).filter((each): each is ProcessEntry => typeof each?.comm === 'string' && Array.isArray(each?.argv));
  } catch {
    return [];
  }
}

/** Whether a process of such a name is in processes.json. */
export const hasProcess = (file: Buffer | undefined, name: RegExp): boolean => processEntries(file).some(({ comm }) => name.test(comm));

/** Processes that are or embed kube-proxy, as /proc/PID/comm names them. */
export const proxyNames = /^(?:kube-proxy|k3s|k3s-server|k3s-agent|k0s|kubelite)$/;
