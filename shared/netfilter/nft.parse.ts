// Reads `nft -j list ruleset` (or `list table`): tables, chains, sets and rules of native nf_tables. Rules and elements are decoded when first asked for.
import { decodeElements, typeNames } from './nft.element.ts';
import type { TableScope } from './nft.field.ts';
import { asList, isList, isObject, type Json, type JsonObject, member, named, numberMember, textMember, tooDeep, wordsMember } from './nft.json.ts';
import { isManagedByIptables } from './nft.managed.ts';
import { readListing } from './nft.salvage.ts';
import { decodeStatements } from './nft.statement.ts';
import { renderRule } from './nft.text.ts';
import type { Counter, Hook, NftElement, Rule, TableFamily } from './rule.ts';
import type { BaseChain, Chain, Issue, NftSet, Parsed, Table } from './ruleset.ts';

/** How to read a listing. */
export interface NftOptions {
  /** False reads the tables of iptables-nft too. They are left out otherwise: iptables-save shows them whole, nft leaves extensions such as DNAT out. */
  readonly skipIptablesTables?: boolean;
  /** True when the listing was taken without elements (`nft -t`): sets are then not complete. */
  readonly terse?: boolean;
  /** The table that the listing shows some chains of: they may name its maps. Asked when rules are decoded. */
  readonly within?: () => Table;
}

/** A table by the kernel's name for it. */
export interface TableName {
  readonly family: TableFamily;
  readonly name: string;
}

/** The tables of a listing, and those that belong to iptables-nft and were left to iptables-save. */
export interface NftParsed extends Parsed {
  readonly skipped: readonly TableName[];
  /** True when the text is no whole listing: it is cut off, damaged, or something else. */
  readonly broken?: boolean;
}

/**
 * Parses the JSON that nft prints. Never throws: text that is no JSON is an issue with its line, and the whole objects before the fault are kept. Every
 * object is a table, chain, set, map or rule, an issue, or of a kind that decides nothing (counters, quotas, flowtables …).
 */
export function parseNft(text: string, options: NftOptions = {}): NftParsed {
  const { objects, issues } = readListing(text);
  const reading: Reading = { tables: new Map(), issues };
  const broken = issues.length > 0;
  for (const object of objects) readObject(object, reading);
  return { ...finishTables([...reading.tables.values()], issues, options), ...(broken && { broken }) };
}

/** Makes tables of what was read, whichever form of listing it was read from, and leaves out those of iptables-nft. */
export function finishTables(all: readonly RawTable[], issues: readonly Issue[], options: NftOptions): NftParsed {
  const managed = options.skipIptablesTables === false ? [] : all.filter(isManagedByIptables);
  const tables = all.filter((table) => !managed.includes(table)).map((table) => finishTable(table, options));
  return { tables, issues, skipped: managed.map(({ family, name }) => ({ family, name })) };
}

/** A table as read, before its sets and rules are decoded. */
export interface RawTable extends TableName {
  flags: readonly string[];
  readonly chains: Map<string, RawChain>;
  readonly sets: Map<string, RawSet>;
}

/** A chain as read, with its rules in order. `line` is 0 in JSON. */
export interface RawChain {
  readonly name: string;
  readonly base?: BaseChain;
  readonly line: number;
  readonly rules: RawRule[];
}

/** A rule as `nft -j` prints it: its statements in `expr`, and `comment` and `handle` where it has them. */
export interface RawRule {
  readonly json: JsonObject;
  /** Where and how the rule stands in a listing in text; absent in JSON. */
  readonly written?: { readonly line: number; readonly text: string };
}

/** A set or map as `nft -j` prints it. */
export interface RawSet {
  readonly kind: 'set' | 'map';
  readonly json: JsonObject;
  /** True when elements may be missing. */
  readonly cut?: boolean;
}

interface Reading {
  readonly tables: Map<string, RawTable>;
  readonly issues: Issue[];
}

/** Objects that decide nothing by themselves: statements that use them say so. */
const ignorable: ReadonlySet<string> = new Set([
  'metainfo',
  'flowtable',
  'counter',
  'quota',
  'limit',
  'ct helper',
  'ct timeout',
  'ct expectation',
  'secmark',
  'synproxy',
  'meter',
]);

function readObject(object: Json, reading: Reading): void {
  const found = named(object);
  if (found === undefined || !isObject(found.value)) return report(object, 'not an object of an nft listing', reading);
  const { kind, value } = found;
  switch (kind) {
    case 'table':
      return readTable(value, reading);
    case 'chain':
      return readChain(value, reading);
    case 'rule':
      return readRule(value, reading);
    case 'set':
    case 'map':
      return readSet(kind, value, reading);
    default:
      if (!ignorable.has(kind)) report(object, `unknown kind of object: ${kind}`, reading);
  }
}

function report(object: Json, reason: string, { issues }: Reading): void {
  issues.push({ line: 0, text: tooDeep(object) ? '…' : JSON.stringify(object).slice(0, 200), reason });
}

const families: ReadonlySet<string> = new Set<TableFamily>(['ip', 'ip6', 'inet', 'arp', 'bridge', 'netdev']);

function readTable(value: JsonObject, reading: Reading): void {
  const table = openTable(value, 'name', reading);
  if (table === undefined) return report({ table: value }, 'a table needs a family and a name', reading);
  table.flags = wordsMember(value, 'flags').filter((flag) => tableFlags.has(flag));
  // nft 1.0.6 prints freed memory here.
  if (value['flags'] !== undefined && table.flags.length === 0) report({ table: value }, 'cannot read the flags of the table: it may be dormant', reading);
}

const tableFlags: ReadonlySet<string> = new Set(['dormant', 'owner', 'persist']);

/** The table that an object names; a listing of a single chain shows objects of a table that it does not declare. */
function openTable(value: JsonObject, nameKey: 'name' | 'table', { tables }: Reading): RawTable | undefined {
  const family = textMember(value, 'family');
  const name = textMember(value, nameKey);
  if (family === undefined || name === undefined || !families.has(family)) return undefined;
  const key = `${family} ${name}`;
  const known = tables.get(key);
  if (known !== undefined) return known;
  const table: RawTable = { family: family as TableFamily, name, flags: [], chains: new Map(), sets: new Map() };
  tables.set(key, table);
  return table;
}

function readChain(value: JsonObject, reading: Reading): void {
  const name = textMember(value, 'name');
  const table = openTable(value, 'table', reading);
  if (table === undefined || name === undefined) return report({ chain: value }, 'a chain needs a family, a table and a name', reading);
  if (table.chains.has(name)) return report({ chain: value }, 'the chain is listed twice', reading);
  const base = readBase(value);
  if (base === undefined && textMember(value, 'hook') !== undefined) report({ chain: value }, 'cannot read the hook, type or priority of the chain', reading);
  table.chains.set(name, { name, ...(base && { base }), line: 0, rules: [] });
}

const hooks: ReadonlySet<string> = new Set<Hook>(['ingress', 'prerouting', 'input', 'forward', 'output', 'postrouting', 'egress']);
const chainTypes: ReadonlySet<string> = new Set<BaseChain['type']>(['filter', 'nat', 'route']);

function readBase(value: JsonObject): BaseChain | undefined {
  const hook = textMember(value, 'hook');
  const type = textMember(value, 'type');
  const priority = numberMember(value, 'prio');
  if (hook === undefined || type === undefined || priority === undefined || !hooks.has(hook) || !chainTypes.has(type)) return undefined;
  const devices = wordsMember(value, 'dev');
  const policy = textMember(value, 'policy') === 'drop' ? 'drop' : 'accept';
  return { hook: hook as Hook, priority, type: type as BaseChain['type'], policy, ...(devices.length > 0 && { devices }) };
}

function readRule(value: JsonObject, reading: Reading): void {
  const chain = openTable(value, 'table', reading)?.chains.get(textMember(value, 'chain') ?? '');
  if (chain === undefined) return report({ rule: value }, 'the rule belongs to no chain of the listing', reading);
  if (!isList(value['expr'])) return report({ rule: value }, 'the rule has no statements', reading);
  chain.rules.push({ json: value });
}

function readSet(kind: 'set' | 'map', value: JsonObject, reading: Reading): void {
  const name = textMember(value, 'name');
  const table = openTable(value, 'table', reading);
  if (table === undefined || name === undefined) return report({ [kind]: value }, 'a set needs a family, a table and a name', reading);
  if (table.sets.has(name)) return report({ [kind]: value }, 'the set is listed twice', reading);
  table.sets.set(name, { kind, json: value });
}

function finishTable(raw: RawTable, options: NftOptions): Table {
  const { family, name } = raw;
  const scope: TableScope = { family, valueTypes: (map) => valueTypes(raw.sets.get(map)) ?? knownValueTypes(options.within?.(), map) };
  const chains = new Map<string, Chain>();
  for (const chain of raw.chains.values()) chains.set(chain.name, new LazyChain(chain, { table: name, scope }));
  const sets = new Map<string, NftSet>();
  for (const [setName, set] of raw.sets) sets.set(setName, new LazySet(setName, set, options));
  return { backend: 'nft', family, name, chains, sets, flags: raw.flags };
}

function knownValueTypes(table: Table | undefined, map: string): readonly string[] | undefined {
  const set = table?.sets.get(map);
  return set instanceof LazySet ? set.values : undefined;
}

function valueTypes(set: RawSet | undefined): string[] | undefined {
  return set?.kind === 'map' ? typeNames(set.json['map']) : undefined;
}

/** The place of a chain, and what decoding its rules needs. */
interface ChainContext {
  readonly table: string;
  readonly scope: TableScope;
}

class LazyChain implements Chain {
  readonly name: string;
  readonly base?: BaseChain;
  readonly line: number;
  readonly #rules: readonly RawRule[];
  readonly #decoded: (Rule | undefined)[] = [];
  readonly #context: ChainContext;

  constructor(chain: RawChain, context: ChainContext) {
    this.name = chain.name;
    if (chain.base !== undefined) this.base = chain.base;
    this.line = chain.line;
    this.#rules = chain.rules;
    this.#context = context;
  }

  get length(): number {
    return this.#rules.length;
  }

  rule(index: number): Rule {
    const known = this.#decoded[index];
    if (known !== undefined) return known;
    const rule = this.#decode(this.#raw(index), index);
    this.#decoded[index] = rule;
    return rule;
  }

  text(index: number): string {
    const { json, written } = this.#raw(index);
    return written?.text ?? renderRule(json['expr'] ?? [], this.#context.scope.family, textMember(json, 'comment'));
  }

  #raw(index: number): RawRule {
    const rule = this.#rules[index];
    if (rule === undefined) throw new RangeError(`chain ${this.name} has no rule at ${index}`);
    return rule;
  }

  #decode({ json, written }: RawRule, index: number): Rule {
    const { table, scope } = this.#context;
    const handle = numberMember(json, 'handle');
    const comment = textMember(json, 'comment');
    const counter = readCounter(json['expr'] ?? []);
    const place = {
      backend: 'nft',
      family: scope.family,
      table,
      chain: this.name,
      number: index + 1,
      line: written?.line ?? 0,
      ...(handle !== undefined && { handle }),
    } as const;
    const steps = decodeStatements(json['expr'] ?? [], scope);
    return { place, text: this.text(index), steps, ...(comment !== undefined && { comment }), ...(counter && { counter }) };
  }
}

function readCounter(statements: Json): Counter | undefined {
  for (const statement of asList(statements)) {
    const counter = member(statement, 'counter');
    const packets = numberMember(counter, 'packets');
    const bytes = numberMember(counter, 'bytes');
    if (packets !== undefined && bytes !== undefined) return { packets: BigInt(Math.trunc(packets)), bytes: BigInt(Math.trunc(bytes)) };
  }
  return undefined;
}

class LazySet implements NftSet {
  readonly name: string;
  readonly kind: NftSet['kind'];
  readonly type: readonly string[];
  readonly flags: readonly string[];
  readonly complete: boolean;
  readonly #json: JsonObject;
  /** Types of the values of a map. */
  readonly values: readonly string[] | undefined;
  #elements: readonly NftElement[] | undefined;

  constructor(name: string, set: RawSet, { terse }: NftOptions) {
    this.name = name;
    this.type = typeNames(set.json['type']);
    this.flags = wordsMember(set.json, 'flags');
    this.complete = terse !== true && set.cut !== true;
    this.#json = set.json;
    this.values = valueTypes(set);
    this.kind = set.kind === 'set' ? 'set' : this.values?.[0] === 'verdict' ? 'vmap' : 'map';
  }

  get elements(): readonly NftElement[] {
    this.#elements ??= decodeElements(this.#json['elem'], { key: this.type, ...(this.values && { value: this.values }) });
    return this.#elements;
  }
}
