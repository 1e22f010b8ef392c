// The part of the session that keeps the collector's picture of the node the same as the agent's: all facts after a welcome, differences from then on. Pure.
import { limits } from '../limits.ts';
import { sameFact } from '../model/fact.same.ts';
import type { Fact } from '../model/fact.ts';
import { vantages } from '../model/outcome.ts';
import { textOfFact } from './fact.text.ts';
import type { StateMessage } from './messages.ts';

/** What is known of facts on both sides. */
export interface StateBook {
  /** Facts as they are; undefined until the first reading is done. */
  readonly facts: ReadonlyMap<string, Fact> | undefined;
  readonly factsAt: number;
  /** Facts as the collector has them on this connection; undefined: a full state is due. */
  readonly shared: ReadonlyMap<string, Fact> | undefined;
  /** Of the last message on this connection. */
  readonly stateSeq: number;
}

/** Room in a frame for what surrounds facts and changes. */
export const frameBytesUsable = limits.frameBytesMax - 4 * 1024;

/** The messages that bring the collector up to date, and the book after they are sent. */
export function stateMessages(book: StateBook): { readonly book: StateBook; readonly messages: readonly StateMessage[] } {
  const { facts, factsAt, shared, stateSeq } = book;
  if (facts === undefined || facts === shared) return { book: bookOf(book), messages: [] };
  const full = shared === undefined;
  const put = [...facts.values()].filter((fact) => !sameFact(shared?.get(fact.key), fact));
  const deleted = [...(shared?.keys() ?? [])].filter((key) => !facts.has(key));
  const next = { ...bookOf(book), shared: sharedAfter(book, put, deleted) };
  if (!full && put.length + deleted.length === 0) return { book: next, messages: [] };
  const parts = stateParts(put, deleted);
  const messages = parts.map((part, i): StateMessage => {
    const more = i < parts.length - 1;
    return { type: 'state', seq: stateSeq + 1 + i, full, more, at: factsAt, put: part.put as StateMessage['put'], delete: part.delete };
  });
  return { book: { ...next, stateSeq: stateSeq + parts.length }, messages };
}

/** Facts in the form in which they are sent: one that no frame can hold goes without its details. */
export function* asSent(facts: ReadonlyMap<string, Fact>): Iterable<Fact> {
  for (const fact of facts.values()) yield isLarge(fact) ? withinFrame(fact).fact : fact;
}

/** Only these grow with the number of Services or endpoints; most are short, and need not be written out to know it. */
const isLarge = (fact: Fact): boolean =>
  fact.kind === 'chains' || (fact.kind === 'nodeport' && vantages.some((vantage) => (fact.outcomes[vantage]?.length ?? 0) > 500));

const bookOf = ({ facts, factsAt, shared, stateSeq }: StateBook): StateBook => ({ facts, factsAt, shared, stateSeq });

// A fact whose counters alone have moved is not sent; the one that the collector has stays the one to compare with.
function sharedAfter({ facts, shared: before }: StateBook, put: readonly Fact[], deleted: readonly string[]): ReadonlyMap<string, Fact> {
  if (before === undefined) return facts as ReadonlyMap<string, Fact>;
  if (put.length + deleted.length === 0) return before;
  const shared = new Map(before);
  for (const key of deleted) shared.delete(key);
  for (const fact of put) shared.set(fact.key, fact);
  return shared;
}

interface StatePart {
  readonly put: Fact[];
  readonly delete: string[];
}

function stateParts(put: readonly Fact[], deleted: readonly string[]): readonly StatePart[] {
  const parts: StatePart[] = [{ put: [], delete: [] }];
  let bytes = 0;
  const room = (size: number, list: 'put' | 'delete'): StatePart => {
    const last = parts.at(-1) as StatePart;
    if (bytes === 0 || (last[list].length < limits.statePartFacts && bytes + size <= limits.statePartBytes)) {
      bytes += size;
      return last;
    }
    const next: StatePart = { put: [], delete: [] };
    parts.push(next);
    bytes = size;
    return next;
  };
  for (const each of put) {
    const { fact, bytes: size } = withinFrame(each);
    room(size + 1, 'put').put.push(fact);
  }
  for (const key of deleted) room(Buffer.byteLength(key) + 3, 'delete').delete.push(key);
  return parts;
}

/** A fact and its size as text. One that no frame can hold (a node with tens of thousands of Services) is sent as what it is: too large to be known. */
function withinFrame(fact: Fact): { readonly fact: Fact; readonly bytes: number } {
  const bytes = Buffer.byteLength(textOfFact(fact));
  if (bytes <= frameBytesUsable || (fact.kind !== 'chains' && fact.kind !== 'nodeport')) return { fact, bytes };
  return withinFrame(fact.kind === 'chains' ? { ...fact, services: {} } : { ...fact, outcomes: {} });
}
