// Prints rules of nft's JSON as `nft list ruleset` prints them, so that a reader finds the rule on the node.
import { asList, isList, type Json, member, named, numberMember, textMember, tooDeep, wordsMember } from './nft.json.ts';
import type { TableFamily } from './rule.ts';

/** A rule's statements in nft's syntax, with the rule's comment as nft appends it. What `reject` alone stands for depends on the table's family. */
export function renderRule(statements: Json, family: TableFamily, comment?: string): string {
  if (tooDeep(statements)) return '…';
  const text = asList(statements)
    .map((statement) => (isDefaultReject(statement, family) ? 'reject' : renderStatement(statement)))
    .join(' ');
  return comment === undefined ? text : `${text} comment "${comment}"`;
}

function isDefaultReject(statement: Json, family: TableFamily): boolean {
  const reject = member(statement, 'reject');
  const type = family === 'ip' ? 'icmp' : family === 'ip6' ? 'icmpv6' : 'icmpx';
  return textMember(reject, 'type') === type && textMember(reject, 'expr') === 'port-unreachable';
}

/** One statement. Unknown ones are printed by their name and value. */
export function renderStatement(statement: Json): string {
  const found = named(statement);
  if (found === undefined) return plain(statement);
  const { kind, value } = found;
  switch (kind) {
    case 'match':
      return renderMatch(value);
    case 'jump':
    case 'goto':
      return `${kind} ${textMember(value, 'target') ?? plain(value)}`;
    case 'vmap':
      return `${renderExpression(member(value, 'key') ?? null)} vmap ${renderData(member(value, 'data') ?? null, member(value, 'key') ?? null)}`;
    case 'mangle': {
      const key = member(value, 'key') ?? null;
      return `${renderExpression(key)} set ${renderOperand(member(value, 'value') ?? null, key)}`;
    }
    case 'dnat':
    case 'snat':
    case 'tproxy':
    case 'masquerade':
    case 'redirect':
      return renderNat(kind, value);
    case 'reject':
      return renderReject(value);
    case 'set':
    case 'map':
      return renderSetUpdate(kind, value);
    default:
      return renderPlainStatement(kind, value);
  }
}

/** An expression as it stands on the left of a match or as a key. */
export function renderExpression(expression: Json): string {
  const found = named(expression);
  if (found === undefined) return renderValue(expression);
  const { kind, value } = found;
  const key = textMember(value, 'key') ?? '';
  switch (kind) {
    case 'payload':
      return renderPayload(value);
    case 'meta':
      return bareMeta.has(key) ? key : `meta ${key}`;
    case 'ct':
      return ['ct', textMember(value, 'dir'), key].filter((word) => word !== undefined).join(' ');
    case 'fib':
      return `fib ${wordsMember(value, 'flags').join(' . ')} ${textMember(value, 'result') ?? ''}`;
    case 'numgen':
      return `numgen ${textMember(value, 'mode') ?? ''} mod ${numberMember(value, 'mod') ?? ''}${renderOffset(value)}`;
    case 'jhash':
      return `jhash ${renderExpression(member(value, 'expr') ?? null)} mod ${numberMember(value, 'mod') ?? ''}${renderSeed(value)}${renderOffset(value)}`;
    case 'symhash':
      return `symhash mod ${numberMember(value, 'mod') ?? ''}${renderOffset(value)}`;
    case 'map':
      return `${renderExpression(member(value, 'key') ?? null)} map ${renderData(member(value, 'data') ?? null, member(value, 'key') ?? null)}`;
    case 'tcp option':
    case 'sctp chunk':
      return [kind, textMember(value, 'name'), textMember(value, 'field')].filter((word) => word !== undefined).join(' ');
    case 'exthdr':
      return ['exthdr', textMember(value, 'name'), textMember(value, 'field')].filter((word) => word !== undefined).join(' ');
    case 'socket':
    case 'rt':
    case 'osf':
      return `${kind} ${key}`;
    default:
      return renderValue(expression);
  }
}

/** A value as it stands on the right of a match or in a set. */
export function renderValue(value: Json, key: Json = null): string {
  if (isList(value)) return value.map((item) => renderValue(item, key)).join(',');
  if (typeof value === 'number' && isMark(key)) return `0x${value.toString(16).padStart(8, '0')}`;
  if (typeof value === 'string' && isQuoted(key) && !value.startsWith('@')) return `"${value}"`;
  const found = named(value);
  if (found === undefined) return plain(value);
  const items = found.value;
  switch (found.kind) {
    case 'prefix':
      return `${textMember(items, 'addr') ?? plain(member(items, 'addr') ?? null)}/${numberMember(items, 'len') ?? ''}`;
    case 'range':
      return asList(items)
        .map((item) => renderValue(item, key))
        .join('-');
    case 'concat':
      return asList(items)
        .map((item, index) => renderPart(item, keyPartAt(key, index)))
        .join(' . ');
    case 'set':
      return renderData(value, key);
    case 'elem':
      return renderElement(items, key);
    case '|':
    case '&':
    case '^':
    case '<<':
    case '>>':
      return renderCalculation(found.kind, asList(items), markIn(value) ?? key);
    default:
      return expressionKinds.has(found.kind) ? renderExpression(value) : renderPlainStatement(found.kind, items);
  }
}

/** Constants beside a mark are printed as marks are, but for the width of a shift. */
function renderCalculation(operator: string, [first = null, ...rest]: readonly Json[], key: Json): string {
  const shift = operator === '<<' || operator === '>>';
  return [renderPart(first, key), ...rest.map((item) => renderValue(item, shift ? null : key))].join(` ${operator} `);
}

const expressionKinds: ReadonlySet<string> = new Set([
  'payload',
  'meta',
  'ct',
  'fib',
  'numgen',
  'jhash',
  'symhash',
  'map',
  'tcp option',
  'sctp chunk',
  'exthdr',
  'socket',
  'rt',
  'osf',
]);

/** Keys of `meta` that nft prints without the word. */
const bareMeta: ReadonlySet<string> = new Set(['iif', 'iifname', 'oif', 'oifname', 'iifgroup', 'oifgroup', 'iiftype', 'oiftype', 'ibrname', 'obrname']);
const quotedMeta: ReadonlySet<string> = new Set([
  'iif',
  'iifname',
  'oif',
  'oifname',
  'iifkind',
  'oifkind',
  'ibrname',
  'obrname',
  'time',
  'hour',
  'day',
  'sdif',
  'sdifname',
]);

/** A part of a concatenation or of a calculation: an expression of the packet, or a value. */
const renderPart = (value: Json, key: Json): string =>
  typeof value === 'object' && expressionKinds.has(named(value)?.kind ?? '') ? renderExpression(value) : renderValue(value, key);

const keyPartAt = (key: Json, index: number): Json => {
  const parts = member(key, 'concat');
  return isList(parts) ? (parts[index] ?? null) : null;
};

function plain(value: Json): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function renderMatch(match: Json): string {
  const left = member(match, 'left') ?? null;
  const right = member(match, 'right') ?? null;
  const operator = textMember(match, 'op') ?? '==';
  const flags = flagsWithMask(left, operator, right);
  if (flags !== undefined) return flags;
  const presence = named(left)?.kind === 'fib' && typeof right === 'boolean' ? (right ? 'exists' : 'missing') : undefined;
  const plainLeft = named(left) === undefined || !calculations.has(named(left)?.kind ?? '');
  // nft leaves out the operator of a plain comparison, but not after a calculation nor before the bits of flags.
  const silent = operator === 'in' || (operator === '==' && plainLeft && !(isTcpFlags(left) && member(right, 'set') === undefined));
  const value =
    presence ??
    (typeof right === 'boolean'
      ? right
        ? 'exists'
        : 'missing'
      : isTcpFlags(left) && typeof right === 'number'
        ? `0x${right.toString(16)}`
        : renderValue(right, valueKey(left)));
  return [renderExpression(left), silent ? undefined : operator, value].filter((word) => word !== undefined).join(' ');
}

const calculations: ReadonlySet<string> = new Set(['&', '|', '^', '<<', '>>']);

const isTcpFlags = (expression: Json): boolean => textMember(member(expression, 'payload'), 'field') === 'flags';

/** `tcp flags syn / fin,syn,rst,ack` is how nft prints several bits as a mask on flags. */
function flagsWithMask(left: Json, operator: string, right: Json): string | undefined {
  const [flags = null, mask, ...more] = asList(member(left, '&') ?? null);
  const bits = mask === undefined ? undefined : (member(mask, '|') ?? mask);
  if (more.length > 0 || !isList(bits) || member(right, 'set') !== undefined) return undefined;
  const value =
    right === 0
      ? '0x0'
      : asList(member(right, '|') ?? right)
          .map(plain)
          .join(',');
  return `${renderExpression(flags)} ${operator === '!=' ? '!= ' : ''}${value} / ${bits.map(plain).join(',')}`;
}

/** The expression that tells how the values compared with `left` are printed. */
function valueKey(left: Json): Json {
  return markIn(left) ?? left;
}

/** A mark within a calculation: its constants are printed in hexadecimal. */
function markIn(expression: Json): Json | undefined {
  const found = named(expression);
  if (found === undefined) return undefined;
  if (calculations.has(found.kind) && isList(found.value)) return markIn(found.value[0] ?? null);
  return isMark(expression) ? expression : undefined;
}

function isMark(key: Json): boolean {
  const found = named(key);
  return (found?.kind === 'meta' || found?.kind === 'ct' || found?.kind === 'socket') && textMember(found.value, 'key') === 'mark';
}

function isQuoted(key: Json): boolean {
  const found = named(key);
  const word = textMember(found?.value, 'key') ?? '';
  if (found?.kind === 'meta') return quotedMeta.has(word);
  return (found?.kind === 'ct' && word === 'helper') || found?.kind === 'osf' || (found?.kind === 'fib' && textMember(found.value, 'result') === 'oifname');
}

function renderOperand(value: Json, key: Json): string {
  return expressionKinds.has(named(value)?.kind ?? '') ? renderExpression(value) : renderValue(value, valueKey(key));
}

function renderPayload(payload: Json): string {
  const base = textMember(payload, 'base');
  if (base !== undefined) return `@${base},${numberMember(payload, 'offset') ?? ''},${numberMember(payload, 'len') ?? ''}`;
  return `${textMember(payload, 'protocol') ?? ''} ${textMember(payload, 'field') ?? ''}`;
}

const renderOffset = (value: Json): string => {
  const offset = numberMember(value, 'offset') ?? 0;
  return offset === 0 ? '' : ` offset ${offset}`;
};

const renderSeed = (value: Json): string => {
  const seed = numberMember(value, 'seed');
  return seed === undefined ? '' : ` seed 0x${seed.toString(16)}`;
};

/** A set or map: by its name, or its elements in braces. */
function renderData(data: Json, key: Json): string {
  const elements = member(data, 'set');
  if (elements === undefined) return plain(data);
  const items = asList(elements).map((element) => {
    if (!isList(element)) return renderValue(element, key);
    return `${renderValue(element[0] ?? null, key)} : ${renderDatum(element[1] ?? null)}`;
  });
  return `{ ${items.join(', ')} }`;
}

/** What a map yields: a verdict or a value. */
function renderDatum(value: Json): string {
  const found = named(value);
  return found !== undefined && !valueKinds.has(found.kind) ? renderStatement(value) : renderValue(value);
}

const valueKinds: ReadonlySet<string> = new Set(['prefix', 'range', 'concat', 'set', 'elem', '|']);

function renderElement(element: Json, key: Json): string {
  const comment = textMember(element, 'comment');
  const timeout = numberMember(element, 'timeout');
  return [
    renderPart(member(element, 'val') ?? null, key),
    timeout === undefined ? undefined : `timeout ${renderSeconds(timeout)}`,
    comment === undefined ? undefined : `comment "${comment}"`,
  ]
    .filter((word) => word !== undefined)
    .join(' ');
}

function renderSeconds(seconds: number): string {
  const units: readonly [string, number][] = [
    ['d', 86_400],
    ['h', 3600],
    ['m', 60],
    ['s', 1],
  ];
  let left = Math.floor(seconds);
  const parts = units.flatMap(([unit, length]) => {
    const count = Math.floor(left / length);
    left -= count * length;
    return count === 0 ? [] : [`${count}${unit}`];
  });
  return parts.join('') || '0s';
}

function renderNat(kind: string, value: Json): string {
  const address = member(value, 'addr');
  const port = member(value, 'port');
  const prefix = wordsMember(value, 'type_flags').includes('prefix') ? 'prefix' : undefined;
  const flags = wordsMember(value, 'flags')
    .filter((flag) => flag !== 'netmap')
    .join(',');
  const to = address === undefined ? '' : renderNatAddress(address, port);
  const target = address === undefined && port === undefined ? undefined : `to ${to}${port === undefined ? '' : `:${renderOperand(port, null)}`}`;
  return [kind, textMember(value, 'family'), prefix, target, flags === '' ? undefined : flags].filter((word) => word !== undefined).join(' ');
}

/** An IPv6 address stands in brackets before a port. */
function renderNatAddress(address: Json, port: Json | undefined): string {
  const text = renderOperand(address, null);
  return port !== undefined && typeof address === 'string' && address.includes(':') ? `[${text}]` : text;
}

function renderReject(value: Json): string {
  const type = textMember(value, 'type');
  if (type === undefined) return 'reject';
  const expression = member(value, 'expr');
  return expression === undefined ? `reject with ${type}` : `reject with ${type} ${plain(expression)}`;
}

function renderSetUpdate(kind: 'set' | 'map', value: Json): string {
  const statements = member(value, 'stmt');
  const inner = statements === undefined ? '' : ` ${asList(statements).map(renderStatement).join(' ')}`;
  const data = kind === 'map' && member(value, 'data') !== undefined ? ` : ${renderDatum(member(value, 'data') ?? null)}` : '';
  const element = renderPart(member(value, 'elem') ?? null, null);
  return `${textMember(value, 'op') ?? 'update'} ${plain(member(value, kind) ?? null)} { ${element}${inner}${data} }`;
}

function renderPlainStatement(kind: string, value: Json): string {
  switch (kind) {
    case 'counter':
      return typeof value === 'string' ? `counter name "${value}"` : renderMembers('counter', value, ['packets', 'bytes']);
    case 'limit':
      return renderLimit(value);
    case 'quota':
      return typeof value === 'string'
        ? `quota name "${value}"`
        : `quota ${member(value, 'inv') === true ? 'over ' : ''}${numberMember(value, 'val') ?? ''} ${textMember(value, 'val_unit') ?? 'bytes'}`;
    case 'log':
      return renderLog(value);
    case 'ct count':
      return `ct count ${member(value, 'inv') === true ? 'over ' : ''}${numberMember(value, 'val') ?? ''}`;
    case 'queue':
      return renderQueue(value);
    case 'flow':
      return `flow ${textMember(value, 'op') ?? 'add'} ${textMember(value, 'flowtable') ?? ''}`;
    case 'xt':
      return `xt ${textMember(value, 'type') ?? 'extension'} "${textMember(value, 'name') ?? ''}"`;
    case 'fwd':
    case 'dup': {
      const device = textMember(value, 'dev');
      const to = [textMember(value, 'addr'), device === undefined ? undefined : `"${device}"`].filter((part) => part !== undefined);
      return `${kind} to ${to.join(' device ')}`;
    }
    default:
      return value === null ? kind : `${kind} ${plain(value)}`;
  }
}

function renderMembers(kind: string, value: Json, keys: readonly string[]): string {
  return [kind, ...keys.flatMap((key) => (member(value, key) === undefined ? [] : [key, plain(member(value, key) ?? null)]))].join(' ');
}

function renderLimit(value: Json): string {
  if (typeof value === 'string') return `limit name "${value}"`;
  const unit = textMember(value, 'rate_unit');
  const burst = numberMember(value, 'burst');
  const rate = `${numberMember(value, 'rate') ?? ''}${unit === undefined || unit === 'packets' ? '' : ` ${unit}`}/${textMember(value, 'per') ?? 'second'}`;
  return `limit rate ${member(value, 'inv') === true ? 'over ' : ''}${rate}${burst === undefined || burst === 0 ? '' : ` burst ${burst} ${textMember(value, 'burst_unit') ?? 'packets'}`}`;
}

function renderLog(value: Json): string {
  const prefix = textMember(value, 'prefix');
  return [
    prefix === undefined ? 'log' : `log prefix "${prefix}"`,
    renderMembers('', value, ['group', 'snaplen', 'queue-threshold', 'level']).trim(),
    wordsMember(value, 'flags').length === 0 ? '' : `flags ${wordsMember(value, 'flags').join(',')}`,
  ]
    .filter((word) => word !== '')
    .join(' ');
}

function renderQueue(value: Json): string {
  const number = member(value, 'num');
  const flags = wordsMember(value, 'flags').join(',');
  return `queue${flags === '' ? '' : ` flags ${flags}`}${number === undefined ? '' : ` to ${renderValue(number)}`}`;
}
