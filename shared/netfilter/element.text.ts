// Prints an element of an nft set or map for a person: `10.96.0.10 . tcp . 80 : goto service-ABC`.
import { type Family, formatAddress, formatPrefixes } from '../model/address.ts';
import { protocolNumbers } from '../model/fact.ts';
import type { ElementPart, NftElement, Verdict } from './rule.ts';

/** `types` are the set's, one for each part of the key; parts beyond them are printed as numbers. Values of maps have no type here and are printed as numbers or words. */
export function elementText(element: NftElement, types: readonly string[]): string {
  const key = element.key.map((part, i) => partText(part, types[i])).join(' . ');
  const value = element.verdict === undefined ? element.value?.map((part) => partText(part, undefined)).join(' . ') : verdictText(element.verdict);
  return `${key}${value === undefined ? '' : ` : ${value}`}${element.comment === undefined ? '' : ` comment "${element.comment}"`}`;
}

function partText(part: ElementPart, type: string | undefined): string {
  if (part.kind === 'word') return part.word;
  if (part.kind === 'interface') return `"${part.pattern.name}${part.pattern.prefix ? '*' : ''}"`;
  const { lo, hi } = part;
  if (type === 'ipv4_addr' || type === 'ipv6_addr') return addressText(type === 'ipv4_addr' ? 4 : 6, lo, hi);
  const single = (value: bigint) => (type === 'inet_proto' ? protocolName(value) : value.toString());
  return lo === hi ? single(lo) : `${single(lo)}-${single(hi)}`;
}

function addressText(family: Family, lo: bigint, hi: bigint): string {
  if (lo === hi) return formatAddress(family, lo);
  const prefixes = formatPrefixes(family, [{ lo, hi }]);
  return prefixes.length === 1 ? (prefixes[0] as string) : `${formatAddress(family, lo)}-${formatAddress(family, hi)}`;
}

const protocolName = (value: bigint): string => Object.entries(protocolNumbers).find(([, number]) => BigInt(number) === value)?.[0] ?? value.toString();
const verdictText = (verdict: Verdict): string => (verdict.kind === 'jump' || verdict.kind === 'goto' ? `${verdict.kind} ${verdict.chain}` : verdict.kind);
