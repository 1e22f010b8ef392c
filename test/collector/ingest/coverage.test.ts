import t from 'tap';
import { gapsTold, timesNotCovered } from '../../../collector/ingest/coverage.ts';
import type { SequencedChange } from '../../../shared/model/change.ts';
import type { Hello } from '../../../shared/wire/messages.ts';

const hello = (more: Partial<Hello>): Hello => ({
  type: 'hello',
  node: 'n',
  version: '1',
  bootId: 'b',
  stream: 's',
  acknowledged: 0,
  clock: 10_000,
  capabilities: [],
  ...more,
});
const spans = (asked: Hello, heardAt: number | undefined, { offset = 0, transit = 0 }) =>
  timesNotCovered(asked, { node: 'n', heardAt, clockOffsetMs: offset, transitMs: transit }).map(({ from, to }) => [from, to]);

const cases: readonly {
  readonly name: string;
  readonly hello: Partial<Hello>;
  readonly heardAt?: number;
  readonly offset?: number;
  readonly transit?: number;
  readonly expected: number[][];
}[] = [
  { name: 'a new node', hello: { startedAt: 9_000 }, expected: [] },
  { name: 'the same run again', hello: { startedAt: 1_000 }, heardAt: 8_000, expected: [] },
  { name: 'another run after a pause', hello: { startedAt: 9_000 }, heardAt: 8_000, expected: [[8_000, 9_000]] },
  { name: 'by the clock of the collector', hello: { startedAt: 9_000 }, heardAt: 7_000, offset: 1_000, expected: [[7_000, 8_000]] },
  {
    name: 'an earlier run that can have ended earlier, by as long as the hello was under way',
    hello: { startedAt: 9_000, earlier: [{ stream: 'a', startedAt: 3_000, aliveAt: 8_900 }] },
    heardAt: 5_000,
    transit: 700,
    expected: [[8_200, 9_000]],
  },
  {
    name: 'an earlier run that is shorter than the hello was under way',
    hello: { startedAt: 9_000, earlier: [{ stream: 'a', startedAt: 8_000, aliveAt: 8_100 }] },
    heardAt: 5_000,
    transit: 700,
    expected: [[5_000, 9_000]],
  },
  { name: 'a clock that was set after the run began', hello: { startedAt: 2_000, ranMs: 500 }, heardAt: 8_000, expected: [[8_000, 9_500]] },
  {
    name: 'a clock that was set back between two runs: of the first it is not known when it was',
    hello: { startedAt: 9_000, earlier: [{ stream: 'a', startedAt: 3_000, aliveAt: 9_500 }] },
    heardAt: 5_000,
    expected: [[5_000, 9_000]],
  },
  {
    name: 'a clock that was set back during the run before: nor of the one before that',
    hello: {
      startedAt: 1_000,
      clock: 2_000,
      earlier: [
        { stream: 'a', startedAt: 500, aliveAt: 5_000 },
        { stream: 'b', startedAt: 5_000, aliveAt: 9_000 },
      ],
    },
    heardAt: 5_000,
    offset: -8_000,
    expected: [[5_000, 9_000]],
  },
  { name: 'an agent of before that does not say', hello: {}, heardAt: 8_000, expected: [] },
  {
    name: 'runs without a connection between',
    hello: {
      startedAt: 9_000,
      earlier: [
        { stream: 'a', startedAt: 3_000, aliveAt: 5_000 },
        { stream: 'b', startedAt: 6_000, aliveAt: 7_000 },
      ],
    },
    heardAt: 2_000,
    expected: [
      [2_000, 3_000],
      [5_000, 6_000],
      [7_000, 9_000],
    ],
  },
  {
    name: 'a run that was connected in the middle',
    hello: { startedAt: 9_000, earlier: [{ stream: 'a', startedAt: 3_000, aliveAt: 8_500 }] },
    heardAt: 4_000,
    expected: [[8_500, 9_000]],
  },
  { name: 'an agent from the future', hello: { startedAt: 50_000, clock: 51_000 }, heardAt: 8_000, offset: 41_000, expected: [[8_000, 9_000]] },
];
for (const { name, hello: more, heardAt, expected, ...clock } of cases) t.strictSame(spans(hello(more), heardAt, clock), expected, name);

t.test('what a change tells of', async (t) => {
  const change: SequencedChange = { stream: 's', seq: 9, at: 5, node: 'n', kind: 'gap', subject: 'x', before: null, after: 'why' };
  t.strictSame(gapsTold(change, { clockOffsetMs: 0, transitMs: 0 }), []);
  t.strictSame(gapsTold({ ...change, covers: 3, gap: { reason: 'spool-full', from: 101, to: 105 } }, { clockOffsetMs: 100, transitMs: 0 }), [
    { node: 'n', reason: 'spool-full', from: 1, to: 5, detail: 'why', seqs: { stream: 's', from: 6, to: 9 } },
  ]);
  t.match(gapsTold({ ...change, kind: 'rule', folded: { count: 4, from: 1, to: 2, by: [] } }, { clockOffsetMs: 0, transitMs: 0 }), [
    { reason: 'folded', detail: /^4 changes of x/ },
  ]);
});
