// Bytes four at a time: what is found in a quad, compared and hashed is what a loop over single bytes finds.
import fc from 'fast-check';
import t from 'tap';
import { blanks, DumpText, firstOf, hashOf, lessIn, lowBytes, printables, quotesIn } from '../../../shared/netfilter/iptables.text.ts';

/** Bytes of which many are near those that are looked for. */
const byte = fc.oneof(fc.nat(255), fc.constantFrom(0, 9, 10, 31, 32, 33, 34, 35, 91, 92, 93, 127, 128, 160, 162, 220, 255));
const four = fc.array(byte, { minLength: 4, maxLength: 4 });
const text = fc.array(byte, { maxLength: 40 }).map((bytes) => new DumpText(Buffer.from(bytes)));

t.test('what is found in a quad is the first byte of its kind', async (t) => {
  const kinds: readonly [name: string, find: (quad: number) => number, is: (byte: number) => boolean][] = [
    ['blanks and control characters', (quad) => lessIn(quad, printables), (byte) => byte <= 32],
    ['control characters', (quad) => lessIn(quad, blanks), (byte) => byte < 32],
    ['quotes and backslashes', quotesIn, (byte) => byte === 34 || byte === 92],
    ['any of two kinds', (quad) => lessIn(quad, blanks) | quotesIn(quad), (byte) => byte < 32 || byte === 34 || byte === 92],
  ];
  for (const [name, find, is] of kinds) {
    const holds = (bytes: number[]): boolean => {
      const found = find(Buffer.from(bytes).readInt32LE());
      const first = bytes.findIndex(is);
      return first < 0 ? found === 0 : found !== 0 && firstOf(found) === first;
    };
    fc.assert(fc.property(four, holds), { numRuns: 2000 });
    t.pass(name);
  }
});

t.test('a quad holds four bytes, zeros beyond the end', async (t) => {
  fc.assert(
    fc.property(text, fc.nat(45), (text, at) => {
      const padded = Buffer.concat([text.bytes, Buffer.alloc(50)]);
      return text.quad(at) === padded.readInt32LE(at);
    }),
  );
  t.same([0, 1, 2, 3].map(lowBytes), [0, 0xff, 0xffff, 0xffffff]);
});

t.test('texts are the same when their bytes are, and then have one hash', async (t) => {
  const ends = fc.tuple(fc.nat(40), fc.nat(40), fc.nat(12));
  fc.assert(
    fc.property(text, ends, (text, [one, other, length]) => {
      const slice = (start: number): Buffer => Buffer.concat([text.bytes, Buffer.alloc(60)]).subarray(start, start + length);
      const same = slice(one).equals(slice(other));
      return text.isSame(one, other, length) === same && (!same || text.hash(one, one + length) === text.hash(other, other + length));
    }),
    { numRuns: 1000 },
  );
  fc.assert(
    fc.property(fc.stringMatching(/^[!-~]{0,30}$/), fc.nat(5), (word, before) => {
      const text = new DumpText(Buffer.from(`${' '.repeat(before)}${word} - [0:0]`));
      return text.hash(before, before + word.length) === hashOf(word);
    }),
  );
  t.not(hashOf('KUBE-SVC-A'), hashOf('KUBE-SVC-B'));
});
