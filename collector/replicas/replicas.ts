// One of several collectors on a store: owns the nodes whose agents are connected here, mirrors the others, and leads where nobody else does.
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { PortreeveError, reasonOf } from '../../shared/errors.ts';
import { limits } from '../../shared/limits.ts';
import type { CollectorState } from '../state/state.ts';
import type { Fence, Store, StoreNews } from '../store/store.ts';
import { version } from '../version.ts';
import { Membership } from './membership.ts';
import { Mirror } from './mirror.ts';
import { type Arrival, Owned, type Ownership, type Taken } from './ownership.ts';
import { Publisher } from './publisher.ts';
import { type Answer, type Asked, Questions } from './questions.ts';
import { Telling } from './telling.ts';

export interface ReplicasOptions {
  readonly store: Store;
  readonly news: StoreNews;
  readonly state: CollectorState;
  readonly log: { info(details: object, text: string): void; warn(details: object, text: string): void; error(details: object, text: string): void };
  /** Answers what another replica asks of an agent that is connected here. */
  readonly answer: (node: string, asked: Asked) => Promise<Answer>;
  /** Another replica owns a node: its session here ends. */
  readonly onLost: (node: string) => void;
  /** Called now and then while this replica leads and may write for the cluster, and when that has ended. */
  readonly onLead: () => Promise<void>;
}

/** One replica as it is shown. */
export interface ReplicaItem {
  readonly id: string;
  readonly address: string;
  readonly version: string;
  readonly startedAt: number;
  readonly seenAgoMs: number;
  readonly alive: boolean;
  readonly leader: boolean;
  /** Whether it is the one that answers. */
  readonly self: boolean;
  /** Nodes whose agents are connected there. */
  readonly agents: number;
}

/** An agent that comes back within this time after another took its place runs beside it: two have one identity. */
export const cloneMs = 10 * 60_000;
/** Agents of a dead replica have moved by then; the leader looks after the nodes of those that have not. */
const orphanedMs = 15_000;
/** The ledger of the cluster. */
const cluster = '';

export class Replicas implements Ownership {
  readonly id = `${hostname().slice(0, 63)}-${randomUUID().slice(0, 8)}`;
  readonly #options: ReplicasOptions;
  readonly #owned = new Owned(this.id);
  readonly #telling: Telling;
  readonly #mirror: Mirror;
  readonly #publisher: Publisher;
  readonly #questions: Questions;
  readonly #unsubscribe: () => void;
  #membership: Membership | undefined;
  #listener: ReturnType<StoreNews['listen']> | undefined;
  #lookTimer: NodeJS.Timeout | undefined;
  #address = '';
  #orphanedSince: number | undefined;
  #isReviewing = false;
  #isReady = false;

  private constructor(options: ReplicasOptions) {
    this.#options = options;
    const { state, store, news } = options;
    const owned = this.#owned;
    const onFailure = (error: unknown): void => this.#failed(error);
    const ageOf = (replica: string) => this.#membership?.replicas.find(({ id }) => id === replica)?.ageMs;
    this.#telling = new Telling(news);
    this.#mirror = new Mirror({ store, state, owned, self: this.id, ageOf, onLost: (node) => this.#lose(node), onFailure });
    this.#publisher = new Publisher({ store: this.#telling.through(store), state, owned, onFailure: (node, error) => this.#unwritten(node, error) });
    this.#questions = new Questions({ store, self: this.id, tell: (message) => this.#telling.say(message), answer: options.answer, onFailure });
    this.#unsubscribe = state.subscribe((event) => {
      if ((event.kind === 'node' || event.kind === 'pending') && owned.token(event.node) !== undefined) this.#publisher.changed(event.node);
    });
  }

  /** Shows that it is there and begins to read what the others know. */
  static async join(options: ReplicasOptions): Promise<Replicas> {
    const replicas = new Replicas(options);
    const startedAt = Date.now();
    const self = () => ({ id: replicas.id, address: replicas.#address, version, startedAt });
    const onFailure = (error: unknown): void => replicas.#failed(error);
    replicas.#membership = await Membership.join({ store: options.store, self, onLook: () => replicas.#looked(), onFailure });
    replicas.#listener = options.news.listen((message) => replicas.#heard(message));
    replicas.#look();
    replicas.#telling.say(arrival);
    void replicas.#catchUp();
    return replicas;
  }

  /** Where it listens, once that is known. */
  setAddress(address: string): void {
    this.#address = address;
  }

  /** The store, whose writes the other replicas hear of. */
  get store(): Store {
    return this.#telling.through(this.#options.store);
  }

  /** Whether what the others know has been read once. */
  get isReady(): boolean {
    return this.#isReady;
  }

  /** Whether this replica does what one does for all, and may write it. */
  get isLeader(): boolean {
    return this.#membership?.isLeader === true && this.#owned.token(cluster) !== undefined;
  }

  /** Whether this replica owns a node, or leads where nobody who lives owns it. */
  keeps(node: string): boolean {
    if (this.#owned.token(node) !== undefined) return true;
    const holder = this.#mirror.holder(node);
    return this.isLeader && (holder === undefined || this.#membership?.living.has(holder) !== true);
  }

  get items(): readonly ReplicaItem[] {
    const agents = this.#mirror.connectedByHolder;
    const own = this.#owned.nodes.filter((node) => this.#options.state.node(node)?.connected === true).length;
    return (this.#membership?.replicas ?? []).map(({ ageMs, ...record }) => ({
      ...record,
      seenAgoMs: Math.round(ageMs),
      alive: ageMs < limits.replicaDeadMs,
      leader: record.id === this.#membership?.leader,
      self: record.id === this.id,
      agents: record.id === this.id ? own : (agents.get(record.id) ?? 0),
    }));
  }

  fence(node: string): Fence {
    return this.#owned.fence(node);
  }

  factsChanged(node: string, keys: 'all' | Iterable<string>): void {
    if (this.#owned.token(node) !== undefined) this.#publisher.changed(node, keys);
  }

  async take({ node, stream, address }: Arrival): Promise<Taken> {
    const claim = { node, holder: this.id, stream, address, cloneMs, deadMs: limits.replicaDeadMs };
    const { token, before, isClone } = await this.#options.store.takeNode(claim);
    if (this.#owned.token(node) === undefined) await this.#mirror.load(node);
    this.#begin(node, token);
    const isElsewhere = before?.connected === true && before.lives && before.holder !== this.id;
    return { isClone, ...(isElsewhere ? { elsewhere: { replica: before.holder, address: before.address } } : {}) };
  }

  /** Asks the replica that an agent is connected to; undefined where no other has it. */
  asker(node: string): ((asked: Asked) => Promise<Answer>) | undefined {
    const holder = this.#mirror.holder(node);
    const isThere = holder !== undefined && holder !== this.id && this.#membership?.living.has(holder) === true;
    return isThere && this.#options.state.node(node)?.connected === true ? (asked) => this.#questions.ask(holder, node, asked) : undefined;
  }

  async close(): Promise<void> {
    clearTimeout(this.#lookTimer);
    this.#unsubscribe();
    await this.#listener?.close();
    await this.#publisher.close();
    await this.#mirror.close();
    await this.#membership?.close();
    this.#telling.say(everything);
    await this.#telling.close();
  }

  #begin(node: string, token: number): void {
    this.#owned.set(node, token);
    if (node !== cluster) this.#options.state.own(node);
    this.#telling.say(`node ${node}`);
  }

  #lose(node: string): void {
    if (this.#owned.token(node) === undefined) return;
    this.#owned.delete(node);
    this.#publisher.forget(node);
    this.#mirror.forget(node);
    this.#options.state.disown(node);
    if (node !== cluster) this.#options.onLost(node);
    this.#mirror.note(node);
  }

  #unwritten(node: string, error: unknown): void {
    if (error instanceof PortreeveError && error.code === 'LEASE_LOST') return this.#lose(node);
    this.#options.log.error({ node, reason: reasonOf(error) }, 'what is known of a node could not be written for the other replicas');
  }

  #heard(message: string | undefined): void {
    if (message === arrival) return void this.#membership?.look();
    if (message === undefined || message === everything) this.#mirror.note();
    else if (message.startsWith('node ')) this.#mirror.note(message.slice(5));
    this.#questions.heard(message ?? `ask ${this.id}`);
  }

  /** Messages may be lost, and some databases have none: so it is looked as well. */
  #look(): void {
    const ms = this.#listener?.isListening === true ? limits.replicaLookMs : limits.replicaLookDeafMs;
    this.#lookTimer = setTimeout(() => {
      this.#mirror.note();
      this.#questions.look();
      this.#look();
    }, ms);
  }

  async #catchUp(): Promise<void> {
    for (;;) {
      try {
        await this.#mirror.readAll();
        this.#isReady = true;
        return this.#looked();
      } catch (error) {
        this.#failed(error);
        await new Promise((resolve) => setTimeout(resolve, limits.replicaBeatMs));
      }
    }
  }

  #looked(): void {
    this.#mirror.review(this.#membership?.living ?? new Set());
    if (this.#isReviewing || !this.#isReady) return;
    this.#isReviewing = true;
    void this.#review()
      .catch((error: unknown) => this.#failed(error))
      .finally(() => {
        this.#isReviewing = false;
      });
  }

  async #review(): Promise<void> {
    if (this.#membership?.isLeader !== true) {
      this.#owned.delete(cluster);
      return await this.#options.onLead();
    }
    if (this.#owned.token(cluster) === undefined) {
      await this.take({ node: cluster, stream: '', address: '' });
      this.#options.log.info({ replica: this.id }, 'this replica leads');
    }
    await this.#options.onLead();
    await this.#adopt(this.#membership.living);
  }

  /** Nodes whose owner is dead and whose agents have not come back: somebody has to notice when the objects of the cluster change for them. */
  async #adopt(living: ReadonlySet<string>): Promise<void> {
    if (!this.#mirror.hasOrphans(living)) {
      this.#orphanedSince = undefined;
      return;
    }
    this.#orphanedSince ??= performance.now();
    if (performance.now() - this.#orphanedSince < orphanedMs) return;
    const adopted = await this.#options.store.adoptNodes(this.id, [...living]);
    for (const { node, token } of adopted) {
      await this.#mirror.load(node);
      this.#begin(node, token);
    }
    this.#orphanedSince = undefined;
    if (adopted.length > 0) this.#options.log.info({ nodes: adopted.length }, 'nodes without an agent are looked after here');
  }

  #failed(error: unknown): void {
    this.#options.log.warn({ reason: reasonOf(error) }, 'what the other replicas know could not be read');
  }
}

/** A message: somebody has gone, look at all. */
const everything = 'all';
/** A message: somebody has come; until the others know of it, what it owns looks as if its owner were dead. */
const arrival = 'replicas';
