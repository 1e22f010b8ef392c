// Watches nf_tables through `nft monitor` in its text form: the JSON form leaves out which process made a change.
import type { Actor } from '../../shared/model/change.ts';
import type { Transaction } from '../ledger.ts';
import { glimpse } from '../host/files.ts';
import type { Wake } from '../sources/source.ts';
import { Monitor } from './monitor.ts';
import { type TouchedObject, readNftLine } from './nft.parse.ts';

export interface NftEvents {
  readonly onTransaction: (transaction: Transaction, wakes: ReadonlySet<Wake>) => void;
  /** It runs (again), or has lost messages: everything may have changed. */
  readonly onUncertain: (reason: string) => void;
  readonly onEnd: (reason: string) => void;
}

export const nftWakes: readonly Wake[] = ['iptables-ip', 'iptables-ip6', 'nft'];

/** Names in one transaction; a full sync of kube-proxy touches tens of thousands of chains, which are then told apart by their tables alone. */
const touchedMax = 200_000;

export function monitorNft(events: NftEvents): Monitor {
  let touched = new Set<string>();
  let wakes = new Set<Wake>();
  const onLine = (line: string) => {
    const read = readNftLine(line);
    if (read.kind === 'lost') return events.onUncertain(read.reason);
    if (read.kind === 'touched') {
      if (touched.size < touchedMax) touched.add(nameOf(read.object));
      return wakesOf(read.object).forEach((wake) => wakes.add(wake));
    }
    if (read.kind !== 'generation') return;
    if (touched.size > 0) events.onTransaction({ at: Date.now(), generation: read.generation, actor: actorOf(read), touched }, wakes);
    touched = new Set();
    wakes = new Set();
  };
  return new Monitor({ command: 'nft', args: ['monitor'], onLine, onStart: () => events.onUncertain('nft monitor was started'), onEnd: events.onEnd });
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
    pid, comm: seen.comm,
    ...(seen.argv === undefined ? {} : { argv: seen.argv.slice(0, argumentsMax).map((word) => word.slice(0, argumentLengthMax)) }),
    ...(seen.unit === undefined ? {} : { unit: seen.unit.slice(0, 256) }),
    how: 'nft-generation',
  };
}
