// Makes text of a foreign hand fit to be shown: rule comments and names may hold control characters, changes of the writing direction, or kilobytes.

/**
 * The text with everything that is not seen, or that would change how the rest is seen, written out as `\u{202e}`: control characters, directional and
 * invisible ones, halves of surrogate pairs, private and unassigned code points, and more than two combining marks in a row.
 */
export function visible(text: string): string {
  if (!suspicious.test(text)) return text;
  return text.replace(unseen, written).replace(/(\p{M}{2})(\p{M}+)/gu, (_, kept: string, rest: string) => kept + written(rest));
}

const unseen = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\u00a0\u115f\u1160\u2000-\u200a\u202f\u205f\u3000\u3164\uffa0]/gu;
const suspicious = /[^\x20-\x7e]/;
const written = (text: string): string => Array.from(text, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`).join('');

/** At most `columns` columns of the text, the last an ellipsis where something was cut off. */
export function cutTo(columns: number, text: string): string {
  if (text.length * widestColumns <= columns || columnsOf(text) <= columns) return text;
  let used = 1;
  let end = 0;
  for (const character of text) {
    used += columnsOf(character);
    if (used > columns) break;
    end += character.length;
  }
  return `${text.slice(0, end)}…`;
}

/** Columns that a text takes in a font of fixed width: East Asian characters and pictures take two, combining marks none. */
export function columnsOf(text: string): number {
  if (!suspicious.test(text)) return text.length;
  let columns = 0;
  for (const character of text) columns += /\p{M}/u.test(character) ? 0 : wide.test(character) ? 2 : 1;
  return columns;
}

const widestColumns = 2;
const wide = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f000}-\u{3fffd}]/u;
