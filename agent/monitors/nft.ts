// Watches nf_tables through `nft monitor` in its text form: the JSON form leaves out which process made a change. Only where portreeve-watch is not there.
import type { Wake } from '../sources/source.ts';
import { Monitor } from './monitor.ts';
import { type NftLine, readNftLine } from './nft.parse.ts';
import { type TransactionEvents, Transactions } from './transactions.ts';
import { readXtablesLine } from './xtables.parse.ts';

export interface NftEvents extends Omit<TransactionEvents, 'tellsAll'> {
  /** It runs (again): everything may have changed. */
  readonly onStart: () => void;
  readonly onEnd: (reason: string) => void;
}

export const nftWakes: readonly Wake[] = ['iptables-ip', 'iptables-ip6', 'nft'];

/**
 * nft monitor begins by loading all rules: 0.3 kB of memory and 20 µs for each of the first thousands, 2.6 kB at 47,000 (126 MB), over a gigabyte and minutes
 * at 470,000. Above the first bound xtables-monitor is tried, which loads nothing, but ends when a transaction has more than some three hundred rules, and does
 * not name what changes in native tables. Where it ends again and again, nft monitor is taken up to the second bound.
 */
const rulesForNftMonitor = 25_000;
const rulesForNftMonitorMax = 75_000;
const endsMax = 3;

/** Follows the transactions; `rules` is asked at each start. */
export function monitorNft(events: NftEvents, rules: () => number): Monitor {
  let lean = false;
  let overruns = 0;
  const transactions = new Transactions({ ...events, tellsAll: () => !lean });
  const program = (): readonly [string, ...string[]] => {
    const count = rules();
    lean = count > rulesForNftMonitor && (overruns < endsMax || count > rulesForNftMonitorMax);
    return lean ? ['stdbuf', '-oL', 'xtables-monitor', '--event'] : ['nft', '-a', 'monitor'];
  };
  const isOverrun = (reason: string): boolean => /No buffer space/.test(reason);
  return new Monitor({
    program,
    onLine: (line) => transactions.line(readLine(line)),
    onStart: () => {
      transactions.restart();
      events.onStart();
    },
    onEnd: (reason) => {
      if (isOverrun(reason)) overruns++;
      events.onEnd(reason);
    },
    isUsual: isOverrun,
  });
}

function readLine(line: string): NftLine {
  const read = readXtablesLine(line);
  return read.kind === 'other' ? readNftLine(line) : read;
}
