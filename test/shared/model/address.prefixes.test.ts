// A set of addresses as the shortest list of prefixes.
import fc from 'fast-check';
import t from 'tap';
import { type Family, formatPrefixes, type IntervalSet, isSameSet, parsePrefix, union } from '../../../shared/model/address.ts';

const whole = { 4: 2n ** 32n - 1n, 6: 2n ** 128n - 1n } as const;

t.test('edges', async (t) => {
  t.strictSame(formatPrefixes(4, [{ lo: 0n, hi: whole[4] }]), ['0.0.0.0/0']);
  t.strictSame(formatPrefixes(6, [{ lo: 0n, hi: whole[6] }]), ['::/0']);
  t.strictSame(formatPrefixes(4, [{ lo: whole[4], hi: whole[4] }]), ['255.255.255.255']);
  t.strictSame(formatPrefixes(4, [{ lo: 1n, hi: 4n }]), ['0.0.0.1', '0.0.0.2/31', '0.0.0.4']);
  t.strictSame(formatPrefixes(4, [{ lo: 2n ** 31n, hi: whole[4] - 1n }]).slice(0, 2), ['128.0.0.0/2', '192.0.0.0/3']);
  t.strictSame(formatPrefixes(6, [{ lo: 1n, hi: 2n }]), ['::1', '::2']);
  t.strictSame(formatPrefixes(4, []), []);
});

for (const family of [4, 6] as const) {
  t.test(`any set of IPv${family} is what its prefixes hold, and none of them could be joined with its neighbour`, async (t) => {
    const interval = fc
      .tuple(fc.bigInt(0n, whole[family]), fc.bigInt(0n, 2n ** 20n))
      .map(([lo, more]) => ({ lo, hi: lo + more > whole[family] ? whole[family] : lo + more }));
    const property = fc.property(fc.array(interval, { maxLength: 6 }), (intervals) => {
      const set = union(...intervals.map((each) => [each]));
      const prefixes = formatPrefixes(family, set).map((text) => parsed(family, text));
      if (!isSameSet(union(...prefixes.map(({ interval }) => [interval])), set)) throw new Error('another set');
      for (const [at, { interval, length }] of prefixes.entries()) {
        const next = prefixes[at + 1];
        const size = interval.hi - interval.lo + 1n;
        if (next?.length === length && next.interval.lo === interval.hi + 1n && interval.lo % (2n * size) === 0n)
          throw new Error(`${at} and its neighbour are one`);
      }
    });
    t.equal(fc.check(property, { numRuns: 500 }).failed, false);
  });
}

function parsed(family: Family, text: string): { readonly interval: IntervalSet[number]; readonly length: number } {
  const prefix = parsePrefix(text);
  if (prefix?.family !== family) throw new Error(`${text} is no prefix of IPv${family}`);
  return prefix;
}
