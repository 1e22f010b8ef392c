// Decodes rules by the shape of earlier ones: a large dump has hundreds of thousands of rules and some dozens of shapes, in which only addresses, ports, chances,
// comments and chains differ. What a shape's options mean is worked out once, by the decoder; for every further rule only the values that differ are read.
import { type Family, type IntervalSet, single } from '../model/address.ts';
import { dash, quote, space } from './iptables.bytes.ts';
import { type DecodedRule, decodeRule } from './iptables.decode.ts';
import type { DecodeContext } from './iptables.options.ts';
import { Place } from './iptables.places.ts';
import { ShapeTree, wordEnd } from './iptables.shape.tree.ts';
import { targets } from './iptables.targets.ts';
import { isEverything, parseAddresses } from './iptables.values.ts';
import type { Step } from './rule.ts';

/** The decoder of one table's rules. Its answers are those of `decodeRule`. */
export class ShapedDecoder {
  readonly #context: DecodeContext;
  readonly #shapes = new ShapeTree<Shape>();
  /** The value that is being read. One object for all of them. */
  readonly #value = new Place(Buffer.alloc(0), 0, 0);
  #count = 0;

  constructor(context: DecodeContext) {
    this.#context = context;
  }

  /**
   * Decodes the rule between two offsets, which begins with `-A CHAIN`. Yields its steps alone for a rule of a known shape: no such rule has counters or anything
   * that is not understood, and its comment is read by `commentAt`.
   */
  decode(bytes: Buffer, start: number, stop: number): DecodedRule | readonly Step[] {
    const at = afterChain(bytes, start, stop);
    const shape = this.#shapes.find(bytes, at, stop);
    const filled = shape === undefined ? undefined : this.#filled(shape, bytes);
    if (filled !== undefined) return filled;
    const decoded = decodeRule(bytes.toString('utf8', start, stop), this.#context);
    if (shape === undefined && this.#count < shapesMax) this.#learn(decoded, outlineOf({ bytes, at, stop }, this.#context));
    return decoded;
  }

  /** The comment of a rule that `decode` gave the steps alone of. */
  commentAt(bytes: Buffer, start: number, stop: number): string | undefined {
    const shape = this.#shapes.find(bytes, afterChain(bytes, start, stop), stop);
    const index = shape?.slots?.findIndex(({ option }) => option === comment) ?? -1;
    if (index < 0) return shape?.model.comment;
    const { holes } = this.#shapes;
    return bytes.toString('utf8', holes[2 * index], holes[2 * index + 1]);
  }

  #learn(model: DecodedRule, outline: Outline | undefined): void {
    if (outline === undefined) return;
    this.#count++;
    this.#shapes.add(outline.literals, { model, slots: slotsOf(model, outline, this.#context) });
  }

  /** The steps of the rule that was found to have a shape; undefined where a value makes no step of the shape's kind. */
  #filled({ model, slots }: Shape, bytes: Buffer): readonly Step[] | undefined {
    if (slots === undefined) return undefined;
    const { holes } = this.#shapes;
    const value = this.#value;
    value.bytes = bytes;
    const steps = model.steps.slice();
    for (let i = 0; i < slots.length; i++) {
      const { option, place } = slots[i] as Slot;
      value.start = holes[2 * i] as number;
      value.end = holes[2 * i + 1] as number;
      if (value.isBang) return undefined;
      if (option === comment) continue;
      const step = option.make(value, steps[place] as Step, this.#context);
      if (step === undefined) return undefined;
      steps[place] = step;
    }
    return steps;
  }
}

/** Rules that are all different have as many shapes as rules: those beyond are decoded one by one. */
const shapesMax = 2_000;

/** A rule of which some steps are to be replaced. */
interface Shape {
  readonly model: DecodedRule;
  /** One for each value. Absent when it is not certain which step each value made: such rules are decoded one by one. */
  readonly slots: readonly Slot[] | undefined;
}

interface Slot {
  readonly option: Varying;
  /** The step that the value makes; -1 for the comment, which is no step. */
  readonly place: number;
}

/** An option whose value differs from rule to rule. */
interface Varying {
  /** Whether a step is one that this option makes; other options may make such steps too. */
  isOwn(step: Step): boolean;
  /** The step of the model with another value in it; undefined for values that make no such step. */
  make(value: Place, model: Step, context: DecodeContext): Step | undefined;
}

const comment: Varying = { isOwn: () => false, make: () => undefined };

const address = (field: 'source' | 'destination'): Varying => ({
  isOwn: (step) => step.kind === 'address' && step.field === field,
  make: (value, model, { family }) => {
    const set = addressesAt(value, family);
    return set === undefined || model.kind !== 'address' ? undefined : { kind: 'address', field, family, set, negate: model.negate };
  },
});

function addressesAt(value: Place, family: Family): IntervalSet | undefined {
  const host = family === 4 ? value.host : -1;
  if (host >= 0) return single(BigInt(host));
  const set = parseAddresses(value.text, family);
  return set === undefined || isEverything(set, family) ? undefined : set;
}

const destinationPort: Varying = {
  isOwn: (step) => step.kind === 'number' && step.field === 'destinationPort',
  make: (value, model) => {
    const { port } = value;
    return port < 0 || model.kind !== 'number' ? undefined : { ...model, set: single(BigInt(port)) };
  },
};

const probability: Varying = {
  isOwn: (step) => step.kind === 'random',
  make: (value, model) => {
    const { chance } = value;
    return chance < 0 || model.kind !== 'random' ? undefined : { kind: 'random', probability: chance, negate: model.negate };
  },
};

/** Only where its value is a chain of the table; a target is part of the shape. Rules of a shape often jump to one and the same chain. */
const jump: Varying = {
  isOwn: (step) => step.kind === 'jump',
  make: (value, model, context) => {
    if (model.kind === 'jump' && value.isText(model.chain)) return model;
    const chain = value.text;
    return context.isChain(chain, value) ? { kind: 'jump', chain } : undefined;
  },
};

const endpoint: Varying = {
  isOwn: (step) => step.kind === 'dnat',
  make: (value, _, context) => {
    const plain = context.family === 4 ? value.endpoint : undefined;
    if (plain === undefined) return targets.get('DNAT')?.read([{ name: '--to-destination', negate: false, values: [value.text] }], context)?.[0];
    return { kind: 'dnat', family: 4, addresses: single(BigInt(plain.address)), ports: { lo: plain.port, hi: plain.port } };
  },
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

/** Where the words of a rule begin behind `-A CHAIN`: at the blank before the first. */
function afterChain(bytes: Buffer, start: number, stop: number): number {
  let at = start + '-A '.length;
  while (at < stop && (bytes[at] as number) > space) at++;
  return Math.min(at, stop);
}

/** A rule's text with its values taken out. */
interface Outline {
  /** What remains: before, between and behind the values. */
  readonly literals: readonly Buffer[];
  /** The options that the values belong to. */
  readonly options: readonly Varying[];
  readonly values: readonly Place[];
}

/** Undefined for texts with anything but plain words and whole words in double quotes. */
function outlineOf({ bytes, at: first, stop }: { readonly bytes: Buffer; readonly at: number; readonly stop: number }, context: DecodeContext) {
  const outline = { literals: [] as Buffer[], options: [] as Varying[], values: [] as Place[] };
  let kept = first;
  for (let at = first; at < stop; ) {
    const end = wordEnd(bytes, at + 1, stop);
    if (end < 0) return undefined;
    const name = bytes[at + 1] === dash && end - at - 1 <= longestVarying ? bytes.toString('latin1', at + 1, end) : '';
    const option = varying.get(name);
    const valueEnd = option === undefined || end >= stop ? -1 : wordEnd(bytes, end + 1, stop);
    at = end;
    if (option === undefined || valueEnd <= end + 1) continue;
    const quotes = bytes[end + 1] === quote ? 1 : 0;
    const value = new Place(bytes, end + 1 + quotes, valueEnd - quotes);
    if (option === jump && !context.isChain(value.text)) continue;
    if (outline.options.includes(option)) return undefined;
    outline.options.push(option);
    outline.values.push(value);
    outline.literals.push(bytes.subarray(kept, end + 1));
    kept = valueEnd;
    at = valueEnd;
  }
  outline.literals.push(bytes.subarray(kept, stop));
  return outline;
}

/** Undefined when it is not certain which step each value made. */
function slotsOf(model: DecodedRule, { options, values }: Outline, context: DecodeContext): readonly Slot[] | undefined {
  if (model.unknown.length > 0 || model.counter !== undefined) return undefined;
  const slots: Slot[] = [];
  for (const [index, option] of options.entries()) {
    const value = values[index] as Place;
    const place = model.steps.findIndex((step) => option.isOwn(step));
    if (option === comment ? model.comment !== value.text : !isMadeBy(option, model.steps, { value, context })) return undefined;
    slots.push({ option, place });
  }
  return slots;
}

/** Whether exactly one step is of an option's kind, and its value makes that step. */
function isMadeBy(option: Varying, steps: readonly Step[], { value, context }: { readonly value: Place; readonly context: DecodeContext }): boolean {
  const [own, ...more] = steps.filter((step) => option.isOwn(step));
  return own !== undefined && more.length === 0 && textOf(option.make(value, own, context)) === textOf(own);
}

const textOf = (step: Step | undefined): string => JSON.stringify(step, (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value)) ?? '';
