// A node with its agent and disk, a network, and a collector with its SQLite file: the product's own session, spool, ingest and store, under a clock, a disk and a
// network of the test's. An oracle outside of all of them knows what happened on the node, and what each side has promised.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { damageOf } from '../../agent/spool/damage.ts';
import { Keeper } from '../../agent/spool/keeper.ts';
import { Spool } from '../../agent/spool/spool.ts';
import { AgentSession } from '../../collector/ingest/session.ts';
import { Turns } from '../../collector/ingest/turns.ts';
import { soleOwner } from '../../collector/replicas/ownership.ts';
import { ownStream } from '../../collector/state/own-stream.ts';
import { CollectorState } from '../../collector/state/state.ts';
import type { Change } from '../../shared/model/change.ts';
import type { Fact } from '../../shared/model/fact.ts';
import { decodeFromCollector, encode, zstdCapability } from '../../shared/wire/codec.ts';
import { pongText } from '../../shared/wire/pong.ts';
import { newSession, type Session, type SessionEffect, type SessionInput, step } from '../../shared/wire/session.ts';
import { CrashingDisk, PowerLost } from '../support/crashing-disk.ts';
import { CrashingStore, type StoreFault } from './crashing-store.ts';
import { faultsOf, Ledger, type Made } from './ledger.ts';
import { Link, misdeliver } from './link.ts';

export interface Counts {
  agentKills: number;
  agentPowerLosses: number;
  collectorKills: number;
  cuts: number;
  diskFaults: number;
  storeFaults: number;
  misdelivered: number;
  jumps: number;
  changes: number;
}

export const noCounts = (): Counts => ({
  agentKills: 0,
  agentPowerLosses: 0,
  collectorKills: 0,
  cuts: 0,
  diskFaults: 0,
  storeFaults: 0,
  misdelivered: 0,
  jumps: 0,
  changes: 0,
});

export const node = 'node1';
const spoolBytes = { bytesMax: 48_000, segmentBytes: 4_000 };
const objects = 12;

export class World {
  readonly #random: () => number;
  readonly #counts: Counts;
  readonly #root = mkdtempSync(join(process.platform === 'linux' ? '/dev/shm' : tmpdir(), 'portreeve-world-'));
  now = 1_700_000_000_000;
  /** The agent's clock minus the true one. */
  #clockOffset = 0;
  #jumped = 0;
  #runs = 0;
  #longestRunMs = 0;
  #generation = 0;
  #disk: CrashingDisk;
  readonly #failing = new Map<number, 'ENOSPC' | 'EIO'>();
  #agent: ModelAgent | undefined;
  #collector: ModelCollector | undefined;
  readonly #links = new Set<Link>();
  #facts: ReadonlyMap<string, Fact> = new Map();
  readonly made: Made[] = [];
  /** Highest seq that a collector has acknowledged, and that the spool said to have, by stream. */
  readonly acknowledged = new Map<string, number>();
  readonly spooled: { readonly stream: string; readonly seq: number }[] = [];

  constructor(random: () => number, counts: Counts) {
    this.#random = random;
    this.#counts = counts;
    this.#disk = new CrashingDisk(random, { failing: this.#failing });
  }

  get agentClock(): number {
    return this.now + this.#clockOffset;
  }

  async begin(): Promise<void> {
    await this.startCollector();
    await this.startAgent();
    await this.connect();
    await settled();
    while (this.#agent?.deliver() === true || [...this.#links].some((link) => link.deliverToCollector())) await settled();
  }

  /** Changes on the node: whoever watches it is told. */
  async change(count: number): Promise<void> {
    const agent = this.#live();
    const next = agent?.session.outbox.nextSeq ?? 0;
    const changes = Array.from({ length: count }, (_, i): Change => {
      this.now += 1;
      const [id, subject] = [`c${this.made.length}`, `object ${Math.floor(this.#random() * objects)}`];
      this.made.push({ id, at: this.now, subject, ...(agent === undefined ? {} : { place: { stream: agent.stream, seq: next + i } }) });
      return { at: this.agentClock, node, kind: 'rule', subject, before: null, after: id };
    });
    this.#counts.changes += count;
    agent?.take({ kind: 'changes', changes });
  }

  async setFacts(count: number): Promise<void> {
    this.#facts = new Map(
      Array.from({ length: count % 5 }, (_, i) => [`sysctl/${i}`, { kind: 'sysctl', key: `sysctl/${i}`, name: `${i}`, value: `${count}` } as const]),
    );
    this.#live()?.take({ kind: 'facts', facts: this.#facts, at: this.agentClock });
  }

  /** Time passes; heartbeats are answered, and the agent notes that it is alive. */
  async wait(seconds: number): Promise<void> {
    this.now += seconds * 1_000;
    const agent = this.#live();
    if (agent === undefined) return;
    agent.sign();
    this.#collector?.beat();
  }

  async jump(seconds: number): Promise<void> {
    this.#clockOffset += seconds * 1_000;
    this.#jumped += Math.abs(seconds) * 1_000;
    this.#counts.jumps++;
  }

  async deliver(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const link = this.#oldestLink();
      const isFirst = this.#random() < 0.5;
      if (isFirst) link?.deliverToCollector();
      this.#live()?.deliver();
      if (!isFirst) link?.deliverToCollector();
      if (link !== undefined && !link.isHeld && this.#agent?.link !== link) this.#links.delete(link);
    }
  }

  async misdeliver(place: number): Promise<void> {
    const link = this.#agent?.link;
    const how = (['repeat', 'swap', 'lose'] as const)[place % 3] as 'repeat' | 'swap' | 'lose';
    if (link !== undefined && misdeliver(place % 2 === 0 ? link.toCollector : link.toAgent, how, place)) this.#counts.misdelivered++;
  }

  async connect(): Promise<void> {
    const [agent, collector] = [this.#live(), this.#collector];
    if (agent === undefined || agent.link !== undefined || collector === undefined) return;
    const link = new Link();
    this.#links.add(link);
    collector.accept(link);
    agent.connected(link);
  }

  /** The connection is cut; what was under way is lost. The collector may learn of it later than the agent. */
  async cut(how: number): Promise<void> {
    const agent = this.#live();
    if (agent?.link === undefined) return;
    this.#counts.cuts++;
    this.#dropLink(agent.link, { loses: true, isSeen: how % 2 === 0 });
    agent.disconnected();
  }

  /** kill -9 of the agent: what it gave the kernel is sent (unless it is lost), what it wrote is there. */
  async killAgent(how: number): Promise<void> {
    const agent = this.#live();
    if (agent === undefined) return;
    this.#counts.agentKills++;
    this.#endAgent(agent, how % 3 === 0);
    this.#disk = new CrashingDisk(this.#random, { failing: this.#failing }, this.#disk.files);
  }

  /** The power of the node fails at an operation of its disk that is to come, or now. */
  async losePower(operations: number): Promise<void> {
    this.#counts.agentPowerLosses++;
    if (operations > 0) this.#disk.losePowerIn(operations);
    else {
      if (this.#agent !== undefined) this.#endAgent(this.#agent, true);
      this.#rebootDisk();
    }
  }

  async stopAgent(): Promise<void> {
    const agent = this.#live();
    if (agent === undefined) return;
    if (agent.link !== undefined) this.#dropLink(agent.link, { loses: false, isSeen: false });
    await agent.close();
    if (this.#live() === agent) this.#endAgent(agent, false);
  }

  async startAgent(): Promise<void> {
    if (this.#live() !== undefined) return;
    const stream = `run-${++this.#runs}`;
    try {
      this.#agent = await ModelAgent.start(this, this.#disk, stream);
      this.#agent.take({ kind: 'facts', facts: this.#facts, at: this.agentClock });
    } catch (error) {
      if (!(error instanceof PowerLost) && (error as { code?: string }).code === undefined) throw error;
      if (this.#disk.hasLostPower) this.#rebootDisk();
    }
  }

  async failDisk(operations: number): Promise<void> {
    this.#counts.diskFaults++;
    const code = operations % 2 === 0 ? 'ENOSPC' : 'EIO';
    for (let i = 1; i <= 1 + (operations % 6); i++) this.#failing.set(this.#disk.operations + i, code);
  }

  async killCollector(how: number): Promise<void> {
    const collector = this.#collector;
    if (collector === undefined) return;
    const kinds: readonly (StoreFault | undefined)[] = ['before the commit', 'within the commit', 'behind the commit', undefined];
    const kind = kinds[how % 4];
    if (kind !== undefined) collector.store.plan(kind, 1 + (Math.floor(how / 4) % 4));
    else collector.store.crash();
  }

  async failStore(writes: number): Promise<void> {
    this.#counts.storeFaults++;
    this.#collector?.store.plan('refused', 1 + (writes % 4));
  }

  async startCollector(): Promise<void> {
    if (this.#collector !== undefined) return;
    this.#collector = await ModelCollector.start({
      root: this.#root,
      generation: this.#generation,
      random: this.#random,
      onCrash: () => this.#collectorCrashed(),
    });
  }

  /** All faults end; what is left is done in order. */
  async heal(): Promise<void> {
    this.#failing.clear();
    this.#disk.losePowerIn(undefined);
    /** The connection that was asked whether everything has come, as heartbeats do: the last frame of all may be the one that was lost. */
    let asked: Link | undefined;
    for (let round = 0; round < 2_000; round++) {
      await settled();
      await this.startCollector();
      await this.startAgent();
      await settled();
      if (this.#agent?.link === undefined) await this.connect();
      const link = this.#oldestLink();
      const moved = [link?.deliverToCollector(), this.#live()?.deliver()];
      if (link !== undefined && !link.isHeld && this.#agent?.link !== link) this.#links.delete(link);
      await settled();
      if (moved.includes(true)) continue;
      if (this.#isQuiet()) {
        if (asked === this.#agent?.link) return;
        asked = this.#agent?.link;
        this.#collector?.beat();
        continue;
      }
      // Of a connection that a frame was lost from nothing more may come: both ends have time limits, and this is where they pass.
      await this.cut(0);
    }
    throw new Error(`no end: ${JSON.stringify(this.#agent?.session.outbox, (key, value) => (key === 'queue' ? value.length : value))}`);
  }

  #isQuiet(): boolean {
    const outbox = this.#agent?.session.outbox;
    const isEmpty = outbox !== undefined && outbox.queue.length === 0 && outbox.loaded.length === 0 && !outbox.backlog;
    return isEmpty && this.#agent?.session.phase === 'open' && this.#links.size === 1;
  }

  async end(): Promise<void> {
    const agent = this.#agent;
    if (agent !== undefined) agent.isDead = true;
    await settled();
    for (const link of this.#links) link.collector.end(1001);
    await settled();
    this.#generation = this.#collector?.store.generation ?? this.#generation;
    this.#collector?.close();
    rmSync(this.#root, { recursive: true });
  }

  /** What is wrong at the end: sentences, none when every promise was kept. */
  faults(): string[] {
    const { made, acknowledged, spooled } = this;
    const besideMs = this.#jumped === 0 ? 0 : this.#longestRunMs;
    const faults = faultsOf(this.#stored(), { made, acknowledged, spooled, toleranceMs: this.#jumped + 1, besideMs });
    const known = this.#collector?.state.node(node)?.facts ?? new Map();
    if (JSON.stringify([...known].sort()) !== JSON.stringify([...this.#facts].sort()))
      faults.push(`the collector's state is ${JSON.stringify([...known])}, the node's ${JSON.stringify([...this.#facts])}`);
    return faults;
  }

  #stored(): Ledger {
    return Ledger.read(join(this.#root, String(this.#collector?.store.generation), 'portreeve.db'), node);
  }

  #live(): ModelAgent | undefined {
    if (this.#agent !== undefined && this.#disk.hasLostPower) {
      this.#endAgent(this.#agent, true);
      this.#rebootDisk();
    }
    return this.#agent;
  }

  #rebootDisk(): void {
    this.#failing.clear();
    this.#disk = this.#disk.afterPowerLoss({ failing: this.#failing });
  }

  #endAgent(agent: ModelAgent, loses: boolean): void {
    agent.isDead = true;
    this.#longestRunMs = Math.max(this.#longestRunMs, this.now - agent.begunAt);
    if (agent.link !== undefined) this.#dropLink(agent.link, { loses, isSeen: false });
    this.#agent = undefined;
  }

  #dropLink(link: Link, { loses, isSeen }: { readonly loses: boolean; readonly isSeen: boolean }): void {
    if (loses) link.toCollector.length = 0;
    link.toCollector.push({ kind: 'close', code: 1006 });
    if (!isSeen) return;
    link.collector.isPaused = false;
    link.deliverToCollector();
    this.#links.delete(link);
  }

  #oldestLink(): Link | undefined {
    const [oldest] = this.#links;
    return oldest;
  }

  #collectorCrashed(): void {
    this.#counts.collectorKills++;
    const collector = this.#collector;
    this.#collector = undefined;
    this.#generation = collector?.store.generation ?? this.#generation;
    for (const link of this.#links) {
      link.collector.end(1006);
      if (this.#agent?.link === link) this.#agent.disconnected();
    }
    this.#links.clear();
    collector?.close();
  }
}

/** Lets everything that waits for nothing but itself come to its end. */
export const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

class ModelAgent {
  readonly stream: string;
  session: Session;
  link: Link | undefined;
  isDead = false;
  readonly #world: World;
  readonly #keeper: Keeper;
  #peer: readonly string[] = [];
  #frames = 0;
  readonly begunAt: number;

  private constructor(world: World, session: Session, spool: Spool) {
    this.#world = world;
    this.begunAt = world.now;
    this.session = session;
    this.stream = session.identity.stream;
    this.#keeper = new Keeper(spool, (input) => this.take(input));
  }

  static async start(world: World, disk: CrashingDisk, stream: string): Promise<ModelAgent> {
    const run = { stream, startedAt: world.agentClock };
    const begunAt = world.now;
    const now = (): number => run.startedAt + (world.now - begunAt);
    const { spool, earlier, damaged } = await Spool.open(disk, { ...spoolBytes, run, node, now, onNotice: () => {} });
    const agent = new ModelAgent(world, newSession({ node, version: '1', bootId: 'b', ...run, capabilities: [zstdCapability] }, earlier), spool);
    if (damaged > 0) agent.take({ kind: 'changes', changes: [damageOf(node, { damaged, earlier, at: run.startedAt })] });
    return agent;
  }

  take(input: SessionInput): void {
    if (this.isDead) return;
    if (input.kind === 'spooled') this.#world.spooled.push(...this.session.outbox.queue.slice(0, this.#placeOf(input.place)).map(({ change }) => change));
    const { state, effects } = step(this.session, input);
    this.session = state;
    for (const effect of effects) this.#act(effect);
  }

  #placeOf({ stream, seq }: { readonly stream: string; readonly seq: number }): number {
    return this.session.outbox.queue.findIndex(({ change }) => change.stream === stream && change.seq === seq) + 1;
  }

  connected(link: Link): void {
    this.link = link;
    this.#frames = 0;
    this.take({ kind: 'connected', clock: this.#world.agentClock, ranMs: this.#world.now - this.begunAt });
  }

  disconnected(): void {
    this.link = undefined;
    this.#peer = [];
    this.take({ kind: 'disconnected' });
  }

  sign(): void {
    this.#keeper.sign(this.session);
  }

  async close(): Promise<void> {
    this.disconnected();
    await this.#keeper.close(() => this.session);
  }

  /** Takes what the collector has sent first. */
  deliver(): boolean {
    const packet = this.link?.toAgent.shift();
    if (packet === undefined) return false;
    if (packet.kind === 'close') this.disconnected();
    if (packet.kind === 'ping') this.link?.toCollector.push({ kind: 'pong', answer: pongText(this.session, { asked: packet.asked, frames: this.#frames }) });
    if (packet.kind !== 'frame') return true;
    const decoded = decodeFromCollector(packet.content, typeof packet.content === 'string' ? 'text' : 'binary');
    this.take(decoded.kind === 'message' ? { kind: 'message', message: decoded.message } : { kind: 'malformed', error: decoded.error });
    return true;
  }

  #act(effect: SessionEffect): void {
    if (effect.kind === 'send' && this.link !== undefined) {
      this.link.toCollector.push({ kind: 'frame', content: encode(effect.message, this.#peer) });
      this.#frames++;
    }
    if (effect.kind === 'open') this.#peer = effect.welcome.capabilities ?? [];
    if (effect.kind === 'reconnect') {
      this.link?.toCollector.push({ kind: 'close', code: 1008 });
      this.disconnected();
    }
    if (effect.kind === 'settled') {
      const { stream, seq } = effect.place;
      this.#world.acknowledged.set(stream, Math.max(seq, this.#world.acknowledged.get(stream) ?? 0));
    }
    if (effect.kind === 'settled' || effect.kind === 'spool' || effect.kind === 'load') this.#keeper.keep(effect);
  }
}

class ModelCollector {
  readonly store: CrashingStore;
  readonly state = new CollectorState({ graceMs: 0 });
  readonly #sessions = new Map<string, AgentSession>();
  readonly #live = new Set<AgentSession>();
  readonly #turns = new Turns();

  private constructor(store: CrashingStore) {
    this.store = store;
  }

  static async start(opening: Parameters<typeof CrashingStore.open>[0]): Promise<ModelCollector> {
    return new ModelCollector(await CrashingStore.open(opening));
  }

  accept(link: Link): void {
    const session: AgentSession = new AgentSession(link.collector as never, {
      state: this.state,
      store: this.store.store,
      log: { info: () => {}, warn: () => {}, error: () => {} },
      record: ownStream(this.store.store, this.state, soleOwner),
      ownership: soleOwner,
      admit: async () => ({ kind: 'admitted', by: 'nobody' }),
      audit: () => {},
      heartbeatMs: 1_000_000,
      address: '127.0.0.1',
      acceptedAt: Date.now(),
      turns: this.#turns,
      admitted: { kind: 'admitted', by: 'nobody' },
      onTaken: () => {},
      onHello: (name) => {
        const older = this.#sessions.get(name);
        this.#sessions.set(name, session);
        older?.refuse('SESSION_REPLACED', 'another agent has said hello');
      },
      onEnd: () => this.#live.delete(session),
    });
    this.#live.add(session);
  }

  beat(): void {
    for (const session of this.#live) session.beat();
  }

  close(): void {
    this.store.close();
    this.#turns.close();
    this.state.close();
  }
}
