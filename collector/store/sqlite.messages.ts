// What goes between the collector and the thread that owns its SQLite file.
import type { Salvaged, Store } from './store.ts';

/** One call of a store method. */
export type StoreRequest = {
  readonly [M in StoredMethod]: { readonly id: number; readonly method: M; readonly arguments: Parameters<Store[M]> };
}[StoredMethod];

/** How much waits is known on this side alone. */
type StoredMethod = Exclude<keyof Store, 'waiting'>;

export type StoreReply =
  | { readonly kind: 'result'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'failed'; readonly id: number; readonly reason: string }
  | { readonly kind: 'opened'; readonly salvaged?: Salvaged }
  | { readonly kind: 'unusable'; readonly reason: string };
