// What a source is: one thing of the host that decides a packet's fate, how it is read, and what wakes its reading.
import { limits } from '../../shared/limits.ts';
import type { CaptureFiles } from '../../shared/netfilter/node.ts';
import type { Machine } from '../host/machine.ts';

/**
 * What an event says has changed; a source lists those that make it read again. Legacy tables, sets of ipset, IPVS, settings and processes have no events of the
 * kernel: theirs come from whoever sees programs at work (the lock of iptables, eBPF). Those of ufw and firewalld come from their files, or from firewalld itself.
 */
export type Wake =
  | 'iptables-ip'
  | 'iptables-ip6'
  | 'iptables-legacy'
  | 'nft'
  | 'ipset'
  | 'ipvs'
  | 'link'
  | 'address'
  | 'route'
  | 'netconf'
  | 'listener'
  | 'sysctl'
  | 'process'
  | 'ufw'
  | 'firewalld';

/** A table of iptables-legacy, e.g. `ip filter`. */
export type LegacyTable = `${'ip' | 'ip6'} ${string}`;

/** Legacy tables that may have changed: these, or any. */
export type LegacyTables = 'any' | ReadonlySet<LegacyTable>;

/**
 * `facts`: read, as files of a capture. `absent`: the host has no such thing, which is normal. `failed`: it may be there and could not be read.
 * A source that yields facts may still be partly blind: `unread` says of what may hold more and could not be read, `lacks` of what its facts merely leave
 * out (the names of processes, say), with the capability or tool that would give it.
 */
export type Reading =
  | {
      readonly outcome: 'facts';
      readonly files: ReadonlyMap<string, Buffer>;
      readonly commands: Readonly<Record<string, string>>;
      readonly unread?: string;
      readonly lacks?: string;
    }
  | { readonly outcome: 'absent'; readonly reason: string }
  | { readonly outcome: 'failed'; readonly reason: string };

export interface Needs {
  readonly commands: readonly string[];
  /** Without one of these it cannot be read at all. */
  readonly capabilities: readonly string[];
  /** Capabilities without which facts leave something out: the capability, and what it adds. */
  readonly adds?: Readonly<Record<string, string>>;
}

export interface Source {
  readonly name: string;
  readonly needs: Needs;
  /** Names of the capture files that it may yield; those it does not yield at a reading are not there. */
  readonly files: readonly string[];
  /** Events that say it may have changed. */
  readonly wakes: readonly Wake[];
  /** The shortest period of reading it without an event, in milliseconds, given the files as they are; undefined when events tell of every change. */
  pollMs(files: CaptureFiles): number | undefined;
  /** A cheap look, every two seconds, for something to read that no event tells of; absent where there is no such thing. */
  appeared?(machine: Machine, known: CaptureFiles): Promise<boolean>;
  /** A look that costs less than a reading and shows most changes: the same text as at the last reading says that there is nothing new. Absent where there is none. */
  glance?(machine: Machine): Promise<string | undefined>;
  /** Reads it once; `known` are the files of all sources as last read. Never rejects for what the host is like. */
  read(machine: Machine, known: CaptureFiles): Promise<Reading>;
}

/** One command whose output is one file. */
export interface Tool {
  readonly file: string;
  readonly words: readonly [string, ...string[]];
  /** Says why an output cannot be what the program prints when it is well; undefined when it can. */
  readonly check?: (output: Buffer) => string | undefined;
  /** `limits.toolTimeoutMs` if absent. */
  readonly timeoutMs?: number;
}

/** A reading of one command's output as one file; a program that is not installed makes the source absent. */
export async function readTool(machine: Machine, { file, words, check, timeoutMs = limits.toolTimeoutMs }: Tool): Promise<Reading> {
  const [command, ...args] = words;
  const outcome = await machine.run(command, args, timeoutMs);
  if (outcome.kind === 'missing') return { outcome: 'absent', reason: `${command} is not installed` };
  if (outcome.kind === 'failed') return { outcome: 'failed', reason: `${words.join(' ')}: ${outcome.reason}` };
  const wrong = check?.(outcome.stdout);
  if (wrong !== undefined) return { outcome: 'failed', reason: `${words.join(' ')}: ${wrong}` };
  return { outcome: 'facts', files: new Map([[file, outcome.stdout]]), commands: { [file]: words.join(' ') } };
}

/** A reading of a command that may print for long: a dump of rules. */
export const readCommand = (machine: Machine, file: string, words: readonly [string, ...string[]]): Promise<Reading> =>
  readTool(machine, { file, words, timeoutMs: limits.commandTimeoutMs });

/** Several readings as one: facts of all that have any; what failed beside facts is said in `unread`; absent only when all are. */
export function joinReadings(readings: readonly Reading[]): Reading {
  const facts = readings.filter((reading) => reading.outcome === 'facts');
  const failed = readings.filter((reading) => reading.outcome === 'failed').map((reading) => reading.reason);
  if (facts.length === 0) {
    const reason = [...new Set(readings.flatMap((reading) => (reading.outcome === 'facts' ? [] : [reading.reason])))].join('; ');
    return { outcome: failed.length > 0 ? 'failed' : 'absent', reason };
  }
  const unread = [...failed, ...facts.flatMap((reading) => reading.unread ?? [])];
  const lacks = [...new Set(facts.flatMap((reading) => reading.lacks ?? []))];
  return {
    outcome: 'facts',
    files: new Map(facts.flatMap((reading) => [...reading.files])),
    commands: Object.assign({}, ...facts.map((reading) => reading.commands)),
    ...(unread.length === 0 ? {} : { unread: unread.join('; ') }),
    ...(lacks.length === 0 ? {} : { lacks: lacks.join('; ') }),
  };
}

/** A reading of one file made from what was read of the kernel's own files; `from` says which. */
export const madeFile = (file: string, content: string | Buffer, from: string): Reading & { outcome: 'facts' } => ({
  outcome: 'facts',
  files: new Map([[file, Buffer.isBuffer(content) ? content : Buffer.from(content)]]),
  commands: { [file]: from },
});

/** For sources that events tell of entirely. */
export const never = (): undefined => undefined;
