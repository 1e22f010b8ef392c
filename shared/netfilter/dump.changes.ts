// Which chains of a dump of iptables-save are others than in one that was parsed before, found without parsing it: of 5 MB mostly a few lines have changed.
import { nextDifference, type Places } from './dump.same.ts';
import { bracket, colon, dash, letterA, letterC, lineFeed, space } from './iptables.bytes.ts';
import type { IptablesParsed, IptablesTable } from './iptables.parse.ts';

/** For each table of the dump before, and each of its chains that differs, a dump of that chain alone, or null when it is gone. */
export type DumpChanges = ReadonlyMap<IptablesTable, ReadonlyMap<string, string | null>>;

/**
 * What has changed but for counters and dates. Undefined where that cannot be said so, or is more than `chainsMax` chains: tables that come or go, chains in
 * another order, lines that are none of iptables-save. Both dumps must have the rules of each chain together.
 */
export function changesOfDump(before: IptablesParsed, after: Buffer, chainsMax: number): DumpChanges | undefined {
  const comparison = new Comparison(before, after, chainsMax);
  return comparison.run() ? comparison.changes() : undefined;
}

/** A chain that differs, and where in the dump after. */
interface Changed {
  readonly table: IptablesTable;
  readonly name: string;
  /** Where its declaration begins, if that is another; null: it is gone. */
  declaredAt?: number | null;
  /** Where its rules stand, or would, if these are others. */
  rulesAt?: number;
}

type Line = { readonly kind: 'chain' | 'rule'; readonly name: string } | { readonly kind: 'end' } | { readonly kind: 'other' };
const end: Line = { kind: 'end' };
const other: Line = { kind: 'other' };

class Comparison {
  readonly #parsed: IptablesParsed;
  readonly #was: Buffer;
  readonly #is: Buffer;
  readonly #places: Places = { i: 0, j: 0 };
  readonly #chainsMax: number;
  /** By the number of the table and the name of the chain. */
  readonly #changed = new Map<string, Changed>();

  constructor(before: IptablesParsed, after: Buffer, chainsMax: number) {
    this.#parsed = before;
    this.#was = before.dump.bytes;
    this.#is = after;
    this.#chainsMax = chainsMax;
  }

  /** Whether all that differs could be said. */
  run(): boolean {
    while (nextDifference(this.#was, this.#is, this.#places)) {
      if (!this.#step() || this.#changed.size > this.#chainsMax) return false;
    }
    return this.#places.i >= this.#was.length && this.#places.j >= this.#is.length;
  }

  changes(): DumpChanges | undefined {
    const changes = new Map<IptablesTable, Map<string, string | null>>();
    for (const changed of this.#changed.values()) {
      const text = this.#textOf(changed);
      if (text === undefined) return undefined;
      const own = changes.get(changed.table) ?? new Map<string, string | null>();
      changes.set(changed.table, own.set(changed.name, text));
    }
    return changes;
  }

  /** Passes the lines that differ where both stand. False: what differs is no chain, or none that stands where it did. */
  #step(): boolean {
    const { i, j } = this.#places;
    const table = this.#tableAt(i);
    const [was, is] = [lineAt(this.#was, i), lineAt(this.#is, j)];
    if (table === undefined || was.kind === 'other' || is.kind === 'other') return false;
    if (was.kind === 'chain' || is.kind === 'chain') return this.#declaration(table, was, is);
    return this.#rule(table, was, is);
  }

  #declaration(table: IptablesTable, was: Line, is: Line): boolean {
    const { i, j } = this.#places;
    if (was.kind === 'chain' && is.kind === 'chain') {
      const stands = is.name === was.name ? 'here' : this.#standsLater(table.chains.get(is.name)?.line, i);
      if (stands === 'here') this.#places.i = nextLine(this.#was, i);
      if (stands !== 'later') {
        this.#places.j = nextLine(this.#is, j);
        return stands !== 'before' && this.#mark({ table, name: is.name, declaredAt: j });
      }
    }
    if (was.kind === 'chain') {
      this.#places.i = nextLine(this.#was, i);
      return this.#mark({ table, name: was.name, declaredAt: null });
    }
    this.#places.j = nextLine(this.#is, j);
    return is.kind === 'chain' && !table.chains.has(is.name) && this.#mark({ table, name: is.name, declaredAt: j });
  }

  #rule(table: IptablesTable, was: Line, is: Line): boolean {
    const { i, j } = this.#places;
    if (was.kind === 'rule' && (is.kind !== 'rule' || is.name === was.name || isWithin(this.#was, i, was.name))) return this.#rulesOf(table, was.name);
    if (is.kind !== 'rule') return false;
    if (isWithin(this.#is, j, is.name)) return this.#rulesOf(table, is.name);
    return this.#newRules(table, is.name);
  }

  /** Rules of a chain come in the dump after where others stood before: it had none, or those before it are gone. */
  #newRules(table: IptablesTable, name: string): boolean {
    const chain = table.chains.get(name);
    const stands = this.#standsLater(chain === undefined || chain.length === 0 ? undefined : chain.lineOf(0), this.#places.i);
    if (stands !== 'later') return stands === 'nowhere' && this.#rulesOf(table, name);
    const first = lineAt(this.#was, this.#places.i);
    return first.kind === 'rule' && this.#rulesOf(table, first.name);
  }

  /** The rules of a chain differ: passes those that are left of it. */
  #rulesOf(table: IptablesTable, name: string): boolean {
    const rulesAt = this.#places.j;
    this.#places.i = endOfRules(this.#was, this.#places.i, name);
    this.#places.j = endOfRules(this.#is, this.#places.j, name);
    return this.#mark({ table, name, rulesAt });
  }

  #mark(found: Changed): boolean {
    const key = `${found.table.name} ${found.name}`;
    const known = this.#changed.get(key);
    // What differs at two places does not stand together.
    if (known !== undefined && (found.rulesAt === undefined || known.rulesAt !== undefined)) return false;
    this.#changed.set(key, { ...known, ...found });
    return true;
  }

  /** Where a line (from 1) of the dump before stands, seen from an offset in it. */
  #standsLater(line: number | undefined, from: number): 'nowhere' | 'before' | 'later' {
    if (line === undefined || line === 0) return 'nowhere';
    return (this.#parsed.dump.lineStarts[line - 1] as number) > from ? 'later' : 'before';
  }

  /** The table of a place in the dump before. */
  #tableAt(at: number): IptablesTable | undefined {
    this.#starts ??= startsOf(this.#parsed);
    return this.#starts.findLast(({ start }) => start < at)?.table;
  }
  #starts: readonly { readonly start: number; readonly table: IptablesTable }[] | undefined;

  /** A dump of the chain alone. */
  #textOf({ table, name, declaredAt, rulesAt }: Changed): string | null | undefined {
    const known = table.chains.get(name);
    if (declaredAt === null) return rulesAt === undefined || !isWithin(this.#is, rulesAt, name) ? null : undefined;
    if (declaredAt === undefined && known === undefined) return undefined;
    const { lineStarts } = this.#parsed.dump;
    const declaration = declaredAt === undefined ? lineText(this.#was, lineStarts[(known?.line ?? 1) - 1] as number) : lineText(this.#is, declaredAt);
    // With another policy alone, its rules are those it had.
    const hadAt = known === undefined || known.length === 0 ? undefined : lineStarts[known.lineOf(0) - 1];
    const rules = rulesAt !== undefined ? rulesText(this.#is, name, rulesAt) : hadAt !== undefined ? rulesText(this.#was, name, hadAt) : '';
    return `*${table.name}\n${declaration}\n${rules}COMMIT\n`;
  }
}

/** All rules of a chain that stand around a place. */
function rulesText(dump: Buffer, name: string, at: number): string {
  let start = at;
  while (isWithin(dump, start, name)) start = lineBefore(dump, start);
  return dump.toString('utf8', start, endOfRules(dump, at, name));
}

/** Whether the line before is a rule of the chain too. */
function isWithin(dump: Buffer, at: number, name: string): boolean {
  const line = at === 0 ? other : lineAt(dump, lineBefore(dump, at));
  return line.kind === 'rule' && line.name === name;
}

function startsOf({ dump, tables }: IptablesParsed): readonly { readonly start: number; readonly table: IptablesTable }[] {
  return tables.flatMap((table) => {
    const [first] = table.chains.values();
    return first === undefined ? [] : [{ start: lineBefore(dump.bytes, dump.lineStarts[first.line - 1] as number), table }];
  });
}

function lineAt(dump: Buffer, at: number): Line {
  if (dump[at] === colon) return { kind: 'chain', name: dump.toString('utf8', at + 1, wordEnd(dump, at + 1)) };
  if (dump[at] === letterC && lineText(dump, at) === 'COMMIT') return end;
  const start = dump[at] === bracket ? dump.indexOf('] ', at) + 2 : at;
  if (dump[start] !== dash || dump[start + 1] !== letterA || dump[start + 2] !== space) return other;
  return { kind: 'rule', name: dump.toString('utf8', start + 3, wordEnd(dump, start + 3)) };
}

function endOfRules(dump: Buffer, from: number, name: string): number {
  let at = from;
  for (let line = lineAt(dump, at); line.kind === 'rule' && line.name === name; line = lineAt(dump, at)) at = nextLine(dump, at);
  return at;
}

function wordEnd(dump: Buffer, from: number): number {
  let at = from;
  while (at < dump.length && (dump[at] as number) > space) at++;
  return at;
}

function nextLine(dump: Buffer, at: number): number {
  const found = dump.indexOf(lineFeed, at);
  return found < 0 ? dump.length : found + 1;
}

/** Where the line before the one that begins at an offset begins. */
const lineBefore = (dump: Buffer, at: number): number => (at < 2 ? 0 : dump.lastIndexOf(lineFeed, at - 2) + 1);

const lineText = (dump: Buffer, at: number): string => dump.toString('utf8', at, nextLine(dump, at)).trimEnd();
