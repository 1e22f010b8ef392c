// What goes between the collector and the thread that owns its SQLite file.
import type { Salvaged, Store } from './store.ts';

/** How much waits, and news of others, are known on this side alone. */
export type StoreMethod = Exclude<keyof Store, 'news' | 'waiting'>;

/** One call of a store method. */
export type StoreRequest = {
  readonly [M in StoreMethod]: { readonly id: number; readonly method: M; readonly arguments: Parameters<Store[M]> };
}[StoreMethod];

export type StoreReply =
  | { readonly kind: 'result'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'failed'; readonly id: number; readonly reason: string /** The node whose owner this replica is no more. */; readonly lost?: string }
  | { readonly kind: 'opened'; readonly salvaged?: Salvaged }
  | { readonly kind: 'unusable'; readonly reason: string };
