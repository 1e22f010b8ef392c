// A quick look at each rule while a dump is scanned: whether every match, target and option in it is known. Nearly all are, and are not decoded for that.
import { heapArrays } from './iptables.arrays.ts';
import { apostrophe, backslash, bracket, dash, quote, space } from './iptables.bytes.ts';
import { genericOptions } from './iptables.decode.ts';
import { Numbers } from './iptables.lines.ts';
import { matchModules } from './iptables.matches.ts';
import { type ChainNames, type Name, NamesToFind, nameAt, namesAtOnce } from './iptables.names.ts';
import { targets } from './iptables.targets.ts';
import type { DumpText } from './iptables.text.ts';
import { Words } from './iptables.words.ts';

/** A rule that jumps has more bytes than this (`-A A -j B` and the end of the line). */
const jumpBytesMin = 8;

/**
 * Looks at the bytes of rules for words that begin with a dash. Doubt may be a false alarm (quotes within a word, an escape, an option at the wrong place): the
 * decoder then says what is unknown.
 */
export class QuickLook {
  readonly #text: DumpText;
  readonly #names: ChainNames;
  readonly #doubtful = new Numbers();
  /** Where rules jump to, and in which lines they are: looked up for many at once. */
  readonly jumps: NamesToFind;
  readonly jumpLines: Int32Array;
  /** Jumps to chains that were not there yet: a line, a table, and where the name starts and ends, one after another. */
  readonly #open = new Numbers();

  constructor(text: DumpText, names: ChainNames, arrays = heapArrays) {
    this.#text = text;
    this.#names = names;
    // An agent keeps the text of each chain that has changed, and this with it.
    const places = Math.min(namesAtOnce, Math.ceil(text.bytes.length / jumpBytesMin));
    this.jumps = new NamesToFind(Math.max(1, places), arrays);
    this.jumpLines = arrays.int32(Math.max(1, places));
  }

  /** Looks at a rule of a table: its words from behind the chain's name on. False if the decoder has to look. */
  at(start: number, stop: number, rule: { readonly line: number; readonly table: number }): boolean {
    const { bytes } = this.#text;
    let at = start;
    while (at >= 0 && at < stop) {
      const code = bytes[at];
      if (code === space) at++;
      else if (code !== dash) at = code === quote ? quotedEnd(bytes, at, stop) : plainEnd(bytes, at, stop);
      else if (bytes[at + 2] === space && at + 2 < stop) at = this.#letterEnd(at, stop, rule);
      else at = longOptionEnd(bytes, at, stop);
    }
    if (at < 0) this.#doubtful.push(rule.line);
    return at >= 0;
  }

  /** Notes where the rule of a line jumps to. */
  noteJump(line: number, table: number, name: Name): void {
    if (this.jumps.isFull) this.#findJumps();
    this.jumpLines[this.jumps.length] = line;
    this.jumps.push(table, name);
  }

  /** Whether there is such a target. */
  readonly isTarget = (name: string): boolean => targets.has(name);

  /** Lines (from 0) of the rules that the decoder has to look at, in order. */
  doubtfulLines(): readonly number[] {
    this.#findJumps();
    const lines = new Set(this.#doubtful);
    const open = this.#open;
    for (let i = 0; i < open.length; i += 4) if (this.#names.find(open.at(i + 1), open.at(i + 2), open.at(i + 3)) < 0) lines.add(open.at(i));
    return [...lines].sort((a, b) => a - b);
  }

  /** Where a chain's name stands in one rule there may be a target's in another of the same stencil. */
  #findJumps(): void {
    const { bytes } = this.#text;
    const jumps = this.jumps;
    this.#names.findAll(jumps);
    for (let i = 0; i < jumps.length; i++) {
      if ((jumps.found[i] as number) >= 0) continue;
      const start = jumps.starts[i] as number;
      if (bytes[start - 2] === letterJ && knownTargets.has(bytes, start, jumps.ends[i] as number)) continue;
      for (const list of [this.jumpLines, jumps.tables, jumps.starts, jumps.ends]) this.#open.push(list[i] as number);
    }
    jumps.length = 0;
  }

  /** The end of an option of one letter, and of its value where that is a name to be known too; -1 where the decoder has to look. */
  #letterEnd(start: number, stop: number, { line, table }: { readonly line: number; readonly table: number }): number {
    const bytes = this.#text.bytes;
    const letter = bytes[start + 1] as number;
    if (knownLetters[letter] === 0) return -1;
    if (letter !== letterM && letter !== letterJ && letter !== letterG) return start + 2;
    const name = start + 3;
    const end = plainEnd(bytes, name, stop);
    if (end <= name) return -1;
    if (letter === letterM) return knownMatches.has(bytes, name, end) ? end : -1;
    if (letter === letterJ && knownTargets.has(bytes, name, end)) return end;
    this.noteJump(line, table, nameAt(this.#text, name, end));
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
  if (first === apostrophe || first === bracket) return -1;
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
