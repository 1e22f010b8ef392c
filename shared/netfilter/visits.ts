// Notes which chains and sockets walks look at, so that a change is known to concern some NodePorts and not the others. The walk tells; whoever listens keeps.
import { isSameSet } from '../model/address.ts';
import type { State } from './packet.ts';
import type { Table } from './ruleset.ts';

/** What walks looked at. Chains are named as by `chainKey`, sockets as by `socketKey`. */
export interface Visits {
  /**
   * On the way of this one packet alone: while a connection's first packet is on its way to the routing decision (or out of a process). A chain that it comes to with
   * another destination than it was sent to is there as `translatedKey` as well.
   */
  readonly own: Set<string>;
  /** Where walks may share their ways, so that who came by is not told for each: everybody is taken to have come by. */
  readonly common: Set<string>;
}

/** `iptables-nft ip nat KUBE-NODEPORTS`. */
export function chainKey(table: Table, chain: string): string {
  let keys = keysOf.get(table);
  if (keys === undefined) keysOf.set(table, (keys = new Map()));
  let key = keys.get(chain);
  if (key === undefined) keys.set(chain, (key = `${table.backend} ${table.family} ${table.name} ${chain}`));
  return key;
}
const keysOf = new WeakMap<Table, Map<string, string>>();

/** The same chain, for a packet whose destination is no longer the NodePort. */
export const translatedKey = (key: string): string => `translated ${key}`;

export const socketKey = (protocol: string, port: number): string => `socket ${protocol} ${port}`;

/** Does something and notes meanwhile what walks look at. */
export function noting<Result>(visits: Visits, act: () => Result): Result {
  const before = listener;
  listener = visits;
  try {
    return act();
  } finally {
    listener = before;
  }
}
let listener: Visits | undefined;

/** A walk comes to a chain, which need not be there. Called by the walk at each. */
export function noteChain(at: { readonly table: Table; readonly hook: string }, chain: string, state: State): void {
  if (listener === undefined) return;
  const first = state.direction === 'original' && state.tcpFlags === undefined && state.sctpChunk === undefined;
  const key = chainKey(at.table, chain);
  if (!first || (at.hook !== 'prerouting' && at.hook !== 'output' && at.hook !== 'ingress')) listener.common.add(key);
  else {
    listener.own.add(key);
    if (!isAsSent(state)) listener.own.add(translatedKey(key));
  }
}

const isAsSent = ({ destination, destinationPort, original }: State): boolean =>
  destinationPort === original.destinationPort && (destination === original.destination || isSameSet(destination, original.destination));

/** A walk asks for the sockets of a port. */
export function noteSocket(protocol: string, port: number): void {
  listener?.own.add(socketKey(protocol, port));
}
