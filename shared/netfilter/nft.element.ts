// Values of nft's JSON: addresses, ports, words, ranges and prefixes as intervals, and the elements of sets and maps by their data types.
import type { Family, Interval, IntervalSet } from '../model/address.ts';
import { highest, parseAddress, parsePrefix, single, union } from '../model/address.ts';
import { fieldOf, fieldType, keyExpressions } from './nft.field.ts';
import { asList, isList, isObject, type Json, member, named, numberMember, textMember, tooDeep } from './nft.json.ts';
import { renderValue } from './nft.text.ts';
import { wordNumber } from './nft.words.ts';
import type { ElementPart, InterfacePattern, NftElement, Verdict } from './rule.ts';

/** What a set's or map's JSON declares: types of the key's parts, and of the value's parts for maps (`verdict` for verdict maps). */
export interface ElementTypes {
  readonly key: readonly string[];
  readonly value?: readonly string[];
}

/**
 * Decodes elements of a set (`VALUE`) or map (`[VALUE, DATA]`) by the types of key and data. The catch-all element `*` is put last, its parts taking
 * every value. An element that cannot be read keeps its place as words that match nothing known.
 */
export function decodeElements(elements: Json | undefined, types: ElementTypes): NftElement[] {
  const result: NftElement[] = [];
  const rest: NftElement[] = [];
  for (const element of isList(elements) ? elements : []) {
    const decoded = tooDeep(element) ? unreadable : types.value === undefined ? decodeKey(element, types.key) : decodePair(element, types);
    (isCatchAll(element) ? rest : result).push(decoded);
  }
  return [...result, ...rest];
}

const unreadable: NftElement = { key: [{ kind: 'word', word: '…' }] };

function decodePair(element: Json, types: ElementTypes): NftElement {
  if (!isList(element)) return decodeKey(element, types.key);
  const [key = null, data = null] = element;
  const decoded = decodeKey(key, types.key);
  if (types.value?.[0] === 'verdict') return { ...decoded, verdict: decodeVerdict(data) };
  return { ...decoded, value: decodeParts(unwrap(data), types.value ?? []) };
}

function decodeKey(element: Json, types: readonly string[]): NftElement {
  const wrapper = member(element, 'elem');
  const key = decodeParts(unwrap(element), types);
  const comment = textMember(wrapper, 'comment');
  const expiresSeconds = numberMember(wrapper, 'expires');
  return { key, ...(comment !== undefined && { comment }), ...(expiresSeconds !== undefined && { expiresSeconds }) };
}

/** Strips the wrapper that carries an element's timeout, counter and comment. */
function unwrap(element: Json): Json {
  const wrapper = member(element, 'elem');
  return wrapper === undefined ? element : (member(wrapper, 'val') ?? null);
}

function isCatchAll(element: Json): boolean {
  return unwrap(isList(element) ? (element[0] ?? null) : element) === '*';
}

function decodeParts(value: Json, types: readonly string[]): ElementPart[] {
  if (value === '*' && types[0] !== 'ifname') return types.map(everyValue);
  const concatenation = member(value, 'concat');
  const parts = isList(concatenation) ? concatenation : [value];
  return parts.map((part, index) => decodePart(part, types[index] ?? 'unknown'));
}

/** Decodes one part of a key or value; `unknown` as type guesses by the form of the value. A part that cannot be read is a word. */
export function decodePart(value: Json, type: string): ElementPart {
  if (interfaceTypes.has(type)) return typeof value === 'string' ? { kind: 'interface', pattern: interfacePattern(value) } : wordPart(value);
  if (wordTypes.has(type)) return wordPart(value);
  const set = valueIntervals(value, type === 'unknown' ? guessType(value) : type);
  const first = set?.[0];
  return first !== undefined && set?.length === 1 ? { kind: 'interval', lo: first.lo, hi: first.hi } : wordPart(value);
}

const interfaceTypes: ReadonlySet<string> = new Set(['ifname', 'iface_index']);
const wordTypes: ReadonlySet<string> = new Set(['ct_state', 'fib_addrtype', 'ct_status', 'ct_dir']);

const wordPart = (value: Json): ElementPart => ({ kind: 'word', word: typeof value === 'string' ? value : renderValue(value) });

function everyValue(type: string): ElementPart {
  if (interfaceTypes.has(type)) return { kind: 'interface', pattern: { name: '', prefix: true } };
  if (wordTypes.has(type)) return { kind: 'word', word: '*' };
  return { kind: 'interval', lo: 0n, hi: highest(6) };
}

function guessType(value: Json): string {
  const text = textMember(member(value, 'prefix'), 'addr') ?? firstText(member(value, 'range')) ?? (typeof value === 'string' ? value : '');
  const address = parseAddress(text);
  return address === undefined ? 'integer' : address.family === 4 ? 'ipv4_addr' : 'ipv6_addr';
}

function firstText(value: Json | undefined): string | undefined {
  const first = isList(value) ? value[0] : undefined;
  return typeof first === 'string' ? first : undefined;
}

/** `eth*` is a prefix, `eth\*` a name with a star. */
export function interfacePattern(text: string): InterfacePattern {
  if (text.endsWith('\\*')) return { name: `${text.slice(0, -2)}*`, prefix: false };
  return text.endsWith('*') ? { name: text.slice(0, -1), prefix: true } : { name: text, prefix: false };
}

/** The verdict of a verdict map's element or of a verdict statement. */
export function decodeVerdict(value: Json): Verdict {
  const statement = named(value);
  switch (statement?.kind) {
    case 'accept':
    case 'drop':
    case 'return':
    case 'continue':
      return { kind: statement.kind };
    case 'jump':
    case 'goto': {
      const chain = textMember(statement.value, 'target');
      return chain === undefined ? unknownVerdict(value, 'no target chain') : { kind: statement.kind, chain };
    }
    case 'queue':
      return { kind: 'queue', bypass: asList(member(statement.value, 'flags') ?? null).includes('bypass') };
    default:
      return unknownVerdict(value, 'not a verdict');
  }
}

const unknownVerdict = (value: Json, reason: string): Verdict => ({ kind: 'unknown', name: renderValue(value), reason });

/** The values that an expression on the right side stands for (a value, range, prefix, anonymous set, or flags joined by `|` or in a list). */
export function valueIntervals(value: Json, type: string): IntervalSet | undefined {
  const items = member(value, 'set');
  if (isList(items)) {
    const sets = items.map((item) => valueIntervals(unwrap(item), type));
    return sets.every((set) => set !== undefined) ? union(...sets) : undefined;
  }
  const family = type === 'ipv4_addr' ? 4 : type === 'ipv6_addr' ? 6 : undefined;
  const interval = family === undefined ? numberInterval(value, type) : addressInterval(value, family);
  return interval === undefined ? undefined : [interval];
}

function addressInterval(value: Json, family: Family): Interval | undefined {
  const range = member(value, 'range');
  if (isList(range)) return span(addressInterval(range[0] ?? null, family), addressInterval(range[1] ?? null, family));
  const prefix = member(value, 'prefix');
  const text = prefix === undefined ? value : `${textMember(prefix, 'addr') ?? ''}/${numberMember(prefix, 'len') ?? ''}`;
  if (typeof text !== 'string') return undefined;
  const parsed = parsePrefix(text);
  return parsed?.family === family ? parsed.interval : undefined;
}

function numberInterval(value: Json, type: string): Interval | undefined {
  const range = member(value, 'range');
  if (isList(range)) return span(numberInterval(range[0] ?? null, type), numberInterval(range[1] ?? null, type));
  const number = numberValue(value, type);
  return number === undefined ? undefined : single(number)[0];
}

function span(from: Interval | undefined, to: Interval | undefined): Interval | undefined {
  return from !== undefined && to !== undefined && from.lo <= to.hi ? { lo: from.lo, hi: to.hi } : undefined;
}

/** One number: as such, as a word of its type, or as flags joined by `|` or in a list. */
export function numberValue(value: Json, type: string): bigint | undefined {
  if (typeof value === 'boolean') return value ? 1n : 0n;
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 0 ? plainNumber(BigInt(value), type) : undefined;
  if (typeof value === 'string') return wordNumber(type, value) ?? digits(value, type);
  const flags = isList(value) ? value : member(value, '|');
  if (!isList(flags) || flags.length === 0) return undefined;
  const numbers = flags.map((flag) => numberValue(flag, type));
  return numbers.every((number) => number !== undefined) ? numbers.reduce((sum, number) => sum | number, 0n) : undefined;
}

const digits = (text: string, type: string): bigint | undefined => (/^(0x[0-9a-f]{1,32}|\d{1,39})$/i.test(text) ? plainNumber(BigInt(text), type) : undefined);

/** EtherTypes of IP printed as numbers become the family, as their words do. */
function plainNumber(value: bigint, type: string): bigint {
  if (type !== 'ether_type') return value;
  return value === 0x0800n ? 2n : value === 0x86ddn ? 10n : value;
}

/** nft's names of types: one, a list, or `a . b` for concatenations. */
export function typeNames(value: Json | undefined): string[] {
  if (typeof value === 'string') return value.split(' . ');
  if (isList(value)) return value.map((type) => (typeof type === 'string' ? type : 'unknown'));
  return isObject(value) ? typeofNames(value) : [];
}

/** The types of the expressions in `{"typeof": …}`, as newer releases print sets that were declared by expressions. */
function typeofNames(value: Json): string[] {
  const expressions = keyExpressions(member(value, 'typeof') ?? null);
  return expressions.map((expression) => fieldType(fieldOf(expression, { family: 'inet', valueTypes: () => undefined })));
}
