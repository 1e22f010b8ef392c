// The order in which the kernel runs base chains: by hook and priority, whoever owns them, with NAT chains gathered at the priority of the NAT core.
import type { Family } from '../model/address.ts';
import { balances } from './ipvs.balance.ts';
import type { NodeState } from './node.ts';
import type { Hook } from './rule.ts';
import { type BaseChain, baseChainsOf, type Chain, type Table } from './ruleset.ts';

/** One stop of a hook. `nat`: all NAT base chains of the hook, in their own order, until one of them translates. */
export type Stop =
  | { readonly kind: 'chain'; readonly priority: number; readonly table: Table; readonly chain: Chain; readonly base: BaseChain }
  | { readonly kind: 'nat'; readonly priority: number; readonly chains: readonly { readonly table: Table; readonly chain: Chain; readonly base: BaseChain }[] }
  | { readonly kind: 'conntrack'; readonly priority: number }
  /** Where IPVS schedules packets: after the filter rules of input, and between the translation and the filter rules of output. */
  | { readonly kind: 'ipvs'; readonly priority: number };

export const conntrackPriority = -200;
const ipvsPriority: Readonly<Partial<Record<Hook, number>>> = { input: 99, output: -98 };
const natPriority: Readonly<Partial<Record<Hook, number>>> = { prerouting: -100, output: -100, input: 100, postrouting: 100 };

/**
 * Chains of one priority run in the order of their registration, the latest first, which no dump tells. `dumped` takes them as they stand in the dumps,
 * `reversed` the other way round: where both give the same answer the order does not matter.
 */
export type TieOrder = 'dumped' | 'reversed';

/** The stops of a hook for a family, in order. */
export function stopsOf(node: NodeState, family: Family, at: { readonly hook: Hook; readonly ties: TieOrder }): readonly Stop[] {
  const stops = hooksOf(node).stops[family][at.ties];
  return (stops[at.hook] ??= orderStops(node, family, at));
}

/** Whether chains of different tables that can do anything share a hook and a priority. */
export function hasTies(node: NodeState, family: Family): boolean {
  const hooks = hooksOf(node);
  let ties = hooks.ties.get(family);
  if (ties === undefined) hooks.ties.set(family, (ties = allHooks.some((hook) => isTied(baseChains(node, family, hook)))));
  return ties;
}

const allHooks: readonly Hook[] = ['prerouting', 'input', 'forward', 'output', 'postrouting'];

interface Hooks {
  readonly stops: Readonly<Record<Family, Readonly<Record<TieOrder, Partial<Record<Hook, readonly Stop[]>>>>>>;
  readonly ties: Map<Family, boolean>;
}
const known = new WeakMap<NodeState, Hooks>();

function hooksOf(node: NodeState): Hooks {
  let hooks = known.get(node);
  if (hooks === undefined) known.set(node, (hooks = { stops: { 4: { dumped: {}, reversed: {} }, 6: { dumped: {}, reversed: {} } }, ties: new Map() }));
  return hooks;
}

interface HookedChain {
  readonly table: Table;
  readonly chain: Chain;
  readonly base: BaseChain;
}

function baseChains(node: NodeState, family: Family, hook: Hook): readonly HookedChain[] {
  const own = family === 4 ? 'ip' : 'ip6';
  return node.tables
    .filter((table) => (table.family === own || table.family === 'inet') && !table.flags.includes('dormant'))
    .flatMap((table) => baseChainsOf(table).flatMap((chain) => (chain.base?.hook === hook ? [{ table, chain, base: chain.base }] : [])));
}

function isTied(chains: readonly HookedChain[]): boolean {
  const busy = chains.filter(({ chain, base }) => chain.length > 0 || base.policy === 'drop');
  const places = busy.map(({ base }) => `${base.type === 'nat'} ${base.priority}`);
  return new Set(places).size < places.length;
}

function orderStops(node: NodeState, family: Family, { hook, ties }: { readonly hook: Hook; readonly ties: TieOrder }): readonly Stop[] {
  const dumped = baseChains(node, family, hook);
  const found = ties === 'dumped' ? dumped : [...dumped].reverse();
  const stops: Stop[] = found.filter(({ base }) => base.type !== 'nat').map((each) => ({ kind: 'chain', priority: each.base.priority, ...each }));
  const nat = found.filter(({ base }) => base.type === 'nat').sort((a, b) => a.base.priority - b.base.priority);
  if (nat.length > 0) stops.push({ kind: 'nat', priority: natPriority[hook] ?? 0, chains: nat });
  if (hook === 'prerouting' || hook === 'output') stops.push({ kind: 'conntrack', priority: conntrackPriority });
  const ipvs = ipvsPriority[hook];
  if (ipvs !== undefined && balances(node, family)) stops.push({ kind: 'ipvs', priority: ipvs });
  return stops.sort((a, b) => a.priority - b.priority || (a.kind === 'conntrack' ? -1 : 0) - (b.kind === 'conntrack' ? -1 : 0));
}

/** Ingress chains on an interface, in order. Some releases of nft do not list in JSON which interface a chain is of: it may be this one. */
export function ingressChains(node: NodeState, device: string | undefined): readonly (HookedChain & { readonly isCertain: boolean })[] {
  const isHere = ({ hook, devices }: BaseChain): boolean => hook === 'ingress' && device !== undefined && devices?.includes(device) !== false;
  return node.tables
    .filter((table) => (table.family === 'netdev' || table.family === 'inet') && !table.flags.includes('dormant'))
    .flatMap((table) =>
      baseChainsOf(table).flatMap((chain) =>
        chain.base !== undefined && isHere(chain.base) ? [{ table, chain, base: chain.base, isCertain: chain.base.devices !== undefined }] : [],
      ),
    )
    .sort((a, b) => a.base.priority - b.base.priority);
}
