// Reads the words of one statement of an nft listing, one after another.
import { nestingMax } from './nft.json.ts';

/** A word, a quoted string, a mark of punctuation or an operator, or the end. */
export interface Token {
  readonly kind: 'word' | 'string' | 'mark' | 'end';
  /** Without the quotes of a string. */
  readonly text: string;
  /** Offsets in the text. */
  readonly start: number;
  readonly end: number;
}

/** A place in a text; the first fault is kept, and after it there are no more words. */
export class Cursor {
  readonly text: string;
  #token: Token;
  #depth = 0;
  #fault: string | undefined;

  constructor(text: string) {
    this.text = text;
    this.#token = this.#read(0);
  }

  /** Why the text cannot be read; undefined while it can. */
  get fault(): string | undefined {
    return this.#fault;
  }

  /** The next token, not taken. */
  get token(): Token {
    return this.#token;
  }

  /** The token after the next. */
  get second(): Token {
    return this.#read(this.#token.end);
  }

  get ended(): boolean {
    return this.#token.kind === 'end';
  }

  take(): Token {
    const token = this.#token;
    if (token.kind !== 'end') this.#token = this.#read(token.end);
    return token;
  }

  /** Whether the next token is this word or mark; strings never are. */
  is(text: string): boolean {
    return this.#token.text === text && this.#token.kind !== 'string' && this.#token.kind !== 'end';
  }

  /** Takes the next token if it is this word or mark. */
  accept(text: string): boolean {
    const found = this.is(text);
    if (found) this.take();
    return found;
  }

  /** Takes this word or mark, or faults. */
  expect(text: string): void {
    if (!this.accept(text)) this.fail(`${text} is missing before ${this.#shown()}`);
  }

  /** Takes a word or string, or faults. */
  word(what: string): string {
    const { kind } = this.#token;
    if (kind === 'word' || kind === 'string') return this.take().text;
    this.fail(`${what} is missing before ${this.#shown()}`);
    return '';
  }

  /** Goes on in the middle of a word, e.g. behind the colon of `10.0.0.1:tcp dport map …`. */
  moveTo(offset: number): void {
    if (this.#fault === undefined) this.#token = this.#read(offset);
  }

  /** Keeps the first reason and ends the text. */
  fail(reason: string): void {
    this.#fault ??= reason;
    this.#token = { kind: 'end', text: '', start: this.text.length, end: this.text.length };
  }

  /** Reads something nested, unless it is nested deeper than nft writes. */
  nested<Result>(read: () => Result): Result | null {
    if (this.#depth >= nestingMax / 2) {
      this.fail('nested too deeply');
      return null;
    }
    this.#depth++;
    const result = read();
    this.#depth--;
    return result;
  }

  #shown(): string {
    return this.#token.kind === 'end' ? 'the end' : JSON.stringify(this.#token.text.slice(0, 40));
  }

  #read(offset: number): Token {
    pattern.lastIndex = offset;
    const found = pattern.exec(this.text);
    const end = pattern.lastIndex;
    if (found === null) return { kind: 'end', text: '', start: this.text.length, end: this.text.length };
    const [, string, mark, word = ''] = found;
    if (string !== undefined) return { kind: 'string', text: string, start: end - string.length - 2, end };
    if (mark !== undefined) return { kind: 'mark', text: mark, start: end - mark.length, end };
    return { kind: 'word', text: word, start: end - word.length, end };
  }
}

/** A raw payload (`@nh,0,8`) is one word though it has commas. A quote that is not closed is a word. */
const pattern = /(?:\s|\\(?=\s))*(?:"([^"]*)"|([{}(),;]|!=|==|<=|>=|<<|>>|[<>=!&|^])|(@(?:ll|nh|th|ih),\d+,\d+|"|[^\s"{}(),;<>=!&|^]+))/y;
