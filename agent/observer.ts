// Keeps the node's state up to date: events and clocks say what to read, each round of reading gives facts and what changed since the one before.
import { limits } from '../shared/limits.ts';
import type { Change } from '../shared/model/change.ts';
import type { Fact, HostFact } from '../shared/model/fact.ts';
import type { Wanted } from '../shared/netfilter/facts.ts';
import type { NodeState } from '../shared/netfilter/node.ts';
import type { KernelWatch } from './bpf/watch.ts';
import { Governor } from './governor.ts';
import { residentBytes, spentMs } from './host/cost.ts';
import type { Machine } from './host/machine.ts';
import { Judge } from './judge.ts';
import type { Transaction } from './ledger.ts';
import type { KernelEvents } from './monitors/kernel.ts';
import { Monitors } from './monitors/monitors.ts';
import { addTouched, nothingTouched, type Touched } from './monitors/touched.ts';
import { look, nothingRead, type Readings } from './reader.ts';
import { readRound, ruleCount } from './round.ts';
import { type Pace, paces } from './schedule.ts';
import { sources as everySource } from './sources/index.ts';
import type { LegacyTable, LegacyTables, Source, Wake } from './sources/source.ts';
import { Degradation, isUnread, readingText, type Standing, sourceFact, sourceStatus } from './standing.ts';
import { advance, type State } from './state.ts';
import type { SourceStatus } from './status.ts';
import { Teller } from './teller.ts';

export interface ObserverOptions {
  readonly node: string;
  readonly machine: Machine;
  readonly host: HostFact;
  /** Facts of the node, each time that they may have changed; `at` is when they were read, in milliseconds since 1970. */
  readonly onFacts: (facts: ReadonlyMap<string, Fact>, at: number) => void;
  readonly onChanges: (changes: readonly Change[]) => void;
  readonly onNotice: (text: string, details: Readonly<Record<string, unknown>>) => void;
  readonly sources?: readonly Source[];
  /** portreeve-watch, where it is not to be looked for. */
  readonly watchProgram?: NonNullable<KernelEvents['program']>;
  /** Who is who and who did what, from eBPF or audit; absent: only the monitors say it. */
  readonly kernel?: Pick<KernelWatch, 'complete' | 'acts' | 'pids'>;
}

/** After an event, reading waits for this long a silence, but never longer than the second. */
const quietMs = 25;
const patienceMs = 250;
/** firewalld takes everything down for a tenth of a second when it reloads: read in between, each of its chains would have gone and come. */
const reloadMs = 120;
/** The first reading waits this long for the monitors, so that nothing can happen between the two. */
const monitorsMs = 300;
/** Sources that can appear without an event are looked for this often, and what was spent is counted. */
const lookMs = 2_000;
/** Memory is asked for this often: for each process it costs as much as a small reading. */
const memoryMs = 20_000;
/** A source whose looks show nothing new is read all the same after this long, or in proportion to what that costs. */
const glanceMs = 60_000;

export class Observer {
  readonly #options: ObserverOptions;
  readonly #sources: readonly Source[];
  readonly #judge: Judge;
  readonly #teller: Teller;
  readonly #governor = new Governor();
  readonly #readAt = new Map<string, number>();
  readonly #told = new Map<Wake, 'certain' | 'mostly'>();
  /** Sources to read whole, and whether the clock alone said so. */
  #due = new Map<string, 'clock' | 'event'>();
  #touched: Touched = nothingTouched();
  #legacy: LegacyTables = new Set();
  /** When legacy tables were dumped by themselves last, in milliseconds of performance.now(). */
  #legacyAt = 0;
  #readings: Readings = nothingRead;
  #state: State | undefined;
  #partMs = 5;
  /** What the last round that events asked for has cost, and when it ended. */
  #roundMs = 0;
  #roundEndedAt = 0;
  #monitors: Monitors | undefined;
  #firstEventAt: number | undefined;
  #debounce: NodeJS.Timeout | undefined;
  #clock: NodeJS.Timeout | undefined;
  #looking: NodeJS.Timeout | undefined;
  #round: Promise<void> | undefined;
  #closed = false;

  constructor(options: ObserverOptions) {
    this.#options = options;
    this.#sources = options.sources ?? everySource;
    this.#judge = new Judge((reason) => options.onNotice('the node cannot be judged', { reason }));
    this.#teller = new Teller({ ...options, onMissed: () => this.#tell(Date.now()) });
  }

  /** Starts the monitors and reads everything. Resolves after the first reading. */
  async start(): Promise<void> {
    this.#monitors = this.#startMonitors();
    await this.#untilWatched();
    for (const { name } of this.#sources) this.#due.set(name, 'event');
    await this.#run();
    if (this.#closed) return;
    this.#governor.begin(performance.now(), this.#spentMs());
    this.#looking = setInterval(() => void this.#look(), lookMs);
  }

  /** The node as last read; undefined before the first reading. */
  get node(): NodeState | undefined {
    return this.#state?.node;
  }

  /** How each source stands, in their order. */
  status(): readonly Omit<SourceStatus, 'missingCapabilities'>[] {
    const [all, clock] = [this.#paces(), Date.now() - performance.now()];
    return this.#sources.map((source) => {
      const readAt = this.#readAt.get(source.name);
      return sourceStatus(source, this.#readings.outcomes.get(source.name), {
        pace: all.get(source.name),
        readAt: readAt === undefined ? undefined : clock + readAt,
      });
    });
  }

  /** What it judges for, besides what the rules name. */
  get wanted(): Wanted {
    return this.#judge.wanted;
  }

  /** What reading costs and whether it is in time, for a person. */
  get reading(): string {
    return readingText(this.#standing(this.#paces()));
  }

  /** Judges these NodePorts from now on, besides those that the rules name. */
  want(wanted: Wanted): void {
    this.#judge.want(wanted);
    this.#evaluate();
  }

  /** Something outside has seen changes that these wakes are for: their sources are read as after an event of the kernel. */
  wake(wakes: ReadonlySet<Wake>): void {
    // Legacy tables are dumped by themselves: a dump of the other backend may cost a second.
    if (wakes.has('iptables-legacy')) this.#legacy = 'any';
    const others = new Set<Wake>([...wakes].filter((wake) => wake !== 'iptables-legacy'));
    this.readSoon(this.#sources.filter((source) => source.wakes.some((wake) => others.has(wake))).map(({ name }) => name));
  }

  /** Something outside has seen a legacy table being replaced: it alone is read again. */
  replaced(table: LegacyTable): void {
    if (this.#legacy !== 'any') this.#legacy = new Set([...this.#legacy, table]);
    this.#soon();
  }

  /** Reads everything anew. Resolves after the reading, or after one that goes on and takes it up. */
  async readAll(): Promise<void> {
    for (const { name } of this.#sources) this.#due.set(name, 'event');
    await (this.#round ?? this.#run());
  }

  /** Reads these sources whole, as after an event of the kernel. */
  readSoon(names: readonly string[]): void {
    for (const name of names) this.#due.set(name, 'event');
    this.#soon();
  }

  /** Somebody outside says from now on (or no more) when these wakes are due, so that their sources need not be polled. `mostly`: some changes may go unseen. */
  told(wakes: readonly Wake[], how: 'certain' | 'mostly' | 'no more'): void {
    for (const wake of wakes) {
      if (how === 'no more') this.#told.delete(wake);
      else this.#told.set(wake, how);
    }
    this.#setClock();
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#debounce);
    clearTimeout(this.#clock);
    clearInterval(this.#looking);
    this.#teller.close();
    await this.#monitors?.close();
    await this.#round;
  }

  #startMonitors(): Monitors {
    return new Monitors({
      onTransaction: (transaction, touched) => this.#transaction(transaction, touched),
      onWake: (wake) => this.#heard(wake),
      onUncertain: (reason, wakes, since) => {
        this.#options.onNotice('reading everything again', { reason });
        if (since !== undefined) this.#teller.overrun(reason, { from: since, to: Date.now() });
        this.wake(new Set(wakes));
      },
      onSignal: (signal) => {
        this.#options.onNotice('firewalld has changed', { signal });
        this.#teller.signal(Date.now());
      },
      onState: (monitor, reason) => this.#monitorState(monitor, reason),
      rules: () => ruleCount(this.#state),
      ...(this.#options.watchProgram === undefined ? {} : { program: this.#options.watchProgram }),
    });
  }

  /** The lock of iptables is taken for looking as well: where every table that is replaced is named, it says nothing more. */
  #heard(wake: Wake): void {
    if (wake !== 'iptables-legacy' || this.#told.get(wake) !== 'certain') this.wake(new Set([wake]));
  }

  async #untilWatched(): Promise<void> {
    const deadline = performance.now() + monitorsMs;
    while (this.#monitors?.watched.has('nft') !== true && performance.now() < deadline && !this.#closed)
      await new Promise((resolve) => setTimeout(resolve, 10));
  }

  /** Without its monitor a source is read by the clock, and says so. */
  #monitorState(monitor: string, reason: string | undefined): void {
    if (this.#closed || this.#monitors === undefined) return;
    this.#teller.monitorEnded(monitor, reason);
    if (this.#state === undefined) return;
    this.#tell(Date.now());
    if (this.#round === undefined) this.#setClock();
  }

  #transaction(transaction: Transaction, touched: Touched): void {
    this.#teller.transaction(transaction);
    addTouched(this.#touched, touched);
    this.#soon(transaction.actor.comm === 'firewalld' ? reloadMs : quietMs);
  }

  #soon(silenceMs = quietMs): void {
    if (this.#closed || (this.#state === undefined && this.#round === undefined)) return;
    const now = performance.now();
    this.#firstEventAt ??= now;
    const quietAt = Math.min(now + silenceMs, this.#firstEventAt + patienceMs);
    clearTimeout(this.#debounce);
    this.#debounce = setTimeout(() => void this.#run(), Math.max(0, quietAt - now, this.#allowedAt - now));
  }

  /** When what events ask for may be read again. */
  get #allowedAt(): number {
    return this.#roundEndedAt + this.#governor.pauseMs(this.#roundMs);
  }

  // What has appeared and holds nothing would appear again at every look, so it is read at the pace that its cost allows.
  async #look(): Promise<void> {
    this.#governor.sample(performance.now(), this.#spentMs());
    const all = this.#paces();
    for (const source of this.#sources) {
      const costMs = this.#readings.outcomes.get(source.name)?.costMs ?? 0;
      if (performance.now() < (this.#readAt.get(source.name) ?? 0) + costMs / limits.readingClockShareMax) continue;
      if ((await source.appeared?.(this.#options.machine, this.#readings.files)) === true) this.#due.set(source.name, 'event');
    }
    if (this.#closed) return;
    if (this.#due.size > 0) this.#soon();
    else if (this.#teller.standingDiffers(this.#standingFacts(all))) this.#tell(Date.now());
  }

  /** One round at a time; what becomes due meanwhile is read by the next. */
  async #run(): Promise<void> {
    this.#firstEventAt = undefined;
    if (this.#round !== undefined || this.#closed) return;
    this.#round = this.#rounds();
    await this.#round;
    this.#round = undefined;
    if (this.#closed) return;
    this.#setClock();
  }

  async #rounds(): Promise<void> {
    do {
      const isAllowed = performance.now() >= this.#allowedAt;
      const spent = readingMs();
      await this.#readOnce(isAllowed);
      this.#governor.sample(performance.now(), this.#spentMs());
      if (!isAllowed) break;
      this.#roundEndedAt = performance.now();
      this.#roundMs = readingMs() - spent;
    } while (this.#isPending && !this.#closed && performance.now() >= this.#allowedAt);
    if (this.#isPending) this.#soon();
  }

  get #isPending(): boolean {
    return this.#due.size > 0 || isDue(this.#legacy) || this.#touched.anything || this.#touched.tables.size > 0;
  }

  /** Takes what is to be read now: all, or what the clock asks for while events have to wait. */
  #takePending(isAllowed: boolean): Pending {
    const [all, touched] = [[...this.#due], this.#touched];
    const due = new Map(all.filter(([, why]) => isAllowed || why === 'clock'));
    this.#due = new Map(all.filter(([name]) => !due.has(name)));
    if (!isAllowed) return { due, touched: nothingTouched(), legacy: new Set() };
    const legacy = this.#legacy;
    this.#touched = nothingTouched();
    this.#legacy = new Set();
    return { due, touched, legacy };
  }

  async #readOnce(isAllowed: boolean): Promise<void> {
    const { due, touched, legacy } = this.#takePending(isAllowed);
    const whole = await this.#worthReading(due);
    if (this.#state !== undefined && whole.size === 0 && !isDue(legacy) && !touched.anything && touched.tables.size === 0) return;
    // A transaction that is told while its table is being read may be in this reading or only in the next one.
    const startedAt = Date.now();
    const before = this.#readings;
    const { machine } = this.#options;
    const read = await readRound({
      machine,
      sources: this.#sources,
      whole,
      touched,
      legacy,
      readings: before,
      state: this.#state,
      partMs: this.#partMs,
      meter: readingMs,
    });
    // What came and went while it was being read is told of from its messages.
    await this.#monitors?.synced();
    if (this.#closed) return;
    const now = performance.now();
    const since = Date.now() - now + this.#readBefore(read.whole, legacy);
    for (const name of read.whole) this.#readAt.set(name, now);
    if (isDue(legacy)) this.#legacyAt = now;
    if (read.left === 'any') this.#legacy = 'any';
    this.#readings = read.readings;
    this.#partMs = read.partMs;
    if (read.why.length > 0) this.#options.onNotice('reading more than was touched', { why: read.why.join('; ') });
    this.#teller.failures(before, this.#readings);
    // One that had failed has seen nothing for a while, which is no fault of the events.
    const check = [...read.whole].every((name) => due.get(name) === 'clock' && before.outcomes.get(name)?.failures === 0);
    this.#take({ startedAt, since, whole: read.whole, parts: read.parts, check, caughtUp: isAllowed });
  }

  /** When the earliest of what was read now was read before, in milliseconds of performance.now(); now for what never was. */
  #readBefore(whole: ReadonlySet<string>, legacy: LegacyTables): number {
    const now = performance.now();
    const times = [...whole].map((name) => this.#readAt.get(name) ?? now);
    return Math.min(now, ...times, ...(isDue(legacy) ? [Math.max(this.#legacyAt, this.#readAt.get('iptables') ?? 0)] : []));
  }

  /** Sources that are due; those of the clock that look as they did are not. */
  async #worthReading(due: ReadonlyMap<string, 'clock' | 'event'>): Promise<ReadonlySet<string>> {
    const worth = new Set<string>();
    for (const source of this.#sources) {
      const why = due.get(source.name);
      if (why === undefined) continue;
      const checkedMs = Math.max(glanceMs, (this.#readings.outcomes.get(source.name)?.costMs ?? 0) / limits.readingClockShareMax);
      const isFresh = performance.now() - (this.#readAt.get(source.name) ?? Number.NEGATIVE_INFINITY) < checkedMs;
      if (why === 'clock' && isFresh && (await this.#looksTheSame(source))) this.#glancedAt.set(source.name, performance.now());
      else worth.add(source.name);
    }
    return worth;
  }
  readonly #glancedAt = new Map<string, number>();

  async #looksTheSame(source: Source): Promise<boolean> {
    const { isSame, readings } = await look(this.#options.machine, source, { before: this.#readings, meter: readingMs });
    this.#readings = readings;
    return isSame;
  }

  /** What a reading by the clock takes, in milliseconds of processor time: where looks stand for most readings, a look. The others are then checks. */
  #costMs({ name }: Source): number {
    const outcome = this.#readings.outcomes.get(name);
    return outcome?.glanceCostMs ?? outcome?.costMs ?? 0;
  }

  #take(round: {
    readonly startedAt: number;
    readonly since: number;
    readonly whole: ReadonlySet<string>;
    readonly parts: Parameters<typeof advance>[1]['parts'];
    readonly check: boolean;
    readonly caughtUp: boolean;
  }): void {
    const unread = [...this.#readings.outcomes].filter(([name, outcome]) => holdsRules.has(name) && isUnread(outcome)).map(([name]) => name);
    const earlier = this.#state;
    const { state, touched, issues } = advance(earlier, {
      name: this.#options.node,
      files: this.#readings.files,
      unread,
      whole: round.whole,
      parts: round.parts,
    });
    for (const { text, reason } of issues.slice(0, 3)) this.#options.onNotice('a chain was read that makes no sense', { text, reason });
    this.#state = state;
    const judged = state.node === earlier?.node ? undefined : this.#judge.judge(state.node, touched);
    if (judged !== undefined) this.#judged = judged;
    this.#teller.take({
      ...round,
      at: Date.now(),
      before: earlier,
      after: state,
      touched,
      readings: this.#readings,
      facts: this.#judged,
      standing: this.#standingFacts(this.#paces()),
      onFacts: this.#options.onFacts,
    });
  }
  #judged: ReadonlyMap<string, Fact> = new Map();

  #evaluate(): void {
    if (this.#state === undefined || this.#closed) return;
    this.#judged = this.#judge.judge(this.#state.node, new Map());
    this.#tell(Date.now());
  }

  /** Tells all facts as they are. */
  #tell(at: number): void {
    if (this.#state === undefined || this.#closed) return;
    this.#teller.facts({ facts: this.#judged, standing: this.#standingFacts(this.#paces()), at, onFacts: this.#options.onFacts });
  }

  /** Facts of how the agent itself fares: its sources, and whether it reads as it should. */
  #standingFacts(all: ReadonlyMap<string, Pace>): readonly Fact[] {
    const facts = this.#sources.map((source) =>
      sourceFact(source, this.#readings.outcomes.get(source.name), { pace: all.get(source.name), missed: this.#teller.missed(source.name) }),
    );
    const degraded = this.#degradation.fact(this.#standing(all), performance.now());
    return [this.#options.host, ...facts, ...(degraded === undefined ? [] : [degraded])];
  }

  readonly #degradation = new Degradation();

  #standing(all: ReadonlyMap<string, Pace>): Standing {
    const now = performance.now();
    if (now - this.#resident.at >= memoryMs) this.#resident = { at: now, bytes: residentBytes(this.#running) };
    return { paces: all, share: this.#governor.share, pauseMs: this.#governor.pauseMs(this.#roundMs), bytes: this.#resident.bytes };
  }
  #resident = { at: Number.NEGATIVE_INFINITY, bytes: 0 };

  /** Process ids of all that was started and runs on. */
  get #running(): readonly number[] {
    return [...(this.#monitors?.pids ?? []), ...(this.#options.kernel?.pids ?? [])];
  }

  #paces(): ReadonlyMap<string, Pace> {
    const told = new Set([...(this.#monitors?.watched ?? []), ...this.#told.keys()]);
    const certain = new Set([...this.#told].filter(([, how]) => how === 'certain').map(([wake]) => wake));
    const paced = this.#sources.map((source) => ({
      name: source.name,
      wakes: source.wakes,
      pollMs: source.pollMs(this.#readings.files),
      costMs: this.#costMs(source),
      failed: this.#readings.outcomes.get(source.name)?.outcome === 'failed',
    }));
    return paces(paced, told, certain);
  }

  #spentMs(): number {
    return spentMs(this.#running);
  }

  #setClock(): void {
    clearTimeout(this.#clock);
    if (this.#closed || this.#state === undefined) return;
    const all = this.#paces();
    const dueAt = ({ name }: Source): number =>
      Math.max(this.#readAt.get(name) ?? 0, this.#glancedAt.get(name) ?? 0) + (all.get(name)?.everyMs ?? Number.POSITIVE_INFINITY);
    const now = performance.now();
    const next = Math.min(...this.#sources.map(dueAt));
    this.#clock = setTimeout(
      () => {
        const at = performance.now() + gatherMs;
        for (const source of this.#sources) if (dueAt(source) <= at && !this.#due.has(source.name)) this.#due.set(source.name, 'clock');
        void this.#run();
      },
      Math.max(10, next - now),
    );
  }
}

/** Milliseconds of processor time that reading has taken. What runs on beside it has no part in that, and asking for it costs as much as a small reading. */
const readingMs = (): number => spentMs([]);

/** What is to be read. */
interface Pending {
  readonly due: ReadonlyMap<string, 'clock' | 'event'>;
  readonly touched: Touched;
  readonly legacy: LegacyTables;
}

const isDue = (tables: LegacyTables): boolean => tables === 'any' || tables.size > 0;

/** What is due within this time of each other is read in one round. */
const gatherMs = 500;

/** Sources whose failure may hide rules. */
const holdsRules: ReadonlySet<string> = new Set(['iptables', 'ip6tables', 'nftables', 'ipset', 'ipvs', 'service-maps']);
