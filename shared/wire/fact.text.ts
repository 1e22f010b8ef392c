// The text of facts that are about to be sent: whether a frame has room for one hangs on its length, and to write each out again for the frame costs as much again.
import type { Fact } from '../model/fact.ts';

/** A fact as JSON, which is remembered for the frame that it comes in. */
export function textOfFact(fact: Fact): string {
  let text = texts.get(fact);
  if (text === undefined) texts.set(fact, (text = JSON.stringify(fact)));
  return text;
}

/** The same for the last time: it need not be remembered any more. */
export function lastTextOfFact(fact: object): string {
  const text = texts.get(fact);
  texts.delete(fact);
  return text ?? JSON.stringify(fact);
}

const texts = new WeakMap<object, string>();
