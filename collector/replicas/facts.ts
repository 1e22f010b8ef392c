// The facts of a node as its owner writes them for the other replicas: in buckets by their keys, compressed, so that a change rewrites little. Pure.
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { limits } from '../../shared/limits.ts';
import type { Fact } from '../../shared/model/fact.ts';
import { bucketOf } from '../compare/buckets.ts';
import type { StoredBucket } from '../store/store.ts';

const storedBucketsMax = 128;

/** The bucket that a fact is written in. */
export const storedBucketOf = (key: string): number => bucketOf(key) % storedBucketsMax;

/** The facts of some buckets, or of all, ready to be written; the same facts give the same bytes, in whatever order they come. */
export function bucketsOf(facts: Iterable<Fact>, wanted: 'all' | ReadonlySet<number>): readonly StoredBucket[] {
  const buckets = new Map<number, Fact[]>([...(wanted === 'all' ? [] : wanted)].map((bucket) => [bucket, []]));
  for (const fact of facts) {
    const bucket = storedBucketOf(fact.key);
    if (wanted !== 'all' && !wanted.has(bucket)) continue;
    const known = buckets.get(bucket);
    if (known === undefined) buckets.set(bucket, [fact]);
    else known.push(fact);
  }
  return [...buckets].map(([bucket, list]) => ({ bucket, body: bodyOf(list) }));
}

function bodyOf(facts: Fact[]): Uint8Array {
  return facts.length === 0 ? new Uint8Array() : zstdCompressSync(JSON.stringify(facts.sort((a, b) => (a.key < b.key ? -1 : 1))));
}

/** Throws for what is no bucket. */
export function factsOfBucket({ body }: StoredBucket): readonly Fact[] {
  if (body.length === 0) return [];
  return JSON.parse(zstdDecompressSync(body, { maxOutputLength: limits.inputFileBytesMax }).toString('utf8')) as readonly Fact[];
}
