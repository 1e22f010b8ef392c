// What happens to dumps on their way: flipped bytes, lost and repeated parts, cut ends, two dumps in one, lines without end, nesting without end.
import type { Random } from './random.ts';

/** A dump and others of its kind to splice with. */
export interface Material {
  readonly dump: Buffer;
  readonly others: readonly Buffer[];
}

/** Changes a dump once to four times. */
export function mutate({ dump, others }: Material, random: Random): Buffer {
  let mutated = dump;
  const times = 1 + random.below(4);
  for (let time = 0; time < times; time++) mutated = random.pick(mutations)(mutated, random, others);
  return random.onceIn(500) ? random.pick(excesses)(mutated, random) : mutated;
}

type Mutation = (dump: Buffer, random: Random, others: readonly Buffer[]) => Buffer;

const mutations: readonly Mutation[] = [
  flipBytes,
  flipBytes,
  setBytes,
  removeRange,
  repeatRange,
  insertWord,
  insertWord,
  replaceWord,
  replaceWord,
  swapLines,
  repeatLine,
  removeLine,
  (dump, random) => dump.subarray(0, random.below(dump.length + 1)),
  (dump, random) => dump.subarray(random.below(dump.length + 1)),
  (dump, random, others) => splice(dump, random.pick(others), random),
  (dump, random) => Buffer.concat([dump.subarray(0, random.below(dump.length + 1)), random.pick(lineEnds), dump]),
];

const lineEnds: readonly Buffer[] = ['\r\n', '\r', '\n\n', '\0', '\u2028', '\\\n', '\ufeff', '\v'].map((text) => Buffer.from(text));

function span(dump: Buffer, random: Random): [from: number, to: number] {
  const from = random.below(dump.length + 1);
  return [from, Math.min(dump.length, from + random.below(random.onceIn(4) ? dump.length + 1 : 40))];
}

const put = (dump: Buffer, [from, to]: readonly [number, number], middle: Buffer): Buffer => Buffer.concat([dump.subarray(0, from), middle, dump.subarray(to)]);

function flipBytes(dump: Buffer, random: Random): Buffer {
  const flipped = Buffer.from(dump);
  for (let left = 1 + random.below(6); left > 0 && flipped.length > 0; left--) {
    const at = random.below(flipped.length);
    flipped[at] = (flipped[at] as number) ^ (1 << random.below(8));
  }
  return flipped;
}

function setBytes(dump: Buffer, random: Random): Buffer {
  const changed = Buffer.from(dump);
  for (let left = 1 + random.below(3); left > 0 && changed.length > 0; left--) changed[random.below(changed.length)] = random.pick(telling);
  return changed;
}

/** Bytes that structure dumps, and some that no dump has. */
const telling: readonly number[] = [...Buffer.from('"\'\\{}[]():;,.*!#-+@/=|&^<> \t\r\n09af'), 0, 0x7f, 0x80, 0xc3, 0xff];

function removeRange(dump: Buffer, random: Random): Buffer {
  return put(dump, span(dump, random), Buffer.alloc(0));
}

function repeatRange(dump: Buffer, random: Random): Buffer {
  const [from, to] = span(dump, random);
  return put(dump, [to, to], dump.subarray(from, to));
}

function insertWord(dump: Buffer, random: Random): Buffer {
  const at = random.below(dump.length + 1);
  return put(dump, [at, at], random.pick(words));
}

/** Between two blanks, so that the rest of the line stays what it was. */
function replaceWord(dump: Buffer, random: Random): Buffer {
  const from = dump.indexOf(32, random.below(dump.length + 1)) + 1;
  const end = dump.indexOf(32, from);
  return put(dump, [from, Math.min(end < 0 ? dump.length : end, from + 200)], random.pick(words));
}

const words: readonly Buffer[] = [
  ...[
    '-A',
    '-N',
    '-P',
    '-I INPUT 3',
    ':X - [0:0]',
    '*nat',
    'COMMIT',
    '-j',
    '-m',
    '!',
    '--dport',
    '-m set --match-set s src,dst',
    '[1:2]',
    '-m comment --comment "',
  ],
  ...[
    'table ip x {',
    'chain c {',
    'set s {',
    'map m {',
    '}',
    '{',
    'elements = {',
    'type filter hook input priority filter - 3; policy drop;',
    'jump {',
    '# handle 7',
  ],
  ...[
    'vmap',
    'map',
    '@s',
    '. ',
    ' : ',
    ',',
    'tcp',
    'ip',
    'ip6',
    'ct',
    'meta',
    'mark',
    'set',
    'dnat to',
    'to :80',
    '[::1]:80',
    'numgen',
    'mod',
    'fib',
    'flags',
    '/',
  ],
  ...[
    '"',
    '\\',
    '\\"',
    '0',
    '-1',
    '4294967296',
    '99999999999999999999999999999999999999999',
    '0x',
    '0xffffffffffffffffffff',
    '1.2.3.4/33',
    '::/129',
    '1-',
    '9-1',
  ],
  ...['create s hash:ip,port family inet', 'add s 1.2.3.4,tcp:80', 'timeout', 'nomatch', '-t 1.2.3.4:80', '-f 1', '-p', '-w', '-r', '::ffff:1.2.3.4'],
  ...[
    '{"',
    '":',
    'null',
    'true',
    '1e999',
    '[]',
    '{}',
    '"__proto__"',
    '"nftables"',
    '"expr"',
    '"elem"',
    '"concat"',
    '"\\ud800"',
    '__proto__',
    'constructor',
    '\0',
    'é',
    '*',
  ],
].map((word) => Buffer.from(word));

function lineAt(dump: Buffer, random: Random): [from: number, to: number] {
  const from = dump.lastIndexOf(10, random.below(dump.length + 1)) + 1;
  const end = dump.indexOf(10, from);
  return [from, end < 0 ? dump.length : end + 1];
}

function removeLine(dump: Buffer, random: Random): Buffer {
  return put(dump, lineAt(dump, random), Buffer.alloc(0));
}

function repeatLine(dump: Buffer, random: Random): Buffer {
  const [from, to] = lineAt(dump, random);
  return put(dump, [to, to], dump.subarray(from, to));
}

function swapLines(dump: Buffer, random: Random): Buffer {
  const [from, to] = lineAt(dump, random);
  const line = Buffer.from(dump.subarray(from, to));
  const without = put(dump, [from, to], Buffer.alloc(0));
  const [at] = lineAt(without, random);
  return put(without, [at, at], line);
}

function splice(first: Buffer, second: Buffer, random: Random): Buffer {
  return Buffer.concat([first.subarray(0, random.below(first.length + 1)), second.subarray(random.below(second.length + 1))]);
}

const units: readonly string[] = [
  ...[
    '{',
    '(',
    '[',
    '"',
    '{"&":[',
    'jump {',
    '{ ',
    '! ',
    '-m ',
    '-m comment --com',
    '\\',
    '/',
    ':',
    '.',
    ' . ',
    ',',
    '#',
    '\n',
    '@',
    '=',
    '{"elem":{"val":',
    'a:',
    '9',
    '-',
  ],
  'é',
];

/** Lines and nesting beyond what any program writes. */
const excesses: readonly ((dump: Buffer, random: Random) => Buffer)[] = [
  (dump, random) => {
    const [from, to] = span(dump, random);
    const repeated = from === to ? Buffer.from('x') : dump.subarray(from, to);
    return put(dump, [to, to], Buffer.alloc(random.below(400_000), repeated));
  },
  (dump, random) => {
    const at = random.below(dump.length + 1);
    return put(dump, [at, at], Buffer.from(random.pick(units).repeat(1 + random.below(20_000))));
  },
];
