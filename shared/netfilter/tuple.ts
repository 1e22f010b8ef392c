// Compares the fields of a packet set with the parts of set elements (nft sets and maps, ipsets): which element holds for which of the addresses.
import { type IntervalSet, intersect, size, subtract, union } from '../model/address.ts';
import type { Side } from './rule.ts';

/** One field's value: addresses of a side (possibly many), one number, an interface name (absent before it is known), a word, or not known. */
export type FieldValue =
  | { readonly kind: 'addresses'; readonly side: Side | undefined; readonly set: IntervalSet }
  | { readonly kind: 'number'; readonly value: bigint }
  | { readonly kind: 'name'; readonly name: string | undefined }
  | { readonly kind: 'word'; readonly word: string }
  | { readonly kind: 'unknown'; readonly reason: string };

/** One part of an element, reduced to what a field can be compared with. */
export type PartTest =
  | { readonly kind: 'set'; readonly set: IntervalSet }
  | { readonly kind: 'name'; readonly name: string; readonly prefix: boolean }
  | { readonly kind: 'word'; readonly word: string }
  | { readonly kind: 'any' }
  | { readonly kind: 'unreadable'; readonly reason: string };

/** How an element holds: for all packets, for none, for the given addresses of one side, or perhaps. */
export type TupleAnswer =
  | { readonly kind: 'all' }
  | { readonly kind: 'none' }
  | { readonly kind: 'part'; readonly side: Side; readonly set: IntervalSet }
  | { readonly kind: 'may'; readonly reason: string };

const all: TupleAnswer = { kind: 'all' };
const none: TupleAnswer = { kind: 'none' };

/** Compares every field with its part; all must hold. Two sides that both split at once cannot be told as one set: that is a may. */
export function matchTuple(values: readonly FieldValue[], parts: readonly PartTest[]): TupleAnswer {
  if (values.length > parts.length) return none;
  let part: { side: Side; set: IntervalSet } | undefined;
  let doubt: string | undefined;
  for (const [index, value] of values.entries()) {
    const answer = matchPart(value, parts[index] as PartTest);
    if (answer.kind === 'none') return none;
    if (answer.kind === 'may') doubt = answer.reason;
    if (answer.kind !== 'part') continue;
    if (part === undefined) part = answer;
    else if (part.side === answer.side) part = { side: part.side, set: intersect(part.set, answer.set) };
    else doubt = 'source and destination are both sets of addresses of which only some match';
  }
  if (part !== undefined && part.set.length === 0) return none;
  if (doubt !== undefined) return { kind: 'may', reason: doubt };
  return part === undefined ? all : { kind: 'part', ...part };
}

function matchPart(value: FieldValue, part: PartTest): TupleAnswer {
  if (part.kind === 'any') return all;
  if (part.kind === 'unreadable') return { kind: 'may', reason: part.reason };
  if (part.kind === 'word' && value.kind !== 'word') return { kind: 'may', reason: `"${part.word}" is not understood as a value` };
  switch (value.kind) {
    case 'unknown':
      return { kind: 'may', reason: value.reason };
    case 'number':
      return part.kind === 'set' && part.set.some(({ lo, hi }) => lo <= value.value && value.value <= hi) ? all : none;
    case 'word':
      return part.kind === 'word' && part.word === value.word ? all : none;
    case 'name':
      return part.kind === 'name' && value.name !== undefined && (part.prefix ? value.name.startsWith(part.name) : value.name === part.name) ? all : none;
    case 'addresses':
      return part.kind === 'set' ? matchAddresses(value, part.set) : none;
  }
}

function matchAddresses(value: FieldValue & { kind: 'addresses' }, set: IntervalSet): TupleAnswer {
  const inside = intersect(value.set, set);
  if (inside.length === 0) return none;
  if (size(inside) === size(value.set)) return all;
  return value.side === undefined ? { kind: 'may', reason: 'only some of the addresses match' } : { kind: 'part', side: value.side, set: inside };
}

/** What several elements together say of a packet set: the parts that each takes, first come first served, and what is left. */
export interface Partition<Element> {
  readonly hits: readonly { readonly element: Element; readonly side?: Side; readonly set?: IntervalSet; readonly may?: string }[];
  /** False when an element takes all that was left. */
  readonly remains: boolean;
  /** What is left of the side that was split; absent when nothing was split. */
  readonly rest?: { readonly side: Side; readonly set: IntervalSet };
}

/** Divides a packet set by elements, in the order given (the caller sorts the more specific first). */
export function partitionBy<Element>(
  values: readonly FieldValue[],
  elements: Iterable<Element>,
  partsOf: (element: Element) => readonly PartTest[],
): Partition<Element> {
  const hits: { element: Element; side?: Side; set?: IntervalSet; may?: string }[] = [];
  let left = values;
  let rest: { side: Side; set: IntervalSet } | undefined;
  for (const element of elements) {
    const answer = matchTuple(left, partsOf(element));
    if (answer.kind === 'none') continue;
    if (answer.kind === 'may') {
      hits.push({ element, may: answer.reason });
      continue;
    }
    if (answer.kind === 'all') {
      hits.push(rest === undefined ? { element } : { element, side: rest.side, set: rest.set });
      return { hits, remains: false };
    }
    hits.push({ element, side: answer.side, set: answer.set });
    const whole = left.find((value) => value.kind === 'addresses' && value.side === answer.side) as FieldValue & { kind: 'addresses' };
    rest = { side: answer.side, set: subtract(whole.set, answer.set) };
    if (rest.set.length === 0) return { hits, remains: false };
    const remaining = rest;
    left = left.map((value) => (value.kind === 'addresses' && value.side === remaining.side ? { ...value, set: remaining.set } : value));
  }
  return rest === undefined ? { hits, remains: true } : { hits, remains: true, rest };
}

/** All that a partition hit for certain on its split side, as one set. */
export const hitSet = <Element>(partition: Partition<Element>): IntervalSet =>
  union(...partition.hits.flatMap((hit) => (hit.set === undefined || hit.may !== undefined ? [] : [hit.set])));
