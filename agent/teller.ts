// Tells what a round of reading found: facts as they are now, entries of the ledger with who made each change, and what events have missed.
import type { Change } from '../shared/model/change.ts';
import { sameFact } from '../shared/model/fact.same.ts';
import type { Fact } from '../shared/model/fact.ts';
import type { TouchedChains } from '../shared/netfilter/facts.incremental.ts';
import type { Act } from './bpf/execs.ts';
import type { KernelWatch } from './bpf/watch.ts';
import { judgement } from './judge.ts';
import { addTold, nothingUnsettled, settle, type Unsettled } from './ledger.passing.ts';
import { anything, changesWith, differencesBetween, type Snapshot, type Transaction } from './ledger.ts';
import { addUntold, type Untold, unknownSince } from './ledger.untold.ts';
import type { Readings } from './reader.ts';
import type { Brought } from './state.ts';
import { type State, sourceOf, touchedTables } from './state.ts';

export interface TellerOptions {
  readonly node: string;
  readonly onChanges: (changes: readonly Change[]) => void;
  readonly onNotice: (text: string, details: Readonly<Record<string, unknown>>) => void;
  /** Events have missed a change: facts say so from now on. */
  readonly onMissed: () => void;
  /** Who is who and who did what, from eBPF or audit; absent: only the monitors say it. */
  readonly kernel?: Pick<KernelWatch, 'complete' | 'acts'>;
}

/** Facts to tell: of the node, and of how the agent fares. */
export interface Told {
  readonly facts: ReadonlyMap<string, Fact>;
  readonly standing: readonly Fact[];
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly onFacts: (facts: ReadonlyMap<string, Fact>, at: number) => void;
}

export interface TakenRound extends Told, Pick<Brought, 'whole' | 'parts'> {
  /** Milliseconds since 1970 when reading began. */
  readonly startedAt: number;
  /** Milliseconds since 1970 when the earliest of what was read now was read before. */
  readonly since: number;
  /** Everything was read by the clock, to check what events had told. */
  readonly check: boolean;
  /** All that events had told of by then was read; false while that has to wait for its turn. */
  readonly caughtUp: boolean;
  readonly before: State | undefined;
  readonly after: State;
  readonly touched: TouchedChains;
  readonly readings: Readings;
}

/** Events come a little later than what they tell of: after this long a difference that no event has told of is one that was missed. */
const lagMs = 1_000;
/** Transactions are remembered for this long beyond the reading that they were told before. */
const rememberMs = 10_000;
/** Transactions whose chains wait to be read: of more, the first are forgotten, and what they did has nobody's name. */
const transactionsMax = 5_000;
/** How much longer ago than the reading before an act can be that made a change: what happened during that reading may have been missed by it. */
const actSlackMs = 2_000;
const untoldReason = 'more rules changed at once than are told one by one, and again before they were read';
/** What firewalld has said is remembered for this long, and so many words of it. */
const saidMs = 600_000;
const saidMax = 200;

export class Teller {
  readonly #options: TellerOptions;
  readonly #missed = new Map<string, number>();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #endings = new Map<string, string>();
  /** Those that the next reading may show. */
  #transactions: Transaction[] = [];
  /** Those of the last seconds. */
  #recent: Transaction[] = [];
  #unsettled: Unsettled = nothingUnsettled;
  #untold: Untold = [];
  /** What firewalld has said that it did, in order of time. */
  #said: readonly Act[] = [];
  /** Of what may have happened without a word, since the last reading. */
  #gap: Gap | undefined;
  #facts: ReadonlyMap<string, Fact> = new Map();
  #known: ReadonlySet<string> = new Set();

  constructor(options: TellerOptions) {
    this.#options = options;
  }

  close(): void {
    for (const timer of this.#timers) clearTimeout(timer);
  }

  /** How many changes of a source no event has told of. */
  missed(source: string): number {
    return this.#missed.get(source) ?? 0;
  }

  transaction(transaction: Transaction): void {
    this.#transactions.push(transaction);
    if (this.#transactions.length > transactionsMax) this.#transactions.shift();
    this.#recent.push(transaction);
    const since = unknownSince(this.#untold, this.#unsettled, transaction);
    if (since !== undefined) this.overrun(untoldReason, { from: since, to: transaction.at });
    this.#untold = addUntold(this.#untold, transaction);
    this.#unsettled = addTold(this.#unsettled, transaction);
  }

  /** firewalld says that it has changed something. Of nf_tables the kernel itself names it; of what else is its own nobody does. */
  signal(at: number): void {
    const actor = { comm: 'firewalld', how: 'manager-signal' as const };
    const acts = (['legacy', 'ipset'] as const).map((wrote): Act => ({ at, wrote, exact: false, owner: 'firewalld', actor }));
    this.#said = [...this.#said.filter((act) => act.at >= at - saidMs), ...acts].slice(-saidMax);
  }

  /** Between two moments (milliseconds since 1970) something may have happened of which no monitor told: the entries of the next reading that begins after it begin with that. */
  overrun(reason: string, { from, to }: { readonly from: number; readonly to: number }): void {
    const before = this.#gap;
    this.#gap = {
      // The clock may have been put back in between.
      from: Math.min(from, to, before?.from ?? from),
      to: Math.max(to, before?.to ?? to),
      reasons: new Set([...(before?.reasons ?? []), reason.slice(0, 200)].slice(0, reasonsMax)),
    };
  }

  /** A monitor that ends again and again for one reason is told of once. */
  monitorEnded(monitor: string, reason: string | undefined): void {
    if (reason !== undefined && this.#endings.get(monitor) !== reason) this.#options.onNotice('a monitor ended', { monitor, reason });
    if (reason !== undefined) this.#endings.set(monitor, reason);
  }

  failures(before: Readings, after: Readings): void {
    for (const [source, { outcome, reason }] of after.outcomes) {
      if (outcome === 'failed' && before.outcomes.get(source)?.reason !== reason) this.#options.onNotice('a source failed', { source, reason });
    }
  }

  /** Whether facts of how the agent fares say something else than those that were told last. */
  standingDiffers(standing: readonly Fact[]): boolean {
    const degraded = standing.some(({ key }) => key === 'reading/degraded');
    return degraded !== this.#facts.has('reading/degraded') || standing.some((fact) => !sameFact(this.#facts.get(fact.key), fact));
  }

  facts({ facts, standing, at, onFacts }: Told): void {
    const before = this.#facts;
    const all = [...standing, ...facts.values()];
    this.#facts = new Map(all.map((fact) => [fact.key, sameFact(before.get(fact.key), fact) ? (before.get(fact.key) as Fact) : fact]));
    onFacts(this.#facts, at);
  }

  /** Facts first, then what changed. */
  take(round: TakenRound): void {
    const before = this.#facts;
    this.facts(round);
    const gaps = this.#gaps(round);
    const changes = [...gaps, ...(round.before === undefined ? [] : this.#changes(round, before))];
    if (changes.length > 0) this.#options.onChanges(changes);
    this.#known = new Set([...round.readings.outcomes].filter(([, { known }]) => known).map(([name]) => name));
    if (round.caughtUp) {
      this.#transactions = this.#transactions.filter(({ at }) => at >= round.startedAt);
      this.#untold = this.#untold.filter(({ at }) => at >= round.startedAt);
    }
    this.#recent = this.#recent.filter(({ at }) => at >= round.startedAt - rememberMs);
  }

  /** What was made while nobody listened is known from the reading that was asked for then: until that, it may go again without having been known. */
  #gaps({ startedAt, at, caughtUp }: TakenRound): readonly Change[] {
    const gap = this.#gap;
    if (gap === undefined || !caughtUp || (startedAt < gap.to && at >= gap.to)) return [];
    this.#gap = undefined;
    return [gapChange(this.#options.node, { ...gap, to: Math.max(gap.to, at) })];
  }

  #changes(round: TakenRound, factsBefore: ReadonlyMap<string, Fact>): readonly Change[] {
    const { node } = this.#options;
    const fresh = new Set([...round.whole].filter((name) => !this.#known.has(name)));
    const [was, is] = snapshots(round, [factsBefore, this.#facts], fresh);
    const differences = differencesBetween(was, is);
    const acts = this.#acts(round.since - actSlackMs, round.at);
    const changes = changesWith(differences, [was, is], { node, at: round.at, transactions: this.#transactions, acts, fresh });
    const settled = settle(this.#unsettled, { node, startedAt: round.startedAt, differences, hasRead: hasRead(round), linesOf: linesOf(round) });
    this.#unsettled = settled.unsettled;
    if (round.check) this.#check(differences.filter(({ backend }) => backend !== 'legacy'));
    return [...changes, ...settled.changes].sort((a, b) => a.at - b.at).map((change) => this.#named(change));
  }

  #acts(from: number, to: number): readonly Act[] {
    const said = this.#said.filter(({ at }) => at >= from && at <= to);
    return [...(this.#options.kernel?.acts(from, to) ?? []), ...said].sort((a, b) => a.at - b.at);
  }

  /** nf_tables names a process by number and name; its start has told more. */
  #named(change: Change): Change {
    const { kernel } = this.#options;
    return kernel === undefined || change.actor?.how !== 'nft-generation' ? change : { ...change, actor: kernel.complete(change.actor) };
  }

  /** A check that finds what no event has told of is a fault of ours (or of a monitor), and is counted. */
  #check(differences: ReturnType<typeof differencesBetween>): void {
    if (differences.length === 0) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      const told = new Set(this.#recent.flatMap(({ touched }) => [...touched]));
      const untold = differences.filter(
        ({ family, table, object }) => !told.has(anything) && !told.has(`${family} ${table}`) && !told.has(`${family} ${table} ${object}`),
      );
      if (untold.length === 0) return;
      for (const { backend, family } of untold) {
        const source = backend === 'nft' ? 'nftables' : family === 'ip6' ? 'ip6tables' : 'iptables';
        this.#missed.set(source, this.missed(source) + 1);
      }
      this.#options.onNotice('events have missed changes', { subjects: untold.slice(0, 10).map(({ subject }) => subject) });
      this.#options.onMissed();
    }, lagMs);
    this.#timers.add(timer);
  }
}

/** A time in which events may have been missed. */
interface Gap {
  readonly from: number;
  readonly to: number;
  readonly reasons: ReadonlySet<string>;
}

const reasonsMax = 4;

function gapChange(node: string, { from, to, reasons }: Gap): Change {
  const after = `${[...reasons].join('; ')}: of ${seconds(from, to)} s only what has stayed is known, and not who made it`;
  return { at: to, node, kind: 'gap', subject: 'events of the kernel', before: null, after, gap: { reason: 'watch-overrun', from, to } };
}

const seconds = (from: number, to: number): string => ((to - from) / 1_000).toFixed(1);

/** Chains of nf_tables that a round has read. */
function hasRead({ whole, parts, after }: TakenRound): (chain: string) => boolean {
  const single = new Set(parts.map(({ part }) => `${part.family} ${part.table} ${part.object}`));
  const sources = new Map(after.node.tables.filter(({ backend }) => backend !== 'legacy').map((table) => [`${table.family} ${table.name}`, sourceOf(table)]));
  return (chain) => {
    if (single.has(chain)) return true;
    const [family, table] = chain.split(' ');
    const source = sources.get(`${family} ${table}`);
    return source === undefined ? whole.size > 0 : whole.has(source);
  };
}

/** The lines of a chain of nf_tables, as they were read. */
function linesOf({ after }: TakenRound): (chain: string) => readonly string[] {
  return (name) => {
    const [family, table, object = ''] = name.split(' ');
    const found = after.node.tables.filter((each) => each.backend !== 'legacy' && each.family === family && each.name === table);
    return found.flatMap(({ chains }) => {
      const chain = chains.get(object);
      return Array.from({ length: chain?.length ?? 0 }, (_, index) => chain?.text(index) ?? '');
    });
  };
}

/** The readings to compare, with no more of their tables than may differ. What is read for the first time counts as having been there. */
function snapshots(
  { before, after, touched }: TakenRound,
  [factsBefore, factsAfter]: readonly [ReadonlyMap<string, Fact>, ReadonlyMap<string, Fact>],
  fresh: ReadonlySet<string>,
): readonly [Snapshot, Snapshot] {
  const earlier = before as State;
  const isFresh = (table: State['node']['tables'][number]): boolean => fresh.has(sourceOf(table));
  const tables = earlier.node === after.node ? undefined : touchedTables(earlier.node, after.node, touched);
  const files = fresh.size === 0 ? earlier.files : new Map([...earlier.files, ...[...after.files].filter(([file]) => !earlier.files.has(file))]);
  // Without a judgement on both sides, listeners and settings would seem to come and go; rules are compared all the same.
  const comparable = !factsBefore.has(judgement) && !factsAfter.has(judgement);
  const none: State['node']['tables'] = [];
  return [
    { files, tables: tables?.before.filter((table) => !isFresh(table)) ?? none, facts: comparable ? factsBefore : factsAfter },
    { files: after.files, tables: tables?.after.filter((table) => !isFresh(table)) ?? none, facts: factsAfter },
  ];
}
