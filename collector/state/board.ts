// Nodes × NodePorts: what is expected of each, what each says, and where the two differ. Kept up with changes: one Service or one node's word re-judges what hangs on it.
import { isDeepStrictEqual } from 'node:util';
import type { Expectation } from '../../shared/model/expectation.ts';
import type { ChainsFact, Fact, NodePortFact } from '../../shared/model/fact.ts';
import { bucketCount, bucketOf, compareBucket, type ExpectedBucket, noDrifts, noExpectations } from '../compare/buckets.ts';
import { areServicesKnown, type Drift, modeOf, type NodePortDrift } from '../compare/index.ts';
import { slicesOf, standingOf } from '../expect/index.ts';
import { proxyConfigurationOf } from '../expect/proxy.ts';
import { type Backed, type Standing, serviceExpectations, standingKey, type Traits, traitsOf } from '../expect/service.ts';
import { takenPorts } from '../expect/taken.ts';
import { type ClusterObjects, noObjects } from '../kubernetes/objects.ts';
import type { Touched } from '../kubernetes/source.ts';
import { FactPool } from './fact-pool.ts';
import { NodeFacts } from './node-facts.ts';

/** What a node has said, in one go. */
export interface FactChanges {
  readonly put: Iterable<Fact>;
  readonly delete: Iterable<string>;
}

/** What an update has changed. */
export interface BoardUpdate {
  /** Nodes whose drifts are others than before. */
  readonly nodes: ReadonlySet<string>;
  /** Whether a node has said anything new besides what its NodePorts do. */
  readonly others: boolean;
  /** NodePorts, by node, of which something else is expected than before; absent where everything is new. */
  readonly expected: ReadonlyMap<string, readonly string[]> | undefined;
}

/** A Service and what is expected of it, by standing. */
interface ServiceEntry {
  readonly backed: Backed;
  readonly traits: Traits;
  readonly expectations: Map<string, readonly Expectation[]>;
  /** Those of before a change, while it is worked out: what is expected as before keeps its identity, so that nobody compares it again. */
  before: ReadonlyMap<string, readonly Expectation[]> | undefined;
}

/** Nodes that stand alike to all Services but those that name them. */
interface Kin {
  readonly standing: Standing;
  /** All expectations in order, once somebody has asked for them. */
  all: readonly Expectation[] | undefined;
  readonly services: Map<string, readonly Expectation[]>;
  readonly expected: (ExpectedBucket | undefined)[];
  /** Buckets that have changed in the update that is under way. */
  readonly changed: Set<number>;
}

interface BoardNode {
  readonly name: string;
  facts: NodeFacts;
  reported: boolean;
  standing: Standing | undefined;
  kin: Kin | undefined;
  /** Services that have expectations for this node alone: it holds one of their endpoints. */
  readonly special: Map<string, readonly Expectation[]>;
  /** Buckets that differ from the kin's, and how often that has changed. */
  readonly own: Map<number, ExpectedBucket>;
  turn: number;
  /** Where there is any drift. */
  readonly drifts: Map<number, readonly NodePortDrift[]>;
  drifted: readonly Drift[] | undefined;
}

export class Board {
  readonly #pool = new FactPool();
  readonly #nodes = new Map<string, BoardNode>();
  readonly #kin = new Map<string, Kin>();
  readonly #services = new Map<string, ServiceEntry>();
  /** Services by the nodes that they name. */
  readonly #named = new Map<string, Set<string>>();
  #objects: ClusterObjects = noObjects;
  /** Tells kins of nodes with taken NodePorts apart. */
  #takenTurns = 0;
  /** The expectations that were asked for last, of a node that has some of its own. */
  #asked: { readonly node: BoardNode; readonly of: readonly Expectation[]; readonly turn: number; readonly all: readonly Expectation[] } | undefined;

  /** Adds a node, if it is not there. */
  addNode(name: string): void {
    if (this.#nodes.has(name)) return;
    const node: BoardNode = {
      name,
      facts: NodeFacts.none,
      reported: false,
      standing: undefined,
      kin: undefined,
      special: new Map(),
      own: new Map(),
      turn: 0,
      drifts: new Map(),
      drifted: undefined,
    };
    this.#nodes.set(name, node);
    this.#place(node);
  }

  removeNode(name: string): void {
    this.#nodes.delete(name);
  }

  facts(name: string): NodeFacts {
    return this.#nodes.get(name)?.facts ?? NodeFacts.none;
  }

  /** What is expected of a node, by port, protocol and family. */
  expectations(name: string): readonly Expectation[] {
    const node = this.#nodes.get(name);
    if (node?.kin === undefined) return [];
    node.kin.all ??= allBuckets.flatMap((at) => node.kin?.expected[at]?.expectations ?? []).sort(byNodePort);
    if (node.own.size === 0) return node.kin.all;
    // Whoever looks at a node asks several times, and goes on to the next then.
    if (this.#asked?.node !== node || this.#asked.of !== node.kin.all || this.#asked.turn !== node.turn) {
      const own = new Map(
        [...node.own.values()].flatMap(({ expectations }) => expectations.map((expectation) => [ownerKey(expectation), expectation] as const)),
      );
      const all = node.kin.all.map((expectation) => own.get(ownerKey(expectation)) ?? expectation);
      this.#asked = { node, of: node.kin.all, turn: node.turn, all };
    }
    return this.#asked.all;
  }

  /** The Service that owns a NodePort of a node, `namespace/name`. */
  serviceOf(name: string, key: string): string | undefined {
    const node = this.#nodes.get(name);
    const found = node === undefined ? undefined : expectedAt(node, bucketOf(key)).expectations.find((expectation) => expectation.key === key);
    return found === undefined ? undefined : nameOf(found);
  }

  /** The drifts of a node, by port, protocol and family. Before it has said anything, nothing is known of any NodePort. */
  drifts(name: string): readonly Drift[] {
    const node = this.#nodes.get(name);
    if (node === undefined) return [];
    // Not kept: a thousand nodes that are silent would have a drift for each of their NodePorts.
    if (!node.reported) return this.expectations(name).map((expectation) => unheard(name, expectation));
    node.drifted ??= wholeDrifts(node);
    return node.drifted;
  }

  /** Whether the NodePort of a key is right on a node as far as kube-proxy's rules go; false before the node has said anything of it. */
  isProgrammed(name: string, key: string): boolean {
    const node = this.#nodes.get(name);
    if (node === undefined || !node.reported) return false;
    return !(node.drifts.get(bucketOf(key)) ?? noDrifts).some((drift) => drift.key === key && isUnprogrammed(drift));
  }

  /** Takes over a node's facts: all of them, or what has changed. */
  setFacts(name: string, changes: FactChanges, extent: 'all' | 'changes'): BoardUpdate {
    this.addNode(name);
    const node = this.#nodes.get(name) as BoardNode;
    const before = node.facts;
    const mode = modeOf(before);
    const { facts, buckets, others } = (extent === 'all' ? NodeFacts.none : before).with(changes, this.#pool);
    node.facts = facts;
    const first = !node.reported;
    node.reported = true;
    const update = newUpdate();
    update.others = others || extent === 'all';
    const moved = before.get(proxyKey) !== facts.get(proxyKey) && this.#place(node);
    const whole = first || extent === 'all' || moved || modeOf(facts) !== mode;
    if (this.#compare(node, whole ? allBuckets : buckets) || first) update.nodes.add(name);
    if (this.#pool.isFull) this.#sweep();
    return update;
  }

  /** A fact whose parts are shared already, for one that has to wait until a state is whole. */
  shared(fact: Fact): Fact {
    return fact.kind === 'nodeport' ? this.#pool.parts(fact) : fact.kind === 'chains' ? this.#pool.chains(fact) : fact;
  }

  /** Takes over new objects. */
  setObjects(objects: ClusterObjects, touched: Touched): BoardUpdate {
    this.#objects = objects;
    const update = newUpdate(touched.all ? 'all' : 'changes');
    const configured = touched.all || touched.kinds.has('ConfigMap');
    for (const node of this.#nodes.values()) if (configured || touched.nodes.has(node.name)) if (this.#place(node)) this.#compareInto(node, allBuckets, update);
    const names = touched.all ? new Set([...objects.services.keys(), ...this.#services.keys()]) : touched.services;
    if (names.size > 0) {
      this.#updateServices(names, update);
      for (const node of this.#nodes.values()) if (this.#hasTaken(node) && this.#place(node)) this.#compareInto(node, allBuckets, update);
    }
    // Whether NodePorts that nobody expects are one too many has become another question.
    if (touched.all) for (const node of this.#nodes.values()) this.#compareInto(node, allBuckets, update);
    if (configured || touched.nodes.size > 0 || this.#takenTurns > 0) this.#forgetKin();
    return update;
  }

  /** Values that are shared by all nodes, for the metrics. */
  get sharedValues(): number {
    return this.#pool.size;
  }

  #updateServices(names: ReadonlySet<string>, update: MutableUpdate): void {
    const concerned = new Map<string, Set<number>>();
    for (const name of names) this.#updateService(name, concerned, update);
    for (const node of this.#nodes.values()) {
      const changed = node.kin?.changed;
      const own = concerned.get(node.name);
      if (changed === undefined || (changed.size === 0 && own === undefined)) continue;
      const buckets = own === undefined ? changed : new Set([...changed, ...own]);
      for (const at of buckets) refreshOwn(node, at);
      this.#compareInto(node, buckets, update);
    }
    for (const kin of this.#kin.values()) kin.changed.clear();
  }

  /** Works out one Service anew, for all nodes that stand alike and for each that it names. */
  #updateService(name: string, concerned: Map<string, Set<number>>, update: MutableUpdate): void {
    const before = this.#services.get(name);
    const entry = this.#entryOf(name, before);
    if (entry === undefined) this.#services.delete(name);
    else this.#services.set(name, entry);
    for (const kin of this.#kin.values()) {
      const [old, now] = [kin.services.get(name) ?? nothing, entry === undefined ? nothing : expectationsOf(entry, kin.standing)];
      if (old !== now) this.#replace(kin, name, { old, now, update });
    }
    const named = new Set([...(before?.traits.nodes ?? []), ...(entry?.traits.nodes ?? [])]);
    for (const nodeName of named) {
      this.#nameNode(nodeName, name, entry);
      const node = this.#nodes.get(nodeName);
      if (node?.standing === undefined) continue;
      const changed = setSpecial(node, name, entry);
      const keys = concerned.get(nodeName) ?? new Set<number>();
      for (const key of changed) keys.add(bucketOf(key));
      concerned.set(nodeName, keys);
      note(update, nodeName, changed);
    }
    if (entry !== undefined) entry.before = undefined;
  }

  #replace(kin: Kin, name: string, { old, now, update }: Replacing): void {
    const changed = changedKeys(old, now);
    kin.all = undefined;
    if (now.length === 0) kin.services.delete(name);
    else kin.services.set(name, now);
    for (const at of new Set([...old, ...now].map(({ key }) => bucketOf(key)))) {
      const others = (kin.expected[at] ?? noExpectations).expectations.filter((expectation) => !old.includes(expectation));
      const own = now.filter(({ key }) => bucketOf(key) === at);
      kin.expected[at] = { expectations: [...others, ...own].sort((a, b) => (a.key < b.key ? -1 : 1)) };
      kin.changed.add(at);
    }
    if (changed.length === 0) return;
    for (const node of this.#nodes.values()) if (node.kin === kin && !node.special.has(name)) note(update, node.name, changed);
  }

  #entryOf(name: string, before: ServiceEntry | undefined): ServiceEntry | undefined {
    const service = this.#objects.services.get(name);
    if (service === undefined) return undefined;
    const backed = { service, slices: slicesOf(this.#objects, service) };
    return { backed, traits: traitsOf(backed), expectations: new Map(), before: before?.expectations };
  }

  #nameNode(nodeName: string, service: string, entry: ServiceEntry | undefined): void {
    const known = this.#named.get(nodeName) ?? new Set<string>();
    if (entry?.traits.nodes.has(nodeName)) known.add(service);
    else known.delete(service);
    if (known.size === 0) this.#named.delete(nodeName);
    else this.#named.set(nodeName, known);
  }

  /** Puts a node to its kin. Gives whether that, or anything else that decides over its expectations, is new. */
  #place(node: BoardNode): boolean {
    const fact = node.facts.get(proxyKey);
    const proxy = proxyConfigurationOf(node.name, this.#objects, fact?.kind === 'proxy' ? fact : undefined);
    const found = this.#objects.readAt === 0 ? undefined : standingOf(node.name, this.#objects, proxy);
    const standing = found === undefined || found.taken.size === 0 ? found : { ...found, takenTurn: ++this.#takenTurns };
    const kin = standing === undefined ? undefined : this.#kinOf(standing);
    if (kin === node.kin) return false;
    Object.assign(node, { standing, kin, drifted: undefined });
    node.turn++;
    node.special.clear();
    node.own.clear();
    for (const name of standing === undefined ? [] : (this.#named.get(node.name) ?? [])) setSpecial(node, name, this.#services.get(name));
    for (const expectations of node.special.values()) for (const { key } of expectations) refreshOwn(node, bucketOf(key));
    return true;
  }

  /** Whether another Service takes, or took, NodePorts of a node. Such a node is rare, and worked out anew with every Service. */
  #hasTaken({ name, standing }: BoardNode): boolean {
    if (standing === undefined) return false;
    const addresses = this.#objects.nodes.get(name)?.addresses.map(({ address }) => address) ?? [];
    return standing.taken.size + takenPorts(this.#objects, addresses).size > 0;
  }

  #kinOf(standing: Standing): Kin {
    const { nodeName, families, zone, expected, others, taken, takenTurn } = standing;
    // A node whose NodePorts are taken has no kin.
    const key = JSON.stringify([families, zone ?? null, expected, others.length, taken.size === 0 ? '' : [nodeName, takenTurn]]);
    const known = this.#kin.get(key);
    if (known !== undefined) return known;
    const kin: Kin = {
      all: undefined,
      standing: taken.size === 0 ? { ...standing, nodeName: '' } : standing,
      services: new Map(),
      expected: new Array<ExpectedBucket | undefined>(bucketCount),
      changed: new Set(),
    };
    const buckets = new Map<number, Expectation[]>();
    for (const [name, entry] of this.#services) {
      const expectations = expectationsOf(entry, kin.standing);
      if (expectations.length > 0) kin.services.set(name, expectations);
      for (const expectation of expectations) {
        const at = bucketOf(expectation.key);
        buckets.set(at, [...(buckets.get(at) ?? []), expectation]);
      }
    }
    for (const [at, expectations] of buckets) kin.expected[at] = { expectations: expectations.sort((a, b) => (a.key < b.key ? -1 : 1)) };
    this.#kin.set(key, kin);
    return kin;
  }

  #forgetKin(): void {
    const used = new Set([...this.#nodes.values()].map(({ kin }) => kin));
    for (const [key, kin] of this.#kin) if (!used.has(kin)) this.#kin.delete(key);
  }

  #compareInto(node: BoardNode, buckets: Iterable<number>, update: MutableUpdate): void {
    if (this.#compare(node, buckets)) update.nodes.add(node.name);
  }

  /** Compares some buckets of a node. Gives whether its drifts have changed. */
  #compare(node: BoardNode, buckets: Iterable<number>): boolean {
    if (!node.reported) return false;
    const mode = modeOf(node.facts);
    const known = areServicesKnown(this.#objects) && this.#objects.readAt > 0;
    let changed = false;
    for (const at of buckets) {
      const all = compareBucket(expectedAt(node, at), node.facts.bucket(at), mode);
      const found = known || all === noDrifts ? all : all.filter(({ kind }) => kind !== 'unexpected');
      if (found === (node.drifts.get(at) ?? noDrifts)) continue;
      if (found.length === 0) node.drifts.delete(at);
      else node.drifts.set(at, found);
      changed = true;
    }
    if (changed) node.drifted = undefined;
    return changed;
  }

  #sweep(): void {
    const nodes = [...this.#nodes.values()];
    const chains = nodes.flatMap(({ facts }) => [facts.get('chains/4'), facts.get('chains/6')].filter((fact): fact is ChainsFact => fact?.kind === 'chains'));
    this.#pool.sweep(
      nodes.flatMap(({ facts }) => [...facts.buckets()]),
      chains,
    );
  }
}

interface MutableUpdate {
  readonly nodes: Set<string>;
  others: boolean;
  /** Absent where everything is new, so that nothing is a change. */
  readonly expected: Map<string, string[]> | undefined;
}

function note({ expected }: MutableUpdate, node: string, keys: readonly string[]): void {
  if (expected === undefined || keys.length === 0) return;
  const known = expected.get(node);
  if (known === undefined) expected.set(node, [...keys]);
  else known.push(...keys);
}

interface Replacing {
  readonly old: readonly Expectation[];
  readonly now: readonly Expectation[];
  readonly update: MutableUpdate;
}

const newUpdate = (extent: 'all' | 'changes' = 'changes'): MutableUpdate => ({
  nodes: new Set(),
  others: false,
  expected: extent === 'all' ? undefined : new Map(),
});
const proxyKey = 'proxy/kube-proxy';
const allBuckets: readonly number[] = Array.from({ length: bucketCount }, (_, at) => at);

const nameOf = ({ service: { namespace, name } }: Expectation): string => `${namespace}/${name}`;
const ownerKey = (expectation: Expectation): string => `${expectation.key} ${nameOf(expectation)}`;

const expectedAt = (node: BoardNode, at: number): ExpectedBucket => node.own.get(at) ?? node.kin?.expected[at] ?? noExpectations;

/** The expectations of a Service for nodes of one standing, worked out once; those of before where nothing has changed. */
function expectationsOf({ backed, traits, expectations, before }: ServiceEntry, standing: Standing): readonly Expectation[] {
  const key = standingKey(traits, standing);
  const known = expectations.get(key);
  if (known !== undefined) return known;
  const made = serviceExpectations(backed, standing);
  const old = before?.get(key);
  const kept = old !== undefined && isDeepStrictEqual(old, made) ? old : made.length === 0 ? nothing : made;
  expectations.set(key, kept);
  return kept;
}

const nothing: readonly Expectation[] = [];

/** Works out what a Service means to a node that it names. Gives the keys of which something else is expected than before. */
function setSpecial(node: BoardNode, name: string, entry: ServiceEntry | undefined): readonly string[] {
  const before = node.special.get(name) ?? node.kin?.services.get(name) ?? nothing;
  const special = entry !== undefined && node.standing !== undefined && entry.traits.nodes.has(node.name) ? expectationsOf(entry, node.standing) : undefined;
  const now = special ?? node.kin?.services.get(name) ?? nothing;
  if (special !== undefined) node.special.set(name, special);
  else node.special.delete(name);
  return before === now ? [] : changedKeys(before, now);
}

/** Makes a node's own bucket: its kin's, with what Services expect of it alone; none where that is nothing. */
function refreshOwn(node: BoardNode, at: number): void {
  node.turn++;
  const usual = node.kin?.expected[at] ?? noExpectations;
  let differs = false;
  const expectations = usual.expectations.map((expectation) => {
    const own = node.special.get(nameOf(expectation))?.find(({ key }) => key === expectation.key);
    differs ||= own !== undefined && own !== expectation;
    return own ?? expectation;
  });
  if (differs) node.own.set(at, { expectations });
  else node.own.delete(at);
}

/** Keys whose expectation is another one, or has come or gone. */
function changedKeys(old: readonly Expectation[], now: readonly Expectation[]): string[] {
  const before = new Map(old.map((expectation) => [expectation.key, expectation]));
  const changed = now.filter((expectation) => !isDeepStrictEqual(before.get(expectation.key), expectation)).map(({ key }) => key);
  const keys = new Set(now.map(({ key }) => key));
  return [...changed, ...old.filter(({ key }) => !keys.has(key)).map(({ key }) => key)];
}

function wholeDrifts(node: BoardNode): readonly Drift[] {
  const whole = (fact: NodePortFact | undefined): { readonly fact?: NodePortFact } => (fact === undefined ? {} : { fact: node.facts.whole(fact) });
  const drifts = [...node.drifts.values()].flat().map((drift) => ({ ...drift, ...whole(drift.fact), node: node.name }));
  // Those that nobody expects come last, as their ports may belong to anybody.
  return drifts.sort((a, b) => Number(a.kind === 'unexpected') - Number(b.kind === 'unexpected') || byNodePort(a, b));
}

const unheard = (node: string, expectation: Expectation): Drift => ({
  kind: 'unknown',
  node,
  key: expectation.key,
  nodePort: expectation.nodePort,
  expectation,
  affected: [],
  extra: [],
  missing: [],
});

const byNodePort = (a: Pick<Drift, 'key' | 'nodePort'>, b: Pick<Drift, 'key' | 'nodePort'>): number =>
  a.nodePort.port - b.nodePort.port || (a.key < b.key ? -1 : a.key > b.key ? 1 : 0);

// A firewall in front of right rules is no matter of programming them.
const isUnprogrammed = ({ kind }: NodePortDrift): boolean => kind !== 'blocked' && kind !== 'masquerade';
