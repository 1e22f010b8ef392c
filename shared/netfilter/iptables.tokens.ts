// Splits a rule's text into words as iptables-restore does: blanks separate, double quotes hold words together, a backslash within them takes the next character.

export interface Tokens {
  readonly words: readonly string[];
  /** For each word whether it stood in quotes: `"-j"` is a value, not an option. */
  readonly quoted: readonly boolean[];
}

/** The words of a rule; undefined when a quote is not closed. */
export function tokenise(text: string): Tokens | undefined {
  const words: string[] = [];
  const quoted: boolean[] = [];
  for (let at = 0; ; ) {
    while (isBlank(text, at)) at++;
    if (at >= text.length) return { words, quoted };
    const end = plainEnd(text, at);
    const word = end < 0 ? wordFrom(text, at) : undefined;
    if (end < 0 && word === undefined) return undefined;
    words.push(word === undefined ? text.slice(at, end) : word.text);
    quoted.push(word?.quoted === true);
    at = word === undefined ? end : word.end;
  }
}

/** End of a word without quotes, which nearly all are; -1 for others. */
function plainEnd(text: string, start: number): number {
  if (text.charCodeAt(start) === apostrophe) return -1;
  let at = start;
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 32 || code === 9) return at;
    if (code === quote) return -1;
  }
  return at;
}

const quote = 34;
const apostrophe = 39;

function isBlank(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  return code === 32 || code === 9;
}

/** A single quote opens only at the start of a word: `--log-prefix it's` has none. */
function wordFrom(text: string, start: number): { text: string; quoted: boolean; end: number } | undefined {
  if (text.charCodeAt(start) === apostrophe) return singleQuoted(text, start);
  const simple = text.charCodeAt(start) === quote ? text.indexOf('"', start + 1) : -1;
  if (simple > 0 && (simple + 1 === text.length || isBlank(text, simple + 1))) {
    const inner = text.slice(start + 1, simple);
    if (!inner.includes('\\')) return { text: inner, quoted: true, end: simple + 1 };
  }
  let word = '';
  let open = false;
  let quoted = false;
  let at = start;
  for (; at < text.length && (open || !isBlank(text, at)); at++) {
    const character = text[at] as string;
    if (character === '"') {
      open = !open;
      quoted = true;
    } else if (open && character === '\\' && at + 1 < text.length) word += text[++at];
    else word += character;
  }
  return open ? undefined : { text: word, quoted, end: at };
}

function singleQuoted(text: string, start: number): { text: string; quoted: boolean; end: number } | undefined {
  const end = text.indexOf("'", start + 1);
  return end < 0 ? undefined : { text: text.slice(start + 1, end), quoted: true, end: end + 1 };
}
