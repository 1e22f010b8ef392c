// Watches nf_tables through `nft monitor` in its text form: the JSON form leaves out which process made a change.
import type { Actor } from '../../shared/model/change.ts';
import { glimpse } from '../host/files.ts';
import { anything, type Transaction } from '../ledger.ts';
import type { Wake } from '../sources/source.ts';
import { Monitor } from './monitor.ts';
import { readNftLine, type TouchedObject } from './nft.parse.ts';
import { readXtablesLine } from './xtables.parse.ts';

export interface NftEvents {
  readonly onTransaction: (transaction: Transaction, wakes: ReadonlySet<Wake>) => void;
  /** It runs (again), or has lost messages: everything may have changed. */
  readonly onUncertain: (reason: string) => void;
  readonly onEnd: (reason: string) => void;
}

export const nftWakes: readonly Wake[] = ['iptables-ip', 'iptables-ip6', 'nft'];

/** Names in one transaction; a full sync of kube-proxy touches tens of thousands of chains, which are then told apart by their tables alone. */
const touchedMax = 200_000;

/**
 * Follows the transactions. `large` is asked at each start: nft monitor begins by loading all rules (4 MB for a thousand of iptables-nft), xtables-monitor does
 * not, but leaves out what changes in native tables and ends when a transaction is larger than its buffer.
 */
export function monitorNft(events: NftEvents, large: () => boolean): Monitor {
  let touched = new Set<string>();
  let wakes = new Set<Wake>();
  const touch = (name: string, woken: readonly Wake[]) => {
    if (touched.size < touchedMax) touched.add(name);
    for (const wake of woken) wakes.add(wake);
  };
  const onLine = (line: string) => {
    const read = readLine(line);
    if (read.kind === 'lost') events.onUncertain(read.reason);
    if (read.kind === 'touched') touch(nameOf(read.object), wakesOf(read.object));
    if (read.kind === 'unnamed') touch(anything, nftWakes);
    if (read.kind !== 'generation') return;
    // Elements of sets are what xtables-monitor says nothing of at all.
    if (touched.size === 0) touch(anything, nftWakes);
    events.onTransaction({ at: Date.now(), generation: read.generation, actor: actorOf(read), touched }, wakes);
    touched = new Set();
    wakes = new Set();
  };
  const program = (): readonly [string, ...string[]] => (large() ? ['stdbuf', '-oL', 'xtables-monitor', '--event'] : ['nft', 'monitor']);
  return new Monitor({ program, onLine, onStart: () => events.onUncertain('the monitor of rules was started'), onEnd: events.onEnd });
}

function readLine(line: string): ReturnType<typeof readXtablesLine> {
  const read = readXtablesLine(line);
  return read.kind === 'other' ? readNftLine(line) : read;
}

const nameOf = ({ family, table, object }: TouchedObject): string => (object === undefined ? `${family} ${table}` : `${family} ${table} ${object}`);

const iptablesTables: ReadonlySet<string> = new Set(['filter', 'nat', 'mangle', 'raw', 'security']);

// A table of iptables' name may be written natively: then only the nftables source can read it, so both look.
function wakesOf({ family, table, object }: TouchedObject): readonly Wake[] {
  if ((family !== 'ip' && family !== 'ip6') || !iptablesTables.has(table)) return ['nft'];
  const own: Wake = family === 'ip' ? 'iptables-ip' : 'iptables-ip6';
  return object === undefined ? [own, 'nft'] : [own];
}

/** Limits of the wire on what an actor holds. */
const argumentsMax = 64;
const argumentLengthMax = 1024;

// Most tools are gone when their transaction is told; what /proc still says is taken at once, and only when it is the same program.
function actorOf({ pid, comm }: { readonly pid: number; readonly comm: string }): Actor {
  const seen = glimpse(pid);
  if (seen.comm === undefined || seen.comm.slice(0, 15) !== comm.slice(0, 15)) return { pid, comm, how: 'nft-generation' };
  return {
    pid,
    comm: seen.comm,
    ...(seen.argv === undefined ? {} : { argv: seen.argv.slice(0, argumentsMax).map((word) => word.slice(0, argumentLengthMax)) }),
    ...(seen.unit === undefined ? {} : { unit: seen.unit.slice(0, 256) }),
    how: 'nft-generation',
  };
}
