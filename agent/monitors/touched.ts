// Gathers what transactions touched since it was read last: which tables, and which of their chains and sets.
import type { NftLine, Place } from './nft.parse.ts';

export interface TouchedObject {
  /** `elements` are of a set or a map, which only the table that was read before tells. */
  readonly kind: 'chain' | 'set' | 'map' | 'elements';
  /** The last word on whether it is there; undefined when there was none: rules come and go with their chain, or without it. */
  readonly gone: boolean | undefined;
  /** It was announced without being said to be new: where it is not known, another chain may have been given this name. */
  readonly announced: boolean;
  /** All that happened to a chain is that so many of its rules were replaced by the same ones; absent: more happened. */
  readonly same?: number;
}

export interface TouchedTable {
  /** The table itself came or went, so that everything in it may be otherwise. */
  whole: boolean;
  readonly objects: Map<string, TouchedObject>;
}

/** By `ip filter`. */
export interface Touched {
  /** Objects that were not named, or too many: everything may be otherwise. */
  anything: boolean;
  readonly tables: Map<string, TouchedTable>;
}

export const nothingTouched = (): Touched => ({ anything: false, tables: new Map() });

/** Objects that are kept apart; a full sync of kube-proxy touches tens of thousands, and then everything is read again anyway. */
const objectsMax = 20_000;

/** Takes one line into what is gathered. */
export function touch(touched: Touched, line: NftLine): void {
  switch (line.kind) {
    case 'anything':
      touched.anything = true;
      return;
    case 'table':
      tableOf(touched, `${line.family} ${line.table}`).whole = true;
      return;
    case 'rule':
    case 'rules':
      return put(touched, line.place, rulesTouched);
    case 'same':
      return put(touched, line.place, { ...rulesTouched, same: line.rules });
    case 'chain':
      return put(touched, line.place, { kind: 'chain', gone: line.op === 'delete', announced: line.op === 'add' });
    case 'set':
      return put(touched, line.place, { kind: line.map ? 'map' : 'set', gone: line.op === 'delete', announced: false });
    case 'elements':
      return put(touched, line.place, { kind: 'elements', gone: undefined, announced: false });
  }
}

const rulesTouched: TouchedObject = { kind: 'chain', gone: undefined, announced: false };

/** Takes all that was gathered by one into the other, which is the earlier. */
export function addTouched(touched: Touched, later: Touched): void {
  touched.anything ||= later.anything;
  for (const [key, { whole, objects }] of later.tables) {
    const table = tableOf(touched, key);
    table.whole ||= whole;
    for (const [name, object] of objects) keep(touched, table, [name, object]);
  }
}

/** Names as the ledger knows them: `ip filter FORWARD`, `ip filter` for tables as a whole. */
export function touchedNames({ tables }: Touched): Set<string> {
  const names = new Set<string>();
  for (const [key, { whole, objects }] of tables) {
    if (whole) names.add(key);
    for (const name of objects.keys()) names.add(`${key} ${name}`);
  }
  return names;
}

function put(touched: Touched, { family, table, object }: Place, is: TouchedObject): void {
  keep(touched, tableOf(touched, `${family} ${table}`), [object, is]);
}

function keep(touched: Touched, table: TouchedTable, [name, is]: readonly [string, TouchedObject]): void {
  const before = table.objects.get(name);
  if (before === undefined && table.objects.size >= objectsMax) {
    touched.anything = true;
    return;
  }
  table.objects.set(name, before === undefined ? is : later(before, is));
}

/** What is known of an object when more is told of it. */
function later(before: TouchedObject, is: TouchedObject): TouchedObject {
  // What is said of a set tells more than that its elements changed.
  const kind = is.kind === 'elements' ? before.kind : is.kind;
  // A chain that was announced stays so until it is gone.
  const announced = is.gone !== true && (is.announced || (before.announced && before.gone !== true));
  const same = is.same !== undefined && is.same === before.same ? { same: is.same } : {};
  return { kind, gone: is.gone ?? before.gone, announced, ...same };
}

function tableOf(touched: Touched, key: string): TouchedTable {
  let table = touched.tables.get(key);
  if (table === undefined) touched.tables.set(key, (table = { whole: false, objects: new Map() }));
  return table;
}
