import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import { dropReasons, readEnum } from '../../../agent/bpf/btf.parse.ts';

type Member = readonly [name: string, value: number];

/** BTF with one enumeration after types of other kinds, as a compiler writes it. */
function btfWith(name: string, members: readonly Member[], littleEndian = true): Buffer {
  const strings = ['', 'int', 'other', name, ...members.map(([member]) => member)];
  const offsets = new Map<string, number>();
  let length = 0;
  for (const each of strings) {
    if (!offsets.has(each)) {
      offsets.set(each, length);
      length += Buffer.byteLength(each) + 1;
    }
  }
  const words: number[] = [];
  const type = (typeName: string, [kind, vlen]: readonly [number, number], ...rest: readonly number[]) =>
    words.push(offsets.get(typeName) as number, ((kind << 24) | vlen) >>> 0, 4, ...rest);
  type('int', [1, 0], 0x0100_0020);
  type('', [2, 0]);
  type('', [3, 0], 1, 1, 4);
  type('other', [4, 1], 0, 1, 0);
  // A structure of the enumeration's name comes first: kinds tell them apart.
  type(name, [5, 1], 0, 1, 0);
  type('', [13, 2], 0, 1, 0, 1);
  type('other', [19, 1], 0, 1, 2);
  type(name, [6, members.length], ...members.flatMap(([member, value]) => [offsets.get(member) as number, value]));
  const text = Buffer.from([...offsets.keys()].map((each) => `${each}\0`).join(''), 'latin1');
  const out = Buffer.alloc(24 + words.length * 4 + text.length);
  const write = (at: number, value: number): number => (littleEndian ? out.writeUInt32LE(value >>> 0, at) : out.writeUInt32BE(value >>> 0, at));
  if (littleEndian) out.writeUInt16LE(0xeb9f, 0);
  else out.writeUInt16BE(0xeb9f, 0);
  out[2] = 1;
  write(4, 24);
  write(8, 0);
  write(12, words.length * 4);
  write(16, words.length * 4);
  write(20, text.length);
  for (const [i, value] of words.entries()) write(24 + i * 4, value);
  text.copy(out, 24 + words.length * 4);
  return out;
}

const identifier = fc.stringMatching(/^[A-Z_]{1,20}$/);
const members = fc.uniqueArray(fc.tuple(identifier, fc.integer({ min: 0, max: 0xffff_ffff })), { selector: ([, value]) => value, maxLength: 50 });

t.test('an enumeration is read back as it was written, in either byte order', async (t) => {
  fc.assert(
    fc.property(members, fc.boolean(), (list, little) => {
      const outcome = readEnum(btfWith('reason', list, little), 'reason');
      t.strictSame(outcome, { kind: 'names', names: new Map(list.map(([name, value]) => [value, name])) });
    }),
    { numRuns: 50 },
  );
});

t.test('an enumeration that is not there has no names', async (t) => {
  t.strictSame(readEnum(btfWith('reason', [['A', 1]]), 'missing'), { kind: 'names', names: new Map() });
  // The end of another name is no name.
  t.strictSame(readEnum(btfWith('my_reason', [['A', 1]]), 'reason'), { kind: 'names', names: new Map() });
});

t.test('what is cut off, changed or nonsense neither throws nor hangs', async (t) => {
  const whole = btfWith('reason', [
    ['A', 1],
    ['B', 2],
  ]);
  fc.assert(
    fc.property(fc.nat(whole.length), fc.nat(whole.length - 1), fc.nat(255), (length, at, byte) => {
      const bytes = Buffer.from(whole.subarray(0, length));
      if (at < bytes.length) bytes[at] = byte;
      t.ok(['names', 'failed'].includes(readEnum(bytes, 'reason').kind));
    }),
    { numRuns: 500 },
  );
  t.match(readEnum(Buffer.from('neither this nor that nor something else'), 'x'), { kind: 'failed', reason: /not BTF/ });
  t.match(readEnum(Buffer.alloc(3), 'x'), { kind: 'failed', reason: /3 bytes/ });
});

const kernel = '/sys/kernel/btf/vmlinux';
t.test("this kernel's drop reasons, as bpftool reads them", { skip: existsSync(kernel) ? false : 'this kernel has no BTF' }, async (t) => {
  const ours = dropReasons(readFileSync(kernel));
  if (ours.kind !== 'names') throw new Error(ours.reason);
  const [number] = [...ours.names].find(([, name]) => name === 'NETFILTER_DROP') ?? [];
  t.ok(ours.names.size === 0 || (number ?? 0) > 1, `${ours.names.size} reasons`);
  let said: string;
  try {
    said = execFileSync('bpftool', ['btf', 'dump', 'file', kernel], { encoding: 'utf8', maxBuffer: 1 << 28 });
  } catch {
    return t.comment('bpftool is not here to compare with');
  }
  const enumeration = /ENUM 'skb_drop_reason'[^\n]*\n((?:\t[^\n]*\n)*)/.exec(said)?.[1] ?? '';
  const theirs = [...enumeration.matchAll(/'(\w+)' val=(\d+)/g)].map(([, name, value]) => [Number(value), name?.replace(/^SKB_(DROP_REASON_)?/, '')]);
  t.strictSame([...ours.names], theirs);
});
