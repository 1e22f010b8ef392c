// The bytes that structure a dump's lines, and the words between them.

export const tab = 9;
export const lineFeed = 10;
export const carriageReturn = 13;
export const space = 32;
export const quote = 34;
export const hash = 35;
export const apostrophe = 39;
export const asterisk = 42;
export const dash = 45;
export const colon = 58;
export const zero = 48;
export const letterA = 65;
export const letterC = 67;
export const letterI = 73;
export const letterN = 78;
export const letterP = 80;
export const bracket = 91;
export const backslash = 92;
export const closingBracket = 93;

/** Offset of the first byte that is neither blank nor tab. */
export function skipBlanks(bytes: Buffer, at: number, stop: number): number {
  let next = at;
  while (next < stop && (bytes[next] === space || bytes[next] === tab)) next++;
  return next;
}

/** End of the word that begins at an offset. */
export function wordEnd(bytes: Buffer, at: number, stop: number): number {
  let end = at;
  while (end < stop && (bytes[end] as number) > space) end++;
  return end;
}

/** Where the rule begins behind `[12:345] `. */
export function afterCounter(bytes: Buffer, at: number, stop: number): number | undefined {
  let next = at + 1;
  for (let colons = 0; next < stop; next++) {
    const code = bytes[next] as number;
    if (code === colon && colons++ === 0) continue;
    if (code < 48 || code > 57) break;
  }
  if (next >= stop || bytes[next] !== closingBracket) return undefined;
  const command = skipBlanks(bytes, next + 1, stop);
  return command > next + 1 && bytes[command] === dash ? command : undefined;
}

/** The rule's own text in a line: without counters, blanks around it and line end. */
export function ruleSpan(bytes: Buffer, start: number, nextStart: number): [number, number] {
  let stop = nextStart;
  while (stop > start && (bytes[stop - 1] as number) <= space) stop--;
  const at = skipBlanks(bytes, start, stop);
  return [bytes[at] === bracket ? (afterCounter(bytes, at, stop) ?? at) : at, stop];
}
