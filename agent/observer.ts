// Keeps the node's state up to date: events and clocks say which sources to read, each round of reading gives facts and what changed since the one before.
import { reasonOf } from '../shared/errors.ts';
import type { Change } from '../shared/model/change.ts';
import type { Fact, HostFact, SourceFact } from '../shared/model/fact.ts';
import { nodeFacts, nothingWanted, type Wanted } from '../shared/netfilter/facts.ts';
import { readNode } from '../shared/netfilter/node.read.ts';
import type { NodeState } from '../shared/netfilter/node.ts';
import type { KernelWatch } from './bpf/watch.ts';
import type { Machine } from './host/machine.ts';
import { changesBetween, type Snapshot, type Transaction } from './ledger.ts';
import { ipWakes, monitorIp } from './monitors/ip.ts';
import type { Monitor } from './monitors/monitor.ts';
import { monitorNft, nftWakes } from './monitors/nft.ts';
import { nothingRead, type Readings, readSources, type SourceOutcome } from './reader.ts';
import { sources as everySource } from './sources/index.ts';
import type { Source, Wake } from './sources/source.ts';
import type { SourceStatus } from './status.ts';

export interface ObserverOptions {
  readonly node: string;
  readonly machine: Machine;
  readonly host: HostFact;
  /** Facts of the node, each time that they may have changed; `at` is when they were read, in milliseconds since 1970. */
  readonly onFacts: (facts: ReadonlyMap<string, Fact>, at: number) => void;
  readonly onChanges: (changes: readonly Change[]) => void;
  readonly onNotice: (text: string, details: Readonly<Record<string, unknown>>) => void;
  readonly sources?: readonly Source[];
  /** Who is who and who did what, from eBPF or audit; absent: only the monitors say it. */
  readonly kernel?: Pick<KernelWatch, 'complete' | 'acts'>;
}

/** After an event, reading waits for this long a silence, but never longer than the second. */
const quietMs = 50;
const patienceMs = 500;
/** A source is read by the clock at most once in this many times what its reading costs: half a percent of a core each at most. */
const costFactor = 200;
/** A source that is told to have changed is read at most once in this many times what its reading costs. */
const toldCostFactor = 20;
/** Where a monitor does not run, its sources are read by the clock. */
const unwatchedMs = 5_000;
/** Everything is read as a check on events. */
const fullReadMs = 600_000;
/** Sources that can appear without an event are looked for this often. */
const lookMs = 2_000;
/** Dumps over this size (about ten thousand rules) are watched by the monitor that does not load them. */
const largeDumpBytes = 1024 * 1024;
/** Key of the fact that says that the walk failed. */
const judgement = 'source/judgement';
/** How much longer ago than the reading before an act can be that made a change. */
const actSlackMs = 2_000;
/** A monitor hears nothing before it has subscribed: this long after its start everything it watches is read again. */
const settleMs = 1_000;

export class Observer {
  readonly #options: ObserverOptions;
  readonly #sources: readonly Source[];
  readonly #due = new Set<string>();
  readonly #readAt = new Map<string, number>();
  readonly #timers = new Set<NodeJS.Timeout>();
  /** Sources that were told to have changed and wait for their time. */
  readonly #soon = new Set<string>();
  #readings: Readings = nothingRead;
  #node: NodeState | undefined;
  #snapshot: Snapshot | undefined;
  #wanted: Wanted = nothingWanted;
  #transactions: Transaction[] = [];
  #monitors: { readonly nft: Monitor; readonly ip: Monitor } | undefined;
  #firstEventAt: number | undefined;
  #debounce: NodeJS.Timeout | undefined;
  #clock: NodeJS.Timeout | undefined;
  #looking: NodeJS.Timeout | undefined;
  #round: Promise<void> | undefined;
  #closed = false;

  constructor(options: ObserverOptions) {
    this.#options = options;
    this.#sources = options.sources ?? everySource;
  }

  /** Reads everything, then starts the monitors, which make everything that they watch be read again: nothing can slip in between. Resolves after the first reading. */
  async start(): Promise<void> {
    for (const source of this.#sources) this.#due.add(source.name);
    await this.#run();
    if (this.#closed) return;
    const uncertain = (wakes: readonly Wake[]) => (reason: string) => {
      this.#options.onNotice('reading everything again', { reason });
      this.#later(settleMs, () => this.#wake(new Set(wakes)));
    };
    const nft = { onTransaction: this.#transaction.bind(this), onUncertain: uncertain(nftWakes), onEnd: this.#ended('nft') };
    this.#monitors = {
      nft: monitorNft(nft, () => dumpBytes(this.#readings) > largeDumpBytes),
      ip: monitorIp({ onChange: (wake) => this.#wake(new Set([wake])), onUncertain: uncertain(ipWakes), onEnd: this.#ended('ip') }),
    };
    this.#evaluate(Date.now());
    this.#setClock();
    this.#looking = setInterval(() => void this.#look(), lookMs);
  }

  /** Without its monitor a source is read by the clock, and says so. A monitor that ends again and again for one reason is told of once. */
  #ended(monitor: string): (reason: string) => void {
    let told = '';
    return (reason) => {
      if (this.#closed) return;
      if (reason !== told) this.#options.onNotice('a monitor ended', { monitor, reason });
      told = reason;
      this.#evaluate(Date.now());
      if (this.#round === undefined) this.#setClock();
    };
  }

  /** The node as last read; undefined before the first reading. */
  get node(): NodeState | undefined {
    return this.#node;
  }

  /** How each source stands, in their order. */
  status(): readonly Omit<SourceStatus, 'missingCapabilities'>[] {
    const clock = Date.now() - performance.now();
    return this.#sources.map((source) => {
      const { outcome, reason, lacks } = this.#readings.outcomes.get(source.name) ?? notReadYet;
      const readAt = this.#readAt.get(source.name);
      return {
        name: source.name,
        outcome,
        ...(reason === undefined ? {} : { reason }),
        ...(lacks === undefined ? {} : { lacks }),
        watch: this.#sourceFact(source).watch ?? 'poll',
        periodMs: Math.round(this.#periodMs(source)),
        readAt: readAt === undefined ? null : Math.round(clock + readAt),
        costMs: this.#readings.outcomes.get(source.name)?.costMs ?? 0,
      };
    });
  }

  /** What it judges for, besides what the rules name. */
  get wanted(): Wanted {
    return this.#wanted;
  }

  /** Judges these NodePorts from now on, besides those that the rules name. */
  want(wanted: Wanted): void {
    this.#wanted = wanted;
    this.#evaluate(Date.now());
  }

  /** Reads these sources as after an event of the kernel: something outside has seen that they changed. What is costly to read waits in proportion. */
  readSoon(names: readonly string[]): void {
    if (this.#snapshot === undefined || this.#closed) return;
    for (const source of this.#sources.filter(({ name }) => names.includes(name) && !this.#soon.has(name))) {
      const costMs = this.#readings.outcomes.get(source.name)?.costMs ?? 0;
      const waitMs = (this.#readAt.get(source.name) ?? 0) + costMs * toldCostFactor - performance.now();
      if (waitMs <= 0) this.#dueSoon([source]);
      else {
        this.#soon.add(source.name);
        this.#later(waitMs, () => {
          this.#soon.delete(source.name);
          this.#dueSoon([source]);
        });
      }
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#debounce);
    clearTimeout(this.#clock);
    clearInterval(this.#looking);
    for (const timer of this.#timers) clearTimeout(timer);
    await Promise.all([this.#monitors?.nft.close(), this.#monitors?.ip.close()]);
    await this.#round;
  }

  #transaction(transaction: Transaction, wakes: ReadonlySet<Wake>): void {
    this.#transactions.push(transaction);
    this.#wake(wakes);
  }

  #wake(wakes: ReadonlySet<Wake>): void {
    this.#dueSoon(this.#sources.filter((source) => source.wakes.some((wake) => wakes.has(wake))));
  }

  #dueSoon(sources: readonly Source[]): void {
    for (const { name } of sources) this.#due.add(name);
    const now = performance.now();
    this.#firstEventAt ??= now;
    const waitMs = Math.max(0, Math.min(quietMs, this.#firstEventAt + patienceMs - now));
    clearTimeout(this.#debounce);
    this.#debounce = setTimeout(() => void this.#run(), waitMs);
  }

  // What has appeared and holds nothing would appear again at every look, so it is read at the pace that its cost allows.
  async #look(): Promise<void> {
    for (const source of this.#sources) {
      const costMs = this.#readings.outcomes.get(source.name)?.costMs ?? 0;
      if (performance.now() < (this.#readAt.get(source.name) ?? 0) + costMs * costFactor) continue;
      if ((await source.appeared?.(this.#options.machine, this.#readings.files)) === true) this.#due.add(source.name);
    }
    if (this.#due.size > 0 && !this.#closed) await this.#run();
  }

  #later(delayMs: number, act: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      act();
    }, delayMs);
    this.#timers.add(timer);
  }

  /** One round at a time; what becomes due meanwhile is read by the next. */
  async #run(): Promise<void> {
    this.#firstEventAt = undefined;
    if (this.#round !== undefined) return;
    this.#round = this.#rounds();
    await this.#round;
    this.#round = undefined;
    if (!this.#closed) this.#setClock();
  }

  async #rounds(): Promise<void> {
    while (this.#due.size > 0 && !this.#closed) {
      const due = this.#sources.filter(({ name }) => this.#due.has(name));
      this.#due.clear();
      await this.#read(due);
    }
  }

  async #read(due: readonly Source[]): Promise<void> {
    // A transaction that is told while its table is being read may be in this reading or only in the next one.
    const startedAt = Date.now();
    const before = this.#readings;
    const sinceMs = Math.max(0, ...due.map(({ name }) => performance.now() - (this.#readAt.get(name) ?? 0)));
    this.#readings = await readSources(this.#options.machine, due, before);
    if (this.#closed) return;
    const now = performance.now();
    for (const { name } of due) this.#readAt.set(name, now);
    this.#noteFailures(before, due);
    const changed = this.#readings.files !== before.files && filesDiffer(before.files, this.#readings.files);
    if (changed || this.#snapshot === undefined) this.#renew(before, due, startedAt - sinceMs);
    else if (due.some(({ name }) => differs(before.outcomes.get(name), this.#readings.outcomes.get(name)))) this.#renewNode();
    this.#transactions = this.#transactions.filter(({ at }) => at >= startedAt);
  }

  #noteFailures(before: Readings, due: readonly Source[]): void {
    for (const { name } of due) {
      const outcome = this.#readings.outcomes.get(name);
      if (outcome?.outcome === 'failed' && before.outcomes.get(name)?.reason !== outcome.reason)
        this.#options.onNotice('a source failed', { source: name, reason: outcome.reason });
    }
  }

  /** `since` is when the earliest of the sources was read before, in milliseconds since 1970. */
  #renew(before: Readings, due: readonly Source[], since: number): void {
    const earlier = this.#snapshot === undefined ? undefined : this.#baseline(before, due);
    this.#node = this.#readNode(this.#readings.files);
    const at = Date.now();
    const facts = this.#facts(this.#node);
    this.#snapshot = { files: this.#readings.files, tables: this.#node.tables, facts };
    this.#options.onFacts(facts, at);
    if (earlier === undefined) return;
    // Without a judgement on both sides, listeners and settings would seem to come and go; rules are compared all the same.
    const comparable = !earlier.facts.has(judgement) && !facts.has(judgement);
    const base = comparable ? earlier : { ...earlier, facts };
    const { kernel, node } = this.#options;
    // What happened while the source was being read before may have been missed then.
    const acts = kernel?.acts(since - actSlackMs, at) ?? [];
    const transactions = this.#transactions.map((each) => ({ ...each, actor: kernel?.complete(each.actor) ?? each.actor }));
    const changes = changesBetween(base, this.#snapshot, { node, at, transactions, acts });
    if (changes.length > 0) this.#options.onChanges(changes);
  }

  /** The snapshot to compare with. A source that is read for the first time changes nothing by that: its files count as having been there. */
  #baseline(before: Readings, due: readonly Source[]): Snapshot {
    const fresh = due.filter(({ name }) => before.outcomes.get(name)?.known !== true).flatMap(({ files }) => files);
    const added = fresh.filter((file) => this.#readings.files.has(file));
    if (added.length === 0) return this.#snapshot as Snapshot;
    const files = new Map([...before.files, ...added.map((file) => [file, this.#readings.files.get(file) as Buffer] as const)]);
    const node = this.#readNode(files);
    return { files, tables: node.tables, facts: this.#facts(node) };
  }

  #readNode(files: ReadonlyMap<string, Buffer>): NodeState {
    const unread = [...this.#readings.outcomes].filter(([name, outcome]) => holdsRules.has(name) && isUnread(outcome)).map(([name]) => name);
    return readNode(files, { node: this.#options.node, unread });
  }

  /** The files are as they were; how far they can be trusted is not. */
  #renewNode(): void {
    this.#node = this.#readNode(this.#readings.files);
    this.#evaluate(Date.now());
  }

  #evaluate(at: number): void {
    if (this.#node === undefined || this.#snapshot === undefined || this.#closed) return;
    const facts = this.#facts(this.#node);
    this.#snapshot = { ...this.#snapshot, facts };
    this.#options.onFacts(facts, at);
  }

  #facts(node: NodeState): ReadonlyMap<string, Fact> {
    const all = [this.#options.host, ...this.#sources.map((source) => this.#sourceFact(source)), ...this.#judge(node)];
    return new Map(all.map((fact) => [fact.key, fact]));
  }

  /** What cannot be judged is said to be so: a rule that the walk trips over must neither end the agent nor leave old answers standing. */
  #judge(node: NodeState): readonly Fact[] {
    try {
      return nodeFacts(node, this.#wanted);
    } catch (error) {
      const reason = reasonOf(error).slice(0, 2_000);
      this.#options.onNotice('the node cannot be judged', { reason });
      return [{ kind: 'source', key: judgement, source: 'judgement', outcome: 'failed', reason }];
    }
  }

  #sourceFact(source: Source): SourceFact {
    const { outcome, reason, lacks } = this.#readings.outcomes.get(source.name) ?? notReadYet;
    const period = source.pollMs(this.#readings.files);
    return {
      kind: 'source',
      key: `source/${source.name}`,
      source: source.name,
      outcome,
      ...(reason === undefined ? {} : { reason }),
      ...(lacks === undefined ? {} : { lacks }),
      watch: this.#watched(source) && (period === undefined || period > unwatchedMs) ? 'events' : 'poll',
    };
  }

  #watched(source: Source): boolean {
    const running = [...(this.#monitors?.nft.running ? nftWakes : []), ...(this.#monitors?.ip.running ? ipWakes : [])];
    return source.wakes.length > 0 && source.wakes.every((wake) => running.includes(wake));
  }

  /** When a source is due by the clock, in milliseconds of performance.now(). */
  #dueAt(source: Source): number {
    return (this.#readAt.get(source.name) ?? 0) + this.#periodMs(source);
  }

  #periodMs(source: Source): number {
    const outcome = this.#readings.outcomes.get(source.name);
    const wanted = source.pollMs(this.#readings.files) ?? (source.wakes.length === 0 || this.#watched(source) ? fullReadMs : unwatchedMs);
    // One that failed is tried again soon, whether or not an event comes: what ended its reading may be over.
    const soon = outcome?.outcome === 'failed' ? Math.min(wanted, unwatchedMs) : wanted;
    return Math.min(fullReadMs, Math.max(soon, (outcome?.costMs ?? 0) * costFactor));
  }

  #setClock(): void {
    clearTimeout(this.#clock);
    const now = performance.now();
    const next = Math.min(...this.#sources.map((source) => this.#dueAt(source)));
    this.#clock = setTimeout(
      () => {
        const at = performance.now() + 20;
        for (const source of this.#sources) if (this.#dueAt(source) <= at) this.#due.add(source.name);
        void this.#run();
      },
      Math.max(10, next - now),
    );
  }
}

const notReadYet: Pick<SourceOutcome, 'outcome' | 'reason' | 'lacks'> = { outcome: 'failed', reason: 'was not read yet' };

/** Sources whose failure may hide rules. */
const holdsRules: ReadonlySet<string> = new Set(['iptables', 'ip6tables', 'nftables', 'ipset', 'ipvs', 'service-maps']);

const differs = (before: SourceOutcome | undefined, after: SourceOutcome | undefined): boolean =>
  before?.outcome !== after?.outcome ||
  before?.reason !== after?.reason ||
  before?.lacks !== after?.lacks ||
  (after !== undefined && before !== undefined && isUnread(before) !== isUnread(after));

/** A source that fails now and then is taken as it was last read; one that never was read, or fails again and again, makes every answer uncertain. */
const isUnread = ({ known, failures }: SourceOutcome): boolean => failures > 0 && (!known || failures >= failuresMax);
const failuresMax = 3;

/** Bytes of what iptables-nft holds, as its dumps. */
const dumpBytes = ({ files }: Readings): number =>
  [...files].reduce((sum, [file, content]) => (/^ip6?tables-(?:nft-)?save/.test(file) ? sum + content.length : sum), 0);

/** Whether any file came, went or holds something else; a reading that found the same keeps the same buffers. */
function filesDiffer(before: ReadonlyMap<string, Buffer>, after: ReadonlyMap<string, Buffer>): boolean {
  return before.size !== after.size || [...after].some(([file, content]) => before.get(file) !== content && !before.get(file)?.equals(content));
}
