// Stencils: the text of a rule with holes where its values stand. Of hundreds of thousands of rules nearly all fit one of some dozens.
import { type Arrays, heapArrays } from './iptables.arrays.ts';
import { apostrophe, bracket, dash } from './iptables.bytes.ts';
import type { Name } from './iptables.names.ts';
import { blanks, type DumpText, firstOf, lessIn, lowBytes, mixed, printables, quotesIn } from './iptables.text.ts';

/**
 * The stencils of a table's rules. A rule's text is meant from behind the chain's name up to and with the end of the line. A rule that fits a stencil has the
 * words of the rule that it was made of, but for values: what a look at that one found holds for it too.
 */
export class Stencils {
  readonly #text: DumpText;
  readonly #numbers = new Map<string, number>();
  readonly code: StencilCode;
  /** The stencil of declarations. */
  readonly declaration: number;
  /** For each stencil the two that followed it last, the last first; -1 for none. */
  readonly next: Int32Array;
  /** The stencil of the rule before. */
  last = 0;
  /** How many rules have fitted. */
  fitted = 0;
  #learned = 0;

  constructor(text: DumpText, arrays = heapArrays) {
    this.#text = text;
    this.code = new StencilCode(arrays);
    this.next = arrays.int32(2 * stencilsMax).fill(-1);
    this.declaration = this.#numberOf([
      { literal: ':', hole: holes.chain },
      { literal: ` - [0:0]${String.fromCharCode(text.newline)}`, hole: holes.none },
    ]) as number;
  }

  /**
   * Where the line ends (behind the newline) whose rule begins at an offset, if it fits one of the two stencils that followed the last one before; -1 otherwise.
   * The line must end 8 bytes before the text or more. The chain that the rule jumps to is put into `jump`; its `end` is 0 if no chain is to be looked up.
   */
  fit(at: number, jump: Name): number {
    const next = this.next;
    const place = this.last * 2;
    for (let i = 0; i < 2; i++) {
      const stencil = next[place + i] as number;
      const end = stencil < 0 ? -1 : this.#fits(stencil, at, jump);
      if (end < 0) continue;
      next[place + i] = next[place] as number;
      next[place] = stencil;
      this.last = stencil;
      this.fitted++;
      return end;
    }
    return -1;
  }

  /** Where the line ends (behind the newline) that begins at an offset, if it declares a chain as most are; -1 otherwise. The chain is put into `name`. */
  fitDeclaration(at: number, name: Name): number {
    return this.#fits(this.declaration, at, name);
  }

  /** Makes a stencil of a rule in which all is known, unless too many before were of no use. */
  learn(start: number, end: number, known: KnownNames): void {
    if (this.#learned > learnedMin + this.fitted / fittedPerLearned) return;
    this.#learned++;
    const parts = partsOf(this.#text.bytes.toString('latin1', start, end), known);
    if (parts.filter(({ hole }) => hole === holes.chain).length > 1) return;
    const stencil = this.#numberOf(parts);
    if (stencil === undefined) return;
    const place = this.last * 2;
    this.next[place + 1] = this.next[place] as number;
    this.next[place] = stencil;
    this.last = stencil;
  }

  /** The number of a stencil, new or known; undefined if there is no room for it. A new one is expected to be followed by rules like its own. */
  #numberOf(parts: readonly Part[]): number | undefined {
    const key = JSON.stringify(parts);
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    const added = this.#numbers.size;
    if (added === stencilsMax || !this.code.add(parts)) return undefined;
    this.#numbers.set(key, added);
    this.next[added * 2] = added;
    return added;
  }

  /** One loop for all kinds of holes: what is compiled for the first rules is then right for the others too. */
  #fits(stencil: number, start: number, jump: Name): number {
    const { view } = this.#text;
    const { numbers: code, offsets } = this.code;
    let place = offsets[stencil] as number;
    let at = start;
    jump.end = 0;
    for (;;) {
      let quads = code[place++] as number;
      for (; quads > 0 && view.getInt32(at, true) === code[place]; quads--, place++) at += 4;
      if (quads > 0 || (view.getInt32(at, true) & (code[place] as number)) !== code[place + 1]) return -1;
      at += code[place + 2] as number;
      const hole = code[place + 3] as number;
      place += 4;
      if (hole === holes.none) return at;
      const begin = at;
      const least = hole === holes.quoted ? blanks : printables;
      let hash = 0;
      let quad = view.getInt32(at, true);
      let found = lessIn(quad, least) | quotesIn(quad);
      if (hole !== holes.quoted && ((found & 0x80) !== 0 || beginsOddly(quad & 0xff))) return -1;
      while (found === 0) {
        hash = mixed(hash, quad);
        at += 4;
        quad = view.getInt32(at, true);
        found = lessIn(quad, least) | quotesIn(quad);
      }
      const rest = firstOf(found);
      at += rest;
      if (hole !== holes.chain) continue;
      jump.start = begin;
      jump.end = at;
      jump.hash = mixed(hash, quad & lowBytes(rest));
    }
  }
}

/** What is known of the names in a rule. */
export interface KnownNames {
  readonly isTarget: (name: string) => boolean;
  /** Of the rule's table. */
  readonly isChain: (name: string) => boolean;
}

/** Stencils of a table, and the numbers that they take. */
const stencilsMax = 64;
const codeMax = 4096;
/** Rules that stencils are made of, at least, and how many must have fitted for one more. */
const learnedMin = 500;
const fittedPerLearned = 64;

/** What a hole takes: nothing, as there is none; a word, a quoted text up to its quote, or the name of a chain that is to be looked up. */
const holes = { none: 0, value: 1, quoted: 2, chain: 3 } as const;

/** Literal text and the hole behind it. */
interface Part {
  readonly literal: string;
  readonly hole: number;
}

/** Stencils as numbers, for each part: how many quads of literal text, these, a mask for the next quad, its bytes, how many these are, and the hole. */
class StencilCode {
  /** One array for good: code that is compiled for it need not be compiled again. */
  readonly numbers: Int32Array;
  /** Where each stencil begins. */
  readonly offsets: Int32Array;
  #stencils = 0;
  #length = 0;

  constructor(arrays: Arrays) {
    this.numbers = arrays.int32(codeMax);
    this.offsets = arrays.int32(stencilsMax);
  }

  /** False if there is no room. */
  add(parts: readonly Part[]): boolean {
    const numbers = parts.flatMap(({ literal, hole }) => {
      const bytes = Buffer.from(`${literal}\0\0\0\0`, 'latin1');
      const quads = Array.from({ length: literal.length >> 2 }, (_, i) => bytes.readInt32LE(i * 4));
      const rest = literal.length & 3;
      return [quads.length, ...quads, lowBytes(rest), bytes.readInt32LE(literal.length - rest) & lowBytes(rest), rest, hole];
    });
    if (this.#length + numbers.length > codeMax) return false;
    this.offsets[this.#stencils++] = this.#length;
    this.numbers.set(numbers, this.#length);
    this.#length += numbers.length;
    return true;
  }
}

/** Takes the values out of a rule's text. */
function partsOf(rule: string, known: KnownNames): Part[] {
  const parts: Part[] = [];
  let behind = 0;
  let before = '';
  for (const { 0: word, index } of rule.matchAll(/"[^"]*"|[^\0-\x20]+/g)) {
    const hole = holeOf(word, before, known);
    before = word;
    if (hole === holes.none) continue;
    const quote = hole === holes.quoted ? 1 : 0;
    parts.push({ literal: rule.slice(behind, index + quote), hole });
    behind = index + word.length - quote;
  }
  return [...parts, { literal: rule.slice(behind), hole: holes.none }];
}

/** Names of options, matches and targets stay. Of the rest, words with a digit in them (and others that are not plain) differ from rule to rule; most others do not. */
function holeOf(word: string, before: string, { isTarget, isChain }: KnownNames): number {
  if (word.startsWith('"')) return holes.quoted;
  const isVocabulary = /^[!-/:-~]+$/.test(word);
  if (before === '-j' || before === '-g') {
    const isKnown = (before === '-j' && isTarget(word)) || (isVocabulary && isChain(word));
    return isKnown ? holes.none : holes.chain;
  }
  return isVocabulary || word.startsWith('-') || before === '-m' ? holes.none : holes.value;
}

/** For the first byte of a word: whether it may be more than a plain value. */
const beginsOddly = (byte: number): boolean => byte === dash || byte === apostrophe || byte === bracket;
