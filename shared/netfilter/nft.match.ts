// A match of nft's JSON (`{"match": {"op", "left", "right"}}`) as conditions of the walk, with the conditions that nft leaves unsaid.
import type { Interval, IntervalSet } from '../model/address.ts';
import { everything, highest, single, size, union } from '../model/address.ts';
import { decodeElements, interfacePattern, numberValue, valueIntervals } from './nft.element.ts';
import { type Field, fieldOf, fieldType, keyExpressions, keyPart, type Needs, type TableScope } from './nft.field.ts';
import { asList, isList, type Json, member, named, textMember } from './nft.json.ts';
import { renderExpression, renderValue } from './nft.text.ts';
import type { AddressType, Condition, ConntrackState, ConntrackStatus, KeyPart, NftSetReference } from './rule.ts';

/** A field and the operations on it before the comparison, the innermost first. */
interface Operand {
  readonly field: Field;
  readonly operations: readonly Operation[];
  readonly expression: Json;
}

interface Operation {
  readonly operator: string;
  readonly value: Json;
}

/** Decodes the value of a `match` statement. What cannot be judged becomes one `may` condition, after the conditions that it implies. */
export function decodeMatch(match: Json, scope: TableScope): Condition[] {
  const left = member(match, 'left') ?? null;
  const right = member(match, 'right') ?? null;
  const operator = textMember(match, 'op') ?? '==';
  const fields = keyExpressions(left).map((expression) => operandOf(expression, scope).field);
  return [...neededConditions(fields, scope), ...comparison({ left, operator, right }, scope)];
}

/** The conditions that the kernel checks before it can read these fields: protocol, and family in tables that see both. */
export function neededConditions(fields: readonly Needs[], scope: TableScope): Condition[] {
  const conditions: Condition[] = [];
  const mixed = scope.family !== 'ip' && scope.family !== 'ip6';
  for (const family of new Set(fields.map((field) => field.family))) if (family !== undefined && mixed) conditions.push(equals('family', family));
  for (const protocol of new Set(fields.map((field) => field.protocol))) if (protocol !== undefined) conditions.push(equals('protocol', protocol));
  return conditions;
}

const equals = (field: 'family' | 'protocol', value: number): Condition => ({ kind: 'number', field, set: single(BigInt(value)), negate: false });

/** A key of a set or map, and the types of its parts. */
export function decodeKeyParts(expression: Json, scope: TableScope): { key: KeyPart[]; types: string[]; fields: Field[] } {
  const expressions = keyExpressions(expression);
  const operands = expressions.map((part) => operandOf(part, scope));
  return {
    key: operands.map(({ field, operations }, index) => {
      const part = expressions[index] as Json;
      return operations.length === 0 ? keyPart(field, part) : { kind: 'unknown', text: renderExpression(part) };
    }),
    types: operands.map(({ field }) => fieldType(field)),
    fields: operands.map(({ field }) => field),
  };
}

/** `@name`, or the elements written in the rule. Undefined for anything else. */
export function setReference(value: Json, types: { readonly key: readonly string[]; readonly value?: readonly string[] }): NftSetReference | undefined {
  if (typeof value === 'string' && value.startsWith('@')) return { kind: 'named', name: value.slice(1) };
  const elements = member(value, 'set');
  return isList(elements) ? { kind: 'inline', elements: decodeElements(elements, types) } : undefined;
}

interface Comparison {
  readonly left: Json;
  readonly operator: string;
  readonly right: Json;
}

function operandOf(expression: Json, scope: TableScope): Operand {
  const operations: Operation[] = [];
  let inner = expression;
  for (let found = named(inner); found !== undefined && operators.has(found.kind) && isList(found.value); found = named(inner)) {
    const [first = null, ...rest] = found.value;
    const operator = found.kind;
    operations.unshift(...rest.map((value) => ({ operator, value })));
    inner = first;
  }
  return { field: fieldOf(inner, scope), operations, expression };
}

const operators: ReadonlySet<string> = new Set(['&', '|', '^', '<<', '>>']);

function comparison(compared: Comparison, scope: TableScope): Condition[] {
  const { left, right } = compared;
  if (member(left, 'concat') !== undefined || (typeof right === 'string' && right.startsWith('@'))) return [lookup(compared, scope)];
  const operand = operandOf(left, scope);
  const may = mayMatch(compared, operand.field);
  switch (operand.field.kind) {
    case 'address':
      return [addressCondition(operand, compared) ?? may];
    case 'number':
      return [numberCondition(operand, compared) ?? may];
    case 'interface':
      return [interfaceCondition(operand, compared) ?? may];
    case 'conntrackState':
      return [stateCondition(operand, compared) ?? may];
    case 'conntrackStatus':
      return [statusCondition(operand, compared) ?? may];
    case 'conntrackDirection':
      return [right === 'original' || right === 'reply' ? { kind: 'conntrackDirection', direction: right, negate: isNegated(compared) } : may];
    case 'addressType':
      return [addressTypeCondition(operand, compared) ?? may];
    case 'reversePath':
      return [reversePathCondition(operand, compared) ?? may];
    case 'chunk':
      return [chunkCondition(operand, compared) ?? may];
    case 'random':
      return [randomCondition(operand, compared) ?? may];
    case 'never':
      return [{ kind: 'never', reason: operand.field.reason }];
    case 'unknown':
      return [fragmentCondition(operand, compared) ?? may];
  }
}

/** `!` is how nft prints that none of the bits is set. */
const isNegated = ({ operator }: Pick<Comparison, 'operator'>): boolean => operator === '!=' || operator === '!';

function mayMatch({ left, operator, right }: Comparison, field: Field): Condition {
  if (field.kind === 'unknown') return { kind: 'may', module: field.module, reason: field.reason };
  return { kind: 'may', module: renderExpression(left), reason: `cannot judge ${operator} ${renderValue(right)}` };
}

function lookup(compared: Comparison, scope: TableScope): Condition {
  const { left, operator, right } = compared;
  const { key, types } = decodeKeyParts(left, scope);
  // A single concatenated value is compared as a set of that one value.
  const set = setReference(right, { key: types }) ?? setReference({ set: [right] }, { key: types });
  if (set === undefined || inequalities.has(operator))
    return { kind: 'may', module: renderExpression(left), reason: `cannot judge ${operator} ${renderValue(right)}` };
  return { kind: 'lookup', key, set, negate: isNegated({ operator }) };
}

const inequalities: ReadonlySet<string> = new Set(['<', '>', '<=', '>=']);

/** `op` and the right side as a set of values and whether it is the values outside that match. */
function compareTo(operator: string, set: IntervalSet, max: bigint): { set: IntervalSet; negate: boolean } | undefined {
  const lo = set[0]?.lo ?? 0n;
  const hi = set.at(-1)?.hi ?? 0n;
  const between = (from: bigint, to: bigint) => ({ set: from > to ? [] : [{ lo: from, hi: to }], negate: false });
  switch (operator) {
    case '==':
    case 'in':
      return { set, negate: false };
    case '!=':
    case '!':
      return { set, negate: true };
    case '<':
      return between(0n, lo - 1n);
    case '<=':
      return between(0n, hi);
    case '>':
      return between(hi + 1n, max);
    case '>=':
      return between(lo, max);
    default:
      return undefined;
  }
}

function addressCondition({ field, operations }: Operand, { operator, right }: Comparison): Condition | undefined {
  if (field.kind !== 'address') return undefined;
  const values = valueIntervals(right, fieldType(field));
  const masked = values === undefined ? undefined : unmaskAddresses(field, operations, values);
  const result = masked === undefined ? undefined : compareTo(operator, masked, highest(field.of));
  return result && { kind: 'address', field: field.field, family: field.of, ...result };
}

/** `saddr & MASK == VALUE`: all addresses that give VALUE. A mask with holes gives several intervals; too many of them cannot be judged. */
function unmaskAddresses(field: Field & { kind: 'address' }, operations: readonly Operation[], values: IntervalSet): IntervalSet | undefined {
  const [operation, ...more] = operations;
  if (operation === undefined) return values;
  const value = values[0];
  const mask = valueIntervals(operation.value, fieldType(field))?.[0]?.lo;
  if (more.length > 0 || operation.operator !== '&' || mask === undefined || value === undefined || values.length > 1 || value.lo !== value.hi)
    return undefined;
  return (value.lo & ~mask) === 0n ? spread(value.lo, ~mask & highest(field.of)) : [];
}

const spreadMax = 4096;

/** All numbers that differ from `value` in the free bits only. */
function spread(value: bigint, free: bigint): IntervalSet | undefined {
  let low = 0n;
  while ((free & (low + 1n)) !== 0n) low = (low << 1n) | 1n;
  let bases = [value];
  for (let bit = low + 1n; bit <= free; bit <<= 1n) {
    if ((free & bit) === 0n) continue;
    if (bases.length * 2 > spreadMax) return undefined;
    bases = [...bases, ...bases.map((base) => base | bit)];
  }
  return union(bases.map((base) => ({ lo: base, hi: base | low })));
}

function numberCondition({ field, operations }: Operand, { operator, right }: Comparison): Condition | undefined {
  if (field.kind !== 'number') return undefined;
  const max = (1n << BigInt(field.bits)) - 1n;
  const bitmask = field.type === 'tcp_flag' && operations.length === 0 && member(right, 'set') === undefined;
  // On flags `in` asks whether any of the bits is set, `!` whether none is.
  if (bitmask && (operator === 'in' || operator === '!')) {
    const mask = numberValue(right, field.type);
    return mask === undefined ? undefined : { kind: 'number', field: field.field, mask, set: single(0n), negate: operator === 'in' };
  }
  const values = valueIntervals(right, field.type);
  const result = values === undefined ? undefined : compareTo(operator, values, max);
  const bits = result === undefined ? undefined : undoOperations(operations, { type: field.type, max }, result.set);
  return result && bits && { kind: 'number', field: field.field, ...bits, negate: result.negate };
}

interface Bits {
  readonly type: string;
  readonly max: bigint;
}

/** Moves the operations on the left side to the right: `(value & mask) in set`. Undefined where that form does not exist. */
function undoOperations(operations: readonly Operation[], { type, max }: Bits, values: IntervalSet): { mask?: bigint; set: IntervalSet } | undefined {
  let mask = max;
  let flipped = 0n;
  let set = values;
  for (const [index, { operator, value }] of operations.entries()) {
    const constant = numberValue(value, type);
    if (constant === undefined) return undefined;
    if (operator === '<<' || operator === '>>') {
      // A shift is undone only as the last operation on bits that were not flipped.
      if (index !== operations.length - 1 || flipped !== 0n || constant > 64n) return undefined;
      if (operator === '>>') set = set.map(({ lo, hi }) => ({ lo: lo << constant, hi: ((hi + 1n) << constant) - 1n }));
      else {
        mask &= max >> constant;
        set = set.flatMap((interval) => shiftedBack(interval, constant));
        if (values.some(({ lo, hi }) => lo !== hi)) return undefined;
      }
    } else if (operator === '&') {
      mask &= constant;
      flipped &= constant;
    } else if (operator === '|') {
      mask &= ~constant;
      flipped = (flipped & ~constant) | (constant & max);
    } else flipped ^= constant & max;
  }
  if (flipped !== 0n) {
    if (set.some(({ lo, hi }) => lo !== hi)) return undefined;
    set = union(set.map(({ lo }) => ({ lo: lo ^ flipped, hi: lo ^ flipped })));
  }
  return mask === max ? { set } : { mask, set };
}

function shiftedBack({ lo }: Interval, count: bigint): IntervalSet {
  return (lo >> count) << count === lo ? single(lo >> count) : [];
}

function interfaceCondition({ field, operations }: Operand, { operator, right }: Comparison): Condition | undefined {
  if (operations.length > 0) return undefined;
  const names = asList(member(right, 'set') ?? right);
  if (field.kind !== 'interface' || !names.every((name) => typeof name === 'string')) return undefined;
  return { kind: 'interface', field: field.field, patterns: names.map(interfacePattern), negate: isNegated({ operator }) };
}

const states: ReadonlySet<string> = new Set<ConntrackState>(['new', 'established', 'related', 'invalid', 'untracked']);
const statuses: ReadonlySet<string> = new Set<ConntrackStatus>(['expected', 'seen-reply', 'assured', 'confirmed', 'snat', 'dnat', 'dying']);
const addressTypes: ReadonlySet<string> = new Set<AddressType>([
  'unspec',
  'unicast',
  'local',
  'broadcast',
  'anycast',
  'multicast',
  'blackhole',
  'unreachable',
  'prohibit',
  'throw',
  'nat',
  'xresolve',
]);

/** The words of a value: one, a list, `a | b`, or a set. Undefined when one is not among those known. */
function wordsOf<Word extends string>(value: Json, known: ReadonlySet<string>): Word[] | undefined {
  const words = asList(member(value, 'set') ?? member(value, '|') ?? value);
  return words.length > 0 && words.every((word) => typeof word === 'string' && known.has(word)) ? (words as Word[]) : undefined;
}

/** A packet has exactly one state, so that equality, membership and "any of these bits" are the same for one word. */
function stateCondition({ operations }: Operand, { operator, right }: Comparison): Condition | undefined {
  const masked = maskedWords<ConntrackState>({ operations, operator, right }, states);
  if (masked !== undefined) return { kind: 'conntrackState', ...masked };
  const anyOf = operations.length === 0 || isWithinMask(operations, right) ? wordsOf<ConntrackState>(right, states) : undefined;
  const exactly = operator === '==' || operator === '!=';
  if (anyOf === undefined || inequalities.has(operator) || (exactly && isExactCombination(right))) return undefined;
  return { kind: 'conntrackState', anyOf, negate: isNegated({ operator }) };
}

/** `& (a | b) == a` is plain equality for what has one bit only. */
function isWithinMask(operations: readonly Operation[], right: Json): boolean {
  const [operation, ...more] = operations;
  const mask = operation?.operator === '&' && more.length === 0 ? wordsOf(operation.value, states) : undefined;
  return typeof right === 'string' && (mask ?? []).includes(right);
}

/** `== a | b` asks for both bits at once, unlike a set. */
const isExactCombination = (right: Json): boolean => member(right, '|') !== undefined && asList(member(right, '|') ?? null).length > 1;

/** Status is a set of bits. nft's `in` asks for any of them, which is what we know; equality with exactly these bits cannot be told. */
function statusCondition({ operations }: Operand, { operator, right }: Comparison): Condition | undefined {
  const masked = maskedWords<ConntrackStatus>({ operations, operator, right }, statuses);
  if (masked !== undefined) return { kind: 'conntrackStatus', ...masked };
  const anyOf = operations.length === 0 && (operator === 'in' || operator === '!') ? wordsOf<ConntrackStatus>(right, statuses) : undefined;
  return anyOf && { kind: 'conntrackStatus', anyOf, negate: operator === '!' };
}

interface MaskedComparison {
  readonly operations: readonly Operation[];
  readonly operator: string;
  readonly right: Json;
}

/** `& (a | b) != 0` is any of them, `== 0` none; `& a == a` is `a`. */
function maskedWords<Word extends string>(compared: MaskedComparison, known: ReadonlySet<string>): { anyOf: Word[]; negate: boolean } | undefined {
  const { operations, operator, right } = compared;
  const [operation, ...more] = operations;
  if (operation?.operator !== '&' || more.length > 0 || (operator !== '==' && operator !== '!=')) return undefined;
  const anyOf = wordsOf<Word>(operation.value, known);
  if (anyOf === undefined) return undefined;
  if (right === 0) return { anyOf, negate: operator === '==' };
  return anyOf.length === 1 && right === anyOf[0] ? { anyOf, negate: operator === '!=' } : undefined;
}

function addressTypeCondition({ field }: Operand, { operator, right }: Comparison): Condition | undefined {
  const anyOf = wordsOf<AddressType>(right, addressTypes);
  if (field.kind !== 'addressType' || anyOf === undefined) return undefined;
  return { kind: 'addressType', side: field.side, anyOf, ...(field.limit !== undefined && { limit: field.limit }), negate: isNegated({ operator }) };
}

/** `missing` (false, 0) is a failed reverse path, `exists` (true) a good one. A comparison with an interface cannot be judged. */
function reversePathCondition({ field }: Operand, { operator, right }: Comparison): Condition | undefined {
  const exists = presence.get(right);
  if (field.kind !== 'reversePath' || exists === undefined) return undefined;
  return { kind: 'reversePath', loose: field.loose, validMark: field.validMark, negate: exists === isNegated({ operator }) };
}

/** `sctp chunk init exists` or `missing`. */
function chunkCondition({ field }: Operand, { operator, right }: Comparison): Condition | undefined {
  const exists = presence.get(right);
  if (field.kind !== 'chunk' || exists === undefined) return undefined;
  return { kind: 'number', field: 'sctpChunk', set: single(BigInt(field.type)), negate: exists === isNegated({ operator }) };
}

const presence: ReadonlyMap<Json, boolean> = new Map<Json, boolean>([
  [false, false],
  [0, false],
  ['0', false],
  ['', false],
  ['missing', false],
  [true, true],
  [1, true],
  ['exists', true],
]);

function randomCondition({ field, operations }: Operand, { operator, right }: Comparison): Condition | undefined {
  if (field.kind !== 'random') return undefined;
  const modulus = randomModulus(field.modulus, operations);
  const values = valueIntervals(right, 'integer');
  const result = modulus === undefined || values === undefined ? undefined : compareTo(operator, values, everything(4)[0]?.hi ?? 0n);
  if (modulus === undefined || result === undefined) return undefined;
  const first = BigInt(field.offset);
  const last = first + BigInt(modulus) - 1n;
  const hits = result.set.map(({ lo, hi }) => ({ lo: lo < first ? first : lo, hi: hi > last ? last : hi })).filter(({ lo, hi }) => lo <= hi);
  return { kind: 'random', probability: Number(size(hits)) / modulus, negate: result.negate };
}

/** A mask of low bits leaves an evenly spread smaller number. */
function randomModulus(modulus: number, operations: readonly Operation[]): number | undefined {
  const [operation, ...more] = operations;
  if (operation === undefined) return modulus;
  const mask = operation.value;
  const lowBits = typeof mask === 'number' && Number.isInteger(Math.log2(mask + 1)) && modulus % (mask + 1) === 0;
  return more.length === 0 && operation.operator === '&' && lowBits ? mask + 1 : undefined;
}

/** `ip frag-off & … != 0` asks for fragments: connection tracking puts packets together before any rule sees them, and the walk's packets are whole. */
function fragmentCondition({ field, operations }: Operand, { operator, right }: Comparison): Condition | undefined {
  const mask = operations.length === 1 && operations[0]?.operator === '&' ? operations[0].value : undefined;
  if (field.kind !== 'unknown' || field.module !== 'ip frag-off' || operator !== '!=' || right !== 0 || typeof mask !== 'number') return undefined;
  return (mask & ~0x3fff) === 0 ? { kind: 'never', reason: 'the packet is no fragment' } : undefined;
}
