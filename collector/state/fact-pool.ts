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
  #outcomes = new Map<string, Outcome>();
  #lists = new Map<string, readonly Outcome[]>();
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
    for (const vantage of vantages) {
      const list = fact.outcomes[vantage];
      if (list !== undefined) outcomes[vantage] = this.#list(list);
    }
    return { ...fact, outcomes };
  }

  /** The one fact that says the same of the NodePort, for nodes of whatever address: `address` is empty where it is the one given. */
  fact(given: NodePortFact, usualAddress: string | undefined): NodePortFact {
    const fact = this.parts(given);
    const address = fact.address === usualAddress ? '' : fact.address;
    const { by, service = '' } = fact.claimed;
    const lists = vantages.map((vantage) => this.#id(fact.outcomes[vantage])).join(' ');
    return found(this.#facts, `${fact.key} ${address} ${by} ${lists} ${service}`, () => ({ ...fact, address }));
  }

  /** The one bucket of these facts, which must be shared ones in order of their keys. */
  bucket(facts: readonly NodePortFact[]): FactBucket {
    return found(this.#buckets, facts.map((fact) => this.#id(fact)).join(' '), () => ({ facts }));
  }

  /** The one fact that says the same of kube-proxy's chains. */
  chains(fact: ChainsFact): ChainsFact {
    return found(this.#chains, digest(fact), () => fact);
  }

  /** Forgets what none of these buckets and facts holds. */
  sweep(live: Iterable<FactBucket>, chains: Iterable<ChainsFact>): void {
    this.#outcomes = new Map();
    this.#lists = new Map();
    this.#facts = new Map();
    this.#buckets = new Map();
    this.#chains = new Map([...new Set(chains)].map((fact) => [digest(fact), fact]));
    for (const bucket of new Set(live)) {
      this.#buckets.set(bucket.facts.map((fact) => this.#id(fact)).join(' '), bucket);
      for (const fact of bucket.facts) this.#keep(fact);
    }
    this.#sweepAt = 2 * this.size + spareMin;
  }

  #keep(fact: NodePortFact): void {
    const { by, service = '' } = fact.claimed;
    const lists = vantages.map((vantage) => this.#id(fact.outcomes[vantage])).join(' ');
    this.#facts.set(`${fact.key} ${fact.address} ${by} ${lists} ${service}`, fact);
    for (const vantage of vantages) {
      const list = fact.outcomes[vantage];
      if (list === undefined) continue;
      this.#lists.set(list.map((outcome) => this.#id(outcome)).join(' '), list);
      for (const outcome of list) this.#outcomes.set(outcomeKey(outcome), outcome);
    }
  }

  #list(list: readonly Outcome[]): readonly Outcome[] {
    const shared = list.map((outcome) => {
      const stable = withoutPlace(outcome);
      return found(this.#outcomes, outcomeKey(stable), () => stable);
    });
    return found(this.#lists, shared.map((outcome) => this.#id(outcome)).join(' '), () => shared);
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

/**
 * Where kube-proxy's own rule stands among others, and what it has counted, differs from node to node and says nothing about clients who are served, or who are refused as
 * they should be. Of every other decider all is kept: the way out names it.
 */
function withoutPlace(outcome: Outcome): Outcome {
  const { decidedBy } = outcome;
  if (decidedBy === undefined || outcome.unless !== undefined || outcome.reply !== undefined || outcome.later !== undefined) return outcome;
  if (outcome.verdict === 'forward' || outcome.verdict === 'local') return { ...outcome, decidedBy: placeless(decidedBy) };
  if (!isNoEndpointRule(decidedBy)) return outcome;
  const { rule: _, ...rest } = placeless(decidedBy);
  return { ...outcome, decidedBy: rest };
}

function placeless({ line: _, handle: __, packets: ___, ...decider }: Decider): Decider {
  return decider;
}

// All that an outcome says. JSON of the rare parts; the usual ones are joined, which is three times as fast.
function outcomeKey({ verdict, dnat, masquerade, weight, rejectWith, decidedBy, sources, ...rare }: Outcome): string {
  const decider = decidedBy === undefined ? '' : deciderKey(decidedBy);
  const rest = rare.unless === undefined && rare.reply === undefined && rare.later === undefined ? '' : JSON.stringify(rare);
  return `${verdict}|${dnat ?? ''}|${masquerade}|${weight}|${rejectWith ?? ''}|${decider}|${sources?.join(' ') ?? '*'}|${rest}`;
}

const deciderKey = ({ by, family, table, chain, rule, text, backend, line, handle, packets }: Decider): string =>
  `${by}\u0000${family ?? ''}\u0000${table ?? ''}\u0000${chain ?? ''}\u0000${rule ?? ''}\u0000${text}\u0000${backend ?? ''}\u0000${line ?? ''}\u0000${handle ?? ''}\u0000${packets ?? ''}`;
