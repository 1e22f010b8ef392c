// Looks a packet set up in nft sets and maps: membership for conditions, and the verdict or value that a map holds for its key.
import type { IntervalSet } from '../model/address.ts';
import { addressValue, conntrackWord, narrowed, numberValue, type Surroundings, typeSet } from './fields.ts';
import { holds, type Judgement, may, remembers, type State } from './packet.ts';
import type { AddressType, ConntrackState, ElementPart, KeyPart, NftElement, NftSetReference } from './rule.ts';
import type { NftSet } from './ruleset.ts';
import { type FieldValue, hitSet, type Partition, type PartTest, partitionBy } from './tuple.ts';

/** Judges `KEY @set` and `KEY { … }`. */
export function matchLookup(state: State, condition: { readonly key: readonly KeyPart[]; readonly set: NftSetReference }, around: Surroundings): Judgement {
  const found = elementsOf(condition.set, around);
  if (found.kind === 'unreadable') return may(found.reason);
  if (condition.key.some((part) => part.kind === 'random')) return chanceOf(state, { key: condition.key, elements: found.elements }, around);
  const key = keyOf(condition.key, state, around);
  const partition = lookUp(key, found.elements);
  const doubt = partition.hits.find((hit) => hit.may !== undefined)?.may;
  if (found.set?.flags.some((flag) => flag === 'dynamic' || flag === 'timeout') === true)
    return remembers(`@${found.set.name} is filled by packets: whether the client is in it can change`);
  if (!partition.remains)
    return doubt === undefined || partition.hits.some((hit) => hit.may === undefined && hit.set === undefined) ? { kind: 'yes' } : may(doubt);
  if (doubt !== undefined) return may(doubt);
  if (partition.rest === undefined) return holds(partition.hits.length > 0);
  const { side, set } = partition.rest;
  return { kind: 'split', yes: narrowed(state, side, hitSet(partition)), no: narrowed(state, side, set) };
}

/** One way that a map look-up can go. `may`: the element holds only perhaps. */
export interface MapHit {
  readonly state: State;
  readonly element: NftElement;
  readonly may?: string;
}

export type MapAnswer =
  | { readonly kind: 'divided'; readonly hits: readonly MapHit[]; readonly rest: readonly State[] }
  | { readonly kind: 'unreadable'; readonly reason: string };

/** Divides a packet set by the elements of a map; a key with a random part gives a branch for each of its values, with their weights. */
export function divideByMap(state: State, reference: { readonly key: readonly KeyPart[]; readonly map: NftSetReference }, around: Surroundings): MapAnswer {
  const found = elementsOf(reference.map, around);
  if (found.kind === 'unreadable') return found;
  const hits: MapHit[] = [];
  const rest: State[] = [];
  for (const branch of randomBranches(state, reference.key)) {
    const key = keyOf(branch.key, branch.state, around);
    const partition = lookUp(key, found.elements);
    for (const hit of partition.hits) {
      const part = hit.set === undefined || hit.side === undefined ? branch.state : narrowed(branch.state, hit.side, hit.set);
      hits.push(hit.may === undefined ? { state: part, element: hit.element } : { state: part, element: hit.element, may: hit.may });
    }
    if (partition.remains) rest.push(partition.rest === undefined ? branch.state : narrowed(branch.state, partition.rest.side, partition.rest.set));
  }
  return { kind: 'divided', hits, rest };
}

type FixedKeyPart = KeyPart | { readonly kind: 'fixed'; readonly value: bigint };

function randomBranches(state: State, key: readonly KeyPart[]): readonly { readonly state: State; readonly key: readonly FixedKeyPart[] }[] {
  const at = key.findIndex((part) => part.kind === 'random');
  if (at < 0) return [{ state, key }];
  const { modulus, offset } = key[at] as KeyPart & { kind: 'random' };
  return Array.from({ length: modulus }, (_, index) => ({
    state: { ...state, weight: state.weight / modulus },
    key: key.map((part, i): FixedKeyPart => (i === at ? { kind: 'fixed', value: BigInt(index + offset) } : part)),
  }));
}

function chanceOf(state: State, lookup: { readonly key: readonly KeyPart[]; readonly elements: readonly NftElement[] }, around: Surroundings): Judgement {
  const branches = randomBranches(state, lookup.key);
  let share = 0;
  for (const branch of branches) {
    const partition = lookUp(keyOf(branch.key, branch.state, around), lookup.elements);
    if (partition.rest !== undefined || partition.hits.some((hit) => hit.may !== undefined)) return may('a random choice and the addresses decide together');
    if (partition.hits.length > 0) share += 1 / branches.length;
  }
  return { kind: 'chance', probability: share };
}

type Found =
  | { readonly kind: 'elements'; readonly elements: readonly NftElement[]; readonly set?: NftSet }
  | { readonly kind: 'unreadable'; readonly reason: string };

function elementsOf(reference: NftSetReference, around: Surroundings): Found {
  if (reference.kind === 'inline') return { kind: 'elements', elements: reference.elements };
  const set = around.table.sets.get(reference.name);
  if (set === undefined) return { kind: 'unreadable', reason: `the set @${reference.name} is not in the dump` };
  if (!set.complete) return { kind: 'unreadable', reason: `the elements of @${reference.name} were not read` };
  return { kind: 'elements', elements: set.elements, set };
}

/** A key of a packet set as values, with what its parts mean for the parts of elements. */
interface Key {
  readonly state: State;
  readonly around: Surroundings;
  readonly values: readonly FieldValue[];
  readonly parts: readonly FixedKeyPart[];
}

function keyOf(parts: readonly FixedKeyPart[], state: State, around: Surroundings): Key {
  return { state, around, parts, values: parts.map((part) => valueOf(part, state, around)) };
}

function valueOf(part: FixedKeyPart, state: State, around: Surroundings): FieldValue {
  switch (part.kind) {
    case 'fixed':
      return { kind: 'number', value: part.value };
    case 'address': {
      const set = addressValue(state, part.field);
      if (set === undefined) return { kind: 'unknown', reason: `${part.field} of the connection is not known` };
      return { kind: 'addresses', side: part.field === 'source' || part.field === 'destination' ? part.field : undefined, set };
    }
    case 'number': {
      const value = numberValue(state, part.field);
      return value === undefined ? { kind: 'unknown', reason: `${part.field} is not known beforehand` } : { kind: 'number', value: BigInt(value) };
    }
    case 'interface':
      return { kind: 'name', name: part.field === 'in' ? state.iif : part.field === 'out' ? state.oif : undefined };
    case 'conntrackState':
      return {
        kind: 'word',
        word: (['new', 'established', 'related', 'invalid', 'untracked'] as ConntrackState[]).find((word) => conntrackWord(state, word, around)) ?? '',
      };
    case 'addressType':
      return { kind: 'addresses', side: part.side, set: addressValue(state, part.side) as IntervalSet };
    case 'random':
      return { kind: 'unknown', reason: 'a random value' };
    case 'unknown':
      return { kind: 'unknown', reason: `${part.text} is not understood` };
  }
}

function lookUp(key: Key, elements: readonly NftElement[]): Partition<NftElement> {
  const partsOf = (element: NftElement): readonly PartTest[] => element.key.map((part, index) => testOf(part, key, index));
  const exact = exactKey(key);
  if (exact === undefined || elements.length < indexFrom) return partitionBy(key.values, elements, partsOf);
  const index = indexOf(elements);
  const hit = index.exact.get(exact);
  return partitionBy(key.values, hit === undefined ? index.others : [hit, ...index.others], partsOf);
}

const indexFrom = 16;

/** Sets of thousands of elements are looked up by their exact keys; ranges stay a list. */
function indexOf(elements: readonly NftElement[]): { readonly exact: ReadonlyMap<string, NftElement>; readonly others: readonly NftElement[] } {
  let index = indexes.get(elements);
  if (index === undefined) {
    const exact = new Map<string, NftElement>();
    const others: NftElement[] = [];
    for (const element of elements) {
      const whole = element.key.every((part) => part.kind === 'interval' && part.lo === part.hi);
      if (whole) exact.set(element.key.map((part) => (part as ElementPart & { kind: 'interval' }).lo).join(' '), element);
      else others.push(element);
    }
    index = { exact, others };
    indexes.set(elements, index);
  }
  return index;
}
const indexes = new WeakMap<readonly NftElement[], { readonly exact: ReadonlyMap<string, NftElement>; readonly others: readonly NftElement[] }>();

function exactKey(key: Key): string | undefined {
  const texts: bigint[] = [];
  for (const [index, value] of key.values.entries()) {
    if (key.parts[index]?.kind === 'addressType') return undefined;
    if (value.kind === 'number') texts.push(value.value);
    else if (value.kind === 'addresses' && value.set.length === 1 && value.set[0]?.lo === value.set[0]?.hi) texts.push(value.set[0]?.lo as bigint);
    else return undefined;
  }
  return texts.join(' ');
}

function testOf(part: ElementPart, { state, around, parts }: Key, index: number): PartTest {
  switch (part.kind) {
    case 'interval':
      return { kind: 'set', set: [{ lo: part.lo, hi: part.hi }] };
    case 'interface':
      return { kind: 'name', ...part.pattern };
    case 'word': {
      if (part.word === '*') return { kind: 'any' };
      const keyPart = parts[index];
      if (keyPart?.kind !== 'addressType') return { kind: 'word', word: part.word };
      const device = keyPart.limit === undefined ? undefined : keyPart.limit === 'in' ? state.iif : state.oif;
      return { kind: 'set', set: typeSet(state.family, part.word as AddressType, { around, device }) };
    }
  }
}
