// Expressions in the text of an nft listing as nft's JSON has them: fields of the packet, meta, ct, fib, generators, arithmetic, concatenations and maps.
import type { Json, JsonObject } from './nft.json.ts';
import type { Cursor } from './nft.text.cursor.ts';
import { readElements, readValue } from './nft.text.value.ts';

/** Whether the next words begin an expression that reads something, not a plain value. */
export function startsExpression(cursor: Cursor): boolean {
  const { kind, text } = cursor.token;
  if (kind === 'mark') return text === '(';
  if (kind !== 'word') return false;
  if (text.startsWith('@')) return rawPayload.test(text);
  const fields = headers.get(text);
  if (fields !== undefined) return fields.has(cursor.second.text);
  if (text === 'rt') return true;
  return readers.has(text) || (bareMeta.has(text) && cursor.second.kind !== 'end');
}

/** An expression, parts joined by ` . ` and `map` included. */
export function readExpression(cursor: Cursor): Json {
  const key = readConcatenation(cursor);
  if (!cursor.is('map')) return key;
  cursor.take();
  return { map: { key, data: readData(cursor) } };
}

/** Parts joined by ` . `, or one. */
export function readConcatenation(cursor: Cursor): Json {
  const first = readCalculation(cursor);
  if (!cursor.is('.')) return first;
  const parts = [first];
  while (cursor.accept('.')) parts.push(readCalculation(cursor));
  return { concat: parts };
}

/** `@name`, or elements in braces. */
export function readData(cursor: Cursor): Json {
  if (cursor.is('{')) return { set: cursor.nested(() => readElements(cursor)) ?? [] };
  if (!cursor.token.text.startsWith('@')) cursor.fail('a set or map is missing');
  return cursor.word('a set or map');
}

/** Operators from the loosest to the tightest, with the words that older releases print for them. */
const operators: readonly (readonly [operator: string, words: readonly string[]])[] = [
  ['|', ['|', 'or']],
  ['^', ['^', 'xor']],
  ['&', ['&', 'and']],
  ['<<', ['<<', 'lshift']],
  ['>>', ['>>', 'rshift']],
];

/** Operands joined by bitwise operators: shifts bind tighter than `&`, that tighter than `^`, that tighter than `|`. */
export function readCalculation(cursor: Cursor, level = 0): Json {
  const [operator, words] = operators[level] ?? [];
  if (operator === undefined || words === undefined) return readOperand(cursor);
  let left = readCalculation(cursor, level + 1);
  while (words.some((word) => cursor.is(word))) {
    cursor.take();
    left = { [operator]: [left, readCalculation(cursor, level + 1)] };
  }
  return left;
}

function readOperand(cursor: Cursor): Json {
  if (cursor.is('(')) return readParentheses(cursor);
  if (!startsExpression(cursor)) return readValue(cursor);
  const word = cursor.token.text;
  if (word.startsWith('@')) return readRawPayload(cursor);
  if (headers.get(word)?.has(cursor.second.text)) return readPayload(cursor);
  if (bareMeta.has(word)) return { meta: { key: cursor.take().text } };
  if (word === 'rt') return readRouting(cursor);
  cursor.take();
  return readers.get(word)?.(cursor) ?? null;
}

function readParentheses(cursor: Cursor): Json {
  cursor.take();
  const inner = cursor.nested(() => readCalculation(cursor));
  cursor.expect(')');
  return inner;
}

const rawPayload = /^@(ll|nh|th|ih),(\d{1,9}),(\d{1,9})$/;

function readRawPayload(cursor: Cursor): Json {
  const [, base = '', offset, length] = rawPayload.exec(cursor.take().text) ?? [];
  return { payload: { base, offset: Number(offset), len: Number(length) } };
}

const words = (text: string): ReadonlySet<string> => new Set(text.split(' '));

/** Headers and the fields that they have: `ip daddr` is an expression, `ip` before anything else a value. */
const headers: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ['ether', words('saddr daddr type')],
  ['vlan', words('id dei cfi pcp type')],
  ['arp', words('htype ptype hlen plen operation saddr daddr')],
  ['ip', words('version hdrlength dscp ecn length id frag-off ttl protocol checksum saddr daddr option')],
  ['ip6', words('version dscp ecn flowlabel length nexthdr hoplimit saddr daddr')],
  ['icmp', words('type code checksum id sequence gateway mtu')],
  ['icmpv6', words('type code checksum parameter-problem packet-too-big id sequence max-delay taddr daddr')],
  ['igmp', words('type mrt checksum group')],
  ['tcp', words('sport dport sequence ackseq doff reserved flags window checksum urgptr option')],
  ['udp', words('sport dport length checksum')],
  ['udplite', words('sport dport checksum csumcov')],
  ['sctp', words('sport dport vtag checksum chunk')],
  ['dccp', words('sport dport type')],
  ['th', words('sport dport')],
  ['ah', words('nexthdr hdrlength reserved spi sequence')],
  ['esp', words('spi sequence')],
  ['comp', words('nexthdr flags cpi')],
  ['gre', words('hdrlength flags version protocol')],
  ['exthdr', words('hbh frag rt dst mh srh')],
  ['hbh', words('nexthdr hdrlength')],
  ['frag', words('nexthdr reserved frag-off reserved2 more-fragments id')],
  ['dst', words('nexthdr hdrlength')],
  ['mh', words('nexthdr hdrlength type reserved checksum')],
  ['srh', words('last-entry flags tag sid seg-left')],
]);

const extensionHeaders: ReadonlySet<string> = new Set(['hbh', 'frag', 'dst', 'mh', 'srh']);

function readPayload(cursor: Cursor): Json {
  const protocol = cursor.take().text;
  const field = cursor.take().text;
  if (field === 'option' || field === 'chunk') return readOption(cursor, `${protocol} ${field}`);
  if (protocol === 'exthdr') return { exthdr: { name: field } };
  if (extensionHeaders.has(protocol)) return { exthdr: { name: protocol, field } };
  // `arp saddr ip 10.0.0.1`: the field is named by two words.
  const of = protocol === 'arp' && field.endsWith('addr') && (cursor.is('ip') || cursor.is('ether')) ? ` ${cursor.take().text}` : '';
  return { payload: { protocol, field: `${field}${of}` } };
}

/** An option of a header, and its field where one is named: `tcp option maxseg size`, `tcp option sack-perm exists`. */
function readOption(cursor: Cursor, kind: string): Json {
  const name = cursor.word('the name of an option');
  const named = cursor.token.kind === 'word' && optionFields.has(cursor.token.text);
  return { [kind]: { name, ...(named && { field: cursor.take().text }) } };
}

const optionFields = words(
  'kind length size count tsval tsecr left right subtype type ptr value addr flags tsn stream ssn ppid init-tag a-rwnd vtag cum-tsn-ack',
);

/** Keys of `meta` that stand without the word, as nft prints some of them and older releases more. */
const bareMeta = words('iif iifname iiftype iifgroup oif oifname oiftype oifgroup ibrname obrname mark nftrace skuid skgid pkttype cpu cgroup rtclassid');

/** What begins with a word of its own; the word is taken already. */
const readers: ReadonlyMap<string, (cursor: Cursor) => Json> = new Map<string, (cursor: Cursor) => Json>([
  ['meta', (cursor) => ({ meta: { key: cursor.word('a key of meta') } })],
  ['ct', (cursor) => ({ ct: conntrackKey(cursor) })],
  ['fib', readFib],
  ['numgen', readGenerator],
  ['jhash', readHash],
  ['symhash', (cursor) => ({ symhash: readModulus(cursor) })],
  ['socket', readSocket],
  ['osf', readFingerprint],
  ['ipsec', readIpsec],
]);

function conntrackKey(cursor: Cursor): JsonObject {
  const directed = cursor.is('original') || cursor.is('reply');
  const dir = directed ? cursor.take().text : undefined;
  const first = cursor.word('a key of ct');
  const key = first === 'ip' || first === 'ip6' ? `${first} ${cursor.word('an address of ct')}` : first;
  return { key, ...(dir !== undefined && { dir }) };
}

function readFib(cursor: Cursor): Json {
  const flags = [cursor.word('what fib looks up')];
  while (cursor.accept('.')) flags.push(cursor.word('what fib looks up'));
  return { fib: { result: cursor.word('the result of fib'), flags } };
}

function readGenerator(cursor: Cursor): Json {
  const mode = cursor.word('the mode of numgen');
  return { numgen: { mode, ...readModulus(cursor) } };
}

function readHash(cursor: Cursor): Json {
  const expr = cursor.nested(() => readConcatenation(cursor));
  return { jhash: { expr, ...readModulus(cursor) } };
}

function readModulus(cursor: Cursor): JsonObject {
  cursor.expect('mod');
  const mod = readValue(cursor);
  const seed = cursor.accept('seed') ? readValue(cursor) : undefined;
  const offset = cursor.accept('offset') ? readValue(cursor) : 0;
  return { mod, ...(seed !== undefined && { seed }), offset };
}

function readSocket(cursor: Cursor): Json {
  const key = cursor.word('a key of socket');
  if (cursor.accept('level')) readValue(cursor);
  return { socket: { key } };
}

function readFingerprint(cursor: Cursor): Json {
  if (cursor.accept('ttl')) cursor.word('how osf takes the TTL');
  return { osf: { key: cursor.word('a key of osf') } };
}

function readIpsec(cursor: Cursor): Json {
  const dir = cursor.word('a direction');
  if (cursor.accept('spnum')) readValue(cursor);
  const first = cursor.word('a key of ipsec');
  return { ipsec: { dir, key: first === 'ip' || first === 'ip6' ? `${first} ${cursor.word('an address')}` : first } };
}

/** `rt` is a route's property, or the routing header of IPv6. */
function readRouting(cursor: Cursor): Json {
  cursor.take();
  const family = cursor.is('ip') || cursor.is('ip6') ? cursor.take().text : undefined;
  const key = cursor.word('a key of rt');
  if (routingHeader.has(key)) return { exthdr: { name: 'rt', field: key } };
  return { rt: { key, ...(family !== undefined && { family }) } };
}

const routingHeader = words('nexthdr hdrlength type seg-left');
