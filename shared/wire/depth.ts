// How deeply JSON is nested, told from the text: what recurses over a message later must not be led beyond its stack. Pure.

/** Whether braces and brackets outside of strings are nested deeper than `max`. */
export function isDeeperThan(text: string, max: number): boolean {
  // So much nesting needs at least so many characters.
  if (text.length < max * 2) return false;
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === quote) at = endOfString(text, at);
    else if (code === brace || code === bracket) {
      if (++depth > max) return true;
    } else if (code === braceEnd || code === bracketEnd) depth--;
  }
  return false;
}

const [quote, backslash, brace, braceEnd, bracket, bracketEnd] = [34, 92, 123, 125, 91, 93];

function endOfString(text: string, begin: number): number {
  for (let end = text.indexOf('"', begin + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let slashes = 0;
    while (text.charCodeAt(end - 1 - slashes) === backslash) slashes++;
    if (slashes % 2 === 0) return end;
  }
  return text.length;
}
