// What the kernel itself tells: keeps portreeve-bpf (or, where no program may be loaded, the reader of audit) running, tells it what to look for, and makes
// facts, actors and wakes of what it says.
import { limits } from '../../shared/limits.ts';
import type { Actor } from '../../shared/model/change.ts';
import { type Drop, type Fact, isNetfilterDrop, type NodePortKey, nodePortFactKey, type SourceFact } from '../../shared/model/fact.ts';
import type { Decider } from '../../shared/model/outcome.ts';
import { bpfProgram } from '../host/bpf.ts';
import type { Machine } from '../host/machine.ts';
import { Supervised, type SupervisedOptions, type SupervisedState } from '../host/supervised.ts';
import type { LegacyTable, Wake } from '../sources/source.ts';
import { type AuditedChange, addRecord, readAuditLine, replacesTable } from './audit.parse.ts';
import { dropReasons } from './btf.parse.ts';
import { counterCommand, readCounter } from './counter.parse.ts';
import { Drops } from './drops.ts';
import { type BpfEvent, type DropEvent, type HelloEvent, type ReplaceEvent, readBpfLine } from './events.parse.ts';
import { type Act, Execs } from './execs.ts';
import { ladderFact, type Probes, type Told, toldBy } from './ladder.ts';
import { daemons, interpreters, tools, type Wrote } from './tools.ts';
import { commandsBetween, decidersOf, nothingWatched, sameNodePorts, type Watched, watchedOf } from './watched.ts';

export interface KernelWatchOptions {
  readonly machine: Machine;
  /** Things that changed, as an event says: what reads them is to read again. */
  readonly onWake: (wakes: ReadonlySet<Wake>) => void;
  /** A legacy table was replaced. Absent: that is told as `onWake`, without its name. */
  readonly onReplaced?: (table: LegacyTable) => void;
  /** Whether these wakes come by themselves from now on; `mostly`: some changes may go unseen. */
  readonly onTold?: (wakes: readonly Wake[], how: Told | 'no more') => void;
  /** `facts()` gives something else than before. */
  readonly onFacts: () => void;
  readonly onNotice: (text: string, details: Readonly<Record<string, unknown>>) => void;
  /** Watch also the resets that are sent to clients; every packet of the node that is short pays about 0.1 µs for it. */
  readonly resets?: boolean;
  /** The program; where it is found if absent. undefined says that there is none. */
  readonly program?: { readonly path: string | undefined };
  readonly times?: SupervisedOptions['times'];
}

/** What is to be read when an act has written. */
const wakesOf: Readonly<Record<Wrote, readonly Wake[]>> = {
  legacy: ['iptables-legacy'],
  // The kernel itself tells of it, and so of links, addresses and routes.
  nft: [],
  ipset: ['ipset'],
  ipvs: ['ipvs'],
  // Entries come and go all the time, and listing them is costly: that a few were deleted is no reason to.
  conntrack: [],
  link: [],
  address: [],
  route: [],
  sysctl: ['sysctl'],
  process: [],
};
/** All that is told here: what has changed while nothing was is not known. */
const everyWake: readonly Wake[] = ['iptables-legacy', 'ipset', 'ipvs', 'sysctl', 'process'];

/** A counter is read for a drop at most this often, and never more than this share of the time: what it costs is bounded. */
const counterEveryMs = 1_000;
const counterCostFactor = 100;
/** News of one thing is passed on at most this often. How often it is then read is for the observer to say, who hears of the same change from other sides too. */
const newsEveryMs = 100;
/** Events of audit whose records have not all come. */
const auditPendingMax = 64;

export class KernelWatch {
  readonly #options: KernelWatchOptions;
  readonly #program: string | undefined;
  readonly #execs = new Execs();
  readonly #drops = new Drops();
  #supervised: Supervised | undefined;
  #auditing: Supervised | undefined;
  #probes: Probes;
  #watched: Watched = nothingWatched;
  #facts: ReadonlyMap<string, Fact> = new Map();
  #backendsMax = 1_024;
  #telling: NodeJS.Timeout | undefined;
  #tellAt = Number.POSITIVE_INFINITY;
  readonly #counters = new Map<string, { readonly packets: bigint; readonly at: number; readonly costMs: number }>();
  #counting = false;
  /** NodePorts whose rule is to be asked for again. */
  readonly #confirming = new Map<string, NodeJS.Timeout>();
  readonly #audited = new Map<number, AuditedChange>();
  /** What there is news of that was not told yet, and when each was told of last. */
  readonly #news = new Set<Wake>();
  readonly #spreadAt = new Map<Wake, number>();
  #told: ReadonlyMap<Wake, Told> = new Map();
  #spreading: NodeJS.Timeout | undefined;
  #noticed = '';
  #closed = false;

  constructor(options: KernelWatchOptions) {
    this.#options = options;
    this.#program = options.program === undefined ? bpfProgram() : options.program.path;
    this.#probes = { program: this.#program === undefined ? 'missing' : 'there', audit: { kind: 'not-asked' } };
  }

  /** Starts what can be started; what cannot is a fact. */
  async start(): Promise<void> {
    if (this.#program === undefined) return this.#probed({});
    await this.#nameReasons();
    if (!this.#closed) this.#supervised = this.#supervise(this.#program);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#telling);
    clearTimeout(this.#spreading);
    for (const timer of this.#confirming.values()) clearTimeout(timer);
    await Promise.all([this.#supervised?.close(), this.#auditing?.close()]);
  }

  /** Process ids of what runs, for whoever wants to look at it. */
  get pids(): readonly number[] {
    return [this.#supervised?.pid, this.#auditing?.pid].filter((pid) => pid !== undefined);
  }

  /** The node's facts as they are now: their NodePorts and the backends behind them are what is looked for. */
  look(facts: ReadonlyMap<string, Fact>): void {
    const isSame = sameNodePorts(this.#facts, facts);
    this.#facts = facts;
    if (isSame) return;
    const watched = watchedOf(facts);
    const commands = commandsBetween(this.#watched, watched);
    this.#watched = watched;
    if (watched.backends.size > this.#backendsMax) return this.#restartLarger(watched.backends.size);
    if (commands.length > 0) this.#supervised?.send(`${commands.join('\n')}\n`);
  }

  /** `source/ebpf`, and the drops of each NodePort. */
  facts(): readonly Fact[] {
    return [this.sourceFact(), ...this.#drops.facts()];
  }

  sourceFact(): SourceFact {
    return ladderFact(this.#probes);
  }

  /** An actor with all that is known of its process. */
  complete(actor: Actor): Actor {
    return this.#execs.complete(actor);
  }

  /** What changed something between two moments, in milliseconds since 1970. */
  acts(from: number, to: number): readonly Act[] {
    return this.#execs.acts(from, to);
  }

  #supervise(path: string): Supervised {
    return new Supervised({
      program: () => [path, 'watch', '--parent', String(process.pid), '--backends', String(this.#backendsMax)],
      ping: 'ping -',
      onStart: () => this.#tellAll(),
      onLine: (line) => this.#take(readBpfLine(line)),
      onState: (state) => this.#supervisedState(state),
      ...(this.#options.times === undefined ? {} : { times: this.#options.times }),
    });
  }

  /** Reasons are numbered differently by every kernel; without BTF nothing is loaded either. */
  async #nameReasons(): Promise<void> {
    const btf = await this.#options.machine.read('/sys/kernel/btf/vmlinux');
    if (btf.kind !== 'done') return;
    const reasons = dropReasons(btf.content);
    if (reasons.kind === 'names') this.#drops.name(reasons.names);
    else this.#options.onNotice('the kernel names no drop reasons', { reason: reasons.reason });
  }

  #tellAll(): void {
    this.#drops.restart();
    const names = [
      ...[...tools.keys()].map((name) => `+ tool 1 ${name}`),
      ...interpreters.map((name) => `+ tool 2 ${name}`),
      ...[...daemons.keys()].map((name) => `+ tool 3 ${name}`),
    ];
    const all = [...names, ...commandsBetween(nothingWatched, this.#watched), ...(this.#options.resets === true ? ['resets on'] : [])];
    // The first start comes from the constructor, before the program is known here.
    queueMicrotask(() => this.#supervised?.send(`${all.join('\n')}\n`));
  }

  /** The map of backends cannot grow, so the program is started anew with a larger one. */
  #restartLarger(backends: number): void {
    const max = Math.min(2 ** Math.ceil(Math.log2(backends * 1.5)), limits.bpfBackendsMax);
    if (max <= this.#backendsMax) return;
    this.#backendsMax = max;
    const before = this.#supervised;
    if (before === undefined || this.#program === undefined) return;
    this.#probed({ hello: undefined });
    this.#supervised = this.#supervise(this.#program);
    void before.close();
  }

  #supervisedState(state: SupervisedState): void {
    if (state.kind === 'running') this.#probed({ ended: undefined, flooded: false });
    if (state.kind === 'flooded') this.#probed({ flooded: true });
    // Refused is refused: that the program then ends says nothing more.
    if (state.kind === 'ended') this.#probed({ hello: undefined, ...(this.#probes.refused === undefined ? { ended: state.reason } : {}) });
  }

  /** What is now known besides; told where it makes a difference. */
  #probed(change: { readonly [Key in keyof Probes]?: Probes[Key] | undefined }): void {
    const merged = Object.entries({ ...this.#probes, ...change }).filter(([, value]) => value !== undefined);
    this.#probes = Object.fromEntries(merged) as unknown as Probes;
    const { rung, reason } = this.sourceFact();
    this.#tellWhatIsTold();
    const said = `${rung}: ${reason ?? ''}`;
    if (said === this.#noticed || this.#closed) return;
    this.#noticed = said;
    this.#options.onNotice('eBPF', { rung, ...(reason === undefined ? {} : { reason }) });
    this.#options.onFacts();
  }

  #tellWhatIsTold(): void {
    const before = this.#told;
    this.#told = toldBy(this.#probes);
    for (const wake of everyWake) {
      const how = this.#told.get(wake);
      if (how !== before.get(wake)) this.#options.onTold?.([wake], how ?? 'no more');
    }
  }

  /** False for what makes no sense. */
  #take(event: BpfEvent): boolean {
    switch (event.kind) {
      case 'hello':
        this.#hello(event);
        break;
      case 'refused-start':
        this.#probed({ refused: event, hello: undefined, ended: undefined });
        this.#audit();
        break;
      case 'drop':
        this.#drop(event);
        break;
      case 'exec':
        // What the agent itself runs only looks; to take it for news would make it look again.
        if (event.parents[0]?.pid === process.pid) break;
        if (this.#execs.exec(event).length > 0 && event.class === 'daemon') this.#changed([], ['process']);
        break;
      case 'exit':
        this.#changed(
          this.#execs.exit(event).filter((wrote) => !this.#seesAct(wrote)),
          daemons.has(event.comm) ? ['process'] : [],
        );
        break;
      case 'signal':
        this.#execs.signal(event);
        break;
      case 'replace':
        this.#execs.replace(event);
        if (event.result === 0 && event.own) this.#replaced(event);
        break;
      case 'netlink':
        this.#execs.netlink(event);
        this.#changed([event.what === 'rule' ? 'route' : event.what], []);
        break;
      case 'netlink-more':
        this.#changed([event.what === 'rule' ? 'route' : event.what], []);
        break;
      case 'lost':
        this.#options.onNotice('portreeve-bpf could not tell everything', { events: event.events, lines: event.lines });
        this.#changed([], everyWake);
        break;
      case 'refused':
        this.#options.onNotice('portreeve-bpf refuses a command', { line: event.line, reason: event.reason });
        break;
      case 'garbage':
        return false;
      case 'pong':
        break;
    }
    return true;
  }

  #hello(event: HelloEvent): void {
    // What audit stood in for is seen better now.
    void this.#auditing?.close();
    this.#auditing = undefined;
    this.#probed({ hello: event, refused: undefined, ended: undefined, audit: { kind: 'not-asked' } });
    // What happened while nobody watched is not known.
    this.#options.onWake(new Set(everyWake));
  }

  #replaced({ what, table }: ReplaceEvent): void {
    if (what === 'ipvs') return this.#changed(['ipvs'], []);
    // No source reads tables of ebtables and arptables.
    if (what !== 'ip' && what !== 'ip6') return;
    if (this.#options.onReplaced === undefined || table === '') this.#changed(['legacy'], []);
    else this.#options.onReplaced(`${what} ${table}`);
  }

  /** Whether the act itself is seen: that a program has ended which may do such things is then no news. */
  #seesAct(wrote: Wrote): boolean {
    const { hello } = this.#probes;
    if (wrote === 'legacy') return hello !== undefined && hello.callsBy !== 'none';
    return (wrote === 'ipset' || wrote === 'ipvs') && hello?.netlink === 'ok';
  }

  /** Tells that something changed: at once, and while there is more and more news of one thing, once in a while. */
  #changed(wrote: readonly Wrote[], others: readonly Wake[]): void {
    for (const wake of [...wrote.flatMap((each) => wakesOf[each]), ...others]) this.#news.add(wake);
    if (this.#news.size > 0) this.#spread();
  }

  #spread(): void {
    const now = performance.now();
    const due = new Set([...this.#news].filter((wake) => now - (this.#spreadAt.get(wake) ?? Number.NEGATIVE_INFINITY) >= newsEveryMs));
    for (const wake of due) {
      this.#news.delete(wake);
      this.#spreadAt.set(wake, now);
    }
    if (due.size > 0) this.#options.onWake(due);
    if (this.#news.size === 0 || this.#spreading !== undefined || this.#closed) return;
    this.#spreading = setTimeout(() => {
      this.#spreading = undefined;
      this.#spread();
    }, newsEveryMs);
  }

  // ---- drops ----

  #drop(event: DropEvent): void {
    const nodePorts = this.#drops.take(event, this.#watched.nodePortsOf);
    if (nodePorts.length === 0) return;
    this.#tellSoon(0);
    const [nodePort] = nodePorts;
    if (nodePort !== undefined && event.own && event.of !== 'reset' && isNetfilterDrop({ reason: this.#drops.reasonOf(event) }))
      void this.#confirm(nodePort, event);
  }

  #tellSoon(delayMs: number): void {
    const at = Date.now() + delayMs;
    if (at >= this.#tellAt || this.#closed) return;
    clearTimeout(this.#telling);
    this.#tellAt = at;
    // A moment is waited for, as drops come in groups.
    this.#telling = setTimeout(() => this.#tell(), Math.max(delayMs, 20));
  }

  #tell(): void {
    this.#tellAt = Number.POSITIVE_INFINITY;
    const { changed, againMs } = this.#drops.tell(Date.now());
    if (againMs !== undefined) this.#tellSoon(againMs);
    if (changed) this.#options.onFacts();
  }

  /**
   * Where netfilter dropped the packet and the walk names a rule that drops such packets, the rule's counter says whether it was that rule: it must rise
   * with the drops. One counter at a time, and each only so often. A rule that was just written is not walked yet, so it is asked for again a little later.
   */
  async #confirm(nodePort: NodePortKey, event: DropEvent, tries = 3): Promise<void> {
    const of: Drop['of'] = event.of === 'reply' ? 'reply' : 'request';
    const decider = decidersOf(this.#facts, nodePort, { client: event.client, reply: of === 'reply' })[0];
    const command = decider === undefined ? undefined : counterCommand(decider);
    const key = `${command?.join(' ')} ${decider?.text}`;
    const known = this.#counters.get(key) ?? (decider === undefined ? undefined : counterOfWalk(decider));
    const waitMs = known === undefined ? 0 : known.at + Math.max(counterEveryMs, known.costMs * counterCostFactor) - performance.now();
    if (decider === undefined || command === undefined || this.#counting || waitMs > 0) return this.#confirmLater(nodePort, event, { waitMs, tries });
    this.#counting = true;
    const packets = await this.#readCounter(key, command, decider);
    this.#counting = false;
    if (packets === undefined || known === undefined || this.#closed) return;
    // A counter that fell was set back, and what it has it has counted since.
    if (packets > known.packets || (packets < known.packets && packets > 0n)) {
      this.#drops.confirm(nodePort, of, { decider: { ...decider, packets: packets.toString() }, at: Date.now() });
      this.#tellSoon(0);
    }
  }

  #confirmLater(nodePort: NodePortKey, event: DropEvent, { waitMs, tries }: { readonly waitMs: number; readonly tries: number }): void {
    const key = nodePortFactKey(nodePort);
    if (tries === 0 || this.#confirming.has(key) || this.#closed) return;
    const timer = setTimeout(
      () => {
        this.#confirming.delete(key);
        void this.#confirm(nodePort, event, tries - 1);
      },
      Math.max(waitMs, counterEveryMs),
    );
    this.#confirming.set(key, timer);
  }

  async #readCounter(key: string, [command, ...args]: readonly [string, ...string[]], decider: Decider): Promise<bigint | undefined> {
    const start = performance.now();
    const outcome = await this.#options.machine.run(command, args);
    const packets = outcome.kind === 'done' ? readCounter(decider, outcome.stdout.toString('utf8')) : undefined;
    if (this.#counters.size > 1_000) this.#counters.clear();
    if (packets !== undefined) this.#counters.set(key, { packets, at: performance.now(), costMs: performance.now() - start });
    return packets;
  }

  // ---- audit ----

  #audit(): void {
    if (this.#auditing !== undefined || this.#program === undefined || this.#closed) return;
    const path = this.#program;
    this.#auditing = new Supervised({
      program: () => [path, 'audit', '--parent', String(process.pid)],
      ping: 'ping -',
      onStart: () => {},
      onLine: (line) => this.#takeAudit(line),
      onState: (state) => {
        if (state.kind === 'ended' && this.#probes.audit.kind !== 'off') this.#probed({ audit: { kind: 'off', reason: state.reason } });
      },
      ...(this.#options.times === undefined ? {} : { times: this.#options.times }),
    });
  }

  #takeAudit(line: string): boolean {
    const read = readAuditLine(line);
    if (read.kind === 'audit-hello')
      this.#probed({ audit: read.enabled ? { kind: 'on' } : { kind: 'off', reason: 'whether it is on may not be asked, and no record has come' } });
    if (read.kind === 'refused-start') this.#probed({ audit: { kind: 'off', reason: read.reason } });
    if (read.kind === 'record') {
      this.#probed({ audit: { kind: 'on' } });
      const { change, complete } = addRecord(this.#audited.get(read.serial), read);
      if (change === undefined) return true;
      if (!complete) this.#keepAudited(read.serial, change);
      else this.#auditedChange(read.serial, change);
    }
    return read.kind !== 'garbage';
  }

  #keepAudited(serial: number, change: AuditedChange): void {
    this.#audited.set(serial, change);
    if (this.#audited.size > auditPendingMax) this.#audited.delete(this.#audited.keys().next().value as number);
  }

  #auditedChange(serial: number, change: AuditedChange): void {
    this.#audited.delete(serial);
    this.#execs.audited(change);
    if (replacesTable(change)) this.#changed(['legacy'], []);
  }
}

/** The counter as the walk had it, when the rules were read. */
const counterOfWalk = (decider: Decider): { readonly packets: bigint; readonly at: number; readonly costMs: number } | undefined =>
  decider.packets === undefined || !/^\d+$/.test(decider.packets) ? undefined : { packets: BigInt(decider.packets), at: 0, costMs: 0 };
