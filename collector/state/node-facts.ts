// The facts of one node as a map that shares with other nodes what they have in common. A state is never changed: a new one takes its place.

import type { Family } from '../../shared/model/address.ts';
import type { Fact, NodePortFact } from '../../shared/model/fact.ts';
import { bucketCount, bucketOf, type FactBucket, noFacts } from '../compare/buckets.ts';
import type { FactPool } from './fact-pool.ts';

type Buckets = readonly (FactBucket | undefined)[];
type Addresses = Readonly<Partial<Record<Family, string>>>;

/** What changes with every change of any Service or with the load, and says nothing new unless something is wrong already. */
const slow: ReadonlySet<Fact['kind']> = new Set(['nodeport', 'chains', 'flows', 'counter']);

/** NodePorts come first, then everything else in the order it came. */
export class NodeFacts implements ReadonlyMap<string, Fact> {
  readonly #buckets: Buckets;
  readonly #others: ReadonlyMap<string, Fact>;
  /** The node's usual address in each family, which its facts leave out. */
  readonly #addresses: Addresses;
  readonly size: number;

  private constructor(buckets: Buckets, others: ReadonlyMap<string, Fact>, addresses: Addresses) {
    this.#buckets = buckets;
    this.#others = others;
    this.#addresses = addresses;
    this.size = others.size + buckets.reduce((sum, bucket) => sum + (bucket?.facts.length ?? 0), 0);
  }

  static readonly none = new NodeFacts([], new Map(), {});

  static of(facts: Iterable<Fact>, pool: FactPool): NodeFacts {
    return NodeFacts.none.with({ put: facts, delete: [] }, pool).facts;
  }

  /** The facts with some put and some deleted, the buckets of NodePorts that differ, and whether anything else does that cannot wait. */
  with(
    changes: { readonly put: Iterable<Fact>; readonly delete: Iterable<string> },
    pool: FactPool,
  ): { readonly facts: NodeFacts; readonly buckets: ReadonlySet<number>; readonly others: boolean } {
    // Copied when the first of them changes: a release of kube-proxy that holds a socket for each NodePort has ten thousand of them.
    let others = this.#others;
    const copied = (): Map<string, Fact> => (others === this.#others ? (others = new Map(others)) : others) as Map<string, Fact>;
    const addresses: Partial<Record<Family, string>> = { ...this.#addresses };
    const edits = new Map<number, Map<string, NodePortFact | undefined>>();
    const edit = (key: string, fact: NodePortFact | undefined): void => {
      const at = bucketOf(key);
      const known = edits.get(at) ?? new Map<string, NodePortFact | undefined>();
      edits.set(at, known.set(key, fact));
    };
    let differs = false;
    for (const key of changes.delete) {
      const other = others.get(key);
      if (other === undefined) edit(key, undefined);
      else copied().delete(key);
      differs ||= other !== undefined && !slow.has(other.kind);
    }
    for (const fact of changes.put) {
      differs ||= !slow.has(fact.kind);
      if (fact.kind === 'chains') copied().set(fact.key, pool.chains(fact));
      else if (fact.kind !== 'nodeport') copied().set(fact.key, fact);
      else {
        addresses[fact.nodePort.family] ??= fact.address;
        edit(fact.key, pool.fact(fact, addresses[fact.nodePort.family]));
      }
    }
    const buckets: (FactBucket | undefined)[] = this.#buckets.length === 0 ? new Array(bucketCount) : [...this.#buckets];
    for (const [at, facts] of edits) buckets[at] = edited(buckets[at], facts, pool);
    return { facts: new NodeFacts(buckets, others, addresses), buckets: new Set(edits.keys()), others: differs };
  }

  /** What the node says of one bucket; facts without the node's own address. */
  bucket(at: number): FactBucket {
    return this.#buckets[at] ?? noFacts;
  }

  /** Everything that is not about a NodePort, of which there may be thousands. */
  others(): Iterable<Fact> {
    return this.#others.values();
  }

  /** The buckets that hold anything. */
  *buckets(): IterableIterator<FactBucket> {
    for (const bucket of this.#buckets) if (bucket !== undefined) yield bucket;
  }

  /** The fact of a bucket as the node itself would say it. */
  whole(fact: NodePortFact): NodePortFact {
    return fact.address !== '' ? fact : { ...fact, address: this.#addresses[fact.nodePort.family] ?? '' };
  }

  get(key: string): Fact | undefined {
    const other = this.#others.get(key);
    if (other !== undefined || !key.startsWith('nodeport/')) return other;
    const fact = this.bucket(bucketOf(key)).facts.find((each) => each.key === key);
    return fact === undefined ? undefined : this.whole(fact);
  }

  has(key: string): boolean {
    return this.get(key) !== undefined;
  }

  *values(): MapIterator<Fact> {
    for (const bucket of this.buckets()) for (const fact of bucket.facts) yield this.whole(fact);
    yield* this.#others.values();
  }

  *entries(): MapIterator<[string, Fact]> {
    for (const fact of this.values()) yield [fact.key, fact];
  }

  *keys(): MapIterator<string> {
    for (const fact of this.values()) yield fact.key;
  }

  [Symbol.iterator](): MapIterator<[string, Fact]> {
    return this.entries();
  }

  forEach(callback: (fact: Fact, key: string, map: ReadonlyMap<string, Fact>) => void): void {
    for (const fact of this.values()) callback(fact, fact.key, this);
  }
}

/** The facts of a node that are not about its NodePorts. */
export const otherFacts = (facts: ReadonlyMap<string, Fact>): Iterable<Fact> =>
  facts instanceof NodeFacts ? facts.others() : [...facts.values()].filter(({ kind }) => kind !== 'nodeport');

function edited(bucket: FactBucket | undefined, edits: ReadonlyMap<string, NodePortFact | undefined>, pool: FactPool): FactBucket | undefined {
  const kept = (bucket?.facts ?? []).filter(({ key }) => !edits.has(key));
  const facts = [...kept, ...[...edits.values()].filter((fact) => fact !== undefined)];
  return facts.length === 0 ? undefined : pool.bucket(facts.sort((a, b) => (a.key < b.key ? -1 : 1)));
}
