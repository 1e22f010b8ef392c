// NodePorts in buckets by their keys: what is equal on many nodes is held and compared once, so that memory and work grow with what differs, not with nodes × NodePorts.

import type { Expectation } from '../../shared/model/expectation.ts';
import type { NodePortFact } from '../../shared/model/fact.ts';
import { compareNodePort, compareUnclaimed, type NodePortDrift, type ProxyMode } from './nodeport.ts';

/** A power of two: ten NodePorts in a bucket where a cluster has 10,000. */
export const bucketCount = 1024;

/** The bucket of a key, 0 … bucketCount - 1: FNV-1a of its characters. */
export function bucketOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < key.length; at++) hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193);
  return (hash ^ (hash >>> 16)) & (bucketCount - 1);
}

/** What a node says of the NodePorts of one bucket, by key. Never changed: equal buckets of several nodes are one. */
export interface FactBucket {
  readonly facts: readonly NodePortFact[];
}

/** What is expected of the NodePorts of one bucket, by key; the same for all nodes that stand alike. */
export interface ExpectedBucket {
  readonly expectations: readonly Expectation[];
}

export const noFacts: FactBucket = { facts: [] };
export const noExpectations: ExpectedBucket = { expectations: [] };

/** No drift. One list, so that it can be told by identity. */
export const noDrifts: readonly NodePortDrift[] = [];

/** The drifts of one bucket: the same list for the same buckets, however many nodes ask. */
export function compareBucket(expected: ExpectedBucket, observed: FactBucket, mode: ProxyMode): readonly NodePortDrift[] {
  const known = compared(expected, mode);
  const before = known.get(observed);
  if (before !== undefined) return before;
  const drifts = driftsOf(expected, observed, mode);
  known.set(observed, drifts);
  return drifts;
}

function driftsOf({ expectations }: ExpectedBucket, { facts }: FactBucket, mode: ProxyMode): readonly NodePortDrift[] {
  const byKey = new Map(facts.map((fact) => [fact.key, fact]));
  const drifts = expectations.flatMap((expectation) => compareNodePort(expectation, byKey.get(expectation.key), mode));
  for (const { key } of expectations) byKey.delete(key);
  for (const fact of byKey.values()) drifts.push(...compareUnclaimed(fact));
  return drifts.length === 0 ? noDrifts : drifts;
}

type Compared = WeakMap<FactBucket, readonly NodePortDrift[]>;
const results = new WeakMap<ExpectedBucket, Map<ProxyMode, Compared>>();

function compared(expected: ExpectedBucket, mode: ProxyMode): Compared {
  let byMode = results.get(expected);
  if (byMode === undefined) results.set(expected, (byMode = new Map()));
  let known = byMode.get(mode);
  if (known === undefined) byMode.set(mode, (known = new WeakMap()));
  return known;
}
