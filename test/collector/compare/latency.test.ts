// Histograms of programming latency, and the grace period that is learned from them.
import fc from 'fast-check';
import t from 'tap';
import { graceMaxMs, graceMinMs, graceOf, graceSamplesMin } from '../../../collector/compare/grace.ts';
import { LatencyHistogram, latencyBoundsMs } from '../../../collector/compare/latency.ts';

const histogramOf = (values: readonly number[]): LatencyHistogram => {
  const histogram = new LatencyHistogram();
  for (const value of values) histogram.add(value);
  return histogram;
};

t.test('counts are those of the values, and quantiles lie in the class of the right one', (t) => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 400_000 }), { minLength: 1, maxLength: 60 }), fc.constantFrom(0.5, 0.9, 0.99, 1), (values, share) => {
      const histogram = histogramOf(values);
      const cumulative = histogram.cumulative();
      const right = latencyBoundsMs.every((bound, index) => cumulative[index] === values.filter((value) => value <= bound).length);
      const exact = [...values].sort((a, b) => a - b)[Math.ceil(values.length * share) - 1] as number;
      const above = latencyBoundsMs.findIndex((bound) => exact <= bound);
      const [low, high] = above < 0 ? [latencyBoundsMs.at(-1), latencyBoundsMs.at(-1)] : [latencyBoundsMs[above - 1] ?? 0, latencyBoundsMs[above]];
      const found = histogram.quantile(share);
      return (
        right &&
        cumulative.at(-1) === values.length &&
        histogram.sumMs === values.reduce((a, b) => a + b, 0) &&
        found >= (low as number) &&
        found <= (high as number)
      );
    }),
  );
  t.ok(Number.isNaN(new LatencyHistogram().quantile(0.5)));
  const [a, b] = [histogramOf([60, 60]), histogramOf([70_000, 70_000])];
  t.ok(LatencyHistogram.quantileOfBoth(a, b, 0.99) > 60_000 && LatencyHistogram.quantileOfBoth(a, b, 0.25) < 100);
  t.end();
});

const cases = [
  { name: 'too little is known', count: graceSamplesMin - 1, p99Ms: 100, expected: 30_000 },
  { name: 'a fast cluster: never less than the least', count: graceSamplesMin, p99Ms: 400, expected: graceMinMs },
  { name: 'just at the least', count: 1_000, p99Ms: graceMinMs / 3, expected: graceMinMs },
  { name: 'room above the usual', count: 1_000, p99Ms: 12_000, expected: 36_000 },
  { name: 'a slow cluster: never more than the most', count: 1_000, p99Ms: 200_000, expected: graceMaxMs },
];
for (const { name, count, p99Ms, expected } of cases) {
  t.test(name, (t) => {
    t.equal(graceOf({ count, p99Ms }, 30_000), expected);
    t.end();
  });
}
