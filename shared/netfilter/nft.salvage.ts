// The objects of an nft listing; from a listing that was cut off or damaged, those that are whole before the fault.
import { isList, type Json, member } from './nft.json.ts';
import type { Issue } from './ruleset.ts';

/** Splits `{"nftables": […]}` into its objects. */
export function readListing(text: string): { objects: readonly Json[]; issues: Issue[] } {
  const parsed = parseJson(text);
  const objects = member(parsed, 'nftables');
  if (isList(objects)) return { objects, issues: [] };
  if (parsed !== undefined) return { objects: [], issues: [{ line: 1, text: text.slice(0, 200), reason: 'not a listing of nft: it has no list "nftables"' }] };
  return salvage(text);
}

/** Undefined when the text is no JSON. */
function parseJson(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}

function salvage(text: string): { objects: Json[]; issues: Issue[] } {
  const objects: Json[] = [];
  const list = /^\s*\{\s*"nftables"\s*:\s*\[\s*/.exec(text);
  let at = list === null ? 0 : list[0].length;
  while (list !== null) {
    const end = endOfObject(text, at);
    const object = end === undefined ? undefined : parseJson(text.slice(at, end));
    if (end === undefined || object === undefined) break;
    objects.push(object);
    at = end;
    while (/[\s,]/.test(text.charAt(at))) at++;
  }
  const line = text.slice(0, at).split('\n').length;
  const reason = text.trim() === '' ? 'nothing to read' : `not JSON from character ${at + 1} on; ${objects.length} objects before it were read`;
  return { objects, issues: [{ line, text: text.slice(at, at + 200), reason }] };
}

/** The position after the object that starts at `start`; undefined when it does not end. */
function endOfObject(text: string, start: number): number | undefined {
  if (text[start] !== '{') return undefined;
  let depth = 0;
  for (let at = start; at < text.length; at++) {
    const character = text[at];
    if (character === '"') at = endOfString(text, at);
    else if (character === '{' || character === '[') depth++;
    else if ((character === '}' || character === ']') && --depth === 0) return at + 1;
  }
  return undefined;
}

/** The position of the closing quote, or of the end of the text. */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return at;
}
