// `… set …` statements of nft (`mangle` in JSON): arithmetic on the packet's and the connection's mark, and what else may be written to a packet.
import { numberValue } from './nft.element.ts';
import { isList, type Json, member, named, textMember } from './nft.json.ts';
import { renderStatement } from './nft.text.ts';
import type { Step } from './rule.ts';

/** Decodes the value of a `mangle` statement. Writes that the walk cannot follow are an `unknownEffect`. */
export function markSteps(mangle: Json): Step[] {
  const key = member(mangle, 'key') ?? null;
  const value = member(mangle, 'value') ?? null;
  const target = markOf(key);
  const change = target === undefined ? undefined : arithmetic(value);
  if (target !== undefined) return change === undefined ? [effect(mangle, 'the new mark is not a constant')] : assignment(target, change);
  return isHarmless(key) ? [{ kind: 'effectless', name: renderStatement({ mangle }) }] : [effect(mangle, 'it rewrites the packet')];
}

type Mark = 'mark' | 'connmark';

/** `(base & and) ^ xor`; without base a constant. */
interface Arithmetic {
  readonly base?: Mark;
  readonly and: number;
  readonly xor: number;
}

const allBits = 0xffffffff;

const effect = (mangle: Json, reason: string): Step => ({ kind: 'unknownEffect', name: renderStatement({ mangle }), reason });

function assignment(target: Mark, { base, and, xor }: Arithmetic): Step[] {
  const set = target === 'mark' ? 'setMark' : 'setConnmark';
  if (base === undefined) return [{ kind: set, and: 0, xor }];
  if (base === target) return [{ kind: set, and, xor }];
  const copy: Step =
    target === 'mark' ? { kind: 'restoreMark', connmarkMask: and, markMask: allBits } : { kind: 'saveMark', connmarkMask: allBits, markMask: and };
  return xor === 0 ? [copy] : [copy, { kind: set, and: allBits, xor }];
}

function arithmetic(value: Json): Arithmetic | undefined {
  const base = markOf(value);
  if (base !== undefined) return { base, and: allBits, xor: 0 };
  const constant = numberValue(value, 'mark');
  if (constant !== undefined && constant <= BigInt(allBits)) return { and: 0, xor: Number(constant) };
  const operation = named(value);
  if (operation === undefined || !isList(operation.value)) return undefined;
  const [first, ...rest] = operation.value.map(arithmetic);
  return rest.reduce((left, right) => left && right && combine(operation.kind, left, right), first);
}

/** Bitwise operators keep the form as long as one side is constant. */
function combine(operator: string, left: Arithmetic, right: Arithmetic): Arithmetic | undefined {
  if (right.base !== undefined) return left.base === undefined ? combine(operator, right, left) : undefined;
  const constant = right.xor;
  switch (operator) {
    case '&':
      return { ...left, and: (left.and & constant) >>> 0, xor: (left.xor & constant) >>> 0 };
    case '|':
      return { ...left, and: (left.and & ~constant) >>> 0, xor: ((left.xor & ~constant) | constant) >>> 0 };
    case '^':
      return { ...left, xor: (left.xor ^ constant) >>> 0 };
    default:
      return undefined;
  }
}

function markOf(expression: Json): Mark | undefined {
  const found = named(expression);
  if (textMember(found?.value, 'key') !== 'mark') return undefined;
  return found?.kind === 'meta' ? 'mark' : found?.kind === 'ct' ? 'connmark' : undefined;
}

const harmlessMeta: ReadonlySet<string> = new Set(['priority', 'nftrace', 'secmark']);
const harmlessFields: ReadonlySet<string> = new Set(['ttl', 'hoplimit', 'dscp', 'ecn', 'checksum', 'flowlabel', 'window', 'flags']);

/** Writes that no rule's decision for a first packet depends on: priorities, options, TTL, everything of conntrack but the mark. */
function isHarmless(key: Json): boolean {
  const found = named(key);
  if (found?.kind === 'ct' || found?.kind === 'tcp option') return true;
  if (found?.kind === 'meta') return harmlessMeta.has(textMember(found.value, 'key') ?? '');
  return found?.kind === 'payload' && harmlessFields.has(textMember(found.value, 'field') ?? '');
}
