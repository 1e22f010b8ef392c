// Parts the text of an nft listing into pieces: heads of blocks, statements of blocks, and closing braces, each with its line. Linear, whatever the text.

/** One piece. The text is without blanks around it and without the comment that may follow it. */
export interface Piece {
  /** `open`: the head of a block (`chain input`); `close`: its brace; `statement`: all else; `comment`: a line that is one. */
  readonly kind: 'open' | 'close' | 'statement' | 'comment';
  readonly text: string;
  /** What stands behind `#`. */
  readonly comment: string;
  /** From 1: where the piece begins and ends. */
  readonly line: number;
  readonly lastLine: number;
  /** Why the piece is not whole, e.g. a brace that is not closed. */
  readonly fault?: string;
}

/** Parts a text into pieces, in order. */
export function* piecesOf(text: string): Generator<Piece> {
  const position: Position = { text, at: 0, line: 1 };
  for (;;) {
    skipBlanks(position);
    const { at, line } = position;
    if (at >= text.length) return;
    const character = text[at];
    if (character === '#') yield { kind: 'comment', text: '', comment: readComment(position), line, lastLine: line };
    else if (character === '}' || character === '{') {
      position.at++;
      const comment = commentBehind(position);
      if (character === '}') yield { kind: 'close', text: '', comment, line, lastLine: line };
      else yield { kind: 'statement', text: '{', comment, line, lastLine: line, fault: 'a brace that opens nothing' };
    } else yield readPiece(position);
  }
}

interface Position {
  readonly text: string;
  at: number;
  line: number;
}

/** Blanks, line ends and semicolons between pieces. */
function skipBlanks(position: Position): void {
  const { text } = position;
  for (; position.at < text.length; position.at++) {
    const code = text.charCodeAt(position.at);
    if (code === lineFeed) position.line++;
    else if (code !== 32 && code !== 9 && code !== 13 && code !== semicolon) return;
  }
}

const lineFeed = 10;
const semicolon = 59;

function readComment(position: Position): string {
  const end = position.text.indexOf('\n', position.at);
  const stop = end < 0 ? position.text.length : end;
  const comment = position.text.slice(position.at + 1, stop).trim();
  position.at = stop;
  return comment;
}

/** The comment on the rest of the line, as `nft -a` puts handles behind heads and rules. */
function commentBehind(position: Position): string {
  const { text } = position;
  while (text[position.at] === ' ' || text[position.at] === '\t') position.at++;
  return text[position.at] === '#' ? readComment(position) : '';
}

const special = /[\n;{}"#]/g;

function readPiece(position: Position): Piece {
  const { text, at: start, line } = position;
  let depth = 0;
  let at = start;
  let fault: string | undefined;
  const piece = (kind: Piece['kind'], end: number): Piece => {
    const written = text.slice(start, end).trim();
    const lastLine = position.line;
    return { kind, text: written, comment: commentBehind(position), line, lastLine, ...(fault !== undefined && { fault }) };
  };
  for (;;) {
    special.lastIndex = at;
    const found = special.exec(text);
    if (found === null) {
      position.at = text.length;
      if (depth > 0) fault ??= 'a brace is not closed: the listing is truncated';
      return piece('statement', text.length);
    }
    const index = found.index;
    at = index + 1;
    position.at = index;
    switch (found[0]) {
      case '"': {
        const end = quoteEnd(text, at);
        if (text[end] !== '"') fault ??= 'a quote is not closed';
        at = text[end] === '"' ? end + 1 : end;
        break;
      }
      case '#':
        if (depth === 0) return piece('statement', index);
        at = endOfLine(text, at);
        break;
      case '{':
        if (depth === 0 && isHead(text.slice(start, Math.min(index, start + headMax)))) {
          position.at = at;
          return piece('open', index);
        }
        depth++;
        break;
      case '}':
        if (depth === 0) return piece('statement', index);
        depth--;
        break;
      case ';':
        if (depth > 0) break;
        position.at = at;
        return piece('statement', index);
      default:
        if (depth === 0 && text[index - 1] !== '\\') return piece('statement', index);
        if (depth > 0 && startsBlock(text, at)) {
          fault ??= 'a brace is not closed';
          return piece('statement', index);
        }
        position.line++;
    }
  }
}

/** Longer heads of blocks than the kernel's names allow are none. */
const headMax = 1024;

const isHead = (text: string): boolean =>
  /^(?:table|chain|set|map|flowtable|counter|quota|limit|secmark|synproxy|ct (?:helper|timeout|expectation))\s+[^\s{"]+(?:\s+[^\s{"]+)?\s*$/.test(text);

/** A line that can only be the head of a table, chain or set: what was open before it was never closed. */
function startsBlock(text: string, at: number): boolean {
  blockLine.lastIndex = at;
  return blockLine.test(text);
}

const blockLine = /(?:table|\t(?:chain|set|map)) [^\s{"]+(?: [^\s{"]+)? \{[ \t]*(?:#[^\n]*)?(?:\r?\n|$)/y;

function quoteEnd(text: string, from: number): number {
  quoteOrLine.lastIndex = from;
  return quoteOrLine.exec(text)?.index ?? text.length;
}

const quoteOrLine = /["\n]/g;

function endOfLine(text: string, from: number): number {
  const end = text.indexOf('\n', from);
  return end < 0 ? text.length : end;
}
