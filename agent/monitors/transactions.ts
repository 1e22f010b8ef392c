// Makes transactions of the lines that a monitor of nf_tables prints, each with the process that made it, and notices where lines are missing.
import type { Actor } from '../../shared/model/change.ts';
import { glimpse } from '../host/files.ts';
import { anything, type RuleEvent, type Transaction } from '../ledger.ts';
import type { NftLine } from './nft.parse.ts';
import { nothingTouched, type Touched, touch, touchedNames } from './touched.ts';

export interface TransactionEvents {
  readonly onTransaction: (transaction: Transaction, touched: Touched) => void;
  /** Messages were lost: everything may have changed. `since` is until when all was told, in milliseconds since 1970. */
  readonly onUncertain: (reason: string, since: number) => void;
  /** Whether the monitor tells of native tables: one that does not makes a transaction in which it names nothing one that may have changed anything. */
  readonly tellsAll: () => boolean;
}

/** Rules of one transaction that are kept one by one. */
const rulesMax = 2_000;

/** Takes lines until one closes a transaction. Numbers of transactions have no holes; where they do, something was not told. */
export class Transactions {
  readonly #events: TransactionEvents;
  #touched = nothingTouched();
  #rules: RuleEvent[] = [];
  #more = 0;
  #generation: number | undefined;
  /** When the last transaction was told, or the monitor began; milliseconds since 1970. */
  #wholeUntil = Date.now();
  readonly #actors = new Actors();

  constructor(events: TransactionEvents) {
    this.#events = events;
  }

  /** The monitor begins anew: what it has told in part is not to be had any more. */
  restart(): void {
    this.#clear();
    this.#generation = undefined;
    this.#wholeUntil = Date.now();
  }

  line(line: NftLine): void {
    if (line.kind === 'lost') {
      const since = this.#wholeUntil;
      this.restart();
      this.#events.onUncertain(line.reason, since);
    } else if (line.kind === 'generation') this.#close(line);
    else this.#take(line);
  }

  #take(line: NftLine): void {
    touch(this.#touched, line);
    if (line.kind === 'rules') this.#more += line.added + line.deleted;
    if (line.kind !== 'rule') return;
    const { op, place, handle, text } = line;
    if (this.#rules.length >= rulesMax) this.#more++;
    else
      this.#rules.push({
        op,
        chain: `${place.family} ${place.table} ${place.object}`,
        ...(handle === undefined ? {} : { handle }),
        ...(text === undefined ? {} : { text }),
      });
  }

  #close(line: NftLine & { readonly kind: 'generation' }): void {
    const [touched, rules, more, before, since] = [this.#touched, this.#rules, this.#more, this.#generation, this.#wholeUntil];
    this.#clear();
    this.#generation = line.generation;
    this.#wholeUntil = Date.now();
    if (touched.tables.size === 0 && !this.#events.tellsAll()) touched.anything = true;
    const names = touchedNames(touched);
    if (touched.anything) names.add(anything);
    this.#events.onTransaction({ at: Date.now(), generation: line.generation, actor: this.#actors.of(line), touched: names, rules, more }, touched);
    // The kernel counts in 32 bits.
    if (before !== undefined && line.generation !== (before + 1) % 2 ** 32) {
      this.#events.onUncertain(`generation ${line.generation} came after ${before}`, since);
    }
  }

  #clear(): void {
    this.#touched = nothingTouched();
    this.#rules = [];
    this.#more = 0;
  }
}

/** Limits of the wire on what an actor holds. */
const argumentsMax = 64;
const argumentLengthMax = 1024;
/** Processes that are looked at in one second; a program that makes thousands of transactions is one process, or thousands that are gone. */
const looksPerSecondMax = 100;

/** Says who made a transaction. */
class Actors {
  readonly #seen = new Map<number, Actor>();
  #since = 0;
  #looks = 0;

  of({ pid, comm }: { readonly pid: number; readonly comm: string }): Actor {
    const now = performance.now();
    if (now - this.#since > 1_000) {
      this.#since = now;
      this.#looks = 0;
      this.#seen.clear();
    }
    const known = this.#seen.get(pid);
    if (known?.comm?.slice(0, 15) === comm.slice(0, 15)) return known;
    if (++this.#looks > looksPerSecondMax) return { pid, comm, how: 'nft-generation' };
    const actor = look(pid, comm);
    this.#seen.set(pid, actor);
    return actor;
  }
}

// Most tools are gone when their transaction is told; what /proc still says is taken at once, and only when it is the same program.
function look(pid: number, comm: string): Actor {
  const seen = glimpse(pid);
  if (seen.comm === undefined || seen.comm.slice(0, 15) !== comm.slice(0, 15)) return { pid, comm, how: 'nft-generation' };
  return {
    pid,
    comm: seen.comm,
    ...(seen.argv === undefined ? {} : { argv: seen.argv.slice(0, argumentsMax).map((word) => word.slice(0, argumentLengthMax)) }),
    ...(seen.unit === undefined ? {} : { unit: seen.unit.slice(0, 256) }),
    ...(seen.parents === undefined ? {} : { parents: seen.parents }),
    ...(seen.uid === undefined ? {} : { uid: seen.uid }),
    how: 'nft-generation',
  };
}
