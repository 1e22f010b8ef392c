// Reads what `nft list ruleset` or `nft list table` prints as text, where its JSON is not to be had: the same tables, chains, sets and steps.
import type { Json, JsonObject } from './nft.json.ts';
import { finishTables, type NftOptions, type NftParsed, type RawChain, type RawRule, type RawTable } from './nft.parse.ts';
import { Cursor } from './nft.text.cursor.ts';
import { readCalculation } from './nft.text.expression.ts';
import { type Piece, piecesOf } from './nft.text.scan.ts';
import { readRuleText } from './nft.text.statement.ts';
import { durationSeconds, readElements } from './nft.text.value.ts';
import type { Hook, TableFamily } from './rule.ts';
import type { BaseChain, Issue } from './ruleset.ts';

/** A listing in text. `kinds` has a value of `textLine` for each line, from the first on: `printLines` writes the listing back from them. */
export interface NftTextParsed extends NftParsed {
  readonly kinds: Uint8Array;
}

/** What a line of a listing is. Lines of kind 0 were not looked at: there are none. */
export const textLine = { blank: 1, comment: 2, structure: 3, property: 4, rule: 5, elements: 6, ignorable: 7, issue: 8 } as const;

type LineKind = keyof typeof textLine;

/**
 * Parses the text that nft prints, with or without handles (`-a`). Never throws: a line that is not understood is an issue with its number, a rule that is
 * read in part ends in a step that says so, and the rest goes on.
 */
export function parseNftText(text: string, options: NftOptions = {}): NftTextParsed {
  const reading = new Reading(text);
  for (const piece of piecesOf(text)) reading.read(piece);
  reading.end();
  const { tables, skipped } = finishTables([...reading.tables.values()], reading.issues, options);
  const warned = options.skipIptablesTables === false ? [] : tables.filter(({ family, name }) => reading.managed.has(`${family} ${name}`));
  return {
    tables: tables.filter((table) => !warned.includes(table)),
    skipped: [...skipped, ...warned.map(({ family, name }) => ({ family, name }))],
    issues: reading.issues,
    kinds: reading.kinds(),
  };
}

interface OpenSet {
  readonly kind: 'set' | 'map';
  readonly name: string;
  readonly properties: Record<string, Json>;
  elements: string | undefined;
  cut: boolean;
}

type Block =
  | { readonly kind: 'chain'; readonly chain: RawChain }
  | { readonly kind: 'set'; readonly set: OpenSet }
  /** A block that decides nothing by itself: what is in it is passed over. */
  | { readonly kind: 'other'; depth: number };

/** What was read so far, and the table and block that are open. */
class Reading {
  readonly tables = new Map<string, RawTable>();
  readonly issues: Issue[] = [];
  /** Tables that nft warns of: another program keeps them. */
  readonly managed = new Set<string>();
  readonly #kinds: number[] = [];
  readonly #text: string;
  #table: RawTable | undefined;
  #tableLine = 0;
  #block: Block | undefined;

  constructor(text: string) {
    this.#text = text;
  }

  read(piece: Piece): void {
    if (piece.fault !== undefined) {
      this.#report(piece, piece.fault);
      if (this.#block?.kind !== 'chain') return this.#readCut(piece);
    }
    switch (piece.kind) {
      case 'comment':
        return this.#readComment(piece);
      case 'open':
        return this.#open(piece);
      case 'close':
        return this.#close(piece);
      case 'statement':
        return this.#readStatement(piece);
    }
  }

  end(): void {
    const table = this.#table;
    if (table === undefined) return;
    this.#closeBlock(true);
    this.issues.push({ line: this.#tableLine, text: `table ${table.family} ${table.name}`, reason: 'the listing is truncated: the table is not closed' });
  }

  /** Lines without a piece are blank. */
  kinds(): Uint8Array {
    const count = lineCount(this.#text);
    const kinds = new Uint8Array(count);
    for (let line = 0; line < count; line++) kinds[line] = this.#kinds[line] ?? textLine.blank;
    return kinds;
  }

  #claim({ line, lastLine }: Piece, kind: LineKind): void {
    for (let at = line; at <= lastLine; at++) this.#kinds[at - 1] = textLine[kind];
  }

  #report(piece: Piece, reason: string): void {
    this.issues.push({ line: piece.line, text: piece.text.slice(0, 200), reason });
    this.#claim(piece, 'issue');
  }

  /** Elements that were cut off: those that are whole are kept. */
  #readCut(piece: Piece): void {
    const block = this.#block;
    if (block?.kind !== 'set') return;
    block.set.cut = true;
    if (elementsHead.test(piece.text)) block.set.elements = piece.text.replace(elementsHead, '');
  }

  #readComment(piece: Piece): void {
    this.#claim(piece, 'comment');
    const [, family, name] = /^Warning: table (\S+) (\S+) is managed by iptables-nft/.exec(piece.comment) ?? [];
    if (family !== undefined) this.managed.add(`${family} ${name}`);
    // A rule of extensions alone is printed as nothing but its handle.
    if (this.#block?.kind === 'chain' && /^(?:handle \d+$|xt_)/.test(piece.comment)) this.#addRule(this.#block.chain, piece);
  }

  #open(piece: Piece): void {
    this.#claim(piece, 'structure');
    const [word = '', ...names] = piece.text.split(/\s+/);
    if (word === 'table') return this.#openTable(piece, names);
    if (this.#block?.kind === 'other') {
      this.#block.depth++;
      return;
    }
    if (this.#block !== undefined) {
      this.#report(piece, 'the block before it is not closed');
      this.#closeBlock(true);
    }
    const table = this.#table;
    if (table === undefined) this.#report(piece, 'it stands in no table');
    const name = names.at(-1) ?? '';
    if (table !== undefined && word === 'chain') this.#openChain(table, name, piece);
    else if (table !== undefined && (word === 'set' || word === 'map')) {
      this.#block = { kind: 'set', set: { kind: word, name, properties: {}, elements: undefined, cut: false } };
    } else this.#block = { kind: 'other', depth: 1 };
  }

  #openTable(piece: Piece, names: readonly string[]): void {
    if (this.#table !== undefined) {
      this.#report(piece, `the table ${this.#table.name} before it is not closed`);
      this.#closeBlock(true);
      this.#table = undefined;
    }
    this.#block = undefined;
    const [family = '', name = ''] = names.length > 1 ? names : ['ip', names[0]];
    this.#tableLine = piece.line;
    if (!families.has(family)) {
      this.#report(piece, `unknown family of a table: ${family}`);
      this.#block = { kind: 'other', depth: 1 };
      return;
    }
    const key = `${family} ${name}`;
    const known = this.tables.get(key);
    if (known !== undefined) this.#report(piece, 'the table is listed twice');
    this.#table = known ?? { family: family as TableFamily, name, flags: [], chains: new Map(), sets: new Map() };
    this.tables.set(key, this.#table);
  }

  #openChain(table: RawTable, name: string, piece: Piece): void {
    const known = table.chains.get(name);
    if (known !== undefined) this.#report(piece, 'the chain is listed twice');
    const chain: RawChain = known ?? { name, line: piece.line, rules: [] };
    table.chains.set(name, chain);
    this.#block = { kind: 'chain', chain };
  }

  #close(piece: Piece): void {
    this.#claim(piece, 'structure');
    const block = this.#block;
    if (block?.kind === 'other' && --block.depth > 0) return;
    if (block !== undefined) this.#closeBlock(false);
    else if (this.#table !== undefined) this.#table = undefined;
    else this.#report({ ...piece, text: '}' }, 'a brace that closes nothing');
  }

  #closeBlock(cut: boolean): void {
    const block = this.#block;
    this.#block = undefined;
    if (block?.kind !== 'set' || this.#table === undefined) return;
    const { kind, name, properties, elements } = block.set;
    if (this.#table.sets.has(name)) return;
    const json = elements === undefined ? properties : withElements(properties, elements);
    this.#table.sets.set(name, { kind, json, cut: cut || block.set.cut });
  }

  #readStatement(piece: Piece): void {
    const block = this.#block;
    if (block?.kind === 'chain') return this.#readChainLine(block.chain, piece);
    if (block?.kind === 'set') return this.#readSetLine(block.set, piece);
    if (block?.kind === 'other') return this.#claim(piece, 'ignorable');
    if (this.#table === undefined) return this.#report(piece, 'not a line of an nft listing');
    this.#claim(piece, 'property');
    const [word = '', ...rest] = piece.text.split(/[\s,]+/);
    if (word === 'flags') this.#table.flags = rest.filter((flag) => tableFlags.has(flag));
    else if (word !== 'comment') this.#report(piece, 'not a line of a table');
  }

  #readChainLine(chain: RawChain, piece: Piece): void {
    const { text } = piece;
    if (/^type\s+\S+\s+hook\s/.test(text)) return this.#readBase(chain, piece);
    const policy = /^policy\s+(accept|drop)$/.exec(text)?.[1];
    if (policy !== undefined && chain.base !== undefined) {
      this.#claim(piece, 'property');
      this.#setBase(chain, { ...chain.base, policy: policy as BaseChain['policy'] });
    } else if (chain.rules.length === 0 && /^(?:comment\s+"[^"]*"$|flags\s+offload$|policy\s|devices\s*=)/.test(text)) this.#claim(piece, 'property');
    else this.#addRule(chain, piece);
  }

  #readBase(chain: RawChain, piece: Piece): void {
    this.#claim(piece, 'property');
    const base = readBase(piece.text, this.#table?.family ?? 'ip');
    if (base === undefined) this.#report(piece, 'cannot read the hook, type or priority of the chain');
    else this.#setBase(chain, base);
  }

  #setBase(chain: RawChain, base: BaseChain): void {
    const replaced: RawChain = { ...chain, base };
    this.#table?.chains.set(chain.name, replaced);
    this.#block = { kind: 'chain', chain: replaced };
  }

  /** Read once to tell what is not understood; read again when somebody asks for its steps. */
  #addRule(chain: RawChain, piece: Piece): void {
    if (piece.fault === undefined) this.#claim(piece, 'rule');
    const { fault } = readRuleText(piece.text);
    if (fault !== undefined && piece.fault === undefined) this.#report(piece, fault);
    chain.rules.push(new TextRule(piece));
  }

  #readSetLine(set: OpenSet, piece: Piece): void {
    const { text } = piece;
    if (elementsHead.test(text)) {
      this.#claim(piece, 'elements');
      set.elements = text.replace(elementsHead, '');
      const { fault } = elementsOf(set.elements);
      if (fault === undefined) return;
      set.cut = true;
      return this.#report(piece, fault);
    }
    this.#claim(piece, 'property');
    const read = setProperty(set, text);
    if (!read) this.#report(piece, `not a line of a ${set.kind}`);
  }
}

const elementsHead = /^elements\s*=\s*/;
const tableFlags: ReadonlySet<string> = new Set(['dormant', 'owner', 'persist']);
const families: ReadonlySet<string> = new Set<TableFamily>(['ip', 'ip6', 'inet', 'arp', 'bridge', 'netdev']);

function lineCount(text: string): number {
  let count = text === '' || text.endsWith('\n') ? 0 : 1;
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) count++;
  return count;
}

/** A rule's text, whose statements are read each time they are asked for: chains keep what they decode. */
class TextRule implements RawRule {
  readonly #text: string;
  readonly #comment: string;
  readonly #line: number;

  constructor({ text, comment, line }: Piece) {
    this.#text = text;
    this.#comment = comment;
    this.#line = line;
  }

  get json(): JsonObject {
    const { expr, comment } = readRuleText(this.#text);
    const handle = /(?:^|\s)handle (\d{1,15})$/.exec(this.#comment)?.[1];
    const lost = [...this.#comment.matchAll(/xt_(\S+)/g)].map(([, name = '']) => ({ xt: { type: 'extension', name } }));
    const all = this.#text === '' && lost.length === 0 ? [{ xt: null }] : [...expr, ...lost];
    return { expr: all, ...(comment !== undefined && { comment }), ...(handle !== undefined && { handle: Number(handle) }) };
  }

  get written(): { readonly line: number; readonly text: string } {
    return { line: this.#line, text: this.#text };
  }
}

/** Elements are read when they are asked for. */
function withElements(properties: Record<string, Json>, elements: string): JsonObject {
  return Object.defineProperty(properties, 'elem', { enumerable: true, get: () => elementsOf(elements).elements });
}

function elementsOf(text: string): { readonly elements: readonly Json[]; readonly fault?: string } {
  const cursor = new Cursor(text);
  const elements = readElements(cursor);
  if (cursor.fault === undefined && !cursor.ended) cursor.fail('there is more behind the elements');
  // The element at the fault is not whole.
  return cursor.fault === undefined ? { elements } : { elements: elements.slice(0, -1), fault: cursor.fault };
}

const hooks: ReadonlySet<string> = new Set<Hook>(['ingress', 'prerouting', 'input', 'forward', 'output', 'postrouting', 'egress']);
const chainTypes: ReadonlySet<string> = new Set<BaseChain['type']>(['filter', 'nat', 'route']);

/** `type nat hook prerouting device "eth0" priority dstnat + 10`; the policy follows in a statement of its own. */
function readBase(text: string, family: TableFamily): BaseChain | undefined {
  const [, type = '', hook = '', device, devices, priorityText = ''] =
    /^type\s+(\S+)\s+hook\s+(\S+)\s+(?:device\s+("[^"]*"|\S+)\s+|devices\s*=\s*\{([^}]*)\}\s+)?priority\s+(.+)$/.exec(text) ?? [];
  const priority = readPriority(priorityText, family);
  if (!hooks.has(hook) || !chainTypes.has(type) || priority === undefined) return undefined;
  const names = (device ?? devices ?? '').split(',').flatMap((name) => name.replaceAll('"', '').trim() || []);
  return { hook: hook as Hook, priority, type: type as BaseChain['type'], policy: 'accept', ...(names.length > 0 && { devices: names }) };
}

/** A number, or a name with an offset: `dstnat - 10`. */
function readPriority(text: string, family: TableFamily): number | undefined {
  const [, name, number, sign, offset = '0'] = /^(?:([a-z]+)|([+-]?\d{1,10}))(?:\s*([+-])\s*(\d{1,10}))?$/.exec(text.trim()) ?? [];
  const base = number === undefined ? (family === 'bridge' ? bridgePriorities : priorities).get(name ?? '') : Number(number);
  return base === undefined ? undefined : base + (sign === '-' ? -1 : 1) * Number(offset);
}

const priorities: ReadonlyMap<string, number> = new Map([
  ['raw', -300],
  ['mangle', -150],
  ['dstnat', -100],
  ['filter', 0],
  ['security', 50],
  ['srcnat', 100],
]);
const bridgePriorities: ReadonlyMap<string, number> = new Map([
  ['dstnat', -300],
  ['filter', -200],
  ['out', 100],
  ['srcnat', 300],
]);

/** Reads one line of a set's or map's declaration; false when it is none. */
function setProperty({ kind, properties }: OpenSet, text: string): boolean {
  const [, word = '', value = ''] = /^(\S+)\s*(.*)$/s.exec(text) ?? [];
  switch (word) {
    case 'type':
    case 'typeof':
      return setType({ kind, properties }, word, value);
    case 'flags':
      properties['flags'] = value.split(/[\s,]+/);
      return true;
    case 'timeout':
    case 'gc-interval':
      properties[word] = durationSeconds(value) ?? 0;
      return true;
    default:
      return ignorableProperties.has(word);
  }
}

const ignorableProperties: ReadonlySet<string> = new Set(['size', 'policy', 'auto-merge', 'comment', 'counter', 'limit', 'quota', 'ct', 'last']);

/** `type ipv4_addr . inet_service : verdict`, or expressions after `typeof`. */
function setType({ kind, properties }: Pick<OpenSet, 'kind' | 'properties'>, word: 'type' | 'typeof', value: string): boolean {
  const colon = kind === 'map' ? value.lastIndexOf(' : ') : -1;
  const key = colon < 0 ? value : value.slice(0, colon);
  const data = colon < 0 ? undefined : value.slice(colon + 3).trim();
  const keyType = word === 'type' ? typeWords(key) : typeExpressions(key);
  const dataType = data === undefined ? null : data === 'verdict' || word === 'type' ? typeWords(data) : typeExpressions(data);
  if (keyType === undefined || dataType === undefined) return false;
  properties['type'] = keyType;
  if (data !== undefined) properties['map'] = dataType;
  return kind === 'set' || data !== undefined;
}

function typeWords(text: string): Json {
  const words = text
    .replace(/^interval\s+/, '')
    .trim()
    .split(/\s+\.\s+/);
  return words.length === 1 ? (words[0] ?? '') : words;
}

function typeExpressions(text: string): Json | undefined {
  const cursor = new Cursor(text.replace(/^interval\s+/, ''));
  const parts = [readCalculation(cursor)];
  while (cursor.accept('.')) parts.push(readCalculation(cursor));
  if (cursor.fault !== undefined || !cursor.ended) return undefined;
  return { typeof: parts.length === 1 ? (parts[0] ?? null) : { concat: parts } };
}
