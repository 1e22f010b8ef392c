// A quick look at each rule while a dump is scanned: whether every match, target and option in it is known. Nearly all are, and are not decoded for that.
import { dash, space } from './iptables.bytes.ts';
import { genericOptions } from './iptables.decode.ts';
import { matchModules } from './iptables.matches.ts';
import { type ChainNames, NamesToFind } from './iptables.names.ts';
import { Numbers } from './iptables.numbers.ts';
import { targets } from './iptables.targets.ts';
import { Words } from './iptables.words.ts';

/**
 * Looks at the bytes of rules for words that begin with a dash. Doubt may be a false alarm (quotes within a word, an escape, an option at the wrong place): the
 * decoder then says what is unknown.
 */
export class QuickLook {
  readonly #bytes: Buffer;
  readonly #doubtful = new Numbers(16);
  /** The lines of rules that jump, and where. Looked up when all chains are known. */
  readonly #jumpLines: Numbers;
  readonly #jumps: NamesToFind;

  constructor(bytes: Buffer, rulesExpected: number) {
    this.#bytes = bytes;
    this.#jumpLines = new Numbers(rulesExpected);
    this.#jumps = new NamesToFind(rulesExpected);
  }

  /** Looks at a rule of a table: its words from behind the chain's name on. */
  at(start: number, stop: number, rule: { readonly line: number; readonly table: number }): void {
    const bytes = this.#bytes;
    let at = start;
    while (at >= 0 && at < stop) {
      const code = bytes[at];
      if (code === space) at++;
      else if (code !== dash) at = code === quote ? quotedEnd(bytes, at, stop) : plainEnd(bytes, at, stop);
      else if (bytes[at + 2] === space && at + 2 < stop) at = this.#letterEnd(at, stop, rule);
      else at = longOptionEnd(bytes, at, stop);
    }
    if (at < 0) this.#doubtful.push(rule.line);
  }

  /** Lines (from 0) of the rules that the decoder has to look at, in no order; one may be there twice. */
  doubtfulLines(names: ChainNames): readonly number[] {
    const lines = Array.from(this.#doubtful.values.subarray(0, this.#doubtful.length));
    const found = names.findAll(this.#jumps);
    for (let i = found.indexOf(-1); i >= 0; i = found.indexOf(-1, i + 1)) lines.push(this.#jumpLines.at(i));
    return lines;
  }

  /** The end of an option of one letter, and of its value where that is a name to be known too; -1 where the decoder has to look. */
  #letterEnd(start: number, stop: number, { line, table }: { readonly line: number; readonly table: number }): number {
    const bytes = this.#bytes;
    const letter = bytes[start + 1] as number;
    if (knownLetters[letter] === 0) return -1;
    if (letter !== letterM && letter !== letterJ && letter !== letterG) return start + 2;
    const name = start + 3;
    const end = plainEnd(bytes, name, stop);
    if (end <= name) return -1;
    if (letter === letterM) return knownMatches.has(bytes, name, end) ? end : -1;
    if (letter === letterJ && knownTargets.has(bytes, name, end)) return end;
    this.#jumpLines.push(line);
    this.#jumps.push(table, name, end);
    return end;
  }
}

/** Every option name of every match, target and the rule itself: whether it stands at the right place is the decoder's question. */
const knownOptions = new Words([
  ...genericOptions,
  ...[...matchModules.values()].flatMap(({ options }) => [...options.keys()]),
  ...[...targets.values()].flatMap(({ options }) => [...options.keys()]),
]);
const knownMatches = new Words(matchModules.keys());
const knownTargets = new Words(targets.keys());
/** By letter: 1 for options of one letter. They are more than half of all. */
const knownLetters = Uint8Array.from({ length: 256 }, (_, code) => (genericOptions.includes(`-${String.fromCharCode(code)}`) ? 1 : 0));

const quote = 34;
const apostrophe = 39;
const backslash = 92;
const openingBracket = 91;
const letterG = 103;
const letterJ = 106;
const letterM = 109;

function longOptionEnd(bytes: Buffer, start: number, stop: number): number {
  const end = plainEnd(bytes, start, stop);
  return end >= 0 && knownOptions.has(bytes, start, end) ? end : -1;
}

/** The end of a word without quotes, escapes and other oddities; -1 for others. */
function plainEnd(bytes: Buffer, start: number, stop: number): number {
  const first = bytes[start];
  if (first === apostrophe || first === openingBracket) return -1;
  let at = start;
  while (at < stop && endsWord[bytes[at] as number] === 0) at++;
  return at === stop || bytes[at] === space ? at : -1;
}

/** By byte: 1 for what no plain word has. A table, as this is asked of every byte of a dump. */
const endsWord = Uint8Array.from({ length: 256 }, (_, code) => (code <= space || code === quote || code === backslash ? 1 : 0));

/** The end of a quoted word; -1 if it has escapes, goes on behind the quote, or is not closed. */
function quotedEnd(bytes: Buffer, start: number, stop: number): number {
  for (let at = start + 1; at < stop; at++) {
    const code = bytes[at];
    if (code === backslash) return -1;
    if (code === quote) return at + 1 === stop || bytes[at + 1] === space ? at + 1 : -1;
  }
  return -1;
}
