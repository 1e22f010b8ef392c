// Values in the text of an nft listing as nft's JSON has them: numbers, addresses, prefixes, ranges, durations, and the elements of sets and maps.
import { parseAddress } from '../model/address.ts';
import type { Json, JsonObject } from './nft.json.ts';
import type { Cursor } from './nft.text.cursor.ts';

/** One value: a string, or a word as `wordValue` reads it. A range of quoted strings (`"10:00"-"12:00"`) is one value. */
export function readValue(cursor: Cursor): Json {
  if (cursor.token.kind === 'mark' || cursor.ended) return cursor.word('a value');
  const { kind, text } = cursor.take();
  if (kind !== 'string') return wordValue(text);
  if (!cursor.accept('-')) return text;
  return { range: [text, cursor.word('the end of a range')] };
}

/** `80` and `0x50` are numbers, `10.0.0.0/8` a prefix, `1-5` and `fe80::1-fe80::9` ranges, all else a word. */
export function wordValue(word: string): Json {
  const first = word.charCodeAt(0);
  const digit = first >= 48 && first <= 57;
  if (digit && isNumber(word)) return numberOf(word);
  if (!digit && !word.includes(':') && !word.includes('/')) return word;
  return prefixOf(word) ?? rangeOf(word) ?? word;
}

const isNumber = (word: string): boolean => /^(?:\d{1,39}|0x[0-9a-f]{1,32})$/i.test(word);

/** Numbers beyond what a double holds exactly stay text. */
function numberOf(word: string): Json {
  const number = Number(word);
  return Number.isSafeInteger(number) ? number : word;
}

function prefixOf(word: string): Json | undefined {
  const slash = word.indexOf('/');
  if (slash < 0) return undefined;
  const length = word.slice(slash + 1);
  const address = word.slice(0, slash);
  return /^\d{1,3}$/.test(length) && parseAddress(address) !== undefined ? { prefix: { addr: address, len: Number(length) } } : undefined;
}

function rangeOf(word: string): Json | undefined {
  const dash = word.indexOf('-');
  if (dash <= 0) return undefined;
  const from = endOfRange(word.slice(0, dash));
  const to = endOfRange(word.slice(dash + 1));
  return from === undefined || to === undefined ? undefined : { range: [from, to] };
}

function endOfRange(word: string): Json | undefined {
  return isNumber(word) ? numberOf(word) : parseAddress(word) === undefined ? undefined : word;
}

/** `1h30m5s200ms` in seconds, without the fraction. Undefined for anything else. */
export function durationSeconds(text: string): number | undefined {
  const [whole, days, hours, minutes, seconds] = /^(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m(?!s))?(?:(\d{1,12})s)?(?:\d{1,15}ms)?$/.exec(text) ?? [];
  if (whole === undefined || whole === '') return undefined;
  return Number(days ?? 0) * 86_400 + Number(hours ?? 0) * 3600 + Number(minutes ?? 0) * 60 + Number(seconds ?? 0);
}

/** What can be in braces: `{ 80, 443 }`, `{ tcp . 22 : accept }`. The opening brace is next. */
export function readElements(cursor: Cursor): Json[] {
  const elements: Json[] = [];
  cursor.expect('{');
  while (!cursor.ended && !cursor.is('}')) {
    elements.push(readElement(cursor));
    if (!cursor.accept(',')) break;
  }
  cursor.expect('}');
  return elements;
}

/** A key with its options, and what it stands for in a map. */
function readElement(cursor: Cursor): Json {
  const key = readKey(cursor);
  const options = readElementOptions(cursor);
  const wrapped: Json = Object.keys(options).length === 0 ? key : { elem: { val: key, ...options } };
  return cursor.accept(':') ? [wrapped, readDatum(cursor)] : wrapped;
}

function readKey(cursor: Cursor): Json {
  const first = readFlags(cursor);
  if (!cursor.is('.')) return first;
  const parts = [first];
  while (cursor.accept('.')) parts.push(readFlags(cursor));
  return { concat: parts };
}

/** A value, or flags joined by `|`. */
function readFlags(cursor: Cursor): Json {
  const first = readValue(cursor);
  if (!cursor.is('|')) return first;
  const flags = [first];
  while (cursor.accept('|')) flags.push(readValue(cursor));
  return { '|': flags };
}

/** A verdict, or a value of one or several parts. */
function readDatum(cursor: Cursor): Json {
  const word = cursor.token.kind === 'word' ? cursor.token.text : '';
  if (verdicts.has(word)) return { [cursor.take().text]: null };
  if (word !== 'jump' && word !== 'goto') return readKey(cursor);
  cursor.take();
  return { [word]: { target: cursor.word('a chain') } };
}

const verdicts: ReadonlySet<string> = new Set(['accept', 'drop', 'return', 'continue']);

/** Options of an element, in any order: `timeout 1h expires 5m comment "why" counter packets 0 bytes 0`. */
export function readElementOptions(cursor: Cursor): JsonObject {
  const options: Record<string, Json> = {};
  for (;;) {
    const word = cursor.token.kind === 'word' ? cursor.token.text : '';
    if (word === 'timeout' || word === 'expires') {
      cursor.take();
      const seconds = durationSeconds(cursor.word('a duration'));
      if (seconds !== undefined) options[word] = seconds;
    } else if (word === 'comment') {
      cursor.take();
      options['comment'] = cursor.word('a comment');
    } else if (word === 'counter') options['counter'] = readCounter(cursor);
    else if (elementStatements.has(word)) skipStatement(cursor);
    else return options;
  }
}

/** Statements that elements keep a state of; it decides nothing for those who only read the set. */
const elementStatements: ReadonlySet<string> = new Set(['limit', 'quota', 'last', 'ct', 'used']);

const elementEnds: ReadonlySet<string> = new Set([':', ',', '}', 'counter', 'comment', 'timeout']);

function skipStatement(cursor: Cursor): void {
  while (!cursor.ended && (cursor.token.kind === 'string' || !elementEnds.has(cursor.token.text))) cursor.take();
}

/** `counter packets 1 bytes 60`; the word `counter` is next. */
export function readCounter(cursor: Cursor): Json {
  cursor.take();
  if (!cursor.accept('packets')) return null;
  const packets = numberOf(cursor.word('a number of packets'));
  cursor.expect('bytes');
  return { packets, bytes: numberOf(cursor.word('a number of bytes')) };
}
