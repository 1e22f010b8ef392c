import fc from 'fast-check';
import t from 'tap';
import { isDeeperThan } from '../../../shared/wire/depth.ts';

const depthOf = (value: unknown): number => (typeof value === 'object' && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depthOf)) : 0);

t.test('the depth of any JSON, brackets in strings left out', async (t) => {
  const agrees = fc.property(fc.json(), fc.integer({ min: 1, max: 6 }), (text, max) => isDeeperThan(text, max) === depthOf(JSON.parse(text)) > max);
  t.doesNotThrow(() => fc.assert(agrees, { numRuns: 2_000 }));
});

t.test('at the limit and one above', async (t) => {
  const nested = (depth: number): string => `${'['.repeat(depth)}${']'.repeat(depth)}`;
  t.equal(isDeeperThan(nested(64), 64), false);
  t.equal(isDeeperThan(nested(65), 64), true);
  t.equal(isDeeperThan('"\\"[[[[[["', 1), false);
});
