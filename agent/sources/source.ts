// What a source is: one thing of the host that decides a packet's fate, how it is read, and what wakes its reading.
import type { CaptureFiles } from '../../shared/netfilter/node.ts';
import type { Machine } from '../host/machine.ts';

/**
 * What an event says has changed; a source lists those that make it read again. Legacy tables, sets of ipset and IPVS have no events of the kernel: theirs come
 * from whoever sees programs at work (the lock of iptables, eBPF). Those of ufw and firewalld come from their files, or from firewalld itself.
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
  | 'ufw'
  | 'firewalld';

/**
 * `facts`: read, as files of a capture. `absent`: the host has no such thing, which is normal. `failed`: it may be there and could not be read.
 * A source that yields facts may still be partly blind: `unread` says of what.
 */
export type Reading =
  | { readonly outcome: 'facts'; readonly files: ReadonlyMap<string, Buffer>; readonly commands: Readonly<Record<string, string>>; readonly unread?: string }
  | { readonly outcome: 'absent'; readonly reason: string }
  | { readonly outcome: 'failed'; readonly reason: string };

export interface Source {
  readonly name: string;
  readonly needs: { readonly commands: readonly string[]; readonly capabilities: readonly string[] };
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

/** A reading of one command's output as one file; a program that is not installed makes the source absent. */
export async function readCommand(machine: Machine, file: string, words: readonly [string, ...string[]]): Promise<Reading> {
  const [command, ...args] = words;
  const outcome = await machine.run(command, args);
  if (outcome.kind === 'missing') return { outcome: 'absent', reason: `${command} is not installed` };
  if (outcome.kind === 'failed') return { outcome: 'failed', reason: `${words.join(' ')}: ${outcome.reason}` };
  return { outcome: 'facts', files: new Map([[file, outcome.stdout]]), commands: { [file]: words.join(' ') } };
}

/** Several readings as one: facts of all that have any; what failed beside facts is said in `unread`; absent only when all are. */
export function joinReadings(readings: readonly Reading[]): Reading {
  const facts = readings.filter((reading) => reading.outcome === 'facts');
  const failed = readings.filter((reading) => reading.outcome === 'failed').map((reading) => reading.reason);
  if (facts.length === 0) {
    const reason = [...new Set(readings.flatMap((reading) => (reading.outcome === 'facts' ? [] : [reading.reason])))].join('; ');
    return { outcome: failed.length > 0 ? 'failed' : 'absent', reason };
  }
  return {
    outcome: 'facts',
    files: new Map(facts.flatMap((reading) => [...reading.files])),
    commands: Object.assign({}, ...facts.map((reading) => reading.commands)),
    ...(failed.length === 0 ? {} : { unread: failed.join('; ') }),
  };
}

/** For sources that events tell of entirely. */
export const never = (): undefined => undefined;
