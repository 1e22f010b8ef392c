// One walk in progress: what it walks on, what is left of its budget, and its branches that came to their end.
import { type IntervalSet, intersect, subtract } from '../model/address.ts';
import type { Decider } from '../model/outcome.ts';
import type { Ways } from './alike.ts';
import type { Ended } from './chains.ts';
import type { TieOrder } from './hooks.ts';
import type { NodeState } from './node.ts';
import type { Packet, State } from './packet.ts';
import type { WalkOptions } from './walk.ts';

export interface Walker {
  readonly node: NodeState;
  readonly packet: Packet;
  readonly options: WalkOptions;
  readonly ties: TieOrder;
  /** The ways that packets went before; absent where each is to be walked by itself. */
  readonly ways: Ways | undefined;
  /** In the order of their discovery. */
  readonly ended: Ended[];
  readonly budget: { rules: number; branches: number };
}

/** Ends a branch. Returns undefined so that callers can end and leave in one statement. */
export function end(walker: Walker, state: State, how: Omit<Ended, 'state'>): undefined {
  walker.ended.push({ state, ...how });
  return undefined;
}

/** Drops the packets of some sources and goes on with the others. */
export function dropSources(walker: Walker, state: State, away: { readonly set: IntervalSet; readonly decider: Decider }): readonly State[] {
  const dropped = intersect(state.source, away.set);
  if (dropped.length === 0) return [state];
  end(walker, withSource(state, dropped), { verdict: 'drop', decider: away.decider });
  const kept = subtract(state.source, away.set);
  return kept.length === 0 ? [] : [withSource(state, kept)];
}

/** The same packets from other sources, which are the connection's clients unless the packets are answers. */
export const withSource = (state: State, source: IntervalSet): State =>
  state.direction === 'original' ? { ...state, source, original: { ...state.original, source } } : { ...state, source };
