// Decodes rules by the shape of earlier ones: a large dump has hundreds of thousands of rules and some dozens of shapes, in which only addresses, ports, chances,
// comments and chains differ. What a shape's options mean is worked out once, by the decoder; for every further rule only the values that differ are read.
import { single } from '../model/address.ts';
import { type DecodedRule, decodeRule } from './iptables.decode.ts';
import type { DecodeContext } from './iptables.options.ts';
import { targets } from './iptables.targets.ts';
import { isEverything, parseAddresses } from './iptables.values.ts';
import type { Step } from './rule.ts';

/** The decoder of one table's rules. Its answers are those of `decodeRule`. */
export class ShapedDecoder {
  readonly #context: DecodeContext;
  readonly #shapes = new Map<string, Shape | 'none'>();

  constructor(context: DecodeContext) {
    this.#context = context;
  }

  decode(text: string): DecodedRule {
    const outline = outlineOf(text, this.#context);
    if (outline === undefined) return decodeRule(text, this.#context);
    const shape = this.#shapes.get(outline.key);
    const shaped = shape === undefined || shape === 'none' ? undefined : fill(shape, outline.values, this.#context);
    if (shaped !== undefined) return shaped;
    const decoded = decodeRule(text, this.#context);
    if (shape === undefined && this.#shapes.size < shapesMax) this.#shapes.set(outline.key, shapeOf(decoded, outline, this.#context) ?? 'none');
    return decoded;
  }
}

/** Rules that are all different have as many shapes as rules: those beyond are decoded one by one. */
const shapesMax = 2_000;

/** A rule's text with its values taken out. */
interface Outline {
  /** What remains, which tells the shape. */
  readonly key: string;
  readonly options: readonly Varying[];
  /** A value for each of the options. */
  readonly values: readonly string[];
}

/** A rule of which some steps are to be replaced. */
interface Shape {
  readonly model: DecodedRule;
  /** For each value the option that it belongs to and its step's place; -1 for the comment, which is no step. */
  readonly slots: readonly { readonly option: Varying; readonly place: number }[];
}

/** An option whose value differs from rule to rule. */
interface Varying {
  /** Whether a step is one that this option makes; other options may make such steps too. */
  isOwn(step: Step): boolean;
  /** The step with another value in it; undefined for values that make no such step. */
  make(step: Step, value: string, context: DecodeContext): Step | undefined;
}

const comment: Varying = { isOwn: () => false, make: () => undefined };

const address = (field: 'source' | 'destination'): Varying => ({
  isOwn: (step) => step.kind === 'address' && step.field === field,
  make: (step, value, { family }) => {
    const set = parseAddresses(value, family);
    return set === undefined || isEverything(set, family) || step.kind !== 'address' ? undefined : { ...step, set };
  },
});

const destinationPort: Varying = {
  isOwn: (step) => step.kind === 'number' && step.field === 'destinationPort',
  make: (step, value) => (step.kind === 'number' && /^\d{1,5}$/.test(value) && Number(value) <= 65535 ? { ...step, set: single(BigInt(value)) } : undefined),
};

const probability: Varying = {
  isOwn: (step) => step.kind === 'random',
  make: (step, value) => (step.kind === 'random' && /^[01]\.\d+$/.test(value) && Number(value) <= 1 ? { ...step, probability: Number(value) } : undefined),
};

/** Only where its value is a chain of the table; a target is part of the shape. */
const jump: Varying = { isOwn: (step) => step.kind === 'jump', make: (_, chain) => ({ kind: 'jump', chain }) };

const endpoint: Varying = {
  isOwn: (step) => step.kind === 'dnat',
  make: (_, value, context) => targets.get('DNAT')?.read([{ name: '--to-destination', negate: false, values: [value] }], context)?.[0],
};

const varying: ReadonlyMap<string, Varying> = new Map([
  ['--comment', comment],
  ['-s', address('source')],
  ['-d', address('destination')],
  ['--dport', destinationPort],
  ['--probability', probability],
  ['-j', jump],
  ['--to-destination', endpoint],
]);
const longestVarying = Math.max(...[...varying.keys()].map((name) => name.length));

/** Undefined for texts with anything but plain words and whole words in double quotes. */
function outlineOf(text: string, context: DecodeContext): Outline | undefined {
  const options: Varying[] = [];
  const values: string[] = [];
  let key = '';
  let kept = text.indexOf(' ', 3);
  for (let at = kept; at >= 0 && at < text.length; ) {
    const end = wordEnd(text, at + 1);
    if (end < 0) return undefined;
    const option = text.charCodeAt(at + 1) === dash && end - at - 1 <= longestVarying ? varying.get(text.slice(at + 1, end)) : undefined;
    const valueEnd = option === undefined || end >= text.length ? -1 : wordEnd(text, end + 1);
    at = end;
    if (option === undefined || valueEnd < 0) continue;
    const value = text.charCodeAt(end + 1) === quote ? text.slice(end + 2, valueEnd - 1) : text.slice(end + 1, valueEnd);
    if (option === jump && !context.isChain(value)) continue;
    if (options.includes(option)) return undefined;
    options.push(option);
    values.push(value);
    key += `${text.slice(kept, end)}${hole}`;
    kept = valueEnd;
    at = valueEnd;
  }
  return { key: kept < 0 ? key : key + text.slice(kept), options, values };
}

/** No plain word has it, so that an option without value has another key. */
const hole = '\0';

const dash = 45;
const quote = 34;
const apostrophe = 39;
const backslash = 92;
const space = 32;

/** The end of a word; -1 for words with quotes inside, escapes or single quotes. */
function wordEnd(text: string, start: number): number {
  if (text.charCodeAt(start) === quote) return quotedEnd(text, start);
  let at = start;
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === space) return at;
    if (code < space || code === quote || code === apostrophe || code === backslash) return -1;
  }
  return at;
}

function quotedEnd(text: string, start: number): number {
  const end = text.indexOf('"', start + 1);
  if (end < 0 || (end + 1 < text.length && text.charCodeAt(end + 1) !== space)) return -1;
  for (let at = start + 1; at < end; at++) if (text.charCodeAt(at) === backslash) return -1;
  return end + 1;
}

/** Undefined when it is not certain which step each value made. */
function shapeOf(model: DecodedRule, { options, values }: Outline, context: DecodeContext): Shape | undefined {
  if (model.unknown.length > 0 || model.counter !== undefined) return undefined;
  const slots: { option: Varying; place: number }[] = [];
  for (const [index, option] of options.entries()) {
    const value = values[index] as string;
    const place = model.steps.findIndex((step) => option.isOwn(step));
    if (option === comment ? model.comment !== value : !isMadeBy(option, model.steps, { value, context })) return undefined;
    slots.push({ option, place });
  }
  return { model, slots };
}

/** Whether exactly one step is of an option's kind, and its value makes that step. */
function isMadeBy(option: Varying, steps: readonly Step[], { value, context }: { readonly value: string; readonly context: DecodeContext }): boolean {
  const [own, ...more] = steps.filter((step) => option.isOwn(step));
  return own !== undefined && more.length === 0 && textOf(option.make(own, value, context)) === textOf(own);
}

const textOf = (step: Step | undefined): string => JSON.stringify(step, (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value)) ?? '';

function fill({ model, slots }: Shape, values: readonly string[], context: DecodeContext): DecodedRule | undefined {
  const steps = [...model.steps];
  let said = model.comment;
  for (const [index, { option, place }] of slots.entries()) {
    const value = values[index] as string;
    if (option === comment) {
      said = value;
      continue;
    }
    const step = option.make(steps[place] as Step, value, context);
    if (step === undefined) return undefined;
    steps[place] = step;
  }
  return { steps, comment: said, counter: undefined, unknown: model.unknown };
}
