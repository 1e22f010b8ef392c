// The parsed netfilter state of one node: tables of all backends, their chains and sets. Chains yield rules one by one and decode them when first asked.
import type { Backend, Counter, Hook, NftElement, Rule, TableFamily } from './rule.ts';

/** Something a parser could not read, or reads with doubt. `file` is set by the caller that knows it. */
export interface Issue {
  readonly file?: string;
  /** From 1; 0 when the text has no lines. */
  readonly line: number;
  readonly text: string;
  readonly reason: string;
}

export interface BaseChain {
  readonly hook: Hook;
  /** As a number: raw −300, mangle −150, dstnat −100, filter 0, security 50, srcnat 100. */
  readonly priority: number;
  readonly type: 'filter' | 'nat' | 'route';
  readonly policy: 'accept' | 'drop';
  /** netdev chains only. */
  readonly devices?: readonly string[];
}

export interface Chain {
  readonly name: string;
  /** Absent for chains that are only jumped to. */
  readonly base?: BaseChain | undefined;
  /** Counter of the policy, where the dump has it. */
  readonly counter?: Counter | undefined;
  /** Line of the chain's declaration; 0 where there are no lines. */
  readonly line: number;
  /** Number of rules. */
  readonly length: number;
  /** The rule at an index from 0. Decoded when first asked for, then kept. Throws RangeError outside 0…length−1. */
  rule(index: number): Rule;
  /** The rule's text without decoding it. */
  text(index: number): string;
}

export interface NftSet {
  readonly name: string;
  readonly kind: 'set' | 'map' | 'vmap';
  /** nft's type names, one for each part of the key: `ipv4_addr`, `inet_proto`, `inet_service` … */
  readonly type: readonly string[];
  readonly elements: readonly NftElement[];
  /** `dynamic`: filled from the packet path; membership at the next packet is not certain. */
  readonly flags: readonly string[];
  /** False when the dump was taken without elements (`nft -t`). */
  readonly complete: boolean;
}

export interface Table {
  readonly backend: Backend;
  readonly family: TableFamily;
  readonly name: string;
  readonly chains: ReadonlyMap<string, Chain>;
  /** The chains with a base, where the parser knows them; absent: look through all chains, as `baseChainsOf` does. */
  readonly baseChains?: readonly Chain[];
  readonly sets: ReadonlyMap<string, NftSet>;
  /** nft: flags such as `dormant` (its chains are not hooked). */
  readonly flags: readonly string[];
}

/** The chains that the kernel runs by itself, in the order of the dump. */
export function baseChainsOf({ chains, baseChains }: Table): readonly Chain[] {
  return baseChains ?? [...chains.values()].filter(({ base }) => base !== undefined);
}

/** The result of every parser here. */
export interface Parsed {
  readonly tables: readonly Table[];
  readonly issues: readonly Issue[];
}

/** An ipset, as `ipset save` prints it. */
export interface Ipset {
  readonly name: string;
  /** `hash:ip,port`, `bitmap:port`, `list:set` … */
  readonly type: string;
  readonly family: 4 | 6;
  readonly entries: readonly IpsetEntry[];
  /** Why its entries cannot be compared with addresses; absent: they can. */
  readonly doubt?: string;
  readonly line: number;
}

export interface IpsetEntry {
  /** One part for each dimension of the type, in order. */
  readonly parts: readonly IpsetPart[];
  readonly nomatch: boolean;
  readonly timeoutSeconds?: number;
  readonly comment?: string;
  readonly line: number;
}

export type IpsetPart =
  | { readonly kind: 'address'; readonly lo: bigint; readonly hi: bigint; readonly length?: number }
  /** Port with its protocol; a bitmap:port has none: `protocol` is absent and tcp and udp both match. */
  | { readonly kind: 'port'; readonly protocol?: number; readonly lo: number; readonly hi: number }
  /** `prefix`: every name that begins so (`wildcard`). */
  | { readonly kind: 'interface'; readonly name: string; readonly physical: boolean; readonly prefix?: true }
  | { readonly kind: 'mark'; readonly mark: number }
  | { readonly kind: 'mac'; readonly mac: string }
  | { readonly kind: 'set'; readonly name: string };
