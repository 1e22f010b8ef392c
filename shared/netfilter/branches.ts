// The branches of a walk at one place: most of the time there is one, so that no list is made before there are two.
import { coalesce } from './coalesce.ts';
import type { State } from './packet.ts';

export class Branches {
  #only: State | undefined;
  /** All of them, when there are several. */
  #many: State[] | undefined;

  get length(): number {
    if (this.#many !== undefined) return this.#many.length;
    return this.#only === undefined ? 0 : 1;
  }

  at(index: number): State {
    return (this.#many === undefined ? this.#only : this.#many[index]) as State;
  }

  add(state: State): void {
    if (this.#many !== undefined) this.#many.push(state);
    else if (this.#only === undefined) this.#only = state;
    else this.#many = [this.#only, state];
  }

  addAll(others: Branches): void {
    for (let index = 0; index < others.length; index++) this.add(others.at(index));
  }

  clear(): void {
    this.#only = undefined;
    this.#many = undefined;
  }

  /** Joins those that are the same again. */
  coalesce(): void {
    if (this.#many === undefined) return;
    const joined = coalesce(this.#many);
    if (joined === this.#many) return;
    this.clear();
    for (const state of joined) this.add(state);
  }

  get list(): readonly State[] {
    return this.#many ?? (this.#only === undefined ? [] : [this.#only]);
  }
}
