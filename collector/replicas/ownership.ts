// Who may write of a node: this collector alone, or the replica that owns it by its token.
import { failure } from '../../shared/errors.ts';
import type { Fence } from '../store/store.ts';

/** An agent that has said hello. */
export interface Arrival {
  readonly node: string;
  /** Names its run. */
  readonly stream: string;
  readonly address: string;
}

/** What is found when a node is taken. */
export interface Taken {
  /** The agent's session at another replica, which ends now; absent where there was none. */
  readonly elsewhere?: { readonly replica: string; readonly address: string };
  /** Whether the agent's run was replaced by another not long ago and both live; absent where this is not known here. */
  readonly isClone?: boolean;
}

/** What sessions need of the matter. */
export interface Ownership {
  /** Makes this collector the owner of a node: from then on nobody else writes of it. Resolves when everything that was written of it before is known here. */
  take(arrival: Arrival): Promise<Taken>;
  /** What a write of a node has to show; undefined where there is one collector. Throws LEASE_LOST where another owns the node. */
  fence(node: string): Fence | undefined;
  /** Facts of a node have changed: all, or those with these keys. */
  factsChanged(node: string, keys: 'all' | Iterable<string>): void;
}

/** A collector that shares its store with nobody. */
export const soleOwner: Ownership = { take: async () => ({}), fence: () => undefined, factsChanged: () => {} };

/** The nodes that one replica owns. */
export class Owned {
  readonly #holder: string;
  readonly #tokens = new Map<string, number>();

  constructor(holder: string) {
    this.#holder = holder;
  }

  get nodes(): readonly string[] {
    return [...this.#tokens.keys()].filter((node) => node !== '');
  }

  token(node: string): number | undefined {
    return this.#tokens.get(node);
  }

  set(node: string, token: number): void {
    this.#tokens.set(node, token);
  }

  delete(node: string): void {
    this.#tokens.delete(node);
  }

  /** Throws LEASE_LOST for a node that is not owned. */
  fence(node: string): Fence {
    const token = this.#tokens.get(node);
    if (token === undefined) throw failure('LEASE_LOST', [node]);
    return { node, holder: this.#holder, token };
  }
}
