// Chunks of SCTP as rules name them: iptables' `--chunk-types` and nft's `sctp chunk`.
import type { Interval } from '../model/address.ts';

/** Types of chunks by the names of iptables; nft writes them in small letters with hyphens, and some in other words. */
const chunkTypes: ReadonlyMap<string, number> = new Map([
  ['DATA', 0],
  ['INIT', 1],
  ['INIT_ACK', 2],
  ['SACK', 3],
  ['HEARTBEAT', 4],
  ['HEARTBEAT_ACK', 5],
  ['ABORT', 6],
  ['SHUTDOWN', 7],
  ['SHUTDOWN_ACK', 8],
  ['ERROR', 9],
  ['COOKIE_ECHO', 10],
  ['COOKIE_ACK', 11],
  ['ECN_ECNE', 12],
  ['ECN_CWR', 13],
  ['SHUTDOWN_COMPLETE', 14],
  ['I_DATA', 64],
  ['RE_CONFIG', 130],
  ['PAD', 132],
  ['ASCONF', 193],
  ['ASCONF_ACK', 128],
  ['FORWARD_TSN', 192],
  ['I_FORWARD_TSN', 194],
]);

const otherWordsOfNft: ReadonlyMap<string, number> = new Map([
  ['ecne', 12],
  ['cwr', 13],
]);

/** The chunk of a packet, where it is not that of a first packet (INIT) or its answer (INIT ACK). */
export const chunk = { init: 1, initAck: 2, abort: 6, cookieEcho: 10 } as const;

/** Every type, for `ALL`. */
const everyChunk: Interval = { lo: 0n, hi: 255n };

/** The type of a chunk that nft names; undefined when it is not known. */
export function chunkOfNft(name: string): number | undefined {
  return otherWordsOfNft.get(name) ?? chunkTypes.get(name.toUpperCase().replaceAll('-', '_'));
}

/**
 * The list of `--chunk-types` as types: undefined where a name is not known, `flags` where one asks for flags of the chunk (`DATA:Be`), which are not known
 * before the packet.
 */
export function chunkList(text: string): readonly Interval[] | 'flags' | undefined {
  if (text === 'ALL') return [everyChunk];
  if (text === 'NONE') return [];
  const names = text.split(',');
  const types = names.map((name) => chunkTypes.get(name.split(':')[0] ?? ''));
  if (types.includes(undefined)) return undefined;
  if (names.some((name) => name.includes(':'))) return 'flags';
  return types.map((type) => ({ lo: BigInt(type as number), hi: BigInt(type as number) }));
}
