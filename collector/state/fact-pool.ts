// What many nodes say alike is held once: outcomes, lists of them, facts of NodePorts and whole buckets of those.
import { createHash } from 'node:crypto';
import type { ChainsFact, NodePortFact } from '../../shared/model/fact.ts';
import { type Decider, type Outcome, type Vantage, vantages } from '../../shared/model/outcome.ts';
import type { FactBucket } from '../compare/buckets.ts';
import { isNoEndpointRule } from '../compare/outcomes.ts';

/** Values that may be held beyond those that were in use when they were counted last. */
const spareMin = 10_000;

/** Gives equal things as one. What is given must not be changed. */
export class FactPool {
  /** By the few words that tell most of them apart; the rest is compared. */
  #outcomes = new Map<string, Outcome[]>();
  #lists = new Map<string, readonly Outcome[]>();
  /** The lists of the map, to know them again. */
  #known = new WeakSet<readonly Outcome[]>();
  #facts = new Map<string, NodePortFact>();
  #buckets = new Map<string, FactBucket>();
  /** By digest: one names every Service of the cluster. */
  #chains = new Map<string, ChainsFact>();
  readonly #ids = new WeakMap<object, number>();
  #lastId = 0;
  #sweepAt = 2 * spareMin;

  /** Values that are held. */
  get size(): number {
    return this.#outcomes.size + this.#lists.size + this.#facts.size + this.#buckets.size;
  }

  /** Whether so much has come since the last sweep that it is time for one. */
  get isFull(): boolean {
    return this.size >= this.#sweepAt;
  }

  /** The same fact with outcomes that are shared; its address stays. For facts that wait until a state is whole. */
  parts(fact: NodePortFact): NodePortFact {
    const outcomes: Partial<Record<Vantage, readonly Outcome[]>> = {};
    let last: readonly Outcome[] | undefined;
    for (const vantage of vantages) {
      const list = fact.outcomes[vantage];
      if (list === undefined) continue;
      // What clients of one vantage meet, those of the next meet as well, as a rule.
      if (this.#known.has(list)) last = list;
      else if (last?.length !== list.length || !last.every((outcome, index) => saysSame(outcome, list[index] as Outcome))) last = this.#list(list);
      outcomes[vantage] = last;
    }
    return { ...fact, outcomes };
  }

  /** The one fact that says the same of the NodePort, for nodes of whatever address: `address` is empty where it is the one given. */
  fact(given: NodePortFact, usualAddress: string | undefined): NodePortFact {
    const fact = this.parts(given);
    const address = fact.address === usualAddress ? '' : fact.address;
    return found(this.#facts, this.#factKey({ ...fact, address }), () => ({ ...fact, address }));
  }

  /** The one bucket of these facts, which must be shared ones in order of their keys. */
  bucket(facts: readonly NodePortFact[]): FactBucket {
    return found(this.#buckets, this.#idsOf(facts), () => ({ facts }));
  }

  /** The one fact that says the same of kube-proxy's chains. */
  chains(fact: ChainsFact): ChainsFact {
    return found(this.#chains, digest(fact), () => fact);
  }

  /** Forgets what none of these buckets and facts holds. */
  sweep(live: Iterable<FactBucket>, chains: Iterable<ChainsFact>): void {
    this.#outcomes = new Map();
    this.#lists = new Map();
    this.#known = new WeakSet();
    this.#facts = new Map();
    this.#buckets = new Map();
    this.#chains = new Map([...new Set(chains)].map((fact) => [digest(fact), fact]));
    const kept = new Set<unknown>();
    for (const bucket of new Set(live)) {
      this.#buckets.set(this.#idsOf(bucket.facts), bucket);
      for (const fact of bucket.facts) this.#keep(fact, kept);
    }
    this.#sweepAt = 2 * this.size + spareMin;
  }

  #keep(fact: NodePortFact, kept: Set<unknown>): void {
    if (kept.has(fact)) return;
    kept.add(fact);
    this.#facts.set(this.#factKey(fact), fact);
    for (const vantage of vantages) {
      const list = fact.outcomes[vantage];
      if (list === undefined || kept.has(list)) continue;
      kept.add(list);
      this.#lists.set(this.#idsOf(list), list);
      this.#known.add(list);
      for (const outcome of list) {
        if (kept.has(outcome)) continue;
        kept.add(outcome);
        this.#add(outcome);
      }
    }
  }

  #list(list: readonly Outcome[]): readonly Outcome[] {
    const shared = list.map((outcome) => this.#outcome(outcome));
    const one = found(this.#lists, this.#idsOf(shared), () => shared);
    this.#known.add(one);
    return one;
  }

  #outcome(given: Outcome): Outcome {
    return this.#outcomes.get(wordsOf(given))?.find((outcome) => saysSame(outcome, given)) ?? this.#add(withoutPlace(given));
  }

  #add(outcome: Outcome): Outcome {
    const words = wordsOf(outcome);
    const known = this.#outcomes.get(words);
    if (known === undefined) this.#outcomes.set(words, [outcome]);
    else known.push(outcome);
    return outcome;
  }

  #factKey({ key, address, claimed: { by, service = '' }, outcomes }: NodePortFact): string {
    const { external, peer, pod, node } = outcomes;
    return `${key} ${address} ${by} ${this.#id(external)} ${this.#id(peer)} ${this.#id(pod)} ${this.#id(node)} ${service}`;
  }

  #idsOf(values: readonly object[]): string {
    let ids = '';
    for (const value of values) ids += `${this.#id(value)} `;
    return ids;
  }

  #id(value: object | undefined): number {
    if (value === undefined) return 0;
    const known = this.#ids.get(value);
    if (known !== undefined) return known;
    this.#ids.set(value, ++this.#lastId);
    return this.#lastId;
  }
}

const digest = (fact: ChainsFact): string => createHash('sha256').update(JSON.stringify(fact)).digest('base64');

function found<Value>(map: Map<string, Value>, key: string, make: () => Value): Value {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}

const wordsOf = ({ dnat, verdict, weight, masquerade, decidedBy }: Outcome): string =>
  dnat === null ? `${verdict} ${decidedBy?.text ?? ''}` : `${dnat} ${verdict} ${weight} ${masquerade}`;

/**
 * How much of the place of a decider counts. Where kube-proxy's own rule stands among others, and what it has counted, differs from node to node and says nothing about
 * clients who are served (`none` of it counts), or who are refused as they should be (nor does the `number` in its chain). Of every other decider all is kept, as the way
 * out names it.
 */
type Place = 'whole' | 'none' | 'number';

function placeOf({ verdict, decidedBy, unless, reply, later }: Outcome): Place {
  if (decidedBy === undefined || unless !== undefined || reply !== undefined || later !== undefined) return 'whole';
  if (verdict === 'forward' || verdict === 'local') return 'none';
  return isNoEndpointRule(decidedBy) ? 'number' : 'whole';
}

function withoutPlace(outcome: Outcome): Outcome {
  const { decidedBy } = outcome;
  const place = placeOf(outcome);
  if (decidedBy === undefined || place === 'whole') return outcome;
  const { line: _, handle: __, packets: ___, ...decider } = decidedBy;
  if (place === 'none') return { ...outcome, decidedBy: decider };
  const { rule: ____, ...rest } = decider;
  return { ...outcome, decidedBy: rest };
}

/** Whether an outcome that is held says the same as one that is given. */
function saysSame(held: Outcome, given: Outcome): boolean {
  if (
    held.verdict !== given.verdict ||
    held.dnat !== given.dnat ||
    held.masquerade !== given.masquerade ||
    held.weight !== given.weight ||
    held.rejectWith !== given.rejectWith
  )
    return false;
  return (
    isSameDecider(held.decidedBy, given.decidedBy, placeOf(given)) &&
    isSameList(held.sources, given.sources) &&
    held.sourcesLeft === given.sourcesLeft &&
    rareText(held) === rareText(given)
  );
}

function isSameDecider(held: Decider | undefined, given: Decider | undefined, place: Place): boolean {
  if (held === undefined || given === undefined) return held === given;
  if (held.text !== given.text || held.chain !== given.chain || held.table !== given.table || held.by !== given.by) return false;
  if (held.family !== given.family || held.backend !== given.backend || held.others !== given.others) return false;
  if (place !== 'number' && held.rule !== given.rule) return false;
  return place !== 'whole' || (held.line === given.line && held.handle === given.handle && held.packets === given.packets);
}

const isSameList = (a: readonly string[] | undefined, b: readonly string[] | undefined): boolean =>
  a === b || (a !== undefined && b !== undefined && a.length === b.length && a.every((each, index) => each === b[index]));

const rareText = ({ unless, reply, later }: Outcome): string =>
  unless === undefined && reply === undefined && later === undefined ? '' : JSON.stringify([unless, reply, later]);
