// The order in which the kernel runs base chains: by hook and priority, whoever owns them, with NAT chains gathered at the priority of the NAT core.
import type { Family } from '../model/address.ts';
import type { NodeState } from './node.ts';
import type { Hook } from './rule.ts';
import type { BaseChain, Chain, Table } from './ruleset.ts';

/** One stop of a hook. `nat`: all NAT base chains of the hook, in their own order, until one of them translates. */
export type Stop =
  | { readonly kind: 'chain'; readonly priority: number; readonly table: Table; readonly chain: Chain; readonly base: BaseChain }
  | { readonly kind: 'nat'; readonly priority: number; readonly chains: readonly { readonly table: Table; readonly chain: Chain; readonly base: BaseChain }[] }
  | { readonly kind: 'conntrack'; readonly priority: number }
  | { readonly kind: 'ipvs'; readonly priority: number };

export const conntrackPriority = -200;
const natPriority: Readonly<Partial<Record<Hook, number>>> = { prerouting: -100, output: -100, input: 100, postrouting: 100 };

/** The stops of a hook for a family, in order. Chains of one priority stay in the order of the dumps: the kernel's is that of their registration. */
export function stopsOf(node: NodeState, family: Family, hook: Hook): readonly Stop[] {
  let byHook = orders.get(node);
  if (byHook === undefined) orders.set(node, (byHook = new Map()));
  const key = `${family} ${hook}`;
  let stops = byHook.get(key);
  if (stops === undefined) byHook.set(key, (stops = orderStops(node, family, hook)));
  return stops;
}
const orders = new WeakMap<NodeState, Map<string, readonly Stop[]>>();

function orderStops(node: NodeState, family: Family, hook: Hook): readonly Stop[] {
  const own = family === 4 ? 'ip' : 'ip6';
  const found = node.tables
    .filter((table) => (table.family === own || table.family === 'inet') && !table.flags.includes('dormant'))
    .flatMap((table) => [...table.chains.values()].flatMap((chain) => (chain.base?.hook === hook ? [{ table, chain, base: chain.base }] : [])));
  const stops: Stop[] = found.filter(({ base }) => base.type !== 'nat').map((each) => ({ kind: 'chain', priority: each.base.priority, ...each }));
  const nat = found.filter(({ base }) => base.type === 'nat').sort((a, b) => a.base.priority - b.base.priority);
  if (nat.length > 0) stops.push({ kind: 'nat', priority: natPriority[hook] ?? 0, chains: nat });
  if (hook === 'prerouting' || hook === 'output') stops.push({ kind: 'conntrack', priority: conntrackPriority });
  return stops.sort((a, b) => a.priority - b.priority || (a.kind === 'conntrack' ? -1 : 0) - (b.kind === 'conntrack' ? -1 : 0));
}

/** Ingress chains of the netdev family on an interface, in order. */
export function ingressChains(node: NodeState, device: string | undefined): readonly { readonly table: Table; readonly chain: Chain; readonly base: BaseChain }[] {
  return node.tables
    .filter((table) => (table.family === 'netdev' || table.family === 'inet') && !table.flags.includes('dormant'))
    .flatMap((table) =>
      [...table.chains.values()].flatMap((chain) =>
        chain.base?.hook === 'ingress' && device !== undefined && chain.base.devices?.includes(device) === true ? [{ table, chain, base: chain.base }] : [],
      ),
    )
    .sort((a, b) => a.base.priority - b.base.priority);
}
