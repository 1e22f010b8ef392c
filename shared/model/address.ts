// Addresses of both families as numbers, and sets of them as sorted intervals: what a walk splits when it answers for all sources at once.

/** Address family: 4 for IPv4, 6 for IPv6. */
export type Family = 4 | 6;

/** An inclusive interval of addresses (or of any other unsigned values), both ends of the same family. */
export interface Interval {
  readonly lo: bigint;
  readonly hi: bigint;
}

/** A set of values: disjoint intervals in ascending order, never adjacent. The empty list is the empty set. */
export type IntervalSet = readonly Interval[];

export interface Address {
  readonly family: Family;
  readonly value: bigint;
}

/** An address with a prefix length; `lo` is the address as it was written (host bits kept), `interval` the network. */
export interface Prefix extends Address {
  readonly length: number;
  readonly interval: Interval;
}

const bits = (family: Family): number => (family === 4 ? 32 : 128);

/** The largest address of a family. */
export const highest = (family: Family): bigint => (1n << BigInt(bits(family))) - 1n;

/** Every address of a family. */
export const everything = (family: Family): IntervalSet => [{ lo: 0n, hi: highest(family) }];

/** Parses an IPv4 or IPv6 address (IPv4-mapped tails and a `%zone` suffix are read, the zone is dropped); undefined when the text is neither. */
export function parseAddress(text: string): Address | undefined {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text);
}

/** Parses `ADDRESS`, `ADDRESS/LENGTH` or `ADDRESS/MASK`; undefined when the text is none of them or the mask has holes. */
export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.indexOf('/');
  const address = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (address === undefined) return undefined;
  const length = slash < 0 ? bits(address.family) : prefixLength(text.slice(slash + 1), address.family);
  if (length === undefined) return undefined;
  return { ...address, length, interval: network(address, length) };
}

/** Prints an address in its canonical form (RFC 5952 for IPv6). */
export function formatAddress(family: Family, value: bigint): string {
  return family === 4 ? formatIpv4(value) : formatIpv6(value);
}

/** `ADDRESS:PORT`, IPv6 in brackets; `*` stands for a port that is not known. */
export function formatEndpoint(family: Family, address: bigint, port: number | undefined): string {
  const text = formatAddress(family, address);
  return `${family === 6 ? `[${text}]` : text}:${port ?? '*'}`;
}

/** Prints a set as the shortest list of prefixes, in order; ranges that are no prefix become several. The whole family is `0.0.0.0/0` or `::/0`. */
export function formatPrefixes(family: Family, set: IntervalSet): string[] {
  return set.flatMap((interval) => prefixesOf(family, interval));
}

/** Sorts and merges intervals into a set. */
export function union(...sets: readonly IntervalSet[]): IntervalSet {
  const all = inOrder(sets.flat());
  const merged: { lo: bigint; hi: bigint }[] = [];
  for (const { lo, hi } of all) {
    const last = merged.at(-1);
    if (last !== undefined && lo <= last.hi + 1n) last.hi = hi > last.hi ? hi : last.hi;
    else merged.push({ lo, hi });
  }
  return merged;
}

/** Sets are short and nearly sorted: insertion sort, without a comparison function. */
function inOrder(intervals: Interval[]): Interval[] {
  if (intervals.length > 64) return intervals.sort((a, b) => (a.lo < b.lo ? -1 : a.lo > b.lo ? 1 : 0));
  for (let i = 1; i < intervals.length; i++) {
    const interval = intervals[i] as Interval;
    let at = i;
    for (; at > 0 && (intervals[at - 1] as Interval).lo > interval.lo; at--) intervals[at] = intervals[at - 1] as Interval;
    intervals[at] = interval;
  }
  return intervals;
}

/** Whether two sets hold the same values. */
export function isSameSet(a: IntervalSet, b: IntervalSet): boolean {
  return a === b || (a.length === b.length && a.every(({ lo, hi }, index) => lo === b[index]?.lo && hi === b[index]?.hi));
}

/** The values that are in both sets. */
export function intersect(a: IntervalSet, b: IntervalSet): IntervalSet {
  const result: Interval[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    const x = a[i] as Interval;
    const y = b[j] as Interval;
    const lo = x.lo > y.lo ? x.lo : y.lo;
    const hi = x.hi < y.hi ? x.hi : y.hi;
    if (lo <= hi) result.push(lo === x.lo && hi === x.hi ? x : { lo, hi });
    if (x.hi < y.hi) i++;
    else j++;
  }
  return result;
}

/** The values of `a` that are not in `b`. */
export function subtract(a: IntervalSet, b: IntervalSet): IntervalSet {
  const result: Interval[] = [];
  let j = 0;
  for (const whole of a) {
    let lo = whole.lo;
    while (j < b.length && (b[j] as Interval).hi < lo) j++;
    for (let k = j; k < b.length && (b[k] as Interval).lo <= whole.hi; k++) {
      const hole = b[k] as Interval;
      if (hole.lo > lo) result.push({ lo, hi: hole.lo - 1n });
      if (hole.hi + 1n > lo) lo = hole.hi + 1n;
    }
    if (lo <= whole.hi) result.push({ lo, hi: whole.hi });
  }
  return result;
}

/** Whether a set holds a value. */
export function contains(set: IntervalSet, value: bigint): boolean {
  return set.some(({ lo, hi }) => lo <= value && value <= hi);
}

/** How many values a set holds. */
export function size(set: IntervalSet): bigint {
  return set.reduce((sum, { lo, hi }) => sum + hi - lo + 1n, 0n);
}

/** The set of one value. */
export const single = (value: bigint): IntervalSet => [{ lo: value, hi: value }];

function network(address: Address, length: number): Interval {
  const host = (1n << BigInt(bits(address.family) - length)) - 1n;
  const lo = address.value & ~host & highest(address.family);
  return { lo, hi: lo | host };
}

function prefixLength(text: string, family: Family): number | undefined {
  if (/^\d{1,3}$/.test(text)) {
    const length = Number(text);
    return length <= bits(family) ? length : undefined;
  }
  const mask = parseAddress(text);
  if (mask === undefined || mask.family !== family) return undefined;
  const inverted = ~mask.value & highest(family);
  if ((inverted & (inverted + 1n)) !== 0n) return undefined;
  return bits(family) - (inverted === 0n ? 0 : inverted.toString(2).length);
}

const dot = 46;

function parseIpv4(text: string): Address | undefined {
  let value = 0;
  let part = 0;
  let digits = 0;
  let parts = 0;
  for (let at = 0; at <= text.length; at++) {
    const code = at < text.length ? text.charCodeAt(at) : dot;
    if (code >= 48 && code <= 57) {
      part = part * 10 + code - 48;
      digits++;
    } else {
      if (code !== dot || digits === 0 || digits > 3 || part > 255 || ++parts > 4) return undefined;
      value = value * 256 + part;
      part = 0;
      digits = 0;
    }
  }
  return parts === 4 ? { family: 4, value: BigInt(value) } : undefined;
}

function parseIpv6(text: string): Address | undefined {
  const zone = text.indexOf('%');
  const plain = zone < 0 ? text : text.slice(0, zone);
  const halves = plain.split('::');
  if (halves.length > 2) return undefined;
  const head = groupsOf(halves[0] as string);
  const tail = halves.length === 2 ? groupsOf(halves[1] as string) : [];
  if (head === undefined || tail === undefined) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail];
  return { family: 6, value: groups.reduce((sum, group) => (sum << 16n) | BigInt(group), 0n) };
}

function groupsOf(text: string): number[] | undefined {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (const [index, part] of parts.entries()) {
    if (index === parts.length - 1 && part.includes('.')) {
      const mapped = parseIpv4(part);
      if (mapped === undefined) return undefined;
      groups.push(Number(mapped.value >> 16n), Number(mapped.value & 0xffffn));
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) groups.push(Number.parseInt(part, 16));
    else return undefined;
  }
  return groups;
}

function formatIpv4(value: bigint): string {
  const n = Number(value);
  return `${Math.floor(n / 0x1000000)}.${(n >>> 16) & 255}.${(n >>> 8) & 255}.${n & 255}`;
}

function formatIpv6(value: bigint): string {
  const groups = Array.from({ length: 8 }, (_, i) => Number((value >> BigInt(112 - 16 * i)) & 0xffffn));
  const gap = longestZeroRun(groups);
  const hex = groups.map((group) => group.toString(16));
  if (gap === undefined) return hex.join(':');
  return `${hex.slice(0, gap.start).join(':')}::${hex.slice(gap.start + gap.length).join(':')}`;
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } | undefined {
  let best: { start: number; length: number } | undefined;
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (groups[start + length] === 0) length++;
    if (length > 1 && length > (best?.length ?? 0)) best = { start, length };
  }
  return best;
}

function prefixesOf(family: Family, { lo, hi }: Interval): string[] {
  const result: string[] = [];
  let start = lo;
  while (start <= hi) {
    let hostBits = 0;
    while (hostBits < bits(family)) {
      const mask = (1n << BigInt(hostBits + 1)) - 1n;
      if ((start & mask) !== 0n || start + mask > hi) break;
      hostBits++;
    }
    const text = formatAddress(family, start);
    result.push(hostBits === 0 ? text : `${text}/${bits(family) - hostBits}`);
    start += 1n << BigInt(hostBits);
  }
  return result;
}
