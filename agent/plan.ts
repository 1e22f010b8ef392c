// Decides what to read again of rules that transactions touched: the chains and sets that they name, or everything. Pure.

import type { IptablesTable } from '../shared/netfilter/iptables.parse.ts';
import { replacedCount } from '../shared/netfilter/iptables.replace.ts';
import { ownerOf } from '../shared/netfilter/owners.ts';
import type { Table } from '../shared/netfilter/ruleset.ts';
import type { Touched, TouchedObject, TouchedTable } from './monitors/touched.ts';

/** One chain or set to read again. */
export interface Part {
  readonly family: string;
  readonly table: string;
  readonly object: string;
  readonly kind: 'chain' | 'set' | 'map';
  /** The last that was heard of it is that it is gone: there is nothing to read. */
  readonly gone: boolean;
}

/** What to read; `why` is for the log. */
export type Plan = { readonly kind: 'everything'; readonly why: string } | { readonly kind: 'parts'; readonly parts: readonly Part[] };

export interface PlanContext {
  /** As they are known now. */
  readonly tables: readonly Table[];
  readonly touched: Touched;
  /** Milliseconds that reading one part takes, and everything. */
  readonly partMs: number;
  readonly everythingMs: number;
}

/** Tables that iptables has; a table of another name is native. */
const iptablesTables: ReadonlySet<string> = new Set(['filter', 'nat', 'mangle', 'raw', 'security']);
const builtinChains: ReadonlySet<string> = new Set(['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING']);

/**
 * Chains of a table with a text of their own, which takes some 20 kB for each; beyond, everything is read once and they share one. The larger the table, the
 * dearer that is, and the less they are beside it.
 */
export const replacedMax = (chains: number): number => Math.min(1_000, Math.max(100, chains >> 3));
/** More parts than this are never read one by one, however little one costs: by the last of them the first would be old. */
const partsMax = 1_000;

/** What to read of the tables of iptables-nft in one family. */
export function planIptables(family: 'ip' | 'ip6', context: PlanContext): Plan {
  if (context.touched.anything) return everything('objects were touched that were not named');
  const parts: Part[] = [];
  for (const [key, touched] of context.touched.tables) {
    const [of, name] = splitKey(key);
    if (of === family && isShared(context.tables, of, name)) return everything(shared(key));
    if (of !== family || !iptablesTables.has(name) || isNative(context.tables, of, name)) continue;
    const found = partsOfIptables(context.tables, [family, name], touched);
    if (typeof found === 'string') return everything(found);
    parts.push(...found);
  }
  return affordable(parts, context);
}

/** What to read of native tables. */
export function planNative(context: PlanContext): Plan {
  if (context.touched.anything) return everything('objects were touched that were not named');
  const parts: Part[] = [];
  for (const [key, touched] of context.touched.tables) {
    const [family, name] = splitKey(key);
    if (isShared(context.tables, family, name)) return everything(shared(key));
    if (mayBeIptables(family, name) && !isNative(context.tables, family, name)) {
      // A table of iptables' name that comes or gets sets may be a native one, which only nft can tell.
      if (touched.whole || [...touched.objects.values()].some(({ kind }) => kind !== 'chain')) return everything(`table ${key} came or went`);
      continue;
    }
    const found = partsOfNative(context.tables, [family, name], touched);
    if (typeof found === 'string') return everything(found);
    parts.push(...found);
  }
  return affordable(parts, context);
}

/** Whether transactions touched anything that a source of rules reads. */
export function concerns(source: 'iptables' | 'ip6tables' | 'nftables', { touched, tables }: Pick<PlanContext, 'tables' | 'touched'>): boolean {
  if (touched.anything) return true;
  return [...touched.tables].some(([key, table]) => {
    const [family, name] = splitKey(key);
    if (isShared(tables, family, name)) return source === 'nftables' || family === (source === 'iptables' ? 'ip' : 'ip6');
    const native = !mayBeIptables(family, name) || isNative(tables, family, name);
    // A table of iptables' name may be written natively: until one of both has read it, both look.
    if (source === 'nftables') return native || table.whole;
    return !native && family === (source === 'iptables' ? 'ip' : 'ip6');
  });
}

function partsOfIptables(tables: readonly Table[], [family, name]: readonly [string, string], { whole, objects }: TouchedTable): readonly Part[] | string {
  const known = tables.find((table) => table.backend === 'iptables-nft' && table.family === family && table.name === name);
  if (known === undefined || whole) return `table ${family} ${name} came or went`;
  if (replacedCount(known as IptablesTable) + objects.size > replacedMax(known.chains.size))
    return `many chains of ${family} ${name} have been read one by one`;
  const parts: Part[] = [];
  for (const [object, { kind, gone = false, announced, same }] of objects) {
    if (kind !== 'chain') return `table ${family} ${name} has sets of nft`;
    const chain = known.chains.get(object);
    if (chain === undefined ? gone : chain.length === same) continue;
    if (chain === undefined && announced && !builtinChains.has(object)) return `chain ${object} of ${family} ${name} may be another one renamed`;
    parts.push({ family, table: name, object, kind, gone });
  }
  return parts;
}

function partsOfNative(tables: readonly Table[], [family, name]: readonly [string, string], { whole, objects }: TouchedTable): readonly Part[] | string {
  const known = tables.find((table) => table.backend === 'nft' && table.family === family && table.name === name);
  if (known === undefined || whole) return `table ${family} ${name} came or went`;
  // kube-proxy announces new chains thousandfold and renames none.
  const renames = ownerOf({ family, table: name }) !== 'kube-proxy';
  const parts: Part[] = [];
  for (const [object, touched] of objects) {
    const { gone = false } = touched;
    const chain = known.chains.get(object);
    const isKnown = touched.kind === 'chain' ? chain !== undefined : known.sets.has(object);
    if (isKnown ? chain !== undefined && chain.length === touched.same : gone) continue;
    if (!isKnown && touched.kind === 'chain' && touched.announced && renames) return `chain ${object} of ${family} ${name} may be another one renamed`;
    const kind = kindOf(known, object, touched);
    if (kind === undefined) return `elements of ${object} in ${family} ${name}, which was not read`;
    parts.push({ family, table: name, object, kind, gone });
  }
  return parts;
}

function kindOf(table: Table, object: string, { kind }: TouchedObject): Part['kind'] | undefined {
  if (kind !== 'elements') return kind;
  const set = table.sets.get(object);
  return set === undefined ? undefined : set.kind === 'set' ? 'set' : 'map';
}

function affordable(parts: readonly Part[], { partMs, everythingMs }: PlanContext): Plan {
  const toRead = parts.filter(({ gone }) => !gone).length;
  if (toRead > partsMax || (toRead > 1 && toRead * partMs > everythingMs)) return everything(`${toRead} chains were touched`);
  return { kind: 'parts', parts };
}

const everything = (why: string): Plan => ({ kind: 'everything', why });

const splitKey = (key: string): readonly [string, string] => {
  const at = key.indexOf(' ');
  return [key.slice(0, at), key.slice(at + 1)];
};

const mayBeIptables = (family: string, name: string): boolean => (family === 'ip' || family === 'ip6') && iptablesTables.has(name);

const isNative = (tables: readonly Table[], family: string, name: string): boolean => has(tables, 'nft', `${family} ${name}`);

/** A table of iptables that has native base chains besides: each source shows a part of it, and which part, all of it decides. */
const isShared = (tables: readonly Table[], family: string, name: string): boolean =>
  isNative(tables, family, name) && has(tables, 'iptables-nft', `${family} ${name}`);

const shared = (key: string): string => `table ${key} holds chains of iptables and native ones`;

const has = (tables: readonly Table[], backend: Table['backend'], key: string): boolean =>
  tables.some((table) => table.backend === backend && `${table.family} ${table.name}` === key);
