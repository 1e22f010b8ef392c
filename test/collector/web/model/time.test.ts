// Times as they are typed and shown.
import fc from 'fast-check';
import t from 'tap';
import { agoText, clockText, durationText, isoText, parseTime } from '../../../../collector/web/model/time.ts';

const now = Date.parse('2026-11-28T14:10:00Z');
const at = (text: string): number => Date.parse(text);

t.test('what an operator types', async (t) => {
  const cases: readonly (readonly [text: string, expected: number | undefined])[] = [
    ['14:03', at('2026-11-28T14:03:00Z')],
    ['14:03:22', at('2026-11-28T14:03:22Z')],
    ['14:03 utc', at('2026-11-28T14:03:00Z')],
    ['23:50', at('2026-11-27T23:50:00Z')],
    ['14:10', now],
    ['24:00', undefined],
    ['14:60', undefined],
    ['-15m', now - 15 * 60_000],
    ['15 min ago', now - 15 * 60_000],
    ['2h', now - 2 * 3_600_000],
    ['1.5h', now - 1.5 * 3_600_000],
    ['90s', now - 90_000],
    ['7d', now - 7 * 86_400_000],
    ['2026-11-28', at('2026-11-28T00:00:00Z')],
    ['2026-11-28 14:03', at('2026-11-28T14:03:00Z')],
    ['2026-11-28T14:03:22.250Z', at('2026-11-28T14:03:22.250Z')],
    ['2026-11-28T15:03+01:00', at('2026-11-28T14:03:00Z')],
    ['2026-02-31', undefined],
    ['2026-13-01', undefined],
    [String(now), now],
    ['yesterday', undefined],
    ['', undefined],
  ];
  for (const [text, expected] of cases) t.equal(parseTime(text, now), expected, JSON.stringify(text));
});

t.test('every time is read back as it is written', async () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: 4e12 }), (time) => parseTime(isoText(time), now) === time));
});

t.test('nothing that is typed makes it throw', async () => {
  fc.assert(fc.property(fc.string(), fc.double(), (text, time) => [parseTime(text, now), isoText(time), durationText(time)].length === 3));
});

t.test('what is shown', async (t) => {
  t.equal(clockText(now - 60_000, now), '14:09:00');
  t.equal(clockText(at('2026-11-27T23:50:00Z'), now), '27 Nov 23:50:00');
  t.equal(clockText(at('2025-11-27T23:50:00Z'), now), '27 Nov 2025 23:50:00');
  t.same([400, 1_000, 119_000, 120_000, 7_199_000, 7_200_000, 47 * 3_600_000, 72 * 3_600_000].map(durationText), [
    'less than 1 s',
    '1 s',
    '119 s',
    '2 min',
    '120 min',
    '2 h',
    '47 h',
    '3 days',
  ]);
  t.same(
    [now, now - 12_000, now + 5_000].map((time) => agoText(time, now)),
    ['just now', '12 s ago', 'in 5 s'],
  );
});
