// Turns the text of one iptables rule into the steps that the walk judges; what it does not understand becomes a step that may match, and the rest is read on.
import { single } from '../model/address.ts';
import { interfacePattern, matchModules, protocolModules } from './iptables.matches.ts';
import type { Arities, DecodeContext, GivenOption } from './iptables.options.ts';
import { targets } from './iptables.targets.ts';
import { type Tokens, tokenise } from './iptables.tokens.ts';
import { isEverything, parseAddresses, parseProtocol } from './iptables.values.ts';
import type { Action, Condition, Counter, InterfaceField, Side, Step, Verdict } from './rule.ts';

/** Something in a rule that is not understood, by its name: `-m foo`, `-j FOO`, `--foo`. */
export interface UnknownName {
  readonly kind: 'match' | 'target' | 'option' | 'value' | 'text';
  readonly name: string;
}

export interface DecodedRule {
  readonly steps: readonly Step[];
  readonly comment: string | undefined;
  /** From `-c PACKETS BYTES`. */
  readonly counter: Counter | undefined;
  /** What the steps `may` and `unknown` are due to; empty for a rule that is understood. */
  readonly unknown: readonly UnknownName[];
}

/** Decodes a rule that begins with `-A CHAIN`. Conditions come in the order of the rule, then what its target does. */
export function decodeRule(text: string, context: DecodeContext): DecodedRule {
  const tokens = tokenise(text);
  if (tokens === undefined) return unreadable('a quote is not closed');
  const rule = new RuleReader(text.includes('=') ? splitAssigned(tokens) : tokens, context);
  rule.skip(2);
  while (rule.more) readWord(rule);
  return rule.result();
}

function unreadable(reason: string): DecodedRule {
  const steps: Step[] = [
    { kind: 'may', module: 'text', reason },
    { kind: 'unknown', name: 'text', reason },
  ];
  return { steps, unknown: [{ kind: 'text', name: reason }], comment: undefined, counter: undefined };
}

/** A match or target of the rule with the options seen so far. */
interface Group {
  /** `jump` and `goto` go to a chain of the table. */
  readonly kind: 'match' | 'target' | 'jump' | 'goto';
  readonly name: string;
  readonly options: Arities | undefined;
  readonly given: GivenOption[];
  unsupported: boolean;
  /** Options that its entry does not list. */
  strange: string | undefined;
}

const noOptions: Arities = new Map();

/** What is known of a rule while its words are read. */
class RuleReader {
  readonly context: DecodeContext;
  readonly unknown: UnknownName[] = [];
  readonly groups: Group[] = [];
  /** Conditions in order; a match stands for its conditions until the rule is complete, as its options may stand apart. */
  readonly parts: (Condition | Group)[] = [];
  comment: string | undefined;
  counter: Counter | undefined;
  protocol: number | undefined;
  readonly #words: readonly string[];
  readonly #quoted: readonly boolean[];
  #at = 0;

  constructor({ words, quoted }: Tokens, context: DecodeContext) {
    this.#words = words;
    this.#quoted = quoted;
    this.context = context;
  }

  get more(): boolean {
    return this.#at < this.#words.length;
  }

  skip(count: number): void {
    this.#at += count;
  }

  /** The next word without taking it. */
  get peek(): string {
    return this.#words[this.#at] ?? '';
  }

  get peekIsPlain(): boolean {
    return this.#quoted[this.#at] !== true;
  }

  next(): string {
    return this.#words[this.#at++] ?? '';
  }

  /** Whether an option, or `!` before one, comes next. */
  get atOption(): boolean {
    if (!this.more || !this.peekIsPlain) return false;
    if (this.peek !== '!') return isOption(this.peek);
    const after = this.#words[this.#at + 1] ?? '';
    return isOption(after) && this.#quoted[this.#at + 1] !== true;
  }

  /** Values of an option, and the old `--dport ! 80` form of negation. */
  values(count: number, negated: boolean): { values: string[]; negate: boolean } {
    let negate = negated;
    if (count > 0 && this.peek === '!' && this.peekIsPlain) {
      negate = !negate;
      this.skip(1);
    }
    const values: string[] = [];
    while (values.length < count && this.more) values.push(this.next());
    return { values, negate };
  }

  condition(step: Condition): void {
    this.parts.push(step);
  }

  may(module: string, reason: string, unknown: UnknownName): void {
    this.condition({ kind: 'may', module, reason });
    this.unknown.push(unknown);
  }

  open(kind: Group['kind'], name: string, options: Arities | undefined): Group {
    const group: Group = { kind, name, options, given: [], unsupported: false, strange: undefined };
    this.groups.push(group);
    if (kind === 'match') this.parts.push(group);
    return group;
  }

  result(): DecodedRule {
    const steps: Step[] = [];
    for (const part of this.parts) {
      if (!('given' in part)) steps.push(part);
      else for (const condition of matchSteps(this, part)) steps.push(condition);
    }
    for (const group of this.groups) if (group.kind !== 'match') for (const step of targetSteps(this, group)) steps.push(step);
    return { steps, unknown: this.unknown, comment: this.comment, counter: this.counter };
  }
}

const dash = 45;

function isOption(word: string): boolean {
  if (word.length < 2 || word.charCodeAt(0) !== dash) return false;
  return word.charCodeAt(1) === dash ? /^--[a-zA-Z0-9]/.test(word) : /^-[a-zA-Z46]/.test(word);
}

/** `--jump=ACCEPT` is `--jump ACCEPT`. */
function splitAssigned(tokens: Tokens): Tokens {
  const words: string[] = [];
  const quoted: boolean[] = [];
  tokens.words.forEach((word, i) => {
    const isQuoted = tokens.quoted[i] === true;
    const equals = !isQuoted && word.startsWith('--') ? word.indexOf('=') : -1;
    words.push(...(equals < 0 ? [word] : [word.slice(0, equals), word.slice(equals + 1)]));
    quoted.push(...(equals < 0 ? [isQuoted] : [false, true]));
  });
  return { words, quoted };
}

function readWord(rule: RuleReader): void {
  const negate = rule.peek === '!' && rule.peekIsPlain && rule.atOption;
  if (negate) rule.skip(1);
  const quoted = !rule.peekIsPlain;
  const word = rule.next();
  if (!quoted && word === '[unsupported' && rule.peek === 'revision]') return readUnsupported(rule);
  if (quoted || !isOption(word)) return rule.may('text', `the word ${word} belongs to no option`, { kind: 'text', name: word });
  if (word[1] !== '-' && word.length > 2) return readAttached(rule, word, negate);
  const owned = word.length > 2 && rule.groups.at(-1)?.options?.has(word) === true;
  if (!owned && readGeneric(rule, longNames.get(word) ?? word, negate)) return;
  readGroupOption(rule, word, negate);
}

/** `-ptcp` and `-dport` are `-p tcp` and `-d port`. */
function readAttached(rule: RuleReader, word: string, negate: boolean): void {
  const reader = generic.get(word.slice(0, 2));
  if (reader === undefined) return rule.may('option', `option ${word} is not known`, { kind: 'option', name: word });
  reader(rule, word.slice(2), negate);
}

/** iptables prints this when the kernel's revision of a match or target is newer than the program. */
function readUnsupported(rule: RuleReader): void {
  rule.skip(1);
  const group = rule.groups.at(-1);
  if (group === undefined) return rule.may('text', '[unsupported revision]', { kind: 'text', name: '[unsupported revision]' });
  group.unsupported = true;
  rule.unknown.push({ kind: group.kind === 'match' ? 'match' : 'target', name: `${group.name} [unsupported revision]` });
}

type GenericReader = (rule: RuleReader, value: string, negate: boolean) => void;

const readAddress =
  (field: Side): GenericReader =>
  (rule, value, negate) => {
    const { family } = rule.context;
    const set = parseAddresses(value, family);
    if (set === undefined) return unreadValue(rule, field === 'source' ? '-s' : '-d', value);
    if (negate || !isEverything(set, family)) rule.condition({ kind: 'address', field, family, set, negate });
  };

const readInterface =
  (field: InterfaceField): GenericReader =>
  (rule, value, negate) => {
    if (negate || value !== '+') rule.condition({ kind: 'interface', field, patterns: [interfacePattern(value)], negate });
  };

const generic: ReadonlyMap<string, GenericReader> = new Map<string, GenericReader>([
  ['-s', readAddress('source')],
  ['-d', readAddress('destination')],
  ['-i', readInterface('in')],
  ['-o', readInterface('out')],
  ['-p', readProtocol],
  ['-m', readMatch],
  ['-j', readTarget],
  ['-g', (rule, name) => void rule.open(rule.context.isChain(name) ? 'goto' : 'target', name, noOptions)],
]);

const longNames: ReadonlyMap<string, string> = new Map([
  ['--source', '-s'],
  ['--src', '-s'],
  ['--destination', '-d'],
  ['--dst', '-d'],
  ['--in-interface', '-i'],
  ['--out-interface', '-o'],
  ['--protocol', '-p'],
  ['--proto', '-p'],
  ['--match', '-m'],
  ['--jump', '-j'],
  ['--goto', '-g'],
  ['--fragment', '-f'],
  ['--set-counters', '-c'],
  ['--ipv4', '-4'],
  ['--ipv6', '-6'],
]);

/** The options of a rule itself, in all spellings. */
export const genericOptions: readonly string[] = [...generic.keys(), ...longNames.keys(), '-f', '-c', '-4', '-6'];

/** True when the option is one of the rule itself. */
function readGeneric(rule: RuleReader, name: string, negated: boolean): boolean {
  const reader = generic.get(name);
  if (reader !== undefined) {
    const { values, negate } = rule.values(1, negated);
    if (values[0] === undefined) rule.may('option', `option ${name} has no value`, { kind: 'value', name });
    else reader(rule, values[0], negate);
    return true;
  }
  switch (name) {
    case '-f':
      if (!negated) rule.condition({ kind: 'never', reason: 'the packets in question are not fragments' });
      return true;
    case '-c':
      readCounters(rule);
      return true;
    case '-4':
    case '-6':
      if (rule.context.family !== Number(name[1])) rule.condition({ kind: 'never', reason: 'the rule is for the other address family' });
      return true;
    default:
      return false;
  }
}

/** `-c 2 3` or `-c 2,3`. */
function readCounters(rule: RuleReader): void {
  const first = rule.next();
  const [packets, bytes] = first.includes(',') ? first.split(',') : [first, rule.next()];
  if (!/^\d+$/.test(packets ?? '') || !/^\d+$/.test(bytes ?? '')) return;
  rule.counter = { packets: BigInt(packets as string), bytes: BigInt(bytes as string) };
}

function readProtocol(rule: RuleReader, value: string, negate: boolean): void {
  const protocol = parseProtocol(value);
  if (protocol === undefined) return unreadValue(rule, '-p', value);
  if (!negate) rule.protocol = protocol;
  if (protocol === 0) {
    if (negate) rule.condition({ kind: 'never', reason: 'a packet of no protocol' });
    return;
  }
  rule.condition(protocolCondition(protocol, negate));
}

const protocolConditions = new Map<number, Condition>();

/** One object for all rules of a protocol: large dumps have hundreds of thousands of them. */
function protocolCondition(protocol: number, negate: boolean): Condition {
  const key = negate ? protocol + 256 : protocol;
  const known = protocolConditions.get(key);
  if (known !== undefined) return known;
  const condition: Condition = { kind: 'number', field: 'protocol', set: single(BigInt(protocol)), negate };
  protocolConditions.set(key, condition);
  return condition;
}

function unreadValue(rule: RuleReader, option: string, value: string): void {
  rule.may(option, `${option} ${value} could not be read`, { kind: 'value', name: `${option} ${value}` });
}

function readMatch(rule: RuleReader, name: string): void {
  const alias = name === 'icmpv6' ? 'icmp6' : name;
  rule.open('match', alias, matchModules.get(alias)?.options);
}

/** A chain of the table comes before a target of the same name. */
function readTarget(rule: RuleReader, name: string): void {
  if (rule.context.isChain(name)) rule.open('jump', name, noOptions);
  else rule.open('target', name, targets.get(name)?.options);
}

/** An option belongs to the nearest match or target before it that has it, else to the match that the protocol brings. */
function readGroupOption(rule: RuleReader, word: string, negated: boolean): void {
  const found = ownerOf(rule, word);
  if (found === undefined) return readStrangeOption(rule, word);
  const { group, name } = found;
  const { values, negate } = rule.values(group.options?.get(name) ?? 0, negated);
  group.given.push({ name, values, negate });
  if (name === '--comment') rule.comment = values[0] ?? '';
}

function ownerOf(rule: RuleReader, word: string): { group: Group; name: string } | undefined {
  for (let i = rule.groups.length - 1; i >= Math.max(0, rule.groups.length - reach); i--) {
    const group = rule.groups[i] as Group;
    if (group.options?.has(word) === true) return { group, name: word };
  }
  const implied = impliedModule(rule);
  if (implied?.options.has(word) === true) return { group: rule.open('match', implied.name, implied.options), name: word };
  return abbreviated(rule, word);
}

/** Matches that an option is looked for in, from the nearest on: no rule has as many, and damaged lines of thousands cost no more than their length. */
const reach = 64;

function impliedModule(rule: RuleReader): { name: string; options: Arities } | undefined {
  const name = rule.protocol === undefined ? undefined : protocolModules.get(rule.protocol);
  const options = name === undefined ? undefined : matchModules.get(name)?.options;
  return name === undefined || options === undefined ? undefined : { name, options };
}

/** `--cts` is `--ctstate` where nothing else begins so. */
function abbreviated(rule: RuleReader, word: string): { group: Group; name: string } | undefined {
  for (let i = rule.groups.length - 1; i >= Math.max(0, rule.groups.length - reach); i--) {
    const group = rule.groups[i] as Group;
    const names = [...(group.options?.keys() ?? [])].filter((name) => name.startsWith(word));
    if (names.length === 1) return { group, name: names[0] as string };
  }
  return undefined;
}

function readStrangeOption(rule: RuleReader, word: string): void {
  const group = rule.groups.at(-1);
  while (rule.more && !rule.atOption) rule.skip(1);
  rule.unknown.push({ kind: 'option', name: word });
  if (group === undefined) rule.condition({ kind: 'may', module: 'option', reason: `option ${word} is not known` });
  else group.strange ??= word;
}

function matchSteps(rule: RuleReader, group: Group): readonly Condition[] {
  const { name, given, unsupported, strange } = group;
  const module = matchModules.get(name);
  const may = (reason: string): Condition => ({ kind: 'may', module: name, reason });
  if (module === undefined) {
    rule.unknown.push({ kind: 'match', name });
    return [may(`match ${name} is not known`)];
  }
  if (unsupported) return [may(`match ${name} is of a revision that iptables did not read`)];
  const conditions = module.read(given, rule.context);
  if (conditions === undefined) {
    const values = given.map((option) => [option.negate ? '!' : '', option.name, ...option.values].filter(Boolean).join(' ')).join(' ');
    rule.unknown.push({ kind: 'value', name: `-m ${name} ${values}`.trimEnd() });
    return [may(`-m ${name} ${values} could not be read`)];
  }
  return strange === undefined ? conditions : [...conditions, may(`option ${strange} is not known`)];
}

function targetSteps(rule: RuleReader, group: Group): readonly Step[] {
  const { kind, name, given, unsupported, strange } = group;
  if (kind === 'jump' || kind === 'goto') {
    const verdict: Verdict = { kind, chain: name };
    return strange === undefined ? [verdict] : [{ kind: 'may', module: name, reason: `option ${strange} is not known` }, verdict];
  }
  const target = targets.get(name);
  if (target === undefined) return [unknownTarget(rule, name)];
  const unknown = (reason: string): Verdict => ({ kind: 'unknown', name, reason });
  if (unsupported) return [unknown("[unsupported revision]: iptables is older than the kernel's target")];
  if (strange !== undefined) return [unknown(`option ${strange} is not known`)];
  const steps = target.read(given, rule.context) as readonly (Action | Verdict)[] | undefined;
  if (steps !== undefined) return steps;
  const values = given.map((option) => [option.name, ...option.values].join(' ')).join(' ');
  rule.unknown.push({ kind: 'value', name: `-j ${name} ${values}`.trimEnd() });
  return [unknown(`-j ${name} ${values} could not be read`)];
}

function unknownTarget(rule: RuleReader, name: string): Verdict {
  rule.unknown.push({ kind: 'target', name });
  return { kind: 'unknown', name, reason: `target ${name} is neither a chain of the table nor a known target` };
}
