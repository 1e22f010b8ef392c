// What `nft -j` prints, as plain JSON values, read with care: nothing of it is believed before it was looked at.

/** Any JSON value. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: Json;
}

/** An object with one key, nft's way of naming a statement or expression: `{"jump": {"target": "x"}}`. */
export interface Named {
  readonly kind: string;
  readonly value: Json;
}

/** Deeper JSON than this is no rule that nft could have written. */
export const nestingMax = 64;

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function isList(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value);
}

/** A member of an object; undefined when there is none or the value is no object. */
export function member(value: Json | undefined, key: string): Json | undefined {
  return isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
}

/** A string member, or undefined. */
export function textMember(value: Json | undefined, key: string): string | undefined {
  const found = member(value, key);
  return typeof found === 'string' ? found : undefined;
}

/** A finite numeric member, or undefined. */
export function numberMember(value: Json | undefined, key: string): number | undefined {
  const found = member(value, key);
  return typeof found === 'number' && Number.isFinite(found) ? found : undefined;
}

/** The strings of a member that is a string or a list of strings; nft prints either. */
export function wordsMember(value: Json | undefined, key: string): string[] {
  const found = member(value, key);
  if (typeof found === 'string') return [found];
  return isList(found) ? found.filter((word) => typeof word === 'string') : [];
}

/** Takes an object with a single key apart; undefined for anything else. */
export function named(value: Json | undefined): Named | undefined {
  if (!isObject(value)) return undefined;
  const keys = Object.keys(value);
  const kind = keys[0];
  return keys.length === 1 && kind !== undefined ? { kind, value: value[kind] as Json } : undefined;
}

/** A value as a list: a list itself, or the one value in a list. */
export function asList(value: Json): readonly Json[] {
  return isList(value) ? value : [value];
}

/** Whether a value is nested deeper than nft writes; looks no further than the limit, so that hostile JSON costs no stack. */
export function tooDeep(value: Json, left = nestingMax): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (left === 0) return true;
  for (const child of isList(value) ? value : Object.values(value)) if (tooDeep(child, left - 1)) return true;
  return false;
}
