// A digest of many facts that two sides compare to know whether they hold the same, in whatever order and however each keeps them. Pure.
import { createHash } from 'node:crypto';
import type { Fact, NodePortFact } from './fact.ts';
import { vantages } from './outcome.ts';

/** Of the facts of each kind: how many there are, and the sum of their hashes (48 bits). Kinds that one side does not know are left out of a comparison. */
export type FactDigest = Readonly<Record<string, { readonly count: number; readonly sum: number }>>;

const modulus = 2 ** 48;
/** Facts are never changed, and NodePorts of many nodes are one object: each is hashed once. */
const hashes = new WeakMap<Fact, number>();

/** The digest of facts. Packet counts, and where a rule stands that serves its clients well, are left out: neither side need have the latest. */
export function digestOf(facts: Iterable<Fact>): FactDigest {
  const digest: Record<string, { count: number; sum: number }> = {};
  for (const fact of facts) {
    const of = Object.hasOwn(digest, fact.kind) ? digest[fact.kind] : undefined;
    if (of === undefined) digest[fact.kind] = { count: 1, sum: hashOf(fact) };
    else {
      of.count++;
      of.sum = (of.sum + hashOf(fact)) % modulus;
    }
  }
  return digest;
}

/** The kinds of which two digests differ, of those that the second side knows. */
export function kindsThatDiffer(theirs: FactDigest, ours: FactDigest, isKnown: (kind: string) => boolean): readonly string[] {
  const kinds = [...new Set([...Object.keys(theirs), ...Object.keys(ours)])].filter(isKnown);
  const of = (digest: FactDigest, kind: string) => (Object.hasOwn(digest, kind) ? digest[kind] : undefined);
  return kinds.filter((kind) => of(theirs, kind)?.count !== of(ours, kind)?.count || of(theirs, kind)?.sum !== of(ours, kind)?.sum);
}

function hashOf(fact: Fact): number {
  const known = hashes.get(fact);
  if (known !== undefined) return known;
  const text = fact.kind === 'nodeport' ? nodePortText(fact) : JSON.stringify(fact, (key, value: unknown) => (key === 'packets' ? undefined : value));
  const hash = createHash('sha1').update(text).digest().readUIntBE(0, 6);
  hashes.set(fact, hash);
  return hash;
}

/** What a NodePort does, without the node's own address and without where its deciding rules stand. */
function nodePortText({ key, claimed, outcomes }: NodePortFact): string {
  const ways = vantages.map((vantage) =>
    outcomes[vantage]?.map(({ verdict, dnat, masquerade, weight, rejectWith, sources, sourcesLeft, decidedBy }) => [
      verdict,
      dnat,
      masquerade,
      weight,
      rejectWith ?? null,
      sources ?? null,
      decidedBy?.text ?? null,
      ...(sourcesLeft === undefined && decidedBy?.others === undefined ? [] : [sourcesLeft ?? null, decidedBy?.others ?? null]),
    ]),
  );
  return JSON.stringify([key, claimed.by, claimed.service ?? null, ways.map((list) => list ?? null)]);
}
