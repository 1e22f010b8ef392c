// The text of one nft rule as the statements that `nft -j` prints for it, so that one decoder reads both.
import { asList, type Json, type JsonObject, member, named, textMember } from './nft.json.ts';
import { Cursor } from './nft.text.cursor.ts';
import { readCalculation, readConcatenation, readData, readExpression, startsExpression } from './nft.text.expression.ts';
import { durationSeconds, readCounter, readElementOptions, readValue, wordValue } from './nft.text.value.ts';

/** A rule as JSON has it. */
export interface ReadRule {
  readonly expr: readonly Json[];
  readonly comment?: string;
  /** Why the rest of the rule was not read; the rest is then the last of `expr`, as text. */
  readonly fault?: string;
}

/** Reads a rule. Never throws: from the first statement that is not understood on, the rest is kept as text. */
export function readRuleText(text: string): ReadRule {
  const cursor = new Cursor(text);
  const expr: Json[] = [];
  let comment: string | undefined;
  while (!cursor.ended) {
    const { start } = cursor.token;
    if (cursor.is('comment') && cursor.second.kind === 'string') {
      cursor.take();
      comment = cursor.take().text;
      continue;
    }
    const statement = readStatement(cursor);
    const fault = cursor.fault;
    if (fault !== undefined) return { expr: [...expr, text.slice(start)], fault };
    expr.push(statement);
  }
  return { expr, ...(comment !== undefined && { comment }) };
}

function readStatement(cursor: Cursor): Json {
  const { kind, text } = cursor.token;
  const read = kind === 'word' ? statements.get(text) : undefined;
  if (read !== undefined) return read(cursor);
  if (text === 'ct' && kind === 'word') return readConntrack(cursor);
  if (startsExpression(cursor)) return readMatch(cursor);
  cursor.fail(`${JSON.stringify(text.slice(0, 40))} begins no statement that is known`);
  return null;
}

const bare = (cursor: Cursor): Json => ({ [cursor.take().text]: null });

/** Readers of statements by their first word, which is next. */
const statements: ReadonlyMap<string, (cursor: Cursor) => Json> = new Map<string, (cursor: Cursor) => Json>([
  ['accept', bare],
  ['drop', bare],
  ['return', bare],
  ['continue', bare],
  ['notrack', bare],
  ['jump', readJump],
  ['goto', readJump],
  ['reject', readReject],
  ['counter', readCounterStatement],
  ['log', readLog],
  ['limit', readLimit],
  ['quota', readQuota],
  ['last', readLast],
  ['dnat', readNat],
  ['snat', readNat],
  ['masquerade', readNat],
  ['redirect', readNat],
  ['tproxy', readNat],
  ['queue', readQueue],
  ['synproxy', readSynproxy],
  ['flow', readFlow],
  ['dup', readDuplicate],
  ['fwd', readDuplicate],
  ['add', readSetUpdate],
  ['update', readSetUpdate],
  ['delete', readSetUpdate],
  ['meter', readMeter],
  ['xt', readExtension],
]);

/** A jump into a chain that is written in the rule is a statement that JSON prints as text, too. */
function readJump(cursor: Cursor): Json {
  const { start } = cursor.token;
  const kind = cursor.take().text;
  if (!cursor.is('{')) return { [kind]: { target: cursor.word('a chain') } };
  let depth = 0;
  let end = start;
  do {
    depth += cursor.is('{') ? 1 : cursor.is('}') ? -1 : 0;
    end = cursor.take().end;
  } while (depth > 0 && !cursor.ended);
  if (depth > 0) cursor.fail('a brace is not closed');
  return cursor.text.slice(start, end);
}

/** `reject`, `reject with tcp reset`, `reject with icmp host-unreachable`; older releases write `icmp type …`. */
function readReject(cursor: Cursor): Json {
  cursor.take();
  if (!cursor.accept('with')) return { reject: null };
  const type = cursor.word('what to reject with');
  if (type === 'tcp') {
    cursor.expect('reset');
    return { reject: { type: 'tcp reset' } };
  }
  cursor.accept('type');
  return { reject: { type, expr: wordValue(cursor.word('a reason')) } };
}

function readCounterStatement(cursor: Cursor): Json {
  if (cursor.second.text !== 'name') return { counter: readCounter(cursor) };
  cursor.take();
  return { counter: readObject(cursor) };
}

/** `name "x"`, or a map that yields the name. */
function readObject(cursor: Cursor): Json {
  cursor.expect('name');
  return cursor.token.kind === 'string' ? cursor.take().text : readExpression(cursor);
}

function readLog(cursor: Cursor): Json {
  cursor.take();
  const options: Record<string, Json> = {};
  while (cursor.token.kind === 'word' && logOptions.has(cursor.token.text)) {
    const name = cursor.take().text;
    options[name] = name === 'flags' ? readLogFlags(cursor) : readValue(cursor);
  }
  return { log: Object.keys(options).length === 0 ? null : options };
}

const logOptions: ReadonlySet<string> = new Set(['prefix', 'level', 'group', 'snaplen', 'queue-threshold', 'flags']);

/** `all`, or kinds such as `skuid`, `tcp sequence,options`, `ip options`; each kind may come with a `flags` of its own. */
function readLogFlags(cursor: Cursor): Json {
  const kind = cursor.word('a flag of log');
  if (kind !== 'tcp' && kind !== 'ip') return kind;
  return readWords(cursor).map((word) => `${kind} ${word}`);
}

function readWords(cursor: Cursor): string[] {
  const found = [cursor.word('a word')];
  while (cursor.accept(',')) found.push(cursor.word('a word'));
  return found;
}

/** `limit rate over 10 mbytes/second burst 5 mbytes`. */
function readLimit(cursor: Cursor): Json {
  cursor.take();
  if (cursor.is('name')) return { limit: readObject(cursor) };
  cursor.expect('rate');
  const inv = cursor.accept('over');
  const [amount = '', ...rest] = cursor.word('a rate').split('/');
  const [unit = '', per] = rest.length > 0 ? ['packets', rest[0]] : cursor.word('the unit of a rate').split('/');
  if (!/^\d+$/.test(amount) || per === undefined) cursor.fail('a rate needs a number and a time');
  const burst = cursor.accept('burst') ? { burst: readValue(cursor), burst_unit: cursor.word('the unit of a burst') } : {};
  return { limit: { rate: Number(amount), per: per ?? '', rate_unit: unit, ...burst, ...(inv && { inv }) } };
}

function readQuota(cursor: Cursor): Json {
  cursor.take();
  if (cursor.is('name')) return { quota: readObject(cursor) };
  const inv = cursor.accept('over');
  if (!inv) cursor.accept('until');
  const val = readValue(cursor);
  const unit = cursor.word('the unit of a quota');
  const used = cursor.accept('used') ? { used: readValue(cursor), used_unit: cursor.word('the unit of a quota') } : {};
  return { quota: { val, val_unit: unit, ...used, ...(inv && { inv }) } };
}

function readLast(cursor: Cursor): Json {
  cursor.take();
  if (!cursor.accept('used')) return { last: null };
  return { last: { used: durationSeconds(cursor.word('a duration')) ?? 0 } };
}

const natTypes: ReadonlySet<string> = new Set(['addr', 'port', '.', 'interval', 'prefix']);

/** `dnat ip to 10.0.0.1:80 random,persistent`, `snat ip prefix to …`, `redirect to :80`, `dnat ip addr . port to KEY map @m`. */
function readNat(cursor: Cursor): Json {
  const kind = cursor.take().text;
  const family = cursor.is('ip') || cursor.is('ip6') ? cursor.take().text : undefined;
  const types: string[] = [];
  while (cursor.token.kind === 'word' && natTypes.has(cursor.token.text)) types.push(cursor.take().text);
  const target = cursor.accept('to') ? readNatTarget(cursor) : {};
  const flags = cursor.token.kind === 'word' && natFlags.has(cursor.token.text) ? readWords(cursor) : [];
  const prefix = types.includes('prefix') ? { type_flags: 'prefix' } : {};
  const value: JsonObject = { ...(family !== undefined && { family }), ...target, ...(flags.length > 0 && { flags }), ...prefix };
  return { [kind]: Object.keys(value).length === 0 ? null : value };
}

const natFlags: ReadonlySet<string> = new Set(['random', 'fully-random', 'persistent', 'netmap']);

/** An address or a map, and a port behind a colon that belongs to the same word or stands alone. */
function readNatTarget(cursor: Cursor): JsonObject {
  if (startsExpression(cursor)) return readNatPort({ addr: readExpression(cursor) }, cursor);
  const { text, start } = cursor.token;
  const [whole = '', bracketed, bracketedEnd, plain] = natAddress.exec(text) ?? [];
  const from = bracketed ?? plain;
  const addr = from === undefined ? undefined : wordValue(bracketedEnd === undefined ? from : `${from}-${bracketedEnd}`);
  if (whole.length < text.length && text[whole.length] !== ':') {
    cursor.fail(`cannot read ${JSON.stringify(text.slice(0, 60))} as an address`);
    return {};
  }
  if (whole.length < text.length) cursor.moveTo(start + whole.length);
  else cursor.word('an address');
  return readNatPort(addr === undefined ? {} : { addr }, cursor);
}

/** IPv6 addresses stand in brackets before a port, IPv4 addresses bare; either may be a range or prefix. */
const natAddress =
  /^(?:\[([0-9a-f:.]+)\](?:-\[([0-9a-f:.]+)\])?|([0-9a-f]*:[0-9a-f:./]*:[0-9a-f:./]*(?:-[0-9a-f:.]+)?|\d[\d./]*(?:-\d[\d.]*)?|@[^\s:]+|[a-z][\w-]*))?/i;

function readNatPort(target: JsonObject, cursor: Cursor): JsonObject {
  const { text, start } = cursor.token;
  if (cursor.token.kind !== 'word' || !text.startsWith(':')) return target;
  if (text === ':') cursor.take();
  else cursor.moveTo(start + 1);
  return { ...target, port: readExpression(cursor) };
}

/** `queue flags bypass to 1-3`; older releases write `queue num 1-3 bypass,fanout`. */
function readQueue(cursor: Cursor): Json {
  cursor.take();
  const before = cursor.accept('flags') ? readWords(cursor) : [];
  const numbered = cursor.accept('to') || cursor.accept('num');
  const num = numbered ? readExpression(cursor) : undefined;
  const after = cursor.is('bypass') || cursor.is('fanout') ? readWords(cursor) : [];
  const flags = [...before, ...after];
  return { queue: numbered || flags.length > 0 ? { ...(num !== undefined && { num }), ...(flags.length > 0 && { flags }) } : null };
}

function readSynproxy(cursor: Cursor): Json {
  cursor.take();
  if (cursor.is('name')) return { synproxy: readObject(cursor) };
  const options: Record<string, Json> = {};
  const flags: string[] = [];
  for (;;) {
    if (cursor.is('mss') || cursor.is('wscale')) {
      const name = cursor.take().text;
      options[name] = readValue(cursor);
    } else if (cursor.is('timestamp') || cursor.is('sack-perm')) flags.push(cursor.take().text);
    else return { synproxy: { ...options, ...(flags.length > 0 && { flags }) } };
  }
}

/** `flow add @f`; older releases write `flow offload @f`. */
function readFlow(cursor: Cursor): Json {
  cursor.take();
  cursor.word('what to do with the flow');
  return { flow: { op: 'add', flowtable: cursor.word('a flowtable') } };
}

function readDuplicate(cursor: Cursor): Json {
  const kind = cursor.take().text;
  if (cursor.is('ip') || cursor.is('ip6')) cursor.take();
  cursor.expect('to');
  if (cursor.token.kind === 'string') return { [kind]: { dev: cursor.take().text } };
  const to = readExpression(cursor);
  const dev = cursor.accept('device') ? readExpression(cursor) : undefined;
  return { [kind]: { addr: to, ...(dev !== undefined && { dev }) } };
}

/** `update @s { ip saddr timeout 5m limit rate 5/second }`, for maps with ` : VALUE`. */
function readSetUpdate(cursor: Cursor): Json {
  const op = cursor.take().text;
  const name = cursor.word('a set');
  if (!name.startsWith('@')) cursor.fail('a set is missing');
  const { elem, stmt, data } = readFilling(cursor);
  const inner = stmt.length > 0 ? { stmt } : {};
  return data === undefined ? { set: { op, elem, ...inner, set: name } } : { map: { op, elem, data, ...inner, map: name } };
}

/** `meter m size 65535 { ip saddr limit rate 5/second }`. */
function readMeter(cursor: Cursor): Json {
  cursor.take();
  const name = cursor.word('a meter');
  const size = cursor.accept('size') ? { size: readValue(cursor) } : {};
  const { elem, stmt } = readFilling(cursor);
  return { meter: { key: elem, stmt: stmt[0] ?? null, ...size, name } };
}

interface Filling {
  readonly elem: Json;
  readonly stmt: readonly Json[];
  readonly data: Json | undefined;
}

function readFilling(cursor: Cursor): Filling {
  cursor.expect('{');
  const key = readConcatenation(cursor);
  const options = readTimes(cursor);
  const stmt = readInnerStatements(cursor);
  const data = cursor.accept(':') ? readExpression(cursor) : undefined;
  cursor.expect('}');
  return { elem: Object.keys(options).length === 0 ? key : { elem: { val: key, ...options } }, stmt, data };
}

const readTimes = (cursor: Cursor): JsonObject => (cursor.is('timeout') || cursor.is('expires') || cursor.is('comment') ? readElementOptions(cursor) : {});

function readInnerStatements(cursor: Cursor): Json[] {
  const found: Json[] = [];
  while (!cursor.ended && !cursor.is(':') && !cursor.is('}')) {
    const statement = cursor.nested(() => readStatement(cursor));
    if (cursor.fault === undefined) found.push(statement);
  }
  return found;
}

/** `xt match "comment"`: all that nft prints of an extension of iptables. */
function readExtension(cursor: Cursor): Json {
  cursor.take();
  const type = cursor.word('match or target');
  return { xt: { type, name: cursor.word('the name of an extension') } };
}

const objectKinds: ReadonlySet<string> = new Set(['helper', 'timeout', 'expectation']);

/** `ct count over 5`, `ct helper set "ftp"`, and matches and writes of ct. */
function readConntrack(cursor: Cursor): Json {
  const key = cursor.second.text;
  if (key === 'count') {
    cursor.take();
    cursor.take();
    const inv = cursor.accept('over');
    return { 'ct count': { val: readValue(cursor), ...(inv && { inv }) } };
  }
  const match = readMatch(cursor);
  const written = objectKinds.has(key) ? member(member(match, 'mangle'), 'value') : undefined;
  return written === undefined ? match : { [`ct ${key}`]: written };
}

/** What begins with an expression: a comparison, `vmap`, or `set`. */
function readMatch(cursor: Cursor): Json {
  const left = readConcatenation(cursor);
  if (cursor.accept('vmap')) return { vmap: { key: left, data: readData(cursor) } };
  if (cursor.accept('set')) return { mangle: { key: left, value: readWritten(cursor) } };
  const operator = operatorOf(cursor);
  const right = readRight(cursor);
  if (cursor.is('/')) return readMasked({ left, operator, right }, cursor);
  const implied = hasBits(left) && member(right, 'set') === undefined && !isReference(right) ? 'in' : '==';
  return { match: { op: operator ?? implied, left, right: presence(left, right) } };
}

/** A value that is written may be a list of flags (`ct event set new,destroy`). */
function readWritten(cursor: Cursor): Json {
  const first = readExpression(cursor);
  return cursor.is(',') ? readList(first, cursor) : first;
}

const comparisons: ReadonlySet<string> = new Set(['==', '!=', '<', '>', '<=', '>=', '!']);

function operatorOf(cursor: Cursor): string | undefined {
  return cursor.token.kind === 'mark' && comparisons.has(cursor.token.text) ? cursor.take().text : undefined;
}

function readRight(cursor: Cursor): Json {
  if (cursor.is('{')) return readData(cursor);
  const first = readConcatenation(cursor);
  return cursor.is(',') ? readList(first, cursor) : first;
}

function readList(first: Json, cursor: Cursor): Json {
  const items = [first];
  while (cursor.accept(',')) items.push(readCalculation(cursor));
  return items;
}

interface Comparison {
  readonly left: Json;
  readonly operator: string | undefined;
  readonly right: Json;
}

/** `tcp flags syn / fin,syn,rst,ack`: these bits under that mask. */
function readMasked({ left, operator, right }: Comparison, cursor: Cursor): Json {
  cursor.take();
  const first = readCalculation(cursor);
  const mask = cursor.is(',') ? readList(first, cursor) : first;
  const bits = Array.isArray(right) ? { '|': right } : right;
  return { match: { op: operator ?? '==', left: { '&': [left, { '|': [...asList(mask)] }] }, right: bits } };
}

/** Fields of bits: a value without operator asks whether any of its bits is set. */
function hasBits(left: Json): boolean {
  const found = named(left);
  if (found?.kind === 'ct') return conntrackBits.has(textMember(found.value, 'key') ?? '');
  return found?.kind === 'payload' && textMember(found.value, 'protocol') === 'tcp' && textMember(found.value, 'field') === 'flags';
}

const conntrackBits: ReadonlySet<string> = new Set(['state', 'status', 'label', 'event']);

const isReference = (value: Json): boolean => typeof value === 'string' && value.startsWith('@');

/** `exists` and `missing` are booleans for what may be absent from a packet or a table. */
function presence(left: Json, right: Json): Json {
  const kind = named(left)?.kind ?? '';
  const optional = kind === 'fib' || kind === 'exthdr' || kind.endsWith(' option') || kind.endsWith(' chunk');
  if (!optional || (right !== 'exists' && right !== 'missing')) return right;
  return right === 'exists';
}
