// The lanes before an onset: classes, windows, marks, and the scale of time.
import fc from 'fast-check';
import t from 'tap';
import { windows } from '../../../../collector/correlate/windows.ts';
import { lanesOf, placeOf } from '../../../../collector/web/model/lanes.ts';
import type { SequencedChange } from '../../../../shared/model/change.ts';

const minuteMs = 60_000;
const onset = 1_795_831_607_000;
const change = (ageMs: number, given: Partial<SequencedChange> = {}): SequencedChange => ({
  stream: 's',
  seq: 1,
  node: 'node1',
  at: onset - ageMs,
  kind: 'rule',
  subject: 'ip filter FORWARD',
  before: null,
  after: 'x',
  owner: 'admin',
  ...given,
});

t.test('each class has its lane, and its window ends at the onset', async (t) => {
  const { lanes, onset: x } = lanesOf([], { at: onset });
  t.same(
    lanes.map(({ name, windowMin }) => `${name} ${windowMin}`),
    ['Firewall 10', 'Proxy 5', 'Interface 10', 'Service 30', 'Cloud 10', 'CNI 60', 'Policy 30'],
  );
  for (const lane of lanes) {
    t.equal(lane.windowMin, windows[lane.class]);
    t.equal(lane.windowFrom, placeOf(lane.windowMin * minuteMs));
    t.ok(lane.windowFrom > 0 && lane.windowFrom < x, `the window of ${lane.name} is seen whole`);
  }
});

t.test('changes stand in the lane of their class', async (t) => {
  const { lanes } = lanesOf(
    [
      change(1_000),
      change(2_000, { kind: 'process', subject: 'kube-proxy' }),
      change(3_000, { kind: 'address', subject: 'interface eth0' }),
      change(4_000, { kind: 'service', subject: 'Service shop/web', node: '' }),
      change(5_000, { kind: 'config', subject: 'security group sg-1', node: '' }),
      change(6_000, { kind: 'process', subject: 'flanneld' }),
      change(7_000, { kind: 'network-policy', subject: 'NetworkPolicy shop/deny', node: '' }),
      change(8_000, { kind: 'listener', subject: 'tcp 22' }),
    ],
    { at: onset },
  );
  t.same(
    lanes.map(({ name, marks }) => `${name} ${marks.map(({ changes }) => changes[0]?.subject).join()}`),
    [
      'Firewall ip filter FORWARD',
      'Proxy kube-proxy',
      'Interface interface eth0',
      'Service Service shop/web',
      'Cloud security group sg-1',
      'CNI flanneld',
      'Policy NetworkPolicy shop/deny',
    ],
  );
});

t.test('a mark says whether it lies within the window, and whether it is the trigger', async (t) => {
  const trigger = change(30_000, { seq: 2, subject: 'ip raw PREROUTING' });
  const { lanes } = lanesOf([change(11 * minuteMs), trigger, change(-60_000)], { at: onset, trigger });
  t.same(
    lanes[0]?.marks.map(({ isWithin, isTrigger }) => [isWithin, isTrigger]),
    [
      [false, false],
      [true, true],
      [false, false],
    ],
  );
  t.same(lanesOf([change(-1_500)], { at: onset }).lanes[0]?.marks[0]?.isWithin, true, 'a fault may be seen before its change is told');
});

t.test('changes at one place are one mark; those out of sight are none', async (t) => {
  const { lanes } = lanesOf([change(30_000), change(30_050, { seq: 2 }), change(76 * minuteMs), change(-11 * minuteMs)], { at: onset });
  t.same(
    lanes[0]?.marks.map(({ changes }) => changes.length),
    [2],
  );
});

t.test('later stands further right, and everything within the picture', async () => {
  fc.assert(
    fc.property(fc.integer({ min: -10 * minuteMs, max: 75 * minuteMs }), fc.integer({ min: 1, max: minuteMs }), (age, more) => {
      const [earlier, later] = [placeOf(age + more), placeOf(age)];
      return earlier <= later && earlier >= 0 && later <= 1;
    }),
  );
});
