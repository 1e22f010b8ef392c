// Folding as a law: whatever is folded and given up, each change is there, or a record of its stream covers its number, or a record tells of its time.
import fc from 'fast-check';
import t from 'tap';
import { Folding, FoldPlan } from '../../../agent/spool/fold.ts';
import type { SequencedChange } from '../../../shared/model/change.ts';

const change = (stream: string, seq: number, { at, subject }: { readonly at: number; readonly subject: string }): SequencedChange => ({
  stream,
  seq,
  at,
  node: 'n',
  kind: 'rule',
  subject,
  before: null,
  after: 'x',
});
/** Each record counts as this many bytes. */
const bytes = 100;

function folded(changes: readonly SequencedChange[], dropBytes: number): readonly SequencedChange[] {
  const plan = new FoldPlan();
  for (const each of changes) plan.see({ kind: 'change', change: each }, bytes);
  const folding = new Folding(plan, dropBytes);
  const records = [...changes.flatMap((each) => folding.next({ kind: 'change', change: each }, bytes)), ...folding.end()];
  return records.flatMap((record) => (record.kind === 'change' ? [record.change] : []));
}

/** Whether what is left tells of a change: by its own record, by a number that one covers, or by a time of its object or of all. */
const isTold = (left: readonly SequencedChange[], { stream, seq, at, subject }: SequencedChange): boolean =>
  left.some(
    (each) =>
      (each.stream === stream && each.seq - (each.covers ?? 0) <= seq && seq <= each.seq) ||
      (each.subject === subject && each.folded !== undefined && each.folded.from <= at && at <= each.folded.to) ||
      (each.gap !== undefined && each.gap.from <= at && at <= each.gap.to),
  );

t.test('changes of a run whose numbers end were folded into those of the next, and these are given up: the gap reaches back to them', async (t) => {
  const first = [change('a', 1, { at: 10, subject: 'x' }), change('a', 2, { at: 20, subject: 'x' })];
  const next = [change('b', 1, { at: 30, subject: 'y' }), change('b', 2, { at: 40, subject: 'x' }), change('b', 3, { at: 50, subject: 'z' })];
  const left = folded([...first, ...next], 3 * bytes);
  t.strictSame(
    left.map(({ stream, seq, covers, gap }) => ({ stream, seq, covers, gap })),
    [
      { stream: 'a', seq: 1, covers: 0, gap: { reason: 'spool-full', from: 10, to: 10 } },
      { stream: 'b', seq: 2, covers: 1, gap: { reason: 'spool-full', from: 20, to: 40 } },
      { stream: 'b', seq: 3, covers: undefined, gap: undefined },
    ],
  );
  t.match(left[1]?.after, '2 changes, and others that were folded into them, were not kept');
});

t.test('a gap that is given up with others keeps its time', async (t) => {
  const gap = {
    ...change('a', 2, { at: 20, subject: 'spool of the agent' }),
    kind: 'gap' as const,
    gap: { reason: 'spool-damaged' as const, from: 3, to: 25 },
  };
  const [given] = folded([change('a', 1, { at: 10, subject: 'x' }), gap, change('a', 3, { at: 22, subject: 'y' })], 3 * bytes);
  t.match(given, { seq: 3, covers: 2, gap: { reason: 'spool-full', from: 3, to: 25 } });
});

t.test('of no change nothing is told', async (t) => {
  const made = fc.array(fc.record({ isNextRun: fc.nat(9).map((n) => n === 0), object: fc.nat(5), passedMs: fc.integer({ min: -3, max: 10 }) }), {
    minLength: 1,
    maxLength: 60,
  });
  const property = fc.property(made, fc.array(fc.nat(30), { minLength: 1, maxLength: 3 }), (steps, drops) => {
    let [run, seq, at] = [1, 0, 1_000];
    const changes = steps.map(({ isNextRun, object, passedMs }) => {
      if (isNextRun) [run, seq] = [run + 1, 0];
      at += passedMs;
      return change(`run-${run}`, ++seq, { at, subject: `object ${object}` });
    });
    // A spool is folded again and again: what one folding left is what the next begins with.
    const left = drops.reduce((before, drop) => folded(before, drop * bytes), changes as readonly SequencedChange[]);
    const silent = changes.filter((each) => !isTold(left, each));
    if (silent.length > 0) throw new Error(`${JSON.stringify(silent)} of ${JSON.stringify(left)}`);
  });
  fc.assert(property, { numRuns: 2_000 });
  t.pass('each was told of');
});
