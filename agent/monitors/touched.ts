// Gathers what transactions touched since it was read last: which tables, and which of their chains and sets.
import type { NftLine, Place } from './nft.parse.ts';

export interface TouchedObject {
  /** `elements` are of a set or a map, which only the table that was read before tells. */
  readonly kind: 'chain' | 'set' | 'map' | 'elements';
  /** The last word on it was that it is gone. */
  readonly gone: boolean;
  /** It was announced without being said to be new: where it is not known, another chain may have been given this name. */
  readonly announced: boolean;
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
      return put(touched, line.place, { kind: 'chain', gone: false, announced: false });
    case 'chain':
      return put(touched, line.place, { kind: 'chain', gone: line.op === 'delete', announced: line.op === 'add' });
    case 'set':
      return put(touched, line.place, { kind: line.map ? 'map' : 'set', gone: line.op === 'delete', announced: false });
    case 'elements':
      return put(touched, line.place, { kind: 'elements', gone: false, announced: false });
  }
}

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
  // A chain that was announced stays so until it is gone, and what is said of a set tells more than that its elements changed.
  const announced = is.announced || (before?.announced === true && !before.gone);
  const kind = is.kind === 'elements' && before !== undefined ? before.kind : is.kind;
  table.objects.set(name, { kind, gone: is.gone, announced });
}

function tableOf(touched: Touched, key: string): TouchedTable {
  let table = touched.tables.get(key);
  if (table === undefined) touched.tables.set(key, (table = { whole: false, objects: new Map() }));
  return table;
}
